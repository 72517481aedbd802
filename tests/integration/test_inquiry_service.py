"""InquiryService over the wire, and what is left of it in the metrics and the audit."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from eir.identity import imei_15
from eir.inquiry.audit import FILE, InquiryAudit
from eir.proto import check_pb2, inquiry_pb2, sync_pb2
from tests.running import Daemon, detail, operation, running

KEY, NEXT, STOLEN = "35693803564380", "35693803564381", "35693803564390"
OWNER, OTHER, NUMBER = "432110000000001", "432350000000002", "989121234567"
UNTIL = 4_000_000_000


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("inquiry")
    with running(folder / "data", inquiry__country_code="98") as daemon:
        daemon.push(
            operation("REGISTER", KEY),
            operation("REGISTER", NEXT),
            operation("LINK", KEY, imei_other=NEXT),
            operation("PAIR", KEY, imsi=OWNER, role="OWNER", reference="A-1"),
            operation("EXEMPT", KEY, imsi=OTHER, exempt_cause="REPAIR", until=UNTIL),
            operation("SUBSCRIBER", imsi=OWNER, msisdn=NUMBER, language="fa"),
            operation("BLOCK", STOLEN, block_cause="STOLEN", authority="police"),
            operation("TAC", tac=KEY[:8], device_type="phone"),
            reference="D-1",
        )
        yield daemon


def equipment(daemon: Daemon, imei: str = KEY, **fields: str) -> inquiry_pb2.InquireEquipmentResponse:
    request = inquiry_pb2.InquireEquipmentRequest(imei=imei, **{"who": "desk 7", **fields})
    answer: inquiry_pb2.InquireEquipmentResponse = daemon.inquiry.InquireEquipment(request, timeout=10)
    return answer


def subscriber(daemon: Daemon, **fields: str) -> inquiry_pb2.InquireSubscriberResponse:
    request = inquiry_pb2.InquireSubscriberRequest(**{"who": "desk 7", **fields})
    answer: inquiry_pb2.InquireSubscriberResponse = daemon.inquiry.InquireSubscriber(request, timeout=10)
    return answer


def status(daemon: Daemon, imei: str) -> str:
    answer = daemon.inquiry.InquireStatus(inquiry_pb2.InquireStatusRequest(imei=imei), timeout=10)
    return str(inquiry_pb2.PublicStatus.Name(answer.status).removeprefix("PUBLIC_STATUS_"))


def history(daemon: Daemon, **fields: str) -> inquiry_pb2.InquireHistoryResponse:
    request = inquiry_pb2.InquireHistoryRequest(**{"who": "desk 7", **fields})  # type: ignore[arg-type]
    answer: inquiry_pb2.InquireHistoryResponse = daemon.inquiry.InquireHistory(request, timeout=10)
    return answer


def test_a_phone_with_its_sims_and_what_checks_answer(daemon: Daemon) -> None:
    told = equipment(daemon, "35-693803-564380-9", imsi="432990000000009")
    assert (told.slot.imei, told.slot.registered, told.slot.device_type) == ("356938035643809", True, "phone")
    assert [(pair.imsi, pair.role, pair.msisdn, pair.language) for pair in told.slot.pairs] == [
        (OWNER, sync_pb2.PAIR_ROLE_OWNER, NUMBER, "fa")
    ]
    assert [slot.imei for slot in told.other_slots] == [imei_15(int(NEXT))]
    assert [judgement.imsi for judgement in told.judgements] == ["", "432990000000009", OWNER, OTHER]
    for judgement in told.judgements:
        verdict = daemon.check(KEY, judgement.imsi)
        assert (judgement.status, judgement.reason, judgement.deadline) == (
            verdict.status,
            verdict.reason,
            verdict.deadline,
        )
    assert told.judgements[3].deadline == UNTIL
    assert told.serial == daemon.check(KEY).serial


def test_a_subscriber_by_imsi_and_by_number(daemon: Daemon) -> None:
    by_imsi = subscriber(daemon, imsi=OWNER)
    assert [place.slot.imei for place in by_imsi.sims[0].slots] == [imei_15(int(KEY))]
    assert by_imsi.sims[0].slots[0].judgement.reason == check_pb2.VERDICT_REASON_OWNER
    assert by_imsi.sims[0].slots[0].role == sync_pb2.PAIR_ROLE_OWNER
    for number in (NUMBER, "+98 912 123 4567", "۰۹۱۲۱۲۳۴۵۶۷"):
        assert subscriber(daemon, msisdn=number) == by_imsi
    assert subscriber(daemon, imsi=OTHER).sims[0].slots[0].role == sync_pb2.PAIR_ROLE_UNSPECIFIED
    assert not subscriber(daemon, imsi="432110000000099").sims
    assert not subscriber(daemon, msisdn="989120000000").sims


def test_the_public_is_told_a_word(daemon: Daemon) -> None:
    assert status(daemon, "۳۵۶۹۳۸۰۳۵۶۴۳۸۰") == "REGISTERED"
    assert status(daemon, NEXT) == "REGISTERED"
    assert status(daemon, STOLEN) == "STOLEN"
    assert status(daemon, "35693803564399") == "NOT_FOUND"
    assert status(daemon, "0" * 15) == "NOT_FOUND"


def test_the_deltas_that_made_it_so(daemon: Daemon) -> None:
    for identity in ({"imei": KEY}, {"imsi": OWNER}, {"msisdn": NUMBER}):
        told = history(daemon, **identity)
        (pair,) = (entry for entry in told.entries if entry.operation.kind == sync_pb2.OPERATION_KIND_PAIR)
        assert (pair.feed, pair.sequence, pair.reference) == ("hamta", 1, "D-1")
        assert (pair.operation.imei, pair.operation.imsi, pair.operation.reference) == (KEY, OWNER, "A-1")
        assert abs(pair.committed_at - time.time()) < 120
        assert (told.journal_from_serial, told.searched_to_serial, told.next_page_token) == (1, 1, b"")
        assert told.journal_from_time == pair.committed_at


def test_a_sim_that_is_replaced_is_found_at_once(daemon: Daemon) -> None:
    daemon.push(operation("PAIR", "35693803564400", imsi="432110000000050", role="OWNER"))
    daemon.push(operation("REPLACE_SIM", former_imsi="432110000000050", imsi="432110000000051"))
    assert not subscriber(daemon, imsi="432110000000050").sims
    (place,) = subscriber(daemon, imsi="432110000000051").sims[0].slots
    assert place.slot.imei == imei_15(35693803564400)
    kinds = [entry.operation.kind for entry in history(daemon, imsi="432110000000051").entries]
    assert kinds == [sync_pb2.OPERATION_KIND_REPLACE_SIM, sync_pb2.OPERATION_KIND_PAIR]


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("InquireEquipment", inquiry_pb2.InquireEquipmentRequest(imei="123x", who="me"), "imei"),
        ("InquireEquipment", inquiry_pb2.InquireEquipmentRequest(who="me"), "imei"),
        ("InquireEquipment", inquiry_pb2.InquireEquipmentRequest(imei=KEY, imsi="x", who="me"), "imsi"),
        ("InquireEquipment", inquiry_pb2.InquireEquipmentRequest(imei=KEY), "who"),
        ("InquireEquipment", inquiry_pb2.InquireEquipmentRequest(imei=KEY, who="x" * 129), "who"),
        ("InquireSubscriber", inquiry_pb2.InquireSubscriberRequest(who="me"), "subscriber"),
        ("InquireSubscriber", inquiry_pb2.InquireSubscriberRequest(imsi="1" * 16, who="me"), "imsi"),
        ("InquireSubscriber", inquiry_pb2.InquireSubscriberRequest(msisdn="+", who="me"), "msisdn"),
        ("InquireSubscriber", inquiry_pb2.InquireSubscriberRequest(imsi=OWNER, who=" "), "who"),
        ("InquireHistory", inquiry_pb2.InquireHistoryRequest(who="me"), "identity"),
        ("InquireHistory", inquiry_pb2.InquireHistoryRequest(imei=KEY), "who"),
        (
            "InquireHistory",
            inquiry_pb2.InquireHistoryRequest(imei=KEY, who="me", page_token=b"x"),
            "page_token",
        ),
        ("InquireStatus", inquiry_pb2.InquireStatusRequest(imei="BA0A"), "imei"),
        ("InquireStatus", inquiry_pb2.InquireStatusRequest(imei="1234"), "imei"),
    ],
)
def test_what_cannot_be_used_is_refused_by_field(
    daemon: Daemon, method: str, request_: object, field: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        getattr(daemon.inquiry, method)(request_, timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    (violation,) = detail(caught.value, error_details_pb2.BadRequest).field_violations
    assert violation.field == field


def rows(daemon: Daemon, identity: str) -> list[tuple[str, str, str, str]]:
    kept = InquiryAudit.open(daemon.data_dir, read_only=True)
    try:
        return [(row.who, row.form, row.kind, row.outcome) for row in kept.rows(100, identity)]
    finally:
        kept.close()


def test_privileged_inquiries_are_audited_and_counted_public_ones_counted_only(daemon: Daemon) -> None:
    key, imsi = "35693803564395", "432110000000095"
    before = {
        (form, outcome): daemon.metric(f'eir_inquiries_total{{form="{form}",outcome="{outcome}"}}')
        for form in ("equipment", "subscriber", "history", "status")
        for outcome in ("found", "not_found", "refused", "failed")
    }
    equipment(daemon, key, who="desk 1")
    subscriber(daemon, imsi=imsi, who="desk 2")
    history(daemon, imei=key, who="desk 3")
    status(daemon, key)
    status(daemon, KEY)
    with pytest.raises(grpc.RpcError):
        equipment(daemon, "x")
    assert rows(daemon, key) == [
        ("desk 1", "equipment", "imei", "not_found"),
        ("desk 3", "history", "imei", "found"),  # the device type of its TAC
    ]
    assert rows(daemon, imsi) == [("desk 2", "subscriber", "imsi", "not_found")]
    more = {
        key: daemon.metric(f'eir_inquiries_total{{form="{key[0]}",outcome="{key[1]}"}}') - value
        for key, value in before.items()
    }
    assert {key: value for key, value in more.items() if value} == {
        ("equipment", "not_found"): 1,
        ("subscriber", "not_found"): 1,
        ("history", "found"): 1,
        ("status", "not_found"): 1,
        ("status", "found"): 1,
        ("equipment", "refused"): 1,
    }
    assert daemon.metric("eir_inquiries_waiting") == 0
    assert daemon.metric('eir_inquiry_duration_seconds_count{form="status"}') > 1


def test_identities_are_in_no_log_and_no_metric(daemon: Daemon) -> None:
    equipment(daemon)
    subscriber(daemon, msisdn=NUMBER)
    said = "".join(daemon.log) + daemon.http("/metrics")[1]
    assert not [text for text in (KEY, OWNER, NUMBER) if text in said]
    assert OWNER.encode() not in (daemon.data_dir / FILE).read_bytes()


def test_the_command_line_tells_it(daemon: Daemon) -> None:
    def eir(*words: str) -> tuple[int, str, str]:
        address = ("--address", daemon.ready_line["manage"]) if words[0] == "inquire" else ()
        ended = subprocess.run(
            [sys.executable, "-m", "eir", *words, *address], capture_output=True, text=True, timeout=60
        )
        return ended.returncode, ended.stdout, ended.stderr

    code, out, _ = eir("inquire", "--imei", "35-693803-564380-9", "--who", "desk 9")
    assert code == 0
    assert f"owner: {OWNER}, number {NUMBER} (fa)" in out
    assert "the journal reaches back to serial 1" in out
    assert '"reference": "A-1"' in out
    code, out, _ = eir("inquire", "--msisdn", "09121234567", "--json")
    told = json.loads(out)
    assert told["sims"][0]["slots"][0]["judgement"]["reason"] == "OWNER"
    assert {entry["reference"] for entry in told["history"]["entries"]} == {"D-1"}
    assert eir("inquire", "--imei", STOLEN, "--public")[1].endswith(
        "STOLEN: reported stolen or lost, it or another slot of its device.\n"
    )
    code, out, _ = eir("inquire", "--imsi", "432110000000098", "--no-history")
    assert (code, "nothing is known" in out) == (3, True)
    code, out, _ = eir("journal", "audit", "--of", KEY, "--data-dir", str(daemon.data_dir), "--json")
    assert {row["who"] for row in json.loads(out)} >= {"desk 9"}


def test_checks_go_on_while_many_inquire(daemon: Daemon) -> None:
    """What is over the bound is refused with a reason, all else is answered."""
    with ThreadPoolExecutor(64) as threads:
        asked = [threads.submit(history, daemon, imei=KEY) for _ in range(300)]
        slowest = 0.0
        for _ in range(50):
            started = time.monotonic()
            assert daemon.check(KEY, OWNER).reason == check_pb2.VERDICT_REASON_OWNER
            slowest = max(slowest, time.monotonic() - started)
        refused = [call.exception() for call in asked if call.exception()]
    assert slowest < 5
    for error in refused:
        assert isinstance(error, grpc.RpcError)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert detail(error).reason == "INQUIRIES_BUSY"
    assert len(refused) < 300


def test_an_inquiry_that_cannot_be_audited_is_not_answered(tmp_path: Path) -> None:
    with running(tmp_path / "data") as daemon:
        (daemon.data_dir / FILE).mkdir()
        with pytest.raises(grpc.RpcError) as caught:
            equipment(daemon)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert status(daemon, KEY) == "NOT_FOUND"
        assert daemon.metric('eir_inquiries_total{form="equipment",outcome="failed"}') == 1
