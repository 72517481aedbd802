"""Cases that another daemon keeps: what checks have to know of them, here and in a file for the next start.

    rows ──► parts (owner) ──► table for checks (here) ──► followed.cases ──► table, at the next start

A case that was cut off stays so while its owner cannot be asked: it is the owner
who takes it back. What the file does not have yet comes with the next connection.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from crc32c import crc32c

from eir.errors import StateDamagedError, StorageError
from eir.notify.case import State
from eir.notify.case_table import CaseTable, Entries, pack_value
from eir.notify.extents import Rows
from eir.proto import group_pb2
from eir.whitelist.files import FileLayer

FILE: Final = "followed.cases"
MAGIC: Final = b"EIRFOLL1"
ROWS_MIN: Final = 1024
ENTRY: Final = np.dtype([("key", "<u8"), ("imsi", "<u8"), ("value", "<u8")])
"""A case; value 0 is none any more."""


def parts_of(rows: Rows, history: str, position: int) -> group_pb2.FollowCasesResponse:
    """Return rows of cases as those who follow get them; places without a case are left out."""
    rows = rows[rows["state"] != 0]
    return group_pb2.FollowCasesResponse(
        history=history,
        position=position,
        keys=rows["key"].tolist(),
        imsis=rows["imsi"].tolist(),
        states=rows["state"].tobytes(),
        causes=rows["cause"].tobytes(),
        deadlines=rows["deadline"].tolist(),
    )


class Followed:
    """The cases of an owner. One thread writes; `table` is read by checks."""

    def __init__(self, folder: Path, files: FileLayer, on_table: Callable[[CaseTable], None]) -> None:
        """Begin with what the file has. Raises StateDamagedError, StorageError."""
        self._path, self._files, self.on_table = folder / FILE, files, on_table
        self._entries = np.zeros(ROWS_MIN, ENTRY)
        self._count = 0
        self._live = 0
        self._coming: list[Any] | None = None
        self.history, self.position = "", 0
        self.saved_position = 0
        self.table = CaseTable()
        self._load()

    def __len__(self) -> int:
        """Return the number of unresolved cases."""
        return self._live

    def take(self, part: group_pb2.FollowCasesResponse) -> None:
        """Take a part of all cases, or of what changed."""
        if part.from_beginning:
            self._coming = []
        entries = _entries(part)
        if self._coming is not None:
            self._coming.append(entries[entries["value"] != 0])
            if part.position:
                self._begin(np.concatenate(self._coming))
                self._coming = None
        else:
            for entry in entries:
                self._put(int(entry["key"]), int(entry["imsi"]), int(entry["value"]))
        if part.position:
            self.history, self.position = part.history, part.position

    def lost(self) -> None:
        """Forget parts whose rest did not come; what was known stays."""
        self._coming = None

    def _begin(self, entries: Any) -> None:
        """Know these cases, and no others."""
        self._count = self._live = len(entries)
        self._entries = np.zeros(max(ROWS_MIN, self._count * 5 // 4), ENTRY)
        self._entries[: self._count] = entries
        self._build()

    def _build(self) -> None:
        live = self._entries[: self._count]
        numbers = np.arange(self._count, dtype=np.uint32)
        keys, imsis, values = (live[name].copy() for name in ("key", "imsi", "value"))
        self.table = CaseTable.build([[Entries(keys, imsis, values, numbers)]], self._count)
        self.on_table(self.table)

    def _put(self, key: int, imsi: int, value: int) -> None:
        number = self.table.number(key, imsi)
        if not value:
            if number >= 0:
                self.table.remove(key, imsi)
                self._live -= 1
                self._entries[number]["value"] = 0
            return
        if self.table.full:
            live = self._entries[: self._count]
            self._begin(live[live["value"] != 0])
            number = self.table.number(key, imsi)
        if number < 0:
            number = self._count
            self._count += 1
            self._live += 1
            if number == len(self._entries):
                self._entries = np.concatenate((self._entries, np.zeros(number, ENTRY)))
        self._entries[number] = key, imsi, value
        before = self.table.slots
        self.table.set(key, imsi, value, number)
        if self.table.slots is not before:
            self.on_table(self.table)

    # -- the file ---------------------------------------------------------------------------------

    def content(self) -> bytes:
        """Return a copy of what the file is to hold."""
        live = self._entries[: self._count]
        head = json.dumps([self.history, self.position]).encode()
        rows: bytes = live[live["value"] != 0].tobytes()
        body = len(head).to_bytes(4, "little") + head + rows
        return MAGIC + crc32c(body).to_bytes(4, "little") + body

    def save(self, content: bytes) -> None:
        """Write the file; any thread may. Raises StorageError."""
        try:
            self._files.write(self._path, content)
        except OSError as error:
            raise StorageError(f"writing {FILE}: {error.strerror}") from error

    def _load(self) -> None:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"reading {FILE}: {error.strerror}") from error
        body = data[12:]
        size = int.from_bytes(body[:4], "little")
        rows = body[4 + size :]
        whole = data[:8] == MAGIC and int.from_bytes(data[8:12], "little") == crc32c(body)
        if not whole or len(rows) % ENTRY.itemsize:
            raise StateDamagedError(f"{FILE}: its checksum does not match; without it all is asked for anew")
        self.history, self.position = json.loads(body[4 : 4 + size])
        self.saved_position = self.position
        self._begin(np.frombuffer(rows, ENTRY))


def _entries(part: group_pb2.FollowCasesResponse) -> Any:
    """Return the cases of a part; those that are resolved have value 0."""
    count = min(len(part.keys), len(part.imsis), len(part.states), len(part.causes), len(part.deadlines))
    entries = np.zeros(count, ENTRY)
    entries["key"], entries["imsi"] = part.keys[:count], part.imsis[:count]
    states = np.frombuffer(part.states, np.uint8)[:count].astype(np.uint64)
    causes = np.frombuffer(part.causes, np.uint8)[:count].astype(np.uint64)
    deadlines = np.array(part.deadlines[:count], np.uint64)
    # Arrays, packed as numbers are.
    packed: Any = pack_value(states, causes, deadlines)  # type: ignore[arg-type]
    entries["value"] = np.where((states == 0) | (states >= np.uint64(State.RESOLVED)), 0, packed)
    return entries
