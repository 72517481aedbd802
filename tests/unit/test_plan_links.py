"""Links: the slots of a device are a clique, told by the state before any row."""

from __future__ import annotations

from plans import NOTHING, after, changes, key, planned, reasons

from eir.whitelist.operation import Operation
from eir.whitelist.overlay import Table
from eir.whitelist.plan import Plan
from eir.whitelist.rows import Op


def link(one: int, two: int, op: Op = Op.LINK) -> Operation:
    return Operation(op, key(one), imei_other=key(two))


def unlink(one: int, two: int) -> Operation:
    return link(one, two, Op.UNLINK)


def devices(done: Plan) -> dict[int, list[int]]:
    """Serials of the other slots, by serial."""
    columns = done.columns[Table.LINKS]
    return {
        int(one) % 10**6: [int(two) % 10**6 for two in columns.extra.run(place)]
        for place, one in enumerate(columns.keys)
    }


def test_two_that_stand_alone_become_a_device() -> None:
    done = planned(NOTHING, link(1, 2), link(9, 8))
    assert devices(done) == {1: [2], 2: [1], 8: [9], 9: [8]}
    assert changes(done) == {"links": (2, 2)}


def test_devices_join() -> None:
    done = planned(after([link(1, 2), link(3, 4)]), link(2, 3))
    assert devices(done) == {1: [2, 3, 4], 2: [1, 3, 4], 3: [1, 2, 4], 4: [1, 2, 3]}
    assert changes(done) == {"links": (1, 4)}


def test_a_chain_in_one_delta_is_one_device() -> None:
    done = planned(NOTHING, link(1, 2), link(2, 3), link(7, 8))
    assert devices(done) == {1: [2, 3], 2: [1, 3], 3: [1, 2], 7: [8], 8: [7]}
    assert changes(done) == {"links": (3, 4)}


def test_the_other_slot_leaves_and_the_rest_stays() -> None:
    before = after([link(1, 2), link(2, 3)])
    assert devices(planned(before, unlink(1, 3))) == {1: [2], 2: [1], 3: []}
    assert devices(planned(after([link(1, 2)]), unlink(1, 2))) == {1: [], 2: []}
    assert changes(planned(before, unlink(1, 3))) == {"links": (0, -2)}


def test_slots_leave_before_others_join() -> None:
    done = planned(after([link(1, 2)]), link(2, 3), unlink(1, 2))
    assert not done.bad.count
    assert devices(done) == {1: [], 2: [3], 3: [2]}


def test_what_is_linked_is_told_by_the_state_before_any_row() -> None:
    before = after([link(1, 2), link(2, 3)])
    done = planned(before, unlink(1, 2), unlink(2, 3))
    assert not done.bad.count, "both were of one device when the delta came"
    assert devices(done) == {1: [], 2: [], 3: []}


def test_rows_that_say_nothing_new_are_bad() -> None:
    before = after([link(1, 2), link(2, 3)])
    assert reasons(planned(before, link(1, 3), unlink(1, 9))) == {0: "ALREADY_THERE", 1: "NOT_THERE"}


def test_a_device_has_at_most_8_slots_and_all_rows_that_join_too_many_are_bad() -> None:
    before = after([link(slot, slot + 1) for slot in range(1, 7)])  # 7 slots
    assert not planned(before, link(1, 20)).bad.count
    done = planned(before, link(1, 20), link(7, 21), link(30, 31))
    assert reasons(done) == {0: "TOO_MANY_SLOTS", 1: "TOO_MANY_SLOTS"}
    assert devices(done) == {30: [31], 31: [30]}
    assert changes(done) == {"links": (1, 1)}
