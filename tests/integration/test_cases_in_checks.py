"""A daemon that keeps cases: a check opens one, later checks answer its deadline, a pairing ends it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from eir.proto import check_pb2
from eir.verdict import Reason, Status
from tests.running import ENGINES, Daemon, operation, running

KEY, OTHER, OWNER, STRANGER = "35693803564380", "35693803564399", "432110000000001", "432110000000009"
DAY = 86_400
POLICY = """
name = "cases"
home_plmns = ["43211"]
[cause.never_activated]
mode = "enforce"
grace_days = 30
clock_start = "first_sighting"
[cause.not_registered]
mode = "observe"
"""
VISIBLE_SECONDS_MAX = 20.0
"""A case is durable within 0.2 s; machines that run tests are slower, and have other work."""


def kept(folder: Path) -> dict[str, Any]:
    """Settings of a daemon that keeps cases."""
    (folder / "policy.toml").write_text(POLICY)
    notices = {"enabled": "true", "code": "*7777#", "helpline": "02127480000", "sighting_repeat_seconds": 0}
    return {
        "policy": folder / "policy.toml",
        **{f"notices__{name}": value for name, value in notices.items()},
    }


def until(daemon: Daemon, wanted: tuple[int, int, bool], imsi: str = OWNER) -> Any:
    """Check until status, reason and whether there is a deadline are those."""
    end = time.monotonic() + VISIBLE_SECONDS_MAX
    while True:
        verdict = daemon.check(KEY, imsi)
        found = verdict.status, verdict.reason, bool(verdict.deadline)
        if found == wanted:
            return verdict
        assert time.monotonic() < end, found
        time.sleep(0.01)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_check_opens_a_case_and_a_pairing_ends_it(tmp_path: Path, engine: str) -> None:
    grey = Status.GREYLISTED, Reason.NEVER_ACTIVATED, True
    settings = kept(tmp_path)
    with running(tmp_path / "data", engine=engine, **settings) as daemon:
        daemon.push(operation("REGISTER", KEY))
        first = daemon.check(KEY, OWNER, msisdn="989121234567")
        assert (first.status, first.reason, first.deadline) == (*grey[:2], 0)
        deadline = until(daemon, grey).deadline
        assert abs(deadline - (time.time() + 30 * DAY)) < 60
        batch = check_pb2.BatchCheckEquipmentRequest(imei=[f"{KEY}0", KEY, OTHER], imsi=[OWNER] * 3)
        assert list(daemon.checks.BatchCheckEquipment(batch).deadline) == [deadline, deadline, 0]
        stream = iter([check_pb2.StreamCheckEquipmentRequest(check={"imei": f"{KEY}7", "imsi": OWNER})])
        (answer,) = daemon.checks.StreamCheckEquipment(stream)
        assert answer.verdict.deadline == deadline
    with running(tmp_path / "data", engine=engine, **settings) as daemon:
        assert daemon.check(KEY, OWNER).deadline == deadline, "at the first check after a restart"
        daemon.push(operation("PAIR", KEY, imsi=OWNER, role="OWNER"))
        until(daemon, (Status.WHITELISTED, Reason.OWNER, False))
        daemon.push(operation("UNPAIR", KEY, imsi=OWNER, role="OWNER"))
        again = until(daemon, grey)
        assert again.deadline >= deadline, "a new case: the old one was resolved"


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_observed_and_who_only_looks_open_no_case(tmp_path: Path, engine: str) -> None:
    with running(tmp_path / "data", engine=engine, **kept(tmp_path)) as daemon:
        daemon.push(operation("REGISTER", KEY))
        line = [sys.executable, "-m", "eir", "check", KEY, STRANGER, "--address", daemon.ready_line["check"]]
        said = subprocess.run(line, capture_output=True, text=True, check=True, timeout=30).stdout
        assert "No deadline yet" in said
        assert "What helps: the phone is activated with this SIM." in said
        assert daemon.check(OTHER, OWNER).status == Status.WHITELISTED
        daemon.check(KEY, OWNER)
        until(daemon, (Status.GREYLISTED, Reason.NEVER_ACTIVATED, True))
        looked = daemon.checks.CheckEquipment(
            check_pb2.CheckEquipmentRequest(imei=KEY, imsi=STRANGER), metadata=(("eir-client", "eir-check"),)
        )
        assert looked.deadline == 0
        assert daemon.check(OTHER, OWNER).deadline == 0
