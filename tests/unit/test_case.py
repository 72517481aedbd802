"""States of a case, and what their time does to its grace."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eir.errors import InvalidRequestError
from eir.notify.case import GRACE_WAITS, TRANSITIONS, WITH_END, Case, Event, State, after, step
from eir.verdict import Reason

DAY = 86_400
OPENED = 1_790_000_000
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


def run(case: Case, *events: tuple[Event, int]) -> Case:
    """Let events happen, each so many days after the opening; ends are 5 days later."""
    for event, day in events:
        now = OPENED + day * DAY
        case = step(case, event, now, now + 5 * DAY if event in WITH_END else 0)
    return case


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_a_step_follows_the_table_or_is_refused(state: State, event: Event) -> None:
    case = replace(CASE, state=state)
    if (state, event) in TRANSITIONS:
        assert step(case, event, OPENED + 1, OPENED + 2).state == TRANSITIONS[state, event]
    else:
        with pytest.raises(InvalidRequestError, match=f"{state.name}: {event.name}"):
            after(state, event)


@pytest.mark.parametrize("state", State)
def test_whatever_the_state_a_remedy_resolves(state: State) -> None:
    assert after(state, Event.REMEDIED) == State.RESOLVED


def test_only_what_is_open_is_cut_off() -> None:
    assert [state for state, event in TRANSITIONS if event == Event.FELL] == [State.OPEN]


def test_the_grace_waits_while_absent() -> None:
    case = run(CASE, (Event.MISSED, 20), (Event.SIGHTED, 50))
    assert case.state == State.OPEN
    assert case.deadline == OPENED + 60 * DAY


def test_the_grace_waits_while_held_and_absent_after_another() -> None:
    case = run(CASE, (Event.HOLD, 1), (Event.ENDED, 6), (Event.MISSED, 10), (Event.SIGHTED, 12))
    assert case.deadline == OPENED + 37 * DAY
    assert case.until == 0


def test_a_pause_before_the_clock_costs_nothing() -> None:
    dated = replace(CASE, clock_at=OPENED + 10 * DAY)
    assert run(dated, (Event.MISSED, 2), (Event.SIGHTED, 15)).paused_seconds == 5 * DAY
    waiting = replace(CASE, clock_at=0)
    case = run(waiting, (Event.MISSED, 2), (Event.SIGHTED, 15))
    assert (case.paused_seconds, case.deadline) == (0, 0)


def test_a_longer_hold_does_not_count_the_first_twice() -> None:
    case = run(CASE, (Event.HOLD, 1), (Event.HOLD, 4), (Event.ENDED, 9))
    assert case.paused_seconds == 8 * DAY


def test_what_was_cut_off_and_held_is_past_its_deadline_again_when_it_ends() -> None:
    case = run(CASE, (Event.FELL, 31), (Event.HOLD, 40), (Event.ENDED, 45))
    assert case.state == State.OPEN
    assert case.deadline < OPENED + 45 * DAY


def test_after_a_withdrawal_everything_begins_anew() -> None:
    warned = replace(CASE, warned_at=OPENED + 1, noticed_at=OPENED + 1, steps_sent=2)
    case = run(warned, (Event.WITHDRAW, 3), (Event.ENDED, 8))
    assert (case.state, case.warned_at, case.steps_sent, case.deadline) == (State.ABSENT, 0, 0, 0)


@pytest.mark.parametrize("event", sorted(WITH_END))
def test_an_end_lies_ahead(event: Event) -> None:
    with pytest.raises(InvalidRequestError, match="until"):
        step(CASE, event, OPENED, OPENED)


def test_late_sightings_do_not_turn_time_back() -> None:
    seen = step(CASE, Event.SIGHTED, OPENED + 9)
    assert step(seen, Event.SIGHTED, OPENED + 5).seen_at == OPENED + 9


@given(st.lists(st.tuples(st.sampled_from(Event), st.integers(0, 10)), max_size=30))
def test_the_grace_is_what_passed_outside_its_pauses(history: list[tuple[Event, int]]) -> None:
    """A plain count by the second of the days in which the grace ran."""
    case, day, ran = CASE, 0, 0
    for event, days in history:
        if case.state not in GRACE_WAITS:
            ran += days
        day += days
        now = OPENED + day * DAY
        if (case.state, event) not in TRANSITIONS or event == Event.WITHDRAW:
            continue
        case = step(case, event, now, now + DAY)
    if case.state not in GRACE_WAITS:
        assert case.deadline - (OPENED + day * DAY) == (30 - ran) * DAY
