"""Two threads of the check server against one: checks a second, and the server's CPU time per check.

Each server thread shares a core with a generator of its own, so that two of
both have twice the machine of one of both: closed loop, unary, 4 × 16 each.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import generator
from bench.command import parser, population_of, publish, say
from bench.daemon import Daemon, serving
from bench.datadir import copied, kept
from bench.results import Figure, median

CONNECTIONS, IN_FLIGHT = 4, 16
ONE, TWO = "one thread", "two threads"


def measure(daemon: Daemon, requests: Path, cores: Sequence[int], seconds: float) -> tuple[float, float]:
    """Ask from every core: checks a second of all together, the server's CPU seconds per check."""
    before = daemon.cpu_seconds()
    shape = ("--connections", CONNECTIONS, "--in-flight", IN_FLIGHT)
    runs = [generator.Run(daemon.check_address, requests, core, seconds, "unary", *shape) for core in cores]
    told = [run.told() for run in runs]
    cpu = (daemon.cpu_seconds() - before) / sum(map(generator.checks_of, told))
    return sum(one["checks_per_second"] for one in told), cpu


def main(argv: list[str] | None = None) -> int:
    """Measure one and two threads in turns."""
    options = parser("threads", main.__doc__)
    options.add_argument("--seconds", type=float, default=5, help="of each round")
    args = options.parse_args(argv)
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise SystemExit("it takes two cores")
    generator.build()
    population = population_of(args)
    rates: dict[str, list[float]] = {ONE: [], TWO: []}
    cpus: dict[str, list[float]] = {ONE: [], TWO: []}
    with (
        tempfile.TemporaryDirectory() as folder,
        copied(kept(population)) as first_dir,
        copied(kept(population)) as second_dir,
        serving(first_dir, cores={cores[0]}, settings={"EIR_LIMITS__CHECK_THREADS": "1"}) as one,
        serving(second_dir, cores=set(cores), settings={"EIR_LIMITS__CHECK_THREADS": "2"}) as two,
    ):
        requests = generator.write_requests(population, Path(folder))
        for _ in range(args.rounds):
            for name, daemon, used in ((ONE, one, cores[:1]), (TWO, two, cores)):
                rate, cpu = measure(daemon, requests, used, args.seconds)
                rates[name].append(rate)
                cpus[name].append(cpu * 1e6)
                say(f"{name}: {rate:,.0f}/s, {cpu * 1e6:.2f} µs of CPU per check")
    figures: dict[str, Figure] = {}
    for name in (ONE, TWO):
        figures[f"{name}: rate"] = median(rates[name], "checks/s")
        figures[f"{name}: CPU"] = median(cpus[name], "µs per check")
    by_rate = [two / one for one, two in zip(rates[ONE], rates[TWO], strict=True)]
    by_cpu = [2 * one / two for one, two in zip(cpus[ONE], cpus[TWO], strict=True)]
    figures["two against one, by rate"] = median(by_rate, "times")
    figures["two against one, by CPU time"] = median(by_cpu, "times")
    return publish("threads", args, figures)


if __name__ == "__main__":
    sys.exit(main())
