"""Cases and notices in a daemon's parts: store, checker, desk, SMSC."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from casework import KEY, SIM, Office, office
from test_link import Smsc

from eir.notify.case import State
from eir.notify.outbox import NoticeState
from eir.notify.schedule import DAY
from eir.whitelist.operation import Operation
from eir.whitelist.rows import Op, Role

ENFORCED = """
name = "enforced"
home_plmns = ["43211", "43235"]
[cause.never_activated]
mode = "enforce"
grace_days = 10
clock_start = "first_sighting"
[notices]
warned_days_min = 3
"""
REGISTER = Operation(Op.REGISTER, KEY)
PAIR = Operation(Op.PAIR, KEY, imsi=SIM, cause=Role.OWNER)
NUMBER = Operation(Op.SUBSCRIBER, imsi=SIM, time=1_989_120_000_001, name="en")


def run(folder: Path, test: Callable[[Office, Smsc], Awaitable[None]], **settings: object) -> None:
    async def main() -> None:
        async with office(folder, **settings) as (made, smsc):  # type: ignore[arg-type]
            await test(made, smsc)

    asyncio.run(main())


def text_of(smsc: Smsc, first: int = 0) -> str:
    """What a phone shows of the parts from one on."""
    parts = sorted(event.short_message for event in smsc.taken[first:])
    return b"".join(part[6:] if part[:2] == b"\x05\x00" else part for part in parts).decode("latin-1")


def test_sighted_warned_paired_told(tmp_path: Path) -> None:
    async def test(made: Office, smsc: Smsc) -> None:
        await made.delta(REGISTER, NUMBER)
        made.seen()
        outbox = made.desk.keeper.outbox
        await made.until(lambda: outbox.counts()[NoticeState.ACCEPTED] == 1)
        assert "IMEI ending in 564380" in text_of(smsc)
        assert {event.destination_addr for event in smsc.taken} == {"989120000001"}
        parts = len(smsc.taken)
        await made.delta(PAIR)
        await made.until(lambda: made.desk.keeper.cases.states()[State.RESOLVED] == 1)
        made.now += DAY
        await made.until(lambda: outbox.counts()[NoticeState.ACCEPTED] == 2)
        assert "in order now" in text_of(smsc, parts)

    run(tmp_path, test)
