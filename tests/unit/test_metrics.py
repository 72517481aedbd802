"""Metrics: counted by what code knows, documented, and as promtool wants them."""

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from eir.feed.follower import FeedState
from eir.lists.ledger import Noted
from eir.metrics import MALFORMED, FeedMetrics, Metrics
from eir.notify.backlog import Waiting
from eir.notify.case import State
from eir.notify.census import Overdue
from eir.notify.link import Endpoint, Link
from eir.notify.smpp import Terms
from eir.readiness import Readiness
from eir.verdict import Reason, Status
from eir.whitelist.journal import FeedRecord
from eir.whitelist.store import TableSize

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
IDENTITIES = {"imei", "imsi", "msisdn", "subscriber", "client", "peer", "request_id"}


def filled() -> Metrics:
    """Metrics of a daemon that has seen everything."""
    metrics, readiness = Metrics(), Readiness()
    for reason in Reason:
        metrics.count(Status.GREYLISTED, reason)
    metrics.errors.labels("DELTA_GAP").inc()
    metrics.deltas_refused.labels("DELTA_GAP").inc()
    metrics.set_feeds([FeedRecord("hamta", 7, 3, 1_700_000_000, 1_700_000_100)])
    metrics.set_tables([TableSize("pairs", 10, 60)])
    metrics.set_identity("portable", ["check_listen"], ["check_listen", "http_listen"])
    metrics.set_policy("default", "0" * 64, 1_700_000_000)
    metrics.inquiries.labels("equipment", "found").inc()
    metrics.inquiry_seconds.labels("equipment").observe(0.01)
    metrics.set_readiness(readiness)
    metrics.set_imports({"stolen": Noted({"applied": 2}, {"LIST_GUARD": 1}, 1_700_000_000, 20, 1.5)})
    feed = FeedMetrics(metrics, "hamta")
    feed.refusals("DELTA_GAP").inc()
    feed.show(FeedState.SNAPSHOT, snapshot_needed=True, sequence=9)
    metrics.notices.update(desk(), [Link(Endpoint("main", "", 0, Terms("transceiver", "", ""), 10), print)])
    metrics.notices.show_waiting([Waiting("first", 3, 1_700_000_000, 2)])
    metrics.notices.commit_seconds.observe(0.01)
    return metrics


def desk(**counts: int) -> Any:
    """A desk that has seen some things."""
    moves = Counter({(0, int(State.OPEN)): 5})
    tally = SimpleNamespace(of=lambda cause, state: int(state), moves=moves)
    cases = SimpleNamespace(tally=tally, nbytes=1 << 20)
    counted = Counter({"status_88": 2, "status_1234": 1, "waiting_feed": 4} | counts)
    return SimpleNamespace(
        keeper=SimpleNamespace(cases=cases, counts=counted, held="for a test"),
        census=SimpleNamespace(last=Overdue(1, 2, 3)),
        follower=SimpleNamespace(behind=-1, serial=7),
        watch=SimpleNamespace(why=""),
        complete_until=1_700_000_000,
    )


def test_cases_and_notices_are_shown_as_the_desk_has_them() -> None:
    metrics = filled()
    assert sample(metrics, "eir_cases", cause="never_activated", state="cut_off") == State.CUT_OFF
    assert sample(metrics, "eir_case_transitions_total", **{"from": "none", "to": "open"}) == 5
    assert sample(metrics, "eir_cases_overdue", why="unwarned") == 1
    assert sample(metrics, "eir_notice_submission_errors_total", status="0x58") == 2
    assert sample(metrics, "eir_notice_submission_errors_total", status="other") == 1
    assert sample(metrics, "eir_notices_waiting", stage="first") == 3
    assert sample(metrics, "eir_notices_waiting", stage="last") == 0
    assert sample(metrics, "eir_notices_waiting_without_msisdn") == 2
    assert sample(metrics, "eir_notices_held") == 1
    assert sample(metrics, "eir_smsc_bound", smsc="main") == 0
    metrics.notices.update(desk(waiting_feed=6), [])
    assert sample(metrics, "eir_deadlines_held_back_total", cause="feed") == 6
    assert sample(metrics, "eir_case_transitions_total", **{"from": "none", "to": "open"}) == 5


def sample(metrics: Metrics, metric: str, /, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(metric, labels)


def test_verdicts_are_counted_by_status_and_reason() -> None:
    metrics = Metrics()
    metrics.count(Status.WHITELISTED, Reason.OWNER)
    metrics.count(Status.WHITELISTED, Reason.OWNER, 3)
    assert sample(metrics, "eir_checks_total", status="whitelisted", reason="owner") == 4
    assert sample(metrics, "eir_checks_total", status="whitelisted", reason="utilizer") is None


def test_malformed_identities_are_counted_by_class_and_overridden_blocks_by_themselves() -> None:
    metrics = Metrics()
    metrics.count(Status.GREYLISTED, Reason.MALFORMED_SHORT, 2)
    metrics.count(Status.WHITELISTED, Reason.EXEMPT_PAIR_BLOCKED)
    assert sample(metrics, "eir_malformed_total", **{"class": "malformed_short"}) == 2
    assert sample(metrics, "eir_malformed_total", **{"class": "special_zero"}) == 0
    assert sample(metrics, "eir_block_overrides_total") == 1
    names = {reason.name for reason in MALFORMED}
    assert names == {r.name for r in Reason if r.name.startswith(("MALFORMED_", "SPECIAL_"))} | {
        "IMSI_MALFORMED",
        "IMSI_SHORT",
    }


def test_feeds_and_tables_are_shown_as_they_stand() -> None:
    metrics = filled()
    assert sample(metrics, "eir_feed_sequence", feed="hamta") == 7
    assert sample(metrics, "eir_feed_serial", feed="hamta") == 3
    assert sample(metrics, "eir_feed_complete_until_timestamp_seconds", feed="hamta") == 1_700_000_000
    assert sample(metrics, "eir_feed_applied_timestamp_seconds", feed="hamta") == 1_700_000_100
    assert sample(metrics, "eir_table_rows", table="pairs") == 10
    assert sample(metrics, "eir_table_bytes", table="pairs") == 60


def test_imports_are_counted_as_their_file_says_also_when_it_begins_anew() -> None:
    metrics = Metrics()
    for applied, refused in ((1, 0), (3, 2), (3, 2), (1, 1)):
        noted = Noted({"applied": applied}, {"LIST_GUARD": refused}, 1_700_000_000, 9, 0.5)
        metrics.set_imports({"stolen": noted})
    assert sample(metrics, "eir_imports_total", feed="stolen", outcome="applied") == 4
    assert sample(metrics, "eir_feed_refusals_total", feed="stolen", cause="LIST_GUARD") == 3
    assert sample(metrics, "eir_import_rows", feed="stolen") == 9
    metrics.set_imports({"barred": Noted({"refused": 1}, {}, 0, 0, 0.0)})
    assert sample(metrics, "eir_import_timestamp_seconds", feed="barred") is None, "none was taken yet"


def test_readiness_is_shown_by_condition() -> None:
    metrics, readiness = Metrics(), Readiness()
    metrics.set_readiness(readiness)
    assert sample(metrics, "eir_ready") == 0
    assert sample(metrics, "eir_ready_condition", condition="tables") == 0
    readiness.hold("tables")
    metrics.set_readiness(readiness)
    assert sample(metrics, "eir_ready") == 1
    assert sample(metrics, "eir_ready_condition", condition="tables") == 1


def test_listeners_and_policy_are_shown() -> None:
    metrics = filled()
    assert sample(metrics, "eir_insecure_listener", listener="check_listen") == 1
    assert sample(metrics, "eir_insecure_listener", listener="http_listen") == 0
    metrics.set_policy("other", "1" * 64, 1_700_000_001)
    assert sample(metrics, "eir_policy_info", name="other", hash="1" * 64) == 1
    assert sample(metrics, "eir_policy_info", name="default", hash="0" * 64) is None


def test_a_counter_is_one_series_and_no_second_one_of_its_creation() -> None:
    assert b"_created" not in filled().render()


def test_no_label_can_hold_an_identity() -> None:
    for family in filled().registry.collect():
        for one in family.samples:
            assert not IDENTITIES & set(one.labels), family.name
            assert not any(re.search(r"\d{10}", value) for key, value in one.labels.items() if key != "hash")


def test_promtool_has_nothing_to_say() -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is needed: make peers installs it"
    ended = subprocess.run(
        [promtool, "check", "metrics"], input=filled().render(), capture_output=True, timeout=30
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def rows() -> list[str]:
    """The page's table as the code has it."""
    made = []
    for family in sorted(filled().registry.collect(), key=lambda family: family.name):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = sorted({label for one in family.samples for label in one.labels} - {"le"})
        shown = ", ".join(f"`{label}`" for label in labels)
        made.append(f"| `{name}` | {family.type} | {shown} | {family.documentation} |")
    return made


def test_the_page_lists_every_metric_and_nothing_else() -> None:
    listed = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert listed == rows()
