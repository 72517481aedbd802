"""Many keys found in a shard by the native engine and by columns: equal."""

from __future__ import annotations

from random import Random

import native_engine
import numpy as np
import pytest
from segment_samples import key_of, random_model

from eir import native
from eir.config import Config
from eir.metrics import Metrics
from eir.native import NativeFinder
from eir.server.core import CoreServer
from eir.server.state import State
from eir.whitelist.order import Sorter
from eir.whitelist.rows import U64
from eir.whitelist.shard import Shard
from eir.whitelist.shard_find import Finder, Finders

TACS = [0, 35_000_001, 35_000_002, 99_999_999]


def keys_near(shard: Shard, random: Random) -> U64:
    """Keys that the shard has, others of its TACs, and some that lie in no shard."""
    known = [int(tac) for tac in shard.tac_numbers]
    near = [key_of(tac, random.randrange(1_000_000)) for tac in known for _ in range(300)]
    dense = [key_of(tac, serial) for tac in known for serial in range(700)]
    wide = [0, 10**14 - 1, 10**14, 2**63, 2**64 - 1]
    return np.array(near + dense + wide, np.uint64)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("count", [5, 60, 3_000])
def test_both_find_the_same(seed: int, count: int) -> None:
    native_engine.needed()
    random = Random(seed)
    shard = random_model(random, TACS, count).shard()
    by_columns, natively = Finder(shard), NativeFinder(native.load(), shard)
    keys = keys_near(shard, random)
    for asked in (np.sort(keys), keys, keys[:0], keys[:1]):
        wanted_heads, wanted = by_columns.find(asked)
        heads, extra = natively.find(asked)
        assert (heads == wanted_heads).all()
        assert (extra.counts() == wanted.counts()).all()
        assert (extra.words == wanted.words[wanted.first[0] : wanted.first[-1]]).all()


def test_a_dictionary_that_is_too_short_is_refused() -> None:
    native_engine.needed()
    shard = random_model(Random(1), TACS, 300).shard()
    finder = NativeFinder(native.load(), shard)
    finder._blocks = finder._blocks[:0]
    with pytest.raises(ValueError, match="the dictionary has 0"):
        finder.find(np.array([1], np.uint64))


def test_keys_are_found_by_the_engine_once_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    native_engine.needed()
    monkeypatch.setattr(Finders, "of", Finder)
    monkeypatch.setattr(Sorter, "sort", staticmethod(np.ndarray.sort))
    shard = random_model(Random(1), TACS, 300).shard()
    assert isinstance(shard.finder, Finder)
    native.help_writer()
    assert isinstance(random_model(Random(1), TACS, 300).shard().finder, NativeFinder)


def test_a_daemon_of_the_native_engine_finds_keys_by_it_when_it_replays_the_journal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    native_engine.needed()
    monkeypatch.setattr(Finders, "of", Finder)
    monkeypatch.setattr(Sorter, "sort", staticmethod(np.ndarray.sort))
    config = Config(check_listen="127.0.0.1:0", engine="native")
    CoreServer(State(config, Metrics(), lambda: 10_000, "native"))  # the store is opened after it
    assert isinstance(random_model(Random(1), TACS, 300).shard().finder, NativeFinder)
