"""Power cuts at any moment: what the store acknowledged is there, and no segment needs recovery."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random

import pytest
import random_deltas
import store_model
import stores
from forgetful import ForgetfulLayer, PowerCutError

from eir.errors import StateDamagedError
from eir.whitelist import rebuild
from eir.whitelist.algebra import State
from eir.whitelist.store import Store

STEPS = 40


class Walk:
    """Random steps on one folder; the plain model beside the store."""

    def __init__(self, folder: Path, seed: int, layer: ForgetfulLayer) -> None:
        self.folder, self.random, self.layer = folder, Random(seed), layer
        self.state: State = {}
        self.cuts = self.cuts_inside = 0
        self.store = stores.opened(folder, files=layer)

    def step(self) -> None:
        match self.random.choice(("delta", "delta", "rebuild", "rebuild all", "restart", "cut")):
            case "delta":
                rows = random_deltas.delta(self.random)
                store_model.push(self.store, rows, parts=2)
                self.state, _ = random_deltas.outcome(self.state, rows)
            case "cut":
                self._cut()
            case "restart":
                self._perhaps_cut(self._restart)
            case what:
                self._perhaps_cut(lambda: self.store.rebuild(all_segments=what == "rebuild all"))
        stores.assert_equal(self.store, self.state)

    def _restart(self) -> None:
        self.store.close()
        self._open()

    def _open(self) -> None:
        self.store = stores.opened(self.folder, files=self.layer)
        assert self.store.segments.recovered == [], "what was acknowledged was not on disk"

    def _perhaps_cut(self, work: object) -> None:
        assert callable(work)
        self.layer.operations_left = self.random.choice((None, self.random.randrange(24)))
        try:
            work()
            self.layer.operations_left = None
        except PowerCutError:
            self.cuts_inside += 1
            self._cut()

    def _cut(self) -> None:
        self.cuts += 1
        abandon(self.store)
        self.layer.cut(self.folder, self.random)
        self._open()


def abandon(store: Store) -> None:
    """Leave a store as a cut does; it would be in the way of the next one."""
    store.journal.close()
    store._lock_file.close()


def walk(seed: int, monkeypatch: pytest.MonkeyPatch, steps: int = STEPS, **broken: frozenset[str]) -> Walk:
    print(f"seed {seed}")
    folder, layer = stores.new_folder(), ForgetfulLayer(**broken)
    stores.rebuild_here(monkeypatch)
    monkeypatch.setattr(rebuild, "FileLayer", lambda *_: layer)
    try:
        done = Walk(folder, seed, layer)
        for _ in range(steps):
            done.step()
        abandon(done.store)
        return done
    finally:
        layer.close()
        shutil.rmtree(folder)


def seeds(count: int) -> list[int]:
    """Seeds of a run; EIR_SIM_SEED replays one."""
    return [int(os.environ["EIR_SIM_SEED"])] if "EIR_SIM_SEED" in os.environ else list(range(count))


def test_nothing_acknowledged_is_lost_at_a_power_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    done = [walk(seed, monkeypatch) for seed in seeds(8)]
    assert sum(one.cuts for one in done) > len(done), "the test does not cut"
    assert sum(one.cuts_inside for one in done), "the test does not cut inside of anything"


@pytest.mark.sim
def test_nothing_acknowledged_is_lost_at_many_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in seeds(100):
        walk(seed, monkeypatch, steps=100)


@pytest.mark.parametrize("broken", ["sync", "sync_folder"])
def test_a_layer_that_does_not_sync_is_found_out(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def walks() -> None:
        for seed in range(12):
            walk(seed, monkeypatch, without=frozenset({broken}))

    with pytest.raises((AssertionError, StateDamagedError)):
        walks()


def test_the_layer_keeps_what_is_synced_and_loses_the_rest(tmp_path: Path) -> None:
    layer = ForgetfulLayer()
    folder = tmp_path / "segments"
    layer.make_folder(folder)
    layer.write(folder / "kept", b"whole")
    (folder / "unsynced").write_bytes(b"x")
    layer.rename(folder / "kept", folder / "renamed")
    layer.cut(tmp_path, Random(0))  # the first number of this seed: names did not reach the disk
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"kept": b"whole"}
    layer.close()


def test_sqlite_is_set_to_keep_what_it_acknowledges(tmp_path: Path) -> None:
    """What `forgetful` trusts: WAL, and a sync of it at every commit."""
    store = stores.opened(tmp_path)
    try:
        modes = [
            store.journal._one(f"PRAGMA {name}") for name in ("journal_mode", "synchronous", "fullfsync")
        ]
        assert modes[:2] == ["wal", 2]
        before = (tmp_path / "registry.db-wal").stat().st_size
        store_model.push(store, [])
        assert (tmp_path / "registry.db-wal").stat().st_size > before, (
            "a commit is in the log when it returns"
        )
    finally:
        store.close()
