"""The desk of a home network's cases: one thread that keeps them, and what feeds it.

    sightings ──┐                              ┌──► case table (checks)
    deltas ─────┼──► keeper's thread ──commit──┼──► listeners
    time ───────┤                              └──► outbox ──► sender ──► SMSCs
    receipts ───┘

Every piece of work in the thread is short, so that a case is durable soon after
its sighting whatever else there is to do. What fails for want of storage is
done again with the next commit. `act` and the like may be awaited by services.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, Self, TypeVar

import numpy as np
import structlog

from eir.clock import monotonic
from eir.errors import InvalidRequestError, JournalDamagedError, StorageError
from eir.notify.case import Case, Event, State
from eir.notify.cases import Cases
from eir.notify.census import Census
from eir.notify.clockwatch import ClockWatch
from eir.notify.follower import Follower
from eir.notify.judged import Judge, NotJudgedError
from eir.notify.keeper import Keeper, Sighting, World
from eir.notify.notebook import CLOCK, HELD, HISTORY, Held, Notebook, Noted
from eir.notify.outbox import Outbox
from eir.notify.redate import Redating
from eir.notify.schedule import DAY, Shift
from eir.notify.sender import Sender
from eir.policy.settings import Settings
from eir.whitelist.files import FileLayer
from eir.whitelist.journal import Journal, Subscriber
from eir.whitelist.tables import Generation

log = structlog.get_logger()
Result = TypeVar("Result")

ROUND_SECONDS: Final = 0.05
"""How often the thread looks for sightings and deltas while there are none."""
TICK_SECONDS: Final = 1.0
SIGHTINGS_AT_ONCE: Final = 1_000
UPKEEP_SECONDS: Final = 30.0
PURGE_SECONDS: Final = 3600.0
LOG_BYTES_MAX: Final = 64 << 20
"""Of the cases' log, from which on an extent is folded."""
PURGED_AT_ONCE: Final = 1_000
WRITTEN_BYTES_PER_SECOND_MAX: Final = 20_000_000
"""Of the files of extents, beside commits that wait for the same disk."""
MANY_SHIFTS: Final = (1 << 31) - 1
"""Ids are drawn at random in a group: two daemons hardly draw the same."""
CLOCK_NOTED_SECONDS: Final = 60
"""How often the time is noted, to find out that it went back over a restart."""


class Queue(Protocol):
    """Where sightings wait."""

    def take(self, limit: int) -> list[Sighting]:
        """Take those that waited longest, at most so many."""


@dataclass(frozen=True)
class Bounds:
    """What is done in one go, and what is kept; see the settings of the same names."""

    look_rows_max: int = 20_000
    due_cases_max: int = 1000
    clock_jump_seconds_max: int = 30
    clock_agree_seconds_max: int = 300
    drain_seconds_max: int = 5
    kept_days: int = 400


@dataclass(frozen=True)
class Tables:
    """What the desk reads of the registry: its journal (a connection of its own), the generation, feeds."""

    journal: Journal
    generation: Callable[[], Generation]
    feeds: frozenset[str] = frozenset()
    """Those whose complete_until holds deadlines back; none: all."""

    def complete_until(self) -> int:
        """Return the time up to which every feed that counts is complete; 0 where one has sent nothing."""
        feeds, serial = self.journal.feeds(), self.generation().serial
        if any(one.serial > serial for one in feeds):
            return 0  # a delta is durable that checks do not see yet
        positions = {one.feed: one.complete_until or one.applied_at for one in feeds}
        wanted = self.feeds or positions.keys()
        return min((positions.get(feed, 0) for feed in wanted), default=0)


@dataclass
class Desk:
    """Keeps the cases of a home network. Use `open`; what is not said to be awaited runs in its thread."""

    keeper: Keeper
    notebook: Notebook
    follower: Follower
    tables: Tables
    clock: Callable[[], int]
    bounds: Bounds
    thread: ThreadPoolExecutor
    sightings: Queue | None = None
    sender: Sender | None = None
    listeners: list[Callable[[Sequence[int]], None]] = field(default_factory=list)
    """Told, in the desk's thread, the numbers of cases that a commit made durable."""
    failed: Callable[[str, Exception], None] = lambda _what, _error: None
    """Told what went wrong in a round of work that is tried again."""
    storage: str = ""
    """Why nothing can be written; empty while it can."""
    complete_until: int = 0
    committed: Callable[[float], None] = lambda _: None
    """Told how long a commit took, in seconds."""
    watch: ClockWatch = field(init=False)
    census: Census = field(init=False)
    shifts: dict[int, Noted] = field(init=False)
    redated: int = 0
    """When shifts last moved deadlines of this process; 0: they did not."""
    _redating: Redating | None = None
    _purged: tuple[int, int] = (0, 0)
    """Number of the case, and id of the notice, up to which was looked for what ended long ago."""

    def __post_init__(self) -> None:
        """Take up what an earlier process left."""
        bounds = self.bounds
        self.watch = ClockWatch(
            bounds.clock_jump_seconds_max, bounds.clock_agree_seconds_max, self.notebook.get(CLOCK, 0)
        )
        self.census = Census(self.keeper.cases)
        self.shifts = {one.id: one for one in self.notebook.shifts()}
        if self.shifts:
            self._redate()
        repeats = self.keeper.restarted(self.clock())
        if repeats:
            log.warning(
                "notices may be sent twice: the last process ended before their answers", count=repeats
            )
        self.commit()

    @classmethod
    def open(
        cls,
        cases: Cases,
        thread: ThreadPoolExecutor,
        judge: Judge,
        policy: Settings,
        tables: Tables,
        clock: Callable[[], int],
        bounds: Bounds,
        keeper_type: type[Keeper] = Keeper,
    ) -> Self:
        """Put a desk together over the cases of a folder. Raises StorageError."""
        notebook = Notebook(cases)
        keeper = keeper_type(cases, Outbox(cases), judge, policy)
        follower = Follower(keeper, notebook, tables.journal, tables.generation, clock, bounds.look_rows_max)
        return cls(keeper, notebook, follower, tables, clock, bounds, thread)

    async def in_thread(self, work: Callable[..., Result], *args: object) -> Result:
        """Run something in the desk's thread."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, work, *args)

    def commit(self) -> None:
        """Make everything durable, and tell the listeners. Raises StorageError."""
        changed = self.keeper.cases.changed
        self._note_hold()
        started = monotonic()
        try:
            self.keeper.commit()
        except StorageError as error:
            self.storage = error.message
            raise
        self.storage = ""
        self.committed(monotonic() - started)
        for listener in self.listeners if changed else ():
            listener(changed)

    def _note_hold(self) -> None:
        """Keep a hold of the guards over a restart."""
        if self.keeper.held != self.held.why:
            self.notebook.put_held(Held(self.keeper.held, self._after_held()))

    @property
    def held(self) -> Held:
        """Why sending holds; its `why` is empty while it does not."""
        return Held(*self.notebook.get(HELD, ()))

    # -- loops ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep cases until cancelled."""
        jobs = (
            self._again("round", self.round, ROUND_SECONDS),
            self._again("tick", self.tick, TICK_SECONDS),
            self._again("purge", self.purge, PURGE_SECONDS),
            self._fold(),
        )
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(job)

    async def _again(self, what: str, work: Callable[[], bool], pause_seconds: float) -> None:
        """Do something in the thread, again at once where there is more of it."""
        while True:
            more = False
            try:
                more = await self.in_thread(work)
            except NotJudgedError:
                pass  # the override is on: everything waits
            except Exception as error:  # noqa: BLE001 - the next round must come, whatever goes wrong in one
                self.failed(what, error)
            await asyncio.sleep(0 if more else pause_seconds)

    def round(self) -> bool:
        """Take sightings, then a piece of what deltas touched; tells whether there is more."""
        more = False
        if self.sightings is not None and (seen := self.sightings.take(SIGHTINGS_AT_ONCE)):
            self._take(seen)
            self.commit()
            more = len(seen) == SIGHTINGS_AT_ONCE
        if self.follower.behind:
            more |= self.follower.step(self.clock())
            self.commit()
        if self._redating is not None:
            if not self._redating.step():
                log.info("deadlines are those of the shifts", changed=self._redating.changed_count)
                self.redated = self.clock() if self._redating.changed_count else self.redated
                self._redating = None
            more = True
        return more

    def sighted(self, seen: Sequence[Sighting]) -> None:
        """Take sightings of another daemon's checks; durable on return. Raises as `round` does."""
        self._take(seen)
        self.commit()

    @property
    def history(self) -> str:
        """Name of what those who follow count in: a new one begins when shifts moved deadlines."""
        name = self.notebook.get(HISTORY)
        if name is None:
            name = secrets.token_hex(8)
            self.notebook.put(HISTORY, name)
        return f"{name}-{self.redated}"

    def _take(self, seen: Sequence[Sighting]) -> None:
        """Open cases, and keep the MSISDNs that checks named."""
        self.keeper.sighted(seen, self.clock())
        named = {one.imsi: int(f"1{one.msisdn}") for one in seen if one.msisdn}
        if not named:
            return
        known = self.notebook.numbers(named)
        for imsi, msisdn in named.items():
            if known.get(imsi) != msisdn:
                self.notebook.put_number(imsi, msisdn)

    def world(self, now: int) -> World:
        """Return what holds deadlines back now."""
        self.complete_until = self.tables.complete_until()
        doubtful = self.watch.look(now, monotonic(), self.complete_until)
        if not doubtful and now - self.notebook.get(CLOCK, 0) >= CLOCK_NOTED_SECONDS:
            self.notebook.put(CLOCK, now)
        return World(self.complete_until, doubtful)

    def tick(self) -> bool:
        """Do some of what is due; tells whether there is more."""
        now = self.clock()  # once: between two looks at it it might jump
        world = self.world(now)
        self.keeper.clock_doubtful = world.clock_doubtful
        if world.clock_doubtful:
            # What would be due, or absent, by such a clock is not.
            self.keeper.counts["waiting_clock"] += bool(self.keeper.cases.due(now, 1))
            self.commit()
            return False
        looked_at = self.keeper.tick(now, world, self.bounds.due_cases_max)
        self.commit()
        self.census.step(now)
        return looked_at >= self.bounds.due_cases_max

    def purge(self) -> bool:
        """Forget some of what ended long ago; tells whether there may be more."""
        before = self.clock() - self.bounds.kept_days * DAY
        cases, (case_at, notice_at) = self.keeper.cases, self._purged
        notice_at = self.keeper.outbox.purge(before, notice_at)
        rows = cases.rows_from(case_at)
        ended = (rows["state"] == State.RESOLVED) & (rows["since"] < before)
        gone = (np.flatnonzero(ended)[:PURGED_AT_ONCE] + case_at).tolist()
        for number in gone:
            cases.purge(number)
        if len(gone) < PURGED_AT_ONCE:
            case_at = case_at + len(rows) if len(rows) else 0
        self._purged = case_at, notice_at
        self.commit()
        return bool(case_at or notice_at)

    async def _fold(self) -> None:
        """Fold the log of cases into extent files when it has grown, beside everything else."""
        cases = self.keeper.cases
        while True:
            await asyncio.sleep(UPKEEP_SECONDS)
            try:
                if await self.in_thread(cases.log_bytes) < LOG_BYTES_MAX:
                    continue
                if (folding := await self.in_thread(cases.begin_fold)) is not None:
                    await asyncio.to_thread(folding.write)
                    await self.in_thread(cases.end_fold, folding)
            except Exception as error:  # noqa: BLE001 - it is tried again
                self.failed("fold", error)

    # -- people -----------------------------------------------------------------------------------

    def act(self, number: int, event: Event, until: int, who: str, why: str) -> Case:
        """Hold, withdraw or free a case; durable on return. Raises InvalidRequestError, StorageError."""
        acted = self.keeper.act(number, event, self.clock(), until, who, why)
        self.commit()
        return acted

    def hold(self, who: str, why: str) -> Held:
        """Hold all sending; durable on return. Raises StorageError."""
        held = Held(why, self._after_held(), who)
        self.keeper.hold(why)
        self.keeper.held = why
        self.notebook.put_held(held)
        self.commit()
        return held

    def release(self) -> None:
        """Send again, and believe the clock as it is; durable on return. Raises StorageError."""
        self.keeper.release()
        self.notebook.put_held(Held("", self._after_held()))
        self.watch.believe(self.clock(), monotonic())
        self.commit()

    def shift(self, shift: Shift, name: str, who: str, why: str) -> Noted:
        """Shift deadlines; durable on return, seen by checks soon after. Raises StorageError."""
        noted = Noted(self.next_shift_id(), shift, name, self.clock(), who, why)
        self._put_shift(noted)
        return noted

    def unshift(self, shift_id: int, who: str, why: str) -> Noted:
        """Undo a shift; durable on return. Raises InvalidRequestError, StorageError."""
        noted = self.shifts.get(shift_id)
        if noted is None or noted.undone_at:
            raise InvalidRequestError("id", f"there is no shift {shift_id} in force")
        noted = noted._replace(undone_at=self.clock(), undone_by=who, undone_why=why)
        self._put_shift(noted)
        return noted

    def next_shift_id(self) -> int:
        """Return the id of the next shift; in a group it must be nobody else's."""
        if self.notebook.listener is None:
            return max(self.shifts, default=0) + 1
        while (drawn := secrets.randbelow(MANY_SHIFTS) + 1) in self.shifts:
            pass
        return drawn

    def _put_shift(self, noted: Noted, *, heard: bool = False) -> None:
        self.notebook.put_shift(noted, heard=heard)
        self.shifts[noted.id] = noted
        self._redate()
        if not heard:
            self.commit()

    def _redate(self) -> None:
        """Work out all deadlines again, a piece in each round."""
        in_force = {one.id: one.shift for one in self.shifts.values() if not one.undone_at}
        self.keeper.shifts = in_force
        self._redating = Redating(self.keeper.cases, list(in_force.values()))

    def _after_held(self) -> int:
        """Return the time, later than that of the last hold or release: in a group the latest holds."""
        return max(self.clock(), self.held.at + 1)

    def hear_held(self, held: Held) -> None:
        """Hold or release as was done at another daemon, unless it was done here later."""
        if held.at > self.held.at or (held.at == self.held.at and held > self.held):
            if held.why:
                self.keeper.hold(held.why)
                self.keeper.held = held.why
            else:
                self.keeper.release()
            self.notebook.put_held(held, heard=True)

    def hear_shift(self, noted: Noted) -> None:
        """Shift deadlines as was done at another daemon; what was undone stays so."""
        mine = self.shifts.get(noted.id)
        if mine is None or (noted.undone_at and not mine.undone_at):
            self._put_shift(noted, heard=True)

    def use_policy(self, policy: Settings) -> None:
        """Take another policy: cases are looked at again."""
        self.keeper.use_policy(policy)
        self.follower.look_at_all()

    def subscribers(self, imsis: Iterable[int]) -> Mapping[int, Subscriber]:
        """Return what is known of subscribers: the registry's word first, then what checks named."""
        wanted = list(imsis)
        try:
            known = self.tables.journal.subscribers(wanted)
        except JournalDamagedError:
            known = self._undamaged(wanted)
        named = self.notebook.numbers([one for one in wanted if one not in known or not known[one].msisdn])
        languages = {imsi: known[imsi].language for imsi in named if imsi in known}
        return known | {
            imsi: Subscriber(imsi, msisdn, languages.get(imsi, "")) for imsi, msisdn in named.items()
        }

    def _undamaged(self, imsis: Iterable[int]) -> dict[int, Subscriber]:
        """Return subscribers whose blocks are whole: a damaged one keeps no other's notices back."""
        known: dict[int, Subscriber] = {}
        for imsi in imsis:
            try:
                known |= self.tables.journal.subscribers([imsi])
            except JournalDamagedError as error:
                log.warning("a subscriber is in a damaged block: its notices wait", error=error.message)
        return known

    # -- the end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Take what was sighted last, and close the files."""
        try:
            while self.sightings is not None and (seen := self.sightings.take(SIGHTINGS_AT_ONCE)):
                self._take(seen)
            self.commit()
        except (StorageError, NotJudgedError) as error:
            self.failed("close", error)
        self.keeper.cases.close()
        self.tables.journal.close()


def open_cases(folder: Path) -> Cases:
    """Open the cases of a data directory. Raises StorageError, StateDamagedError."""
    return Cases.open(folder, FileLayer(WRITTEN_BYTES_PER_SECOND_MAX))
