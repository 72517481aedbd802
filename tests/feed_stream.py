"""A stream in memory in the place of a Redis server, and a daemon's consumer over it.

registry ──messages──► MemoryStream ──MemoryTransport──► Consumer ──► Intake ──► Store
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from random import Random

from eir.config import Config
from eir.errors import StreamUnavailableError
from eir.feed.consumer import Consumer, Pace
from eir.feed.follower import Bounds, Entry, Place, order
from eir.feed.message import MESSAGE_BYTES_MAX, Begin, Chunk, Commit, Message, encode
from eir.feed.transport import Extent, OversizedError
from eir.metrics import FeedMetrics, Metrics
from eir.proto import sync_pb2
from eir.server.intake import Intake
from eir.server.state import State
from eir.settings import Feed, Limits
from eir.whitelist.operation import Operation, message
from eir.whitelist.store import Store


class MemoryStream:
    """Entries by id, as XADD, XTRIM, FLUSHALL and a fail-over change them."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.next, self.added, self.up = 1, 0, True

    def add(self, fields: Sequence[bytes]) -> None:
        self.entries.append(Entry(f"{self.next}-0", list(fields)))
        self.next += 1
        self.added += 1

    def send(self, *messages: Message) -> None:
        for one in messages:
            self.add(encode(one))

    def trim(self, count: int) -> None:
        """Keep the last so many."""
        self.entries = self.entries[-count:] if count else []

    def lose(self, count: int) -> None:
        """Lose the newest: another server takes over, and ids go on from there."""
        if count:
            del self.entries[-count:]
        self.next = order(Place(self.entries[-1].id))[0] + 1 if self.entries else 1

    def flush(self) -> None:
        """Lose everything; ids start again."""
        self.entries, self.next, self.added = [], 1, 0


class MemoryTransport:
    """A connection to a stream in memory; it never waits."""

    def __init__(self, stream: MemoryStream) -> None:
        self.stream = stream

    def _up(self) -> None:
        if not self.stream.up:
            raise StreamUnavailableError("the server is down")

    async def read(self, after: str, count: int, block_seconds: float) -> list[Entry]:
        self._up()
        found = [one for one in self.stream.entries if order(Place(one.id)) > order(Place(after))][:count]
        if sum(sum(map(len, one.fields)) for one in found) > count * MESSAGE_BYTES_MAX:
            raise OversizedError(found[0].id)
        return found

    async def entry(self, entry_id: str) -> Entry | None:
        self._up()
        return next((one for one in self.stream.entries if one.id == entry_id), None)

    async def extent(self) -> Extent:
        self._up()
        last = self.stream.entries[-1].id if self.stream.entries else "0-0"
        return Extent(len(self.stream.entries), self.stream.added, last)

    async def close(self) -> None:
        pass


def payloads(rows: Sequence[Operation], parts: int = 1) -> list[bytes]:
    """Payloads of a delta in so many chunks, or fewer."""
    size = -(-len(rows) // parts) or 1
    return [
        sync_pb2.DeltaRows(operations=map(message, rows[start : start + size])).SerializeToString()
        for start in range(0, len(rows), size)
    ]


def delta_messages(
    sequence: int, rows: Sequence[Operation], *, parts: int = 1, base: int | None = None, **header: object
) -> list[Message]:
    """Messages of a delta; it builds on the sequence before unless told."""
    feed, transfer = str(header.pop("feed", "feed")), str(header.pop("transfer", f"t{sequence}"))
    chunks = payloads(rows, parts)
    base = sequence - 1 if base is None else base
    begin = Begin(feed, sequence, transfer, base, len(rows), **header)  # type: ignore[arg-type]
    digest = hashlib.sha256(b"".join(chunks)).digest()
    return [
        begin,
        *(Chunk(feed, sequence, transfer, index, payload) for index, payload in enumerate(chunks)),
        Commit(feed, sequence, transfer, len(chunks), digest),
    ]


class Follows:
    """One daemon that follows streams: a real store, real consumers, stepped by the test."""

    def __init__(
        self,
        store: Store,
        streams: dict[str, MemoryStream],
        now: int,
        *,
        limits: Limits | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        config = Config(
            data_dir=Path(store.data_dir), limits=limits or Limits(), feeds=dict.fromkeys(streams, Feed())
        )
        self.store, self.now = store, now
        self.state = State(config, Metrics(), lambda: self.now, "portable")
        self.state.store = store
        self.intake = Intake(self.state)
        self.consumers = {
            feed: Consumer(
                feed,
                self.intake,
                self._connector(stream),
                FeedMetrics(self.state.metrics, feed),
                lambda: self.now,
                bounds=bounds,
                pace=Pace(block_seconds=0.001, read_messages_max=4),
                random=Random(0),
            )
            for feed, stream in streams.items()
        }
        self.state.consumers = self.consumers

    def _connector(self, stream: MemoryStream):  # type: ignore[no-untyped-def]
        async def connect() -> MemoryTransport:
            if not stream.up:
                raise StreamUnavailableError("the server is down")
            return MemoryTransport(stream)

        return connect

    async def step(self, feed: str, times: int = 1) -> None:
        """Read so many times; what the task would do about a lost connection, without the wait."""
        consumer = self.consumers[feed]
        for _ in range(times):
            try:
                await consumer.step()
            except StreamUnavailableError as error:
                await consumer.disconnect(error.message)

    async def settle(self, feed: str = "feed", times_max: int = 400) -> None:
        """Read until nothing changes any more."""
        consumer, still = self.consumers[feed], 0
        for _ in range(times_max):
            before = consumer.follower.cursor, consumer.follower.position, consumer.state
            await self.step(feed)
            still = (
                still + 1
                if before == (consumer.follower.cursor, consumer.follower.position, consumer.state)
                else 0
            )
            if still == 3:
                return
        raise AssertionError("the consumer does not come to rest")

    def refusals(self, feed: str = "feed") -> dict[str, int]:
        """Refusals by cause."""
        return {
            sample.labels["cause"]: int(sample.value)
            for family in self.state.metrics.registry.collect()
            for sample in family.samples
            if sample.name == "eir_feed_refusals_total" and sample.labels["feed"] == feed and sample.value
        }

    def metric(self, name: str, feed: str = "feed", **labels: str) -> float:
        return self.state.metrics.registry.get_sample_value(f"eir_feed_{name}", {"feed": feed, **labels}) or 0

    def stop(self) -> None:
        """End the threads; the store stays open."""
        self.state.writer.shutdown()
        self.state.override_writer.shutdown()
