"""Where checks find a case, beside a dictionary."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eir.notify import case_table
from eir.notify.case import State
from eir.notify.case_table import BITS_MIN, CaseTable, Entries, pack_value, tag_of, tags_of, unpack_value

KEYS = [35_693_803_000_000 + serial for serial in range(40)]
IMSIS = [1_432_110_000_000_000 + number for number in range(5)]
pairs = st.tuples(st.sampled_from(KEYS), st.sampled_from(IMSIS))
values = st.builds(pack_value, st.integers(1, 6), st.integers(0, 255), st.integers(0, (1 << 40) - 1))


def built_of(columns: np.ndarray, count: int) -> CaseTable:  # type: ignore[type-arg]
    """Build from keys, IMSI codes, values and numbers, in two sources with so many parts together."""
    parts = [
        Entries(*np.ascontiguousarray(columns[:3, at::count]), columns[3, at::count].astype(np.uint32))
        for at in range(count)
    ]
    return CaseTable.build([parts[:1], parts[1:]], columns.shape[1])


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
        table = built_of(columns, 3)
    for key in KEYS:
        of_key = {number for (held, _), (_, number) in model.items() if held == key}
        assert of_key <= set(table.numbers_near(key))
        assert of_key <= set(table.numbers_near_many(np.array([key], np.uint64)).tolist())
        for imsi in IMSIS:
            value, number = model.get((key, imsi), (0, -1))
            assert table.number(key, imsi) == number
            assert table.find(key, imsi) == (unpack_value(value) if value else None)


def test_a_slot_is_two_words_side_by_side() -> None:
    """What docs/case-table.md says to readers."""
    table = CaseTable()
    table.set(KEYS[3], IMSIS[1], pack_value(5, 36, 1_790_000_000), 9)
    words = np.frombuffer(table.slots.tobytes(), "<u8")
    home = (KEYS[3] * 0x9E3779B97F4A7C15 & (1 << 64) - 1) >> 64 - 10
    assert words[2 * home : 2 * home + 2].tolist() == [
        tag_of(KEYS[3], IMSIS[1]),
        5 << 48 | 36 << 40 | 1_790_000_000,
    ]
    assert len(words) == 2 * (1024 + 64)


PAGE = (Path(__file__).parents[2] / "docs" / "case-table.md").read_text()


def find_as_the_page_says(slots: bytes, bits: int, key: int, imsi: int) -> tuple[int, int, int] | None:
    """A reader written from docs/case-table.md alone: state, cause, deadline."""
    mask = (1 << 64) - 1
    a = (key * 0x9E3779B97F4A7C15 & mask) ^ (imsi * 0xC2B2AE3D27D4EB4F & mask)
    b = (a ^ (a >> 32)) * 0xD6E8FEB86659FD93 & mask
    tag = (b ^ (b >> 32)) or 1
    at = (key * 0x9E3779B97F4A7C15 & mask) >> (64 - bits)
    while at < len(slots) // 16:
        held, value = struct.unpack_from("<QQ", slots, 16 * at)
        if held == 0 or held == tag:
            return (value >> 48 & 0xFF, value >> 40 & 0xFF, value & (1 << 40) - 1) if value else None
        at += 1
    return None


def test_a_reader_written_from_the_page_finds_what_is_there() -> None:
    table, pairs = CaseTable(), [(key, imsi) for key in KEYS for imsi in IMSIS]
    for number, pair in enumerate(pairs):
        table.set(*pair, pack_value(1 + number % 5, 34 + number % 4, number * 10**9), number)
    table.remove_many(*np.array(pairs[::7], np.uint64).T)
    for pair in [*pairs, (KEYS[0], 5), (5, IMSIS[0])]:
        assert find_as_the_page_says(table.slots.tobytes(), table.bits, *pair) == table.find(*pair)


def test_the_page_names_the_states_and_works_out_its_example() -> None:
    states = dict(re.findall(r"^\| ([1-9]) \| ([A-Z_]+) \|$", PAGE, re.MULTILINE))
    assert states == {str(int(state)): state.name for state in State if state != State.RESOLVED}
    key, imsi = 35_693_803_564_380, 1_432_110_000_000_001
    assert f"has tag 0x{tag_of(key, imsi):016X}, and begins at slot\n{CaseTable()._home(key)} of" in PAGE


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
    built = built_of(np.vstack((columns, np.arange(200, dtype=np.uint64))), 2)
    assert built.find(last, IMSIS[0] + 199) == (1, 14, 199)


def test_it_is_full_before_searches_grow_long() -> None:
    table = CaseTable()
    number = 0
    while not table.full:
        table.set(KEYS[0] + number, IMSIS[0], pack_value(1, 14, 0), number)
        number += 1
    assert number == -(-2 * (1 << BITS_MIN) // 3)
    columns = [(KEYS[0] + n, IMSIS[0], pack_value(1, 14, 0), n) for n in range(number)]
    grown = built_of(np.array(columns, np.uint64).T, 1)
    assert not grown.full
    assert all(grown.number(KEYS[0] + n, IMSIS[0]) == n for n in range(number))


def test_built_in_pieces_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    keys = random.integers(1, 1 << 46, 4_000, dtype=np.uint64).repeat(3)[:10_000]
    columns = np.array([keys, np.arange(10_000), np.arange(10_000) + 1, np.arange(10_000)], np.uint64)
    whole = built_of(columns, 1)
    monkeypatch.setattr(case_table, "PIECE_BITS", 6)
    cut = built_of(columns, 5)
    assert (cut.slots[:, 0] != 0).tolist() == (whole.slots[:, 0] != 0).tolist()
    assert (cut.bits, cut.used) == (whole.bits, 10_000)
    for key, imsi, value, number in columns.T[::7].tolist():
        assert (cut.find(key, imsi), cut.number(key, imsi)) == (unpack_value(value), number)


def test_many_are_taken_out_at_once() -> None:
    table = CaseTable()
    pairs = [(key, imsi) for key in KEYS for imsi in IMSIS]
    for number, pair in enumerate(pairs):
        table.set(*pair, pack_value(1, 14, 9), number)
    gone = [*pairs[::3], (KEYS[0], 77)]
    table.remove_many(*np.array(gone, np.uint64).T)
    assert [table.number(*pair) for pair in pairs] == [-1 if n % 3 == 0 else n for n in range(len(pairs))]
