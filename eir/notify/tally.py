"""How many cases there are of each cause in each state, and how many went from state to state. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np

from eir.notify.case import State
from eir.notify.extents import Rows
from eir.verdict import Reason

CAUSES_MAX: Final = max(Reason) + 1
STATES: Final = len(State) + 1
"""State 0 is no case."""


class Tally:
    """Counts that follow each change; plain lists, because one number in numpy takes ten times as long."""

    def __init__(self) -> None:
        """Begin without cases."""
        self._counts = [[0] * STATES for _ in range(CAUSES_MAX)]
        self.moves: Counter[tuple[int, int]] = Counter()
        """Changes of states since the start, from and to."""

    def __len__(self) -> int:
        """Return the number of cases."""
        return sum(map(sum, self._counts))

    def of(self, cause: int, state: int) -> int:
        """Count the cases of a cause in a state."""
        return self._counts[cause][state]

    def states(self) -> dict[State, int]:
        """Count the cases by state."""
        return {state: sum(counts[state] for counts in self._counts) for state in State}

    def note(self, cause_before: int, before: int, cause: int, state: int) -> None:
        """Count a case that changes; a state 0 is that there is none."""
        if before:
            self._counts[cause_before][before] -= 1
        if state:
            self._counts[cause][state] += 1
        if before != state:
            self.moves[before, state] += 1

    def resolved(self, before: Rows) -> None:
        """Count cases that are resolved, by their rows as they were."""
        for cause, state, count in _kinds(before):
            self._counts[cause][state] -= count
            self._counts[cause][State.RESOLVED] += count
            if state != State.RESOLVED:
                self.moves[state, int(State.RESOLVED)] += count

    def load(self, rows: Rows) -> None:
        """Count cases that are there at the start."""
        for cause, state, count in _kinds(rows):
            if state:
                self._counts[cause][state] += count


def _kinds(rows: Rows) -> list[tuple[int, int, int]]:
    """Return cause, state and number of rows of each kind that there is."""
    kinds = rows["cause"].astype(np.uint16) * np.uint16(STATES) + rows["state"]
    counts = np.bincount(kinds)
    return [(*divmod(kind, STATES), int(counts[kind])) for kind in np.flatnonzero(counts).tolist()]
