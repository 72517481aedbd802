"""Segment files read ahead: which ones, and that nothing of it can fail."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eir.whitelist import warm


def test_the_newest_of_each_range_is_read_and_no_overlay(tmp_path: Path) -> None:
    names = (
        "shard-00000000-000000000001-000001.seg",
        "shard-00000000-000000000009-000002.seg",
        "shard-35000000-000000000001-000001.seg",
        "common-000000000001-000001.seg",
        "common-000000000009-000002.seg",
        "overlay-000000000009-000002.seg",
        "shard-00000000-000000000009-000002.imsi",
        "shard-00000000-000000000009-000002.seg.damaged",
    )
    for name in names:
        (tmp_path / name).touch()
    assert sorted(path.name for path in warm.newest(tmp_path)) == sorted([names[1], names[2], names[4]])


def test_what_is_not_in_memory_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "shard-00000000-000000000001-000001.seg"
    path.write_bytes(bytes(9 << 20))
    monkeypatch.setattr(warm, "_cached", lambda _file, at: at == 4 << 20)
    read: list[tuple[int, int]] = []

    def preadv(file: int, buffers: list[bytearray], at: int) -> int:
        read.append((at, len(buffers[0])))
        return len(os.pread(file, len(buffers[0]), at))

    monkeypatch.setattr(os, "preadv", preadv)
    for thread in warm.start(tmp_path):
        thread.join()
    assert read == [(0, 4 << 20), (8 << 20, 4 << 20)]


def test_a_folder_or_a_file_that_is_not_there_is_left_to_the_loader(tmp_path: Path) -> None:
    assert warm.start(tmp_path / "segments") == []
    gone = tmp_path / "common-000000000001-000001.seg"
    gone.symlink_to(tmp_path / "nowhere")
    threads = warm.start(tmp_path)
    for thread in threads:
        thread.join()
    assert len(threads) == 1
