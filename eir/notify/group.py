"""The group of daemons that keep the same cases: one task that speaks and hears for this one.

    member (keeper's thread) ◄──hear── lines ◄──┐
            │                                    board (Redis)
            └──── lines, claims, presence ──────►┘
    member ◄── everything ◄── another daemon, where something was missed

Checks know nothing of it. While the board is away nothing new is claimed: what was claimed goes out while its
lease lasts, cases are opened, and deadlines do not fall.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

import structlog

from eir.errors import StorageError, StreamUnavailableError
from eir.notify.board import Board, Got, PerHour
from eir.notify.claims import Candidate, Share
from eir.notify.member import Member
from eir.notify.outbox import Notice
from eir.notify.schedule import HOUR
from eir.proto import group_pb2

log = structlog.get_logger()

READ_LINES_MAX: Final = 64
PUBLISH_LINES_MAX: Final = 256
FALLS_AT_ONCE: Final = 1_000
CLAIMS_AT_ONCE: Final = 1_000
"""In one command: a server does nothing else meanwhile."""
SPEAK_SECONDS: Final = 0.1
"""How often there is something to publish, or to claim."""
RETRY_SECONDS: Final = 1.0
BACKOFF_SECONDS_MAX: Final = 5.0
SAID_SECONDS: Final = 3_600
FAREWELL_SECONDS_MAX: Final = 2.0
LEASE_PARTS: Final = 3
"""Leases are renewed so many times before they run out."""
MARGIN: Final = 0.8
"""Of a lease that we count on: clocks differ in speed, and commands take time."""


class GroupState(StrEnum):
    """How it stands with the group."""

    AWAY = "away"
    """The board cannot be reached: nothing new is claimed."""
    JOINING = "joining"
    """It is not known yet who is there, or something was missed: nothing new is claimed."""
    TOGETHER = "together"
    """Everything that the others told is known."""


class Peer(NamedTuple):
    """What a daemon says of itself: where it is managed, its last published line, whether it sends."""

    address: str
    published: int
    sends: bool


@dataclass(frozen=True)
class Terms:
    """How a group works, each with its unit."""

    lease_seconds: float = 10.0
    block_seconds: float = 1.0
    address: str = ""
    """Where this daemon is managed, as others reach it."""
    hear_seconds_max: float = 3.0
    """Wait for what was told before a claim was granted; after it, the claim is not made use of."""


@dataclass
class Group:
    """The group as one of its daemons sees it. `run` runs until cancelled; the steps are there for tests."""

    member: Member
    in_thread: Callable[..., Awaitable[Any]]
    """Runs a function in the keeper's thread."""
    commit: Callable[[], None]
    connect: Callable[[], Awaitable[Board]]
    """Connects to the next server; raises StreamUnavailableError."""
    everything: Callable[[str], AsyncIterator[group_pb2.GroupLine]]
    """All that the daemon at an address knows; raises StreamUnavailableError."""
    clock: Callable[[], int]
    monotonic: Callable[[], float]
    terms: Terms = field(default_factory=Terms)
    sends: Callable[[], bool] = lambda: True
    falls_per_hour_max: Callable[[], int] = lambda: 1 << 30
    counts: Counter[str] = field(default_factory=Counter)
    peers: dict[str, Peer] = field(default_factory=dict)
    trouble: str = "not connected yet"
    heard_at: float = 0.0
    _hearing: Board | None = None
    _speaking: Board | None = None
    _there_since: float | None = None
    """Since when our presence stands on the board without a gap."""
    _announced_at: float = float("-inf")
    _end: str = "0-0"
    """The stream's last entry when the others were last looked at."""
    _to_look: bool = True
    """What was heard up to there is still to be held against what the others say they told."""
    _looked: bool = False
    """That was done since we are there."""
    _heard: asyncio.Event = field(default_factory=asyncio.Event)
    _claim_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _retried_at: float = float("-inf")
    _swept_at: float = float("-inf")
    _said: GroupState | None = None

    # -- what people see --------------------------------------------------------------------------

    @property
    def state(self) -> GroupState:
        """How it stands with the group."""
        if self._speaking is None or self._hearing is None:
            return GroupState.AWAY
        return GroupState.TOGETHER if self._settled and not self._missed else GroupState.JOINING

    @property
    def message(self) -> str:
        """What is in the way; empty while nothing is."""
        if self.state is GroupState.AWAY:
            return self.trouble
        if self._missed:
            return "something that other daemons told was missed: asking them for all that they know"
        return "" if self._settled else "finding out who is there"

    @property
    def _settled(self) -> bool:
        """Tell whether everybody who is there has had the time to say so."""
        now, lease = self.monotonic(), self.terms.lease_seconds
        # Who stood still for so long is not there for the others.
        return self._looked and self._settled_for(now) and now - self._announced_at < lease

    @property
    def _missed(self) -> set[str]:
        return self.member.hearer.missed

    @property
    def share(self) -> Share:
        """Which cases this daemon sends for."""
        senders = sorted(name for name, peer in self.peers.items() if peer.sends)
        seconds = int(2 * self.terms.lease_seconds)
        if self.member.name not in senders:
            return Share(0, 1, seconds)
        return Share(senders.index(self.member.name), len(senders), seconds)

    # -- the task ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work with the group until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._again(self.listen, "listening"))
                tasks.create_task(self._again(self.speak, "speaking"))
        finally:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(FAREWELL_SECONDS_MAX):
                    await self._farewell()
            await self.disconnect("stopped")

    async def _farewell(self) -> None:
        """Tell what is left to tell, over a connection of its own: nobody is to do again what was done."""
        board = await self.connect()
        try:
            while await self.publish(board):
                pass
            await board.leave(self.member.name)
        finally:
            await board.close()

    async def _again(self, step: Callable[[], Awaitable[None]], what: str) -> None:
        failures = 0
        while True:
            try:
                await step()
                failures = 0
                continue
            except StreamUnavailableError as error:
                await self.disconnect(error.message)
            except StorageError as error:
                log.warning("group: storage failed", error=error.message)
            except Exception as error:
                # The task must outlive whatever goes wrong in one round of it.
                self.counts["failures"] += 1
                log.exception("group failed", at=what)
                await self.disconnect(f"internal error: {type(error).__name__}")
            failures += 1
            await asyncio.sleep(min(SPEAK_SECONDS * 2**failures, BACKOFF_SECONDS_MAX))

    async def disconnect(self, why: str) -> None:
        """End the connections."""
        self.trouble = why
        boards, self._hearing, self._speaking = (self._hearing, self._speaking), None, None
        self._there_since, self._to_look, self._looked = None, True, False
        for board in boards:
            if board is not None:
                with contextlib.suppress(Exception):
                    await board.close()
        self._say()

    # -- hearing ----------------------------------------------------------------------------------

    async def listen(self, block_seconds: float | None = None) -> None:
        """Hear what came. Raises StreamUnavailableError, StorageError."""
        if self._hearing is None:
            self._hearing = await self.connect()
        wait = self.terms.block_seconds if block_seconds is None else block_seconds
        entries = await self._hearing.read(self.member.notes.position, READ_LINES_MAX, wait)
        if entries:
            await self.in_thread(self._hear, entries)
        self.heard_at = self.monotonic()
        self._look()
        self._heard.set()
        self._heard = asyncio.Event()

    def _hear(self, entries: Sequence[tuple[str, bytes]]) -> None:
        self.commit()  # what is not committed yet is not seen by queries
        self.member.hearer.hear(entries, self.clock())
        self.commit()

    def _look(self) -> None:
        """Find out, once everything up to a place was heard, whether something told before it is missing."""
        if self._there_since is None or _order(self.member.notes.position) < _order(self._end):
            return
        if self._to_look:
            for name, peer in self.peers.items():
                if name != self.member.name and peer.published > self.member.notes.heard.get(name, 0):
                    self.member.hearer.missed.add(name)
            self._to_look, self._looked = False, True

    async def _heard_up_to(self, last_id: str) -> None:
        """Wait until everything up to an entry was heard. Raises TimeoutError."""
        async with asyncio.timeout(self.terms.hear_seconds_max):
            while _order(self.member.notes.position) < _order(last_id):
                await self._heard.wait()

    # -- speaking ---------------------------------------------------------------------------------

    async def speak(self) -> None:
        """Publish, announce, claim and catch up, once. Raises StreamUnavailableError, StorageError."""
        if self._speaking is None:
            self._speaking = await self.connect()
            self._announced_at = float("-inf")
        board = self._speaking
        more = await self.publish(board)
        if self.monotonic() - self._announced_at >= self.terms.lease_seconds / LEASE_PARTS:
            await self.announce(board)
            await self._renew(board)
        if self.state is GroupState.TOGETHER:
            await self._claim_falls(board)
        elif self._settled and self._missed:
            await self.catch_up()
        await self._sweep()
        self._say()
        if not more:
            await asyncio.sleep(SPEAK_SECONDS)

    async def publish(self, board: Board) -> bool:
        """Publish what was committed; tells whether there is more."""
        lines = await self.in_thread(self.member.teller.unpublished, PUBLISH_LINES_MAX)
        published = 0
        try:
            for number, line in lines:
                await board.add(line)
                published = number
                self.counts["published"] += 1
        finally:
            done = await self.in_thread(self._published, published)
        await self._release(board, done)
        return len(lines) == PUBLISH_LINES_MAX

    def _published(self, number: int) -> list[str]:
        self.member.teller.published(number)
        return self.member.claims.let_go(self.member.teller.published_to)

    async def announce(self, board: Board) -> None:
        """Say that we are there, and look who else is."""
        me = self.member
        says = Peer(self.terms.address, me.teller.published_to, self.sends())
        present = await board.announce(me.name, json.dumps(says), self.terms.lease_seconds)
        now = self.monotonic()
        if not present.known or self._there_since is None:
            # The board is new to us, or it forgot us.
            self._there_since, self._looked = now, False
        self._announced_at = now
        self.peers = {name: peer for name, text in present.members.items() if (peer := _peer(text))}
        self._end, self._to_look = present.last_id, True
        if _order(present.last_id) < _order(me.notes.position):
            # Another stream than we read: what it has is read from the beginning.
            await self.in_thread(me.hearer.hear_again)
            self._there_since, self._looked = now, False
            self.counts["streams_lost"] += 1
        gone = me.hearer.missed - self.peers.keys()
        if gone and self._settled_for(now):
            me.hearer.lost(sorted(gone))
        self._look()

    def _settled_for(self, now: float) -> bool:
        since = self._there_since
        return since is not None and now - since >= self.terms.lease_seconds

    async def catch_up(self) -> None:
        """Ask daemons for all that they know, of which something was missed."""
        for name in sorted(self._missed):
            peer = self.peers.get(name)
            if peer is None:
                continue
            try:
                async for part in self.everything(peer.address):
                    if part.daemon != name:
                        raise StreamUnavailableError(f"{peer.address} is another daemon")  # noqa: TRY301
                    await self.in_thread(self._take_part, part)
                self.counts["caught_up"] += 1
            except StreamUnavailableError as error:
                self.counts["catch_up_failures"] += 1
                log.warning("a daemon of the group cannot be asked", address=peer.address, why=error.message)
                await asyncio.sleep(RETRY_SECONDS)

    def _take_part(self, part: group_pb2.GroupLine) -> None:
        self.commit()
        self.member.hearer.caught_up(part, self.clock())
        self.commit()

    async def _sweep(self) -> None:
        """Look again, now and then, at what did not hold here; forget what is old."""
        now = self.monotonic()
        if now - self._retried_at >= RETRY_SECONDS:
            self._retried_at = now
            if self.member.notes.unplaced:
                await self.in_thread(self._retry)
            if not self.sends():  # what the others sent is taken out of the outbox here, too
                await self.in_thread(self._candidates, CLAIMS_AT_ONCE)
        if now - self._swept_at >= SAID_SECONDS:
            self._swept_at = now
            await self.in_thread(self.member.notes.forget_said, self.clock())

    def _retry(self) -> None:
        self.commit()
        self.member.hearer.retry(self.clock())
        self.commit()

    # -- claims -----------------------------------------------------------------------------------

    async def claimed(self, room: int) -> list[Notice]:
        """Return notices that this daemon alone may send now; at most so many. Raises StorageError."""
        if self.state is not GroupState.TOGETHER or self._speaking is None:
            return []
        async with self._claim_lock:
            wanted = await self.in_thread(self._candidates, min(room, CLAIMS_AT_ONCE))
            if not wanted:
                return []
            asked_at = self.monotonic()
            try:
                granted, last_id = await self._granted(self._speaking, wanted)
                if not granted:
                    return []
                await self._heard_up_to(last_id)
            except (StreamUnavailableError, TimeoutError):
                # Not sent; the leases run out.
                return []
            if self.monotonic() - asked_at > self.terms.lease_seconds * MARGIN:
                return []
            due = await self.in_thread(self._still_due, granted)
            kept = {notice.id for notice in due}
            await self._let_go([one.claim for one in granted if one.notice.id not in kept])
            return list(due)

    def used(self) -> None:
        """Say that what was claimed last is submitted by now, or is not."""
        self.member.claims.used()

    def _candidates(self, room: int) -> list[Candidate]:
        found = self.member.claims.candidates(room, self.share)
        self.commit()
        return found

    def _still_due(self, granted: Sequence[Candidate]) -> list[Notice]:
        self.commit()
        return self.member.claims.still_due(granted)

    async def _granted(self, board: Board, wanted: Sequence[Candidate]) -> tuple[list[Candidate], str]:
        names = [one.claim for one in wanted]
        claimed = await board.claim(names, self.member.name, self.terms.lease_seconds)
        pairs = list(zip(wanted, claimed.got, strict=True))
        self.counts["denied"] += sum(got is Got.DENIED for _, got in pairs)
        self.counts["taken_over"] += sum(got is Got.TAKEN_OVER for _, got in pairs)
        return [one for one, got in pairs if got is not Got.DENIED], claimed.last_id

    async def _let_go(self, claims: Sequence[str]) -> None:
        if self._speaking is not None:
            with contextlib.suppress(StreamUnavailableError):  # their leases run out
                await self._release(self._speaking, claims)

    async def _release(self, board: Board, claims: Sequence[str]) -> None:
        for at in range(0, len(claims), CLAIMS_AT_ONCE):
            await board.release(claims[at : at + CLAIMS_AT_ONCE], self.member.name)

    async def _renew(self, board: Board) -> None:
        """Claim on what we are about."""
        claims, gone = await self.in_thread(self.member.claims.held)
        await self._release(board, gone)
        for at in range(0, len(claims), CLAIMS_AT_ONCE):
            part = claims[at : at + CLAIMS_AT_ONCE]
            asked_at = self.monotonic()
            renewed = await board.claim(part, self.member.name, self.terms.lease_seconds)
            lost = [got is Got.DENIED for got in renewed.got]
            self.counts["leases_lost"] += sum(lost)
            kept = [claim for claim, gone in zip(part, lost, strict=True) if not gone]
            until = asked_at + self.terms.lease_seconds * MARGIN
            await self.in_thread(self.member.claims.renewed, kept, until)

    async def _claim_falls(self, board: Board) -> None:
        """Claim deadlines that are to fall, as many as may fall in an hour by all daemons together."""
        wanted = await self.in_thread(self.member.claims.take_wanted, FALLS_AT_ONCE)
        if not wanted:
            return
        asked_at = self.monotonic()
        per_hour = PerHour(self.falls_per_hour_max(), self.clock() // HOUR)
        claimed = await board.claim(wanted, self.member.name, self.terms.lease_seconds, per_hour)
        granted = [fall for fall, got in zip(wanted, claimed.got, strict=True) if got is not Got.DENIED]
        if not granted:
            return
        try:
            await self._heard_up_to(claimed.last_id)
        except TimeoutError:
            return
        await self.in_thread(self.member.claims.grant, granted, asked_at + self.terms.lease_seconds * MARGIN)

    def _say(self) -> None:
        """Log what changed."""
        if self.state is not self._said:
            self._said = self.state
            say = log.info if self.state is GroupState.TOGETHER else log.warning
            say(f"group: {self.state.value}", why=self.message, daemons=len(self.peers))


def _peer(text: str) -> Peer | None:
    """Read what a daemon says of itself; None for anything else."""
    try:
        address, published, sends = json.loads(text)
        return Peer(str(address), int(published), bool(sends))
    except (ValueError, TypeError):
        return None


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)
