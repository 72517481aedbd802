"""What a delta does to a generation: order of phases, bad rows, effects, rows to publish."""

from __future__ import annotations

import numpy as np
from plans import NOTHING, after, changes, key, names_of, planned, reasons

from eir.identity import imsi_code
from eir.whitelist import plan
from eir.whitelist.items import REGISTERED, Item, name_of
from eir.whitelist.operation import Operation, rows_of
from eir.whitelist.overlay import Table
from eir.whitelist.rows import BlockCause, ExemptCause, Op, Role

A, B, C = (imsi_code(text) for text in ("432110000000001", "432350000000002", "001010000000003"))


def owner(serial: int, imsi: int, former: int = 0) -> Operation:
    return Operation(Op.PAIR, key(serial), imsi=imsi, former_imsi=former, cause=Role.OWNER)


def utilizer(serial: int, imsi: int) -> Operation:
    return Operation(Op.PAIR, key(serial), imsi=imsi, cause=Role.UTILIZER)


def test_rows_touched_are_published_whole_and_no_others() -> None:
    before = after([Operation(Op.REGISTER, key(5)), owner(5, A)])
    done = planned(before, utilizer(5, B), Operation(Op.REGISTER, key(1)), Operation(Op.TRACK, key(9)))
    columns = done.columns[Table.KEYS]
    assert columns.keys.tolist() == [key(1), key(5), key(9)]
    assert columns.heads.tolist() == [REGISTERED, REGISTERED | A, 0]
    assert columns.extra.run(1).tolist() == [name_of(Item.UTILIZER, B)]
    assert changes(done) == {"registered": (1, 1), "tracked": (1, 1), "utilizers": (1, 1)}


def test_a_bad_row_leaves_its_key_as_it_was() -> None:
    done = planned(after([Operation(Op.REGISTER, key(1))]), Operation(Op.REGISTER, key(1)), owner(2, A))
    assert reasons(done) == {0: "ALREADY_THERE"}
    assert done.columns[Table.KEYS].keys.tolist() == [key(2)]
    assert changes(done) == {"pairs": (1, 1)}


def test_rows_that_are_bad_already_do_nothing() -> None:
    rows = rows_of([Operation(Op.REGISTER, key(1)), Operation(Op.REGISTER, key(2))])
    done = plan.make(NOTHING, rows, names_of(rows), np.array([True, False]))
    assert done.columns[Table.KEYS].keys.tolist() == [key(2)]
    assert done.bad.count == 1


def test_removals_come_before_additions_whatever_the_order_of_rows() -> None:
    before = after([owner(1, A), utilizer(1, C)])
    rows = [owner(1, B), Operation(Op.UNPAIR, key(1), imsi=A)]
    for given in (rows, rows[::-1]):
        done = planned(before, *given)
        assert not done.bad.count
        assert done.columns[Table.KEYS].heads.tolist() == [B]
        assert len(done.columns[Table.KEYS].extra.words) == 0, "the owner's end ended the utilizer"
        assert changes(done) == {"pairs": (1, 0), "utilizers": (0, -1)}


def test_owners_come_before_utilizers() -> None:
    done = planned(NOTHING, utilizer(1, B), owner(1, A))
    assert not done.bad.count


def test_sims_are_replaced_before_anything_else() -> None:
    before = after([owner(1, A), owner(2, C), utilizer(2, A)])
    done = planned(before, Operation(Op.REPLACE_SIM, imsi=B, former_imsi=A), owner(1, C, former=B))
    assert not done.bad.count
    assert done.columns[Table.KEYS].heads.tolist() == [C, C]
    assert done.columns[Table.KEYS].extra.run(1).tolist() == [name_of(Item.UTILIZER, B)]


def test_a_sim_that_conflicts_anywhere_is_replaced_nowhere() -> None:
    before = after([owner(1, A), owner(2, A), utilizer(2, B)])
    done = planned(before, Operation(Op.REPLACE_SIM, imsi=B, former_imsi=A))
    assert reasons(done) == {0: "SIM_CONFLICT"}
    rows = done.columns.get(Table.KEYS)
    assert rows is None or rows.heads.tolist() in ([], [A, A])
    done = planned(before, Operation(Op.REPLACE_SIM, imsi=A, former_imsi=C))
    assert reasons(done) == {0: "NOT_THERE"}


def test_a_replaced_sim_takes_its_own_exemption_along_unless_the_new_one_has_one() -> None:
    exempt = Operation(Op.EXEMPT, imsi=A, time=9, cause=ExemptCause.M2M)
    row = Operation(Op.REPLACE_SIM, imsi=B, former_imsi=A)
    done = planned(after([exempt]), row)
    columns = done.columns[Table.IMSI]
    assert dict(zip(columns.keys.tolist(), columns.extra.counts().tolist(), strict=True)) == {A: 0, B: 1}
    assert changes(done) == {}
    assert reasons(planned(after([exempt, exempt._replace(imsi=B)]), row)) == {0: "SIM_CONFLICT"}


def test_raw_texts_keep_their_text_and_lose_it_with_the_last_fact() -> None:
    block = Operation(Op.BLOCK, "12*#AB", cause=BlockCause.BARRED, name="a")
    before = after([block])
    assert before.raw_row("12*#AB")[1].tolist() == [name_of(Item.BLOCK, BlockCause.BARRED << 16 | 1)]
    done = planned(before, block._replace(op=Op.UNBLOCK), Operation(Op.REGISTER, "0F"))
    assert changes(done) == {"blocks": (0, -1), "registered": (1, 1)}, "one raw row goes, one comes"
    assert sorted(done.columns[Table.RAW].extra.counts().tolist()) == [0, 2]


def test_two_raw_texts_of_one_hash_are_not_mixed_up(monkeypatch) -> None:
    monkeypatch.setattr(plan, "raw_key", lambda text: 77)
    before = after([Operation(Op.REGISTER, "0F")])
    assert reasons(planned(before, Operation(Op.TRACK, "1F"))) == {0: "IMEI_INVALID"}
    assert not planned(before, Operation(Op.TRACK, "0F")).bad.count


def test_an_exemption_without_end_is_one_with_another_value() -> None:
    exempt = Operation(Op.EXEMPT, key(1), imsi=A, time=5, cause=ExemptCause.REPAIR)
    before = after([exempt])
    assert reasons(planned(before, exempt)) == {0: "ALREADY_THERE"}
    done = planned(before, exempt._replace(time=0))
    assert changes(done) == {"exemptions": (1, 0)}
    assert done.columns[Table.KEYS].extra.words.tolist()[1] == ExemptCause.REPAIR << 40 | plan.NO_END


def test_device_types_are_set_replaced_and_removed() -> None:
    phone, meter = Operation(Op.TAC, 1, name="phone"), Operation(Op.TAC, 1, name="meter")
    none = Operation(Op.TAC, 1)
    before = after([phone])
    assert [reasons(planned(before, row)) for row in (phone, meter, none)] == [{0: "ALREADY_THERE"}, {}, {}]
    assert changes(planned(before, meter)) == {"tacs": (1, 0)}
    assert changes(planned(before, none)) == {"tacs": (0, -1)}
    assert reasons(planned(NOTHING, none)) == {0: "NOT_THERE"}


def test_subscribers_are_left_to_the_journal() -> None:
    done = planned(NOTHING, Operation(Op.REGISTER, key(1)), Operation(Op.SUBSCRIBER, imsi=A, time=11))
    assert done.subscribers.tolist() == [1]


def test_a_delta_without_rows_changes_nothing() -> None:
    done = planned(NOTHING)
    assert not any(map(len, done.columns.values()))
    assert not done.bad.count
