"""How fast an SMSC is spoken to."""

from __future__ import annotations

import pytest

from eir.notify.pace import Pace


def flow(pace: Pace, start: float, seconds: float) -> int:
    """Parts that go out in so many seconds by somebody who always waits as told."""
    now, count = start, 0
    while (now := now + (wait := pace.take(1, now))) < start + seconds:
        count += not wait
    return count


def test_the_rate_is_kept() -> None:
    assert flow(Pace(100, 0), 0, 10) == pytest.approx(1000, abs=11)


def test_no_burst_after_a_rest() -> None:
    pace = Pace(100, 0)
    assert flow(pace, 3600, 1) <= 112


def test_parts_of_one_message_go_together_at_any_rate() -> None:
    pace = Pace(0.5, 0)
    assert pace.take(2, 0) == pytest.approx(4)
    assert pace.take(2, 4) == 0


def test_throttling_halves_and_comes_back() -> None:
    pace = Pace(100, 0)
    pace.throttled(0)
    assert pace.rate == 50
    pace.throttled(0.5)
    assert pace.rate == 50
    pace.throttled(1)
    assert pace.rate == 25
    pace.take(1, 1)
    pace.take(1, 16)
    assert pace.rate == 100


def test_it_never_stops_altogether() -> None:
    pace = Pace(100, 0)
    for second in range(20):
        pace.throttled(second)
    assert pace.rate == 1


def test_a_clock_that_steps_back_gives_nothing() -> None:
    pace = Pace(100, 10)
    assert pace.take(1, 5) > 0
