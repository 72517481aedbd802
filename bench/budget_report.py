"""The budgets of checks beside what was measured at full size, from saved figures. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from bench.peer_report import figure_name
from bench.results import Figure, Result

FULL_SIZE = 300_000_000
"""IMEIs registered one by one: with 200 million pairs and 10 million ranges."""
Figures = Mapping[str, Mapping[str, Figure]]
"""Figures of one population at full size, by benchmark and name."""
Value = Callable[[Figures], float]
"""Raises KeyError where a figure is missing."""
OPEN_RATE, AT_REST, CHANGING = "20,000/s", "at rest", "5 M rows applied, segments rebuilt"
SHAPES = ("4 × 16", "64 × 1")
BATCH, STREAM = "batch of 1,024", "stream"


class Budget(NamedTuple):
    """One row: what, the bound as text, the value, the bound, and whether it is a ceiling.

    `limit` is what a server that only answers a constant reaches, where that may be less than the bound.
    """

    what: str
    text: str
    value: Value
    bound: Callable[[Figures], float]
    ceiling: bool
    unit: str = ""
    limit: Value | None = None


def of(bench: str, name: str) -> Value:
    """Return the value of a figure."""
    return lambda figures: figures[bench][name].value


def peer(workload: str, server: str, measure: str) -> Value:
    """Return the value of a figure beside peers."""
    return of("peers", figure_name(workload, server, measure))


def over(one: Value, other: Value) -> Value:
    """Return one value in terms of another."""
    return lambda figures: one(figures) / other(figures)


def at_most(what: str, value: Value, bound: float, unit: str = "") -> Budget:
    """Make a row with a ceiling."""
    return Budget(what, f"≤ {bound:,g} {unit or '×'}", value, lambda _: bound, True, unit)


def at_least(what: str, value: Value, bound: float, unit: str = "") -> Budget:
    """Make a row with a floor."""
    return Budget(what, f"≥ {bound:,g} {unit or '×'}", value, lambda _: bound, False, unit)


def _unary() -> Iterable[Budget]:
    for shape, cpu_bound in zip(SHAPES, (2.2, 1.3), strict=True):
        work = f"unary, {shape}"
        for server, bound in (("Go gRPC", 2), ("C++ gRPC", 4), ("portable", 40)):
            rate, limit = (
                over(peer(work, one, "rate"), peer(work, server, "rate")) for one in ("native", "nghttp2")
            )
            row = at_least(f"{work}: rate by that of {server}", rate, bound)
            yield row._replace(limit=limit)
        cpus = over(peer(work, "native", "CPU"), peer(work, "nghttp2", "CPU"))
        yield at_most(f"{work}: CPU by that of nghttp2", cpus, cpu_bound)


def _latency(what: str, quantile: str) -> Value:
    return of("under_load", f"{OPEN_RATE}, {what}: {quantile}")


def _changing_bound(figures: Figures) -> float:
    return max(1000.0, 1.5 * _latency(AT_REST, "p99")(figures))


def _slowest_start(figures: Figures) -> float:
    return max(figure.value for figure in figures["restart"].values())


BUDGETS: tuple[Budget, ...] = (
    *_unary(),
    at_most(f"unary, open loop {OPEN_RATE}, {AT_REST}: p50", _latency(AT_REST, "p50"), 150, "µs"),
    at_most(f"unary, open loop {OPEN_RATE}, {AT_REST}: p99", _latency(AT_REST, "p99"), 1000, "µs"),
    Budget(
        f"unary, open loop {OPEN_RATE}, {CHANGING}: p99",
        "≤ 1,000 µs, or 1.5 × at rest",
        _latency(CHANGING, "p99"),
        _changing_bound,
        True,
        "µs",
    ),
    *(
        at_least(
            f"stream, pipelined: rate by that of unary calls, {work}",
            over(peer(STREAM, "native", "rate"), peer(f"unary, {work}", "native", "rate")),
            2,
        )
        for work in ("4 × 16", "4 × 16, our generator")
    ),
    at_least(
        f"{BATCH} over the wire",
        lambda figures: peer(BATCH, "native", "rate")(figures) / 1e6,
        5,
        "million checks/s",
    ),
    at_most(
        "facts and verdict, back to back, none known ahead", of("lookup", "native, back to back"), 400, "ns"
    ),
    at_most(
        "facts and verdict, back to back, as calls of a read (16) are judged",
        of("lookup", "native, back to back, 16 of a read"),
        400,
        "ns",
    ),
    at_most(
        "facts and verdict alone, p50, by a random read",
        over(of("lookup", "native, alone, p50"), of("lookup", "a random read of memory")),
        4,
    ),
    at_most("tables with a budget", of("memory", "budgeted tables"), 5.8, "bytes per pair"),
    at_most("the whole process, serving", of("memory", "daemon, serving: RSS"), 1536, "MiB"),
    at_most(
        "the whole process, at most, while all segments are rebuilt",
        of("memory", "daemon, rebuilding all: most RSS"),
        1536,
        "MiB",
    ),
    at_most("restart to ready, the slowest kind", _slowest_start, 3, "s"),
    at_least("two threads by one, by CPU time", of("threads", "two against one, by CPU time"), 1.8),
)


def rows_of(results: Iterable[Result]) -> tuple[list[str], list[list[str]]]:
    """Return populations measured at full size, and the table's rows; the last saved result counts."""
    found: dict[str, dict[str, Mapping[str, Figure]]] = {}
    for result in results:
        if result.registered == FULL_SIZE and result.versions.get("engine", "").startswith("native"):
            found.setdefault(result.population, {})[result.bench] = result.figures
    populations = sorted(found)
    rows = [
        [budget.what, budget.text, *(cell(budget, found[name]) for name in populations)] for budget in BUDGETS
    ]
    return populations, rows


def cell(budget: Budget, figures: Figures) -> str:
    """Write a value and whether it keeps the budget; a dash where something was not measured."""
    try:
        value, bound = budget.value(figures), budget.bound(figures)
    except KeyError:
        return "–"
    met = value <= bound if budget.ceiling else value >= bound
    text = f"{_shown(value)} {budget.unit or '×'}, {'met' if met else '**missed**'}"
    limit = None if met else _limit(budget, figures)
    if limit is None or limit >= bound:
        return text
    return f"{text} (nghttp2: {_shown(limit)} {budget.unit or '×'})"


def _limit(budget: Budget, figures: Figures) -> float | None:
    try:
        return budget.limit(figures) if budget.limit else None
    except KeyError:
        return None


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
