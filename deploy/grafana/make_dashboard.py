"""Makes the dashboard from the table below: `make docs` writes dashboard.json beside this file.

A row has a title and panels; a panel a title, a unit, and expressions with what
each line is called. Everything is of the chosen daemons (`$instance`).
"""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_name("dashboard.json")
ONE = '{instance=~"$instance"}'
COLUMNS, ROW_PANELS, HEIGHT = 24, 4, 7


class Panel(NamedTuple):
    """A panel; `lines` are expressions and their legends. `kind` is stat or timeseries."""

    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]
    kind: str = "timeseries"


def rate(metric: str, by: str, where: str = "") -> str:
    """Return a rate, summed by a label."""
    labels = f'instance=~"$instance"{"," if where else ""}{where}'
    return f"sum by ({by}) (rate({metric}{{{labels}}}[$__rate_interval]))"


def age(metric: str) -> str:
    """Return how long ago a timestamp is; 0 means never."""
    return f"time() - ({metric}{ONE} > 0)"


def quantile(share: str, metric: str, by: str = "instance") -> str:
    """Return a quantile of a histogram."""
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', f'{by}, le')})"


def gauge(metric: str, legend: str = "{{instance}}") -> tuple[str, str]:
    """Return a line of a gauge as it is."""
    return f"{metric}{ONE}", legend


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Now",
        (
            Panel("Ready", "bool_yes_no", (gauge("eir_ready"),), "stat"),
            Panel("Engine, version", "none", (gauge("eir_build_info", "{{engine}} {{version}}"),), "stat"),
            Panel("Override", "bool_on_off", (gauge("eir_override_active"),), "stat"),
            Panel("Notices held", "bool_yes_no", (gauge("eir_notices_held"),), "stat"),
            Panel("Tables stale", "bool_yes_no", (gauge("eir_tables_stale"),), "stat"),
            Panel("Policy", "none", (gauge("eir_policy_info", "{{name}} {{hash}}"),), "stat"),
            Panel(
                "Plain text beyond loopback",
                "none",
                (gauge("eir_insecure_listener", "{{listener}}"),),
                "stat",
            ),
            Panel(
                "Conditions that fail", "none", ((f"eir_ready_condition{ONE} == 0", "{{condition}}"),), "stat"
            ),
        ),
    ),
    (
        "Checks",
        (
            Panel("Checks, by status", "reqps", ((rate("eir_checks_total", "status"), "{{status}}"),)),
            Panel(
                "Denials, by reason",
                "reqps",
                ((rate("eir_checks_total", "reason", 'status="blacklisted"'), "{{reason}}"),),
            ),
            Panel(
                "Grey and unknown, by reason",
                "reqps",
                ((rate("eir_checks_total", "reason", 'status=~"greylisted|unknown"'), "{{reason}}"),),
            ),
            Panel(
                "Time of a check",
                "s",
                tuple(
                    (quantile(q, "eir_check_duration_seconds"), f"{{{{instance}}}} {q}")
                    for q in ("0.5", "0.99")
                ),
            ),
            Panel("Connections", "none", (gauge("eir_check_connections"),)),
            Panel(
                "Refused by bounds",
                "ops",
                (
                    (rate("eir_check_calls_refused_total", "cause"), "call {{cause}}"),
                    (rate("eir_check_connections_closed_total", "cause"), "connection {{cause}}"),
                ),
            ),
            Panel("Errors", "ops", ((rate("eir_rpc_errors_total", "reason"), "{{reason}}"),)),
            Panel("Malformed identities", "ops", ((rate("eir_malformed_total", "class"), "{{class}}"),)),
        ),
    ),
    (
        "Feeds",
        (
            Panel(
                "Complete until, ago",
                "s",
                ((age("eir_feed_complete_until_timestamp_seconds"), "{{instance}} {{feed}}"),),
            ),
            Panel(
                "Last delta, ago",
                "s",
                ((age("eir_feed_applied_timestamp_seconds"), "{{instance}} {{feed}}"),),
            ),
            Panel("Sequence", "none", (gauge("eir_feed_sequence", "{{instance}} {{feed}}"),)),
            Panel("State", "none", ((f"eir_feed_state{ONE} == 1", "{{instance}} {{feed}} {{state}}"),)),
            Panel("Behind the stream", "s", (gauge("eir_feed_lag_seconds", "{{instance}} {{feed}}"),)),
            Panel(
                "Deltas",
                "ops",
                (
                    (rate("eir_deltas_applied_total", "instance"), "applied {{instance}}"),
                    (rate("eir_deltas_refused_total", "reason"), "refused {{reason}}"),
                    (rate("eir_guard_trips_total", "instance"), "guard {{instance}}"),
                ),
            ),
            Panel(
                "Commit to publication",
                "s",
                ((quantile("0.99", "eir_delta_commit_duration_seconds"), "{{instance}} 0.99"),),
            ),
            Panel("Lists taken, ago", "s", ((age("eir_import_timestamp_seconds"), "{{instance}} {{feed}}"),)),
        ),
    ),
    (
        "Tables and storage",
        (
            Panel("Rows", "short", (gauge("eir_table_rows", "{{instance}} {{table}}"),)),
            Panel("Memory of tables", "bytes", (gauge("eir_table_bytes", "{{instance}} {{table}}"),)),
            Panel("Memory of the process", "bytes", (gauge("process_resident_memory_bytes"),)),
            Panel(
                "Processor", "percentunit", ((rate("process_cpu_seconds_total", "instance"), "{{instance}}"),)
            ),
            Panel("Rows above the segments", "short", (gauge("eir_overlay_rows"),)),
            Panel("Rebuilding", "bool_yes_no", (gauge("eir_rebuild_running"),)),
            Panel("Free disk", "bytes", (gauge("eir_disk_free_bytes"),)),
            Panel(
                "Dropped",
                "ops",
                (
                    (rate("eir_decisions_dropped_total", "cause"), "decisions {{cause}}"),
                    (rate("eir_sightings_total", "instance", 'result="dropped"'), "sightings {{instance}}"),
                ),
            ),
        ),
    ),
    (
        "Cases and notices",
        (
            Panel("Cases", "short", ((f"sum by (cause, state) (eir_cases{ONE})", "{{cause}} {{state}}"),)),
            Panel(
                "Opened, resolved, cut off",
                "ops",
                ((rate("eir_case_transitions_total", "from, to"), "{{from}} to {{to}}"),),
            ),
            Panel(
                "Overdue",
                "short",
                (
                    gauge("eir_cases_overdue", "{{instance}} {{why}}"),
                    gauge("eir_cases_unwarned", "{{instance}} unwarned, all"),
                ),
            ),
            Panel(
                "Deadlines held back", "ops", ((rate("eir_deadlines_held_back_total", "cause"), "{{cause}}"),)
            ),
            Panel("Notices accepted", "ops", ((rate("eir_notices_accepted_total", "stage"), "{{stage}}"),)),
            Panel(
                "Notices that wait",
                "short",
                (
                    gauge("eir_notices_waiting", "{{instance}} {{stage}}"),
                    gauge("eir_notices_waiting_without_msisdn", "{{instance}} without number"),
                ),
            ),
            Panel(
                "Oldest due, ago", "s", ((age("eir_notices_oldest_due_timestamp_seconds"), "{{instance}}"),)
            ),
            Panel("SMSC bound", "bool_yes_no", (gauge("eir_smsc_bound", "{{instance}} {{smsc}}"),)),
            Panel(
                "Submissions without answer",
                "short",
                (gauge("eir_smsc_window_parts", "{{instance}} {{smsc}}"),),
            ),
            Panel(
                "Refused submissions",
                "ops",
                ((rate("eir_notice_submission_errors_total", "status"), "{{status}}"),),
            ),
            Panel("Receipts", "ops", ((rate("eir_notice_receipts_total", "outcome"), "{{outcome}}"),)),
            Panel(
                "Group",
                "short",
                (
                    (f"eir_group_state{ONE} == 1", "{{instance}} {{state}}"),
                    gauge("eir_group_daemons", "{{instance}} daemons"),
                ),
            ),
        ),
    ),
)


def target(reference: str, expression: str, legend: str, *, instant: bool) -> dict[str, object]:
    """Return one line of a panel."""
    return {
        "refId": reference,
        "expr": expression,
        "legendFormat": legend,
        "instant": instant,
        "range": not instant,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
    }


def drawn(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    """Return a panel at its place."""
    is_stat = panel.kind == "stat"
    lines = [
        target(chr(ord("A") + index), expression, legend, instant=is_stat)
        for index, (expression, legend) in enumerate(panel.lines)
    ]
    options: dict[str, Any] = (
        {"reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "value_and_name", "colorMode": "none"}
        if is_stat
        else {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
    )
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"x": x, "y": y, "w": COLUMNS // ROW_PANELS, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": options,
        "targets": lines,
    }


def panels() -> list[dict[str, Any]]:
    """Return all rows and panels, at their places."""
    made: list[dict[str, Any]] = []
    numbers, y = count(1), 0
    for title, row in ROWS:
        grid = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        made.append(
            {
                "id": next(numbers),
                "type": "row",
                "title": title,
                "gridPos": grid,
                "collapsed": False,
                "panels": [],
            }
        )
        y += 1
        for at, panel in enumerate(row):
            x = at % ROW_PANELS * (COLUMNS // ROW_PANELS)
            made.append(drawn(next(numbers), panel, x, y + at // ROW_PANELS * HEIGHT))
        y += -(-len(row) // ROW_PANELS) * HEIGHT
    return made


def dashboard() -> dict[str, Any]:
    """Return the whole dashboard, as Grafana imports it."""
    prometheus = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "uid": "network-eir",
        "title": "Network EIR",
        "tags": ["eir"],
        "schemaVersion": 38,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                {
                    "name": "instance",
                    "type": "query",
                    "datasource": prometheus,
                    "query": {"query": "label_values(eir_build_info, instance)", "refId": "instances"},
                    "refresh": 2,
                    "multi": True,
                    "includeAll": True,
                    "allValue": ".+",
                    "current": {"text": "All", "value": "$__all"},
                },
            ]
        },
        "annotations": {
            "list": [
                {
                    "name": "Policies",
                    "datasource": prometheus,
                    "enable": True,
                    "iconColor": "blue",
                    "expr": f"changes(eir_policy_since_timestamp_seconds{ONE}[1m]) > 0",
                    "titleFormat": "another policy at {{instance}}",
                }
            ]
        },
        "panels": panels(),
    }


def text() -> str:
    """Return the file's text."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
