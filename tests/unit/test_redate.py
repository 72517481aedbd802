"""Deadlines after a shift, as the schedule has them of one case."""

from __future__ import annotations

from pathlib import Path

import case_samples
import pytest
from case_samples import KEY, NOON, SIM

from eir.identity import SERIALS
from eir.notify.case import State
from eir.notify.redate import Redating, covered, deadlines
from eir.notify.schedule import DAY, Shift, deadline, shift_of
from eir.verdict import Reason

ALL = (0, 1 << 60)
SHIFTS = [
    Shift(10 * DAY, Reason.NEVER_ACTIVATED, ALL, ALL),
    Shift(-3 * DAY, None, ALL, (SIM + 50, SIM + 120)),
    Shift(5 * DAY, Reason.NOT_REGISTERED, (KEY // SERIALS, KEY // SERIALS), (SIM, SIM + 90)),
    Shift(DAY, None, (1, 2), ALL),
    Shift(-400 * DAY, Reason.UNOWNED_SLOT, ALL, ALL),
]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    case_samples.small_extents(monkeypatch)


def test_all_at_once_as_one_by_one_and_checks_see_it(tmp_path: Path) -> None:
    cases = case_samples.opened(tmp_path)
    case_samples.fill(cases, 150)
    wanted = [deadline(cases.get(n), shift_of(cases.get(n), SHIFTS)) for n in range(150)]
    rows = cases.rows_of(range(150))
    assert deadlines(rows, SHIFTS).tolist() == wanted
    for shift in SHIFTS:
        assert covered(rows, shift).tolist() == [shift.covers(cases.get(n)) for n in range(150)]
    work = Redating(cases, SHIFTS)
    while work.step():
        pass
    for number, ends in enumerate(wanted):
        one = cases.get(number)
        found = cases.table.find(one.key, one.imsi)
        assert (found and found.deadline) == (None if one.state == State.RESOLVED else ends)
    assert work.changed_count == len(
        [
            n
            for n in range(150)
            if cases.get(n).state != State.RESOLVED and (wanted[n] != deadline(cases.get(n), 0))
        ]
    )
    cases.close()


def test_what_comes_due_sooner_is_looked_at_sooner_also_after_a_restart(tmp_path: Path) -> None:
    cases = case_samples.opened(tmp_path)
    one = case_samples.case(1)
    ends = deadline(one, 0)
    number = cases.add(one, ends - DAY, ends, case_samples.Happened(NOON, "opened"))
    cases.commit()
    assert cases.due(ends - 4 * DAY, 10) == []
    sooner = [Shift(-3 * DAY, None, ALL, ALL)]
    Redating(cases, sooner).step()
    assert cases.due(ends - 4 * DAY, 10) == [number]
    cases.close()
    cases = case_samples.opened(tmp_path)  # not durable: done again at the start
    Redating(cases, sooner).step()
    assert cases.due(ends - 4 * DAY, 10) == [number]
    Redating(cases, []).step()
    assert cases.rows_of([number])["deadline"].tolist() == [ends]
    cases.close()
