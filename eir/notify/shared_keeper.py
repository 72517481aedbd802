"""A keeper of several that keep the same cases: takes in what the others know.

    facts joined ──► place, adopt ──► case, case table ──► commit

What the others opened, cut off or noticed counts here as there: in the guards,
and in the grace of an unregistered phone, which is that of its first case.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eir.notify.case import Case, State
from eir.notify.case_file import Happened
from eir.notify.keeper import Keeper
from eir.notify.outbox import Notice, NoticeState
from eir.verdict import Reason
from eir.whitelist.rows import U64


class SharedKeeper(Keeper):
    """Keeps cases that others keep, too."""

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
