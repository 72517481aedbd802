"""Notices that wait, counted beside the keeper's thread: on a connection of its own, read only."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import NamedTuple, Self

from eir.notify.case_file import FILE
from eir.notify.sender import NO_MSISDN
from eir.whitelist.database import storage_errors


class Waiting(NamedTuple):
    """Notices of a stage that wait; `oldest_due_at` in seconds since the Unix epoch."""

    stage: str
    notices: int
    oldest_due_at: int
    without_msisdn: int


class Backlog:
    """What waits in the outbox. Any thread may ask."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Use `open`."""
        self._db, self._lock = db, threading.Lock()

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open cases.db, which is there. Raises StorageError, JournalDamagedError."""
        with storage_errors("opening cases.db", FILE):
            uri = f"{(folder / FILE).absolute().as_uri()}?mode=ro"
            return cls(sqlite3.connect(uri, uri=True, check_same_thread=False, timeout=10))

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._db.close()

    def waiting(self) -> list[Waiting]:
        """Return what waits, by stage. Raises StorageError, JournalDamagedError."""
        query = (
            "SELECT stage, count(*), min(due_at), sum(error = ?) FROM notices WHERE state = 1"
            " GROUP BY stage ORDER BY stage"
        )
        with self._lock, storage_errors("reading cases.db", FILE):
            return [Waiting(*row) for row in self._db.execute(query, (NO_MSISDN,))]
