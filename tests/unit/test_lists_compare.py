"""Lists against tables, held against plain sets: whatever was there, the tables say what the list says."""

from random import Random

import numpy as np
import pytest

from eir.identity import imei_text
from eir.lists import clash, compare, present, uids
from eir.lists.change import Batch, Change
from eir.lists.compare import Shelved, scope_of
from eir.lists.formats import FORMATS, read_header
from eir.lists.pairs import pairs
from eir.lists.parse import parsed
from eir.lists.report import Reason, Remarkable
from eir.lists.target import StoreTarget
from eir.whitelist.delta import Header
from eir.whitelist.rows import BlockCause, Op
from eir.whitelist.store import Limits, Store

KEYS = [35_693_803_000_000 + serial for serial in range(12)] + [86_000_000_000_000, 99_000_000_000_007]
RAW = ["DEABFCDE2ABFEC", "*#06#", "8"]
IMEIS = [imei_text(key) for key in KEYS[:12]] + RAW
SIMS = [f"43211000000000{digit}" for digit in range(6)]


@pytest.fixture
def store(tmp_path):
    opened = Store.open(tmp_path, clock=lambda: 1_767_225_600, limits=Limits(small_overlay_rows_max=6))
    yield opened
    opened.close()


class Tables:
    """A store that lists are compared with and applied to."""

    def __init__(self, store: Store) -> None:
        self.store, self.target = store, StoreTarget(store, lambda done, total: None)

    def settled(self, header, rows):
        data = "".join(",".join(row) + "\n" for row in rows).encode()
        listed, report = parsed(read_header(header.split(",")), [data] if data else [])
        settled = clash.settle(listed, report)
        return settled, report

    def apply(self, change):
        position = self.target.view().position("list")
        self.target.push(
            Header("list", position + 1, position, change.row_count, override_guards=True), change
        )

    def imeis(self, header, rows, shelved=None, authority="police"):
        settled, report = self.settled(header, rows)
        scope = scope_of(settled.format.name, authority, self.target.view().authority(authority))
        shelved = shelved or Shelved.empty()
        change, now = compare.imeis(self.store.generation, settled, scope, shelved, report)
        return change, now, report

    def there(self, name, authority="police"):
        """IMEIs in the scope of a list."""
        scope = scope_of(name, authority, self.target.view().authority(authority))
        generation = self.store.generation
        found = {imei_text(int(key)) for span in present.spans(generation) for key in scope.keys(span.rows)}
        return found | {text for text, row in present.raw_entries(generation).items() if len(scope.keys(row))}

    def pairs(self):
        """SIMs by IMEI, the owner first, the others as a set."""
        generation = self.store.generation
        rows = {imei_text(int(key)): span.rows for span in present.spans(generation) for key in span.rows.key}
        rows = {imei: generation.read_keys(np.array([int(imei)], np.uint64)) for imei in rows}
        rows |= present.raw_entries(generation)
        out = {}
        for imei, row in rows.items():
            have = present.paired(row)
            if len(have.keys):
                sims = [str(have.owner[0])[1:], *sorted(str(code)[1:] for code in have.utilizers.words)]
                out[imei] = sims
        return out


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ["registration", "stolen", "barred"])
def test_full_and_delta_lists_of_imeis_make_the_tables_say_so(store, name, seed) -> None:
    random, tables, model, shelf = Random(seed), Tables(store), {}, Shelved.empty()
    kind = FORMATS[name]
    columns = [column.name for column in kind.columns]

    def row(imei, force, change=""):
        values = {kind.keys[0]: imei, "status": "" if force else "pending", "device_id": "D1"}
        return [values.get(column, "") for column in columns] + [change] * bool(change)

    for step in range(16):
        chosen = random.sample(IMEIS, random.randrange(len(IMEIS)))
        force = {imei: not kind.in_force or random.random() < 0.7 for imei in chosen}
        if random.random() < 0.5:
            change, shelf, report = tables.imeis(
                ",".join(columns), [row(imei, force[imei]) for imei in chosen], shelf
            )
            assert (change.before, change.after) == (len(model), len(chosen))
            stays = model.keys() & force.keys()
            assert (change.added, change.removed) == (len(force) - len(stays), len(model) - len(stays))
            assert change.changed == sum(model[imei] != force[imei] for imei in stays)
            model = dict(force)
        else:
            rows = []
            for imei in chosen:
                if imei not in model:
                    what = "add"
                else:
                    what = random.choice(["remove", "update"] if kind.updates else ["remove"])
                rows.append(row(imei, force[imei], what))
                if what == "remove":
                    del model[imei]
                else:
                    model[imei] = force[imei]
            change, shelf, report = tables.imeis(",".join([*columns, "change_type"]), rows, shelf)
            assert change.after == len(model)
        assert not report.fault_count
        tables.apply(change)
        assert tables.there(name) == {imei for imei, force in model.items() if force}
        assert len(shelf) == len([imei for imei, force in model.items() if not force])
        assert tables.there("barred" if name != "barred" else "stolen") == set(), "others are left alone"
        if step == 8:
            store.rebuild()


def test_a_delta_that_cannot_be_names_every_row(store) -> None:
    tables = Tables(store)
    tables.apply(tables.imeis("imei", [[IMEIS[0]], ["8"]])[0])
    rows = [[IMEIS[0], "add"], [IMEIS[1], "remove"], ["8", "add"], ["*#06#", "remove"], [IMEIS[2], "add"]]
    _, _, report = tables.imeis("imei,change_type", rows)
    assert sorted((fault.line, fault.reason) for fault in report.faults) == sorted(
        [(2, Reason.ALREADY_THERE), (3, Reason.NOT_THERE), (4, Reason.ALREADY_THERE), (5, Reason.NOT_THERE)],
        key=lambda pair: pair[0],
    )


def test_authorities_do_not_touch_each_other(store) -> None:
    tables = Tables(store)
    tables.apply(tables.imeis("imei", [[IMEIS[0]], [IMEIS[1]]], authority="police")[0])
    tables.apply(tables.imeis("imei", [[IMEIS[1]], [IMEIS[2]]], authority="court")[0])
    tables.apply(tables.imeis("imei", [], authority="police")[0])
    assert tables.there("barred", "court") == {IMEIS[1], IMEIS[2]}
    assert tables.there("barred", "police") == set()


def test_ranges_are_left_alone(store) -> None:
    tables = Tables(store)
    change = Change()
    first = np.array([KEYS[0]], np.uint64)
    change.add(Batch(Op.REGISTER, first, first + np.uint64(5)))
    tables.apply(change)
    head = ",".join(column.name for column in FORMATS["registration"].columns)
    tables.apply(tables.imeis(head, [[IMEIS[8], *[""] * 7, "D1"]])[0])
    assert tables.there("registration") == {IMEIS[8]}
    tables.apply(tables.imeis(head, [])[0])
    assert store.counts["registered_ranges"] == 1


def test_an_imei_that_is_barred_no_more_stays_in_its_barred_tac(store) -> None:
    tables = Tables(store)

    def bar(tacs):
        settled, report = tables.settled("tac", [[tac] for tac in tacs])
        number = tables.target.view().authority("police")
        tables.apply(
            compare.tacs(store.generation, settled, scope_of("barred-tac", "police", number), report)
        )
        number = tables.target.view().authority("police")
        return present.whole_tacs(store.generation, BlockCause.BARRED, number).tolist()

    tac = IMEIS[0][:8]
    assert bar([tac]) == [int(tac)]
    tables.apply(tables.imeis("imei", [[IMEIS[0]], [IMEIS[1]], [IMEIS[2]]])[0])
    tables.apply(tables.imeis("imei", [[IMEIS[1]]])[0])
    tables.apply(tables.imeis("imei,change_type", [[IMEIS[1], "remove"]])[0])
    assert tables.there("barred") == set()
    assert store.counts["blocked_ranges"] == 1
    assert bar([tac]) == [int(tac)]
    assert bar([]) == []


@pytest.mark.parametrize("seed", range(2))
def test_full_and_delta_lists_of_pairs_make_the_tables_say_so(store, seed) -> None:
    random, tables = Random(seed), Tables(store)
    for step in range(16):
        before = tables.pairs()
        if random.random() < 0.5:
            chosen = {
                imei: random.sample(SIMS, random.randrange(1, 4)) for imei in IMEIS if random.random() < 0.6
            }
            rows = [[imei, sim] for imei, sims in chosen.items() for sim in sims]
            random.shuffle(rows)
            settled, report = tables.settled("imei,imsi", rows)
            wanted = {imei: {sim for one, sim in rows if one == imei} for imei in chosen}
            first = {imei: next(sim for one, sim in rows if one == imei) for imei in chosen}
        else:
            wanted, first, rows = {imei: set(sims) for imei, sims in before.items()}, {}, []
            for imei in random.sample(IMEIS, random.randrange(len(IMEIS))):
                for sim in random.sample(SIMS, random.randrange(1, 4)):
                    there = sim in wanted.setdefault(imei, set())
                    rows.append([imei, sim, "remove" if there else "add"])
                    (wanted[imei].discard if there else wanted[imei].add)(sim)
            random.shuffle(rows)
            settled, report = tables.settled("imei,imsi,change_type", rows)
        change = pairs(store.generation, settled, report)
        assert not report.fault_count
        tables.apply(change)
        after = tables.pairs()
        assert {imei: set(sims) for imei, sims in after.items()} == {i: s for i, s in wanted.items() if s}
        assert change.after == sum(map(len, after.values()))
        for imei, sims in after.items():
            if imei in before and before[imei][0] in sims:
                assert sims[0] == before[imei][0], "an owner stays owner"
            elif first:
                assert sims[0] == first[imei], "the first of the file becomes owner"
        if step == 8:
            store.rebuild()


def test_a_delta_of_pairs_that_cannot_be_names_its_rows(store) -> None:
    tables = Tables(store)
    settled, report = tables.settled("imei,imsi", [[IMEIS[0], SIMS[0]], ["8", SIMS[1]]])
    tables.apply(pairs(store.generation, settled, report))
    rows = [[IMEIS[0], SIMS[0], "add"], [IMEIS[0], SIMS[1], "remove"], ["8", SIMS[1], "add"]]
    settled, report = tables.settled("imei,imsi,change_type", rows)
    pairs(store.generation, settled, report)
    assert {(fault.line, fault.reason) for fault in report.faults} == {
        (2, Reason.ALREADY_THERE),
        (3, Reason.NOT_THERE),
        (4, Reason.ALREADY_THERE),
    }


@pytest.mark.parametrize("seed", range(2))
def test_lists_of_user_ids_pair_what_one_user_has(store, seed) -> None:
    random, tables = Random(seed), Tables(store)
    users = ["ID-1", "ID-2", "a" * 20]
    both = (uids.UidRows.empty(), uids.UidRows.empty())
    model: tuple[set, set] = (set(), set())
    for _ in range(16):
        side = random.randrange(2)
        things = (SIMS, IMEIS[:6] + RAW)[side]
        everything = [(user, thing) for user in users for thing in things]
        header = ("uid,imsi", "uid,imei")[side]
        if random.random() < 0.5:
            chosen = {row for row in everything if random.random() < 0.3}
            rows = [list(row) for row in sorted(chosen)]
        else:
            turned = {row for row in everything if random.random() < 0.15}
            rows = [[*row, "remove" if row in model[side] else "add"] for row in sorted(turned)]
            chosen, header = model[side] ^ turned, header + ",change_type"
        settled, report = tables.settled(header, rows)
        now, change = uids.moved(both[side], settled, report)
        assert not report.fault_count
        new = (now, both[1]) if side == 0 else (both[0], now)
        uids.change_pairs(store.generation, both, new, change)
        tables.apply(change)
        both = new
        model[side].clear()
        model[side].update(chosen)
        assert change.after == len(chosen)
        wanted: dict[str, set[str]] = {}
        for user, imei in model[1]:
            sims = {sim for one, sim in model[0] if one == user}
            if sims:
                wanted.setdefault(imei, set()).update(sims)
        assert {imei: set(sims) for imei, sims in tables.pairs().items()} == wanted


def test_pairs_of_other_lists_are_left_alone_by_user_ids(store) -> None:
    tables = Tables(store)
    settled, report = tables.settled("imei,imsi", [[IMEIS[0], SIMS[0]], [IMEIS[1], SIMS[1]]])
    tables.apply(pairs(store.generation, settled, report))
    none = (uids.UidRows.empty(), uids.UidRows.empty())
    sims, change = uids.moved(none[0], tables.settled("uid,imsi", [["u", SIMS[2]]])[0], report)
    phones, _ = uids.moved(none[1], tables.settled("uid,imei", [["u", IMEIS[0]]])[0], report)
    uids.change_pairs(store.generation, none, (sims, phones), change)
    tables.apply(change)
    assert tables.pairs() == {IMEIS[0]: [SIMS[0], SIMS[2]], IMEIS[1]: [SIMS[1]]}
    uids.change_pairs(store.generation, (sims, phones), none, change)
    tables.apply(change)
    assert tables.pairs() == {IMEIS[0]: [SIMS[0]], IMEIS[1]: [SIMS[1]]}


def test_whole_tacs_are_barred_and_parts_of_them_left_alone(store) -> None:
    tables = Tables(store)
    part = Change()
    first = np.array([35_693_803_000_000], np.uint64)
    part.add(Batch(Op.BLOCK, first, first + np.uint64(9), cause=BlockCause.BARRED, authority="police"))
    tables.apply(part)

    def importing(rows, header="tac"):
        settled, report = tables.settled(header, rows)
        number = tables.target.view().authority("police")
        change = compare.tacs(store.generation, settled, scope_of("barred-tac", "police", number), report)
        if not report.fault_count:
            tables.apply(change)
        number = tables.target.view().authority("police")
        return present.whole_tacs(store.generation, BlockCause.BARRED, number).tolist(), report

    assert importing([["01234567"], ["35693804"]])[0] == [1_234_567, 35_693_804]
    store.rebuild()
    assert importing([["35693804"], ["35693805"]])[0] == [35_693_804, 35_693_805]
    both = [["35693804", "remove"], ["35693806", "add"]]
    assert importing(both, "tac,change_type")[0] == [35_693_805, 35_693_806]
    _, report = importing(both, "tac,change_type")
    assert {fault.reason for fault in report.faults} == {Reason.NOT_THERE, Reason.ALREADY_THERE}
    assert importing([])[0] == []
    assert store.counts["blocked_ranges"] == 1, "the part of a TAC is still there"


def test_repeats_and_conflicts_are_found_whatever_their_order(store) -> None:
    tables = Tables(store)
    rows = [
        [IMEIS[3], "20260101", ""],
        [IMEIS[1], "", ""],
        [IMEIS[3] + "0", "20260102", ""],
        [IMEIS[1], "", ""],
    ]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 3, 0, 1]):
        settled, report = tables.settled("imei,reporting_date,status", [rows[at] for at in order])
        lines = {order.index(0) + 2, order.index(2) + 2}
        assert {fault.line for fault in report.faults} == lines
        assert {fault.reason for fault in report.faults} == {Reason.CONFLICT}
        assert report.warnings[Remarkable.REPEATED].rows == 1
        assert len(settled) == 2


def test_special_imeis_are_left_out_where_the_tables_do_not_take_them(store) -> None:
    tables = Tables(store)
    rows = [["00000000000000"], ["1" * 14], ["00100100000001"], [IMEIS[0]]]
    settled, report = tables.settled("imei", rows)
    assert report.warnings[Remarkable.SPECIAL].rows == 1
    tables.apply(tables.imeis("imei", rows)[0])
    assert len(tables.there("barred")) == 3
    settled, report = tables.settled("imei,imsi", [[*row, SIMS[0]] for row in rows])
    assert report.warnings[Remarkable.SPECIAL].rows == 3
    tables.apply(pairs(store.generation, settled, report))
    assert tables.pairs() == {IMEIS[0]: [SIMS[0]]}
