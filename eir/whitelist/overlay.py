"""An overlay: whole rows that came since the segments were built.

    rows of a delta ──merged──► columns ──image──► hash tables a check reads

A row is the whole state of its key, resolved by the writer, so that a reader
stops at the first level that has it. A row without anything says: gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from eir.identity import SERIALS
from eir.whitelist.hashtable import SLOTS_MIN, Columns, HashTable
from eir.whitelist.segment import Kind, Segment, pack


class Table(IntEnum):
    """Tables of an overlay, and what their keys and words are."""

    KEYS = 0  # IMEI key -> head, items
    LINKS = 1  # IMEI key -> keys of the other slots
    RANGES = 2  # TAC -> pieces
    RAW = 3  # hash of the text -> head, items, the text in two words
    IMSI = 4  # IMSI code -> items
    TACS = 5  # TAC -> number of the device type, 0: none (inline)


COMMON: Final = (Table.RAW, Table.IMSI, Table.TACS)
"""Tables that are not split by TAC: their base is the common segment."""
_SPLIT: Final = {Table.KEYS: SERIALS, Table.LINKS: SERIALS, Table.RANGES: 1}
"""Tables that are split by TAC, and how many of their keys a TAC has."""
SLOTS_SECTION: Final = 100
WORDS_SECTION: Final = 101
IMSI_BLOCKS_SECTION: Final = 120


def table_sections(tables: Mapping[Table, HashTable]) -> dict[int, npt.NDArray[np.generic]]:
    """Sections that hold hash tables."""
    out: dict[int, npt.NDArray[np.generic]] = {}
    for table, image in tables.items():
        out[SLOTS_SECTION + 2 * table] = image.slots.reshape(-1)
        out[WORDS_SECTION + 2 * table] = image.words
    return out


def tables_of(segment: Segment) -> dict[Table, HashTable]:
    """Hash tables of a segment. Raises SegmentDamagedError."""
    out = {}
    for table in Table:
        slots = segment.array(SLOTS_SECTION + 2 * table, "<u8")
        words = segment.array(WORDS_SECTION + 2 * table, "<u8")
        if len(slots) % 2 or (len(slots) and (len(slots) < 2 * SLOTS_MIN or slots[-1])):
            raise segment.damaged(f"the slots of table {table.name} do not end in an empty one")
        out[table] = HashTable(slots, words)
    return out


_NOTHING: Final = Columns.empty()


@dataclass(frozen=True)
class Overlay:
    """Rows above the segments, as columns for the writer and images for checks."""

    columns: Mapping[Table, Columns]
    images: Mapping[Table, HashTable] = field(default_factory=dict)
    """Images that are there already; `tables` builds the others."""

    @classmethod
    def of(cls, columns: Mapping[Table, Columns]) -> Overlay:
        """Make an overlay of columns, with the images of them."""
        return cls(columns).built()

    @classmethod
    def empty(cls) -> Overlay:
        """Make an overlay without rows."""
        return cls.of({})

    @cached_property
    def tables(self) -> tuple[HashTable, ...]:
        """Images of all tables."""
        return tuple(
            self.images.get(table) or HashTable.build(self.columns.get(table, _NOTHING)) for table in Table
        )

    def built(self) -> Overlay:
        """Build what checks read: nothing is built when they come."""
        _ = self.tables
        return self

    def merged(self, *newer: Mapping[Table, Columns]) -> Overlay:
        """Return this overlay with newer rows over it, the newest last; images are built by `built`."""
        columns = dict(self.columns)
        for part in newer:
            for table, rows in part.items():
                if len(rows):
                    columns[table] = columns.get(table, _NOTHING).merged(rows)
        images = dict(zip(Table, self.tables, strict=True)) if "tables" in self.__dict__ else self.images
        same = {table for table in images if columns.get(table) is self.columns.get(table)}
        return Overlay(columns, {table: images[table] for table in same})

    @cached_property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(len(part) for part in self.columns.values())

    def between(self, first_tac: int, last_tac: int, *, common: bool) -> Overlay:
        """Return the rows of a range of TACs, and those that are not split by TAC where `common` says so."""
        columns: dict[Table, Columns] = {}
        if common:
            columns = {table: rows for table, rows in self.columns.items() if table not in _SPLIT}
        for table, scale in _SPLIT.items():
            if table in self.columns:
                edges = np.array([first_tac * scale, (last_tac + 1) * scale], np.uint64)
                start, end = np.searchsorted(self.columns[table].keys, edges).tolist()
                columns[table] = self.columns[table].part(start, end)
        return Overlay(columns)

    @property
    def nbytes(self) -> int:
        """Bytes of memory of the images."""
        return sum(table.nbytes for table in self.tables)

    def image(self, serial: int) -> bytearray:
        """Bytes of an overlay segment, for the child that rebuilds."""
        return pack(Kind.OVERLAY, table_sections(dict(zip(Table, self.tables, strict=True))), serial=serial)

    @classmethod
    def from_segment(cls, segment: Segment) -> Overlay:
        """Read an overlay segment."""
        tables = tables_of(segment)
        return cls({table: image.columns() for table, image in tables.items()}, tables)
