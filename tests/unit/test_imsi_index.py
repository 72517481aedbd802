"""Where an IMSI stands: the index beside a shard, and the overlays above it."""

import gc
import os
from pathlib import Path
from random import Random

import pytest
from segment_samples import (
    IMSIS,
    LAST_TAC,
    Model,
    block,
    columns,
    exempt_pair,
    key_of,
    overlay,
    random_model,
    raw_rows,
    u64,
    utilizer,
)

from eir.errors import SegmentDamagedError
from eir.identity import imsi_code
from eir.whitelist import imsi_index
from eir.whitelist.hashtable import HashTable
from eir.whitelist.imsi_index import ImsiIndex, keys_of, raw_of
from eir.whitelist.items import CODE_MASK, Item, name_of, unpack
from eir.whitelist.overlay import Table
from eir.whitelist.tables import Common, Generation, raw_key

TAC = 35_000_001


def standing(model: Model) -> dict[int, set[int]]:
    """Keys by the codes that stand on them."""
    out: dict[int, set[int]] = {}
    for key, (head, words) in model.rows.items():
        named = {
            s
            for kind, s, _ in unpack(words)
            if kind in (Item.UTILIZER, Item.EXEMPT_PAIR, Item.GRANDFATHER_PAIR)
        }
        for code in {head & CODE_MASK, *named} - {0}:
            out.setdefault(code, set()).add(key)
    return out


def index_of(model: Model, folder) -> ImsiIndex:
    path = folder / "shard.imsi"
    path.write_bytes(imsi_index.image(model.shard_rows().keys))
    return ImsiIndex(path)


@pytest.mark.parametrize("entries", [1, 3, 7, 1024])
@pytest.mark.parametrize("seed", range(3))
def test_every_code_is_found_whatever_blocks_it_spans(tmp_path, monkeypatch, entries, seed):
    monkeypatch.setattr(imsi_index, "ENTRIES", entries)
    model = random_model(Random(seed), [TAC, TAC + 1], 200)
    index, wanted = index_of(model, tmp_path), standing(model)
    assert len(wanted) > 20
    for code in (*wanted, 10, 11, imsi_code("999999999999998")):
        assert set(index.keys(u64([code])).tolist()) == wanted.get(code, set())
    some = sorted(wanted)[::3]
    assert set(index.keys(u64(some)).tolist()) == set().union(*(wanted[code] for code in some))


def test_owner_utilizer_and_pair_items_are_indexed_and_nothing_else(tmp_path):
    model = Model(
        {
            key_of(TAC, 1): (imsi_code("001"), ()),
            key_of(TAC, 2): (0, (utilizer("001"), block(1, 1), name_of(Item.TRACK))),
            key_of(TAC, 3): (0, exempt_pair("001", 2, 5)),
            key_of(TAC, 4): (0, (name_of(Item.GRANDFATHER_PAIR, imsi_code("001")), 0)),
            key_of(TAC, 5): (imsi_code("01"), (name_of(Item.EXEMPT_IMEI, imsi_code("001")),)),
        }
    )
    index = index_of(model, tmp_path)
    assert index.count == 5
    assert sorted(index.keys(u64([imsi_code("001")])).tolist()) == [
        key_of(TAC, serial) for serial in (1, 2, 3, 4)
    ]
    assert index.keys(u64([imsi_code("01")])).tolist() == [key_of(TAC, 5)]


def test_an_index_of_nothing(tmp_path):
    index = index_of(Model(), tmp_path)
    assert index.count == 0
    assert index.keys(u64([11])).tolist() == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: b"EIRIMSI\n" + data[8:],
        lambda data: b"",
        lambda data: data[:8] + b"\xff" * 8 + data[16:],
        lambda data: data[:12],
    ],
)
def test_an_index_that_is_cut_or_another_file_is_refused(tmp_path, spoil):
    path = tmp_path / "some.imsi"
    path.write_bytes(spoil(imsi_index.image(random_model(Random(1), [TAC], 40).shard_rows().keys)))
    with pytest.raises(SegmentDamagedError, match=r"some\.imsi"):
        ImsiIndex(path)


def test_a_refused_index_closes_its_file_once(tmp_path, monkeypatch):
    """A number closed twice may be another file's by then."""
    path = tmp_path / "some.imsi"
    path.write_bytes(b"")
    closed: list[int] = []
    close = os.close
    monkeypatch.setattr(imsi_index.os, "close", lambda number: (closed.append(number), close(number)))
    with pytest.raises(SegmentDamagedError) as caught:
        ImsiIndex(path)
    del caught
    gc.collect()
    assert len(closed) == 1


def test_a_missing_index_is_damage(tmp_path):
    with pytest.raises(SegmentDamagedError, match=r"gone\.imsi"):
        ImsiIndex(tmp_path / "gone.imsi")


def test_keys_of_a_generation_are_those_of_shards_and_overlays(tmp_path):
    base = random_model(Random(4), [TAC, TAC + 1], 100)
    level = Model(
        {key_of(TAC, 999): (imsi_code(IMSIS[0]), ()), key_of(TAC + 5, 1): (0, (utilizer("00101"),))}
    )
    shard = base.shard()
    shard.index = index_of(base, tmp_path)
    generation = Generation.of(1, [overlay(level, {}, set())], [shard], Common({}, base.blocks()))
    below, above = standing(base), standing(level)
    for code in (*below, *above, 12):
        assert set(keys_of(generation, u64([code])).tolist()) == below.get(code, set()) | above.get(
            code, set()
        )
    asked = sorted({*below, *above})
    found = keys_of(generation, u64(asked[::-1] + asked))
    assert found.tolist() == sorted(set().union(*below.values(), *above.values()))
    assert (shard.first_tac, shard.last_tac) == (0, LAST_TAC)


def test_raw_rows_are_found_by_their_imsis():
    rows = {"1*": (imsi_code("001"), ()), "2*": (0, exempt_pair("002", 1, 5)), "3*": (0, (block(1, 1),))}
    common = Common({Table.RAW: HashTable.build(columns(raw_rows(rows)))}, Model().blocks())
    level = overlay(Model(), {Table.RAW: raw_rows({"4*": (0, (utilizer("001"),))})}, set())
    generation = Generation.of(1, [level], [], common)
    assert sorted(raw_of(generation, u64([imsi_code("001")]))) == sorted(map(raw_key, ("1*", "4*")))
    assert raw_of(generation, u64([imsi_code("002")])).tolist() == [raw_key("2*")]
    assert raw_of(generation, u64([imsi_code("003")])).tolist() == []


@pytest.fixture
def many(tmp_path: Path, monkeypatch) -> tuple[Model, Path]:
    """A model whose index has several blocks."""
    monkeypatch.setattr(imsi_index, "ENTRIES", 16)
    model = random_model(Random(3), [TAC], 60)
    index_of(model, tmp_path)
    return model, tmp_path / "shard.imsi"


def test_every_damaged_byte_is_noticed(many) -> None:
    _, path = many
    data = path.read_bytes()
    for at in range(0, len(data), 5):
        spoilt = bytearray(data)
        spoilt[at] ^= 1
        path.write_bytes(spoilt)
        if 20 <= at < 32:
            ImsiIndex(path).verify()  # what pads the header means nothing
            continue
        with pytest.raises(SegmentDamagedError, match=r"shard\.imsi: .*(checksum|cut short)"):
            ImsiIndex(path).verify()


def test_a_damaged_block_is_never_read_and_the_index_is_made_again(many) -> None:
    model, path = many
    data = bytearray(path.read_bytes())
    right = bytes(data)
    data[32] ^= 1
    path.write_bytes(data)
    shard = model.shard()
    shard.index = ImsiIndex(path)
    generation = Generation.of(1, [], [shard], Common({}, model.blocks()))
    for code, keys in standing(model).items():
        assert set(keys_of(generation, u64([code])).tolist()) == keys
    assert path.read_bytes() == right


def test_a_shard_without_an_index_is_read_itself(many) -> None:
    model, _ = many
    generation = Generation.of(1, [], [model.shard()], Common({}, model.blocks()))
    for code, keys in standing(model).items():
        assert set(keys_of(generation, u64([code])).tolist()) == keys


def test_rows_of_an_overlay_are_compared_in_parts(monkeypatch) -> None:
    monkeypatch.setattr(imsi_index, "_SCAN_ROWS", 7)
    model = random_model(Random(5), [TAC], 60)
    generation = Generation.of(1, [overlay(model, {}, {TAC})], [], Common({}, model.blocks()))
    for code, keys in standing(model).items():
        assert set(keys_of(generation, u64([code])).tolist()) == keys
