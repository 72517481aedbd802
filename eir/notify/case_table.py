"""Where checks find a case: a flat table of 16-byte slots, one writer, readers that never wait.

    (IMEI key, IMSI code) ──► home of the key ──► tag ──► value: state, cause, deadline

A slot is a tag and a value, both 64 bits. A tag is a mixture of key and IMSI,
never 0; tag 0 ends a search, value 0 is a slot whose case is gone. The home
depends on the key alone, so that all cases of an IMEI lie in one run. The
writer sets the value before the tag, so that a reader sees a case whole or not
at all. When the table is full, a larger one takes its place by one assignment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from eir.whitelist.hashtable import GOLDEN, I64
from eir.whitelist.rows import U64
from eir.whitelist.segment import anonymous

U32 = npt.NDArray[np.uint32]

BITS_MIN: Final = 10
LOAD_MAX: Final = 2 / 3
"""Slots with a tag, of the home places."""
BUILT_LOAD_MAX: Final = 0.6
BUILDERS: Final = 2
"""Threads that sort parts of a table that is built."""
PIECE_BITS: Final = 18
_IMSI_FACTOR: Final = 0xC2B2AE3D27D4EB4F
_MIX_FACTOR: Final = 0xD6E8FEB86659FD93
_MASK64: Final = (1 << 64) - 1
DEADLINE_BITS: Final = 40
_DEADLINE_MASK: Final = (1 << DEADLINE_BITS) - 1
_CAUSE_AT: Final = 40
_STATE_AT: Final = 48


class Found(NamedTuple):
    """What a check learns of a case; `deadline` in seconds since the Unix epoch, 0 for none yet."""

    state: int
    cause: int
    deadline: int


class Entries(NamedTuple):
    """Cases for a table: keys, IMSI codes, values and numbers of as many cases, in any order."""

    keys: U64
    imsis: U64
    values: U64
    numbers: U32


class _Sorted(NamedTuple):
    """Cases in the order of their homes."""

    homes: U64
    tags: U64
    values: U64
    numbers: U32


def pack_value(state: int, cause: int, deadline: int) -> int:
    """Return the value of a slot."""
    return state << _STATE_AT | cause << _CAUSE_AT | deadline


def unpack_value(value: int) -> Found:
    """Read the value of a slot."""
    return Found(value >> _STATE_AT, value >> _CAUSE_AT & 0xFF, value & _DEADLINE_MASK)


def tag_of(key: int, imsi: int) -> int:
    """Mix a pair to its tag."""
    tag = (key * GOLDEN ^ imsi * _IMSI_FACTOR) & _MASK64
    tag = (tag ^ tag >> 32) * _MIX_FACTOR & _MASK64
    return tag ^ tag >> 32 or 1


def tags_of(keys: U64, imsis: U64) -> U64:
    """Mix pairs to their tags."""
    tags: U64 = keys * np.uint64(GOLDEN) ^ imsis * np.uint64(_IMSI_FACTOR)
    tags = (tags ^ tags >> np.uint64(32)) * np.uint64(_MIX_FACTOR)
    tags ^= tags >> np.uint64(32)
    tags[tags == 0] = 1
    return tags


@dataclass
class CaseTable:
    """The slots, and which case each is of; `numbers` are the writer's alone."""

    bits: int = BITS_MIN
    used: int = 0
    """Slots with a tag, those whose case is gone included."""
    slots: U64 = field(init=False)
    """What readers of other languages read too: see docs/case-table.md."""
    numbers: U32 = field(init=False)
    _words: memoryview = field(init=False)
    """The slots again: one word is read and written much faster than through numpy, and as a whole."""

    def __post_init__(self) -> None:
        """Begin empty."""
        self._use(_empty_slots(self._length), np.zeros(self._length, np.uint32))

    @classmethod
    def build(cls, sources: Sequence[Iterable[Entries]], count_max: int) -> CaseTable:
        """Make the table of all cases at once; the sources, read side by side, have at most so many."""
        bits = BITS_MIN
        while count_max > BUILT_LOAD_MAX * (1 << bits):
            bits += 1
        table = cls(bits)
        with ThreadPoolExecutor(BUILDERS) as pool:
            found = pool.map(lambda source: _by_home(source, bits), sources)
            ready = [part for parts in found for part in parts]
            free = 0
            for cases in _merged(ready, bits, pool):
                if not len(cases.homes):
                    continue
                rank = np.arange(len(cases.homes), dtype=np.int64)
                ahead = cases.homes.astype(np.int64) - rank
                ahead[0] = max(ahead[0], free)
                at = np.maximum.accumulate(ahead) + rank
                free = int(at[-1]) + 1
                if free >= len(table.slots):
                    table._lengthen(free + 1)
                table.slots[at, 0] = cases.tags
                table.slots[at, 1] = cases.values
                table.numbers[at] = cases.numbers
        table.used = sum(len(part.homes) for part in ready)
        return table

    @property
    def _length(self) -> int:
        """Slots: the home places, and slack in which the last runs end."""
        return (1 << self.bits) + 64

    @property
    def full(self) -> bool:
        """Tell whether a larger table must be built before the next case."""
        return self.used >= LOAD_MAX * (1 << self.bits)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.slots.nbytes + self.numbers.nbytes

    def find(self, key: int, imsi: int) -> Found | None:
        """Return what a check learns of a pair's case; any thread may ask."""
        words, tag = self._words, tag_of(key, imsi)
        at = self._home(key) * 2
        while (held := words[at]) != tag:
            if not held:
                return None
            at += 2
        value = words[at + 1]
        return unpack_value(value) if value else None

    def number(self, key: int, imsi: int) -> int:
        """Return the number of a pair's case; -1 where it has none."""
        at = self._at(key, tag_of(key, imsi))
        return int(self.numbers[at]) if at >= 0 and self.slots[at, 1] else -1

    def set(self, key: int, imsi: int, value: int, number: int) -> None:
        """Add a case, or change what checks see of it. The table must not be full."""
        tag = tag_of(key, imsi)
        at = self._at(key, tag)
        if at < 0:
            at = ~at
            if at + 1 >= len(self.slots):
                self._lengthen(at + 65)
            self.used += 1
        self.numbers[at] = number
        self._words[at * 2 + 1] = value
        self._words[at * 2] = tag

    def remove(self, key: int, imsi: int) -> None:
        """Take a case out."""
        at = self._at(key, tag_of(key, imsi))
        if at >= 0:
            self._words[at * 2 + 1] = 0

    def remove_many(self, keys: U64, imsis: U64) -> None:
        """Take cases out."""
        self.set_values(keys, imsis, np.zeros(len(keys), np.uint64))

    def set_values(self, keys: U64, imsis: U64, values: U64) -> None:
        """Change what checks see of cases that are there."""
        tags = tags_of(keys, imsis)
        at: I64 = ((keys * np.uint64(GOLDEN)) >> np.uint64(64 - self.bits)).astype(np.int64)
        while len(at):
            held = self.slots[at, 0]
            found = held == tags
            self.slots[at[found], 1] = values[found]
            further = ~found & (held != 0)
            at, tags, values = at[further] + 1, tags[further], values[further]

    def numbers_near(self, key: int) -> list[int]:
        """Return the numbers of the cases in the run of a key: those of its IMEI, and maybe others."""
        found, at = [], self._home(key)
        while self.slots[at, 0]:
            if self.slots[at, 1]:
                found.append(int(self.numbers[at]))
            at += 1
        return found

    def numbers_near_many(self, keys: U64) -> U32:
        """Return the numbers of the cases in the runs of keys, in any order, maybe repeated."""
        at: I64 = ((keys * np.uint64(GOLDEN)) >> np.uint64(64 - self.bits)).astype(np.int64)
        found = []
        while len(at):
            at = at[self.slots[at, 0] != 0]
            found.append(self.numbers[at[self.slots[at, 1] != 0]])
            at += 1
        return np.concatenate(found) if found else np.empty(0, np.uint32)

    def _home(self, key: int) -> int:
        return (key * GOLDEN & _MASK64) >> (64 - self.bits)

    def _at(self, key: int, tag: int) -> int:
        """Return the place of a tag, or the complement of the place where it would go."""
        words, at = self._words, self._home(key)
        while held := words[at * 2]:
            if held == tag:
                return at
            at += 1
        return ~at

    def _lengthen(self, length: int) -> None:
        """Give the last runs more slack; readers of the old slots find what they had."""
        slots, numbers = _empty_slots(length), np.zeros(length, np.uint32)
        slots[: len(self.slots)], numbers[: len(self.numbers)] = self.slots, self.numbers
        self._use(slots, numbers)

    def _use(self, slots: U64, numbers: U32) -> None:
        self.slots, self.numbers, self._words = slots, numbers, slots.reshape(-1).data


def _empty_slots(length: int) -> U64:
    """Slots, (length, 2), in large pages, where arrays lie in small ones: checks read them at random."""
    words = np.frombuffer(anonymous(2 * length * np.uint64().itemsize), np.uint64)
    return words.reshape(length, 2)


def _sorted(homes: U64, tags: U64, values: U64, numbers: U32) -> _Sorted:
    # Home and place in one number: sorting numbers is much faster than sorting by them.
    order = np.sort(homes << np.uint64(32) | np.arange(len(homes), dtype=np.uint64))
    places = (order & np.uint64(0xFFFFFFFF)).astype(np.int64)
    return _Sorted(order >> np.uint64(32), tags[places], values[places], numbers[places])


def _by_home(source: Iterable[Entries], bits: int) -> list[_Sorted]:
    """Sort each part."""
    shift = np.uint64(64 - bits)
    return [
        _sorted((part.keys * np.uint64(GOLDEN)) >> shift, tags_of(part.keys, part.imsis), *part[2:])
        for part in source
    ]


def _merged(parts: Sequence[_Sorted], bits: int, pool: ThreadPoolExecutor) -> Iterator[_Sorted]:
    """Merge sorted parts: as many pieces as fit a processor's cache, one after the other."""
    pieces = -(-sum(len(part.homes) for part in parts) >> PIECE_BITS)
    ends = (np.arange(1, pieces + 1, dtype=np.uint64) << np.uint64(bits)) // np.uint64(pieces)
    cuts = [[0, *np.searchsorted(part.homes, ends).tolist()] for part in parts]

    def merge(piece: int) -> _Sorted:
        spans = [slice(cut[piece], cut[piece + 1]) for cut in cuts]
        columns = [
            np.concatenate([part[column][span] for part, span in zip(parts, spans, strict=True)])
            for column in range(len(_Sorted._fields))
        ]
        return _sorted(*columns)

    ahead = deque[Future[_Sorted]]()
    for piece in range(pieces):
        ahead.append(pool.submit(merge, piece))
        if len(ahead) > BUILDERS:
            yield ahead.popleft().result()
    yield from (merged.result() for merged in ahead)
