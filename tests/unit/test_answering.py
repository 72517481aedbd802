"""Subscribers who ask by SMS, over a real SMSC end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from casework import KEY, NOTICES, SIM, Office, office
from test_link import Smsc

from eir.inquiry.inquirer import Inquirer
from eir.settings import Notices
from eir.whitelist.operation import Operation
from eir.whitelist.rows import BlockCause, Op, Role

SENDER = "989120000001"
NUMBER = Operation(Op.SUBSCRIBER, imsi=SIM, time=1_989_120_000_001, name="fa")
IMEI = "۳۵۶۹۳۸۰۳۵۶۴۳۸۰۹"


def run(folder: Path, test: Callable[[Office, Smsc], Awaitable[None]], notices: Notices = NOTICES) -> None:
    async def main() -> None:
        async with office(folder, notices=notices) as (made, smsc):
            made.state.inquirer = Inquirer(
                made.store, folder / "registry.db", made.state.working, made.state.clock
            )
            while not smsc.sessions:
                await asyncio.sleep(0.01)
            await test(made, smsc)

    asyncio.run(main())


async def say(smsc: Smsc, text: str, source: str = SENDER) -> None:
    (session,) = smsc.sessions.values()
    await session.deliver_sm(
        "EIR",
        text.encode("utf-16-be"),
        source_addr=source,
        source_addr_ton=1,
        source_addr_npi=1,
        data_coding=8,
    )


async def answer(smsc: Smsc, before: int = 0) -> str:
    """What the subscriber's phone shows."""
    async with asyncio.timeout(20):
        while len(smsc.taken) < before + 2:
            await asyncio.sleep(0.01)
    parts = sorted(event.short_message for event in smsc.taken[before:])
    assert {event.destination_addr for event in smsc.taken[before:]} == {SENDER}
    return b"".join(part[6:] for part in parts).decode("utf-16-be")


def test_the_public_status_in_the_language_of_who_asks(tmp_path: Path) -> None:
    async def test(made: Office, smsc: Smsc) -> None:
        await made.delta(NUMBER)
        await say(smsc, IMEI)
        assert "\u200e643809\u200e در میان گوشی‌های ثبت‌شده و مجاز یافت نشد" in await answer(smsc)
        await made.delta(Operation(Op.REGISTER, KEY))
        await say(smsc, IMEI)
        registered = await answer(smsc, 2)
        assert "\u200e643809\u200e ثبت شده است" in registered
        await made.delta(Operation(Op.PAIR, KEY, imsi=SIM, cause=Role.OWNER))
        await say(smsc, IMEI)
        assert await answer(smsc, 4) == registered
        await made.delta(Operation(Op.BLOCK, KEY, cause=BlockCause.STOLEN, name="police"))
        await say(smsc, IMEI)
        assert "سرقتی" in await answer(smsc, 6)
        counts = made.desk.keeper.counts
        await made.until(lambda: counts["replies_sent"] == 4)
        assert counts["incoming_asked"] == 4

    run(tmp_path, test)


@pytest.mark.parametrize("why", ["too often", "no IMEI", "a short code", "off"])
def test_who_is_not_answered(tmp_path: Path, why: str) -> None:
    notices = replace(NOTICES, sender_hourly_questions_max=0 if why == "off" else 1)

    async def test(made: Office, smsc: Smsc) -> None:
        counts = made.desk.keeper.counts
        text, source = ("hello" if why == "no IMEI" else IMEI), ("5000" if why == "a short code" else SENDER)
        for _ in range(2):
            await say(smsc, text, source)
        await made.until(lambda: sum(n for name, n in counts.items() if name.startswith("incoming")) == 2)
        await made.until(lambda: counts["replies_sent"] == (why == "too often"))
        assert len(smsc.taken) == (1 if why == "too often" else 0), "the shipped texts are in English here"

    run(tmp_path, test, notices)
