"""Notices of a real daemon, to a real SMSC end: sighted, warned, paired, cut off, let in again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import native_engine
import pytest
from running import ENGINES, Daemon, operation, wait_for
from smsc_end import SmscEnd, smsc_end

from eir.proto import check_pb2, notice_pb2

DAY = 86_400
IMEI, SIM = "356938035643806", "432110000000001"
KEY = IMEI[:14]
POLICY = """
name = "notices"
home_plmns = ["43211"]
[cause.never_activated]
mode = "enforce"
grace_days = 10
clock_start = "first_sighting"
[notices]
quiet_hours = "00:00-00:00"
cut_off_hours = "00:00-00:00"
warned_days_min = 3
"""
CONFIG = """
[notices]
enabled = true
code = "*7777#"
helpline = "02127480000"
language = "en"
sighting_repeat_seconds = 0
clock_jump_seconds_max = 3600
[smsc.main]
host = "127.0.0.1"
port = {port}
system_id = "eir"
password_variable = "SMSC_PASSWORD"
sender = "EIR"
parts_per_second_max = 10000.0
reconnect_seconds_max = 1
{more}
"""


class Scene:
    """A daemon whose clock is set, with an SMSC."""

    def __init__(self, folder: Path, smsc: SmscEnd, engine: str, more: str = "") -> None:
        self.smsc, self.ahead, self.engine, self.folder = smsc, folder / "ahead", engine, folder
        self.ahead.write_text("0")
        (folder / "policy.toml").write_text(POLICY)
        (folder / "eir.toml").write_text(CONFIG.format(port=smsc.port, more=more))

    def start(self) -> Daemon:
        return Daemon(
            self.folder / "data",
            engine=self.engine,
            config=self.folder / "eir.toml",
            policy=self.folder / "policy.toml",
            ahead=self.ahead,
        )

    @property
    def now(self) -> int:
        return int(time.time()) + int(self.ahead.read_text())

    def go_on(self, seconds: int) -> None:
        written = self.ahead.with_suffix(".new")
        written.write_text(str(int(self.ahead.read_text()) + seconds))
        written.replace(self.ahead)


@pytest.fixture(params=ENGINES)
def scene(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    if request.param == "native":
        native_engine.needed()
    monkeypatch.setenv("SMSC_PASSWORD", "secret")
    with smsc_end() as smsc:
        yield Scene(tmp_path, smsc, request.param)


def register(daemon: Daemon, now: int) -> None:
    daemon.push(
        operation("REGISTER", KEY),
        operation("SUBSCRIBER", imsi=SIM, msisdn="989120000001", language="en"),
        complete_until=now,
    )


def status(daemon: Daemon) -> Any:
    return daemon.notices.GetNoticeStatus(notice_pb2.GetNoticeStatusRequest(), timeout=10)


def case(daemon: Daemon, number: int = 0) -> Any:
    request = notice_pb2.GetCaseRequest(case_number=number, who="test")
    return daemon.notices.GetCase(request, timeout=10)


def verdict(daemon: Daemon) -> tuple[str, int]:
    answer = daemon.check(IMEI, SIM)
    return check_pb2.EquipmentStatus.Name(answer.status).removeprefix("EQUIPMENT_STATUS_"), answer.deadline


def test_warned_and_paired_in_time(scene: Scene) -> None:
    daemon, smsc = scene.start(), scene.smsc
    try:
        register(daemon, scene.now)
        opened = scene.now
        assert verdict(daemon)[0] == "GREYLISTED"
        wait_for(lambda: verdict(daemon)[1])
        assert abs(verdict(daemon)[1] - opened - 10 * DAY) <= 2
        wait_for(lambda: "IMEI ending in 643809" in smsc.text())
        wait_for(lambda: case(daemon).notices[0].state == notice_pb2.NOTICE_STATE_ACCEPTED)
        for message_id in case(daemon).notices[0].message_ids:
            smsc.deliver(f"id:{message_id} stat:DELIVRD err:000".encode())
        wait_for(lambda: case(daemon).notices[0].state == notice_pb2.NOTICE_STATE_DELIVERED)
        assert case(daemon).msisdn == "989120000001"
        daemon.push(operation("PAIR", KEY, imsi=SIM, role="OWNER"), complete_until=scene.now)
        wait_for(lambda: "in order now" in smsc.text())
        assert verdict(daemon) == ("WHITELISTED", 0)
        assert case(daemon).found.state == notice_pb2.CASE_STATE_RESOLVED
    finally:
        assert daemon.stop() == 0
    assert not [line for line in daemon.log if SIM in line or "989120000001" in line or "secret" in line]


def test_cut_off_after_a_restart_and_let_in_again(scene: Scene) -> None:
    daemon, smsc = scene.start(), scene.smsc
    try:
        register(daemon, scene.now)
        wait_for(lambda: verdict(daemon)[1])
        wait_for(lambda: case(daemon).found.warned_at)
        sent = len(smsc.taken)
        daemon.process.kill()
        daemon.wait()
        daemon = scene.start()
        wait_for(lambda: verdict(daemon)[1])
        assert len(smsc.taken) == sent
        wait_for(lambda: status(daemon).complete_until, "a look at the clock before it jumps")
        scene.go_on(11 * DAY)
        # By such a clock nobody is cut off, and nobody is told anything.
        wait_for(lambda: "jumped" in status(daemon).clock_doubted_why)
        assert verdict(daemon)[0] == "GREYLISTED"
        assert len(smsc.taken) == sent
        daemon.push(operation("REGISTER", "35693803564381"), complete_until=scene.now)
        wait_for(lambda: not status(daemon).clock_doubted_why, "the feed's clock agrees")

        def cut_off() -> bool:
            # What was held back is looked at again some minutes later; a clock that goes so far is believed.
            scene.go_on(700)
            time.sleep(1.1)
            return verdict(daemon)[0] == "BLACKLISTED"

        wait_for(cut_off)
        wait_for(lambda: "has been disconnected" in smsc.text())
        daemon.push(operation("PAIR", KEY, imsi=SIM, role="OWNER"), complete_until=scene.now)
        wait_for(lambda: "Switch it off and on" in smsc.text())
        assert verdict(daemon) == ("WHITELISTED", 0)
    finally:
        daemon.stop()


def test_what_was_on_its_way_when_the_daemon_was_killed_goes_out_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMSC_PASSWORD", "secret")
    with smsc_end() as smsc:
        scene = Scene(tmp_path, smsc, "portable")
        smsc.smsc.answer = lambda number: None
        daemon = scene.start()
        try:
            register(daemon, scene.now)
            daemon.check(IMEI, SIM)
            wait_for(lambda: smsc.taken)
            daemon.process.kill()
            daemon.wait()
            before = len(smsc.taken)
            # One that throttles, then takes: what it refused is tried again some minutes later.
            smsc.smsc.answer = lambda number: 0x58 if number <= before + 1 else f"id{number}"
            daemon = scene.start()
            wait_for(lambda: len(smsc.taken) > before)
            wait_for(lambda: daemon.metric('eir_notice_submission_errors_total{status="0x58"}') == 1)
            assert daemon.metric("eir_notices_repeated_total") == 1
            wait_for(lambda: daemon.metric('eir_smsc_throttled_total{smsc="main"}') == 1)
            scene.go_on(301)
            wait_for(lambda: case(daemon).found.warned_at)
            # Twice handed over: before the kill and at the end; what an SMSC has no room for is no attempt.
            assert [one.attempts for one in case(daemon).notices] == [2]
            # Receipts: of nothing that was sent, then the right one, then once more.
            message_id = case(daemon).notices[0].message_ids[0]
            smsc.deliver(b"id:nonsense stat:DELIVRD err:000")
            for _ in range(2):
                smsc.deliver(f"id:{message_id} stat:DELIVRD err:000".encode())
            wait_for(lambda: daemon.metric('eir_notice_receipts_total{outcome="unknown"}') == 1)
            wait_for(lambda: daemon.metric('eir_notice_receipts_total{outcome="delivered"}') == 1)
        finally:
            daemon.stop()


def test_without_an_smsc_cases_open_and_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSC_PASSWORD", "secret")
    with smsc_end() as smsc:
        scene = Scene(tmp_path, smsc, "portable")
    daemon = scene.start()  # the SMSC is gone
    try:
        register(daemon, scene.now)
        wait_for(lambda: verdict(daemon)[1])
        wait_for(lambda: "notices: not bound: main" in daemon.http("/readyz")[1])
        assert daemon.http("/readyz")[0] == 200
        assert daemon.metric('eir_smsc_bound{smsc="main"}') == 0
        wait_for(lambda: daemon.metric('eir_cases{cause="never_activated",state="open"}') == 1)
    finally:
        assert daemon.stop() == 0
