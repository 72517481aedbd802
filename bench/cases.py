"""The cases of a national network, as many as the size says: restart, opening, due look-ups, resolving.

What checks judge is made up, and costs nothing; every second case was warned.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from bench.command import parser, publish, say
from bench.daemon import memory_mib
from bench.datadir import FOLDER
from bench.notices import FIRST_IMSI, FIRST_KEY, NOON, judge_unpaired, settings_without_ceilings
from bench.results import Figure, median
from eir.notify.case import State
from eir.notify.case_file import Folding
from eir.notify.cases import EXTENT_ROWS, Cases
from eir.notify.extents import Extent
from eir.notify.judged import Judged
from eir.notify.keeper import Keeper, Sighting
from eir.notify.outbox import Outbox
from eir.notify.schedule import DAY
from eir.verdict import Reason
from eir.whitelist.files import FileLayer
from eir.whitelist.rows import U64

OPENED_PER_SECOND = 5_000
OPENING_SECONDS = 20
GROUP_SECONDS = 0.05
DELTA_ROWS = 1_000_000
PART_ROWS = 20_000
DUE_CASES = 500
WRITTEN_BYTES_PER_SECOND_MAX = 20_000_000
"""Of the files of extents, beside commits that wait for the same disk."""
BETWEEN_KEYS = 37


def fill(folder: Path, count: int, pairs: tuple[U64, U64] | None = None) -> None:
    """Make cases.db and its files with so many open cases, opened and due over weeks.

    The first of them are of these pairs of IMEI keys and IMSI codes, where any are given.
    """
    cases, random = Cases.open(folder, FileLayer()), np.random.default_rng(1)
    for first in range(0, count, EXTENT_ROWS):
        extent, length = Extent(EXTENT_ROWS), min(EXTENT_ROWS, count - first)
        numbers = np.arange(first, first + length, dtype=np.uint64)
        rows, opened_at = extent.rows[:length], NOON - random.integers(0, 30 * DAY, length)
        rows["key"] = FIRST_KEY + numbers * np.uint64(BETWEEN_KEYS) % np.uint64(count * 8)
        rows["imsi"] = FIRST_IMSI + numbers
        if pairs is not None:
            for name, values in zip(("key", "imsi"), pairs, strict=True):
                own = values[first : first + length]
                rows[name][: len(own)] = own
        rows["opened_at"] = rows["since"] = rows["seen_at"] = rows["clock_at"] = opened_at
        rows["warned_at"] = rows["noticed_at"] = np.where(numbers % 2, opened_at, 0)
        rows["deadline"], rows["grace_days"] = opened_at + 30 * DAY, 30
        rows["cause"], rows["state"] = Reason.NEVER_ACTIVATED, State.OPEN
        extent.due_at[:length] = NOON + random.integers(1, 10 * DAY, length)
        cases._extents.append(extent)
    cases._count = count
    for _ in cases._extents:
        cases.file.log_id += 1
        cases.fold()
    cases.close()


def opened(folder: Path) -> tuple[Keeper, float]:
    """Open the cases; return their keeper, and the seconds it took."""
    started = time.perf_counter()
    cases = Cases.open(folder, FileLayer(WRITTEN_BYTES_PER_SECOND_MAX))
    seconds = time.perf_counter() - started
    return Keeper(cases, Outbox(cases), judge_unpaired, settings_without_ceilings()), seconds


def open_new(keeper: Keeper, first: int) -> list[float]:
    """Open cases at a steady rate while an extent is folded; return how long each was not durable, in ms."""
    waits: list[float] = []
    folding: tuple[Folding, Future[None]] | None = None
    with ThreadPoolExecutor(max_workers=1) as thread:
        began = time.perf_counter()
        taken = 0
        while taken < OPENED_PER_SECOND * OPENING_SECONDS:
            time.sleep(max(0.0, began + taken / OPENED_PER_SECOND + GROUP_SECONDS - time.perf_counter()))
            arrived = int((time.perf_counter() - began) * OPENED_PER_SECOND)
            sightings = [
                Sighting(FIRST_KEY + BETWEEN_KEYS * n, FIRST_IMSI + n, NOON)
                for n in range(first + taken, first + arrived)
            ]
            keeper.sighted(sightings)
            keeper.commit()
            durable = time.perf_counter() - began
            waits += [(durable - n / OPENED_PER_SECOND) * 1e3 for n in range(taken, arrived)]
            taken = arrived
            if folding is None and (copy := keeper.cases.begin_fold()):
                folding = copy, thread.submit(copy.write)
            elif folding is not None and folding[1].done():
                keeper.cases.end_fold(folding[0])
                folding = None
    return waits


def resolve(keeper: Keeper, count: int) -> float:
    """Resolve the cases of a delta of pairings; return the seconds it took."""
    rows = keeper.cases.rows_of(range(count))
    keys = np.unique(rows["key"].astype(np.uint64))
    keeper.judge = lambda pairs: [Judged(Reason.OWNER, True)] * len(pairs)
    started = time.perf_counter()
    for at in range(0, len(keys), PART_ROWS):
        keeper.changed(keys[at : at + PART_ROWS], NOON)
        keeper.commit()
    return time.perf_counter() - started


def due_ms(keeper: Keeper, rounds: int) -> list[float]:
    """Look for what is due, in ms: a second after the last time, and with a backlog of days."""
    times = []
    for at in itertools.islice(itertools.chain(range(NOON, NOON + rounds), [NOON + 5 * DAY]), rounds + 1):
        started = time.perf_counter()
        keeper.cases.due(at, DUE_CASES)
        times.append((time.perf_counter() - started) * 1e3)
    return times


def measure(folder: Path) -> dict[str, float]:
    """Measure one process that has the cases of a folder."""
    before = memory_mib("self", "Rss")
    keeper, seconds = opened(folder)
    count = len(keeper.cases)
    out = {"restart, s": seconds, "memory, MiB": memory_mib("self", "Rss") - before}
    out["most memory, MiB"] = memory_mib("self", "VmHWM") - before
    *times, backlog = due_ms(keeper, 20)
    out |= {"due, ms": float(np.median(times)), "due with a backlog, ms": backlog}
    waits = open_new(keeper, count)
    out |= {
        "opening, 99th percentile, ms": float(np.percentile(waits, 99)),
        "opening, longest, ms": max(waits),
    }
    delta = min(DELTA_ROWS, count)
    out[f"resolving {delta:,}, s"] = resolve(keeper, delta)
    return out


def measured(folder: Path) -> dict[str, float]:
    """Measure in a process of its own, with files of its own."""
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="cases-copy-") as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        command = [sys.executable, "-m", "bench.cases", "--measure", copy]
        figures: dict[str, float] = json.loads(subprocess.check_output(command))
        return figures


def main(argv: list[str] | None = None) -> int:
    """Measure the cases of a national network."""
    options = parser("cases", main.__doc__)
    options.add_argument(
        "--measure", type=Path, metavar="FOLDER", help="measure these, and print the figures"
    )
    args = options.parse_args(argv)
    if args.measure:
        print(json.dumps(measure(args.measure)))
        return 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="cases-") as folder:
        say(f"making {args.size:,} cases")
        fill(Path(folder), args.size)
        rounds = [measured(Path(folder)) for _ in range(args.rounds)]
    figures: dict[str, Figure] = {}
    for what in rounds[0]:
        name, _, unit = what.rpartition(", ")
        figures[name] = median([one[what] for one in rounds], unit)
    return publish("cases", args, figures)


if __name__ == "__main__":
    sys.exit(main())
