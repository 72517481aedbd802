"""The table of peers and the plot of latencies say what was saved."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

from bench import report
from bench.peer_report import LATENCIES, figure_name, latencies_of, plot, rows_of
from bench.results import RESULTS, Figure, load
from tests.unit.test_bench_results import RESULT

FIGURES = {
    figure_name("unary, 4 × 16", "Go gRPC", "rate"): Figure(93_000, "checks/s"),
    figure_name("unary, 4 × 16", "portable", "rate"): Figure(1_300, "checks/s"),
    **{
        figure_name("open loop", server, name): Figure(base * 10**place, "µs")
        for server, base in (("Go gRPC", 90.0), ("nghttp2", 60.0))
        for place, name in enumerate(LATENCIES)
    },
    figure_name("open loop", "C++ gRPC", "p50"): Figure(90.0, "µs"),
}


def test_servers_stand_beside_each_other() -> None:
    servers, rows = rows_of(FIGURES)
    assert servers == ["portable", "Go gRPC", "C++ gRPC", "nghttp2"]
    assert list(rows[("unary, 4 × 16", "rate")]) == ["Go gRPC", "portable"]
    text = report.page([replace(RESULT, bench="peers", figures=FIGURES)])
    assert "| unary, 4 × 16: rate | 1,300 checks/s | 93,000 checks/s | – | – |" in text
    assert "latency.svg" in text


def test_the_plot_has_every_server_with_a_whole_curve() -> None:
    curves = latencies_of(FIGURES)
    assert list(curves) == ["Go gRPC", "nghttp2"]
    drawn = ET.fromstring(plot(curves))
    lines = drawn.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 2
    heights = [float(point.split(",")[1]) for point in lines[0].attrib["points"].split()]
    assert heights == sorted(heights, reverse=True)


def test_the_committed_plot_is_what_the_saved_results_generate() -> None:
    drawn = report.plot(load(RESULTS))
    assert (report.PLOT.read_text() if report.PLOT.exists() else None) == drawn, "run `make docs`"
