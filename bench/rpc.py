"""Stubs of the daemon's services; generated stubs have no types."""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc

from eir.proto import (
    check_pb2_grpc,
    enforcement_pb2_grpc,
    group_pb2_grpc,
    notice_pb2_grpc,
    policy_pb2_grpc,
    sync_pb2_grpc,
)


def checks_of(channel: grpc.Channel) -> Any:
    """EquipmentCheckService."""
    return check_pb2_grpc.EquipmentCheckServiceStub(channel)  # type: ignore[no-untyped-call]


def sync_of(channel: grpc.Channel) -> Any:
    """RegistrySyncService."""
    return sync_pb2_grpc.RegistrySyncServiceStub(channel)  # type: ignore[no-untyped-call]


def enforcement_of(channel: grpc.Channel) -> Any:
    """EnforcementService."""
    return enforcement_pb2_grpc.EnforcementServiceStub(channel)  # type: ignore[no-untyped-call]


def policy_of(channel: grpc.Channel) -> Any:
    """PolicyService."""
    return policy_pb2_grpc.PolicyServiceStub(channel)  # type: ignore[no-untyped-call]


def notices_of(channel: grpc.Channel) -> Any:
    """NoticeService."""
    return notice_pb2_grpc.NoticeServiceStub(channel)  # type: ignore[no-untyped-call]


def group_of(channel: grpc.Channel) -> Any:
    """NoticeGroupService."""
    return group_pb2_grpc.NoticeGroupServiceStub(channel)  # type: ignore[no-untyped-call]


def health_of(channel: grpc.Channel) -> Any:
    """GRPC health."""
    return health_pb2_grpc.HealthStub(channel)
