"""Laws of what daemons know together of a case: however facts arrive, everybody ends with the same."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from eir.errors import InvalidRequestError
from eir.notify.case import Case, Event, State, step
from eir.notify.facts import Facts, case_with, facts_of, joined, overruled, settled
from eir.verdict import Reason

START = 1_790_000_000
DAY = 86_400

# Few different times, so that ties are met often.
moments = st.integers(START, START + 5)
times = st.just(0) | moments
known = st.builds(
    Facts,
    key=st.just(35_693_803_564_380),
    imsi=st.just(1_432_110_000_000_001),
    cause=st.just(Reason.NEVER_ACTIVATED),
    opened_at=moments,
    grace_seconds=st.sampled_from([0, 30 * DAY]),
    state=st.sampled_from([state for state in State if state != State.RESOLVED]),
    since=moments,
    until=times,
    paused_seconds=st.integers(0, 3),
    seen_at=moments,
    clock_at=times,
    warned_at=times,
    noticed_at=times,
    steps_sent=st.integers(0, 4),
    round_at=times,
)


@given(known, known)
def test_joining_is_commutative(one: Facts, other: Facts) -> None:
    assert joined(one, other) == joined(other, one)


@given(known, known, known)
def test_joining_is_associative(one: Facts, two: Facts, three: Facts) -> None:
    assert joined(joined(one, two), three) == joined(one, joined(two, three))


@given(known, known)
def test_joining_is_idempotent(one: Facts, other: Facts) -> None:
    assert joined(one, one) == one
    both = joined(one, other)
    assert joined(both, one) == joined(both, other) == joined(both, both) == both


@given(known, known)
def test_the_earliest_sighting_wins(one: Facts, other: Facts) -> None:
    assert joined(one, other).opened_at == min(one.opened_at, other.opened_at)
    assert joined(one, other).seen_at == max(one.seen_at, other.seen_at)


@given(known, known)
def test_a_warning_is_never_forgotten_but_by_a_withdrawal(one: Facts, other: Facts) -> None:
    both = joined(one, other)
    if one.warned_at and one.round_at >= other.round_at:
        assert 0 < both.warned_at <= one.warned_at
    assert both.round_at == max(one.round_at, other.round_at)


@given(known, st.integers(1, 10))
def test_settling_twice_is_settling_once(facts: Facts, absent_seconds: int) -> None:
    once = settled(facts, absent_seconds)
    assert settled(once, absent_seconds) == once
    assert joined(once, facts) == once


@given(known, known)
def test_what_overrules_stands_against_the_fall_whoever_hears_it(mine: Facts, theirs: Facts) -> None:
    stands = overruled(mine, theirs)
    if stands is not None:
        assert joined(stands, theirs).state == mine.state
        assert joined(stands, theirs).state != State.CUT_OFF
        assert overruled(stands, theirs) in (None, stands)


@given(known)
def test_facts_of_a_case_are_the_case(facts: Facts) -> None:
    case = case_with(facts)
    assert facts_of(case, facts.steps_sent, facts.round_at) == facts


events = st.sampled_from([Event.SIGHTED, Event.MISSED, Event.HOLD, Event.WITHDRAW, Event.ENDED, Event.FELL])


@given(st.lists(events, max_size=6), st.randoms(use_true_random=False))
def test_a_whole_course_told_in_any_order_ends_where_it_ended(course: list[Event], random: object) -> None:
    """Everything that one daemon did, told in every order to others, is the last state of it."""
    case = Case(35_693_803_564_380, 5, Reason.NEVER_ACTIVATED, START, DAY, since=START, seen_at=START)
    now, round_at, told = START, 0, [facts_of(case)]
    for event in course:
        now += 10
        try:
            until = now + 100 if event in (Event.HOLD, Event.WITHDRAW) else 0
            case = step(case, event, now, until)
        except InvalidRequestError:
            continue
        round_at = now if event == Event.WITHDRAW else round_at
        if case.state == State.OPEN and not case.warned_at:
            case = replace(case, warned_at=now, noticed_at=now, clock_at=case.clock_at or now)
        told.append(facts_of(case, 0, round_at))
    for order in list(permutations(told))[:24]:
        together = order[0]
        for facts in order[1:]:
            together = joined(together, facts)
        assert together == told[-1]
