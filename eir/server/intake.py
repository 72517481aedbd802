"""How deltas come in, whoever brings them: pushed over gRPC, or read from a stream.

    header ──begin──► pending ──chunk──► durable ──commit──► applied, counted, logged

Each step runs in the writer thread.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Final

import structlog

from eir.clock import monotonic
from eir.errors import (
    DeltaGapError,
    DeltaGuardError,
    DeltaInvalidError,
    DeltaTooLargeError,
    FeedStateError,
    RejectedError,
)
from eir.server.state import State
from eir.whitelist.delta import Applied, Header

if TYPE_CHECKING:
    from eir.whitelist.pending import PendingDelta

FEED_CHARACTERS_MAX: Final = 64
"""Of a feed's name in the log, where nobody has looked at it yet."""


class Intake:
    """Takes deltas into one daemon's store, within its limits."""

    def __init__(self, state: State) -> None:
        """Take deltas for `state`."""
        self._state = state
        self._log = structlog.get_logger()
        self._known: frozenset[str] = frozenset()

    async def begin(self, header: Header, *, accepted: bool = False) -> PendingDelta:
        """Begin a delta; one that an operator accepted is taken without its bad rows.

        Raises DeltaTooLargeError, DeltaInvalidError, DeltaGapError, DeltaConflictError, WriterBusyError.
        """
        limits = self._state.config.limits
        if header.row_count > limits.delta_rows_max:
            raise DeltaTooLargeError(
                f"row_count: {header.row_count}; allowed are {limits.delta_rows_max}",
                delta_rows_max=limits.delta_rows_max,
            )
        await self.check_feed(header.feed)
        self._check_clock(header.feed, header.complete_until)
        pending: PendingDelta = await self._state.write(self._state.loaded().push, header)
        pending.ignore_bad_rows |= accepted
        return pending

    async def check_feed(self, feed: str) -> None:
        """Raise DeltaInvalidError for one feed too many: feeds are kept for ever, and label metrics."""
        positions = await asyncio.to_thread(self._state.loaded().feeds)
        self._known = known = frozenset(position.feed for position in positions)
        feeds_max = self._state.config.limits.feeds_max
        if feed not in known and len(known) >= feeds_max:
            raise DeltaInvalidError(
                f"feed: {len(known)} others have pushed, {feeds_max} may", feeds_max=feeds_max
            )

    async def chunk(self, pending: PendingDelta, index: int, payload: bytes) -> None:
        """Make one chunk durable."""
        metrics, size_max = self._state.metrics, self._state.config.limits.chunk_bytes_max
        if len(payload) > size_max:
            raise DeltaTooLargeError(
                f"chunk {index} has {len(payload)} bytes; allowed are {size_max}", chunk_bytes_max=size_max
            )
        started = monotonic()
        await self._state.write(pending.chunk, index, payload)
        metrics.chunk_seconds.observe(monotonic() - started)
        metrics.journal_chunks.inc()
        metrics.journal_bytes.inc(len(payload))

    async def commit(self, pending: PendingDelta, header: Header, content_sha256: bytes) -> Applied:
        """Apply a delta; durable, published, counted and logged on return."""
        started = monotonic()
        applied = await self._state.write(pending.commit, content_sha256)
        self._state.metrics.commit_seconds.observe(monotonic() - started)
        self._note(header, applied)
        return applied

    def abandon(self, pending: PendingDelta) -> None:
        """Forget a delta. After a commit it does nothing.

        Queued, not awaited: it runs before the next delta, also when the caller is cancelled.
        """
        self._state.writer.submit(pending.abort)

    def refused(self, header: Header | None, error: RejectedError) -> None:
        """Count and log a delta that is refused."""
        metrics = self._state.metrics
        metrics.deltas_refused.labels(error.reason).inc()
        if isinstance(error, DeltaGuardError):
            metrics.guard_trips.inc()
        self._log.warning(
            "delta refused",
            reason=error.reason,
            feed=header.feed[:FEED_CHARACTERS_MAX] if header else None,
            sequence=header.sequence if header else None,
        )

    def count(self, header: Header | None, error: RejectedError) -> None:
        """Count a pushed delta that is refused as its feed's; a consumer counts those of its stream.

        Only feeds that are known: anybody who reaches the port may make up names.
        """
        if header is None or header.feed not in self._known.union(self._state.config.feeds):
            return
        self._state.metrics.feed_refusals.labels(header.feed, error.reason).inc()
        if isinstance(error, DeltaGapError):
            self._state.metrics.feed_gaps.labels(header.feed).inc()

    def _note(self, header: Header, applied: Applied) -> None:
        """Count and log a delta that was applied."""
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

    # -- where feeds stand ------------------------------------------------------------------------

    async def position(self, feed: str) -> int:
        """Sequence of the last delta of a feed."""
        return await asyncio.to_thread(self._state.loaded().position, feed)

    async def content_sha256(self, feed: str, sequence: int) -> bytes:
        """Hash of what was applied under a sequence; empty where the journal does not have it any more."""
        record = await asyncio.to_thread(self._state.loaded().journal.find_delta, feed, sequence)
        return record.content_sha256 if record else b""

    async def heartbeat(self, feed: str, sequence: int, complete_until: int) -> None:
        """Note until when a feed is complete."""
        await self.check_feed(feed)
        self._check_clock(feed, complete_until)
        await self._state.write(self._state.loaded().heartbeat, feed, sequence, complete_until)

    def _check_clock(self, feed: str, complete_until: int) -> None:
        """Count and log a feed that is ahead of our clock; the store believes it up to there only."""
        ahead_seconds = complete_until - self._state.clock()
        if ahead_seconds > self._state.config.limits.clock_skew_seconds_max:
            self._state.metrics.feeds_ahead.inc()
            self._log.warning("feed is ahead of our clock", feed=feed, seconds=ahead_seconds)

    async def skip(self, feed: str, sequence: int, who: str, why: str) -> Applied:
        """Let a feed stand at a later sequence without the rows that led there; audited.

        Raises FeedStateError where it stands there already.
        """
        position = await self.position(feed)
        if sequence <= position:
            raise FeedStateError(f"feed {feed} stands at sequence {position} already")
        await self.audit(who, f"feed {feed}: skipped from sequence {position} to {sequence}", why)
        header = Header(feed, sequence, position, 0, reference="skipped by an operator")
        pending = await self.begin(header)
        return await self.commit(pending, header, hashlib.sha256().digest())

    async def audit(self, who: str, what: str, why: str) -> None:
        """Note what somebody does to a feed; durable on return."""
        state = self._state
        await state.write(state.loaded().journal.audit_add, state.clock(), who, what, why)

    async def load(self, key: str) -> str:
        """Return a note kept under a key."""
        return await asyncio.to_thread(self._state.loaded().journal.meta_get, key) or ""

    async def keep(self, key: str, value: str) -> None:
        """Keep a note under a key."""
        await self._state.write(self._state.loaded().journal.meta_set, key, value)
