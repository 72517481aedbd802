"""Cases that somebody asks for."""

from __future__ import annotations

from pathlib import Path

import case_samples
import pytest
from case_samples import KEY, NOON, SIM

from eir.notify.case import State
from eir.notify.listing import Wanted, find
from eir.notify.schedule import DAY
from eir.verdict import Reason

COUNT = 200


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    case_samples.small_extents(monkeypatch)


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(),
        Wanted(states=(State.RESOLVED,)),
        Wanted(states=(State.OPEN, State.RESOLVED), causes=(Reason.NOT_REGISTERED,)),
        Wanted(key=KEY + 3),
        Wanted(key=KEY + 3, states=(State.RESOLVED,)),
        Wanted(imsi=SIM + 11),
        Wanted(imsi=SIM + 6),
        Wanted(unwarned_only=True, deadline_before=NOON + 30 * DAY + 50),
        Wanted(causes=(Reason.OWNER,)),
    ],
)
def test_pages_together_are_all_that_fit(tmp_path: Path, wanted: Wanted) -> None:
    cases = case_samples.opened(tmp_path)
    case_samples.fill(cases, COUNT)

    def fits(number: int) -> bool:
        one, row = cases.get(number), cases.rows_of([number])[0]
        states = wanted.states or tuple(state for state in State if state != State.RESOLVED)
        return (
            one.state in states
            and one.cause in (wanted.causes or (one.cause,))
            and one.key == (wanted.key or one.key)
            and one.imsi == (wanted.imsi or one.imsi)
            and (not wanted.deadline_before or 0 < row["deadline"] < wanted.deadline_before)
            and not (wanted.unwarned_only and one.warned_at)
        )

    found, further = [], 0
    while further >= 0:
        page, further = find(cases, wanted, further, 7)
        assert len(page) <= 7
        found += page
    assert found == [number for number in range(COUNT) if fits(number)]
    cases.close()


def test_what_is_looked_through_for_a_page_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eir.notify.listing.PIECES_MAX", 1)
    cases = case_samples.opened(tmp_path)
    case_samples.fill(cases, COUNT)
    assert find(cases, Wanted(imsi=SIM + 150), 0, 7) == ([], 64)
    cases.close()
