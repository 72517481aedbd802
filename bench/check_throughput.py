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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np

from bench.checks import BATCH, STREAM, UNARY, Checks
from bench.command import parser, population_of, publish, say
from bench.daemon import Daemon, channel, serving
from bench.datadir import copied, kept
from bench.results import Figure, median
from eir.proto import check_pb2, check_pb2_grpc

SHAPES = ((4, 16), (64, 1))
"""Connections, and calls in flight on each."""
STREAM_IN_FLIGHT = 64
BATCH_ROWS = 1_024
BATCHES_IN_FLIGHT = 4
SAMPLE = 20_000
VERIFIED = 4_096
WARM_UP_SECONDS = 1


class Round(NamedTuple):
    """One round: checks a second, the daemon's CPU time a check, latency of a call."""

    rate: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


class Cpu:
    """CPU time of the daemon since this was made."""

    def __init__(self, daemon: Daemon) -> None:
        """Begin."""
        self._daemon, self._before, self._started = daemon, daemon.cpu_seconds(), time.perf_counter()

    def round(self, checks: int, latencies_ms: Sequence[float]) -> Round:
        """End, with what was done meanwhile."""
        seconds = time.perf_counter() - self._started
        cpu = self._daemon.cpu_seconds() - self._before
        p50, p99 = np.percentile(latencies_ms, (50, 99))
        return Round(checks / seconds, cpu / checks * 1e6, float(p50), float(p99))


def h2load(address: str, request: Path, count: int, connections: int, in_flight: int, log: Path) -> str:
    """Send one framed request so many times; returns what h2load says."""
    command = ["h2load", "-n", str(count), "-c", str(connections), "-m", str(in_flight), "-t", "1"]
    command += ["-d", str(request), "-H", "content-type: application/grpc", "-H", "te: trailers"]
    command += [f"--log-file={log}", f"http://{address}{UNARY}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def unary(daemon: Daemon, folder: Path, request: check_pb2.CheckEquipmentRequest, shape: tuple[int, int], seconds: int) -> Round:
    """Repeat one unary check in a closed loop, about as long as wanted."""
    payload = request.SerializeToString()
    (framed := folder / "request").write_bytes(struct.pack(">BI", 0, len(payload)) + payload)
    log = folder / "log"
    count = 1_000
    began = time.perf_counter()
    h2load(daemon.check_address, framed, count, *shape, log)
    count = max(int(count * seconds / (time.perf_counter() - began)), count)
    log.unlink()
    cpu = Cpu(daemon)
    told = h2load(daemon.check_address, framed, count, *shape, log)
    columns = np.loadtxt(log, usecols=(1, 2), dtype=np.int64)
    log.unlink()
    out = cpu.round(count, columns[:, 1] / 1e3)
    # An answer with an error has no message: its trailers are all there is.
    answered = re.search(r"status codes: (\d+) 2xx", told)
    data = re.search(r"\((\d+)\) data", told)
    if not answered or not data or int(answered[1]) != count or int(data[1]) < count * len(answer_of(daemon, request)):
        raise RuntimeError(f"not every check was answered:\n{told}")
    span = np.ptp(columns[:, 0] + columns[:, 1]) if False else None
    return out if span is None else out


def answer_of(daemon: Daemon, request: check_pb2.CheckEquipmentRequest) -> bytes:
    """Answer to one check as its message."""
    with channel(daemon.check_address) as one:
        return check_pb2_grpc.EquipmentCheckServiceStub(one).CheckEquipment(request).SerializeToString()
