"""Damaged files: noticed, named, made again from what there is; or what is needed is said."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
import random_deltas
import segment_samples
import store_model
import stores
from structlog.testing import capture_logs

from eir.errors import DeltaRowsRefusedError, StateDamagedError
from eir.identity import imsi_code
from eir.whitelist import rebuild, segment
from eir.whitelist.algebra import State, perform
from eir.whitelist.build import Part, build
from eir.whitelist.items import REGISTERED
from eir.whitelist.operation import Operation
from eir.whitelist.overlay import Table
from eir.whitelist.rows import Op, Role
from eir.whitelist.store import Limits, Store

Spoil = Callable[[Path], None]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebuild in this process, and split shards as soon as they hold a few keys."""
    stores.rebuild_here(monkeypatch)
    monkeypatch.setattr(rebuild, "SHARD_KEYS_MAX", 3)
    monkeypatch.setattr(rebuild, "SHARD_KEYS_TARGET", 2)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = stores.new_folder()
    yield made
    shutil.rmtree(made)


def history(folder: Path, seed: int, steps: str = "ddrddrd") -> State:
    """A folder that took deltas (d) and rebuilds (r, R: of all); returns its state."""
    random, state = Random(seed), State()
    store = stores.opened(folder)
    for step in steps:
        if step == "d":
            rows = random_deltas.delta(random, 40)
            store_model.push(store, rows)
            state, _ = random_deltas.outcome(state, rows)
        else:
            store.rebuild(all_segments=step == "R")
    stores.assert_equal(store, state)
    store.close()
    return state


def flip(at: int) -> Spoil:
    def spoil(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[at % len(data)] ^= 0x10
        path.write_bytes(data)

    return spoil


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoils(path: Path) -> Iterator[tuple[str, Spoil]]:
    """A byte of the header, of the directory and of each section; half of the file; none of it; all gone."""
    loaded = segment.load(path)
    data = path.read_bytes()
    yield "header", flip(3)
    yield "directory", flip(70)
    for number, view in loaded.sections.items():
        yield f"section {number}", flip(data.index(bytes(view)) + len(view) // 2)
    yield "cut", cut
    yield "emptied", lambda file: file.write_bytes(b"")
    yield "gone", Path.unlink


def reopened_equal(folder: Path, state: State, recovered: list[str], case: str) -> None:
    """The store opens with this state, names what it made again, and needs nothing the next time."""
    with capture_logs() as logs:
        store = stores.opened(folder)
    assert store.segments.recovered == recovered, case
    assert [line["segment"] for line in logs if line["event"] == "segment recovered"] == recovered
    stores.assert_equal(store, state)
    rows = random_deltas.delta(Random(case), 20)
    store_model.push(store, rows)
    state, _ = random_deltas.outcome(state, rows)
    store.rebuild()
    stores.assert_equal(store, state)
    store.close()
    store = stores.opened(folder)
    assert store.segments.recovered == []
    stores.assert_equal(store, state)
    store.close()


def current(folder: Path, kind: str) -> list[str]:
    """Files of a kind that the manifest names, opened as a bystander."""
    with sqlite3.connect(folder / "registry.db") as database:
        rows = database.execute("SELECT file FROM segments WHERE state = 'current' AND kind = ?", (kind,))
        names = [name for (name,) in rows]
    database.close()
    return names


@pytest.mark.parametrize("kind", ["shard", "common"])
@pytest.mark.parametrize("seed", [2, 3])
def test_a_damaged_segment_is_made_again(folder: Path, kind: str, seed: int) -> None:
    state = history(folder, seed)
    names = current(folder, kind)
    assert len(names) > (kind == "shard"), "several shards are needed"
    for name in names:
        for case, spoil in spoils(folder / "segments" / name):
            other = stores.new_folder()
            shutil.copytree(folder, other, dirs_exist_ok=True)
            spoil(other / "segments" / name)
            reopened_equal(other, state, [name], f"{name} {case}")
            shutil.rmtree(other)


@pytest.mark.parametrize("seed", range(25))
def test_all_segments_damaged_at_once_are_made_again(folder: Path, seed: int) -> None:
    """Among the rows: splits of shards, links across TACs, replaced SIMs; some are rebuilt more often."""
    steps = "".join(Random(seed).choices("ddrrR", k=9)) + "dr"
    state = history(folder, seed, steps)
    names = [*current(folder, "common"), *current(folder, "shard")]
    for name in names:
        flip(3)(folder / "segments" / name) if Random(name).random() < 0.5 else cut(
            folder / "segments" / name
        )
    with capture_logs() as logs:
        store = stores.opened(folder)
    damaged = [line["segment"] for line in logs if line["event"] == "segment damaged"]
    assert store.segments.recovered == damaged
    assert damaged
    stores.assert_equal(store, state)
    store.close()


@pytest.mark.parametrize("lost", ["overlay", "previous"])
def test_without_what_it_came_from_the_whole_journal_leads_there(folder: Path, lost: str) -> None:
    state = history(folder, 4)
    segments = folder / "segments"
    names = {*current(folder, "common"), *current(folder, "shard")}
    for path in segments.glob("*.seg"):
        if path.name in names or path.name.startswith("overlay") == (lost == "overlay"):
            cut(path)
    with capture_logs():
        store = stores.opened(folder)
    assert set(store.segments.recovered) == names
    stores.assert_equal(store, state)
    store.close()


def test_a_segment_that_nothing_leads_to_is_named_with_what_is_needed(folder: Path) -> None:
    """The predecessor is gone, and the journal no longer reaches back."""
    history(folder, 4)
    limits = Limits(feeds=stores.LENIENT.feeds, journal_days_min=1)
    store = stores.opened(folder, limits=limits, now=stores.NOW + 10 * 86_400)
    store.rebuild(all_segments=True)
    assert next(store.journal.deltas(), None) is None, "the journal was pruned"
    store.close()
    name = current(folder, "shard")[0]
    for path in (folder / "segments").glob(f"{name[:14]}*.seg"):
        cut(path)
    with capture_logs(), pytest.raises(StateDamagedError, match=f"{name} is damaged.*Restore the file"):
        stores.opened(folder, limits=limits)


def test_segments_of_an_empty_registry_are_made_from_nothing(folder: Path) -> None:
    history(folder, 4, "r")
    for path in (folder / "segments").iterdir():
        path.unlink()
    reopened_equal(folder, {}, [*current(folder, "common"), *current(folder, "shard")], "empty")


def test_a_damaged_predecessor_hurts_nobody_while_its_successor_is_whole(folder: Path) -> None:
    state = history(folder, 5)
    names = {*current(folder, "common"), *current(folder, "shard")}
    for path in (folder / "segments").iterdir():
        if path.name not in names and path.suffix == ".seg":
            cut(path)
    reopened_equal(folder, state, [], "predecessors")


@pytest.mark.parametrize("spoil", [flip(0), flip(9), cut, Path.unlink], ids=["magic", "count", "cut", "gone"])
def test_a_damaged_index_is_made_again(folder: Path, spoil: Spoil) -> None:
    state = history(folder, 6)
    indexes = sorted((folder / "segments").glob("*.imsi"))
    before = {
        path.name: path.read_bytes()
        for path in indexes
        if path.with_suffix(".seg").name in current(folder, "shard")
    }
    for name in before:
        spoil(folder / "segments" / name)
    with capture_logs() as logs:
        store = stores.opened(folder)
    assert {line["segment"] for line in logs} == before.keys()
    assert {name: (folder / "segments" / name).read_bytes() for name in before} == before
    stores.assert_equal(store, state)
    store.close()


def built(folder: Path) -> int:
    """A folder that was built at once, without a journal; returns a key that it holds."""
    model, key = segment_samples.Model(), segment_samples.key_of(35_000_001, 5)
    model.rows[key] = (REGISTERED | imsi_code("432110000000001"), ())
    types = segment_samples.columns({35_000_001: (1, ())})
    build(
        folder,
        [Part(99_999_999, model.shard_rows())],
        {Table.TACS: types},
        authorities=[],
        device_types=["phone"],
        now=1,
    )
    return key


@pytest.mark.parametrize("kind", ["shard", "common"])
def test_segments_that_were_built_cannot_be_made_from_nothing(folder: Path, kind: str) -> None:
    built(folder)
    (name,) = current(folder, kind)
    cut(folder / "segments" / name)
    with capture_logs(), pytest.raises(StateDamagedError, match=f"{name} is damaged.*Restore the file"):
        stores.opened(folder)


@pytest.mark.parametrize("kind", ["shard", "common"])
def test_segments_that_came_from_built_ones_are_made_again(folder: Path, kind: str) -> None:
    key = built(folder)
    store = stores.opened(folder)
    store_model.push(store, [Operation(Op.REGISTER, key + 1), Operation(Op.TAC, 1, name="meter")])
    store.rebuild(all_segments=True)
    store.close()
    (name,) = current(folder, kind)
    cut(folder / "segments" / name)
    with capture_logs():
        store = stores.opened(folder)
    assert store.segments.recovered == [name]
    rows = [store.generation.key_row(key + step)[0] for step in range(3)]
    assert rows == [REGISTERED | imsi_code("432110000000001"), REGISTERED, 0]
    assert [store.device_types[store.generation.device_type(tac)] for tac in (35_000_001, 1)] == [
        "phone",
        "meter",
    ]
    store.close()


def test_a_rebuild_of_all_with_nothing_new_still_has_its_predecessor(folder: Path) -> None:
    """Both are of one serial: only the edition tells them apart."""
    built(folder)
    store = stores.opened(folder)
    store.rebuild(all_segments=True)
    before = stores.facts(store)
    store.close()
    (name,) = current(folder, "shard")
    cut(folder / "segments" / name)
    with capture_logs():
        store = stores.opened(folder)
    assert (store.segments.recovered, stores.facts(store)) == ([name], before)
    store.close()


def test_replaced_sims_and_links_across_shards_come_back(folder: Path) -> None:
    """What one shard says depends on rows about another: links, and conflicts of the new SIM."""
    one, two, three, far = 35123456000000, 35123456000001, 35123456000002, 35999999000000
    old, new, owner = (imsi_code(text) for text in ("432110000000001", "432350000000002", "001010000000003"))
    deltas = [
        [
            Operation(Op.PAIR, one, imsi=old, cause=Role.OWNER),
            Operation(Op.PAIR, far, imsi=owner, cause=Role.OWNER),
            Operation(Op.PAIR, far, imsi=old, cause=Role.UTILIZER),
            Operation(Op.REGISTER, two),
            Operation(Op.LINK, far, imei_other=two),
        ],
        [Operation(Op.PAIR, far, imsi=new, cause=Role.UTILIZER)],
        # The new SIM stands beside the old one on `far`: refused, and so it must stay on `one` too.
        [Operation(Op.REPLACE_SIM, imsi=new, former_imsi=old), Operation(Op.LINK, one, imei_other=two)],
        # `one` leaves the device of the other shard by a row that does not name it first.
        [Operation(Op.LINK, one, imei_other=three), Operation(Op.UNLINK, far, imei_other=one)],
    ]
    store, state = stores.opened(folder), State()
    for number, rows in enumerate(deltas):
        store_model.push(store, rows)
        state, _ = random_deltas.outcome(state, rows)
        if number in (0, 3):
            store.rebuild()
    assert state["pairs", one] == old
    store.close()
    for name in current(folder, "shard"):
        other = stores.new_folder()
        shutil.copytree(folder, other, dirs_exist_ok=True)
        cut(other / "segments" / name)
        with capture_logs():
            again = stores.opened(other)
        assert again.segments.recovered == [name]
        stores.assert_equal(again, state)
        again.close()
        shutil.rmtree(other)


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        (
            "UPDATE chunks SET rows = zeroblob(9) WHERE token = (SELECT token FROM deltas WHERE serial = 3)",
            r"delta 3 \(feed feed, sequence 3\): chunk 0 does not match",
        ),
        (
            "DELETE FROM chunks WHERE token = (SELECT token FROM deltas WHERE serial = 3)",
            r"delta 3 \(feed feed, sequence 3\): chunk 0 is missing",
        ),
        (
            "UPDATE deltas SET row_count = row_count + 1 WHERE serial = 3",
            r"delta 3 \(feed feed, sequence 3\) does not match",
        ),
        ("DELETE FROM deltas WHERE serial = 3", "delta 3 is missing"),
        ("DELETE FROM deltas WHERE serial = 4", "delta 4 is missing"),
    ],
)
def test_a_damaged_delta_is_named(folder: Path, sql: str, says: str) -> None:
    history(folder, 7, "rdddd")
    with sqlite3.connect(folder / "registry.db", isolation_level=None) as database:
        database.execute(sql)
    database.close()
    with pytest.raises(StateDamagedError, match=f"registry.db: {says}.*Restore registry.db"):
        stores.opened(folder)
    # The folder is free again: a copy put back is enough.
    with pytest.raises(StateDamagedError):
        stores.opened(folder)


def test_a_journal_that_is_no_database_is_named(folder: Path) -> None:
    history(folder, 8)
    (folder / "registry.db").write_bytes(b"\xff" * 8192)
    with pytest.raises(StateDamagedError, match=r"registry\.db"):
        stores.opened(folder)


def test_a_strict_feed_stays_strict_after_damage(folder: Path) -> None:
    state = history(folder, 9)
    for name in current(folder, "shard"):
        cut(folder / "segments" / name)
    with capture_logs():
        store: Store = stores.opened(folder, limits=Limits())
    rows = [
        Operation(Op.REGISTER, key)
        for kind, key, *_ in state
        if kind == "registered" and isinstance(key, int)
    ]
    assert perform(state, rows).bad
    with pytest.raises(DeltaRowsRefusedError):
        store_model.push(store, rows)
    stores.assert_equal(store, state)
    store.close()
