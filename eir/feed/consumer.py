"""Follows one feed's stream: reads, does what the follower says, and reads again.

    connect ──► find the place ──► read ──► follower ──► intake (writer thread)
       ▲                             └──────── again ◄────────┘
       └── back-off with jitter ◄── connection lost, silent, or writer busy

One task a feed. Whatever a stream holds, or whatever happens to Redis, a check
neither waits for it nor is judged by it: tables grow stale, nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

import structlog

from eir.clock import monotonic
from eir.errors import (
    DeltaConflictError,
    DeltaGapError,
    DeltaRowsRefusedError,
    FeedStateError,
    RejectedError,
    StorageError,
    StreamUnavailableError,
    UnavailableError,
)
from eir.feed import follower as to_do
from eir.feed.follower import START, Action, Bounds, Entry, FeedState, Follower, Place, order
from eir.feed.message import Begin, Cause, Commit
from eir.feed.transport import OversizedError, Transport

if TYPE_CHECKING:
    from eir.metrics import FeedMetrics
    from eir.server.intake import Intake
    from eir.whitelist.delta import Header
    from eir.whitelist.pending import PendingDelta

EXTENT_SECONDS: Final = 5.0
"""How often a server is asked how far behind we are, while we are."""
RESCAN_SECONDS: Final = 60.0
"""How often a stream is read again from its first entry while it seems to lack what comes next: where a
server was emptied and ids began again, what is needed may stand before the last entry that was read."""
KEEP_SECONDS: Final = 10.0
"""How often the place in the stream is kept; what was read since is read again after a restart."""
WARN_SECONDS: Final = 60.0
"""How often the log has one cause of refusals; the counters have all."""
BACKOFF_SECONDS_MIN: Final = 0.2
CLOCK_SKEW_SECONDS_MAX: Final = 300
"""How far ahead of our clock a heartbeat may say that its feed is complete."""
BAD_ROWS_SAID_MAX: Final = 5
INTERNAL: Final = "INTERNAL"

log = structlog.get_logger()


@dataclass(frozen=True)
class Pace:
    """How a stream is read, each with its unit; `silence_seconds_max` 0 is never."""

    block_seconds: float = 2.0
    read_messages_max: int = 8
    silence_seconds_max: float = 0.0
    backoff_seconds_max: float = 30.0


class Consumer:
    """One feed of one daemon. `run` never ends by itself; `step` reads and applies once."""

    def __init__(
        self,
        feed: str,
        intake: Intake,
        connect: Callable[[], Awaitable[Transport]],
        metrics: FeedMetrics,
        clock: Callable[[], int],
        *,
        bounds: Bounds | None = None,
        pace: Pace | None = None,
        random: Random | None = None,
    ) -> None:
        """Follow `feed` over what `connect` gives; it takes another server each time."""
        self.feed, self._intake, self._connect, self._metrics = feed, intake, connect, metrics
        self._clock, self._pace, self._random = clock, pace or Pace(), random or Random()  # noqa: S311 - jitter
        self.follower = Follower(feed, bounds or Bounds())
        self._transport: Transport | None = None
        self._pending: dict[str, tuple[PendingDelta, Header]] = {}
        self._trouble = "not connected yet"
        self._waiting = ""
        self._found = self._whole_reads = False
        self._kept: Place | None = None
        self._kept_at = self._asked_at = self._heard_at = self._rescanned_at = 0.0
        self._added = -1
        """Entries that the stream had been added up to the cursor; -1: not known."""
        self._warned: dict[str, float] = {}
        self._said: tuple[FeedState, str] | None = None

    # -- what people see --------------------------------------------------------------------------

    @property
    def state(self) -> FeedState:
        """How following goes."""
        if self.follower.state is not FeedState.FOLLOWING:
            return self.follower.state  # that a server is away, too, does not make up for it
        if self._trouble:
            return FeedState.CONNECTING
        return FeedState.WAITING if self._waiting else FeedState.FOLLOWING

    @property
    def message(self) -> str:
        """What is wrong; empty while the stream is followed."""
        return "; ".join(filter(None, (self.follower.message, self._trouble, self._waiting)))

    @property
    def snapshot_needed(self) -> bool:
        """Tell whether the stream as it is cannot bring the feed on."""
        refused = self.follower.refused
        diverged = refused is not None and refused.reason == DeltaConflictError.reason
        return diverged or self.follower.state is FeedState.SNAPSHOT

    def accept(self, sequence: int) -> None:
        """Read the delta again before which the feed stands, and apply it in spite of guards and bad rows.

        Raises FeedStateError where it does not stand before that one.
        """
        if not self.follower.accept(sequence):
            raise FeedStateError(
                f"feed {self.feed} does not stand before a refused delta of sequence {sequence};"
                f" it is {self.state}" + (f": {self.message}" if self.message else "")
            )
        self._added = -1

    # -- the task ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow until cancelled."""
        attempt = 0
        try:
            while True:
                try:
                    await self.step()
                    attempt = 0
                    continue
                except StreamUnavailableError as error:
                    await self.disconnect(error.message)
                except UnavailableError as error:
                    self._waiting = error.message
                    self._give_up(self.follower.rewind(), count=False)
                except Exception as error:
                    # The task must outlive whatever goes wrong in one round of it.
                    self._refusal(INTERNAL, f"{type(error).__name__}")
                    log.exception("following failed", feed=self.feed)
                    self._give_up(self.follower.rewind())
                    await self.disconnect(f"internal error: {type(error).__name__}")
                self._show()
                attempt += 1
                await asyncio.sleep(self._backoff_seconds(attempt))
        finally:
            self._give_up(list(self._pending), count=False)
            await self.disconnect("stopped")

    def _backoff_seconds(self, attempt: int) -> float:
        """Jitter: daemons that lost the same server do not come back together."""
        high = min(BACKOFF_SECONDS_MIN * 2 ** min(attempt, 16), self._pace.backoff_seconds_max)
        return self._random.uniform(high / 2, high)

    async def disconnect(self, why: str) -> None:
        """End the connection."""
        self._trouble = why
        self._metrics.connected.set(0)
        transport, self._transport = self._transport, None
        if transport is not None:
            with contextlib.suppress(Exception):
                await transport.close()

    async def step(self) -> None:
        """Read once, connecting first where that is needed, and apply what came.

        Raises StreamUnavailableError, or another UnavailableError of the writer.
        """
        transport = self._transport or await self._open()
        position = await self._intake.position(self.feed)
        if position != self.follower.position:
            self._give_up(self.follower.moved(position))
        cursor = self.follower.cursor
        count = self._pace.read_messages_max if not self._whole_reads else 1
        try:
            entries = await transport.read(cursor.id, count, self._pace.block_seconds)
        except OversizedError as error:
            await self._pass_over(error.entry_id, count)
            return
        if self.follower.cursor == cursor:  # else an operator sent us elsewhere meanwhile
            await (self._apply(entries) if entries else self._idle(transport))
            await self._measure(transport, behind=len(entries) == count)
            if len(entries) < count:
                self._look_again()
        self._waiting = ""
        await self._keep()
        self._show()

    async def _open(self) -> Transport:
        """Connect, and find the place to read on from.

        It is where we were, if this stream still has that entry; else its beginning. What was applied
        before is known by its sequence: reading too much again is harmless.
        """
        if not self._found:
            kept = await self._intake.load(_key(self.feed))
            place = Place(*json.loads(kept)) if kept else START
            self.follower.start(await self._intake.position(self.feed), place)
            self.follower.resume = place
            self._found = True
        transport = await self._connect()
        try:
            await self._verify(transport)
        except BaseException:
            await transport.close()
            raise
        self._transport, self._heard_at, self._trouble = transport, monotonic(), ""
        self._metrics.connects.inc()
        self._metrics.connected.set(1)
        return transport

    async def _verify(self, transport: Transport) -> None:
        """Start again from the first entry where the stream does not have the last one that we read."""
        cursor = self.follower.cursor
        if not cursor.checksum:  # nothing was read yet, or what was passed over
            return
        try:
            entry = await transport.entry(cursor.id)
        except OversizedError as error:
            self._give_up(self.follower.rescan())
            raise StreamUnavailableError("another stream is there than before") from error
        if entry is None or entry.place != cursor:
            self._give_up(self.follower.rescan())
            self._added = -1

    async def _pass_over(self, entry_id: str, count: int) -> None:
        """Find the entry that is too large, and go on after it, over a new connection."""
        await self.disconnect("an entry of the stream is too large to be read")
        if count > 1:
            self._whole_reads = True  # one at a time, to find it
        elif entry_id:
            self._whole_reads = False
            await self._do(self.follower.oversized(entry_id))
        else:
            raise StreamUnavailableError("the server's answer is too large")

    async def _idle(self, transport: Transport) -> None:
        """Look, as nothing came, whether it is still the stream that was read."""
        await self._verify(transport)
        silence = self._pace.silence_seconds_max
        if silence and monotonic() - self._heard_at > silence:
            raise StreamUnavailableError(f"no message for {silence:g} seconds: trying the next server")

    def _look_again(self) -> None:
        """Read from the first entry, now and then, while what comes next is missing."""
        now = monotonic()
        if self.follower.state is not FeedState.SNAPSHOT:
            self._rescanned_at = now
        elif now - self._rescanned_at >= RESCAN_SECONDS:
            self._rescanned_at, self._added = now, -1
            self._give_up(self.follower.rescan())

    async def _apply(self, entries: list[Entry]) -> None:
        """Take entries until one of them sends us elsewhere."""
        self._heard_at = monotonic()
        for entry in entries:
            action = self.follower.take(entry)
            self._metrics.messages.inc()
            self._added += self._added >= 0
            here = self.follower.cursor
            await self._do(action)
            if self.follower.cursor != here:
                self._added = -1
                return

    # -- doing what the follower says -------------------------------------------------------------

    async def _do(self, action: Action) -> None:
        match action:
            case to_do.Nothing(repeat):
                self._metrics.repeats.inc(repeat)
            case to_do.Refuse(cause, message, transfer):
                self._refusal(cause, message)
                self._give_up([transfer], count=False)
            case to_do.Open(begin, instead_of):
                self._give_up([instead_of])
                await self._delta(begin, self._begin(begin))
            case to_do.Take(chunk):
                pending, _ = self._pending[chunk.transfer]
                begin = self.follower.begin_of(chunk.transfer)
                await self._delta(begin, self._intake.chunk(pending, chunk.index, chunk.payload))
            case to_do.Finish(begin, commit):
                await self._delta(begin, self._commit(begin, commit))
            case to_do.Compare(begin, commit):
                await self._compare(begin, commit)
            case to_do.Complete(sequence, complete_until):
                await self._complete(sequence, complete_until)
            case to_do.Gap(message, fresh):
                self._refusal(DeltaGapError.reason, message)
                self._metrics.gaps.inc(fresh)
            case to_do.Rescan():
                self._give_up(self.follower.rescan())

    async def _delta(self, begin: Begin, work: Awaitable[object]) -> None:
        """Do a step of a delta; a delta that is refused stops the feed before it."""
        try:
            await work
        except RejectedError as error:
            position = await self._intake.position(self.feed)
            if position != self.follower.position:  # somebody else brought the feed on meanwhile
                self._give_up([begin.transfer, *self.follower.moved(position)])
                return
            self._stop(begin, error.reason, _said(error))
            self._intake.refused(begin.header(), error)
        except UnavailableError:
            raise
        except Exception as error:
            log.exception("a delta failed", feed=self.feed, sequence=begin.sequence)
            self._stop(begin, INTERNAL, type(error).__name__)

    def _stop(self, begin: Begin, reason: str, message: str) -> None:
        self._refusal(reason, message)
        self.follower.refuse(begin.transfer, reason, message)
        self._give_up([begin.transfer], count=False)

    async def _begin(self, begin: Begin) -> None:
        accepted = self.follower.overrides(begin)
        if begin.base_sha256 and not accepted:
            base = await self._intake.content_sha256(self.feed, begin.base_sequence)
            if base and base != begin.base_sha256:
                raise DeltaConflictError(
                    f"it builds on another delta of sequence {begin.base_sequence} than was applied here"
                )
        header = begin.header(override_guards=accepted)
        self._pending[begin.transfer] = await self._intake.begin(header, accepted=accepted), header

    async def _commit(self, begin: Begin, commit: Commit) -> None:
        pending, header = self._pending[begin.transfer]
        await self._intake.commit(pending, header, commit.content_sha256)
        self._pending.pop(begin.transfer)
        self._give_up(self.follower.applied(begin.transfer, begin.sequence))

    async def _compare(self, begin: Begin, commit: Commit) -> None:
        """Tell a repeat from another delta under the same sequence; that one is passed over."""
        applied = await self._intake.content_sha256(self.feed, begin.sequence)
        if applied and applied != commit.content_sha256:
            self._refusal(DeltaConflictError.reason, f"sequence {begin.sequence} was applied with other rows")
        else:
            self._metrics.repeats.inc()

    async def _complete(self, sequence: int, complete_until: int) -> None:
        if complete_until > self._clock() + CLOCK_SKEW_SECONDS_MAX:
            self._refusal(Cause.HEARTBEAT_TIME, "a heartbeat is ahead of the clock")
        else:
            await self._intake.heartbeat(self.feed, sequence, complete_until)

    def _give_up(self, transfers: Iterable[str], *, count: bool = True) -> None:
        """Forget deltas on their way."""
        for name in transfers:
            if name in self._pending:
                self._intake.abandon(self._pending.pop(name)[0])
                if count:
                    self._refusal(Cause.TRANSFER_ABANDONED, "a transfer was not committed")

    # -- telling ----------------------------------------------------------------------------------

    def _refusal(self, cause: str, message: str) -> None:
        """Count a refusal; say the first of its cause, and then one a minute."""
        self._metrics.refusals(cause).inc()
        now = monotonic()
        if now - self._warned.get(cause, -WARN_SECONDS) >= WARN_SECONDS:
            self._warned[cause] = now
            log.warning("message refused", feed=self.feed, cause=str(cause), why=message)

    async def _measure(self, transport: Transport, *, behind: bool) -> None:
        """Note how far behind the stream's end we are."""
        now, metrics = monotonic(), self._metrics
        metrics.read.set(self._clock())
        if not behind:
            metrics.lag_messages.set(0)
            metrics.lag_seconds.set(0)
        if (
            (behind or self._added < 0)
            and self._transport is transport
            and now - self._asked_at >= EXTENT_SECONDS
        ):
            self._asked_at = now
            extent = await transport.extent()
            if behind:
                known = extent.added and self._added >= 0
                unread = extent.added - self._added if known else extent.length
                metrics.lag_messages.set(max(unread, 0))
                last = order(Place(extent.last_id))[0]
                metrics.lag_seconds.set(max(last - order(self.follower.cursor)[0], 0) / 1000)
            else:
                self._added = extent.added or -1

    async def _keep(self) -> None:
        """Keep the place to resume from, now and then; where that fails, more is read again."""
        now, place = monotonic(), self.follower.resume
        if place != self._kept and now - self._kept_at >= KEEP_SECONDS:
            self._kept_at = now
            with contextlib.suppress(StorageError):
                await self._intake.keep(_key(self.feed), json.dumps(place))
                self._kept = place

    def _show(self) -> None:
        """Bring gauges up to date, and log what changed."""
        state = self.state
        self._metrics.show(state, snapshot_needed=self.snapshot_needed, sequence=self.follower.seen_sequence)
        said = state, self.follower.message
        if said != self._said:
            self._said = said
            say = log.info if state is FeedState.FOLLOWING else log.warning
            say("feed " + state, feed=self.feed, why=self.message, position=self.follower.position)


def _said(error: RejectedError) -> str:
    """Say why a delta is refused, without what its rows hold: it stands on pages that anybody may read."""
    if not isinstance(error, DeltaRowsRefusedError):
        return error.message
    first = ", ".join(f"row {bad.row} {bad.reason}" for bad in error.bad_rows[:BAD_ROWS_SAID_MAX])
    return f"{error.bad_row_count} rows cannot be applied: {first}"


def _key(feed: str) -> str:
    """Key of the journal under which the place in a feed's stream is kept."""
    return f"stream_place.{feed}"
