"""The engines beside other servers of the same check: Go gRPC, C++ gRPC, and bare nghttp2 as the limit.

    each server on one core ◄── h2load (closed loop) and our generator (the rest) on another

Servers take turns, so that what the machine does meanwhile falls on all of them
alike. Peers answer from a hash map of the same pairs; the limit answers a
constant. They are built from bench/peers and bench/loadgen (Debian's packages,
cargo); what cannot be built is named and left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bench import generator
from bench.check_throughput import BATCH_ROWS, SAMPLE, SHAPES, closed_loop, verify
from bench.checks import Checks
from bench.command import parser, population_of, publish, say
from bench.daemon import Daemon, channel, process_serving, serving
from bench.datadir import copied, kept, kept_pairs
from bench.generator import LATENCIES
from bench.peer_report import PEERS, figure_name
from bench.population import CheckClass, Population
from bench.results import RESULTS, Figure, median
from bench.rpc import checks_of
from eir.proto import check_pb2

ENGINES = ("portable", "native")
OPEN_RATE = 20_000
STREAMS, STREAM_IN_FLIGHT, BATCHES_IN_FLIGHT = 4, 64, 4
MICROSECONDS = 1e6
ATTEMPTED_SHARE_MIN = 0.99
"""An open loop that answers less than this share of what was due is no figure of latency."""


@dataclass(frozen=True)
class Server:
    """A server that runs: an engine or a peer."""

    name: str
    daemon: Daemon
    version: str = ""


class Setting(NamedTuple):
    """What all measurements share."""

    requests: Path
    owner: check_pb2.CheckEquipmentRequest
    seconds: float
    core: int
    folder: Path


@contextmanager
def servers(names: Sequence[str], population: Population, cores: set[int]) -> Iterator[list[Server]]:
    """Run servers until the end of the block."""
    programs = {"Go gRPC": "server-go", "C++ gRPC": "server-cpp", "nghttp2": "limit"}
    with ExitStack() as stack:
        out = []
        for name in names:
            if name in ENGINES:
                own = stack.enter_context(copied(kept(population)))
                running = serving(own, cores=cores, settings={"EIR_ENGINE": name})
                out.append(Server(name, stack.enter_context(running)))
                continue
            program = generator.BUILD / programs[name]
            if not program.exists():
                continue
            command = [str(program), "{port}"]
            if name != "nghttp2":
                command.append(str(kept_pairs(population)))
            daemon, said = stack.enter_context(process_serving(command, cores=cores))
            out.append(Server(name, daemon, said))
        yield out


def generate(server: Server, setting: Setting, mode: str, *arguments: str | int) -> dict[str, Any]:
    """Run the generator; returns what it says, with the server's CPU seconds per check."""
    before = server.daemon.cpu_seconds()
    run = generator.Run(
        server.daemon.check_address, setting.requests, setting.core, setting.seconds, mode, *arguments
    )
    told = run.told()
    told["cpu_seconds"] = (server.daemon.cpu_seconds() - before) / generator.checks_of(told)
    return told


def unary(server: Server, setting: Setting, shape: tuple[int, int]) -> dict[str, Figure]:
    """Repeat a check in a closed loop by h2load."""
    rate, cpu = closed_loop(server.daemon, setting.owner, shape, setting.seconds, setting.folder)
    return rate_and_cpu(rate, cpu)


def unary_by_generator(server: Server, setting: Setting, shape: tuple[int, int]) -> dict[str, Figure]:
    """Do it by our generator: its rates beside h2load's say how far to trust it."""
    told = generate(server, setting, "unary", "--connections", shape[0], "--in-flight", shape[1])
    return rate_and_cpu(told["checks_per_second"], told["cpu_seconds"])


def stream(server: Server, setting: Setting) -> dict[str, Figure]:
    """Pipelined streams, one a connection."""
    told = generate(server, setting, "stream", "--connections", STREAMS, "--in-flight", STREAM_IN_FLIGHT)
    return rate_and_cpu(told["checks_per_second"], told["cpu_seconds"])


def batch(server: Server, setting: Setting) -> dict[str, Figure]:
    """Batches, a few in flight on one connection."""
    told = generate(server, setting, "batch", "--in-flight", BATCHES_IN_FLIGHT, "--batch-rows", BATCH_ROWS)
    return rate_and_cpu(told["checks_per_second"], told["cpu_seconds"])


def open_loop(server: Server, setting: Setting) -> dict[str, Figure]:
    """Unary at a fixed rate; latencies from when each was due, CPU time per check."""
    told = generate(server, setting, "unary", "--connections", 4, "--rate", OPEN_RATE)
    if told["failed"] or told["answered"] < ATTEMPTED_SHARE_MIN * OPEN_RATE * setting.seconds:
        rate = told["answered"] / setting.seconds
        say(f"{server.name} answers {rate:,.0f}/s of {OPEN_RATE:,}/s; failed: {told['failed']}")
        return {}
    reached = told["quantiles_us"]
    latencies = {name: Figure(reached[name], "µs") for name in LATENCIES}
    return latencies | {"CPU": Figure(told["cpu_seconds"] * MICROSECONDS, "µs per check")}


def rate_and_cpu(rate: float, cpu_seconds: float) -> dict[str, Figure]:
    """Figures of a closed loop."""
    return {
        "rate": Figure(rate, "checks/s"),
        "CPU": Figure(cpu_seconds * MICROSECONDS, "µs per check"),
    }


WORKLOADS: dict[str, Callable[[Server, Setting], dict[str, Figure]]] = {
    **{f"unary, {one[0]} × {one[1]}": partial(unary, shape=one) for one in SHAPES},
    **{
        f"unary, {one[0]} × {one[1]}, our generator": partial(unary_by_generator, shape=one) for one in SHAPES
    },
    "stream": stream,
    f"batch of {BATCH_ROWS:,}": batch,
    f"open loop, {OPEN_RATE:,}/s": open_loop,
}
LIMIT_LEAVES_OUT = ("stream", f"batch of {BATCH_ROWS:,}")
"""The limit answers one message a call, and does not look into it."""


def verify_peer(daemon: Daemon, checks: Checks) -> None:
    """Raise RuntimeError where a peer, which knows owners only, does not find them."""
    owner = [row for row, cls in enumerate(checks.expected) if cls == CheckClass.MATCH][:100]
    with channel(daemon.check_address) as one:
        ask = checks_of(one).CheckEquipment
        requests = checks.requests()
        for row in owner:
            if ask(requests[row]).reason != check_pb2.VERDICT_REASON_OWNER:
                raise RuntimeError(f"{daemon.check_address} does not know the pairs")


def measure(
    running: Sequence[Server], setting: Setting, rounds: int, workloads: str
) -> dict[str, list[Figure]]:
    """All workloads of which the name has something in it, on all servers, in turns."""
    out: dict[str, list[Figure]] = {}
    chosen = {name: run for name, run in WORKLOADS.items() if workloads in name}
    for _ in range(rounds):
        for workload, run in chosen.items():
            for server in running:
                if server.name == "nghttp2" and workload in LIMIT_LEAVES_OUT:
                    continue
                told = run(server, setting)
                for name, figure in told.items():
                    out.setdefault(figure_name(workload, server.name, name), []).append(figure)
                shown = ", ".join(f"{name} {one.value:,.2f} {one.unit}" for name, one in told.items())
                say(f"{workload}, {server.name}: {shown}")
    return out


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    options = parser("peers", main.__doc__)
    options.add_argument("--seconds", type=float, default=3, help="of each round")
    options.add_argument("--servers", default=",".join(PEERS), help="names, with commas")
    options.add_argument("--workloads", default="", help="only those that have this in their name")
    args = options.parse_args(argv)
    args.servers = args.servers.split(",")
    if args.workloads and args.out == RESULTS:
        options.error("with --workloads, say --out FILE: the page of results shows the last run alone")
    if unknown := sorted(set(args.servers) - set(PEERS)):
        options.error(f"there is no {', '.join(unknown)}")
    return args


def main(argv: list[str] | None = None) -> int:
    """Measure engines and peers beside each other."""
    args = _arguments(argv)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("it takes two cores")
    if shutil.which("h2load") is None:
        raise SystemExit("it takes h2load (Debian: nghttp2-client)")
    generator.build("limit", "server-go", "server-cpp")
    population = population_of(args)
    checks = Checks.sample(population, SAMPLE, seed=3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        requests = generator.write_requests(population, folder)
        owner = checks.requests()[checks.expected.index(CheckClass.MATCH)]
        setting = Setting(requests, owner, args.seconds, cores[1], folder)
        with servers(args.servers, population, {cores[0]}) as running:
            os.sched_setaffinity(0, {cores[1]})
            for server in running:
                if server.name in ENGINES:
                    verify(server.daemon, checks)
                elif server.name != "nghttp2":
                    verify_peer(server.daemon, checks)
            rounds = measure(running, setting, args.rounds, args.workloads)
            versions = {server.name: server.version for server in running if server.version}
    figures = {
        name: median([one.value for one in many], many[0].unit)
        for name, many in rounds.items()
        if len(many) == args.rounds
    }
    return publish("peers", args, figures, versions)


if __name__ == "__main__":
    sys.exit(main())
