"""Milliseconds of an inquiry by IMSI, MSISDN and IMEI, without a network; rows a second of a search.

"Files not in memory": the pages of the indexes and of registry.db are dropped before
each inquiry. Subscribers are written to a copy of the data directory, as deltas do;
the journal gets the chunks of one large delta to search.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bench.command import parser, population_of, publish, say
from bench.datadir import copied, kept
from bench.results import Figure, median
from eir.check import Checker
from eir.clock import now_seconds
from eir.identity import Imei, ImeiClass, TypedImei
from eir.inquiry.audit import InquiryAudit
from eir.inquiry.inquirer import Bounds, Inquirer
from eir.policy import compile_policy, default_policy_text
from eir.whitelist import subscribers
from eir.whitelist.blob import rows_to_blob
from eir.whitelist.delta import Header
from eir.whitelist.hashtable import Columns
from eir.whitelist.journal import Journal
from eir.whitelist.overlay import Overlay, Table
from eir.whitelist.rows import U64, Op, Role, Rows
from eir.whitelist.store import Store

INQUIRIES = 2_000
COLD = 50
OVERLAY_ROWS = 1_000_000
CHUNK_ROWS, CHUNKS = 200_000, 50
SUBSCRIBERS_AT_A_TIME = 1_000_000
FIRST_NUMBER = 1989_100_000_000


def milliseconds(work: Callable[[int], object], values: Sequence[int]) -> list[float]:
    """Time of each."""
    out = []
    for value in values:
        started = time.perf_counter_ns()
        work(value)
        out.append((time.perf_counter_ns() - started) / 1e6)
    return out


def spread(name: str, rounds: Sequence[Sequence[float]]) -> dict[str, Figure]:
    """Median of the rounds' p50, p99 and maximum."""
    parts: dict[str, Callable[[Sequence[float]], float]] = {
        "p50": lambda times: float(np.percentile(times, 50)),
        "p99": lambda times: float(np.percentile(times, 99)),
        "the slowest": max,
    }
    return {f"{name}, {part}": median([of(times) for times in rounds], "ms") for part, of in parts.items()}


def forget(data_dir: Path) -> None:
    """Drop the indexes and registry.db from the page cache, as far as the kernel does it."""
    for path in (*data_dir.glob("segments/*.imsi"), *data_dir.glob("registry.db*")):
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def cold(data_dir: Path, work: Callable[[int], object], values: Sequence[int]) -> list[float]:
    """Time of each with the files not in memory."""
    out = []
    for value in values:
        forget(data_dir)
        out += milliseconds(work, [value])
    return out


def write_subscribers(data_dir: Path, codes: U64) -> U64:
    """Make subscribers of IMSIs, as deltas do, their numbers in another order; returns the numbers."""
    order = np.random.Generator(np.random.PCG64(3)).permutation(len(codes)).astype(np.uint64)
    numbers: U64 = order + np.uint64(FIRST_NUMBER)
    journal = Journal.open(data_dir / "registry.db")
    for start in range(0, len(codes), SUBSCRIBERS_AT_A_TIME):
        part = slice(start, start + SUBSCRIBERS_AT_A_TIME)
        languages = np.full(len(codes[part]), subscribers.language_code("fa"))
        with journal.transaction():
            journal._write_subscribers(subscribers.rows_of(codes[part], numbers[part], languages))
        journal.checkpoint()
    journal.close()
    return numbers


def write_history(data_dir: Path, keys: U64, codes: U64) -> int:
    """Put one large delta of pairs into the journal; returns its rows."""
    journal = Journal.open(data_dir / "registry.db")
    token = journal.new_token()
    for chunk in range(CHUNKS):
        at = np.arange(chunk * CHUNK_ROWS, (chunk + 1) * CHUNK_ROWS) % len(keys)
        pairs = np.full(CHUNK_ROWS, Op.PAIR, np.uint8)
        rows = Rows(pairs, imei=keys[at], imsi=codes[at], cause=np.full(CHUNK_ROWS, Role.OWNER, np.uint8))
        journal.append_chunk(token, chunk, rows_to_blob(rows))
    header = Header("bench", 1, 0, CHUNKS * CHUNK_ROWS)
    digest = hashlib.sha256(b"").digest()
    journal.commit_delta(header, token, 2, content_sha256=digest, committed_at=now_seconds())
    journal.checkpoint()
    journal.close()
    return CHUNKS * CHUNK_ROWS


def measure(
    data_dir: Path, store: Store, rounds: int, keys: U64, codes: U64, numbers: U64
) -> dict[str, Figure]:
    """Every kind of inquiry that reads the tables."""
    checker = Checker(store, compile_policy(default_policy_text()), now_seconds)
    inquirer = Inquirer(store, data_dir / "registry.db", lambda: checker, now_seconds)
    dice = np.random.Generator(np.random.PCG64(5))

    def some(values: U64, count: int) -> list[int]:
        return [int(value) for value in values[dice.integers(0, len(values), count)]]

    def typed(key: int) -> TypedImei:
        return TypedImei(Imei(ImeiClass.KEY, key, ""), False)

    def by_imsi(code: int) -> None:
        assert inquirer.subscriber(imsi=code).sims[0].slots

    def by_msisdn(number: int) -> None:
        assert inquirer.subscriber(msisdn=number).sims[0].slots

    forms: dict[str, tuple[Callable[[int], object], U64]] = {
        "by IMSI": (by_imsi, codes),
        f"by MSISDN of {len(numbers):,}": (by_msisdn, numbers),
        "by IMEI": (lambda key: inquirer.equipment(typed(key), 0), keys),
        "public status": (lambda key: inquirer.status(typed(key)), keys),
    }
    figures: dict[str, Figure] = {}
    for name, (work, values) in forms.items():
        milliseconds(work, some(values, 100))
        figures |= spread(name, [milliseconds(work, some(values, INQUIRIES)) for _ in range(rounds)])
    for name, (work, values) in list(forms.items())[:2]:
        times = [cold(data_dir, work, some(values, COLD)) for _ in range(rounds)]
        figures |= spread(f"{name}, files not in memory", times)
    here = store.generation
    rows = here.read_keys(np.unique(keys[:OVERLAY_ROWS]))
    overlay = Overlay.of({Table.KEYS: Columns(rows.key, rows.head, rows.extra)})
    store.generation = here.with_levels(here.serial, [overlay])
    name = f"by IMSI, {len(rows.key):,} rows above the segments"
    figures |= spread(name, [milliseconds(by_imsi, some(codes, INQUIRIES)) for _ in range(rounds)])
    store.generation = here
    inquirer.close()
    return figures


def searched(data_dir: Path, store: Store, rounds: int, rows: int) -> dict[str, Figure]:
    """Search the journal for what is not in it."""
    checker = Checker(store, compile_policy(default_policy_text()), now_seconds)
    bounds = Bounds(history_seconds_max=1e9)
    inquirer = Inquirer(store, data_dir / "registry.db", lambda: checker, now_seconds, bounds=bounds)
    rates = []
    for _ in range(rounds):
        started = time.perf_counter()
        assert not inquirer.history(b"", imsi=10).entries
        rates.append(rows / (time.perf_counter() - started) / 1e6)
    inquirer.close()
    return {"search of the journal": median(rates, "million rows/s")}


def main(argv: list[str] | None = None) -> int:
    """Measure and save."""
    options = parser("inquire", __doc__)
    options.add_argument("--subscribers", type=int, default=1_000_000)
    args = options.parse_args(argv)
    population = population_of(args)
    with copied(kept(population)) as data_dir:
        keys = population.sample_owned(min(args.size // 2, max(args.subscribers, OVERLAY_ROWS)), seed=11)
        codes = population.owners(keys)
        say(f"writing {min(args.subscribers, len(codes)):,} subscribers")
        subscribed = np.unique(codes)[: args.subscribers]
        numbers = write_subscribers(data_dir, subscribed)
        say("opening the tables")
        store = Store.open(data_dir, clock=now_seconds)
        say("inquiring")
        figures = measure(data_dir, store, args.rounds, keys, codes, numbers)
        kept_bytes = sum(s.index.nbytes for s in store.generation.shards if s.index is not None)
        figures["memory of the fences"] = Figure(kept_bytes / 2**20, "MiB")
        audit = InquiryAudit.open(data_dir, days_max=1, rows_max=10**9)

        def add(number: int) -> None:
            audit.add(number, "desk", "", "equipment", "imei", str(number), "found")

        work = [milliseconds(add, range(200)) for _ in range(args.rounds)]
        figures |= spread("a row of the audit, durable", work)
        audit.close()
        store.close()
        say("writing a journal to search")
        rows = write_history(data_dir, keys, codes)
        store = Store.__new__(Store)
        figures |= searched(data_dir, store, args.rounds, rows)
    return publish("inquire", args, figures)


if __name__ == "__main__":
    sys.exit(main())
