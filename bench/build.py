"""Seconds, rows a second and peak memory of building a population's segments.

Each round builds in a process of its own; making the population's rows is
measured apart.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench.command import SEED, parser, population_of, publish, say
from bench.daemon import memory_mib
from bench.datadir import FOLDER, path_of
from bench.load import load
from bench.population import Population, PopulationChunk
from bench.results import Figure, median
from eir.clock import now_seconds


class Built(NamedTuple):
    """One round: seconds of building and of making the rows, the most memory in MiB."""

    build_seconds: float
    rows_seconds: float
    memory_mib: float


@dataclass
class _Timed(Population):
    """A population that knows how long its rows took."""

    rows_seconds: float = 0.0

    def chunks(self, rows_target: int = 4_000_000) -> Iterator[PopulationChunk]:
        chunks = super().chunks(rows_target)
        while True:
            started = time.perf_counter()
            chunk = next(chunks, None)
            self.rows_seconds += time.perf_counter() - started
            if chunk is None:
                return
            yield chunk


def build(name: str, registered: int, data_dir: Path) -> Built:
    """Build in this process."""
    started = time.perf_counter()
    population = _Timed(name, registered, SEED)
    drawn = time.perf_counter() - started
    load(population, data_dir, now=now_seconds())
    rows_seconds = population.rows_seconds + drawn
    total = time.perf_counter() - started
    return Built(total - rows_seconds, rows_seconds, memory_mib("self", "VmHWM"))


def main(argv: list[str] | None = None) -> int:
    """Measure building segments."""
    args = parser("build", main.__doc__).parse_args(argv)
    population = population_of(args)
    FOLDER.mkdir(parents=True, exist_ok=True)
    rounds: list[Built] = []
    file_bytes = 0
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory(dir=FOLDER, prefix="building-") as folder:
            made = Path(folder) / "data"
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                rounds.append(pool.submit(build, args.population, args.size, made).result())
            say(f"built in {rounds[-1].build_seconds:.1f} s")
            file_bytes = sum(path.stat().st_size for path in (made / "segments").iterdir())
            if not path_of(population).exists():
                made.rename(path_of(population))
    figures = {
        "building": median([one.build_seconds for one in rounds], "s"),
        "registered IMEIs built": median([args.size / one.build_seconds / 1e6 for one in rounds], "M/s"),
        "making the population's rows (not in the above)": median([one.rows_seconds for one in rounds], "s"),
        "most memory of the process": median([one.memory_mib for one in rounds], "MiB"),
        "files, with the indexes by IMSI": Figure(file_bytes / 2**20, "MiB"),
    }
    return publish("build", args, figures)


if __name__ == "__main__":
    sys.exit(main())
