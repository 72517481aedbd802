"""Estimates of how many there were."""

import pytest

from eir.trial.distinct import Distinct


@pytest.mark.parametrize("count", [0, 1, 10, 500, 3000, 50_000])
def test_an_estimate_is_near_the_truth(count: int) -> None:
    distinct = Distinct()
    for number in range(count):
        distinct.add(f"43211{number:010d}")
    assert distinct.estimate() == pytest.approx(count, rel=0.1, abs=1)


def test_what_comes_again_counts_once() -> None:
    distinct = Distinct()
    for number in range(3000):
        distinct.add(str(number % 7))
    assert distinct.estimate() == 7
