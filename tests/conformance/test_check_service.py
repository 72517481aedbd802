"""EquipmentCheckService over the wire, for every engine."""

import threading
import time
from collections.abc import Iterator

import grpc
import pytest
from google.rpc import error_details_pb2

from eir.identity import luhn_digit
from eir.proto import check_pb2
from tests.conformance.cases import FOREIGN, KEY, MALFORMED, OWNER, STOLEN, STRANGER, UNPAIRED, UNUSABLE
from tests.running import Daemon, detail, operation

Request = check_pb2.CheckEquipmentRequest
Code = grpc.StatusCode


def reason(answer: check_pb2.CheckEquipmentResponse) -> str:
    return check_pb2.VerdictReason.Name(answer.reason).removeprefix("VERDICT_REASON_")


def status(answer: check_pb2.CheckEquipmentResponse) -> str:
    return check_pb2.EquipmentStatus.Name(answer.status).removeprefix("EQUIPMENT_STATUS_")


def test_the_four_spellings_of_an_imei_get_one_verdict(loaded: Daemon) -> None:
    spellings = [KEY, f"{KEY}{luhn_digit(int(KEY))}", f"{KEY}0", f"{KEY}17"]
    assert len(set(map(len, spellings))) == 3
    answers = [loaded.check(imei, OWNER) for imei in spellings]
    assert [reason(answer) for answer in answers] == ["OWNER"] * 4
    assert len({answer.SerializeToString() for answer in answers}) == 1


@pytest.mark.parametrize(("imei", "expected"), MALFORMED.items())
@pytest.mark.parametrize("imsi", [OWNER, STRANGER])
def test_what_phones_really_send_gets_a_verdict(loaded: Daemon, imei: str, expected: str, imsi: str) -> None:
    answer = loaded.check(imei, imsi)
    if expected == "KEY":
        paired = imei.startswith(KEY) and imsi == OWNER
        owned = "OWNED_BY_OTHER" if imei.startswith(KEY) else "NOT_REGISTERED"
        assert reason(answer) == ("OWNER" if paired else owned)
    else:
        assert (status(answer), reason(answer)) == ("GREYLISTED", expected)


def test_a_listed_text_is_blocked_as_lists_normalise_it(loaded: Daemon) -> None:
    for text in ("BA0A", "ba0a", " Ba0A "):
        assert (status(loaded.check(text, OWNER)), reason(loaded.check(text))) == (
            "BLACKLISTED",
            "BLOCKED_STOLEN",
        )


@pytest.mark.parametrize(
    ("imei", "imsi", "expected"),
    [
        (UNPAIRED, "", "GREYLISTED NO_IMSI"),
        (KEY, "", "GREYLISTED NO_IMSI"),
        (UNPAIRED, "43211", "GREYLISTED IMSI_SHORT"),
        (UNPAIRED, "4321100000000011", "GREYLISTED IMSI_MALFORMED"),
        (UNPAIRED, "43211A000000001", "GREYLISTED IMSI_MALFORMED"),
        (UNPAIRED, FOREIGN, "WHITELISTED INBOUND_ROAMER"),
        (UNPAIRED, OWNER, "GREYLISTED NEVER_ACTIVATED"),
        (KEY, OWNER, "WHITELISTED OWNER"),
        (STOLEN, OWNER, "BLACKLISTED BLOCKED_STOLEN"),
        (STOLEN, "", "BLACKLISTED BLOCKED_STOLEN"),
        (STOLEN, FOREIGN, "BLACKLISTED BLOCKED_STOLEN"),
    ],
)
def test_verdicts_by_sim(loaded: Daemon, imei: str, imsi: str, expected: str) -> None:
    answer = loaded.check(imei, imsi)
    assert f"{status(answer)} {reason(answer)}" == expected


def test_a_home_subscriber_abroad_is_allowed(loaded: Daemon) -> None:
    answer = loaded.check(UNPAIRED, OWNER, serving_plmn="26201")
    assert (status(answer), reason(answer)) == ("WHITELISTED", "SERVED_ABROAD")
    assert reason(loaded.check(UNPAIRED, OWNER, serving_plmn="43211")) == "NEVER_ACTIVATED"


@pytest.mark.parametrize("imei", [STOLEN, "BA0A", "", "0" * 14, KEY, "#"])
def test_an_emergency_call_is_never_denied(loaded: Daemon, imei: str) -> None:
    answer = loaded.check(imei, STRANGER, emergency=True)
    assert (status(answer), reason(answer)) == ("WHITELISTED", "EMERGENCY")


def test_the_answer_has_what_the_verdict_rests_on(loaded: Daemon) -> None:
    until = int(time.time()) + 30
    phone = "35693803564423"
    applied = loaded.push(
        operation("REGISTER", phone),
        operation("EXEMPT", phone, exempt_cause="TRAVELLER", until=until),
        feed="conformance",
    )
    answer = loaded.check(phone, STRANGER, request_id="r-1", msisdn="989120000000")
    assert reason(answer) == "EXEMPT_IMEI"
    assert (answer.deadline, answer.serial, answer.stale, answer.request_id) == (
        until,
        applied.serial,
        False,
        "r-1",
    )
    assert 0 < answer.cache_seconds <= 30
    assert loaded.check(UNPAIRED, OWNER).cache_seconds == 0
    assert loaded.check(KEY, OWNER).cache_seconds == 60


def test_a_client_gets_the_statuses_of_its_map(loaded: Daemon) -> None:
    strict = (("eir-client", "strict"),)
    request = Request(imei=UNPAIRED, imsi=OWNER)
    answer = loaded.checks.CheckEquipment(request, metadata=strict)
    assert (status(answer), reason(answer)) == ("WHITELISTED", "NEVER_ACTIVATED")
    assert answer.cache_seconds == 0
    batch = loaded.checks.BatchCheckEquipment(
        check_pb2.BatchCheckEquipmentRequest(imei=[UNPAIRED, STOLEN], imsi=[OWNER, OWNER]), metadata=strict
    )
    assert list(batch.status) == [
        check_pb2.EQUIPMENT_STATUS_WHITELISTED,
        check_pb2.EQUIPMENT_STATUS_BLACKLISTED,
    ]
    other = loaded.checks.CheckEquipment(request, metadata=(("eir-client", "someone"),))
    assert status(other) == "GREYLISTED"


@pytest.mark.parametrize(("fields", "field"), UNUSABLE)
def test_a_message_that_cannot_be_used_is_refused_by_field(
    loaded: Daemon, fields: dict[str, str], field: str
) -> None:
    request = Request(**{"imei": KEY, **fields})
    calls = [
        lambda: loaded.checks.CheckEquipment(request),
        lambda: list(
            loaded.checks.StreamCheckEquipment(iter([check_pb2.StreamCheckEquipmentRequest(check=request)]))
        ),
    ]
    for call in calls:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() is Code.INVALID_ARGUMENT
        info = detail(caught.value)
        assert (info.reason, info.domain, info.metadata["field"]) == ("INVALID_REQUEST", "eir", field)
        (violation,) = detail(caught.value, error_details_pb2.BadRequest).field_violations
        assert violation.field == field
        assert "allowed are" in violation.description


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x0a\x02\xff\xfe", b"\x0a\xff"])
@pytest.mark.parametrize("method", ["CheckEquipment", "BatchCheckEquipment"])
def test_bytes_that_are_no_message_are_refused(loaded: Daemon, data: bytes, method: str) -> None:
    call = loaded.check_channel.unary_unary(f"/eir.v1.EquipmentCheckService/{method}")
    with pytest.raises(grpc.RpcError) as caught:
        call(data)
    assert caught.value.code() is Code.INVALID_ARGUMENT
    assert detail(caught.value).metadata["field"] == "message"


def test_an_unknown_method_is_unimplemented(loaded: Daemon) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        loaded.check_channel.unary_unary("/eir.v1.EquipmentCheckService/Nothing")(b"")
    assert caught.value.code() is Code.UNIMPLEMENTED
    with pytest.raises(grpc.RpcError) as caught:
        loaded.check_channel.unary_unary("/eir.v1.EnforcementService/SetEnforcement")(b"")
    assert caught.value.code() is Code.UNIMPLEMENTED


def test_a_message_that_is_too_large_is_refused(loaded: Daemon) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        loaded.checks.CheckEquipment(Request(imei="3" * (2 << 20)))
    assert caught.value.code() is Code.RESOURCE_EXHAUSTED


def stream_of(imeis: list[str]) -> Iterator[check_pb2.StreamCheckEquipmentRequest]:
    for index, imei in enumerate(imeis):
        yield check_pb2.StreamCheckEquipmentRequest(
            check=Request(imei=imei, imsi=OWNER, request_id=str(index))
        )


def test_a_stream_answers_in_order_with_its_own_messages(loaded: Daemon) -> None:
    imeis = [KEY, STOLEN, UNPAIRED, "#", ""] * 60
    answers = [answer.verdict for answer in loaded.checks.StreamCheckEquipment(stream_of(imeis), timeout=30)]
    assert [answer.request_id for answer in answers] == [str(index) for index in range(len(imeis))]
    single = {imei: loaded.check(imei, OWNER) for imei in set(imeis)}
    for imei, answer in zip(imeis, answers, strict=True):
        answer.request_id = ""
        assert answer == single[imei]


def test_a_stream_answers_each_request_before_the_next_is_sent(loaded: Daemon) -> None:
    answered = threading.Semaphore(1)

    def lockstep() -> Iterator[check_pb2.StreamCheckEquipmentRequest]:
        for request in stream_of([KEY] * 20):
            assert answered.acquire(timeout=10)
            yield request

    count = 0
    for _ in loaded.checks.StreamCheckEquipment(lockstep(), timeout=30):
        count += 1
        answered.release()
    assert count == 20


def test_a_stream_ends_at_the_message_that_cannot_be_used_after_the_answers_before_it(loaded: Daemon) -> None:
    requests = [*stream_of([KEY, KEY]), check_pb2.StreamCheckEquipmentRequest()]
    answers = []
    with pytest.raises(grpc.RpcError) as caught:
        answers.extend(loaded.checks.StreamCheckEquipment(iter(requests), timeout=10))
    assert caught.value.code() is Code.INVALID_ARGUMENT
    assert detail(caught.value).metadata["field"] == "check"


def test_a_batch_answers_as_single_checks_do(loaded: Daemon) -> None:
    imeis = [*MALFORMED, KEY, STOLEN, UNPAIRED] * 3
    imsis = [OWNER, STRANGER, ""] * (len(imeis) // 3)
    batch = loaded.checks.BatchCheckEquipment(
        check_pb2.BatchCheckEquipmentRequest(imei=imeis, imsi=imsis, request_id="b")
    )
    singles = [loaded.check(imei, imsi) for imei, imsi in zip(imeis, imsis, strict=True)]
    assert list(batch.status) == [answer.status for answer in singles]
    assert list(batch.reason) == [answer.reason for answer in singles]
    assert (batch.serial, batch.stale, batch.request_id) == (singles[0].serial, False, "b")
    assert list(batch.deadline) == []
    assert list(batch.cache_seconds) == [answer.cache_seconds for answer in singles]


def test_a_batch_may_leave_out_the_imsis_and_be_empty(loaded: Daemon) -> None:
    batch = loaded.checks.BatchCheckEquipment(check_pb2.BatchCheckEquipmentRequest(imei=[KEY, STOLEN]))
    assert list(batch.reason) == [
        check_pb2.VERDICT_REASON_NO_IMSI,
        check_pb2.VERDICT_REASON_BLOCKED_STOLEN,
    ]
    assert list(batch.cache_seconds) == []
    empty = loaded.checks.BatchCheckEquipment(check_pb2.BatchCheckEquipmentRequest(request_id="e"))
    assert (list(empty.status), empty.request_id, empty.serial) == ([], "e", batch.serial)


def test_a_batch_is_of_one_network(loaded: Daemon) -> None:
    batch = loaded.checks.BatchCheckEquipment(
        check_pb2.BatchCheckEquipmentRequest(imei=[UNPAIRED] * 2, imsi=[OWNER, FOREIGN], serving_plmn="26201")
    )
    assert list(batch.reason) == [
        check_pb2.VERDICT_REASON_SERVED_ABROAD,
        check_pb2.VERDICT_REASON_INBOUND_ROAMER,
    ]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (check_pb2.BatchCheckEquipmentRequest(imei=[KEY] * 4097), "imei"),
        (check_pb2.BatchCheckEquipmentRequest(imei=[KEY] * 2, imsi=[OWNER]), "imsi"),
        (check_pb2.BatchCheckEquipmentRequest(imsi=[OWNER]), "imsi"),
        (check_pb2.BatchCheckEquipmentRequest(imei=[KEY, "3" * 257]), "imei[1]"),
        (check_pb2.BatchCheckEquipmentRequest(imei=[KEY], imsi=["ش" * 129]), "imsi[0]"),
        (check_pb2.BatchCheckEquipmentRequest(serving_plmn="1"), "serving_plmn"),
        (check_pb2.BatchCheckEquipmentRequest(request_id="x" * 129), "request_id"),
    ],
)
def test_a_batch_that_cannot_be_used_is_refused_by_field(
    loaded: Daemon, request_: check_pb2.BatchCheckEquipmentRequest, field: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        loaded.checks.BatchCheckEquipment(request_)
    assert caught.value.code() is Code.INVALID_ARGUMENT
    assert detail(caught.value).metadata["field"] == field


def test_the_largest_batch_is_answered(loaded: Daemon) -> None:
    batch = loaded.checks.BatchCheckEquipment(
        check_pb2.BatchCheckEquipmentRequest(imei=[f"{KEY}00"] * 4096, imsi=[OWNER] * 4096), timeout=30
    )
    assert len(batch.status) == 4096


def test_verdicts_are_counted(loaded: Daemon) -> None:
    samples = {
        'eir_checks_total{reason="malformed_short",status="greylisted"}': 3,
        'eir_malformed_total{class="malformed_short"}': 3,
        'eir_checks_total{reason="owner",status="whitelisted"}': 2,
        'eir_check_duration_seconds_count{method="unary"}': 1,
        'eir_check_duration_seconds_count{method="batch"}': 1,
        'eir_check_duration_seconds_count{method="stream"}': 1,
        'eir_rpc_errors_total{reason="INVALID_REQUEST"}': 1,
    }
    before = {sample: loaded.metric(sample) for sample in samples}
    loaded.check("8", OWNER)
    loaded.checks.BatchCheckEquipment(
        check_pb2.BatchCheckEquipmentRequest(imei=["8", "8", KEY], imsi=[OWNER] * 3)
    )
    list(loaded.checks.StreamCheckEquipment(stream_of([KEY])))
    with pytest.raises(grpc.RpcError):
        loaded.check(KEY, serving_plmn="1")
    assert {sample: loaded.metric(sample) - count for sample, count in before.items()} == samples


@pytest.mark.parametrize(
    "fields",
    [{"serving_plmn": "4321"}, {"serving_plmn": "432 11"}, {"imsi": "4" * 300}, {"msisdn": "9" * 300}],
)
def test_an_emergency_is_answered_whatever_stands_beside_it(loaded: Daemon, fields: dict[str, str]) -> None:
    given = {"imsi": OWNER} | fields
    answer = loaded.check(STOLEN, emergency=True, **given)
    assert (status(answer), reason(answer)) == ("WHITELISTED", "EMERGENCY")
    assert status(loaded.check("9" * 300, OWNER, emergency=True)) == "WHITELISTED"
    with pytest.raises(grpc.RpcError) as caught:
        loaded.check(STOLEN, **given)
    assert caught.value.code() is Code.INVALID_ARGUMENT
