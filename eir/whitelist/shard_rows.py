"""Rows of a shard as whole columns: keys, ranges, links.

RangeColumns ──flatten──► pieces of each TAC, cut so that none overlap
◄─unflatten─
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eir.identity import SERIALS
from eir.whitelist.hashtable import I64, spread
from eir.whitelist.items import piece_parts, piece_words
from eir.whitelist.order import distinct
from eir.whitelist.rows import U64
from eir.whitelist.shard import KeyColumns


@dataclass(frozen=True)
class RangeColumns:
    """Ranges as columns sorted by (tac, first, cause, authority).

    Ranges of one (tac, cause, authority) are disjoint and not adjacent; cause 0
    is a registered range. All u64.
    """

    tac: U64
    first: U64
    last: U64
    cause: U64
    authority: U64

    @classmethod
    def empty(cls) -> RangeColumns:
        """Make columns without rows."""
        return cls(*(np.empty(0, np.uint64) for _ in range(5)))

    def __len__(self) -> int:
        """Return the number of ranges."""
        return len(self.tac)

    def take(self, index: I64 | npt.NDArray[np.bool_]) -> RangeColumns:
        """Return the ranges at these places."""
        return RangeColumns(
            self.tac[index], self.first[index], self.last[index], self.cause[index], self.authority[index]
        )

    def sorted(self) -> RangeColumns:
        """Return the ranges in canonical order."""
        return self.take(np.lexsort((self.authority, self.cause, self.first, self.tac)))


@dataclass(frozen=True)
class LinkColumns:
    """Links as columns sorted by (key, other): both directions of every link."""

    key: U64
    other: U64

    @classmethod
    def empty(cls) -> LinkColumns:
        """Make columns without rows."""
        return cls(np.empty(0, np.uint64), np.empty(0, np.uint64))

    def __len__(self) -> int:
        """Return the number of directed links."""
        return len(self.key)


@dataclass(frozen=True)
class ShardRows:
    """All that a shard holds."""

    keys: KeyColumns
    ranges: RangeColumns
    links: LinkColumns


def flatten_ranges(ranges: RangeColumns) -> tuple[U64, U64]:
    """TAC and piece word of each piece: where ranges overlap they are cut at each other's ends."""
    ranges = ranges.sorted()
    if not len(ranges):
        return ranges.tac, ranges.first
    key_first = ranges.tac * np.uint64(SERIALS) + ranges.first
    key_last = ranges.tac * np.uint64(SERIALS) + ranges.last
    reach = np.maximum.accumulate(key_last)
    if not (key_first[1:] <= reach[:-1]).any():
        return ranges.tac, piece_words(ranges.first, ranges.last, ranges.cause, ranges.authority)
    cuts = distinct(np.concatenate((key_first, key_last + np.uint64(1))))
    begin = np.searchsorted(cuts, key_first)
    count = np.searchsorted(cuts, key_last + np.uint64(1)) - begin
    source = np.repeat(np.arange(len(ranges)), count)
    at = spread(begin, count)
    first, last = cuts[at], cuts[at + 1] - np.uint64(1)
    tac = ranges.tac[source]
    base = tac * np.uint64(SERIALS)
    words = piece_words(first - base, last - base, ranges.cause[source], ranges.authority[source])
    order = np.lexsort((words, tac))
    return tac[order], words[order]


def unflatten_ranges(tac: U64, words: U64) -> RangeColumns:
    """Ranges of pieces: adjacent pieces of one kind are one range again."""
    if not len(words):
        return RangeColumns.empty()
    first, last, cause, authority = piece_parts(words)
    order = np.lexsort((first, authority, cause, tac))
    tac, first, last, cause, authority = tac[order], first[order], last[order], cause[order], authority[order]
    joins = (
        (tac[1:] == tac[:-1])
        & (cause[1:] == cause[:-1])
        & (authority[1:] == authority[:-1])
        & (first[1:] == last[:-1] + np.uint64(1))
    )
    starts = np.flatnonzero(np.concatenate(([True], ~joins)))
    ends = np.concatenate((starts[1:], [len(tac)])) - 1
    return RangeColumns(tac[starts], first[starts], last[ends], cause[starts], authority[starts]).sorted()
