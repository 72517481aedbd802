"""Stores in memory, beside the plain model, whose rebuilds run in this process."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import delta_strategies as universe
import pytest
import store_model

from eir.whitelist import rebuild, segments
from eir.whitelist.algebra import State
from eir.whitelist.feeds import FeedRules
from eir.whitelist.files import FileLayer
from eir.whitelist.store import Limits, Store

NOW = 1_800_000_000
LENIENT = Limits(feeds={"feed": FeedRules(lenient=True)}, rebuild_bytes_per_second_max=0)
FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Memory, where there is such a folder: what a disk does is not what is tested here."""


def new_folder() -> Path:
    """A folder that is fast to write."""
    return Path(tempfile.mkdtemp(dir=FAST))


def rebuild_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebuild in this process: the child runs the same code, a process for each step would take minutes."""

    def run_job(job: Path) -> list[rebuild.SegmentFile]:
        return rebuild.run(rebuild.Job(**json.loads(job.read_text())))

    monkeypatch.setattr(segments, "_run_child", run_job)


def opened(
    folder: Path, *, limits: Limits = LENIENT, files: FileLayer | None = None, now: int = NOW
) -> Store:
    """The store of a folder."""
    return Store.open(folder, clock=lambda: now, limits=limits, files=files)


def facts(store: Store) -> State:
    """Everything that the store says of the universe."""
    return store_model.facts_of(store, universe.KEYS, universe.RAW_TEXTS, universe.IMSIS)


def assert_equal(store: Store, state: State) -> None:
    """The store holds this state, in look-ups one by one and in its counts."""
    assert facts(store) == state
    assert store.counts == store_model.counts_of(state)
