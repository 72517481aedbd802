"""EnforcementService over the wire."""

import time
from collections.abc import Iterator

import grpc
import pytest

from eir import __version__
from eir.policy import compile_policy, default_policy_text
from eir.proto import check_pb2, enforcement_pb2
from tests.running import Daemon, detail, operation, running

KEY, OWNER = "35693803564380", "432110000000001"
POLICY, ALLOW_ALL = "ENFORCEMENT_MODE_POLICY", "ENFORCEMENT_MODE_ALLOW_ALL"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("enforcement") / "data") as daemon:
        daemon.push(operation("BLOCK", KEY, block_cause="STOLEN", authority="police"))
        yield daemon


def set_mode(daemon: Daemon, mode: str, who: str = "sre", why: str = "INC-1") -> enforcement_pb2.Enforcement:
    request = enforcement_pb2.SetEnforcementRequest(mode=mode, who=who, why=why)  # type: ignore[arg-type]
    answer: enforcement_pb2.SetEnforcementResponse = daemon.enforcement.SetEnforcement(request, timeout=10)
    return answer.enforcement


def test_the_override_allows_every_check_and_is_said(daemon: Daemon) -> None:
    assert daemon.check(KEY, OWNER).reason == check_pb2.VERDICT_REASON_BLOCKED_STOLEN
    state = set_mode(daemon, ALLOW_ALL)
    assert (state.mode, state.changed_by, state.why) == (
        enforcement_pb2.ENFORCEMENT_MODE_ALLOW_ALL,
        "sre",
        "INC-1",
    )
    assert abs(state.changed_at - time.time()) < 60
    answer = daemon.check(KEY, OWNER)
    assert answer.reason == check_pb2.VERDICT_REASON_OVERRIDE
    assert answer.status == check_pb2.EQUIPMENT_STATUS_WHITELISTED
    assert daemon.metric("eir_override_active") == 1
    shown = daemon.enforcement.GetEnforcement(enforcement_pb2.GetEnforcementRequest())
    assert shown.enforcement == state
    set_mode(daemon, POLICY)
    assert daemon.metric("eir_override_active") == 0
    assert daemon.check(KEY, OWNER).reason == check_pb2.VERDICT_REASON_BLOCKED_STOLEN


@pytest.mark.parametrize(
    ("mode", "who", "why", "field"),
    [
        ("ENFORCEMENT_MODE_UNSPECIFIED", "sre", "INC-1", "mode"),
        (POLICY, "", "INC-1", "who"),
        (POLICY, "  ", "INC-1", "who"),
        (POLICY, "x" * 129, "INC-1", "who"),
        (POLICY, "sre", "", "why"),
        (POLICY, "sre", "ش" * 257, "why"),
    ],
)
def test_who_and_why_are_needed(daemon: Daemon, mode: str, who: str, why: str, field: str) -> None:
    before = daemon.enforcement.GetEnforcement(enforcement_pb2.GetEnforcementRequest())
    with pytest.raises(grpc.RpcError) as caught:
        set_mode(daemon, mode, who, why)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert detail(caught.value).metadata["field"] == field
    assert daemon.enforcement.GetEnforcement(enforcement_pb2.GetEnforcementRequest()) == before


def test_an_unknown_mode_is_refused(daemon: Daemon) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        daemon.enforcement.SetEnforcement(enforcement_pb2.SetEnforcementRequest(mode=9, who="a", why="b"))  # type: ignore[arg-type]
    assert detail(caught.value).metadata["field"] == "mode"


def test_status_tells_what_the_daemon_runs_with(daemon: Daemon) -> None:
    status = daemon.enforcement.GetStatus(enforcement_pb2.GetStatusRequest())
    policy = compile_policy(default_policy_text())
    assert (status.version, status.engine, status.ready, status.stale) == (
        __version__,
        "portable",
        True,
        False,
    )
    assert (status.policy_name, status.policy_hash) == (policy.name, policy.hash)
    assert (status.serial, status.journal_delta_count, status.overlay_row_count) == (1, 1, 1)
    assert abs(status.started_at - time.time()) < 300
    assert list(status.not_ready_reasons) == []
    assert {table.table: table.rows for table in status.tables}["blocks"] == 1


def test_a_rebuild_folds_the_overlays_and_changes_no_verdict(daemon: Daemon) -> None:
    before = daemon.check(KEY, OWNER)
    result = daemon.enforcement.RebuildSegments(enforcement_pb2.RebuildSegmentsRequest(all=True), timeout=60)
    assert result.serial == 1
    assert result.rebuilt_count > 0
    assert result.duration_seconds > 0
    status = daemon.enforcement.GetStatus(enforcement_pb2.GetStatusRequest())
    assert status.overlay_row_count == 0
    assert status.segment_count > 0
    assert daemon.check(KEY, OWNER) == before
    assert daemon.metric("eir_segments_rebuilt_total") == result.rebuilt_count
    assert daemon.metric("eir_rebuild_duration_seconds_count") == 1
