"""What is due when."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eir.notify.case import Case, State, step
from eir.notify.schedule import (
    DAY,
    EVENTS,
    HOUR,
    Due,
    Hours,
    Shift,
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
from eir.policy import compile_policy, default_policy_text
from eir.verdict import Reason

TEHRAN = zoneinfo.ZoneInfo("Asia/Tehran")
SHIPPED = timetable_of(compile_policy(default_policy_text()).settings, "never_activated")
MINUTE = 60


def at(day: int, hour: int, minute: int = 0) -> int:
    """A second of November 2026 in Tehran."""
    return int((dt.datetime(2026, 11, 1, hour, minute, tzinfo=TEHRAN) + dt.timedelta(day - 1)).timestamp())


OPENED = at(1, 12)
CASE = Case(
    35_693_803_564_380,
    1_432_110_000_000_001,
    Reason.NEVER_ACTIVATED,
    OPENED,
    30 * DAY,
    since=OPENED,
    seen_at=OPENED,
    clock_at=OPENED,
)
WARNED = replace(CASE, warned_at=OPENED, noticed_at=OPENED, steps_sent=1)


def test_the_shipped_timetable() -> None:
    assert [s.stage for s in SHIPPED.steps] == ["first", "reminder", "reminder", "last"]
    assert SHIPPED.warned_seconds_min == 7 * DAY


def test_stages_left_out_are_not_in_the_timetable() -> None:
    text = default_policy_text().replace(
        "[cause.never_activated]", '[cause.never_activated]\nstages_left_out = ["reminder"]'
    )
    table = timetable_of(compile_policy(text).settings, "never_activated")
    assert [s.stage for s in table.steps] == ["first", "last"]


def test_the_first_notice_goes_out_at_once_by_day() -> None:
    assert notice(CASE, SHIPPED, OPENED) == Due("notice", OPENED, "first", 1)


def test_at_night_it_waits_for_the_morning() -> None:
    case = replace(CASE, opened_at=at(1, 23), clock_at=at(1, 23))
    assert notice(case, SHIPPED, at(1, 23)) == Due("notice", at(2, 9), "first", 1)


def test_then_the_reminders_and_the_last_warning() -> None:
    assert notice(WARNED, SHIPPED, OPENED) == Due("notice", at(11, 12), "reminder", 2)
    assert notice(replace(WARNED, steps_sent=2), SHIPPED, at(11, 12)) == Due(
        "notice", at(21, 12), "reminder", 3
    )
    assert notice(replace(WARNED, steps_sent=3), SHIPPED, at(21, 12)) == Due("notice", at(28, 12), "last", 4)
    assert notice(replace(WARNED, steps_sent=4), SHIPPED, at(28, 12)) is None


def test_after_an_outage_only_the_latest_goes_out() -> None:
    assert notice(WARNED, SHIPPED, at(29, 12)) == Due("notice", at(28, 12), "last", 4)


def test_but_a_first_notice_is_never_passed_over() -> None:
    assert notice(CASE, SHIPPED, at(29, 12)) == Due("notice", OPENED, "first", 1)


def test_spacing_between_notices() -> None:
    case = replace(WARNED, warned_at=at(11, 11), noticed_at=at(11, 11))
    assert notice(case, SHIPPED, at(11, 12)) == Due("notice", at(12, 11), "reminder", 2)


def test_without_a_clock_there_is_no_last_warning() -> None:
    case = replace(CASE, clock_at=0, steps_sent=3, warned_at=0)
    assert notice(case, SHIPPED, at(40, 12)) is None


@pytest.mark.parametrize("state", [s for s in State if s != State.OPEN])
def test_only_open_cases_are_warned_and_cut_off(state: State) -> None:
    assert notice(replace(CASE, state=state), SHIPPED, at(40, 12)) is None
    assert falls_at(replace(WARNED, state=state), SHIPPED) == 0


def test_the_unwarned_are_not_cut_off() -> None:
    assert falls_at(CASE, SHIPPED) == 0
    assert falls_at(replace(CASE, steps_sent=4), SHIPPED) == 0


def test_a_late_warning_moves_the_cut_off() -> None:
    assert falls_at(WARNED, SHIPPED) == at(31, 12)
    assert falls_at(replace(WARNED, warned_at=at(30, 12)), SHIPPED) == at(37, 12)


def test_deadlines_fall_in_their_hours() -> None:
    assert falls_at(replace(WARNED, clock_at=at(1, 17)), SHIPPED) == at(32, 9)


def test_a_deadline_waits_for_the_feed_the_clock_and_the_hour() -> None:
    falls = falls_at(WARNED, SHIPPED)
    now = falls + HOUR
    assert may_fall(falls, SHIPPED, now, complete_until=falls, clock_doubtful=False)
    assert not may_fall(falls, SHIPPED, now, complete_until=falls - 1, clock_doubtful=False)
    assert not may_fall(falls, SHIPPED, now, complete_until=now, clock_doubtful=True)
    assert not may_fall(falls, SHIPPED, falls - 1, complete_until=now, clock_doubtful=False)
    assert not may_fall(falls, SHIPPED, at(31, 20), complete_until=now + DAY, clock_doubtful=False)
    assert not may_fall(0, SHIPPED, now, complete_until=now, clock_doubtful=False)


def test_shifts_of_a_cohort_add_up_and_can_be_undone() -> None:
    everybody = Shift(10 * DAY, None, (0, 99_999_999), (0, 1 << 51))
    others = Shift(DAY, Reason.NOT_REGISTERED, (0, 99_999_999), (0, 1 << 51))
    tac = Shift(-DAY, None, (35_693_803, 35_693_803), (0, 1 << 51))
    foreign = Shift(DAY, None, (0, 99_999_999), (1_432_350_000_000_000, 1_432_359_999_999_999))
    assert shift_of(CASE, [everybody, others, tac, foreign]) == 9 * DAY
    assert falls_at(WARNED, SHIPPED, shift_of(CASE, [everybody])) == at(41, 12)
    assert shift_of(CASE, []) == 0


def test_a_shift_never_puts_the_deadline_before_the_case() -> None:
    assert deadline(CASE, -99 * DAY) == OPENED


def test_the_next_of_all() -> None:
    assert next_due(WARNED, SHIPPED, OPENED) == Due("notice", at(11, 12), "reminder", 2)
    done = replace(WARNED, steps_sent=4, seen_at=at(20, 12))
    assert next_due(done, SHIPPED, at(28, 12)) == Due("fall", at(31, 12))
    assert next_due(replace(done, seen_at=OPENED - DAY), SHIPPED, at(28, 12)) == Due("absence", at(30, 12))
    held = replace(WARNED, state=State.HELD, until=at(9, 12))
    assert next_due(held, SHIPPED, OPENED) == Due("end", at(9, 12))
    assert next_due(replace(CASE, state=State.RESOLVED), SHIPPED, OPENED) is None


hours = st.builds(Hours, st.integers(0, 1439), st.integers(0, 1439))


@given(
    st.integers(OPENED, OPENED + 400 * DAY), hours, st.sampled_from(["Asia/Tehran", "Europe/Berlin", "UTC"])
)
def test_moving_into_hours_agrees_with_trying_every_minute(start: int, part: Hours, name: str) -> None:
    zone = zoneinfo.ZoneInfo(name)
    start -= start % MINUTE

    def inside(second: int) -> bool:
        local = dt.datetime.fromtimestamp(second, zone)
        return part.begin == part.end or part.has(local.hour * 60 + local.minute)

    tried = next(second for second in range(start, start + 3 * DAY, MINUTE) if inside(second))
    # In a night without the hour that begins them, they begin with the next that there is.
    assert abs(moved_into(start, part, zone) - tried) <= HOUR
    if name != "Europe/Berlin":
        assert moved_into(start, part, zone) == tried
        if part.begin != part.end:
            assert not part.has(_minute(moved_out_of(start, part, zone), zone))


def _minute(second: int, zone: zoneinfo.ZoneInfo) -> int:
    local = dt.datetime.fromtimestamp(second, zone)
    return local.hour * 60 + local.minute


tables = st.builds(
    lambda reminders, last, quiet, spacing, warned, absent: replace(
        SHIPPED,
        steps=(
            SHIPPED.steps[0],
            *(replace_step(days) for days in sorted(reminders)),
            SHIPPED.steps[-1]._replace(before_deadline_seconds=last * DAY),
        ),
        quiet=quiet,
        spacing_seconds_min=spacing * HOUR,
        warned_seconds_min=warned * DAY,
        absent_seconds=absent * DAY,
    ),
    st.lists(st.integers(1, 40), max_size=4, unique=True),
    st.integers(0, 10),
    st.builds(Hours, st.integers(19 * 60, 23 * 60), st.integers(6 * 60, 9 * 60)),
    st.integers(1, 72),
    st.integers(1, 10),
    st.integers(5, 60),
)


def replace_step(days: int):  # type: ignore[no-untyped-def]
    return SHIPPED.steps[1]._replace(after_opening_seconds=days * DAY)


@given(
    tables,
    st.integers(0, DAY),
    st.integers(0, 40),
    st.lists(st.integers(0, 3 * DAY), max_size=12),
    st.booleans(),
)
@settings(deadline=None)
def test_a_case_runs_its_course(
    table: Timetable, offset: int, grace: int, delays: list[int], dated: bool
) -> None:
    """Warned before it is cut off, in time, never at night, never too often, whatever the SMSC delays."""
    opened = OPENED + offset
    case = Case(1, 1, Reason.NEVER_ACTIVATED, opened, grace * DAY, since=opened, seen_at=opened)
    case = replace(case, clock_at=opened if dated else 0)
    now, sent = opened, []
    waits = iter(delays)
    for _ in range(60):
        due = next_due(case, table, now)
        if due is None or case.state in (State.CUT_OFF, State.ABSENT):
            break
        now = max(now, due.at)
        if due.what != "notice":
            if due.what == "fall" and not may_fall(
                due.at, table, now, complete_until=now, clock_doubtful=False
            ):
                now = moved_into(now, table.cut_off_hours, table.zone)
                continue
            case = step(case, EVENTS[due.what], now)
            continue
        assert not table.quiet.has(_minute(due.at, table.zone))
        accepted = now + next(waits, 0)
        if sent:
            assert due.at - sent[-1] >= table.spacing_seconds_min
        sent.append(accepted)
        now = accepted
        case = replace(
            case,
            warned_at=case.warned_at or accepted,
            noticed_at=accepted,
            steps_sent=due.steps,
            clock_at=case.clock_at or accepted,
        )
    assert len(sent) <= len(table.steps)
    if case.state == State.CUT_OFF:
        assert sent
        assert now - sent[0] >= table.warned_seconds_min
        assert now >= case.deadline
        assert table.cut_off_hours.has(_minute(now, table.zone))
    else:
        assert case.state == State.ABSENT
