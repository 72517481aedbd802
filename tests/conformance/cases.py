"""Phones that conformance tests know, and the table of cases that every client runs against every engine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from eir.proto import check_pb2
from tests.conformance.clients import Case

KEY = "35693803564380"
OTHER = "35693803564399"
UNPAIRED = "35693803564407"
STOLEN = "35693803564415"
OWNER, STRANGER, FOREIGN = "432110000000001", "432350000000009", "262010000000001"

MALFORMED = {
    "": "MALFORMED_EMPTY",
    " " * 14: "MALFORMED_EMPTY",
    "DEABFCDE2ABFEC": "MALFORMED_NON_DIGIT",
    "BA0A0000000000": "MALFORMED_NON_DIGIT",
    "FFFFFFFFFFFFFF": "MALFORMED_NON_DIGIT",
    "00D0D0D0D0D0D00": "MALFORMED_NON_DIGIT",
    "355E87F00000000": "MALFORMED_NON_DIGIT",
    "35295907A9CD4E0": "MALFORMED_NON_DIGIT",
    "352502084170D00": "MALFORMED_NON_DIGIT",
    "PWIUYTRWQLKJHM": "MALFORMED_NON_DIGIT",
    "#": "MALFORMED_NON_DIGIT",
    "35424208#*21340": "MALFORMED_NON_DIGIT",
    "F": "MALFORMED_NON_DIGIT",
    "000000004037A50": "MALFORMED_NON_DIGIT",
    "۳۵۶۹۳۸۰۳۵۶۴۳۸۰": "MALFORMED_NON_DIGIT",
    "35693803564380\x00": "KEY",
    "00": "MALFORMED_SHORT",
    "8": "MALFORMED_SHORT",
    "35365308": "MALFORMED_SHORT",
    "567123098764107642": "MALFORMED_LONG",
    "3" * 256: "MALFORMED_LONG",
    **{str(digit) * 14: "SPECIAL_REPEATED" for digit in range(1, 10)},
    "0" * 14: "SPECIAL_ZERO",
    "0" * 15: "SPECIAL_ZERO",
    "00100100000001": "SPECIAL_TEST",
    "00101799999999": "SPECIAL_TEST",
    "00440000000001": "SPECIAL_TEST",
    "00861234000001": "SPECIAL_TEST",
    "00911234000001": "SPECIAL_TEST",
    "123456789012345": "SPECIAL_PLACEHOLDER",
    "353653080000000": "KEY",
    "00000000123456": "KEY",
    "11223344556677": "KEY",
    "01010101010101": "KEY",
    "00101800000001": "KEY",
}

UNUSABLE = [
    ({"imei": "3" * 257}, "imei"),
    ({"imei": "ش" * 129}, "imei"),
    ({"imsi": "4" * 257}, "imsi"),
    ({"msisdn": "9" * 257}, "msisdn"),
    ({"request_id": "x" * 129}, "request_id"),
    ({"serving_plmn": "4321"}, "serving_plmn"),
    ({"serving_plmn": "4321101"}, "serving_plmn"),
    ({"serving_plmn": "4321A"}, "serving_plmn"),
    ({"serving_plmn": "٤٣٢١١"}, "serving_plmn"),
]

SERVICE, HEALTH = "/eir.v1.EquipmentCheckService/", "/grpc.health.v1.Health/"
OK, CANCELLED, INVALID, LATE, NOT_FOUND, EXHAUSTED, UNIMPLEMENTED, UNAVAILABLE = 0, 1, 3, 4, 5, 8, 12, 14
WORKERS = 8


@dataclass(frozen=True)
class Expected:
    """What is to come of a case: its code, the field that is named, answers in words."""

    case: Case
    code: int = OK
    field: str = ""
    answers: tuple[str, ...] = ()
    some: bool = False
    """Of the answers so many, from the first, as had come when the call ended."""


def check(**fields: Any) -> check_pb2.CheckEquipmentRequest:
    """Return a request about a phone that is known, where nothing else is said."""
    return check_pb2.CheckEquipmentRequest(**{"imei": KEY, "imsi": OWNER, "request_id": "r", **fields})


def wrapped(*requests: check_pb2.CheckEquipmentRequest) -> tuple[bytes, ...]:
    """Return the messages of a stream."""
    return tuple(
        check_pb2.StreamCheckEquipmentRequest(check=request).SerializeToString() for request in requests
    )


def verdict(answer: check_pb2.CheckEquipmentResponse) -> str:
    """Return an answer in words, without the number of the table state."""
    status = check_pb2.EquipmentStatus.Name(answer.status).removeprefix("EQUIPMENT_STATUS_")
    reason = check_pb2.VerdictReason.Name(answer.reason).removeprefix("VERDICT_REASON_")
    assert answer.serial > 0
    return f"{status} {reason} {answer.request_id} {answer.deadline} {answer.cache_seconds} {answer.stale}"


def words(path: str, data: bytes) -> list[str]:
    """Return an answer of a method in words."""
    match path.rpartition("/")[2]:
        case "CheckEquipment":
            return [verdict(check_pb2.CheckEquipmentResponse.FromString(data))]
        case "StreamCheckEquipment":
            return [verdict(check_pb2.StreamCheckEquipmentResponse.FromString(data).verdict)]
        case "BatchCheckEquipment":
            batch = check_pb2.BatchCheckEquipmentResponse.FromString(data)
            rows = zip(
                batch.status, batch.reason, batch.cache_seconds or [0] * len(batch.status), strict=True
            )
            return [
                verdict(
                    check_pb2.CheckEquipmentResponse(
                        status=status,
                        reason=reason,
                        cache_seconds=cache,
                        serial=batch.serial,
                        stale=batch.stale,
                    )
                )
                for status, reason, cache in rows
            ] + [f"of {batch.request_id}"]
        case _:
            status = health_pb2.HealthCheckResponse.FromString(data).status
            return [health_pb2.HealthCheckResponse.ServingStatus.Name(status)]


def said(what: str, request_id: str = "r") -> str:
    """Return in words what a client is told: status and reason, and the rest that follows from them."""
    kept = what.startswith("WHITELISTED") and not what.endswith("EMERGENCY")
    return f"{what} {request_id} 0 {60 if kept else 0} False"


def malformed(imei: str) -> str:
    """Status and reason of an IMEI of the matrix with the owner's SIM."""
    if MALFORMED[imei] != "KEY":
        return f"GREYLISTED {MALFORMED[imei]}"
    return "WHITELISTED OWNER" if imei.startswith(KEY) else "GREYLISTED NOT_REGISTERED"


def unary(name: str, message: Message | bytes, method: str = "CheckEquipment", **how: Any) -> Case:
    """Return a case of one call with one message."""
    data = message if isinstance(message, bytes) else message.SerializeToString()
    return Case(name, "unary", method if method.startswith("/") else SERVICE + method, (data,), **how)


def stream(name: str, messages: tuple[bytes, ...], kind: str = "stream", **how: Any) -> Case:
    """Return a case of one stream."""
    return Case(name, kind, f"{SERVICE}StreamCheckEquipment", messages, **how)


def batch(name: str, imeis: Iterable[str], imsis: Iterable[str] = (), **fields: Any) -> Case:
    """Return a case of one batch."""
    request = check_pb2.BatchCheckEquipmentRequest(imei=list(imeis), imsi=list(imsis), **fields)
    return unary(name, request, "BatchCheckEquipment")


def table() -> list[Expected]:
    """Return all cases, in the order in which they are run."""
    return [*_verdicts(), *_columns(), *_streams(), *_refused(), *_health(), *_ended()]


def _verdicts() -> Iterable[Expected]:
    strict = (("eir-client", "strict"),)
    for name, fields, what in (
        ("owner", {}, "WHITELISTED OWNER"),
        ("stolen", {"imei": STOLEN}, "BLACKLISTED BLOCKED_STOLEN"),
        ("a listed text", {"imei": " ba0a"}, "BLACKLISTED BLOCKED_STOLEN"),
        ("no imsi", {"imsi": ""}, "GREYLISTED NO_IMSI"),
        ("roamer", {"imei": UNPAIRED, "imsi": FOREIGN}, "WHITELISTED INBOUND_ROAMER"),
        ("abroad", {"imei": UNPAIRED, "serving_plmn": "26201"}, "WHITELISTED SERVED_ABROAD"),
        ("emergency", {"imei": STOLEN, "emergency": True}, "WHITELISTED EMERGENCY"),
        ("nothing", {"imei": "", "imsi": ""}, "GREYLISTED NO_IMSI"),
        ("a long id", {"request_id": "x" * 128}, "WHITELISTED OWNER"),
    ):
        request = check(**fields)
        yield Expected(unary(name, request), answers=(said(what, request.request_id),))
    yield Expected(unary("compressed", check(), gzip=True), answers=(said("WHITELISTED OWNER"),))
    grey = "WHITELISTED NEVER_ACTIVATED r 0 0 False"
    yield Expected(unary("status map", check(imei=UNPAIRED), metadata=strict), answers=(grey,))


def _columns() -> Iterable[Expected]:
    imeis = list(MALFORMED)
    rows = tuple(said(malformed(imei), "") for imei in imeis)
    yield Expected(
        batch("malformed batch", imeis, [OWNER] * len(imeis), request_id="b"), answers=(*rows, "of b")
    )
    yield Expected(
        batch("the largest batch", [KEY] * 4096, [OWNER] * 4096),
        answers=(*(said("WHITELISTED OWNER", ""),) * 4096, "of "),
    )
    yield Expected(batch("an empty batch", [], request_id="e"), answers=("of e",))


def _streams() -> Iterable[Expected]:
    matrix = [check(imei=imei, request_id=str(place)) for place, imei in enumerate(MALFORMED)]
    answers = tuple(said(malformed(imei), str(place)) for place, imei in enumerate(MALFORMED))
    yield Expected(stream("malformed stream", wrapped(*matrix)), answers=answers)
    yield Expected(stream("malformed in lockstep", wrapped(*matrix), "lockstep"), answers=answers)
    yield Expected(stream("a compressed stream", wrapped(*matrix), gzip=True), answers=answers)
    many = [check(request_id=str(place)) for place in range(3000)]
    yield Expected(
        stream("a long stream", wrapped(*many)),
        answers=tuple(said("WHITELISTED OWNER", str(place)) for place in range(3000)),
    )
    two = (said("WHITELISTED OWNER", "0"), said("WHITELISTED OWNER", "1"))
    bad = (*wrapped(*many[:2]), b"")
    yield Expected(stream("a stream that ends badly", bad, "lockstep"), INVALID, "check", two)
    parallel = Case(
        "many at once", "many", f"{SERVICE}CheckEquipment", (check().SerializeToString(),), workers=WORKERS
    )
    yield Expected(parallel, answers=(said("WHITELISTED OWNER"),))


def _refused() -> Iterable[Expected]:
    for place, (fields, field) in enumerate(UNUSABLE):
        yield Expected(unary(f"unusable {place}", check(**fields)), INVALID, field)
        yield Expected(stream(f"unusable in a stream {place}", wrapped(check(**fields))), INVALID, field)
    for data in (b"\xff\xff\xff", b"\x0a\x02\xff\xfe", b"\x0a\xff"):
        for method in ("CheckEquipment", "BatchCheckEquipment"):
            yield Expected(unary(f"bytes {data.hex()} for {method}", data, method), INVALID, "message")
        yield Expected(stream(f"bytes {data.hex()} in a stream", (data,)), INVALID, "message")
    yield Expected(batch("too many rows", [KEY] * 4097), INVALID, "imei")
    yield Expected(batch("columns of two lengths", [KEY] * 2, [OWNER]), INVALID, "imsi")
    yield Expected(batch("a long text in a row", [KEY, "3" * 257]), INVALID, "imei[1]")
    yield Expected(unary("no such method", check(), "Nothing"), UNIMPLEMENTED)
    yield Expected(
        unary("no such service", check(), "/eir.v1.EnforcementService/SetEnforcement"), UNIMPLEMENTED
    )
    yield Expected(unary("a message too large", check(imei="3" * (2 << 20))), EXHAUSTED)
    yield Expected(unary("after all that", check()), answers=(said("WHITELISTED OWNER"),))


def _health() -> Iterable[Expected]:
    def asked(service: str) -> bytes:
        data: bytes = health_pb2.HealthCheckRequest(service=service).SerializeToString()
        return data

    for service in ("", "eir.v1.EquipmentCheckService"):
        yield Expected(unary(f"health of {service}", asked(service), f"{HEALTH}Check"), answers=("SERVING",))
    yield Expected(unary("health of nothing", asked("nothing"), f"{HEALTH}Check"), NOT_FOUND)
    for service, status in (("", "SERVING"), ("nothing", "SERVICE_UNKNOWN")):
        watch = Case(f"watch {service}", "stream", f"{HEALTH}Watch", (asked(service),), cancel_after=1)
        yield Expected(watch, CANCELLED, answers=(status,))


def _ended() -> Iterable[Expected]:
    five = wrapped(*(check(request_id=str(place)) for place in range(5)))
    answers = tuple(said("WHITELISTED OWNER", str(place)) for place in range(5))
    yield Expected(stream("a deadline", five, "hold", timeout_ms=400), LATE, answers=answers)
    late = Case("a deadline of health", "stream", f"{HEALTH}Watch", (b"",), timeout_ms=400)
    yield Expected(late, LATE, answers=("SERVING",))
    yield Expected(
        stream("cancelled", five, "lockstep", cancel_after=3), CANCELLED, answers=answers[:3], some=True
    )
    yield Expected(unary("after the end of others", check()), answers=(said("WHITELISTED OWNER"),))
