"""The table of budgets says what was saved, and whether it keeps the budget."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import report
from bench.budget_report import BUDGETS, FULL_SIZE, rows_of
from bench.results import Figure, Result
from tests.unit.test_bench_results import RESULT


def saved(bench: str, **figures: float) -> Result:
    named = {name.replace("_", " "): Figure(value, "") for name, value in figures.items()}
    versions = {"engine": "native 1"}
    return replace(RESULT, bench=bench, registered=FULL_SIZE, versions=versions, figures=named)


def cells(*results: Result) -> dict[str, str]:
    return {row[0]: row[2] for row in rows_of(results)[1]}


def test_a_value_is_shown_with_whether_it_is_met() -> None:
    lookup = {"native, alone, p50": 560, "a random read of memory": 143, "native, back to back": 401}
    table = cells(replace(saved("lookup"), figures={name: Figure(one, "ns") for name, one in lookup.items()}))
    assert table["facts and verdict, back to back, none known ahead"] == "401 ns, **missed**"
    assert table["facts and verdict alone, p50, by a random read"] == "3.92 ×, met"
    assert table["two threads by one, by CPU time"] == "–"


def test_the_p99_while_tables_change_may_follow_that_at_rest() -> None:
    figures = {
        "20,000/s, at rest: p99": Figure(900, "µs"),
        "20,000/s, 5 M rows applied, segments rebuilt: p99": Figure(1_340, "µs"),
    }
    table = cells(replace(saved("under_load"), figures=figures))
    name = "unary, open loop 20,000/s, 5 M rows applied, segments rebuilt: p99"
    assert table[name] == "1,340 µs, met"


@pytest.mark.parametrize(
    ("limit", "shown"), [(94, "1.8 ×, **missed** (nghttp2: 1.88 ×)"), (101, "1.8 ×, **missed**")]
)
def test_a_rate_that_the_limit_misses_too_is_shown_beside_it(limit: float, shown: str) -> None:
    rates = {"native": 90.0, "Go gRPC": 50.0, "nghttp2": limit}
    figures = {f"unary, 64 × 1; {name}; rate": Figure(one, "checks/s") for name, one in rates.items()}
    table = cells(replace(saved("peers"), figures=figures))
    assert table["unary, 64 × 1: rate by that of Go gRPC"] == shown
    del figures["unary, 64 × 1; nghttp2; rate"]
    table = cells(replace(saved("peers"), figures=figures))
    assert table["unary, 64 × 1: rate by that of Go gRPC"] == "1.8 ×, **missed**"


def test_the_slowest_restart_counts() -> None:
    assert cells(saved("restart", warm=1.5, cold=3.1))["restart to ready, the slowest kind"].endswith(
        "missed**"
    )


@pytest.mark.parametrize("change", [{"registered": 1_000}, {"versions": {"engine": "portable"}}])
def test_other_sizes_and_engines_are_left_out(change: dict[str, object]) -> None:
    assert rows_of([replace(saved("lookup"), **change)])[0] == []


def test_the_page_begins_with_the_budgets() -> None:
    text = report.page([saved("threads", **{"two against one, by CPU time": 1.9})])
    assert "| two threads by one, by CPU time | ≥ 1.8 × | 1.9 ×, met |" in text
    assert all(budget.what in text for budget in BUDGETS)
