"""Subscribers in registry.db: by IMSI, and by MSISDN.

    IMSI ──► subscribers (checked row)
    MSISDN ──► msisdns ──► IMSIs ──► subscribers

The caller holds the connection and its transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Final

from crc32c import crc32c

from eir.errors import JournalDamagedError
from eir.identity import imsi_text, mask
from eir.whitelist.schema import Subscriber, checked

KNOWN_AT_ONCE: Final = 20_000
"""Rows looked up in one statement."""


def write(db: sqlite3.Connection, given: Sequence[Subscriber]) -> int:
    """Set subscribers, or remove those without MSISDN; return rows after less rows before.

    Each table is written in its own order: pages are then touched once.
    """
    given = sorted(given)
    removed = 0
    if not _empty(db):
        imsis = [(imsi,) for imsi, _, _ in given]
        # What a damaged row said is not known: its MSISDN is left, and leads nowhere.
        db.executemany(
            "DELETE FROM msisdns WHERE imsi = ?1 AND"
            " msisdn = (SELECT msisdn FROM subscribers WHERE imsi = ?1)",
            imsis,
        )
        removed = db.executemany("DELETE FROM subscribers WHERE imsi = ?", imsis).rowcount
    added = [(*one, checksum(*one)) for one in given if one.msisdn]
    db.executemany("INSERT INTO subscribers VALUES (?, ?, ?, ?)", added)
    by_number = sorted((msisdn, imsi) for imsi, msisdn, _, _ in added)
    db.executemany("INSERT OR IGNORE INTO msisdns VALUES (?, ?)", by_number)
    return len(added) - removed


def _empty(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM subscribers LIMIT 1").fetchone() is None


def checksum(imsi: int, msisdn: int, language: str) -> int:
    """Return `row_checksum` of a subscriber, three times as fast."""
    return crc32c(b"('subscribers', %d, %d, %a)" % (imsi, msisdn, language))


def known(db: sqlite3.Connection, imsis: Sequence[int]) -> list[Subscriber]:
    """Return those of these IMSI codes that are there. Raises JournalDamagedError."""
    found: list[Subscriber] = []
    if _empty(db):
        return found
    for start in range(0, len(imsis), KNOWN_AT_ONCE):
        rows = db.execute(
            "SELECT s.* FROM json_each(?) AS j CROSS JOIN subscribers AS s ON s.imsi = j.value",
            (json.dumps(imsis[start : start + KNOWN_AT_ONCE]),),
        )
        found += map(_checked, rows)
    return found


def _checked(row: tuple[int, int, str, int]) -> Subscriber:
    """Return a row without its checksum. Raises JournalDamagedError."""
    imsi, msisdn, language, stored = row
    if checksum(imsi, msisdn, language) != stored:
        checked("subscribers", row)  # says so
    return Subscriber(imsi, msisdn, language)


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
    return [_checked(row) for row in rows]


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
