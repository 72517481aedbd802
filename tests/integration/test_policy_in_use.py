"""The policy of a running daemon: changed by SIGHUP, tried beside the one in force."""

import itertools
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eir.decisions.log import parts_of
from eir.decisions.record import HEADER, POLICY_BYTES, RECORD_BYTES, decode
from eir.identity import SERIALS
from eir.policy import compile_policy
from eir.proto import check_pb2
from eir.verdict import Status
from tests.integration.test_cli import eir
from tests.running import ENGINES, Daemon, operation, running, wait_for

IMEI, IMSI = "35693803564380", "432110000000001"
POLICY = 'name = "{name}"\nhome_plmns = ["43211"]\ncache_seconds_max = {cache}\n{more}'


def write(path: Path, name: str, cache: int = 60, more: str = "") -> Path:
    path.write_text(POLICY.format(name=name, cache=cache, more=more))
    return path


def reload(daemon: Daemon, result: str) -> None:
    sample = f'eir_policy_reloads_total{{result="{result}"}}'
    before = daemon.metric(sample)
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: daemon.metric(sample) == before + 1)


def status(daemon: Daemon) -> str:
    return eir("status", "--address", daemon.ready_line["manage"]).out


@pytest.mark.parametrize("engine", ENGINES)
def test_a_good_policy_comes_into_force_and_a_bad_one_is_refused(tmp_path: Path, engine: str) -> None:
    file = write(tmp_path / "policy.toml", "first")
    with running(tmp_path / "data", engine=engine, policy=file) as daemon:
        daemon.push(operation("REGISTER", IMEI), operation("PAIR", IMEI, imsi=IMSI, role="OWNER"))
        assert daemon.check(IMEI, IMSI).cache_seconds == 60
        assert daemon.check("35000000000000", IMSI).reason == 37

        write(
            file,
            "second",
            5,
            'placeholders = ["35000000000000"]\n[status_map."*"]\ngreylisted = "whitelisted"\n',
        )
        reload(daemon, "applied")
        assert daemon.check(IMEI, IMSI).cache_seconds == 5
        placeholder = daemon.check("35000000000000", IMSI)
        assert (placeholder.reason, placeholder.status) == (31, 1), "placeholder, and grey is told as white"
        assert "policy: second (" in status(daemon)

        file.write_text(file.read_text().replace("home_plmns", "home_plmn"))
        reload(daemon, "refused")
        assert daemon.check(IMEI, IMSI).cache_seconds == 5
        assert daemon.metric("eir_policy_refused") == 1
        said = status(daemon)
        assert "policy: second (" in said
        assert "policy refused at " in said
        assert "home_plmn: unknown key" in said
        assert any("policy refused" in line and "home_plmn" in line for line in daemon.log)

        write(file, "third")
        reload(daemon, "applied")
        assert "policy refused" not in status(daemon)
        assert daemon.metric("eir_policy_refused") == 0
        reload(daemon, "unchanged")
    audit = eir("journal", "audit", "--data-dir", tmp_path / "data").out
    assert [line.split("policy in force: ")[1].split()[:2] for line in audit.splitlines()[1:]] == [
        ["first", "start"],
        ["second", "reload"],
        ["third", "reload"],
    ]


def test_checks_go_on_while_policies_change(tmp_path: Path) -> None:
    file = write(tmp_path / "policy.toml", "p0")
    with running(tmp_path / "data", policy=file) as daemon:
        for number in range(1, 6):
            write(file, f"p{number}")
            daemon.signal(signal.SIGHUP)
            for _ in range(50):
                assert daemon.check("49015420323751", IMSI).reason == 37
        wait_for(lambda: "policy: p5 (" in status(daemon))


@pytest.mark.parametrize("engine", ENGINES)
def test_every_decision_names_the_policy_that_made_it(tmp_path: Path, engine: str) -> None:
    """Also those of the moment in which one takes the place of the other."""
    file = tmp_path / "policy.toml"
    modes = {"enforce": Status.BLACKLISTED, "notify": Status.GREYLISTED}
    made: dict[str, Status] = {}

    def mode(name: str) -> None:
        write(file, name, more=f'[mode]\nblocked_range = "{name}"\n')
        made[compile_policy(file.read_text()).hash[: 2 * POLICY_BYTES]] = modes[name]

    mode("enforce")
    with running(tmp_path / "data", engine=engine, policy=file) as daemon:
        first = int(IMEI) // SERIALS * SERIALS
        daemon.push(operation("BLOCK", f"{first}", imei_last=f"{first + SERIALS - 1}", block_cause="BARRED"))
        stop, asked = threading.Event(), itertools.count(0, 100)

        def ask() -> None:
            while not stop.is_set():
                serial = next(asked)
                imei = [f"{first + serial + row}" for row in range(100)]
                request = check_pb2.BatchCheckEquipmentRequest(imei=imei, imsi=[IMSI] * 100)
                daemon.checks.BatchCheckEquipment(request, timeout=10)
                stop.wait(0.01)  # decisions come no faster than they are taken: what overflows is dropped

        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(ask)
            for name in ["notify", "enforce"] * 4:
                time.sleep(0.1)
                mode(name)
                reload(daemon, "applied")
            stop.set()
            asking.result()
    found = [
        decision
        for part in parts_of(tmp_path / "data" / "decisions")
        for data in [part.read_bytes()]
        for at in range(len(HEADER), len(data), RECORD_BYTES)
        for decision in [decode(data[at : at + RECORD_BYTES])]
    ]
    assert {decision.status for decision in found} == set(modes.values())
    assert not [decision for decision in found if made[decision.policy] != decision.status]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_policy_on_trial_says_what_it_would_change_and_changes_nothing(tmp_path: Path, engine: str) -> None:
    file = write(tmp_path / "policy.toml", "mild", more='[mode]\nblocked_range = "observe"\n')
    tried = write(
        tmp_path / "tried.toml",
        "strict",
        more='[operator.ours]\nimsi = ["43211"]\n[mode]\nblocked_range = "enforce"\n',
    )
    with running(tmp_path / "data", engine=engine, policy=file) as daemon:
        at = ("--address", daemon.ready_line["manage"])
        assert eir("policy", "trial", *at).code == 3
        last = f"{int(IMEI) + 999:014d}"
        daemon.push(operation("BLOCK", IMEI, imei_last=last, block_cause="BARRED", authority="police"))
        begun = eir("policy", "try", tried, "--minutes", 5, *at)
        assert begun.code == 0, begun.err
        assert eir("policy", "try", tried, *at).code == 3, "one at a time"
        for number in range(30):
            verdict = daemon.check(f"{int(IMEI) + number % 10:014d}", f"43211{number % 6:010d}")
            assert (verdict.status, verdict.reason) == (1, 11)
            daemon.check("49015420323751", IMSI)
        wait_for(lambda: daemon.metric('eir_policy_trial_checks_total{result="changed"}') == 30)
        assert daemon.metric("eir_policy_trial_active") == 1
        shown = eir("policy", "trial", "--json", *at).json
        assert (shown["policy_name"], shown["changed_count"]) == ("strict", 30)
        assert shown["changes"] == [
            {
                "cohort": "operator ours",
                "status_before": "WHITELISTED",
                "reason_before": "BLOCKED_RANGE",
                "status_after": "BLACKLISTED",
                "reason_after": "BLOCKED_RANGE",
                "check_count": 30,
                "subscriber_estimate": 6,
            }
        ]
        stopped = eir("policy", "trial", "--stop", *at).out
        assert "stopped by request" in stopped
        assert "30 checks would get another status" in stopped
        assert daemon.metric("eir_policy_trial_active") == 0
        daemon.check(IMEI, IMSI)
        assert eir("policy", "trial", "--json", *at).json["judged_count"] == shown["judged_count"]
        assert eir("policy", "try", tried, "--minutes", 5, *at).code == 0
        write(file, "milder")
        reload(daemon, "applied")
        assert "another policy came into force" in eir("policy", "trial", *at).out


@pytest.mark.parametrize("words", [("--sample", "0"), ("--sample", "101"), ("--minutes", "0")])
def test_a_trial_that_cannot_be_is_refused(tmp_path: Path, words: tuple[str, str]) -> None:
    tried = write(tmp_path / "tried.toml", "strict")
    assert eir("policy", "try", tried, *words).code == 2
