"""Hash tables: dict semantics, crowded homes, records, and columns merged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from segment_samples import columns, ragged, u64

from eir.whitelist import hashtable
from eir.whitelist.hashtable import GOLDEN, Columns, HashTable, Ragged, contains, gather, spread

MASK64 = (1 << 64) - 1
INVERSE = pow(GOLDEN, -1, 1 << 64)
Rows = dict[int, tuple[int, tuple[int, ...]]]
words = st.lists(st.integers(0, MASK64), max_size=5).map(tuple)
rows = st.dictionaries(
    st.integers(0, MASK64) | st.integers(0, 40), st.tuples(st.integers(0, (1 << 60) - 1), words)
)


def keys_of_home(home: int, bits: int, count: int) -> list[int]:
    """Keys whose home is this place of 2**bits."""
    return [((home << 64 - bits) + step) * INVERSE & MASK64 for step in range(count)]


def as_dict(part: Columns) -> Rows:
    return {
        int(key): (int(head), tuple(part.extra.run(place).tolist()))
        for place, (key, head) in enumerate(zip(part.keys, part.heads, strict=True))
    }


def check(table: HashTable, model: Rows, others: list[int]) -> None:
    """Compare every way of reading with the dict."""
    for key in (*model, *others):
        hit = table.find(key)
        if key not in model:
            assert hit is None
            continue
        assert hit is not None
        head, offset, count = hit
        assert (head, tuple(table.word_run(offset, count)) if count else ()) == model[key]
    asked = u64([*others, *model])
    slots = table.find_many(asked)
    found = slots >= 0
    assert found.tolist() == [int(key) in model for key in asked]
    heads, extra = table.read_many(slots[found])
    got = [(int(head), tuple(extra.run(place).tolist())) for place, head in enumerate(heads)]
    assert got == [model[int(key)] for key in asked[found]]
    assert as_dict(table.columns()) == model
    assert table.columns().keys.tolist() == sorted(model)
    assert table.rows == len(model)


@given(rows, st.lists(st.integers(0, MASK64) | st.integers(0, 40)))
def test_a_table_is_a_dict(model: Rows, others: list[int]) -> None:
    table = HashTable.build(columns(model))
    check(table, model, [key for key in others if key not in model])
    again = HashTable(table.slots.reshape(-1).copy(), table.words.copy())  # as it is read from a segment
    check(again, model, [])


@pytest.mark.parametrize("count", [0, 1, 10, 11, 100, 5_000])
def test_size_and_slack(count):
    table = HashTable.build(columns({key * 7: (key, ()) for key in range(count)}))
    if not count:
        assert len(table.slots) == 0
        return
    homes = 1 << 64 - table.shift
    assert homes & homes - 1 == 0
    assert homes >= 16
    assert homes <= len(table.slots) < 2 * homes
    assert 1.5 * count < homes + 1
    assert not table.slots[-1, 1]
    assert table.nbytes == table.slots.nbytes


@pytest.mark.parametrize("home", [0, 7, 15])
def test_a_crowded_home_runs_past_the_home_places(home):
    # Ten rows have sixteen homes: all of them want one.
    keys = keys_of_home(home, 4, 12)
    model = {key: (key & 0xFFFF, (key,) if key & 1 else ()) for key in keys[:10]}
    table = HashTable.build(columns(model))
    assert 64 - table.shift == 4
    used = np.flatnonzero(table.slots[:, 1])
    assert used.tolist() == list(range(home, home + 10)), "probing goes up and never wraps"
    check(table, model, keys[10:])


def test_the_last_home_places_are_crowded_by_many():
    keys = [key for home in range(1_000, 1_024) for key in keys_of_home(home, 10, 25)]
    model = dict.fromkeys(keys[:600], (1, ()))
    table = HashTable.build(columns(model))
    assert len(table.slots) > 1_024 + 500
    check(table, model, keys[600:] + keys_of_home(1_023, 10, 30)[25:])


def test_key_zero_and_head_zero_are_rows():
    check(HashTable.build(columns({0: (0, ())})), {0: (0, ())}, [1, MASK64])
    assert HashTable.build(columns({5: (0, ())})).find(0) is None
    check(HashTable.build(columns({0: (0, (0, 0))})), {0: (0, (0, 0))}, [])


def test_a_long_record():
    model = {3: (9, tuple(range(70_000))), 4: ((1 << 60) - 1, ())}
    check(HashTable.build(columns(model)), model, [5])


def test_an_empty_table_finds_nothing():
    table = HashTable.build(Columns.empty())
    check(table, {}, [0, 1])


def test_the_image_depends_on_the_rows_alone():
    model = {key * 31: (key, (key, key)) for key in range(50)}
    one = HashTable.build(columns(model))
    two = HashTable.build(one.columns())
    assert np.array_equal(one.slots, two.slots)
    assert np.array_equal(one.words, two.words)


@given(rows, rows)
def test_merged_columns_are_a_dict_updated(older: Rows, newer: Rows) -> None:
    got = columns(older).merged(columns(newer))
    assert as_dict(got) == older | newer
    assert got.keys.tolist() == sorted(older | newer)


@given(rows, rows, rows)
def test_merging_is_associative(one: Rows, two: Rows, three: Rows) -> None:
    a, b, c = columns(one), columns(two), columns(three)
    assert as_dict(a.merged(b).merged(c)) == as_dict(a.merged(b.merged(c)))


@given(st.lists(words), st.data())
def test_ragged_runs_are_lists(runs: list[tuple[int, ...]], data: st.DataObject) -> None:
    made = ragged(runs)
    assert len(made) == len(runs)
    assert made.counts().tolist() == [len(run) for run in runs]
    assert [tuple(made.run(place).tolist()) for place in range(len(runs))] == runs
    index = data.draw(st.lists(st.integers(0, len(runs) - 1)) if runs else st.just([]))
    taken = made.take(np.array(index, np.int64))
    assert [tuple(taken.run(place).tolist()) for place in range(len(index))] == [
        runs[place] for place in index
    ]


def test_spread_and_gather():
    first, counts = np.array([4, 0, 9]), np.array([2, 0, 3])
    assert spread(first, counts).tolist() == [4, 5, 9, 10, 11]
    assert spread(first[:0], counts[:0]).tolist() == []
    assert gather(np.arange(20, dtype=np.uint64), first, counts).words.tolist() == [4, 5, 9, 10, 11]
    assert len(gather(np.empty(0, np.uint64), np.zeros(3, np.int64), np.zeros(3, np.int64))) == 3
    assert len(Ragged.empty(4)) == 4


@given(st.sets(st.integers(0, 50)), st.lists(st.integers(0, 60)))
def test_contains(haystack: set[int], needles: list[int]) -> None:
    needles.sort()
    got = contains(u64(sorted(haystack)), u64(needles))
    assert got.tolist() == [needle in haystack for needle in needles]


def test_offsets_and_lengths_share_a_value():
    assert hashtable.OFFSET_MASK & hashtable.COUNT_MASK << hashtable.OFFSET_BITS == 0
    assert hashtable.COUNT_MASK << hashtable.OFFSET_BITS < hashtable.INLINE


@pytest.mark.parametrize(
    "keys",
    [
        list(range(2_000)),
        [*keys_of_home(2_047, 12, 300), *keys_of_home(2_100, 12, 1_000), *keys_of_home(7, 12, 700)],
        [*keys_of_home(2_047, 12, 1), *keys_of_home(2_048, 12, 1_999)],
        keys_of_home(4_000, 12, 2_000),
        keys_of_home(3, 12, 2_000),
    ],
    ids=["lots", "runs over the middle", "meets at the middle", "upper half", "lower half"],
)
def test_an_image_is_the_same_made_in_halves(keys: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = u64(sorted(keys))
    given = Columns(asked, asked & np.uint64(0xFFFF), Ragged.empty(len(asked)))
    whole = HashTable.build(given)
    monkeypatch.setattr(hashtable, "_HALVED_ROWS", 1)
    halved = HashTable.build(given)
    assert np.array_equal(halved.slots, whole.slots)
    assert (halved.slots[halved.find_many(asked), 0] == asked).all()
