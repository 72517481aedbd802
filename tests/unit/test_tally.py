"""Cases by cause and state, counted as they change."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import case_samples
import pytest

from eir.notify.case import Event, State, step
from eir.notify.case_file import Happened
from eir.notify.cases import Cases


def counted(cases: Cases, count: int) -> Counter[tuple[int, int]]:
    """What a look at every case counts."""
    return Counter((cases.get(n).cause, cases.get(n).state) for n in range(count) if cases.has(n))


def told(cases: Cases) -> Counter[tuple[int, int]]:
    every = {(cause, state): cases.tally.of(cause, state) for cause in case_samples.CAUSES for state in State}
    return Counter({kind: count for kind, count in every.items() if count})


def test_counts_follow_every_change_and_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case_samples.small_extents(monkeypatch)
    cases = case_samples.opened(tmp_path)
    case_samples.fill(cases, 150)
    assert told(cases) == counted(cases, 150)
    assert cases.tally.moves[0, State.OPEN] + cases.tally.moves[0, State.RESOLVED] == 150
    opened = [n for n in range(150) if cases.get(n).state == State.OPEN]
    now = case_samples.NOON + 1000
    for number in opened[:20]:
        held = step(cases.get(number), Event.HOLD, now, now + 60)
        cases.put(number, held, 0, 0, Happened(now, "hold"))
    cases.resolve(opened[10:90], now)
    cases.resolve(opened[80:90], now)
    cases.commit()
    for number in opened[30:40]:
        cases.purge(number)
    cases.commit()
    assert told(cases) == counted(cases, 150)
    assert len(cases) == len(cases.tally) == 140
    moves = cases.tally.moves
    assert (moves[State.OPEN, State.HELD], moves[State.HELD, State.RESOLVED]) == (20, 10)
    assert moves[State.OPEN, State.RESOLVED] == 70
    before = told(cases)
    cases.close()
    cases = case_samples.opened(tmp_path)
    assert told(cases) == before
    assert cases.tally.states() == cases.states()
    assert not cases.tally.moves
    cases.close()
