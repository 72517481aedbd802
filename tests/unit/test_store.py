"""The store: sequences, reports, guards, dry runs, levels, rebuilds, restarts, full disks."""

from __future__ import annotations

import contextlib
import hashlib
import json
import resource
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import store_model
from simulation import stores

from eir.errors import (
    DataDirLockedError,
    DeltaConflictError,
    DeltaGapError,
    DeltaGuardError,
    DeltaHashMismatchError,
    DeltaInvalidError,
    DeltaRowCountMismatchError,
    DeltaRowsRefusedError,
    StorageError,
    WriterBusyError,
)
from eir.identity import imsi_code
from eir.whitelist import segments
from eir.whitelist.delta import BAD_ROWS_MAX, Header
from eir.whitelist.feeds import FeedRules, GuardLimits
from eir.whitelist.items import REGISTERED
from eir.whitelist.operation import Operation
from eir.whitelist.overlay import Overlay
from eir.whitelist.rows import BlockCause, Op, Role
from eir.whitelist.schema import Subscriber
from eir.whitelist.store import MODE_ALLOW_ALL, Limits, Store

KEY = 35123456000000
A, B = imsi_code("432110000000001"), imsi_code("432350000000002")
DAY = 86_400


@pytest.fixture(autouse=True)
def rebuild_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    stores.rebuild_here(monkeypatch)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = stores.new_folder()
    yield made
    shutil.rmtree(made)


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    opened = stores.opened(folder, limits=Limits(rebuild_bytes_per_second_max=0))
    yield opened
    with contextlib.suppress(Exception):
        opened.close()


def fails(error: Exception) -> Callable[..., None]:
    """Make a function that raises."""

    def raises(*_: object) -> None:
        raise error

    return raises


def register(first: int, count: int = 1) -> list[Operation]:
    return [Operation(Op.REGISTER, KEY + first + step) for step in range(count)]


def deregister(first: int, count: int) -> list[Operation]:
    return [row._replace(op=Op.DEREGISTER) for row in register(first, count)]


def files(store: Store) -> list[str]:
    return sorted(path.name for path in (store.data_dir / "segments").iterdir())


def standing(store: Store) -> tuple[object, ...]:
    """All that a refused delta must leave alone."""
    kept = store.journal
    chunks = kept._one("SELECT count(*) FROM chunks")
    return (
        store.generation,
        dict(store.counts),
        store.feeds(),
        chunks,
        kept.names("authority"),
        store.device_types,
    )


# -- sequences ----------------------------------------------------------------------------------------


def test_the_last_delta_of_a_feed_is_a_repeat_also_after_it_was_pruned(store: Store) -> None:
    store_model.push(store, register(0))
    store_model.push(store, register(1))
    store.journal.prune(before_serial=3, keep_days=0, now=1 << 40)
    assert store.journal.oldest_serial() == 0
    before = standing(store)
    payload = chunk_of(register(1))
    pending = store.push(Header("feed", 2, 1, 1))
    assert pending.repeat
    pending.chunk(0, payload)
    assert pending.commit(hashlib.sha256(payload).digest()).repeat
    other, payload = store.push(Header("feed", 2, 1, 1)), chunk_of(register(2))
    other.chunk(0, payload)
    with pytest.raises(DeltaConflictError, match="applied with other rows"):
        other.commit(hashlib.sha256(payload).digest())
    with pytest.raises(DeltaConflictError, match="base"):
        store.push(Header("feed", 2, 0, 1))
    with pytest.raises(DeltaGapError):
        store.push(Header("feed", 1, 0, 1))  # of earlier ones nothing is known
    assert standing(store) == before


def test_a_repeat_is_acknowledged_and_changes_nothing(store: Store) -> None:
    store_model.push(store, register(0))
    store_model.push(store, register(1))
    before = standing(store)

    for sequence, rows in ((1, register(0)), (2, register(1))):
        pending = store.push(Header("feed", sequence, sequence - 1, 1))
        assert pending.repeat
        payload = chunk_of(rows)
        pending.chunk(0, payload)
        applied = pending.commit(hashlib.sha256(payload).digest())
        assert (applied.repeat, applied.serial) == (True, 2)
    assert standing(store) == before


def chunk_of(rows: list[Operation]) -> bytes:
    from delta_strategies import payload

    return payload(rows)


def test_a_repeat_with_other_rows_is_a_conflict(store: Store) -> None:
    store_model.push(store, register(0))
    before = standing(store)
    pending = store.push(Header("feed", 1, 0, 1))
    payload = chunk_of(register(1))
    pending.chunk(0, payload)
    with pytest.raises(DeltaConflictError):
        pending.commit(hashlib.sha256(payload).digest())
    with pytest.raises(DeltaConflictError):
        store.push(Header("feed", 1, 0, 2))
    assert standing(store) == before


def test_a_gap_says_what_is_expected(store: Store) -> None:
    store_model.push(store, [])
    with pytest.raises(DeltaGapError) as caught:
        store.push(Header("feed", 3, 2, 0))
    assert caught.value.details["expected_base_sequence"] == "1"
    assert not store.push(Header("other", 1, 0, 0)).repeat, "each feed has a sequence of its own"
    assert not store.push(Header("feed", 9, 1, 0)).repeat, "sequences may jump, bases may not"


@pytest.mark.parametrize("wrong", ["hash", "fewer", "more", "index"])
def test_a_delta_that_is_not_what_its_header_says_leaves_nothing(store: Store, wrong: str) -> None:
    before = standing(store)
    rows = register(0, 2)
    pending = store.push(Header("feed", 1, 0, {"fewer": 3, "more": 1}.get(wrong, 2)))
    payload = chunk_of(rows)
    kind = {"hash": DeltaHashMismatchError, "index": DeltaInvalidError}.get(wrong, DeltaRowCountMismatchError)
    with pytest.raises(kind):  # noqa: PT012 - where it is noticed differs
        pending.chunk(wrong == "index", payload)
        pending.commit(b"" if wrong == "hash" else hashlib.sha256(payload).digest())
    pending.abort()
    assert standing(store) == before
    store_model.push(store, rows)
    assert store.counts["registered"] == 2


def test_a_delta_without_rows_moves_the_feed_on(store: Store) -> None:
    applied = store_model.push(store, [], complete_until=1_700_000_000)
    assert (applied.serial, applied.effects) == (1, ())
    (feed,) = store.feeds()
    assert (feed.sequence, feed.serial, feed.complete_until, feed.applied_at) == (
        1,
        1,
        1_700_000_000,
        stores.NOW,
    )
    store_model.push(store, [])
    assert store.feeds()[0].complete_until == 1_700_000_000, "0 says nothing new"


# -- bad rows, guards, dry runs -----------------------------------------------------------------------


def test_a_strict_feed_refuses_all_and_names_the_bad(store: Store) -> None:
    store_model.push(store, register(0, 1_500))
    before = standing(store)
    with pytest.raises(DeltaRowsRefusedError) as caught:
        store_model.push(store, [*register(0, 1_500), *register(2_000)], parts=3)
    assert caught.value.bad_row_count == 1_500
    assert [row.row for row in caught.value.bad_rows] == list(range(BAD_ROWS_MAX))
    assert standing(store) == before


def test_a_lenient_feed_ignores_and_counts_the_bad(folder: Path) -> None:
    store = stores.opened(folder)
    store_model.push(store, register(0))
    twice = [*register(0), *register(1), *register(2), *deregister(2, 1)]
    applied = store_model.push(store, twice)
    assert (applied.ignored_row_count, applied.serial) == (3, 2)
    assert {row.row: row.reason for row in applied.bad_rows} == {
        0: "ALREADY_THERE",
        2: "CONTRADICTS_ROW",
        3: "CONTRADICTS_ROW",
    }
    assert store.counts["registered"] == 2
    with pytest.raises(DeltaRowsRefusedError):
        store_model.push(store, register(0), feed="strict")
    store.close()


def test_names_of_a_refused_delta_are_not_kept(store: Store) -> None:
    block = Operation(Op.BLOCK, KEY, cause=BlockCause.STOLEN, name="court")
    with pytest.raises(DeltaRowsRefusedError):
        store_model.push(store, [block, Operation(Op.TAC, 1, name="phone"), Operation(Op.UNTRACK, KEY)])
    assert store_model.push(store, [block, Operation(Op.TAC, 1, name="phone")], dry_run=True).dry_run
    assert (store.authorities, store.device_types) == ([""], [""])
    store_model.push(store, [block._replace(name="police"), Operation(Op.TAC, 1, name="meter")])
    assert (store.authorities, store.device_types) == (["", "police"], ["", "meter"])


def test_a_dry_run_reports_and_changes_nothing(store: Store) -> None:
    before = standing(store)
    applied = store_model.push(store, register(0, 3), dry_run=True)
    assert (applied.dry_run, applied.serial) == (True, 0)
    assert [(effect.table, effect.added, effect.rows) for effect in applied.effects] == [("registered", 3, 3)]
    assert standing(store) == before
    with pytest.raises(DeltaRowsRefusedError):
        store_model.push(store, deregister(0, 1), dry_run=True)


def test_guards_hold_until_they_are_overridden(folder: Path) -> None:
    guards = GuardLimits(removed_percent_max=25, guarded_rows_min=100)
    store = stores.opened(folder, limits=Limits(guards=guards))
    store_model.push(store, register(0, 200))
    store_model.push(store, deregister(0, 50))
    before = standing(store)
    with pytest.raises(DeltaGuardError, match="removes 40 of 150 rows of registered") as caught:
        store_model.push(store, deregister(50, 40))
    assert [(effect.table, effect.removed) for effect in caught.value.effects] == [("registered", 40)]
    assert standing(store) == before
    assert store_model.push(store, deregister(50, 40), override_guards=True).serial == 3
    store.close()


def test_subscribers_are_judged_as_other_rows_are(store: Store) -> None:
    row = Operation(Op.SUBSCRIBER, imsi=A, time=1989120000001, name="fa")
    applied = store_model.push(store, [row])
    assert [(effect.table, effect.added, effect.rows) for effect in applied.effects] == [
        ("subscribers", 1, 1)
    ]
    for wrong in (row, Operation(Op.SUBSCRIBER, imsi=B)):
        with pytest.raises(DeltaRowsRefusedError):
            store_model.push(store, [wrong])
    store_model.push(store, [row._replace(name="")])
    store_model.push(store, [Operation(Op.SUBSCRIBER, imsi=A)])
    assert store.counts["subscribers"] == 0


# -- levels and rebuilds ------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["subscribers_by_imsi", "subscribers_by_msisdn"])
def test_a_damaged_block_of_subscribers_hinders_no_delta(store: Store, table: str) -> None:
    one = Operation(Op.SUBSCRIBER, imsi=A, time=1989120000001, name="fa")
    two = one._replace(imsi=B)
    store_model.push(store, [one, two])
    with store.journal.transaction():
        store.journal._db.execute(f"UPDATE {table} SET crc32c = 1 - crc32c")
    with pytest.raises(DeltaRowsRefusedError, match="has this number already"):
        store_model.push(store, [one])
    store_model.push(store, [Operation(Op.SUBSCRIBER, imsi=A)])
    assert store.counts["subscribers"] == 1
    store_model.push(store, [one._replace(time=1989120000009)])
    assert store.journal.subscribers_of(1989120000009, 9) == [Subscriber(A, 1989120000009, "fa")]
    assert store.journal.subscribers_of(1989120000001, 9) == [Subscriber(B, 1989120000001, "fa")]
    assert store.journal.verify() == []


def test_a_large_delta_goes_below_and_the_newest_still_wins(folder: Path) -> None:
    limits = Limits(small_overlay_rows_max=10, rebuild_bytes_per_second_max=0)
    store = stores.opened(folder, limits=limits)
    store_model.push(store, register(0, 5))
    assert [level.rows for level in store.generation.levels] == [5]
    # Older rows of the small overlay go down with it, and must not come out on top.
    store_model.push(store, [*deregister(0, 2), *register(100, 20)])
    assert [level.rows for level in store.generation.levels] == [25]
    store_model.push(store, register(0))
    assert [level.rows for level in store.generation.levels] == [1, 25]
    assert [store.generation.key_row(KEY + step)[0] for step in range(3)] == [REGISTERED, 0, REGISTERED]
    store_model.push(store, [Operation(Op.PAIR, KEY + step, imsi=A, cause=Role.OWNER) for step in (0, 2)])
    store.rebuild()
    assert store.generation.levels == ()
    assert [store.generation.key_row(KEY + step)[0] for step in range(3)] == [
        REGISTERED | A,
        0,
        REGISTERED | A,
    ]
    store.close()


def test_deltas_and_checks_go_on_while_segments_are_rebuilt(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_model.push(store, register(0, 3))
    store.rebuild()
    store_model.push(store, [*deregister(0, 1), *register(10)])
    started, go_on = threading.Event(), threading.Event()
    run = segments._run_child

    def waits(job: Path) -> list[segments.SegmentFile]:
        started.set()
        assert go_on.wait(20)
        return run(job)

    monkeypatch.setattr(segments, "_run_child", waits)
    thread = threading.Thread(target=store.rebuild)
    thread.start()
    assert started.wait(20)
    assert store.rebuild_running
    # Over the frozen rows, and over the segments below them.
    store_model.push(store, [*register(0), *deregister(1, 1), *deregister(10, 1), *register(20)])
    expected = [REGISTERED, 0, REGISTERED, 0, REGISTERED]

    def rows() -> list[int]:
        return [store.generation.key_row(KEY + step)[0] for step in (0, 1, 2, 10, 20)]

    assert rows() == expected
    go_on.set()
    thread.join(20)
    assert (rows(), len(store.generation.levels), store.generation.serial) == (expected, 1, 3)
    assert store.segments.base_serial == 2
    folder = store.data_dir
    store.close()
    again = stores.opened(folder)
    assert (again.replayed_count, again.counts["registered"]) == (1, 3)
    assert [again.generation.key_row(KEY + step)[0] for step in (0, 1, 2, 10, 20)] == expected
    again.close()


def test_a_failed_rebuild_leaves_everything_usable(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store_model.push(store, register(0, 3))
    run = segments._run_child

    def fails_late(job: Path) -> list[segments.SegmentFile]:
        run(job)
        raise StorageError("rebuilding segments failed: killed")

    monkeypatch.setattr(segments, "_run_child", fails_late)
    for _ in range(2):
        with pytest.raises(StorageError, match="killed"):
            store.rebuild()
        assert not files(store), "what it wrote is removed"
        assert store.counts["registered"] == 3
        assert store.generation.key_row(KEY)[0] == REGISTERED
    store_model.push(store, [*deregister(0, 1), *register(7)])
    assert store.generation.key_row(KEY)[0] == 0
    monkeypatch.setattr(segments, "_run_child", run)
    assert store.rebuild().serial == 2
    assert store.generation.levels == ()
    assert [store.generation.key_row(KEY + step)[0] for step in (0, 1, 7)] == [0, REGISTERED, REGISTERED]


def test_a_rebuild_with_nothing_to_fold_in_is_none(store: Store) -> None:
    assert store.rebuild().rebuilt_count == 2, "the first makes the segments"
    assert store.rebuild().rebuilt_count == 0
    assert store.rebuild(all_segments=True).rebuilt_count == 2


def test_full_overlays_ask_for_a_rebuild_then_refuse(folder: Path) -> None:
    limits = Limits(rebuild_overlay_rows=2, overlay_rows_max=4, rebuild_bytes_per_second_max=0)
    store = stores.opened(folder, limits=limits)
    store_model.push(store, register(0))
    assert not store.rebuild_needed()
    store_model.push(store, register(1, 3))
    assert store.rebuild_needed()
    with pytest.raises(WriterBusyError):
        store_model.push(store, register(9))
    store.rebuild()
    assert store_model.push(store, register(9)).serial == 3
    store.close()


def test_pruning_leaves_what_a_restart_needs(folder: Path) -> None:
    limits = Limits(journal_days_min=3, rebuild_bytes_per_second_max=0)
    store = stores.opened(folder, limits=limits)
    for step in range(3):
        store_model.push(store, register(step))
    store.rebuild()
    store_model.push(store, register(3))
    store.close()
    store = stores.opened(folder, limits=limits, now=stores.NOW + 4 * DAY)
    store_model.push(store, register(4))
    assert [delta.serial for delta in store.journal.deltas()] == [1, 2, 3, 4, 5]
    store.rebuild()
    assert [delta.serial for delta in store.journal.deltas()] == [5], "younger than 3 days"
    store_model.push(store, register(5))
    store.close()
    store = stores.opened(folder, limits=limits, now=stores.NOW + 9 * DAY)
    assert (store.replayed_count, store.counts["registered"], store.generation.serial) == (1, 6, 6)
    assert store.feeds()[0].sequence == 6
    store.close()


# -- the directory ------------------------------------------------------------------------------------


def test_a_directory_has_one_store_at_a_time(folder: Path) -> None:
    store = stores.opened(folder)
    with pytest.raises(DataDirLockedError, match=str(folder)):
        stores.opened(folder)
    store.close()
    stores.opened(folder).close()


def test_the_override_is_durable_and_audited(store: Store) -> None:
    assert store.enforcement().mode == 1
    store.set_enforcement(MODE_ALLOW_ALL, "sre", "drill", 17)
    folder = store.data_dir
    store.close()
    again = stores.opened(folder)
    state = again.enforcement()
    assert (state.mode, state.changed_at, state.changed_by, state.why) == (MODE_ALLOW_ALL, 17, "sre", "drill")
    assert [(row.who, row.why) for row in again.journal.audit_rows()] == [("sre", "drill")]
    again.close()


def test_sizes_are_told_by_table(store: Store) -> None:
    store_model.push(store, [*register(0, 3), Operation(Op.REGISTER, KEY + 50, KEY + 59)])
    store.rebuild()
    sizes = {size.table: (size.rows, size.bytes > 0) for size in store.table_sizes()}
    assert sizes["registered"][0] == 3
    assert sizes["registered_ranges"] == (1, True)
    shards = sum(shard.segment.total_bytes for shard in store.generation.shards)
    assert sum(size.bytes for size in store.table_sizes()) >= shards


# -- full disks ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def no_growth_of(path: Path, more_bytes: int = 0) -> Iterator[None]:
    """No file may become larger than this one is; what a full disk does, without being root."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + more_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def many(count: int) -> list[Operation]:
    """Subscribers: written to tables of their own when the delta is committed."""
    return [Operation(Op.SUBSCRIBER, imsi=A + step * 977, time=10**12 + step) for step in range(count)]


@pytest.mark.parametrize("during", ["chunk", "commit"])
def test_a_full_disk_refuses_the_delta_whole_and_takes_it_later(store: Store, during: str) -> None:
    store_model.push(store, register(0))
    rows = [*register(1), *many(4_000)]
    payload, log = chunk_of(rows), store.data_dir / "registry.db-wal"
    before = standing(store)
    pending = store.push(Header("feed", 2, 1, len(rows)))
    if during == "chunk":
        with no_growth_of(log), pytest.raises(StorageError):
            pending.chunk(0, payload)
        pending.abort()
    else:
        pending.chunk(0, payload)
        with no_growth_of(log, 30_000), pytest.raises(StorageError):
            pending.commit(hashlib.sha256(payload).digest())
    assert standing(store)[:3] == before[:3]
    assert store.generation.key_row(KEY)[0] == REGISTERED
    applied = store_model.push(store, rows)
    assert (applied.serial, store.counts["subscribers"], store.counts["registered"]) == (2, 4_000, 2)
    folder = store.data_dir
    store.close()
    again = stores.opened(folder)
    assert (again.counts["subscribers"], again.counts["registered"]) == (4_000, 2)
    assert standing(again)[3] == 2, "no chunk of the refused delta is left"
    again.close()


def test_a_full_disk_stops_a_rebuild_and_nothing_else(store: Store) -> None:
    store_model.push(store, register(0, 2_000))
    small = store.data_dir / "lock"
    small.write_bytes(b"\0" * 2_048)
    log = store.data_dir / "registry.db-wal"
    with no_growth_of(log if log.stat().st_size < 2_048 else small), pytest.raises(StorageError):
        store.rebuild()
    assert not files(store)
    assert store.generation.key_row(KEY)[0] == REGISTERED
    assert store_model.push(store, register(5_000)).serial == 2
    assert store.rebuild().serial == 2


def test_limits_of_feeds_come_from_the_caller(folder: Path) -> None:
    store = stores.opened(folder, limits=Limits(feeds={"a": FeedRules(lenient=True)}))
    assert store_model.push(store, deregister(0, 1), feed="a").ignored_row_count == 1
    with pytest.raises(DeltaRowsRefusedError):
        store_model.push(store, deregister(0, 1), feed="b")
    assert json.loads(store.journal.meta_get("counts") or "") == store.counts
    store.close()


def test_segments_that_could_not_be_read_after_a_rebuild_are_read_by_the_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(folder, clock=lambda: stores.NOW)
    store_model.push(store, register(0, 2))
    load_shard = segments.Segments.load_shard
    monkeypatch.setattr(segments.Segments, "load_shard", fails(OSError(24, "no more")))
    with pytest.raises(StorageError, match="the next rebuild tries again"):
        store.rebuild()
    assert store.generation.key_row(KEY)[0] == REGISTERED
    monkeypatch.setattr(segments.Segments, "load_shard", load_shard)
    store_model.push(store, register(2))
    store.rebuild()
    for reopened in (False, True):
        if reopened:
            store.close()
            store = Store.open(folder, clock=lambda: stores.NOW)
        assert [store.generation.key_row(KEY + n)[0] for n in range(4)] == [REGISTERED] * 3 + [0]
        assert store.generation.overlay_rows == 0
    store.close()


def test_a_delta_whose_rows_cannot_be_laid_out_is_not_committed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_model.push(store, register(0))
    before = standing(store)
    with monkeypatch.context() as patch:
        patch.setattr(Overlay, "merged", fails(MemoryError()))
        with pytest.raises(MemoryError):
            store_model.push(store, register(1))
    assert standing(store) == before
    assert store_model.push(store, register(1)).serial == store.generation.serial


def test_renewing_exemptions_removes_none(folder: Path) -> None:
    limits = Limits(guards=GuardLimits(guarded_rows_min=10))
    store = Store.open(folder, clock=lambda: stores.NOW, limits=limits)
    for until in (stores.NOW + 1, stores.NOW + 2):
        rows = [Operation(Op.EXEMPT, KEY + n, time=until, cause=1) for n in range(40)]
        assert not any(effect.removed for effect in store_model.push(store, rows).effects)
        assert store.counts["exemptions"] == 40
    store.close()


def test_a_policy_is_noted_when_it_is_another_one(store: Store) -> None:
    for at, policy_hash in ((1, "aa"), (2, "aa"), (3, "bb"), (4, "aa")):
        store.note_policy("ours", policy_hash, "start", at)
    rows = [(row.at, row.who, row.what, row.why, row.detail) for row in store.journal.audit_rows()]
    assert rows == [
        (at, "daemon", "policy in force: ours", "start", policy_hash)
        for at, policy_hash in ((1, "aa"), (3, "bb"), (4, "aa"))
    ]


def test_blocks_are_guarded_where_only_ranges_are_registered(store: Store) -> None:
    tac = 35123456 * 10**6
    store_model.push(store, [Operation(Op.REGISTER, tac, imei_last=tac + 1_999)])
    store.rebuild()
    store_model.push(store, [Operation(Op.REGISTER, tac + 10**6, imei_last=tac + 10**6 + 1_999)])
    assert store.generation.registered_in_ranges() == 4_000

    def block(count: int, feed: str) -> None:
        rows = [
            Operation(Op.BLOCK, tac + number, cause=BlockCause.STOLEN, name="a") for number in range(count)
        ]
        store_model.push(store, rows, feed)

    with pytest.raises(DeltaGuardError, match="201 blocks where 4000"):
        block(201, "one")
    block(200, "two")


def test_a_feed_is_complete_until_hardly_later_than_now(store: Store) -> None:
    now = store.clock()
    store_model.push(store, [], complete_until=now + 10**6)
    assert store.feeds()[0].complete_until == now + 300
    store_model.push(store, [], complete_until=now + 299)
    assert store.feeds()[0].complete_until == now + 299
    assert store.heartbeat("feed", 2, now + 10**6)
    assert store.feeds()[0].complete_until == now + 300
    assert not store.heartbeat("feed", 1, now)
