"""Cases whose deadline is past and that are not cut off, counted a piece at a time.

rows ──step, each second──► unwarned, held back: as the last round through all cases had them
"""

from __future__ import annotations

from dataclasses import dataclass, field

from eir.notify.case import State
from eir.notify.cases import Cases


@dataclass
class Overdue:
    """Open cases past their deadline: nobody warned them, or something else holds them back."""

    unwarned: int = 0
    held_back: int = 0
    unwarned_all: int = 0
    """Open cases that nobody warned, whatever their deadline."""


@dataclass
class Census:
    """Goes through all cases again and again."""

    cases: Cases
    last: Overdue = field(default_factory=Overdue)
    """What the last whole round counted."""
    _counting: Overdue = field(default_factory=Overdue)
    _next: int = 0

    def step(self, now: int) -> None:
        """Count some tens of thousands of cases."""
        rows = self.cases.rows_from(self._next)
        if len(rows):
            is_open = rows["state"] == State.OPEN
            unwarned = is_open & (rows["warned_at"] == 0)
            overdue = is_open & (rows["deadline"] != 0) & (rows["deadline"] < now)
            self._counting.unwarned_all += int(unwarned.sum())
            self._counting.unwarned += int((unwarned & overdue).sum())
            self._counting.held_back += int((overdue & ~unwarned).sum())
            self._next += len(rows)
        if self._next >= self.cases.count:
            self.last, self._counting, self._next = self._counting, Overdue(), 0
