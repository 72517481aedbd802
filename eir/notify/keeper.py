"""What happens to cases, by whatever happens: sightings, deltas, the time, people; and what an SMSC says.

    sighted, changed, tick ──► case, case table ──► outbox ──► (sender) ──► answered, receipt
                                    │                                          │
                                    └───────────────── commit ◄────────────────┘

One thread. A case is opened and resolved by what a check answers *now*: so the
order in which a sighting and a delta arrive makes no difference. Times are
seconds since the Unix epoch, keys and IMSI codes as in docs/segment-format.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import numpy as np

from eir.notify.answers import Answers
from eir.notify.case import Case, Event, State, step
from eir.notify.case_file import Happened
from eir.notify.judged import CAUSE_NAMES, IN_ORDER, Judged, judged_columns, remedied
from eir.notify.rate import Rate
from eir.notify.schedule import (
    DAY,
    EVENTS,
    HOUR,
    Due,
    Timetable,
    falls_at,
    may_fall,
    moved_into,
    next_due,
    timetable_of,
)
from eir.notify.schedule import (
    notice as next_notice,
)
from eir.policy.rules import CAUSES
from eir.policy.settings import Settings
from eir.verdict import Reason
from eir.whitelist.rows import U64

SEEN_AGAIN_SECONDS: Final = 6 * HOUR
"""How much newer a sighting must be to be noted: the grace of what is seen does not depend on it."""
HELD_BACK_SECONDS: Final = 900
"""How often a deadline is looked at that the feed, the clock or a hold keeps from falling."""
SCHEMA: Final = "CREATE TABLE IF NOT EXISTS keeper (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;"
_JUDGED: Final = ("fall", "notice")
"""Due things before which a case is looked at again."""
HELD_BACK_BY: Final = ("clock", "feed", "hours", "mode", "held", "rate")
"""What keeps a deadline from falling: doubt in the clock, a feed behind, the hours for it, a rule that
is not enforced, a hold, as many as may fall in an hour."""


class Sighting(NamedTuple):
    """A pair that a check found unpaired; `msisdn` as digits, where the check named one."""

    key: int
    imsi: int
    at: int
    msisdn: str = ""


@dataclass(frozen=True)
class World:
    """What holds deadlines back: the feed's completeness, a doubtful clock."""

    complete_until: int
    clock_doubtful: bool = False


@dataclass
class Keeper(Answers):
    """Keeps the cases of a home network; everything it did is durable after `commit`."""

    held: str = ""
    """Why sending holds; empty while it does not."""
    clock_doubtful: bool = False
    """Nothing is due, and nothing goes out, by a clock that cannot be believed."""
    claimed: Callable[[Case], bool] | None = None
    """Whether this daemon, of several, may cut a case off; none: there are no others."""
    _opened: Rate = field(default_factory=Rate)
    _due: Rate = field(default_factory=Rate)
    _fallen: Rate = field(default_factory=Rate)
    _kept: str = ""
    """What is durable besides cases and notices."""

    def __post_init__(self) -> None:
        """Take the policy, and what was kept."""
        self.use_policy(self.policy)
        self.cases.script(SCHEMA)
        for (text,) in self.cases.read("SELECT value FROM keeper WHERE name = 'state'"):
            self._kept, kept = text, json.loads(text)
            self.held = kept["held"]
            for rate, counted in zip(self._rates, kept["rates"], strict=True):
                rate.hour, rate.count = counted

    def use_policy(self, settings: Settings) -> None:
        """Take another policy: timetables change, what a case was opened with does not."""
        self.policy = settings
        self._tables = {reason: timetable_of(settings, name) for name, reason in CAUSES.items()}
        says = settings.notices
        self._opened.per_hour_max = says.cases_per_hour_max
        self._due.per_hour_max = says.notices_per_hour_max
        self._fallen.per_hour_max = says.cut_offs_per_hour_max
        self._told.spacing_seconds = says.spacing_hours_min * HOUR

    @property
    def _rates(self) -> tuple[Rate, ...]:
        return self._opened, self._due, self._fallen

    def commit(self) -> None:
        """Make it durable. Raises StorageError; then it is still to be done."""
        kept = json.dumps({"held": self.held, "rates": [(rate.hour, rate.count) for rate in self._rates]})
        if kept != self._kept:
            self.cases.also(("keeper",), "REPLACE INTO keeper VALUES ('state', ?)", (kept,))
        self.cases.commit()
        self._kept = kept

    # -- sightings and deltas ---------------------------------------------------------------------

    def sighted(self, sightings: Sequence[Sighting], now: int = 0) -> None:
        """Open cases, or note that they were seen, by what a check answers now.

        `now` is when they are taken in, for the guard of cases opened in an hour; 0: when each was seen.
        """
        judged = self.judge([(seen.key, seen.imsi) for seen in sightings])
        for seen, now_judged in zip(sightings, judged, strict=True):
            self._sighted(seen, now_judged, now or seen.at)

    def _sighted(self, seen: Sighting, judged: Judged, now: int) -> None:
        number = self.cases.number(seen.key, seen.imsi)
        if number >= 0:
            case = self.cases.get(number)
            if not remedied(case.cause, case.state, judged):
                self._seen(number, case, seen.at)
                self._not_before(number, judged.ends, seen.at)
                return
            self._remedy([number], [judged.reason], seen.at)
        if judged.reason in CAUSE_NAMES and judged.opens:
            self._open(seen, Reason(judged.reason), judged.ends, now)

    def _seen(self, number: int, case: Case, at: int) -> None:
        """Note a sighting where it says something new."""
        if case.state == State.ABSENT:
            if at <= case.since:
                return
        elif at - case.seen_at < SEEN_AGAIN_SECONDS:
            return
        seen = step(case, Event.SIGHTED, at)
        if not seen.clock_at and seen.state == State.OPEN:
            seen = replace(seen, clock_at=self._clock_at(case.cause, at, case.key))
        self._put(number, seen, at, "" if seen.state == case.state else "sighted")

    def _not_before(self, number: int, ends: int, now: int) -> bool:
        """Let the deadline of a case not fall before an exemption ends; tells whether it was moved."""
        case = self.cases.get(number)
        earlier = ends - case.deadline
        if not ends or not case.clock_at or earlier <= 0 or case.state == State.CUT_OFF:
            return False
        self._put(number, replace(case, clock_at=case.clock_at + earlier), now, "exempt for a while")
        return True

    def _open(self, seen: Sighting, cause: Reason, ends: int, now: int) -> None:
        """Open a case, unless the IMEI has as many as it may: then it is shared or cloned, and counted.

        `ends` is the end of an exemption, which is the deadline then.
        """
        if self._mates(seen.key) >= self.policy.notices.cases_per_imei_max:
            self.counts["crowded"] += 1
            return
        grace = self.policy.cause[CAUSE_NAMES[cause]].grace_days * DAY
        case = Case(
            seen.key,
            seen.imsi,
            cause,
            seen.at,
            grace,
            since=seen.at,
            seen_at=seen.at,
            clock_at=ends - grace if ends else self._clock_at(cause, seen.at, seen.key),
        )
        due_at, deadline_at = self._due_at(case, seen.at)
        what = f"opened: {cause.name}{' after an exemption' if ends else ''}"
        self.cases.add(case, due_at, deadline_at, Happened(seen.at, what))
        self.counts["opened"] += 1
        if self._opened.note(now):
            self.hold("more cases opened in an hour than notices.cases_per_hour_max")

    def _mates(self, key: int) -> int:
        return len(self.cases.numbers_of_one(key))

    def _clock_at(self, cause: Reason, at: int, key: int) -> int:
        """Return when the grace of a new case begins; of an unregistered phone, with its first one."""
        says = self.policy.cause[CAUSE_NAMES[cause]]
        if cause == Reason.NOT_REGISTERED:
            mates = (self.cases.get(number) for number in self.cases.numbers_of_one(key))
            begun = [mate.clock_at for mate in mates if mate.cause == cause and mate.clock_at]
            if begun:
                return min(begun)
        if says.clock_start == "first_sighting":
            return at
        return max(says.clock_date, at) if says.clock_start == "date" else 0

    def changed(self, keys: U64, now: int) -> int:
        """Look again at the cases of sorted IMEI keys that a delta touched; return how many were resolved.

        Of a large delta give a part at a time, and commit it: meanwhile nothing else is done.
        """
        return self.look_again(self.cases.numbers_of(keys), now)

    def look_again(self, numbers: Sequence[int], now: int, *, anew: bool = False) -> int:
        """Resolve those of these cases whose cause is gone; return how many.

        `anew`: the timetable may be another, so that of the others it is worked out what is due when.
        """
        numbers = self.cases.unresolved(np.array(numbers, np.int64))
        if not numbers:
            return 0
        rows = self.cases.rows_of(numbers)
        keys, imsis = (rows[name].astype(np.uint64) for name in ("key", "imsi"))
        judged = judged_columns(self.judge, keys, imsis)
        gone = judged.reasons != rows["cause"]
        ending = judged.ends != 0
        for place in np.flatnonzero(ending & ~gone).tolist():
            self._not_before(numbers[place], int(judged.ends[place]), now)
        at = np.flatnonzero(gone | (ending & (rows["state"] == State.CUT_OFF)))  # as `remedied` has it
        self._remedy(np.array(numbers)[at].tolist(), judged.reasons[at].tolist(), now)
        for number in np.delete(np.array(numbers), at).tolist() if anew else ():
            case = self.cases.get(number)
            if self._due_at(case, now)[0] != self.cases.due_at(number):
                self._put(number, case, now, "")
        return len(at)

    def replace_sims(self, replaced: Sequence[tuple[int, int]], now: int) -> list[int]:
        """Move cases to the SIMs that take the place of theirs; return their numbers.

        Where the new SIM was sighted first, its case gives way: the grace is that of the older one.
        """
        new_of = dict(replaced)
        former = np.array(sorted(new_of), np.uint64)
        numbers = self.cases.numbers_within((), former)
        for old, new in replaced if numbers else ():
            self._same_subscriber(old, new)
        for number in numbers:
            case = self.cases.get(number)
            imsi = new_of[case.imsi]
            other = self.cases.number(case.key, imsi)
            if other >= 0:
                newer = self.cases.get(other)
                self._cancel([other], now)
                self.cases.resolve([other], now)
                case = replace(case, seen_at=max(case.seen_at, newer.seen_at))
            self.cases.move(number, imsi)
            self._put(number, replace(case, imsi=imsi), now, "SIM replaced")
        self.counts["moved"] += len(numbers)
        return numbers

    def _same_subscriber(self, former: int, imsi: int) -> None:
        """Let what was told a subscriber by his former SIM, or is being told, count for the new one."""
        if told_at := max(self._told.last_at(former), self._told.last_at(imsi)):
            self._told.note(imsi, told_at)
        if going := self._going.pop(former, 0):
            self._going[imsi], self._going_to[going] = going, imsi

    def _remedy(self, numbers: Sequence[int], reasons: Sequence[int], now: int) -> None:
        """Resolve cases by what checks answer now: what is due is cancelled, who was warned is told.

        Where another cause takes the place of the one that is gone, nothing is in order yet; who was
        cut off is let in all the same. Of a block nothing is told.
        """
        if not numbers:
            return
        before = self.cases.resolve(numbers, now)
        places = np.array(numbers, np.int64)
        cut_off = before["state"] == State.CUT_OFF
        # Only these have a notice that waits: few of very many.
        self._cancel(places[(before["waits"] != 0) | cut_off].tolist(), now)
        self.counts["resolved"] += len(numbers)
        in_order = np.isin(reasons, IN_ORDER)
        told = (before["warned_at"] != 0) & in_order | cut_off & np.isin(reasons, [*IN_ORDER, *CAUSE_NAMES])
        for ending, to in (("resolved", told & ~cut_off), ("restored", told & cut_off)):
            columns = before["opened_at"][to].tolist(), before["steps_sent"][to].tolist()
            self.outbox.add_many(ending, zip(places[to].tolist(), *columns, strict=True), now)

    def _cancel(self, numbers: Sequence[int], now: int) -> None:
        """Cancel the notices of cases that wait; what is with an SMSC cannot be called back."""
        for notice in self.outbox.waiting_of(numbers) if numbers else ():
            self.cancelled(notice, now)

    # -- time -------------------------------------------------------------------------------------

    def tick(self, now: int, world: World, limit: int) -> int:
        """Do what is due, at most so many cases of it; return how many were looked at."""
        cases = [(number, self.cases.get(number)) for number in self.cases.due(now, limit)]
        dues = [self._next(case, now) for _, case in cases]
        serious = [case for (_, case), due in zip(cases, dues, strict=True) if due.what in _JUDGED]
        answers = iter(self.judge([(case.key, case.imsi) for case in serious]))
        for (number, case), due in zip(cases, dues, strict=True):
            judged = next(answers) if due.what in _JUDGED else None
            if judged is not None and judged.reason != case.cause:
                self._remedy([number], [judged.reason], now)
            elif judged is not None and not judged.opens:
                self.counts["observed"] += 1
                self._put(number, case, now, "", due_at=now + HOUR)
            elif judged is not None and self._not_before(number, judged.ends, now):
                pass  # looked at again when its deadline is near
            elif judged is not None and due.what == "fall":
                self._fall(number, case, now, world, judged)
            elif due.what == "notice":
                self._notice(number, case, due, now)
            elif due.what:
                # As of when it was due: so it is the same in every daemon, and after a stop.
                self._put(number, step(case, EVENTS[due.what], max(due.at, case.since)), now, due.what)
                if due.what == "absence":
                    self._cancel([number], now)
            else:
                self._put(number, case, now, "")
        return len(cases)

    def next_of(self, case: Case, now: int) -> Due | None:
        """Return the next thing of a case."""
        return next_due(case, self._tables[case.cause], now, self._shift(case))

    def _next(self, case: Case, now: int) -> Due:
        """Return what is due now; nothing where the timetable changed meanwhile."""
        due = self.next_of(case, now)
        return due if due is not None and due.at <= now else Due("", 0)

    def _fall(self, number: int, case: Case, now: int, world: World, judged: Judged) -> None:
        """Cut a case off, unless it is in order by now or something holds the deadline back."""
        table = self._tables[case.cause]
        if now >= case.seen_at + table.absent_seconds:
            # Not seen for so long, while it waited for its turn.
            missed = step(case, Event.MISSED, max(case.seen_at + table.absent_seconds, case.since))
            self._put(number, missed, now, "absence")
            self._cancel([number], now)
            return
        falls = falls_at(case, table, self._shift(case))
        free = may_fall(
            falls, table, now, complete_until=world.complete_until, clock_doubtful=world.clock_doubtful
        )
        if not free or not judged.enforced or self.held or self._fallen.over(now):
            self.counts["waiting"] += 1
            self.counts[f"waiting_{self._held_back_by(judged, falls, world, free=free)}"] += 1
            self._wait(number, case, self._falls_later(judged, table, now, free=free), now)
            return
        if self.claimed is not None and not self.claimed(case):
            self._put(number, case, now, "", due_at=now + 1)
            return
        self._fell(number, replace(step(case, Event.FELL, now), waits=False), now, "cut off")

    def _wait(self, number: int, case: Case, falls_later: int, now: int) -> None:
        """Let a deadline wait; what else there is of the case goes on meanwhile."""
        table = self._tables[case.cause]
        told = next_notice(case, table, now, self._shift(case))
        if told is not None and told.at <= now:
            self._notice(number, case, told, now)
            return
        absent = case.seen_at + table.absent_seconds
        self._put(number, case, now, "", due_at=min(falls_later, absent, told.at if told else absent))

    def _fell(self, number: int, case: Case, now: int, what: str) -> None:
        """Note that a case is cut off, and let its subscriber be told."""
        self._fallen.note(now)
        self._put(number, case, now, what)
        self._cancel([number], now)
        self.counts["cut_off"] += 1
        if "cut_off" not in self.policy.cause[CAUSE_NAMES[case.cause]].stages_left_out:
            self.outbox.add(number, case.opened_at, "cut_off", case.steps_sent, now, now)

    def _held_back_by(self, judged: Judged, falls: int, world: World, *, free: bool) -> str:
        """Say in a word (of HELD_BACK_BY) what keeps a deadline from falling."""
        if world.clock_doubtful:
            return "clock"
        if falls > world.complete_until:
            return "feed"
        if not free:
            return "hours"
        if not judged.enforced:
            return "mode"
        return "held" if self.held else "rate"

    def _falls_later(self, judged: Judged, table: Timetable, now: int, *, free: bool) -> int:
        """Return when to look again at a deadline that does not fall: rarely, as there may be millions."""
        if not free or self.held:
            at = now + HELD_BACK_SECONDS
        elif not judged.enforced:
            at = now + HOUR
        else:
            place, at = self._fallen.in_line(now)
            morning = moved_into(at, table.cut_off_hours, table.zone)
            # Who waited longer comes first on the next day, too.
            return at if morning == at else morning + min(place, HOUR - 1)
        return moved_into(at, table.cut_off_hours, table.zone)

    def _notice(self, number: int, case: Case, due: Due, now: int) -> None:
        """Put a notice in the outbox; the case waits for its answer."""
        priority = self.deadline_of(case) or now + case.grace_seconds
        self.outbox.add(number, case.opened_at, due.stage, due.steps, now, priority)
        self._put(number, replace(case, steps_sent=due.steps, waits=True), now, "")
        if self._due.note(now):
            self.hold("more notices came due in an hour than notices.notices_per_hour_max")

    # -- people -----------------------------------------------------------------------------------

    def act(self, number: int, event: Event, now: int, until: int, who: str, why: str) -> Case:
        """Hold, withdraw or free a case. Raises InvalidRequestError."""
        case = self.cases.get(number)
        acted = step(case, event, now, until)
        self._put(number, acted, now, event.name.lower(), who=who, why=why)
        self._cancel([number], now)
        return acted

    def hold(self, why: str) -> None:
        """Hold all sending until it is released."""
        if not self.held:
            self.held = why
            self.counts["holds"] += 1

    def release(self) -> None:
        """Send again; what comes due in the rest of the hour is counted anew."""
        self.held = ""
        self._opened.count = self._due.count = 0
