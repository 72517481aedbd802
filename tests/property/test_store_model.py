"""The store against the plain model: any deltas, rebuilds and restarts, one state and the same bad rows."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import delta_strategies as universe
import pytest
import store_model
from hypothesis import given, settings
from hypothesis import strategies as st

from eir.errors import DeltaRowsRefusedError
from eir.whitelist.algebra import State, perform
from eir.whitelist.feeds import FeedRules
from eir.whitelist.operation import Operation, clashes
from eir.whitelist.rebuild import Job, run
from eir.whitelist.store import Limits, Store

LENIENT = Limits(feeds={"feed": FeedRules(lenient=True)}, rebuild_bytes_per_second_max=0)
NOW = 1_800_000_000
FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Memory, where there is such a folder: thousands of fsyncs are not what is tested here."""

steps = st.lists(
    st.one_of(
        universe.mixed, universe.deltas, st.just("rebuild"), st.just("restart"), st.just("rebuild all")
    ),
    max_size=8,
)


def facts(store: Store) -> State:
    return store_model.facts_of(store, universe.KEYS, universe.RAW_TEXTS, universe.IMSIS)


@pytest.fixture(autouse=True)
def rebuild_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child is the same code; a process for each step would take minutes. Blocks of rows are small."""
    import json

    from eir.whitelist import plan, segments

    monkeypatch.setattr(plan, "_BLOCK_ROWS", 3)
    monkeypatch.setattr(segments, "FOLDED_KEYS", 5)
    monkeypatch.setattr(segments, "_run_child", lambda job: run(Job(**json.loads(job.read_text()))))


@given(steps)
@settings(max_examples=120)
def test_the_store_does_what_the_model_says(given_steps: list[list[Operation] | str]) -> None:
    folder = Path(tempfile.mkdtemp(dir=FAST))
    try:
        _walk(folder, given_steps)
    finally:
        shutil.rmtree(folder)


def _walk(folder: Path, given_steps: list[list[Operation] | str]) -> None:
    state: State = {}
    store = Store.open(folder, clock=lambda: NOW, limits=LENIENT)
    for step in given_steps:
        if step == "restart":
            serial = store.generation.serial
            store.close()
            store = Store.open(folder, clock=lambda: NOW, limits=LENIENT)
            assert store.generation.serial == serial
        elif isinstance(step, str):
            store.rebuild(all_segments=step == "rebuild all")
        else:
            left_out = clashes(step)
            rows = [row for index, row in enumerate(step) if index not in left_out]
            numbers = [index for index in range(len(step)) if index not in left_out]
            outcome = perform(state, rows)
            applied = store_model.push(store, step, parts=2)
            bad = left_out | {numbers[index] for index in outcome.bad}
            assert {row.row for row in applied.bad_rows} == bad
            assert applied.ignored_row_count == len(bad)
            reasons = {row.row: row.reason for row in applied.bad_rows}
            for index, (reason, _) in outcome.bad.items():
                assert reasons[numbers[index]] == reason
            state = outcome.state
        assert facts(store) == state
        assert store.counts == store_model.counts_of(state)
    store.close()


@given(universe.states, universe.mixed)
@settings(max_examples=60)
def test_a_strict_feed_takes_all_or_nothing(start: State, delta: list[Operation]) -> None:
    from eir.whitelist.between import deltas_between

    folder = Path(tempfile.mkdtemp(dir=FAST))
    try:
        store = Store.open(folder, clock=lambda: NOW)
        for rows in deltas_between({}, start):
            store_model.push(store, rows)
        assert facts(store) == start
        serial = store.generation.serial
        bad = bool(clashes(delta)) or bool(perform(start, delta).bad)
        if bad:
            with pytest.raises(DeltaRowsRefusedError):
                store_model.push(store, delta)
            assert (facts(store), store.generation.serial) == (start, serial)
        else:
            assert store_model.push(store, delta, dry_run=True).serial == serial
            assert (facts(store), store.generation.serial) == (start, serial)
            store_model.push(store, delta)
            assert facts(store) == perform(start, delta).state
            assert store.generation.serial == serial + 1
        store.close()
    finally:
        shutil.rmtree(folder)
