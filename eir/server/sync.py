"""RegistrySyncService: deltas, whole or not at all.

    header ──► accepted;  chunk ──► durable, each;  commit ──► applied | refused

One delta at a time has the writer; a bounded number wait for it. A stream that
ends before its commit leaves nothing behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import structlog

from eir.clock import monotonic
from eir.errors import (
    DeltaGuardError,
    DeltaInvalidError,
    DeltaRowsRefusedError,
    DeltaTooLargeError,
    EirError,
    RejectedError,
    WriterBusyError,
)
from eir.interceptors import Context
from eir.proto import sync_pb2
from eir.server.check import parse
from eir.server.state import State
from eir.whitelist.delta import Applied, BadRow, Header, TableEffect

if TYPE_CHECKING:
    from eir.whitelist.store import PendingDelta

BAD_ROWS_MAX = 1000
FEED_CHARACTERS_MAX = 64
"""Of a feed's name in the log, where nobody has looked at it yet."""


class SyncService:
    """Takes deltas, and tells where feeds stand."""

    def __init__(self, state: State) -> None:
        """Serve over `state`."""
        self._state = state
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._log = structlog.get_logger()

    async def push(self, _: Any, context: Context) -> None:
        """PushDelta."""
        self._state.loaded()
        self._state.not_draining()
        header = None
        try:
            # Before the turn: who says nothing keeps nobody waiting.
            header = _header(await self._read(context, "header"))
            async with self._my_turn():
                await self._push(header, context)
        except RejectedError as error:
            self._state.metrics.deltas_refused.labels(error.reason).inc()
            if isinstance(error, DeltaGuardError):
                self._state.metrics.guard_trips.inc()
            self._log.warning(
                "delta refused",
                reason=error.reason,
                feed=header.feed[:FEED_CHARACTERS_MAX] if header else None,
                sequence=header.sequence if header else None,
            )
            if isinstance(error, (DeltaRowsRefusedError, DeltaGuardError)):
                await _write(context, refused=_report(error))
            raise

    async def _push(self, header: Header, context: Context) -> None:
        """Take one delta, having the writer."""
        state, store = self._state, self._state.loaded()
        limits, size = state.config.limits, 0
        if header.row_count > limits.delta_rows_max:
            raise DeltaTooLargeError(
                f"row_count: {header.row_count}; allowed are {limits.delta_rows_max}",
                delta_rows_max=limits.delta_rows_max,
            )
        await self._check_feed(header.feed)
        pending = await state.write(store.push, header)
        try:
            await _write(context, accepted=sync_pb2.DeltaAccepted(repeat=pending.repeat))
            index = 0
            while (message := await self._read(context, "chunk", "commit")).HasField("chunk"):
                size += len(message.chunk.payload)
                if size > limits.delta_bytes_max:
                    raise DeltaTooLargeError(
                        f"the payloads have more than {limits.delta_bytes_max} bytes together",
                        delta_bytes_max=limits.delta_bytes_max,
                    )
                await self._chunk(pending, message.chunk, index)
                await _write(context, chunk_durable=sync_pb2.ChunkDurable(index=index))
                index += 1
            started = monotonic()
            applied = await state.write(pending.commit, message.commit.content_sha256)
            state.metrics.commit_seconds.observe(monotonic() - started)
        finally:
            # After a commit it does nothing. Queued, not awaited: it runs before the next delta, also when
            # this call was cancelled.
            state.writer.submit(pending.abort)
        self._note(header, applied)
        await _write(context, applied=_applied(applied))

    async def _check_feed(self, feed: str) -> None:
        """Raise DeltaInvalidError for one feed too many: feeds are kept for ever, and label metrics."""
        known = {position.feed for position in await asyncio.to_thread(self._state.loaded().feeds)}
        feeds_max = self._state.config.limits.feeds_max
        if feed not in known and len(known) >= feeds_max:
            raise DeltaInvalidError(
                f"feed: {len(known)} others have pushed, {feeds_max} may", feeds_max=feeds_max
            )

    async def _chunk(self, pending: PendingDelta, chunk: sync_pb2.DeltaChunk, index: int) -> None:
        """Make one chunk durable."""
        metrics, size_max = self._state.metrics, self._state.config.limits.chunk_bytes_max
        if chunk.index != index:
            raise DeltaInvalidError(f"chunk index {chunk.index}: expected {index}", expected_index=index)
        if len(chunk.payload) > size_max:
            raise DeltaTooLargeError(
                f"chunk {index} has {len(chunk.payload)} bytes; allowed are {size_max}",
                chunk_bytes_max=size_max,
            )
        started = monotonic()
        await self._state.write(pending.chunk, index, chunk.payload)
        metrics.chunk_seconds.observe(monotonic() - started)
        metrics.journal_chunks.inc()
        metrics.journal_bytes.inc(len(chunk.payload))

    async def _read(self, context: Context, *expected: str) -> sync_pb2.PushDeltaRequest:
        """Return the next message, which must be one of those expected."""
        seconds, wanted = self._state.config.limits.push_idle_seconds_max, " or ".join(expected)
        try:
            data = await asyncio.wait_for(context.read(), seconds)
        except TimeoutError:
            raise DeltaInvalidError(f"no {wanted} came for {seconds} seconds") from None
        if data is grpc.aio.EOF:
            raise DeltaInvalidError(f"the stream ended where {wanted} was expected")
        message = parse(sync_pb2.PushDeltaRequest, data)
        got = message.WhichOneof("message")
        if got not in expected:
            raise DeltaInvalidError(f"{got or 'an empty message'} came where {wanted} was expected")
        return message

    @asynccontextmanager
    async def _my_turn(self) -> AsyncIterator[None]:
        """Wait for the writer. Raises WriterBusyError when too many wait."""
        limit = self._state.config.limits.pushes_waiting_max
        if self._turn.locked() and self._waiting >= limit:
            raise WriterBusyError(pushes_waiting_max=limit)
        self._waiting += 1
        self._state.metrics.pushes_waiting.set(self._waiting)
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
            self._state.metrics.pushes_waiting.set(self._waiting)
        try:
            yield
        finally:
            self._turn.release()

    def _note(self, header: Header, applied: Applied) -> None:
        """Count and log a delta."""
        metrics = self._state.metrics
        if not (applied.repeat or applied.dry_run):
            metrics.deltas_applied.inc()
            metrics.rows_ignored.inc(applied.ignored_row_count)
            metrics.serial.set(applied.serial)
        self._log.info(
            "delta",
            feed=header.feed,
            sequence=header.sequence,
            rows=header.row_count,
            serial=applied.serial,
            repeat=applied.repeat,
            dry_run=applied.dry_run,
            ignored=applied.ignored_row_count,
            overridden=header.override_guards,
        )

    async def position(self, data: bytes, _: Context) -> bytes:
        """GetFeedPosition."""
        request = parse(sync_pb2.GetFeedPositionRequest, data)
        store = self._state.loaded()
        positions = await asyncio.to_thread(store.feeds)
        feeds = [
            sync_pb2.FeedPosition(
                feed=position.feed,
                sequence=position.sequence,
                serial=position.serial,
                complete_until=position.complete_until,
                applied_at=position.applied_at,
            )
            for position in positions
            if request.feed in {"", position.feed}
        ]
        if request.feed and not feeds:
            feeds = [sync_pb2.FeedPosition(feed=request.feed)]
        feeds.sort(key=lambda feed: feed.feed)
        return sync_pb2.GetFeedPositionResponse(
            feeds=feeds, serial=store.generation.serial
        ).SerializeToString()


def _header(message: sync_pb2.PushDeltaRequest) -> Header:
    """Return the header of a delta; the store says whether it can be used."""
    header = message.header
    return Header(
        feed=header.feed,
        sequence=header.sequence,
        base_sequence=header.base_sequence,
        row_count=header.row_count,
        complete_until=header.complete_until,
        reference=header.reference,
        dry_run=header.dry_run,
        override_guards=header.override_guards,
    )


async def _write(context: Context, **message: Any) -> None:
    """Send one answer of a delta."""
    await context.write(sync_pb2.PushDeltaResponse(**message).SerializeToString())


def _bad_rows(rows: Iterable[BadRow]) -> list[sync_pb2.BadRow]:
    """Return bad rows as messages, a bounded number of them."""
    return [
        sync_pb2.BadRow(row=bad.row, reason=bad.reason, message=bad.message)
        for _, bad in zip(range(BAD_ROWS_MAX), rows, strict=False)
    ]


def _effects(effects: Iterable[TableEffect]) -> list[sync_pb2.TableEffect]:
    """Return effects as messages."""
    return [
        sync_pb2.TableEffect(table=effect.table, added=effect.added, removed=effect.removed, rows=effect.rows)
        for effect in effects
    ]


def _applied(applied: Applied) -> sync_pb2.DeltaApplied:
    """Return the acknowledgement of a delta."""
    return sync_pb2.DeltaApplied(
        serial=applied.serial,
        repeat=applied.repeat,
        dry_run=applied.dry_run,
        effects=_effects(applied.effects),
        ignored_row_count=applied.ignored_row_count,
        bad_rows=_bad_rows(applied.bad_rows),
    )


def _report(error: EirError) -> sync_pb2.DeltaRefused:
    """Return the report on a refused delta."""
    report = sync_pb2.DeltaRefused(reason=error.reason, message=error.message)
    if isinstance(error, DeltaRowsRefusedError):
        report.bad_row_count = error.bad_row_count
        report.bad_rows.extend(_bad_rows(error.bad_rows))
    if isinstance(error, DeltaGuardError):
        report.effects.extend(_effects(error.effects))
    return report
