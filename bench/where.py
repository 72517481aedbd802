"""Where the CPU time of checks goes: samples of the thread that answers them, by the part of the engine.

The kernel's own profiler (Debian's linux-perf) samples the clock, so that
figures are shares of the thread's time, and no more exact than their number.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench import generator
from bench.command import parser, population_of, publish, say
from bench.daemon import Daemon, serving
from bench.datadir import copied, kept
from bench.results import Figure, median

WORKLOADS: dict[str, tuple[str, ...]] = {
    "unary, 4 × 16": ("unary", "--connections", "4", "--in-flight", "16"),
    "unary, 64 × 1": ("unary", "--connections", "64", "--in-flight", "1"),
    "stream": ("stream", "--connections", "4", "--in-flight", "64"),
    "batch of 1,024": ("batch", "--in-flight", "4", "--batch-rows", "1024"),
}
SAMPLES_PER_SECOND = 2_000
SETTLE_SECONDS = 2.0
LOOKUP = "identity, look-up, verdict"
KERNEL, LIBRARIES = "kernel: sockets and epoll", "memory and clock (libraries)"
PARTS = {
    "eir_core::(check|place|shard|generation|facts|hashtable|overlay)": LOOKUP,
    "eir_core::(sampled|filter|cases|policy|identity)": LOOKUP,
    "eir_core::(wire|server::service)": "messages",
    "eir_core::(sightings|counters)|core::hash|sip": "what Python is told",
    "eir_core::server": "HTTP/2",
}
"""Patterns of symbols by part; the first that fits counts."""
OTHER = "not told apart"


def part_of(module: str, symbol: str) -> str:
    """Part of the engine that a symbol belongs to."""
    if "kernel" in module or symbol.startswith("[k]"):
        return KERNEL
    found = next((part for pattern, part in PARTS.items() if re.search(pattern, symbol)), None)
    if found:
        return found
    return OTHER if "_core" in module else LIBRARIES


def shares(report: str) -> dict[str, float]:
    """Percent by part, from lines of `percent module symbol`."""
    counts: Counter[str] = Counter()
    for line in report.splitlines():
        if told := re.match(r"\s*([\d.]+)%\s+(\S+)\s+(\[[k.]\] .+)", line):
            symbol = told[3] if told[3].startswith("[k]") else told[3][4:]
            counts[part_of(told[2], symbol)] += float(told[1])  # type: ignore[assignment]
    total = sum(counts.values()) or 1.0
    return {part: 100 * count / total for part, count in counts.items()}


def check_thread(daemon: Daemon) -> str:
    """Return the id of the thread that answers checks."""
    tasks = Path(f"/proc/{daemon.pid}/task").iterdir()
    return next(task.name for task in tasks if (task / "comm").read_text().startswith("check-"))


def profile(daemon: Daemon, requests: Path, core: int, seconds: float, workload: str) -> dict[str, float]:
    """Sample a workload."""
    mode, *arguments = WORKLOADS[workload]
    run = generator.Run(daemon.check_address, requests, core, seconds + SETTLE_SECONDS + 1, mode, *arguments)
    time.sleep(SETTLE_SECONDS)
    with tempfile.TemporaryDirectory() as folder:
        data = f"{folder}/samples"
        record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(SAMPLES_PER_SECOND), "-o", data]
        record += ["-t", check_thread(daemon), "--", "sleep", str(seconds)]
        subprocess.run(record, check=True, stderr=subprocess.DEVNULL)
        show = ["perf", "report", "-i", data, "--no-children", "--sort", "dso,symbol", "--stdio", "-q"]
        report = subprocess.run(show, check=True, capture_output=True, text=True).stdout
    run.told()
    return shares(report)


def main(argv: list[str] | None = None) -> int:
    """Measure where the time goes."""
    options = parser("where", main.__doc__)
    options.add_argument("--seconds", type=float, default=3, help="of each round")
    args = options.parse_args(argv)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or shutil.which("perf") is None:
        raise SystemExit("it takes two cores and perf (Debian: linux-perf)")
    generator.build()
    population = population_of(args)
    rounds: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        copied(kept(population)) as data_dir,
        serving(data_dir, cores={cores[0]}) as daemon,
    ):
        requests = generator.write_requests(population, Path(folder))
        for _ in range(args.rounds):
            for workload in WORKLOADS:
                told = profile(daemon, requests, cores[1], args.seconds, workload)
                for part in (KERNEL, *dict.fromkeys(PARTS.values()), LIBRARIES, OTHER):
                    rounds.setdefault(f"{workload}: {part}", []).append(told.get(part, 0.0))
                say(f"{workload}: " + ", ".join(f"{part} {share:.0f} %" for part, share in told.items()))
    figures: dict[str, Figure] = {name: median(values, "%") for name, values in rounds.items()}
    return publish("where", args, figures)


if __name__ == "__main__":
    sys.exit(main())
