"""A shard: all rows of a range of TACs, as the immutable bytes checks read.

    key ──TAC entry──► block of 65,536 serials ──► state line | sparse lists ──rank──► owner | record

A dense block is a line of presence bits over 293 state lines; a state line is 64
bytes with two bits for each of 224 serials and the running ranks. A sparse block
is three sorted lists of 16-bit serials. The state of a paired key leads by its
rank to the owner, that of a key with more to its record. shard_encode.py writes
it, shard_decode.py reads all rows back. Format: docs/segment-format.md.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from eir.identity import SERIALS
from eir.whitelist.hashtable import I64, Ragged, find_sorted, gather
from eir.whitelist.imsi_blocks import ImsiBlocks
from eir.whitelist.items import KIND_SHIFT, REGISTERED, TWO_WORDS, Item, piece_parts
from eir.whitelist.rows import U64
from eir.whitelist.segment import Kind, Segment
from eir.whitelist.shard_find import Finders, ManyKeys
from eir.whitelist.shard_layout import (
    DENSE_DTYPE,
    FLAG,
    LINE_SERIALS,
    META_LENGTH,
    NEIGHBOURS,
    OWNER_BITS_MAX,
    RANK_MASK,
    RUN_DTYPE,
    TAC_DTYPE,
    Meta,
    Section,
    State,
)

if TYPE_CHECKING:
    from eir.whitelist.imsi_index import ImsiIndex


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
        if not 1 <= self.width <= OWNER_BITS_MAX:
            raise segment.damaged(f"its owners are {self.width} bits wide; allowed are 1 to {OWNER_BITS_MAX}")
        if self.meta[Meta.IMSI_BLOCKS] > len(blocks):
            raise segment.damaged(
                f"is packed by {self.meta[Meta.IMSI_BLOCKS]} IMSI blocks; the dictionary has {len(blocks)}"
            )
        view = segment.array
        self.tacs = view(Section.TACS, TAC_DTYPE)
        self.dense = view(Section.DENSE, DENSE_DTYPE)
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

    # -- what there is ----------------------------------------------------------------------------

    @cached_property
    def item_words(self) -> dict[Item, int]:
        """Words that items take, by kind."""
        counts = np.bincount((self.words >> np.uint64(KIND_SHIFT)).astype(np.uint8), minlength=16)
        return {kind: int(counts[kind]) * (1 + (kind in TWO_WORDS)) for kind in Item if counts[kind]}

    @cached_property
    def blocked_pieces(self) -> int:
        """Range pieces that are blocked."""
        return int(np.count_nonzero(piece_parts(self.ranges)[2]))

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

    def pieces_of(self, tacs: U64) -> Ragged:
        """Range pieces of sorted TACs."""
        entry = find_sorted(self.tac_numbers, tacs)
        first = self.tacs["ranges_first"].astype(np.int64)
        counts = np.zeros(len(tacs), np.int64)
        begin, there = counts.copy(), np.flatnonzero(entry >= 0)
        begin[there], counts[there] = first[entry[there]], np.diff(first)[entry[there]]
        return gather(self.ranges, begin, counts)

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

    @cached_property
    def finder(self) -> ManyKeys:
        """What finds many keys at once; made when it is first asked for."""
        return Finders.of(self)

    def find_many(self, keys: U64) -> tuple[U64, Ragged]:
        """Heads (0: absent) and words of many keys, best sorted."""
        return self.finder.find(keys)


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
