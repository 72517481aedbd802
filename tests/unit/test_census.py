"""Cases past their deadline, counted."""

from __future__ import annotations

from pathlib import Path

import case_samples
import pytest
from case_samples import NOON

from eir.notify.case import State
from eir.notify.census import Census, Overdue
from eir.notify.schedule import DAY


def test_a_round_through_all_cases_counts_what_is_overdue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case_samples.small_extents(monkeypatch)
    cases = case_samples.opened(tmp_path)
    case_samples.fill(cases, 150)
    census, now = Census(cases), NOON + 30 * DAY + 100
    census.step(now)
    assert census.last == Overdue()
    for _ in range(2):
        census.step(now)
    open_cases = [cases.get(n) for n in range(150) if cases.get(n).state == State.OPEN]
    over = [one for one in open_cases if one.deadline and one.deadline < now]
    assert census.last == Overdue(
        len([one for one in over if not one.warned_at]),
        len([one for one in over if one.warned_at]),
        len([one for one in open_cases if not one.warned_at]),
    )
    assert census.last.unwarned
    cases.close()
