"""An SMSC that is spoken to: the socket under `smpp.Session`, kept up.

    send ──► pace ──► window ──► session ──► SMSC ──► Sent
    SMSC ──► session ──► receipt, short message ──► taker

Connects again with ever longer waits, drawn at random so that a restarted SMSC
is not met by everybody at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import smpp34
import structlog

from eir.clock import monotonic
from eir.notify.pace import Pace
from eir.notify.segmentation import Parts
from eir.notify.smpp import Address, Answered, Arrived, Bound, Closed, Event, Lost, Session, Status, Terms

log = structlog.get_logger()

TICK_SECONDS: Final = 0.5
READ_BYTES: Final = 1 << 16
CONNECT_SECONDS_MAX: Final = 10
WAIT_SECONDS_MIN: Final = 0.5
UNBIND_SECONDS_MAX: Final = 2

THROTTLING: Final = frozenset((Status.RTHROTTLED, Status.RMSGQFUL))
PERMANENT: Final = frozenset(
    (
        0x01,
        0x02,
        0x0A,
        0x0B,
        0x15,
        0x33,
        0x34,
        0x40,
        0x42,
        0x43,
        0x48,
        0x49,
        0x50,
        0x51,
        0x61,
        0x62,
        0x65,
        0x66,
    )
)
"""command_status of what will never be taken (clause 5.1.3): lengths, addresses, classes, RX_P and RX_R."""


class Fate(Enum):
    """What became of a submission."""

    ACCEPTED = "accepted"
    THROTTLED = "throttled"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"
    LOST = "lost"
    """No answer: the SMSC may have taken it."""
    UNSENT = "unsent"
    """Not submitted: the SMSC was gone before."""


@dataclass(frozen=True)
class Sent:
    """What became of a message: the worst fate of its parts, their ids, the status that decided."""

    fate: Fate
    message_ids: tuple[str, ...] = ()
    status: int = 0


_WORST: Final = (Fate.PERMANENT, Fate.LOST, Fate.THROTTLED, Fate.TEMPORARY, Fate.ACCEPTED)


def fate_of(status: int) -> Fate:
    """Return what an answer's command_status means for what was submitted."""
    if status == Status.ROK:
        return Fate.ACCEPTED
    if status in THROTTLING:
        return Fate.THROTTLED
    return Fate.PERMANENT if status in PERMANENT else Fate.TEMPORARY


@dataclass(frozen=True)
class Endpoint:
    """Where an SMSC is, and how it is spoken to; `tls` is None for plain TCP."""

    name: str
    host: str
    port: int
    terms: Terms
    parts_per_second_max: float
    reconnect_seconds_max: float = 60
    tls: ssl.SSLContext | None = None


@dataclass
class _Message:
    """A message on its way, and what came back of its parts."""

    source: Address
    destination: Address
    parts: Parts
    done: asyncio.Future[Sent]
    answers: list[Answered | Lost] = field(default_factory=list)


@dataclass
class Link:
    """One SMSC, kept bound as long as `run` runs."""

    endpoint: Endpoint
    taker: Callable[[smpp34.DeliverSm], None]
    """Takes receipts and short messages."""
    state_changed: Callable[[Link], None] = lambda _: None
    bound: asyncio.Event = field(default_factory=asyncio.Event)
    throttled_count: int = 0
    binds_refused_count: int = 0
    pace: Pace = field(init=False)
    _waiting: deque[_Message] = field(default_factory=deque)
    """Until the pace allows it and the window has room."""
    _submitted: dict[int, _Message] = field(default_factory=dict)
    """By the sequence number of each part that has no answer yet."""
    _work: asyncio.Event = field(default_factory=asyncio.Event)
    """There may be something to submit, or to write."""
    _tokens_come: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        """Begin at full speed."""
        self.pace = Pace(self.endpoint.parts_per_second_max, monotonic())

    @property
    def in_flight(self) -> int:
        """Parts that wait for their answer."""
        return len(self._submitted)

    async def send(self, source: Address, destination: Address, parts: Parts) -> Sent:
        """Send a message once the pace allows it and the window has room.

        What has not gone out when the SMSC goes comes back UNSENT: hours later it may say what is no
        longer true, or come in the night. Raises ValueError where it cannot be sent at all: an address
        that SMPP has no room for, more parts than the window has.
        """
        if len(parts.bodies) > self.endpoint.terms.window_max:
            raise ValueError(f"{len(parts.bodies)} parts in a window of {self.endpoint.terms.window_max}")
        if not self.bound.is_set():
            return Sent(Fate.UNSENT)
        message = _Message(source, destination, parts, asyncio.get_running_loop().create_future())
        self._waiting.append(message)
        self._work.set()
        return await message.done

    def _submit(self, session: Session) -> None:
        """Submit what waits, as far as window and pace allow."""
        while self._waiting and session.free >= len(self._waiting[0].parts.bodies):
            message = self._waiting[0]
            if not message.done.done():
                if wait_seconds := self.pace.take(len(message.parts.bodies), monotonic()):
                    self._submit_in(wait_seconds)
                    return
                try:
                    sequences = session.submit(
                        message.source, message.destination, message.parts, monotonic()
                    )
                    self._submitted.update(dict.fromkeys(sequences, message))
                except ValueError as error:
                    message.done.set_exception(error)
            self._waiting.popleft()

    def _submit_in(self, seconds: float) -> None:
        """Try again when there are tokens."""
        if self._tokens_come is not None:
            self._tokens_come.cancel()
        self._tokens_come = asyncio.get_running_loop().call_later(seconds, self._work.set)

    async def run(self) -> None:
        """Keep the SMSC bound until cancelled; then unbind."""
        wait_seconds = WAIT_SECONDS_MIN
        while True:
            was_bound = await self._once()
            wait_seconds = WAIT_SECONDS_MIN if was_bound else wait_seconds * 2
            wait_seconds = min(wait_seconds, self.endpoint.reconnect_seconds_max)
            await asyncio.sleep(random.uniform(wait_seconds / 2, wait_seconds))  # noqa: S311 - spreads load

    async def _once(self) -> bool:
        """Connect, bind and serve until the session is over; tells whether it was bound."""
        at = self.endpoint
        try:
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                reader, writer = await asyncio.open_connection(at.host, at.port, ssl=at.tls)
        except (OSError, TimeoutError) as error:
            log.warning("SMSC not reached", smsc=at.name, error=str(error) or type(error).__name__)
            return False
        session = Session(at.terms, monotonic())
        writer.write(session.outgoing())
        steps = (self._read(session, reader), self._write(session, writer), self._tick(session))
        tasks = [asyncio.create_task(step) for step in steps]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if session.bound and not session.closed:
                await self._unbind(session, reader, writer)
            was_bound = session.bound
            self._act(session.close("the connection ended"))
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()
        return was_bound

    async def _read(self, session: Session, reader: asyncio.StreamReader) -> None:
        while not session.closed and (data := await reader.read(READ_BYTES)):
            self._act(session.receive(data, monotonic()))
            self._work.set()

    async def _write(self, session: Session, writer: asyncio.StreamWriter) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            # All that can go out now goes in one write.
            self._submit(session)
            writer.write(session.outgoing())
            await writer.drain()

    async def _tick(self, session: Session) -> None:
        while not session.closed:
            await asyncio.sleep(TICK_SECONDS)
            self._act(session.tick(monotonic()))
            self._work.set()

    async def _unbind(
        self, session: Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Take leave: what is in flight may still be answered."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(UNBIND_SECONDS_MAX):
                session.unbind(monotonic())
                writer.write(session.outgoing())
                while not session.closed and (data := await reader.read(READ_BYTES)):
                    self._act(session.receive(data, monotonic()))

    def _act(self, events: list[Event]) -> None:
        """Hand out what a session says."""
        for event in events:
            match event:
                case Answered(sequence=sequence, status=status):
                    if status in THROTTLING:
                        self.throttled_count += 1
                        self.pace.throttled(monotonic())
                    self._answer(sequence, event)
                case Lost(sequence=sequence):
                    self._answer(sequence, event)
                case Arrived(message=message):
                    self.taker(message)
                case Bound(system_id=system_id):
                    self.bound.set()
                    self.state_changed(self)
                    log.info("SMSC bound", smsc=self.endpoint.name, system_id=system_id)
                case Closed(why=why, status=status):
                    self._over(why, status)

    def _answer(self, sequence: int, event: Answered | Lost) -> None:
        message = self._submitted.pop(sequence, None)
        if message is None:
            return
        message.answers.append(event)
        if len(message.answers) == len(message.parts.bodies) and not message.done.done():
            message.done.set_result(_sum_up(message.answers))

    def _over(self, why: str, status: int) -> None:
        self.bound.clear()
        while self._waiting:
            message = self._waiting.popleft()
            if not message.done.done():
                message.done.set_result(Sent(Fate.UNSENT))
        self.binds_refused_count += bool(status)
        self.state_changed(self)
        log.warning("SMSC lost", smsc=self.endpoint.name, why=why)


def _sum_up(answers: list[Answered | Lost]) -> Sent:
    """Return what became of a message of several parts; ids in the order of the parts."""
    answers.sort(key=lambda answer: answer.sequence)
    fates = [Fate.LOST if isinstance(answer, Lost) else fate_of(answer.status) for answer in answers]
    fate = min(fates, key=_WORST.index)
    ids = tuple(answer.message_id for answer in answers if isinstance(answer, Answered) and not answer.status)
    statuses = (answer.status for answer in answers if isinstance(answer, Answered) and answer.status)
    return Sent(fate, ids, next(statuses, 0))
