"""Latency of unary checks in the open loop: at rest, and while a delta is applied and segments are rebuilt.

The daemon, its writer and the process that rebuilds share one core, the
generator has the other; the registry that pushes is niced. Latencies count from
when each check was due. While the tables change, what is measured begins before
the delta's header and ends with its acknowledgement; segments are rebuilt all
the time.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from bench import generator
from bench.command import parser, population_of, publish, say
from bench.daemon import NO_REBUILD, Daemon, channel, serving
from bench.datadir import copied, kept
from bench.generator import LATENCIES
from bench.publish_latency import Registry
from bench.report import size
from bench.results import Figure, median
from bench.rpc import enforcement_of
from eir.proto import enforcement_pb2

RATE = 20_000
CONNECTIONS = 4
ROWS = 5_000_000
CHANGE_SECONDS_MAX = 300
AT_REST = "at rest"
REGISTRY_NICE = 19
"""It stands for another machine. By a trace, niced by 10 it delayed checks as the daemon's threads did."""

TAKEN = "taken"
"""Of what is told of a round: seconds that the host kept the processors meanwhile."""

_registries: list[Registry] = []
"""The registry, in the process that is it."""


@contextmanager
def rebuilding(daemon: Daemon) -> Iterator[None]:
    """Rebuild all segments, again and again, during the block; the last is left to the daemon."""
    ended, failed = threading.Event(), list[Exception]()

    def rebuild() -> None:
        with channel(daemon.manage_address) as one:
            while not ended.is_set():
                try:
                    enforcement_of(one).RebuildSegments(enforcement_pb2.RebuildSegmentsRequest(all=True))
                except grpc.RpcError as error:
                    if not ended.is_set():
                        failed.append(error)
                    return

    threading.Thread(target=rebuild, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
    if failed:
        raise failed[0]


def taken_seconds() -> float:
    """Seconds that the host of a virtual machine has kept its processors, all together (proc(5), `steal`)."""
    return int(Path("/proc/stat").read_text().split(maxsplit=9)[8]) / os.sysconf("SC_CLK_TCK")


class Load:
    """The generator against a daemon."""

    def __init__(self, daemon: Daemon, requests: Path, core: int) -> None:
        """Take where checks go, and the core of the generator."""
        self._daemon, self._requests, self._core = daemon, requests, core

    def _run(self, seconds: float, *more: str) -> generator.Run:
        arguments: tuple[str | int, ...] = ("--connections", CONNECTIONS, "--rate", RATE, *more)
        return generator.Run(
            self._daemon.check_address, self._requests, self._core, seconds, "unary", *arguments
        )

    def at_rest(self, seconds: float) -> dict[str, Any]:
        """Ask while nothing else happens."""
        before = taken_seconds()
        return self._run(seconds).told() | {TAKEN: taken_seconds() - before}

    def while_applied(self, registry: Executor) -> tuple[dict[str, Any], float]:
        """Ask while a bulk delta is applied; with the seconds that it took."""
        run = self._run(CHANGE_SECONDS_MAX, "--until", "input-ends")
        time.sleep(2 * generator.WARMUP_SECONDS)  # it reads its checks, and warms up
        before = taken_seconds()
        took = registry.submit(_bulk, self._daemon.manage_address).result()
        run.stop()
        return run.told() | {TAKEN: taken_seconds() - before}, took


def _begin_registry(core: int, *what: Any) -> None:
    """Be the registry: on a core, niced; the generator, which is a child of the first process, is not."""
    os.sched_setaffinity(0, {core})
    os.nice(REGISTRY_NICE)
    _registries.append(Registry(*what))


def registry_of(core: int, *what: Any) -> Executor:
    """Make the process of a registry; `what` is what a `Registry` takes."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, context, _begin_registry, (core, *what))


def _bulk(address: str) -> float:
    """Push the next bulk delta, as the registry; the seconds that it took."""
    with channel(address) as manage:
        began = time.perf_counter()
        _registries[0].bulk(manage, threading.Event())
        return time.perf_counter() - began


def figures_of(what: str, rounds: list[dict[str, Any]]) -> dict[str, Figure]:
    """Figures of the rounds of a phase."""
    out = {
        f"{what}: {name}": median([one["quantiles_us"][name] for one in rounds], "µs") for name in LATENCIES
    }
    late = [one["sent_late_us"]["p99"] for one in rounds]
    failed = sum(sum(one["failed"].values()) + one["unanswered"] for one in rounds)
    return out | {
        f"{what}: the generator's own delay, p99": median(late, "µs"),
        f"{what}: not answered": Figure(failed, "checks"),
        f"{what}: processors taken by the host": median([one[TAKEN] for one in rounds], "s"),
    }


def main(argv: list[str] | None = None) -> int:
    """Measure latencies at a fixed rate."""
    options = parser("under_load", main.__doc__)
    options.add_argument("--seconds", type=float, default=10, help="of each round at rest")
    args = options.parse_args(argv)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("it takes two cores")
    generator.build()
    population = population_of(args)
    rows = min(ROWS, population.registered // 4)
    changing = f"{size(rows)} rows applied, segments rebuilt"
    phases: dict[str, list[dict[str, Any]]] = {AT_REST: [], changing: []}
    applied: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        copied(kept(population)) as data_dir,
        serving(data_dir, cores={cores[0]}, settings=NO_REBUILD) as daemon,
    ):
        os.sched_setaffinity(0, {cores[0]})
        load = Load(daemon, generator.write_requests(population, Path(folder)), cores[1])
        for _ in range(args.rounds):
            phases[AT_REST].append(load.at_rest(args.seconds))
        with registry_of(cores[0], daemon, population, rows) as registry, rebuilding(daemon):
            registry.submit(os.getpid).result()  # it makes its rows before anything is measured
            for _ in range(args.rounds):
                told, took = load.while_applied(registry)
                phases[changing].append(told)
                applied.append(took)
                say(f"{rows:,} rows in {took:.1f} s: {told['quantiles_us']}")
    figures: dict[str, Figure] = {}
    for what, rounds in phases.items():
        figures |= figures_of(f"{RATE:,}/s, {what}", rounds)
    figures["the delta, from its header to its acknowledgement"] = median(applied, "s")
    return publish("under_load", args, figures)


if __name__ == "__main__":
    sys.exit(main())
