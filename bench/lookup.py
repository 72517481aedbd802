"""Nanoseconds of the check without a network: one by one, back to back, in batches.

A random read of memory is measured in the same run: a chain of reads through
an array far larger than the cache, less the same chain through one that the
first cache holds, so that the loop itself does not count.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from bench.command import parser, population_of, publish, say
from bench.datadir import copied, kept
from bench.results import median
from eir.check import Checker
from eir.clock import now_seconds
from eir.identity import imei_text, imsi_text
from eir.policy import compile_policy, default_policy_text
from eir.whitelist.segment import anonymous
from eir.whitelist.store import Store

CHECKS = 50_000
BATCH = 1_024
LINE_WORDS = 8
FAR_BYTES, NEAR_BYTES = 512 << 20, 16 << 10
CHAIN_STEPS = 500_000


NAMES = (
    "portable, alone, p50",
    "portable, alone, p99",
    "portable, back to back",
    "portable, in batches",
    "portable, tables only, back to back",
    "a random read of memory",
)


def per_step_ns(steps: int, work: Callable[[], object]) -> float:
    """Nanoseconds a step of some work."""
    started = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - started) / steps


def chain(total_bytes: int) -> memoryview:
    """Make one random cycle through all cache lines of a memory with 2 MiB pages."""
    words: np.ndarray[tuple[int], np.dtype[np.int64]] = np.frombuffer(anonymous(total_bytes), np.int64)
    order = np.random.Generator(np.random.PCG64(7)).permutation(total_bytes // 64) * LINE_WORDS
    words[order] = np.roll(order, -1)
    return memoryview(words.data)


def walk(words: memoryview) -> int:
    """Follow a chain."""
    at: int = 0
    for _ in range(CHAIN_STEPS):
        at = words[at]
    return at


def random_read_ns(far: memoryview, near: memoryview) -> float:
    """Nanoseconds of a read that no cache holds."""
    return per_step_ns(CHAIN_STEPS, lambda: walk(far)) - per_step_ns(CHAIN_STEPS, lambda: walk(near))


def isolated_ns(checker: Checker, imeis: Sequence[str], imsis: Sequence[str]) -> list[int]:
    """Nanoseconds of each check by itself."""
    clock, check, out = time.perf_counter_ns, checker.check, []
    for imei, imsi in zip(imeis, imsis, strict=True):
        started = clock()
        check(imei, imsi, "", False)
        out.append(clock() - started)
    return out


def one_by_one(checker: Checker, imeis: Sequence[str], imsis: Sequence[str]) -> None:
    """Check one after another."""
    for imei, imsi in zip(imeis, imsis, strict=True):
        checker.check(imei, imsi, "", False)


def in_batches(checker: Checker, imeis: Sequence[str], imsis: Sequence[str]) -> None:
    """Check many at a time."""
    for at in range(0, len(imeis), BATCH):
        checker.check_batch(imeis[at : at + BATCH], imsis[at : at + BATCH], "")


def main(argv: list[str] | None = None) -> int:
    """Measure look-up and verdict in this process."""
    args = parser("lookup", main.__doc__).parse_args(argv)
    population = population_of(args)
    sample = population.sample_checks(CHECKS, seed=5)
    imeis = [imei_text(key) for key in sample.imei.tolist()]
    imsis = [imsi_text(code) for code in sample.imsi.tolist()]
    keys = sample.imei.tolist()
    rounds: dict[str, list[float]] = {name: [] for name in NAMES}
    far, near = chain(FAR_BYTES), chain(NEAR_BYTES)
    with copied(kept(population)) as data_dir:
        store = Store.open(data_dir, clock=now_seconds)
        checker = Checker(store, compile_policy(default_policy_text()), now_seconds)
        generation = store.generation
        for _ in range(args.rounds):
            alone = isolated_ns(checker, imeis, imsis)
            values = (
                float(np.percentile(alone, 50)),
                float(np.percentile(alone, 99)),
                per_step_ns(CHECKS, lambda: one_by_one(checker, imeis, imsis)),
                per_step_ns(CHECKS, lambda: in_batches(checker, imeis, imsis)),
                per_step_ns(CHECKS, lambda: [generation.key_row(key) for key in keys]),
                random_read_ns(far, near),
            )
            for name, value in zip(NAMES, values, strict=True):
                rounds[name].append(value)
            say(", ".join(f"{name} {value:.0f} ns" for name, value in zip(NAMES, values, strict=True)))
        store.close()
    return publish("lookup", args, {name: median(values, "ns") for name, values in rounds.items()})


if __name__ == "__main__":
    sys.exit(main())
