"""Notices, from cases that come due to the answers of one SMSC, both ends on this machine.

Opening and sending are measured by themselves. Checks judge by the engine that is here, over empty tables;
what is known of subscribers is made up, and costs nothing.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
import tempfile
import time
import zoneinfo
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import smsc
from bench.command import parser, publish
from bench.datadir import FOLDER
from bench.results import Figure, median
from eir import native
from eir.check import Checker
from eir.errors import EngineUnavailableError
from eir.native import PublishingChecker
from eir.notify.cases import Cases
from eir.notify.judge import Judge
from eir.notify.judged import Judged
from eir.notify.keeper import Keeper, Sighting, World
from eir.notify.link import Endpoint, Link
from eir.notify.messages import read_texts, shipped_texts
from eir.notify.outbox import Outbox
from eir.notify.sender import Route, Sender, Wording
from eir.notify.smpp import Address, Terms
from eir.policy import compile_policy, default_policy_text
from eir.policy.settings import Settings
from eir.verdict import Reason
from eir.whitelist.files import FileLayer
from eir.whitelist.journal import Subscriber
from eir.whitelist.store import Limits, Store

ZONE = zoneinfo.ZoneInfo("Asia/Tehran")
NOON = int(dt.datetime(2026, 11, 1, 12, tzinfo=ZONE).timestamp())
FIRST_KEY, FIRST_IMSI = 35_693_803_000_000, 1_432_110_000_000_000
TEXT_CODE, HELPLINE = "*7777#", "02127480000"
TICK_CASES = 256
"""Cases that come due between two looks at the outbox."""
NOTICES = 20_000
WINDOW = 64


def settings_without_ceilings() -> Settings:
    """Return the shipped policy, whose guards a benchmark would set off."""
    shipped = compile_policy(default_policy_text()).settings
    most = 1 << 40
    says = replace(shipped.notices, cases_per_hour_max=most, notices_per_hour_max=most)
    return replace(shipped, notices=says)


def checker_of(engine: str, store: Store, clock: Callable[[], int]) -> Checker:
    """Return what answers checks, by the shipped policy."""
    policy = compile_policy(default_policy_text())
    if engine == "portable":
        return Checker(store, policy, clock)
    return PublishingChecker(store, policy, clock, native.load().Engine())


def engine_here() -> str:
    """Return the engine that a daemon would take."""
    try:
        native.load()
    except EngineUnavailableError:
        return "portable"
    return "native"


def judge_unpaired(pairs: Sequence[tuple[int, int]]) -> list[Judged]:
    """Judge every pair unpaired."""
    return [Judged(Reason.NEVER_ACTIVATED, True)] * len(pairs)


def known_in(language: str) -> Callable[[Iterable[int]], Mapping[int, Subscriber]]:
    """Return a table of subscribers that knows everybody."""
    return lambda imsis: {
        imsi: Subscriber(imsi, 1_000_000_000_000 + imsi % 10**12, language) for imsi in imsis
    }


async def send_all(keeper: Keeper, port: int, language: str) -> float:
    """Send the first notice of every case; return the seconds it took."""
    terms = Terms("transceiver", "bench", "bench", window_max=WINDOW)
    link = Link(Endpoint("smsc", "127.0.0.1", port, terms, 100_000), lambda _: None)
    texts = read_texts(shipped_texts(), "texts", default="fa", code=TEXT_CODE, helpline=HELPLINE)
    with ThreadPoolExecutor(max_workers=1) as thread:

        async def in_thread(work: Callable[..., Any], *args: object) -> Any:
            return await asyncio.get_running_loop().run_in_executor(thread, work, *args)

        sender = Sender(
            keeper,
            [Route(link, Address("EIR", 5))],
            Wording(texts, ZONE, TEXT_CODE, HELPLINE),
            known_in(language),
            in_thread,
            lambda: NOON,
        )
        tasks = [asyncio.create_task(link.run())]
        await link.bound.wait()
        started = time.perf_counter()
        tasks.append(asyncio.create_task(sender.run()))
        # As the daemon does: what comes due is put into the outbox while the rest is sent.
        while await in_thread(tick, keeper):
            pass
        while keeper.counts["accepted"] < len(keeper.cases):  # noqa: ASYNC110 - another thread counts
            await asyncio.sleep(0.01)
        seconds = time.perf_counter() - started
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return seconds


def tick(keeper: Keeper) -> int:
    """Put some notices that are due into the outbox."""
    looked_at = keeper.tick(NOON, World(1 << 32), TICK_CASES)
    keeper.commit()
    return looked_at


def submissions_per_second(language: str) -> float:
    """Send the first notices of many cases, each in the parts it needs."""
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="notices-") as folder, smsc.running() as port:
        cases = Cases.open(Path(folder), FileLayer())
        store = Store.open(Path(folder) / "tables", clock=lambda: NOON, limits=Limits())
        checker = checker_of(engine_here(), store, lambda: NOON)
        judge = Judge(lambda: checker, lambda: NOON)
        keeper = Keeper(cases, Outbox(cases), judge, settings_without_ceilings())
        keeper.sighted([Sighting(FIRST_KEY + n, FIRST_IMSI + n, NOON) for n in range(NOTICES)])
        keeper.commit()
        seconds = asyncio.run(send_all(keeper, port, language))
        parts = cases.read("SELECT sum(json_array_length(message_ids)) FROM notices")[0][0]
        cases.close()
        store.close()
    return float(parts / seconds)


def main(argv: list[str] | None = None) -> int:
    """Measure sending notices to one SMSC."""
    args = parser("notices", main.__doc__).parse_args(argv)
    FOLDER.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Figure] = {}
    for language in ("fa", "en"):
        rates = [submissions_per_second(language) for _ in range(args.rounds)]
        figures[f"{NOTICES:,} notices, {language}"] = median(rates, "submit_sm/s")
    return publish("notices", args, figures)


if __name__ == "__main__":
    sys.exit(main())
