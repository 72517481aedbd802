"""A connection to a real Redis server: each command gets its own answer, or none."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from redis_server import RedisServer, redis_running

from eir.errors import StreamUnavailableError
from eir.feed.servers import servers
from eir.feed.transport import Access, RedisStream, connect

Work = Callable[[RedisStream], Awaitable[None]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_running(tmp_path_factory.mktemp("redis")) as running:
        yield running


@asynccontextmanager
async def stream(server: RedisServer, answer_seconds_max: float) -> AsyncIterator[RedisStream]:
    access = Access(servers(server.url), "stream", answer_seconds_max=answer_seconds_max)
    made = await connect(access, access.servers[0])
    try:
        yield made
    finally:
        await made.close()


@contextlib.contextmanager
def standing_still(server: RedisServer) -> Iterator[None]:
    server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


def on(server: RedisServer, work: Work, answer_seconds_max: float = 60) -> None:
    """Work over one connection."""

    async def connected() -> None:
        async with stream(server, answer_seconds_max) as one:
            await work(one)

    asyncio.run(connected())


def test_commands_at_a_time_get_each_its_own_answer(server: RedisServer) -> None:
    async def work(one: RedisStream) -> None:
        with standing_still(server):
            asked = [asyncio.create_task(one.ask("ECHO", f"{number}")) for number in range(50)]
            await asyncio.sleep(0.1)
        assert await asyncio.gather(*asked) == [b"%d" % number for number in range(50)]

    on(server, work)


def test_after_a_command_that_was_not_answered_in_time_nothing_is_asked(server: RedisServer) -> None:
    async def work(one: RedisStream) -> None:
        with standing_still(server):
            asked = [asyncio.create_task(one.ask("ECHO", word)) for word in ("late", "behind it")]
            found = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(error) for error in found] == [StreamUnavailableError] * 2
        # Its answer comes now: it is nobody's.
        with pytest.raises(StreamUnavailableError, match="not answered"):
            await one.ask("ECHO", "next")

    on(server, work, 1)


def test_after_a_command_that_was_given_up_nothing_is_asked(server: RedisServer) -> None:
    async def work(one: RedisStream) -> None:
        with standing_still(server):
            given_up = asyncio.create_task(one.ask("ECHO", "given up"))
            await asyncio.sleep(0.1)
            given_up.cancel()
            await asyncio.wait([given_up])
        with pytest.raises(StreamUnavailableError, match="not answered"):
            await one.ask("ECHO", "next")

    on(server, work)


def test_a_command_that_waits_for_its_turn_can_be_given_up(server: RedisServer) -> None:
    async def work(one: RedisStream) -> None:
        with standing_still(server):
            first = asyncio.create_task(one.ask("ECHO", "first"))
            second = asyncio.create_task(one.ask("ECHO", "second"))
            await asyncio.sleep(0.1)
            second.cancel()
            await asyncio.wait([second])
        assert await first == b"first"
        assert await one.ask("ECHO", "third") == b"third"

    on(server, work)


def test_a_refusal_is_an_answer(server: RedisServer) -> None:
    async def work(one: RedisStream) -> None:
        with pytest.raises(StreamUnavailableError, match="unknown command"):
            await one.ask("NO-SUCH-COMMAND")
        assert await one.ask("ECHO", "next") == b"next"

    on(server, work)
