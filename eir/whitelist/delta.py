"""What a feed sends: the header of a delta, and the report on it. Pure.

    payload ──parse──► rows ──contradictions──► rows ──store──► applied
                        └──blob──► journal

A row that cannot be applied is a `BadRow` with a `RowReason`. Row numbers count
from 0 through the whole delta.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from eir.errors import DeltaInvalidError, DeltaTooLargeError

PAYLOAD_BYTES_MAX: Final = 4 << 20
"""Bytes of one chunk's payload."""
COLUMN_ROWS_MAX: Final = 262_144
"""Rows of one OperationColumns."""
DELTA_ROWS_MAX: Final = 64 << 20
"""Rows of one delta; a full load comes as several."""
BAD_ROWS_MAX: Final = 1_000
"""Bad rows that a report names; all of them are counted."""
REFERENCE_BYTES_MAX: Final = 128
"""Bytes of a header's reference."""
ROW_REFERENCE_BYTES_MAX: Final = 64
SECONDS_MAX: Final = (1 << 32) - 1
"""Latest time, in seconds since the Unix epoch: tables keep 32 bits of it."""
PAIRS_MAX: Final = 64
"""IMSIs paired to one IMEI; more of them are a clone class, not rows."""
SLOTS_MAX: Final = 8
"""Slots of one device."""
NAME: Final = re.compile(r"[a-z0-9._-]{1,64}", re.ASCII)
"""A feed or an authority."""
DEVICE_TYPE: Final = re.compile(r"[a-z0-9_-]{1,32}", re.ASCII)
LANGUAGE: Final = re.compile(r"[a-z]{2}", re.ASCII)
"""A code of ISO 639-1."""


class RowReason(StrEnum):
    """Why a row is bad: stable strings, never reused."""

    KIND_UNKNOWN = "KIND_UNKNOWN"
    """The kind is not one of OperationKind."""
    FIELD_MISSING = "FIELD_MISSING"
    """The kind needs a field that is empty."""
    FIELD_NOT_TAKEN = "FIELD_NOT_TAKEN"
    """The kind does not take a field that is set."""
    FIELD_INVALID = "FIELD_INVALID"
    """A field is not what its grammar asks for."""
    IMEI_INVALID = "IMEI_INVALID"
    """The IMEI is neither 14 to 16 digits nor raw text that can be listed."""
    IMEI_SPECIAL = "IMEI_SPECIAL"
    """The IMEI is decided before the tables (all zeros, repeated digit, test TAC)."""
    IMSI_INVALID = "IMSI_INVALID"
    """The IMSI is not 1 to 15 digits."""
    RANGE_INVALID = "RANGE_INVALID"
    """The range is reversed, leaves its TAC, or is of raw text."""
    TIME_INVALID = "TIME_INVALID"
    """The time is negative or does not fit the tables."""
    CONTRADICTS_ROW = "CONTRADICTS_ROW"
    """Another row of the delta says otherwise."""
    REPEATS_ROW = "REPEATS_ROW"
    """Another row of the delta says the same."""
    ALREADY_THERE = "ALREADY_THERE"
    """What the row adds is there."""
    NOT_THERE = "NOT_THERE"
    """What the row removes is not there."""
    OWNER_MISMATCH = "OWNER_MISMATCH"
    """The owner is not the one that the transfer expects."""
    NO_OWNER = "NO_OWNER"
    """A utilizer is added to an IMEI without owner."""
    SIM_CONFLICT = "SIM_CONFLICT"
    """The new SIM already stands where the replaced one does."""
    TOO_MANY_PAIRS = "TOO_MANY_PAIRS"
    """More than 64 IMSIs would be paired to the IMEI."""
    TOO_MANY_SLOTS = "TOO_MANY_SLOTS"
    """The device would have more than 8 slots."""


@dataclass(frozen=True)
class Header:
    """Header of a delta; as DeltaHeader in sync.proto."""

    feed: str
    sequence: int
    base_sequence: int
    row_count: int
    complete_until: int = 0
    reference: str = ""
    dry_run: bool = False
    override_guards: bool = False


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be applied; `reason` is a RowReason."""

    row: int
    reason: str
    message: str


@dataclass(frozen=True)
class TableEffect:
    """What a delta does to a table; `rows` is the table's rows after it."""

    table: str
    added: int
    removed: int
    rows: int


@dataclass(frozen=True)
class Applied:
    """What came of a delta; `bad_rows` are those a lenient feed ignored, at most BAD_ROWS_MAX."""

    serial: int
    repeat: bool
    dry_run: bool
    effects: tuple[TableEffect, ...]
    ignored_row_count: int
    bad_rows: tuple[BadRow, ...]


class BadRows:
    """Collects bad rows: marks all, describes the first BAD_ROWS_MAX of each kind.

    The first fault found in a row is the one reported.
    """

    def __init__(self, row_count: int, row_base: int = 0) -> None:
        """Take the number of rows, and the number of the first."""
        self.mask: npt.NDArray[np.bool_] = np.zeros(row_count, np.bool_)
        self._row_base = row_base
        self._rows: list[BadRow] = []

    @classmethod
    def besides(cls, already: npt.NDArray[np.bool_]) -> Self:
        """Begin with rows that are marked already, and described elsewhere."""
        bad = cls(len(already))
        bad.mask |= already
        return bad

    def add(
        self,
        rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64],
        reason: RowReason,
        message: str | Callable[[int], str],
    ) -> None:
        """Mark rows by mask or by index; message is one for all, or made from the index."""
        index = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        if not len(index):
            return
        fresh = index[~self.mask[index]]
        self.mask[index] = True
        for row in fresh[:BAD_ROWS_MAX].tolist():
            text = message if isinstance(message, str) else message(row)
            self._rows.append(BadRow(self._row_base + row, reason, text))

    def add_faults(self, faults: dict[int, str], reason: RowReason) -> None:
        """Mark rows by index, each with its message."""
        self.add(np.array(sorted(faults), np.int64), reason, faults.__getitem__)

    @property
    def count(self) -> int:
        """Number of rows marked."""
        return int(np.count_nonzero(self.mask))

    def report(self) -> list[BadRow]:
        """Return the first BAD_ROWS_MAX bad rows, by row number."""
        return sorted(self._rows, key=lambda bad: bad.row)[:BAD_ROWS_MAX]


def check_header(header: Header) -> None:
    """Check a header by itself. Raises DeltaInvalidError or DeltaTooLargeError."""
    if not NAME.fullmatch(header.feed):
        raise DeltaInvalidError("feed: 1 to 64 characters of a-z, 0-9, '-', '_' and '.' are needed")
    if not 0 <= header.base_sequence < header.sequence < 1 << 63:
        raise DeltaInvalidError(
            f"sequence: {header.sequence} must be larger than base_sequence {header.base_sequence}, "
            "and smaller than 2^63"
        )
    if header.row_count < 0:
        raise DeltaInvalidError(f"row_count: {header.row_count} is negative")
    if header.row_count > DELTA_ROWS_MAX:
        raise DeltaTooLargeError(f"row_count: {header.row_count} rows; a delta has at most {DELTA_ROWS_MAX}")
    if not 0 <= header.complete_until <= SECONDS_MAX:
        raise DeltaInvalidError(
            f"complete_until: {header.complete_until} is not a time in seconds since the Unix epoch"
        )
    if len(header.reference.encode("utf-8", "surrogatepass")) > REFERENCE_BYTES_MAX:
        raise DeltaInvalidError(f"reference: longer than {REFERENCE_BYTES_MAX} bytes")
