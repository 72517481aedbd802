"""What a second policy would change, counted by rule and cohort. Pure."""

from __future__ import annotations

from typing import NamedTuple

from eir.trial.distinct import Distinct


class Change(NamedTuple):
    """Checks that two policies judge differently; the cohort is that of the second."""

    cohort: str
    status_before: int
    reason_before: int
    status_after: int
    reason_after: int


class Line(NamedTuple):
    """A change, how many checks, and about how many subscribers."""

    change: Change
    check_count: int
    subscriber_count: int


class _Cell:
    __slots__ = ("checks", "subscribers")

    def __init__(self) -> None:
        self.checks, self.subscribers = 0, Distinct()


class Tally:
    """Counts; bounded in lines, beyond which changes are only counted together."""

    def __init__(self, lines_max: int) -> None:
        """Start empty."""
        self._lines_max = lines_max
        self._cells: dict[Change, _Cell] = {}
        self._subscribers = Distinct()
        self.judged_count = self.changed_count = self.more_count = 0

    def same(self, subscriber: str) -> None:
        """Count a check that both policies judge alike."""
        self.judged_count += 1
        self._subscribers.add(subscriber)

    def changed(self, change: Change, subscriber: str) -> None:
        """Count a check that the second policy judges otherwise, by status or by reason only."""
        self.same(subscriber)
        self.changed_count += change.status_before != change.status_after
        cell = self._cells.get(change)
        if cell is None:
            if len(self._cells) >= self._lines_max:
                self.more_count += 1
                return
            cell = self._cells[change] = _Cell()
        cell.checks += 1
        cell.subscribers.add(subscriber)

    @property
    def subscriber_count(self) -> int:
        """About how many subscribers were judged."""
        return self._subscribers.estimate()

    def lines(self) -> list[Line]:
        """Return the changes, those of the status first, then by the number of checks."""
        cells = list(self._cells.items())
        lines = [Line(change, cell.checks, cell.subscribers.estimate()) for change, cell in cells]
        return sorted(lines, key=lambda line: (_same_status(line.change), -line.check_count, line.change))


def _same_status(change: Change) -> bool:
    return change.status_before == change.status_after
