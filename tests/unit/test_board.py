"""A group's keys on a real Redis server: lines, claims, presence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from redis_server import RedisServer, redis_running

from eir.errors import StreamUnavailableError
from eir.feed.servers import servers
from eir.feed.transport import Access, connect
from eir.notify.board import Got, PerHour, RedisBoard

PREFIX = "eir:notices:test"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_running(tmp_path_factory.mktemp("redis")) as running:
        yield running


@asynccontextmanager
async def board(server: RedisServer) -> AsyncIterator[RedisBoard]:
    access = Access(servers(server.url), f"{PREFIX}:lines", answer_seconds_max=2)
    made = RedisBoard(await connect(access, access.servers[0]), PREFIX, 100)
    try:
        yield made
    finally:
        await made.close()


Work = Callable[[RedisBoard], Awaitable[None]]


@pytest.fixture
def on(server: RedisServer) -> Callable[[Work], None]:
    server.client().flushall()

    def run(work: Work) -> None:
        async def connected() -> None:
            async with board(server) as one:
                await work(one)

        asyncio.run(connected())

    return run


def test_lines_are_read_in_the_order_in_which_they_were_added(on: Callable[[Work], None]) -> None:
    async def work(one: RedisBoard) -> None:
        for line in (b"a", b"b", b"c"):
            await one.add(line)
        first = await one.read("0-0", 2, 0.1)
        assert [line for _, line in first] == [b"a", b"b"]
        rest = await one.read(first[-1][0], 10, 0.1)
        assert [line for _, line in rest] == [b"c"]
        assert await one.read(rest[-1][0], 10, 0.01) == []

    on(work)


def test_an_entry_of_somebody_else_is_an_empty_line(on: Callable[[Work], None], server: RedisServer) -> None:
    async def work(one: RedisBoard) -> None:
        server.client().xadd(f"{PREFIX}:lines", {"something": "else", "and": "more"})
        assert [line for _, line in await one.read("0-0", 10, 0.1)] == [b""]

    on(work)


def test_one_of_several_gets_a_claim(on: Callable[[Work], None]) -> None:
    async def work(one: RedisBoard) -> None:
        await one.add(b"x")
        claimed = await one.claim(["c1", "c2"], "a", 10)
        assert claimed.got == [Got.GRANTED, Got.GRANTED]
        assert claimed.last_id == (await one.read("0-0", 1, 0.1))[0][0]
        assert (await one.claim(["c1", "c3"], "b", 10)).got == [Got.DENIED, Got.GRANTED]
        assert (await one.claim(["c1"], "a", 10)).got == [Got.GRANTED]
        await one.release(["c1", "c3"], "a")
        assert (await one.claim(["c1", "c3"], "b", 10)).got == [Got.GRANTED, Got.GRANTED]
        assert (await one.claim(["c3"], "a", 10)).got == [Got.DENIED]

    on(work)


def test_a_claim_that_ran_out_is_taken_over(on: Callable[[Work], None]) -> None:
    async def work(one: RedisBoard) -> None:
        await one.claim(["c"], "a", 0.05)
        await asyncio.sleep(0.1)
        assert (await one.claim(["c"], "b", 10)).got == [Got.TAKEN_OVER]
        assert (await one.claim(["c"], "a", 10)).got == [Got.DENIED]

    on(work)


def test_an_hour_has_so_many_whoever_claims_them(on: Callable[[Work], None]) -> None:
    async def work(one: RedisBoard) -> None:
        assert (await one.claim(["c1", "c2", "c3"], "a", 10, PerHour(2, 5))).got == [1, 1, 0]
        assert (await one.claim(["c4"], "b", 10, PerHour(2, 5))).got == [Got.DENIED]
        assert (await one.claim(["c1"], "a", 10, PerHour(2, 5))).got == [Got.GRANTED]
        assert (await one.claim(["c4"], "b", 10, PerHour(2, 6))).got == [Got.GRANTED]

    on(work)


def test_who_is_there_is_known_until_the_lease_ends(on: Callable[[Work], None]) -> None:
    async def work(one: RedisBoard) -> None:
        assert (await one.announce("a", "here, and there", 0.2)).known is False
        present = await one.announce("b", "x", 10)
        assert present.members == {"a": "here, and there", "b": "x"}
        await asyncio.sleep(0.25)
        assert (await one.announce("b", "x", 10)).members == {"b": "x"}
        assert (await one.announce("b", "x", 0.05)).known is True
        await asyncio.sleep(0.1)
        assert (await one.announce("b", "x", 10)).known is False  # it stood still
        await one.leave("b")
        assert (await one.announce("c", "x", 10)).members == {"c": "x"}

    on(work)


def test_the_stream_is_bounded(on: Callable[[Work], None], server: RedisServer) -> None:
    async def work(one: RedisBoard) -> None:
        for number in range(500):
            await one.add(b"%d" % number)
        assert server.client().xlen(f"{PREFIX}:lines") <= 200

    on(work)


def test_a_server_that_does_not_answer_is_away(server: RedisServer) -> None:
    async def work() -> None:
        async with board(server) as one:
            server.signal(19)
            try:
                started = time.monotonic()
                with pytest.raises(StreamUnavailableError):
                    await one.claim(["c"], "a", 10)
                assert time.monotonic() - started < 5
            finally:
                server.signal(18)

    asyncio.run(work())
