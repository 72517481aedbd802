"""Daemons that keep the same cases, in one thread, over a board in memory or on Redis.

sightings, tables ──► Node (keeper, member, group) ──► board ──► other nodes
                          └──► said: what an SMSC took
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from eir.errors import StreamUnavailableError
from eir.notify.board import Board, Claimed, Got, PerHour, Present
from eir.notify.case import Case
from eir.notify.cases import Cases
from eir.notify.group import Group, GroupState, Terms
from eir.notify.judged import Judged
from eir.notify.keeper import Sighting, World
from eir.notify.member import Member
from eir.notify.outbox import Notice, Outbox
from eir.notify.shared_keeper import SharedKeeper
from eir.policy import compile_policy, default_policy_text
from eir.policy.settings import Settings
from eir.proto import group_pb2
from eir.verdict import Reason
from eir.whitelist.files import FileLayer

SHIPPED = compile_policy(default_policy_text()).settings
FOREVER = World(complete_until=1 << 32)
LEASE = 10.0


class Said(NamedTuple):
    """What an SMSC took."""

    pair: tuple[int, int]
    stage: str
    steps: int
    at: int
    node: str


class MemoryServer:
    """A Redis server in memory, as the scripts of a board use it; time is that of the test."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.up = clock, True
        self.ids = itertools.count(1)
        self.flush()

    def flush(self) -> None:
        self.lines: list[tuple[str, bytes]] = []
        self.claims: dict[str, tuple[str, float]] = {}
        self.members: dict[str, tuple[float, str]] = {}
        self.hours: Counter[int] = Counter()

    def trim(self, count: int) -> None:
        self.lines = self.lines[len(self.lines) - count :]

    def lose(self, count: int) -> None:
        """A replica that had not everything takes over."""
        self.lines = self.lines[: len(self.lines) - count]

    @property
    def last_id(self) -> str:
        return self.lines[-1][0] if self.lines else "0-0"


class MemoryBoard:
    """A connection to a server in memory; it never waits."""

    def __init__(self, server: MemoryServer, reached: Callable[[], bool] = lambda: True) -> None:
        self.server, self.reached = server, reached

    def _up(self) -> None:
        if not (self.server.up and self.reached()):
            raise StreamUnavailableError("the server is away")

    async def read(self, after: str, count: int, block_seconds: float) -> list[tuple[str, bytes]]:
        self._up()
        await asyncio.sleep(0)  # others have their turn
        place = int(after.split("-")[0])
        return [line for line in self.server.lines if int(line[0].split("-")[0]) > place][:count]

    async def add(self, line: bytes) -> None:
        self._up()
        self.server.lines.append((f"{next(self.server.ids)}-0", line))

    async def claim(
        self, claims: Sequence[str], me: str, lease_seconds: float, per_hour: PerHour | None = None
    ) -> Claimed:
        self._up()
        now, server, got = self.server.clock(), self.server, []
        for claim in claims:
            who, until = server.claims.get(claim, (me, 0.0))
            known = claim in server.claims
            answer = Got.GRANTED if who == me else Got.DENIED if until > now else Got.TAKEN_OVER
            if answer and per_hour and not (known and who == me):
                if server.hours[per_hour.hour] >= per_hour.most:
                    answer = Got.DENIED
                else:
                    server.hours[per_hour.hour] += 1
            if answer:
                server.claims[claim] = me, now + lease_seconds
            got.append(answer)
        return Claimed(got, server.last_id)

    async def release(self, claims: Sequence[str], me: str) -> None:
        self._up()
        for claim in claims:
            if self.server.claims.get(claim, ("", 0))[0] == me:
                del self.server.claims[claim]

    async def announce(self, me: str, text: str, lease_seconds: float) -> Present:
        self._up()
        server, now = self.server, self.server.clock()
        known = me in server.members and server.members[me][0] > now
        server.members[me] = now + lease_seconds, text
        server.members = {name: one for name, one in server.members.items() if one[0] > now}
        there = {name: words for name, (_, words) in server.members.items()}
        return Present(known, there, server.last_id)

    async def leave(self, me: str) -> None:
        self._up()
        self.server.members.pop(me, None)

    async def close(self) -> None:
        pass


class Node:
    """One daemon; it may be killed at any time and started again."""

    def __init__(
        self,
        folder: Path,
        connect: Callable[[], Awaitable[Board]],
        clock: Callable[[], int],
        said: list[Said],
        nodes: dict[str, Node],
        settings: Settings = SHIPPED,
        lease_seconds: float = LEASE,
    ) -> None:
        self.folder, self.connect, self.clock, self.said = folder, connect, clock, said
        self.nodes, self.settings, self.lease_seconds = nodes, settings, lease_seconds
        self.answers: dict[tuple[int, int], Reason] = {}
        self.enforced, self.world = True, FOREVER
        self.ids = itertools.count()
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self) -> None:
        self.cases = Cases.open(self.folder, FileLayer())
        # A kill here is no power cut: what SQLite has written is there again.
        self.cases.file.db.execute("PRAGMA synchronous = OFF")
        self.keeper = SharedKeeper(self.cases, Outbox(self.cases), self.judge, self.settings)
        self.member = Member.of(self.keeper, self.clock, self.clock)
        self.keeper.restarted(self.clock())
        self.keeper.commit()
        self.name = self.member.name
        self.nodes[self.name] = self
        self.group = Group(
            *(self.member, self.in_thread, self.keeper.commit, self.connect, self.everything),
            *(self.clock, self.clock),
            Terms(self.lease_seconds, 0.0, self.name, 0.0),
            falls_per_hour_max=lambda: self.settings.notices.cut_offs_per_hour_max,
        )
        self.up = True

    def kill(self) -> None:
        """End at once: what was not committed is gone."""
        self.cases.close()
        self.up = False

    async def in_thread(self, work: Callable[..., Any], *args: object) -> Any:
        return work(*args)

    async def everything(self, address: str) -> AsyncIterator[group_pb2.GroupLine]:
        node = self.nodes[address]
        if not node.up or not self.reaches(node):
            raise StreamUnavailableError("it is away")
        for part in node.member.teller.everything():
            yield part

    def reaches(self, other: Node) -> bool:
        return True

    def judge(self, pairs: Sequence[tuple[int, int]]) -> list[Judged]:
        return [Judged(self.answers.get(pair, Reason.NEVER_ACTIVATED), self.enforced) for pair in pairs]

    def seen(self, key: int, imsi: int, at: int = 0) -> None:
        self.keeper.sighted([Sighting(key, imsi, at or self.clock())])
        self.keeper.commit()

    async def turn(self) -> None:
        """One round of everything, but for sending."""
        for step in (self.group.listen, self.group.speak):
            try:
                await step()
            except StreamUnavailableError as error:
                await self.group.disconnect(error.message)
        self.keeper.tick(self.clock(), self.world, 1000)
        self.keeper.commit()

    async def claim(self, room: int = 100) -> list[Notice]:
        """Claim what is due, and make it durable that it goes out."""
        due = await self.group.claimed(room)
        going = self.submit(due)
        self.group.used()
        return going

    def submit(self, due: Sequence[Notice]) -> list[Notice]:
        going = []
        for notice in due:
            case = self.keeper.case_of(notice)
            if case is None:
                self.keeper.cancelled(notice, self.clock())
            elif (spaced := self.keeper.spaced_at(notice, case, self.clock())) > self.clock():
                self.keeper.postponed(notice, self.clock(), spaced)
            else:
                going.append(self.keeper.submitted(notice, case, "main", self.clock()))
        self.keeper.commit()
        return going

    def take(self, going: Sequence[Notice]) -> None:
        """The SMSC takes notices."""
        for notice in going:
            case = self.cases.get(notice.number)
            pair = case.key, case.imsi
            self.said.append(Said(pair, notice.stage, notice.steps, self.clock(), self.name))

    def answer(self, going: Sequence[Notice]) -> None:
        """Its answers arrive."""
        for notice in going:
            self.keeper.accepted(notice, (f"{self.name}-{next(self.ids)}",), self.clock())
        self.keeper.commit()

    async def send(self, room: int = 100) -> None:
        going = await self.claim(room)
        self.take(going)
        self.answer(going)

    def case(self, key: int, imsi: int) -> Case | None:
        number = self.cases.number(key, imsi)
        return self.cases.get(number) if number >= 0 else None

    @property
    def together(self) -> bool:
        return self.group.state is GroupState.TOGETHER
