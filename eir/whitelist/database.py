"""A file in SQLite with one writer: transactions that nest, errors in our words."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eir.errors import JournalDamagedError, StorageError


@contextmanager
def storage_errors(doing: str, file: str = "registry.db") -> Iterator[None]:
    """Turn SQLite's errors about a file into ours."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise JournalDamagedError(f"{doing}: {file} is damaged: {error}") from error
        if isinstance(error, sqlite3.OperationalError):
            full = "; the disk may be full" if code == sqlite3.SQLITE_IOERR else ""
            raise StorageError(f"{doing}: {error}{full}") from error
        raise


class Database:
    """A file; its methods may be called from any thread, and exclude each other."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Take an open connection that commits by itself."""
        self._db = connection
        self._path = path
        self._lock = threading.RLock()
        self._depth = 0

    def _forget(self) -> None:
        """Drop what was read and may have been rolled back."""

    def _one(self, sql: str, *values: object) -> Any:
        row = self._db.execute(sql, values).fetchone()
        return None if row is None else row[0]

    def _all(self, sql: str, *values: object) -> list[Any]:
        with self._lock, storage_errors("reading the journal"):
            return self._db.execute(sql, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make what is written inside durable together, or not at all. Nests."""
        with self._lock, storage_errors("writing the journal"):
            if self._depth == 0:
                self._db.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
                if self._depth == 1:
                    self._db.execute("COMMIT")
            except BaseException:
                self._forget()
                if self._depth == 1 and self._db.in_transaction:  # a full disk rolls back by itself
                    self._db.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1

    @contextmanager
    def reading(self) -> Iterator[None]:
        """See one moment of the file in everything read inside; suits a second process."""
        with self._lock, storage_errors("reading the journal"):
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                self._forget()
                self._db.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def checkpoint(self) -> int:
        """Fold the write-ahead log into the file, beside readers and the writer; return pages left.

        On a connection of its own, so that the writer does not wait.
        """
        with storage_errors("checkpointing the journal"):
            connection = sqlite3.connect(self._path, timeout=10, isolation_level=None)
            try:
                connection.execute("PRAGMA synchronous=FULL")
                _busy, logged, folded = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            finally:
                connection.close()
        return int(max(logged - folded, 0))
