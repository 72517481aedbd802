"""gRPC health of a listener."""

import asyncio
from typing import Any, cast

from grpc_health.v1 import health_pb2

from eir.server.health import HealthService

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class SlowWatcher:
    """A watcher's call: while it is told something, the listener ends."""

    def __init__(self, health: HealthService) -> None:
        self.health = health
        self.told: list[int] = []

    async def write(self, message: bytes) -> None:
        self.told.append(health_pb2.HealthCheckResponse.FromString(message).status)
        self.health.end()
        await asyncio.sleep(0)


def test_who_watches_is_told_of_an_end_that_comes_while_it_is_told_something_else() -> None:
    async def told() -> list[int]:
        health = HealthService(())
        health.set(serving=True)
        watcher = SlowWatcher(health)
        await asyncio.wait_for(health.watch(b"", cast("Any", watcher)), timeout=10)
        return watcher.told

    assert asyncio.run(told()) == [SERVING, NOT_SERVING]
