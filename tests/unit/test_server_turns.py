"""Whose turn it is."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import Gauge

from eir.errors import WriterBusyError
from eir.server.turns import Turns
from eir.settings import Limits


def run(use: Callable[[Turns, Gauge], Awaitable[None]], **limits: int) -> None:
    async def inside() -> None:
        gauge = Gauge("waiting", "x", registry=None)
        await use(Turns(Limits(small_delta_rows_max=10, **limits), gauge), gauge)

    asyncio.run(inside())


def waiting(gauge: Gauge) -> float:
    return gauge._value.get()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_deltas_of_one_feed_come_one_after_the_other_in_their_order() -> None:
    async def use(turns: Turns, gauge: Gauge) -> None:
        order: list[int] = []

        async def push(number: int) -> None:
            async with turns.take("a", 1):
                order.append(number)
                await settled()
                order.append(number)

        await asyncio.gather(*map(push, range(4)))
        assert order == [0, 0, 1, 1, 2, 2, 3, 3]
        assert waiting(gauge) == 0
        assert not turns._feeds, "nothing is kept of a feed that has no turn"
        assert not turns._users

    run(use)


def test_small_ones_of_other_feeds_do_not_wait_for_a_large_one_and_large_ones_do() -> None:
    async def use(turns: Turns, gauge: Gauge) -> None:
        async with turns.take("a", 11):
            async with turns.take("b", 10):
                assert waiting(gauge) == 0
            large = asyncio.create_task(turns.take("c", 11).__aenter__())
            await settled()
            assert waiting(gauge) == 1
            assert not large.done()
        await settled()
        assert large.done()

    run(use)


def test_a_bounded_number_waits() -> None:
    async def use(turns: Turns, gauge: Gauge) -> None:
        async with turns.take("a", 1):
            second = asyncio.create_task(turns.take("a", 1).__aenter__())
            await settled()
            with pytest.raises(WriterBusyError):
                await turns.take("a", 1).__aenter__()
            async with turns.take("b", 1):
                pass
            second.cancel()
            await settled()
            assert waiting(gauge) == 0
        assert not turns._feeds

    run(use, pushes_waiting_max=1)


def test_an_error_gives_the_turn_back() -> None:
    async def use(turns: Turns, _: Gauge) -> None:
        with pytest.raises(ZeroDivisionError):
            async with turns.take("a", 11):
                raise ZeroDivisionError
        async with turns.take("a", 11):
            pass

    run(use)
