"""A delta of pairings, from its commit until the cases that it brought in order are resolved.

    cases of IMEIs never activated ──► PAIR, a million rows ──► follower, judge, keeper ──► durable

The desk's own parts over a population's tables, by each engine; other cases are beside them, and every
second subscriber was warned, so that he is told. The longest piece is what everything else that the desk
does waits for.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from bench.cases import fill
from bench.command import parser, population_of, publish, say
from bench.datadir import FOLDER, copied, kept
from bench.delta_apply import ENGINES, add_engines
from bench.deltas import push
from bench.notices import NOON, checker_of, settings_without_ceilings
from bench.population import Population
from bench.results import Figure, median
from eir.native import PublishingChecker
from eir.notify.cases import Cases
from eir.notify.follower import Follower
from eir.notify.judge import Judge
from eir.notify.keeper import Keeper
from eir.notify.notebook import SERIAL, Notebook
from eir.notify.outbox import Outbox
from eir.settings import Notices
from eir.whitelist.files import FileLayer
from eir.whitelist.journal import Journal
from eir.whitelist.rows import U64, Op, Role
from eir.whitelist.store import Limits, Store

HOME = 1_432 * 10**12
"""IMSI codes of the home country begin so."""


class Resolved(NamedTuple):
    """Seconds of the whole, CPU seconds of it, and seconds of the longest piece with its commit."""

    seconds: float
    cpu_seconds: float
    piece_seconds_max: float


def pairs_of(population: Population, count: int) -> tuple[U64, U64]:
    """Return IMEIs that have no owner, and as many new home SIMs."""
    imsis = population.new_imsis(count * 2)
    home = imsis[imsis // 10**12 == HOME // 10**12][:count]
    keys = population.sample_unowned(len(home), seed=11)
    return keys, home[: len(keys)]


def resolve(data_dir: Path, folder: Path, pairs: tuple[U64, U64], engine: str, profile: bool) -> Resolved:
    """Apply the delta to a copy of the tables, and follow it."""
    ENGINES[engine]()

    def clock() -> int:
        return NOON

    with copied(data_dir) as copy, tempfile.TemporaryDirectory(dir=FOLDER, prefix="cases-") as kept_cases:
        shutil.copytree(folder, kept_cases, dirs_exist_ok=True)
        store = Store.open(copy, clock=clock, limits=Limits())
        cases = Cases.open(Path(kept_cases), FileLayer())
        journal = Journal.open(copy / "registry.db", read_only=True)
        checker = checker_of(engine, store, clock)
        keeper = Keeper(cases, Outbox(cases), Judge(lambda: checker, clock), settings_without_ceilings())
        look_rows_max = Notices().look_rows_max
        notebook = Notebook(cases)
        notebook.put(SERIAL, store.generation.serial)
        keeper.commit()
        follower = Follower(keeper, notebook, journal, lambda: store.generation, clock, look_rows_max)
        push(store, Op.PAIR, pairs[0], imsi=pairs[1], cause=Role.OWNER)
        if isinstance(checker, PublishingChecker):
            checker.native.publish()
        if profile:
            profiler = cProfile.Profile()
            profiler.enable()
        longest, started, cpu = 0.0, time.perf_counter(), time.process_time()
        while follower.behind:
            began = time.perf_counter()
            follower.step(NOON)
            keeper.commit()
            longest = max(longest, time.perf_counter() - began)
        out = Resolved(time.perf_counter() - started, time.process_time() - cpu, longest)
        if profile:
            profiler.disable()
            pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
        if keeper.counts["resolved"] != len(pairs[0]):
            raise RuntimeError(f"{keeper.counts['resolved']:,} cases were resolved, of {len(pairs[0]):,}")
        for one in (cases, journal, store):
            one.close()
    return out


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    options = parser("resolving", main.__doc__)
    options.add_argument("--cases", type=int, default=10_000_000)
    options.add_argument("--rows", type=int, default=1_000_000, help="of the delta")
    options.add_argument("--portable-rows", type=int, default=20_000, help="of the portable engine's delta")
    add_engines(options)
    return options.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Measure how long a delta's cases take to be resolved."""
    args = _arguments(argv)
    population = population_of(args)
    data_dir, figures = kept(population), dict[str, Figure]()
    for engine in args.engines:
        pairs = pairs_of(population, args.rows if engine == "native" else args.portable_rows)
        with tempfile.TemporaryDirectory(dir=FOLDER, prefix="filled-") as folder:
            say(f"making {args.cases:,} cases")
            fill(Path(folder), args.cases, pairs)
            rounds = [
                resolve(data_dir, Path(folder), pairs, engine, args.profile) for _ in range(args.rounds)
            ]
        name = f"{engine}, {len(pairs[0]):,} rows beside {args.cases:,} cases"
        say(f"{name}: " + ", ".join(f"{one.seconds:.1f} s" for one in rounds))
        figures |= {
            name: median([one.seconds for one in rounds], "s"),
            f"{name}: CPU time": median([one.cpu_seconds for one in rounds], "s"),
            f"{name}: longest piece": median([one.piece_seconds_max * 1e3 for one in rounds], "ms"),
        }
    return 0 if args.profile else publish("resolving", args, figures)


if __name__ == "__main__":
    sys.exit(main())
