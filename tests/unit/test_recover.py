"""Reading the journal back; what a damaged segment is made from. See also tests/simulation/test_damage.py."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
import store_model
from simulation import stores

from eir.errors import SegmentDamagedError, StateDamagedError
from eir.whitelist import recover, shard_decode
from eir.whitelist.items import REGISTERED
from eir.whitelist.operation import Operation
from eir.whitelist.recover import Recovery
from eir.whitelist.rows import Op
from eir.whitelist.store import Store

KEY = 35123456000000


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Three deltas; the segments hold two of them, in two rebuilds."""
    stores.rebuild_here(monkeypatch)
    folder = stores.new_folder()
    made = stores.opened(folder)
    for step in range(3):
        store_model.push(made, [Operation(Op.REGISTER, KEY + step), Operation(Op.UNTRACK, KEY)])
        if step < 2:
            made.rebuild()
    yield made
    made.close()
    shutil.rmtree(folder)


def test_deltas_come_with_their_rows_and_those_left_out(store: Store) -> None:
    store_model.push(
        store, [Operation(Op.TRACK, KEY), Operation(Op.UNTRACK, KEY), Operation(Op.REGISTER, KEY + 9)]
    )
    found = list(recover.deltas(store.journal, 2, 4))
    assert [(record.serial, left_out.tolist()) for record, _, left_out in found] == [
        (3, [False, False]),
        (4, [True, True, False]),
    ]
    assert found[0][1].op.tolist() == [Op.REGISTER, Op.UNTRACK]
    assert list(recover.deltas(store.journal, 4, 4)) == []


def test_no_more_than_asked_for_and_no_less(store: Store) -> None:
    assert [record.serial for record, *_ in recover.deltas(store.journal, 0, 2)] == [1, 2]
    with pytest.raises(StateDamagedError, match="delta 4 is missing"):
        list(recover.deltas(store.journal, 0, 4))


def recovery(store: Store) -> Recovery:
    folder = store.data_dir / "segments"
    return Recovery(folder, store.journal, store.names_of, store.journal.manifest().previous)


def test_a_shard_comes_from_its_predecessor_and_the_overlay(store: Store) -> None:
    common, shard = store.journal.manifest().current
    rows = recovery(store).shard(shard, store.generation.common.blocks)
    assert rows.keys.key.tolist() == [KEY, KEY + 1]
    assert rows.keys.head.tolist() == [REGISTERED] * 2
    current = shard_decode.decode(store.generation.shards[0])
    assert current.keys.key.tolist() == rows.keys.key.tolist()
    assert recovery(store).common(common).keys()


@pytest.mark.parametrize("lost", ["overlay-*-000002.seg", "shard-*-000001.seg"])
def test_without_one_of_them_it_comes_from_the_journal(store: Store, lost: str) -> None:
    (path,) = (store.data_dir / "segments").glob(lost)
    path.unlink()
    _, shard = store.journal.manifest().current
    rows = recovery(store).shard(shard, store.generation.common.blocks)
    assert rows.keys.key.tolist() == [KEY, KEY + 1], "not the delta that came after the segments"
    store.journal.prune(2, 0, stores.NOW + 10)
    with pytest.raises(
        StateDamagedError, match=f"{shard.file} is damaged.*does not begin with the first delta"
    ):
        recovery(store).shard(shard, store.generation.common.blocks)


def test_a_whole_file_in_the_place_of_another_is_noticed(store: Store) -> None:
    manifest, folder = store.journal.manifest(), store.data_dir / "segments"
    (old,) = [record for record in manifest.previous if record.kind == "shard"]
    (new,) = [record for record in manifest.current if record.kind == "shard"]
    assert recover.load(folder, new).crc32c == new.crc32c
    shutil.copy(folder / old.file, folder / new.file)
    with pytest.raises(SegmentDamagedError, match="is not the file that the manifest names"):
        recover.load(folder, new)
