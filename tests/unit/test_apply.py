"""Operations on the state of keys: replaced SIMs, removals, additions, intervals."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from eir.whitelist import apply, items
from eir.whitelist.apply import BadAmong, Intervals, KeyState, Ops
from eir.whitelist.delta import PAIRS_MAX, BadRows, RowReason
from eir.whitelist.hashtable import Ragged
from eir.whitelist.items import REGISTERED, Item, name_of

A, B, C = 1_432_110_000_000_001, 1_432_110_000_000_002, 1_001_010_000_000_003


def u64(values) -> np.ndarray:
    return np.array(values, np.uint64)


@dataclass
class Given:
    """Columns of a delta of one kind: one value a row."""

    imsi: np.ndarray = field(default_factory=lambda: u64([]))
    former: np.ndarray = field(default_factory=lambda: u64([]))
    time: np.ndarray = field(default_factory=lambda: u64([]))
    cause: np.ndarray = field(default_factory=lambda: u64([]))
    name: np.ndarray = field(default_factory=lambda: u64([]))


def ops(at, imsi=(), former=(), cause=()) -> Ops:
    """Operations on the keys at these places."""
    n = len(at)
    columns = Given(*(u64(part or [0] * n) for part in (imsi, former, (), cause, ())))
    return Ops(columns, np.arange(n), np.array(at))


def state(*rows: tuple[bool, int, list[int]]) -> KeyState:
    """State of keys: registered, owner, and words."""
    heads = u64([REGISTERED * registered | owner for registered, owner, _ in rows])
    words = [words for *_, words in rows]
    counts = np.array([len(run) for run in words], np.int64)
    return KeyState.of(heads, Ragged.of(counts, u64([word for run in words for word in run])))


def utilizer(code: int) -> int:
    return name_of(Item.UTILIZER, code)


def bad(rows: int) -> BadRows:
    return BadRows(rows)


def words_of(given: KeyState, place: int) -> list[int]:
    return given.packed()[1].run(place).tolist()


def test_an_owner_who_leaves_takes_the_utilizers_along_a_utilizer_does_not() -> None:
    track = name_of(Item.TRACK)
    given, told = state((False, A, [utilizer(B), track]), (False, A, [utilizer(B), track])), bad(2)
    apply.unpair(given, ops([0, 1], imsi=[A, B]), told)
    assert given.owner.tolist() == [0, A]
    assert (words_of(given, 0), words_of(given, 1), told.count) == ([track], [track], 0)


@pytest.mark.parametrize(
    ("role", "code", "wrong"), [(1, B, True), (2, A, True), (1, A, False), (2, B, False), (0, C, True)]
)
def test_a_pair_ends_in_the_role_that_is_named(role: int, code: int, wrong: bool) -> None:
    told = bad(1)
    apply.unpair(state((False, A, [utilizer(B)])), ops([0], imsi=[code], cause=[role]), told)
    assert [row.reason for row in told.report()] == [RowReason.NOT_THERE] * wrong


@pytest.mark.parametrize(
    ("owner", "former", "wrong"),
    [
        (0, 0, []),
        (A, A, []),
        (A, 0, [RowReason.OWNER_MISMATCH]),
        (A, C, [RowReason.OWNER_MISMATCH]),
        (0, A, [RowReason.OWNER_MISMATCH]),
        (B, 0, [RowReason.ALREADY_THERE]),
        (B, A, [RowReason.ALREADY_THERE]),
    ],
)
def test_a_transfer_names_the_owner_it_expects(owner: int, former: int, wrong: list[RowReason]) -> None:
    given, told = state((True, owner, [])), bad(1)
    apply.pair_owner(given, ops([0], imsi=[B], former=[former]), told)
    assert [row.reason for row in told.report()] == wrong
    assert given.owner.tolist() == [owner if wrong else B]


def test_a_transfer_ends_utilizers_and_the_grandfathered_pair_of_the_owner_before() -> None:
    words = [utilizer(C), name_of(Item.GRANDFATHER_PAIR, A), 1, name_of(Item.GRANDFATHER_PAIR, C), 2]
    given, told = state((True, A, words), (True, 0, words)), bad(2)
    apply.pair_owner(given, ops([0, 1], imsi=[B, B], former=[A, 0]), told)
    assert words_of(given, 0) == words[3:]
    assert words_of(given, 1) == words, "an activation leaves them"


def test_utilizers_need_an_owner_and_are_at_most_63() -> None:
    many = [utilizer(B + place) for place in range(PAIRS_MAX - 2)]
    given, told = state((False, 0, []), (False, A, many), (False, A, many), (False, A, many[:1])), bad(5)
    codes = [B, C, C, C + 1, B]
    apply.pair_utilizer(given, ops([0, 1, 2, 2, 3], imsi=codes), told)
    reasons = {row.row: row.reason for row in told.report()}
    assert reasons == {
        0: RowReason.NO_OWNER,
        2: RowReason.TOO_MANY_PAIRS,
        3: RowReason.TOO_MANY_PAIRS,
        4: RowReason.ALREADY_THERE,
    }
    assert len(words_of(given, 1)) == PAIRS_MAX - 1


def test_a_registration_ends_once_and_with_its_pairs() -> None:
    given, told = state((True, A, [utilizer(B)]), (False, A, []), (False, A, [])), bad(3)
    apply.deregister(given, ops([0, 1, 2]), np.array([False, False, True]), told)
    assert [(row.row, row.reason) for row in told.report()] == [(1, RowReason.NOT_THERE)]
    assert (given.registered.tolist(), given.owner.tolist()) == ([False] * 3, [0, A, 0])
    assert words_of(given, 0) == []
    apply.register(given, ops([0, 1, 2]), told)
    apply.register(given, ops([0]), told)
    assert told.report()[0].reason == RowReason.ALREADY_THERE


def test_an_item_with_another_value_is_replaced_only_where_that_is_meant() -> None:
    name = u64([name_of(Item.EXEMPT_IMEI)])
    for replace, count in ((True, 0), (False, 1)):
        given, told = state((False, 0, [name_of(Item.EXEMPT_IMEI, 5)])), bad(1)
        apply.put_items(given, ops([0]), name, u64([7]), told, "exemption", replace=replace)
        assert (told.count, words_of(given, 0)) == (count, [name_of(Item.EXEMPT_IMEI, 5 if count else 7)])
    given, told = state((False, 0, [name_of(Item.EXEMPT_IMEI, 7)])), bad(1)
    apply.put_items(given, ops([0]), name, u64([7]), told, "exemption", replace=True)
    assert told.report()[0].reason == RowReason.ALREADY_THERE


def test_a_sim_is_replaced_wherever_it_stands() -> None:
    words = [utilizer(A), name_of(Item.EXEMPT_PAIR, A), 9, name_of(Item.GRANDFATHER_PAIR, A), 3]
    given = state((False, A, []), (False, C, words), (False, C, []))
    found, clash = apply.replace_sims(given, u64([A, A + 10]), u64([B, B + 10]))
    assert (found.tolist(), clash.tolist()) == ([True, False], [False, False])
    assert given.owner.tolist() == [B, C, C]
    assert words_of(given, 1) == [
        utilizer(B),
        name_of(Item.EXEMPT_PAIR, B),
        9,
        name_of(Item.GRANDFATHER_PAIR, B),
        3,
    ]


@pytest.mark.parametrize(
    ("row", "clash"),
    [
        ((False, A, [utilizer(B)]), True),
        ((False, B, [utilizer(A)]), True),
        ((False, C, [utilizer(A), utilizer(B)]), True),
        ((False, 0, [name_of(Item.EXEMPT_PAIR, A), 1, name_of(Item.EXEMPT_PAIR, B), 1]), True),
        ((False, B, [name_of(Item.EXEMPT_PAIR, A), 1]), False),
        ((False, A, [name_of(Item.GRANDFATHER_PAIR, B), 1]), False),
        ((False, 0, [name_of(Item.EXEMPT_PAIR, A), 1, name_of(Item.GRANDFATHER_PAIR, B), 1]), False),
    ],
)
def test_a_new_sim_that_stands_there_already_is_a_conflict_of_its_kind(row, clash: bool) -> None:
    assert [part.tolist() for part in apply.replace_sims(state(row), u64([A]), u64([B]))] == [[True], [clash]]


def test_items_are_found_by_row_and_name() -> None:
    given = state((False, 0, []), (False, 0, [utilizer(A), utilizer(B)]), (False, 0, [utilizer(B)]))
    row = np.array([0, 1, 1, 2, 2])
    assert given.match(row, u64([utilizer(code) for code in (A, A, B, A, B)])).tolist() == [-1, 0, 1, -1, 2]
    assert given.counts()[Item.UTILIZER] == 3


def test_intervals_join_and_split() -> None:
    def spans(*pairs: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        first, last = np.array(pairs, np.int64).reshape(-1, 2).T
        return first, last

    def listed(given: Intervals) -> list[tuple[int, int]]:
        return list(zip(given.first.tolist(), given.last.tolist(), strict=True))

    given = Intervals(*spans((10, 19), (30, 39)))
    assert listed(given.with_spans(*spans((20, 29)))) == [(10, 39)]
    assert listed(given.with_spans(*spans((0, 8)))) == [(0, 8), (10, 19), (30, 39)]
    assert listed(given.without(*spans((10, 10), (39, 39), (35, 35)))) == [(11, 19), (30, 34), (36, 38)]
    assert listed(given.without(*spans((10, 19)))) == [(30, 39)]
    assert given.holds(*spans((10, 19), (10, 20), (19, 30), (35, 36))).tolist() == [True, False, False, True]
    assert given.touches(*spans((0, 9), (0, 10), (20, 29), (19, 30))).tolist() == [False, True, False, True]
    nothing = Intervals(*spans())
    assert not nothing.holds(*spans((1, 1))).any()
    assert not nothing.touches(*spans((1, 1))).any()
    assert nothing.with_spans(*spans()) is nothing


def test_bad_rows_are_counted_all_and_told_first() -> None:
    told = bad(3_000)
    told.add(np.arange(2_000), RowReason.NOT_THERE, "gone")
    told.add(np.array([1_999, 2_999]), RowReason.NOT_THERE, "again")
    assert (told.count, len(told.report()), told.report()[-1].row, told.report()[-1].message) == (
        2_001,
        1_000,
        999,
        "gone",
    )


def test_bad_rows_among_some_are_marked_in_the_whole_and_counted_here() -> None:
    whole = bad(10)
    some = BadAmong(whole, np.array([7, 3, 5]))
    some.add(np.array([0, 2]), RowReason.NOT_THERE, "gone")
    assert (np.flatnonzero(whole.mask).tolist(), some.count, some.good().tolist()) == (
        [5, 7],
        2,
        [False, True, False],
    )
    assert [row.row for row in whole.report()] == [5, 7]
    assert items.KIND_SHIFT == 60
