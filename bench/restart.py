"""Seconds from the start of `eir serve` to SERVING, with and without deltas to replay."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.command import parser, population_of, publish
from bench.daemon import NO_REBUILD, serving
from bench.datadir import copied, forget_pages, kept
from bench.deltas import push, slices
from bench.population import Population
from bench.results import Figure, median
from eir.clock import now_seconds
from eir.whitelist.rows import Op, Role
from eir.whitelist.store import Limits, Store

REPLAYED_ROWS = 1_000_000
DELTA_ROWS = 100_000


def journal_rows(population: Population, data_dir: Path, count: int) -> None:
    """Put deltas of owners' pairs into the journal, which no segment holds yet."""
    store = Store.open(data_dir, clock=now_seconds, limits=Limits(rebuild_overlay_rows=1 << 40))
    try:
        keys, imsis = population.sample_unowned(count, seed=11), population.new_imsis(count)
        for part in slices(count, DELTA_ROWS):
            push(store, Op.PAIR, imei=keys[part], imsi=imsis[part], cause=Role.OWNER)
    finally:
        store.close()


def starts(data_dir: Path, rounds: int, *, cold: bool) -> list[float]:
    """Seconds of so many starts."""
    out = []
    for _ in range(rounds):
        if cold:
            forget_pages(data_dir)
        with serving(data_dir, settings=NO_REBUILD) as daemon:
            out.append(daemon.start_seconds)
    return out


def main(argv: list[str] | None = None) -> int:
    """Measure restarting a daemon."""
    args = parser("restart", main.__doc__).parse_args(argv)
    population = population_of(args)
    replayed = min(REPLAYED_ROWS, (population.registered - population.pairs) // DELTA_ROWS * DELTA_ROWS)
    figures: dict[str, Figure] = {}
    for rows in dict.fromkeys((0, replayed)):
        with copied(kept(population)) as data_dir:
            if rows:
                journal_rows(population, data_dir, rows)
            what = f"{rows:,} rows to replay"
            figures[f"files not in memory, {what}"] = median(starts(data_dir, args.rounds, cold=True), "s")
            figures[f"files in memory, {what}"] = median(starts(data_dir, args.rounds, cold=False), "s")
    return publish("restart", args, figures)


if __name__ == "__main__":
    sys.exit(main())
