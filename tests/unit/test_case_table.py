"""Where checks find a case, beside a dictionary."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eir.notify.case_table import BITS_MIN, CaseTable, pack_value, tag_of, tags_of, unpack_value

KEYS = [35_693_803_000_000 + serial for serial in range(40)]
IMSIS = [1_432_110_000_000_000 + number for number in range(5)]
pairs = st.tuples(st.sampled_from(KEYS), st.sampled_from(IMSIS))
values = st.builds(pack_value, st.integers(1, 6), st.integers(0, 255), st.integers(0, (1 << 40) - 1))


def test_a_value_comes_back() -> None:
    assert unpack_value(pack_value(5, 14, 1_790_000_000)) == (5, 14, 1_790_000_000)


def test_an_empty_table_has_nothing() -> None:
    table = CaseTable()
    assert table.find(KEYS[0], IMSIS[0]) is None
    assert table.number(KEYS[0], IMSIS[0]) == -1
    assert table.numbers_near(KEYS[0]) == []
    assert len(table.numbers_near_many(np.array(KEYS, np.uint64))) == 0


@given(st.integers(0, (1 << 47) - 1), st.integers(0, (1 << 51) - 1))
def test_tags_of_one_and_of_many_agree(key: int, imsi: int) -> None:
    assert tags_of(np.array([key], np.uint64), np.array([imsi], np.uint64)).tolist() == [tag_of(key, imsi)]
    assert tag_of(key, imsi)


@given(st.lists(st.tuples(pairs, values | st.none())), st.booleans())
def test_it_agrees_with_a_dictionary(history: list[tuple[tuple[int, int], int | None]], built: bool) -> None:
    table, model = CaseTable(), {}
    for number, (pair, value) in enumerate(history):
        if value is None:
            table.remove(*pair)
            model.pop(pair, None)
        else:
            model[pair] = (value, model.get(pair, (0, number))[1])
            table.set(*pair, *model[pair])
    if built:
        columns = np.array([(*pair, *row) for pair, row in model.items()], np.uint64).reshape(-1, 4).T
        table = CaseTable.build(*columns[:3], columns[3].astype(np.uint32))
    for key in KEYS:
        of_key = {number for (held, _), (_, number) in model.items() if held == key}
        assert of_key <= set(table.numbers_near(key))
        assert of_key <= set(table.numbers_near_many(np.array([key], np.uint64)).tolist())
        for imsi in IMSIS:
            value, number = model.get((key, imsi), (0, -1))
            assert table.number(key, imsi) == number
            assert table.find(key, imsi) == (unpack_value(value) if value else None)


def test_runs_at_the_end_find_room() -> None:
    """More cases of the last home place than the slack has slots."""
    last = next(key for key in range(1, 1 << 20) if CaseTable()._home(key) == (1 << BITS_MIN) - 1)
    table = CaseTable()
    for number in range(200):
        table.set(last, IMSIS[0] + number, pack_value(1, 14, number), number)
    assert sorted(table.numbers_near(last)) == list(range(200))
    columns = np.array(
        [(last, IMSIS[0] + number, pack_value(1, 14, number)) for number in range(200)], np.uint64
    ).T
    built = CaseTable.build(*columns, np.arange(200, dtype=np.uint32))
    assert built.find(last, IMSIS[0] + 199) == (1, 14, 199)


def test_it_is_full_before_searches_grow_long() -> None:
    table = CaseTable()
    number = 0
    while not table.full:
        table.set(KEYS[0] + number, IMSIS[0], pack_value(1, 14, 0), number)
        number += 1
    assert number == -(-2 * (1 << BITS_MIN) // 3)
    grown = CaseTable.build(
        np.arange(KEYS[0], KEYS[0] + number, dtype=np.uint64),
        np.full(number, IMSIS[0], np.uint64),
        np.full(number, pack_value(1, 14, 0), np.uint64),
        np.arange(number, dtype=np.uint32),
    )
    assert not grown.full
    assert all(grown.number(KEYS[0] + n, IMSIS[0]) == n for n in range(number))
