"""Commands against a scripted daemon: what they ask, print, and how they end."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from click.testing import CliRunner

from eir.cli import main
from eir.errors import DrainingError, EirError, InvalidRequestError, WriterBusyError
from eir.interceptors import DETAILS_KEY, code_of, status_of
from eir.proto import (
    check_pb2,
    check_pb2_grpc,
    enforcement_pb2,
    enforcement_pb2_grpc,
    sync_pb2,
    sync_pb2_grpc,
)
from eir.verdict import Reason, Status

IMEI, IMSI = "35693803564380", "432110000000001"


class Daemon(
    check_pb2_grpc.EquipmentCheckServiceServicer,
    enforcement_pb2_grpc.EnforcementServiceServicer,
    sync_pb2_grpc.RegistrySyncServiceServicer,
):
    """Answers what a test sets; keeps what it was asked."""

    def __init__(self):
        self.asked = None
        self.answer = None

    def _do(self, request, context):
        self.asked = request
        if isinstance(self.answer, EirError):
            status = status_of(self.answer)
            context.set_trailing_metadata(((DETAILS_KEY, status.SerializeToString()),))
            context.abort(code_of(self.answer), status.message)
        return self.answer

    CheckEquipment = GetEnforcement = SetEnforcement = GetStatus = RebuildSegments = _do

    def GetFeedPosition(self, request, context):
        feed = sync_pb2.FeedPosition(feed="hamta", sequence=7, serial=9, applied_at=1_767_225_600)
        return sync_pb2.GetFeedPositionResponse(feeds=[feed], serial=9)


@pytest.fixture
def daemon():
    server = grpc.server(ThreadPoolExecutor(2))
    daemon = Daemon()
    check_pb2_grpc.add_EquipmentCheckServiceServicer_to_server(daemon, server)
    enforcement_pb2_grpc.add_EnforcementServiceServicer_to_server(daemon, server)
    sync_pb2_grpc.add_RegistrySyncServiceServicer_to_server(daemon, server)
    daemon.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield daemon
    server.stop(0).wait()


def run(daemon, *words, stdin=None):
    return CliRunner().invoke(main, [*words, "--address", daemon.address], input=stdin)


def verdict(status, reason, serial=5, **more):
    return check_pb2.CheckEquipmentResponse(status=int(status), reason=int(reason), serial=serial, **more)


@pytest.mark.parametrize(
    ("status", "code"),
    [(Status.WHITELISTED, 0), (Status.GREYLISTED, 0), (Status.BLACKLISTED, 3), (Status.UNKNOWN, 4)],
)
def test_check_ends_with_the_code_of_the_status(daemon, status, code):
    daemon.answer = verdict(status, Reason.UNDECIDED)
    result = run(daemon, "check", IMEI)
    assert result.exit_code == code
    assert f"{status.name} (UNDECIDED)" in result.stdout


def test_check_asks_what_it_was_given(daemon):
    daemon.answer = verdict(Status.WHITELISTED, Reason.EMERGENCY)
    run(daemon, "check", IMEI, IMSI, "--serving-plmn", "26201", "--emergency")
    assert daemon.asked == check_pb2.CheckEquipmentRequest(
        imei=IMEI, imsi=IMSI, serving_plmn="26201", emergency=True
    )


def test_check_prints_deadline_and_staleness(daemon):
    daemon.answer = verdict(Status.WHITELISTED, Reason.EXEMPT_IMEI, deadline=1_767_225_600, stale=True)
    text = run(daemon, "check", IMEI, IMSI).stdout
    assert "Until 2026-01-01 00:00:00 UTC." in text
    assert "stale" in text


def test_check_says_that_there_are_no_tables_rather_than_that_they_are_stale(daemon):
    daemon.answer = verdict(Status.WHITELISTED, Reason.EMERGENCY, serial=0, stale=True)
    text = run(daemon, "check", IMEI, "--emergency").stdout
    assert "no tables yet" in text
    assert "stale" not in text


def test_check_as_json(daemon):
    daemon.answer = verdict(Status.WHITELISTED, Reason.OWNER, cache_seconds=300)
    assert json.loads(run(daemon, "check", IMEI, IMSI, "--json").stdout) == {
        "imei": IMEI,
        "imsi": IMSI,
        "status": "WHITELISTED",
        "reason": "OWNER",
        "explanation": "Allowed: this SIM is the owner's of this IMEI.",
        "remedy": "",
        "deadline": 0,
        "serial": 5,
        "stale": False,
        "cache_seconds": 300,
    }


@pytest.mark.parametrize(
    ("imei", "warned"),
    [
        ("260531793113837", False),  # TS 23.003's own example
        ("260531793113830", False),  # the spare digit is transmitted as 0
        ("260531793113838", True),
        ("26053179311383", False),
        ("2605317931138301", False),
    ],
)
def test_check_warns_of_a_wrong_check_digit_only(daemon, imei, warned):
    daemon.answer = verdict(Status.WHITELISTED, Reason.OWNER)
    assert ("check digit" in run(daemon, "check", imei).stderr) is warned


def test_an_empty_imei_can_be_asked(daemon):
    daemon.answer = verdict(Status.GREYLISTED, Reason.MALFORMED_EMPTY)
    assert run(daemon, "check", "").exit_code == 0
    assert daemon.asked.imei == ""


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            InvalidRequestError("serving_plmn", "5 or 6 digits"),
            2,
            "serving_plmn: 5 or 6 digits (INVALID_REQUEST)",
        ),
        (DrainingError(), 1, "cannot answer now: The daemon is shutting down. (DRAINING); try again"),
        (WriterBusyError("busy"), 1, "busy (WRITER_BUSY)"),
        (EirError("internal error"), 1, "internal error (INTERNAL)"),
    ],
)
def test_errors_of_the_daemon_end_as_messages(daemon, error, code, message):
    daemon.answer = error
    result = run(daemon, "check", IMEI)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("check", IMEI),
        ("status",),
        ("enforcement", "show"),
        ("enforcement", "set", "policy", "--who", "me", "--why", "x"),
        ("segments", "rebuild"),
        ("delta", "push", "-"),
    ],
)
def test_without_a_daemon_the_message_says_how_to_start_one(words):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: nobody answers here
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(main, [*words, "--address", address], input="")
    assert result.exit_code == 1
    assert result.stderr == f"eir: no daemon answers at {address}; start it with: eir serve\n"


def test_the_wrong_port_is_named():
    server = grpc.server(ThreadPoolExecutor(1))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    result = CliRunner().invoke(main, ["check", IMEI, "--address", address])
    server.stop(0).wait()
    assert result.exit_code == 1
    assert "50051" in result.stderr
    assert "50052" in result.stderr


@pytest.mark.parametrize("address", ["nonsense", "1.2.3.4", "host:99999", "::1:50051"])
def test_an_address_that_is_none_is_a_usage_error(address):
    assert CliRunner().invoke(main, ["check", IMEI, "--address", address]).exit_code == 2


def test_the_address_comes_from_the_setting_of_the_daemon(daemon):
    daemon.answer = verdict(Status.WHITELISTED, Reason.OWNER)
    result = CliRunner().invoke(main, ["check", IMEI], env={"EIR_CHECK_LISTEN": daemon.address})
    assert result.exit_code == 0


def status_answer(**more):
    tables = [enforcement_pb2.TableSize(table="pairs", rows=1_000, bytes=4_096)]
    return enforcement_pb2.GetStatusResponse(
        version="9.9",
        engine="portable",
        serial=9,
        policy_name="default",
        policy_hash="ab" * 32,
        tables=tables,
        enforcement=enforcement_pb2.Enforcement(mode=enforcement_pb2.ENFORCEMENT_MODE_POLICY),
        **more,
    )


def test_status_of_a_ready_daemon(daemon):
    daemon.answer = status_answer(ready=True)
    result = run(daemon, "status")
    assert result.exit_code == 0
    for text in (
        "eir 9.9, portable engine",
        "ready\n",
        "pairs  1,000  4,096",
        "hamta",
        "2026-01-01 00:00:00 UTC",
    ):
        assert text in result.stdout


def test_status_of_a_daemon_that_is_not_ready_says_why(daemon):
    daemon.answer = status_answer(ready=False, not_ready_reasons=["tables: tables loading"])
    result = run(daemon, "status")
    assert result.exit_code == 3
    assert "not ready: tables: tables loading" in result.stdout


def test_status_as_json_has_every_field(daemon):
    daemon.answer = status_answer(ready=True)
    shown = json.loads(run(daemon, "status", "--json").stdout)
    fields = {field.name for field in enforcement_pb2.GetStatusResponse.DESCRIPTOR.fields}
    assert set(shown) == fields | {"feeds"}
    assert shown["tables"]["pairs"] == {"rows": 1_000, "bytes": 4_096}
    assert shown["feeds"]["hamta"]["sequence"] == 7


def enforcement_answer(mode):
    state = enforcement_pb2.Enforcement(mode=mode, changed_at=1_767_225_600, changed_by="me", why="test")
    return enforcement_pb2.SetEnforcementResponse(enforcement=state)


def test_status_says_who_turned_the_override_on_when_and_why(daemon):
    daemon.answer = status_answer(ready=True)
    on = enforcement_answer(enforcement_pb2.ENFORCEMENT_MODE_ALLOW_ALL).enforcement
    daemon.answer.enforcement.CopyFrom(on)
    assert (
        "enforcement: allow-all: the override is on: every check is allowed, stolen phones too, "
        "since 2026-01-01 00:00:00 UTC, by me: test\n" in run(daemon, "status").stdout
    )


def test_enforcement_set_sends_who_and_why(daemon):
    daemon.answer = enforcement_answer(enforcement_pb2.ENFORCEMENT_MODE_ALLOW_ALL)
    result = run(daemon, "enforcement", "set", "allow-all", "--who", "me", "--why", "test", "--json")
    assert result.exit_code == 0
    assert daemon.asked == enforcement_pb2.SetEnforcementRequest(
        mode=enforcement_pb2.ENFORCEMENT_MODE_ALLOW_ALL, who="me", why="test"
    )
    assert json.loads(result.stdout) == {
        "mode": "allow-all",
        "changed_at": 1_767_225_600,
        "changed_by": "me",
        "why": "test",
    }


@pytest.mark.parametrize("left_out", ["--who", "--why"])
def test_enforcement_set_needs_who_and_why(daemon, left_out):
    options = {"--who": "me", "--why": "test"}
    del options[left_out]
    words = [word for option in options.items() for word in option]
    assert run(daemon, "enforcement", "set", "allow-all", *words).exit_code == 2
    assert daemon.asked is None


def test_enforcement_set_asks_on_a_terminal(daemon, monkeypatch):
    monkeypatch.setattr("eir.cli.enforcement.on_terminal", lambda: True)
    daemon.answer = enforcement_answer(enforcement_pb2.ENFORCEMENT_MODE_ALLOW_ALL)
    words = ("enforcement", "set", "allow-all", "--who", "me", "--why", "test")
    refused = run(daemon, *words, stdin="n\n")
    assert refused.exit_code == 1
    assert "stolen" in refused.stderr
    assert daemon.asked is None
    assert run(daemon, *words, stdin="y\n").exit_code == 0
    assert daemon.asked is not None
    assert "?" not in run(daemon, *words, "--yes").stderr


def test_enforcement_show(daemon):
    daemon.answer = enforcement_pb2.GetEnforcementResponse(
        enforcement=enforcement_answer(enforcement_pb2.ENFORCEMENT_MODE_ALLOW_ALL).enforcement
    )
    text = run(daemon, "enforcement", "show").stdout
    assert "allow-all" in text
    assert "by me: test" in text


def test_segments_rebuild(daemon):
    daemon.answer = enforcement_pb2.RebuildSegmentsResponse(serial=12, rebuilt_count=3, duration_seconds=1.25)
    result = run(daemon, "segments", "rebuild", "--all", "--json")
    assert daemon.asked.all is True
    assert json.loads(result.stdout) == {"serial": 12, "rebuilt_count": 3, "duration_seconds": 1.25}
    assert "3 files" in run(daemon, "segments", "rebuild").stdout
