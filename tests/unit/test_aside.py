"""Work in threads beside the caller: order, bounds, errors."""

from __future__ import annotations

import threading
import time

import pytest

from eir.whitelist import aside


@pytest.mark.parametrize("threads", [1, 2])
def test_results_come_in_the_order_of_the_items(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "THREADS", threads)

    def slow_where_even(item: int) -> int:
        time.sleep(0.002 * (item % 2 == 0))
        return item * item

    assert list(aside.in_order(slow_where_even, range(20))) == [item * item for item in range(20)]
    assert list(aside.in_order(slow_where_even, [3])) == [9]
    assert list(aside.in_order(slow_where_even, [])) == []


def test_no_more_than_a_few_run_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "THREADS", 2)
    begun: list[int] = []
    results = aside.in_order(begun.append, range(100))
    next(results)
    time.sleep(0.05)
    assert len(begun) <= 6
    list(results)
    assert len(begun) == 100


def test_an_error_reaches_the_caller_and_no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "THREADS", 2)

    def fails(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    results = aside.in_order(fails, range(10))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("columns")]
