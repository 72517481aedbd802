"""Many keys of a shard at once: how the writer and batches read.

    sorted keys ──by block──► lines of dense blocks | lists of sparse ones ──► states, ranks ──► heads, words

Whole columns, and no more than a few passes over them. Format: docs/segment-format.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from eir.identity import SERIALS
from eir.whitelist.hashtable import I64, Ragged, spread
from eir.whitelist.items import REGISTERED
from eir.whitelist.rows import U64
from eir.whitelist.shard_layout import (
    BLOCK_SERIALS,
    BLOCKS_PER_TAC,
    FLAG,
    LINE_SERIALS,
    RANK_MASK,
    Meta,
    State,
    unpack_bits,
)

if TYPE_CHECKING:
    from eir.whitelist.shard import Shard

Bools = npt.NDArray[np.bool_]
U16 = npt.NDArray[np.uint16]

_PIECE: Final = 32
"""Serials of a sparse list that are compared at once; one of so many is in its sample."""
_PROBES: Final = 32
"""So many keys tell which list is worth searching first."""
_COLUMNS: Final = (State.PAIRED, State.REGISTERED, State.MORE)
"""Columns of the index of sparse blocks."""
_HALF_LINE: Final = np.dtype("V32")
_HEAD_OF_STATE: Final = np.array([0, REGISTERED, 0, 0], np.uint64)


def _ahead() -> npt.NDArray[np.uint32]:
    """Masks over the second half of a state line: the bits of the high plane before each position."""
    bits = np.arange(LINE_SERIALS) < np.arange(LINE_SERIALS)[:, None]
    masks = np.zeros((LINE_SERIALS, 8), np.uint32)
    masks[:, 1:] = np.packbits(bits, axis=1, bitorder="little").view("<u4")
    return masks


_AHEAD: Final = _ahead().view(_HALF_LINE).reshape(-1)


class ManyKeys(Protocol):
    """What finds many keys in a shard: `Finder`, or the native engine."""

    def find(self, keys: U64) -> tuple[U64, Ragged]:
        """Heads (0: absent) and words of many keys, best sorted."""


class Found(NamedTuple):
    """State of each key; of those that are paired or have more (`at`): flag and rank."""

    state: npt.NDArray[np.uint8]
    at: I64
    flag: Bools
    rank: I64


class Blocks(NamedTuple):
    """Blocks of one form in the order of their keys [start, end), and the place of each."""

    start: U64
    end: U64
    place: I64

    @classmethod
    def of(cls, tacs: npt.NDArray[np.void], form: str) -> Blocks:
        """Find the dense or sparse blocks of the TACs' entries."""
        masks = np.ascontiguousarray(tacs[f"{form}_mask"][:-1])
        bit = np.flatnonzero(np.unpackbits(masks.view(np.uint8), bitorder="little"))
        entry, block = np.divmod(bit, BLOCKS_PER_TAC)
        base = tacs["tac"][:-1][entry].astype(np.uint64) * np.uint64(SERIALS)
        start = (block * BLOCK_SERIALS).astype(np.uint64)
        end = np.minimum(start + np.uint64(BLOCK_SERIALS), np.uint64(SERIALS))
        before = np.bitwise_count(masks[entry] & ((1 << block) - 1))
        return cls(base + start, base + end, tacs[f"{form}_first"][entry].astype(np.int64) + before)

    def locate(self, keys: U64) -> tuple[I64 | None, I64, npt.NDArray[np.uint32]]:
        """Sorted keys that lie in these blocks (None: all): block and serial within the block of each."""
        first = max(int(np.searchsorted(self.start, keys[0], "right")) - 1, 0)
        end = int(np.searchsorted(self.start, keys[-1], "right"))
        if not end:  # all keys come before the first block
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint32)
        if end - first > len(keys):
            block = np.searchsorted(self.start, keys, "right") - 1
        else:
            begin = np.searchsorted(keys, self.start[first:end])
            # Keys before the first block count as its own, and are found to lie outside.
            begin[:1] = 0
            block = np.repeat(np.arange(first, end), np.diff(begin, append=len(keys)))
        start = self.start.take(block, mode="clip")
        offset = (keys - start).astype(np.uint32)
        inside = keys < self.end.take(block, mode="clip")
        inside &= keys >= start
        if inside.all():
            return None, self.place.take(block), offset
        at = np.flatnonzero(inside)
        return at, self.place.take(block[at]), offset[at]


class SparseList:
    """The serials of one state in all sparse blocks, and a sample of them to find where to look."""

    def __init__(self, serials: U16, ends: I64) -> None:
        """Take the serials, and where each block's begin: [blocks + 1]."""
        self.serials, self.ends = serials, ends
        whole = len(serials) // _PIECE
        self._pieces = serials[: whole * _PIECE].view(f"V{2 * _PIECE}")
        self._rest = np.full(_PIECE, 0, np.uint16)
        self._rest[: len(serials) - whole * _PIECE] = serials[whole * _PIECE :]
        sample = serials[::_PIECE]
        # The last block that begins at or before each: those before it are over, or empty.
        begun = np.bincount((ends[:-1] + _PIECE - 1) // _PIECE, minlength=len(sample))
        self._sample = (np.cumsum(begun)[: len(sample)] - 1) << 16 | sample

    def find(self, place: I64, low: npt.NDArray[np.uint32]) -> tuple[I64, I64]:
        """Find keys: which of them are in the list, and where in it. Fastest where they are in order."""
        if not len(self._sample):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        piece = np.searchsorted(self._sample, place << 16 | low, "right") - 1
        if len(self._pieces):
            near = self._pieces.take(piece, mode="clip").view(np.uint16).reshape(-1, _PIECE)
        else:
            near = np.empty((len(piece), _PIECE), np.uint16)
        near[piece == len(self._pieces)] = self._rest
        hit = np.flatnonzero((near == low.astype(np.uint16)[:, None]).reshape(-1))
        key = hit // _PIECE
        where = piece[key] * _PIECE + hit % _PIECE
        block = place[key]
        # The same serial may stand beside it, in another block.
        mine = (where >= self.ends[block]) & (where < self.ends[block + 1])
        return (key, where) if mine.all() else (key[mine], where[mine])


class Finder:
    """Finds many keys in a shard. Holds no reference to it: memory is freed as soon as it is replaced."""

    def __init__(self, shard: Shard) -> None:
        """Take the sections of a shard."""
        self._blocks = shard.blocks
        self._owners, self._width = shard.owners, shard.width
        self._more_first, self._words = shard.more_first, shard.words
        self._lines = shard.lines.reshape(-1)
        self._halves = self._lines.view(_HALF_LINE)
        self._presence = shard.dense.view("<u8").reshape(-1)
        # Line before each word of presence bits, 8 places a block.
        before = np.zeros((len(shard.dense), 8), np.int64)
        before[:, :5] = shard.dense["before"]
        self._line_before = (before + shard.dense["first_line"][:, None]).reshape(-1)
        self._flags = (shard.sparse[:, 0] & np.uint32(FLAG)) != 0
        # Each list with its state, and the rank of its first serial.
        bases = ((State.PAIRED, shard.meta[Meta.DENSE_PAIRED]), (State.REGISTERED, 0))
        self._lists = [
            (
                state,
                base,
                SparseList(shard.lists[state - 1], shard.sparse[:, column].astype(np.int64) & RANK_MASK),
            )
            for column, (state, base) in enumerate((*bases, (State.MORE, shard.meta[Meta.DENSE_MORE])))
        ]
        empty = not len(shard.tacs)
        self._forms: list[tuple[Blocks, Callable[[I64, npt.NDArray[np.uint32]], Found]]] = [
            (blocks, find)
            for form, find in (("dense", self._dense), ("sparse", self._sparse))
            if not empty and len((blocks := Blocks.of(shard.tacs, form)).start)
        ]

    def find(self, keys: U64) -> tuple[U64, Ragged]:
        """Heads (0: absent) and words of many keys, best sorted."""
        if not (keys[1:] >= keys[:-1]).all():
            order = np.argsort(keys)
            head, extra = self.find(keys[order])
            back = np.empty(len(keys), np.int64)
            back[order] = np.arange(len(keys))
            return head[back], extra.take(back)
        state, at, flag, rank = self.states(keys)
        head = _HEAD_OF_STATE.take(state)
        more = state.take(at) == State.MORE
        if not more.any():
            head[at] = self._owned(flag, rank)
            return head, Ragged.empty(len(keys))
        paired = ~more
        head[at[paired]] = self._owned(flag[paired], rank[paired])
        at, rank = at[more], rank[more]
        order = np.argsort(at)  # those of dense blocks came first, then the others
        at, rank = at[order], rank[order]
        start = self._more_first.take(rank).astype(np.int64)
        counts = self._more_first.take(rank + 1) - start
        head[at] = self._words.take(start)
        first = np.zeros(len(keys) + 1, np.int64)
        first[1:][at] = counts - 1
        np.cumsum(first, out=first)
        return head, Ragged(first, self._words[spread(start + 1, counts - 1)])

    def _owned(self, flag: Bools, rank: I64) -> U64:
        """Heads of paired keys."""
        head = self._blocks.codes(unpack_bits(self._owners, rank, self._width))
        return head | flag.astype(np.uint64) * np.uint64(REGISTERED)

    def states(self, keys: U64) -> Found:
        """States of many sorted keys."""
        state, none = np.zeros(len(keys), np.uint8), np.empty(0, np.int64)
        parts = [(none, none.astype(bool), none)]
        for blocks, find in self._forms if len(keys) else ():
            at, place, low = blocks.locate(keys)
            found = find(place, low)
            if at is None:
                return found
            state[at] = found.state
            parts.append((at[found.at], found.flag, found.rank))
        if len(parts) == 1:
            return Found(state, *parts[0])
        return Found(state, *(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def _dense(self, place: I64, low: npt.NDArray[np.uint32]) -> Found:
        line = low // np.uint32(LINE_SERIALS)
        position = low - line * np.uint32(LINE_SERIALS)
        word = place * 8 + (line >> 6)
        bit = np.uint64(1) << (line & np.uint32(63)).astype(np.uint64)
        presence = self._presence.take(word)
        at = self._line_before.take(word) + np.bitwise_count(presence & (bit - np.uint64(1)))
        own = at * 16 + (position >> 5)
        shift = position & np.uint32(31)
        state = (self._lines.take(own + 2, mode="clip") >> shift) & np.uint32(1)
        state |= ((self._lines.take(own + 9, mode="clip") >> shift) & np.uint32(1)) << np.uint32(1)
        state = state.astype(np.uint8)
        state *= (presence & bit) != 0
        ranked = np.flatnonzero(state > State.REGISTERED)
        all_ranked = len(ranked) == len(state)
        half = at * 2 if all_ranked else at[ranked] * 2
        ahead = _AHEAD.take(position if all_ranked else position[ranked]).view(np.uint32)
        # A line is two ranks, 7 words of the low plane and 7 of the high one: 8 words a half.
        front = self._halves.take(half).view(np.uint32)
        back = self._halves.take(half + 1).view(np.uint32)
        low_plane = np.empty_like(front)
        low_plane[:-1] = front[1:]
        low_plane[7::8] = back[::8]
        more = np.flatnonzero(state[ranked] == State.MORE)
        both = back.reshape(-1, 8)[more] & low_plane.reshape(-1, 8)[more]
        own_plane = np.invert(low_plane, out=low_plane)
        own_plane &= back
        own_plane.reshape(-1, 8)[more] = both
        own_plane &= ahead
        # At most 224 bits: their sum fits the byte that the product puts on top.
        counts = np.bitwise_count(own_plane.view(np.uint64)).view(np.uint32)
        rank = ((counts * np.uint32(0x01010101)) >> np.uint32(24)).astype(np.int64)
        first = front[::8] & np.uint32(RANK_MASK)
        first[more] = front[1::8][more]
        return Found(state, ranked, (front[::8] & np.uint32(FLAG)) != 0, rank + first)

    def _sparse(self, place: I64, low: npt.NDArray[np.uint32]) -> Found:
        state = np.zeros(len(place), np.uint8)
        none = np.empty(0, np.int64)
        parts = [(none, none)]
        todo: I64 | None = None
        step = len(place) // _PROBES + 1
        probe = place[::step], low[::step]
        # A key is in one list at most: the fuller the first is of them, the less is left for the others.
        for code, base, serials in sorted(self._lists, key=lambda one: -len(one[2].find(*probe)[0])):
            mine = (place, low) if todo is None else (place[todo], low[todo])
            hit, where = serials.find(*mine)
            found = hit if todo is None else todo[hit]
            state[found] = code
            if code != State.REGISTERED:
                parts.append((found, where + base))
            if len(found) == len(mine[0]):
                break
            left = np.ones(len(mine[0]), bool)
            left[hit] = False
            todo = np.flatnonzero(left) if todo is None else todo[left]
        at, rank = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return Found(state, at, self._flags[place[at]], rank)


class Finders:
    """Who finds many keys in a shard: `Finder`, until the native engine is put in its place."""

    of: ClassVar[Callable[[Shard], ManyKeys]] = Finder

    @classmethod
    def use(cls, of: Callable[[Shard], ManyKeys]) -> None:
        """Let another find them in the shards that are read from now on."""
        cls.of = of
