"""EquipmentCheckService: what core nodes ask.

    bytes ──► message ──► valid? ──► Checker ──► status map of the client ──► bytes
                                        └─ unpaired ──► sightings

Nothing here waits but for the transport, and nothing is logged for a check.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from eir.check import Checker
from eir.clock import monotonic
from eir.errors import DrainingError, InvalidRequestError
from eir.identity import e164
from eir.interceptors import Context
from eir.proto import check_pb2
from eir.server.state import State
from eir.verdict import LOOKING, Reason, Status

IDENTITY_BYTES_MAX: Final = 256
REQUEST_ID_BYTES_MAX: Final = 128
CLIENT_KEY: Final = "eir-client"
"""Metadata key by which a client names itself, until certificates do."""
STREAM_IDLE_SECONDS: Final = 0.2
"""A stream on which nothing came for so long may be ended when draining."""
STREAM_BUSY_SECONDS_MAX: Final = 3.0
"""A stream on which requests keep coming is ended so long after draining began: core nodes never pause."""
THREAD_ROWS_MIN: Final = 64
"""Batches from here on run in a thread, so that single checks go on meanwhile."""

WHITELISTED: Final = int(Status.WHITELISTED)
EMERGENCY: Final = int(Reason.EMERGENCY)
WAKE: Final = object()

Request = TypeVar("Request", bound=Message)


class CheckService:
    """Answers checks, one by one, as a stream and as a batch."""

    def __init__(self, state: State) -> None:
        """Bind what every check needs."""
        self._state = state
        self._count = state.metrics.count
        self._keep = state.decisions.wanted.keep
        self._record = state.decisions.record
        self._seconds = {method: child.observe for method, child in state.metrics.check_seconds.items()}
        self._streams: set[asyncio.Queue[Any]] = set()
        self._stream_ended = asyncio.Event()
        self._refusing = False
        self._busy_until = 0.0

    async def check(self, data: bytes, context: Context) -> bytes:
        """CheckEquipment."""
        started = monotonic()
        self._take_calls()
        request = parse(check_pb2.CheckEquipmentRequest, data)
        await in_time(context)
        answer = self._judge(request, client_of(context)).SerializeToString()
        self._seconds["unary"](monotonic() - started)
        return answer

    async def stream(self, _: Any, context: Context) -> None:
        """StreamCheckEquipment: in order, reading a bounded number ahead."""
        self._take_calls()
        client = client_of(context)
        queue: asyncio.Queue[Any] = asyncio.Queue(self._state.config.limits.stream_in_flight_max)
        reader = asyncio.create_task(_read_ahead(context, queue))
        self._streams.add(queue)
        try:
            while (data := await self._next(queue, reader)) is not grpc.aio.EOF:
                started = monotonic()
                request = parse(check_pb2.StreamCheckEquipmentRequest, data)
                if not request.HasField("check"):
                    raise InvalidRequestError("check", "is missing")
                verdict = self._judge(request.check, client)
                answer = check_pb2.StreamCheckEquipmentResponse(verdict=verdict).SerializeToString()
                self._seconds["stream"](monotonic() - started)
                await context.write(answer)
        finally:
            self._streams.discard(queue)
            self._stream_ended.set()
            reader.cancel()

    async def _next(self, queue: asyncio.Queue[Any], reader: asyncio.Task[None]) -> Any:
        """Return the next message of a stream; when new calls are refused, end it once idle or out of time.

        What was read before is answered; what is not answered was not judged.
        """
        message: Any = WAKE
        while message is WAKE:
            if self._refusing:
                if monotonic() > self._busy_until:
                    reader.cancel()
                try:
                    message = await asyncio.wait_for(queue.get(), STREAM_IDLE_SECONDS)
                except TimeoutError:
                    raise DrainingError from None
            else:
                message = await queue.get()
        return message

    def _take_calls(self) -> None:
        """Raise DrainingError where no new calls are taken."""
        if self._refusing:
            raise DrainingError

    def refuse(self) -> None:
        """Take no new calls, and let idle streams notice."""
        self._refusing = True
        self._busy_until = monotonic() + min(
            STREAM_BUSY_SECONDS_MAX, self._state.config.limits.drain_seconds_max / 2
        )
        for queue in self._streams:
            if queue.empty():
                queue.put_nowait(WAKE)

    async def streams_ended(self, seconds: float) -> bool:
        """Wait until no stream is open, at most for so long; whether there was any."""
        found = bool(self._streams)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._streams:
                    self._stream_ended.clear()
                    await self._stream_ended.wait()
        return found

    async def batch(self, data: bytes, context: Context) -> bytes:
        """BatchCheckEquipment."""
        started = monotonic()
        self._take_calls()
        checker = self._state.working()
        request = parse(check_pb2.BatchCheckEquipmentRequest, data)
        self._check_batch(request)
        await in_time(context)
        judge = partial(self._judge_batch, checker, request, client_of(context))
        answer = judge() if len(request.imei) < THREAD_ROWS_MIN else await asyncio.to_thread(judge)
        self._seconds["batch"](monotonic() - started)
        return answer

    def _judge(
        self, request: check_pb2.CheckEquipmentRequest, client: str
    ) -> check_pb2.CheckEquipmentResponse:
        """Return the answer to one request. Raises InvalidRequestError or NotReadyError."""
        imei, imsi, plmn, request_id = request.imei, request.imsi, request.serving_plmn, request.request_id
        bounded("request_id", request_id, REQUEST_ID_BYTES_MAX)
        if not request.emergency:  # an error is taken for a denial by some nodes
            bounded("imei", imei, IDENTITY_BYTES_MAX)
            bounded("imsi", imsi, IDENTITY_BYTES_MAX)
            bounded("msisdn", request.msisdn, IDENTITY_BYTES_MAX)
            plmn_valid(plmn)
        if self._state.checker is None and request.emergency:
            return self._without_tables(request_id)
        checker = self._state.working()
        verdict = checker.check(imei, imsi, plmn, request.emergency)
        reason, deadline = verdict.reason, verdict.deadline
        status = checker.policy.status_map(client)[verdict.status]
        self._count(status, reason)
        sightings = self._state.sightings
        if verdict.unpaired is not None and sightings is not None and client != LOOKING:
            sightings.note(*verdict.unpaired, self._state.clock(), e164(request.msisdn))
        if (trial := self._state.trial) is not None and trial.running:
            trial.offer(imei, imsi, plmn, request.emergency)
        if self._keep(verdict.status, status, reason, imei, imsi):
            now, serial, policy_hash = self._state.clock(), verdict.serial, checker.policy.hash
            self._record(now, imei, imsi, plmn, client, status, reason, serial, policy_hash)
        return check_pb2.CheckEquipmentResponse(
            status=status,  # type: ignore[arg-type]  # an int is what the wire has
            reason=reason,  # type: ignore[arg-type]
            deadline=deadline,
            serial=verdict.serial,
            stale=verdict.stale,
            cache_seconds=verdict.cache_seconds if status == WHITELISTED else 0,
            request_id=request_id,
        )

    def _without_tables(self, request_id: str) -> check_pb2.CheckEquipmentResponse:
        """Return the answer to an emergency call before there are tables: allowed, whatever they will say."""
        self._count(WHITELISTED, EMERGENCY)
        return check_pb2.CheckEquipmentResponse(
            status=WHITELISTED,  # type: ignore[arg-type]  # an int is what the wire has
            reason=EMERGENCY,  # type: ignore[arg-type]
            stale=True,
            request_id=request_id,
        )

    def _check_batch(self, request: check_pb2.BatchCheckEquipmentRequest) -> None:
        """Raise InvalidRequestError for a batch that cannot be used."""
        rows, rows_max = len(request.imei), self._state.config.limits.batch_rows_max
        if rows > rows_max:
            raise InvalidRequestError("imei", f"has {rows} entries; allowed are {rows_max}")
        if request.imsi and len(request.imsi) != rows:
            raise InvalidRequestError(
                "imsi", f"has {len(request.imsi)} entries and imei has {rows}; allowed are as many, or none"
            )
        for name, column in (("imei", request.imei), ("imsi", request.imsi)):
            for row, text in enumerate(column):
                if len(text) > IDENTITY_BYTES_MAX or not text.isascii():
                    bounded(f"{name}[{row}]", text, IDENTITY_BYTES_MAX)
        bounded("request_id", request.request_id, REQUEST_ID_BYTES_MAX)
        plmn_valid(request.serving_plmn)

    def _judge_batch(
        self, checker: Checker, request: check_pb2.BatchCheckEquipmentRequest, client: str
    ) -> bytes:
        """Return the answer to a batch: all of it by one policy."""
        policy, plmn = checker.policy, request.serving_plmn
        imeis = list(request.imei)
        imsis = list(request.imsi) or [""] * len(imeis)
        verdicts = checker.check_batch(imeis, imsis, plmn, policy)
        status_map = policy.status_map(client)
        statuses = [status_map[verdict.status] for verdict in verdicts]
        reasons = [verdict.reason for verdict in verdicts]
        deadlines = [verdict.deadline for verdict in verdicts]
        caches = [
            verdict.cache_seconds if status == WHITELISTED else 0
            for verdict, status in zip(verdicts, statuses, strict=True)
        ]
        pairs = list(zip(statuses, reasons, strict=True))
        for pair in set(pairs):
            self._count(*pair, pairs.count(pair))
        if (trial := self._state.trial) is not None and trial.running:
            for imei, imsi in zip(imeis, imsis, strict=True):
                trial.offer(imei, imsi, plmn, emergency=False)
        now, keep = self._state.clock(), self._keep
        if (sightings := self._state.sightings) is not None and client != LOOKING:
            for verdict in verdicts:
                if verdict.unpaired is not None:
                    sightings.note(*verdict.unpaired, now)
        for imei, imsi, verdict, status in zip(imeis, imsis, verdicts, statuses, strict=True):
            if keep(verdict.status, status, verdict.reason, imei, imsi):
                reason, serial = verdict.reason, verdict.serial
                self._record(now, imei, imsi, plmn, client, status, reason, serial, policy.hash)
        return check_pb2.BatchCheckEquipmentResponse(
            status=statuses,  # type: ignore[arg-type]
            reason=reasons,  # type: ignore[arg-type]
            deadline=deadlines if any(deadlines) else (),
            serial=verdicts[0].serial if verdicts else self._state.loaded().generation.serial,
            stale=verdicts[0].stale if verdicts else checker.stale,
            cache_seconds=caches if any(caches) else (),
            request_id=request.request_id,
        ).SerializeToString()


async def _read_ahead(context: Context, queue: asyncio.Queue[Any]) -> None:
    """Put a stream's messages into a bounded queue, the end of the stream last."""
    message: Any = None
    while message is not grpc.aio.EOF:
        message = await context.read()
        await queue.put(message)


def parse(kind: type[Request], data: bytes) -> Request:
    """Return the message. Raises InvalidRequestError for bytes that are none."""
    try:
        return kind.FromString(data)
    except DecodeError:
        raise InvalidRequestError("message", f"is not a {kind.DESCRIPTOR.full_name}, in UTF-8") from None


async def in_time(context: Context) -> None:
    """End a call whose client has stopped waiting."""
    remaining = context.time_remaining()
    if remaining is not None and remaining <= 0:
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the check")


def client_of(context: Context) -> str:
    """Return the name by which a client calls itself, empty for none."""
    for key, value in context.invocation_metadata() or ():
        if key == CLIENT_KEY:
            return str(value)
    return ""


def bounded(field: str, text: str, bytes_max: int) -> None:
    """Raise InvalidRequestError for text of too many bytes in UTF-8."""
    length = len(text) if text.isascii() else len(text.encode())
    if length > bytes_max:
        raise InvalidRequestError(field, f"has {length} bytes; allowed are {bytes_max}")


def plmn_valid(plmn: str) -> None:
    """Raise InvalidRequestError for a network that is not MCC and MNC (TS 23.003 clause 12.1)."""
    if plmn and not (len(plmn) in {5, 6} and plmn.isascii() and plmn.isdigit()):
        raise InvalidRequestError("serving_plmn", "allowed are 5 or 6 digits, or empty for the home network")
