"""How many of a thing there may be in an hour."""

from __future__ import annotations

from eir.notify.rate import Rate
from eir.notify.schedule import HOUR

NOW = 500_000 * HOUR


def test_an_hour_has_so_many_and_the_next_begins_anew() -> None:
    rate = Rate(2)
    assert [rate.note(NOW + at) for at in (0, 1, 2)] == [False, False, True]
    assert rate.over(NOW + HOUR - 1)
    assert not rate.over(NOW + HOUR)


def test_who_finds_no_room_looks_again_when_half_of_those_before_him_had_theirs() -> None:
    rate = Rate(2)
    assert [rate.note(NOW + 5) for _ in range(2)] == [False, False]
    line = [rate.in_line(NOW + 5) for _ in range(6)]
    assert line == [(place, NOW + HOUR + place * HOUR // 4) for place in range(6)]
    assert Rate(0).in_line(NOW)[1] >= NOW + HOUR, "none at all may fall"
