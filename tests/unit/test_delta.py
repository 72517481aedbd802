"""Headers and bad rows."""

from __future__ import annotations

import numpy as np
import pytest

from eir.errors import DeltaInvalidError, DeltaTooLargeError
from eir.whitelist.delta import BAD_ROWS_MAX, DELTA_ROWS_MAX, BadRows, Header, RowReason, check_header


def _header(**values: object) -> Header:
    return Header(**({"feed": "registry", "sequence": 1, "base_sequence": 0, "row_count": 0} | values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"feed": "a"},
        {"feed": "a-b_c.9" + "x" * 57},
        {"sequence": 7, "base_sequence": 3},
        {"row_count": DELTA_ROWS_MAX, "complete_until": (1 << 32) - 1, "reference": "é" * 64},
    ],
)
def test_headers_that_are_taken(values: dict[str, object]) -> None:
    check_header(_header(**values))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"feed": ""}, "feed: 1 to 64"),
        ({"feed": "A"}, "feed: 1 to 64"),
        ({"feed": "a" * 65}, "feed: 1 to 64"),
        ({"feed": "a\n"}, "feed: 1 to 64"),
        ({"sequence": 0}, "sequence: 0 must be larger than base_sequence 0"),
        ({"sequence": 3, "base_sequence": 3}, "sequence: 3 must be larger"),
        ({"base_sequence": -1}, "sequence: 1 must be larger"),
        ({"sequence": 1 << 63}, "smaller than 2\\^63"),
        ({"row_count": -1}, "row_count: -1"),
        ({"complete_until": -1}, "complete_until: -1"),
        ({"complete_until": 1 << 32}, "complete_until: 4294967296"),
        ({"reference": "é" * 65}, "reference: longer than 128 bytes"),
        ({"reference": "\ud800" * 43}, "reference: longer than 128 bytes"),
    ],
)
def test_headers_that_are_refused(values: dict[str, object], says: str) -> None:
    with pytest.raises(DeltaInvalidError, match=says):
        check_header(_header(**values))


def test_a_delta_has_a_bounded_number_of_rows() -> None:
    with pytest.raises(DeltaTooLargeError, match="row_count"):
        check_header(_header(row_count=DELTA_ROWS_MAX + 1))


def test_bad_rows_are_all_counted_and_the_first_described() -> None:
    bad = BadRows(5000, row_base=10)
    odd = np.arange(5000) % 2 == 1
    bad.add(odd, RowReason.NOT_THERE, lambda index: f"at {index}")
    bad.add(np.arange(5000) < 4, RowReason.ALREADY_THERE, "again")
    report = bad.report()
    assert np.count_nonzero(bad.mask) == 2502
    assert len(report) == BAD_ROWS_MAX
    assert [(row.row, row.reason, row.message) for row in report[:4]] == [
        (10, "ALREADY_THERE", "again"),
        (11, "NOT_THERE", "at 1"),
        (12, "ALREADY_THERE", "again"),
        (13, "NOT_THERE", "at 3"),
    ]
    assert [row.row for row in report] == sorted(row.row for row in report)
