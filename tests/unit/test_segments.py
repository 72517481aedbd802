"""The segment files of a data directory: names, strays, what is kept of a rebuild."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import store_model
from simulation import stores

from eir.errors import StorageError
from eir.whitelist import rebuild, segments
from eir.whitelist.operation import Operation
from eir.whitelist.rows import Op, Role
from eir.whitelist.shard import Shard
from eir.whitelist.store import Store

LOW, HIGH = 35123456000000, 86123456000000


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    stores.rebuild_here(monkeypatch)
    monkeypatch.setattr(rebuild, "SHARD_KEYS_MAX", 4)
    monkeypatch.setattr(rebuild, "SHARD_KEYS_TARGET", 4)


@pytest.fixture
def store() -> Iterator[Store]:
    """Two shards, rebuilt once."""
    folder = stores.new_folder()
    made = stores.opened(folder)
    store_model.push(made, [Operation(Op.REGISTER, base + step) for base in (LOW, HIGH) for step in range(3)])
    made.rebuild()
    assert [shard.first_tac for shard in made.generation.shards] == [0, 86123456]
    yield made
    made.close()
    shutil.rmtree(folder)


def files(store: Store) -> set[str]:
    return {path.name for path in (store.data_dir / "segments").iterdir()}


def seg(kind: str, serial: int, edition: int, first_tac: int | None = None) -> str:
    middle = "" if first_tac is None else f"{first_tac:08d}-"
    return f"{kind}-{middle}{serial:012d}-{edition:06d}.seg"


def with_index(name: str) -> set[str]:
    return {name, rebuild.index_name(name)}


def test_only_shards_that_are_touched_are_rebuilt_and_their_predecessors_kept(store: Store) -> None:
    low, high = store.generation.shards
    first = with_index(seg("shard", 1, 1, 0)) | with_index(seg("shard", 1, 1, 86123456))
    assert files(store) == first | {seg("common", 1, 1), seg("overlay", 1, 1)}
    store_model.push(store, [Operation(Op.TRACK, HIGH)])
    assert store.rebuild().rebuilt_count == 2
    assert store.generation.shards[0] is low
    assert store.generation.shards[1] is not high
    second = with_index(seg("shard", 2, 2, 86123456)) | {seg("common", 2, 2), seg("overlay", 2, 2)}
    # The overlay of the first rebuild stays with the shard that came from it.
    assert files(store) == first | second | {seg("common", 1, 1), seg("overlay", 1, 1)}
    store_model.push(store, [Operation(Op.TRACK, LOW), Operation(Op.TRACK, HIGH + 1)])
    store.rebuild()
    third = with_index(seg("shard", 3, 3, 0)) | with_index(seg("shard", 3, 3, 86123456))
    kept = (
        with_index(seg("shard", 1, 1, 0)) | with_index(seg("shard", 2, 2, 86123456)) | {seg("common", 2, 2)}
    )
    assert files(store) == third | kept | {seg("common", 3, 3), seg("overlay", 3, 3)}


def test_rows_without_a_tac_touch_no_shard(store: Store) -> None:
    store_model.push(store, [Operation(Op.TAC, 1, name="phone"), Operation(Op.REGISTER, "0F")])
    assert store.rebuild().rebuilt_count == 1
    assert store.device_types[store.generation.device_type(1)] == "phone"


def test_links_and_ranges_touch_the_shard_of_their_tac(store: Store) -> None:
    low, high = store.generation.shards
    store_model.push(store, [Operation(Op.REGISTER, HIGH + 500, HIGH + 600)])
    store.rebuild()
    assert [one is two for one, two in zip(store.generation.shards, (low, high), strict=True)] == [
        True,
        False,
    ]
    store_model.push(store, [Operation(Op.LINK, LOW + 7, imei_other=LOW + 8)])
    store.rebuild()
    assert store.generation.shards[0] is not low


def test_a_split_keeps_the_predecessor_until_both_parts_have_another(store: Store) -> None:
    more = [Operation(Op.REGISTER, LOW - 10**6 + step) for step in range(3)]
    store_model.push(store, more)
    store.rebuild()
    assert [shard.first_tac for shard in store.generation.shards] == [0, 35123456, 86123456]
    store_model.push(store, [Operation(Op.TRACK, LOW)])
    store.rebuild()
    kept = {record.file for record in store.journal.manifest().previous}
    assert seg("shard", 1, 1, 0) in kept, "the other part still comes from it"
    store.rebuild(all_segments=True)
    kept = {record.file for record in store.journal.manifest().previous}
    assert seg("shard", 1, 1, 0) not in kept


@pytest.mark.parametrize("part_keys", [segments.FOLDED_KEYS, 4])
def test_an_old_shard_is_freed_once_it_is_replaced(
    store: Store, monkeypatch: pytest.MonkeyPatch, part_keys: int
) -> None:
    """One waits beside those that checks read, none while another is loaded: memory never doubles."""
    monkeypatch.setattr(segments, "FOLDED_KEYS", part_keys)
    store_model.push(store, [Operation(Op.REGISTER, LOW + 10**6 * step) for step in range(1, 13)])
    store.rebuild()
    old = [weakref.ref(shard) for shard in store.generation.shards]
    store_model.push(store, [Operation(Op.TRACK, LOW + 10**6 * step) for step in range(1, 13)])
    at_swaps, at_loads = [], []
    load_shard = store.segments.load_shard

    def waiting() -> int:
        read = {id(shard) for shard in store.generation.shards}
        return sum((shard := ref()) is not None and id(shard) not in read for ref in old)

    def loaded(*args: Any) -> Shard:
        at_loads.append(waiting())
        return load_shard(*args)

    monkeypatch.setattr(store.segments, "load_shard", loaded)
    store.on_generation = lambda: at_swaps.append(waiting())
    store.rebuild(all_segments=True)
    assert len(old) > 3
    assert len(at_loads) >= len(old)
    assert (max(at_swaps), max(at_loads)) == (1, 0), (at_swaps, at_loads)
    assert not any(ref() for ref in old)


def test_many_keys_are_folded_in_part_by_part(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part begins with a shard where one is near; each file can be made again from the part it is of."""
    monkeypatch.setattr(segments, "FOLDED_KEYS", 4)
    fresh = [base + 10**7 * tac + step for base in (LOW, HIGH) for tac in range(4) for step in range(3)]
    store_model.push(store, [Operation(Op.BLOCK, key, cause=1, name="police") for key in fresh])
    store_model.push(store, [Operation(Op.REGISTER, key) for key in fresh if key not in (LOW, HIGH)][2:-2])
    before = store.generation.read_keys(np.array(fresh, np.uint64))
    store.rebuild()
    firsts = [shard.first_tac for shard in store.generation.shards]
    assert firsts[0] == 0
    assert 86123456 in firsts
    assert len(firsts) > 4
    assert len({rebuild.edition_of(shard.segment.name) for shard in store.generation.shards}) == 6
    common = [name for name in files(store) if name.startswith("common")]
    assert len(common) == 2, "the one in use and the one before; those in between are gone"
    folder = store.data_dir
    damaged = [
        path for path in (folder / "segments").glob("*-000000000003-*.seg") if "overlay" not in path.name
    ]
    store.close()
    for path in damaged:
        path.write_bytes(b"x")
    again = stores.opened(folder)
    assert sorted(again.segments.recovered) == sorted(path.name for path in damaged)
    after = again.generation.read_keys(np.array(fresh, np.uint64))
    assert after.head.tolist() == before.head.tolist()
    assert after.extra.words.tolist() == before.extra.words.tolist()
    again.close()


def test_files_that_nobody_names_are_removed_at_a_start(store: Store) -> None:
    before, folder = files(store), store.data_dir
    for name in ("shard-00000000-000000000009-000009.seg", "x.tmp", "rebuild-000009.json", "y.seg.damaged"):
        (folder / "segments" / name).write_bytes(b"x")
    store.close()
    again = stores.opened(folder)
    assert files(again) == before | {"y.seg.damaged"}
    again.close()


def test_an_edition_is_never_used_twice(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after a failure, not after a crash: a child that outlived its daemon has names of its own."""
    jobs: list[Path] = []

    def fails(job: Path) -> list[rebuild.SegmentFile]:
        jobs.append(job)
        raise StorageError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(segments, "_run_child", fails)
        for _ in range(2):
            with pytest.raises(StorageError):
                store.rebuild(all_segments=True)
    assert len({job.name for job in jobs}) == 2
    store.rebuild(all_segments=True)
    assert seg("common", 1, 4) in files(store)


def test_sizes_count_every_byte_of_the_shards(store: Store) -> None:
    sizes = segments.Segments.bytes_by_table(store.generation)
    in_shards = sum(size for table, size in sizes.items() if table not in ("raw", "imsi_exemptions", "tacs"))
    assert in_shards == sum(shard.segment.total_bytes for shard in store.generation.shards)


def test_sizes_are_of_the_tables_that_take_them(store: Store) -> None:
    before = segments.Segments.bytes_by_table(store.generation)
    assert before["registered"] > before["pairs"]  # what ends the list of records is there without any
    assert {table for table, size in before.items() if size} == {"registered", "pairs"}
    code = 1432110000000001
    store_model.push(
        store,
        [
            Operation(Op.PAIR, LOW, imsi=code, cause=Role.OWNER),
            Operation(Op.PAIR, LOW, imsi=code + 1, cause=Role.UTILIZER),
            Operation(Op.BLOCK, LOW, cause=1, name="a"),
            Operation(Op.BLOCK, LOW, cause=2, name="a"),
            Operation(Op.TRACK, LOW + 1),
            Operation(Op.EXEMPT, LOW, cause=1),
            Operation(Op.EXEMPT, LOW, imsi=code, cause=1),
            Operation(Op.GRANDFATHER, LOW),
            Operation(Op.REGISTER, LOW + 100, LOW + 200),
            Operation(Op.BLOCK, HIGH, HIGH + 300, cause=4, name="a"),
            Operation(Op.LINK, LOW + 1, imei_other=HIGH),
        ],
    )
    store.rebuild()
    after = segments.Segments.bytes_by_table(store.generation)
    items = {"utilizers": 1, "blocks": 2, "tracked": 1, "exemptions": 3, "grandfathered": 1}
    assert {table: after[table] for table in items} == {table: 8 * words for table, words in items.items()}
    assert all(after[table] for table in ("pairs", "registered_ranges", "blocked_ranges", "links"))
    # The registered range is one piece, the blocked one another.
    assert (after["registered_ranges"], after["blocked_ranges"]) == (8, 8)
