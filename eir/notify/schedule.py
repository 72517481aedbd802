"""What is due when: a pure function of a case, its timetable and the time.

    opening, deadline ──► steps ──► spacing ──► quiet hours ──► notice due
    deadline, warned ──► hours for cut-offs ──► falls

A deadline never falls before a notice was accepted `warned_seconds_min` earlier.
What else holds it back (the feed, the clock, the rate) is the sender's to know:
`may_fall`. Times are seconds since the Unix epoch, 0 where there is none.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from eir.identity import SERIALS
from eir.notify.case import Case, Event, State
from eir.policy.settings import Settings
from eir.verdict import Reason

_OPEN: Final = State.OPEN
"""Members of an enum are slow to reach, and these functions run for every case that changes."""
HOUR: Final = 3_600
DAY: Final = 86_400


STEPS: Final = ("first", "reminder", "last")
"""Stages that are steps of a timetable."""


class Hours(NamedTuple):
    """A part of the day, in minutes since midnight; it goes over midnight where it ends before it begins."""

    begin: int
    end: int

    def has(self, minute: int) -> bool:
        """Tell whether a minute of the day is in it; empty hours have none."""
        if self.begin <= self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end


class Step(NamedTuple):
    """A notice of the timetable: its stage, and when, after the opening or before the deadline."""

    stage: str
    after_opening_seconds: int = 0
    before_deadline_seconds: int = 0


@dataclass(frozen=True)
class Timetable:
    """When notices go out, and deadlines fall; the first step is the first notice."""

    steps: tuple[Step, ...]
    zone: zoneinfo.ZoneInfo
    quiet: Hours
    cut_off_hours: Hours
    spacing_seconds_min: int
    warned_seconds_min: int
    absent_seconds: int


def timetable_of(settings: Settings, cause: str) -> Timetable:
    """Return the timetable of a cause under a policy."""
    says, left_out = settings.notices, settings.cause[cause].stages_left_out
    steps = (
        Step("first", after_opening_seconds=says.first_after_hours * HOUR),
        *(Step("reminder", after_opening_seconds=days * DAY) for days in says.reminders_after_days),
        Step("last", before_deadline_seconds=says.last_before_days * DAY),
    )
    return Timetable(
        tuple(step for step in steps if step.stage not in left_out),
        zoneinfo.ZoneInfo(settings.time_zone),
        Hours(*says.quiet_hours),
        Hours(*says.cut_off_hours),
        says.spacing_hours_min * HOUR,
        says.warned_days_min * DAY,
        says.absent_days * DAY,
    )


class Due(NamedTuple):
    """The next thing of a case: what, and when; the stage and the number of steps of a notice."""

    what: str
    at: int
    stage: str = ""
    steps: int = 0


class Shift(NamedTuple):
    """A bulk shift of deadlines: of a cause and of spans of TACs and IMSI codes, both inclusive."""

    seconds: int
    cause: Reason | None
    tacs: tuple[int, int]
    imsis: tuple[int, int]

    def covers(self, case: Case) -> bool:
        """Tell whether a case is in the cohort."""
        return (
            self.cause in (None, case.cause)
            and self.tacs[0] <= case.key // SERIALS <= self.tacs[1]
            and self.imsis[0] <= case.imsi <= self.imsis[1]
        )


def shift_of(case: Case, shifts: Iterable[Shift]) -> int:
    """Seconds by which the shifts move a case's deadline, together."""
    return sum(shift.seconds for shift in shifts if shift.covers(case))


def moved_into(at: int, hours: Hours, zone: zoneinfo.ZoneInfo) -> int:
    """Return the first second from `at` on that is in these hours of the day; `at` where they are all day."""
    if hours.begin == hours.end:
        return at
    local = dt.datetime.fromtimestamp(at, zone)
    if hours.has(local.hour * 60 + local.minute):
        return at
    begins = dt.datetime.combine(local.date(), dt.time(*divmod(hours.begin, 60)), zone)
    if begins.timestamp() < at:
        begins = dt.datetime.combine(local.date() + dt.timedelta(1), begins.time(), zone)
    return int(begins.timestamp())


def moved_out_of(at: int, quiet: Hours, zone: zoneinfo.ZoneInfo) -> int:
    """Return the first second from `at` on that is not in these hours of the day."""
    return moved_into(at, Hours(quiet.end, quiet.begin), zone)


def deadline(case: Case, shift_seconds: int) -> int:
    """Deadline of a case with its cohort's shifts; never before the case was opened."""
    return max(case.deadline + shift_seconds, case.opened_at) if case.deadline else 0


def falls_at(case: Case, timetable: Timetable, shift_seconds: int = 0) -> int:
    """Return the first second at which the deadline may fall; 0: not as things are."""
    end = deadline(case, shift_seconds)
    if case.state != _OPEN or not end or not case.warned_at:
        return 0
    warned = max(end, case.warned_at + timetable.warned_seconds_min)
    return moved_into(warned, timetable.cut_off_hours, timetable.zone)


def may_fall(
    falls: int, timetable: Timetable, now: int, *, complete_until: int, clock_doubtful: bool
) -> bool:
    """Tell whether a deadline falls now: the registry is complete up to it, and it is an hour for it."""
    return (
        0 < falls <= min(now, complete_until)
        and not clock_doubtful
        and moved_into(now, timetable.cut_off_hours, timetable.zone) == now
    )


def _step_at(step: Step, case: Case, end: int) -> int:
    """Return when a step is due by itself; 0: not while the clock has not started."""
    if step.stage == "last":
        return max(end - step.before_deadline_seconds, case.opened_at) if end else 0
    return case.opened_at + step.after_opening_seconds


def notice(case: Case, timetable: Timetable, now: int, shift_seconds: int = 0) -> Due | None:
    """Return the next notice of an open case; of several that are overdue, only the latest goes out.

    The first notice is never passed over: a reminder reminds of something. There
    is one notice of a case at a time.
    """
    if case.state != _OPEN or case.waits:
        return None
    end = deadline(case, shift_seconds)
    left = [
        (at, number)
        for number, step in enumerate(timetable.steps)
        if number >= case.steps_sent and (at := _step_at(step, case, end))
    ]
    if not left:
        return None
    if case.warned_at:
        overdue = [(at, number) for at, number in left if at <= now]
        at, number = max(overdue, key=lambda step: step[1]) if overdue else min(left)
    else:
        at, number = left[0]
    if case.noticed_at:
        at = max(at, case.noticed_at + timetable.spacing_seconds_min)
    at = moved_out_of(max(at, case.opened_at), timetable.quiet, timetable.zone)
    return Due("notice", at, timetable.steps[number].stage, number + 1)


def _all_due(case: Case, timetable: Timetable, now: int, shift_seconds: int) -> Iterator[Due]:
    if found := notice(case, timetable, now, shift_seconds):
        yield found
    if falls := falls_at(case, timetable, shift_seconds):
        yield Due("fall", falls)
    if case.state == _OPEN:
        yield Due("absence", case.seen_at + timetable.absent_seconds)
    if case.until:
        yield Due("end", case.until)


def next_due(case: Case, timetable: Timetable, now: int, shift_seconds: int = 0) -> Due | None:
    """Return the next thing of a case; None while it waits for something from outside.

    Where several are due in the same second, absence and ends come before notices and cut-offs.
    """
    order = ("absence", "end", "notice", "fall")
    return min(
        _all_due(case, timetable, now, shift_seconds),
        key=lambda due: (due.at, order.index(due.what)),
        default=None,
    )


EVENTS: Final = {"absence": Event.MISSED, "end": Event.ENDED, "fall": Event.FELL}
"""What a due thing does to its case; a notice does nothing until it is accepted."""
