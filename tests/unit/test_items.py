"""Items and pieces: packed and unpacked, one by one and in columns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from segment_samples import block, exempt, exempt_pair, ragged, u64, utilizer

from eir.identity import imsi_code, imsi_text
from eir.whitelist import items
from eir.whitelist.items import CODE_MASK, REGISTERED, UNTIL_MASK, Item, name_of

IMSIS = ["0", "9", "00", "007", "00101", "123456", "432110000000001", "000000000000000", "999999999999999"]
codes = st.text("0123456789", min_size=1, max_size=15).map(imsi_code)
ends = st.integers(0, 255).flatmap(
    lambda cause: st.integers(0, UNTIL_MASK).map(lambda end: cause << 40 | end)
)
item = st.one_of(
    st.tuples(st.just(Item.UTILIZER), codes, st.just(0)),
    st.tuples(st.just(Item.BLOCK), st.integers(0, (1 << 24) - 1), st.just(0)),
    st.just((Item.TRACK, 0, 0)),
    st.tuples(st.sampled_from((Item.EXEMPT_IMEI, Item.EXEMPT_IMSI)), st.just(0), ends),
    st.tuples(st.just(Item.EXEMPT_PAIR), codes, ends),
    st.tuples(st.just(Item.GRANDFATHER_IMEI), st.just(0), st.integers(0, 2**32 - 1)),
    st.tuples(st.just(Item.GRANDFATHER_PAIR), codes, st.integers(0, 2**32 - 1)),
)


@given(st.lists(st.lists(item, max_size=6)))
def test_columns_to_words_and_back(rows: list[list[tuple[int, int, int]]]) -> None:
    flat = [
        (row, name_of(kind, subject), value) for row, many in enumerate(rows) for kind, subject, value in many
    ]
    row = np.array([r for r, _, _ in flat], np.int64)
    name, value = u64([n for _, n, _ in flat]), u64([v for _, _, v in flat])
    packed = items.to_words(row, name, value, len(rows))
    assert len(packed) == len(rows)
    for place, many in enumerate(rows):
        assert items.unpack(memoryview(packed.run(place))) == many
    back = items.from_words(packed)
    for got, wanted in zip(back, (row, name, value), strict=True):
        assert got.tolist() == wanted.tolist()


@pytest.mark.parametrize("imsi", IMSIS)
def test_imsis_of_any_length_keep_their_zeros(imsi):
    words = memoryview(u64([utilizer(imsi), *exempt_pair(imsi, 3, 5)]))
    (_, one, _), (_, two, value) = items.unpack(words)
    assert imsi_text(one) == imsi_text(two) == imsi
    assert value == 3 << 40 | 5
    assert one & ~CODE_MASK == 0
    assert one & REGISTERED == 0
    assert len({imsi_code(other) for other in IMSIS}) == len(IMSIS)


def test_words_are_as_the_format_says():
    assert utilizer("00101") == 1 << 60 | 100_101
    assert block(4, 7) == 2 << 60 | 4 << 16 | 7
    assert name_of(Item.TRACK) == 3 << 60
    assert exempt(Item.EXEMPT_IMEI, 1, UNTIL_MASK) == 4 << 60 | 1 << 40 | 0xFFFFFFFFFF
    assert exempt_pair("1", 2, 9) == (5 << 60 | 11, 2 << 40 | 9)


def test_no_end_needs_no_exception():
    assert UNTIL_MASK > 2**32 - 1


def test_ten_pairs_and_more_of_one_row():
    many = [utilizer(f"43211{place:010d}") for place in range(64)]
    row, name, value = items.from_words(ragged([(), tuple(many), ()]))
    assert row.tolist() == [1] * 64
    assert name.tolist() == many
    assert not value.any()


def test_no_words_are_no_items():
    assert items.unpack(memoryview(u64([]))) == []
    assert [len(part) for part in items.from_words(ragged([(), ()]))] == [0, 0, 0]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 999_999), st.integers(0, 999_999), st.integers(0, 255), st.integers(0, 65_535)
        )
    )
)
def test_pieces_there_and_back(pieces: list[tuple[int, int, int, int]]) -> None:
    parts = u64(pieces).reshape(-1, 4).T
    back = items.piece_parts(items.piece_words(*parts))
    assert np.array_equal(np.array(back), parts)


def test_pieces_sort_by_first_then_last():
    assert items.piece_words(u64([1]), u64([2]), u64([3]), u64([4])).tolist() == [
        1 << 44 | 2 << 24 | 3 << 16 | 4
    ]
