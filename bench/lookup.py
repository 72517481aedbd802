"""Nanoseconds of the check without a network: each by itself, back to back, in groups.

    text ──► identity ──► facts ──► verdict       by the shipped policy, random keys of the population

Each engine, in this process, on the segments of the data directory. The
native one has its clocks inside (`core/src/measure.rs`); the portable one, some
hundred times slower, judges fewer checks. A random read of memory is measured
in the same run: a chain of reads through as much memory as the tables take.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np

from bench import measuring
from bench.command import parser, population_of, publish, say
from bench.datadir import copied, kept
from bench.results import median
from eir.check import Checker
from eir.clock import now_seconds
from eir.identity import imei_text, imsi_text
from eir.native import NativeChecker
from eir.policy import compile_policy, default_policy_text
from eir.whitelist.segment import anonymous
from eir.whitelist.store import Store

NATIVE_CHECKS, PORTABLE_CHECKS = 2_000_000, 50_000
BATCH = 1_024
LINE_WORDS = 8
PAGE_BYTES = 2 << 20
CHAIN_BYTES_MIN, CHAIN_STEPS = 256 << 20, 2_000_000
ALONE, BACK_TO_BACK, BATCHES, READ = "alone, p50", "back to back", "in batches", "a random read of memory"
TOGETHER = "back to back, 16 of a read"
"""As the daemon judges calls that one read brought; the rest of "back to back" knows none ahead."""


def per_step_ns(steps: int, work: Callable[[], object]) -> float:
    """Nanoseconds a step of some work."""
    started = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - started) / steps


def chain(total_bytes: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Make one random cycle through all cache lines of a memory with 2 MiB pages."""
    words: np.ndarray[tuple[int], np.dtype[np.int64]] = np.frombuffer(anonymous(total_bytes), np.int64)
    order = np.random.Generator(np.random.PCG64(7)).permutation(total_bytes // 64) * LINE_WORDS
    words[order] = np.roll(order, -1)
    return words


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


def portable(
    store: Store, imeis: Sequence[str], imsis: Sequence[str], keys: Sequence[int]
) -> dict[str, float]:
    """One round of the portable engine."""
    checker = Checker(store, compile_policy(default_policy_text()), now_seconds)
    alone, generation = isolated_ns(checker, imeis, imsis), store.generation
    return {
        f"portable, {ALONE}": float(np.percentile(alone, 50)),
        "portable, alone, p99": float(np.percentile(alone, 99)),
        f"portable, {BACK_TO_BACK}": per_step_ns(len(keys), lambda: one_by_one(checker, imeis, imsis)),
        f"portable, {BATCHES}": per_step_ns(len(keys), lambda: in_batches(checker, imeis, imsis)),
        "portable, tables only, back to back": per_step_ns(
            len(keys), lambda: [generation.key_row(key) for key in keys]
        ),
    }


def native(core: ModuleType, checker: NativeChecker, lines: str) -> dict[str, float]:
    """One round of the native engine."""
    alone, back_to_back, together, batches = core.measure_checks(checker.engine, lines, now_seconds())
    return {
        f"native, {ALONE}": float(np.percentile(alone, 50)),
        "native, alone, p99": float(np.percentile(alone, 99)),
        f"native, {BACK_TO_BACK}": back_to_back,
        f"native, {TOGETHER}": together,
        f"native, {BATCHES}": batches,
    }


def main(argv: list[str] | None = None) -> int:
    """Measure look-up and verdict in this process."""
    args = parser("lookup", main.__doc__).parse_args(argv)
    core, population = measuring.load(), population_of(args)
    sample = population.sample_checks(NATIVE_CHECKS if core else PORTABLE_CHECKS, seed=5)
    keys = sample.imei.tolist()
    imeis, imsis = [imei_text(key) for key in keys], [imsi_text(code) for code in sample.imsi.tolist()]
    lines = "".join(f"{imei} {imsi}\n" for imei, imsi in zip(imeis, imsis, strict=True))
    keys, imeis, imsis = keys[:PORTABLE_CHECKS], imeis[:PORTABLE_CHECKS], imsis[:PORTABLE_CHECKS]
    rounds: dict[str, list[float]] = {}
    with copied(kept(population)) as data_dir:
        store = Store.open(data_dir, clock=now_seconds)
        tables = sum(shard.segment.total_bytes for shard in store.generation.shards)
        far = chain(max(tables, CHAIN_BYTES_MIN) // PAGE_BYTES * PAGE_BYTES)
        for _ in range(args.rounds):
            figures: dict[str, float] = {}
            if core:
                checker = NativeChecker(store, compile_policy(default_policy_text()), now_seconds)
                figures = native(core, checker, lines)
                figures[READ] = core.measure_chain(far.view(np.uint8), CHAIN_STEPS)
            figures |= portable(store, imeis, imsis, keys)
            for name, value in figures.items():
                rounds.setdefault(name, []).append(value)
            say(", ".join(f"{name} {value:.0f} ns" for name, value in figures.items()))
        store.close()
    return publish("lookup", args, {name: median(values, "ns") for name, values in rounds.items()})


if __name__ == "__main__":
    sys.exit(main())
