"""Deadlines of all cases after a shift came or went: worked out again, some tens of thousands at a time.

rows, shifts ──► deadlines ──► rows, case table (in memory)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from eir.identity import SERIALS
from eir.notify.case_table import U32
from eir.notify.cases import Cases
from eir.notify.extents import Rows
from eir.notify.schedule import DAY, Shift


def covered(rows: Rows, shift: Shift) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Tell of each row whether a shift covers it, as `Shift.covers` does of one case."""
    tacs = rows["key"] // np.uint64(SERIALS)
    fits = (tacs >= np.uint64(shift.tacs[0])) & (tacs <= np.uint64(shift.tacs[1]))
    fits &= (rows["imsi"] >= np.uint64(shift.imsis[0])) & (rows["imsi"] <= np.uint64(shift.imsis[1]))
    if shift.cause is not None:
        fits &= rows["cause"] == shift.cause
    return fits


def deadlines(rows: Rows, shifts: Iterable[Shift]) -> U32:
    """Return the deadlines of rows, as `schedule.deadline` does of one case."""
    began = rows["clock_at"].astype(np.int64)
    ends = began + rows["grace_days"].astype(np.int64) * DAY + rows["paused_seconds"]
    for shift in shifts:
        ends[covered(rows, shift)] += shift.seconds
    return np.where(began != 0, np.maximum(ends, rows["opened_at"]), 0).astype(np.uint32)


@dataclass
class Redating:
    """Goes through all cases once."""

    cases: Cases
    shifts: list[Shift]
    changed_count: int = 0
    _next: int = 0

    def step(self) -> bool:
        """Work out some deadlines; tells whether there are more to do."""
        rows = self.cases.rows_from(self._next)
        if not len(rows):
            return False
        self.changed_count += self.cases.redate(self._next, deadlines(rows, self.shifts))
        self._next += len(rows)
        return True
