"""The seeded populations are what DESIGN's population says, at any size."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest

from bench import population as bench_population
from bench.chunk import PopulationChunk, to_operations, to_payloads
from bench.permutation import Permutation
from bench.population import CheckClass, Population
from bench.subscribers import BLOCK, BLOCK_USED, HOME_NETWORKS, imsi_codes
from eir.identity import SERIALS, ImeiClass, imei_text, imsi_text, special_class
from eir.proto import sync_pb2
from eir.whitelist.contradict import contradictions
from eir.whitelist.jsonl import operation_from_json
from eir.whitelist.parse import rows_from_payload
from eir.whitelist.rows import ExemptCause, concat

NAMES = ("P1", "P2", "P3")
REGISTERED = 200_000


@pytest.fixture(scope="module", params=NAMES)
def population(request: pytest.FixtureRequest) -> Population:
    return Population(request.param, REGISTERED, 7)


@pytest.fixture(scope="module")
def chunks(population: Population) -> list[PopulationChunk]:
    return list(population.chunks(rows_target=30_000))


def column(chunks: list[PopulationChunk], table: str, name: str = "") -> np.ndarray:
    parts = [getattr(chunk, table) for chunk in chunks]
    return np.concatenate([getattr(part, name) if name else part for part in parts])


def equal(left: PopulationChunk, right: PopulationChunk) -> bool:
    for field in fields(PopulationChunk):
        one, other = getattr(left, field.name), getattr(right, field.name)
        many = isinstance(one, tuple)
        if not all(
            np.array_equal(a, b) for a, b in (zip(one, other, strict=True) if many else [(one, other)])
        ):
            return False
    return True


@pytest.mark.parametrize("size", [1, 2, 3, 10, 97, 1_000, 65_537])
def test_a_permutation_is_one_and_has_its_inverse(size: int) -> None:
    permutation = Permutation(size, np.random.default_rng(size))
    index = np.arange(size, dtype=np.uint32)
    place = permutation(index)
    assert np.array_equal(np.sort(place), index)
    assert np.array_equal(permutation.inverse(place), index)


def test_a_permutation_leaves_neighbours_far_apart() -> None:
    size = 1_000_000
    place = Permutation(size, np.random.default_rng(1))(np.arange(size, dtype=np.uint32)).astype(np.int64)
    assert np.abs(np.diff(place)).mean() == pytest.approx(size / 3, rel=0.01)
    assert np.median(place[: size // 4]) == pytest.approx(size / 2, rel=0.02)


def test_equal_seeds_make_equal_populations_and_others_do_not() -> None:
    one, same, other = (next(Population("P2", 20_000, seed).chunks()) for seed in (3, 3, 4))
    assert equal(one, same)
    assert not np.array_equal(one.key, other.key)
    assert not np.array_equal(np.sort(one.owner), one.owner)


def test_chunks_of_any_size_hold_the_same_rows(population: Population, chunks: list[PopulationChunk]) -> None:
    whole = list(population.chunks(rows_target=REGISTERED))
    assert len(whole) == 1 < len(chunks)
    for table in ("utilizers", "blocks", "exempt", "grandfathered", "ranges", "links"):
        for name in getattr(whole[0], table)._fields:
            assert np.array_equal(column(chunks, table, name), column(whole, table, name)), (table, name)
    assert np.array_equal(column(chunks, "owner"), whole[0].owner)


def test_chunks_cover_all_tacs_in_order(population: Population, chunks: list[PopulationChunk]) -> None:
    assert chunks[0].first_tac == 0
    assert chunks[-1].last_tac == 99_999_999
    assert all(left.last_tac + 1 == right.first_tac for left, right in pairwise(chunks))
    for chunk in chunks:
        for key in (chunk.key, chunk.ranges.first, chunk.ranges.last, chunk.blocks.key, chunk.links.key):
            tac = key // np.uint64(SERIALS)
            assert np.all((tac >= chunk.first_tac) & (tac <= chunk.last_tac))
            assert np.all(key[1:] >= key[:-1])
    key = column(chunks, "key")
    assert np.all(key[1:] > key[:-1])
    assert np.all(column(chunks, "links", "key")[1:] > column(chunks, "links", "key")[:-1])
    tacs, counts = np.unique(key // np.uint64(SERIALS), return_counts=True)
    assert np.array_equal(tacs, population.tacs)
    assert np.array_equal(counts, population.counts)


@pytest.mark.parametrize("registered", [1_000, 12_345, 100_001])
@pytest.mark.parametrize("name", NAMES)
def test_the_number_registered_is_exact(name: str, registered: int) -> None:
    assert sum(len(chunk.key) for chunk in Population(name, registered).chunks()) == registered


@pytest.mark.parametrize(("name", "tac_count"), [("P1", 4_000), ("P2", 40_000), ("P3", 40_000)])
def test_full_size_has_the_tacs_it_is_named_for(name: str, tac_count: int) -> None:
    for registered in (100_000_000, 300_000_000):
        population = Population(name, registered)
        assert len(population.tacs) == tac_count
        assert int(population.counts.sum()) == registered
        # heavy-tailed: a tenth of the TACs has most of the slots
        top = np.sort(population.counts)[-tac_count // 10 :].sum()
        assert top > registered * 0.5


def test_a_size_that_its_tacs_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="slots"):
        Population("P1", 10)


def test_lots_are_runs_of_serials(population: Population, chunks: list[PopulationChunk]) -> None:
    key = column(chunks, "key")
    runs = len(key) - int(np.count_nonzero(np.diff(key) == 1))
    # a P1 TAC of this size has few lots; P3's serials stand alone but for neighbouring slots
    low, high = {"P1": (40, 140), "P2": (600, 1_800), "P3": (120_000, 170_000)}[population.name]
    assert low <= runs <= high


def test_proportions(population: Population, chunks: list[PopulationChunk]) -> None:
    owners = column(chunks, "owner")
    pairs = int(np.count_nonzero(owners))
    assert pairs == REGISTERED * 2 // 3
    assert len(np.unique(column(chunks, "utilizers", "key"))) == pytest.approx(pairs * 0.02, rel=0.01)
    assert len(column(chunks, "blocks", "key")) == pytest.approx(REGISTERED * 0.001, abs=1)
    assert len(column(chunks, "exempt", "key")) == pytest.approx(REGISTERED * 0.01, abs=1)
    assert len(column(chunks, "grandfathered", "key")) == pytest.approx(REGISTERED * 0.03, abs=1)
    assert len(column(chunks, "ranges", "first")) == REGISTERED // 30
    assert np.count_nonzero(column(chunks, "ranges", "cause")) == pytest.approx(REGISTERED / 600, rel=0.2)
    for table in ("exempt", "grandfathered"):
        pair_share = np.count_nonzero(column(chunks, table, "imsi")) / len(column(chunks, table, "imsi"))
        assert pair_share == pytest.approx(0.5, abs=0.05)
    assert column(chunks, "exempt", "until").min() > bench_population.EPOCH
    assert set(column(chunks, "exempt", "cause").tolist()) == set(ExemptCause)
    assert set(column(chunks, "blocks", "cause").tolist()) == {1, 2, 3, 4}
    assert max(Counter(column(chunks, "utilizers", "key").tolist()).values()) == 9
    # owners are spread over the slots: every eighth of them has its share
    shares = [np.count_nonzero(part) / len(part) for part in np.array_split(owners, 8)]
    assert max(shares) - min(shares) < 0.03


def test_extras_belong_to_registered_slots(chunks: list[PopulationChunk]) -> None:
    key = column(chunks, "key")
    for table in ("utilizers", "blocks", "exempt", "grandfathered"):
        assert np.isin(column(chunks, table, "key"), key).all()
    owned = key[np.flatnonzero(column(chunks, "owner"))]
    assert np.isin(column(chunks, "utilizers", "key"), owned).all()


def test_links_are_symmetric_one_to_one_and_of_three_kinds(chunks: list[PopulationChunk]) -> None:
    key, other = column(chunks, "links", "key"), column(chunks, "links", "other")
    assert np.all(key != other)
    assert len(np.unique(key)) == len(np.unique(other)) == len(key)
    forward = dict(zip(key.tolist(), other.tolist(), strict=True))
    assert all(forward[there] == here for here, there in forward.items())
    assert np.isin(key, column(chunks, "key")).all()
    # 60 % of the devices have two slots: d devices have 1.6 d slots, 1.2 d of them linked
    assert len(key) / REGISTERED == pytest.approx(0.75, abs=0.03)
    distance = np.abs(key.astype(np.int64) - other.astype(np.int64))
    near, twin = np.mean(distance == 1), np.mean(distance == SERIALS)
    assert near == pytest.approx(0.60, abs=0.04)
    assert twin == pytest.approx(0.35, abs=0.04)
    assert 1 - near - twin == pytest.approx(0.05, abs=0.005)


def test_ranges_of_a_kind_are_disjoint_and_apart_and_hold_no_slot(chunks: list[PopulationChunk]) -> None:
    first, last = column(chunks, "ranges", "first"), column(chunks, "ranges", "last")
    assert np.all(first < last)
    assert np.all(first // np.uint64(SERIALS) == last // np.uint64(SERIALS))
    assert np.all(last[:-1] + np.uint64(1) < first[1:])
    key = column(chunks, "key")
    assert np.array_equal(np.searchsorted(key, first), np.searchsorted(key, last, side="right"))


def test_no_key_is_special(population: Population, chunks: list[PopulationChunk]) -> None:
    for tac in population.tacs.tolist():
        assert special_class(tac * SERIALS + 123_456) == ImeiClass.KEY
    assert not np.any(column(chunks, "key") % np.uint64(11_111_111_111_111) == 0)


def test_each_subscriber_has_one_pair_of_a_home_network_mostly(chunks: list[PopulationChunk]) -> None:
    owner = column(chunks, "owner")
    codes = np.concatenate((owner[owner != 0], column(chunks, "utilizers", "imsi")))
    assert len(np.unique(codes)) == len(codes)
    texts = [imsi_text(code) for code in codes.tolist()]
    home = Counter(text[:5] for text in texts if len(text) == 15 and text.startswith(HOME_NETWORKS))
    assert set(home) == set(HOME_NETWORKS)
    assert 1 - sum(home.values()) / len(texts) == pytest.approx(0.001, abs=0.0005)
    odd = [text for text in texts if not (len(text) == 15 and text.startswith(HOME_NETWORKS))]
    assert {len(text) for text in odd} == {5, 9, 15}
    assert any(text.startswith("0") for text in odd)


def test_imsis_of_a_million_subscribers_differ_and_fill_their_blocks() -> None:
    codes = imsi_codes(np.arange(1_000_000, dtype=np.uint32))
    codes.sort()
    assert np.all(codes[1:] > codes[:-1])
    _, counts = np.unique(codes >> np.uint64(16), return_counts=True)
    dense = counts[counts > 400]  # but for the few foreign and short ones
    assert len(dense) == -(-1_000_000 // BLOCK_USED)
    assert np.median(dense) / BLOCK == pytest.approx(0.8, abs=0.01)


def test_any_key_can_be_asked_about(population: Population, chunks: list[PopulationChunk]) -> None:
    key = column(chunks, "key")
    assert np.array_equal(population.owners(key), column(chunks, "owner"))
    assert population.is_registered(key).all()
    gaps = np.setdiff1d(np.concatenate((key + np.uint64(1), key - np.uint64(1))), key)
    assert not population.is_registered(gaps).any()
    assert not population.is_registered(np.array([0, 99_999_999_999_999], np.uint64)).any()


def test_sampled_checks_are_what_they_say(population: Population, chunks: list[PopulationChunk]) -> None:
    sample = population.sample_checks(20_000, 5)
    again, other = population.sample_checks(20_000, 5), population.sample_checks(20_000, 6)
    assert np.array_equal(sample.imei, again.imei)
    assert not np.array_equal(sample.imei, other.imei)
    counts = Counter(sample.expected.tolist())
    assert counts == {0: 14_600, 1: 2_600, 2: 1_000, 3: 1_000, 4: 800}
    owner = dict(zip(column(chunks, "key").tolist(), column(chunks, "owner").tolist(), strict=True))
    utilizers = set(
        zip(
            column(chunks, "utilizers", "key").tolist(),
            column(chunks, "utilizers", "imsi").tolist(),
            strict=True,
        )
    )
    extras = {
        key
        for table in ("blocks", "exempt", "grandfathered", "utilizers")
        for key in column(chunks, table, "key").tolist()
    }
    first, last = column(chunks, "ranges", "first"), column(chunks, "ranges", "last")
    for key, imsi, expected in zip(*(values.tolist() for values in sample), strict=True):
        more = key in extras
        assert more == (expected == CheckClass.WITH_MORE)
        assert (key in owner) == (expected != CheckClass.UNREGISTERED)
        if expected == CheckClass.MATCH:
            assert owner[key] == imsi
        elif expected == CheckClass.WRONG_IMSI:
            assert owner[key] not in (0, imsi)
        elif expected == CheckClass.REGISTERED_ONLY:
            assert owner[key] == 0
        elif expected == CheckClass.UNREGISTERED:
            assert not np.any((first <= key) & (last >= key))
        assert imsi > 0
    asked = set(zip(sample.imei.tolist(), sample.imsi.tolist(), strict=True))
    assert len(asked & utilizers) > 300


def test_payloads_carry_every_row_once_within_the_limits(chunks: list[PopulationChunk]) -> None:
    rows: Counter[str] = Counter()
    links = []
    for chunk in chunks:
        for payload in to_payloads(chunk):
            assert len(payload) <= 4 << 20
            message = sync_pb2.DeltaRows.FromString(payload)
            assert sum(columns.row_count for columns in message.columns) <= 262_144
            for columns in message.columns:
                name = sync_pb2.OperationKind.Name(columns.kind).removeprefix("OPERATION_KIND_")
                name += "_RANGE" if columns.imei_last else ""
                name += f"_{columns.role}" if columns.role else ""
                rows[name] += columns.row_count
                assert len(columns.imei) == 8 * columns.row_count
                if name == "LINK":
                    imei = np.frombuffer(columns.imei, "<u8")
                    links += list(
                        zip(imei.tolist(), np.frombuffer(columns.imei_other, "<u8").tolist(), strict=True)
                    )
    ranges = column(chunks, "ranges", "cause")
    assert rows == {
        "REGISTER": REGISTERED,
        "PAIR_1": REGISTERED * 2 // 3,
        "PAIR_2": len(column(chunks, "utilizers", "key")),
        "BLOCK": len(column(chunks, "blocks", "key")),
        "EXEMPT": len(column(chunks, "exempt", "key")),
        "GRANDFATHER": len(column(chunks, "grandfathered", "key")),
        "LINK": len(column(chunks, "links", "key")) // 2,
        "REGISTER_RANGE": int(np.count_nonzero(ranges == 0)),
        "BLOCK_RANGE": int(np.count_nonzero(ranges)),
    }
    assert len({frozenset(link) for link in links}) == len(links)


def test_the_parser_takes_every_payload(population: Population, chunks: list[PopulationChunk]) -> None:
    parsed = []
    for chunk in chunks:
        for payload in to_payloads(chunk):
            rows, bad = rows_from_payload(payload, 0, "bench")
            assert bad == []
            parsed.append(rows)
    index, bad = contradictions(concat(parsed))
    assert (len(index), bad) == (0, [])


def test_a_big_chunk_is_split_at_the_limits() -> None:
    payloads = list(to_payloads(next(Population("P1", 700_000).chunks())))
    assert max(map(len, payloads)) <= 4 << 20
    counts = [
        sum(c.row_count for c in sync_pb2.DeltaRows.FromString(payload).columns) for payload in payloads
    ]
    assert max(counts) <= 262_144
    assert max(counts) > 250_000


def test_the_command_writes_operations_as_json_lines(tmp_path, chunks: list[PopulationChunk]) -> None:
    out = tmp_path / "delta.jsonl"
    assert bench_population.main(["--name", "P1", "--registered", "2000", "--out", str(out)]) == 0
    lines = out.read_text().splitlines()
    operations = [json.loads(line) for line in lines]
    chunk = next(Population("P1", 2_000).chunks())
    assert operations == list(to_operations(chunk))
    kinds = Counter(operation["kind"] for operation in operations)
    assert kinds["REGISTER"] == 2_000 + np.count_nonzero(chunk.ranges.cause == 0)
    first = operations[0]
    assert first == {"kind": "REGISTER", "imei": imei_text(int(chunk.key[0]))}
    pair = next(operation for operation in operations if operation["kind"] == "PAIR")
    assert pair["role"] == "OWNER"
    for number, line in enumerate(lines):
        operation_from_json(line, number)
    assert pair["imsi"] == imsi_text(int(chunk.owner[chunk.owner != 0][0]))


def test_memory_is_that_of_a_chunk() -> None:
    population = Population("P3", 3_000_000)
    tracemalloc.start()
    try:
        rows = sum(len(chunk.key) for chunk in population.chunks(rows_target=100_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows == 3_000_000
    # 3 million keys alone are 24 MB; the largest TAC has 150,000 slots
    assert peak < 60_000_000
