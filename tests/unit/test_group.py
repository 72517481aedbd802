"""Daemons that keep the same cases."""

from __future__ import annotations

import asyncio
import datetime as dt
import zoneinfo
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from notice_group import LEASE, MemoryBoard, MemoryServer, Node

from eir.notify import cases as cases_module
from eir.notify import group as group_module
from eir.notify.case import Event, State
from eir.notify.group import GroupState
from eir.notify.outbox import NoticeState
from eir.notify.schedule import DAY, HOUR
from eir.verdict import Reason

TEHRAN = zoneinfo.ZoneInfo("Asia/Tehran")
START = int(dt.datetime(2026, 11, 1, 12, tzinfo=TEHRAN).timestamp())
KEY, SIM, OTHER = 35_693_803_564_380, 1_432_110_000_000_001, 1_432_110_000_000_002


class Town:
    """Some nodes at one server, and the time."""

    def __init__(self, folder: Path, count: int) -> None:
        self.now, self.said, self.nodes = START, [], {}
        self.server = MemoryServer(lambda: self.now)
        self.cut: set[int] = set()
        self.all = [self.node(folder / f"n{number}", number) for number in range(count)]

    def node(self, folder: Path, number: int) -> Node:
        async def connect() -> MemoryBoard:
            board = MemoryBoard(self.server, lambda: number not in self.cut)
            board._up()
            return board

        return Node(folder, connect, lambda: self.now, self.said, self.nodes)

    async def turns(self, count: int = 1, seconds: int = 0) -> None:
        for _ in range(count):
            for node in self.all:
                if node.up:
                    await node.turn()
            self.now += seconds

    async def settle(self) -> None:
        """Until everybody works with everybody."""
        await self.turns(6, int(LEASE) // 3)

    async def pass_(self, days: float, step: int = HOUR) -> None:
        """Time passes, and everybody sends."""
        end = self.now + int(days * DAY)
        while self.now < end:
            # Presence and leases are of seconds: within each step everybody speaks a few times.
            await self.settle()
            for node in self.all:
                if node.up:
                    await node.send()
            await self.turns(2)
            self.now += step


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases_module, "EXTENT_BITS", 6)
    monkeypatch.setattr(cases_module, "EXTENT_ROWS", 64)
    monkeypatch.setattr(group_module, "SPEAK_SECONDS", 0)
    monkeypatch.setattr(group_module, "RETRY_SECONDS", 0)


Make = Callable[[int], Town]


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Make]:
    made: list[Town] = []

    def make(count: int) -> Town:
        made.append(Town(tmp_path, count))
        return made[-1]

    yield make
    for node in (node for one in made for node in one.all):
        node.kill()


def running(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]


def test_the_earliest_sighting_wins_everywhere(town: Make) -> None:
    async def work() -> None:
        here = town(3)
        one, two, three = here.all
        one.seen(KEY, SIM, START + 50)
        two.seen(KEY, SIM, START + 20)
        here.now = START + 100
        await here.turns(3)
        for node in (one, two, three):
            case = node.case(KEY, SIM)
            assert case is not None
            assert case.opened_at == START + 20
            assert case.seen_at == START + 50

    running(work)


def test_a_whole_course_is_told_once_by_anybody(town: Make) -> None:
    async def work() -> None:
        here = town(3)
        here.all[0].seen(KEY, SIM)
        here.all[1].seen(KEY, OTHER)
        for _ in range(34):
            await here.pass_(1, 6 * HOUR)
            here.all[2].seen(KEY, SIM)
            here.all[0].seen(KEY, OTHER)
        for sim in (SIM, OTHER):
            stages = [one.stage for one in here.said if one.pair == (KEY, sim)]
            assert stages == ["first", "reminder", "reminder", "last", "cut_off"]
            cases = [node.case(KEY, sim) for node in here.all]
            assert {case.state for case in cases if case} == {State.CUT_OFF}
            assert len({(case.clock_at, case.warned_at, case.deadline) for case in cases if case}) == 1

    running(work)


def test_a_resolved_subscriber_is_told_once(town: Make) -> None:
    async def work() -> None:
        here = town(3)
        here.all[0].seen(KEY, SIM)
        await here.pass_(1)
        for node in here.all:
            node.answers[KEY, SIM] = Reason.OWNER
            node.keeper.look_again([node.cases.number(KEY, SIM)], here.now)
            node.keeper.commit()
            await here.pass_(0.1)
        await here.pass_(1)
        assert [one.stage for one in here.said] == ["first", "resolved"]
        assert not any(node.keeper.outbox.waiting(here.now, 10) for node in here.all)

    running(work)


def test_a_dead_daemons_notice_is_taken_over_and_counted(town: Make) -> None:
    async def work() -> None:
        here = town(2)
        one, two = here.all
        one.seen(KEY, SIM)
        await here.settle()
        going = await one.claim() or await two.claim()
        dead, alive = (one, two) if one.member.claims.held()[0] else (two, one)
        dead.take(going)
        dead.kill()
        await alive.send()
        assert len(here.said) == 1
        for _ in range(8):
            await here.turns(2, 3)
            await alive.send()
        assert [said.stage for said in here.said] == ["first", "first"]
        assert alive.group.counts["taken_over"] == 1
        dead.start()
        await here.settle()
        await here.pass_(0.2)
        assert len(here.said) == 2
        case = dead.case(KEY, SIM)
        assert case is not None
        assert case.warned_at == here.said[1].at

    running(work)


def test_while_redis_is_away_nothing_new_is_claimed(town: Make) -> None:
    async def work() -> None:
        here = town(2)
        one, two = here.all
        await here.settle()
        here.server.up = False
        one.seen(KEY, SIM)
        await here.turns(2, 5)
        assert one.case(KEY, SIM) is not None
        assert one.group.state is GroupState.AWAY
        await one.send()
        await two.send()
        assert here.said == []
        here.server.up = True
        await here.settle()
        await here.pass_(0.1)
        assert [said.stage for said in here.said] == ["first"]
        assert two.case(KEY, SIM) is not None

    running(work)


def test_deadlines_do_not_fall_while_redis_is_away(town: Make) -> None:
    async def work() -> None:
        here = town(2)
        here.all[0].seen(KEY, SIM)
        for _ in range(27):
            await here.pass_(1, 6 * HOUR)
            here.all[0].seen(KEY, SIM)
        here.server.up = False
        await here.pass_(5, 6 * HOUR)
        assert {node.case(KEY, SIM).state for node in here.all} == {State.OPEN}  # type: ignore[union-attr]
        here.server.up = True
        await here.pass_(1.5)
        assert {node.case(KEY, SIM).state for node in here.all} == {State.CUT_OFF}  # type: ignore[union-attr]
        assert [one.stage for one in here.said][-1] == "cut_off"

    running(work)


def test_what_was_flushed_is_asked_for(town: Make) -> None:
    async def work() -> None:
        here = town(2)
        one, two = here.all
        await here.settle()
        one.seen(KEY, SIM)
        one.seen(KEY, OTHER)
        await one.turn()
        here.server.flush()
        assert two.case(KEY, SIM) is None
        await here.settle()
        await here.settle()
        assert two.case(KEY, SIM) == one.case(KEY, SIM)
        assert two.group.counts["caught_up"] == 1
        assert two.together

    running(work)


def test_a_daemon_that_comes_anew_takes_what_the_others_know(town: Make, tmp_path: Path) -> None:
    async def work() -> None:
        here = town(2)
        here.all[0].seen(KEY, SIM)
        await here.pass_(1)
        here.server.trim(0)
        here.all.append(here.node(tmp_path / "new", 9))
        await here.settle()
        await here.settle()
        new = here.all[-1]
        assert new.together
        assert new.case(KEY, SIM) == here.all[0].case(KEY, SIM)
        await here.pass_(2)
        assert [said.stage for said in here.said] == ["first"]

    running(work)


def test_a_hold_is_known_to_all_with_who_and_why(town: Make) -> None:
    async def work() -> None:
        here = town(2)
        one, two = here.all
        one.seen(KEY, SIM)
        await here.pass_(1)
        number = two.cases.number(KEY, SIM)
        two.keeper.act(number, Event.HOLD, here.now, here.now + 50 * DAY, "maryam", "in court")
        two.keeper.commit()
        await here.turns(2)
        held = one.case(KEY, SIM)
        assert held is not None
        assert held.state == State.HELD
        assert held == two.case(KEY, SIM)
        history = one.cases.history(one.cases.number(KEY, SIM))
        assert ("maryam", "in court") in {(line.who, line.why) for line in history}
        await here.pass_(45, DAY)
        assert [said.stage for said in here.said] == ["first"]

    running(work)


def test_a_hold_that_could_not_be_told_goes_before_the_deadline(town: Make) -> None:
    async def work() -> None:
        here = town(2)
        one, two = here.all
        one.seen(KEY, SIM)
        for _ in range(29):
            await here.pass_(1, 6 * HOUR)
            one.seen(KEY, SIM)
        here.cut.add(1)
        await here.settle()
        two.keeper.act(two.cases.number(KEY, SIM), Event.HOLD, here.now, here.now + 50 * DAY, "m", "court")
        two.keeper.commit()
        await here.pass_(3, 6 * HOUR)
        assert one.case(KEY, SIM).state == State.CUT_OFF  # type: ignore[union-attr]
        here.cut.clear()
        await here.settle()
        await here.settle()
        assert one.case(KEY, SIM).state == State.HELD  # type: ignore[union-attr]
        assert one.case(KEY, SIM) == two.case(KEY, SIM)

    running(work)


def test_a_withdrawn_case_is_warned_anew_by_one(town: Make) -> None:
    async def work() -> None:
        here = town(2)
        one, two = here.all
        one.seen(KEY, SIM)
        await here.pass_(1)
        one.keeper.act(one.cases.number(KEY, SIM), Event.WITHDRAW, here.now, here.now + DAY, "m", "in error")
        one.keeper.commit()
        await here.pass_(2)
        assert two.case(KEY, SIM).warned_at == 0  # type: ignore[union-attr]
        two.seen(KEY, SIM)
        await here.pass_(2)
        assert [said.stage for said in here.said] == ["first", "first"]
        assert one.case(KEY, SIM) == two.case(KEY, SIM)

    running(work)


def test_what_does_not_hold_here_yet_waits(town: Make) -> None:
    async def work() -> None:
        here = town(2)
        one, two = here.all
        two.answers[KEY, SIM] = Reason.OWNER
        one.seen(KEY, SIM)
        await here.turns(3)
        assert two.case(KEY, SIM) is None
        assert len(two.member.notes.unplaced) == 1
        two.kill()
        two.start()
        del two.answers[KEY, SIM]
        await here.turns(3)
        assert two.case(KEY, SIM) == one.case(KEY, SIM)
        assert not two.member.notes.unplaced

    running(work)


def test_a_later_case_is_not_moved_by_a_sighting_of_the_one_before(town: Make) -> None:
    async def work() -> None:
        here = town(2)
        one, two = here.all
        here.cut.add(0)
        one.seen(KEY, SIM)
        here.now += HOUR
        two.seen(KEY, SIM)
        two.answers[KEY, SIM] = Reason.OWNER
        two.keeper.look_again([0], here.now)
        here.now += HOUR
        del two.answers[KEY, SIM]
        two.seen(KEY, SIM)
        opened = here.now
        here.cut.clear()
        await here.turns(4)
        assert two.case(KEY, SIM).opened_at == opened  # type: ignore[union-attr]

    running(work)


def test_a_failed_notice_is_not_tried_by_everybody(town: Make) -> None:
    async def work() -> None:
        here = town(2)
        here.all[0].seen(KEY, SIM)
        await here.settle()
        for node in here.all:
            for notice in await node.claim():
                node.keeper.refused(notice, "permanent 0x0B", here.now, permanent=True)
                node.keeper.commit()
            await here.turns(2)
        failed = NoticeState.FAILED
        assert [node.keeper.outbox.counts()[failed] for node in here.all] == [1, 1]
        await here.pass_(0.5)
        assert here.said == []
        await here.pass_(1)
        assert [said.stage for said in here.said] == ["first"]

    running(work)


def test_cut_offs_per_hour_are_those_of_all_together(town: Make) -> None:
    async def work() -> None:
        here = town(3)
        board = MemoryBoard(here.server)
        from eir.notify.board import PerHour

        got = [(await board.claim([f"c{n}"], f"d{n}", 10, PerHour(2, 7))).got[0] for n in range(3)]
        assert [int(one) for one in got] == [1, 1, 0]

    running(work)


def test_what_was_told_before_a_claim_was_granted_is_heard_before_it_is_used(town: Make) -> None:
    async def work() -> None:
        here = town(2)
        one, two = here.all
        one.seen(KEY, SIM)
        await here.settle()
        for node in here.all:
            node.member.claims.candidates(10, node.group.share)
            node.keeper.commit()
        owner, other = (one, two) if one.group.share.has(one.case(KEY, SIM)) else (two, one)  # type: ignore[arg-type]
        await here.turns(8, 3)
        wanted = other.member.claims.candidates(10, other.group.share)
        assert len(wanted) == 1
        await owner.send()
        assert here.said
        await owner.group.speak()  # told, and let go
        board = MemoryBoard(here.server)
        claimed = await board.claim([wanted[0].claim], other.name, LEASE)
        assert [int(got) for got in claimed.got] == [1]
        assert claimed.last_id != other.member.notes.position  # not heard yet
        await other.group.listen()
        assert claimed.last_id == other.member.notes.position
        assert other.member.claims.still_due(wanted) == []

    running(work)


def test_claims_that_were_not_made_use_of_are_let_go(town: Make) -> None:
    async def work() -> None:
        here = town(1)
        (one,) = here.all
        one.seen(KEY, SIM)
        await here.settle()
        assert len(await one.group.claimed(10)) == 1
        here.now += int(LEASE) // 2
        await one.turn()
        assert here.server.claims  # about to be submitted, however long that takes
        one.group.used()
        here.now += int(LEASE) // 2
        await one.turn()
        assert not here.server.claims

    running(work)


def test_a_claim_is_renewed_until_its_answer_is_told(town: Make) -> None:
    async def work() -> None:
        here = town(2)
        one, two = here.all
        one.seen(KEY, SIM)
        await here.settle()
        going = await one.claim() or await two.claim()
        sender, other = (one, two) if one.member.claims.held()[0] else (two, one)
        for _ in range(20):
            await here.turns(1, 3)
            assert await other.claim() == []
        sender.take(going)
        sender.answer(going)
        await here.settle()
        assert await other.claim() == []
        assert not here.server.claims
        assert other.group.counts["taken_over"] == 0

    running(work)


def test_lines_beyond_the_bound_are_given_up_and_asked_for(town: Make) -> None:
    async def work() -> None:
        here = town(2)
        one, two = here.all
        await here.settle()
        one.member.teller._lines_max = 10
        here.cut.add(0)
        await one.turn()
        for number in range(40):
            one.seen(KEY + number, SIM)
        assert one.member.counts["lines_dropped"] > 0
        here.cut.clear()
        await here.settle()
        await here.settle()
        assert all(two.case(KEY + number, SIM) == one.case(KEY + number, SIM) for number in range(40))
        assert two.together

    running(work)


def test_lines_of_a_backup_that_was_restored_are_taken(town: Make, tmp_path: Path) -> None:
    async def work() -> None:
        here = town(1)
        (one,) = here.all
        await here.settle()
        one.kill()
        backup = (one.folder / "cases.db").read_bytes()
        one.start()
        one.seen(KEY, SIM)
        await here.settle()
        one.kill()
        for path in one.folder.iterdir():
            path.unlink()
        (one.folder / "cases.db").write_bytes(backup)
        one.start()
        assert one.case(KEY, SIM) is None
        await here.settle()
        assert one.case(KEY, SIM) is not None
        assert one.member.counts["lines_strange"] == 1

    running(work)


def test_garbage_in_the_stream_is_counted_and_passed_over(town: Make) -> None:
    async def work() -> None:
        here = town(2)
        board = MemoryBoard(here.server)
        for data in (b"", b"garbage", b"\x0a\x01a"):
            await board.add(data)
        here.all[0].seen(KEY, SIM)
        await here.turns(3)
        assert here.all[1].case(KEY, SIM) is not None
        assert here.all[1].member.counts["lines_refused"] == 3

    running(work)


def test_a_new_sim_of_an_unregistered_phone_has_the_grace_of_the_first_everywhere(town: Make) -> None:
    async def work() -> None:
        here = town(2)
        one, two = here.all
        causes = one.settings.cause
        cause = replace(causes["not_registered"], clock_start="first_sighting")
        settings = replace(one.settings, cause={**causes, "not_registered": cause})
        for node in here.all:
            node.keeper.use_policy(settings)
            node.answers |= {(KEY, SIM): Reason.NOT_REGISTERED, (KEY, OTHER): Reason.NOT_REGISTERED}
        one.seen(KEY, SIM, START)
        two.seen(KEY, OTHER, START + 100)
        await here.turns(3)
        for node in here.all:
            assert {node.case(KEY, sim).clock_at for sim in (SIM, OTHER)} == {START}  # type: ignore[union-attr]

    running(work)


def test_who_was_told_of_his_cut_off_is_not_told_again_by_one_who_hears_of_it_late(town: Make) -> None:
    async def work() -> None:
        here = town(2)
        one, two = here.all
        one.seen(KEY, SIM)
        for _ in range(29):
            await here.pass_(1, 6 * HOUR)
            one.seen(KEY, SIM)
        here.cut.add(1)
        await here.pass_(3, 6 * HOUR)
        assert here.said[-1].stage == "cut_off"
        here.cut.clear()
        await here.settle()
        number = two.cases.number(KEY, SIM)
        assert two.cases.get(number).state == State.CUT_OFF
        assert not two.keeper.outbox.waiting_of([number])
        ends = [one for one in two.keeper.outbox.of_case(number, 0) if one.stage == "cut_off"]
        assert [one.state for one in ends] == [NoticeState.ACCEPTED]

    running(work)


def test_a_daemon_that_ends_tells_what_it_did_and_leaves(town: Make) -> None:
    async def work() -> None:
        here = town(1)
        (one,) = here.all
        await here.settle()
        running = asyncio.create_task(one.group.run())
        await asyncio.sleep(0.05)
        one.seen(KEY, SIM)
        lines = len(here.server.lines)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert len(here.server.lines) == lines + 1
        assert not here.server.members
        assert one.group.state is GroupState.AWAY

    running(work)
