"""Files are whole and durable under their names, or not there."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest

from eir.whitelist.files import FileLayer


class Recording(FileLayer):
    """Notes the order of what is done."""

    def __init__(self, fail: str = "") -> None:
        super().__init__()
        self.done: list[str] = []
        self.fail = fail

    def _note(self, what: str) -> None:
        if what == self.fail:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.done.append(what)

    def sync(self, file: int) -> None:
        self._note("sync")
        super().sync(file)

    def rename(self, source: Path, target: Path) -> None:
        self._note("rename")
        super().rename(source, target)

    def sync_folder(self, folder: Path) -> None:
        self._note("sync_folder")
        super().sync_folder(folder)


def test_content_is_synced_before_the_name_and_the_name_before_the_end(tmp_path: Path) -> None:
    files = Recording()
    files.write(tmp_path / "a.seg", b"x" * 20_000_000)
    assert files.done == ["sync", "rename", "sync_folder"]
    assert (tmp_path / "a.seg").read_bytes() == b"x" * 20_000_000
    assert [path.name for path in tmp_path.iterdir()] == ["a.seg"]


def test_a_file_that_is_there_is_replaced_whole(tmp_path: Path) -> None:
    files = FileLayer()
    files.write(tmp_path / "a", b"long before")
    files.write(tmp_path / "a", memoryview(b"now"))
    assert (tmp_path / "a").read_bytes() == b"now"


def test_a_failed_write_leaves_nothing_and_the_old_file_stays(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(OSError, match="No space"):
        Recording(fail="sync").write(tmp_path / "a", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old"}


def test_writing_is_paced_by_what_is_written(tmp_path: Path) -> None:
    started = time.monotonic()
    FileLayer(10_000_000).write(tmp_path / "a", bytes(2_000_000))
    assert 0.2 <= time.monotonic() - started < 0.7, "not by whole pieces of 8 MiB"


def test_a_folder_is_durable_when_it_is_made(tmp_path: Path) -> None:
    files = Recording()
    files.make_folder(tmp_path / "segments")
    files.make_folder(tmp_path / "segments")
    assert files.done == ["sync_folder"] * 2
    assert (tmp_path / "segments").is_dir()


def test_removing_what_is_gone_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    for _ in range(2):
        FileLayer().remove(tmp_path / "a")
    assert not list(tmp_path.iterdir())
