"""The table of sizing in docs/installing.md, made of saved results: no figure is typed.

    python -m bench.sizing docs/installing.md

Pure but for `main`, which reads the results and writes the page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from bench.report import latest, number, size
from bench.results import Result, load

BEGINS = "<!-- sizing: made by `make docs` from bench/results.jsonl -->\n"
ENDS = "<!-- sizing end -->\n"
POPULATION = "P1"
ROWS = (
    ("memory", "daemon, serving: RSS", "memory of the daemon"),
    ("memory", "both, rebuilding all: most PSS", "memory of daemon and rebuild, at most"),
    ("build", "files, with the indexes by IMSI", "segments and their indexes on disk, once"),
    ("restart", "files not in memory, 0 rows to replay", "a start, files not in memory"),
    ("restart", "files not in memory, 1,000,000 rows to replay", "the same, a million rows to replay"),
)
"""Benchmark, its figure, and what that is called here."""


def table(results: Iterable[Result]) -> str:
    """Return the table: what is needed down, sizes across."""
    kept = {(r.bench, r.registered): r.figures for r in latest(results) if r.population == POPULATION}
    sizes = sorted({registered for bench, registered in kept if bench == "memory"})
    lines = [
        f"| registered one by one | {' | '.join(map(size, sizes))} |",
        f"| --- |{' ---: |' * len(sizes)}",
    ]
    for bench, figure, name in ROWS:
        found = [kept.get((bench, registered), {}).get(figure) for registered in sizes]
        cells = [f"{number(one.value)} {one.unit}" if one else "–" for one in found]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def made(page: str, results: Iterable[Result]) -> str:
    """Return a page with the table between its marks. Raises ValueError where it has none."""
    head, begins, rest = page.partition(BEGINS)
    _, ends, tail = rest.partition(ENDS)
    if not (begins and ends):
        raise ValueError("the page has no marks for the table of sizing")
    return head + begins + table(results) + ends + tail


def main(argv: list[str]) -> int:
    """Write the table into a page."""
    path = Path(argv[0])
    path.write_text(made(path.read_text("utf-8"), load()), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
