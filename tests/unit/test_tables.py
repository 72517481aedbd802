"""Generations: overlays over shards and common, beside a dict of the rows."""

import itertools
from random import Random

import numpy as np
import pytest
from segment_samples import (
    IMSIS,
    Model,
    block,
    columns,
    exempt,
    key_of,
    overlay,
    ragged,
    random_model,
    raw_rows,
    u64,
)

from eir.identity import SERIALS, imsi_code
from eir.whitelist import shard_rows, tables
from eir.whitelist.hashtable import HashTable, Ragged
from eir.whitelist.imsi_blocks import ImsiBlocks
from eir.whitelist.items import REGISTERED, Item
from eir.whitelist.overlay import Overlay, Table
from eir.whitelist.segment import parse
from eir.whitelist.shard import Shard
from eir.whitelist.tables import Common, Generation, join, overlay_runs, raw_key, raw_words

TACS = [0, 35_000_001, 35_000_002, 86_123_456, 99_999_999]
CUTS = [0, 35_000_002, 86_123_457, 100_000_000]


def generation_of(levels: list[Overlay], model: Model, common: Common | None = None) -> Generation:
    """Three shards of the model, in any order, below the levels."""
    blocks = model.blocks()
    shards = []
    for first, end in itertools.pairwise(CUTS):
        part = Model(
            {key: row for key, row in model.rows.items() if first <= key // SERIALS < end},
            {piece for piece in model.ranges if first <= piece[0] < end},
            {key: others for key, others in model.links.items() if first <= key // SERIALS < end},
        )
        shards.append(Shard(parse(memoryview(part.image(blocks, first, end - 1)), "x"), blocks))
    return Generation.of(3, levels, shards[::-1], common or Common({}, blocks))


def common_of(parts: dict[Table, dict[int, tuple[int, tuple[int, ...]]]]) -> Common:
    """Common segment, read back from its bytes."""
    hashed = {table: HashTable.build(columns(rows)) for table, rows in parts.items()}
    return Common.of(parse(memoryview(Common.image(hashed, ImsiBlocks(u64([7, 9])), 3)), "common"))


@pytest.mark.parametrize("seed", range(6))
def test_levels_hide_what_is_below_and_many_agree_with_one(seed):
    random = Random(seed)
    base = random_model(random, TACS, 300)
    older, newer = random_model(random, TACS[1:4], 60), random_model(random, TACS[:2], 30)
    for level, below in ((older, base), (newer, older)):
        for key in random.sample(sorted(below.rows), 8):
            level.rows[key] = (0, ())
        for key in random.sample(sorted(below.links), min(4, len(below.links))):
            level.links[key] = set()
    of_older, of_newer = {TACS[1], *(t for t, *_ in older.ranges)}, {TACS[3], *(t for t, *_ in newer.ranges)}
    generation = generation_of([overlay(newer, {}, of_newer), overlay(older, {}, of_older)], base)

    rows = base.rows | older.rows | newer.rows
    links = base.links | older.links | newer.links
    ranges = {piece for piece in base.ranges if piece[0] not in of_older | of_newer}
    ranges |= {piece for piece in older.ranges if piece[0] not in of_newer} | newer.ranges
    near = {key + step for key in (*rows, *links) for step in (-1, 0, 1)}
    keys = sorted(key for key in near if 0 <= key < 10**14)
    for key in keys:
        head, words = generation.key_row(key)
        assert (head, tuple(words or ())) == rows.get(key, (0, ()))
        assert sorted(generation.links(key)) == sorted(links.get(key, ()))
        found = {(piece >> 16 & 0xFF, piece & 0xFFFF) for piece in generation.range_pieces(key)}
        assert found == Model(ranges=ranges).pieces_at(key)
    for tac in (*TACS, 5):
        for serial in (0, 65_536, 999_999):
            found = {
                (piece >> 16 & 0xFF, piece & 0xFFFF) for piece in generation.range_pieces(key_of(tac, serial))
            }
            assert found == Model(ranges=ranges).pieces_at(key_of(tac, serial))

    many = generation.read_keys(u64(keys))
    assert many.head.tolist() == [rows.get(key, (0, ()))[0] for key in keys]
    assert [tuple(many.extra.run(place).tolist()) for place in range(len(keys))] == [
        rows.get(k, (0, ()))[1] for k in keys
    ]
    of_links = generation.read_links(u64(keys))
    assert [sorted(of_links.run(place).tolist()) for place in range(len(keys))] == [
        sorted(links.get(k, ())) for k in keys
    ]
    some = sorted({*TACS, 5, 35_000_000})
    pieces = generation.read_ranges(u64(some))
    back = shard_rows.unflatten_ranges(np.repeat(u64(some), pieces.counts()), pieces.words)
    parts = (back.tac, back.first, back.last, back.cause, back.authority)
    assert set(zip(*(part.tolist() for part in parts), strict=True)) == ranges


def test_many_keys_are_read_in_chunks(monkeypatch):
    monkeypatch.setattr(tables, "_CHUNK_ROWS", 7)
    model = random_model(Random(2), TACS, 100)
    gone = dict.fromkeys(sorted(model.rows)[::5], (0, ()))
    generation = generation_of([overlay(Model(gone), {}, set())], model)
    keys = sorted(model.rows)
    many = generation.read_keys(u64(keys))
    wanted = [(0, ()) if key in gone else model.rows[key] for key in keys]
    assert [(int(many.head[p]), tuple(many.extra.run(p).tolist())) for p in range(len(keys))] == wanted
    assert len(generation.read_keys(u64([]))) == 0


def test_a_generation_of_nothing():
    generation = Generation.of(0, (), (), Common.empty())
    assert generation.key_row(5) == (0, None)
    assert list(generation.links(5)) == list(generation.range_pieces(5)) == []
    assert generation.raw_row("1*") == (0, None)
    assert generation.imsi_words(11) is None
    assert generation.device_type(35_000_001) == 0
    assert generation.read_keys(u64([1, 2])).head.tolist() == [0, 0]
    assert generation.read_ranges(u64([1])).counts().tolist() == [0]
    assert generation.overlay_rows == 0


def test_levels_are_swapped_and_the_old_generation_stays():
    below = generation_of([], Model({key_of(TACS[1], 5): (REGISTERED, ())}))
    above = below.with_levels(4, [overlay(Model({key_of(TACS[1], 5): (0, ())}), {}, set())])
    assert (below.serial, above.serial) == (3, 4)
    assert below.key_row(key_of(TACS[1], 5)) == (REGISTERED, None)
    assert above.key_row(key_of(TACS[1], 5)) == (0, None)
    assert (below.overlay_rows, above.overlay_rows) == (0, 1)


def test_the_shard_of_a_tac_at_its_edges():
    edges = [tac for cut in CUTS for tac in (cut - 1, cut) if 0 <= tac < 100_000_000]
    model = Model(
        {
            key_of(tac, serial): (REGISTERED | imsi_code("26201"), ())
            for tac in edges
            for serial in (0, 999_999)
        }
    )
    generation = generation_of([], model)
    assert [shard.first_tac for shard in generation.shards] == CUTS[:-1]
    for key in model.rows:
        assert generation.key_row(key)[0] == model.rows[key][0]
    assert generation.read_keys(u64(sorted(model.rows))).head.all()


# -- raw texts, IMSIs, device types ----------------------------------------------------------------

TEXTS = ["0", "12*#A", "*#06#", "ABCDEF0123456789", "1234567890123", "123456789012*"]


def test_raw_texts():
    rows = {text: (REGISTERED if place % 2 else 0, (block(4, place),)) for place, text in enumerate(TEXTS)}
    rows["#"] = (imsi_code("26201"), ())
    rows["?"] = (REGISTERED, ())  # what a letter outside of ASCII must not be taken for
    generation = generation_of([], Model(), common_of({Table.RAW: raw_rows(rows)}))
    for text, (head, words) in rows.items():
        found, items = generation.raw_row(text)
        assert (found, tuple(items or ())) == (head, words)
    for text in ("1", "12*#B", "12*#a", "0\0", "ABCDEF0123456789F", "\u0661\u0662", "", "é"):
        assert generation.raw_row(text) == (0, None)


def test_an_overlay_answers_for_raw_texts():
    base = common_of({Table.RAW: raw_rows({text: (0, (block(1, 1),)) for text in TEXTS})})
    level = overlay(Model(), {Table.RAW: raw_rows({TEXTS[0]: (0, ()), TEXTS[1]: (0, (block(2, 2),))})}, set())
    generation = generation_of([level], Model(), base)
    assert generation.raw_row(TEXTS[0]) == (0, None)
    assert [list(generation.raw_row(text)[1]) for text in TEXTS[1:3]] == [[block(2, 2)], [block(1, 1)]]
    many = generation.read_common(Table.RAW, u64(sorted(map(raw_key, TEXTS))))
    assert sorted(many.extra.counts().tolist()) == [0] + [3] * 5


def test_two_texts_of_one_hash_are_told_apart():
    # The row of another text that falls on the same key is not this text's.
    row = {raw_key("12*#A"): (0, (block(1, 1), *raw_words("12*#B")))}
    assert generation_of([], Model(), common_of({Table.RAW: row})).raw_row("12*#A") == (0, None)


def test_the_hash_of_raw_texts_is_fnv_1a():
    assert raw_key("") == 0xCBF29CE484222325
    assert raw_key("a") == 0xAF63DC4C8601EC8C
    assert raw_key("foobar") == 0x85944171F73967E8
    assert raw_words("12") == (0x3231, 0)
    assert raw_words("ABCDEFGH12345678") == (0x4847464544434241, 0x3837363534333231)


def test_exempt_imsis_and_device_types():
    until = exempt(Item.EXEMPT_IMSI, 4, 99)
    base = {
        Table.IMSI: {imsi_code(imsi): (0, (until,)) for imsi in IMSIS},
        Table.TACS: {tac: (place + 1, ()) for place, tac in enumerate(TACS)},
    }
    level = overlay(
        Model(),
        {Table.IMSI: {imsi_code(IMSIS[0]): (0, ())}, Table.TACS: {TACS[1]: (0, ()), 5: (8, ())}},
        set(),
    )
    generation = generation_of([level], Model(), common_of(base))
    assert generation.imsi_words(imsi_code(IMSIS[0])) is None
    for imsi in IMSIS[1:]:
        assert list(generation.imsi_words(imsi_code(imsi))) == [until]
    assert generation.imsi_words(imsi_code("0010")) is None
    assert [generation.device_type(tac) for tac in (*TACS, 5, 6)] == [1, 0, 3, 4, 5, 8, 0]
    many = generation.read_common(Table.TACS, u64(sorted((*TACS, 5, 6))))
    assert many.heads.tolist() == [1, 8, 0, 0, 3, 4, 5]


def test_a_common_segment_there_and_back():
    common = common_of({Table.TACS: {1: (2, ())}})
    assert common.blocks.blocks.tolist() == [7, 9]
    assert common.tables[Table.TACS].find(1) == (2, 0, 0)
    assert common.tables[Table.RAW].find(1) is None
    assert common.nbytes > 0


# -- runs ------------------------------------------------------------------------------------------


def runs_of(part: Ragged) -> list[tuple[int, ...]]:
    return [tuple(part.run(place).tolist()) for place in range(len(part))]


def test_runs_joined_and_replaced():
    one, two = ragged([(1,), (), (2, 3)]), ragged([(4, 5), ()])
    assert runs_of(join([one, two])) == [(1,), (), (2, 3), (4, 5), ()]
    assert runs_of(join([one.take(np.array([2])), two])) == [(2, 3), (4, 5), ()]
    assert runs_of(overlay_runs(one, np.array([2, 0]), two)) == [(), (), (4, 5)]
    assert runs_of(overlay_runs(Ragged.empty(2), np.array([1]), ragged([(9,)]))) == [(), (9,)]
    assert runs_of(overlay_runs(one, np.array([0]), ragged([()]))) == [(), (), (2, 3)]
