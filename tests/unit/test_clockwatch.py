"""Doubt in the wall clock, and what ends it."""

from __future__ import annotations

import pytest

from eir.notify.clockwatch import ClockWatch

NOW = 1_800_000_000


def watch(last_known: float = 0) -> ClockWatch:
    made = ClockWatch(jump_seconds_max=30, agree_seconds_max=300, last_known=last_known)
    made.look(NOW, 50, NOW - 60)
    return made


def test_a_clock_that_goes_on_is_believed_also_when_it_is_slewed() -> None:
    made = watch()
    for second in range(1, 1000):
        assert not made.look(NOW + second * 1.05, 50 + second, NOW - 60)


@pytest.mark.parametrize("jump", [-3600, -31, 31, 86_400])
def test_a_jump_is_doubted_until_the_clock_comes_back(jump: int) -> None:
    made = watch()
    assert made.look(NOW + 1 + jump, 51, NOW - 60)
    assert f"{jump:+d} s" in made.why
    assert made.look(NOW + 2 + jump, 52, NOW - 60)
    assert not made.look(NOW + 3, 53, NOW - 60)


def test_a_feed_that_agrees_ends_the_doubt_and_one_that_does_not_say_more_does_not() -> None:
    made = watch()
    assert made.look(NOW + 3601, 51, NOW - 60)
    assert made.look(NOW + 3602, 52, NOW + 60)  # newer, and an hour behind
    assert not made.look(NOW + 3603, 53, NOW + 3500)
    assert not made.look(NOW + 3604, 54, NOW + 3500)
    made = watch()
    assert made.look(NOW + 200, 51, NOW - 60)
    assert made.look(NOW + 201, 52, NOW - 60)  # near enough, but said before the jump


def test_a_clock_that_went_back_over_a_restart() -> None:
    made = watch(last_known=NOW + 500)
    assert "over a restart" in made.why
    made.believe(NOW, 50)
    assert not made.look(NOW + 1, 51, 0)
    assert not watch(last_known=NOW - 500).why
