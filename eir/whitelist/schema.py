"""registry.db: its tables, and their rows as values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum
from itertools import repeat
from typing import Any, Final, NamedTuple

from crc32c import crc32c

from eir.errors import JournalDamagedError

COUNTS_KEY: Final = "counts"
"""Of meta: rows by table, as JSON."""
VERSION: Final = 3
"""In user_version; a daemon reads no other, and brings those before up to this (`upgrade`)."""

SCHEMA: Final = """
CREATE TABLE deltas (
    serial INTEGER PRIMARY KEY, token INTEGER NOT NULL UNIQUE, feed TEXT NOT NULL, sequence INTEGER NOT NULL,
    base_sequence INTEGER NOT NULL, row_count INTEGER NOT NULL, chunk_count INTEGER NOT NULL,
    content_sha256 BLOB NOT NULL, complete_until INTEGER NOT NULL, reference TEXT NOT NULL,
    overridden INTEGER NOT NULL, ignored_row_count INTEGER NOT NULL, committed_at INTEGER NOT NULL,
    counts TEXT NOT NULL, crc32c INTEGER NOT NULL, UNIQUE (feed, sequence)
) STRICT;
CREATE TABLE chunks (
    token INTEGER NOT NULL, chunk INTEGER NOT NULL, crc32c INTEGER NOT NULL, rows BLOB NOT NULL,
    PRIMARY KEY (token, chunk)
) STRICT;
CREATE TABLE feeds (
    feed TEXT PRIMARY KEY, sequence INTEGER NOT NULL, serial INTEGER NOT NULL,
    complete_until INTEGER NOT NULL, applied_at INTEGER NOT NULL, base_sequence INTEGER NOT NULL,
    row_count INTEGER NOT NULL, content_sha256 BLOB NOT NULL, crc32c INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE names (
    kind TEXT NOT NULL, id INTEGER NOT NULL, name TEXT NOT NULL, crc32c INTEGER NOT NULL,
    PRIMARY KEY (kind, id), UNIQUE (kind, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE segments (
    file TEXT PRIMARY KEY, kind TEXT NOT NULL, first_tac INTEGER NOT NULL, last_tac INTEGER NOT NULL,
    serial INTEGER NOT NULL, crc32c INTEGER NOT NULL, bytes INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('current', 'previous')), row_crc32c INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE audit (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, why TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE TABLE meta (k TEXT PRIMARY KEY, v TEXT NOT NULL, crc32c INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""

SUBSCRIBER_TABLES: Final = """
CREATE TABLE subscribers_by_imsi (
    id INTEGER PRIMARY KEY, first INTEGER NOT NULL UNIQUE, crc32c INTEGER NOT NULL, rows BLOB NOT NULL
) STRICT;
CREATE TABLE subscribers_by_msisdn (
    id INTEGER PRIMARY KEY, first INTEGER NOT NULL UNIQUE, crc32c INTEGER NOT NULL, rows BLOB NOT NULL
) STRICT
"""


def row_checksum(table: str, *values: object) -> int:
    """CRC32C over a row of a table."""
    return crc32c(repr((table, *values)).encode())


def with_checksum(table: str, *values: object) -> tuple[object, ...]:
    """Return a row with its checksum, as it is stored."""
    return (*values, row_checksum(table, *values))


def checked(table: str, row: Sequence[Any]) -> Sequence[Any]:
    """Return a stored row without its checksum. Raises JournalDamagedError naming the row."""
    *values, checksum = row
    if row_checksum(table, *values) != checksum:
        raise JournalDamagedError(f"registry.db: the row {values[0]} of {table} does not match its checksum")
    return values


class NameKind(StrEnum):
    """Dictionaries of names."""

    AUTHORITY = "authority"
    DEVICE_TYPE = "device_type"


@dataclass(frozen=True)
class DeltaRecord:
    """A delta as committed; fields as the columns of its table, less the checksum.

    `overridden` is 1 where guards were. `counts` is the store's own: JSON of added and removed rows by table.
    """

    serial: int
    token: int
    feed: str
    sequence: int
    base_sequence: int
    row_count: int
    chunk_count: int
    content_sha256: bytes
    complete_until: int
    reference: str
    overridden: int
    ignored_row_count: int
    committed_at: int
    counts: str

    def checksum(self) -> int:
        """CRC32C over all fields."""
        return crc32c(repr(astuple(self)).encode())


@dataclass(frozen=True)
class FeedRecord:
    """Where a feed stands, and its last delta; times in seconds since the Unix epoch."""

    feed: str
    sequence: int
    serial: int
    complete_until: int
    applied_at: int
    base_sequence: int = 0
    row_count: int = 0
    content_sha256: bytes = b""
    """Of the last delta; empty where it is not known."""


@dataclass(frozen=True)
class SegmentRecord:
    """A segment file of the manifest; `serial` is the table state it holds, TACs are inclusive."""

    file: str
    kind: str
    first_tac: int
    last_tac: int
    serial: int
    crc32c: int
    bytes: int

    def overlaps(self, other: SegmentRecord) -> bool:
        """Tell whether the two are of one kind and share a TAC."""
        return (
            self.kind == other.kind and self.first_tac <= other.last_tac and other.first_tac <= self.last_tac
        )


@dataclass(frozen=True)
class AuditRecord:
    """What somebody did, and why."""

    id: int
    at: int
    who: str
    what: str
    why: str
    detail: str


class Subscriber(NamedTuple):
    """A subscriber: IMSI code, MSISDN as a number after a leading 1 (0: remove), language."""

    imsi: int
    msisdn: int
    language: str

    @classmethod
    def many(cls, columns: Iterable[Iterable[object]]) -> list[Subscriber]:
        """Return subscribers of three columns, without a call in Python for each."""
        return list(map(tuple.__new__, repeat(cls), zip(*columns, strict=True)))


@dataclass(frozen=True)
class Manifest:
    """Segments that make up the tables, and those they replaced."""

    current: tuple[SegmentRecord, ...]
    previous: tuple[SegmentRecord, ...]
