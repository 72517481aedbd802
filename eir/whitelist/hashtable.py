"""A map from 64-bit keys to words, for readers that never lock.

    columns (sorted by key) ──image──► slots + words ──► find / find_many

A slot is a key and a value: 0 is an empty slot, INLINE a value in place, RECORD
a place in the words. Probing is linear and never wraps: the slots after the last
home place are slack, and the last slot is always empty. Building is one sort and
one running maximum, so that numpy can do it. Format: docs/segment-format.md.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from eir.whitelist.aside import in_order
from eir.whitelist.order import Sorter
from eir.whitelist.rows import U64

GOLDEN: Final = 0x9E3779B97F4A7C15
INLINE: Final = 1 << 62
RECORD: Final = 2 << 62
INLINE_MASK: Final = INLINE - 1
OFFSET_BITS: Final = 36
OFFSET_MASK: Final = (1 << OFFSET_BITS) - 1
COUNT_MASK: Final = (1 << 24) - 1
_MASK64: Final = (1 << 64) - 1
SLOTS_MIN: Final = 18
"""Slots of the smallest table that is not empty."""
_INDEX_BITS: Final = 32
"""Bits of the place of a key among the others, where it is sorted with its slot."""
_HALVED_ROWS: Final = 1 << 17
"""Rows from which on the two halves of an image are worked out beside each other."""
I64 = npt.NDArray[np.int64]
_N = TypeVar("_N", np.int64, np.uint64)


@dataclass(frozen=True)
class Ragged:
    """Runs of words: run i is words[first[i] : first[i + 1]]."""

    first: I64
    words: U64

    @classmethod
    def empty(cls, runs: int = 0) -> Ragged:
        """Make runs without words."""
        return cls(np.zeros(runs + 1, np.int64), np.empty(0, np.uint64))

    @classmethod
    def of(cls, counts: I64, words: U64) -> Ragged:
        """Make runs of these lengths."""
        first = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=first[1:])
        return cls(first, words)

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self.first) - 1

    def counts(self) -> I64:
        """Return the length of each run."""
        counts: I64 = self.first[1:] - self.first[:-1]
        return counts

    def take(self, index: I64) -> Ragged:
        """Return the runs at these places, in this order."""
        first = self.first[index]
        return gather(self.words, first, self.first[index + 1] - first)

    def run(self, index: int) -> U64:
        """Return one run."""
        return self.words[self.first[index] : self.first[index + 1]]


def spread(first: I64, counts: I64) -> I64:
    """Places of every word of runs that begin at `first` with `counts` words."""
    total = int(counts.sum())
    if not total:
        return np.empty(0, np.int64)
    ends = np.cumsum(counts)
    places: I64 = np.arange(total, dtype=np.int64) + np.repeat(first - (ends - counts), counts)
    return places


def gather(words: U64, first: I64, counts: I64) -> Ragged:
    """Copy runs that lie anywhere in `words` into one Ragged."""
    return Ragged.of(counts, words[spread(first, counts)] if len(words) else np.empty(0, np.uint64))


@dataclass(frozen=True)
class Columns:
    """A map as columns sorted by key: inline heads, or a record where it has words.

    A row without words is held inline (its head, below 2**60); a row with words
    is the record head, words...
    """

    keys: U64
    heads: U64
    extra: Ragged

    @classmethod
    def empty(cls) -> Columns:
        """Make a map without rows."""
        return cls(np.empty(0, np.uint64), np.empty(0, np.uint64), Ragged.empty())

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.keys)

    def take(self, index: I64) -> Columns:
        """Return the rows at these places."""
        return Columns(self.keys[index], self.heads[index], self.extra.take(index))

    def part(self, start: int, end: int) -> Columns:
        """Return the rows of a range of places, without a copy of what is large."""
        first = self.extra.first[start : end + 1]
        words = self.extra.words[first[0] : first[-1]]
        return Columns(self.keys[start:end], self.heads[start:end], Ragged(first - first[0], words))

    def merged(self, newer: Columns) -> Columns:
        """Return both maps as one; rows of `newer` win. Linear in both sizes."""
        if not len(newer):
            return self
        if not len(self):
            return newer
        place = np.searchsorted(self.keys, newer.keys)
        again = self.keys.take(place, mode="clip") == newer.keys
        at_new, older = place + np.arange(len(newer)), self
        if again.any():
            at_new -= np.cumsum(again) - again
            older = self.take(np.delete(np.arange(len(self)), place[again]))
        is_old = np.ones(len(older) + len(newer), bool)
        is_old[at_new] = False

        def both(old: npt.NDArray[_N], new: npt.NDArray[_N]) -> npt.NDArray[_N]:
            out = np.empty(len(is_old), old.dtype)
            out[is_old], out[at_new] = old, new
            return out

        keys, heads = both(older.keys, newer.keys), both(older.heads, newer.heads)
        words = np.concatenate((older.extra.words, newer.extra.words))
        if not len(words):
            return Columns(keys, heads, Ragged.empty(len(keys)))
        first = both(older.extra.first[:-1], newer.extra.first[:-1] + len(older.extra.words))
        return Columns(keys, heads, gather(words, first, both(older.extra.counts(), newer.extra.counts())))


def find_sorted(haystack: U64, needles: U64) -> I64:
    """Place of each sorted needle in a sorted haystack, -1 where it is not in it."""
    if not len(needles) or not len(haystack) or needles[-1] < haystack[0] or needles[0] > haystack[-1]:
        return np.full(len(needles), -1, np.int64)
    low, high = np.searchsorted(haystack, (needles[0], needles[-1]))
    part = haystack[low : high + 1]
    place = np.searchsorted(part, needles)
    hit = part.take(place, mode="clip") == needles
    return np.where(hit, place + low, -1)


def contains(haystack: U64, needles: U64) -> npt.NDArray[np.bool_]:
    """Tell which sorted needles are in a sorted haystack."""
    return find_sorted(haystack, needles) >= 0


class HashTable:
    """The image of a map: slots[n, 2] and words, and the ways to read it."""

    __slots__ = ("_slots_view", "_words_view", "rows", "shift", "slots", "words")

    def __init__(self, slots: U64, words: U64) -> None:
        """Take the two sections of an image; `slots` is flat or [n, 2]."""
        self.slots = slots.reshape(-1, 2)
        self.words = words
        # The home places are the largest power of two that fits; the rest is slack.
        self.shift = 65 - len(self.slots).bit_length()
        self._slots_view = np.ascontiguousarray(self.slots).reshape(-1).data if len(slots) else None
        self._words_view = self.words.data if len(words) else None
        self.rows = int(np.count_nonzero(self.slots[:, 1])) if len(slots) else 0

    @classmethod
    def build(cls, columns: Columns) -> HashTable:
        """Build the image of a map."""
        n = len(columns)
        if not n:
            return cls(np.empty(0, np.uint64), np.empty(0, np.uint64))
        bits = max(4, int(n * 1.5).bit_length())
        counts = columns.extra.counts()
        has_words = np.flatnonzero(counts)
        values = columns.heads | np.uint64(INLINE)
        words = np.empty(0, np.uint64)
        if len(has_words):
            # A record is its head and its words, one after the other.
            length = counts[has_words] + 1
            first = np.cumsum(length)
            words = np.empty(int(first[-1]), np.uint64)
            first -= length
            is_head = np.zeros(len(words), bool)
            is_head[first] = True
            words[first] = columns.heads[has_words]
            words[~is_head] = columns.extra.words
            values[has_words] = np.uint64(RECORD) | (length << OFFSET_BITS | first).view(np.uint64)
        parts = _places(columns.keys, bits)
        # Fewer keys than two thirds of the home places run past them by less than those are.
        slack = max(1 << (bits - 3), int(parts[-1][1][-1]) + 2 - (1 << bits))
        slots = np.zeros(((1 << bits) + slack, 2), np.uint64)
        # A slot moves as one number of 16 bytes: several times faster than as a row of two.
        pairs = np.empty((n, 2), np.uint64)
        pairs[:, 0], pairs[:, 1] = columns.keys, values
        source, target = (array.view(np.complex128).reshape(-1) for array in (pairs, slots))

        def write(part: tuple[I64, I64]) -> None:
            order, place = part
            target[place] = source.take(order)

        deque(in_order(write, parts), 0)
        return cls(slots.reshape(-1), words)

    def find(self, key: int) -> tuple[int, int, int] | None:
        """Head, offset and count of the words after it; None where the key is not there."""
        view = self._slots_view
        if view is None:
            return None
        at = (((key * GOLDEN) & _MASK64) >> self.shift) << 1
        while True:
            value = view[at + 1]
            if not value:
                return None
            if view[at] == key:
                break
            at += 2
        if value < RECORD:
            return value & INLINE_MASK, 0, 0
        offset = value & OFFSET_MASK
        assert self._words_view is not None
        return self._words_view[offset], offset + 1, ((value >> OFFSET_BITS) & COUNT_MASK) - 1

    def word_run(self, offset: int, count: int) -> memoryview:
        """Words of a record found."""
        assert self._words_view is not None
        return self._words_view[offset : offset + count]

    def find_many(self, keys: U64) -> I64:
        """Slot of each key, -1 where it is not there."""
        out = np.full(len(keys), -1, np.int64)
        if not self.rows:
            return out
        at = ((keys * np.uint64(GOLDEN)) >> np.uint64(self.shift)).astype(np.int64)
        todo = np.arange(len(keys))
        while len(todo):
            slot = self.slots[at]
            hit = (slot[:, 0] == keys[todo]) & (slot[:, 1] != 0)
            out[todo[hit]] = at[hit]
            more = np.flatnonzero(~hit & (slot[:, 1] != 0))
            todo, at = todo[more], at[more] + 1
        return out

    def read_many(self, slots: I64) -> tuple[U64, Ragged]:
        """Heads and words of slots found (all >= 0)."""
        values = self.slots[slots, 1]
        record = values >= np.uint64(RECORD)
        heads = values & np.uint64(INLINE_MASK)
        counts = np.zeros(len(slots), np.int64)
        first = np.zeros(len(slots), np.int64)
        if record.any():
            offset = (values[record] & np.uint64(OFFSET_MASK)).astype(np.int64)
            heads[record] = self.words[offset]
            first[record] = offset + 1
            length = (values[record] >> np.uint64(OFFSET_BITS)) & np.uint64(COUNT_MASK)
            counts[record] = length.astype(np.int64) - 1
        return heads, gather(self.words, first, counts)

    def columns(self) -> Columns:
        """Read the whole map back, sorted by key."""
        used = np.flatnonzero(self.slots[:, 1]) if self.rows else np.empty(0, np.int64)
        order = np.argsort(self.slots[used, 0], kind="stable")
        used = used[order]
        heads, extra = self.read_many(used)
        return Columns(self.slots[used, 0].copy(), heads, extra)

    @property
    def nbytes(self) -> int:
        """Bytes of memory of the image."""
        return int(self.slots.nbytes + self.words.nbytes)


def _places(keys: U64, bits: int) -> list[tuple[I64, I64]]:
    """Order keys by home place, and find the slot of each with linear probing; in parts of the table."""
    packed = keys * np.uint64(GOLDEN)
    packed >>= np.uint64(64 - bits)
    packed <<= np.uint64(_INDEX_BITS)
    packed |= np.arange(len(keys), dtype=np.uint64)
    lower = packed < np.uint64(1 << (bits + _INDEX_BITS - 1))
    halves = [packed[lower], packed[~lower]] if len(keys) >= _HALVED_ROWS else [packed]
    parts: list[tuple[I64, I64]] = []
    for order, place in in_order(_place, [half for half in halves if len(half)]):
        if parts and parts[-1][1][-1] >= place[0]:  # the half before runs into this one
            np.maximum(place, np.arange(len(place)) + (parts[-1][1][-1] + 1), out=place)
        parts.append((order, place))
    return parts


def _place(packed: U64) -> tuple[I64, I64]:
    """Sort home places (above the bits of the index) with their keys' indexes, and find slots."""
    Sorter.sort(packed)
    order = (packed & np.uint64((1 << _INDEX_BITS) - 1)).view(np.int64)
    packed >>= np.uint64(_INDEX_BITS)
    # Each key takes its home, or the place after its predecessor.
    place = packed.view(np.int64)
    index = np.arange(len(place))
    place -= index
    np.maximum.accumulate(place, out=place)
    place += index
    return order, place
