"""Bytes per pair by table, and the memory of a daemon that serves them.

Budgeted are registration, pairs, blocks, ranges and link runs. Of the records
of IMEIs with more (utilizers, blocks, exemptions, ...), each word counts for its
own table, and what a record costs by itself for the first of its tables.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter

import numpy as np

from bench.check_throughput import SAMPLE, verify
from bench.checks import Checks
from bench.command import parser, population_of, publish, say
from bench.daemon import Daemon, channel, children, memory_mib, reset_most, serving
from bench.datadir import copied, kept
from bench.results import Figure, median
from bench.rpc import enforcement_of
from eir.clock import now_seconds
from eir.proto import enforcement_pb2
from eir.whitelist.items import KIND_SHIFT, Item
from eir.whitelist.overlay import Table
from eir.whitelist.shard import Shard
from eir.whitelist.shard_layout import Section
from eir.whitelist.store import Store

DIRECTORIES = "registration: directories of TACs and blocks"
STATES = "registration: state lines, sparse lists"
OWNERS = "owners"
RANGES = "ranges"
RUNS = "link runs"
UTILIZERS = "utilizers"
BLOCKS = "blocks"
OTHER_IMSIS = "owners that the packing does not hold"
FRAMES = "headers, padding, dictionary of IMSI blocks"
BUDGETED = (DIRECTORIES, STATES, OWNERS, RANGES, RUNS, UTILIZERS, BLOCKS, OTHER_IMSIS, FRAMES)
LINKS = "links elsewhere"
EXEMPT = "exemptions"
OLD = "grandfathered"
TRACKED = "tracked"
COMMON = {Table.RAW: "listed texts", Table.IMSI: "exempt IMSIs", Table.TACS: "device types"}
BY_SECTION = {
    Section.TACS: DIRECTORIES,
    Section.DENSE: DIRECTORIES,
    Section.SPARSE: DIRECTORIES,
    Section.LINES: STATES,
    Section.SPARSE_PAIRED: STATES,
    Section.SPARSE_REGISTERED: STATES,
    Section.SPARSE_MORE: STATES,
    Section.OWNERS: OWNERS,
    Section.RANGES: RANGES,
    Section.RUNS: RUNS,
    Section.FAR: LINKS,
    Section.FAR_TACS: LINKS,
    Section.META: FRAMES,
}
BY_ITEM = {
    Item.UTILIZER: UTILIZERS,
    Item.BLOCK: BLOCKS,
    Item.EXEMPT_IMEI: EXEMPT,
    Item.EXEMPT_PAIR: EXEMPT,
    Item.GRANDFATHER_IMEI: OLD,
    Item.GRANDFATHER_PAIR: OLD,
    Item.TRACK: TRACKED,
}
"""In the order by which a record belongs to a table."""
HEAD = 15
"""Kind given to the first word of a record while words are counted."""
RECORD_BYTES = 12
"""A head, and the place of the record."""
SAMPLE_SECONDS = 0.05


def record_bytes(shard: Shard) -> Counter[str]:
    """Bytes of a shard's records by table."""
    out: Counter[str] = Counter()
    starts = shard.more_first[:-1].astype(np.int64)
    if not len(starts):
        return out
    kind = (shard.words >> np.uint64(KIND_SHIFT)).astype(np.int64)
    kind[starts] = HEAD
    has = np.bitwise_or.reduceat(np.left_shift(1, kind), starts)
    second = np.flatnonzero(kind == 0)
    kind[second] = kind[second - 1]
    words = np.bincount(kind, minlength=HEAD + 1)
    free = np.ones(len(starts), bool)
    for item, table in BY_ITEM.items():
        mine = free & (has & 1 << item != 0)
        free &= ~mine
        out[table] += int(words[item]) * 8 + int(mine.sum()) * RECORD_BYTES
    out[OTHER_IMSIS] += int(free.sum()) * RECORD_BYTES
    return out


def bytes_by_table(store: Store) -> Counter[str]:
    """Bytes of the tables of a store as they lie in memory."""
    out: Counter[str] = Counter()
    for shard in store.generation.shards:
        mine = record_bytes(shard)
        for section, view in shard.segment.sections.items():
            if section in BY_SECTION:
                mine[BY_SECTION[Section(section)]] += len(view)
        mine[FRAMES] += shard.segment.total_bytes - mine.total()
        out += mine
    common = store.generation.common
    for table, name in COMMON.items():
        out[name] += common.tables[table].nbytes
    out[FRAMES] += common.blocks.blocks.nbytes
    return out


class Peak:
    """The most memory that a daemon and the process that rebuilds take, sampled beside it; MiB."""

    def __init__(self, daemon: Daemon) -> None:
        """Sample from now on until `stop`."""
        self.child = self.both = 0.0
        self._daemon, self._ended = daemon, threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            pids = children(self._daemon.pid)
            self.child = max([self.child, *(memory_mib(pid, "VmHWM") for pid in pids)])
            self.both = max(self.both, sum(memory_mib(pid, "Pss") for pid in (self._daemon.pid, *pids)))

    def stop(self) -> None:
        """Stop sampling."""
        self._ended.set()
        self._thread.join()


def process_memory(daemon: Daemon, *, rebuild: bool) -> dict[str, float]:
    """Memory of a daemon in MiB: serving, and the most while all segments are rebuilt."""
    out = {f"daemon, serving: {name.upper()}": memory_mib(daemon.pid, name) for name in ("Rss", "Pss")}
    out["daemon, serving: in pages of 2 MiB"] = memory_mib(daemon.pid, "AnonHugePages")
    if not rebuild:
        return out
    reset_most(daemon.pid)
    peak = Peak(daemon)
    try:
        with channel(daemon.manage_address) as one:
            enforcement_of(one).RebuildSegments(enforcement_pb2.RebuildSegmentsRequest(all=True))
    finally:
        peak.stop()
    out["daemon, rebuilding all: most RSS"] = memory_mib(daemon.pid, "VmHWM")
    out["process that rebuilds: most RSS"] = peak.child
    out["both, rebuilding all: most PSS"] = peak.both
    out["daemon, after it: RSS"] = memory_mib(daemon.pid, "Rss")
    return out


def main(argv: list[str] | None = None) -> int:
    """Measure memory by table and by process."""
    options = parser("memory", main.__doc__, rounds=1)
    options.add_argument("--no-rebuild", action="store_true", help="not while segments are rebuilt")
    args = options.parse_args(argv)
    population = population_of(args)
    checks = Checks.sample(population, SAMPLE, seed=3)
    with copied(kept(population)) as data_dir:
        store = Store.open(data_dir, clock=now_seconds)
        tables, pairs = bytes_by_table(store), store.counts["pairs"]
        store.close()
        del store
    figures = {
        "budgeted tables": Figure(sum(tables[name] for name in BUDGETED) / pairs, "bytes per pair"),
        "all tables": Figure(tables.total() / pairs, "bytes per pair"),
    }
    order = dict.fromkeys((*BUDGETED, LINKS, *tables))
    figures |= {name: Figure(tables[name] / pairs, "bytes per pair") for name in order if tables[name]}
    rounds = []
    for _ in range(args.rounds):
        with copied(kept(population)) as data_dir, serving(data_dir) as daemon:
            verify(daemon, checks)
            rounds.append(process_memory(daemon, rebuild=not args.no_rebuild))
            say(", ".join(f"{name} {value:.0f} MiB" for name, value in rounds[-1].items()))
    figures |= {name: median([one[name] for one in rounds], "MiB") for name in rounds[0]}
    return publish("memory", args, figures)


if __name__ == "__main__":
    sys.exit(main())
