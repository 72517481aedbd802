"""A file layer that forgets at a power cut what was not synced.

    write ──► content ──sync──► kept          rename, remove ──► names ──sync of the folder──► kept
                 └──cut──► lost                                    └──cut──► as they were

Segments go through `FileLayer` and are cut here. SQLite does its own writing and
is trusted: in WAL mode with synchronous=FULL a commit is on disk on return and a
cut loses nothing before it; tests/simulation/test_power_cut.py checks that those
two are in force. registry.db is therefore left as it is, as after a kill.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random

from eir.whitelist.files import FileLayer


class PowerCutError(BaseException):
    """The machine lost its power. Nothing in the program may catch it."""


class ForgetfulLayer(FileLayer):
    """Counts down to a power cut, and says what the disk holds after it."""

    def __init__(self, *, without: frozenset[str] = frozenset()) -> None:
        """`without` names the operations that do nothing ("sync", "sync_folder"), as in a broken layer."""
        super().__init__()
        self.without = without
        self.operations_left: int | None = None
        """Operations until the cut; None: there is none."""
        self._contents: dict[int, bytes] = {}
        """Synced content by inode."""
        self._held: dict[int, int] = {}
        """A descriptor of each inode, so that its number is not used again."""
        self._names: dict[Path, dict[str, int | None]] = {}
        """Synced names by folder: the inode of each, None for a folder."""

    def _spend(self) -> None:
        if self.operations_left is not None:
            self.operations_left -= 1
            if self.operations_left < 0:
                raise PowerCutError

    def sync(self, file: int) -> None:
        self._spend()
        if "sync" not in self.without:
            inode = os.fstat(file).st_ino
            self._hold(inode, file)
            size = os.fstat(file).st_size
            with Path(f"/proc/self/fd/{file}").open("rb") as again:
                self._contents[inode] = again.read(size)

    def _hold(self, inode: int, file: int) -> None:
        if inode not in self._held:
            self._held[inode] = os.dup(file)

    def rename(self, source: Path, target: Path) -> None:
        self._spend()
        super().rename(source, target)

    def remove(self, path: Path) -> None:
        self._spend()
        super().remove(path)

    def sync_folder(self, folder: Path) -> None:
        self._spend()
        if "sync_folder" in self.without:
            return
        names: dict[str, int | None] = {}
        for path in folder.iterdir():
            if path.is_dir():
                names[path.name] = None
            else:
                file = os.open(path, os.O_RDONLY)
                names[path.name] = inode = os.fstat(file).st_ino
                self._hold(inode, file)
                os.close(file)
        self._names[folder] = names

    def cut(self, data_dir: Path, random: Random) -> None:
        """Put the folder of segments as a disk might hold it: what was not synced may be there or not."""
        self.operations_left = None
        folder = data_dir / "segments"
        there = {path.name: path.stat().st_ino for path in folder.iterdir()} if folder.exists() else {}
        # What the program sees, of each file; lost contents come back empty, or half.
        seen = {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}
        names: dict[str, int | None] = self._names.get(folder, {}) | {}
        if random.random() < 0.3:  # the names happened to reach the disk, the contents may not have
            names = dict(there)
        shutil.rmtree(folder, ignore_errors=True)
        if "segments" not in self._names.get(data_dir, {}):
            return
        folder.mkdir()
        for name, inode in names.items():
            lost = seen.get(name, b"")
            default = random.choice((b"", lost[: len(lost) // 2]))
            (folder / name).write_bytes(self._contents.get(inode or 0, default))
        self._adopt(folder)

    def _adopt(self, folder: Path) -> None:
        """What is on disk after the cut is durable."""
        for file in self._held.values():
            os.close(file)
        self._held.clear()
        self._contents.clear()
        names: dict[str, int | None] = {}
        for path in folder.iterdir():
            file = os.open(path, os.O_RDONLY)
            names[path.name] = inode = os.fstat(file).st_ino
            self._hold(inode, file)
            os.close(file)
            self._contents[inode] = path.read_bytes()
        self._names[folder] = names

    def close(self) -> None:
        """Let go of the inodes."""
        for file in self._held.values():
            os.close(file)
        self._held.clear()
