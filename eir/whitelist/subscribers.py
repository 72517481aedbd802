"""Subscribers in registry.db: by IMSI, and by MSISDN.

    IMSI ──► subscribers (checked row)
    MSISDN ──► msisdns ──► IMSIs ──► subscribers

The caller holds the connection and its transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

from crc32c import crc32c

from eir.errors import JournalDamagedError
from eir.identity import imsi_text, mask
from eir.whitelist.schema import Subscriber, checked

KNOWN_AT_ONCE: Final = 20_000
"""Rows looked up in one statement."""
WRITTEN_AT_ONCE: Final = 100
"""Rows written by one statement; one for each row takes twice as long."""
_CHECKED: Final = b"('subscribers', %d, %d, %a)"
"""What `row_checksum` is over."""


def write(db: sqlite3.Connection, given: Sequence[Subscriber]) -> int:
    """Set subscribers, or remove those without MSISDN; return rows after less rows before.

    Each table is written in its own order: pages are then touched once.
    """
    given = sorted(given)
    removed = 0
    if not _empty(db):
        imsis = [(imsi,) for imsi, _, _ in given]
        # What a damaged row said is not known: its MSISDN is left, and leads nowhere.
        _write(
            db,
            "DELETE FROM msisdns WHERE (msisdn, imsi) IN"
            " (SELECT msisdn, imsi FROM subscribers WHERE imsi IN (%s))",
            "?",
            imsis,
        )
        removed = _write(db, "DELETE FROM subscribers WHERE imsi IN (%s)", "?", imsis)
    added = [one for one in given if one.msisdn]
    if not added:
        return -removed
    columns = list(zip(*added, strict=True))
    rows = list(zip(*columns, _checksums(columns), strict=True))
    _write(db, "INSERT INTO subscribers VALUES %s", "(?, ?, ?, ?)", rows)
    by_number = sorted(zip(columns[1], columns[0], strict=True))
    _write(db, "INSERT OR IGNORE INTO msisdns VALUES %s", "(?, ?)", by_number)
    return len(added) - removed


def _write(db: sqlite3.Connection, sql: str, marks: str, rows: Sequence[tuple[object, ...]]) -> int:
    """Run a statement for rows, as many at once as may be; return how many it changed."""
    changed, whole = 0, len(rows) - len(rows) % WRITTEN_AT_ONCE
    for count, start, end in ((WRITTEN_AT_ONCE, 0, whole), (1, whole, len(rows))):
        values = [list(chain.from_iterable(rows[at : at + count])) for at in range(start, end, count)]
        if values:
            changed += db.executemany(sql % ", ".join([marks] * count), values).rowcount
    return changed


def _empty(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM subscribers LIMIT 1").fetchone() is None


def checksum(imsi: int, msisdn: int, language: str) -> int:
    """Return `row_checksum` of a subscriber, three times as fast."""
    return crc32c(_CHECKED % (imsi, msisdn, language))


def _checksums(columns: Iterable[Iterable[object]]) -> Iterator[int]:
    """Return `checksum` of many, given as columns."""
    return map(crc32c, map(_CHECKED.__mod__, zip(*columns, strict=True)))


def known(db: sqlite3.Connection, imsis: Sequence[int]) -> list[Subscriber]:
    """Return those of these IMSI codes that are there. Raises JournalDamagedError."""
    return [one for rows in _some(db, "s.*", imsis) for one in _all_checked(rows)]


def there(db: sqlite3.Connection, imsis: Sequence[int]) -> set[int]:
    """Return those of these IMSI codes that are there, whatever their rows say."""
    return {imsi for rows in _some(db, "s.imsi", imsis) for (imsi,) in rows}


def _some(db: sqlite3.Connection, what: str, imsis: Sequence[int]) -> Iterator[list[Any]]:
    """Read rows of these IMSI codes, many at once."""
    if not imsis or _empty(db):
        return
    sql = f"SELECT {what} FROM json_each(?) AS j CROSS JOIN subscribers AS s ON s.imsi = j.value"  # noqa: S608
    for start in range(0, len(imsis), KNOWN_AT_ONCE):
        yield db.execute(sql, (json.dumps(imsis[start : start + KNOWN_AT_ONCE]),)).fetchall()


def _checked(row: tuple[int, int, str, int]) -> Subscriber:
    """Return a row without its checksum. Raises JournalDamagedError."""
    imsi, msisdn, language, stored = row
    if checksum(imsi, msisdn, language) != stored:
        checked("subscribers", row)  # says so
    return Subscriber(imsi, msisdn, language)


def _all_checked(rows: Sequence[tuple[int, int, str, int]]) -> list[Subscriber]:
    """Return rows without their checksums. Raises JournalDamagedError."""
    if not rows:
        return []
    *columns, stored = zip(*rows, strict=True)
    if tuple(_checksums(columns)) != stored:
        return list(map(_checked, rows))  # says which
    return Subscriber.many(columns)


def of_imsi(db: sqlite3.Connection, imsi: int) -> Subscriber | None:
    """Return a subscriber by IMSI code. Raises JournalDamagedError."""
    row = db.execute("SELECT * FROM subscribers WHERE imsi = ?", (imsi,)).fetchone()
    return _checked(row) if row else None


def of_msisdn(db: sqlite3.Connection, msisdn: int, count_max: int) -> list[Subscriber]:
    """Return subscribers of an MSISDN, by IMSI, at most so many. Raises JournalDamagedError."""
    rows = db.execute("SELECT imsi FROM msisdns WHERE msisdn = ? ORDER BY imsi LIMIT ?", (msisdn, count_max))
    found = [of_imsi(db, imsi) for (imsi,) in rows.fetchall()]
    return [subscriber for subscriber in found if subscriber and subscriber.msisdn == msisdn]


def after(db: sqlite3.Connection, imsi: int, count_max: int) -> list[Subscriber]:
    """Return the next subscribers by IMSI code, at most so many. Raises JournalDamagedError."""
    rows = db.execute("SELECT * FROM subscribers WHERE imsi > ? ORDER BY imsi LIMIT ?", (imsi, count_max))
    return _all_checked(rows.fetchall())


def verify(db: sqlite3.Connection) -> list[JournalDamagedError]:
    """Read all rows of both tables; return what is damaged."""
    damaged = []
    for row in db.execute("SELECT * FROM subscribers"):
        try:
            checked("subscribers", row)
        except JournalDamagedError as error:
            damaged.append(error)
    for (imsi,) in db.execute(
        "SELECT imsi FROM subscribers AS s WHERE NOT EXISTS"
        " (SELECT 1 FROM msisdns AS m WHERE m.msisdn = s.msisdn AND m.imsi = s.imsi)"
    ):
        name = mask(imsi_text(imsi))
        damaged.append(JournalDamagedError(f"registry.db: the subscriber {name} is not found by MSISDN"))
    return damaged
