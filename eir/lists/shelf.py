"""What lists say and the tables do not hold: files of numbers beside the registry.

    read ──► next ──durable──► delta applied ──► in its place
              └─ killed in between: the journal says whether the delta was applied

Rows that are not in force, and the lists of user IDs. Each file is replaced as a
whole. It is written before the delta goes, under another name, with a note of the
delta; after a crash the note is held against the journal.
"""

from __future__ import annotations

import fcntl
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from eir.errors import StorageError
from eir.lists.errors import ImportRunningError, ShelfDamagedError
from eir.whitelist.files import FileLayer

FOLDER: Final = "lists"
_NOTE: Final = "note.json"
Arrays = dict[str, npt.NDArray[Any]]


class Shelf:
    """The shelf of a data directory, held by one import at a time; use `held`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._files = folder, FileLayer()

    def settle(self, applied: Callable[[str, int], str]) -> None:
        """Finish or forget what a killed import left; `applied` gives the reference of a delta."""
        path = self._folder / _NOTE
        if not path.exists():
            return
        try:
            note = json.loads(path.read_text())
            name, feed, sequence = str(note["name"]), str(note["feed"]), int(note["sequence"])
        except (ValueError, KeyError, TypeError) as error:
            raise ShelfDamagedError(f"{path}: {error}; remove it to go on") from error
        if note["reference"] == applied(feed, sequence):
            self._place(name)
            path.unlink()
        else:
            self._forget(name)

    def read(self, name: str) -> Arrays:
        """Read what a list left; empty where it left nothing. Raises ShelfDamagedError."""
        path = self._file(name)
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, KeyError) as error:
            raise ShelfDamagedError(f"{path}: {error}; remove it and import the full list again") from error

    @contextmanager
    def replacing(
        self, name: str, arrays: Arrays, feed: str, sequence: int, reference: str
    ) -> Iterator[None]:
        """Replace what a list left, together with the delta that is applied inside. Raises StorageError."""
        if not any(array.size for array in arrays.values()) and not self._file(name).exists():
            yield
            return
        following = self._file(name + ".next")
        try:
            self._files.make_folder(self._folder)
            with following.open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
                file.flush()
                self._files.sync(file.fileno())
            note = {"name": name, "feed": feed, "sequence": sequence, "reference": reference}
            # Whole or not there: half a note would be in the way of the next import.
            self._files.write(self._folder / _NOTE, json.dumps(note).encode())
        except OSError as error:
            self._forget(name)
            raise StorageError(f"{self._folder}: {error.strerror}") from error
        # Where the delta's fate is not known, the note stays and `settle` finds it out.
        yield
        self._place(name)
        (self._folder / _NOTE).unlink()

    def forget(self) -> None:
        """Take back what `replacing` wrote: the delta was refused."""
        path = self._folder / _NOTE
        if path.exists():
            self._forget(str(json.loads(path.read_text())["name"]))

    def _forget(self, name: str) -> None:
        for path in (self._folder / _NOTE, self._file(name + ".next")):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _place(self, name: str) -> None:
        following = self._file(name + ".next")
        if following.exists():
            self._files.rename(following, self._file(name))
            self._files.sync_folder(self._folder)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.npz"


@contextmanager
def held(data_dir: Path) -> Iterator[Shelf]:
    """Hold the shelf of a data directory. Raises ImportRunningError, StorageError."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "import.lock").open("a+")
    except OSError as error:
        raise StorageError(f"{data_dir}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ImportRunningError(f"{data_dir}: another import runs; one at a time") from error
        yield Shelf(data_dir / FOLDER)
