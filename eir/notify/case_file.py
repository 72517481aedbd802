"""cases.db and the extent files beside it: what is durable of the cases.

commit ──► log (checksummed blobs of whole rows) · history · statements of others, in one transaction
extent files ──manifest──► the log that no extent needs is dropped
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from crc32c import crc32c

from eir.errors import JournalDamagedError, StateDamagedError, StorageError
from eir.whitelist.database import storage_errors
from eir.whitelist.files import FileLayer

FILE: Final = "cases.db"
VERSION: Final = 1
CACHE_KIB: Final = 16_384
"""Pages of cases.db kept in memory: indexes are written all over."""
_SCHEMA: Final = """
CREATE TABLE log (id INTEGER PRIMARY KEY, crc32c INTEGER NOT NULL, records BLOB NOT NULL) STRICT;
CREATE TABLE extents (
    extent INTEGER PRIMARY KEY, file TEXT NOT NULL, log_id INTEGER NOT NULL, crc32c INTEGER NOT NULL
) STRICT;
CREATE TABLE history (
    id INTEGER PRIMARY KEY, number INTEGER NOT NULL, at INTEGER NOT NULL, event TEXT NOT NULL,
    who TEXT NOT NULL, why TEXT NOT NULL
) STRICT;
CREATE INDEX history_of ON history (number);
"""


class Happened(NamedTuple):
    """A line of a case's history; `who` and `why` are given where somebody acted."""

    at: int
    event: str
    who: str = ""
    why: str = ""


@dataclass(frozen=True)
class Folding:
    """An extent on its way to its file; whoever writes it need not be the writer of the cases."""

    extent: int
    log_id: int
    path: Path
    data: bytes
    files: FileLayer

    def write(self) -> None:
        """Write the file. Raises StorageError."""
        try:
            self.files.write(self.path, self.data)
        except OSError as error:
            raise StorageError(f"writing {self.path.name}: {error.strerror}") from error


class InFile(NamedTuple):
    """An extent file that the manifest names; the log up to `log_id` is in it."""

    extent: int
    log_id: int
    file: str
    crc32c: int


class CaseFile:
    """The database and its folder. One writer; its errors are StorageError, JournalDamagedError."""

    def __init__(self, db: sqlite3.Connection, folder: Path, files: FileLayer) -> None:
        """Use `open`."""
        self.db, self.folder, self._files = db, folder, files
        self.log_id = 0
        """Number of the last entry of the log."""

    @classmethod
    def open(cls, folder: Path, files: FileLayer) -> Self:
        """Open or make the database of a folder. Raises StorageError, StateDamagedError."""
        try:
            with storage_errors("opening cases.db", FILE):
                return cls(_connected(folder / FILE), folder, files)
        except JournalDamagedError as error:
            raise StateDamagedError(error.message) from error

    def close(self) -> None:
        """Close the database."""
        self.db.close()

    def read(self, query: str, *values: object) -> list[Any]:
        """Return the rows of a query over what is committed."""
        with storage_errors("reading cases.db", FILE):
            return self.db.execute(query, values).fetchall()

    def script(self, statements: str) -> None:
        """Run statements that make tables."""
        with storage_errors("making tables of cases.db", FILE):
            self.db.executescript(f"BEGIN;{statements}COMMIT;")

    def history(self, number: int) -> list[Happened]:
        """Return what happened to a case, oldest first."""
        query = "SELECT at, event, who, why FROM history WHERE number = ? ORDER BY id"
        return [Happened(*row) for row in self.read(query, number)]

    def commit(
        self,
        blob: bytes,
        statements: Mapping[str, Sequence[tuple[object, ...]]],
        gone: Iterable[int],
        history: Iterable[tuple[int, Happened]],
    ) -> None:
        """Make an entry of the log durable, where there is one, with what belongs to it."""
        with storage_errors("committing cases", FILE), self._transaction():
            if blob:
                entry = (self.log_id + 1, crc32c(blob), blob)
                self.db.execute("INSERT INTO log VALUES (?, ?, ?)", entry)
            for statement, rows in statements.items():
                self.db.executemany(statement, rows)
            self.db.executemany("DELETE FROM history WHERE number = ?", ((number,) for number in gone))
            self.db.executemany(
                "INSERT INTO history (number, at, event, who, why) VALUES (?, ?, ?, ?, ?)",
                ((number, *happened) for number, happened in history),
            )
        self.log_id += bool(blob)

    # -- log and extent files ---------------------------------------------------------------------

    def log(self) -> Iterator[tuple[int, bytes]]:
        """Iterate over the entries of the log. Raises StateDamagedError."""
        for log_id, crc, blob in self.db.execute("SELECT id, crc32c, records FROM log ORDER BY id"):
            if crc32c(blob) != crc:
                raise StateDamagedError(f"cases.db: entry {log_id} of the log is damaged")
            yield log_id, blob

    def log_after(self, log_id: int, limit: int) -> list[tuple[int, bytes]]:
        """Return entries after one; none where they are not all there."""
        query = "SELECT id, crc32c, records FROM log WHERE id > ? ORDER BY id LIMIT ?"
        found = self.read(query, log_id, limit)
        if not found or found[0][0] != log_id + 1 or any(crc32c(blob) != crc for _, crc, blob in found):
            return []
        return [(entry, blob) for entry, _, blob in found]

    def log_bytes(self) -> int:
        """Return the bytes of the log."""
        return int(self.read("SELECT coalesce(sum(length(records)), 0) FROM log")[0][0])

    def manifest(self) -> list[InFile]:
        """Return the extent files that are there."""
        return [
            InFile(*row)
            for row in self.read("SELECT extent, log_id, file, crc32c FROM extents ORDER BY extent")
        ]

    def oldest(self, extents: int) -> int:
        """Return which of so many extents has the oldest file, or none."""
        held = {one.extent: one.log_id for one in self.manifest()}
        return min(range(extents), key=lambda at: held.get(at, 0))

    def folding(self, extent: int, data: bytes) -> Folding:
        """Return a copy of an extent on its way to its file."""
        path = self.folder / f"cases-{extent:04d}-{self.log_id:012d}.ext"
        return Folding(extent, self.log_id, path, data, self._files)

    def folded(self, folding: Folding, extents: int) -> None:
        """Let the next start read a written copy, and drop the log that none of so many extents needs."""
        with storage_errors("folding the log of cases", FILE), self._transaction():
            row = (folding.extent, folding.path.name, folding.log_id, crc32c(folding.data))
            self.db.execute("INSERT OR REPLACE INTO extents VALUES (?, ?, ?, ?)", row)
            held = {one.extent: one.log_id for one in self.manifest()}
            needed = min(held.get(at, 0) for at in range(extents))
            self.db.execute("DELETE FROM log WHERE id <= ?", (needed,))
        self.sweep()

    def sweep(self) -> None:
        """Remove extent files that nothing refers to."""
        named = {one.file for one in self.manifest()}
        for path in self.folder.glob("cases-*.ext*"):
            if path.name not in named:
                self._files.remove(path)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")


def _connected(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if not version:
        db.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version = {VERSION};COMMIT;")
    elif version != VERSION:
        raise StateDamagedError(f"cases.db has version {version}; this daemon reads {VERSION}")
    return db
