"""What a check answers to pairs, one by one and many at once."""

from __future__ import annotations

import numpy as np
import pytest

from eir.notify.case import State
from eir.notify.judged import Judged, JudgedColumns, NotJudgedError, judged_columns, remedied
from eir.verdict import Reason

CAUSE = Reason.NEVER_ACTIVATED
KEYS, IMSIS = np.array([5, 7], np.uint64), np.array([11, 12], np.uint64)


def test_one_that_judges_pairs_is_asked_for_columns() -> None:
    asked = []

    def judge(pairs: list[tuple[int, int]]) -> list[Judged]:
        asked.extend(pairs)
        return [Judged(CAUSE, True), Judged(Reason.OWNER, False, False, 9)]

    columns = judged_columns(judge, KEYS, IMSIS)  # type: ignore[arg-type]
    assert asked == [(5, 11), (7, 12)]
    assert [one.tolist() for one in columns] == [[CAUSE, Reason.OWNER], [True, False], [True, False], [0, 9]]


def test_one_that_has_columns_is_asked_once() -> None:
    class Many:
        def __call__(self, pairs: object) -> list[Judged]:
            raise AssertionError

        def columns(self, keys: object, imsis: object) -> JudgedColumns:
            raise NotJudgedError

    with pytest.raises(NotJudgedError):
        judged_columns(Many(), KEYS, IMSIS)


def test_a_case_is_over_when_its_cause_is_gone_or_who_was_cut_off_is_exempt_for_a_while() -> None:
    assert remedied(CAUSE, State.OPEN, Judged(Reason.OWNER, False))
    assert not remedied(CAUSE, State.CUT_OFF, Judged(CAUSE, True))
    assert not remedied(CAUSE, State.OPEN, Judged(CAUSE, False, ends=5))
    assert remedied(CAUSE, State.CUT_OFF, Judged(CAUSE, False, ends=5))
