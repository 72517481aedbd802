"""When a subscriber was last told something."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from eir.notify import told as told_module
from eir.notify.told import Told

SIM = 1_432_110_000_000_001


def test_who_was_told_is_free_after_the_spacing() -> None:
    told = Told(100)
    assert told.free_at(SIM) == 0
    told.note(SIM, 1_000)
    assert told.free_at(SIM) == 1_100
    assert (told.last_at(SIM), told.last_at(SIM + 1)) == (1_000, 0)
    assert told.free_at(SIM + 1) == 0
    told.note(SIM, 1_500)
    assert told.free_at(SIM) == 1_600


def test_the_latest_of_what_was_loaded_counts() -> None:
    told = Told(100)
    told.load(np.array([SIM, SIM - 1, SIM], np.uint64), np.array([7, 9, 3], np.uint32))
    assert [told.free_at(SIM + n) for n in (-2, -1, 0, 1)] == [0, 109, 107, 0]
    told.load(np.empty(0, np.uint64), np.empty(0, np.uint32))
    assert told.free_at(SIM) == 0


@pytest.mark.parametrize("seed", range(5))
def test_beside_a_dictionary(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told_module, "NEW_MAX", 16)
    random, told, plain = Random(seed), Told(50), dict[int, int]()
    for now in range(1_000, 3_000):
        imsi = SIM + random.randrange(100)
        free = plain.get(imsi, 0) + 50
        if free > now:
            assert told.free_at(imsi) == free
        else:
            assert told.free_at(imsi) <= now
        if random.random() < 0.5:
            told.note(imsi, now)
            plain[imsi] = now
    assert told.nbytes <= 66 * 12, "what is old is forgotten"
