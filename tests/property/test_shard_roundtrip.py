"""A shard beside a dict: what is encoded is decoded, and every look-up agrees."""

from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_samples import IMSIS, Model, key_of, random_model, random_words, u64

from eir.identity import SERIALS, imsi_code
from eir.whitelist import shard_decode, shard_encode
from eir.whitelist.imsi_blocks import ImsiBlocks
from eir.whitelist.items import REGISTERED, piece_parts
from eir.whitelist.shard import Shard

TACS = [0, 35_000_001, 35_000_002, 86_123_456, 99_999_999]
tacs = st.lists(st.sampled_from(TACS), unique=True, min_size=1).map(sorted)


def agrees(model: Model, shard: Shard) -> None:
    """Compare every way of reading with the model."""
    decoded, rows = shard_decode.decode(shard), model.shard_rows()
    for got, wanted in (
        (decoded.keys.key, rows.keys.key),
        (decoded.keys.head, rows.keys.head),
        (decoded.keys.extra.first, rows.keys.extra.first),
        (decoded.keys.extra.words, rows.keys.extra.words),
        *(
            (getattr(decoded.ranges, name), getattr(rows.ranges.sorted(), name))
            for name in ("tac", "first", "last", "cause", "authority")
        ),
        (decoded.links.key, rows.links.key),
        (decoded.links.other, rows.links.other),
    ):
        assert got.tolist() == wanted.tolist()

    edges = {key_of(tac, serial) for tac, first, last, *_ in model.ranges for serial in (first, last)}
    near = {key + step for key in (*model.rows, *model.links, *edges) for step in (-1, 0, 1)}
    near |= {key_of(tac, serial) for tac in TACS for serial in (0, 65_535, 65_536, 999_999)}
    keys = sorted(key for key in near if 0 <= key < 10**14)
    heads, extra = shard.find_many(u64(keys))
    # Unsorted and repeated keys are admitted, by columns only slower.
    mixed = np.array(keys[::-1] + keys[:3], np.uint64)
    heads_mixed, extra_mixed = shard.find_many(mixed)
    assert heads_mixed.tolist() == heads[::-1].tolist() + heads[:3].tolist()
    assert extra_mixed.run(0).tolist() == extra.run(len(keys) - 1).tolist()
    for place, key in enumerate(keys):
        tac, serial = divmod(key, SERIALS)
        head, words = model.rows.get(key, (0, ()))
        found_head, found_words = shard.find(tac, serial)
        assert (found_head, tuple(found_words or ())) == (head, words)
        assert (heads[place], tuple(extra.run(place).tolist())) == (head, words)
        links = shard.links(tac, serial)
        assert sorted(links) == sorted(model.links.get(key, ()))
        pieces = shard.range_pieces(tac, serial)
        first, last, cause, authority = piece_parts(u64(pieces))
        assert sorted(zip(cause.tolist(), authority.tolist(), strict=True)) == sorted(model.pieces_at(key))
        assert ((first <= serial) & (serial <= last)).all()


@settings(max_examples=40)
@given(st.integers(0, 2**32), tacs, st.sampled_from((5, 60, 300, 300)))
def test_dense_and_sparse_rows_round_trip(seed: int, some: list[int], rows: int) -> None:
    model = random_model(Random(seed), some, rows)
    agrees(model, model.shard())


serials = st.integers(0, SERIALS - 1) | st.integers(0, 300) | st.integers(65_500, 65_600)
keys = st.builds(key_of, st.sampled_from(TACS), serials)
owners = st.sampled_from((0, *map(imsi_code, IMSIS))) | st.integers(10, 2 * 10**15 - 1)


@st.composite
def models(draw: st.DrawFn) -> Model:
    model = Model()
    for key, (owner, registered, seed) in draw(
        st.dictionaries(keys, st.tuples(owners, st.booleans(), st.none() | st.integers(0, 99)))
    ).items():
        head = owner | (REGISTERED if registered else 0)
        words = () if seed is None else random_words(Random(seed), IMSIS)
        if head or words:
            model.rows[key] = head, words
    wanted = st.tuples(
        st.sampled_from(TACS), serials, serials, st.sampled_from((0, 0, 1, 4)), st.sampled_from((1, 2))
    )
    for tac, one, two, cause, authority in draw(st.lists(wanted, max_size=12)):
        kind = (tac, cause, authority if cause else 0)
        first, last = sorted((one, two))
        if all((o[0], *o[3:]) != kind or first > o[2] + 1 or o[1] > last + 1 for o in model.ranges):
            model.ranges.add((tac, first, last, kind[1], kind[2]))
    for device in draw(st.lists(st.sets(keys, min_size=2, max_size=8), max_size=6)):
        if not device & set(model.links):
            model.link(*device)
    return model


@given(models())
def test_any_rows_round_trip(model: Model) -> None:
    agrees(model, model.shard())


@settings(max_examples=30)
@given(models(), st.lists(st.integers(0, 2**35), unique=True, max_size=3))
def test_owners_outside_the_dictionary_are_kept_whole(model: Model, blocks: list[int]) -> None:
    agrees(model, model.shard(ImsiBlocks(u64(blocks))))


@settings(max_examples=20)
@given(models())
def test_the_bytes_depend_on_the_rows_alone(model: Model) -> None:
    again = Model(dict(reversed(model.rows.items())), set(model.ranges), dict(reversed(model.links.items())))
    assert model.image() == again.image()
    decoded = shard_decode.decode(model.shard())
    blocks = model.blocks()
    assert shard_encode.encode(decoded, blocks, first_tac=0, last_tac=99_999_999, serial=7) == model.image()
