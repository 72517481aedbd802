"""Rows by themselves, by columns, against the text functions they stand for."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn

from eir.identity import ImeiClass, imei_text, luhn_digit, special_class
from eir.whitelist.check_rows import check_rows, wrong_check_digits
from eir.whitelist.delta import BadRows
from eir.whitelist.rows import Op, Role, Rows

keys = st.one_of(
    st.integers(1, 10**14 - 1),
    st.integers(0, 20).map(lambda tac: (1000 + tac) * 10**8 + 1),
    st.integers(0, 99).map(lambda prefix: prefix * 10**10 + 5),
    st.integers(1, 9).flatmap(
        lambda digit: st.integers(-1, 0).map(lambda step: digit * 11_111_111_111_111 + step)
    ),
)


@given(st.lists(keys, min_size=1, max_size=20))
def test_special_imeis_are_those_of_identity(given_keys: list[int]) -> None:
    count = len(given_keys)
    rows = Rows(
        op=np.full(count, Op.PAIR, np.uint8),
        imei=np.array(given_keys, np.uint64),
        imsi=np.full(count, 10, np.uint64),
        cause=np.full(count, Role.OWNER, np.uint8),
    )
    bad = BadRows(count)
    check_rows(rows, bad)
    assert bad.mask.tolist() == [special_class(key) != ImeiClass.KEY for key in given_keys]


@given(st.lists(st.tuples(st.integers(0, 10**14 - 1), st.integers(0, 9)), max_size=20))
def test_check_digits_are_those_of_luhn(given_digits: list[tuple[int, int]]) -> None:
    given_keys, digits = (
        np.array(part, np.uint64) for part in ([key for key, _ in given_digits], [d for _, d in given_digits])
    )
    wrong = sum(digit not in (0, luhn_digit(key)) for key, digit in given_digits)
    assert wrong_check_digits(given_keys, digits) == wrong
    assert all(luhn.is_valid(imei_text(key) + str(luhn_digit(key))) for key, _ in given_digits)
