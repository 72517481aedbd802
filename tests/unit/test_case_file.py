"""cases.db and its extent files."""

from __future__ import annotations

from pathlib import Path

import pytest

from eir.errors import StateDamagedError, StorageError
from eir.notify.case_file import CaseFile, Happened, InFile
from eir.whitelist.files import FileLayer


def opened(folder: Path) -> CaseFile:
    return CaseFile.open(folder, FileLayer())


def test_a_commit_is_there_whole_after_a_restart_or_not_at_all(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.script("CREATE TABLE t (a INTEGER NOT NULL) STRICT;")
    file.commit(b"rows", {"INSERT INTO t VALUES (?)": [(1,), (2,)]}, [], [(7, Happened(5, "opened"))])
    with pytest.raises(StorageError):
        file.commit(b"more", {"INSERT INTO none VALUES (?)": [(1,)]}, [], [(7, Happened(6, "lost"))])
    assert file.log_id == 1
    file.commit(b"", {}, [], [(7, Happened(8, "held", "me", "court"))])
    file.close()
    file = opened(tmp_path)
    assert list(file.log()) == [(1, b"rows")]
    assert file.read("SELECT a FROM t ORDER BY a") == [(1,), (2,)]
    assert file.history(7) == [Happened(5, "opened"), Happened(8, "held", "me", "court")]
    file.commit(b"", {}, [7], [])
    assert file.history(7) == []
    file.close()


def test_the_log_is_dropped_when_every_extent_has_a_file_of_later(tmp_path: Path) -> None:
    file = opened(tmp_path)
    for entry in range(3):
        file.commit(bytes((entry,)) * 10, {}, [], [])
    assert file.log_bytes() == 30
    assert file.log_after(1, 10) == [(2, b"\1" * 10), (3, b"\2" * 10)]
    assert file.oldest(2) == 0
    first = file.folding(0, b"extent 0")
    first.write()
    file.folded(first, 2)
    assert (file.log_bytes(), file.oldest(2)) == (30, 1)
    (tmp_path / "cases-0009-000000000001.ext").write_bytes(b"nobody's")
    second = file.folding(1, b"extent 1")
    second.write()
    file.folded(second, 2)
    assert (file.log_bytes(), file.log_after(1, 10)) == (0, [])
    assert [one[:3] for one in file.manifest()] == [
        (0, 3, "cases-0000-000000000003.ext"),
        (1, 3, "cases-0001-000000000003.ext"),
    ]
    assert isinstance(file.manifest()[0], InFile)
    assert sorted(path.name for path in tmp_path.glob("*.ext")) == [one.file for one in file.manifest()]
    file.close()


def test_what_is_damaged_is_named(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.commit(b"rows", {}, [], [])
    file.db.execute("UPDATE log SET records = x'00'")
    with pytest.raises(StateDamagedError, match="entry 1 of the log"):
        list(file.log())
    assert file.log_after(0, 10) == []
    file.db.execute("PRAGMA user_version = 9")
    file.close()
    with pytest.raises(StateDamagedError, match="version 9"):
        opened(tmp_path)
    (tmp_path / "cases.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StateDamagedError, match="damaged"):
        opened(tmp_path)
