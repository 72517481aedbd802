"""Writing files so that they are whole and on disk, or not there.

    bytes ──► name.tmp ──fsync──► rename ──fsync of the folder──► name

Writing is paced: unpaced copies of a gigabyte put checks on the other core at
tens of milliseconds. The layer is a class so that tests can put one in its place
that forgets what was not synced.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

_PIECE_BYTES: Final = 8 << 20
CALL_BYTES: Final = 256 << 10
"""Of one call to the system: it may hold the core until it has copied them all, and checks wait."""


class FileLayer:
    """The few operations on files that durability hangs on."""

    def __init__(self, bytes_per_second_max: int = 0) -> None:
        """Pace writing; 0 does not."""
        self.bytes_per_second_max = bytes_per_second_max

    def write(self, path: Path, data: bytes | bytearray | memoryview) -> None:
        """Write a file whole; on return it is durable under its name. Raises OSError."""
        temporary = path.with_suffix(path.suffix + ".tmp")
        view = memoryview(data)
        started = time.monotonic()
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
        try:
            for at in range(0, len(view), _PIECE_BYTES):
                piece = view[at : at + _PIECE_BYTES]
                end = at + len(piece)
                while len(piece):
                    piece = piece[os.write(file, piece[:CALL_BYTES]) :]
                if self.bytes_per_second_max:
                    # Write-behind: what is written is flushed and dropped before the next piece.
                    os.fdatasync(file)
                    os.posix_fadvise(file, at, _PIECE_BYTES, os.POSIX_FADV_DONTNEED)
                    due = end / self.bytes_per_second_max
                    time.sleep(max(0.0, due - (time.monotonic() - started)))
            self.sync(file)
        except BaseException:
            self.remove(temporary)  # on a full disk it would be in the way of everything else
            raise
        finally:
            os.close(file)
        self.rename(temporary, path)
        self.sync_folder(path.parent)

    def make_folder(self, folder: Path) -> None:
        """Make a folder, whose parent is there; durable on return."""
        folder.mkdir(exist_ok=True)
        self.sync_folder(folder.parent)

    def sync(self, file: int) -> None:
        """Flush a file to disk."""
        os.fsync(file)

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file; durable after `sync_folder`."""
        source.rename(target)

    def sync_folder(self, folder: Path) -> None:
        """Flush the names of a folder to disk."""
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    def remove(self, path: Path) -> None:
        """Remove a file; one that is gone is no error."""
        path.unlink(missing_ok=True)
