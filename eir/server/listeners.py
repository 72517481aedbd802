"""The two ports: bound, served, drained."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import grpc

from eir.clock import monotonic
from eir.config import Config
from eir.errors import ConfigError
from eir.interceptors import ErrorBoundary
from eir.server.check import CheckService
from eir.server.health import HealthService
from eir.server.methods import CHECK, MANAGE_SERVICES, Handlers, Methods, check_methods, manage_methods
from eir.server.state import State
from eir.settings import Limits

if TYPE_CHECKING:
    from eir.server.core import CoreServer

REFUSE_SECONDS: Final = 0.2
FRAME_BYTES: Final = 64 << 10
"""What a message has beside the payload of its chunk."""


class Listeners:
    """Both listeners of a daemon; `check_port` and `manage_port` are bound."""

    def __init__(self, state: State) -> None:
        """Bind both. Raises ConfigError when an address cannot be bound."""
        config, limits = state.config, state.config.limits
        self._drain_seconds_max = limits.drain_seconds_max
        self._core: CoreServer | None = None
        self._check_server: grpc.aio.Server | None = None
        self._health = HealthService((CHECK,)), HealthService(MANAGE_SERVICES)
        handlers = Handlers(ErrorBoundary(state.metrics))
        if state.engine == "native":
            from eir.server.core import CoreServer  # the portable engine needs nothing of it

            self._core = state.core = CoreServer(state)
            self.check_port = self._core.port
        else:
            self.check = CheckService(state)
            methods = check_methods(handlers, self.check, self._health[0])
            bounds = limits.check_message_bytes_max, limits.check_calls_max
            self._check_server, self.check_port = _bind(config, "check_listen", bounds, methods)
        methods = manage_methods(handlers, state, self._health[1])
        bounds = limits.chunk_bytes_max + FRAME_BYTES, limits.manage_calls_max
        self._manage_server, self.manage_port = _bind(config, "manage_listen", bounds, methods)

    async def start(self) -> None:
        """Take calls; health says NOT_SERVING until `set_serving`."""
        if self._core is not None:
            self._core.start()
        if self._check_server is not None:
            await self._check_server.start()
        await self._manage_server.start()

    def set_serving(self, *, serving: bool) -> None:
        """Change what health says."""
        for health in self._health:
            health.set(serving=serving)
        if self._core is not None:
            self._core.set_serving(serving=serving)

    async def drain(self, notice_seconds: float) -> None:
        """Say NOT_SERVING, answer on for the notice, then let the calls in flight finish.

        A server that stops cancels what it has not looked at yet, and CANCELLED
        says nothing to a client. So calls are refused for a moment before: those
        who come now are told to go elsewhere, and hardly any are left to cancel.
        """
        for health in self._health:
            health.end()
        if self._core is not None:
            self._core.end()
        await asyncio.sleep(notice_seconds)
        seconds = self._drain_seconds_max
        if self._core is not None:  # its clients are asked to go before anything is refused
            await asyncio.gather(self._core.drain(), self._manage_server.stop(seconds))
        elif self._check_server is not None:
            self.check.refuse()
            await asyncio.sleep(REFUSE_SECONDS)
            await asyncio.gather(
                self._stop_check(self._check_server, seconds), self._manage_server.stop(seconds)
            )

    async def _stop_check(self, server: grpc.aio.Server, seconds: float) -> None:
        """Stop the check port once its streams have ended.

        A connection is closed with its last call: what a client still writes
        then, as on a stream that never pauses, can cost it the status that was
        sent, so it is left time to read that.
        """
        began = monotonic()
        if await self.check.streams_ended(seconds / 2):
            await asyncio.sleep(REFUSE_SECONDS)
        await server.stop(max(seconds - (monotonic() - began), 0))


def _bind(
    config: Config,
    name: str,
    bounds: tuple[int, int],
    services: dict[str, Methods],
) -> tuple[grpc.aio.Server, int]:
    """Return a server bound to the address of a setting, and its port; bounds: bytes of a message, calls."""
    listen: str = getattr(config, name)
    message_bytes_max, calls_max = bounds
    server = grpc.aio.server(
        options=_options(config.limits, message_bytes_max), maximum_concurrent_rpcs=calls_max
    )
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(service, methods) for service, methods in services.items())
    )
    try:
        return server, server.add_insecure_port(listen)
    except RuntimeError:
        raise ConfigError(f"{name}: {listen} cannot be bound; is another daemon listening there?") from None


def _options(limits: Limits, message_bytes_max: int) -> list[tuple[str, int]]:
    """Return the bounds as grpc has them."""
    options = [
        # Without this a second daemon could bind the same port and take half of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", message_bytes_max),
        ("grpc.max_concurrent_streams", limits.streams_per_connection_max),
        ("grpc.max_metadata_size", limits.metadata_bytes_max),
        ("grpc.absolute_max_metadata_size", limits.metadata_bytes_max),
        ("grpc.keepalive_time_ms", limits.keepalive_seconds * 1000),
        ("grpc.keepalive_timeout_ms", limits.keepalive_timeout_seconds * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 9_000),
    ]
    if limits.connection_age_seconds_max:
        options += [
            ("grpc.max_connection_age_ms", limits.connection_age_seconds_max * 1000),
            ("grpc.max_connection_age_grace_ms", limits.drain_seconds_max * 1000),
        ]
    return options
