"""Reading segment files ahead, while the daemon is still being imported.

    files ──threads──► page cache        (what `segments` then reads comes from memory)

Only a hint: what is read here is thrown away, and every error is left to the loader.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from pathlib import Path
from typing import Final

THREADS: Final = 4
"""Files read at a time: one alone does not keep a disk busy."""
_PIECE_BYTES: Final = 4 << 20
_PAGE_BYTES: Final = 4096


def newest(folder: Path) -> list[Path]:
    """Files that the next start will read, as far as names tell: the last of each kind and first TAC."""
    last = {path.name.rsplit("-", 2)[0]: path for path in sorted(folder.glob("*-*-*.seg"))}
    return [path for kind, path in last.items() if not kind.startswith("overlay")]


def start(folder: Path) -> list[threading.Thread]:
    """Begin to read the segments of a folder; returns at once."""
    todo = deque(newest(folder))
    threads = [
        threading.Thread(target=_read_all, args=(todo,), name="warm", daemon=True)
        for _ in range(min(THREADS, len(todo)))
    ]
    for thread in threads:
        thread.start()
    return threads


def _read_all(todo: deque[Path]) -> None:
    buffer = bytearray(_PIECE_BYTES)
    while True:
        try:
            path = todo.popleft()
        except IndexError:
            return
        with contextlib.suppress(OSError):
            _read(path, buffer)


def _read(path: Path, buffer: bytearray) -> None:
    """Read the pieces of a file that are not in memory."""
    file = os.open(path, os.O_RDONLY)
    try:
        for at in range(0, os.fstat(file).st_size, _PIECE_BYTES):
            if not _cached(file, at):
                os.preadv(file, [buffer], at)
    finally:
        os.close(file)


def _cached(file: int, at: int) -> bool:
    """Tell whether a place of a file is in memory, as far as the system tells."""
    try:
        os.preadv(file, [bytearray(_PAGE_BYTES)], at, getattr(os, "RWF_NOWAIT", 0))
    except OSError:  # EAGAIN: it would have to wait for the disk
        return False
    return hasattr(os, "RWF_NOWAIT")
