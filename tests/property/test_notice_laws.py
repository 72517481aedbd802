"""Laws of the timetable of notices and of texts in parts, over any case, policy and time."""

from __future__ import annotations

import datetime as dt
import time
import zoneinfo
from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from eir.notify.case import Case, Event, State, step
from eir.notify.schedule import (
    DAY,
    EVENTS,
    HOUR,
    Hours,
    Shift,
    Step,
    Timetable,
    deadline,
    falls_at,
    may_fall,
    moved_into,
    moved_out_of,
    next_due,
    notice,
    shift_of,
    timetable_of,
)
from eir.notify.segmentation import segment
from eir.policy import compile_policy, default_policy_text
from eir.verdict import Reason

ZONES = [zoneinfo.ZoneInfo(name) for name in ("Asia/Tehran", "UTC", "America/Bogota")]
START = 1_790_000_000

moments = st.integers(START, START + 60 * DAY)
hours = st.builds(Hours, st.integers(0, 1439), st.integers(0, 1439))
timetables = st.builds(
    lambda reminders, last, zone, quiet, cut_off, seconds: Timetable(
        (Step("first"), *(Step("reminder", days * DAY) for days in reminders), Step("last", 0, last * DAY)),
        *(zone, quiet, cut_off, *seconds),
    ),
    st.lists(st.integers(1, 40), max_size=4, unique=True).map(sorted),
    st.integers(0, 10),
    st.sampled_from(ZONES),
    *(hours, hours),
    st.tuples(st.integers(0, 72 * HOUR), st.integers(0, 10 * DAY), st.integers(DAY, 60 * DAY)),
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any case that may come about."""
    opened = draw(moments)
    later = st.integers(0, 40 * DAY)
    warned = draw(st.none() | later)
    case = Case(
        35_693_803_564_380,
        1_432_110_000_000_001,
        draw(st.sampled_from([Reason.NEVER_ACTIVATED, Reason.NOT_REGISTERED])),
        opened,
        draw(st.integers(0, 40)) * DAY,
        since=opened,
        seen_at=opened + draw(later),
        clock_at=draw(st.sampled_from([0, opened])),
        paused_seconds=draw(st.integers(0, 20 * DAY)),
        steps_sent=draw(st.integers(0, 6)),
    )
    if warned is None:
        return case
    first = opened + warned
    clock_at = case.clock_at or first
    return replace(case, clock_at=clock_at, warned_at=first, noticed_at=first + draw(later))


shifts = st.builds(
    Shift,
    st.integers(-30 * DAY, 60 * DAY),
    st.sampled_from([None, Reason.NEVER_ACTIVATED, Reason.NOT_REGISTERED]),
    st.just((0, 99_999_999)),
    st.sampled_from([(0, 1 << 60), (0, 5)]),
)


@given(cases(), timetables, moments, st.floats(0, 1))
def test_asking_again_before_it_is_due_changes_nothing(
    case: Case, table: Timetable, now: int, part: float
) -> None:
    due = next_due(case, table, now)
    assume(due is not None and due.at > now)
    assert due is not None
    again = next_due(case, table, now + int((due.at - now) * part))
    assert again is not None
    assert (again.what, again.at) == (due.what, due.at)


@given(cases(), timetables, moments, st.integers(0, 60 * DAY))
def test_what_is_due_never_moves_to_an_earlier_time(
    case: Case, table: Timetable, now: int, passed: int
) -> None:
    early, late = next_due(case, table, now), next_due(case, table, now + passed)
    assert (early is None) == (late is None)
    if early is not None and late is not None:
        assert early.at <= late.at


@given(cases(), timetables, moments)
def test_a_notice_keeps_the_quiet_hours_and_the_spacing(case: Case, table: Timetable, now: int) -> None:
    due = notice(case, table, now)
    if due is None:
        return
    assert due.steps > case.steps_sent
    assert due.at >= case.opened_at
    assert moved_out_of(due.at, table.quiet, table.zone) == due.at
    if case.noticed_at:
        assert due.at >= case.noticed_at + table.spacing_seconds_min
    else:
        assert due.steps == case.steps_sent + 1


@given(cases(), timetables, moments, moments, st.booleans(), st.lists(shifts, max_size=3))
def test_nobody_is_cut_off_unwarned_early_or_at_night(
    case: Case, table: Timetable, now: int, complete_until: int, doubtful: bool, all_shifts: list[Shift]
) -> None:
    shift = shift_of(case, all_shifts)
    falls = falls_at(case, table, shift)
    if not may_fall(falls, table, now, complete_until=complete_until, clock_doubtful=doubtful):
        return
    assert case.state == State.OPEN
    assert not doubtful
    assert now >= case.warned_at + table.warned_seconds_min > table.warned_seconds_min
    assert now >= deadline(case, shift) > 0
    assert falls <= complete_until
    assert moved_into(now, table.cut_off_hours, table.zone) == now


@given(cases(), timetables, st.lists(shifts, max_size=4), st.randoms())
def test_shifts_add_up_in_any_order_and_are_undone(
    case: Case, table: Timetable, all_shifts: list[Shift], random: object
) -> None:
    shift = shift_of(case, all_shifts)
    assert shift_of(case, reversed(all_shifts)) == shift
    undone = [*all_shifts, *(one._replace(seconds=-one.seconds) for one in all_shifts)]
    assert falls_at(case, table, shift_of(case, undone)) == falls_at(case, table)
    if falls_at(case, table):
        sooner, later = sorted((0, shift))
        assert falls_at(case, table, sooner) <= falls_at(case, table, later)


@given(cases(), st.sampled_from([Event.MISSED, Event.HOLD]), moments, st.integers(1, 90 * DAY))
def test_absence_and_holds_keep_the_grace_that_is_left(
    case: Case, event: Event, now: int, waited: int
) -> None:
    now = max(now, case.opened_at, case.clock_at)
    paused = step(case, event, now, now + waited if event == Event.HOLD else 0)
    assert falls_at(paused, timetable_of(SETTINGS, "never_activated")) == 0
    back = step(paused, Event.SIGHTED if event == Event.MISSED else Event.ENDED, now + waited)
    assert back.state == State.OPEN
    if case.clock_at:
        assert back.deadline - (now + waited) == case.deadline - now


SETTINGS = compile_policy(default_policy_text()).settings


def course(case: Case, table: Timetable) -> tuple[Case, int]:
    """Run a case to its end, each notice accepted when it is due; return it with how many were sent."""
    now, sent = case.opened_at, 0
    while case.state == State.OPEN and (due := next_due(case, table, now)) is not None:
        now = due.at
        if due.what == "notice":
            sent += 1
            case = replace(
                case, warned_at=case.warned_at or now, noticed_at=now, steps_sent=due.steps, seen_at=now
            )
        else:
            case = step(case, EVENTS[due.what], now)
    return case, sent


def test_thirty_days_run_in_milliseconds() -> None:
    table = timetable_of(SETTINGS, "never_activated")
    opened = int(dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC).timestamp())
    began = time.process_time()
    for hour in range(100):
        at = opened + hour * HOUR
        case = Case(1, 1, Reason.NEVER_ACTIVATED, at, 30 * DAY, since=at, seen_at=at, clock_at=at)
        ended, sent = course(case, table)
        assert (ended.state, sent) == (State.CUT_OFF, 4)
    assert (time.process_time() - began) / 100 < 0.02


units = st.text(st.sampled_from("aی😀€[\u200e"), min_size=1, max_size=400)


@given(units, st.integers(0, 255))
def test_parts_are_full(text: str, reference: int) -> None:
    """No part could take the first character of the next one: there are as few as can be."""
    parts = segment(text, reference)
    for body, following in zip(parts.bodies, parts.bodies[1:], strict=False):
        if parts.data_coding == 0:
            first = 2 if following[6:7] == b"\x1b" else 1
            assert len(body) - 6 + first > 153
        else:
            first = 4 if 0xD8 <= following[6] <= 0xDB else 2
            assert len(body) - 6 + first > 134
