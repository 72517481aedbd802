"""The desk: durable soon, listeners told, what fails is done again, everything in order at the end."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import case_samples
import pytest
from casework import KEY, NOON, NOTICES, SIM, Office, office
from test_link import Smsc
from test_server_desk import ENFORCED, NUMBER, PAIR, REGISTER, opened, run, settled

from eir.errors import InvalidRequestError, StorageError
from eir.notify.case import Event, State
from eir.notify.notebook import CLOCK
from eir.notify.outbox import NoticeState
from eir.notify.schedule import DAY, Shift

ALL = (0, 1 << 60)


def test_a_case_is_durable_soon_after_its_sighting(tmp_path: Path) -> None:
    async def test(made: Office, smsc: Smsc) -> None:
        await made.delta(REGISTER)
        told: list[int] = []
        made.desk.listeners.append(lambda numbers: told.extend(numbers))
        waits = []
        for number in range(20):
            started = time.perf_counter()
            made.seen(imsi=SIM + number, key=KEY + number)
            while number not in told:
                await asyncio.sleep(0.001)
            waits.append(time.perf_counter() - started)
        assert list(dict.fromkeys(told)) == list(range(20))
        assert sorted(waits)[10] < 0.2

    run(tmp_path, test, smsc=False)


def test_what_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    async def test(made: Office, smsc: Smsc) -> None:
        await made.delta(REGISTER)
        cases, commit = made.desk.keeper.cases, made.desk.keeper.cases.commit
        full = True

        def fails() -> None:
            if full:
                raise StorageError("disk full")
            commit()

        cases.commit = fails  # type: ignore[method-assign]
        made.seen()
        await made.until(lambda: made.desk.storage == "disk full")
        assert made.state.casework is not None
        await made.state.casework.refresh()
        assert "cases: disk full" in made.state.readiness.reasons()
        full = False
        await made.until(lambda: not made.desk.storage)
        await made.state.casework.refresh()
        assert not [one for one in made.state.readiness.reasons() if one.startswith("cases")]
        assert (await made.desk.in_thread(cases.history, 0))[0].event.startswith("opened")

    run(tmp_path, test, smsc=False)


def test_people_act_and_are_refused(tmp_path: Path) -> None:
    async def test(made: Office, smsc: Smsc) -> None:
        await made.delta(REGISTER)
        await opened(made, (KEY, SIM))
        desk = made.desk
        held = await desk.in_thread(desk.act, 0, Event.HOLD, NOON + DAY, "me", "court")
        assert held.state == State.HELD
        with pytest.raises(InvalidRequestError):
            await desk.in_thread(desk.act, 0, Event.HOLD, NOON, "me", "court")
        noted = await desk.in_thread(desk.shift, Shift(DAY, None, ALL, ALL), "all", "me", "amnesty")
        assert desk.keeper.shifts == {1: noted.shift}
        await desk.in_thread(desk.unshift, 1, "me", "over")
        assert desk.keeper.shifts == {}
        with pytest.raises(InvalidRequestError):
            await desk.in_thread(desk.unshift, 2, "me", "over")

    run(tmp_path, test, smsc=False)


def test_a_jump_of_the_clock_is_doubted_and_the_time_is_noted(tmp_path: Path) -> None:
    async def before(made: Office, smsc: Smsc) -> None:
        await made.delta(REGISTER)
        await made.until(lambda: made.desk.notebook.get(CLOCK, 0) == NOON)
        made.now += DAY
        await made.until(lambda: "jumped by +86" in made.desk.watch.why)
        assert made.state.casework is not None
        await made.state.casework.refresh()
        assert [one for one in made.state.readiness.reasons() if one.startswith("notices: the clock jumped")]
        await made.delta(REGISTER._replace(imei=KEY + 1))
        await made.until(lambda: not made.desk.watch.why)
        await made.until(lambda: made.desk.notebook.get(CLOCK, 0) == NOON + DAY)

    async def after(made: Office, smsc: Smsc) -> None:
        await made.until(lambda: "went back" in made.desk.watch.why)
        await made.desk.in_thread(made.desk.release)
        assert not made.desk.watch.why

    run(tmp_path, before, smsc=False)
    run(tmp_path, after, smsc=False)


def test_what_ended_long_ago_is_forgotten(tmp_path: Path) -> None:
    async def test(made: Office, smsc: Smsc) -> None:
        await made.delta(REGISTER)
        await opened(made, (KEY, SIM), (KEY, SIM + 1))
        outbox = made.desk.keeper.outbox
        await made.until(lambda: outbox.counts()[NoticeState.DUE] == 2)
        await made.delta(PAIR)
        await settled(made)
        assert made.desk.keeper.cases.states()[State.RESOLVED] == 2
        made.now += 401 * DAY

        def purge() -> None:
            while made.desk.purge():
                pass

        await made.desk.in_thread(purge)
        # One was paired; the other has another cause by that, and was resolved, too.
        assert made.desk.keeper.cases.states()[State.RESOLVED] == 0
        assert outbox.counts()[NoticeState.CANCELLED] == 0
        assert await made.desk.in_thread(made.desk.keeper.cases.history, 0) == []

    run(tmp_path, test, smsc=False)


def test_the_last_sightings_are_taken_at_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with office(tmp_path, smsc=False) as (made, _):
            await made.delta(REGISTER)
            made.seen()
        async with office(tmp_path, smsc=False) as (made, _):
            assert await made.case() is not None

    asyncio.run(main())


def test_a_drain_waits_for_answers(tmp_path: Path) -> None:
    async def before(made: Office, smsc: Smsc) -> None:
        await made.delta(REGISTER, NUMBER)
        answered = asyncio.Event()
        smsc.answer = lambda number: (answered.set(), f"id{number}")[1]
        await opened(made, (KEY, SIM))
        await answered.wait()

    async def after(made: Office, smsc: Smsc) -> None:
        assert made.desk.keeper.counts["repeated"] == 0
        assert made.desk.keeper.outbox.counts()[NoticeState.ACCEPTED] == 1

    run(tmp_path, before)
    run(tmp_path, after, smsc=False)


def test_folding_while_the_desk_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case_samples.small_extents(monkeypatch)
    monkeypatch.setattr("eir.notify.desk.UPKEEP_SECONDS", 0.05)
    monkeypatch.setattr("eir.notify.desk.LOG_BYTES_MAX", 1)

    async def test(made: Office, smsc: Smsc) -> None:
        await made.delta(REGISTER)
        await opened(made, (KEY, SIM))
        await made.until(lambda: bool(list(tmp_path.glob("cases-*.ext"))))
        await made.until(lambda: made.desk.keeper.cases.log_bytes() == 0)

    run(tmp_path, test, smsc=False, policy=ENFORCED, notices=NOTICES)


def test_a_damaged_subscriber_keeps_no_other_notice_back(tmp_path: Path) -> None:
    async def test(made: Office, smsc: Smsc) -> None:
        await made.delta(REGISTER, *(NUMBER._replace(imsi=SIM + n) for n in range(1_000)))
        other = SIM + 999  # of another block
        with contextlib.closing(sqlite3.connect(tmp_path / "registry.db")) as db, db:
            db.execute("UPDATE subscribers_by_imsi SET crc32c = 1 - crc32c WHERE first = 0")
            db.execute("UPDATE subscribers_by_msisdn SET crc32c = 1 - crc32c")
        known = await made.desk.in_thread(made.desk.subscribers, [SIM, other])
        assert list(known) == [other]
        # The number that a check named counts where the registry knows none, in the registry's language.
        made.seen(imsi=SIM, msisdn="989120000009")
        await made.until(lambda: not made.told)
        await made.until(lambda: bool(made.desk.notebook.numbers([SIM])))
        known = await made.desk.in_thread(made.desk.subscribers, [SIM, other])
        assert known[SIM].msisdn == 1_989_120_000_009

    run(tmp_path, test, smsc=False)


def test_no_feed_is_complete_while_a_delta_waits_to_be_seen(tmp_path: Path) -> None:
    async def test(made: Office, smsc: Smsc) -> None:
        await made.delta(REGISTER)
        tables = made.desk.tables
        assert tables.complete_until() == made.now
        before = made.store.generation
        behind = replace(tables, generation=lambda: replace(before, serial=before.serial - 1))
        assert behind.complete_until() == 0

    run(tmp_path, test, smsc=False)
