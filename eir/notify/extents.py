"""A million cases in memory, side by side as in their file.

    rows │ due times ──► file, checksummed ──► rows │ due times

When something is due is looked for block by block: of each a time is known
before which nothing in it is due.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from crc32c import crc32c

from eir.errors import StateDamagedError
from eir.notify.case import State
from eir.notify.case_table import U32, Entries, pack_value
from eir.whitelist.hashtable import I64

BLOCK_BITS: Final = 12
PIECE_ROWS: Final = 1 << 16
ROW: Final = np.dtype(
    [
        ("key", "<u8"),
        ("imsi", "<u8"),
        *((name, "<u4") for name in ("opened_at", "since", "until", "seen_at", "clock_at", "paused_seconds")),
        *((name, "<u4") for name in ("warned_at", "noticed_at", "deadline")),
        ("grace_days", "<u2"),
        *((name, "u1") for name in ("cause", "state", "steps_sent", "waits")),
    ]
)
"""A case, 58 bytes, times in 32 bits; state 0 is no case. `deadline` is what checks see: with shifts."""

_KEY_AT, _CAUSE_AT, _STATE_AT = (np.dtype(ROW).fields[name][1] for name in ("key", "cause", "state"))  # type: ignore[index]
Rows = npt.NDArray[Any]
_ONE: Final = np.uint32(1)


class Extent:
    """So many cases; `due_at` 0 is nothing due."""

    def __init__(self, length: int) -> None:
        """Begin without cases."""
        self._bytes = np.zeros(length * (ROW.itemsize + 4), np.uint8)
        self.rows: Rows = self._bytes[: length * ROW.itemsize].view(ROW)
        self.due_at: U32 = self._bytes[length * ROW.itemsize :].view(np.uint32)
        self._view = self._bytes.data
        self.soonest: U32 = np.full(-(-length >> BLOCK_BITS), 0xFFFFFFFF, np.uint32)
        """Of each block: nothing in it is due at this time or before. 0, nothing due, counts as the last."""

    @classmethod
    def read(cls, path: Path, length: int, crc: int) -> Self:
        """Read an extent file, verified. Raises StateDamagedError."""
        extent = cls(length)
        try:
            with path.open("rb", buffering=0) as file:
                size = file.readinto(extent._bytes.data)
                whole = size == len(extent._bytes) and not file.read(1)
        except OSError as error:
            raise StateDamagedError(f"{path.name}: {error.strerror}") from error
        if not whole or crc32c(extent._bytes.data) != crc:
            raise StateDamagedError(f"{path.name}: its checksum does not match; restore it from a backup")
        starts = np.arange(0, length, 1 << BLOCK_BITS)
        extent.soonest = np.minimum.reduceat(extent.due_at - _ONE, starts)
        return extent

    def content(self) -> bytes:
        """Return a copy of what its file holds."""
        return self._bytes.tobytes()

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self._bytes.nbytes + self.soonest.nbytes

    def kind(self, at: int) -> tuple[int, int]:
        """Return the cause and the state of a case: much faster than through numpy."""
        begin = at * ROW.itemsize
        return self._view[begin + _CAUSE_AT], self._view[begin + _STATE_AT]

    def key(self, at: int) -> int:
        """Return the IMEI key of a case, likewise."""
        begin = at * ROW.itemsize + _KEY_AT
        return int.from_bytes(self._view[begin : begin + 8], "little")

    def put(self, at: int, row: tuple[int, ...], due_at: int) -> None:
        """Replace a case."""
        self.rows[at] = row
        self.due_at[at] = due_at
        if due_at and due_at <= self.soonest[at >> BLOCK_BITS]:
            self.soonest[at >> BLOCK_BITS] = due_at - 1

    def put_many(self, at: I64, rows: Rows, due_at: U32) -> None:
        """Replace cases."""
        self.rows[at] = rows
        self.due_at[at] = due_at
        np.minimum.at(self.soonest, at >> BLOCK_BITS, due_at - _ONE)

    def overdue(self, block: int, now: int) -> tuple[I64, U32]:
        """Return where in a block something is due, and since when."""
        begin = block << BLOCK_BITS
        # 0, nothing due, is the greatest after this.
        before = self.due_at[begin : begin + (1 << BLOCK_BITS)] - _ONE
        self.soonest[block] = before.min()
        places = np.flatnonzero(before < np.uint32(now))
        return places + begin, before[places] + _ONE

    def entries(self, first_number: int) -> Iterator[Entries]:
        """Cases that are not resolved, for the table of all: in pieces that fit a processor's cache."""
        for begin in range(0, len(self.rows), PIECE_ROWS):
            rows = self.rows[begin : begin + PIECE_ROWS]
            states = rows["state"]
            live = np.flatnonzero((states != 0) & (states != State.RESOLVED))
            if len(live) < len(rows):
                rows = rows[live]
            key, imsi, *told = (
                rows[name].astype(np.uint64) for name in ("key", "imsi", "state", "cause", "deadline")
            )
            # An array of values, packed as `pack_value` packs one.
            values: Any = pack_value(*told)  # type: ignore[arg-type]
            yield Entries(key, imsi, values, (live + (first_number + begin)).astype(np.uint32))


def give_memory_back() -> None:
    """Let the system have what was freed; other allocators than glibc's do so by themselves."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
