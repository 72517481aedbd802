"""A generation: what every check reads, replaced by one assignment.

    levels (newest overlay first) ──miss──► shard of the TAC | common

Reading never locks: a generation and all it holds are immutable.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from eir.identity import SERIALS
from eir.whitelist.hashtable import I64, Columns, HashTable, Ragged, find_sorted, gather
from eir.whitelist.imsi_blocks import ImsiBlocks
from eir.whitelist.items import piece_parts
from eir.whitelist.order import distinct
from eir.whitelist.overlay import IMSI_BLOCKS_SECTION, Overlay, Table, table_sections, tables_of
from eir.whitelist.rows import U64
from eir.whitelist.segment import Kind, Segment, pack
from eir.whitelist.shard import KeyColumns, Shard, pieces_at
from eir.whitelist.shard_links import links_of

TABLES: Final = (
    "registered",
    "registered_ranges",
    "pairs",
    "utilizers",
    "blocks",
    "blocked_ranges",
    "tracked",
    "exemptions",
    "grandfathered",
    "links",
    "raw",
    "imsi_exemptions",
    "tacs",
    "subscribers",
)
"""Tables by their names in the glossary; counts are in this order."""

_CHUNK_ROWS: Final = 1 << 15
"""Rows looked up at a time: temporaries stay in the cache."""
_FNV_OFFSET: Final = 0xCBF29CE484222325
_FNV_PRIME: Final = 0x100000001B3


def raw_key(text: str) -> int:
    """Key of a raw list entry: FNV-1a, 64 bits, of its ASCII bytes."""
    value = _FNV_OFFSET
    for byte in text.encode("ascii", "replace"):
        value = ((value ^ byte) * _FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return value


def raw_words(text: str) -> tuple[int, int]:
    """Return a raw text, at most 16 ASCII characters, as two words."""
    data = text.encode("ascii").ljust(16, b"\0")
    return int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little")


class Common:
    """Tables that are not split by TAC, and the dictionary of IMSI blocks."""

    def __init__(self, tables: dict[Table, HashTable], blocks: ImsiBlocks, nbytes: int = 0) -> None:
        """Take hash tables by name."""
        empty = HashTable.build(Columns.empty())
        self.tables = tuple(tables.get(table, empty) for table in Table)
        self.blocks = blocks
        self.nbytes = nbytes

    @classmethod
    def empty(cls) -> Common:
        """Make a common segment without rows."""
        return cls({}, ImsiBlocks(np.empty(0, np.uint64)))

    @classmethod
    def of(cls, segment: Segment) -> Common:
        """Read a common segment."""
        segment.expect(Kind.COMMON)
        blocks = ImsiBlocks(segment.array(IMSI_BLOCKS_SECTION, "<u8"))
        return cls(tables_of(segment), blocks, segment.total_bytes)

    @staticmethod
    def image(tables: dict[Table, HashTable], blocks: ImsiBlocks, serial: int) -> bytearray:
        """Bytes of a common segment."""
        sections = table_sections(tables)
        sections[IMSI_BLOCKS_SECTION] = blocks.blocks
        return pack(Kind.COMMON, sections, serial=serial, last_tac=99_999_999)


@dataclass(frozen=True)
class Generation:
    """Everything a check reads. Shards are sorted by TAC and cover all of them."""

    serial: int
    levels: tuple[Overlay, ...]
    shards: tuple[Shard, ...]
    common: Common
    shard_tacs: tuple[int, ...] = ()

    @classmethod
    def of(
        cls, serial: int, levels: Sequence[Overlay], shards: Sequence[Shard], common: Common
    ) -> Generation:
        """Make a generation."""
        shards = tuple(sorted(shards, key=lambda shard: shard.first_tac))
        return cls(serial, tuple(levels), shards, common, tuple(shard.first_tac for shard in shards))

    def with_levels(self, serial: int, levels: Sequence[Overlay]) -> Generation:
        """Return the generation with other overlays."""
        return replace(self, serial=serial, levels=tuple(levels))

    # -- one look-up ------------------------------------------------------------------------------

    def key_row(self, key: int) -> tuple[int, memoryview | None]:
        """Head and words of an IMEI key; (0, None) where nothing is known of it."""
        hit = self._above(Table.KEYS, key)
        if hit is not None:
            return hit
        shard = self._shard(key // SERIALS)
        return shard.find(*divmod(key, SERIALS)) if shard is not None else (0, None)

    def links(self, key: int) -> Sequence[int]:
        """Keys of the other slots of the device."""
        hit = self._above(Table.LINKS, key)
        if hit is not None:
            return hit[1] or ()
        shard = self._shard(key // SERIALS)
        return shard.links(*divmod(key, SERIALS)) if shard is not None else ()

    def range_pieces(self, key: int) -> Sequence[int]:
        """Range pieces that hold a key."""
        tac, serial = divmod(key, SERIALS)
        hit = self._above(Table.RANGES, tac)
        if hit is not None:
            return pieces_at(hit[1], 0, len(hit[1]), serial) if hit[1] is not None else ()
        shard = self._shard(tac)
        return shard.range_pieces(tac, serial) if shard is not None else ()

    def raw_row(self, text: str) -> tuple[int, memoryview | None]:
        """Head and words of a raw list entry."""
        if len(text) > 16 or not text.isascii():
            return 0, None
        head, words = self._common(Table.RAW, raw_key(text))
        if words is None or (words[-2], words[-1]) != raw_words(text):
            return 0, None
        return head, words[:-2]

    def raw_texts(self, keys: U64) -> list[str]:
        """Return the texts of raw entries by the keys of their rows; gone ones are left out."""
        rows = self.read_common(Table.RAW, keys)
        runs = [rows.extra.run(place) for place in range(len(rows))]
        return [run[-2:].astype("<u8").tobytes().rstrip(b"\0").decode("ascii") for run in runs if len(run)]

    def imsi_words(self, code: int) -> memoryview | None:
        """Words of an IMSI: its exemptions."""
        return self._common(Table.IMSI, code)[1]

    def device_type(self, tac: int) -> int:
        """Return the number of a TAC's device type; 0: none known."""
        return self._common(Table.TACS, tac)[0]

    def _above(self, table: Table, key: int) -> tuple[int, memoryview | None] | None:
        for level in self.levels:
            image = level.tables[table]
            hit = image.find(key)
            if hit is not None:
                head, offset, count = hit
                return head, image.word_run(offset, count) if count else None
        return None

    def _common(self, table: Table, key: int) -> tuple[int, memoryview | None]:
        hit = self._above(table, key)
        if hit is not None:
            return hit
        image = self.common.tables[table]
        found = image.find(key)
        if found is None:
            return 0, None
        head, offset, count = found
        return head, image.word_run(offset, count) if count else None

    def _shard(self, tac: int) -> Shard | None:
        place = bisect_right(self.shard_tacs, tac) - 1
        return self.shards[place] if place >= 0 else None

    # -- many look-ups ----------------------------------------------------------------------------

    def read_keys(self, keys: U64) -> KeyColumns:
        """Rows of sorted keys; head 0 and no words where a key is absent."""
        parts = [self._read_keys(keys[at : at + _CHUNK_ROWS]) for at in range(0, len(keys), _CHUNK_ROWS)]
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return KeyColumns(keys, np.empty(0, np.uint64), Ragged.empty())
        head = np.concatenate([part.head for part in parts])
        return KeyColumns(keys, head, join([part.extra for part in parts]))

    def _read_keys(self, keys: U64) -> KeyColumns:
        head, extra, missing = self._read_above(Table.KEYS, keys)
        if not len(missing):
            return KeyColumns(keys, head, extra)
        parts_at, parts_head, parts_extra = [], [], []
        wanted = keys if len(missing) == len(keys) else keys[missing]
        for shard, start, end in self._by_shard(wanted, SERIALS):
            found_head, found_extra = shard.find_many(wanted[start:end])
            parts_at.append(missing[start:end])
            parts_head.append(found_head)
            parts_extra.append(found_extra)
        if sum(map(len, parts_head)) == len(keys):  # of shards alone, which are in the order of the keys
            return KeyColumns(keys, np.concatenate(parts_head), join(parts_extra))
        if parts_at:
            at = np.concatenate(parts_at)
            head[at] = np.concatenate(parts_head)
            extra = overlay_runs(extra, at, join(parts_extra))
        return KeyColumns(keys, head, extra)

    def _by_shard(self, wanted: U64, scale: int) -> Iterator[tuple[Shard, int, int]]:
        """Cut sorted keys, of which a TAC has `scale`, by the shards that may have them."""
        edges = np.searchsorted(wanted, np.array(self.shard_tacs, np.uint64) * np.uint64(scale)).tolist()
        for shard, start, end in zip(self.shards, edges, [*edges[1:], len(wanted)], strict=False):
            if start < end:
                yield shard, start, end

    def paired_keys(self, first: int, last: int) -> U64:
        """Keys from first to last, of one TAC, that may be paired: their rows tell."""
        found = [np.empty(0, np.uint64)]
        for level in self.levels:
            columns = level.columns.get(Table.KEYS)
            if columns is not None:
                start, end = np.searchsorted(columns.keys, np.array([first, last + 1], np.uint64))
                found.append(columns.keys[start:end])
        shard = self._shard(first // SERIALS)
        if shard is not None:
            found.append(shard.paired_keys(first // SERIALS, first % SERIALS, last % SERIALS))
        return np.concatenate(found)

    def read_links(self, keys: U64) -> Ragged:
        """Keys of the other slots of sorted keys."""
        return self._read_runs(Table.LINKS, keys, SERIALS, links_of)

    def read_ranges(self, tacs: U64) -> Ragged:
        """Pieces of sorted TACs."""
        return self._read_runs(Table.RANGES, tacs, 1, Shard.pieces_of)

    def _read_runs(self, table: Table, keys: U64, scale: int, of: Callable[[Shard, U64], Ragged]) -> Ragged:
        """Words of sorted keys, of which a TAC has `scale`; `of` reads those that no overlay has."""
        _, extra, missing = self._read_above(table, keys)
        wanted, at, runs = keys[missing], [], []
        for shard, start, end in self._by_shard(wanted, scale):
            at.append(missing[start:end])
            runs.append(of(shard, wanted[start:end]))
        return overlay_runs(extra, np.concatenate(at), join(runs)) if at else extra

    def registered_in_ranges(self) -> int:
        """Count the IMEIs that lie in registered ranges; reads all of them."""
        above = [level.columns[Table.RANGES].keys for level in self.levels if Table.RANGES in level.columns]
        tacs = distinct(
            np.concatenate([*above, *(shard.tac_numbers for shard in self.shards), np.empty(0, np.uint64)])
        )
        first, last, cause, _ = piece_parts(self.read_ranges(tacs.astype(np.uint64)).words)
        registered = cause == 0
        return int((last - first + np.uint64(1))[registered].sum())

    def read_common(self, table: Table, keys: U64) -> Columns:
        """Rows of sorted keys of a table that is not split by TAC."""
        head, extra, missing = self._read_above(table, keys)
        image = self.common.tables[table]
        slots = image.find_many(keys[missing])
        found = np.flatnonzero(slots >= 0)
        if len(found):
            found_head, found_extra = image.read_many(slots[found])
            head[missing[found]] = found_head
            extra = overlay_runs(extra, missing[found], found_extra)
        return Columns(keys, head, extra)

    def _read_above(self, table: Table, keys: U64) -> tuple[U64, Ragged, I64]:
        """Heads and words of keys the overlays have, and the places of those they have not."""
        head = np.zeros(len(keys), np.uint64)
        extra = Ragged.empty(len(keys))
        missing = np.arange(len(keys))
        for level in self.levels:
            columns = level.columns.get(table)
            if columns is None or not len(columns) or not len(missing):
                continue
            place = find_sorted(columns.keys, keys[missing])
            hit = place >= 0
            if hit.any():
                found = missing[hit]
                head[found] = columns.heads[place[hit]]
                extra = overlay_runs(extra, found, columns.extra.take(place[hit]))
                missing = missing[~hit]
        return head, extra, missing

    @property
    def overlay_rows(self) -> int:
        """Rows above the segments."""
        return sum(level.rows for level in self.levels)


def join(parts: Sequence[Ragged]) -> Ragged:
    """Lay the runs of all parts one after the other."""
    if len(parts) == 1:
        return parts[0]
    if not any(len(part.words) for part in parts):
        return Ragged.empty(sum(map(len, parts)))
    first, words, length = [], [], 0
    for part in parts:
        first.append(part.first[:-1] + (length - part.first[0]))
        words.append(part.words[part.first[0] : part.first[-1]])
        length += len(words[-1])
    return Ragged(np.concatenate([*first, [length]]), np.concatenate(words))


def overlay_runs(base: Ragged, at: I64, runs: Ragged) -> Ragged:
    """Return the base with the runs at these places replaced."""
    if not len(runs.words) and not len(base.words):
        return base
    counts, first = base.counts(), base.first[:-1].copy()
    counts[at] = runs.counts()
    first[at] = runs.first[:-1] + len(base.words)
    return gather(np.concatenate((base.words, runs.words)), first, counts)
