"""What would be sent in the next hours, if nothing happened meanwhile. Nothing is changed.

cases that come due ──► judged, next due ──► counts by cause and stage, some of them in full
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from eir.notify.case import Case
from eir.notify.keeper import Keeper
from eir.notify.schedule import HOUR

LOOKED_AT_MAX: Final = 20_000
"""Cases looked at; of more the counts are of those that come due first."""
PIECE_CASES: Final = 500


@dataclass(frozen=True)
class Coming:
    """A notice, or a deadline (its stage is `cut_off`), of a case."""

    number: int
    case: Case
    stage: str
    at: int


@dataclass
class Preview:
    """Puts together what comes, a piece at a time."""

    keeper: Keeper
    now: int
    hours: int
    shown_max: int
    shown: list[Coming] = field(default_factory=list)
    counts: Counter[tuple[int, str]] = field(default_factory=Counter)
    looked_at: int = 0
    due: int = 0
    _left: list[int] = field(default_factory=list)

    def begin(self) -> None:
        """Find the cases that come due; and the notices that wait already."""
        until = self.now + self.hours * HOUR
        self.due = self.keeper.cases.due_count(until)
        self._left = self.keeper.cases.due(until, LOOKED_AT_MAX)
        for notice in self.keeper.outbox.waiting(until, LOOKED_AT_MAX):
            case = self.keeper.case_of(notice)
            if case is not None:
                self._add(Coming(notice.number, case, notice.stage, max(notice.due_at, self.now)))

    def step(self) -> bool:
        """Look at some more; tells whether there are any. Raises NotJudgedError."""
        piece, self._left = self._left[:PIECE_CASES], self._left[PIECE_CASES:]
        cases = [self.keeper.cases.get(number) for number in piece]
        judged = self.keeper.judge([(case.key, case.imsi) for case in cases])
        until = self.now + self.hours * HOUR
        for number, case, answer in zip(piece, cases, judged, strict=True):
            due = self.keeper.next_of(case, self.now)
            if due is None or due.at > until or answer.reason != case.cause or not answer.opens:
                continue
            if due.what == "notice":
                self._add(Coming(number, case, due.stage, max(due.at, self.now)))
            elif due.what == "fall" and answer.enforced:
                self._add(Coming(number, case, "cut_off", max(due.at, self.now)))
        self.looked_at += len(piece)
        return bool(self._left)

    def _add(self, coming: Coming) -> None:
        self.counts[coming.case.cause, coming.stage] += 1
        if len(self.shown) < self.shown_max:
            self.shown.append(coming)
