"""Subscribers in registry.db: by IMSI, and by MSISDN.

    IMSI ──► subscribers (checked row)
    MSISDN ──► msisdns ──► IMSIs ──► subscribers

The caller holds the connection and its transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from eir.errors import JournalDamagedError
from eir.identity import imsi_text, mask
from eir.whitelist.schema import Subscriber, checked, with_checksum


def write(db: sqlite3.Connection, given: Sequence[Subscriber]) -> int:
    """Set subscribers, or remove those without MSISDN; return rows after less rows before.

    Each table is written in its own order: pages are then touched once.
    """
    given = sorted(given, key=lambda subscriber: subscriber.imsi)
    imsis = [(subscriber.imsi,) for subscriber in given]
    # What a damaged row said is not known: its MSISDN is left, and leads nowhere.
    db.executemany(
        "DELETE FROM msisdns WHERE imsi = ?1 AND msisdn = (SELECT msisdn FROM subscribers WHERE imsi = ?1)",
        imsis,
    )
    removed = db.executemany("DELETE FROM subscribers WHERE imsi = ?", imsis).rowcount
    added = [subscriber for subscriber in given if subscriber.msisdn]
    db.executemany(
        "INSERT INTO subscribers VALUES (?, ?, ?, ?)",
        (with_checksum("subscribers", one.imsi, one.msisdn, one.language) for one in added),
    )
    db.executemany(
        "INSERT OR IGNORE INTO msisdns VALUES (?, ?)", sorted((one.msisdn, one.imsi) for one in added)
    )
    return len(added) - removed


def of_imsi(db: sqlite3.Connection, imsi: int) -> Subscriber | None:
    """Return a subscriber by IMSI code. Raises JournalDamagedError."""
    row = db.execute("SELECT * FROM subscribers WHERE imsi = ?", (imsi,)).fetchone()
    return Subscriber(*checked("subscribers", row)) if row else None


def of_msisdn(db: sqlite3.Connection, msisdn: int, count_max: int) -> list[Subscriber]:
    """Return subscribers of an MSISDN, by IMSI, at most so many. Raises JournalDamagedError."""
    rows = db.execute("SELECT imsi FROM msisdns WHERE msisdn = ? ORDER BY imsi LIMIT ?", (msisdn, count_max))
    found = [of_imsi(db, imsi) for (imsi,) in rows.fetchall()]
    return [subscriber for subscriber in found if subscriber and subscriber.msisdn == msisdn]


def after(db: sqlite3.Connection, imsi: int, count_max: int) -> list[Subscriber]:
    """Return the next subscribers by IMSI code, at most so many. Raises JournalDamagedError."""
    rows = db.execute("SELECT * FROM subscribers WHERE imsi > ? ORDER BY imsi LIMIT ?", (imsi, count_max))
    return [Subscriber(*checked("subscribers", row)) for row in rows]


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
