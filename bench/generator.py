"""The generator of load of `bench/loadgen`: built, given checks to ask, and run on a core of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import IO, Any

from bench.checks import Checks
from bench.command import say
from bench.population import Population
from bench.results import ROOT

BUILD = ROOT / ".build"
ASKED = 1_000_000
"""Checks that are asked in turn: far more than the cache holds."""
WARMUP_SECONDS = 1
LATENCIES = ("p50", "p90", "p99", "p99.9", "p99.99")


def build(*targets: str) -> None:
    """Build the generator and other targets of bench/peers, each as far as the machine can."""
    for target in ("loadgen", *targets):
        done = subprocess.run(
            ["make", "-s", "-C", str(ROOT / "bench" / "peers"), f"OUT={BUILD}", str(BUILD / target)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            say(f"{target} cannot be built here (tests/peers.sh names the packages): {done.stderr.strip()}")
    if not (BUILD / "loadgen").exists():
        raise SystemExit("it takes the generator of load (cargo)")


def write_requests(population: Population, folder: Path) -> Path:
    """Write random checks of a population, a line each."""
    asked, path = Checks.sample(population, ASKED, seed=7), folder / "requests"
    path.write_text("".join(f"{imei} {imsi}\n" for imei, imsi in zip(asked.imei, asked.imsi, strict=True)))
    return path


class Run:
    """One run of the generator on a core, from now on."""

    def __init__(
        self, address: str, requests: Path, core: int, seconds: float, mode: str, *arguments: str | int
    ) -> None:
        """Start it; with `--until input-ends` among the arguments, `stop` ends it early."""
        # Where that is allowed, nothing on its core delays it: its delays would count as the server's.
        command = ["nice", "-n", "-20", "taskset", "-c", str(core), str(BUILD / "loadgen")]
        command += ["--mode", mode, "--address", address, "--requests", str(requests)]
        command += ["--seconds", str(seconds), "--warmup-seconds", str(WARMUP_SECONDS)]
        command += [str(one) for one in arguments]
        # In a session of its own: weight within one is shared out over its processors (autogroups), and what
        # this one has would be missing where the daemon runs.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def stop(self) -> None:
        """End its input."""
        pipe: IO[str] | None = self._process.stdin
        if pipe:
            pipe.close()

    def told(self) -> dict[str, Any]:
        """Wait for its figures; raises RuntimeError where it fails, or a check is not answered."""
        assert self._process.stdout
        said = self._process.stdout.read()
        if self._process.wait():
            raise RuntimeError(f"the generator failed (exit code {self._process.returncode})")
        told: dict[str, Any] = json.loads(said)
        if told["rate_asked"] == 0 and (told["failed"] or told["unanswered"]):
            raise RuntimeError(f"failed: {told['failed']}, without an answer: {told['unanswered']}")
        return told


def checks_of(told: dict[str, Any]) -> int:
    """Return how many checks were answered, with those of the warm-up."""
    return max(int(told["answered_all"]) * int(told["rows"]), 1)
