"""A scheme's launch in simulation: `python -m bench.launch --subscribers 2000000`."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
import time
from pathlib import Path

from bench.command import say

from .people import People
from .report import report
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
    args = parser.parse_args(argv)
    print(f"seed {args.seed}", flush=True)
    started = time.perf_counter()
    people = People(args.seed, args.subscribers, args.days)
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="launch-") as folder:
        launch = Launch(people, Path(folder), args.step_seconds, receipts_share=args.receipts_share)
        say(f"loaded: {len(people.keys):,} pairs, {len(people.sighted):,} sightings")
        launch.run(lambda day: say(f"day {day}: {launch.model.counts['opened']:,} cases opened"))
        launch.compare()
        text = report(launch, time.perf_counter() - started)
        launch.close()
    print(text)
    return 1 if launch.model.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
