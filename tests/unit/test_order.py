"""The order that sorts keys is the stable one, whoever sorts."""

from __future__ import annotations

import native_engine
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eir import native
from eir.whitelist.order import RUN_ROWS_MIN, Sorter, distinct, sorting_order
from eir.whitelist.rows import U64
from eir.whitelist.shard_find import Finders


@pytest.fixture(params=["numpy", "native"])
def sorter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sorter, "sort", staticmethod(np.ndarray.sort))
    monkeypatch.setattr(Finders, "of", Finders.of)
    if request.param == "native":
        native_engine.needed()
        native.help_writer()
        assert Sorter.sort is not np.ndarray.sort


@pytest.mark.usefixtures("sorter")
@pytest.mark.parametrize("count", [0, 1, 2, 1_000, 300_000])
@pytest.mark.parametrize("high", [3, 10**6, 10**14, 2**64 - 1])
def test_keys_in_any_order_are_sorted_and_equal_ones_keep_theirs(count: int, high: int) -> None:
    keys = np.random.default_rng(count).integers(0, high, count, np.uint64, endpoint=True)
    before = keys.copy()
    assert (sorting_order(keys) == np.argsort(keys, kind="stable")).all()
    assert (keys == before).all()


@pytest.mark.usefixtures("sorter")
def test_keys_that_differ_only_in_bits_left_for_the_second_pass() -> None:
    keys = np.uint64(10**14 - 1) - np.arange(200_000, dtype=np.uint64) % np.uint64(7)
    assert (sorting_order(keys) == np.argsort(keys, kind="stable")).all()


def refused(numbers: U64, match: str) -> None:
    native_engine.needed()
    with pytest.raises(ValueError, match=match):
        native.load().sort(numbers.reshape(-1).view(np.uint8))


def test_what_may_not_be_written_is_not_sorted() -> None:
    numbers = np.array([2, 1], np.uint64)
    numbers.flags.writeable = False
    refused(numbers, "read-only")


def test_what_is_not_of_whole_numbers_is_not_sorted() -> None:
    refused(np.zeros(9, np.uint8), "whole, aligned")
    refused(np.zeros(17, np.uint8)[1:], "whole, aligned")


def test_nothing_is_sorted_to_nothing() -> None:
    native_engine.needed()
    native.load().sort(np.empty(0, np.uint8))


@pytest.mark.parametrize("runs", [1, 2, 3])
def test_sorted_runs_are_merged_to_the_same_order(runs: int) -> None:
    random = np.random.default_rng(runs)
    parts = [np.sort(random.integers(0, 300, 4 * RUN_ROWS_MIN).astype(np.uint64)) for _ in range(runs)]
    keys = np.concatenate(parts)
    assert sorting_order(keys).tolist() == np.argsort(keys, kind="stable").tolist()


@given(st.lists(st.integers(0, (1 << 64) - 1) | st.integers(0, 5), max_size=60))
def test_distinct_values_are_sorted_and_each_once(keys: list[int]) -> None:
    assert distinct(np.array(keys, np.uint64)).tolist() == sorted(set(keys))
