"""Rows a second of `eir import`, and the memory it takes: reading alone, and whole imports by one core."""

from __future__ import annotations

import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.command import parser, population_of, publish, say
from bench.datadir import FOLDER, copied, kept
from bench.results import Figure, median
from eir.lists import present
from eir.lists.clash import settle
from eir.lists.formats import FORMATS, read_header
from eir.lists.open import opened
from eir.lists.parse import Parser
from eir.lists.run import UID_LISTS
from eir.whitelist import view
from eir.whitelist.rows import U64

READ_ROWS = 1_000_000
PART_ROWS = 1 << 20
NEW_ROWS = 5_000_000
"""Rows of a list of which the tables have none, at most."""
WHAT = {
    "": "full, none there",
    "add": "delta, all added",
    "update": "delta, all with another number",
    "remove": "delta, all removed",
}
CHANGED_EVERY = 1_000
"""One row of so many is left out of a list, and as many new ones are added."""
MIB = 1 << 20
SAMPLES = {
    "approved_imei": "{imei}",
    "make": "Sample",
    "model": "Phone 7 of 2026",
    "status": "whitelist",
    "model_number": "SP-7",
    "brand_name": "Sample",
    "device_type": "smartphone",
    "radio_interface": "LTE",
    "device_id": "D{number}",
    "imei": "{imei}",
    "imsi": "{imsi}",
    "msisdn": "989{number}",
    "reporting_date": "20260301",
    "tac": "{tac}",
    "uid": "ID-{number}",
    "language": "fa",
}
WIDTHS = {"imei": 14, "imsi": 15, "number": 9, "tac": 8}


def lines(template: str, columns: dict[str, U64]) -> bytes:
    """Write rows of one width: a template with places for numbers, and the numbers."""
    count = len(next(iter(columns.values())))
    for name, width in WIDTHS.items():
        template = template.replace(
            "{" + name + "}", {"imei": "\1", "imsi": "\2", "number": "\3", "tac": "\4"}[name] * width
        )
    row = np.frombuffer(template.encode(), np.uint8)
    out = np.repeat(row[None, :], count, axis=0)
    for code, (name, width) in enumerate(WIDTHS.items(), 1):
        places = np.flatnonzero(row == code)
        for first in range(0, len(places), width):
            rest = columns[name].copy()
            for place in reversed(places[first : first + width].tolist()):
                rest, digit = np.divmod(rest, np.uint64(10))
                out[:, place] = digit.astype(np.uint8) + 48
    return out.tobytes()


def write(path: Path, kind: str, parts: Iterator[tuple[U64, U64]], change: str = "") -> int:
    """Write a list of IMEIs and IMSIs (numbers of 15 digits), a delta where rows change; returns its rows."""
    samples = SAMPLES | {"change_type": change} | ({"status": "blacklist"} if kind == "stolen" else {})
    if change == "update":
        samples["msisdn"] = "988{number}"
    names = [column.name for column in FORMATS[kind].columns] + ["change_type"] * bool(change)
    template = ",".join(samples[name] for name in names) + "\n"
    count = 0
    with path.open("wb") as file:
        file.write((",".join(names) + "\n").encode())
        for imei, imsi in parts:
            number = np.arange(count, count + len(imei), dtype=np.uint64)
            file.write(
                lines(template, {"imei": imei, "imsi": imsi, "number": number, "tac": number + np.uint64(1)})
            )
            count += len(imei)
    return count


def numbered(count: int) -> Iterator[tuple[U64, U64]]:
    """IMEIs and IMSIs one after the other."""
    for start in range(0, count, PART_ROWS):
        step = np.arange(start, min(start + PART_ROWS, count), dtype=np.uint64)
        yield step + np.uint64(35_000_000_000_000), step + np.uint64(432_110_000_000_000)


def held(data_dir: Path, *, paired: bool) -> Iterator[tuple[U64, U64]]:
    """IMEIs of a registry with their owners, but for one of CHANGED_EVERY, which is another one."""
    generation = view.read(data_dir).generation
    for span in present.spans(generation):
        if paired:
            have = present.paired(span.rows)
            alone = have.utilizers.counts() == 0
            keys, imsi = have.keys[alone], have.owner[alone] - np.uint64(10**15)
        else:
            keys = present.registered(span.rows)
            imsi = keys
        changed = np.arange(0, len(keys), CHANGED_EVERY)
        imsi[changed] = np.uint64(432_990_000_000_000) + changed.astype(np.uint64)
        if not paired:
            keys = np.delete(keys, changed)
            imsi = keys
        for start in range(0, len(keys), PART_ROWS):
            yield keys[start : start + PART_ROWS], imsi[start : start + PART_ROWS]


def reading(path: Path, rounds: int) -> Figure:
    """Thousand rows a second of CPU, from the file to a settled list."""
    out = []
    for _ in range(rounds):
        started = time.process_time()
        with opened(str(path)) as file:
            given = Parser(read_header(file.header.decode().split(",")))
            for block in file.blocks:
                given.take(block.data)
        listed = given.finish()
        count = listed.row_count
        settle(listed, given.report)
        assert not given.report.fault_count
        out.append(count / (time.process_time() - started) / 1000)
    return median(out, "k rows/s of CPU time")


class Imported(NamedTuple):
    """One import: thousand rows a second, by the clock and by CPU time of all its processes; peak MiB."""

    rate: float
    cpu_rate: float
    mib: float


def importing(path: Path, data_dir: Path, count: int) -> Imported:
    """Import in a process of its own, on one core."""
    command = [
        sys.executable,
        "-m",
        "eir",
        "import",
        str(path),
        "--data-dir",
        str(data_dir),
        "--json",
        "--create",
    ]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("EIR_")}
    environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode: not all starts compile
    before = os.sched_getaffinity(0)
    started = time.monotonic()
    os.sched_setaffinity(0, {min(before)})
    try:
        child = subprocess.Popen([*command, "--override"], env=environ, stdout=subprocess.PIPE)
    finally:
        os.sched_setaffinity(0, before)
    assert child.stdout
    said = json.loads(child.stdout.read())
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, said
    assert not said[0]["refused"]
    assert said[0]["row_count"] == count
    seconds, cpu = time.monotonic() - started, usage.ru_utime + usage.ru_stime
    return Imported(count / seconds / 1000, count / cpu / 1000, usage.ru_maxrss * 1024 / MIB)


def figures_of(label: str, rounds: list[Imported]) -> dict[str, Figure]:
    """Return what was measured of one case."""
    return {
        label: median([one.rate for one in rounds], "k rows/s"),
        f"{label}: by CPU time": median([one.cpu_rate for one in rounds], "k rows/s of CPU time"),
        f"{label}: memory at most": Figure(max(one.mib for one in rounds), "MiB"),
    }


def coming_and_going(folder: Path, kind: str, count: int, rounds: int) -> dict[str, Figure]:
    """Import lists of which nothing is there, full and delta, and the delta that takes all of it back."""
    out: dict[str, list[Imported]] = {}
    path = folder / f"{kind}.csv"
    for _ in range(rounds):
        for changes in (("",), ("add", "update", "remove") if kind == "numbers" else ("add", "remove")):
            with tempfile.TemporaryDirectory(dir=folder) as name:
                data_dir = Path(name) / "data"
                if kind in UID_LISTS:  # pairs follow where both lists are there
                    (other,) = set(UID_LISTS) - {kind}
                    importing(path, data_dir, write(path, other, numbered(count)))
                for change in changes:
                    rows = write(path, kind, numbered(count), change)
                    label = f"{kind}, {WHAT[change]}, {rows:,} rows"
                    out.setdefault(label, []).append(one := importing(path, data_dir, rows))
                    say(f"{label}: {one.rate:.0f} k rows/s, {one.cpu_rate:.0f} of CPU, {one.mib:,.0f} MiB")
    path.unlink()
    return {name: figure for label, many in out.items() for name, figure in figures_of(label, many).items()}


def packed(path: Path, how: str) -> Path:
    """Compress a file."""
    if how == "gzip":
        made = path.with_suffix(".csv.gz")
        with path.open("rb") as source, gzip.open(made, "wb", compresslevel=6) as target:
            while part := source.read(MIB):
                target.write(part)
        return made
    from backports import zstd

    made = path.with_suffix(".csv.zst")
    with path.open("rb") as source, zstd.open(made, "wb", level=3) as target:
        while part := source.read(MIB):
            target.write(part)
    return made


def main(argv: list[str] | None = None) -> int:
    """Measure reading lists, and importing them: known rows, new rows, full and delta."""
    options = parser("import_lists", main.__doc__)
    options.add_argument("--new-rows", type=int, default=NEW_ROWS, help="of lists of which nothing is there")
    args = options.parse_args(argv)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    population = population_of(args)
    figures: dict[str, Figure] = {}
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="lists-") as name:
        folder = Path(name)
        for kind in FORMATS:
            path = folder / f"{kind}.csv"
            write(path, kind, numbered(READ_ROWS))
            figures[f"reading {kind}"] = reading(path, args.rounds)
            say(f"{kind}: {figures[f'reading {kind}'].value:.0f} k rows/s")
            if kind == "registration":
                for how in ("gzip", "zstd"):
                    figures[f"reading {kind}, {how}"] = reading(packed(path, how), args.rounds)
            path.unlink()
        source = kept(population)
        cases: tuple[tuple[str, str, bool], ...] = (
            ("registration", "full, 0.1 % left out", False),
            ("pairing", "full, 0.1 % with another SIM", True),
        )
        for kind, what, paired in cases:
            path = folder / f"{kind}.csv"
            count = write(path, kind, held(source, paired=paired))
            say(f"{kind}: {count:,} rows, {path.stat().st_size / MIB:,.0f} MiB")
            rounds = []
            for _ in range(args.rounds):
                with copied(source) as data_dir:
                    rounds.append(importing(path, data_dir, count))
                    say(f"{kind}: {rounds[-1].rate:.0f} k rows/s, {rounds[-1].mib:,.0f} MiB")
            figures |= figures_of(f"{kind}, {what}, {count:,} rows", rounds)
            path.unlink()
        for kind in FORMATS:
            figures |= coming_and_going(folder, kind, min(population.registered, args.new_rows), args.rounds)
    return publish("import_lists", args, figures)


if __name__ == "__main__":
    sys.exit(main())
