"""Ranges: whole removals, no overlaps, single keys cut out, pairs that end with their range."""

from __future__ import annotations

import numpy as np
import pytest
from plans import NOTHING, after, changes, key, planned, reasons

from eir.whitelist.operation import Operation
from eir.whitelist.overlay import Table
from eir.whitelist.plan import Plan
from eir.whitelist.rows import BlockCause, Op, Role
from eir.whitelist.shard_rows import unflatten_ranges

OWNER = 1_432_110_000_000_001


def register(first: int, last: int, op: Op = Op.REGISTER) -> Operation:
    return Operation(op, key(first), key(last))


def block(first: int, last: int, name: str = "a", op: Op = Op.BLOCK) -> Operation:
    return Operation(op, key(first), key(last), cause=BlockCause.STOLEN, name=name)


def spans(done: Plan) -> list[tuple[int, int, int, int]]:
    """First and last serial, cause and authority of the ranges of the TACs touched."""
    columns = done.columns[Table.RANGES]
    ranges = unflatten_ranges(np.repeat(columns.keys, columns.extra.counts()), columns.extra.words).sorted()
    parts = (ranges.first, ranges.last, ranges.cause, ranges.authority)
    return list(zip(*(part.tolist() for part in parts), strict=True))


def joined(done: Plan) -> list[tuple[int, int]]:
    return [(first, last) for first, last, *_ in spans(done)]


def test_neighbours_become_one_and_overlaps_are_refused() -> None:
    before = after([register(0, 9), register(20, 29)])
    assert joined(planned(before, register(10, 19))) == [(0, 29)]
    assert changes(planned(before, register(10, 19))) == {"registered_ranges": (1, -1)}
    done = planned(before, register(5, 14), register(40, 40 + 9))
    assert reasons(done) == {0: "ALREADY_THERE"}
    assert joined(done) == [(0, 9), (20, 29), (40, 49)]


@pytest.mark.parametrize(
    ("gone", "left"),
    [((0, 9), []), ((0, 4), [(5, 9)]), ((4, 5), [(0, 3), (6, 9)]), ((9, 9), [(0, 8)])],
)
def test_what_is_removed_is_cut_out(gone: tuple[int, int], left: list[tuple[int, int]]) -> None:
    assert joined(planned(after([register(0, 9)]), register(*gone, op=Op.DEREGISTER))) == left


def test_a_removal_must_lie_wholly_inside() -> None:
    before = after([register(0, 9), register(11, 19)])
    done = planned(before, register(5, 15, op=Op.DEREGISTER), block(0, 1, op=Op.UNBLOCK))
    assert reasons(done) == {0: "NOT_THERE", 1: "NOT_THERE"}


def test_kinds_do_not_touch_each_other() -> None:
    before = after([register(0, 9), block(0, 9), block(5, 14, "b.c")])
    done = planned(before, block(10, 12), block(5, 6, "b.c", Op.UNBLOCK))
    assert spans(done) == spans(planned(before, block(5, 6, "b.c", Op.UNBLOCK), block(10, 12)))
    kinds = {(cause, authority) for *_, cause, authority in spans(done)}
    assert kinds == {(0, 0), (1, 1), (1, 2)}
    assert changes(done)["blocked_ranges"] == (1, 0)


def test_a_single_row_cuts_its_key_out_of_the_range() -> None:
    before = after([register(0, 9), block(0, 9)])
    single = Operation(Op.UNBLOCK, key(3), cause=BlockCause.STOLEN, name="a")
    done = planned(before, Operation(Op.DEREGISTER, key(5)), single)
    assert not done.bad.count
    assert sorted(joined(done)) == [(0, 2), (0, 4), (4, 9), (6, 9)]
    other = Operation(Op.UNBLOCK, key(3), cause=BlockCause.STOLEN, name="b.c")
    assert reasons(planned(before, other)) == {0: "NOT_THERE"}


def test_pairs_end_with_their_range_except_of_those_registered_one_by_one() -> None:
    owners = [Operation(Op.PAIR, key(serial), imsi=OWNER, cause=Role.OWNER) for serial in (3, 4, 11)]
    before = after([register(0, 9), Operation(Op.REGISTER, key(4)), *owners])
    done = planned(before, register(0, 5, Op.DEREGISTER))
    assert done.columns[Table.KEYS].keys.tolist() == [key(3)]
    assert done.columns[Table.KEYS].heads.tolist() == [0]
    assert changes(done) == {"pairs": (0, -1)}


def test_a_pair_made_in_the_same_delta_outlives_the_range() -> None:
    """Removals come first: what the delta adds, it means."""
    done = planned(
        after([register(0, 9)]),
        register(0, 9, Op.DEREGISTER),
        Operation(Op.PAIR, key(3), imsi=OWNER, cause=Role.OWNER),
    )
    assert not done.bad.count
    assert done.columns[Table.KEYS].heads.tolist() == [OWNER]


def test_ranges_reach_to_the_ends_of_a_tac() -> None:
    before = after([register(0, 999_999)])
    assert joined(planned(before, Operation(Op.DEREGISTER, key(999_999)))) == [(0, 999_998)]
    other = Operation(Op.REGISTER, key(0, 35123457), key(999_999, 35123457))
    done = planned(before, other)
    assert done.columns[Table.RANGES].keys.tolist() == [35123457], "the neighbouring TAC is left alone"


def test_no_ranges_no_columns() -> None:
    assert Table.RANGES not in planned(NOTHING, Operation(Op.REGISTER, key(1))).columns
