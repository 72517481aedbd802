"""A launch, step by step: the daemon's own store, checks, cases, keeper and sender, on a simulated clock.

    step: deltas ──► sightings ──► what is due ──► sent ──► cut-offs, held against the model

A kill drops everything that is not on disk, wherever it falls; the parts are
opened again from their files some steps later.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np

import eir.notify.desk
from eir.errors import DeltaGuardError
from eir.identity import imei_15
from eir.notify.case import Event
from eir.notify.case_table import CaseTable
from eir.notify.cases import Cases
from eir.notify.desk import Bounds, Desk, Tables
from eir.notify.judge import Judge
from eir.notify.judged import CAUSE_NAMES
from eir.notify.keeper import Sighting
from eir.notify.link import Fate, Sent
from eir.notify.messages import read_texts, shipped_texts
from eir.notify.outbox import Notice
from eir.notify.schedule import Shift
from eir.notify.sender import Ready, Route, Sender, Wording
from eir.notify.smpp import Address
from eir.policy import compile_policy
from eir.whitelist.files import FileLayer
from eir.whitelist.journal import Journal
from eir.whitelist.operation import Operation
from eir.whitelist.rows import Op, Role
from eir.whitelist.store import Limits, Store

from . import engine
from .facts import HELD, OPEN, WITHDRAWN, Registry
from .killing import (
    DELTAS,
    FOLDING,
    KILLS,
    PEOPLE,
    SENDING,
    SIGHTINGS,
    TICKING,
    InHand,
    Kill,
    KilledError,
    Killer,
    Traces,
)
from .model import Plain
from .people import (
    BAD_DELTA_DAY,
    DAY,
    SECOND_OPERATOR,
    START,
    UTC_OFFSET,
    People,
    Remedy,
)
from .registrar import Registrar
from .rules import ENFORCED_DAY, policy_for, rules_for
from .smsc import Smsc

CODE, HELPLINE = "*7777#", "02127480000"
OUTAGE = (8.4, 8.65)
"""Days between which the SMSC is away: six hours."""
REPAIRED_DAY = BAD_DELTA_DAY + 8 / 24
RELEASED_DAY = BAD_DELTA_DAY + 9 / 24
FULL_SUBSCRIBERS = 2_000_000
DUE_CASES_MAX = 2_000
CLAIM_MAX = 512
"""Of so many subscribers. Notices in flight at a time are what a kill may repeat."""
AT_ONCE_MIN = 8
FOLD_EVERY_DAYS = 2


@dataclass
class Launch:
    """One launch: what runs, what happens to it, and what comes of it."""

    people: People
    folder: Path
    step_seconds: int
    kills: tuple[Kill, ...] = KILLS
    lost_share: float = 0.004
    receipts_share: float = 1.0
    now: int = START
    model: Plain = field(init=False)
    smsc: Smsc = field(init=False)
    store: Store = field(init=False)
    desk: Desk = field(init=False)
    sender: Sender = field(init=False)
    queue: engine.Queue = field(init=False)
    killer: Killer = field(init=False)
    traces: Traces = field(init=False)
    counts: Counter[str] = field(default_factory=Counter)
    _killed_at: int = 0

    def __post_init__(self) -> None:
        """Make the registry as it is at the start, on disk and in the model."""
        people = self.people
        self.random = Random(people.seed)
        self.killer = Killer(self.random, list(self.kills))
        self.rules = rules_for(people)
        self.policy = compile_policy(policy_for(self.rules))
        self.keys, self.sims = people.keys.tolist(), people.sims.tolist()
        self.model = Plain(self.rules, self.keys, self.sims, Registry())
        self.model.enforced_from = (SECOND_OPERATOR, SECOND_OPERATOR * 2, START + ENFORCED_DAY * DAY)
        self.numbers = dict(zip(self.sims, people.numbers.tolist(), strict=False))
        for pair in people.second_sims.tolist():
            self.numbers[self.sims[pair]] = 1_979_000_000_000 + pair
        self.model.unreachable = {sim for sim, number in self.numbers.items() if not number}
        self.model.unreachable |= people.refused
        self.pair_of: dict[tuple[str, str], int] = {}
        self.pair_by = {
            (key, sim): pair for pair, (key, sim) in enumerate(zip(self.keys, self.sims, strict=True))
        }
        self.traces = Traces(self.pair_by)
        texts = read_texts(shipped_texts(), "texts", default="fa", code=CODE, helpline=HELPLINE)
        self.wording = Wording(texts, dt.timezone(dt.timedelta(seconds=UTC_OFFSET)), CODE, HELPLINE)
        self.smsc = Smsc(
            self.random,
            texts,
            CODE,
            HELPLINE,
            {self._msisdn(sim) for sim in people.refused},
            people.subscribers * self.step_seconds // 100_000 + 8,
            self.lost_share,
            self.receipts_share,
        )
        self.registrar = Registrar(
            people, self.model.registry, self.keys, self.sims, self.numbers, lambda: self.now
        )
        self._noted_next = self._sighted_next = 0
        self._looked_serial = 0
        self._acts = self._plan_acts()
        self.start()
        self.registrar.load()

    def _msisdn(self, sim: int) -> str:
        return str(self.numbers[sim])[1:]

    # -- starting, killing ------------------------------------------------------------------------

    def start(self) -> None:
        """Open everything from its files, as the daemon does."""
        limits = Limits(rebuild_bytes_per_second_max=0)
        self.store = self.registrar.store = store = Store.open(
            self.folder, clock=lambda: self.now, limits=limits
        )
        self.checker = checker = engine.checker(store, self.policy, lambda: self.now)
        vars(eir.notify.desk)["monotonic"] = lambda: float(self.now)
        self.desk = desk = Desk.open(
            Cases.open(self.folder, FileLayer()),
            ThreadPoolExecutor(max_workers=1),
            Judge(lambda: checker, lambda: self.now),
            self.policy.settings,
            Tables(
                Journal.open(self.folder / "registry.db", read_only=True),
                lambda: store.generation,
                frozenset({"registry"}),
            ),
            lambda: self.now,
            Bounds(due_cases_max=self._at_once(DUE_CASES_MAX)),
        )
        self.queue = desk.sightings = engine.Queue()
        desk.keeper.cases.on_table = self._show
        self._show(desk.keeper.cases.table)
        commit = desk.keeper.commit

        def committed() -> None:
            self.killer.point()
            commit()
            for pair, seen in self.queue.taken:
                self.model.sighted(pair, seen.at, self.now)
            self.queue.taken.clear()
            self.killer.point()

        desk.keeper.commit = committed  # type: ignore[method-assign]

        async def unused(*_: object) -> None:
            raise RuntimeError("a launch sends step by step: nothing of it goes to another thread")

        self.sender = Sender(
            desk.keeper,
            [Route(self.smsc, Address("EIR", 5))],  # type: ignore[arg-type]
            self.wording,
            desk.subscribers,
            unused,
            lambda: self.now,
        )

    def _show(self, table: CaseTable) -> None:
        """Let checks find the cases."""
        self.checker.cases = table

    def _at_once(self, most: int) -> int:
        """Scale what is done between two commits: a kill must find as much half done in a small launch."""
        return max(most * self.people.subscribers // FULL_SUBSCRIBERS, AT_ONCE_MIN)

    def _kill(self) -> None:
        """Drop the daemon: what it had in memory is gone."""
        self.counts["kills"] += 1
        self.counts[f"killed while: {self.killer.phase}"] += 1
        self._killed_at = self.now
        self.desk.keeper.cases.close()
        self.desk.tables.journal.close()
        self.store.close()

    def _restart(self) -> None:
        self.start()
        self.traces.after_kill(self.desk.keeper.cases, self.model, self._killed_at, self.counts)
        self.counts["sent again after kills"] += self.desk.keeper.counts["repeated"]
        self.killer.phase = DELTAS
        self._rounds()
        self.model.touched(list(self.model.by_key), self.now)

    def _rounds(self) -> None:
        """Let the desk do what waits."""
        while self.desk.round() or self.desk.follower.behind or self.queue.waiting:
            pass

    # -- the registry -----------------------------------------------------------------------------

    def _deltas(self) -> None:
        """Send what the registry and the operators noted, as far as their feeds are."""
        until = self.people.complete_until(self.now)
        if until <= self.model.complete_until:
            return
        first, noted_at = self._noted_next, self.people.noted_at
        last = int(np.searchsorted(noted_at, until, "right"))
        rows: dict[str, list[Operation]] = {"registry": [], "numbers": []}
        keys: list[int] = []
        numbered: list[int] = []
        for pair, what in self.people.noted[first:last]:
            if what == Remedy.NUMBER:
                rows["numbers"] += self.registrar.number(pair)
                numbered.append(pair)
            else:
                rows["registry"] += self.registrar.remedy(pair, what)
                keys.append(self.keys[pair])
        for feed, given in rows.items():
            if given:
                self.registrar.push(feed, given, complete_until=until)
        if not rows["registry"]:
            self.store.heartbeat("registry", self.store.position("registry"), until)
        self._noted_next, self.model.complete_until = last, until
        for pair in numbered:
            sim = self.sims[pair]
            self.model.unreachable -= {sim} - self.people.refused
            self.model.reachable_since[sim] = self.model.possible["send"]
        self._changed(keys)

    def _changed(self, keys: Iterable[int]) -> None:
        """Let the desk follow the delta that touched these keys."""
        twins = self.model.registry.twin
        near = sorted({one for key in keys for one in (key, twins.get(key, key))})
        self._rounds()
        self.model.touched(near, self.now)

    def _bad_delta(self) -> None:
        """Un-pair a share of all pairs: the guard refuses it, then somebody overrides the guard."""
        victims = self.people.victims.tolist()
        registry = self.model.registry
        rows = [
            Operation(Op.UNPAIR, self.keys[p], imsi=self.sims[p], cause=Role.OWNER)
            for p in victims
            if registry.owner.get(self.keys[p]) == self.sims[p]
        ]
        try:
            self.registrar.push("registry", rows, complete_until=self.model.complete_until)
            self.model.say("the guard let a bad delta through", -1, self.now)
        except DeltaGuardError:
            self.counts["refused by the guard"] += 1
        self.registrar.push("registry", rows, complete_until=self.model.complete_until, override_guards=True)
        self.unpaired = [(int(row.imei), row.imsi) for row in rows]
        for key, _ in self.unpaired:
            del registry.owner[key]
            registry.utilizers.pop(key, None)
        self._changed([key for key, _ in self.unpaired])
        self.counts["un-paired by a bad delta"] = len(rows)

    def _repair(self) -> None:
        """Pair again what was un-paired."""
        rows = [Operation(Op.PAIR, key, imsi=sim, cause=Role.OWNER) for key, sim in self.unpaired]
        self.registrar.push("registry", rows, complete_until=self.model.complete_until)
        self.model.registry.owner.update(self.unpaired)
        self._changed([key for key, _ in self.unpaired])

    # -- people who act ---------------------------------------------------------------------------

    def _shifts(self) -> Iterator[tuple[int, Shift]]:
        """Shifts in force now: one that stays, one that is undone."""
        everywhere = (0, 99_999_999)
        if self.now >= START + 22 * DAY:
            cause = next(reason for reason, name in CAUSE_NAMES.items() if name == "never_activated")
            yield 1, Shift(4 * DAY, cause, everywhere, (0, 1 << 51))
        if START + 27 * DAY <= self.now < START + 32 * DAY:
            yield 2, Shift(12 * DAY, None, everywhere, (SECOND_OPERATOR, SECOND_OPERATOR + (1 << 40)))

    def _move_deadlines(self) -> None:
        shifts, before = dict(self._shifts()), self.desk.keeper.shifts
        if shifts == before:
            return
        for number in shifts.keys() - before.keys():
            self.desk.shift(shifts[number], "a cohort", "an operator", "an amnesty")
        for number in before.keys() - shifts.keys():
            self.desk.unshift(number, "an operator", "it is over")
        self._rounds()
        self.model.shifts = {
            name: (s.seconds, CAUSE_NAMES[s.cause] if s.cause else "", *s.imsis) for name, s in shifts.items()
        }
        self.model.look_again(self.now)

    def _plan_acts(self) -> list[tuple[int, int]]:
        """When somebody holds or withdraws cases, and how many."""
        few = max(self.people.subscribers // 2_000, 2)
        return [(START + int(day * DAY), few) for day in (3.5, 9.5, 15.5, 21.5)]

    def _act(self) -> None:
        """Hold some open cases, and withdraw others."""
        while self._acts and self._acts[0][0] <= self.now:
            _, few = self._acts.pop(0)
            pairs = sorted(pair for pair, course in self.model.courses.items() if course.state == OPEN)
            for nth, pair in enumerate(self.random.sample(pairs, min(few, len(pairs)))):
                keeper, until = self.desk.keeper, self.now + (4 + nth % 5) * DAY
                number = keeper.cases.number(self.keys[pair], self.sims[pair])
                event, state = (Event.HOLD, HELD) if nth % 3 else (Event.WITHDRAW, WITHDRAWN)
                self.desk.act(number, event, until, "court", "a dispute")
                self.model.act(pair, state, until, self.now)
                self.counts[f"people: {state}"] += 1

    # -- a step -----------------------------------------------------------------------------------

    def run(self, each_day: Callable[[int], None] = lambda _: None) -> None:
        """Run all days."""
        down = 0
        for number, now in enumerate(range(START, self.people.end + 1, self.step_seconds)):
            self.now = now
            sending = not START + OUTAGE[0] * DAY <= now < START + OUTAGE[1] * DAY
            self.model.went_by(now, self.step_seconds, running=not down, sending=sending)
            if down:
                down -= 1
                if down:
                    self._sighted_next = self._seen_by(now)  # nobody answered these checks
                    continue
                self._restart()
            if self.model.is_awake(now):
                self.killer.arm(now)
            try:
                self._step(number, sending=sending)
            except KilledError:
                self._kill()
                down = self.killer.down_steps
            if number and number % (DAY // self.step_seconds) == 0:
                self.model.lost(now)
                each_day((now - START) // DAY)
        if down:
            self._restart()

    def _step(self, number: int, *, sending: bool) -> None:
        # A kill falls before or after what goes to the registry's store in one transaction.
        self.killer.phase = DELTAS
        self._deltas()
        self._once("bad", BAD_DELTA_DAY, self._bad_delta)
        self._once("repaired", REPAIRED_DAY, self._repair)
        self.killer.phase = PEOPLE
        self._once("released", RELEASED_DAY, self._release)
        self._move_deadlines()
        self._act()
        self.killer.phase = SIGHTINGS
        self._sightings()
        self.killer.phase = TICKING
        self._tick()
        self.killer.phase = SENDING
        self.smsc.bound.set() if sending else self.smsc.bound.clear()
        self.smsc.room = self.smsc.per_step_max
        self._receipts()
        while sending and not self.desk.keeper.held and self.desk.keeper.outbox.waiting(self.now, 1):
            self._send()
        self.model.look_for_late(self.now)
        self.killer.phase = FOLDING
        if number % (FOLD_EVERY_DAYS * DAY // self.step_seconds) == 0:
            self._fold()

    def _once(self, what: str, day: float, work: Callable[[], None]) -> None:
        if self.now >= START + day * DAY and not self.counts[f"done: {what}"]:
            self.counts[f"done: {what}"] = 1
            work()

    def _release(self) -> None:
        if self.model.held != bool(self.desk.keeper.held):
            self.model.say("the sending is held, or not, and should not be", -1, self.now)
        if not self.model.held:
            self.model.say("a bad delta did not hold the sending", -1, self.now)
        self.desk.release()
        self.model.release()

    def _seen_by(self, at: int) -> int:
        """Count the sightings up to a second."""
        return int(np.searchsorted(self.people.sighted_at, at, "right"))

    def _sightings(self) -> None:
        """Phones that were seen since the last step."""
        last = self._seen_by(self.now)
        seen = slice(self._sighted_next, last)
        self._sighted_next = last
        pairs, at = self.people.sighted[seen].tolist(), self.people.sighted_at[seen].tolist()
        self.queue.waiting = [
            (p, Sighting(self.keys[p], self.sims[p], when)) for p, when in zip(pairs, at, strict=True)
        ]
        self._rounds()

    def _tick(self) -> None:
        """Do what is due; then hold the cut-offs that are on disk against the model."""
        cases = self.desk.keeper.cases
        while self.desk.tick() or cases.due(self.now, 1):
            pass
        self.model.passes(self.now)
        self.traces.ticked(cases)
        for pair in self.traces.cut_off(cases):
            self.model.cut_off(pair, self.now)

    def _receipts(self) -> None:
        while arrived := self.smsc.receipts(self.now, 5_000):
            self.sender._note((), arrived)

    def _send(self) -> None:
        """Claim what is due, give it to the SMSC, note what it says."""
        sender, in_hand = self.sender, self.traces.in_hand
        ready = sender._claim(self._at_once(CLAIM_MAX))
        answers: list[tuple[Notice, Sent]] = []
        for one in ready:
            taken, sent = self.smsc.submit(one.destination.digits, one.parts, self.now)
            pair, stage = self._who(one)
            if taken:
                self.model.taken(pair, stage, self.now)
                if sent.fate == Fate.LOST:
                    self.model.in_flight(pair, stage)
            answers.append((one.notice, sent))
            in_hand[one.notice.id] = InHand(pair, stage, taken, sent.fate)
            self.killer.point()
        sender._note(answers, ())
        for pair, stage, _, fate in in_hand.values():
            if fate == Fate.ACCEPTED:
                self.model.answered(pair, stage, self.now)
            elif fate == Fate.PERMANENT:
                self.model.refused_for_good(pair, stage, self.now)
        in_hand.clear()

    def _who(self, ready: Ready) -> tuple[int, str]:
        """Read from what is on the wire whom it is for, and what it says."""
        stage, imei = self.smsc.read(ready.parts)
        case = self.desk.keeper.cases.get(ready.notice.number)
        if imei != imei_15(case.key)[-6:] or ready.destination.digits != self._msisdn(case.imsi):
            self.model.say("a message to another, or of another phone", -1, self.now)
        return self.pair_by[case.key, case.imsi], stage

    def _fold(self) -> None:
        """Write the oldest extent, as the daemon does beside its work."""
        cases = self.desk.keeper.cases
        if folding := cases.begin_fold():
            self.killer.point()
            folding.write()
            self.killer.point()
            cases.end_fold(folding)

    # -- the end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the files."""
        self.desk.close()
        self.store.close()
