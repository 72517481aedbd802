"""What checks pay for what stands beside them: the decision log, and a policy on trial; both engines.

    each engine: nothing beside │ every decision logged │ every check tried ──► rate, CPU, latency

The daemon has one core, what asks another. With `nothing beside` no allowed check is logged.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.check_throughput import BATCH_ROWS, BATCHES_IN_FLIGHT, Round, batch, unary, verify
from bench.checks import Checks
from bench.command import parser, population_of, publish, say
from bench.daemon import Daemon, channel, serving
from bench.datadir import copied, kept
from bench.population import CheckClass
from bench.results import Figure, median
from bench.rpc import policy_of
from eir.decisions.record import HEADER, RECORD_BYTES
from eir.policy import default_policy_text
from eir.proto import check_pb2, policy_pb2

ENGINES = ("portable", "native")
CASES = ("nothing beside", "every decision logged", "every check tried")
SHAPE = (64, 1)
KINDS = (f"unary {SHAPE[0]} × {SHAPE[1]}", f"batch of {BATCH_ROWS:,}, {BATCHES_IN_FLIGHT} in flight")
SAMPLE = 200_000
TRIAL_SECONDS = 3_600


@contextmanager
def beside(source: Path, engine: str, case: str, cores: set[int]) -> Iterator[tuple[Daemon, Path]]:
    """Run a daemon with one thing beside its checks."""
    settings = {
        "EIR_ENGINE": engine,
        "EIR_DECISIONS__ALLOWED_SAMPLE_PERCENT": "100" if case == CASES[1] else "0",
    }
    with copied(source) as data_dir, serving(data_dir, cores=cores, settings=settings) as daemon:
        if case == CASES[2]:
            with channel(daemon.manage_address) as one:
                policy_of(one).StartTrial(
                    policy_pb2.StartTrialRequest(
                        policy=default_policy_text(), sample_percent=100, duration_seconds=TRIAL_SECONDS
                    )
                )
        yield daemon, data_dir


def tried(daemon: Daemon) -> int:
    """Ask how many checks the trial judged."""
    with channel(daemon.manage_address) as one:
        trial = policy_of(one).GetTrial(policy_pb2.GetTrialRequest()).trial
    return int(trial.judged_count)


def logged(data_dir: Path) -> int:
    """Decisions in the files of the log."""
    files = (data_dir / "decisions").glob("*.log")
    return sum(max(file.stat().st_size - len(HEADER), 0) // RECORD_BYTES for file in files)


def main(argv: list[str] | None = None) -> int:
    """Measure checks with nothing, the decision log and a trial beside them."""
    options = parser("beside", main.__doc__)
    options.add_argument("--seconds", type=float, default=5, help="of each round")
    args = options.parse_args(argv)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or shutil.which("h2load") is None:
        raise SystemExit("it takes two cores and h2load (Debian: nghttp2-client)")
    population = population_of(args)
    checks = Checks.sample(population, SAMPLE, seed=3)
    owner: check_pb2.CheckEquipmentRequest = checks.requests()[checks.expected.index(CheckClass.MATCH)]
    batches = checks.batches(BATCH_ROWS)
    figures: dict[str, Figure] = {}
    source = kept(population)
    for engine in ENGINES:
        rounds: dict[tuple[str, str], list[Round]] = {}
        told: dict[str, int] = {}
        with ExitStack() as stack:
            daemons = {case: stack.enter_context(beside(source, engine, case, {cores[0]})) for case in CASES}
            os.sched_setaffinity(0, {cores[1]})
            stack.callback(os.sched_setaffinity, 0, set(cores))
            for daemon, _ in daemons.values():
                verify(daemon, checks)
            for _ in range(args.rounds):
                for case, (daemon, data_dir) in daemons.items():
                    for kind, one in (
                        (KINDS[0], unary(daemon, owner, SHAPE, args.seconds)),
                        (KINDS[1], batch(daemon, batches, args.seconds)),
                    ):
                        rounds.setdefault((kind, case), []).append(one)
                        say(f"{engine}, {kind}, {case}: {one.rate:,.0f}/s, {one.cpu_us:.2f} µs")
                    told[case] = tried(daemon) if case == CASES[2] else logged(data_dir)
        for (kind, case), many in rounds.items():
            name = f"{engine}, {kind}, {case}"
            figures[name] = median([one.rate for one in many], "checks/s")
            figures[f"{name}: CPU of the daemon"] = median([one.cpu_us for one in many], "µs per check")
            figures[f"{name}: a call's p99"] = median([one.p99_ms for one in many], "ms")
        figures[f"{engine}: decisions logged"] = Figure(told[CASES[1]], "in all")
        figures[f"{engine}: checks tried"] = Figure(told[CASES[2]], "in all")
    return publish("beside", args, figures)


if __name__ == "__main__":
    sys.exit(main())
