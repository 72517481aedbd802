"""What the daemon and the services share."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from eir.config import Config
from eir.decisions.policies import find_policy
from eir.errors import ConfigError, DrainingError, NotReadyError, StorageError, WriterBusyError
from eir.metrics import Metrics
from eir.policy import Policy, compile_policy, default_policy_text
from eir.server.state import State, disk_space, journal_delta_count
from eir.settings import Feed, Notices
from eir.whitelist.journal import FeedRecord
from eir.whitelist.store import RebuildResult


def state_of(store: Any = None, **feeds: Feed) -> State:
    state = State(Config(feeds=feeds), Metrics(), lambda: 10_000, "portable")
    state.store = store
    return state


def value(state: State, name: str) -> float | None:
    return state.metrics.registry.get_sample_value(name)


def test_until_the_tables_are_loaded_there_is_no_store_and_no_checker() -> None:
    async def inside() -> None:
        state = state_of()
        with pytest.raises(NotReadyError):
            state.loaded()
        with pytest.raises(NotReadyError):
            state.working()
        state.not_draining()
        state.draining.set()
        with pytest.raises(DrainingError):
            state.not_draining()

    asyncio.run(inside())


def test_sightings_are_held_where_cases_are_kept() -> None:
    async def inside() -> None:
        assert state_of().sightings is None
        config = Config(notices=Notices(enabled=True, sightings_max=7, sighting_repeat_seconds=9))
        sightings = State(config, Metrics(), lambda: 10_000, "portable").sightings
        assert sightings is not None
        assert (sightings.sightings_max, sightings.repeat_seconds) == (7, 9)

    asyncio.run(inside())


def test_storage_that_cannot_be_written_is_said_and_keeps_nobody_away() -> None:
    async def inside() -> None:
        state = state_of()
        state.readiness.hold("tables")

        def full() -> None:
            raise StorageError("disk full")

        with pytest.raises(StorageError):
            await state.write(full)
        assert state.readiness.reasons() == ["storage: disk full"]
        assert state.readiness.ready
        assert await state.write(lambda: 7) == 7
        assert state.readiness.reasons() == []

    asyncio.run(inside())


def test_writes_run_one_after_another_in_one_thread() -> None:
    async def inside() -> list[int]:
        state = state_of()
        return await asyncio.gather(*(state.write(threading.get_ident) for _ in range(10)))

    idents = set(asyncio.run(inside()))
    assert len(idents) == 1
    assert threading.get_ident() not in idents


class FakeStore:
    """A store whose rebuild waits until it is told."""

    def __init__(self) -> None:
        self.go, self.closed, self.wrong = threading.Event(), False, False
        self.segments = SimpleNamespace(recovered=["shard"])
        self.generation = SimpleNamespace(serial=4, shards=(1, 2), overlay_rows=3)
        self.journal = SimpleNamespace(oldest_serial=lambda: 2, last_serial=lambda: 4)

    def rebuild(self, all_segments: bool) -> RebuildResult:
        assert self.go.wait(10)
        if self.wrong:
            raise StorageError("child failed")
        return RebuildResult(4, 2, 0.5)

    def feeds(self) -> list[FeedRecord]:
        return [FeedRecord("hamta", 1, 4, 0, 9_000)]

    def table_sizes(self) -> list[Any]:
        return []

    def close(self) -> None:
        assert self.go.is_set(), "closed while a rebuild runs"
        self.closed = True


def test_one_rebuild_at_a_time_and_a_client_that_goes_away_does_not_stop_it() -> None:
    async def inside() -> None:
        store = FakeStore()
        state = state_of(store)
        asked = asyncio.create_task(state.rebuild(all_segments=True))
        await asyncio.sleep(0.01)
        assert state.rebuilding
        assert value(state, "eir_rebuild_running") == 1
        with pytest.raises(WriterBusyError):
            await state.rebuild(all_segments=False)
        asked.cancel()
        await asyncio.sleep(0.01)
        assert state.rebuilding
        closing = asyncio.create_task(state.close())
        await asyncio.sleep(0.01)
        assert not store.closed
        store.go.set()
        await closing
        assert store.closed
        assert not state.rebuilding
        assert value(state, "eir_segments_rebuilt_total") == 2
        assert value(state, "eir_rebuild_running") == 0

    asyncio.run(inside())


def test_a_rebuild_that_fails_is_counted() -> None:
    async def inside() -> None:
        store = FakeStore()
        store.wrong = True
        store.go.set()
        state = state_of(store)
        with pytest.raises(StorageError):
            await state.rebuild(all_segments=False)
        assert value(state, "eir_rebuild_failures_total") == 1
        assert value(state, "eir_rebuild_running") == 0

    asyncio.run(inside())


@pytest.mark.parametrize(("limit", "stale"), [(0, False), (1000, False), (999, True)])
def test_refresh_brings_staleness_and_gauges_up_to_the_present(limit: int, stale: bool) -> None:
    async def inside() -> None:
        state = state_of(FakeStore(), hamta=Feed(stale_after_seconds=limit))
        state.checker = SimpleNamespace(stale=None, override=True)  # type: ignore[assignment]
        state.readiness.hold("tables")
        await state.refresh()
        assert state.working().stale is stale
        assert state.readiness.reasons() == (["fresh: stale feeds: hamta"] if stale else [])
        assert state.readiness.ready
        assert value(state, "eir_tables_stale") == stale
        assert value(state, "eir_override_active") == 1
        assert value(state, "eir_serial") == 4
        assert value(state, "eir_segments") == 2
        assert value(state, "eir_segments_recovered") == 1
        assert value(state, "eir_overlay_rows") == 3
        assert value(state, "eir_journal_deltas") == 3

    asyncio.run(inside())


def test_the_disk_of_a_folder_is_told_and_one_that_is_gone_is_no_failure(tmp_path: Path) -> None:
    disk = disk_space(tmp_path)
    assert 0 < disk.free_bytes < disk.bytes
    assert disk_space(tmp_path / "gone") == (0, 0)


def test_an_empty_journal_keeps_no_delta() -> None:
    journal = SimpleNamespace(oldest_serial=lambda: 0, last_serial=lambda: 0)
    assert journal_delta_count(SimpleNamespace(journal=journal)) == 0  # type: ignore[arg-type]


def policy_state(tmp_path: Path, store: Any) -> State:
    config = replace(Config(), data_dir=tmp_path)
    state = State(config, Metrics(), lambda: 10_000, "portable")
    state.store = store
    state.checker = SimpleNamespace(policy=None)  # type: ignore[assignment]
    return state


def test_a_policy_that_comes_into_force_is_kept_noted_and_shown(tmp_path: Path) -> None:
    noted: list[object] = []
    store = SimpleNamespace(note_policy=lambda *words: noted.append(words))
    policy = compile_policy(default_policy_text())

    async def inside() -> State:
        state = policy_state(tmp_path, store)
        await state.use_policy(policy, "start")
        return state

    state = asyncio.run(inside())
    assert state.working().policy is policy
    assert noted == [("default", policy.hash, "start", 10_000)]
    assert find_policy(tmp_path, policy.hash)[1] == policy.text
    assert state.policy_since == value(state, "eir_policy_since_timestamp_seconds") == 10_000


def test_a_disk_that_fails_does_not_keep_a_policy_out(tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise StorageError("disk full")

    policy = compile_policy(default_policy_text())

    async def inside() -> State:
        state = policy_state(tmp_path, SimpleNamespace(note_policy=full))
        await state.use_policy(policy, "reload")
        return state

    state = asyncio.run(inside())
    assert state.working().policy is policy
    assert value(state, "eir_upkeep_failures_total") == 1


def test_a_policy_that_is_refused_leaves_the_old_one_and_its_reason(tmp_path: Path) -> None:
    good = compile_policy(default_policy_text())
    better = compile_policy(default_policy_text().replace('name = "default"', 'name = "better"'))
    answers: list[Policy | None] = [None, good, None, better]

    def load() -> Policy:
        policy = answers.pop(0)
        if policy is None:
            raise ConfigError("policy, line 3: wrong")
        return policy

    def results(state: State) -> list[float | None]:
        return [
            state.metrics.registry.get_sample_value("eir_policy_reloads_total", {"result": result})
            for result in ("applied", "unchanged", "refused")
        ]

    async def inside() -> None:
        state = policy_state(tmp_path, SimpleNamespace(note_policy=lambda *_: None))
        await state.use_policy(good, "start")
        trial = SimpleNamespace(stopped="", stop=lambda why: setattr(trial, "stopped", why))
        state.trial = trial  # type: ignore[assignment]
        await state.reload_policy(load)
        assert state.working().policy is good
        assert state.policy_refused == (10_000, "policy, line 3: wrong")
        assert value(state, "eir_policy_refused") == 1
        await state.reload_policy(load)
        assert state.policy_refused == (0, ""), "the file is good again, and says what is in force"
        assert value(state, "eir_policy_refused") == 0
        assert not trial.stopped
        await state.reload_policy(load)
        await state.reload_policy(load)
        assert state.working().policy is better
        assert state.policy_refused == (0, "")
        assert trial.stopped == "another policy came into force"
        assert results(state) == [1, 1, 2]

    asyncio.run(inside())
