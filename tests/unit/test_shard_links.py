"""Links and ranges of many keys are those of each."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from segment_samples import Model, key_of, random_model

from eir.identity import SERIALS
from eir.whitelist.items import REGISTERED
from eir.whitelist.shard import Shard
from eir.whitelist.shard_links import links_of

TACS = [0, 35_000_001, 35_000_002, 99_999_999]


def asked(shard: Shard, model: Model, random: Random) -> np.ndarray:
    """Keys with links, their neighbours, and others of the shard's TACs and of none."""
    near = {key + step for key in {*model.rows, *model.links} for step in (-1, 0, 1)}
    far = {key_of(tac, random.randrange(SERIALS)) for tac in (*TACS, 1, 50_000_000) for _ in range(50)}
    edges = {key_of(tac, serial) for tac in TACS for serial in (0, SERIALS - 1)}
    return np.array(sorted(key for key in near | far | edges if 0 <= key < 10**14), np.uint64)


def agree(model: Model, random: Random) -> int:
    """Compare both ways for all keys asked; return how many links there were."""
    shard = model.shard()
    keys = asked(shard, model, random)
    for some in (keys, keys[:1], keys[:0], keys[random.randrange(len(keys)) :]):
        found = links_of(shard, some)
        assert len(found) == len(some)
        for place, key in enumerate(some.tolist()):
            assert sorted(found.run(place).tolist()) == sorted(shard.links(*divmod(key, SERIALS)))
    return len(links_of(shard, keys).words)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("rows", [3, 40, 400])
def test_links_of_many_keys_are_those_of_each(seed: int, rows: int) -> None:
    random = Random(seed)
    links = agree(random_model(random, TACS, rows), random)
    assert links or rows < 400


def test_devices_of_eight_slots_and_slots_without_rows() -> None:
    model = Model()
    slots = [key_of(tac, serial) for tac in TACS for serial in (7, 500_000)]
    model.link(*slots)
    model.rows[slots[3]] = REGISTERED, ()
    assert agree(model, Random(1)) == 8 * 7


def test_a_shard_without_anything_has_no_links() -> None:
    assert agree(Model(), Random(1)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_pieces_of_many_tacs_are_those_of_each(seed: int) -> None:
    model = random_model(Random(seed), TACS, 60)
    shard = model.shard()
    tacs = np.array(sorted({*TACS, 1, 35_000_003, 99_999_998}), np.uint64)
    pieces = shard.pieces_of(tacs)
    assert len(pieces.words) == len(shard.ranges) > 0
    for place, tac in enumerate(tacs.tolist()):
        entry = shard.entry(tac)
        first, end = shard.tacs["ranges_first"][entry : entry + 2] if entry >= 0 else (0, 0)
        assert pieces.run(place).tolist() == shard.ranges[first:end].tolist()
