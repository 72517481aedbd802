"""Cases that somebody asks for: found by what they are, a bounded number of rows at a time.

    wanted, first number ──► numbers of cases that fit, and where to go on

Runs in the keeper's thread: nothing here takes longer than some milliseconds.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from eir.notify.case import State
from eir.notify.cases import Cases
from eir.notify.extents import Rows

PIECES_MAX: Final = 8
"""Pieces of rows looked through for one page."""

UNRESOLVED: Final = tuple(state for state in State if state != State.RESOLVED)


class Wanted(NamedTuple):
    """What cases are asked for; what is empty, 0 or false admits all."""

    states: tuple[int, ...] = ()
    """None: all but the resolved."""
    causes: tuple[int, ...] = ()
    key: int = 0
    imsi: int = 0
    deadline_before: int = 0
    unwarned_only: bool = False

    def fits(self, rows: Rows) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Tell of each row whether it fits."""
        states = rows["state"]
        fits = np.isin(states, self.states or UNRESOLVED)
        if self.causes:
            fits &= np.isin(rows["cause"], self.causes)
        if self.key:
            fits &= rows["key"] == np.uint64(self.key)
        if self.imsi:
            fits &= rows["imsi"] == np.uint64(self.imsi)
        if self.deadline_before:
            fits &= (rows["deadline"] != 0) & (rows["deadline"] < np.uint32(self.deadline_before))
        if self.unwarned_only:
            fits &= rows["warned_at"] == 0
        return fits


def find(cases: Cases, wanted: Wanted, first: int, limit: int) -> tuple[list[int], int]:
    """Return numbers of cases that fit, from a number on, and the number to go on with; -1: no more."""
    if wanted.key and State.RESOLVED not in wanted.states:
        # Those of one phone are found by the table that checks read.
        near = [one for one in sorted(cases.numbers_of(np.array([wanted.key], np.uint64))) if one >= first]
        fits = wanted.fits(cases.rows_of(near))
        found = [number for number, fit in zip(near, fits.tolist(), strict=True) if fit]
        return (found, -1) if len(found) <= limit else (found[:limit], found[limit])
    found = []
    for _ in range(PIECES_MAX):
        rows = cases.rows_from(first)
        if not len(rows):
            return found, -1
        found += (np.flatnonzero(wanted.fits(rows)) + first).tolist()
        if len(found) > limit:
            return found[:limit], found[limit]
        first += len(rows)
    return found, first
