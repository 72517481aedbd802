"""How the check port of the portable engine stops; the rest is in tests/integration."""

import asyncio
from typing import Any

from eir.config import load
from eir.metrics import Metrics
from eir.server.check import CheckService
from eir.server.listeners import REFUSE_SECONDS, Listeners
from eir.server.state import State

SECONDS = 2.0
LATE = 0.15
"""What a busy machine may take longer."""


class Server:
    """Says when it was stopped, and how long its calls may take then."""

    def __init__(self) -> None:
        self.stopped: tuple[float, float] | None = None

    async def stop(self, seconds: float) -> None:
        self.stopped = asyncio.get_running_loop().time(), seconds


def stop(streams: int, end_after: float | None) -> tuple[float, float]:
    """Stop with so many streams, which all end at a time; when the server was stopped, and its grace."""

    async def inside() -> tuple[float, float]:
        listeners = Listeners.__new__(Listeners)
        listeners.check = CheckService(State(load(), Metrics(), lambda: 0, "portable"))
        contexts = [Endless() for _ in range(streams)]
        calls = [asyncio.create_task(listeners.check.stream(None, one)) for one in contexts]
        await asyncio.sleep(0)
        loop, server = asyncio.get_running_loop(), Server()
        began = loop.time()
        if end_after is not None:
            for call in calls:
                loop.call_later(end_after, call.cancel)
        await listeners._stop_check(server, SECONDS)  # type: ignore[arg-type]
        for call in calls:
            call.cancel()
        assert server.stopped
        return server.stopped[0] - began, server.stopped[1]

    return asyncio.run(inside())


class Endless:
    """A call on which nothing comes."""

    def invocation_metadata(self) -> tuple[()]:
        return ()

    async def read(self) -> Any:
        await asyncio.Event().wait()


def test_a_server_without_streams_stops_at_once() -> None:
    after, seconds = stop(0, None)
    assert after < LATE
    assert SECONDS - LATE < seconds <= SECONDS


def test_who_was_on_a_stream_has_time_to_read_its_status_before_connections_close() -> None:
    after, seconds = stop(3, 0.1)
    assert after >= 0.1 + REFUSE_SECONDS
    assert SECONDS - after - LATE < seconds <= SECONDS - 0.1 - REFUSE_SECONDS


def test_a_stream_that_does_not_end_has_half_of_the_time() -> None:
    after, seconds = stop(1, None)
    assert after >= SECONDS / 2
    assert 0 < seconds < SECONDS / 2
