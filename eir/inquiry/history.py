"""Deltas that were about a phone or a subscriber, found in the journal.

    trace, place ──► deltas backwards ──► chunks: columns compared ──► rows that match
                          └── a row that matches may widen the trace (a SIM replaced)

The journal has no index of its rows: it is scanned, newest first, in pages of
bounded time. What was pruned is not there; the page says how far the journal
reaches.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from eir.errors import InvalidRequestError, JournalDamagedError
from eir.identity import SERIALS
from eir.whitelist.blob import columns_from_blob, rows_from_blob
from eir.whitelist.journal import DeltaRecord, Journal
from eir.whitelist.operation import Imei, Operation, operations
from eir.whitelist.rows import RAW, Op

IMSIS_MAX: Final = 256
"""IMSIs that one search follows."""
_SERIALS_AT_A_TIME: Final = 256
_PLACE: Final = struct.Struct("<QII")
NEWEST: Final = (1 << 62, 0, 0)

Bools = npt.NDArray[np.bool_]
Columns = dict[str, npt.NDArray[Any]]


@dataclass
class Trace:
    """What a search looks for: an IMEI with the IMSIs that stood on it, or IMSIs and MSISDNs."""

    imei: Imei = 0
    imsis: set[int] = field(default_factory=set)
    msisdns: set[int] = field(default_factory=set)

    def matches(self, columns: Columns, raw_texts: Callable[[], list[str]]) -> Bools:
        """Tell which rows are about it; all columns are there."""
        op = columns["op"]
        wanted = self._of_imsis(op, columns)
        for msisdn in self.msisdns:
            wanted |= (op == Op.SUBSCRIBER) & (columns["time"] == msisdn)
        if self.imei:
            wanted |= self._of_imei(op, columns, raw_texts)
        wanted &= op != 0
        return wanted

    def _of_imsis(self, op: npt.NDArray[Any], columns: Columns) -> Bools:
        wanted = np.zeros(len(op), bool)
        for code in self.imsis:
            wanted |= columns["imsi"] == code
            wanted |= columns["former_imsi"] == code
        if self.imei:  # of a phone's SIMs only what is about the SIM itself: no pair of another phone
            alone = columns["imei"] == 0
            wanted &= alone
        return wanted

    def _of_imei(self, op: npt.NDArray[Any], columns: Columns, raw_texts: Callable[[], list[str]]) -> Bools:
        imei, other = columns["imei"], columns["imei_other"]
        if isinstance(self.imei, str):
            raw = imei >= np.uint64(RAW)
            texts = raw_texts() if raw.any() else []
            place = texts.index(self.imei) if self.imei in texts else -1
            return raw & (imei == np.uint64(RAW | place)) if place >= 0 else np.zeros(len(op), bool)
        key, tac = np.uint64(self.imei), np.uint64(self.imei // SERIALS)
        of_tac = op == Op.TAC
        last = columns["imei_last"]
        there = (imei == key) | (other == key) | ((imei <= key) & (key <= last))
        wanted: Bools = np.where(of_tac, imei == tac, there)
        return wanted

    def widen(self, row: Operation) -> bool:
        """Follow the IMSIs that an earlier row may have named otherwise; tells whether there are more."""
        before = len(self.imsis)
        more = set()
        if row.op == Op.REPLACE_SIM:
            more = {row.former_imsi} if row.imsi in self.imsis else set()
        elif row.op == Op.SUBSCRIBER:
            more = {row.imsi} if row.time in self.msisdns else set()
        elif self.imei:
            more = {row.imsi, row.former_imsi}
        self.imsis |= set(sorted(more - {0})[: IMSIS_MAX - before])
        return len(self.imsis) > before


@dataclass(frozen=True)
class Found:
    """One row, with its delta."""

    delta: DeltaRecord
    row: Operation
    reference: str


@dataclass
class Page:
    """A part of a search: rows newest first, where to go on (None: at the end), how far it came."""

    rows: list[Found] = field(default_factory=list)
    next_place: tuple[int, int, int] | None = None
    searched_to: DeltaRecord | None = None
    chunk_count: int = 0
    unreadable_serials: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Bounds:
    """What one page may take; `elapsed` tells the seconds since it began."""

    rows_max: int
    seconds_max: float
    elapsed: Callable[[], float]


def search(journal: Journal, trace: Trace, place: tuple[int, int, int], bounds: Bounds) -> Page:
    """Search from a place on (serial, chunk, row to begin with), until the time or the rows are used up.

    `trace` is widened in place. At least one chunk is read.
    """
    page = Page()
    serial, chunk, row = place
    numbers = journal.delta_numbers_back(serial + 1, _SERIALS_AT_A_TIME)
    while numbers:
        for number in numbers:
            begin = (chunk, row) if number == serial else (0, 0)
            stopped = _search_delta(journal, trace, page, number, begin, bounds)
            if stopped is not None:
                page.next_place = (number, *stopped)
                return page
        numbers = journal.delta_numbers_back(numbers[-1], _SERIALS_AT_A_TIME)
    return page


def _search_delta(
    journal: Journal, trace: Trace, page: Page, serial: int, begin: tuple[int, int], bounds: Bounds
) -> tuple[int, int] | None:
    """Search one delta; return chunk and row to go on with where the page ends inside of it."""
    found_before = len(page.rows)
    try:
        record = journal.delta(serial)
        if record is None:  # pruned meanwhile, as all before it
            return None
        while True:
            followed = len(trace.imsis)
            for index in range(begin[0], record.chunk_count):
                page.chunk_count += 1
                if page.chunk_count > 1 and bounds.elapsed() >= bounds.seconds_max:
                    return index, 0
                start = begin[1] if index == begin[0] else 0
                row = _search_chunk(journal.chunk(record, index), trace, page, record, start, bounds.rows_max)
                if row is not None:
                    return index, row
            if len(trace.imsis) == followed or record.chunk_count == 1:
                break
            del page.rows[found_before:]  # a row further on widened the trace: once more, from the beginning
    except JournalDamagedError:
        # Pruned while it was read, or damaged: then the page says so, and earlier deltas are still told.
        if serial in journal.delta_numbers_back(serial + 1, 1):
            page.unreadable_serials.append(serial)
        return None
    page.searched_to = record
    return None


def _search_chunk(
    blob: bytes, trace: Trace, page: Page, record: DeltaRecord, start: int, rows_max: int
) -> int | None:
    """Search one chunk from a row on; return the row to go on with where the page is full."""
    columns = columns_from_blob(blob)
    count = len(columns["op"]) if "op" in columns else 0
    zeros = np.broadcast_to(np.uint64(0), count)
    for name in ("imei", "imei_last", "imei_other", "imsi", "former_imsi", "time"):
        columns.setdefault(name, zeros)
    decoded: list[Any] = []

    def rows() -> Any:
        if not decoded:
            decoded.append(rows_from_blob(blob))
        return decoded[0]

    wider, found = True, dict[int, Operation]()
    while wider:
        hits = np.flatnonzero(trace.matches(columns, lambda: rows().raw_texts)).tolist()
        found = dict(operations(rows(), hits)) if hits else {}
        wider = sum(map(trace.widen, found.values())) > 0
    for index in sorted(found):
        if index < start:
            continue
        if len(page.rows) >= rows_max:
            return index
        references = rows().references
        reference = references if isinstance(references, str) else references[index]
        page.rows.append(Found(record, found[index], reference))
    return None


def token(place: tuple[int, int, int], imsis: set[int]) -> bytes:
    """Write where a search goes on, and the IMSIs it follows."""
    codes = sorted(imsis)
    return _PLACE.pack(*place) + struct.pack(f"<{len(codes)}Q", *codes)


def from_token(data: bytes) -> tuple[tuple[int, int, int], set[int]]:
    """Read a token; an empty one begins a search. Raises InvalidRequestError."""
    if not data:
        return NEWEST, set()
    rest = len(data) - _PLACE.size
    if rest < 0 or rest % 8 or rest // 8 > IMSIS_MAX:
        raise InvalidRequestError("page_token", "is not one that a response had")
    serial, chunk, row = _PLACE.unpack_from(data)
    if serial > NEWEST[0]:
        raise InvalidRequestError("page_token", "is not one that a response had")
    return (serial, chunk, row), set(struct.unpack_from(f"<{rest // 8}Q", data, _PLACE.size))
