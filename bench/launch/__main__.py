"""A scheme's launch in simulation: `python -m bench.launch --subscribers 2000000`."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from bench.command import say
from bench.results import save

from .compare import compare
from .killing import KILLS, drawn
from .people import People
from .report import figures, report
from .run import Launch

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def main(argv: list[str] | None = None) -> int:
    """Run a launch, and print what came of it; fails where anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.launch", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=2_000_000)
    parser.add_argument("--days", type=int, default=45)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 31))
    parser.add_argument("--step-seconds", type=int, default=1_800)
    parser.add_argument("--receipts-share", type=float, default=0.2, help="parts that get receipts")
    parser.add_argument("--lost-share", type=float, default=0.004, help="submissions without an answer")
    parser.add_argument("--kills", type=int, default=0, help="so many drawn at random; 0: the usual ones")
    parser.add_argument("--save", action="store_true", help="append the figures to bench/results.jsonl")
    args = parser.parse_args(argv)
    print(f"seed {args.seed}", flush=True)
    started = time.perf_counter()
    people = People(args.seed, args.subscribers, args.days)
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="launch-") as folder:
        launch = Launch(
            people,
            Path(folder),
            args.step_seconds,
            drawn(Random(args.seed), args.kills, args.days) if args.kills else KILLS,
            args.lost_share,
            args.receipts_share,
        )
        say(f"loaded: {len(people.keys):,} pairs, {len(people.sighted):,} sightings")
        launch.run(lambda day: say(f"day {day}: {launch.model.counts['opened']:,} cases opened"))
        compare(launch)
        seconds = time.perf_counter() - started
        text, found = report(launch, seconds), figures(launch, seconds)
        launch.close()
    print(text)
    if args.save:
        save("launch", f"seed {args.seed}", args.subscribers, found)
    return 1 if launch.model.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
