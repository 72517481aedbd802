"""Both engines beside each other: the same traffic leaves the same metrics and the same decisions."""

import re
import time
from pathlib import Path

import grpc
import pytest

from eir.decisions.log import parts_of
from eir.decisions.record import HEADER, RECORD_BYTES, Decision, decode
from eir.proto import check_pb2
from tests.running import ENGINES, Daemon, operation, running, wait_for

KEY, OTHER, STOLEN = "35693803564380", "35693803564399", "35693803564415"
OWNER, STRANGER, FOREIGN = "432110000000001", "432110000000009", "262010000000001"
POLICY = """
name = "alike"
home_plmns = ["43211"]
[status_map.strict]
greylisted = "whitelisted"
"""
OWN = (
    "process_",
    "python_",
    "eir_build_info",
    "eir_check_connections",
    "eir_check_held_bytes",
    "eir_load_duration",
    "eir_start_",
)
"""Metrics that tell of the process, or of what one engine alone has."""
TIMED = r"_(bucket|sum)\b|_seconds(\{|$)|timestamp|_bytes|eir_cases_commit_duration"
"""Those whose values are of the clock; how often the keeper commits is, too."""


def traffic(daemon: Daemon) -> None:
    """Every kind of answer, by every method."""
    daemon.push(
        *(operation("REGISTER", imei) for imei in (KEY, OTHER, STOLEN)),
        operation("PAIR", KEY, imsi=OWNER, role="OWNER"),
        operation("BLOCK", STOLEN, block_cause="STOLEN", authority="police"),
        operation("EXEMPT", STOLEN, imsi=STRANGER, exempt_cause="COURT"),
    )
    for imei in (KEY, f"{KEY}0", OTHER, STOLEN, "8", "", "#", "0" * 14, "35000000000000", "3" * 300):
        for imsi in (OWNER, STRANGER, FOREIGN, "", "43211", "x"):
            for metadata in ((), (("eir-client", "strict"),)):
                request = check_pb2.CheckEquipmentRequest(imei=imei, imsi=imsi, serving_plmn="43211")
                if len(imei) < 300:
                    daemon.checks.CheckEquipment(request, timeout=10, metadata=metadata)
                    continue
                with pytest.raises(grpc.RpcError):
                    daemon.checks.CheckEquipment(request, timeout=10, metadata=metadata)
    requests = [
        check_pb2.StreamCheckEquipmentRequest(check=check_pb2.CheckEquipmentRequest(imei=imei, imsi=OWNER))
        for imei in (KEY, OTHER, STOLEN)
    ]
    assert len(list(daemon.checks.StreamCheckEquipment(iter(requests), timeout=10))) == 3
    batch = check_pb2.BatchCheckEquipmentRequest(imei=[KEY, STOLEN, "8"] * 50, imsi=[OWNER] * 150)
    daemon.checks.BatchCheckEquipment(batch, timeout=10)
    daemon.check(STOLEN, OWNER, emergency=True)


def samples(text: str) -> dict[str, float]:
    """Samples by name and labels; of durations the number alone."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if line.startswith("#"):
            found[line] = 0.0
        elif not name.startswith(OWN):
            found[name] = 0.0 if re.search(TIMED, name) else float(value)
    return found


def decisions(data: Path) -> list[Decision]:
    """All that the log has kept; those of one moment in any order."""
    found: list[Decision] = []
    for part in parts_of(data / "decisions"):
        content = part.read_bytes()
        starts = range(len(HEADER), len(content), RECORD_BYTES)
        found += [decode(content[at : at + RECORD_BYTES])._replace(time=0) for at in starts]
    return sorted(found, key=repr)


def settled(daemon: Daemon) -> bool:
    """Whether cases are open, and what comes late, gauges of each second and the log, has come."""
    before = samples(daemon.http("/metrics")[1])
    time.sleep(1.6)
    return before["eir_cases_unwarned"] == 4 and before == samples(daemon.http("/metrics")[1])


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, float], list[Decision]]]:
    """What the same traffic leaves with each engine."""
    out = {}
    for engine in ENGINES:
        folder = tmp_path_factory.mktemp(engine)
        (folder / "policy.toml").write_text(POLICY)
        settings = {"policy": folder / "policy.toml", "decisions__allowed_sample_percent": 100}
        notices = {"enabled": "true", "code": "*7777#", "helpline": "02127480000"}
        settings |= {f"notices__{name}": value for name, value in notices.items()}
        with running(folder / "data", engine=engine, **settings) as daemon:
            traffic(daemon)
            wait_for(lambda daemon=daemon: settled(daemon), "all is counted")
            page = daemon.http("/metrics")[1]
        out[engine] = samples(page), decisions(folder / "data")
    return out


def test_both_engines_leave_the_same_metrics(
    left: dict[str, tuple[dict[str, float], list[Decision]]],
) -> None:
    portable, native = (left[engine][0] for engine in ENGINES)
    assert portable.keys() == native.keys()
    assert {name: (value, native[name]) for name, value in portable.items() if value != native[name]} == {}
    assert portable['eir_checks_total{reason="owner",status="whitelisted"}'] > 50
    assert portable['eir_check_duration_seconds_count{method="unary"}'] > 100
    assert portable['eir_sightings_total{result="taken"}'] == 4
    assert portable['eir_sightings_total{result="repeated"}'] == 5


def test_both_engines_keep_the_same_decisions(
    left: dict[str, tuple[dict[str, float], list[Decision]]],
) -> None:
    portable, native = (left[engine][1] for engine in ENGINES)
    assert len(portable) > 40
    assert portable == native
