"""The casework of a daemon in this process: store, checker, SMSC end are real; the clock is set."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import zoneinfo
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import store_model
from test_link import Smsc

from eir.check import Checker
from eir.clock import monotonic
from eir.config import Config
from eir.identity import imei_text, imsi_text
from eir.metrics import Metrics
from eir.notify.case import Case
from eir.notify.desk import Desk
from eir.notify.keeper import Sighting
from eir.policy import Policy, compile_policy, default_policy_text
from eir.server.desk import Casework
from eir.server.state import State
from eir.settings import Notices
from eir.settings import Smsc as SmscSettings
from eir.whitelist.operation import Operation
from eir.whitelist.store import Limits, Store

TEHRAN = zoneinfo.ZoneInfo("Asia/Tehran")
NOON = int(dt.datetime(2026, 11, 1, 12, tzinfo=TEHRAN).timestamp())
KEY, SIM, OTHER = 35_693_803_564_380, 1_432_110_000_000_001, 1_432_110_000_000_002
NOTICES = Notices(enabled=True, code="*7777#", helpline="02127480000", language="en")
SECONDS_MAX = 20


class Told(deque[Sighting]):
    """Sightings as checks tell them."""

    def take(self, limit: int) -> list[Sighting]:
        return [self.popleft() for _ in range(min(limit, len(self)))]


class Office:
    """What a daemon has of it."""

    def __init__(
        self, folder: Path, smscs: dict[str, SmscSettings], notices: Notices, policy: Policy
    ) -> None:
        self.now = NOON
        self.folder, self.policy = folder, policy
        config = Config(data_dir=folder, notices=notices, smsc=smscs)
        self.state = State(config, Metrics(), lambda: self.now, "portable")
        self.told = Told()

    async def start(self) -> None:
        state = self.state
        limits = Limits(rebuild_bytes_per_second_max=0)
        if not state.config.notices.enabled:
            state.store = await state.write(lambda: Store.open(self.folder, clock=state.clock, limits=limits))
            return
        state.casework = Casework(state)
        loading = asyncio.create_task(state.casework.load())
        state.store = await state.write(lambda: Store.open(self.folder, clock=state.clock, limits=limits))
        await loading
        state.checker = Checker(state.store, self.policy, state.clock)
        await state.casework.begin()
        if state.casework.desk is not None:
            state.casework.desk.sightings = self.told
        state.casework.start()

    async def stop(self) -> None:
        if self.state.casework is not None:
            await self.state.casework.close()
        await self.state.close()

    @property
    def desk(self) -> Desk:
        assert self.state.casework is not None
        assert self.state.casework.desk is not None
        return self.state.casework.desk

    @property
    def store(self) -> Store:
        return self.state.loaded()

    async def delta(self, *operations: Operation, feed: str = "hamta") -> None:
        """Apply operations; the feed is complete until now."""
        await self.state.write(
            lambda: store_model.push(self.store, list(operations), feed, complete_until=self.now)
        )

    def seen(self, key: int = KEY, imsi: int = SIM, msisdn: str = "") -> None:
        """A check told of a pair."""
        self.told.append(Sighting(key, imsi, self.now, msisdn))

    def reason(self, key: int = KEY, imsi: int = SIM) -> int:
        return self.state.working().check(imei_text(key), imsi_text(imsi), "", False).reason

    async def case(self, key: int = KEY, imsi: int = SIM) -> Case | None:
        def work() -> Case | None:
            number = self.desk.keeper.cases.number(key, imsi)
            return self.desk.keeper.cases.get(number) if number >= 0 else None

        return await self.desk.in_thread(work)

    async def later(self, seconds: int) -> None:
        """Let time pass, and the clock that went so far be believed."""
        self.now += seconds
        await self.desk.in_thread(lambda: self.desk.watch.believe(self.now, monotonic()))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for something to come about."""
        async with asyncio.timeout(SECONDS_MAX):
            while not await self.desk.in_thread(holds):
                await asyncio.sleep(0.01)


def smsc_at(port: int, **changes: object) -> SmscSettings:
    """Settings of an SMSC on loopback."""
    made = SmscSettings(
        host="127.0.0.1", port=port, system_id="eir", sender="EIR", parts_per_second_max=10_000.0
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def office(
    folder: Path,
    *,
    notices: Notices = NOTICES,
    smsc: bool = True,
    policy: str = "",
    **changes: object,
) -> AsyncIterator[tuple[Office, Smsc]]:
    """A desk at work."""
    end = Smsc()
    await end.server.start()
    taking = asyncio.create_task(end.run())
    smscs = {"main": smsc_at(end.port, **changes)} if smsc else {}
    made = Office(folder, smscs, notices, compile_policy(policy or default_policy_text()))
    try:
        await made.start()
        yield made, end
    finally:
        await made.stop()
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        await end.server.stop()
