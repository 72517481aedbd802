"""Shards: every shape of rows, ranges and links that a registry has, encoded and looked up."""

import itertools
from random import Random

import numpy as np
import pytest
from segment_samples import (
    IMSIS,
    Model,
    block,
    exempt_pair,
    key_of,
    random_model,
    u64,
    utilizer,
)

from eir.errors import SegmentDamagedError
from eir.identity import SERIALS, imsi_code
from eir.whitelist import segment, shard_decode, shard_encode
from eir.whitelist.hashtable import Ragged
from eir.whitelist.imsi_blocks import BLOCKS_MAX, ImsiBlocks
from eir.whitelist.items import REGISTERED, Item, name_of, piece_parts, unpack
from eir.whitelist.shard import KeyColumns, Shard
from eir.whitelist.shard_find import Finder
from eir.whitelist.shard_layout import FLAG, LINE_SERIALS, NEIGHBOURS, Meta, Section, State, unpack_bits
from eir.whitelist.shard_rows import LinkColumns, RangeColumns, ShardRows

TAC = 35_123_456


def home(number: int) -> int:
    return imsi_code(f"43211{number:010d}")


def rows_agree(model: Model, shard: Shard, others: list[int] | None = None) -> None:
    keys = sorted({*model.rows, *(others or [])})
    heads, extra = shard.find_many(u64(keys))
    for place, key in enumerate(keys):
        wanted = model.rows.get(key, (0, ()))
        head, words = shard.find(*divmod(key, SERIALS))
        assert (head, tuple(words or ())) == wanted
        assert (heads[place], tuple(extra.run(place).tolist())) == wanted


def links_agree(model: Model, shard: Shard) -> None:
    for key in {key + step for key in model.links for step in (-1, 0, 1)}:
        assert sorted(shard.links(*divmod(key, SERIALS))) == sorted(model.links.get(key, ()))
    decoded = shard_decode.decode(shard).links
    pairs = sorted((key, other) for key, others in model.links.items() for other in others)
    assert list(zip(decoded.key.tolist(), decoded.other.tolist(), strict=True)) == pairs


def held(shard: Shard, serial: int, tac: int = TAC) -> set[tuple[int, int]]:
    _, _, cause, authority = piece_parts(u64(shard.range_pieces(tac, serial)))
    pieces = list(zip(cause.tolist(), authority.tolist(), strict=True))
    assert len(pieces) == len(set(pieces))
    return set(pieces)


# -- keys ------------------------------------------------------------------------------------------


def test_a_shard_without_rows():
    shard = Model().shard()
    assert shard.find(TAC, 5) == (0, None)
    assert shard.links(TAC, 5) == []
    assert shard.range_pieces(TAC, 5) == []
    heads, extra = shard.find_many(u64([0, 5, 10**14 - 1]))
    assert heads.tolist() == [0, 0, 0]
    assert len(extra) == 3
    assert len(shard_decode.decode(shard).keys) == 0


@pytest.mark.parametrize("serials", [range(1_000), range(65_400, 65_700), range(999_500, 1_000_000)])
def test_a_dense_lot_across_lines_and_blocks(serials):
    model = Model({key_of(TAC, s): (REGISTERED | (home(s) if s % 3 else 0), ()) for s in serials})
    shard = model.shard()
    assert len(shard.dense)
    rows_agree(
        model, shard, [key_of(TAC, serials[0]) - 1, key_of(TAC, serials[-1]) + 1, key_of(TAC, 200_000)]
    )


def test_every_position_of_a_line():
    for hole in range(LINE_SERIALS):
        serials = [s for s in range(LINE_SERIALS) if s != hole]
        model = Model(
            {
                key_of(TAC, s): (REGISTERED | home(s), (1 << 60 | home(1),) if s % 5 == 0 else ())
                for s in serials
            }
        )
        rows_agree(model, model.shard(), [key_of(TAC, hole)])


def test_more_lines_than_sixteen_bits_count():
    serials = np.arange(0, 15 * 65_536, 6, dtype=np.uint64)
    keys = (np.arange(TAC, TAC + 16, dtype=np.uint64)[:, None] * np.uint64(SERIALS) + serials).reshape(-1)
    heads = np.uint64(home(0)) + np.arange(len(keys), dtype=np.uint64) % np.uint64(60_000)
    rows = KeyColumns(keys, heads | np.uint64(REGISTERED), Ragged.empty(len(keys)))
    blocks = ImsiBlocks(u64([])).grown(heads)
    rows = ShardRows(rows, RangeColumns.empty(), LinkColumns.empty())
    packed = shard_encode.encode(rows, blocks, first_tac=0, last_tac=99_999_999, serial=1)
    shard = Shard(segment.parse(memoryview(packed), "x"), blocks)
    assert len(shard.lines) > 1 << 16
    some = np.arange(3, len(keys), 7_919)
    assert shard.find_many(keys[some])[0].tolist() == rows.keys.head[some].tolist()
    for place in some.tolist():
        assert shard.find(*divmod(int(keys[place]), SERIALS)) == (rows.keys.head[place], None)
    decoded = shard_decode.decode(shard).keys
    assert np.array_equal(decoded.key, keys)
    assert np.array_equal(decoded.head, rows.keys.head)


@pytest.mark.parametrize("step", [1_001, 65_536, 999_999])
def test_sparse_serials(step):
    model = Model({key_of(TAC, s): (REGISTERED | home(s), ()) for s in range(0, SERIALS, step)})
    shard = model.shard()
    assert not len(shard.dense)
    rows_agree(model, shard, [key_of(TAC, s) for s in (1, 65_535, 131_073, 999_998)])


def test_a_block_is_dense_where_that_is_smaller():
    # Lines cost 64 bytes and their presence as much; a serial in a list costs two, and its block twelve.
    for count, dense in ((58, False), (59, True)):
        model = Model({key_of(TAC, s): (REGISTERED, ()) for s in range(count)})
        assert (len(model.shard().dense) == 1) is dense


def test_full_tac_mixes_dense_and_sparse_blocks():
    serials = [*range(500), 70_000, 140_000, *range(200_000, 200_100), 999_999]
    model = Model({key_of(TAC, s): (REGISTERED | home(s), ()) for s in serials})
    shard = model.shard()
    assert shard.tacs["dense_mask"][0] == 0b1001
    assert shard.tacs["sparse_mask"][0] == 0b1000000000000110
    rows_agree(model, shard, [key_of(TAC, s) for s in (500, 69_999, 210_000, 300_000, 999_998)])


def test_neighbouring_tacs_do_not_mix():
    model = Model(
        {
            key_of(tac, s): (REGISTERED | home(tac % 97), ())
            for tac in (0, 1, 99_999_999)
            for s in (0, 999_999)
        }
    )
    rows_agree(model, model.shard(), [key_of(2, 0), key_of(99_999_998, 999_999), 1])


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("registered", [0, 30, 50, 70, 100])
def test_the_flag_and_those_that_differ_from_it(kind, registered):
    step = 1 if kind == "dense" else 500
    model = Model()
    for number in range(100):
        model.rows[key_of(TAC, number * step)] = (REGISTERED if number < registered else 0) | home(number), ()
    shard = model.shard()
    assert bool(len(shard.dense)) is (kind == "dense")
    flags = shard.lines[:, 0] if kind == "dense" else shard.sparse[:-1, 0]
    assert bool(flags[0] & FLAG) is (registered >= 50)
    assert shard.meta[Meta.MORE] == min(registered, 100 - registered), "the fewer go to the records"
    rows_agree(model, shard)


@pytest.mark.parametrize("imsi", IMSIS)
def test_any_imsi_owns_and_is_told_apart(imsi):
    model = Model(
        {
            key_of(TAC, 1): (REGISTERED | imsi_code(imsi), ()),
            key_of(TAC, 2): (imsi_code(imsi), (utilizer(imsi),)),
        }
    )
    rows_agree(model, model.shard())
    rows_agree(model, model.shard(ImsiBlocks(u64([]))))


def test_ten_pairs_on_an_imei():
    words = tuple(utilizer(f"43211{place:010d}") for place in range(9))
    model = Model({key_of(TAC, 7): (REGISTERED | home(99), words)})
    _, found = model.shard().find(TAC, 7)
    assert [subject for _, subject, _ in unpack(found)] == [home(place) for place in range(9)]


def test_everything_at_once_on_one_imei():
    words = (utilizer("001"), block(1, 2), block(3, 65_535), 3 << 60, *exempt_pair("9", 1, 5), 6 << 60)
    model = Model({key_of(TAC, 7): (0, words), key_of(TAC, 8): (REGISTERED, (block(4, 1),))})
    rows_agree(model, model.shard(), [key_of(TAC, 6), key_of(TAC, 9)])


def test_owners_of_foreign_networks_without_a_number_are_records():
    home_block = ImsiBlocks(u64([home(0) >> 16]))
    foreign = imsi_code("262010000000001")
    model = Model({key_of(TAC, s): (REGISTERED | (foreign if s % 2 else home(s)), ()) for s in range(40)})
    shard = model.shard(home_block)
    assert shard.meta[Meta.PAIRED] == shard.meta[Meta.MORE] == 20
    rows_agree(model, shard)


def test_a_shard_is_read_with_a_longer_dictionary():
    model = random_model(Random(1), [TAC], 300)
    blocks = model.blocks()
    longer = ImsiBlocks(u64([*blocks.blocks.tolist(), 1, 2, 3]))
    image = memoryview(model.image(blocks))
    rows_agree(model, Shard(segment.parse(image, "x"), longer))
    with pytest.raises(SegmentDamagedError, match="IMSI blocks"):
        Shard(segment.parse(image, "x"), ImsiBlocks(blocks.blocks[:-1]))


@pytest.mark.parametrize("width", [1, 7, 16, 31, 32, 33, 36])
def test_bit_packing(width):
    random = Random(width)
    values = [random.getrandbits(width) for _ in range(200)] + [(1 << width) - 1] * 3
    packed = shard_encode.pack_bits(u64(values), width)
    assert len(packed) == -(-203 * width // 64) + 1
    assert unpack_bits(packed, np.arange(203), width).tolist() == values
    number = int.from_bytes(packed.tobytes(), "little")
    assert [number >> place * width & (1 << width) - 1 for place in range(203)] == values
    assert len(shard_encode.pack_bits(u64([]), width)) == 1


def test_owners_as_wide_as_numbers_get():
    # A dictionary of many numbers, of which the highest is used.
    blocks = ImsiBlocks(np.arange(1 << 21, (1 << 21) + 70_000, dtype=np.uint64))
    owner = int(blocks.blocks[-1]) << 16 | 0xFFFF
    model = Model({key_of(TAC, s): (REGISTERED | (owner - s), ()) for s in range(70)})
    shard = model.shard(blocks)
    assert shard.width == 33
    rows_agree(model, shard)


def test_find_many_over_many_unsorted_keys():
    model = random_model(Random(3), [TAC, TAC + 1, 86_000_000], 900)
    shard = model.shard()
    keys = [*model.rows, *(key + 1 for key in model.rows)] * 2
    Random(1).shuffle(keys)
    heads, extra = shard.find_many(u64(keys))
    assert heads.tolist() == [model.rows.get(key, (0, ()))[0] for key in keys]
    assert [tuple(extra.run(place).tolist()) for place in range(len(keys))] == [
        model.rows.get(k, (0, ()))[1] for k in keys
    ]


def mixed_shard(random: Random) -> tuple[Shard, np.ndarray]:
    """Dense lots and sparse serials, in blocks near and far, with pairs and items among them."""
    serials = [
        *range(3_000),  # dense
        *range(70_000, 72_000),  # dense
        *random.sample(range(131_072, 999_990), 1_500),  # sparse
        999_999,
    ]
    model = Model()
    for tac in (TAC, TAC + 1, TAC + 40, 86_000_000):
        for serial in serials if tac != TAC + 40 else random.sample(range(65_536), 200):
            kind = random.random()
            words = (name_of(Item.TRACK),) if kind > 0.9 else ()
            owner = home(random.randrange(10**6)) if kind < 0.6 or kind > 0.95 else 0
            model.rows[key_of(tac, serial)] = (REGISTERED | owner, words)
    return model.shard(), u64(sorted(model.rows))


@pytest.mark.parametrize("seed", range(3))
def test_many_keys_are_found_as_one_is(seed):
    random = Random(seed)
    shard, keys = mixed_shard(random)
    around = np.unique(
        np.concatenate((keys, keys + np.uint64(1), keys - np.uint64(1), keys + np.uint64(65_536)))
    )
    parts = [
        around,
        keys,
        keys[:1],
        around[-3:],
        u64([]),
        u64([TAC * SERIALS - 7]),
        u64([99_999_999 * SERIALS]),
    ]
    parts += [around[(around >= low) & (around < low + 131_072)] for low in random.sample(keys.tolist(), 5)]
    parts.append(u64(sorted({*range(5), *random.sample(around.tolist(), 40)})))
    for asked in parts:
        heads, extra = shard.find_many(asked)
        for place, key in enumerate(asked.tolist()):
            head, words = shard.find(*divmod(key, SERIALS))
            assert (int(heads[place]), tuple(extra.run(place).tolist())) == (head, tuple(words or ()))


def test_many_keys_before_the_first_block_of_a_form_are_absent():
    model = Model({key_of(TAC, 900_000 + serial): (REGISTERED, ()) for serial in (1, 5)})
    heads, extra = model.shard().find_many(np.arange(TAC * SERIALS, TAC * SERIALS + 500, dtype=np.uint64))
    assert (heads.any(), len(extra.words)) == (False, 0)


def test_a_shard_without_meta_is_damaged():
    packed = segment.pack(segment.Kind.SHARD, {Section.TACS: np.zeros(16, np.uint32)}, serial=1)
    with pytest.raises(SegmentDamagedError, match="META"):
        Shard(segment.parse(memoryview(packed), "x"), ImsiBlocks(u64([])))


# -- ranges ----------------------------------------------------------------------------------------


def test_ranges_that_do_not_overlap():
    model = Model(
        ranges={
            (TAC, 0, 0, 0, 0),
            (TAC, 10, 19, 0, 0),
            (TAC, 20, 29, 1, 4),
            (TAC, 999_999, 999_999, 0, 0),
            (TAC + 1, 0, 999_999, 0, 0),
        }
    )
    shard = model.shard()
    assert len(shard.ranges) == 5
    assert [held(shard, s) for s in (0, 1, 9, 10, 19, 20, 29, 30)] == [
        {(0, 0)},
        set(),
        set(),
        {(0, 0)},
        {(0, 0)},
        {(1, 4)},
        {(1, 4)},
        set(),
    ]
    assert held(shard, 999_999) == held(shard, 0, TAC + 1) == held(shard, 999_999, TAC + 1) == {(0, 0)}
    assert held(shard, 999_999, TAC - 1) == held(shard, 0, TAC + 2) == set()


def test_many_overlapping_ranges():
    random = Random(11)
    model = Model()
    for cause in range(12):
        for authority in range(3):
            at = random.randrange(5_000)
            while at < SERIALS - 1 and random.random() < 0.8:
                last = min(at + random.randrange(1, 300_000), SERIALS - 1)
                model.ranges.add((TAC, at, last, cause, authority if cause else 0))
                if not cause:
                    break
                at = last + 2
    assert len(model.ranges) > 40
    shard = model.shard()
    edges = {s + step for _, first, last, *_ in model.ranges for s in (first, last) for step in (-1, 0, 1)}
    for serial in {*edges, *random.sample(range(SERIALS), 200)}:
        if 0 <= serial < SERIALS:
            assert held(shard, serial) == model.pieces_at(key_of(TAC, serial))
    first, last, _, _ = piece_parts(shard.ranges)
    spans = sorted(set(zip(first.tolist(), last.tolist(), strict=True)))
    assert all(one[1] < two[0] for one, two in itertools.pairwise(spans)), "equal or disjoint"
    assert (np.diff(shard.ranges.astype(np.int64)) > 0).all()
    decoded = shard_decode.decode(shard).ranges
    columns = (decoded.tac, decoded.first, decoded.last, decoded.cause, decoded.authority)
    assert set(zip(*(column.tolist() for column in columns), strict=True)) == model.ranges


def test_ranges_of_other_tacs_are_not_cut():
    model = Model(
        ranges={(TAC, 0, 99, 0, 0), (TAC, 50, 149, 1, 1), (TAC + 1, 0, 999_999, 0, 0), (TAC + 2, 5, 80, 0, 0)}
    )
    assert len(model.shard().ranges) == 4 + 2


# -- links -----------------------------------------------------------------------------------------


def runs_of(shard: Shard) -> list[tuple[int, ...]]:
    return [tuple(run) for run in shard.runs.tolist()]


def registered(*keys: int) -> dict[int, tuple[int, tuple[int, ...]]]:
    return dict.fromkeys(keys, (REGISTERED, ()))


@pytest.mark.parametrize("first", [0, 1, 224, 65_535, 999_990])
def test_neighbours_are_one_run(first):
    model = Model()
    for serial in range(first, first + 10, 2):
        model.link(key_of(TAC, serial), key_of(TAC, serial + 1))
    model.rows = registered(*model.links)
    shard = model.shard()
    assert runs_of(shard) == [(first, 10, TAC, NEIGHBOURS)]
    assert not len(shard.far)
    links_agree(model, shard)


def test_neighbours_of_both_parities_and_with_gaps():
    model = Model()
    for serial in (0, 2, 10, 13, 15, 18, 24):
        model.link(key_of(TAC, serial), key_of(TAC, serial + 1))
    model.rows = registered(*model.links)
    shard = model.shard()
    assert len(runs_of(shard)) == 3
    links_agree(model, shard)


def test_a_run_holds_scattered_serials_and_says_nothing_of_absent_ones():
    model = Model()
    for serial in range(0, 4_000, 40):
        model.link(key_of(TAC, serial), key_of(TAC + 1, serial))
    model.rows = registered(*model.links)
    shard = model.shard()
    assert [run[1:] for run in runs_of(shard)] == [(3_961, TAC + 1, 0), (3_961, TAC, 0)]
    for serial in (1, 39, 41, 3_999):
        assert shard.links(TAC, serial) == []
    links_agree(model, shard)


@pytest.mark.parametrize("shift", [0, 1, -1, 5, -300, 400_000])
def test_twins_are_one_run_each(shift):
    model = Model()
    for serial in range(500_000, 500_050):
        model.link(key_of(TAC, serial), key_of(TAC + 9, serial + shift))
    model.rows = registered(*model.links)
    shard = model.shard()
    assert runs_of(shard) == [(500_000, 50, TAC + 9, shift), (500_000 + shift, 50, TAC, -shift)]
    links_agree(model, shard)


def test_rows_without_links_end_a_run():
    model = Model()
    for serial in (1, 2, 3, 7, 8, 9):
        model.link(key_of(TAC, serial), key_of(TAC + 1, serial))
    model.rows = registered(*model.links, key_of(TAC, 5))
    shard = model.shard()
    assert shard.links(TAC, 5) == []
    assert len([run for run in runs_of(shard) if run[2] == TAC + 1]) == 2
    links_agree(model, shard)


def test_far_links_and_slots_without_rows():
    model = Model()
    model.link(key_of(TAC, 5), key_of(99_999_999, 999_999))
    model.link(key_of(TAC, 6), key_of(0, 0))
    model.link(key_of(TAC, 7), key_of(TAC, 900_000))
    model.rows = registered(key_of(TAC, 6))
    shard = model.shard()
    assert runs_of(shard) == []
    links_agree(model, shard)


def test_half_of_a_run_has_no_rows():
    model = Model()
    for serial in range(0, 40, 2):
        model.link(key_of(TAC, serial), key_of(TAC, serial + 1))
    model.rows = registered(*(key for key in model.links if key % 4 != 1))
    links_agree(model, model.shard())
    model.rows = registered(*(key for key in model.links if key % 2))
    links_agree(model, model.shard())


def test_eight_slots():
    model = Model()
    model.link(
        *(key_of(TAC, serial) for serial in (3, 4, 5, 6, 700)),
        *(key_of(TAC + 1, serial) for serial in (3, 4, 5)),
    )
    model.rows = registered(*model.links)
    shard = model.shard()
    assert len(shard.links(TAC, 4)) == 7
    links_agree(model, shard)


def test_links_of_both_ends_are_in_their_own_shards():
    one, two = Model(), Model()
    one.links[key_of(TAC, 5)] = {key_of(TAC + 1, 5)}
    two.links[key_of(TAC + 1, 5)] = {key_of(TAC, 5)}
    links_agree(one, one.shard())
    links_agree(two, two.shard())


# -- IMSI blocks -----------------------------------------------------------------------------------


def test_blocks_keep_their_numbers_as_they_grow():
    first = ImsiBlocks(u64([])).grown(u64([home(0), home(1), home(70_000)]))
    assert len(first) == 2
    second = first.grown(u64([imsi_code("001010000000000"), home(0)]))
    assert second.blocks[:2].tolist() == first.blocks.tolist()
    assert len(second) == 3
    assert second.grown(u64([home(5)])) is second
    for code in (home(1), home(70_001), imsi_code("001010000000009")):
        packed = second.pack(u64([code]))
        assert packed.tolist() == [second.owner(code)]
        assert second.codes(packed.astype(np.uint64)).tolist() == [code]
    foreign = imsi_code("26201")
    assert second.pack(u64([foreign])).tolist() == [second.owner(foreign)] == [-1]


def test_short_imsis_get_no_number():
    # Block 0 stands for "no owner"; codes below 65,536 stay whole.
    assert len(ImsiBlocks(u64([])).grown(u64([imsi_code("1"), imsi_code("9999")]))) == 0


def test_a_full_dictionary_grows_no_more():
    full = ImsiBlocks(np.arange(1, BLOCKS_MAX + 1, dtype=np.uint64))
    assert full.grown(u64([home(0)] * 5_000)) is full
    nearly = ImsiBlocks(full.blocks[:-1])
    assert len(nearly.grown(u64([home(0)] * 5_000 + [home(70_000)] * 5_000))) == BLOCKS_MAX


@pytest.mark.parametrize("seed", range(4))
def test_paired_keys_of_a_range_are_those_whose_state_has_an_owner_or_more(seed):
    model = random_model(Random(seed), [TAC, TAC + 1], 3_000)
    shard = model.shard()
    keys = np.array(sorted(model.rows), np.uint64)
    wanted = keys[Finder(shard).states(keys).state >= State.PAIRED]
    for first, last in ((0, 999_999), (0, 65_535), (65_536, 131_072), (200_000, 700_000), (5, 5)):
        low, high = TAC * 1_000_000 + first, TAC * 1_000_000 + last
        expected = wanted[(wanted >= low) & (wanted <= high)].tolist()
        assert sorted(shard.paired_keys(TAC, first, last).tolist()) == expected
    assert len(shard.paired_keys(TAC + 7, 0, 999_999)) == 0
