"""Health on both ports, reflection on the management port."""

import threading
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.running import Daemon

SERVING = health_pb2.HealthCheckResponse.SERVING
CHECK = ("", "eir.v1.EquipmentCheckService")
MANAGE = ("", "eir.v1.RegistrySyncService", "eir.v1.EnforcementService")


def test_each_listener_serves_its_services_and_no_others(daemon: Daemon) -> None:
    for channel, services, others in (
        (daemon.check_channel, CHECK, MANAGE[1:]),
        (daemon.manage_channel, MANAGE, CHECK[1:]),
    ):
        stub = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]
        for service in services:
            assert stub.Check(health_pb2.HealthCheckRequest(service=service)).status == SERVING
        for service in (*others, "nothing"):
            with pytest.raises(grpc.RpcError) as caught:
                stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_watch_tells_the_status_at_once_and_of_an_unknown_service_too(daemon: Daemon) -> None:
    stub = health_pb2_grpc.HealthStub(daemon.check_channel)  # type: ignore[no-untyped-call]
    for service, expected in (("", SERVING), ("nothing", health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)):
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=10)
        assert next(watch).status == expected
        watch.cancel()


def test_reflection_describes_every_service(daemon: Daemon) -> None:
    database = ProtoReflectionDescriptorDatabase(daemon.manage_channel)
    services = set(database.get_services())
    assert {*CHECK[1:], *MANAGE[1:], "grpc.health.v1.Health"} <= services
    pool = DescriptorPool(database)
    for name in (*CHECK[1:], *MANAGE[1:]):
        assert pool.FindServiceByName(name).methods
    assert pool.FindMessageTypeByName("eir.v1.CheckEquipmentRequest").fields_by_name["imei"]


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_speaks_both_versions(daemon: Daemon, version: str) -> None:
    call = daemon.manage_channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    asked = threading.Event()

    def requests() -> Iterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        assert asked.wait(10)
        yield reflection_pb2.ServerReflectionRequest(file_by_filename="nothing.proto")

    answers = call(requests(), timeout=10)
    listed = {service.name for service in next(answers).list_services_response.service}
    assert set(MANAGE[1:]) <= listed
    asked.set()
    assert next(answers).error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert list(answers) == []


def test_the_check_port_has_no_reflection(daemon: Daemon) -> None:
    call = daemon.check_channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    with pytest.raises(grpc.RpcError) as caught:
        list(call(iter([b""])))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
