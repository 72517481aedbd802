"""registry.db: what is durable, in which order, and how damage shows."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eir.errors import DeltaTooLargeError, JournalDamagedError, StateDamagedError, StorageError
from eir.whitelist.blob import rows_from_blob, rows_to_blob
from eir.whitelist.delta import Header
from eir.whitelist.journal import DeltaRecord, Journal, NameKind, SegmentRecord, Subscriber
from eir.whitelist.rows import Op, Rows
from eir.whitelist.subscribers import of_values

DAY = 86_400


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.open(tmp_path / "registry.db")
    yield journal
    journal.close()


def _blob(first: int, count: int = 10) -> bytes:
    return rows_to_blob(
        Rows(op=np.full(count, Op.REGISTER, np.uint8), imei=np.arange(first, first + count, dtype=np.uint64))
    )


def _commit(
    journal: Journal, serial: int, *, chunks: int = 2, feed: str = "registry", at: int = 1000, **more: object
) -> DeltaRecord:
    token = journal.new_token()
    for index in range(chunks):
        journal.append_chunk(token, index, _blob(serial * 100 + index * 10))
    header = Header(feed, serial, serial - 1, chunks * 10, complete_until=serial * 7, reference="ref")
    if "subscribers" in more:
        more["subscribers"] = of_values(more["subscribers"])  # type: ignore[arg-type]
    return journal.commit_delta(
        header,
        token,
        serial,
        content_sha256=bytes([serial]) * 32,
        committed_at=at,
        **more,  # type: ignore[arg-type]
    )


def _reopen(journal: Journal, tmp_path: Path) -> Journal:
    journal.close()
    return Journal.open(tmp_path / "registry.db")


def test_a_delta_comes_back_with_its_chunks(journal: Journal, tmp_path: Path) -> None:
    records = [_commit(journal, serial, counts={"registered": (20, 0)}) for serial in (1, 2, 3)]
    reopened = _reopen(journal, tmp_path)
    assert list(reopened.deltas()) == records
    assert list(reopened.deltas(after_serial=2)) == records[2:]
    assert list(reopened.chunks(records[1])) == [_blob(200), _blob(210)]
    assert reopened.find_delta("registry", 2) == records[1]
    assert reopened.find_delta("registry", 4) is None
    assert reopened.find_delta("other", 2) is None
    assert reopened.last_serial() == 3
    assert records[1].counts == '{"registered": [20, 0]}'
    reopened.close()


def test_feeds_stand_where_their_last_delta_left_them(journal: Journal) -> None:
    assert journal.feeds() == []
    assert journal.last_serial() == 0
    _commit(journal, 1, at=50)
    _commit(journal, 2, feed="police", at=60)
    journal.commit_delta(
        Header("registry", 9, 1, 0), journal.new_token(), 3, content_sha256=b"", committed_at=70
    )
    assert [
        (feed.feed, feed.sequence, feed.serial, feed.complete_until, feed.applied_at)
        for feed in journal.feeds()
    ] == [
        ("police", 2, 2, 14, 60),
        ("registry", 9, 3, 7, 70),
    ]


def test_chunks_without_their_delta_are_gone_after_a_restart(journal: Journal, tmp_path: Path) -> None:
    record = _commit(journal, 1)
    token = journal.new_token()
    journal.append_chunk(token, 0, _blob(5))
    reopened = _reopen(journal, tmp_path)
    assert list(reopened.chunks(record)) == [_blob(100), _blob(110)]
    again = reopened.new_token()
    reopened.append_chunk(again, 0, _blob(6))
    reopened.drop_chunks(again)
    reopened.append_chunk(again, 0, _blob(7))
    reopened.close()


def test_a_chunk_is_seen_by_another_reader_before_its_delta_is(journal: Journal, tmp_path: Path) -> None:
    token = journal.new_token()
    journal.append_chunk(token, 0, _blob(5))
    with sqlite3.connect(tmp_path / "registry.db") as other:
        assert other.execute("SELECT count(*) FROM chunks").fetchone() == (1,)
        assert other.execute("SELECT count(*) FROM deltas").fetchone() == (0,)
    other.close()


def test_sync_is_full_and_the_log_is_folded_by_checkpoint_only(journal: Journal, tmp_path: Path) -> None:
    assert journal._one("PRAGMA synchronous") == 2
    assert journal._one("PRAGMA journal_mode") == "wal"
    assert journal._one("PRAGMA wal_autocheckpoint") == 0
    for serial in range(1, 6):
        token = journal.new_token()
        journal.append_chunk(token, 0, bytes(4 << 20))
        journal.commit_delta(
            Header("f", serial, serial - 1, 1), token, serial, content_sha256=b"", committed_at=1
        )
    wal = tmp_path / "registry.db-wal"
    assert wal.stat().st_size > 20 << 20
    left: list[int] = []
    thread = threading.Thread(target=lambda: left.append(journal.checkpoint()))
    thread.start()
    thread.join()
    assert left == [0]
    assert (tmp_path / "registry.db").stat().st_size > 20 << 20
    size = wal.stat().st_size
    _commit(journal, 6)
    assert wal.stat().st_size == size, "the log is used again from its beginning"


def test_a_failed_transaction_leaves_nothing(journal: Journal) -> None:
    def fail() -> None:
        with journal.transaction():
            journal.meta_set("mode", "x")
            with journal.transaction():
                journal.audit_add(1, "sre", "set", "test")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert journal.meta_get("mode") is None
    assert journal.audit_rows() == []
    journal.meta_set("mode", "y")
    assert journal.meta_get("mode") == "y"


def test_a_full_disk_is_a_storage_error_and_nothing_is_half_written(journal: Journal) -> None:
    record = _commit(journal, 1)
    pages = journal._one("PRAGMA page_count")
    journal._db.execute(f"PRAGMA max_page_count={pages + 8}")
    token = journal.new_token()
    with pytest.raises(StorageError, match="full"):
        journal.append_chunk(token, 0, bytes(1 << 20))

    def two_writes() -> None:
        with journal.transaction():
            journal.meta_set("k", "v")
            journal.append_chunk(token, 0, bytes(1 << 20))

    with pytest.raises(StorageError, match="full"):
        two_writes()
    assert journal.meta_get("k") is None
    journal._db.execute(f"PRAGMA max_page_count={pages + 1000}")
    journal.append_chunk(token, 0, bytes(1 << 20))
    assert list(journal.deltas()) == [record]


def test_a_directory_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="opening the journal"):
        Journal.open(tmp_path / "missing" / "registry.db")
    with pytest.raises(StorageError):
        Journal.open(tmp_path / "registry.db", read_only=True)


def test_a_read_only_journal_reads_beside_the_writer(journal: Journal, tmp_path: Path) -> None:
    record = _commit(journal, 1)
    token = journal.new_token()
    journal.append_chunk(token, 0, _blob(5))
    reader = Journal.open(tmp_path / "registry.db", read_only=True)
    assert list(reader.deltas()) == [record]
    with pytest.raises(StorageError, match="readonly"):
        reader.meta_set("k", "v")
    reader.close()
    assert journal._one("SELECT count(*) FROM chunks") == 3


# Damage.


def _change(path: Path, sql: str, *values: object) -> None:
    db = sqlite3.connect(path)
    with db:
        assert db.execute(sql, values).rowcount == 1
    db.close()


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        (
            "UPDATE chunks SET rows = zeroblob(9) WHERE token = 1 AND chunk = 1",
            "delta 1 .*registry, sequence 1.*chunk 1 does",
        ),
        ("UPDATE chunks SET crc32c = 5 WHERE token = 1 AND chunk = 0", "delta 1 .*chunk 0 does not match"),
        ("DELETE FROM chunks WHERE token = 1 AND chunk = 1", "delta 1 .*chunk 1 is missing"),
        (
            "UPDATE deltas SET row_count = 19 WHERE serial = 1",
            "delta 1 .*registry, sequence 1.* does not match",
        ),
        ("UPDATE deltas SET feed = 'x' WHERE serial = 1", "delta 1 .*feed x"),
    ],
)
def test_damage_is_named(journal: Journal, tmp_path: Path, sql: str, says: str) -> None:
    _commit(journal, 1)
    _commit(journal, 2)
    assert journal.verify() == []
    _change(tmp_path / "registry.db", sql)
    with pytest.raises(JournalDamagedError, match=says):
        [list(journal.chunks(record)) for record in journal.deltas()]
    damaged = journal.verify()
    assert len(damaged) == 1
    assert damaged[0].message.startswith("delta 1 ")


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("UPDATE feeds SET sequence = 7", "the row registry of feeds"),
        ("UPDATE feeds SET feed = 'registri'", "the row registri of feeds"),
        ("UPDATE feeds SET content_sha256 = x'00'", "the row registry of feeds"),
        ("UPDATE names SET name = 'polite'", "the row authority of names"),
        ("UPDATE names SET id = 2", "the row authority of names"),
        ("UPDATE segments SET serial = 9", "the row a1 of segments"),
        ("UPDATE segments SET state = 'previous'", "the row a1 of segments"),
        ("UPDATE meta SET v = 'b' WHERE k = 'mode'", "the row mode of meta"),
        ("UPDATE meta SET k = 'node' WHERE k = 'mode'", "the row node of meta"),
    ],
)
def test_a_damaged_row_keeps_a_start_away_and_is_named(
    journal: Journal, tmp_path: Path, sql: str, says: str
) -> None:
    _commit(journal, 1)
    journal.name_ids(NameKind.AUTHORITY, ["police"])
    journal.swap_manifest([_segment("a1", 0, 9, 1)], [])
    journal.meta_set("mode", "a")
    assert journal.verify() == []
    _change(tmp_path / "registry.db", sql)
    (damaged,) = journal.verify()
    assert says in damaged.message
    with pytest.raises(StateDamagedError, match=says):
        _reopen(journal, tmp_path)
    reader = Journal.open(tmp_path / "registry.db", read_only=True)  # what verifies must be able to
    assert len(reader.verify()) == 1
    reader.close()


def test_a_damaged_block_of_subscribers_is_named_masked_and_never_served(
    journal: Journal, tmp_path: Path
) -> None:
    one, two = Subscriber(1432110000000001, 1989120000001, "fa"), Subscriber(10, 15, "")
    _commit(journal, 1, subscribers=[one, two])
    turned = "UPDATE {} SET rows = CAST(x'00' || substr(rows, 2) AS BLOB)"
    _change(tmp_path / "registry.db", turned.format("subscribers_by_imsi"))
    (damaged,) = journal.verify()
    assert "subscribers_by_imsi at the beginning" in damaged.message
    assert journal.subscribers([one.imsi, 10]) == {one.imsi: one, 10: two}, "the other table has it"
    assert journal.verify() == []
    for table in ("subscribers_by_imsi", "subscribers_by_msisdn"):
        _change(tmp_path / "registry.db", turned.format(table))
    for ask in (lambda: journal.subscribers([one.imsi]), lambda: journal.subscribers_of(one.msisdn, 9)):
        with pytest.raises(JournalDamagedError, match="does not match its checksum"):
            ask()
    assert len(journal.verify()) == 2
    with pytest.raises(JournalDamagedError):
        _commit(journal, 2, subscribers=[one])
    assert journal.last_serial() == 1


def test_a_chunk_in_the_place_of_another_is_noticed(journal: Journal, tmp_path: Path) -> None:
    record = _commit(journal, 1)
    for source, target in ((0, 7), (1, 0), (7, 1)):
        _change(tmp_path / "registry.db", "UPDATE chunks SET chunk = ? WHERE chunk = ?", target, source)
    with pytest.raises(JournalDamagedError, match="chunk 0"):
        list(journal.chunks(record))


def test_verify_reads_the_rows_and_says_how_far_it_is(journal: Journal) -> None:
    _commit(journal, 1)
    token = journal.new_token()
    journal.append_chunk(token, 0, b"not rows")
    journal.commit_delta(Header("f", 1, 0, 1), token, 2, content_sha256=b"", committed_at=1)
    token = journal.new_token()
    journal.append_chunk(token, 0, _blob(5))
    journal.commit_delta(Header("f", 2, 1, 11), token, 3, content_sha256=b"", committed_at=1)
    steps: list[tuple[int, int]] = []
    damaged = journal.verify(lambda done, total: steps.append((done, total)))
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert [error.message for error in damaged] == [
        "delta 2, chunk 0: rows of 8 bytes are cut short",
        "delta 3: 10 rows instead of 11",
    ]


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    path.write_bytes(b"garbage " * 4096)
    with pytest.raises(StateDamagedError, match="damaged"):
        Journal.open(path)


def test_another_schema_version_is_refused(journal: Journal, tmp_path: Path) -> None:
    journal._db.execute("PRAGMA user_version=9")
    with pytest.raises(StateDamagedError, match="schema version 9; this daemon reads 3"):
        _reopen(journal, tmp_path)


# Pruning.


def test_pruning_keeps_what_either_bound_keeps(journal: Journal) -> None:
    for serial in range(1, 7):
        _commit(journal, serial, at=serial * DAY, chunks=6)
    assert journal.prune(before_serial=3, keep_days=0, now=100 * DAY) == 2
    assert [record.serial for record in journal.deltas()] == [3, 4, 5, 6]
    assert journal.prune(before_serial=7, keep_days=2, now=7 * DAY) == 2
    assert [record.serial for record in journal.deltas()] == [5, 6]
    assert journal._one("SELECT count(*) FROM chunks") == 12
    assert journal.feeds()[0].sequence == 6
    assert journal.verify() == []
    assert journal.prune(before_serial=7, keep_days=2, now=7 * DAY) == 0


def test_serials_and_tokens_go_on_after_everything_is_pruned(journal: Journal, tmp_path: Path) -> None:
    _commit(journal, 1, at=0)
    journal.prune(before_serial=2, keep_days=0, now=DAY)
    reopened = _reopen(journal, tmp_path)
    assert reopened.last_serial() == 1
    record = _commit(reopened, 2)
    assert list(reopened.chunks(record)) == [_blob(200), _blob(210)]
    reopened.close()


# Names, manifest, audit, settings, subscribers.


def test_names_keep_their_numbers(journal: Journal, tmp_path: Path) -> None:
    assert journal.name_ids(NameKind.AUTHORITY, ["police", "", "court", "police"]) == [1, 0, 2, 1]
    assert journal.name_ids(NameKind.DEVICE_TYPE, ["phone"]) == [1]
    reopened = _reopen(journal, tmp_path)
    assert reopened.name_ids(NameKind.AUTHORITY, ["customs", "court"]) == [3, 2]
    assert reopened.names(NameKind.AUTHORITY) == ["", "police", "court", "customs"]
    assert reopened.names(NameKind.DEVICE_TYPE) == ["", "phone"]
    reopened.close()


def test_names_are_numbered_with_16_bits(journal: Journal) -> None:
    ids = journal.name_ids(NameKind.AUTHORITY, [f"a{number}" for number in range(65_535)])
    assert ids[-1] == 65_535
    with pytest.raises(DeltaTooLargeError):
        journal.name_ids(NameKind.AUTHORITY, ["one more"])
    assert journal.name_ids(NameKind.AUTHORITY, ["a0"]) == [1]


def _segment(file: str, first: int, last: int, serial: int) -> SegmentRecord:
    return SegmentRecord(file, "shard", first, last, serial, 0xFFFFFFFF, 1 << 33)


def test_the_manifest_keeps_the_segments_before(journal: Journal, tmp_path: Path) -> None:
    old = [_segment("a1", 0, 9, 1), _segment("b1", 10, 99, 1)]
    assert journal.swap_manifest(old, []) == []
    assert journal.manifest().current == tuple(old)
    new = _segment("a2", 0, 9, 5)
    assert journal.swap_manifest([new], ["a1"]) == []
    assert journal.manifest().current == (new, old[1])
    assert journal.manifest().previous == (old[0],)
    newer = _segment("a3", 0, 9, 8)
    assert journal.swap_manifest([newer], ["a2"]) == ["a1"]
    reopened = _reopen(journal, tmp_path)
    assert reopened.manifest().current == (newer, old[1])
    assert reopened.manifest().previous == (new,)
    reopened.close()


def test_a_swap_drops_previous_segments_of_its_own_kind_and_range_only(journal: Journal) -> None:
    journal.swap_manifest([_segment("a1", 0, 9, 1), replace(_segment("t1", 0, 9, 1), kind="tacs")], [])
    journal.swap_manifest(
        [_segment("a2", 0, 9, 2), replace(_segment("t2", 0, 9, 2), kind="tacs")], ["a1", "t1"]
    )
    assert journal.swap_manifest([_segment("a3", 0, 4, 3), _segment("a4", 5, 9, 3)], ["a2"]) == ["a1"]
    assert [segment.file for segment in journal.manifest().current] == ["a3", "a4", "t2"]
    assert [segment.file for segment in journal.manifest().previous] == ["a2", "t1"]


def test_a_swap_happens_whole_or_not_at_all(journal: Journal) -> None:
    journal.swap_manifest([_segment("a1", 0, 9, 1)], [])
    before = journal.manifest()
    with pytest.raises(sqlite3.IntegrityError):
        journal.swap_manifest([_segment("a2", 0, 9, 2), _segment("a1", 0, 9, 2)], ["a1"])
    assert journal.manifest() == before


def test_audit_rows_in_order(journal: Journal) -> None:
    for number in range(5):
        journal.audit_add(number, "sre", "set", "why", f"detail {number}")
    assert [row.detail for row in journal.audit_rows(after_id=2, count_max=2)] == ["detail 2", "detail 3"]


def test_settings(journal: Journal, tmp_path: Path) -> None:
    assert journal.meta_get("mode") is None
    journal.meta_set("mode", "a")
    journal.meta_set("mode", "b")
    reopened = _reopen(journal, tmp_path)
    assert reopened.meta_get("mode") == "b"
    reopened.close()


def test_subscribers_are_set_replaced_and_removed_with_their_delta(journal: Journal) -> None:
    one, two = Subscriber(1432110000000001, 1989120000001, "fa"), Subscriber(10, 15, "")
    _commit(journal, 1, subscribers=[one, two])
    assert journal.subscribers([one.imsi, 10, 11]) == {one.imsi: one, 10: two}
    assert journal.subscriber_count() == 2
    _commit(
        journal, 2, subscribers=[one._replace(language="en"), Subscriber(10, 0, ""), Subscriber(12, 13, "")]
    )
    assert journal.subscribers([one.imsi, 10, 12]) == {
        one.imsi: one._replace(language="en"),
        12: Subscriber(12, 13, ""),
    }
    assert journal.subscriber_count() == 2


def test_subscribers_are_found_by_msisdn_as_they_are_now(journal: Journal) -> None:
    shared = 1989120000001
    one, two, three = (Subscriber(number, shared, "fa") for number in (30, 20, 10))
    _commit(journal, 1, subscribers=[one, two, three])
    assert journal.subscribers_of(shared, 9) == [three, two, one]
    assert journal.subscribers_of(shared, 2) == [three, two]
    moved = two._replace(msisdn=1989120000002)
    _commit(journal, 2, subscribers=[one._replace(msisdn=0, language=""), moved, three._replace(language="")])
    assert journal.subscribers_of(shared, 9) == [three._replace(language="")]
    assert journal.subscribers_of(moved.msisdn, 9) == [moved]
    assert journal.subscribers_of(1, 9) == []
    assert journal.verify() == []


def test_deltas_are_read_backwards_without_heartbeats(journal: Journal) -> None:
    _commit(journal, 1)
    _commit(journal, 2, chunks=0)
    record = _commit(journal, 3)
    assert journal.delta_numbers_back(4, 9) == [3, 1]
    assert journal.delta_numbers_back(3, 9) == [1]
    assert journal.delta_numbers_back(9, 1) == [3]
    assert journal.delta(3) == record
    assert journal.delta(9) is None


def test_a_reader_beside_the_writer_asks_again_for_names(journal: Journal, tmp_path: Path) -> None:
    reader = Journal.open(tmp_path / "registry.db", read_only=True)
    assert reader.names(NameKind.AUTHORITY) == [""]
    journal.name_ids(NameKind.AUTHORITY, ["police"])
    assert reader.names(NameKind.AUTHORITY) == [""]
    assert reader.names(NameKind.AUTHORITY, again=True) == ["", "police"]
    reader.close()


def test_rows_come_back_as_they_were(journal: Journal) -> None:
    record = _commit(journal, 1, chunks=1)
    (blob,) = journal.chunks(record)
    assert rows_from_blob(blob).column("imei").tolist() == list(range(100, 110))
