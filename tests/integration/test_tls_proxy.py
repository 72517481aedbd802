"""The proxy of deploy/tls before a real daemon: who has a certificate and a name of the list is let in."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest
import trustme
from redis_server import free_port

from eir.proto import check_pb2, check_pb2_grpc, enforcement_pb2, enforcement_pb2_grpc
from tests.running import Daemon, running

CONFIG = Path(__file__).parents[2] / "deploy" / "tls" / "haproxy.cfg"
KEY = "35693803564380"


class Proxy(NamedTuple):
    """Ports of the proxy, and who issues certificates."""

    check: int
    manage: int
    authority: trustme.CA
    daemon: Daemon


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert program, "haproxy is needed: make peers installs it"
    folder, authority = tmp_path_factory.mktemp("tls"), trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    server.private_key_and_cert_chain_pem.write_to_path(folder / "eir.pem")
    authority.cert_pem.write_to_path(folder / "clients.pem")
    (folder / "core-nodes").write_text("mme-1\n")
    (folder / "managers").write_text("registry\n")
    with running(folder / "data") as daemon:
        check, manage = free_port(), free_port()
        text = CONFIG.read_text().replace("/etc/haproxy", str(folder))
        for before, after in (
            (":50061 ", f"127.0.0.1:{check} "),
            (":50062 ", f"127.0.0.1:{manage} "),
            ("127.0.0.1:50051", daemon.ready_line["check"]),
            ("127.0.0.1:50052", daemon.ready_line["manage"]),
            ("maxconn 20000", "maxconn 100"),  # each takes two files, of which a test may have few
        ):
            assert text.count(before) == 1
            text = text.replace(before, after)
        path = folder / "haproxy.cfg"
        path.write_text(text)
        checked = subprocess.run([program, "-c", "-f", path], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
        running_proxy = subprocess.Popen([program, "-db", "-f", path], stderr=subprocess.DEVNULL)
        try:
            yield Proxy(check, manage, authority, daemon)
        finally:
            running_proxy.terminate()
            running_proxy.wait(10)


def channel(proxy: Proxy, port: int, name: str, authority: trustme.CA | None = None) -> grpc.Channel:
    """A channel of a client whose certificate has a name."""
    own = (authority or proxy.authority).issue_cert(common_name=name)
    credentials = grpc.ssl_channel_credentials(
        proxy.authority.cert_pem.bytes(),
        own.private_key_pem.bytes(),
        b"".join(one.bytes() for one in own.cert_chain_pems),
    )
    return grpc.secure_channel(f"127.0.0.1:{port}", credentials)


def check(over: grpc.Channel) -> check_pb2.CheckEquipmentResponse:
    stub = check_pb2_grpc.EquipmentCheckServiceStub(over)  # type: ignore[no-untyped-call]
    answer: check_pb2.CheckEquipmentResponse = stub.CheckEquipment(
        check_pb2.CheckEquipmentRequest(imei=KEY), timeout=10, wait_for_ready=True
    )
    return answer


def test_a_core_node_checks_over_mutual_tls(proxy: Proxy) -> None:
    with channel(proxy, proxy.check, "mme-1") as over:
        assert check(over) == proxy.daemon.check(KEY)


def test_a_manager_manages_and_a_core_node_does_not(proxy: Proxy) -> None:
    request = enforcement_pb2.GetStatusRequest()
    for name, let_in in (("registry", True), ("mme-1", False)):
        with channel(proxy, proxy.manage, name) as over:
            stub = enforcement_pb2_grpc.EnforcementServiceStub(over)  # type: ignore[no-untyped-call]
            if let_in:
                assert stub.GetStatus(request, timeout=10, wait_for_ready=True).ready
            else:
                with pytest.raises(grpc.RpcError) as refused:
                    stub.GetStatus(request, timeout=10)
                assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_certificate_of_somebody_else_is_no_certificate(proxy: Proxy) -> None:
    with channel(proxy, proxy.check, "mme-1", trustme.CA()) as over:
        started = time.monotonic()
        stub = check_pb2_grpc.EquipmentCheckServiceStub(over)  # type: ignore[no-untyped-call]
        with pytest.raises(grpc.RpcError) as refused:
            stub.CheckEquipment(check_pb2.CheckEquipmentRequest(imei=KEY), timeout=10)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert time.monotonic() - started < 10
