"""What the look-up of cases adds to a check: nanoseconds with millions of cases, beside none.

    text ──► identity ──► facts ──► outcome ──► case ──► verdict

The usual checks of the population, few of which are unpaired; and checks of SIMs
that no phone knows, each of which has its case. Clocks as in `bench.lookup`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType

import numpy as np

from bench import measuring
from bench.command import parser, population_of, publish, say
from bench.datadir import copied, kept
from bench.lookup import ALONE, BACK_TO_BACK, BATCHES, native, one_by_one, per_step_ns
from bench.results import median
from eir.check import Checker, Verdict
from eir.clock import now_seconds
from eir.identity import imei_text, imsi_text
from eir.native import NativeChecker
from eir.notify.case import State
from eir.notify.case_table import CaseTable, Entries, pack_value
from eir.policy import compile_policy, default_policy_text
from eir.whitelist.rows import U64
from eir.whitelist.store import Store

NATIVE_CHECKS, PORTABLE_CHECKS = 1_000_000, 20_000
DAY = 86_400
POLICY = compile_policy(default_policy_text().replace('moved_sim = "allow"', 'moved_sim = "case"'))
"""In which a SIM that was moved has a case too."""
Asked = Sequence[tuple[str, str]]
KINDS = (ALONE, BACK_TO_BACK, BATCHES)


def texts(keys: U64, imsis: U64) -> list[tuple[str, str]]:
    """Return IMEIs and IMSIs as nodes send them."""
    return [
        (imei_text(key), imsi_text(code)) for key, code in zip(keys.tolist(), imsis.tolist(), strict=True)
    ]


def cases_of(checker: Checker | NativeChecker, asked: Asked, count: int) -> CaseTable:
    """Make a table of so many cases: of those of these checks that are unpaired, and of others."""
    found = [(*pair.unpaired, pair.reason) for pair in judged(checker, asked) if pair.unpaired]
    random, more = np.random.default_rng(3), max(count - len(found), 0)
    own = np.array(found, np.uint64).reshape(-1, 3)
    keys = np.concatenate((own[:, 0], random.integers(10**12, 10**14, more, np.uint64)))
    imsis = np.concatenate((own[:, 1], random.integers(10**15, 2 * 10**15, more, np.uint64)))
    value = pack_value(State.OPEN, 0, now_seconds() + 30 * DAY)
    values = np.full(len(keys), value, np.uint64) | np.resize(own[:, 2], len(keys)) << np.uint64(40)
    say(f"a table of {len(keys):,} cases, {len(found):,} of them of the checks")
    return CaseTable.build([[Entries(keys, imsis, values, np.arange(len(keys), dtype=np.uint32))]], len(keys))


def judged(checker: Checker | NativeChecker, asked: Asked) -> Sequence[Verdict]:
    """Judge all at once."""
    return checker.check_batch([imei for imei, _ in asked], [imsi for _, imsi in asked], "")


def in_native(core: ModuleType, checker: NativeChecker, asked: Asked) -> dict[str, float]:
    """One round of the native engine."""
    measured = native(core, checker, "".join(f"{imei} {imsi}\n" for imei, imsi in asked))
    return {f"native, {kind}": measured[f"native, {kind}"] for kind in KINDS}


def in_portable(checker: Checker, asked: Asked) -> float:
    """One round of the portable engine."""
    imeis, imsis = [imei for imei, _ in asked], [imsi for _, imsi in asked]
    return per_step_ns(len(asked), lambda: one_by_one(checker, imeis, imsis))


def main(argv: list[str] | None = None) -> int:
    """Measure checks with cases and without."""
    options = parser("case_checks", main.__doc__)
    options.add_argument("--cases", type=int, default=10_000_000, help="cases in the table")
    args = options.parse_args(argv)
    core, population = measuring.load(), population_of(args)
    sample = population.sample_checks(NATIVE_CHECKS, seed=5)
    strangers = np.random.default_rng(5).permutation(population.new_imsis(NATIVE_CHECKS))
    workloads = {"usual": texts(sample.imei, sample.imsi), "unpaired": texts(sample.imei, strangers)}
    rounds: dict[str, list[float]] = {}
    with copied(kept(population)) as data_dir:
        store = Store.open(data_dir, clock=now_seconds)
        portable = Checker(store, POLICY, now_seconds)
        checker = NativeChecker(store, POLICY, now_seconds) if core else None
        table = cases_of(checker or portable, workloads["unpaired"], args.cases)
        for _ in range(args.rounds):
            for cases, named in ((None, "no cases"), (table, f"{args.cases:,} cases")):
                portable.cases = cases
                for workload, asked in workloads.items():
                    figures: dict[str, float] = {}
                    if core and checker:
                        checker.publish_cases(cases)
                        figures = in_native(core, checker, asked)
                    figures[f"portable, {BACK_TO_BACK}"] = in_portable(portable, asked[:PORTABLE_CHECKS])
                    for name, value in figures.items():
                        rounds.setdefault(f"{name}, {workload}, {named}", []).append(value)
                    say(f"{workload}, {named}: " + ", ".join(f"{n} {v:.0f} ns" for n, v in figures.items()))
        store.close()
    return publish("case_checks", args, {name: median(values, "ns") for name, values in rounds.items()})


if __name__ == "__main__":
    sys.exit(main())
