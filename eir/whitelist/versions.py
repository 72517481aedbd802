"""registry.db: made new, or brought up from what former versions wrote.

version 1 ──checksums──► version 2 ──subscribers in blocks──► version 3
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

import numpy as np

from eir.errors import JournalDamagedError
from eir.identity import imsi_text, mask
from eir.whitelist import subscribers
from eir.whitelist.files import FileLayer
from eir.whitelist.schema import SCHEMA, SUBSCRIBER_TABLES, VERSION, row_checksum

FORMER: Final = (1, 2)
"""Versions that can be brought up to date."""
PAGE_BYTES: Final = 8192
_ROWS_AT_ONCE: Final = 65_536
_CHECKSUMS: Final = """
ALTER TABLE feeds ADD COLUMN base_sequence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE feeds ADD COLUMN row_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE feeds ADD COLUMN content_sha256 BLOB NOT NULL DEFAULT x'';
UPDATE feeds SET (base_sequence, row_count, content_sha256) = (
    SELECT base_sequence, row_count, content_sha256 FROM deltas WHERE deltas.serial = feeds.serial
) WHERE serial IN (SELECT serial FROM deltas);
ALTER TABLE feeds ADD COLUMN crc32c INTEGER NOT NULL DEFAULT 0;
UPDATE feeds SET crc32c = row_crc32c(
    'feeds', feed, sequence, serial, complete_until, applied_at, base_sequence, row_count, content_sha256);
ALTER TABLE names ADD COLUMN crc32c INTEGER NOT NULL DEFAULT 0;
UPDATE names SET crc32c = row_crc32c('names', kind, id, name);
ALTER TABLE segments ADD COLUMN row_crc32c INTEGER NOT NULL DEFAULT 0;
UPDATE segments SET row_crc32c = row_crc32c(
    'segments', file, kind, first_tac, last_tac, serial, crc32c, bytes, state);
ALTER TABLE meta ADD COLUMN crc32c INTEGER NOT NULL DEFAULT 0;
UPDATE meta SET crc32c = row_crc32c('meta', k, v);
ALTER TABLE subscribers ADD COLUMN crc32c INTEGER NOT NULL DEFAULT 0;
UPDATE subscribers SET crc32c = row_crc32c('subscribers', imsi, msisdn, language)
"""
"""Version 1 had no checksums but those of chunks and deltas, and no table of MSISDNs."""


def create(path: Path) -> None:
    """Make a file with its tables: whole under its name, or not there. Raises OSError, sqlite3.Error.

    A reader beside it could not repair one that was half made when its writer was killed.
    """
    made = path.with_name(f"{path.name}.new")
    for suffix in ("", "-journal", "-wal", "-shm"):
        made.with_name(made.name + suffix).unlink(missing_ok=True)
    connection = sqlite3.connect(made, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute("BEGIN")
        lay(connection, 0)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()
    files = FileLayer()
    file = os.open(made, os.O_RDWR)
    try:
        files.sync(file)
    finally:
        os.close(file)
    files.rename(made, path)
    files.sync_folder(path.parent)


def lay(db: sqlite3.Connection, version: int) -> None:
    """Lay out the tables of this version, or bring those of a former one up to it, in one transaction.

    The caller holds the transaction. Raises JournalDamagedError.
    """
    if version == 1:
        db.create_function("row_crc32c", -1, row_checksum, deterministic=True)
        _run(db, _CHECKSUMS)
    _run(db, SUBSCRIBER_TABLES if version else f"{SCHEMA}{SUBSCRIBER_TABLES}")
    if version:
        subscribers.write(db, _rows(db))
        _run(db, "DROP TABLE subscribers; DROP TABLE IF EXISTS msisdns")
    db.execute(f"PRAGMA user_version={VERSION}")


def _run(db: sqlite3.Connection, statements: str) -> None:
    for statement in statements.split(";"):
        db.execute(statement)


def _rows(db: sqlite3.Connection) -> subscribers.SubscriberRows:
    """Read the subscribers of version 2, one row each."""
    parts, last = [subscribers.NONE], 0
    sql = "SELECT imsi, msisdn, language, crc32c FROM subscribers WHERE imsi > ? ORDER BY imsi LIMIT ?"
    while rows := db.execute(sql, (last, _ROWS_AT_ONCE)).fetchall():
        for *values, stored in rows:
            if row_checksum("subscribers", *values) != stored:
                raise JournalDamagedError(
                    f"registry.db: the row {mask(imsi_text(values[0]))} of subscribers does not match its"
                    " checksum; the version before this one can remove that subscriber"
                )
        imsi, msisdn, language, _ = zip(*rows, strict=True)
        parts.append(subscribers.rows_of(imsi, msisdn, list(map(subscribers.language_code, language))))
        last = imsi[-1]
    return np.concatenate(parts)
