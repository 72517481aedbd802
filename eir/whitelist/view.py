"""The tables of a data directory that a daemon may be using, read-only, as of one moment.

    registry.db ──one read transaction──► manifest, journal ──► segments, replayed ──► View

Nothing is written and nothing locked. What the daemon acknowledges later is not
seen; `serial` and `feeds` say up to where it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from eir.errors import SegmentDamagedError
from eir.whitelist import plan as planning
from eir.whitelist import recover
from eir.whitelist.filled import Names
from eir.whitelist.imsi_index import ImsiIndex
from eir.whitelist.journal import FeedRecord, Journal, NameKind
from eir.whitelist.overlay import Overlay
from eir.whitelist.plan import Plan
from eir.whitelist.rebuild import index_name
from eir.whitelist.rows import U64, Op, Rows
from eir.whitelist.shard import Shard
from eir.whitelist.subscribers import SubscriberRows
from eir.whitelist.tables import TABLES, Common, Generation

ATTEMPTS_MAX: Final = 5
"""A rebuild may remove a file between the manifest and its reading; then all is read anew."""

SMALL_ROWS_MAX: Final = 1 << 16
"""Rows of the overlay that each delta makes anew."""


@dataclass(frozen=True)
class View:
    """The tables as of one moment."""

    generation: Generation
    feeds: tuple[FeedRecord, ...]
    authorities: tuple[str, ...]
    device_types: tuple[str, ...]
    counts: dict[str, int]

    @property
    def serial(self) -> int:
        """Serial of the table state."""
        return self.generation.serial

    def position(self, feed: str) -> int:
        """Sequence that a feed stands at, 0 for none."""
        return next((record.sequence for record in self.feeds if record.feed == feed), 0)

    def authority(self, name: str) -> int:
        """Return the number of an authority, -1 where it has none yet."""
        return self.authorities.index(name) if name in self.authorities else -1


def read(data_dir: Path) -> View:
    """Read a data directory. Raises StateDamagedError, SegmentDamagedError, StorageError."""
    journal = Journal.open(data_dir / "registry.db", read_only=True)
    try:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                with journal.reading():
                    return _read(data_dir / "segments", journal)
            except SegmentDamagedError:
                if attempt == ATTEMPTS_MAX:
                    raise
    finally:
        journal.close()
    raise AssertionError


def _read(folder: Path, journal: Journal) -> View:
    base = int(journal.meta_get(recover.BASE_SERIAL_KEY) or 0)
    common, shards = Common.empty(), []
    for record in journal.manifest().current:  # the common segment comes first
        loaded = recover.load(folder, record)
        if record.kind == "common":
            common = Common.of(loaded)
        else:
            shards.append(_shard(folder, record.file, Shard(loaded, common.blocks)))
    generation = Generation.of(base, (), shards, common)
    authorities, device_types = (journal.names(kind) for kind in (NameKind.AUTHORITY, NameKind.DEVICE_TYPE))
    small, large = Overlay.empty(), Overlay.empty()
    for delta, rows, left_out in recover.deltas(journal, base, journal.last_serial()):
        plan = planning.make(generation, rows, _names(rows, authorities, device_types), left_out)
        small = small.merged(plan.columns)
        if small.rows > SMALL_ROWS_MAX:
            small, large = Overlay.empty(), large.merged(small.columns)
        generation = generation.with_levels(delta.serial, [small, large])
    counts = dict.fromkeys(TABLES, 0) | json.loads(journal.meta_get("counts") or "{}")
    return View(generation, tuple(journal.feeds()), tuple(authorities), tuple(device_types), counts)


def _shard(folder: Path, name: str, shard: Shard) -> Shard:
    """Give a shard its index, which finds a SIM that is replaced."""
    shard.index = ImsiIndex(folder / index_name(name))
    return shard


def _names(rows: Rows, authorities: list[str], device_types: list[str]) -> Names:
    """Numbers of the names of a delta, all of which are durable; new ones get the next numbers."""
    used = np.zeros(len(rows.names), bool)
    tacs = np.zeros(len(rows.names), bool)
    if rows.name is not None:
        used[rows.name[np.isin(rows.op, (Op.BLOCK, Op.UNBLOCK))]] = True
        tacs[rows.name[rows.op == Op.TAC]] = True
    return Names(_numbers(rows.names, used, authorities), _numbers(rows.names, tacs, device_types))


def _numbers(names: list[str], wanted: np.ndarray[tuple[int], np.dtype[np.bool_]], known: list[str]) -> U64:
    numbers = {name: number for number, name in enumerate(known)}
    return np.array(
        [
            numbers.setdefault(name, len(numbers)) if want else 0
            for name, want in zip(names, wanted, strict=True)
        ],
        np.uint64,
    )


def with_plan(view: View, rows: Rows) -> tuple[Generation, Plan]:
    """Return the tables as they would be after a delta, and its plan; nothing is kept."""
    left_out = rows.op == 0
    names = _names(rows, list(view.authorities), list(view.device_types))
    plan = planning.make(view.generation, rows, names, left_out)
    overlay = Overlay.empty().merged(plan.columns)
    return view.generation.with_levels(view.serial + 1, [overlay, *view.generation.levels]), plan


def subscribers(data_dir: Path) -> Iterator[SubscriberRows]:
    """Iterate over the subscribers of a data directory, by IMSI code."""
    journal = Journal.open(data_dir / "registry.db", read_only=True)
    try:
        with journal.reading():
            yield from journal.all_subscribers()
    finally:
        journal.close()


def reference(data_dir: Path, feed: str, sequence: int) -> str:
    """Return the reference of a delta in the journal; empty where there is none."""
    journal = Journal.open(data_dir / "registry.db", read_only=True)
    try:
        record = journal.find_delta(feed, sequence)
    finally:
        journal.close()
    return record.reference if record else ""
