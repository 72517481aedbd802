"""A shard: all rows of a range of TACs, as the immutable bytes checks read.

    key ──TAC entry──► block of 65,536 serials ──► state line | sparse lists ──rank──► owner | record

A dense block is a line of presence bits over 293 state lines; a state line is 64
bytes with two bits for each of 224 serials and the running ranks. A sparse block
is three sorted lists of 16-bit serials. The state of a paired key leads by its
rank to the owner, that of a key with more to its record. `encode` is in
shard_encode.py. Format: docs/segment-format.md.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from eir.identity import SERIALS
from eir.whitelist.hashtable import I64, Ragged, gather, spread
from eir.whitelist.imsi_blocks import ImsiBlocks
from eir.whitelist.items import REGISTERED
from eir.whitelist.rows import U64
from eir.whitelist.segment import Kind, Segment

if TYPE_CHECKING:
    from eir.whitelist.imsi_index import ImsiIndex

BLOCK_SERIALS: Final = 1 << 16
BLOCKS_PER_TAC: Final = 16
LINE_SERIALS: Final = 224
LINES_PER_BLOCK: Final = -(-BLOCK_SERIALS // LINE_SERIALS)
FLAG: Final = 1 << 31
"""In the running rank of paired keys: paired keys here are registered individually."""
RANK_MASK: Final = FLAG - 1
_EXPAND_MAX: Final = 48
"""Serials of a block laid out for one key asked for; beyond, each key is searched by itself."""

TAC_DTYPE: Final = np.dtype(
    [
        ("tac", "<u4"),
        ("dense_mask", "<u2"),
        ("sparse_mask", "<u2"),
        ("dense_first", "<u4"),
        ("sparse_first", "<u4"),
        ("ranges_first", "<u4"),
        ("runs_first", "<u4"),
        ("far_first", "<u4"),
        ("reserved", "<u4"),
    ]
)
DENSE_DTYPE: Final = np.dtype(
    [("presence", "<u8", 5), ("before", "<u2", 5), ("pad", "<u2"), ("first_line", "<u4"), ("reserved", "<u8")]
)
NEIGHBOURS: Final = -(1 << 31)
"""Shift of a run whose slots are linked two by two, from its first serial on."""
RUN_DTYPE: Final = np.dtype([("first", "<u4"), ("length", "<u4"), ("other_tac", "<u4"), ("shift", "<i4")])


class Section(IntEnum):
    """Sections of a shard."""

    TACS = 1
    DENSE = 2
    LINES = 3
    SPARSE = 4
    SPARSE_PAIRED = 5
    SPARSE_REGISTERED = 6
    SPARSE_MORE = 7
    OWNERS = 8
    MORE_FIRST = 9
    WORDS = 10
    RANGES = 11
    RUNS = 12
    FAR = 13
    FAR_TACS = 14
    META = 15


class Meta(IntEnum):
    """Places in the META section."""

    OWNER_BITS = 0
    DENSE_PAIRED = 1
    DENSE_MORE = 2
    PAIRED = 3
    MORE = 4
    KEYS = 5
    IMSI_BLOCKS = 6


META_LENGTH: Final = 8


class State(IntEnum):
    """The two bits of a key."""

    ABSENT = 0
    REGISTERED = 1
    PAIRED = 2
    MORE = 3


@dataclass(frozen=True)
class KeyColumns:
    """Rows of IMEIs as columns sorted by key.

    key u64[n]; head u64[n]: REGISTERED flag and the owner's IMSI code; extra:
    the words of the items of each row.
    """

    key: U64
    head: U64
    extra: Ragged

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.key)


def unpack_bits(words: U64, index: I64, width: int) -> U64:
    """Read `width`-bit numbers at these places of a bit-packed array."""
    bit = index * width
    word = bit >> 6
    shift = (bit & 63).astype(np.uint64)
    low = words[word] >> shift
    high = words[word + 1] << (np.uint64(64) - shift)  # numpy: a shift by 64 is 0
    values: U64 = (low | high) & np.uint64((1 << width) - 1)
    return values


_POSITION_MASK: Final = np.array(
    [[((1 << max(0, min(32, p - 32 * w))) - 1) for w in range(7)] for p in range(LINE_SERIALS)], np.uint32
)
"""Bits of a plane before a position, by position."""


class Shard:
    """One shard in memory. Reading only; one look-up or many."""

    def __init__(self, segment: Segment, blocks: ImsiBlocks) -> None:
        """Take a verified segment and the dictionary its owners are packed by."""
        segment.expect(Kind.SHARD)
        self.segment, self.blocks = segment, blocks
        self.index: ImsiIndex | None = None
        self.first_tac, self.last_tac, self.serial = segment.first_tac, segment.last_tac, segment.serial
        meta = segment.array(Section.META, "<u8")
        if len(meta) != META_LENGTH:
            raise segment.damaged("has no META section")
        self.meta = [int(value) for value in meta]
        self.width = self.meta[Meta.OWNER_BITS]
        if self.meta[Meta.IMSI_BLOCKS] > len(blocks):
            raise segment.damaged(
                f"is packed by {self.meta[Meta.IMSI_BLOCKS]} IMSI blocks; the dictionary has {len(blocks)}"
            )
        view = segment.array
        self.tacs = view(Section.TACS, TAC_DTYPE)
        self.dense = view(Section.DENSE, DENSE_DTYPE)
        self._dense_words = self.dense.view("<u8").reshape(-1)
        self._dense_before = self.dense.view("<u2").reshape(-1)
        self._dense_first_line = self.dense["first_line"].astype(np.int64)
        self.lines = view(Section.LINES, "<u4", 16)
        self.sparse = view(Section.SPARSE, "<u4", 3)
        self.lists = tuple(
            view(s, "<u2") for s in (Section.SPARSE_REGISTERED, Section.SPARSE_PAIRED, Section.SPARSE_MORE)
        )
        self.owners = view(Section.OWNERS, "<u8")
        self.more_first = view(Section.MORE_FIRST, "<u4")
        self.words = view(Section.WORDS, "<u8")
        self.ranges = view(Section.RANGES, "<u8")
        self.runs = view(Section.RUNS, RUN_DTYPE)
        self.far = view(Section.FAR, "<u8")
        self.far_tacs = view(Section.FAR_TACS, "<u4")
        self.tac_numbers = (
            np.ascontiguousarray(self.tacs["tac"][:-1]) if len(self.tacs) else np.empty(0, "<u4")
        )
        # Plain memory for single look-ups: indexing numpy costs far more than a memoryview.
        self._tac_list = self.tac_numbers.data
        self._entries = _words32(self.tacs)
        self._dense64 = self.dense.view("<u8").reshape(-1).data if len(self.dense) else None
        self._dense16 = self.dense.view("<u2").reshape(-1).data if len(self.dense) else None
        self._lines = segment.sections.get(Section.LINES)
        self._sparse = self.sparse.reshape(-1).data if len(self.sparse) else None
        self._lists = tuple(part.data for part in self.lists)
        self._owners = segment.sections.get(Section.OWNERS)
        self._more_first = self.more_first.data
        self._words = self.words.data
        self._ranges = self.ranges.data
        self._far = self.far.data
        self._runs = _words32(self.runs)
        self._far_tacs = self.far_tacs.data

    # -- one look-up ------------------------------------------------------------------------------

    def entry(self, tac: int) -> int:
        """Place of a TAC among the entries, -1 where the shard has nothing of it."""
        place = bisect_left(self._tac_list, tac)
        return place if place < len(self._tac_list) and self._tac_list[place] == tac else -1

    def find(self, tac: int, serial: int) -> tuple[int, memoryview | None]:
        """Head and words of one key; (0, None) where it is absent."""
        entry = self.entry(tac)
        if entry < 0:
            return 0, None
        state, flag, rank = self._state(entry, serial)
        if state == State.ABSENT:
            return 0, None
        if state == State.REGISTERED:
            return REGISTERED, None
        if state == State.PAIRED:
            return (REGISTERED if flag else 0) | self._owner(rank), None
        first, end = self._more_first[rank], self._more_first[rank + 1]
        return self._words[first], self._words[first + 1 : end]

    def _state(self, entry: int, serial: int) -> tuple[int, bool, int]:
        """State, flag and rank (of its state) of one serial."""
        block, low = serial >> 16, serial & 0xFFFF
        bit = 1 << block
        at = entry * 8
        masks = self._entries[at + 1]
        if masks & bit:
            place = self._entries[at + 2] + (masks & (bit - 1)).bit_count()
            return self._dense_state(place, low)
        sparse_mask = masks >> 16
        if sparse_mask & bit:
            place = self._entries[at + 3] + (sparse_mask & (bit - 1)).bit_count()
            return self._sparse_state(place, low)
        return State.ABSENT, False, 0

    def _dense_state(self, place: int, low: int) -> tuple[int, bool, int]:
        line, position = divmod(low, LINE_SERIALS)
        word, bit = line >> 6, 1 << (line & 63)
        assert self._dense64 is not None
        assert self._dense16 is not None
        assert self._lines is not None
        presence = self._dense64[place * 8 + word]
        if not presence & bit:
            return State.ABSENT, False, 0
        before = self._dense16[place * 32 + 20 + word]
        first_line = self._dense16[place * 32 + 26] | self._dense16[place * 32 + 27] << 16
        at = (first_line + before + (presence & (bit - 1)).bit_count()) * 64
        lows = int.from_bytes(self._lines[at + 8 : at + 36], "little")
        highs = int.from_bytes(self._lines[at + 36 : at + 64], "little")
        state = (lows >> position & 1) | (highs >> position & 1) << 1
        if state < State.PAIRED:
            return state, False, 0
        ahead = (1 << position) - 1
        head = int.from_bytes(self._lines[at : at + 4], "little")
        if state == State.PAIRED:
            return state, bool(head & FLAG), (head & RANK_MASK) + (highs & ~lows & ahead).bit_count()
        return (
            state,
            False,
            int.from_bytes(self._lines[at + 4 : at + 8], "little") + (highs & lows & ahead).bit_count(),
        )

    def _sparse_state(self, place: int, low: int) -> tuple[int, bool, int]:
        assert self._sparse is not None
        for state, column, base in (
            (State.PAIRED, 0, self.meta[Meta.DENSE_PAIRED]),
            (State.REGISTERED, 1, 0),
            (State.MORE, 2, self.meta[Meta.DENSE_MORE]),
        ):
            first = self._sparse[place * 3 + column] & RANK_MASK
            end = self._sparse[place * 3 + 3 + column] & RANK_MASK
            serials = self._lists[state - 1]
            at = bisect_left(serials, low, first, end)
            if at < end and serials[at] == low:
                return state, bool(self._sparse[place * 3] & FLAG), base + at
        return State.ABSENT, False, 0

    def _owner(self, rank: int) -> int:
        bit = rank * self.width
        assert self._owners is not None
        packed = int.from_bytes(self._owners[bit >> 3 : (bit >> 3) + 8], "little") >> (bit & 7)
        packed &= (1 << self.width) - 1
        return int(self.blocks.blocks[packed >> 16]) << 16 | packed & 0xFFFF

    def range_pieces(self, tac: int, serial: int) -> list[int]:
        """Range pieces that hold a serial."""
        entry = self.entry(tac)
        if entry < 0:
            return []
        return pieces_at(self._ranges, self._entries[entry * 8 + 4], self._entries[entry * 8 + 12], serial)

    def links(self, tac: int, serial: int) -> list[int]:
        """Keys of the other slots of a device."""
        entry = self.entry(tac)
        if entry < 0:
            return []
        at, out = entry * 8, []
        low, high = self._entries[at + 5], self._entries[at + 13]
        while low < high:  # the last run that begins at or before the serial
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._runs[middle * 4] <= serial else (low, middle)
        if low > self._entries[at + 5]:
            first, length, other_tac, shift = self._runs[(low - 1) * 4 : low * 4]
            if serial - first < length and self._state(entry, serial)[0] != State.ABSENT:
                if shift == NEIGHBOURS & 0xFFFFFFFF:  # the first and the second of each two are one device
                    other = serial + 1 if (serial - first) % 2 == 0 else serial - 1
                else:
                    other = serial + (shift if shift < 1 << 31 else shift - (1 << 32))
                out.append(other_tac * SERIALS + other)
        first, end = self._entries[at + 6], self._entries[at + 14]
        place = bisect_left(self._far, serial << 44, first, end)
        while place < end and self._far[place] >> 44 == serial:
            word = self._far[place]
            out.append(self._far_tacs[word & 0xFFFFFF] * SERIALS + (word >> 24 & 0xFFFFF))
            place += 1
        return out

    def paired_keys(self, tac: int, first: int, last: int) -> U64:
        """Keys of serials first to last whose state is paired, or more."""
        entry = self.entry(tac)
        found = [np.empty(0, np.int64)]
        for block in range(first >> 16, (last >> 16) + 1) if entry >= 0 else ():
            masks, bit = self._entries[entry * 8 + 1], 1 << block
            if masks & bit:
                place = self._entries[entry * 8 + 2] + (masks & (bit - 1)).bit_count()
                found.append(self._dense_serials(place) + (block << 16))
            elif masks >> 16 & bit:
                place = self._entries[entry * 8 + 3] + (masks >> 16 & (bit - 1)).bit_count()
                for column, serials in ((0, self.lists[1]), (2, self.lists[2])):
                    begin, end = (int(place) & RANK_MASK for place in self.sparse[place : place + 2, column])
                    found.append(serials[begin:end].astype(np.int64) + (block << 16))
        serial = np.concatenate(found)
        serial = serial[(serial >= first) & (serial <= last)]
        return (serial + tac * SERIALS).astype(np.uint64)

    def _dense_serials(self, place: int) -> I64:
        """Find serials of a dense block whose state is paired, or more: those with the high bit."""
        presence = np.unpackbits(self.dense["presence"][place : place + 1].view(np.uint8), bitorder="little")
        present = np.flatnonzero(presence)
        start = int(self.dense["first_line"][place])
        planes = np.ascontiguousarray(self.lines[start : start + len(present), 9:16]).view(np.uint8)
        line, position = np.nonzero(np.unpackbits(planes, axis=1, bitorder="little"))
        serials: I64 = present[line] * LINE_SERIALS + position
        return serials

    # -- many look-ups ----------------------------------------------------------------------------

    def find_many(self, keys: U64) -> tuple[U64, Ragged]:
        """Heads (0: absent) and words of many keys, best sorted."""
        state, flag, rank = self.states(keys)
        head = np.where(state == State.REGISTERED, np.uint64(REGISTERED), np.uint64(0))
        paired = np.flatnonzero(state == State.PAIRED)
        if len(paired):
            owner = self.blocks.codes(unpack_bits(self.owners, rank[paired], self.width))
            head[paired] = owner | np.where(flag[paired], np.uint64(REGISTERED), np.uint64(0))
        more = np.flatnonzero(state == State.MORE)
        if not len(more):
            return head, Ragged.empty(len(keys))
        first = self.more_first[rank[more]].astype(np.int64)
        end = self.more_first[rank[more] + 1].astype(np.int64)
        head[more] = self.words[first]
        counts = np.zeros(len(keys), np.int64)
        counts[more] = end - first - 1
        start = np.zeros(len(keys), np.int64)
        start[more] = first + 1
        return head, gather(self.words, start, counts)

    def states(self, keys: U64) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], I64]:
        """State, individually-registered flag and rank of many keys."""
        state = np.zeros(len(keys), np.uint8)
        flag = np.zeros(len(keys), bool)
        rank = np.zeros(len(keys), np.int64)
        if not len(self.tac_numbers) or not len(keys):
            return state, flag, rank
        tac_of = keys // np.uint64(SERIALS)
        serial = (keys - tac_of * np.uint64(SERIALS)).astype(np.int64)
        tac = tac_of.astype(np.int64)
        # Sorted keys come in runs of one TAC: what is of the TAC is looked up once a run.
        begins = np.flatnonzero(np.diff(tac, prepend=-1))
        lengths = np.diff(begins, append=len(keys))
        wanted = tac[begins].astype(np.uint32)
        entry = np.minimum(np.searchsorted(self.tac_numbers, wanted), len(self.tac_numbers) - 1)
        known = self.tac_numbers[entry] == wanted
        block = serial >> 16
        for mask_name, first_name, states_of in (
            ("dense_mask", "dense_first", self._dense_states),
            ("sparse_mask", "sparse_first", self._sparse_states),
        ):
            masks = np.where(known, self.tacs[mask_name][entry], 0).astype(np.int32)
            if not masks.any():
                continue
            mask = np.repeat(masks, lengths)
            at = np.flatnonzero((mask >> block) & 1)
            block_at = block if len(at) == len(keys) else block[at]
            ahead = np.bitwise_count(mask[at] & ((1 << block_at) - 1))
            place = np.repeat(self.tacs[first_name][entry].astype(np.int64), lengths)[at] + ahead
            found = states_of(place, serial[at] & 0xFFFF)
            if len(at) == len(keys):
                return found
            state[at], flag[at], rank[at] = found
        return state, flag, rank

    def _dense_states(self, place: I64, low: I64) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], I64]:
        line = low // LINE_SERIALS
        position = low - line * LINE_SERIALS
        word = line >> 6
        bit = np.uint64(1) << (line & 63).astype(np.uint64)
        presence = self._dense_words.take(place * 8 + word)
        there = (presence & bit) != 0
        at = self._dense_first_line.take(place) + np.bitwise_count(presence & (bit - np.uint64(1)))
        at += self._dense_before.take(place * 32 + 20 + word)
        if not there.all():
            at[~there] = 0
        lines = self.lines.take(at, axis=0)
        own = np.arange(0, 16 * len(place), 16) + (position >> 5)
        shift = (position & 31).astype(np.uint32)
        flat = lines.reshape(-1)
        low_bit = (flat.take(own + 2) >> shift) & np.uint32(1)
        high_bit = (flat.take(own + 9) >> shift) & np.uint32(1) & there
        state = ((low_bit & there) | high_bit << np.uint32(1)).astype(np.uint8)
        flag = (lines[:, 0] & np.uint32(FLAG)) != 0
        rank = np.zeros(len(place), np.int64)
        # Only what is paired or has more has a rank.
        ranked = np.flatnonzero(high_bit)
        if len(ranked) < len(place):
            lines, low_bit, position = lines[ranked], low_bit[ranked], position[ranked]
        if not len(ranked):
            return state, flag, rank
        # paired is high without low, more is both
        planes = lines[:, 2:9] ^ (low_bit - np.uint32(1))[:, None]
        planes &= lines[:, 9:16]
        planes &= _POSITION_MASK.take(position, axis=0)
        counts = np.bitwise_count(planes)
        before = counts[:, 0].astype(np.int64)
        for column in range(1, 7):
            before += counts[:, column]
        rank[ranked] = before + np.where(low_bit, lines[:, 1], lines[:, 0] & np.uint32(RANK_MASK))
        return state, flag, rank

    def _sparse_states(
        self, place: I64, low: I64
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], I64]:
        state = np.zeros(len(place), np.uint8)
        rank = np.zeros(len(place), np.int64)
        flag = (self.sparse[place, 0] & np.uint32(FLAG)) != 0
        todo = np.arange(len(place))
        for code, column, base in (
            (State.PAIRED, 0, self.meta[Meta.DENSE_PAIRED]),
            (State.REGISTERED, 1, 0),
            (State.MORE, 2, self.meta[Meta.DENSE_MORE]),
        ):
            at = self._find_sparse(self.lists[code - 1], column, place[todo], low[todo])
            hit = at >= 0
            found = todo[hit]
            state[found] = code
            rank[found] = at[hit] + base
            todo = todo[~hit]
        return state, flag, rank

    def _find_sparse(self, serials: npt.NDArray[np.uint16], column: int, place: I64, low: I64) -> I64:
        """Index of each serial in the list of its block, -1 where it is not in it."""
        if not len(place) or not len(serials):
            return np.full(len(place), -1, np.int64)
        blocks = place[np.flatnonzero(np.diff(place, prepend=-1))]
        first = self.sparse[blocks, column].astype(np.int64) & RANK_MASK
        length = (self.sparse[blocks + 1, column].astype(np.int64) & RANK_MASK) - first
        number = np.cumsum(np.diff(place, prepend=-1) != 0) - 1
        wanted = low.astype(np.uint16)
        if not (np.diff(blocks) > 0).all() or int(length.sum()) > _EXPAND_MAX * len(place):
            at = _bisect(serials, wanted, first[number], (first + length)[number])
        else:
            # Many of each block are asked for: one search over the blocks laid end to end.
            some = serials.take(spread(first, length)).astype(np.int64)
            some += np.repeat(np.arange(len(blocks), dtype=np.int64) << 16, length)
            at = np.searchsorted(some, (number << 16) | low)
            starts = np.cumsum(length) - length
            at += (first - starts)[number]
        end = (first + length)[number]
        hit = (at < end) & (serials.take(at, mode="clip") == wanted)
        return np.where(hit, at, -1)


def _bisect(values: npt.NDArray[np.uint16], wanted: npt.NDArray[np.uint16], first: I64, end: I64) -> I64:
    """Insert place of each wanted number in its own sorted slice of `values`."""
    if not len(values):
        return first
    low, length = first.copy(), end - first
    todo = np.flatnonzero(length)
    while len(todo):
        half = (length[todo] + 1) >> 1
        middle = low[todo] + half
        step = values.take(middle - 1, mode="clip") < wanted[todo]
        low[todo] = np.where(step, middle, low[todo])
        length[todo] = np.where(step, length[todo] - half, half - 1)
        todo = todo[length[todo] > 0]
    return low


def pieces_at(ranges: memoryview, first: int, end: int, serial: int) -> list[int]:
    """Pieces of a sorted slice that hold a serial: pieces with one begin share one end."""
    place = bisect_left(ranges, (serial + 1) << 44, first, end) - 1
    out: list[int] = []
    while place >= first:
        piece = ranges[place]
        if piece >> 24 & 0xFFFFF < serial:
            break
        out.append(piece)
        place -= 1
    return out


def _words32(records: npt.NDArray[np.void]) -> memoryview:
    return records.view("<u4").reshape(-1).data if len(records) else np.empty(0, "<u4").data
