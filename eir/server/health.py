"""Health and reflection, as gRPC's clients and tools ask for them."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from eir.interceptors import Context
from eir.server.check import parse


class HealthService:
    """gRPC health: one status for the listener and each of its services."""

    def __init__(self, services: tuple[str, ...]) -> None:
        """Start with NOT_SERVING."""
        self._services = {"", *services}
        self._serving = self._ended = False
        self._changed = asyncio.Event()

    def set(self, *, serving: bool) -> None:
        """Change the status, and tell those who watch."""
        if serving != self._serving:
            self._serving = serving
            self._wake()

    def end(self) -> None:
        """Say NOT_SERVING for good, and end the calls of those who watch."""
        self._serving, self._ended = False, True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _status(self) -> Any:
        kind = health_pb2.HealthCheckResponse
        return kind.SERVING if self._serving else kind.NOT_SERVING

    async def check(self, data: bytes, context: Context) -> bytes:
        """Health.Check."""
        if parse(health_pb2.HealthCheckRequest, data).service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        answer: bytes = health_pb2.HealthCheckResponse(status=self._status()).SerializeToString()
        return answer

    async def watch(self, data: bytes, context: Context) -> None:
        """Health.Watch: the status now, and whenever it changes."""
        known = parse(health_pb2.HealthCheckRequest, data).service in self._services
        last = None
        while True:
            # What comes while this is written is told in the next round.
            changed, ended = self._changed, self._ended
            status = self._status() if known else health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            if status != last:
                await context.write(health_pb2.HealthCheckResponse(status=status).SerializeToString())
            if ended:
                return
            last = status
            await changed.wait()


class ReflectionService:
    """gRPC reflection, ended when the daemon drains."""

    def __init__(self, services: tuple[str, ...], draining: asyncio.Event) -> None:
        """Tell of `services`."""
        self._servicer = reflection.aio.ReflectionServicer(services)
        self._draining = draining

    async def info(self, _: Any, context: Context) -> None:
        """ServerReflectionInfo."""
        ended = asyncio.ensure_future(self._draining.wait())
        answers = asyncio.ensure_future(self._answer(context))
        try:
            await asyncio.wait({ended, answers}, return_when=asyncio.FIRST_COMPLETED)
            if answers.done():
                answers.result()
        finally:
            ended.cancel()
            answers.cancel()

    async def _answer(self, context: Context) -> None:
        async def requests() -> Any:
            while (data := await context.read()) is not grpc.aio.EOF:
                yield parse(reflection_pb2.ServerReflectionRequest, data)

        answers: Any = self._servicer.ServerReflectionInfo(requests(), context)
        async for answer in answers:
            await context.write(answer.SerializeToString())
