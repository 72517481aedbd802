"""NoticeGroupService of an office in this process, over a real gRPC server on loopback."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import grpc

from eir.interceptors import ErrorBoundary
from eir.proto import group_pb2_grpc
from eir.server.health import HealthService
from eir.server.methods import GROUP, MANAGE_SERVICES, Handlers, manage_methods
from eir.server.state import State


@contextlib.asynccontextmanager
async def serving(state: State, port: int = 0) -> AsyncIterator[int]:
    """Serve; gives the port."""
    handlers, health = Handlers(ErrorBoundary(state.metrics)), HealthService(MANAGE_SERVICES)
    methods = manage_methods(handlers, state, health)[GROUP]
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(GROUP, methods),))
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(None)


@contextlib.asynccontextmanager
async def asking(port: int) -> AsyncIterator[group_pb2_grpc.NoticeGroupServiceStub]:
    """Ask a server."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield group_pb2_grpc.NoticeGroupServiceStub(channel)  # type: ignore[no-untyped-call]
