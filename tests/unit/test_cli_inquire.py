"""`eir inquire` against a scripted daemon: what it asks, prints, and how it ends."""

import json
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from click.testing import CliRunner

from eir.cli import main
from eir.cli.inquire import PUBLIC, as_dict
from eir.proto import check_pb2, inquiry_pb2, inquiry_pb2_grpc, sync_pb2

IMEI, IMSI, NUMBER = "356938035643809", "432110000000001", "989121234567"
UNTIL = 1_800_000_000


class Daemon(inquiry_pb2_grpc.InquiryServiceServicer):
    """Answers what a test sets, and keeps what it was asked."""

    def __init__(self):
        self.asked, self.answers = [], {}

    def _do(self, request, context):
        copy = type(request)()
        copy.CopyFrom(request)
        self.asked.append(copy)
        answers = self.answers[type(request).__name__.removesuffix("Request")]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    InquireEquipment = InquireSubscriber = InquireHistory = InquireStatus = _do


@pytest.fixture
def daemon():
    server = grpc.server(ThreadPoolExecutor(2))
    daemon = Daemon()
    inquiry_pb2_grpc.add_InquiryServiceServicer_to_server(daemon, server)
    daemon.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield daemon
    server.stop(None).wait()


def run(daemon, *words):
    return CliRunner().invoke(main, ["inquire", *words, "--address", daemon.address])


def slot(**fields):
    return inquiry_pb2.Slot(imei=IMEI, **fields)


JUDGED = inquiry_pb2.Judgement(
    imsi=IMSI, status="EQUIPMENT_STATUS_BLACKLISTED", reason="VERDICT_REASON_BLOCKED_STOLEN"
)


def test_everything_of_a_phone_is_said_in_words(daemon):
    span = inquiry_pb2.ImeiRange(first="35693803000000", last="35693803999999")
    told = slot(
        registered_ranges=[span],
        blocks=[
            inquiry_pb2.Block(cause="BLOCK_CAUSE_STOLEN", authority="police"),
            inquiry_pb2.Block(cause="BLOCK_CAUSE_BARRED", authority="court", range=span),
        ],
        pairs=[
            inquiry_pb2.Pair(imsi=IMSI, role="PAIR_ROLE_OWNER", msisdn=NUMBER, language="fa"),
            inquiry_pb2.Pair(imsi="432350000000002", role="PAIR_ROLE_UTILIZER"),
        ],
        exemptions=[
            inquiry_pb2.Exemption(cause="EXEMPT_CAUSE_REPAIR", until=UNTIL, ended=True),
            inquiry_pb2.Exemption(imsi=IMSI, cause="EXEMPT_CAUSE_COURT"),
        ],
        grandfathered=[inquiry_pb2.Grandfathering(imsi=IMSI, in_use_since=UNTIL)],
        tracked=True,
        device_type="phone",
    )
    daemon.answers["InquireEquipment"] = [
        inquiry_pb2.InquireEquipmentResponse(
            slot=told,
            other_slots=[inquiry_pb2.Slot(imei="356938035643817")],
            judgements=[JUDGED],
            check_digit_wrong=True,
            serial=1041,
            stale=True,
            imsi_exemptions=[inquiry_pb2.Exemption(imsi=IMSI, cause="EXEMPT_CAUSE_M2M", until=UNTIL)],
        )
    ]
    ended = run(daemon, "--imei", IMEI, "--imsi", IMSI, "--who", "desk 7", "--no-history")
    assert ended.exit_code == 0
    assert daemon.asked == [inquiry_pb2.InquireEquipmentRequest(imei=IMEI, imsi=IMSI, who="desk 7")]
    assert ended.stdout.splitlines() == [
        "356938035643809 (phone)",
        "  registered by range 35693803000000 to 35693803999999",
        "  blocked: stolen, by police",
        "  blocked: barred, by court, by range 35693803000000 to 35693803999999",
        f"  owner: {IMSI}, number {NUMBER} (fa)",
        "  utilizer: 432350000000002",
        "  exempt with any SIM: repair, ended 2027-01-15 08:00:00 UTC",
        f"  exempt with {IMSI}: court, without end",
        f"  in use before the scheme with {IMSI}, since 2027-01-15 08:00:00 UTC",
        "  tracked",
        "other slot 356938035643817",
        "  not registered",
        f"the SIM {IMSI} is exempt in any phone: m2m, until 2027-01-15 08:00:00 UTC",
        "a check would answer now",
        f"  with {IMSI}: Denied: this IMEI is reported stolen.",
        "told at serial 1,041; the tables are stale: a feed is older than its limit",
    ]
    assert "check digit is wrong" in ended.stderr


def test_a_subscriber_and_the_pages_of_its_history(daemon):
    place = inquiry_pb2.SimSlot(slot=slot(registered=True), role="PAIR_ROLE_OWNER", judgement=JUDGED)
    sim = inquiry_pb2.Sim(imsi=IMSI, msisdn=NUMBER, language="fa", slots=[place], slot_count=2)
    daemon.answers["InquireSubscriber"] = [inquiry_pb2.InquireSubscriberResponse(sims=[sim], serial=3)]
    reach = {"journal_from_serial": 2, "journal_from_time": UNTIL, "journal_to_serial": 9}
    row = sync_pb2.Operation(kind="OPERATION_KIND_TRACK", imei="35693803564380")
    entry = inquiry_pb2.HistoryEntry(
        serial=9, feed="hamta", sequence=7, committed_at=UNTIL, operation=row, ignored_row_count=1
    )
    daemon.answers["InquireHistory"] = [
        inquiry_pb2.InquireHistoryResponse(entries=[entry], next_page_token=b"more", **reach),
        inquiry_pb2.InquireHistoryResponse(unreadable_serials=[4], **reach),
    ]
    ended = run(daemon, "--msisdn", NUMBER, "--who", "desk 7")
    assert ended.exit_code == 0
    assert daemon.asked[0] == inquiry_pb2.InquireSubscriberRequest(msisdn=NUMBER, who="desk 7")
    assert [(page.msisdn, page.page_token) for page in daemon.asked[1:]] == [(NUMBER, b""), (NUMBER, b"more")]
    out = ended.stdout
    assert f"SIM {IMSI}, number {NUMBER} (fa): stands on 2 slots" in out
    assert "    a check would answer now: Denied: this IMEI is reported stolen." in out
    assert "the journal reaches back to serial 2, 2027-01-15 08:00:00 UTC" in out
    assert '{"kind": "TRACK", "imei": "35693803564380"} (may be one of the rows ignored)' in out
    assert "shown are 1 of 2 slots" in ended.stderr
    assert "delta 4 is damaged" in ended.stderr


def test_nothing_known_ends_with_3_and_json_has_everything(daemon):
    daemon.answers["InquireSubscriber"] = [inquiry_pb2.InquireSubscriberResponse(serial=3)]
    daemon.answers["InquireHistory"] = [inquiry_pb2.InquireHistoryResponse()]
    ended = run(daemon, "--imsi", IMSI, "--json")
    assert ended.exit_code == 3
    told = json.loads(ended.stdout)
    assert (told["sims"], told["serial"], told["history"]["entries"]) == ([], 3, [])
    assert daemon.asked[0].who  # the login name
    ended = run(daemon, "--imsi", IMSI)
    assert "nothing is known" in ended.stdout
    assert "the journal has no deltas" in ended.stdout
    daemon.answers["InquireEquipment"] = [inquiry_pb2.InquireEquipmentResponse(slot=slot(device_type="x"))]
    assert run(daemon, "--imei", IMEI, "--no-history").exit_code == 3


@pytest.mark.parametrize(
    "status", [value for value in inquiry_pb2.PublicStatus.DESCRIPTOR.values if value.number]
)
def test_the_public_form_has_words_for_every_status(daemon, status):
    daemon.answers["InquireStatus"] = [
        inquiry_pb2.InquireStatusResponse(imei=IMEI, status=status.number, check_digit_wrong=True)
    ]
    ended = run(daemon, "--imei", "۳۵۶", "--public")
    word = status.name.removeprefix("PUBLIC_STATUS_")
    assert ended.stdout == f"{IMEI}: {word}: {PUBLIC[word]}\n"
    assert ended.exit_code == (3 if word == "NOT_FOUND" else 0)
    assert "check digit" in ended.stderr
    assert daemon.asked == [inquiry_pb2.InquireStatusRequest(imei="۳۵۶")]
    assert json.loads(run(daemon, "--imei", "1", "--public", "--json").stdout)["status"] == word


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--imei", "1", "--msisdn", "2"),
        ("--imsi", "1", "--msisdn", "2"),
        ("--imsi", "1", "--public"),
        ("--imei", "1", "--imsi", "2", "--public"),
    ],
)
def test_what_does_not_go_together_is_refused(daemon, words):
    ended = run(daemon, *words)
    assert ended.exit_code == 2
    assert daemon.asked == []


def test_a_message_as_data_has_plain_numbers_and_short_names():
    told = as_dict(inquiry_pb2.Block(cause="BLOCK_CAUSE_LOST", authority="a"))
    assert told == {"cause": "LOST", "authority": "a", "range": None}
    judgement = as_dict(inquiry_pb2.Judgement(status=check_pb2.EQUIPMENT_STATUS_UNKNOWN, deadline=1 << 40))
    assert judgement == {"imsi": "", "status": "UNKNOWN", "reason": "UNSPECIFIED", "deadline": 1 << 40}
