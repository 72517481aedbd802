"""When a subscriber was last told something, as far back as it matters for the spacing of notices.

    accepted ──note──► new ones ──merged when there are many──► sorted columns ──► last

Not durable: at the start it is loaded from the cases.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from eir.notify.case_table import U32
from eir.whitelist.rows import U64

NEW_MAX: Final = 100_000
"""Subscribers told since the last merge: a dictionary takes ten times as much memory as columns."""


@dataclass
class Told:
    """IMSI codes, and when they were told; what is older than the spacing is forgotten."""

    spacing_seconds: int = 0
    _imsis: U64 = field(default_factory=lambda: np.empty(0, np.uint64))
    _times: U32 = field(default_factory=lambda: np.empty(0, np.uint32))
    _new: dict[int, int] = field(default_factory=dict)

    def load(self, imsis: U64, times: U32) -> None:
        """Take what is known at the start."""
        # The latest of a subscriber is the last of his.
        order = np.lexsort((times, imsis))
        imsis, times = imsis[order], times[order]
        last = np.append(imsis[1:] != imsis[:-1], [True] * min(len(imsis), 1)).astype(bool)
        self._imsis, self._times = imsis[last], times[last]

    def note(self, imsi: int, now: int) -> None:
        """Note that a subscriber was told something at a second; the latest counts."""
        self._new[imsi] = max(now, self._new.get(imsi, 0))
        if len(self._new) < NEW_MAX:
            return
        count = len(self._new)
        imsis = np.fromiter(self._new.keys(), np.uint64, count)
        times = np.fromiter(self._new.values(), np.uint32, count)
        fresh = self._times > np.uint32(max(now - self.spacing_seconds, 0))
        self.load(np.append(self._imsis[fresh], imsis), np.append(self._times[fresh], times))
        self._new.clear()

    def last_at(self, imsi: int) -> int:
        """Return when a subscriber was last told something; 0 where that is long ago, or never was."""
        at = self._new.get(imsi, 0)
        if len(self._imsis):
            place = min(int(np.searchsorted(self._imsis, np.uint64(imsi))), len(self._imsis) - 1)
            at = max(at, int(self._times[place]) if self._imsis[place] == imsi else 0)
        return at

    def free_at(self, imsi: int) -> int:
        """Return the first second at which a subscriber may be told something again; 0 where he was not."""
        at = self.last_at(imsi)
        return at + self.spacing_seconds if at else 0

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        return self._imsis.nbytes + self._times.nbytes
