"""Joining rows."""

from __future__ import annotations

import numpy as np
import pytest

from eir.errors import DeltaTooLargeError
from eir.whitelist.rows import RAW, Op, Rows, concat


def _rows(count: int, **values: object) -> Rows:
    return Rows(op=np.full(count, Op.TRACK, np.uint8), **values)  # type: ignore[arg-type]


def test_a_column_that_is_absent_reads_as_zeros() -> None:
    assert _rows(3).column("imei").tolist() == [0, 0, 0]


def test_one_part_is_itself() -> None:
    rows = _rows(2)
    assert concat([rows]) is rows


def test_no_part_is_no_rows() -> None:
    assert len(concat([])) == 0


def test_names_and_raw_texts_are_told_once() -> None:
    one = _rows(
        2,
        imei=np.array([RAW, 7], np.uint64),
        raw_texts=["AB"],
        names=["", "x"],
        name=np.array([1, 0], np.uint16),
    )
    other = _rows(
        3,
        imei=np.array([RAW, RAW | 1, 9], np.uint64),
        raw_texts=["CD", "AB"],
        names=["", "y", "x"],
        name=np.array([2, 1, 0], np.uint16),
        wrong_check_digits=2,
    )
    joined = concat([one, _rows(1), other])
    assert joined.raw_texts == ["AB", "CD"]
    assert joined.column("imei").tolist() == [RAW, 7, 0, RAW | 1, RAW, 9]
    assert joined.names == ["", "x", "y"]
    assert joined.column("name").tolist() == [1, 0, 0, 1, 2, 0]
    assert joined.imsi is None
    assert joined.wrong_check_digits == 2
    assert one.column("imei").tolist() == [RAW, 7]


@pytest.mark.parametrize(
    ("references", "joined"),
    [
        (["a", "a"], "a"),
        (["", ""], ""),
        (["a", "b"], ["a", "a", "b", "b"]),
        (["a", ["x", "y"]], ["a", "a", "x", "y"]),
    ],
)
def test_references_stay_with_their_rows(references: list[str | list[str]], joined: str | list[str]) -> None:
    assert concat([_rows(2, references=reference) for reference in references]).references == joined


def test_too_many_names_are_refused() -> None:
    parts = [
        _rows(1, names=["", *(f"{part}-{n}" for n in range(40_000))], name=np.array([1], np.uint16))
        for part in range(2)
    ]
    with pytest.raises(DeltaTooLargeError, match="80001"):
        concat(parts)


@pytest.mark.parametrize(
    ("imei", "wanted", "places"),
    [
        ([3, 5, 5, 9], [True, True, True, True], None),
        ([3, 5, 5, 9], [True, False, True, True], [0, 2, 3]),
        ([5, RAW, 3, 5], [True, True, True, True], [2, 0, 3, 1]),
        ([5, RAW, 3, 5], [True, False, True, False], [2, 0]),
        ([], [], None),
    ],
)
def test_rows_come_in_the_order_of_their_imeis(
    imei: list[int], wanted: list[bool], places: list[int] | None
) -> None:
    rows = _rows(len(imei), imei=np.array(imei, np.uint64))
    found = rows.by_imei(np.array(wanted, bool))
    assert (None if found is None else found.tolist()) == places
