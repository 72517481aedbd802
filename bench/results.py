"""Saved results: one JSON line a run in bench/results.jsonl, and nothing else is published.

    figures ──save──► results.jsonl ──load──► report

Each line has the commit, the machine and the versions it was measured with.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from eir import __version__, native
from eir.errors import EngineUnavailableError

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).with_name("results.jsonl")
PACKAGES = ("numpy", "grpcio", "protobuf", "uvloop")


class Figure(NamedTuple):
    """A measured value with its unit; where it is a median, the values it is of."""

    value: float
    unit: str
    of: tuple[float, ...] = ()


@dataclass(frozen=True)
class Result:
    """One run of a benchmark on a population of a size; date in UTC, RFC 3339."""

    bench: str
    population: str
    registered: int
    commit: str
    date: str
    machine: dict[str, str | int]
    versions: dict[str, str]
    figures: dict[str, Figure]


def median(values: Sequence[float], unit: str) -> Figure:
    """Median of the rounds of a measurement, which are kept beside it."""
    return Figure(statistics.median(values), unit, tuple(values))


def save(
    bench: str,
    population: str,
    registered: int,
    figures: Mapping[str, Figure],
    path: Path = RESULTS,
    more_versions: Mapping[str, str] | None = None,
) -> Result:
    """Append a run to the saved results, with where and when it ran, and what else took part."""
    result = Result(
        bench=bench,
        population=population,
        registered=registered,
        commit=commit(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        versions=versions() | dict(more_versions or {}),
        figures=dict(figures),
    )
    line = asdict(result)
    line["figures"] = {
        name: {key: value for key, value in figure._asdict().items() if value != ()}
        for name, figure in figures.items()
    }
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
    return result


def load(path: Path = RESULTS) -> list[Result]:
    """Read saved results in the order they were saved; none where there is no file."""
    results = []
    for text in path.read_text().splitlines() if path.exists() else ():
        line = json.loads(text)
        figures = line.pop("figures").items()
        line["figures"] = {
            name: Figure(one["value"], one["unit"], tuple(one.get("of", ()))) for name, one in figures
        }
        results.append(Result(**line))
    return results


def commit() -> str:
    """Commit of the working tree, marked where it is changed besides saved results; empty outside git."""

    def git(*args: str) -> str:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(ROOT), *args],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip()

    changed = git(
        "status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results.jsonl", ":!docs"
    )
    return git("rev-parse", "--short=12", "HEAD") + ("-changed" if changed else "")


def machine() -> dict[str, str | int]:
    """Describe what it ran on: processor, cores, memory in GiB, kernel."""
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(pages / 2**30),
        "kernel": platform.release(),
    }


def versions() -> dict[str, str]:
    """Versions of what the figures depend on."""
    packages = {package: version(package) for package in PACKAGES}
    return {"eir": __version__, "engine": engine(), "python": platform.python_version()} | packages


def engine() -> str:
    """Return the engine that daemons run here, and what it was built from."""
    try:
        return f"native {native.load().BUILD_ID}"
    except EngineUnavailableError:
        return "portable"
