"""Rows a second of bulk deltas from parsed columns, with the journal, until checks see them.

Each is applied to a fresh copy of the population's directory, by each engine in turn.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.command import parser, population_of, publish, say
from bench.datadir import copied, kept
from bench.deltas import Pushed, push
from bench.population import Population
from bench.report import size
from bench.results import Figure, median
from eir import native
from eir.clock import now_seconds
from eir.errors import EngineUnavailableError
from eir.identity import SERIALS
from eir.whitelist.order import Sorter
from eir.whitelist.rows import U64, BlockCause, Op, Role
from eir.whitelist.shard_find import Finder, Finders
from eir.whitelist.store import Limits, Store

FRESH_TAC = 36_000_000
"""A TAC that no population has, nor those that follow."""
LOT = 4_000
AUTHORITY = "bench"
"""Who blocks: none of the population's, so that no block is there already."""


class Delta(NamedTuple):
    """Columns of a delta."""

    op: Op
    imei: U64
    imsi: U64 | None = None
    cause: int = 0
    authority: str = ""


def register(_: Population, count: int) -> Delta:
    """Register IMEIs never seen, in lots."""
    place = np.arange(count, dtype=np.uint64)
    tac = np.uint64(FRESH_TAC) + place // np.uint64(LOT)
    return Delta(Op.REGISTER, tac * np.uint64(SERIALS) + place % np.uint64(LOT))


def activate(population: Population, count: int) -> Delta:
    """Pair IMEIs that have no owner, in the order of the IMEIs."""
    keys = population.sample_unowned(count, seed=11)
    return Delta(Op.PAIR, keys, population.new_imsis(count), Role.OWNER)


def activate_random(population: Population, count: int) -> Delta:
    """Do the same in random order."""
    delta = activate(population, count)
    order = np.random.Generator(np.random.PCG64(13)).permutation(count)
    assert delta.imsi is not None
    return delta._replace(imei=delta.imei[order], imsi=delta.imsi[order])


def unpair(population: Population, count: int) -> Delta:
    """End owners' pairs, in the order of the IMEIs."""
    keys = population.sample_owned(count, seed=11)
    return Delta(Op.UNPAIR, keys, population.owners(keys))


def block(population: Population, count: int) -> Delta:
    """Block IMEIs as stolen, some of the owned ones, in their order."""
    return Delta(Op.BLOCK, population.sample_owned(count, seed=17), None, BlockCause.STOLEN, AUTHORITY)


KINDS: dict[str, Callable[[Population, int], Delta]] = {
    "REGISTER": register,
    "PAIR, sorted": activate,
    "PAIR, random order": activate_random,
    "UNPAIR": unpair,
    "BLOCK": block,
}


def portable() -> None:
    """Let the writer do without the native engine."""
    Finders.use(Finder)
    Sorter.use(np.ndarray.sort)


ENGINES: dict[str, Callable[[], None]] = {"native": native.help_writer, "portable": portable}
"""How the keys of a delta are found and sorted."""


def apply(data_dir: Path, delta: Delta, engine: str, profile: cProfile.Profile | None) -> Pushed:
    """Apply a delta to a copy of a directory."""
    ENGINES[engine]()
    with copied(data_dir) as copy:
        store = Store.open(copy, clock=now_seconds, limits=Limits())
        try:
            if profile:
                profile.enable()
            return push(store, **delta._asdict())
        finally:
            if profile:
                profile.disable()
            store.close()


def figures_of(name: str, count: int, rounds: list[Pushed]) -> dict[str, Figure]:
    """Figures of a delta's rounds."""
    what, millions = f"{name}, {size(count)} rows", count / 1e6
    return {
        what: median([millions / (one.journal_seconds + one.apply_seconds) for one in rounds], "M rows/s"),
        f"{what}: of CPU time": median([millions / one.cpu_seconds for one in rounds], "M rows/s"),
        f"{what}: chunks made durable in": median([one.journal_seconds for one in rounds], "s"),
    }


def usable_engines() -> list[str]:
    """Return the engines that are here."""
    try:
        native.load()
    except EngineUnavailableError as error:
        say(f"left out: {error.message}")
        return ["portable"]
    return list(ENGINES)


def add_engines(options: argparse.ArgumentParser) -> None:
    """Add the options of what is applied by each engine: which ones, and a profile."""
    options.add_argument("--engines", nargs="+", choices=sorted(ENGINES), default=usable_engines())
    options.add_argument("--profile", action="store_true", help="print where the time goes; nothing is saved")


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    options = parser("delta_apply", main.__doc__)
    options.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 5_000_000])
    options.add_argument("--kinds", nargs="+", choices=sorted(KINDS), default=list(KINDS))
    add_engines(options)
    return options.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Measure applying bulk deltas."""
    args = _arguments(argv)
    population = population_of(args)
    data_dir, figures = kept(population), dict[str, Figure]()
    for count in args.rows:
        if count > population.registered - population.pairs:
            say(f"{count:,} rows are left out: fewer IMEIs were never activated")
            continue
        for name in args.kinds:
            delta = KINDS[name](population, count)
            profile = cProfile.Profile() if args.profile else None
            rounds: dict[str, list[Pushed]] = {engine: [] for engine in args.engines}
            for _ in range(args.rounds):
                for engine in args.engines:
                    rounds[engine].append(apply(data_dir, delta, engine, profile))
            for engine, of in rounds.items():
                figures |= figures_of(f"{name}, {engine}", count, of)
                seconds = ", ".join(f"{one.apply_seconds:.2f} s" for one in of)
                say(f"{name}, {engine}, {count:,} rows: {seconds}")
            if profile:
                pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    return 0 if args.profile or not figures else publish("delta_apply", args, figures)


if __name__ == "__main__":
    sys.exit(main())
