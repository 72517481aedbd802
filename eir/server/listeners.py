"""The two ports: which services they have, and their bounds.

Every service is added by generic handlers that take and give bytes: handlers
registered by method make the accept loop of grpcio's asyncio server slower (a
task and a wait for each call), and bytes that are no message get our answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from eir.config import Config
from eir.errors import ConfigError
from eir.interceptors import Context, ErrorBoundary
from eir.proto import check_pb2, enforcement_pb2, group_pb2, inquiry_pb2, notice_pb2, policy_pb2, sync_pb2
from eir.server.check import CheckService, parse
from eir.server.enforcement import EnforcementService
from eir.server.exchange import NoticeGroupService
from eir.server.inquiry import InquiryService
from eir.server.notices import NoticeService
from eir.server.policy import PolicyService
from eir.server.state import State
from eir.server.sync import SyncService
from eir.settings import Limits

if TYPE_CHECKING:
    from eir.server.core import CoreServer

CHECK: Final = check_pb2.DESCRIPTOR.services_by_name["EquipmentCheckService"].full_name
SYNC: Final = sync_pb2.DESCRIPTOR.services_by_name["RegistrySyncService"].full_name
ENFORCEMENT: Final = enforcement_pb2.DESCRIPTOR.services_by_name["EnforcementService"].full_name
POLICY: Final = policy_pb2.DESCRIPTOR.services_by_name["PolicyService"].full_name
INQUIRY: Final = inquiry_pb2.DESCRIPTOR.services_by_name["InquiryService"].full_name
GROUP: Final = group_pb2.DESCRIPTOR.services_by_name["NoticeGroupService"].full_name
NOTICE: Final = notice_pb2.DESCRIPTOR.services_by_name["NoticeService"].full_name
HEALTH: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
REFLECTION: Final = (
    "grpc.reflection.v1.ServerReflection",
    reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"].full_name,
)
"""Version 1 has the messages of v1alpha under another name; clients ask for either."""
REFUSE_SECONDS: Final = 0.2
FRAME_BYTES: Final = 64 << 10
"""What a message has beside the payload of its chunk."""


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
            changed = self._changed
            status = self._status() if known else health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            if status != last:
                await context.write(health_pb2.HealthCheckResponse(status=status).SerializeToString())
            if self._ended:
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


class Listeners:
    """Both listeners of a daemon; `check_port` and `manage_port` are bound."""

    def __init__(self, state: State) -> None:
        """Bind both. Raises ConfigError when an address cannot be bound."""
        config, limits = state.config, state.config.limits
        self._drain_seconds_max = limits.drain_seconds_max
        self._core: CoreServer | None = None
        sync, enforcement, policy = SyncService(state), EnforcementService(state), PolicyService(state)
        inquiry, notices, group = InquiryService(state), NoticeService(state), NoticeGroupService(state)
        guard = ErrorBoundary(state.metrics)
        unary, unary_stream, stream = (
            grpc.unary_unary_rpc_method_handler,
            grpc.unary_stream_rpc_method_handler,
            grpc.stream_stream_rpc_method_handler,
        )
        manage_services = (SYNC, ENFORCEMENT, POLICY, INQUIRY, NOTICE, GROUP)
        self._health = HealthService((CHECK,)), HealthService(manage_services)
        shown = ReflectionService((CHECK, *manage_services, HEALTH, *REFLECTION), state.draining)

        def health(service: HealthService) -> dict[str, Any]:
            return {"Check": unary(guard(service.check)), "Watch": unary_stream(guard(service.watch))}

        self._check_server: grpc.aio.Server | None = None
        if state.engine == "native":
            from eir.server.core import CoreServer  # the portable engine needs nothing of it

            self._core = state.core = CoreServer(state)
            self.check_port = self._core.port
        else:
            self.check = CheckService(state)
            self._check_server, self.check_port = _bind(
                config,
                "check_listen",
                limits.check_message_bytes_max,
                limits.check_calls_max,
                {
                    CHECK: {
                        "CheckEquipment": unary(guard(self.check.check)),
                        "StreamCheckEquipment": stream(guard(self.check.stream)),
                        "BatchCheckEquipment": unary(guard(self.check.batch)),
                    },
                    HEALTH: health(self._health[0]),
                },
            )
        self._manage_server, self.manage_port = _bind(
            config,
            "manage_listen",
            limits.chunk_bytes_max + FRAME_BYTES,
            limits.manage_calls_max,
            {
                SYNC: {
                    "PushDelta": stream(guard(sync.push)),
                    "GetFeedPosition": unary(guard(sync.position)),
                    "ResolveFeed": unary(guard(sync.resolve)),
                },
                ENFORCEMENT: {
                    "GetEnforcement": unary(guard(enforcement.get)),
                    "SetEnforcement": unary(guard(enforcement.set)),
                    "GetStatus": unary(guard(enforcement.status)),
                    "RebuildSegments": unary(guard(enforcement.rebuild)),
                },
                POLICY: {
                    "StartTrial": unary(guard(policy.start)),
                    "GetTrial": unary(guard(policy.get)),
                    "StopTrial": unary(guard(policy.stop)),
                },
                INQUIRY: {
                    "InquireEquipment": unary(guard(inquiry.equipment)),
                    "InquireSubscriber": unary(guard(inquiry.subscriber)),
                    "InquireHistory": unary(guard(inquiry.history)),
                    "InquireStatus": unary(guard(inquiry.status)),
                },
                NOTICE: {
                    "ListCases": unary(guard(notices.list_cases)),
                    "GetCase": unary(guard(notices.get_case)),
                    "HoldCase": unary(guard(notices.hold_case)),
                    "WithdrawCase": unary(guard(notices.withdraw_case)),
                    "FreeCase": unary(guard(notices.free_case)),
                    "ShiftDeadlines": unary(guard(notices.shift)),
                    "UnshiftDeadlines": unary(guard(notices.unshift)),
                    "ListShifts": unary(guard(notices.list_shifts)),
                    "ListNotices": unary(guard(notices.list_notices)),
                    "PreviewNotices": unary(guard(notices.preview)),
                    "HoldNotices": unary(guard(notices.hold)),
                    "ReleaseNotices": unary(guard(notices.release)),
                    "GetNoticeStatus": unary(guard(notices.status)),
                },
                GROUP: {
                    "ForwardSightings": unary(guard(group.forward)),
                    "FollowCases": unary_stream(guard(group.follow)),
                    "StreamFacts": unary_stream(guard(group.facts)),
                },
                HEALTH: health(self._health[1]),
                **{name: {"ServerReflectionInfo": stream(guard(shown.info))} for name in REFLECTION},
            },
        )

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
            await asyncio.gather(self._check_server.stop(seconds), self._manage_server.stop(seconds))


def _bind(
    config: Config,
    name: str,
    message_bytes_max: int,
    calls_max: int,
    services: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]],
) -> tuple[grpc.aio.Server, int]:
    """Return a server bound to the address of a setting, and its port."""
    listen: str = getattr(config, name)
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
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]
    if limits.connection_age_seconds_max:
        options += [
            ("grpc.max_connection_age_ms", limits.connection_age_seconds_max * 1000),
            ("grpc.max_connection_age_grace_ms", limits.drain_seconds_max * 1000),
        ]
    return options
