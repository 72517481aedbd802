"""Calls to a running daemon, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from eir.cli.say import FAILED, NO, USAGE, Failure

if TYPE_CHECKING:
    import grpc

CALL_SECONDS_MAX: Final = 10.0
"""Wait for an answer that needs no work."""
CHECK_ADDRESS: Final = "127.0.0.1:50051"
MANAGE_ADDRESS: Final = "127.0.0.1:50052"
_PORTS: Final = (
    "checks are answered on the check listener (50051), all else on the management listener (50052)"
)

Function = TypeVar("Function", bound=Callable[..., Any])


def _address(_: click.Context, __: click.Parameter, value: str) -> str:
    from eir.config import address

    try:
        address(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not {error}") from None
    return value


def _option(name: str, default: str, variable: str) -> Callable[[Function], Function]:
    return click.option(
        "--address",
        metavar="HOST:PORT",
        default=default,
        show_default=True,
        envvar=variable,
        callback=_address,
        help=f"{name} listener of the daemon; {variable} sets it too.",
    )


check_address = _option("Check", CHECK_ADDRESS, "EIR_CHECK_LISTEN")
manage_address = _option("Management", MANAGE_ADDRESS, "EIR_MANAGE_LISTEN")


@contextmanager
def connect(address: str) -> Iterator[grpc.Channel]:
    """Open a channel; what goes wrong in a call leaves as a Failure."""
    import grpc

    # The daemon is inside the network: a web proxy of the shell is no way to it.
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            yield channel
        except grpc.RpcError as error:
            raise explain(error, address) from error


def reason_of(error: grpc.RpcError) -> str:
    """Return the stable reason of an error of ours; empty for others."""
    from google.rpc import error_details_pb2  # type: ignore[import-untyped]
    from grpc_status import rpc_status  # type: ignore[import-untyped]

    status, info = rpc_status.from_call(error), error_details_pb2.ErrorInfo()
    if status is None:
        return ""
    return next((str(info.reason) for detail in status.details if detail.Unpack(info)), "")


def explain(error: grpc.RpcError, address: str) -> Failure:
    """Say what an RPC's error means to the person at the terminal."""
    import grpc
    from grpc_status import rpc_status

    code, text = error.code(), error.details() or ""
    status = rpc_status.from_call(error)
    if status is not None:
        reason = reason_of(error) or code.name
        if code is grpc.StatusCode.UNAVAILABLE:
            return Failure(
                f"the daemon at {address} cannot answer now: {status.message} ({reason}); try again"
            )
        kinds = {grpc.StatusCode.INVALID_ARGUMENT: USAGE, grpc.StatusCode.INTERNAL: FAILED}
        return Failure(f"{status.message} ({reason})", kinds.get(code, NO))
    if code is grpc.StatusCode.UNAVAILABLE:
        return Failure(f"no daemon answers at {address}; start it with: eir serve")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return Failure(f"the server at {address} does not have this service: {_PORTS}")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Failure(f"the daemon at {address} did not answer in time")
    return Failure(f"the call to {address} failed: {code.name}: {text}")


def checks(channel: grpc.Channel) -> Any:
    """Return the stub of EquipmentCheckService."""
    from eir.proto import check_pb2_grpc

    return check_pb2_grpc.EquipmentCheckServiceStub(channel)  # type: ignore[no-untyped-call]


def sync(channel: grpc.Channel) -> Any:
    """Return the stub of RegistrySyncService."""
    from eir.proto import sync_pb2_grpc

    return sync_pb2_grpc.RegistrySyncServiceStub(channel)  # type: ignore[no-untyped-call]


def policy(channel: grpc.Channel) -> Any:
    """Return the stub of PolicyService."""
    from eir.proto import policy_pb2_grpc

    return policy_pb2_grpc.PolicyServiceStub(channel)  # type: ignore[no-untyped-call]


def enforcement(channel: grpc.Channel) -> Any:
    """Return the stub of EnforcementService."""
    from eir.proto import enforcement_pb2_grpc

    return enforcement_pb2_grpc.EnforcementServiceStub(channel)  # type: ignore[no-untyped-call]


def inquiry(channel: grpc.Channel) -> Any:
    """Return the stub of InquiryService."""
    from eir.proto import inquiry_pb2_grpc

    return inquiry_pb2_grpc.InquiryServiceStub(channel)  # type: ignore[no-untyped-call]


def notices(channel: grpc.Channel) -> Any:
    """Return the stub of NoticeService."""
    from eir.proto import notice_pb2_grpc

    return notice_pb2_grpc.NoticeServiceStub(channel)  # type: ignore[no-untyped-call]
