"""A keeper of several that keep the same cases: takes in what the others know.

    facts joined ──► place, adopt ──► case, case table ──► commit

What the others opened, cut off or noticed counts here as there: in the guards,
and in the grace of an unregistered phone, which is that of its first case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from eir.notify.case import Case, State
from eir.notify.case_file import Happened
from eir.notify.keeper import Keeper
from eir.notify.outbox import Notice, NoticeState
from eir.proto import group_pb2
from eir.verdict import Reason
from eir.whitelist.rows import U64

MOVED_MAX: Final = 100_000
"""Cases that went over to another SIM and are still known by the former one, too: the last so many."""


@dataclass
class SharedKeeper(Keeper):
    """Keeps cases that others keep, too."""

    _moved: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    """The new IMSI, and since when, by the pair of before."""

    def replace_sims(self, replaced: Sequence[tuple[int, int]], now: int) -> list[int]:
        """Move cases, as a keeper alone does; others may speak of the former pairs for a while."""
        numbers = super().replace_sims(replaced, now)
        former_of = {new: former for former, new in replaced}
        for case in map(self.cases.get, numbers):
            self._moved[case.key, former_of[case.imsi]] = case.imsi, now
        while len(self._moved) > MOVED_MAX:
            del self._moved[next(iter(self._moved))]
        return numbers

    def imsi_now(self, key: int, imsi: int, opened_at: int = 0) -> int:
        """Return the IMSI of a case that others know by this one, and maybe opened at a second."""
        new, since = self._moved.get((key, imsi), (imsi, 0))
        if new == imsi or opened_at > since or self.cases.number(key, imsi) >= 0:
            return imsi  # the former SIM has a case of its own
        return new

    def place(self, case: Case, now: int, what: str, *, say: bool = True) -> int:
        """Take in a case that another daemon opened, and return its number.

        `say`: if it is cut off, its subscriber is still to be told.
        """
        case = replace(case, clock_at=self._device_clock(case))
        due_at, ends = self._due_at(case, now)
        number = self.cases.add(case, due_at, ends, Happened(case.opened_at, what))
        self.counts["opened"] += 1
        if self._opened.note(now):
            self.hold("more cases opened in an hour than notices.cases_per_hour_max")
        if case.state == State.CUT_OFF and say:
            self._fell(number, case, now, "")
        self._spread(number, case, now)
        return number

    def adopt(self, number: int, case: Case, now: int, what: str, *, say: bool = True) -> None:
        """Replace a case by what is known of it together."""
        before = self.cases.get(number)
        case = replace(case, clock_at=self._device_clock(case))
        if case.state == State.CUT_OFF != before.state and say:
            self._fell(number, case, now, what)
        else:
            self._put(number, case, now, what)
            if case.state != State.OPEN and before.state == State.OPEN:
                self._cancel([number], now)
            if case.state == State.CUT_OFF != before.state:
                self._fallen.note(now)
                self.counts["cut_off"] += 1
        if case.clock_at != before.clock_at:
            self._spread(number, case, now)

    def told_elsewhere(self, imsi: int, at: int, now: int) -> None:
        """Note when another daemon told a subscriber something: the next notice keeps its distance."""
        if at + self._told.spacing_seconds > now:
            self._told.note(imsi, at)

    def receipted_elsewhere(self, told: group_pb2.ToldReceipt) -> bool:
        """Note a receipt that another daemon got; tells whether it says something new."""
        notice = self.outbox.of_message(told.smsc, told.message_ids)
        states = (NoticeState.DELIVERED, NoticeState.FAILED, NoticeState.EXPIRED)
        if notice is None or notice.state != NoticeState.ACCEPTED or told.state not in states:
            return False
        if notice.stage != told.stage:
            return False  # an SMSC gave the id again
        ended = notice._replace(state=NoticeState(told.state), error=told.error, changed_at=told.at)
        self.outbox.put(ended)
        return True

    def sent_elsewhere(self, number: int, waiting: Notice | None, steps: int, now: int) -> None:
        """Note that another daemon sent a step; of one that waits here the case waits no more."""
        case = self.cases.get(number)
        if waiting is not None:
            self._put(number, replace(case, steps_sent=steps, waits=False), now, "")
        elif steps > case.steps_sent:
            self._put(number, replace(case, steps_sent=steps), now, "")

    def failed_elsewhere(self, waiting: Notice, error: str, at: int) -> None:
        """Note that an SMSC refused for good, elsewhere, what waits here."""
        self.outbox.put(waiting._replace(state=NoticeState.FAILED, error=error, changed_at=at))
        self._failed(waiting, at)

    def _spread(self, number: int, case: Case, now: int) -> None:
        """Let later cases of an unregistered phone inherit the grace of one that began before they opened."""
        if case.cause != Reason.NOT_REGISTERED or not case.clock_at:
            return
        for other in self.cases.numbers_of(_key(case)):
            mate = self.cases.get(other)
            runs = mate.clock_at > case.clock_at or (not mate.clock_at and mate.state == State.OPEN)
            later = mate.opened_at >= case.clock_at and runs
            if other != number and mate.cause == case.cause and later:
                self._put(other, replace(mate, clock_at=case.clock_at), now, "")

    def _device_clock(self, case: Case) -> int:
        """Return when the grace of a case began: of an unregistered phone, with its first one."""
        if case.cause != Reason.NOT_REGISTERED or not (case.clock_at or case.state == State.OPEN):
            return case.clock_at
        mates = (self.cases.get(number) for number in self.cases.numbers_of(_key(case)))
        begun = [
            mate.clock_at
            for mate in mates
            if mate.cause == case.cause and 0 < mate.clock_at <= case.opened_at and mate.imsi != case.imsi
        ]
        return min([*begun, *filter(None, [case.clock_at])], default=0)


def _key(case: Case) -> U64:
    return np.array([case.key], np.uint64)
