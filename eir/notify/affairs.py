"""What is no case's and all daemons of a group know: numbers of subscribers, holds of all sending, shifts.

desk ──► notebook ──► affairs ──► teller ──► (lines) ──► affairs ──► desk, notebook
"""

from __future__ import annotations

from typing import Final

from eir.notify.desk import Desk
from eir.notify.lines import Told
from eir.notify.notebook import Held, Noted
from eir.notify.schedule import Shift
from eir.notify.telling import Teller
from eir.policy.rules import CAUSES
from eir.proto import group_pb2

_CAUSES: Final = {int(reason): reason for reason in CAUSES.values()}


class Affairs:
    """Tells and hears for a desk, in its thread."""

    def __init__(self, desk: Desk, teller: Teller) -> None:
        """Listen to the desk's notebook."""
        self._desk, self._teller = desk, teller
        desk.notebook.listener = self
        teller.others = self.everything

    # -- telling ----------------------------------------------------------------------------------

    def named(self, imsi: int, msisdn: int) -> None:
        """Tell a subscriber's number that a check named."""
        self._teller.named(imsi, msisdn)

    def held(self, held: Held) -> None:
        """Tell that all sending holds, or goes on."""
        self._teller.held(_hold(held))

    def shifted(self, noted: Noted) -> None:
        """Tell that deadlines were shifted, or a shift was undone."""
        self._teller.shifted(_shift(noted))

    def everything(self) -> Told:
        """Return all holds and shifts; numbers come again with checks."""
        desk = self._desk
        holds = [_hold(desk.held)] if desk.held.at else []
        return Told(holds=holds, shifts=[*map(_shift, desk.shifts.values())])

    # -- hearing ----------------------------------------------------------------------------------

    def hear(self, line: group_pb2.GroupLine) -> None:
        """Take what another daemon told."""
        for named in line.numbers:
            self._desk.notebook.put_number(named.imsi, named.msisdn, heard=True)
        for hold in line.holds:
            self._desk.hear_held(Held(hold.why, hold.at, hold.who))
        for shift in line.shifts:
            self._desk.hear_shift(_noted(shift))


def _hold(held: Held) -> group_pb2.ToldHold:
    return group_pb2.ToldHold(at=held.at, why=held.why, who=held.who)


def _shift(noted: Noted) -> group_pb2.ToldShift:
    shift = noted.shift
    return group_pb2.ToldShift(
        id=noted.id,
        seconds=shift.seconds,
        cause=shift.cause or 0,
        first_tac=shift.tacs[0],
        last_tac=shift.tacs[1],
        first_imsi=shift.imsis[0],
        last_imsi=shift.imsis[1],
        name=noted.name,
        at=noted.at,
        who=noted.who,
        why=noted.why,
        undone_at=noted.undone_at,
        undone_by=noted.undone_by,
        undone_why=noted.undone_why,
    )


def _noted(told: group_pb2.ToldShift) -> Noted:
    tacs, imsis = (told.first_tac, told.last_tac), (told.first_imsi, told.last_imsi)
    shift = Shift(told.seconds, _CAUSES.get(told.cause), tacs, imsis)
    undone = told.undone_at, told.undone_by, told.undone_why
    return Noted(told.id, shift, told.name, told.at, told.who, told.why, *undone)
