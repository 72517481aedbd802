"""Rows a second from a Redis stream into the tables, and how long one row takes to be seen.

    XADD while the daemon stands still ──► it goes on ──► the feed stands at the last sequence

A real redis-server on this machine (Debian: redis-server), nothing kept on its disk.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import numpy as np

from bench.command import parser, population_of, publish, say
from bench.daemon import NO_REBUILD, Daemon, channel, free_ports, serving
from bench.datadir import copied, kept
from bench.results import Figure, median
from bench.rpc import checks_of, sync_of
from eir.feed import publish as publishing
from eir.feed.message import encode
from eir.feed.transport import Access, RedisStream, connect
from eir.identity import imei_text
from eir.lists.change import Batch, Change
from eir.proto import check_pb2, sync_pb2
from eir.verdict import Reason
from eir.whitelist.rows import Op

FEED = "bench"
FIRST_KEY = 99_000_000_000_000
"""IMEIs that no population has."""
BULK_ROWS = 1_000_000
SMALL_DELTAS = 2_000
ONES = 50
REACHED_SECONDS_MAX = 600.0
PAUSE_SECONDS = 0.2
MILLISECONDS = 1e3


class Stream(NamedTuple):
    """A stream that is published to, and the sequence it ends at."""

    redis: RedisStream
    loop: asyncio.AbstractEventLoop

    def add(self, deltas: Sequence[tuple[int, int]], stands: int) -> int:
        """Publish deltas, each of the IMEIs from one number to another; returns the last sequence."""

        async def publish() -> None:
            for number, (first, end) in enumerate(deltas, stands + 1):
                keys = np.arange(FIRST_KEY + first, FIRST_KEY + end, dtype=np.uint64)
                change = Change([Batch(Op.REGISTER, keys)])
                begin = publishing.next_begin(FEED, len(keys), publishing.Standing(number - 1))
                for message in publishing.messages(begin, (payload for payload, _ in change.payloads())):
                    await self.redis.add(encode(message), 0)

        self.loop.run_until_complete(publish())
        return stands + len(deltas)


@contextmanager
def redis_server() -> Iterator[str]:
    """Run a redis-server of our own; its URL."""
    (port,) = free_ports(1)
    words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([*words, "--loglevel", "warning"], stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def stream_of(url: str) -> Iterator[Stream]:
    """Connect to the stream."""
    from eir.feed.servers import servers

    (server,) = servers(url)
    loop = asyncio.new_event_loop()

    async def reached() -> RedisStream:
        last = time.monotonic() + 10
        while True:
            try:
                return await connect(Access((server,), f"eir:feed:{FEED}", "", lambda: "", ""), server)
            except Exception:
                if time.monotonic() > last:
                    raise
                await asyncio.sleep(0.05)

    redis = loop.run_until_complete(reached())
    try:
        yield Stream(redis, loop)
    finally:
        loop.run_until_complete(redis.close())
        loop.close()


def reach(daemon: Daemon, sequence: int) -> None:
    """Wait until the feed stands somewhere. Raises RuntimeError."""
    late = time.monotonic() + REACHED_SECONDS_MAX
    with channel(daemon.manage_address) as one:
        ask = sync_of(one).GetFeedPosition
        while True:
            feeds = ask(sync_pb2.GetFeedPositionRequest(feed=FEED)).feeds
            if feeds and feeds[0].sequence >= sequence:
                return
            if time.monotonic() > late:
                raise RuntimeError(f"the daemon does not reach sequence {sequence}: {feeds}")
            time.sleep(0.005)


def behind(
    daemon: Daemon, stream: Stream, deltas: Sequence[tuple[int, int]], stands: int
) -> tuple[int, float, float]:
    """Publish while the daemon stands still, then let it go on: last sequence, seconds, its CPU seconds."""
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        last = stream.add(deltas, stands)
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    started, cpu = time.perf_counter(), daemon.cpu_seconds()
    reach(daemon, last)
    return last, time.perf_counter() - started, daemon.cpu_seconds() - cpu


def seen(daemon: Daemon, stream: Stream, key: int, stands: int) -> float:
    """Milliseconds from publishing one row to the first check that sees it."""
    request = check_pb2.CheckEquipmentRequest(imei=imei_text(FIRST_KEY + key), imsi="432110000000001")
    with channel(daemon.check_address) as one:
        check = checks_of(one).CheckEquipment
        assert check(request).reason == Reason.NOT_REGISTERED
        started = time.perf_counter()
        stream.add([(key, key + 1)], stands)
        while check(request).reason == Reason.NOT_REGISTERED:
            pass
    return (time.perf_counter() - started) * MILLISECONDS


def main(argv: list[str] | None = None) -> int:
    """Measure how fast a daemon follows a stream: in bulk, in small deltas, one row at rest."""
    args = parser("redis_feed", main.__doc__).parse_args(argv)
    if shutil.which("redis-server") is None:
        raise SystemExit("it takes a redis-server (Debian: redis-server)")
    source = kept(population_of(args))
    bulk: list[float] = []
    bulk_cpu: list[float] = []
    small: list[float] = []
    ones: list[float] = []
    for _ in range(args.rounds):
        with ExitStack() as stack:
            url = stack.enter_context(redis_server())
            stream = stack.enter_context(stream_of(url))
            config = f'[feeds.{FEED}]\nredis_urls = "{url}"\n'
            daemon = stack.enter_context(
                serving(stack.enter_context(copied(source)), settings=NO_REBUILD, config=config)
            )
            at = stream.add([(0, 1)], 0)
            reach(daemon, at)
            at, seconds, cpu = behind(daemon, stream, [(1, 1 + BULK_ROWS)], at)
            bulk.append(BULK_ROWS / seconds / 1e3)
            bulk_cpu.append(BULK_ROWS / cpu / 1e3)
            say(f"one delta of {BULK_ROWS:,} rows: {bulk[-1]:,.0f} k rows/s")
            next_key = 1 + BULK_ROWS
            at, seconds, _ = behind(
                daemon, stream, [(next_key + n, next_key + n + 1) for n in range(SMALL_DELTAS)], at
            )
            small.append(SMALL_DELTAS / seconds)
            say(f"deltas of one row: {small[-1]:,.0f} deltas/s")
            next_key += SMALL_DELTAS
            for n in range(ONES):
                ones.append(seen(daemon, stream, next_key + n, at))
                at += 1
                time.sleep(PAUSE_SECONDS)
    bulk_name = f"one delta of {BULK_ROWS:,} rows that waits in the stream"
    figures = {
        bulk_name: median(bulk, "k rows/s"),
        f"{bulk_name}, by CPU time of the daemon": median(bulk_cpu, "k rows/s of CPU time"),
        f"{SMALL_DELTAS:,} deltas of one row that wait in the stream": median(small, "deltas/s"),
        "one row at rest, from XADD to the first check that sees it, p50": Figure(
            float(np.percentile(ones, 50)), "ms"
        ),
        "one row at rest, the slowest": Figure(max(ones), "ms"),
    }
    return publish("redis_feed", args, figures)


if __name__ == "__main__":
    sys.exit(main())
