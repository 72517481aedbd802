"""Which methods the two ports have: services, names, and what answers each.

Every service is added by generic handlers that take and give bytes: handlers
registered by method make the accept loop of grpcio's asyncio server slower (a
task and a wait for each call), and bytes that are no message get our answer.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from eir.interceptors import ErrorBoundary
from eir.proto import check_pb2, enforcement_pb2, group_pb2, inquiry_pb2, notice_pb2, policy_pb2, sync_pb2
from eir.server.check import CheckService
from eir.server.enforcement import EnforcementService
from eir.server.exchange import NoticeGroupService
from eir.server.health import HealthService, ReflectionService
from eir.server.inquiry import InquiryService
from eir.server.notices import NoticeService
from eir.server.policy import PolicyService
from eir.server.state import State
from eir.server.sync import SyncService

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
MANAGE_SERVICES: Final = (SYNC, ENFORCEMENT, POLICY, INQUIRY, NOTICE, GROUP)

Methods: TypeAlias = "dict[str, grpc.RpcMethodHandler[Any, Any]]"
"""Of a service, by name."""


class Handlers:
    """Makes handlers of functions; the bounds of errors are around each."""

    def __init__(self, guard: ErrorBoundary) -> None:
        """Take what answers errors."""
        self._guard = guard

    def unary(self, **answer: Any) -> Methods:
        """One message in, one out."""
        return {name: grpc.unary_unary_rpc_method_handler(self._guard(one)) for name, one in answer.items()}

    def downstream(self, **answer: Any) -> Methods:
        """One message in, many out."""
        return {name: grpc.unary_stream_rpc_method_handler(self._guard(one)) for name, one in answer.items()}

    def stream(self, **answer: Any) -> Methods:
        """Many in, many out."""
        return {name: grpc.stream_stream_rpc_method_handler(self._guard(one)) for name, one in answer.items()}


def check_methods(handlers: Handlers, check: CheckService, health: HealthService) -> dict[str, Methods]:
    """Return the services of the check port, as the portable engine serves it."""
    return {
        CHECK: handlers.unary(CheckEquipment=check.check, BatchCheckEquipment=check.batch)
        | handlers.stream(StreamCheckEquipment=check.stream),
        HEALTH: health_methods(handlers, health),
    }


def manage_methods(handlers: Handlers, state: State, health: HealthService) -> dict[str, Methods]:
    """Return the services of the management port."""
    shown = ReflectionService((CHECK, *MANAGE_SERVICES, HEALTH, *REFLECTION), state.draining)
    sync, enforcement, policy = SyncService(state), EnforcementService(state), PolicyService(state)
    inquiry, group = InquiryService(state), NoticeGroupService(state)
    return {
        SYNC: handlers.stream(PushDelta=sync.push)
        | handlers.unary(GetFeedPosition=sync.position, ResolveFeed=sync.resolve),
        ENFORCEMENT: handlers.unary(
            GetEnforcement=enforcement.get,
            SetEnforcement=enforcement.set,
            GetStatus=enforcement.status,
            RebuildSegments=enforcement.rebuild,
        ),
        POLICY: handlers.unary(StartTrial=policy.start, GetTrial=policy.get, StopTrial=policy.stop),
        INQUIRY: handlers.unary(
            InquireEquipment=inquiry.equipment,
            InquireSubscriber=inquiry.subscriber,
            InquireHistory=inquiry.history,
            InquireStatus=inquiry.status,
        ),
        NOTICE: notice_methods(handlers, NoticeService(state)),
        GROUP: handlers.unary(ForwardSightings=group.forward)
        | handlers.downstream(FollowCases=group.follow, StreamFacts=group.facts),
        HEALTH: health_methods(handlers, health),
        **{name: handlers.stream(ServerReflectionInfo=shown.info) for name in REFLECTION},
    }


def notice_methods(handlers: Handlers, notices: NoticeService) -> Methods:
    """Return what NoticeService has."""
    return handlers.unary(
        ListCases=notices.list_cases,
        GetCase=notices.get_case,
        HoldCase=notices.hold_case,
        WithdrawCase=notices.withdraw_case,
        FreeCase=notices.free_case,
        ShiftDeadlines=notices.shift,
        UnshiftDeadlines=notices.unshift,
        ListShifts=notices.list_shifts,
        ListNotices=notices.list_notices,
        PreviewNotices=notices.preview,
        HoldNotices=notices.hold,
        ReleaseNotices=notices.release,
        GetNoticeStatus=notices.status,
    )


def health_methods(handlers: Handlers, health: HealthService) -> Methods:
    """Return what gRPC health has."""
    return handlers.unary(Check=health.check) | handlers.downstream(Watch=health.watch)
