"""The table of peers and the plot of latencies, from saved figures. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.results import Figure

PEERS = ("native", "portable", "Go gRPC", "C++ gRPC", "nghttp2")
"""Servers, in the order of the columns."""
LATENCIES = ("p50", "p90", "p99", "p99.9", "p99.99")
COLOURS = dict(zip(PEERS, ("#0b6e4f", "#b8860b", "#2066a8", "#a03060", "#777777"), strict=True))
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 380, 70, 45, 20, 120
SEPARATOR = "; "


def figure_name(workload: str, server: str, measure: str) -> str:
    """Name of a figure: what was asked, of whom, and what was measured."""
    return SEPARATOR.join((workload, server, measure))


def rows_of(figures: Mapping[str, Figure]) -> tuple[list[str], dict[tuple[str, str], dict[str, Figure]]]:
    """Return servers measured, and for each workload and measure the figures by server."""
    out: dict[tuple[str, str], dict[str, Figure]] = {}
    for name, figure in figures.items():
        workload, server, measure = name.split(SEPARATOR)
        out.setdefault((workload, measure), {})[server] = figure
    measured = {server for by_server in out.values() for server in by_server}
    return [server for server in PEERS if server in measured], out


def latencies_of(figures: Mapping[str, Figure]) -> dict[str, list[float]]:
    """Latencies of the open loop by server, in microseconds."""
    servers, rows = rows_of(figures)
    found: dict[str, list[float]] = {}
    for (_, measure), by_server in rows.items():
        if measure in LATENCIES:
            for server in servers:
                if server in by_server:
                    found.setdefault(server, []).append(by_server[server].value)
    return {server: values for server, values in found.items() if len(values) == len(LATENCIES)}


def plot(curves: Mapping[str, Sequence[float]]) -> str:
    """Draw latencies by percentile, both on logarithmic scales, as SVG."""
    values = [value for curve in curves.values() for value in curve]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(place: int) -> float:
        return LEFT + inner_width * place / (len(LATENCIES) - 1)

    def y(value: float) -> float:
        return TOP + inner_height * (1 - (math.log10(value) - low) / max(high - low, 1))

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for power in range(low, high + 1):
        height = y(10**power)
        out.append(
            f'<path d="M{LEFT} {height:.1f}h{inner_width}" stroke="#ddd"/>'
            f'<text x="{LEFT - 8}" y="{height + 4:.1f}" text-anchor="end">{10**power:,} µs</text>'
        )
    for place, name in enumerate(LATENCIES):
        out.append(f'<text x="{x(place):.1f}" y="{HEIGHT - 22}" text-anchor="middle">{name}</text>')
    for server, curve in curves.items():
        points = " ".join(f"{x(place):.1f},{y(value):.1f}" for place, value in enumerate(curve))
        out.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[server]}" stroke-width="2"/>')
    ends = sorted(curves, key=lambda server: y(curves[server][-1]))
    height = 0.0
    for server in ends:
        height = max(y(curves[server][-1]) + 4, height + 15)  # names do not cover each other
        out.append(f'<text x="{WIDTH - RIGHT + 8}" y="{height:.1f}" fill="{COLOURS[server]}">{server}</text>')
    return "\n".join([*out, "</svg>", ""])
