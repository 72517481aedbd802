"""Deltas of a benchmark, put into a store as parsed columns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bench.chunk import ROWS_MAX
from eir.whitelist.delta import Header
from eir.whitelist.rows import U64, Op, Rows
from eir.whitelist.store import Store

FEED = "bench"
CONTENT = bytes(32)
"""Parsed columns have no payloads to hash."""


class Pushed(NamedTuple):
    """Seconds of a delta: making its rows durable, applying them until checks see them; CPU of both."""

    journal_seconds: float
    apply_seconds: float
    cpu_seconds: float


def slices(count: int, rows_max: int = ROWS_MAX) -> Iterator[slice]:
    """Cut rows into parts of at most so many."""
    for start in range(0, count, rows_max):
        yield slice(start, min(start + rows_max, count))


def push(
    store: Store,
    op: Op,
    imei: U64,
    *,
    imsi: U64 | None = None,
    cause: int = 0,
    authority: str = "",
) -> Pushed:
    """Apply a delta of rows of one kind, in parts as chunks have them."""
    count = len(imei)
    position = next((feed.sequence for feed in store.feeds() if feed.feed == FEED), 0)
    parts = [
        Rows(
            np.full(part.stop - part.start, op, np.uint8),
            imei=imei[part],
            imsi=None if imsi is None else imsi[part],
            cause=np.full(part.stop - part.start, cause, np.uint8) if cause else None,
            name=np.ones(part.stop - part.start, np.uint16) if authority else None,
            names=["", authority] if authority else [""],
        )
        for part in slices(count)
    ]
    started, cpu_before = time.perf_counter(), time.process_time()
    pending = store.push(Header(FEED, position + 1, position, count, override_guards=True))
    for rows in parts:
        pending.take(rows, [])
    taken = time.perf_counter()
    applied = pending.apply(CONTENT)
    ended, cpu = time.perf_counter(), time.process_time() - cpu_before
    if applied.ignored_row_count or not applied.effects:
        raise RuntimeError(f"the delta did not do what it says: {applied}")
    return Pushed(taken - started, ended - taken, cpu)
