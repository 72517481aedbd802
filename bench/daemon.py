"""A daemon as a process of its own, and what the kernel says about it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2

from bench.results import ROOT
from bench.rpc import health_of

START_SECONDS_MAX = 300
STOP_SECONDS_MAX = 60
CONNECT_EVERY_SECONDS = 0.002
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
NO_REBUILD = {"EIR_LIMITS__REBUILD_OVERLAY_ROWS": "100000000"}
"""Settings by which segments are rebuilt only when that is asked for."""


@dataclass(frozen=True)
class Daemon:
    """A daemon that serves; `start_seconds` is from its start to SERVING."""

    pid: int
    check_address: str
    manage_address: str
    start_seconds: float
    web_address: str = ""

    def cpu_seconds(self) -> float:
        """User and system time it has used, of all threads (resolution 10 ms)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


@contextmanager
def serving(
    data_dir: Path,
    *,
    cores: set[int] | None = None,
    settings: Mapping[str, str] | None = None,
    config: str = "",
    manage_address: str = "",
) -> Iterator[Daemon]:
    """Run `eir serve` on a data directory until the end of the block; `config` is TOML."""
    check, manage, web = (f"127.0.0.1:{port}" for port in free_ports(3))
    manage = manage_address or manage
    command = [sys.executable, "-m", "eir", "serve", "--data-dir", str(data_dir)]
    command += ["--check-listen", check, "--manage-listen", manage, "--http-listen", web]
    if config:
        (data_dir / "bench.toml").write_text(config)
        command += ["--config", str(data_dir / "bench.toml")]
    environment = {**os.environ, "EIR_LIMITS__DRAIN_NOTICE_SECONDS": "0", **(settings or {})}
    with (data_dir / "daemon.log").open("w") as log:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log)
        try:
            if cores:
                os.sched_setaffinity(process.pid, cores)
            _wait_until_serving(process, check)
            yield Daemon(process.pid, check, manage, time.perf_counter() - started, web)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def process_serving(command: Sequence[str], *, cores: set[int]) -> Iterator[tuple[Daemon, str]]:
    """Run another server of the check service (`{port}` in its command); with the line it says at first."""
    (port,) = free_ports(1)
    line = ["taskset", "-c", ",".join(map(str, cores)), *(word.format(port=port) for word in command)]
    started = time.perf_counter()
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        said = process.stdout.readline().strip()
        if not said:
            raise RuntimeError(f"{command[0]} did not start (exit code {process.wait()})")
        address = f"127.0.0.1:{port}"
        yield Daemon(process.pid, address, "", time.perf_counter() - started), said
    finally:
        process.kill()
        process.wait()


def free_ports(count: int) -> list[int]:
    """Find ports of this machine that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _wait_until_serving(process: subprocess.Popen[bytes], address: str) -> None:
    """Wait for SERVING; raise RuntimeError when the daemon ends or is too slow."""
    host, _, port = address.rpartition(":")
    late = time.monotonic() + START_SECONDS_MAX
    while True:
        if process.poll() is not None or time.monotonic() > late:
            raise RuntimeError(f"the daemon did not start (exit code {process.returncode})")
        try:
            socket.create_connection((host, int(port)), 1).close()
            break
        except OSError:
            time.sleep(CONNECT_EVERY_SECONDS)
    with channel(address) as one:
        watch = health_of(one).Watch(health_pb2.HealthCheckRequest(), timeout=START_SECONDS_MAX)
        try:
            for answer in watch:
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
        except grpc.RpcError as error:
            raise RuntimeError(f"the daemon did not get ready: {error}") from error
        finally:
            watch.cancel()


def channel(address: str) -> grpc.Channel:
    """Open a channel of its own connection."""
    options = [
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", -1),
    ]
    return grpc.insecure_channel(address, options=options)


def memory_mib(pid: int | str, name: str) -> float:
    """Memory of a process in MiB: `Rss`, `Pss` as they are now, or `VmHWM`, the most of Rss so far.

    0 where the process is gone.
    """
    file = "status" if name.startswith("Vm") else "smaps_rollup"
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:")), 0.0)


def reset_most(pid: int) -> None:
    """Let VmHWM begin anew (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def children(pid: int) -> list[int]:
    """Children of a process, of all its threads."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, path.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
