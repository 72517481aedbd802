"""registry.db made new, and brought up from former versions."""

import sqlite3
from pathlib import Path

import pytest

from eir.errors import StateDamagedError, StorageError
from eir.whitelist import versions
from eir.whitelist.delta import Header
from eir.whitelist.files import FileLayer
from eir.whitelist.journal import Journal, NameKind, SegmentRecord
from eir.whitelist.schema import Subscriber, row_checksum

OLD_SUBSCRIBERS = """
DROP TABLE subscribers_by_imsi; DROP TABLE subscribers_by_msisdn;
CREATE TABLE subscribers (
    imsi INTEGER PRIMARY KEY, msisdn INTEGER NOT NULL, language TEXT NOT NULL, crc32c INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE msisdns (
    msisdn INTEGER NOT NULL, imsi INTEGER NOT NULL, PRIMARY KEY (msisdn, imsi)
) STRICT, WITHOUT ROWID;
PRAGMA user_version=2
"""
NO_CHECKSUMS = """
DROP TABLE msisdns; ALTER TABLE subscribers DROP COLUMN crc32c;
ALTER TABLE meta DROP COLUMN crc32c; ALTER TABLE names DROP COLUMN crc32c;
ALTER TABLE segments DROP COLUMN row_crc32c; ALTER TABLE feeds DROP COLUMN crc32c;
ALTER TABLE feeds DROP COLUMN content_sha256; ALTER TABLE feeds DROP COLUMN row_count;
ALTER TABLE feeds DROP COLUMN base_sequence; PRAGMA user_version=1
"""
ROWS = [
    Subscriber(1_432_110_000_000_000 + n, 1_989_120_000_000 + n // 2, ("fa", "")[n % 2]) for n in range(1_000)
]


def former(path: Path, version: int) -> tuple[object, ...]:
    """Make a file as a former version did; returns what else is in it."""
    journal = Journal.open(path)
    journal.commit_delta(
        Header("registry", 1, 0, 0, reference="ref"), 1, 1, content_sha256=bytes(32), committed_at=9
    )
    journal.name_ids(NameKind.AUTHORITY, ["police"])
    journal.swap_manifest([SegmentRecord("a1", "shard", 0, 9, 1, 7, 100)], [])
    journal.meta_set("mode", "a")
    journal.meta_set("subscriber_count", str(len(ROWS)))
    was = journal.feeds(), journal.manifest(), journal.names(NameKind.AUTHORITY), journal.meta_get("mode")
    journal.close()
    old = sqlite3.connect(path)
    old.executescript(OLD_SUBSCRIBERS)
    rows = [(*row, row_checksum("subscribers", *row)) for row in ROWS]
    old.executemany("INSERT INTO subscribers VALUES (?, ?, ?, ?)", rows)
    old.executemany("INSERT INTO msisdns VALUES (?, ?)", [(row.msisdn, row.imsi) for row in ROWS])
    old.commit()
    if version == 1:
        old.executescript(NO_CHECKSUMS)
    old.close()
    return was


@pytest.mark.parametrize("version", versions.FORMER)
def test_a_former_version_is_brought_up_to_date(
    tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "_ROWS_AT_ONCE", 300)
    path = tmp_path / "registry.db"
    was = former(path, version)
    with pytest.raises(StateDamagedError, match=rf"schema version {version}; .* brings it up to date"):
        Journal.open(path, read_only=True)
    for _ in range(2):
        new = Journal.open(path)
        assert (
            new.feeds(),
            new.manifest(),
            new.names(NameKind.AUTHORITY),
            new.meta_get("mode"),
        ) == was
        assert new.subscribers(row.imsi for row in ROWS) == {row.imsi: row for row in ROWS}
        assert new.subscribers_of(ROWS[7].msisdn, 9) == ROWS[6:8]
        assert new.subscriber_count() == len(ROWS)
        assert new.verify() == []
        tables = {name for (name,) in new._all("SELECT name FROM sqlite_master")}
        assert not tables & {"subscribers", "msisdns"}
        new.close()


def test_a_damaged_subscriber_of_version_2_is_named_and_nothing_changes(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    former(path, 2)
    with sqlite3.connect(path) as old:
        old.execute("UPDATE subscribers SET language = 'en' WHERE imsi = ?", (ROWS[5].imsi,))
    old.close()
    for _ in range(2):
        with pytest.raises(StateDamagedError, match=r"432\*+05 of subscribers does not match.*can remove"):
            Journal.open(path)
    old = sqlite3.connect(path)
    assert old.execute("PRAGMA user_version").fetchone() == (2,)
    assert old.execute("SELECT count(*) FROM subscribers").fetchone() == (len(ROWS),)
    old.close()


def test_a_new_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "registry.db"

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for step in ("sync", "rename"):
        with monkeypatch.context() as patch:
            patch.setattr(FileLayer, step, killed)
            with pytest.raises(KeyboardInterrupt):
                Journal.open(path)
        assert not path.exists()
        with pytest.raises(StorageError):
            Journal.open(path, read_only=True)
    (tmp_path / "registry.db.new").write_bytes(b"half of it")
    (tmp_path / "registry.db.new-journal").write_bytes(b"and how it was")
    Journal.open(path).close()
    assert [file.name for file in tmp_path.iterdir()] == ["registry.db"]
    reader = Journal.open(path, read_only=True)
    assert reader.feeds() == []
    reader.close()


def test_a_file_that_a_former_version_left_without_tables_gets_them(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    path.touch()
    with pytest.raises(StateDamagedError, match=r"schema version 0; .* brings it up to date"):
        Journal.open(path, read_only=True)
    journal = Journal.open(path)
    assert journal.verify() == []
    journal.close()


def test_a_disk_that_is_full_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FileLayer, "sync", full)
    with pytest.raises(StorageError, match=r"registry\.db: No space left on device"):
        Journal.open(tmp_path / "registry.db")
