"""What is durable besides segments: registry.db, in SQLite.

    chunk ──► chunks ──┐
                       ├─commit─► deltas, feeds, subscribers_by_imsi, _by_msisdn ──► acknowledgement
    header, serial ────┘
    segments (manifest) · names · audit · meta

One writer. A chunk is durable before the delta that it belongs to is: chunks are
filed under a token, and those whose token has no delta are deleted at the next
start. The write-ahead log is folded into the file by `checkpoint`, which the
caller runs in a thread of its own; nothing else does.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from crc32c import crc32c

from eir.errors import DeltaTooLargeError, JournalDamagedError, StateDamagedError, StorageError
from eir.whitelist import subscribers, versions
from eir.whitelist.blob import rows_from_blob
from eir.whitelist.database import Database, storage_errors
from eir.whitelist.delta import Header
from eir.whitelist.rows import NAMES_MAX, U64
from eir.whitelist.schema import (
    VERSION,
    AuditRecord,
    DeltaRecord,
    FeedRecord,
    Manifest,
    NameKind,
    SegmentRecord,
    Subscriber,
    checked,
    with_checksum,
)
from eir.whitelist.subscribers import NONE, SubscriberRows

__all__ = [
    "AuditRecord",
    "DeltaRecord",
    "FeedRecord",
    "Journal",
    "Manifest",
    "NameKind",
    "SegmentRecord",
    "Subscriber",
]

_PRUNE_CHUNKS: Final = 4
"""Chunks deleted in one transaction: at 4 MiB each, tens of milliseconds."""
_DAY_SECONDS: Final = 86_400


class Journal(Database):
    """registry.db; its methods may be called from any thread, and exclude each other."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Use `open`."""
        super().__init__(connection, path)
        self._next_token = 1
        self._given_up: set[int] = set()
        """Tokens whose chunks are still to be deleted."""
        self._names: dict[str, dict[str, int]] = {}

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> Self:
        """Open or make the file, and delete chunks of deltas that were never committed.

        Raises StorageError, or StateDamagedError where the file is not a journal
        that this version reads. `read_only` suits a second process.
        """
        try:
            with storage_errors("opening the journal"):
                if not read_only and not path.exists():
                    versions.create(path)
                uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
                connection = sqlite3.connect(
                    uri, uri=True, check_same_thread=False, isolation_level=None, timeout=10
                )
                journal = cls(connection, path)
                try:
                    journal._prepare(read_only=read_only)
                except BaseException:
                    connection.close()
                    raise
        except JournalDamagedError as error:
            raise StateDamagedError(error.message) from error
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror}") from error
        return journal

    def _prepare(self, *, read_only: bool) -> None:
        version = self._one("PRAGMA user_version")
        if version not in ((VERSION,) if read_only else (0, *versions.FORMER, VERSION)):
            said = "; a daemon that opens it brings it up to date" if version in (0, *versions.FORMER) else ""
            raise StateDamagedError(
                f"{self._path}: schema version {version}; this daemon reads {VERSION}{said}"
            )
        if read_only:
            return
        self._db.execute(f"PRAGMA page_size={versions.PAGE_BYTES}")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA wal_autocheckpoint=0")
        if version != VERSION:
            with self.transaction():
                versions.lay(self._db, version)
        for error in self._damaged_rows():
            raise error
        with self.transaction():
            self._db.execute("DELETE FROM chunks WHERE token NOT IN (SELECT token FROM deltas)")
            self._next_token = 1 + (self._one("SELECT max(token) FROM deltas") or 0)

    def _forget(self) -> None:
        self._names.clear()

    # Deltas.

    def new_token(self) -> int:
        """Return a token for the chunks of a delta that begins."""
        with self._lock:
            self._next_token += 1
            return self._next_token - 1

    def append_chunk(self, token: int, index: int, blob: bytes) -> None:
        """Keep a chunk; durable on return. Raises StorageError."""
        with self.transaction():
            self._db.execute(
                "INSERT INTO chunks VALUES (?, ?, ?, ?)",
                (token, index, _chunk_checksum(token, index, blob), blob),
            )

    def drop_chunks(self, token: int) -> None:
        """Delete the chunks of a delta that was given up; where that fails, with those of the next one."""
        self._given_up.add(token)
        with self.transaction():
            self._db.executemany(
                "DELETE FROM chunks WHERE token = ?", [(given_up,) for given_up in self._given_up]
            )
        self._given_up.clear()

    def commit_delta(
        self,
        header: Header,
        token: int,
        serial: int,
        *,
        content_sha256: bytes,
        committed_at: int,
        ignored_row_count: int = 0,
        counts: Mapping[str, Sequence[int]] | None = None,
        subscribers: SubscriberRows = NONE,
    ) -> DeltaRecord:
        """Make a delta of the chunks under `token`; durable on return, with the feed's position."""
        with self.transaction():
            chunk_count = self._one("SELECT count(*) FROM chunks WHERE token = ?", token)
            record = DeltaRecord(
                serial=serial,
                token=token,
                feed=header.feed,
                sequence=header.sequence,
                base_sequence=header.base_sequence,
                row_count=header.row_count,
                chunk_count=chunk_count,
                content_sha256=content_sha256,
                complete_until=header.complete_until,
                reference=header.reference,
                overridden=int(header.override_guards),
                ignored_row_count=ignored_row_count,
                committed_at=committed_at,
                counts=json.dumps(counts or {}, sort_keys=True),
            )
            self._db.execute(
                "INSERT INTO deltas VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*astuple(record), record.checksum()),
            )
            self._move_feed(record)
            if len(subscribers):
                self._write_subscribers(subscribers)
        return record

    def _move_feed(self, record: DeltaRecord) -> None:
        """Put a feed where its delta leads; without a `complete_until` it keeps the one it had."""
        before = next((feed.complete_until for feed in self.feeds() if feed.feed == record.feed), 0)
        feed = FeedRecord(
            record.feed,
            record.sequence,
            record.serial,
            record.complete_until or before,
            record.committed_at,
            record.base_sequence,
            record.row_count,
            record.content_sha256,
        )
        self._put("feeds", *astuple(feed))

    def _put(self, table: str, *values: object, fresh: bool = False) -> None:
        """Write a row of a checked table, in the place of one with the same key unless it is to be fresh."""
        verb, marks = "INSERT" if fresh else "INSERT OR REPLACE", ", ".join("?" * (len(values) + 1))
        self._db.execute(f"{verb} INTO {table} VALUES ({marks})", with_checksum(table, *values))

    def _rows(self, table: str, sql: str, *values: object) -> list[Sequence[Any]]:
        """Read rows of a checked table. Raises JournalDamagedError naming the damaged one."""
        return [checked(table, row) for row in self._all(sql, *values)]

    def deltas(self, after_serial: int = 0) -> Iterator[DeltaRecord]:
        """Iterate over deltas by serial. Raises JournalDamagedError naming the damaged one."""
        while rows := self._all(
            "SELECT * FROM deltas WHERE serial > ? ORDER BY serial LIMIT 256",
            after_serial,
        ):
            yield from map(_delta_record, rows)
            after_serial = rows[-1][0]

    def delta_numbers_back(self, before_serial: int, count_max: int) -> list[int]:
        """Return serials before one, the latest first, of deltas that have rows."""
        sql = "SELECT serial FROM deltas WHERE serial < ? AND row_count > 0 ORDER BY serial DESC LIMIT ?"
        return [serial for (serial,) in self._all(sql, before_serial, count_max)]

    def delta(self, serial: int) -> DeltaRecord | None:
        """Return a delta by its serial; None if it was pruned. Raises JournalDamagedError."""
        rows = self._all("SELECT * FROM deltas WHERE serial = ?", serial)
        return _delta_record(rows[0]) if rows else None

    def find_delta(self, feed: str, sequence: int) -> DeltaRecord | None:
        """Return the delta of a feed by its sequence; None if there was none, or it was pruned."""
        rows = self._all(
            "SELECT * FROM deltas WHERE feed = ? AND sequence = ?",
            feed,
            sequence,
        )
        return _delta_record(rows[0]) if rows else None

    def chunks(self, record: DeltaRecord) -> Iterator[bytes]:
        """Iterate over the chunks of a delta. Raises JournalDamagedError naming the damaged one."""
        return (self.chunk(record, index) for index in range(record.chunk_count))

    def chunk(self, record: DeltaRecord, index: int) -> bytes:
        """Return one chunk of a delta. Raises JournalDamagedError naming it."""
        name = f"delta {record.serial} (feed {record.feed}, sequence {record.sequence})"
        rows = self._all("SELECT crc32c, rows FROM chunks WHERE token = ? AND chunk = ?", record.token, index)
        if not rows:
            raise JournalDamagedError(f"{name}: chunk {index} is missing")
        checksum, blob = rows[0]
        if _chunk_checksum(record.token, index, blob) != checksum:
            raise JournalDamagedError(f"{name}: chunk {index} does not match its checksum")
        return bytes(blob)

    def oldest_serial(self) -> int:
        """Return the serial of the oldest delta kept; 0 for none."""
        rows = self._all("SELECT min(serial) FROM deltas")
        return rows[0][0] or 0

    def last_serial_at(self, second: int) -> int:
        """Return the serial of the last delta kept that was committed by then; 0 for none."""
        rows = self._all("SELECT max(serial) FROM deltas WHERE committed_at <= ?", second)
        return rows[0][0] or 0

    def last_serial(self) -> int:
        """Return the serial of the last delta committed; 0 for none."""
        return max((feed.serial for feed in self.feeds()), default=0)

    def feeds(self) -> list[FeedRecord]:
        """Return where each feed stands, by name."""
        return [FeedRecord(*row) for row in self._rows("feeds", "SELECT * FROM feeds ORDER BY feed")]

    def heartbeat(self, feed: str, sequence: int, complete_until: int) -> bool:
        """Note until when a feed is complete, if it stands at `sequence`; tells whether it does.

        Never an earlier time than before; durable on return.
        """
        with self.transaction():
            at = next((known for known in self.feeds() if known.feed == feed), FeedRecord(feed, 0, 0, 0, 0))
            if at.sequence != sequence:
                return False
            self._put("feeds", *astuple(replace(at, complete_until=max(at.complete_until, complete_until))))
            return True

    def prune(self, before_serial: int, keep_days: int, now: int) -> int:
        """Delete deltas older than both bounds; return how many. Feeds keep their positions.

        `before_serial` is the first one that the kept segments do not hold. In
        short transactions, so that the writer need not wait: first the deltas,
        then their chunks, which are deleted at the next start if this one ends.
        """
        with self.transaction():
            tokens = self._db.execute(
                "DELETE FROM deltas WHERE serial < ? AND committed_at < ? RETURNING token, chunk_count",
                (before_serial, now - keep_days * _DAY_SECONDS),
            ).fetchall()
        chunks = [(token, index) for token, chunk_count in tokens for index in range(chunk_count)]
        for start in range(0, len(chunks), _PRUNE_CHUNKS):
            with self.transaction():
                batch = chunks[start : start + _PRUNE_CHUNKS]
                self._db.executemany("DELETE FROM chunks WHERE token = ? AND chunk = ?", batch)
        return len(tokens)

    def verify(
        self, progress: Callable[[int, int], None] = lambda _done, _total: None
    ) -> list[JournalDamagedError]:
        """Read all of it; return what is damaged. progress is told deltas done, and of how many."""
        damaged = [
            JournalDamagedError(f"registry.db: {text}")
            for (text,) in self._all("PRAGMA quick_check")
            if text != "ok"
        ]
        serials = [serial for (serial,) in self._all("SELECT serial FROM deltas ORDER BY serial")]
        for done, serial in enumerate(serials):
            progress(done, len(serials))
            row = self._all("SELECT * FROM deltas WHERE serial = ?", serial)[0]
            try:
                self._verify_delta(_delta_record(row))
            except JournalDamagedError as error:
                damaged.append(error)
        progress(len(serials), len(serials))
        with self._lock, storage_errors("reading the journal"):
            damaged += subscribers.verify(self._db)
        damaged += self._damaged_rows()
        return damaged

    def _damaged_rows(self) -> Iterator[JournalDamagedError]:
        """Find damaged rows of the small tables: a damaged key would hide its row from who asks by it."""
        for table in ("feeds", "names", "segments", "meta"):
            for row in self._all(f"SELECT * FROM {table}"):  # noqa: S608 - a name of ours
                try:
                    checked(table, row)
                except JournalDamagedError as error:
                    yield error

    def _verify_delta(self, record: DeltaRecord) -> None:
        count = 0
        for index, blob in enumerate(self.chunks(record)):
            try:
                count += len(rows_from_blob(blob))
            except JournalDamagedError as error:
                raise JournalDamagedError(f"delta {record.serial}, chunk {index}: {error.message}") from error
        if count != record.row_count:
            raise JournalDamagedError(f"delta {record.serial}: {count} rows instead of {record.row_count}")

    # Subscribers.

    def _write_subscribers(self, given: SubscriberRows) -> None:
        count = self.subscriber_count() + subscribers.write(self._db, given)
        self.meta_set("subscriber_count", str(count))

    def subscribers(self, imsis: Iterable[int]) -> dict[int, Subscriber]:
        """Look subscribers up by IMSI code. Raises JournalDamagedError."""
        rows = self.subscriber_rows(np.fromiter(imsis, np.uint64))
        return {subscriber.imsi: subscriber for subscriber in subscribers.as_values(rows)}

    def subscriber_rows(self, imsis: U64) -> SubscriberRows:
        """Look subscribers up by IMSI code; those that are there, by IMSI. Raises JournalDamagedError."""
        with self._lock, storage_errors("reading the journal"):
            return subscribers.known(self._db, imsis)

    def subscribers_of(self, msisdn: int, count_max: int) -> list[Subscriber]:
        """Look subscribers up by MSISDN. Raises JournalDamagedError."""
        with self._lock, storage_errors("reading the journal"):
            return subscribers.of_msisdn(self._db, msisdn, count_max)

    def all_subscribers(self) -> Iterator[SubscriberRows]:
        """Iterate over all subscribers by IMSI code, some at a time. Raises JournalDamagedError."""
        last = 0
        while True:
            with self._lock, storage_errors("reading the journal"):
                some = subscribers.after(self._db, last)
            if not len(some):
                return
            yield some
            last = int(some["imsi"][-1])

    def subscriber_count(self) -> int:
        """Return the number of subscribers, without counting them."""
        return int(self.meta_get("subscriber_count") or 0)

    # Names, manifest, audit, settings.

    def name_ids(self, kind: NameKind, names: Iterable[str]) -> list[int]:
        """Return the number of each name, 1 to 65,535; new ones are durable on return.

        The empty name is 0. Raises DeltaTooLargeError where numbers run out.
        """
        with self._lock:
            known = self._known(kind)
            names = list(names)
            if fresh := list(dict.fromkeys(name for name in names if name not in known)):
                if len(known) + len(fresh) > NAMES_MAX:
                    raise DeltaTooLargeError(f"more than {NAMES_MAX - 1} names of kind {kind}")
                added = {name: number for number, name in enumerate(fresh, len(known))}
                with self.transaction():
                    for name, number in added.items():
                        self._put("names", str(kind), number, name, fresh=True)
                known.update(added)
            return [known[name] for name in names]

    def names(self, kind: NameKind, *, again: bool = False) -> list[str]:
        """Return the names of a kind; the place of each is its number.

        A reader beside the writer asks `again` for those that came since.
        """
        with self._lock:
            if again:
                self._names.pop(kind, None)
            return list(self._known(kind))

    def _known(self, kind: NameKind) -> dict[str, int]:
        if kind not in self._names:
            rows = self._rows("names", "SELECT * FROM names WHERE kind = ? ORDER BY id", kind)
            self._names[kind] = {"": 0, **{name: number for _, number, name in rows}}
        return self._names[kind]

    def manifest(self) -> Manifest:
        """Return the segments, by kind and TAC."""
        rows = self._rows("segments", "SELECT * FROM segments ORDER BY kind, first_tac, serial")
        by_state = {
            state: tuple(SegmentRecord(*row[:-1]) for row in rows if row[-1] == state)
            for state in ("current", "previous")
        }
        return Manifest(**by_state)

    def swap_manifest(self, new: Sequence[SegmentRecord], retired: Sequence[str]) -> list[str]:
        """Put new segments in the place of retired ones, which become previous.

        Returns the files that left the manifest: what had been previous in the
        range of a retired one, and of none that stays. They may be unlinked now,
        and not earlier.
        """
        with self.transaction():
            manifest = self.manifest()
            gone = [segment for segment in manifest.current if segment.file in retired]
            stay = [segment for segment in manifest.current if segment.file not in retired]
            dropped = [
                old.file
                for old in manifest.previous
                if any(map(old.overlaps, gone)) and not any(map(old.overlaps, stay))
            ]
            self._db.executemany("DELETE FROM segments WHERE file = ?", [(file,) for file in dropped])
            for segment in gone:
                self._put("segments", *astuple(segment), "previous")
            for segment in new:
                self._put("segments", *astuple(segment), "current", fresh=True)
        return dropped

    def replace_segment(self, file: str, made: Sequence[SegmentRecord]) -> None:
        """Put segments that were made again in the place of a damaged one."""
        with self.transaction():
            self._db.execute("DELETE FROM segments WHERE file = ?", (file,))
            self.swap_manifest(made, [])

    def audit_add(self, at: int, who: str, what: str, why: str, detail: str = "") -> None:
        """Note what somebody did; durable on return."""
        with self.transaction():
            self._db.execute(
                "INSERT INTO audit (at, who, what, why, detail) VALUES (?, ?, ?, ?, ?)",
                (at, who, what, why, detail),
            )

    def audit_rows(self, after_id: int = 0, count_max: int = 1_000) -> list[AuditRecord]:
        """Return what was noted, oldest first."""
        rows = self._all("SELECT * FROM audit WHERE id > ? ORDER BY id LIMIT ?", after_id, count_max)
        return [AuditRecord(*row) for row in rows]

    def meta_get(self, key: str) -> str | None:
        """Return a value kept under a key."""
        rows = self._rows("meta", "SELECT * FROM meta WHERE k = ?", key)
        return rows[0][1] if rows else None

    def meta_set(self, key: str, value: str) -> None:
        """Keep a value under a key; durable on return."""
        with self.transaction():
            self._put("meta", key, value)


def _chunk_checksum(token: int, index: int, blob: bytes) -> int:
    """CRC32C of a chunk and its place, so that a chunk in another's place is noticed."""
    return crc32c(blob, crc32c(struct.pack("<QQ", token, index)))


def _delta_record(row: Sequence[Any]) -> DeltaRecord:
    record = DeltaRecord(*row[:-1])
    if record.checksum() != row[-1]:
        raise JournalDamagedError(
            f"delta {record.serial} (feed {record.feed}, sequence {record.sequence})"
            " does not match its checksum"
        )
    return record
