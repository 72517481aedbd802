"""Every error leaves as one status with rich details; a bug tells the client nothing."""

import asyncio
import inspect
from typing import Any

import grpc
import pytest
import structlog
from google.rpc import error_details_pb2, status_pb2

from eir import errors
from eir.interceptors import DETAILS_KEY, DOMAIN, ErrorBoundary, code_of, status_of
from eir.metrics import Metrics

Code = grpc.StatusCode
ERRORS: list[type[errors.EirError]] = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.EirError)
]


def made(kind: type[errors.EirError]) -> errors.EirError:
    special: dict[type[errors.EirError], tuple[Any, ...]] = {
        errors.InvalidRequestError: ("imei", "too long"),
        errors.DeltaRowsRefusedError: ((), 3),
        errors.DeltaGuardError: ("too much", ()),
    }
    return kind(*special.get(kind, ()))


def unpacked(status: status_pb2.Status, kind: type[Any]) -> Any:
    """The detail of a kind, or None."""
    for detail in status.details:
        message = kind()
        if detail.Unpack(message):
            return message
    return None


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.InvalidRequestError, Code.INVALID_ARGUMENT),
        (errors.PolicyError, Code.INVALID_ARGUMENT),
        (errors.DeltaInvalidError, Code.INVALID_ARGUMENT),
        (errors.DeltaHashMismatchError, Code.INVALID_ARGUMENT),
        (errors.DeltaRowCountMismatchError, Code.INVALID_ARGUMENT),
        (errors.DeltaGapError, Code.FAILED_PRECONDITION),
        (errors.DeltaConflictError, Code.ALREADY_EXISTS),
        (errors.DeltaRowsRefusedError, Code.FAILED_PRECONDITION),
        (errors.DeltaGuardError, Code.FAILED_PRECONDITION),
        (errors.DeltaTooLargeError, Code.RESOURCE_EXHAUSTED),
        (errors.NotReadyError, Code.UNAVAILABLE),
        (errors.DrainingError, Code.UNAVAILABLE),
        (errors.WriterBusyError, Code.UNAVAILABLE),
        (errors.StorageError, Code.UNAVAILABLE),
        (errors.SegmentDamagedError, Code.DATA_LOSS),
        (errors.JournalDamagedError, Code.DATA_LOSS),
        (errors.StateDamagedError, Code.INTERNAL),
    ],
)
def test_codes(kind: type[errors.EirError], code: grpc.StatusCode) -> None:
    assert code_of(made(kind)) is code


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_has_an_error_info(kind: type[errors.EirError]) -> None:
    error = made(kind)
    status = status_of(error)
    info = unpacked(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain, dict(info.metadata)) == (kind.reason, DOMAIN, error.details)
    assert status.message == error.message
    assert status.code == code_of(error).value[0]


def test_reasons_are_stable_words_and_unique() -> None:
    reasons = [kind.reason for kind in ERRORS]
    assert len(set(reasons)) == len(reasons)
    assert all(reason.replace("_", "").isalpha() and reason.isupper() for reason in reasons)


def test_an_invalid_request_names_the_field() -> None:
    bad = unpacked(status_of(errors.InvalidRequestError("imsi", "too long")), error_details_pb2.BadRequest)
    assert [(v.field, v.description) for v in bad.field_violations] == [("imsi", "too long")]


def test_what_is_unavailable_says_when_to_retry() -> None:
    error = errors.NotReadyError()
    error.retry_after_seconds = 2.5
    delay = unpacked(status_of(error), error_details_pb2.RetryInfo).retry_delay
    assert (delay.seconds, delay.nanos) == (2, 500_000_000)
    assert unpacked(status_of(errors.DeltaGapError()), error_details_pb2.RetryInfo) is None


def test_a_long_message_is_cut_to_what_a_trailer_holds() -> None:
    message = status_of(errors.PolicyError("ش" * 2000)).message
    assert len(message.encode()) <= 1024
    assert set(message) == {"ش"}


class Aborted(Exception):
    """What abort raises."""


class Call:
    """A call that remembers how it was ended."""

    def __init__(self) -> None:
        self.ended: list[tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]] = []

    async def abort(
        self, code: grpc.StatusCode, details: str, trailers: tuple[tuple[str, bytes], ...]
    ) -> None:
        self.ended.append((code, details, trailers))
        raise Aborted


async def _run(error: Exception) -> tuple[Call, Metrics]:
    metrics, call = Metrics(), Call()

    async def handler(request: Any, context: Any) -> Any:
        raise error

    with pytest.raises(Aborted):
        await ErrorBoundary(metrics)(handler)(b"", call)  # type: ignore[arg-type]
    return call, metrics


def run(error: Exception) -> tuple[Call, Metrics]:
    return asyncio.run(_run(error))


def test_the_boundary_ends_a_call_once_and_counts() -> None:
    call, metrics = run(errors.DeltaGapError("expected 7", expected=7))
    ((code, details, ((key, value),)),) = call.ended
    assert (code, details, key) == (Code.FAILED_PRECONDITION, "expected 7", DETAILS_KEY)
    info = unpacked(status_pb2.Status.FromString(value), error_details_pb2.ErrorInfo)
    assert dict(info.metadata) == {"expected": "7"}
    assert metrics.registry.get_sample_value("eir_rpc_errors_total", {"reason": "DELTA_GAP"}) == 1


def test_a_client_that_went_away_is_no_bug() -> None:
    """What grpc raises when an answer can no longer be sent."""
    metrics, call = Metrics(), Call()

    async def handler(request: Any, context: Any) -> Any:
        raise grpc.aio.InternalError("Failed execute_batch")

    with structlog.testing.capture_logs() as logged:
        asyncio.run(ErrorBoundary(metrics)(handler)(b"", call))  # type: ignore[arg-type]
    assert (logged, call.ended) == ([], [])
    assert metrics.registry.get_sample_value("eir_rpc_errors_total", {"reason": "INTERNAL"}) is None


def test_a_bug_is_logged_counted_and_tells_the_client_nothing() -> None:
    with structlog.testing.capture_logs() as logged:
        call, metrics = run(ZeroDivisionError("secret"))
    ((code, details, ((_, value),)),) = call.ended
    assert code is Code.INTERNAL
    assert "secret" not in details
    assert b"secret" not in value
    assert logged[0]["log_level"] == "error"
    assert metrics.registry.get_sample_value("eir_rpc_errors_total", {"reason": "INTERNAL"}) == 1
