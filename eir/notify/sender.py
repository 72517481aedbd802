"""Sends what is due: from the outbox to an SMSC, and what it says back to the keeper.

    outbox ──claim (submitted, on disk)──► subscriber, text, parts ──► link ──► Sent
       ▲                                                                         │
       └───────────────── keeper: accepted, refused (one commit for many) ◄──────┘

What touches the keeper runs in its one thread, in groups; what waits for an
SMSC runs in the event loop. Nothing is claimed while no SMSC is bound or the
sending holds.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import smpp34
import structlog

from eir.errors import StorageError
from eir.identity import imei_15, imsi_text
from eir.notify.case import Case
from eir.notify.judged import CAUSE_NAMES, Judged, NotJudgedError
from eir.notify.keeper import Keeper
from eir.notify.link import Fate, Link, Sent
from eir.notify.messages import ENDINGS, Texts, Values
from eir.notify.outbox import Notice
from eir.notify.receipts import Receipt, read_receipt, spellings
from eir.notify.schedule import HOUR, STEPS
from eir.notify.segmentation import Parts, segment
from eir.notify.smpp import Address

log = structlog.get_logger()

IDLE_SECONDS: Final = 0.2
"""How often the outbox is looked at while nothing comes back."""
GROUP_SECONDS: Final = 0.02
"""How long answers gather before they are committed together."""
TON_INTERNATIONAL: Final = 1
NPI_E164: Final = 1
"""An MSISDN's type of number and numbering plan (SMPP 3.4 clauses 5.2.5, 5.2.6)."""
EARLY_SECONDS: Final = 5
"""How long a receipt is kept that names no message yet: it may have come before the answer."""
EARLY_MAX: Final = 10_000
NO_MSISDN: Final = "no MSISDN known"


class Subscriber(Protocol):
    """What is known of a subscriber: MSISDN as a number after a leading 1, language."""

    @property
    def msisdn(self) -> int:
        """0 where it is not known."""

    @property
    def language(self) -> str:
        """Empty where it is not known."""


class Claimer(Protocol):
    """Sees to it that each notice is sent by one of several daemons."""

    async def claimed(self, room: int) -> Sequence[Notice]:
        """Return notices that this daemon alone may send now, at most so many. Raises StorageError."""

    def used(self) -> None:
        """Say that these are submitted by now, or do not go out."""


@dataclass(frozen=True)
class Route:
    """An SMSC, whom it speaks as, and the beginnings of IMSIs that it serves; none serves all."""

    link: Link
    sender: Address
    imsi_prefixes: tuple[str, ...] = ()

    def fit(self, imsi: str) -> int:
        """Return how well it serves an IMSI: digits of the longest prefix, 0 for all, -1 for not its own."""
        fits = [len(prefix) for prefix in self.imsi_prefixes if imsi.startswith(prefix)]
        return max(fits, default=-1 if self.imsi_prefixes else 0)


@dataclass(frozen=True)
class Wording:
    """What texts are filled with."""

    texts: Texts
    zone: dt.tzinfo
    code: str
    helpline: str

    def text(self, case: Case, stage: str, language: str, ends: int, now: int) -> str:
        """Return what a notice says of a case; where its clock does not run, of a grace that begins now."""
        ends = ends or now + case.grace_seconds
        values = Values(imei_15(case.key), ends, now, self.zone, self.code, self.helpline)
        cause = "" if stage in ENDINGS else CAUSE_NAMES[case.cause]
        return self.texts.fill(language, cause, stage, values)


class Ready(NamedTuple):
    """A notice that goes out now."""

    notice: Notice
    route: Route
    destination: Address
    parts: Parts


class Reply(NamedTuple):
    """An answer to a short message, by the SMSC that brought it: sent once, and kept nowhere."""

    smsc: str
    destination: Address
    text: str


@dataclass
class Sender:
    """Sends for one keeper. `run` runs until cancelled."""

    keeper: Keeper
    routes: Sequence[Route]
    wording: Wording
    subscribers: Callable[[Iterable[int]], Mapping[int, Subscriber]]
    in_thread: Callable[..., Awaitable[Any]]
    """Runs a function in the keeper's thread."""
    clock: Callable[[], int]
    incoming: Callable[[str, smpp34.DeliverSm], None] | None = None
    """Takes short messages of subscribers, with the name of the SMSC."""
    in_flight_max: int = 256
    draining: bool = False
    claims: Claimer | None = None
    """Of several daemons, says which notices this one may send; none: there are no others."""
    _flying: set[asyncio.Task[None]] = field(default_factory=set)
    _answers: list[tuple[Notice, Sent]] = field(default_factory=list)
    _arrived: list[tuple[str, smpp34.DeliverSm]] = field(default_factory=list)
    _early: list[tuple[str, Receipt, int]] = field(default_factory=list)
    """Receipts that name no message yet, and since when."""
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _reference: int = 0
    _replies: list[Reply] = field(default_factory=list)
    _replying: set[asyncio.Task[None]] = field(default_factory=set)

    def reply(self, reply: Reply) -> None:
        """Answer a short message; to be called while one is taken, in the keeper's thread."""
        self._replies.append(reply)

    def _answer_all(self) -> None:
        """Send the answers; more than may be on their way at a time are left out, and counted."""
        replies, self._replies = self._replies, []
        for reply in replies:
            if len(self._replying) >= self.in_flight_max or self.draining:
                self.keeper.counts["replies_dropped"] += 1
                continue
            task = asyncio.create_task(self._reply(reply))
            self._replying.add(task)
            task.add_done_callback(self._replying.discard)

    async def _reply(self, reply: Reply) -> None:
        """Send one answer."""
        route = next((one for one in self.routes if one.link.endpoint.name == reply.smsc), None)
        sent = Sent(Fate.UNSENT)
        if route is not None:
            parts = segment(reply.text, self._reference)
            self._reference = (self._reference + 1) & 0xFF
            try:
                sent = await route.link.send(route.sender, reply.destination, parts)
            except ValueError as error:
                log.warning("an answer cannot be sent", error=str(error))
        self.keeper.counts["replies_sent" if sent.fate == Fate.ACCEPTED else "replies_dropped"] += 1

    def take(self, link: Link, message: smpp34.DeliverSm) -> None:
        """Take what an SMSC delivers: a link's taker."""
        self._arrived.append((link.endpoint.name, message))
        self._woken.set()

    async def drain(self, seconds_max: float) -> None:
        """Claim nothing more, and wait for what is on its way; to be called while `run` runs."""
        self.draining = True
        if self._flying:
            await asyncio.wait(self._flying, timeout=seconds_max)
        if self._answers or self._arrived:
            answers, arrived, self._answers, self._arrived = self._answers, self._arrived, [], []
            await self.in_thread(self._note, answers, arrived)

    async def run(self) -> None:
        """Send until cancelled; what is in flight then is waited for by nobody, and sent again later."""
        try:
            while True:
                try:
                    await self._once()
                except StorageError as error:
                    # What is not durable is not sent; answers are kept until they are.
                    log.warning("notices: storage failed", error=error.message)
                    await asyncio.sleep(1)
                except Exception:
                    # Sending must outlive whatever goes wrong in one round of it.
                    self.keeper.counts["sender_failures"] += 1
                    log.exception("notices: a round of sending failed")
                    await asyncio.sleep(1)
        finally:
            going = [*self._flying, *self._replying]
            for task in going:
                task.cancel()
            await asyncio.gather(*going, return_exceptions=True)

    async def _once(self) -> None:
        """Note what came back, send what is due, and wait for either."""
        answers, arrived = self._answers, self._arrived
        if answers or arrived or self._early:
            self._answers, self._arrived = [], []
            try:
                await self.in_thread(self._note, answers, arrived)
            except StorageError:
                # Noted in memory: the next commit makes it durable.
                log.warning("notices: answers wait for the disk", answers=len(answers))
            self._answer_all()
        room = self.in_flight_max - len(self._flying)
        ready: list[Ready] = []
        stopped = self.keeper.held or self.keeper.clock_doubtful or self.draining
        if room >= self.in_flight_max // 4 and self._bound() and not stopped:
            ready = await self._ready(room)
        for one in ready:
            task = asyncio.create_task(self._send(one))
            self._flying.add(task)
            task.add_done_callback(self._flying.discard)
        if not ready:
            await self._wait()

    async def _ready(self, room: int) -> list[Ready]:
        """Return what goes out now. Raises StorageError."""
        ready: list[Ready] = []
        if self.claims is None:
            ready = await self.in_thread(self._claim, room)
        elif notices := await self.claims.claimed(room):
            try:
                ready = await self.in_thread(self._prepare, notices)
            finally:
                self.claims.used()
        return ready

    async def _wait(self) -> None:
        """Wait for something to come back, and a little longer for what comes with it."""
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                await self._woken.wait()
            await asyncio.sleep(GROUP_SECONDS)
        except TimeoutError:
            pass
        self._woken.clear()

    def _bound(self) -> bool:
        return any(route.link.bound.is_set() for route in self.routes)

    async def _send(self, ready: Ready) -> None:
        """Send one notice, and keep what became of it."""
        try:
            sent = await ready.route.link.send(ready.route.sender, ready.destination, ready.parts)
        except ValueError as error:
            log.warning("notice cannot be sent", stage=ready.notice.stage, error=str(error))
            sent = Sent(Fate.PERMANENT)
        self._answers.append((ready.notice, sent))
        self._woken.set()

    # -- in the keeper's thread -------------------------------------------------------------------

    def _claim(self, room: int) -> list[Ready]:
        """Prepare what is due. Raises StorageError."""
        return self._prepare(self.keeper.outbox.waiting(self.clock(), room))

    def _prepare(self, waiting: Sequence[Notice]) -> list[Ready]:
        """Prepare notices, and make it durable that they go out. Raises StorageError."""
        now = self.clock()
        try:
            standing = self._standing([(notice, self.keeper.case_of(notice)) for notice in waiting], now)
        except NotJudgedError:
            return []  # the override is on: nobody is told that he will be cut off
        known = self.subscribers({case.imsi for _, case in standing if case is not None})
        ready, claimed = [], []
        awake = self.keeper.awake_at(now)
        for notice, case in standing:
            if case is None:
                self.keeper.cancelled(notice, now)
            elif awake > now:
                self.keeper.postponed(notice, now, awake)
            elif (spaced := self.keeper.spaced_at(notice, case, now)) > now:
                self.keeper.postponed(notice, now, spaced)
            elif (subscriber := known.get(case.imsi)) is None or not subscriber.msisdn:
                self.keeper.postponed(notice, now, now + HOUR, NO_MSISDN)
            elif (route := self._route(case)) is not None:
                ends = self.keeper.deadline_of(case)
                text = self.wording.text(case, notice.stage, subscriber.language, ends, now)
                sent = self.keeper.submitted(notice, case, route.link.endpoint.name, now)
                destination = Address(str(subscriber.msisdn)[1:], TON_INTERNATIONAL, NPI_E164)
                ready.append(Ready(sent, route, destination, segment(text, notice.id & 0xFF)))
                claimed.append(notice)
        try:
            self.keeper.commit()
        except StorageError:
            # They do not go out: a later commit must not say that they did.
            for notice in claimed:
                self.keeper.outbox.put(notice)
            raise
        return ready

    def _standing(
        self, waiting: Sequence[tuple[Notice, Case | None]], now: int
    ) -> list[tuple[Notice, Case | None]]:
        """Leave out warnings of what is in order by now, or is only observed. Raises NotJudgedError."""
        warned = [(notice, case) for notice, case in waiting if notice.stage in STEPS and case is not None]
        judged = self.keeper.judge([(case.key, case.imsi) for _, case in warned]) if warned else ()
        left_out = {
            notice.id
            for (notice, case), now_judged in zip(warned, judged, strict=True)
            if not self._says_so(notice, case, now_judged, now)
        }
        return [one for one in waiting if one[0].id not in left_out]

    def _says_so(self, notice: Notice, case: Case, judged: Judged, now: int) -> bool:
        """Tell whether a warning is still true; what is in order by now is resolved."""
        if judged.reason != case.cause:
            self.keeper.look_again([notice.number], now)
            return False
        if not judged.opens:
            self.keeper.postponed(notice, now, now + HOUR)
        return judged.opens

    def _route(self, case: Case) -> Route | None:
        """Return the bound SMSC that serves a subscriber best; where none of his own is bound, any."""
        bound = [route for route in self.routes if route.link.bound.is_set()]
        imsi = imsi_text(case.imsi)
        return max(bound, key=lambda route: route.fit(imsi), default=None)

    def _note(
        self, answers: Sequence[tuple[Notice, Sent]], arrived: Sequence[tuple[str, smpp34.DeliverSm]]
    ) -> None:
        """Tell the keeper what came back. Raises StorageError; the keeper knows it all the same."""
        now = self.clock()
        for notice, sent in answers:
            if sent.fate == Fate.ACCEPTED:
                # A clock that went back meanwhile must not make a warning older than it is.
                self.keeper.accepted(notice, sent.message_ids, max(now, notice.changed_at))
            else:
                error = f"{sent.fate.value} 0x{sent.status:02X}"
                tried = sent.fate not in (Fate.THROTTLED, Fate.UNSENT)
                self.keeper.refused(
                    notice,
                    error,
                    now,
                    permanent=sent.fate == Fate.PERMANENT,
                    tried=tried,
                    unsure=sent.fate == Fate.LOST,
                )
                self.keeper.counts[f"sent_{sent.fate.value}"] += 1
                if sent.status:
                    self.keeper.counts[f"status_{sent.status}"] += 1
        self.keeper.commit()  # receipts look for the ids of what was accepted
        early, self._early = self._early, []
        for smsc, message in arrived:
            receipt = read_receipt(message)
            if receipt is not None:
                early.append((smsc, receipt, now))
            elif self.incoming is not None:
                self.incoming(smsc, message)
        for smsc, receipt, since in early:
            known = self.keeper.outbox.knows(smsc, spellings(receipt.message_id))
            if known or now - since >= EARLY_SECONDS or len(self._early) >= EARLY_MAX:
                self.keeper.receipt(smsc, receipt, now)
            else:
                self._early.append((smsc, receipt, since))
        self.keeper.commit()
