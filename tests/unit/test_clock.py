"""The wall clock is seconds since the epoch; the other one never goes back."""

import time

from eir import clock


def test_now_is_whole_seconds_since_the_epoch() -> None:
    before = int(time.time())
    now = clock.now_seconds()
    assert isinstance(now, int)
    assert before <= now <= before + 2


def test_monotonic_does_not_go_back() -> None:
    times = [clock.monotonic() for _ in range(100)]
    assert times == sorted(times)
