"""Data directories of populations: built once, and copied for each use.

    population ──build──► data/bench/NAME ──links, copies──► a directory of its own

Segment files never change, so a copy has them as links; the registry is copied.
BENCH_DATA names another folder to keep them in.

    python -m bench.datadir --population P1 --size 300000000    builds one ahead of its benchmarks
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.command import parser, population_of, say
from bench.load import load
from bench.pairs import write_pairs
from bench.population import Population
from bench.results import ROOT
from eir.clock import now_seconds
from eir.whitelist import imsi_index, schema
from eir.whitelist.segment import VERSION

FOLDER = Path(os.environ.get("BENCH_DATA") or ROOT / "data" / "bench")


def path_of(population: Population) -> Path:
    """Where a population's data directory is kept: by its name, size, seed and the files' formats."""
    name = f"{population.name}-{population.registered}-{population.seed}"
    return FOLDER / f"{name}-format{VERSION}.{imsi_index.VERSION}.{schema.VERSION}"


def kept(population: Population) -> Path:
    """Return the data directory that is kept, built where it is missing. Nothing may write to it."""
    path = path_of(population)
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        say(f"building {path.name}")
        with tempfile.TemporaryDirectory(dir=FOLDER, prefix="building-") as folder:
            made = Path(folder) / "data"
            load(population, made, now=now_seconds())
            made.rename(path)
    return path


def kept_pairs(population: Population) -> Path:
    """Return the file of a population's pairs that is kept, for servers that are not ours."""
    path = FOLDER / f"{population.name}-{population.registered}-{population.seed}.pairs"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        say(f"writing {path.name}")
        unfinished = path.with_suffix(".unfinished")
        write_pairs(population, unfinished)
        unfinished.rename(path)
    return path


@contextmanager
def copied(source: Path) -> Iterator[Path]:
    """Make a copy of a data directory that a benchmark may change; removed at the end."""
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="copy-") as folder:
        copy = Path(folder) / "data"
        shutil.copytree(source, copy, copy_function=_link_or_copy)
        yield copy


def _link_or_copy(source: str, target: str) -> None:
    if Path(source).parent.name == "segments":
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def forget_pages(folder: Path) -> None:
    """Drop the files of a directory from the page cache, as far as the kernel does it."""
    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            try:
                os.fsync(file)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(file)


def main(argv: list[str] | None = None) -> int:
    """Build the data directory of a population, where it is missing."""
    options = parser("datadir", main.__doc__)
    options.add_argument("--pairs", action="store_true", help="the file of pairs too, for bench.peers")
    args = options.parse_args(argv)
    population = population_of(args)
    print(kept(population))
    if args.pairs:
        print(kept_pairs(population))
    return 0


if __name__ == "__main__":
    sys.exit(main())
