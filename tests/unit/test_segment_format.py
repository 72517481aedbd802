"""docs/segment-format.md: a reader made from it alone agrees with ours, and its examples are true."""

import itertools
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random

import native_engine
import numpy as np
import pytest
from crc32c import crc32c
from reference_reader import File, Generation, Refused, Shard, index_keys, items
from reference_reader import Table as NaiveTable
from reference_reader import crc32c as naive_crc32c
from segment_samples import (
    EXAMPLE_BLOCKS,
    IMSIS,
    Model,
    columns,
    example_common,
    example_shard,
    exempt,
    hex_dump,
    key_of,
    overlay,
    random_model,
    random_words,
    raw_rows,
    u64,
)

from eir import native
from eir.errors import SegmentDamagedError
from eir.identity import SERIALS, imsi_code
from eir.whitelist import imsi_index, segment, shard, tables
from eir.whitelist.hashtable import HashTable
from eir.whitelist.imsi_blocks import ImsiBlocks
from eir.whitelist.items import CODE_MASK, REGISTERED, Item, unpack
from eir.whitelist.overlay import Overlay, Table
from eir.whitelist.tables import Common

PAGE = Path(__file__).parents[2] / "docs" / "segment-format.md"
TACS = [0, 35_000_001, 35_000_002, 86_123_456, 99_999_999]
TEXTS = ["12*#A", "0", "", "*#06#", "12345678901234AB", "ABCDEF", "123456789012*"]


def dump_in_page(name: str) -> str:
    text = PAGE.read_text()
    start = text.index(f"```{name}\n") + len(name) + 4
    return text[start : text.index("\n```", start)]


@pytest.mark.parametrize(("name", "image"), [("common", example_common), ("shard", example_shard)])
def test_the_dumps_are_those_of_the_encoder(name, image):
    assert dump_in_page(name) == hex_dump(image())


def test_the_examples_say_what_the_page_says():
    common = File(example_common())
    generation = Generation([], [example_shard()], example_common())
    assert generation.raw_row("12*#A") == (0, [0x2000000000040002])
    assert generation.raw_row("12*#B") == (0, [])
    assert items(generation.imsi_items(100_101)) == [(8, 4 << 40 | 0xFFFFFFFFFF, 0)]
    assert generation.device_type(35_000_001) == 3
    assert common.numbers(120, "Q") == (0x05167F17D4,)
    assert generation.key_row(35_000_001_000_005) == (REGISTERED, [])
    assert generation.key_row(35_000_001_000_006) == (0x0805167F17D44C01, [])
    head, words = generation.key_row(35_000_001_000_007)
    assert (head, items(words)) == (0x0805167F17D44C02, [(1, 100_101, 0), (3, 0, 0)])
    assert generation.key_row(35_000_002_000_231) == (REGISTERED | imsi_code("432110000000231"), [])
    assert generation.key_row(35_000_002_000_225) == (imsi_code("432110000000225"), [])
    assert generation.key_row(35_000_002_000_290) == (0, [])
    held = [
        (p >> 44, p >> 24 & 0xFFFFF, p >> 16 & 0xFF, p & 0xFFFF)
        for p in generation.pieces(35_000_001_000_160)
    ]
    assert sorted(held) == [(150, 199, 0, 0), (150, 199, 1, 2)]
    assert generation.links(35_000_001_000_006) == [35_000_001_000_007]
    assert generation.links(35_000_001_000_005) == [86_000_002_000_009]


@pytest.mark.parametrize("seed", range(12))
def test_the_naive_reader_reads_what_the_encoder_writes(seed):
    random = Random(seed)
    model = random_model(random, TACS, 300)
    blocks = model.blocks()
    image = model.image(blocks)
    real = shard.Shard(segment.parse(memoryview(image), "sample"), blocks)
    naive = Shard(File(image), tuple(blocks.blocks.tolist()))
    asked = {key + step for key in (*model.rows, *model.links) for step in (-1, 0, 1)}
    asked |= {key_of(tac, random.choice((first, last, last + 1))) for tac, first, last, *_ in model.ranges}
    for key in asked:
        if not 0 <= key < 10**14:
            continue
        tac, serial = divmod(key, SERIALS)
        head, words = real.find(tac, serial)
        row = naive.row(key)
        assert row == (head, list(words or ()))
        assert row == (model.rows.get(key, (0, ()))[0], list(model.rows.get(key, (0, ()))[1]))
        # Where the page says low, eir says subject or value.
        split = [
            (kind, 0, low) if kind in (4, 6, 8) else (kind, low, more) for kind, low, more in items(row[1])
        ]
        assert split == (unpack(words) if words else [])
        assert sorted(naive.links(key)) == sorted(real.links(tac, serial)) == sorted(model.links.get(key, ()))
        assert sorted(naive.pieces(key)) == sorted(real.range_pieces(tac, serial))


def random_level(random: Random, below: Model) -> tuple[Overlay, Model]:
    """Make an overlay that changes, adds and removes rows of what is below it."""
    model = random_model(random, TACS[1:3], 40)
    for key in random.sample(sorted(below.rows), min(10, len(below.rows))):
        model.rows[key] = (0, ()) if random.random() < 0.5 else (REGISTERED, random_words(random, IMSIS))
    for key in random.sample(sorted(below.links), min(6, len(below.links))):
        model.links.setdefault(key, set())
    level = {
        Table.RAW: raw_rows({t: (0, random_words(random, IMSIS)) for t in random.sample(TEXTS, 3)}),
        Table.IMSI: {
            imsi_code(i): (0, random.choice(((), (exempt(Item.EXEMPT_IMSI, 1, 99),))))
            for i in random.sample(IMSIS, 4)
        },
        Table.TACS: {tac: (random.randint(0, 9), ()) for tac in random.sample(TACS, 2)},
    }
    return overlay(model, level, {*random.sample(TACS, 2), *(tac for tac, *_ in model.ranges)}), model


@pytest.mark.parametrize("seed", range(8))
def test_the_naive_generation_answers_as_the_real_one(seed):
    random = Random(seed)
    model = random_model(random, TACS, 300)
    blocks = model.blocks()
    cuts = [0, 35_000_002, 86_123_457, 100_000_000]
    images = []
    for first, end in itertools.pairwise(cuts):
        part = Model(
            {key: row for key, row in model.rows.items() if first <= key // SERIALS < end},
            {piece for piece in model.ranges if first <= piece[0] < end},
            {key: others for key, others in model.links.items() if first <= key // SERIALS < end},
        )
        images.append(part.image(blocks, first, end - 1))
    commons = {
        Table.RAW: columns(raw_rows({text: (0, random_words(random, IMSIS)) for text in TEXTS[:4]})),
        Table.IMSI: columns({imsi_code(imsi): (0, (exempt(Item.EXEMPT_IMSI, 4, 7),)) for imsi in IMSIS[:5]}),
        Table.TACS: columns({tac: (place + 1, ()) for place, tac in enumerate(TACS)}),
    }
    # The dictionary has grown since the shards were packed.
    longer = ImsiBlocks(u64([*blocks.blocks.tolist(), 1 << 34]))
    common = bytes(Common.image({table: HashTable.build(rows) for table, rows in commons.items()}, longer, 5))
    (newer, upper), (older, lower) = random_level(random, model), random_level(random, model)

    real = tables.Generation.of(
        9,
        (newer, older),
        [shard.Shard(segment.parse(memoryview(image), "shard"), longer) for image in images],
        Common.of(segment.parse(memoryview(common), "common")),
    )
    naive = Generation([bytes(level.image(9)) for level in (newer, older)], images, common)
    keys = {
        key + step
        for level in (model, upper, lower)
        for key in (*level.rows, *level.links)
        for step in (0, 1)
    }
    keys |= {
        key_of(tac, random.choice((first, last, 5)))
        for level in (model, upper, lower)
        for tac, first, last, *_ in level.ranges
    }
    keys = {key for key in keys if key < 10**14}
    for key in keys:
        head, words = real.key_row(key)
        assert naive.key_row(key) == (head, list(words or ()))
        assert sorted(naive.links(key)) == sorted(real.links(key))
        assert sorted(naive.pieces(key)) == sorted(real.range_pieces(key))
    for text in [*TEXTS, "no such"]:
        head, words = real.raw_row(text)
        assert naive.raw_row(text) == (head, list(words or ()))
    for imsi in IMSIS:
        assert naive.imsi_items(imsi_code(imsi)) == list(real.imsi_words(imsi_code(imsi)) or ())
    for tac in (*TACS, 1):
        assert naive.device_type(tac) == real.device_type(tac)


@pytest.mark.parametrize("seed", range(4))
def test_the_index_of_imsis_is_as_the_page_says(seed):
    model = random_model(Random(seed), TACS, 80)
    data = imsi_index.image(model.shard_rows().keys)
    wanted: dict[int, set[int]] = {}
    for key, (head, words) in model.rows.items():
        codes = {head & CODE_MASK} | {low for kind, low, _ in items(list(words)) if kind in (1, 5, 7)}
        for code in codes - {0}:
            wanted.setdefault(code, set()).add(key)
    assert wanted
    for code in (*wanted, 10, 2 * 10**15 - 1):
        assert index_keys(data, code) == wanted.get(code, set())


def refused(data: bytes) -> bool:
    """Tell whether the naive reader refuses; the real one must do the same."""
    try:
        segment.parse(memoryview(data), "x")
    except SegmentDamagedError:
        with pytest.raises(Refused):
            File(data)
        return True
    File(data)
    return False


def test_both_readers_refuse_the_same_files():
    image = example_common()
    assert not refused(image)
    for at in (0, 7, 8, 10, 12, 16, 24, 32, 40, 44, 63, 64, 68, 72, 80, 88, 0x150, 0x253, 0x545):
        damaged = bytearray(image)
        damaged[at] ^= 0x40
        assert refused(bytes(damaged)), at
    assert refused(image[:-64])
    assert refused(image + bytes(64))
    assert refused(b"")
    padded = bytearray(image)
    padded[0x548] = 1  # padding means nothing
    assert not refused(bytes(padded))


def sealed(data: bytes, **changed: bytes) -> bytes:
    """A file with other bytes at places (`at_N`, in hex), whose checksums match."""
    out = bytearray(data)
    for place, value in changed.items():
        at = int(place.removeprefix("at_"), 16)
        out[at : at + len(value)] = value
    for entry in range(64, 64 + 32 * struct.unpack_from("<I", out, 12)[0], 32):
        offset, length = struct.unpack_from("<QQ", out, entry + 8)
        if offset + length <= len(out):
            struct.pack_into("<I", out, entry + 4, naive_crc32c(bytes(out[offset : offset + length])))
    struct.pack_into("<I", out, 40, 0)
    head = bytes(out[: 64 + 32 * struct.unpack_from("<I", out, 12)[0]])
    struct.pack_into("<I", out, 40, naive_crc32c(head))
    return bytes(out)


def all_refuse(
    data: bytes, says: str, naive: Callable[[bytes], object], real: Callable[[bytes], object]
) -> None:
    with pytest.raises(Refused):
        naive(data)
    with pytest.raises(SegmentDamagedError, match=says):
        real(data)


def native_refuses(image: bytes, says: str) -> None:
    native_engine.needed()
    with pytest.raises(ValueError, match=says):
        native.load().Shard(bytearray(image), verify=True)


def real_shard(data: bytes) -> shard.Shard:
    return shard.Shard(segment.parse(memoryview(data), "x"), EXAMPLE_BLOCKS)


@pytest.mark.parametrize("width", [0, 37, 1 << 40])
def test_owners_of_a_width_that_none_has_are_refused(width):
    image = sealed(example_shard(), at_0640=struct.pack("<Q", width))
    dictionary = tuple(EXAMPLE_BLOCKS.blocks.tolist())
    all_refuse(image, "bits wide", lambda data: Shard(File(data), dictionary), real_shard)
    native_refuses(image, "bits wide")


@pytest.mark.parametrize("number", [1, 3, 9], ids=["before", "twice", "after"])
def test_sections_that_do_not_increase_are_refused(number):
    image = sealed(example_shard(), at_0060=struct.pack("<I", number))
    all_refuse(image, "order of their numbers", File, real_shard)
    native_refuses(image, "order of their numbers")


def test_a_section_whose_end_overflows_is_refused():
    image = sealed(example_shard(), at_0070=struct.pack("<Q", 2**64 - 64))
    all_refuse(image, "outside of the file", File, real_shard)
    native_refuses(image, "outside of the file")


@pytest.mark.parametrize("slots", [1, 16, 17])
def test_a_table_of_too_few_slots_is_refused(slots):
    image = sealed(example_common(), at_0050=struct.pack("<Q", 16 * slots))
    all_refuse(
        image,
        "do not end in an empty one",
        lambda data: NaiveTable(File(data), 3),
        lambda data: Common.of(segment.parse(memoryview(data), "x")),
    )
    parsed = segment.parse(memoryview(image), "x")
    none = np.empty(0, np.uint8)
    tables = [(none, none)] * 6
    tables[3] = (parsed.array(106, "u1"), parsed.array(107, "u1"))
    native_engine.needed()
    with pytest.raises(ValueError, match="does not end in an empty one"):
        native.load().Overlay(tables)


def test_a_shard_needs_its_dictionary():
    image = example_shard()
    with pytest.raises(Refused):
        Shard(File(image), ())
    with pytest.raises(SegmentDamagedError):
        shard.Shard(segment.parse(memoryview(image), "x"), ImsiBlocks(u64([])))
    assert Shard(File(image), tuple(EXAMPLE_BLOCKS.blocks.tolist())).meta[6] == 1


def test_the_checksum_named_in_the_page():
    assert naive_crc32c(b"123456789") == crc32c(b"123456789") == 0xE3069283
    assert struct.unpack_from("<I", example_common(), 40)[0] == segment.crc_of(example_common())
