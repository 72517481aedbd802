"""A link to a real SMSC end, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import smpp34

from eir.notify.link import Endpoint, Fate, Link, fate_of
from eir.notify.segmentation import segment
from eir.notify.smpp import Address, Terms

FROM, TO = Address("EIR", 5), Address("989120000001", 1, 1)
SECONDS_MAX = 100


class Smsc:
    """An SMSC on loopback; `answer` says what becomes of a submission: an id, a status, or nothing."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.server = smpp34.Server("127.0.0.1", self.port, system_id="smsc")
        self.taken: list[smpp34.SubmitSmEvent] = []
        self.sessions: dict[str, smpp34.Esme] = {}
        self.answer: Callable[[int], str | int | None] = lambda number: f"id{number}"

    async def run(self) -> None:
        """Take binds and submissions."""
        while True:
            event = await self.server.next()
            if isinstance(event, smpp34.Esme):
                self.sessions[event.session_id] = event
            elif isinstance(event, smpp34.SubmitSmEvent):
                self.taken.append(event)
                answer = self.answer(len(self.taken))
                if isinstance(answer, str):
                    event.accept(answer)
                elif answer is not None:
                    event.reject(answer)
            else:
                self.sessions.pop(event.session_id, None)


@contextlib.asynccontextmanager
async def linked(smsc: Smsc, **terms: float) -> AsyncIterator[tuple[Link, list[smpp34.DeliverSm]]]:
    """A link that is bound."""
    arrived: list[smpp34.DeliverSm] = []
    settings = Terms("transceiver", "eir", "secret", **({"window_max": 8} | terms))  # type: ignore[arg-type]
    endpoint = Endpoint("main", "127.0.0.1", smsc.port, settings, 10_000, reconnect_seconds_max=0.2)
    link = Link(endpoint, arrived.append)
    tasks = [asyncio.create_task(smsc.run()), asyncio.create_task(link.run())]
    try:
        async with asyncio.timeout(SECONDS_MAX):
            await link.bound.wait()
            while not smsc.sessions:
                await asyncio.sleep(0.01)
            yield link, arrived
    finally:
        for task in reversed(tasks):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await smsc.server.stop()


def run(test: Callable[[Smsc], Awaitable[None]]) -> None:
    """Run a test against an SMSC."""

    async def main() -> None:
        smsc = Smsc()
        await smsc.server.start()
        await test(smsc)

    asyncio.run(main())


def test_messages_are_accepted_with_the_ids_of_their_parts() -> None:
    async def test(smsc: Smsc) -> None:
        async with linked(smsc) as (link, _):
            sent = await link.send(FROM, TO, segment("ی" * 71, 3))
            # This SMSC hands submissions out in any order.
            assert (sent.fate, sorted(sent.message_ids)) == (Fate.ACCEPTED, ["id1", "id2"])
            assert sorted(event.short_message[:6] for event in smsc.taken) == [
                bytes((5, 0, 3, 3, 2, 1)),
                bytes((5, 0, 3, 3, 2, 2)),
            ]
            assert smsc.taken[0].destination_addr == "989120000001"

    run(test)


def test_many_at_once_keep_the_window() -> None:
    async def test(smsc: Smsc) -> None:
        async with linked(smsc, window_max=3) as (link, _):
            most = 0

            def answer(number: int) -> str:
                nonlocal most
                most = max(most, link.in_flight)
                return f"id{number}"

            smsc.answer = answer
            sent = await asyncio.gather(*(link.send(FROM, TO, segment("hello", 0)) for _ in range(100)))
            assert {one.fate for one in sent} == {Fate.ACCEPTED}
            assert len({one.message_ids for one in sent}) == 100
            assert 1 < most <= 3

    run(test)


@pytest.mark.parametrize(
    ("status", "fate"),
    [
        (0x58, Fate.THROTTLED),
        (0x14, Fate.THROTTLED),
        (0x0B, Fate.PERMANENT),
        (0x08, Fate.TEMPORARY),
        (0x45, Fate.TEMPORARY),
    ],
)
def test_refusals_by_what_they_mean(status: int, fate: Fate) -> None:
    async def test(smsc: Smsc) -> None:
        async with linked(smsc) as (link, _):
            smsc.answer = lambda _: status
            sent = await link.send(FROM, TO, segment("hello", 0))
            assert (sent.fate, sent.status) == (fate, status)
            assert (link.pace.rate < 10_000) == (fate == Fate.THROTTLED)

    run(test)


def test_the_worst_part_decides() -> None:
    async def test(smsc: Smsc) -> None:
        async with linked(smsc) as (link, _):
            smsc.answer = lambda number: "id" if number == 1 else 0x0B
            sent = await link.send(FROM, TO, segment("ی" * 71, 0))
            assert (sent.fate, sent.message_ids, sent.status) == (Fate.PERMANENT, ("id",), 0x0B)

    run(test)


def test_without_an_answer_it_is_lost() -> None:
    async def test(smsc: Smsc) -> None:
        async with linked(smsc, answer_seconds_max=0.5) as (link, _):
            smsc.answer = lambda _: None
            assert (await link.send(FROM, TO, segment("hello", 0))).fate == Fate.LOST

    run(test)


def test_receipts_arrive() -> None:
    async def test(smsc: Smsc) -> None:
        async with linked(smsc) as (_, arrived):
            (session,) = smsc.sessions.values()
            await session.deliver_sm("EIR", b"id:1 stat:DELIVRD", source_addr="98912", esm_class=4)
            assert [message.short_message for message in arrived] == [b"id:1 stat:DELIVRD"]

    run(test)


def test_a_lost_session_is_bound_again() -> None:
    async def test(smsc: Smsc) -> None:
        async with linked(smsc, answer_seconds_max=5) as (link, _):
            (session,) = smsc.sessions.values()
            smsc.answer = lambda _: None
            hanging = asyncio.create_task(link.send(FROM, TO, segment("hello", 0)))
            while not smsc.taken:
                await asyncio.sleep(0.01)
            await session.unbind()
            assert (await hanging).fate == Fate.LOST
            smsc.answer = lambda number: f"id{number}"
            await link.bound.wait()
            assert (await link.send(FROM, TO, segment("again", 0))).fate == Fate.ACCEPTED

    run(test)


def test_what_has_not_gone_out_when_the_smsc_goes_comes_back() -> None:
    """It is not kept for the next bind: that may come hours later, in the night."""

    async def test(smsc: Smsc) -> None:
        async with linked(smsc, window_max=1, answer_seconds_max=5) as (link, _):
            (session,) = smsc.sessions.values()
            smsc.answer = lambda _: None
            sending = [asyncio.create_task(link.send(FROM, TO, segment("hello", 0))) for _ in range(3)]
            while not smsc.taken:
                await asyncio.sleep(0.01)
            await session.unbind()
            fates = [sent.fate for sent in await asyncio.gather(*sending)]
            assert fates == [Fate.LOST, Fate.UNSENT, Fate.UNSENT]
            assert (await link.send(FROM, TO, segment("hello", 0))).fate == Fate.UNSENT
            assert len(smsc.taken) == 1

    run(test)


def test_a_refused_bind_is_counted_and_tried_again() -> None:
    binds = 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal binds
        binds += 1
        request = await reader.read(100)
        writer.write(b"\0\0\0\x10\x80\0\0\x09\0\0\0\x0e" + request[12:16])
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        terms = Terms("transceiver", "eir", "wrong")
        link = Link(Endpoint("main", "127.0.0.1", port, terms, 10, reconnect_seconds_max=0.1), lambda _: None)
        task = asyncio.create_task(link.run())
        async with asyncio.timeout(SECONDS_MAX):
            while binds < 3:
                await asyncio.sleep(0.01)
        assert link.binds_refused_count >= 2
        assert not link.bound.is_set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.close()

    asyncio.run(main())


def test_the_statuses_of_success() -> None:
    assert fate_of(0) == Fate.ACCEPTED
