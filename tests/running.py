"""A real daemon in a process of its own, and what tests say to it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from eir.proto import (
    check_pb2,
    check_pb2_grpc,
    enforcement_pb2_grpc,
    inquiry_pb2_grpc,
    notice_pb2_grpc,
    sync_pb2,
    sync_pb2_grpc,
)

SECONDS_MAX = 100
"""Tests wait so long for what is to come about, and no longer than it takes: machines have other work."""
ENGINES = ("portable", "native")
FREE_PORTS = {"check_listen": "127.0.0.1:0", "manage_listen": "127.0.0.1:0", "http_listen": "127.0.0.1:0"}


def command(
    data_dir: Path, settings: dict[str, object], *, engine: str = "portable"
) -> tuple[list[str], dict[str, str]]:
    """Command line and environment of a daemon; settings by their names, `config` is a file of more.

    `ahead` is a file of the seconds that its clock is ahead.
    """
    settings = dict(settings)
    file, ahead = settings.pop("config", None), settings.pop("ahead", None)
    given = {"data_dir": data_dir, "engine": engine, "log.format": "json", **FREE_PORTS, **settings}
    environ = {f"EIR_{name.upper().replace('.', '__')}": str(value) for name, value in given.items()}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("EIR_")}
    program = [str(Path(__file__).parent / "clocked.py"), str(ahead)] if ahead else ["-m", "eir"]
    line = [sys.executable, *program, "serve", *(["--config", str(file)] if file else [])]
    return line, inherited | environ


class Daemon:
    """A daemon that is ready, with stubs; its log is collected."""

    def __init__(self, data_dir: Path, *, engine: str = "portable", **settings: object) -> None:
        """Start it and wait until it says ready. Settings: dots as two underscores."""
        named = {name.replace("__", "."): value for name, value in settings.items()}
        line, environ = command(data_dir, named, engine=engine)
        self.data_dir = data_dir
        self.process = subprocess.Popen(
            line, env=environ, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        self.log: list[str] = []
        self._ready = threading.Event()
        self._found: dict[str, Any] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(SECONDS_MAX) or not self._found:
            self.process.kill()
            raise AssertionError("the daemon did not become ready:\n" + "".join(self.log))
        self.check_channel = grpc.insecure_channel(self._found["check"])
        self.manage_channel = grpc.insecure_channel(self._found["manage"])
        self.checks = check_pb2_grpc.EquipmentCheckServiceStub(self.check_channel)  # type: ignore[no-untyped-call]
        self.sync = sync_pb2_grpc.RegistrySyncServiceStub(self.manage_channel)  # type: ignore[no-untyped-call]
        self.enforcement = enforcement_pb2_grpc.EnforcementServiceStub(self.manage_channel)  # type: ignore[no-untyped-call]
        self.notices = notice_pb2_grpc.NoticeServiceStub(self.manage_channel)  # type: ignore[no-untyped-call]
        self.inquiry = inquiry_pb2_grpc.InquiryServiceStub(self.manage_channel)  # type: ignore[no-untyped-call]

    @property
    def ready_line(self) -> dict[str, Any]:
        """The log line that says where it serves."""
        return self._found

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.log.append(line)
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if event.get("event") == "ready":
                    self._found = event
                    self._ready.set()
        self._ready.set()

    def http(self, path: str) -> tuple[int, str]:
        """Status and body of a page."""
        try:
            with urllib.request.urlopen(f"http://{self._found['http']}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, sample: str) -> float:
        """Value of a sample, by its name with labels as it is printed; 0 when it is not there."""
        for line in self.http("/metrics")[1].splitlines():
            name, _, value = line.rpartition(" ")
            if name == sample:
                return float(value)
        return 0

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, seconds: float = 40) -> int:
        """Exit code, once it has ended and its log is read."""
        code = self.process.wait(seconds)
        self._reader.join(10)
        return code

    def stop(self) -> int:
        """Stop it, and return its exit code."""
        self.check_channel.close()
        self.manage_channel.close()
        if self.process.poll() is None:
            self.signal()
        try:
            return self.wait()
        finally:
            self.process.kill()

    def push(self, *operations: sync_pb2.Operation, feed: str = "hamta", **header: Any) -> Any:
        """Push one delta of one chunk on top of the feed; return the acknowledgement."""
        position = self.sync.GetFeedPosition(sync_pb2.GetFeedPositionRequest(feed=feed)).feeds[0].sequence
        messages = delta(operations, feed=feed, base=position, **header)
        return list(self.sync.PushDelta(iter(messages), timeout=30))[-1].applied

    def check(self, imei: str, imsi: str = "", **fields: Any) -> Any:
        """Verdict on one identity."""
        request = check_pb2.CheckEquipmentRequest(imei=imei, imsi=imsi, **fields)
        return self.checks.CheckEquipment(request, timeout=10)


def wait_for(holds: Callable[[], object], what: str | Callable[[], object] = "it did not come about") -> None:
    """Wait until something holds; `what` is said where it does not."""
    until = time.monotonic() + SECONDS_MAX
    while not holds():
        assert time.monotonic() < until, what() if callable(what) else what
        time.sleep(0.02)


class Pipe:
    """Requests of a stream, sent one by one by the test."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Any] = queue.Queue()

    def send(self, *messages: Any) -> None:
        for message in messages:
            self._queue.put(message)

    def close(self) -> None:
        self._queue.put(None)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._queue.get, None)


@contextlib.contextmanager
def running(data_dir: Path, **settings: Any) -> Iterator[Daemon]:
    """A daemon that is stopped at the end."""
    daemon = Daemon(data_dir, **settings)
    try:
        yield daemon
    finally:
        daemon.stop()


def run_to_end(data_dir: Path, settings: dict[str, object], engine: str = "portable") -> tuple[int, str]:
    """Exit code and standard error of a daemon that is to end by itself."""
    line, environ = command(data_dir, settings, engine=engine)
    ended = subprocess.run(line, env=environ, capture_output=True, text=True, timeout=SECONDS_MAX)
    return ended.returncode, ended.stderr


def operation(kind: str, imei: str = "", **fields: Any) -> sync_pb2.Operation:
    """One row: `operation("PAIR", imei, imsi=…)`; enumerations by the end of their names."""
    for name, prefix in (
        ("role", "PAIR_ROLE_"),
        ("block_cause", "BLOCK_CAUSE_"),
        ("exempt_cause", "EXEMPT_CAUSE_"),
    ):
        if name in fields:
            fields[name] = prefix + fields[name]
    return sync_pb2.Operation(kind=f"OPERATION_KIND_{kind}", imei=imei, **fields)  # type: ignore[arg-type]


def delta(
    operations: Sequence[sync_pb2.Operation],
    *,
    feed: str = "hamta",
    base: int = 0,
    chunks: int = 1,
    **header: Any,
) -> list[sync_pb2.PushDeltaRequest]:
    """Messages of one delta, its rows dealt out to some chunks."""
    payloads = [
        sync_pb2.DeltaRows(operations=operations[start::chunks]).SerializeToString()
        for start in range(chunks)
    ]
    fields = {
        "feed": feed,
        "sequence": base + 1,
        "base_sequence": base,
        "row_count": len(operations),
    } | header
    return [
        sync_pb2.PushDeltaRequest(header=sync_pb2.DeltaHeader(**fields)),
        *(
            sync_pb2.PushDeltaRequest(chunk=sync_pb2.DeltaChunk(index=index, payload=payload))
            for index, payload in enumerate(payloads)
        ),
        commit(*payloads),
    ]


def commit(*payloads: bytes) -> sync_pb2.PushDeltaRequest:
    """The message that closes a delta of these payloads."""
    digest = hashlib.sha256(b"".join(payloads)).digest()
    return sync_pb2.PushDeltaRequest(commit=sync_pb2.DeltaCommit(content_sha256=digest))


def detail(error: grpc.RpcError, kind: type[Any] = error_details_pb2.ErrorInfo) -> Any:
    """Rich detail of an error; fails where there is none."""
    status = rpc_status.from_call(error)
    assert status is not None, error
    for packed in status.details:
        message = kind()
        if packed.Unpack(message):
            return message
    raise AssertionError(f"no {kind.__name__} in {status}")


def fill(folder: Path, leave_bytes: int = 0) -> Path:
    """Leave so many bytes free."""
    ballast = folder / "ballast"
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    # What the daemon writes meanwhile may leave less: then the disk is as full as it gets.
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        file.write(b"\1" * max(free - leave_bytes, 0))
    assert ballast.exists()
    return ballast
