"""The dashboard: generated, of metrics that exist, in an order that Grafana can draw."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from monitoring import DEPLOY, known, parses, unknown

MADE = runpy.run_path(str(DEPLOY / "grafana" / "make_dashboard.py"))
DASHBOARD: dict[str, Any] = MADE["dashboard"]()
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
KNOWN = known()


def expressions() -> list[str]:
    """What the panels and annotations ask, as Grafana would send it."""
    asked = [target["expr"] for panel in PANELS for target in panel["targets"]]
    asked += [one["expr"] for one in DASHBOARD["annotations"]["list"]]
    return [text.replace("$__rate_interval", "1m").replace("$instance", ".+") for text in asked]


def test_the_file_is_what_make_docs_writes() -> None:
    assert (DEPLOY / "grafana" / "dashboard.json").read_text() == MADE["text"]()


def test_prometheus_reads_every_expression(tmp_path: Path) -> None:
    parses(tmp_path, expressions())


def test_every_metric_is_one_of_the_daemon_with_these_labels() -> None:
    for expression in expressions():
        assert "eir_" in expression or "process_" in expression
        assert not unknown(expression, KNOWN), expression


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_legends_name_labels_that_their_lines_have(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        grouped = re.findall(r"by \(([^)]*)\)", target["expr"])
        metric = re.findall(r"(?:eir|process)_\w+", target["expr"])[0]
        labels = set(grouped[0].split(", ")) - {"le"} if grouped else {"instance", *KNOWN[metric]}
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels


def test_panels_have_numbers_of_their_own_and_lie_beside_each_other() -> None:
    every = DASHBOARD["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    taken: set[tuple[int, int]] = set()
    for panel in every:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
