"""Subscribers in registry.db: by IMSI, and by MSISDN.

    IMSI ────► block of subscribers_by_imsi ────► row
    MSISDN ──► block of subscribers_by_msisdn ──► rows
               └─ damaged: made again from the other table

Each table has all rows, in the order of its key, in blocks of some hundred under one
checksum. A block begins at `first` and ends where the next one begins; the first of
all begins at 0. The caller holds the connection and its transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import structlog
from crc32c import crc32c

from eir.errors import JournalDamagedError
from eir.identity import imsi_text, mask
from eir.whitelist.hashtable import find_sorted, spread
from eir.whitelist.order import distinct, sorting_order
from eir.whitelist.schema import Subscriber

ROW: Final = np.dtype([("imsi", "<u8"), ("msisdn", "<u8"), ("language", "<u2")])
"""A subscriber: IMSI code, MSISDN as a number after a leading 1 (0: remove), `language_code`."""
BLOCK_ROWS: Final = 400
"""Rows of a new block."""
BLOCK_ROWS_MAX: Final = 448
"""Rows at which a block is cut: so many fill a page of the file."""
LOOKED_UP_ONE_BY_ONE: Final = 1_024
"""Keys whose blocks are looked up one by one; for more of them, the places of all blocks are read."""
BLOCKS_AT_ONCE: Final = 1_024
BLOCKS_OF_A_NUMBER: Final = 8
"""Blocks that a look-up by MSISDN reads at most: a few thousand subscribers that share the number."""
_TIE_BITS: Final = 12
_TIE_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
_KEY_END: Final = (1 << 63) - 1

SubscriberRows = npt.NDArray[np.void]
I64 = npt.NDArray[np.int64]
_log = structlog.get_logger(__name__)


class Table(NamedTuple):
    """A table of blocks: its name, the key of rows in it, and what its `first` is of."""

    name: str
    keys: Callable[[SubscriberRows], I64]
    called: Callable[[int], str]


def _by_imsi(rows: SubscriberRows) -> I64:
    keys: I64 = rows["imsi"].astype(np.int64)
    return keys


def _by_msisdn(rows: SubscriberRows) -> I64:
    """MSISDN, then bits of the IMSI: rows of one key stay in one block, and many may share a number."""
    tie = rows["imsi"] * _TIE_FACTOR >> np.uint64(64 - _TIE_BITS)
    keys: I64 = (rows["msisdn"] << np.uint64(_TIE_BITS) | tie).astype(np.int64)
    return keys


BY_IMSI: Final = Table("subscribers_by_imsi", _by_imsi, lambda first: mask(imsi_text(first)))
BY_MSISDN: Final = Table(
    "subscribers_by_msisdn", _by_msisdn, lambda first: mask(imsi_text(first >> _TIE_BITS))
)
TABLES: Final = (BY_IMSI, BY_MSISDN)
NONE: Final = np.zeros(0, ROW)


# -- rows ------------------------------------------------------------------------------------------


def language_code(text: str) -> int:
    """Return the number of a language of two letters, 0 for none."""
    return ord(text[0]) << 8 | ord(text[1]) if len(text) == 2 and text.isascii() else 0


def _language(code: int) -> str:
    return chr(code >> 8) + chr(code & 0xFF) if code else ""


def rows_of(imsi: npt.ArrayLike, msisdn: npt.ArrayLike, language: npt.ArrayLike) -> SubscriberRows:
    """Return subscribers of three columns."""
    columns = [np.asarray(column, np.uint64) for column in (imsi, msisdn, language)]
    rows = np.empty(len(columns[0]), ROW)
    for name, column in zip(ROW.names or (), columns, strict=True):
        rows[name] = column
    return rows


def as_values(rows: SubscriberRows) -> list[Subscriber]:
    """Return rows as values."""
    texts = {code: _language(code) for code in np.unique(rows["language"]).tolist()}
    languages = map(texts.__getitem__, rows["language"].tolist())
    return Subscriber.many((rows["imsi"].tolist(), rows["msisdn"].tolist(), languages))


def of_values(values: list[Subscriber]) -> SubscriberRows:
    """Return values as rows."""
    imsi, msisdn, language = zip(*values, strict=True) if values else ((), (), ())
    return rows_of(imsi, msisdn, list(map(language_code, language)))


# -- reading ---------------------------------------------------------------------------------------


def known(db: sqlite3.Connection, imsis: npt.NDArray[np.uint64]) -> SubscriberRows:
    """Return those of these IMSI codes that are there, by IMSI. Raises JournalDamagedError."""
    wanted = distinct(imsis)
    firsts = _covering(db, BY_IMSI, wanted.astype(np.int64))
    found = [NONE]
    for start in range(0, len(firsts), BLOCKS_AT_ONCE):
        rows, _ = _read(db, BY_IMSI, firsts[start : start + BLOCKS_AT_ONCE])
        place = find_sorted(rows["imsi"].astype(np.uint64), wanted)
        found.append(rows[place[place >= 0]])
    return np.concatenate(found)


def of_msisdn(db: sqlite3.Connection, msisdn: int, count_max: int) -> list[Subscriber]:
    """Return subscribers of an MSISDN, by IMSI, at most so many. Raises JournalDamagedError."""
    low = msisdn << _TIE_BITS
    if low >= _KEY_END:  # of more digits than a number has
        return []
    sql = f"SELECT first, crc32c, rows FROM {BY_MSISDN.name} WHERE first < ? ORDER BY first DESC LIMIT ?"  # noqa: S608
    blocks = []
    for block in db.execute(sql, (low + (1 << _TIE_BITS), BLOCKS_OF_A_NUMBER)):
        blocks.append(block)
        if block[0] <= low:
            break
    rows = np.frombuffer(b"".join(_whole(db, BY_MSISDN, *block) for block in blocks), ROW)
    return sorted(as_values(rows[rows["msisdn"] == np.uint64(msisdn)]))[:count_max]


def after(db: sqlite3.Connection, imsi: int) -> SubscriberRows:
    """Return the next subscribers by IMSI code; none at the end. Raises JournalDamagedError."""
    sql = f"SELECT max(first) FROM {BY_IMSI.name} WHERE first <= ?"  # noqa: S608 - a name of ours
    first = db.execute(sql, (imsi,)).fetchone()[0] or 0
    while True:
        blocks = _next(db, BY_IMSI, first)
        rows = np.frombuffer(b"".join(_whole(db, BY_IMSI, *block) for block in blocks), ROW)
        rows = rows[rows["imsi"] > np.uint64(imsi)]
        if len(rows) or not blocks:
            return rows
        first = blocks[-1][0] + 1


def _next(db: sqlite3.Connection, table: Table, first: int) -> list[tuple[int, int, bytes]]:
    """Return some blocks that begin there or later."""
    sql = f"SELECT first, crc32c, rows FROM {table.name} WHERE first >= ? ORDER BY first LIMIT ?"  # noqa: S608
    return db.execute(sql, (first, BLOCKS_AT_ONCE)).fetchall()


def _covering(db: sqlite3.Connection, table: Table, keys: I64) -> I64:
    """Return where the blocks begin that sorted keys belong into."""
    if len(keys) <= LOOKED_UP_ONE_BY_ONE:
        sql = f"SELECT max(first) FROM {table.name} WHERE first <= ?"  # noqa: S608 - a name of ours
        found = {db.execute(sql, (key,)).fetchone()[0] for key in keys.tolist()}
        return np.array(sorted(found - {None}), np.int64)
    sql = f"SELECT first FROM {table.name} ORDER BY first"  # noqa: S608
    firsts = np.array([first for (first,) in db.execute(sql)], np.int64)
    return firsts[distinct(np.searchsorted(firsts, keys, "right") - 1)] if len(firsts) else firsts


def _read(db: sqlite3.Connection, table: Table, firsts: I64) -> tuple[SubscriberRows, I64]:
    """Return the rows of blocks, and how many each has. Raises JournalDamagedError."""
    sql = (
        f"SELECT b.first, b.crc32c, b.rows FROM json_each(?) AS j CROSS JOIN {table.name} AS b"  # noqa: S608
        " ON b.first = j.value"
    )
    blocks = db.execute(sql, (json.dumps(firsts.tolist()),)).fetchall()
    blobs = [_whole(db, table, *block) for block in blocks]
    counts = np.array([len(blob) // ROW.itemsize for blob in blobs], np.int64)
    return np.frombuffer(b"".join(blobs), ROW), counts


def _contains(haystack: npt.NDArray[np.uint64], needles: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Tell which needles, in whatever order, are in a sorted haystack."""
    if not len(haystack):
        return np.zeros(len(needles), np.bool_)
    found: npt.NDArray[np.bool_] = haystack.take(np.searchsorted(haystack, needles), mode="clip") == needles
    return found


# -- writing ---------------------------------------------------------------------------------------


def write(db: sqlite3.Connection, given: SubscriberRows) -> int:
    """Set subscribers, or remove those without MSISDN; return rows after less rows before.

    Each IMSI stands in `given` once. Raises JournalDamagedError.
    """
    given = given[sorting_order(given["imsi"].astype(np.uint64))]
    put = given[given["msisdn"] != 0]
    taken = _change(db, BY_IMSI, given, given, put)
    _change(db, BY_MSISDN, np.concatenate((taken, put)), given, put)
    return len(put) - len(taken)


def _change(
    db: sqlite3.Connection, table: Table, touched: SubscriberRows, gone: SubscriberRows, put: SubscriberRows
) -> SubscriberRows:
    """Take the IMSIs of `gone` out of the blocks that `touched` belong into, and put rows into them.

    `gone` is sorted by IMSI. Returns the rows that were taken out.
    """
    put_keys, put = _sorted(table, put)
    keys_touched = distinct(table.keys(touched))
    firsts = _covering(db, table, keys_touched)
    if not len(firsts):
        if not len(put):
            return NONE
        _insert(db, table, 0, b"")
        firsts = np.zeros(1, np.int64)
    gone_imsis, taken = gone["imsi"].astype(np.uint64), [NONE]
    for start in range(0, len(firsts), BLOCKS_AT_ONCE):
        some = firsts[start : start + BLOCKS_AT_ONCE]
        edges = np.append(some, firsts[start + len(some)] if start + len(some) < len(firsts) else _KEY_END)
        have, counts = _read(db, table, some)
        keys = table.keys(have)
        here = keys_touched[slice(*np.searchsorted(keys_touched, edges[[0, -1]]))]
        first = np.searchsorted(keys, here)
        goes = spread(first, np.searchsorted(keys, here, "right") - first)
        goes = goes[_contains(gone_imsis, have["imsi"][goes])]
        taken.append(have[goes])
        coming = np.searchsorted(put_keys, edges)
        changed = np.diff(coming) > 0
        changed[np.searchsorted(np.cumsum(counts), goes, "right")] = True
        come = slice(coming[0], coming[-1])
        keys, rows = np.delete(keys, goes), np.delete(have, goes)
        at = np.searchsorted(keys, put_keys[come])
        keys, rows = np.insert(keys, at, put_keys[come]), np.insert(rows, at, put[come])
        places = np.searchsorted(keys, edges).tolist()
        for block in np.flatnonzero(changed).tolist():
            own = slice(places[block], places[block + 1])
            _replace(db, table, int(some[block]), keys[own], rows[own])
    return np.concatenate(taken)


def _sorted(table: Table, rows: SubscriberRows) -> tuple[I64, SubscriberRows]:
    """Return rows in the order of a table, with their keys."""
    keys = table.keys(rows)
    order = sorting_order(keys.view(np.uint64))
    return keys[order], rows[order]


def _replace(db: sqlite3.Connection, table: Table, first: int, keys: I64, rows: SubscriberRows) -> None:
    """Put rows in the place of those of a block, in several blocks where they are many."""
    if not len(keys) and first:
        db.execute(f"DELETE FROM {table.name} WHERE first = ?", (first,))  # noqa: S608
        return
    cuts = _cuts(keys)
    blob = rows[: cuts[1]].tobytes()
    _update(db, table, first, blob)
    for start, end in pairwise(cuts[1:]):
        _insert(db, table, int(keys[start]), rows[start:end].tobytes())


def _cuts(keys: I64) -> list[int]:
    """Cut sorted keys into blocks; return where, from 0 to the end. Rows of one key stay together."""
    if len(keys) <= BLOCK_ROWS_MAX:
        return [0, len(keys)]
    count = -(-len(keys) // BLOCK_ROWS)
    wanted = np.arange(1, count) * len(keys) // count
    cuts = distinct(np.searchsorted(keys, keys[wanted]))
    return [0, *cuts[cuts > 0].tolist(), len(keys)]


def _update(db: sqlite3.Connection, table: Table, first: int, blob: bytes) -> None:
    sql = f"UPDATE {table.name} SET crc32c = ?, rows = ? WHERE first = ?"  # noqa: S608 - a name of ours
    db.execute(sql, (checksum(table, first, blob), blob, first))


def _insert(db: sqlite3.Connection, table: Table, first: int, blob: bytes) -> None:
    sql = f"INSERT INTO {table.name} (first, crc32c, rows) VALUES (?, ?, ?)"  # noqa: S608
    db.execute(sql, (first, checksum(table, first, blob), blob))


# -- damage ----------------------------------------------------------------------------------------


def checksum(table: Table, first: int, blob: bytes) -> int:
    """Return the CRC32C of a block and its place, so that a block in another's place is noticed."""
    return crc32c(blob, crc32c(b"%a %d" % (table.name, first)))


def _whole(db: sqlite3.Connection, table: Table, first: int, stored: int, blob: bytes) -> bytes:
    """Return a block as it was written, made again where it is damaged. Raises JournalDamagedError."""
    return blob if checksum(table, first, blob) == stored else _made_again(db, table, first)


def _made_again(db: sqlite3.Connection, table: Table, first: int) -> bytes:
    """Make a damaged block again of the other table. Raises JournalDamagedError where that is damaged too."""
    other = BY_MSISDN if table is BY_IMSI else BY_IMSI
    sql = f"SELECT min(first) FROM {table.name} WHERE first > ?"  # noqa: S608
    end = db.execute(sql, (first,)).fetchone()[0] or _KEY_END
    found = [NONE]
    for rows, damaged in _blocks(db, other):
        if damaged:
            raise _damage(table, first)
        keys = table.keys(rows)
        found.append(rows[(keys >= first) & (keys < end)])
    _, rows = _sorted(table, np.concatenate(found))
    blob = rows.tobytes()
    _log.warning("a damaged block of subscribers is made again", table=table.name, block=table.called(first))
    with suppress(sqlite3.OperationalError):  # who only reads goes on with what it made
        _update(db, table, first, blob)
    return blob


def _damage(table: Table, first: int) -> JournalDamagedError:
    start = f"from {table.called(first)} on" if first else "at the beginning"
    return JournalDamagedError(f"registry.db: the block of {table.name} {start} does not match its checksum")


def _blocks(
    db: sqlite3.Connection, table: Table
) -> Iterator[tuple[SubscriberRows, list[JournalDamagedError]]]:
    """Iterate over the blocks of a table, some at a time: the rows of the undamaged, what is damaged."""
    first = 0
    while blocks := _next(db, table, first):
        fine = [blob for at, stored, blob in blocks if checksum(table, at, blob) == stored]
        damaged = [_damage(table, at) for at, stored, blob in blocks if checksum(table, at, blob) != stored]
        yield np.frombuffer(b"".join(fine), ROW), damaged
        if len(blocks) < BLOCKS_AT_ONCE:
            return
        first = blocks[-1][0] + 1


def verify(db: sqlite3.Connection) -> list[JournalDamagedError]:
    """Read all blocks of both tables and hold them against each other; return what is damaged."""
    damaged: list[JournalDamagedError] = []
    sums = []
    for table in TABLES:
        hashes = [np.empty(0, np.uint64)]
        for rows, found in _blocks(db, table):
            damaged += found
            hashes.append(_hashes(rows))
        sums.append(np.sort(np.concatenate(hashes)))
    by_imsi, by_msisdn = sums
    if not damaged and not np.array_equal(by_imsi, by_msisdn):
        count = len(np.setxor1d(by_imsi, by_msisdn))
        damaged.append(
            JournalDamagedError(
                f"registry.db: {count:,} subscribers are found by IMSI or MSISDN, not by both"
            )
        )
    return damaged


def _hashes(rows: SubscriberRows) -> npt.NDArray[np.uint64]:
    """Return a number for each row, that of another row being another in all likelihood."""
    mixed = rows["imsi"] * _TIE_FACTOR
    mixed ^= mixed >> np.uint64(29)
    mixed = (mixed ^ (rows["msisdn"] << np.uint64(12)) ^ rows["language"]) * np.uint64(0xBF58476D1CE4E5B9)
    hashes: npt.NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(32))
    return hashes
