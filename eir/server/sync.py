"""RegistrySyncService: deltas, whole or not at all.

    header ──► accepted;  chunk ──► durable, each;  commit ──► applied | refused

`turns` says whose turn it is; a bounded number wait. A stream that ends before
its commit leaves nothing behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from math import inf
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
    FeedStateError,
    InvalidRequestError,
    RejectedError,
)
from eir.interceptors import Context
from eir.proto import sync_pb2
from eir.server.check import parse
from eir.server.enforcement import check_reasons
from eir.server.intake import Intake
from eir.server.state import State
from eir.server.turns import Turns
from eir.whitelist.delta import Applied, BadRow, Header, TableEffect

if TYPE_CHECKING:
    from eir.whitelist.journal import FeedRecord

BAD_ROWS_MAX = 1000


class SyncService:
    """Takes deltas, and tells where feeds stand."""

    def __init__(self, state: State) -> None:
        """Serve over `state`."""
        self._state, self._intake = state, Intake(state)
        self._turns = Turns(state.config.limits, state.metrics.pushes_waiting)
        self._log = structlog.get_logger()

    async def push(self, _: Any, context: Context) -> None:
        """PushDelta."""
        self._state.loaded()
        self._state.not_draining()
        header = None
        try:
            # Before the turn: who says nothing keeps nobody waiting.
            header = _header(await self._read(context, inf, "header"))
            async with self._turns.take(header.feed, header.row_count):
                await self._push(header, context)
        except RejectedError as error:
            self._intake.refused(header, error)
            self._intake.count(header, error)
            if isinstance(error, (DeltaRowsRefusedError, DeltaGuardError)):
                await self._write(context, refused=_report(error))
            raise

    async def _push(self, header: Header, context: Context) -> None:
        """Take one delta, having a turn."""
        limits, size = self._state.config.limits, 0
        deadline = monotonic() + limits.push_seconds_max
        pending = await self._intake.begin(header)
        try:
            await self._write(context, accepted=sync_pb2.DeltaAccepted(repeat=pending.repeat))
            index = 0
            while (message := await self._read(context, deadline, "chunk", "commit")).HasField("chunk"):
                size += len(message.chunk.payload)
                if size > limits.delta_bytes_max:
                    raise DeltaTooLargeError(
                        f"the payloads have more than {limits.delta_bytes_max} bytes together",
                        delta_bytes_max=limits.delta_bytes_max,
                    )
                if message.chunk.index != index:
                    raise DeltaInvalidError(
                        f"chunk index {message.chunk.index}: expected {index}", expected_index=index
                    )
                await self._intake.chunk(pending, index, message.chunk.payload)
                await self._write(context, chunk_durable=sync_pb2.ChunkDurable(index=index))
                index += 1
            applied = await self._intake.commit(pending, header, message.commit.content_sha256)
        finally:
            self._intake.abandon(pending)
        await self._write(context, applied=_applied(applied))

    async def _read(self, context: Context, deadline: float, *expected: str) -> sync_pb2.PushDeltaRequest:
        """Return the next message, which must be one of those expected and come in time.

        A sender that is never silent for long must come to an end, too: the deadline is for all.
        """
        limits, wanted = self._state.config.limits, " or ".join(expected)
        idle, left = limits.push_idle_seconds_max, deadline - monotonic()
        try:
            data = await asyncio.wait_for(context.read(), min(idle, left))
        except TimeoutError:
            if left < idle:
                raise DeltaInvalidError(f"no commit came for {limits.push_seconds_max} seconds") from None
            raise DeltaInvalidError(f"no {wanted} came for {idle} seconds") from None
        if data is grpc.aio.EOF:
            raise DeltaInvalidError(f"the stream ended where {wanted} was expected")
        message = parse(sync_pb2.PushDeltaRequest, data)
        got = message.WhichOneof("message")
        if got not in expected:
            raise DeltaInvalidError(f"{got or 'an empty message'} came where {wanted} was expected")
        return message

    async def _write(self, context: Context, **message: Any) -> None:
        """Send one answer of a delta, to a sender who must read it in time."""
        seconds = self._state.config.limits.push_idle_seconds_max
        answer = sync_pb2.PushDeltaResponse(**message).SerializeToString()
        try:
            await asyncio.wait_for(context.write(answer), seconds)
        except TimeoutError:
            raise DeltaInvalidError(f"answers were not read for {seconds} seconds") from None

    async def position(self, data: bytes, _: Context) -> bytes:
        """GetFeedPosition."""
        request = parse(sync_pb2.GetFeedPositionRequest, data)
        store = self._state.loaded()
        positions = await asyncio.to_thread(store.feeds)
        found = {position.feed: _position(position) for position in positions}
        for name, consumer in self._state.consumers.items():
            feed = found.setdefault(name, sync_pb2.FeedPosition(feed=name))
            feed.state, feed.state_message = consumer.state, consumer.message
            feed.snapshot_needed = consumer.snapshot_needed
            feed.refused_sequence = consumer.follower.refused.sequence if consumer.follower.refused else 0
        feeds = [feed for name, feed in found.items() if request.feed in {"", name}]
        if request.feed and not feeds:
            feeds = [sync_pb2.FeedPosition(feed=request.feed)]
        feeds.sort(key=lambda feed: feed.feed)
        return sync_pb2.GetFeedPositionResponse(
            feeds=feeds, serial=store.generation.serial
        ).SerializeToString()

    async def resolve(self, data: bytes, _: Context) -> bytes:
        """ResolveFeed: an operator brings a feed on."""
        state, intake = self._state, self._intake
        request = parse(sync_pb2.ResolveFeedRequest, data)
        state.loaded()
        state.not_draining()
        if request.resolution == sync_pb2.FEED_RESOLUTION_UNSPECIFIED:
            raise InvalidRequestError("resolution", "allowed are ACCEPT and SKIP")
        check_reasons(request.who, request.why)
        if request.resolution == sync_pb2.FEED_RESOLUTION_SKIP:
            async with self._turns.take(request.feed, 0):
                await intake.skip(request.feed, request.sequence, request.who, request.why)
        else:
            consumer = state.consumers.get(request.feed)
            if consumer is None:
                raise FeedStateError(f"feed {request.feed}: this daemon follows no stream of it")
            what = f"feed {request.feed}: the refused delta of sequence {request.sequence} is to be accepted"
            await intake.audit(request.who, what, request.why)
            consumer.accept(request.sequence)
        self._log.warning(
            "feed resolved",
            feed=request.feed,
            resolution=sync_pb2.FeedResolution.Name(request.resolution),
            sequence=request.sequence,
            who=request.who,
            why=request.why,
        )
        return sync_pb2.ResolveFeedResponse().SerializeToString()


def _position(position: FeedRecord) -> sync_pb2.FeedPosition:
    """Return where a feed stands as a message."""
    return sync_pb2.FeedPosition(
        feed=position.feed,
        sequence=position.sequence,
        serial=position.serial,
        complete_until=position.complete_until,
        applied_at=position.applied_at,
    )


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
