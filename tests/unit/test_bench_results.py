"""Published figures come from saved results, and from nowhere else."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench import report
from bench.results import RESULTS, Figure, Result, load, median, save

RESULT = Result(
    bench="lookup",
    population="P1",
    registered=3_000_000,
    commit="0123456789ab",
    date="2026-01-02T03:04:05+00:00",
    machine={"cpu": "A CPU", "cores": 2, "memory_gib": 24, "kernel": "6.1"},
    versions={"eir": "1.0"},
    figures={"owner matches": Figure(371.4, "ns", (360.0, 371.4, 400.0))},
)


def test_the_page_is_what_the_saved_results_generate() -> None:
    assert report.PAGE.read_text() == report.page(load(RESULTS)), "run `make docs`"


def test_saved_results_come_back(tmp_path) -> None:
    path = tmp_path / "results.jsonl"
    assert load(path) == []
    figures = {"rate": median([3.0, 1.0, 2.0], "M/s"), "memory": Figure(5, "bytes")}
    saved = [save("build", name, 1_000, figures, path) for name in ("P1", "P2")]
    assert load(path) == saved
    assert saved[0].figures["rate"] == Figure(2.0, "M/s", (3.0, 1.0, 2.0))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["figures"]["memory"] == {"value": 5, "unit": "bytes"}
    assert {"cpu", "cores", "memory_gib", "kernel"} == set(lines[0]["machine"])
    assert {"eir", "python", "numpy", "grpcio"} <= set(lines[0]["versions"])
    assert lines[0]["date"].endswith("+00:00")


def test_the_page_shows_the_latest_by_benchmark_population_and_size() -> None:
    newer = replace(RESULT, figures={"owner matches": Figure(250, "ns")})
    other = replace(RESULT, population="P2", figures={"wrong IMSI": Figure(1234.5, "ns")})
    small = replace(RESULT, registered=30_000)
    text = report.page([RESULT, other, small, newer])
    assert "| | P1, 30 k | P1, 3 M | P2, 3 M |".replace("| |", "|  |") in text
    assert "| owner matches | 371 ns (360–400) | 250 ns | – |" in text
    assert "| wrong IMSI | – | – | 1,234 ns |" in text
    assert text.count("0123456789ab") == 1
    assert "Look-up and verdict" in text


def test_a_page_without_results_says_so() -> None:
    assert "Nothing has been measured yet" in report.page([])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.01234, "0.0123"), (4.884, "4.88"), (99.96, "100"), (1234567.8, "1,234,568")],
)
def test_numbers_have_three_significant_digits(value: float, text: str) -> None:
    assert report.number(value) == text


@pytest.mark.parametrize(("count", "text"), [(300_000_000, "300 M"), (12_000, "12 k"), (1_234, "1,234")])
def test_sizes_are_short_where_they_are_round(count: int, text: str) -> None:
    assert report.size(count) == text
