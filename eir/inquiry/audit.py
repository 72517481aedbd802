"""Who inquired what: inquiries.db, bounded by days and by rows.

A row is durable before its answer leaves. The identity is masked; a keyed digest
of it answers "who asked about this one?" without keeping it.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Final, Self

from eir.errors import JournalDamagedError, StateDamagedError
from eir.identity import IMEI_CHARS_MAX, mask, normalise, typed
from eir.whitelist.database import storage_errors
from eir.whitelist.schema import row_checksum

FILE: Final = "inquiries.db"
VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE inquiries (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, who TEXT NOT NULL, client TEXT NOT NULL,
    form TEXT NOT NULL, kind TEXT NOT NULL, identity TEXT NOT NULL, digest BLOB NOT NULL,
    outcome TEXT NOT NULL, crc32c INTEGER NOT NULL
) STRICT;
CREATE INDEX inquiries_digest ON inquiries (digest);
CREATE TABLE secret (key BLOB NOT NULL) STRICT
"""
_DAY_SECONDS: Final = 86_400
_PRUNE_SECONDS: Final = 3_600
_PRUNE_ROWS: Final = 500
"""Rows deleted with one inquiry: its answer waits for them."""


@dataclass(frozen=True)
class Inquiry:
    """One inquiry: when, who (as they said), by which client, form, kind of identity, masked, outcome."""

    at: int
    who: str
    client: str
    form: str
    kind: str
    identity: str
    digest: bytes
    outcome: str


class InquiryAudit:
    """inquiries.db. Its methods may be called from any thread, and exclude each other."""

    def __init__(self, connection: sqlite3.Connection, key: bytes, days_max: int, rows_max: int) -> None:
        """Use `open`."""
        self._db, self._key = connection, key
        self._days_max, self._rows_max = days_max, rows_max
        self._lock = threading.Lock()
        self._pruned_at = 0

    @classmethod
    def open(cls, data_dir: Path, *, days_max: int = 0, rows_max: int = 0, read_only: bool = False) -> Self:
        """Open or make the file. Raises StorageError, StateDamagedError, JournalDamagedError."""
        with storage_errors("opening the inquiries' audit", FILE):
            uri = f"{(data_dir / FILE).absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
            db = sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None, timeout=10)
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in ((VERSION,) if read_only else (0, VERSION)):
                db.close()
                raise StateDamagedError(f"{data_dir / FILE}: schema version {version}; this reads {VERSION}")
            if not read_only:
                db.execute("PRAGMA journal_mode=WAL")
                db.execute("PRAGMA synchronous=FULL")
            if version == 0:
                db.execute("BEGIN IMMEDIATE")
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute("INSERT INTO secret VALUES (?)", (os.urandom(32),))
                db.execute(f"PRAGMA user_version={VERSION}")
                db.execute("COMMIT")
            return cls(db, db.execute("SELECT key FROM secret").fetchone()[0], days_max, rows_max)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def digest(self, identity: str) -> bytes:
        """Return the digest that stands for an identity: 14 digits or raw text, an IMSI, an MSISDN."""
        return hashlib.blake2b(identity.encode(), digest_size=16, key=self._key).digest()

    def add(self, at: int, who: str, client: str, form: str, kind: str, identity: str, outcome: str) -> None:
        """Keep an inquiry; durable on return. Raises StorageError."""
        row = Inquiry(at, who, client, form, kind, mask(identity), self.digest(identity), outcome)
        with self._lock, storage_errors("writing the inquiries' audit", FILE):
            self._db.execute(
                "INSERT INTO inquiries (at, who, client, form, kind, identity, digest, outcome, crc32c)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*astuple(row), row_checksum("inquiries", *astuple(row))),
            )
            if at - self._pruned_at >= _PRUNE_SECONDS and not self._prune(at):
                self._pruned_at = at

    def _prune(self, now: int) -> bool:
        """Delete some of what is too old, or too much; tells whether there may be more."""
        last = self._db.execute("SELECT max(id) FROM inquiries").fetchone()[0] or 0
        old = now - self._days_max * _DAY_SECONDS
        first = last - self._rows_max
        deleted = self._db.execute(
            "DELETE FROM inquiries WHERE id IN (SELECT id FROM inquiries ORDER BY id LIMIT ?)"
            " AND (id <= ? OR at < ?)",
            (_PRUNE_ROWS, first, old),
        ).rowcount
        return deleted == _PRUNE_ROWS

    def rows(self, count_max: int, identity: str = "") -> list[Inquiry]:
        """Return the latest inquiries, oldest first; of one identity, in any spelling, where it is given.

        Raises JournalDamagedError naming a damaged row.
        """
        values = tuple(map(self.digest, _names(identity))) if identity else ()
        where = f"WHERE digest IN ({', '.join('?' * len(values))})" if values else ""
        with self._lock, storage_errors("reading the inquiries' audit", FILE):
            found = self._db.execute(
                f"SELECT * FROM inquiries {where} ORDER BY id DESC LIMIT ?",  # noqa: S608 - texts of ours
                (*values, count_max),
            ).fetchall()
        return [_checked(row) for row in reversed(found)]


def _names(identity: str) -> set[str]:
    """Names that an identity may have in the audit: fifteen digits are an IMEI, or an IMSI."""
    try:
        text = typed(identity).removeprefix("+")
    except ValueError:
        text = identity
    return {text, normalise(text)} if len(text) <= IMEI_CHARS_MAX else {text}


def _checked(row: tuple[Any, ...]) -> Inquiry:
    number, *values, checksum = row
    if row_checksum("inquiries", *values) != checksum:
        raise JournalDamagedError(f"{FILE}: inquiry {number} does not match its checksum")
    return Inquiry(*values)
