"""Three daemons that keep the same cases, seeded: whatever happens on the way, all end as the plain model.

    sightings, remedies ──► nodes ──lines──► server: away, flushed, trimmed, behind ──► nodes: killed, cut off
           └──plain model                                                              └── equal in the end

The model knows of each pair when it was first seen and when it was remedied, and
nothing of daemons. Held against it: the earliest sighting wins everywhere; nobody
is cut off unwarned; nothing is left unsaid; and nothing is said twice, but where
the first to say it could not tell the others. The seed is printed first;
EIR_SIM_SEED replays it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import zoneinfo
from collections import defaultdict
from pathlib import Path
from random import Random

import pytest
from notice_group import MemoryBoard, MemoryServer, Node, Said
from structlog.testing import capture_logs

from eir.notify import cases as cases_module
from eir.notify import group as group_module
from eir.notify.case import State
from eir.notify.schedule import DAY, HOUR, STEPS
from eir.verdict import Reason

TEHRAN = zoneinfo.ZoneInfo("Asia/Tehran")
START = int(dt.datetime(2026, 11, 1, 12, tzinfo=TEHRAN).timestamp())
WARNED_SECONDS_MIN = 7 * DAY
NODES, PAIRS = 3, 10
FAULTS = ("kill", "start", "start", "cut", "join", "join", "down", "up", "up", "flush", "trim", "lose")
Pair = tuple[int, int]


class World:
    """Nodes, their server, and what is true."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random, self.now = Random(seed), START
        self.said: list[Said] = []
        self.nodes: dict[str, Node] = {}
        self.server = MemoryServer(lambda: self.now)
        self.cut: set[int] = set()
        self.all = [self._node(folder / f"n{number}", number) for number in range(NODES)]
        keys, sims = 35_693_803_564_000, 1_432_110_000_000_000
        self.pairs: list[Pair] = [(keys + number // 2, sims + number) for number in range(PAIRS)]
        unregistered = [pair for pair in self.pairs if pair[0] % 2]
        for node in self.all:
            node.answers |= dict.fromkeys(unregistered, Reason.NOT_REGISTERED)
        self.first_seen: dict[Pair, int] = {}
        self.remedied: dict[Pair, int] = {}
        self.lagging: list[tuple[int, int, Pair]] = []
        self.unknown: set[Said] = set()
        """What an SMSC took of a daemon that was killed before it knew."""
        self.away: dict[int, list[int]] = defaultdict(list)
        """When each node could not be heard, by its number."""

    def _node(self, folder: Path, number: int) -> Node:
        async def connect() -> MemoryBoard:
            board = MemoryBoard(self.server, lambda: number not in self.cut)
            board._up()
            return board

        node = Node(folder, connect, lambda: self.now, self.said, self.nodes)
        node.reaches = lambda other: not {number, self.all.index(other)} & self.cut  # type: ignore[method-assign]
        return node

    # -- what happens in the network --------------------------------------------------------------

    def see(self) -> None:
        """Phones are seen, anywhere."""
        for pair in self.pairs:
            up = [node for node in self.all if node.up]
            if not up or self.random.random() < 0.5:
                continue
            at = self.now - self.random.randint(0, 40)
            self.random.choice(up).seen(*pair, at)
            if pair not in self.remedied:
                self.first_seen[pair] = min(self.first_seen.get(pair, at), at)

    def remedy(self) -> None:
        """A pair is brought in order: daemons learn of it one after the other."""
        seen = [pair for pair in self.pairs[: PAIRS // 2] if pair in self.first_seen]
        left = [pair for pair in seen if pair not in self.remedied]
        if left:
            pair = self.random.choice(left)
            self.remedied[pair] = self.now
            self.lagging += [
                (self.now + self.random.randint(0, 3 * HOUR), number, pair) for number in range(NODES)
            ]

    def apply(self) -> None:
        """Deltas arrive."""
        for delta in list(self.lagging):
            at, number, pair = delta
            node = self.all[number]
            if at <= self.now and node.up:
                self.lagging.remove(delta)
                node.answers[pair] = Reason.OWNER
                found = node.cases.number(*pair)
                node.keeper.look_again([found] if found >= 0 else [], self.now)
                node.keeper.commit()

    # -- faults -----------------------------------------------------------------------------------

    def fault(self) -> None:
        number, server = self.random.randrange(NODES), self.server
        match self.random.choice(FAULTS):
            case "kill":
                self._kill(number)
            case "start":
                for other in self.all:
                    if not other.up:
                        other.start()
            case "cut":
                self.cut.add(number)
            case "join":
                self.cut.clear()
            case "down":
                server.up = False
            case "up":
                server.up = True
            case "flush":
                server.flush()
            case "trim":
                server.trim(self.random.randint(0, len(server.lines)))
            case "lose":
                server.lose(self.random.randint(0, min(9, len(server.lines))))

    def _kill(self, number: int) -> None:
        if self.all[number].up:
            self.all[number].kill()
            # It may be started again before anybody else speaks.
            self.away[number].append(self.now)

    def heal(self) -> None:
        self.cut.clear()
        self.server.up = True
        for node in self.all:
            if not node.up:
                node.start()

    # -- time -------------------------------------------------------------------------------------

    async def turns(self, count: int) -> None:
        """Some seconds, in which everybody speaks and sends a few times."""
        for _ in range(count):
            order = self.random.sample(range(NODES), NODES)
            for number in order:
                node = self.all[number]
                if not node.up or number in self.cut or not self.server.up:
                    self.away[number].append(self.now)
                if not node.up:
                    continue
                await node.turn()
                await self._send(number)
            self.now += 3

    async def _send(self, number: int) -> None:
        node = self.all[number]
        going = await node.claim(3)
        if going and self.faults and self.random.random() < 0.15:
            # Killed between the SMSC taking it and us noting that; or before it was given to it.
            if self.random.random() < 0.5:
                node.take(going)
                self.unknown |= set(self.said[-len(going) :])
            self._kill(number)
            return
        node.take(going)
        node.answer(going)

    async def run(self, days: int, *, faults: bool) -> None:
        self.faults = faults
        end = self.now + days * DAY
        while self.now < end:
            self.see()
            if self.random.random() < 0.1:
                self.remedy()
            if faults and self.random.random() < 0.4:
                self.fault()
            self.apply()
            await self.turns(8)
            self.now += self.random.randint(1, 5) * HOUR

    # -- against the model ------------------------------------------------------------------------

    def check(self) -> None:
        by_pair: dict[Pair, list[Said]] = defaultdict(list)
        for said in self.said:
            by_pair[said.pair].append(said)
        for pair in self.pairs:
            cases = [node.case(*pair) for node in self.all]
            stages = [said.stage for said in by_pair[pair]]
            if pair in self.remedied:
                assert cases == [None] * NODES
                steps = [said for said in by_pair[pair] if said.stage in STEPS and said not in self.unknown]
                if steps and min(said.at for said in steps) < self.remedied[pair]:
                    assert {"resolved", "restored"} & set(stages), (pair, stages)
                continue
            told = {
                (c.opened_at, c.state, c.since, c.clock_at, c.warned_at, c.noticed_at, c.deadline)
                if c
                else None
                for c in cases
            }
            assert len(told) == 1, (pair, cases)
            case = cases[0]
            assert case is not None, pair
            assert case.opened_at == self.first_seen[pair], pair
            assert case.state == State.CUT_OFF, (pair, case)
            assert {"first", "cut_off"} <= set(stages), (pair, stages)
            warned = [said.at for said in by_pair[pair] if said.stage == "first"]
            assert min(warned) <= case.since - WARNED_SECONDS_MIN, (pair, warned, case)
        self._check_repeats()

    def _check_repeats(self) -> None:
        number_of = {node.name: number for number, node in enumerate(self.all)}
        last: dict[tuple[Pair, str, int], Said] = {}
        for said in self.said:
            what = said.pair, said.stage, said.steps
            first = last.get(what)
            if first is not None:
                away = self.away[number_of[first.node]]
                heard = not any(first.at <= at <= said.at for at in away)
                assert not heard, f"said twice, though it could be told: {first} {said}"
            last[what] = said


async def course(folder: Path, seed: int, days: int) -> World:
    world = World(folder, seed)
    await world.run(days, faults=True)
    world.heal()
    await world.run(45, faults=False)
    for _ in range(3):
        await world.turns(10)
    world.check()
    for node in world.all:
        node.kill()
    return world


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases_module, "EXTENT_BITS", 6)
    monkeypatch.setattr(cases_module, "EXTENT_ROWS", 64)
    monkeypatch.setattr(group_module, "SPEAK_SECONDS", 0)
    monkeypatch.setattr(group_module, "RETRY_SECONDS", 0)


def simulate(folder: Path, seed: int, days: int) -> None:
    print(f"EIR_SIM_SEED={seed}")
    with capture_logs():
        world = asyncio.run(course(folder, seed, days))
    assert world.said


@pytest.mark.parametrize("number", range(2))
def test_three_daemons_end_as_the_plain_model(tmp_path: Path, number: int) -> None:
    simulate(tmp_path, int(os.environ.get("EIR_SIM_SEED", 0)) or 1000 + number, 10)


@pytest.mark.sim
@pytest.mark.timeout(3600)
def test_many_courses(tmp_path: Path) -> None:
    first = int(os.environ.get("EIR_SIM_SEED", 0)) or Random().randrange(1 << 32)
    for seed in range(first, first + 40):
        simulate(tmp_path / str(seed), seed, 40)
