"""The native engine beside the portable one: any tables, policy, clock and question, one verdict."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from pathlib import Path
from random import Random

import delta_strategies as universe
import native_engine
import numpy as np
import pytest
import store_model
from hypothesis import given, settings
from hypothesis import strategies as st
from native_engine import MALFORMED_IMEIS, MALFORMED_IMSIS, PLMNS, questions
from policy_strategies import policies
from segment_samples import (
    IMSIS,
    Model,
    block,
    columns,
    exempt,
    key_of,
    overlay,
    random_model,
    random_words,
    raw_rows,
)
from test_store_model import FAST, LENIENT

from eir import native, verdict
from eir.check import Checker
from eir.errors import PolicyError
from eir.identity import SERIALS, imei_text, imsi_code, imsi_text, parse_imei, parse_imsi
from eir.native import NativeChecker
from eir.notify.case_table import CaseTable, pack_value
from eir.policy import Policy, compile_policy, default_policy_text
from eir.verdict import Reason, Status
from eir.whitelist.hashtable import HashTable
from eir.whitelist.items import CODE_MASK, REGISTERED, Item
from eir.whitelist.overlay import Overlay, Table
from eir.whitelist.rebuild import Job, run
from eir.whitelist.segment import parse
from eir.whitelist.shard import Shard
from eir.whitelist.store import Store
from eir.whitelist.tables import Common, Generation

TACS = [0, 35_000_001, 35_365_308, 36_000_000, 86_123_456, 99_999_999]
TEXTS = ["12*#A", "0F", "*#06#", "12345678901234AB", "ABCDEF", "35365308", "ABCDEF0123456789"]
DEVICE_TYPES = ["", "phone", "Meter", "alarm"]
MOMENTS = [0, 1, 1_399_999_999, 1_500_000_000, 1_742_515_200, 1_799_999_999, 1_800_000_000, 1_899_999_999]
MOMENTS += [1_900_000_000, 2**32]
POLICY = compile_policy(default_policy_text().replace("device_types = []", 'device_types = ["meter"]'))


@pytest.fixture(autouse=True, scope="module")
def engine() -> None:
    native_engine.needed()


@pytest.fixture(autouse=True)
def rebuild_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "eir.whitelist.segments._run_child", lambda job: run(Job(**json.loads(job.read_text())))
    )


class Standing:
    """A store that stands still."""

    device_types = DEVICE_TYPES

    def __init__(self, generation: Generation) -> None:
        self.generation = generation


class Both:
    """Both engines over one store, with one clock."""

    def __init__(self, store: Standing | Store, policy: Policy = POLICY) -> None:
        self.now = 0
        self.portable = Checker(store, policy, lambda: self.now)
        self.native = NativeChecker(store, policy, lambda: self.now)

    def set(self, *, policy: Policy | None = None, override: bool = False, stale: bool = False) -> None:
        for checker in (self.portable, self.native):
            checker.override, checker.stale = override, stale
            if policy is not None:
                checker.policy = policy

    def use_cases(self, cases: CaseTable | None) -> None:
        self.portable.cases = cases
        self.native.publish_cases(cases)

    def agree(self, asked: list[tuple[str, str, str, bool]], now: int) -> None:
        self.now = now
        for question in asked:
            answer = self.portable.check(*question)
            assert self.native.check(*question) == answer, (question, now)
            emergency = question[3]
            assert not emergency or answer.status == Status.WHITELISTED, (question, now)
        imeis, imsis, plmn = [a for a, *_ in asked], [b for _, b, *_ in asked], asked[0][2]
        assert self.native.check_batch(imeis, imsis, plmn) == self.portable.check_batch(imeis, imsis, plmn)
        keys = np.array([parse_imei(imei).key for imei in imeis], np.uint64)
        codes = np.array([parse_imsi(imsi).code for imsi in imsis], np.uint64)
        native, portable = (one.judge_pairs(keys, codes, now) for one in (self.native, self.portable))
        for ours, plain in zip(native, portable, strict=True):
            assert ours.tolist() == plain.tolist(), now


def common_tables(random: Random) -> dict[Table, dict[int, tuple[int, tuple[int, ...]]]]:
    raw = {
        text: (random.choice((0, REGISTERED)), random_words(random, IMSIS))
        for text in random.sample(TEXTS, 4)
    }
    ends = (1, 1_800_000_000, (1 << 40) - 1)
    return {
        Table.RAW: raw_rows(raw),
        Table.IMSI: {
            imsi_code(imsi): (0, (exempt(Item.EXEMPT_IMSI, 4, random.choice(ends)),))
            for imsi in random.sample(IMSIS, 4)
        },
        Table.TACS: {tac: (random.randrange(4), ()) for tac in random.sample(TACS, 3)},
    }


def some_model(random: Random, tacs: list[int], rows: int) -> Model:
    model = random_model(random, tacs, rows)
    for key in random.sample(sorted(model.rows), len(model.rows) // 8):  # more than a hundredth of items
        model.rows[key] = model.rows[key][0], random_words(random, IMSIS)
    return model


def some_generation(random: Random) -> tuple[Generation, list[Model]]:
    """Shards over three ranges of TACs, or none, common tables, and up to three overlays."""
    edges = [(0, 35_000_000), (35_000_001, 35_999_999), (36_000_000, 99_999_999)]
    parts = [(edge, [tac for tac in TACS if edge[0] <= tac <= edge[1]]) for edge in edges]
    models = [some_model(random, tacs, random.choice((5, 60, 500))) for _, tacs in parts]
    blocks = models[0].blocks()
    for model in models[1:]:
        blocks = blocks.grown(model.shard_rows().keys.head & ((1 << 52) - 1))
    shards = [
        Shard(parse(memoryview(model.image(blocks, *edge)), "sample"), blocks)
        for model, (edge, _) in zip(models, parts, strict=True)
    ]
    image = Common.image(
        {t: HashTable.build(columns(c)) for t, c in common_tables(random).items()}, blocks, 5
    )
    common = Common.of(parse(memoryview(image), "common"))
    if random.random() < 0.1:
        shards, common = [], Common.empty()
    levels: list[Overlay] = []
    for _ in range(random.randrange(4)):
        above = some_model(random, random.sample(TACS, 2), 20)
        for key in random.sample(sorted(models[1].rows), min(5, len(models[1].rows))):
            above.rows[key] = random.choice(((0, ()), (REGISTERED, ()), (0, random_words(random, IMSIS))))
        for key in random.sample(sorted(models[1].links), min(3, len(models[1].links))):
            above.links[key] = set()
        levels.append(overlay(above, common_tables(random), {tac for tac, *_ in above.ranges}))
        models.append(above)
    return Generation.of(7, levels, shards, common), models


def asked_of(random: Random, models: list[Model], count: int) -> list[tuple[str, str, str, bool]]:
    keys = sorted({key for model in models for key in (*model.rows, *model.links)})
    keys += [key_of(tac, serial) for model in models for tac, *ends in model.ranges for serial in ends[:2]]
    keys += [key + step for key in random.sample(keys, min(20, len(keys))) for step in (-1, 1)]
    keys = [key for key in keys if 0 <= key < 10**14] + [key_of(12_345_678, 1)]
    heads = sorted({head & ((1 << 52) - 1) for model in models for head, _ in model.rows.values()} - {0})
    codes = [*map(imsi_code, IMSIS), *random.sample(heads, min(12, len(heads)))]
    asked = questions(random, keys, codes, count)
    for key in random.choices(keys, k=count // 2):  # SIMs that no phone knows
        asked.append((imei_text(key), f"43211{random.randrange(10**10):010}", "", False))
    for model in models:  # owners with their own phones
        for key in random.sample(sorted(model.rows), min(20, len(model.rows))):
            if owner := model.rows[key][0] & ((1 << 52) - 1):
                asked.append((imei_text(key), imsi_text(owner), "", False))
    return asked


def some_cases(random: Random, both: Both, asked: list[tuple[str, str, str, bool]], into: CaseTable) -> int:
    """Put cases of what is unpaired now into a table, most of them of the cause that a check finds.

    Cases that were there come and go. Returns how many were put.
    """
    put = 0
    for question in random.sample(asked, len(asked) // 2):
        if (pair := both.portable.check(*question).unpaired) is None:
            continue
        if random.random() < 0.2:
            into.remove(*pair)
            continue
        cause = both.portable.check(*question).reason if random.random() < 0.8 else random.randrange(256)
        deadline = random.choice((0, both.now, both.now + 1, random.randrange(1 << 33), (1 << 40) - 1))
        value = pack_value(random.choice((1, 2, 3, 4, 5, 5, 5, 6, 255)), cause, deadline)
        into.set(*pair, value, put)
        put += 1
    return put


@settings(max_examples=40)
@given(st.integers(0, 2**32), policies())
def test_any_tables_and_policies(seed: int, text: str) -> None:
    random = Random(seed)
    try:
        policy = compile_policy(
            text.replace('name = "drawn"', 'name = "drawn"\nexempt = {device_types = ["meter"]}', 1)
        )
    except PolicyError:
        policy = POLICY
    generation, models = some_generation(random)
    both = Both(Standing(generation), policy)
    dates = [start + step for start in policy.starts[1:] for step in (-1, 0)]
    for now in random.sample(MOMENTS + dates, 3):
        both.set(override=random.random() < 0.1, stale=random.random() < 0.3)
        asked = asked_of(random, models, 100)
        both.agree(asked, now)
        cases = CaseTable()
        both.use_cases(cases)
        for _ in range(2):  # the second time in place: nothing is published anew
            some_cases(random, both, asked, cases)
            both.agree(asked, now)
        both.use_cases(None)


def linked_models(random: Random) -> tuple[list[Model], Model]:
    """Two shards whose devices are neighbours, twins and slots elsewhere, and an overlay that changes some.

    One slot in seven is blocked, for any cause.
    """
    near, twin, far = 35_000_001, 35_000_002, 86_000_001
    low, high, above = Model(), Model(), Model()

    def words(blocked: float) -> tuple[int, ...]:
        return (block(random.randint(1, 4), random.randint(1, 9)),) if random.random() < blocked else ()

    for serial in random.sample(range(1_000, 3_000), 900):
        for tac, model in ((near, low), (twin, low), (far, high)):
            owner = imsi_code(f"43211{key_of(tac, serial) % 10**10:010}") if random.random() < 0.7 else 0
            model.rows[key_of(tac, serial)] = REGISTERED | owner, words(0.15)
    single = sorted(key % SERIALS for key in low.rows if key // SERIALS == near)
    for serial in single:
        if serial >= 2_500:  # elsewhere: an end in each shard
            low.links[key_of(near, serial)] = {key_of(far, serial)}
            high.links[key_of(far, serial)] = {key_of(near, serial)}
        elif serial >= 2_000:
            low.link(key_of(near, serial), key_of(twin, serial))
        else:
            low.link(key_of(near, serial & ~1), key_of(near, serial | 1))
    for key in random.sample(sorted(low.rows) + sorted(high.rows), 400):
        above.rows[key] = (low.rows.get(key) or high.rows[key])[0], words(0.2)
    for serial in random.sample(single, 60):
        slots = {key_of(tac, serial) for tac in random.sample((near, twin, far), 2)}
        slots.add(key_of(far, random.choice(single)))
        if above.links.keys().isdisjoint(slots):
            for other in {other for slot in slots for other in (low.links | high.links).get(slot, ())}:
                above.links.setdefault(other, set())  # what they were linked to stands alone
            above.link(*slots)
    return [low, high], above


@pytest.mark.parametrize("seed", range(4))
def test_blocks_of_other_slots_are_found_wherever_they_and_the_links_are(seed: int) -> None:
    random = Random(seed)
    models, above = linked_models(random)
    blocks = models[0].blocks().grown(models[1].shard_rows().keys.head & ((1 << 52) - 1))
    edges = [(0, 49_999_999), (50_000_000, 99_999_999)]
    shards = [
        Shard(parse(memoryview(model.image(blocks, *edge)), "sample"), blocks)
        for model, edge in zip(models, edges, strict=True)
    ]
    common = Common.of(parse(memoryview(Common.image({}, blocks, 5)), "common"))
    levels = [overlay(above, {}, set())]
    store = Standing(Generation.of(7, [], shards, common))
    both = Both(store)
    rows = models[0].rows | models[1].rows
    asked = [
        (imei_text(key), imsi_text(head & CODE_MASK or 1_432_110_000_000_001), "", False)
        for key, (head, _) in rows.items()
    ]
    imeis, imsis = [imei for imei, *_ in asked], [imsi for _, imsi, *_ in asked]
    for now in ([], levels, [Overlay.empty(), *levels], []):
        store.generation = Generation.of(7, now, shards, common)
        both.native.publish()
        both.agree(asked, 1_800_000_000)
        reasons = [verdict.reason for verdict in both.native.check_batch(imeis, imsis, "")]
        assert reasons.count(Reason.BLOCKED_LINKED) > 50
    shards.reverse()  # one is replaced by another of the same rows
    store.generation = Generation.of(8, levels, [Shard(shards[0].segment, blocks), shards[1]], common)
    both.native.publish()
    both.agree(asked, 1_800_000_000)


def test_cases_deny_and_give_deadlines() -> None:
    """The property above would hold of engines that find no case; these find many."""
    random = Random(5)
    generation, models = some_generation(random)
    both, cases = Both(Standing(generation)), CaseTable()
    both.use_cases(cases)
    both.now = 1_800_000_000
    asked = asked_of(random, models, 1000)
    assert some_cases(random, both, asked, cases) > 50
    both.agree(asked, both.now)
    found = [verdict for verdict in (both.native.check(*question) for question in asked) if verdict.unpaired]
    assert sum(verdict.deadline != 0 for verdict in found) > 30
    assert sum(verdict.status == Status.BLACKLISTED for verdict in found) > 10
    assert any(verdict.deadline == 0 for verdict in found)


def test_a_run_at_the_end_of_a_table_and_a_table_made_longer_are_found() -> None:
    generation, _ = some_generation(Random(1))
    both, cases = Both(Standing(generation)), CaseTable()
    both.now = 1_800_000_000
    last = next(key for key in range(99_000_000_000_000, 10**14) if cases._home(key) == (1 << cases.bits) - 1)
    imsis = [f"43211{number:010}" for number in range(7_000_000, 7_000_090)]
    for number, imsi in enumerate(imsis):
        cases.set(last, imsi_code(imsi), pack_value(1, Reason.NOT_REGISTERED, 9 + number), number)
    both.use_cases(cases)
    asked = [(imei_text(last), imsi, "", False) for imsi in imsis]
    both.agree(asked, both.now)
    assert [both.native.check(*question).deadline for question in asked] == [9 + n for n in range(90)]


def test_slots_that_are_no_table_are_refused() -> None:
    core = native.load()
    for slots, bits in ((1023, 10), (1024, 0), (1024, 41), (0, 10)):
        with pytest.raises(ValueError, match="home places"):
            core.CaseTable(np.zeros(slots * 16, np.uint8), bits)
    with pytest.raises(ValueError, match="whole, aligned words"):
        core.CaseTable(np.zeros(1024 * 16 + 9, np.uint8)[1:], 10)


def test_the_whole_malformed_matrix() -> None:
    random = Random(1)
    generation, _ = some_generation(random)
    both = Both(Standing(generation))
    asked = [
        (imei, imsi, plmn, emergency)
        for imei in MALFORMED_IMEIS
        for imsi in MALFORMED_IMSIS
        for plmn, emergency in ((random.choice(PLMNS), False), ("", False), ("", True))
    ]
    both.agree(asked, 1_800_000_000)


steps = st.lists(st.one_of(universe.mixed, universe.deltas, st.just("rebuild")), max_size=6)


@settings(max_examples=30)
@given(steps, st.integers(0, 2**32))
def test_a_store_that_changes(given_steps: list[list[object] | str], seed: int) -> None:
    random, folder = Random(seed), Path(tempfile.mkdtemp(dir=FAST))
    keys = [*universe.KEYS, *(universe.TAC * 10**6 + serial for serial in range(13))]
    try:
        store = Store.open(folder, clock=lambda: 1_800_000_000, limits=LENIENT)
        both = Both(store)
        store.on_generation = both.native.publish
        for step in given_steps:
            if isinstance(step, str):
                store.rebuild()
            else:
                store_model.push(store, step)
            asked = questions(random, keys, universe.IMSIS, 60)
            both.agree(asked, random.choice((1_699_999_999, 1_700_000_000, (1 << 32) - 1)))
        store.close()
    finally:
        shutil.rmtree(folder)


def test_the_fields_are_those_of_the_policy() -> None:
    core = native.load()
    assert tuple(core.GATE_FIELDS) == verdict.GATE_FIELDS
    assert tuple(core.STANDING_FIELDS) == verdict.STANDING_FIELDS


def test_what_was_published_is_freed_when_no_reader_holds_it() -> None:
    generation, _ = some_generation(Random(3))
    checker = NativeChecker(Standing(generation), POLICY, lambda: 0)
    for _ in range(3):
        checker.publish()
    assert checker.free_retired() == 0


def test_status_maps_are_those_of_the_policy() -> None:
    policy = compile_policy(default_policy_text() + '\n[status_map.strict]\ngreylisted = "whitelisted"\n')
    compiled = native.load().Policy(
        1, [], policy.stretches, [(c, bytes(m)) for c, m in policy.status_maps.items()]
    )
    for client in ("strict", "other", "", "*"):
        assert tuple(compiled.status_map(client)) == policy.status_map(client)


def test_slots_of_a_table_are_freed_when_another_takes_its_place() -> None:
    generation, _ = some_generation(Random(3))
    both = Both(Standing(generation))
    before = CaseTable()
    slots = weakref.ref(before.slots)
    both.use_cases(before)
    del before
    assert slots() is not None
    both.use_cases(CaseTable())
    both.native.free_retired()
    assert slots() is None
