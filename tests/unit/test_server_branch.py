"""A daemon without cases of its own, beside a desk at work, over real gRPC."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from casework import KEY, NOON, NOTICES, OTHER, SIM, Office, office
from exchange import serving
from structlog.testing import capture_logs
from test_server_desk import PAIR, REGISTER

from eir.check import Checker
from eir.config import Config
from eir.metrics import Metrics
from eir.notify.followed import FILE
from eir.server import branch as branch_module
from eir.server.branch import Branch
from eir.server.state import State
from eir.whitelist.store import Limits, Store

SECONDS_MAX = 100


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are tried again soon."""
    monkeypatch.setattr(branch_module, "BACKOFF_SECONDS_MIN", 0.02)
    monkeypatch.setattr(branch_module, "BACKOFF_SECONDS_MAX", 0.1)


class Away:
    """A branch, and its own checks."""

    def __init__(self, folder: Path, port: int) -> None:
        notices = replace(NOTICES, owner=f"127.0.0.1:{port}", sighting_repeat_seconds=0)
        folder.mkdir(exist_ok=True)
        self.state = State(Config(data_dir=folder, notices=notices), Metrics(), lambda: NOON, "portable")
        self.store = Store.open(folder, clock=lambda: NOON, limits=Limits())
        self.folder = folder

    async def start(self, made: Office) -> None:
        self.branch = self.state.casework = Branch(self.state)
        self.state.checker = Checker(self.store, made.policy, lambda: NOON)
        await self.branch.load()
        await self.branch.begin()
        self.branch.start()

    async def stop(self) -> None:
        await self.branch.close()
        self.store.close()

    def seen(self, imsi: int = SIM, key: int = KEY) -> None:
        assert self.state.sightings is not None
        self.state.sightings.note(key, imsi, NOON)

    def lost(self) -> bool:
        """Whether readiness says that the owner is away."""
        return any("is away" in why for why in self.state.readiness.reasons())

    def knows(self, imsi: int = SIM) -> bool:
        assert self.state.checker is not None
        assert self.state.checker.cases is not None
        return self.state.checker.cases.find(KEY, imsi) is not None


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while not holds():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def away(folder: Path, port: int, made: Office) -> AsyncIterator[Away]:
    one = Away(folder, port)
    await one.start(made)
    try:
        yield one
    finally:
        await one.stop()


def run(folder: Path, test: Callable[[Office, int], Awaitable[None]]) -> None:
    async def main() -> None:
        async with office(folder / "owner", smsc=False) as (made, _):
            await made.delta(REGISTER)
            async with serving(made.state) as port:
                await test(made, port)

    (folder / "owner").mkdir()
    asyncio.run(main())


def test_sightings_go_to_the_owner_and_its_cases_come_here(tmp_path: Path) -> None:
    async def test(made: Office, port: int) -> None:
        async with away(tmp_path / "branch", port, made) as one:
            one.seen()
            await until(one.knows)
            assert await made.case() is not None
            made.seen(imsi=OTHER)
            await until(lambda: one.knows(OTHER))
            assert not one.lost()
            await made.delta(PAIR)
            await until(lambda: not one.knows() and not one.knows(OTHER))
            assert one.branch.followed is not None
            assert len(one.branch.followed) == 0

    run(tmp_path, test)


def test_what_is_known_is_kept_and_sightings_wait_while_the_owner_is_away(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "owner").mkdir()
        async with office(tmp_path / "owner", smsc=False) as (made, _):
            await made.delta(REGISTER)
            async with serving(made.state) as port, away(tmp_path / "branch", port, made) as one:
                one.seen()
                await until(one.knows)
            async with away(tmp_path / "branch", port, made) as one:
                assert one.knows()
                one.seen(OTHER)
                await until(one.lost)
                assert not one.knows(OTHER)
                async with serving(made.state, port):
                    await until(lambda: one.knows(OTHER))
                    await until(lambda: not one.lost())

    asyncio.run(main())


def test_a_damaged_file_is_said_and_all_is_asked_for_anew(tmp_path: Path) -> None:
    async def test(made: Office, port: int) -> None:
        async with away(tmp_path / "branch", port, made) as one:
            one.seen()
            await until(one.knows)
        path = tmp_path / "branch" / FILE
        path.write_bytes(path.read_bytes()[:-1])
        with capture_logs() as logs:
            async with away(tmp_path / "branch", port, made) as one:
                await until(one.knows)
        assert "cases are asked for anew" in {line["event"] for line in logs}

    run(tmp_path, test)


def test_a_batch_that_the_owner_refuses_does_not_hold_up_the_next(tmp_path: Path) -> None:
    async def test(made: Office, port: int) -> None:
        async with away(tmp_path / "branch", port, made) as one:
            one.seen(key=0)
            failed = one.state.metrics.group.forwarded["failed"]
            await until(lambda: failed._value.get() == 1)  # type: ignore[attr-defined]
            one.seen()
            await until(one.knows)

    run(tmp_path, test)
