"""Every benchmark for the populations of a size, one after another; a failure does not stop the others."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from bench.results import ROOT
from bench.terrain import SHAPES

CHECKS: dict[str, dict[str, tuple[str, ...]]] = {
    "peers": {"P1": (), "P2": ("--servers", "native,nghttp2")},
    "lookup": {},
    "threads": {},
    "where": {},
    "under_load": {},
    "memory": {},
    "restart": {},
}
"""What measures the budgets of checks, with arguments of its own by population: peers know no population."""
BENCHES = (
    "build",
    "memory",
    "lookup",
    "restart",
    "delta_apply",
    "publish_latency",
    "inquire",
    "import_lists",
    "redis_feed",
    "check_throughput",
    "beside",
)


def main(argv: list[str] | None = None) -> int:
    """Run every benchmark; the exit code is 1 when one failed."""
    options = argparse.ArgumentParser(prog="python -m bench.all", description=main.__doc__)
    options.add_argument("--populations", default="P1", help="names, with commas: " + ",".join(SHAPES))
    options.add_argument("--size", type=int, default=1_000_000, metavar="REGISTERED")
    options.add_argument("--benches", help="names, with commas; all of the suite where it is left out")
    options.add_argument("--suite", choices=("all", "checks"), default="all")
    options.add_argument("--out", metavar="FILE", help="where the results are saved")
    args = options.parse_args(argv)
    suite = tuple(CHECKS) if args.suite == "checks" else BENCHES
    names = args.benches.split(",") if args.benches else list(suite)
    populations = args.populations.split(",")
    if unknown := [*sorted(set(names) - set(suite)), *sorted(set(populations) - set(SHAPES))]:
        options.error(f"there is no {', '.join(unknown)}")
    lines, failed = [], False
    for population in populations:
        for name in names:
            command = [sys.executable, "-m", f"bench.{name}"]
            command += ["--population", population, "--size", str(args.size)]
            command += ["--out", args.out] if args.out else []
            command += CHECKS[name].get(population, ()) if args.suite == "checks" else ()
            started = time.monotonic()
            code = subprocess.run(command, cwd=ROOT, check=False).returncode
            failed = failed or code != 0
            said = "done" if code == 0 else f"FAILED (exit code {code})"
            lines.append(f"  {population}  {name:<17} {time.monotonic() - started:7.0f} s  {said}")
    print(f"benchmarks, {args.size:,} registered", *lines, sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
