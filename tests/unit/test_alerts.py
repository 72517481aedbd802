"""Alerts: promtool reads them; each fires when it should and not before, and has a section in the runbook."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from monitoring import RECORDED, RULE_FILES, TARGET, alerts, known, promtool, rules, selectors, unknown

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
ALERTS = alerts()
KNOWN = known()
DAY = 24 * 60
NEVER = -1
OF_ALL = {"EirNoneUp", "EirPoliciesDiffer", "EirFeedsDiffer"}
"""Alerts over all daemons: each of their cases needs a Prometheus of its own."""


@dataclass
class Case:
    """Series by name, as promtool writes them; minutes at which the alert does not fire yet, and fires."""

    alert: str
    series: dict[str, str]
    quiet: int
    fires: int = NEVER
    step: int = 1
    """Minutes between samples."""


def steady(alert: str, metric: str, *, before: int, after: int, waits: int = 0, **labels: str) -> Case:
    """A gauge or counter that changes at minute 6, for an alert that waits some minutes more."""
    wanted = ",".join(f'{label}="{value}"' for label, value in labels.items())
    series = f"{metric}{{{wanted}}}"
    return Case(alert, {series: f"{before}x5 {after}x90"}, 5 + waits, 6 + waits)


CHECKS, CONDITION = "eir_checks_total", "eir_ready_condition"
BUCKET = 'eir_check_duration_seconds_bucket{method="unary",le="%s"}'
INQUIRED = 'eir_inquiry_duration_seconds_bucket{form="%s",le="%s"}'
TRIAL = 'eir_policy_trial_checks_total{result="%s"}'
HELD_BACK = 'eir_cases_overdue{why="held_back"}'

CASES = [
    steady("EirDown", "up", before=1, after=0, waits=1),
    steady("EirNoneUp", "up", before=1, after=0, waits=1),
    steady("EirNotReady", "eir_ready", before=1, after=0, waits=2),
    Case("EirRestarts", {"process_start_time_seconds{}": "1x4 2x4 3x4 4x20"}, 14, 15),
    Case("EirEnginePortable", {'eir_build_info{engine="portable"}': "1x20"}, 4, 5),
    Case("EirEnginePortable", {'eir_build_info{engine="native"}': "1x20"}, 20),
    Case(
        "EirChecksSlow",
        {
            BUCKET % "0.001": "0+50x40",
            BUCKET % "0.005": "0+100x40",
            BUCKET % "+Inf": "0+100x40",
            f'{CHECKS}{{status="whitelisted"}}': "0+120x40",
        },
        10,
        16,
    ),
    Case(
        "EirChecksSlow",
        {
            BUCKET % "0.001": "0+100x40",
            BUCKET % "0.005": "0+100x40",
            BUCKET % "+Inf": "0+100x40",
            f'{CHECKS}{{status="whitelisted"}}': "0+120x40",
        },
        40,
    ),
    Case("EirChecksStopped", {f'{CHECKS}{{status="whitelisted"}}': "0+1200x70 84000x40"}, 80, 90),
    Case("EirChecksStopped", {f'{CHECKS}{{status="whitelisted"}}': "0+1200x110"}, 110),
    Case(
        "EirDenialsJump",
        {
            f'{CHECKS}{{status="whitelisted"}}': "0+1198x800",
            f'{CHECKS}{{status="blacklisted"}}': "0+2x720 1440+30x80",
        },
        DAY - 5,
        DAY + 30,
        step=2,
    ),
    Case(
        "EirDenialsJump",
        {
            f'{CHECKS}{{status="whitelisted"}}': "0+1198x800",
            f'{CHECKS}{{status="blacklisted"}}': "0+2x720 1440+4x80",
        },
        DAY + 30,
        step=2,
    ),
    Case(
        "EirDenialsHigh",
        {
            f'{CHECKS}{{status="whitelisted"}}': "0+900x30",
            f'{CHECKS}{{status="blacklisted"}}': "0+100x30",
        },
        5,
        7,
    ),
    Case(
        "EirDenialsHigh",
        {f'{CHECKS}{{status="whitelisted"}}': "0+9x30", f'{CHECKS}{{status="blacklisted"}}': "0+1x30"},
        30,
    ),
    Case("EirBug", {'eir_rpc_errors_total{reason="INTERNAL"}': "_x6 1x40"}, 5, 6),
    Case("EirBug", {'eir_rpc_errors_total{reason="INTERNAL"}': "1x20 2x20"}, 20, 21),
    Case("EirBug", {'eir_rpc_errors_total{reason="DELTA_GAP"}': "0x5 1x20"}, 6),
    steady("EirBug", "eir_check_panics_total", before=0, after=1),
    steady("EirConnectionsFull", "eir_check_connections_closed_total", before=0, after=3, cause="too_many"),
    Case("EirCallsRefused", {'eir_check_calls_refused_total{cause="calls"}': "0+120x20"}, 5, 12),
    Case("EirPeerMisbehaves", {'eir_check_connections_closed_total{cause="flood"}': "0+12x40"}, 10, 22),
    Case("EirPeerMisbehaves", {'eir_check_connections_closed_total{cause="too_many"}': "0+12x40"}, 40),
    Case("EirFilesNearlyOut", {"process_open_fds{}": "900x20", "process_max_fds{}": "1000x20"}, 4, 5),
    steady("EirOverrideActive", "eir_override_active", before=0, after=1),
    steady("EirPolicyRefused", "eir_policy_refused", before=0, after=1),
    Case("EirPoliciesDiffer", {f'eir_policy_info{{hash="{one}"}}': "1x60" for one in "ab"}, 29, 30),
    Case("EirPoliciesDiffer", {f'eir_policy_info{{hash="a",instance="{one}"}}': "1x60" for one in "ab"}, 60),
    Case("EirTrialChanges", {TRIAL % "same": "0+90x40", TRIAL % "changed": "0+10x40"}, 10, 12),
    Case("EirTrialLeavesOut", {TRIAL % "same": "0+50x40", TRIAL % "left_out": "0+50x40"}, 10, 12),
    Case("EirManyInquiries", {'eir_inquiries_total{form="subscriber"}': "0+6000x20"}, 5, 12),
    Case("EirManyInquiries", {'eir_inquiries_total{form="status"}': "0+6000x20"}, 20),
    Case(
        "EirInquiriesSlow",
        {INQUIRED % ("status", "0.1"): "0+9x40", INQUIRED % ("status", "+Inf"): "0+9x40"},
        15,
        17,
    ),
    Case(
        "EirInquiriesSlow",
        {INQUIRED % ("history", "0.1"): "0+9x40", INQUIRED % ("history", "+Inf"): "0+9x40"},
        40,
    ),
    steady("EirTablesStale", "eir_tables_stale", before=0, after=1, waits=5),
    steady("EirFeedRefused", "eir_feed_state", before=0, after=1, waits=1, state="refused"),
    steady("EirFeedSnapshotNeeded", "eir_feed_snapshot_needed", before=0, after=1, waits=2),
    steady("EirFeedWaits", "eir_feed_state", before=0, after=1, waits=5, state="waiting"),
    steady("EirFeedAway", "eir_feed_connected", before=1, after=0, waits=5),
    steady("EirFeedLags", "eir_feed_lag_seconds", before=0, after=90, waits=5),
    Case("EirFeedSilent", {"eir_feed_complete_until_timestamp_seconds{}": "60x100"}, 66, 67),
    Case("EirFeedSilent", {"eir_feed_complete_until_timestamp_seconds{}": "0x100"}, 90),
    Case("EirFeedGap", {"eir_feed_gaps_total{}": "_x6 1x20"}, 5, 6),
    steady("EirFeedGap", "eir_feed_gaps_total", before=0, after=1),
    Case("EirFeedsDiffer", {f'eir_feed_sequence{{instance="{one}"}}': f"{one}x20" for one in "45"}, 14, 15),
    steady("EirGuardTripped", "eir_guard_trips_total", before=0, after=1),
    Case("EirDeltasRefused", {'eir_deltas_refused_total{reason="DELTA_GAP"}': "_x6 1x20"}, 5, 6),
    Case("EirDeltasRefused", {'eir_deltas_refused_total{reason="DELTA_GAP"}': "2x20 3x20"}, 20, 21),
    Case("EirMessagesRefused", {'eir_feed_refusals_total{cause="CHUNK"}': "_x6 1x20"}, 5, 6),
    Case("EirMessagesRefused", {'eir_feed_refusals_total{cause="CHUNK"}': "3x40"}, 30),
    steady("EirFeedAhead", "eir_feed_ahead_total", before=0, after=1),
    Case("EirListRefused", {'eir_imports_total{outcome="refused"}': "_x6 1x20"}, 5, 6),
    Case("EirListRefused", {'eir_imports_total{outcome="applied"}': "_x6 1x20"}, 6),
    Case("EirListMissing", {"eir_import_timestamp_seconds{}": "60x200"}, 2 * DAY, 2 * DAY + 15, step=15),
    Case("EirPushesQueue", {"eir_pushes_waiting{}": "0x5 4x20"}, 15, 16),
    steady("EirRowsIgnored", "eir_delta_rows_ignored_total", before=0, after=2000),
    steady("EirStorageFails", CONDITION, before=1, after=0, waits=1, condition="storage"),
    Case("EirDiskFills", {"eir_disk_free_bytes{}": "50x5 5x20", "eir_disk_bytes{}": "100x30"}, 10, 11),
    Case("EirDiskFills", {"eir_disk_free_bytes{}": "0x20", "eir_disk_bytes{}": "0x20"}, 20),
    steady("EirRebuildFails", "eir_rebuild_failures_total", before=0, after=1),
    steady("EirOverlayLarge", "eir_overlay_rows", before=1000000, after=5000000, waits=15),
    steady("EirJournalLogGrows", "eir_journal_wal_pages", before=0, after=200000, waits=15),
    steady("EirSegmentsRecovered", "eir_segments_recovered", before=0, after=1),
    Case("EirUpkeepFails", {"eir_upkeep_failures_total{}": "0x5 1 2 3 4x10"}, 6, 8),
    steady("EirDecisionsDropped", "eir_decisions_dropped_total", before=0, after=1, cause="disk"),
    steady("EirSightingsDropped", "eir_sightings_total", before=0, after=1, result="dropped"),
    steady("EirNoticesHeld", "eir_notices_held", before=0, after=1),
    steady("EirClockDoubtful", "eir_clock_doubtful", before=0, after=1, waits=2),
    steady("EirCasesUnavailable", CONDITION, before=1, after=0, waits=2, condition="cases"),
    steady("EirSmscUnbound", "eir_smsc_bound", before=1, after=0, waits=5),
    Case(
        "EirNoSmscBound", {'eir_smsc_bound{smsc="a"}': "1x5 0x20", 'eir_smsc_bound{smsc="b"}': "0x30"}, 15, 16
    ),
    Case("EirNoSmscBound", {'eir_smsc_bound{smsc="a"}': "1x30", 'eir_smsc_bound{smsc="b"}': "0x30"}, 30),
    steady("EirBindsRefused", "eir_smsc_binds_refused_total", before=0, after=1),
    Case("EirSmscThrottles", {"eir_smsc_throttled_total{}": "0+12x60"}, 30, 42),
    Case("EirNoticesLate", {"eir_notices_oldest_due_timestamp_seconds{}": "60x100"}, 71, 72),
    Case("EirNoticesLate", {"eir_notices_oldest_due_timestamp_seconds{}": "0x100"}, 90),
    Case("EirNoticesWithoutNumber", {"eir_notices_waiting_without_msisdn{}": "2000x80"}, 59, 60),
    Case("EirSubmissionsRefused", {'eir_notice_submission_errors_total{status="0x0b"}': "0+60x30"}, 10, 22),
    steady("EirSenderFails", "eir_notices_sender_failures_total", before=0, after=1),
    steady("EirNoticesRepeated", "eir_notices_repeated_total", before=0, after=1),
    steady("EirDeadlinesUnwarned", "eir_cases_overdue", before=0, after=3, waits=60, why="unwarned"),
    Case("EirDeadlinesHeldBack", {HELD_BACK: "5x140"}, DAY + 45, DAY + 75, step=15),
    Case("EirDeadlinesHeldBack", {HELD_BACK: "5x60 0 5x60"}, DAY + 90, step=15),
    Case("EirDeadlinesWaitForFeed", {'eir_deadlines_held_back_total{cause="feed"}': "0+10x60"}, 30, 32),
    Case("EirDeadlinesWaitForFeed", {'eir_deadlines_held_back_total{cause="hours"}': "0+10x60"}, 60),
    steady("EirCasesCrowded", "eir_cases_crowded_total", before=0, after=1),
    Case("EirCasesBehind", {"eir_cases_deltas_behind{}": "0x5 9x30"}, 20, 21),
    steady("EirGroupApart", "eir_group_state", before=0, after=1, waits=5, state="away"),
    Case("EirGroupSmaller", {"eir_group_daemons{}": "3x5 2x30"}, 20, 21),
    steady("EirGroupFails", "eir_group_events_total", before=0, after=1, waits=5, event="failures"),
    Case("EirForwardingFails", {'eir_forwarded_sightings_total{result="failed"}': "0+1x30"}, 10, 12),
]


def of_target(series: str, instance: str) -> str:
    """A series with the labels that Prometheus adds."""
    name, _, labels = series.rstrip("}").partition("{")
    given = [label for label in labels.split(",") if label]
    if "instance" not in labels:
        given.append(f'instance="{instance}"')
    return f'{name}{{job="eir",{",".join(given)}}}'


def as_promtool(cases: list[Case]) -> dict[str, object]:
    """Cases as one test of promtool, each an instance of its own: how many of its alert fire at a minute."""
    series, asked = [], []
    for number, case in enumerate(cases):
        for name, values in case.series.items():
            series.append({"series": of_target(name, str(number)), "values": values})
        own = "" if case.alert in OF_ALL else f',instance="{number}"'
        firing = f'ALERTS{{alertname="{case.alert}",alertstate="firing"{own}}}'
        moments = [(case.quiet, 0)] + ([(case.fires, 1)] if case.fires != NEVER else [])
        asked += [
            {
                "expr": f"count({firing}) or vector(0)",
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": "{}", "value": count}],
            }
            for minute, count in moments
        ]
    return {"interval": f"{cases[0].step}m", "input_series": series, "promql_expr_test": asked}


@pytest.mark.parametrize(("step", "evaluated"), [(1, 1), (2, 5), (15, 15)])
def test_alerts_fire_when_they_should_and_not_before(tmp_path: Path, step: int, evaluated: int) -> None:
    cases = [case for case in CASES if case.step == step]
    groups = [[case for case in cases if case.alert not in OF_ALL]]
    groups += [[case] for case in cases if case.alert in OF_ALL]
    made = {
        "rule_files": [str(path) for path in RULE_FILES],
        "evaluation_interval": f"{evaluated}m",
        "tests": [as_promtool(group) for group in groups],
    }
    path = tmp_path / "alerts.yml"
    path.write_text(json.dumps(made))
    assert "SUCCESS" in promtool("test", "rules", path)


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    assert {case.alert for case in CASES if case.fires != NEVER} == set(ALERTS)


def test_promtool_reads_the_rules_and_the_configuration() -> None:
    promtool("check", "rules", *RULE_FILES)
    promtool("check", "config", ROOT / "deploy" / "prometheus" / "prometheus.yml")


def test_every_metric_of_a_rule_is_one_of_the_daemon_with_these_labels() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        assert not unknown(rule["expr"], KNOWN), rule
        assert set(RECORDED.findall(rule["expr"])) <= recorded, rule


def labels_of(expression: str) -> set[str]:
    """Labels that an alert of an expression has."""
    if grouped := re.findall(r"\bby \(([^)]*)\)", expression):
        return set(re.split(r",\s*", grouped[0])) - {"le"}
    return TARGET.union(*(KNOWN[one.metric] for one in selectors(expression)))


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_where_and_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{alert.lower()}"
    assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= labels_of(rule["expr"])


def test_the_runbook_has_a_section_for_each_alert_and_no_other() -> None:
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^#|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(ALERTS)
    for alert, text in sections.items():
        assert {"**Means**", "**Look**", "**Do**"} <= set(re.findall(r"\*\*\w+\*\*", text)), alert
