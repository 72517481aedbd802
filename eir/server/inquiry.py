"""InquiryService: what the tables know, for call centres and for the public.

    message ──► identity ──► Inquirer (a thread) ──► audit, where privileged ──► answer

Which RPCs are privileged is said in the proto, and read from there. Look-ups
have one thread and searches of the journal another, so that neither checks nor
deltas wait for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from google.protobuf.message import Message

from eir.clock import monotonic
from eir.errors import EirError, InquiriesBusyError, InvalidRequestError, RejectedError
from eir.identity import TypedImei, imei_text, imsi_text
from eir.inquiry import slots
from eir.inquiry.inquirer import Inquirer
from eir.interceptors import Context
from eir.proto import inquiry_pb2
from eir.server.check import bounded, client_of, parse
from eir.server.state import State

WHO_BYTES_MAX: Final = 128
CLIENT_BYTES_MAX: Final = 128
SERVICE: Final = inquiry_pb2.DESCRIPTOR.services_by_name["InquiryService"]
PRIVILEGED: Final = frozenset(
    method.name
    for method in SERVICE.methods
    if method.GetOptions().Extensions[inquiry_pb2.privileged]  # type: ignore[index]  # the stubs know no options
)
FORMS: Final = {method.name: method.name.removeprefix("Inquire").lower() for method in SERVICE.methods}
"""Label of each RPC in metrics and in the audit."""
FOUND, NOT_FOUND, REFUSED, FAILED = "found", "not_found", "refused", "failed"


class Asked(NamedTuple):
    """An identity as the audit names it."""

    kind: str
    text: str


class Answered(NamedTuple):
    """An answer, whom it is about, and whether there was anything to tell."""

    message: Message
    asked: Asked
    found: bool


class InquiryService:
    """Answers inquiries."""

    def __init__(self, state: State) -> None:
        """Serve over `state`."""
        self._state = state
        self._waiting = 0

    async def equipment(self, data: bytes, context: Context) -> bytes:
        """InquireEquipment."""
        return await self._answer("InquireEquipment", context, lambda: self._equipment(data))

    async def subscriber(self, data: bytes, context: Context) -> bytes:
        """InquireSubscriber."""
        return await self._answer("InquireSubscriber", context, lambda: self._subscriber(data))

    async def history(self, data: bytes, context: Context) -> bytes:
        """InquireHistory."""
        return await self._answer("InquireHistory", context, lambda: self._history(data))

    async def status(self, data: bytes, context: Context) -> bytes:
        """InquireStatus."""
        return await self._answer("InquireStatus", context, lambda: self._status(data))

    async def _answer(
        self, method: str, context: Context, begin: Callable[[], tuple[str, Callable[[], Answered]]]
    ) -> bytes:
        """Answer one inquiry, counted: `begin` returns who asks, and the work."""
        metrics, started, outcome = self._state.metrics, monotonic(), FAILED
        try:
            who, work = begin()
            if method in PRIVILEGED:
                _who_valid(who)
            client = client_of(context)
            bounded("eir-client", client, CLIENT_BYTES_MAX)
            answered = await self._in_thread(method, lambda: self._audited(method, who, client, work))
            outcome = FOUND if answered.found else NOT_FOUND
            return answered.message.SerializeToString()
        except EirError as error:
            outcome = REFUSED if isinstance(error, RejectedError) else FAILED
            raise
        finally:
            metrics.inquiries.labels(FORMS[method], outcome).inc()
            metrics.inquiry_seconds.labels(FORMS[method]).observe(monotonic() - started)

    async def _in_thread(self, method: str, work: Callable[[], Answered]) -> Answered:
        """Work in the thread of the method. Raises InquiriesBusyError when too many wait."""
        state, waiting_max = self._state, self._state.config.inquiry.waiting_max
        if self._waiting >= waiting_max:
            raise InquiriesBusyError(waiting_max=waiting_max)
        threads = state.history_reader if method == "InquireHistory" else state.inquiry_reader
        self._waiting += 1
        state.metrics.inquiries_waiting.set(self._waiting)
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, work)
        finally:
            self._waiting -= 1
            state.metrics.inquiries_waiting.set(self._waiting)

    def _audited(self, method: str, who: str, client: str, work: Callable[[], Answered]) -> Answered:
        """Work, and note who asked before the answer leaves. Raises StorageError: then there is none."""
        answered = work()
        if method in PRIVILEGED:
            outcome = FOUND if answered.found else NOT_FOUND
            self._state.inquiry_audit(who, client, FORMS[method], *answered.asked, outcome)
        return answered

    # Each reads its message here, and returns the work for the thread.

    def _equipment(self, data: bytes) -> tuple[str, Callable[[], Answered]]:
        request, inquirer = parse(inquiry_pb2.InquireEquipmentRequest, data), self._state.inquiring()
        typed = inquirer.imei(request.imei, raw=True)
        imsi = inquirer.imsi(request.imsi) if request.imsi else 0

        def work() -> Answered:
            answer = inquirer.equipment(typed, imsi)
            return Answered(answer, _asked_imei(typed), slots.known(answer.slot))

        return request.who, work

    def _subscriber(self, data: bytes) -> tuple[str, Callable[[], Answered]]:
        request, inquirer = parse(inquiry_pb2.InquireSubscriberRequest, data), self._state.inquiring()
        kind = request.WhichOneof("subscriber")
        if kind is None:
            raise InvalidRequestError("subscriber", "allowed is one of imsi and msisdn")
        code = _code(inquirer, kind, getattr(request, kind))

        def work() -> Answered:
            answer = inquirer.subscriber(**{kind: code})
            return Answered(answer, Asked(kind, imsi_text(code)), bool(answer.sims))

        return request.who, work

    def _history(self, data: bytes) -> tuple[str, Callable[[], Answered]]:
        request, inquirer = parse(inquiry_pb2.InquireHistoryRequest, data), self._state.inquiring()
        kind = request.WhichOneof("identity")
        if kind is None:
            raise InvalidRequestError("identity", "allowed is one of imei, imsi and msisdn")
        typed = inquirer.imei(request.imei, raw=True) if kind == "imei" else None
        code = 0 if kind == "imei" else _code(inquirer, kind, getattr(request, kind))
        codes = {} if kind == "imei" else {kind: code}

        def work() -> Answered:
            answer = inquirer.history(request.page_token, typed, **codes)
            asked = _asked_imei(typed) if typed is not None else Asked(kind, imsi_text(code))
            return Answered(answer, asked, bool(answer.entries))

        return request.who, work

    def _status(self, data: bytes) -> tuple[str, Callable[[], Answered]]:
        request, inquirer = parse(inquiry_pb2.InquireStatusRequest, data), self._state.inquiring()
        typed = inquirer.imei(request.imei, raw=False)

        def work() -> Answered:
            answer = inquirer.status(typed)
            return Answered(answer, _asked_imei(typed), answer.status != inquiry_pb2.PUBLIC_STATUS_NOT_FOUND)

        return "", work


def _code(inquirer: Inquirer, kind: str, text: str) -> int:
    return inquirer.imsi(text) if kind == "imsi" else inquirer.msisdn(text)


def _asked_imei(typed: TypedImei) -> Asked:
    return Asked("imei", typed.imei.raw or imei_text(typed.imei.key))


def _who_valid(who: str) -> None:
    """Raise InvalidRequestError where nobody says who asks."""
    if not who.strip():
        raise InvalidRequestError("who", f"is empty; allowed are 1 to {WHO_BYTES_MAX} bytes")
    bounded("who", who, WHO_BYTES_MAX)
