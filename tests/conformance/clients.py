"""Three gRPC clients that share nothing, run over one table of cases: grpcio, Go's and C++'s.

    cases ──lines──► client ──lines──► results

A case is a line of fields with tabs between: name, kind, path, milliseconds of its
deadline (0: none), answers after which it is cancelled (-1: never), workers,
milliseconds that they go on, compression, metadata (`key=value` with commas between),
messages (in hex, with commas between). A result: name, status code (or `code:times`
of many), its message, google.rpc.Status and answers in hex. Kinds: `unary`;
`stream`, all messages at once; `lockstep`, each after the answer to the one before;
`hold`, not closed after its messages; `many`, unary calls by several workers.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from google.rpc import status_pb2
from grpc_status import rpc_status

ROOT = Path(__file__).parent.parent.parent
OUT = ROOT / ".build"
CLIENTS = ("grpcio", "go", "cpp")
SECONDS_MAX = 120


@dataclass(frozen=True)
class Case:
    """One call, or many of one kind."""

    name: str
    kind: str
    path: str
    messages: tuple[bytes, ...]
    metadata: tuple[tuple[str, str], ...] = ()
    timeout_ms: int = 10_000
    cancel_after: int = -1
    gzip: bool = False
    workers: int = 1
    lasts_ms: int = 0

    def line(self) -> str:
        """Return the line of the case."""
        metadata = ",".join(f"{key}={value}" for key, value in self.metadata)
        numbers = (self.timeout_ms, self.cancel_after, self.workers, self.lasts_ms)
        fields = (self.name, self.kind, self.path, *numbers, "gzip" if self.gzip else "", metadata)
        return "\t".join(map(str, (*fields, ",".join(message.hex() for message in self.messages))))


class Result(NamedTuple):
    """What came of a case."""

    codes: Counter[int]
    message: str
    status: status_pb2.Status
    answers: list[bytes]

    @property
    def code(self) -> int:
        """The code of the only call."""
        ((code, times),) = self.codes.items()
        assert times == 1
        return code


def _read(line: str) -> tuple[str, Result]:
    name, codes, message, status, answers = line.rstrip("\n").split("\t")
    pairs = (pair.partition(":")[::2] for pair in codes.split(","))
    counted = Counter({int(code): int(times or 1) for code, times in pairs})
    told = status_pb2.Status.FromString(bytes.fromhex(status))
    found = [bytes.fromhex(answer) for answer in answers.split(",") if answer]
    return name, Result(counted, bytes.fromhex(message).decode(), told, found)


def build() -> None:
    """Build the clients; what is built stays. Fails where a tool is missing: `make peers` installs them."""
    made = subprocess.run(
        ["make", "--quiet", "-C", ROOT / "bench" / "peers", "clients", f"OUT={OUT}"],
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr


def run(client: str, addresses: Sequence[str], cases: Sequence[Case]) -> dict[str, Result]:
    """Run cases one after the other; results by name."""
    if client == "grpcio":
        with grpc.insecure_channel(f"ipv4:{','.join(addresses)}") as channel:
            return {case.name: (_many if case.kind == "many" else _one)(channel, case) for case in cases}
    lines = "".join(case.line() + "\n" for case in cases)
    command = [str(OUT / f"client-{client}"), ",".join(addresses)]
    ended = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=SECONDS_MAX)
    assert ended.returncode == 0, ended.stderr
    return dict(map(_read, ended.stdout.splitlines()))


def _one(channel: grpc.Channel, case: Case) -> Result:
    answers: list[bytes] = []
    told = status_pb2.Status()
    how: dict[str, Any] = {
        "metadata": case.metadata,
        "timeout": case.timeout_ms / 1000 or None,
        "compression": grpc.Compression.Gzip if case.gzip else None,
        "wait_for_ready": case.kind == "many",
    }
    try:
        if case.kind in {"unary", "many"}:
            answers.append(channel.unary_unary(case.path)(case.messages[0], **how))
        else:
            _stream(channel, case, answers, how)
    except grpc.RpcError as error:
        with contextlib.suppress(ValueError):
            told = rpc_status.from_call(error) or told
        return Result(Counter({error.code().value[0]: 1}), error.details() or "", told, answers)
    return Result(Counter({0: 1}), "", told, answers)


def _stream(channel: grpc.Channel, case: Case, answers: list[bytes], how: dict[str, Any]) -> None:
    go_on = threading.Semaphore(1 if case.kind == "lockstep" else len(case.messages))
    held = threading.Event()

    def requests() -> Iterator[bytes]:
        for message in case.messages:
            go_on.acquire(timeout=10)
            yield message
        if case.kind == "hold":
            held.wait(10)

    call = channel.stream_stream(case.path)(requests(), **how)
    try:
        for answer in call:
            answers.append(answer)
            if len(answers) == case.cancel_after:
                call.cancel()
            go_on.release()
    finally:
        held.set()


def _many(channel: grpc.Channel, case: Case) -> Result:
    until = time.monotonic() + case.lasts_ms / 1000
    results: list[Result] = []

    def work() -> None:
        again = True
        while again:
            results.append(_one(channel, case))
            again = time.monotonic() < until

    workers = [threading.Thread(target=work) for _ in range(case.workers)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(SECONDS_MAX)
    codes = sum((result.codes for result in results), Counter[int]())
    answers = {answer for result in results for answer in result.answers}
    failure = next((result.message for result in results if 0 not in result.codes), "")
    return Result(codes, failure, status_pb2.Status(), sorted(answers))
