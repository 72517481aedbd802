"""Errors to gRPC status: the one place.

    EirError ──► status code + ErrorInfo (+ BadRequest | RetryInfo) ──► client

Handlers raise; the wrappers here answer. What is not an EirError is a bug: it
is logged and counted, and the client learns nothing but INTERNAL.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
import structlog
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from eir import errors
from eir.metrics import Metrics

DOMAIN: Final = "eir"
DETAILS_KEY: Final = "grpc-status-details-bin"
MESSAGE_BYTES_MAX: Final = 1024
"""Of an error's message; details travel in trailers, which are bounded."""

Context = grpc.aio.ServicerContext[Any, Any]
Code = grpc.StatusCode

CODES: Final[tuple[tuple[type[errors.EirError], grpc.StatusCode], ...]] = (
    (errors.DeltaGapError, Code.FAILED_PRECONDITION),
    (errors.DeltaRowsRefusedError, Code.FAILED_PRECONDITION),
    (errors.DeltaGuardError, Code.FAILED_PRECONDITION),
    (errors.FeedStateError, Code.FAILED_PRECONDITION),
    (errors.TrialRunningError, Code.FAILED_PRECONDITION),
    (errors.DeltaConflictError, Code.ALREADY_EXISTS),
    (errors.CaseNotFoundError, Code.NOT_FOUND),
    # As gRPC itself answers a message that is too large.
    (errors.DeltaTooLargeError, Code.RESOURCE_EXHAUSTED),
    (errors.RejectedError, Code.INVALID_ARGUMENT),
    (errors.UnavailableError, Code.UNAVAILABLE),
    (errors.CorruptError, Code.DATA_LOSS),
    (errors.EirError, Code.INTERNAL),
)
"""First match wins: special cases before the group they belong to."""


def code_of(error: errors.EirError) -> grpc.StatusCode:
    """Status code of an error."""
    return next(code for kind, code in CODES if isinstance(error, kind))


def status_of(error: errors.EirError) -> status_pb2.Status:
    """Rich status of an error: ErrorInfo always, BadRequest or RetryInfo where they apply."""
    details: list[Any] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.details)
    ]
    if isinstance(error, errors.InvalidRequestError):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field, description=error.description
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, errors.UnavailableError):
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(error.retry_after_seconds * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = []
    for detail in details:
        any_detail = any_pb2.Any()
        any_detail.Pack(detail)
        packed.append(any_detail)
    number: int = code_of(error).value[0]
    return status_pb2.Status(code=number, message=_short(error.message), details=packed)


def _short(text: str) -> str:
    """Text cut to what a trailer may hold."""
    return text.encode()[:MESSAGE_BYTES_MAX].decode(errors="ignore")


class ErrorBoundary:
    """Wraps handlers so that each error leaves as one status, counted."""

    def __init__(self, metrics: Metrics) -> None:
        """Count into `metrics`."""
        self._metrics = metrics
        self._log = structlog.get_logger()

    def __call__(
        self, handler: Callable[[Any, Context], Awaitable[Any]]
    ) -> Callable[[Any, Context], Awaitable[Any]]:
        """Wrap a handler that is a coroutine, unary or streaming."""

        async def guarded(request: Any, context: Context) -> Any:
            try:
                return await handler(request, context)
            except errors.EirError as error:
                await self.abort(context, error)
            except grpc.aio.AbortError:
                raise
            except grpc.aio.InternalError:
                return None  # nothing can be sent: the client went away, or cancelled
            except Exception:  # noqa: BLE001 - a bug ends one call, not the daemon; it is logged
                self._log.exception("handler failed", handler=handler.__qualname__)
                await self.abort(context, errors.EirError("internal error"))

        return guarded

    async def abort(self, context: Context, error: errors.EirError) -> None:
        """End a call with the rich status of an error."""
        self._metrics.errors.labels(error.reason).inc()
        status = status_of(error)
        await context.abort(code_of(error), status.message, ((DETAILS_KEY, status.SerializeToString()),))
