"""Segments built at once: the store opens them, counts them, and takes deltas on top."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import store_model
from segment_samples import LAST_TAC, Model, block, columns, exempt, exempt_pair, key_of, utilizer
from simulation import stores

from eir.errors import DataDirLockedError, StateDamagedError
from eir.identity import imsi_code
from eir.whitelist.build import Part, build
from eir.whitelist.items import REGISTERED, Item, name_of
from eir.whitelist.operation import Operation
from eir.whitelist.overlay import Table
from eir.whitelist.rows import Op

LOW, HIGH = 35_000_001, 86_123_456
OWNER = imsi_code("432110000000001")


@pytest.fixture
def folder() -> Iterator[Path]:
    made = stores.new_folder()
    yield made
    shutil.rmtree(made)


def low() -> Model:
    words = (
        utilizer("26201"),
        block(1, 2),
        name_of(Item.TRACK),
        exempt(Item.EXEMPT_IMEI, 2, 9),
        *exempt_pair("0", 2, 9),
    )
    model = Model({key_of(LOW, 1): (REGISTERED | OWNER, words), key_of(LOW, 2): (REGISTERED, ())})
    model.ranges = {(LOW, 10, 19, 0, 0), (LOW, 15, 19, 1, 1), (LOW, 15, 19, 1, 2)}
    model.link(key_of(LOW, 1), key_of(LOW, 2), key_of(HIGH, 1))
    del model.links[key_of(HIGH, 1)]
    return model


def high() -> Model:
    grandfathered = (name_of(Item.GRANDFATHER_IMEI, 3), name_of(Item.GRANDFATHER_PAIR, OWNER), 4)
    model = Model({key_of(HIGH, 1): (OWNER, grandfathered)})
    model.links = {key_of(HIGH, 1): {key_of(LOW, 1), key_of(LOW, 2)}}
    return model


def built(folder: Path, progress: list[int] | None = None) -> None:
    parts = [Part(50_000_000, low().shard_rows()), Part(LAST_TAC, high().shard_rows())]
    done: list[int] = [] if progress is None else progress
    tacs = columns({LOW: (1, ()), HIGH: (2, ())})
    build(
        folder,
        parts,
        {Table.TACS: tacs},
        authorities=["police", "court"],
        device_types=["phone", "meter"],
        now=5,
        progress=done.append,
    )


def test_what_was_built_is_there(folder: Path) -> None:
    progress: list[int] = []
    built(folder, progress)
    store = stores.opened(folder)
    assert progress == [2, 3]
    assert [(shard.first_tac, shard.last_tac) for shard in store.generation.shards] == [
        (0, 50_000_000),
        (50_000_001, LAST_TAC),
    ]
    assert (store.generation.serial, store.segments.base_serial, store.replayed_count) == (1, 1, 0)
    for model in (low(), high()):
        for key, (head, words) in model.rows.items():
            found = store.generation.key_row(key)
            assert (found[0], tuple(found[1] or ())) == (head, words)
            assert set(store.generation.links(key)) == model.links[key]
    assert (store.authorities, store.device_types) == (["", "police", "court"], ["", "phone", "meter"])
    assert [store.generation.device_type(tac) for tac in (LOW, HIGH, 7)] == [1, 2, 0]
    (audit,) = store.journal.audit_rows()
    assert (audit.at, audit.who) == (5, "build")
    store.close()


def test_rows_are_counted_as_deltas_would(folder: Path) -> None:
    built(folder)
    store = stores.opened(folder)
    assert {table: count for table, count in store.counts.items() if count} == {
        "registered": 2,
        "registered_ranges": 1,
        "pairs": 2,
        "utilizers": 1,
        "blocks": 1,
        "blocked_ranges": 2,
        "tracked": 1,
        "exemptions": 2,
        "grandfathered": 2,
        "links": 3,
        "tacs": 2,
    }
    store.close()


def test_deltas_go_on_top(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores.rebuild_here(monkeypatch)
    built(folder)
    store = stores.opened(folder)
    rows = [
        Operation(Op.REPLACE_SIM, imsi=OWNER + 1, former_imsi=OWNER),
        Operation(Op.UNBLOCK, key_of(LOW, 1), cause=1, name="court"),
        Operation(Op.UNLINK, key_of(LOW, 1), imei_other=key_of(HIGH, 1)),
    ]
    assert store_model.push(store, rows).bad_rows == ()
    for _ in range(2):
        heads = [store.generation.key_row(key)[0] for key in (key_of(LOW, 1), key_of(HIGH, 1))]
        assert heads == [REGISTERED | OWNER + 1, OWNER + 1]
        assert list(store.generation.links(key_of(LOW, 1))) == [key_of(LOW, 2)]
        assert store.counts["blocks"] == 0
        store.rebuild()
    store.close()


def test_a_folder_that_holds_a_registry_is_left_alone(folder: Path) -> None:
    built(folder)
    with pytest.raises(StateDamagedError, match="holds a registry already"):
        built(folder)
    store = stores.opened(folder)
    with pytest.raises(DataDirLockedError):
        built(folder)
    store.close()


def test_a_build_that_failed_leaves_an_empty_registry(folder: Path) -> None:
    def parts() -> Iterator[Part]:
        yield Part(50_000_000, low().shard_rows())
        raise RuntimeError("out of rows")

    with pytest.raises(RuntimeError):
        build(folder, parts(), {}, authorities=[], device_types=[], now=5)
    built(folder)
    store = stores.opened(folder)
    assert store.counts["pairs"] == 2
    store.close()
