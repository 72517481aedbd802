"""What every benchmark's command has in common: its arguments, and what is done with its figures."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from bench.population import Population
from bench.report import number
from bench.results import RESULTS, Figure, save
from bench.terrain import SHAPES

SEED = 1


def parser(name: str, doc: str | None, rounds: int = 3) -> argparse.ArgumentParser:
    """Make the parser of `python -m bench.NAME`; `rounds` is how often each figure is measured."""
    out = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=doc)
    out.add_argument("--population", choices=sorted(SHAPES), default="P1")
    out.add_argument("--size", type=int, default=1_000_000, metavar="REGISTERED")
    out.add_argument("--rounds", type=int, default=rounds)
    out.add_argument("--out", type=Path, default=RESULTS, metavar="FILE", help="where the result is saved")
    return out


def population_of(args: argparse.Namespace) -> Population:
    """Return the population asked for."""
    return Population(args.population, args.size, SEED)


def publish(
    name: str,
    args: argparse.Namespace,
    figures: Mapping[str, Figure],
    more_versions: Mapping[str, str] | None = None,
) -> int:
    """Save the figures and print them; returns the exit code."""
    save(name, args.population, args.size, figures, args.out, more_versions)
    width = max(map(len, figures))
    print(f"{name}, {args.population}, {args.size:,} registered")
    for what, figure in figures.items():
        rounds = f"  of {', '.join(map(number, figure.of))}" if len(figure.of) > 1 else ""
        print(f"  {what:<{width}}  {number(figure.value):>10} {figure.unit}{rounds}")
    return 0


def say(text: str) -> None:
    """Tell what goes on."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
