"""Checks a second over the wire, the daemon on one core, what asks on another.

    unary: h2load, closed loop, one request repeated     stream, batch: a gRPC client, many requests

CPU time of the daemon is told beside each rate. h2load is Debian's nghttp2-client.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np

from bench.checks import BATCH, STREAM, UNARY, Checks
from bench.command import parser, population_of, publish, say
from bench.daemon import Daemon, channel, serving
from bench.datadir import copied, kept
from bench.population import CheckClass
from bench.results import Figure, median
from bench.rpc import checks_of
from eir.proto import check_pb2

SHAPES = ((4, 16), (64, 1))
"""Connections, and calls in flight on each."""
STREAM_IN_FLIGHT = 64
BATCH_ROWS = 1_024
BATCHES_IN_FLIGHT = 4
SAMPLE = 20_000
VERIFIED_BATCHES = 4
CALIBRATION_CALLS = 1_000
CALIBRATION_SECONDS = 0.25
CALIBRATION_GROWTH = 4
MILLISECONDS = 1e3


class Round(NamedTuple):
    """One round: checks a second, the daemon's CPU time a check, latency of a call."""

    rate: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


def h2load(daemon: Daemon, folder: Path, count: int, shape: tuple[int, int], *, log: bool) -> str:
    """Send one framed request so many times; returns what h2load says. Latencies go to a log if wanted."""
    command = ["h2load", "-n", str(count), "-c", str(shape[0]), "-m", str(shape[1]), "-t", "1"]
    command += ["-d", str(folder / "request"), "-H", "content-type: application/grpc", "-H", "te: trailers"]
    command += [f"--log-file={folder / 'log'}"] * log
    (folder / "log").unlink(missing_ok=True)
    command += [f"http://{daemon.check_address}{UNARY}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def closed_loop(
    daemon: Daemon,
    request: check_pb2.CheckEquipmentRequest,
    shape: tuple[int, int],
    seconds: float,
    folder: Path,
    *,
    log: bool = False,
) -> tuple[float, float]:
    """Repeat one unary check about as long as wanted: checks a second, the server's CPU seconds a check."""
    payload = request.SerializeToString()
    with channel(daemon.check_address) as one:
        answer = checks_of(one).CheckEquipment(request).ByteSize()
    (folder / "request").write_bytes(struct.pack(">BI", 0, len(payload)) + payload)
    count, took = CALIBRATION_CALLS, 0.0
    while took < CALIBRATION_SECONDS:
        count = int(count * CALIBRATION_GROWTH) if took else count
        began = time.perf_counter()
        h2load(daemon, folder, count, shape, log=False)
        took = time.perf_counter() - began
    count = max(int(count * seconds / took), CALIBRATION_CALLS)
    cpu_before = daemon.cpu_seconds()
    told = h2load(daemon, folder, count, shape, log=log)
    cpu = daemon.cpu_seconds() - cpu_before
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", told)
    answered = re.search(r"status codes: (\d+) 2xx", told)
    data = re.search(r"\((\d+)\) data", told)
    # A call that ends in an error has no message: its trailers are all there is.
    if not (rate and answered and data) or int(answered[1]) < count or int(data[1]) < count * answer:
        raise RuntimeError(f"not every check was answered:\n{told}")
    return float(rate[1]), cpu / count


def unary(
    daemon: Daemon, request: check_pb2.CheckEquipmentRequest, shape: tuple[int, int], seconds: float
) -> Round:
    """Repeat one unary check in a closed loop, with the latencies."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rate, cpu_seconds = closed_loop(daemon, request, shape, seconds, folder, log=True)
        latencies = (np.loadtxt(folder / "log", usecols=2) / MILLISECONDS).tolist()
    return _round(rate, cpu_seconds, latencies)


def _round(rate: float, cpu_seconds: float, latencies_ms: Sequence[float]) -> Round:
    p50, p99 = np.percentile(latencies_ms, (50, 99))
    return Round(rate, cpu_seconds * 1e6, float(p50), float(p99))


def stream(daemon: Daemon, requests: Sequence[bytes], seconds: float) -> Round:
    """Keep a stream full, as many requests in flight as the daemon reads ahead."""
    room, sent, latencies = threading.Semaphore(STREAM_IN_FLIGHT), deque[float](), list[float]()
    cpu_before, started = daemon.cpu_seconds(), time.perf_counter()

    def pipeline() -> Iterator[bytes]:
        for request in cycle(requests):
            room.acquire()
            now = time.perf_counter()
            if now - started > seconds:
                return
            sent.append(now)
            yield request

    with channel(daemon.check_address) as one:
        call: grpc.StreamStreamMultiCallable[bytes, bytes] = one.stream_stream(STREAM)
        for _ in call(pipeline()):
            latencies.append((time.perf_counter() - sent.popleft()) * MILLISECONDS)
            room.release()
    took = time.perf_counter() - started
    return _round(len(latencies) / took, (daemon.cpu_seconds() - cpu_before) / len(latencies), latencies)


def batch(daemon: Daemon, requests: Sequence[bytes], seconds: float) -> Round:
    """Keep a few batches in flight."""
    latencies: list[float] = []
    cpu_before, started = daemon.cpu_seconds(), time.perf_counter()
    flying: deque[tuple[float, Callable[[], object]]] = deque()
    with channel(daemon.check_address) as one:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = one.unary_unary(BATCH)
        for request in cycle(requests):
            if time.perf_counter() - started < seconds:
                flying.append((time.perf_counter(), call.future(request).result))
            if not flying:
                break
            if len(flying) >= BATCHES_IN_FLIGHT or time.perf_counter() - started >= seconds:
                sent, result = flying.popleft()
                result()
                latencies.append((time.perf_counter() - sent) * MILLISECONDS)
    checks, took = len(latencies) * BATCH_ROWS, time.perf_counter() - started
    return _round(checks / took, (daemon.cpu_seconds() - cpu_before) / checks, latencies)


def verify(daemon: Daemon, checks: Checks) -> None:
    """Raise RuntimeError where the daemon's answers are not what the population says."""
    with channel(daemon.check_address) as one:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = one.unary_unary(BATCH)
        answers = [call(request) for request in checks.batches(BATCH_ROWS)[:VERIFIED_BATCHES]]
    parse = check_pb2.BatchCheckEquipmentResponse.FromString
    checks.verify([reason for answer in answers for reason in parse(answer).reason])


def main(argv: list[str] | None = None) -> int:
    """Measure checks over gRPC."""
    options = parser("check_throughput", main.__doc__)
    options.add_argument("--seconds", type=float, default=5, help="of each round")
    args = options.parse_args(argv)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or shutil.which("h2load") is None:
        raise SystemExit("it takes two cores and h2load (Debian: nghttp2-client)")
    population = population_of(args)
    checks = Checks.sample(population, SAMPLE, seed=3)
    requests = checks.requests()
    framed = [check_pb2.StreamCheckEquipmentRequest(check=one).SerializeToString() for one in requests]
    batches = checks.batches(BATCH_ROWS)
    owner = requests[checks.expected.index(CheckClass.MATCH)]
    kinds: dict[str, Callable[[Daemon], Round]] = {
        f"unary, {shape[0]} connections × {shape[1]}": partial(
            unary, request=owner, shape=shape, seconds=args.seconds
        )
        for shape in SHAPES
    }
    kinds[f"stream, {STREAM_IN_FLIGHT} in flight"] = partial(stream, requests=framed, seconds=args.seconds)
    kinds[f"batch of {BATCH_ROWS:,}, {BATCHES_IN_FLIGHT} in flight"] = partial(
        batch, requests=batches, seconds=args.seconds
    )
    with copied(kept(population)) as data_dir, serving(data_dir, cores={cores[0]}) as daemon:
        os.sched_setaffinity(0, {cores[1]})
        try:
            verify(daemon, checks)
            rounds: dict[str, list[Round]] = {name: [] for name in kinds}
            for _ in range(args.rounds):
                for name, measure in kinds.items():
                    rounds[name].append(one := measure(daemon))
                    say(f"{name}: {one.rate:,.0f}/s, {one.cpu_us:.0f} µs of CPU, p99 {one.p99_ms:.2f} ms")
        finally:
            os.sched_setaffinity(0, set(cores))
    figures: dict[str, Figure] = {}
    for name, many in rounds.items():
        figures[name] = median([one.rate for one in many], "checks/s")
        figures[f"{name}: CPU of the daemon"] = median([one.cpu_us for one in many], "µs per check")
        figures[f"{name}: a call's p50"] = median([one.p50_ms for one in many], "ms")
        figures[f"{name}: a call's p99"] = median([one.p99_ms for one in many], "ms")
    return publish("check_throughput", args, figures)


if __name__ == "__main__":
    sys.exit(main())
