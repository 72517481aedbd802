"""Milliseconds from sending the commit of a one-row delta to the first check that sees it.

Measured on a daemon at rest, while it rebuilds all segments, and while it
applies a bulk delta. Another process checks at a steady rate meanwhile. A delta
that comes while another is applied waits for its turn before its header is
accepted: that wait is told apart.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from typing import NamedTuple

import grpc
import numpy as np

from bench.checks import UNARY, Checks
from bench.command import parser, population_of, publish, say
from bench.daemon import NO_REBUILD, Daemon, channel, serving
from bench.datadir import copied, kept
from bench.deltas import slices
from bench.population import Population
from bench.results import Figure
from bench.rpc import checks_of, enforcement_of, sync_of
from eir.identity import imei_text, imsi_text
from eir.proto import check_pb2, enforcement_pb2, sync_pb2
from eir.verdict import Reason

BULK_ROWS = 1_000_000
ONES = 10_000
"""IMEIs to activate one by one: more than there are rounds, for some have extras that decide."""
IDLE = (Reason.NEVER_ACTIVATED, Reason.UNOWNED_SLOT)
CHECKS_PER_SECOND = 100
SAMPLE = 20_000
VISIBLE_SECONDS_MAX = 60
PAUSE_SECONDS = 0.05
MILLISECONDS = 1e3


class Trial(NamedTuple):
    """One delta: milliseconds until it was accepted; from its commit to the acknowledgement and to checks."""

    accepted: float
    acknowledged: float
    visible: float


class Push:
    """One PushDelta: what is sent, and what is answered, message by message."""

    def __init__(self, one: grpc.Channel, feed: str, sequence: int, row_count: int) -> None:
        """Send the header and wait until it is accepted."""
        self._requests: queue.SimpleQueue[sync_pb2.PushDeltaRequest | None] = queue.SimpleQueue()
        self._call = sync_of(one).PushDelta(iter(self._requests.get, None))
        self._digest, self._chunks = hashlib.sha256(), 0
        header = sync_pb2.DeltaHeader(
            feed=feed,
            sequence=sequence,
            base_sequence=sequence - 1,
            row_count=row_count,
            override_guards=True,
        )
        self._requests.put(sync_pb2.PushDeltaRequest(header=header))
        next(self._call)

    def chunk(self, rows: sync_pb2.DeltaRows) -> None:
        """Send a chunk and wait until it is durable."""
        payload = rows.SerializeToString()
        self._digest.update(payload)
        chunk = sync_pb2.DeltaChunk(index=self._chunks, payload=payload)
        self._requests.put(sync_pb2.PushDeltaRequest(chunk=chunk))
        self._chunks += 1
        next(self._call)

    def commit(self) -> None:
        """Send the commit."""
        commit = sync_pb2.DeltaCommit(content_sha256=self._digest.digest())
        self._requests.put(sync_pb2.PushDeltaRequest(commit=commit))

    def applied(self) -> float:
        """Wait for the acknowledgement; returns when it came."""
        answer = next(self._call)
        now = time.perf_counter()
        if not answer.HasField("applied"):
            raise RuntimeError(f"the delta was not applied: {answer}")
        self._requests.put(None)
        return now


class Registry:
    """Activates IMEIs one by one and looks when checks see it; in bulk it pairs and unpairs the same ones."""

    def __init__(self, daemon: Daemon, population: Population, bulk_rows: int) -> None:
        """Take IMEIs that have no owner, and subscribers that the population does not have."""
        self._daemon, self._ones, self._bulks = daemon, 0, 0
        keys = population.sample_unowned(bulk_rows + ONES, seed=17)
        np.random.Generator(np.random.PCG64(19)).shuffle(keys)
        self._bulk_keys = np.sort(keys[:bulk_rows])
        self._bulk_imsis = population.new_imsis(bulk_rows)
        rest = keys[bulk_rows : bulk_rows + ONES]
        self._requests = (
            check_pb2.CheckEquipmentRequest(imei=imei_text(key), imsi=imsi_text(imsi))
            for key, imsi in zip(
                rest.tolist(), population.new_imsis(len(rest), first=bulk_rows).tolist(), strict=True
            )
        )

    def one(self, manage: grpc.Channel, check: grpc.Channel) -> Trial:
        """Activate the next IMEI."""
        ask = checks_of(check).CheckEquipment
        request = next(request for request in self._requests if ask(request).reason in IDLE)
        self._ones += 1
        began = time.perf_counter()
        push = Push(manage, "one", self._ones, 1)
        accepted = time.perf_counter()
        operation = sync_pb2.Operation(
            kind=sync_pb2.OPERATION_KIND_PAIR, imei=request.imei, imsi=request.imsi
        )
        push.chunk(sync_pb2.DeltaRows(operations=[operation]))
        acknowledged: list[float] = []
        waiting = threading.Thread(target=lambda: acknowledged.append(push.applied()))
        committed = time.perf_counter()
        push.commit()
        waiting.start()
        while ask(request).reason != Reason.OWNER:
            if time.perf_counter() - committed > VISIBLE_SECONDS_MAX:
                raise RuntimeError("checks do not see a delta")
        visible = time.perf_counter()
        waiting.join()
        return Trial(
            accepted=(accepted - began) * MILLISECONDS,
            acknowledged=(acknowledged[0] - committed) * MILLISECONDS,
            visible=(visible - committed) * MILLISECONDS,
        )

    def bulk(self, manage: grpc.Channel, committed: threading.Event) -> None:
        """Pair, or the next time unpair, many IMEIs in one delta; sets the event when it sends the commit."""
        kind = (sync_pb2.OPERATION_KIND_PAIR, sync_pb2.OPERATION_KIND_UNPAIR)[self._bulks % 2]
        self._bulks += 1
        push = Push(manage, "bulk", self._bulks, len(self._bulk_keys))
        for part in slices(len(self._bulk_keys), 200_000):
            columns = sync_pb2.OperationColumns(
                kind=kind,
                row_count=part.stop - part.start,
                imei=self._bulk_keys[part].astype("<u8").tobytes(),
                imsi=self._bulk_imsis[part].astype("<u8").tobytes(),
            )
            push.chunk(sync_pb2.DeltaRows(columns=[columns]))
        push.commit()
        committed.set()
        push.applied()


def ask_steadily(address: str, requests: Sequence[bytes], ended: Event) -> list[float]:
    """Check at a steady rate until the event; latencies in milliseconds, from when each was due."""
    out: list[float] = []
    lock = threading.Lock()
    with channel(address) as one:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = one.unary_unary(UNARY)
        call(requests[0])
        due = time.perf_counter()
        while not ended.is_set():
            due += 1 / CHECKS_PER_SECOND
            time.sleep(max(due - time.perf_counter(), 0))

            def done(_: object, due: float = due) -> None:
                with lock:
                    out.append((time.perf_counter() - due) * MILLISECONDS)

            call.future(requests[len(out) % len(requests)]).add_done_callback(done)
    return out


def _asker(
    address: str, requests: Sequence[bytes], ended: Event, results: multiprocessing.Queue[list[float]]
) -> None:
    results.put(ask_steadily(address, requests, ended))


@contextmanager
def asking(address: str, requests: Sequence[bytes]) -> Iterator[list[float]]:
    """Check from another process during the block; the list is filled at its end."""
    context = multiprocessing.get_context("spawn")
    ended, results, out = context.Event(), context.Queue(), list[float]()
    process = context.Process(target=_asker, args=(address, requests, ended, results), daemon=True)
    process.start()
    try:
        yield out
    finally:
        ended.set()
        out += results.get(timeout=VISIBLE_SECONDS_MAX)
        process.join()


@contextmanager
def rebuilding(daemon: Daemon) -> Iterator[None]:
    """Rebuild all segments, again and again, during the block."""
    ended, failed = threading.Event(), list[Exception]()

    def rebuild() -> None:
        with channel(daemon.manage_address) as one:
            service = enforcement_of(one)
            while not ended.is_set():
                try:
                    service.RebuildSegments(enforcement_pb2.RebuildSegmentsRequest(all=True))
                except grpc.RpcError as error:
                    failed.append(error)
                    return

    thread = threading.Thread(target=rebuild)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if failed:
        raise failed[0]


def trials(registry: Registry, daemon: Daemon, count: int, *, bulk: bool = False) -> list[Trial]:
    """Activate so many IMEIs, each while a bulk delta is applied where that is wanted."""
    out = []
    with channel(daemon.manage_address) as manage, channel(daemon.check_address) as check:
        for _ in range(count):
            time.sleep(PAUSE_SECONDS)
            if bulk:
                committed = threading.Event()
                thread = threading.Thread(target=registry.bulk, args=(manage, committed))
                thread.start()
                if not committed.wait(VISIBLE_SECONDS_MAX):
                    raise RuntimeError("a bulk delta does not come to its commit")
                out.append(registry.one(manage, check))
                thread.join()
            else:
                out.append(registry.one(manage, check))
    return out


def figures_of(what: str, done: Sequence[Trial], asked: Sequence[float]) -> dict[str, Figure]:
    """Figures of a phase."""
    out = {}
    for name, values in (
        ("commit to checks", [trial.visible for trial in done]),
        ("commit to acknowledgement", [trial.acknowledged for trial in done]),
        ("wait for its turn", [trial.accepted for trial in done]),
        ("a check meanwhile", asked),
    ):
        for label, percent in (("median", 50), ("p99", 99), ("most", 100)):
            out[f"{what}: {name}, {label}"] = Figure(float(np.percentile(values, percent)), "ms")
    return out


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    options = parser("publish_latency", main.__doc__, rounds=50)
    options.add_argument("--bulk-rounds", type=int, default=50, help="rounds while a bulk delta is applied")
    return options.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Measure how soon checks see a delta."""
    args = _arguments(argv)
    population = population_of(args)
    bulk_rows = min(BULK_ROWS, population.registered // 4)
    requests = [one.SerializeToString() for one in Checks.sample(population, SAMPLE, seed=3).requests()]
    figures: dict[str, Figure] = {}
    with copied(kept(population)) as data_dir, serving(data_dir, settings=NO_REBUILD) as daemon:
        registry = Registry(daemon, population, bulk_rows)

        def rebuilt() -> list[Trial]:
            with rebuilding(daemon):
                return trials(registry, daemon, args.rounds)

        phases: dict[str, Callable[[], list[Trial]]] = {
            "at rest": lambda: trials(registry, daemon, args.rounds),
            "segments rebuilt": rebuilt,
            f"{bulk_rows:,} rows applied": lambda: trials(registry, daemon, args.bulk_rounds, bulk=True),
        }
        for what, measure in phases.items():
            with asking(daemon.check_address, requests) as asked:
                done = measure()
            figures |= figures_of(what, done, asked)
            slowest = max(trial.visible for trial in done)
            say(f"{what}: {len(done)} deltas, checks see the slowest after {slowest:.0f} ms")
    return publish("publish_latency", args, figures)


if __name__ == "__main__":
    sys.exit(main())
