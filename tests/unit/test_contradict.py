"""Rows of a delta against each other: each rule by its example."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eir.whitelist.contradict import contradictions
from eir.whitelist.delta import BAD_ROWS_MAX
from eir.whitelist.operation import Operation, clashes, rows_of
from eir.whitelist.rows import IGNORED, BlockCause, Op, Role, Rows

A, B, C = 35123456000001, 35123456000002, 35123456000009
X, Y, Z = 1432110000000001, 1432110000000002, 1432110000000003


def _owner(imei: int | str, imsi: int, former: int = 0) -> Operation:
    return Operation(Op.PAIR, imei, imsi=imsi, former_imsi=former, cause=Role.OWNER)


def _utilizer(imei: int, imsi: int) -> Operation:
    return Operation(Op.PAIR, imei, imsi=imsi, cause=Role.UTILIZER)


def _block(op: Op, imei: int, last: int = 0, cause: int = BlockCause.LOST, name: str = "a") -> Operation:
    return Operation(op, imei, last, cause=cause, name=name)


def _replace(former: int, imsi: int) -> Operation:
    return Operation(Op.REPLACE_SIM, former_imsi=former, imsi=imsi)


CONTRADICTING = {
    "registered and deregistered": (Operation(Op.REGISTER, A), Operation(Op.DEREGISTER, A)),
    "raw text too": (Operation(Op.REGISTER, "AB"), Operation(Op.DEREGISTER, "AB")),
    "deregistered and paired": (Operation(Op.DEREGISTER, A), _utilizer(A, X)),
    "blocked and unblocked": (_block(Op.BLOCK, A), _block(Op.UNBLOCK, A)),
    "two owners": (_owner(A, X), _owner(A, Y)),
    "one owner from two": (_owner(A, X, Y), _owner(A, X, Z)),
    "owner and utilizer": (_owner(A, X), _utilizer(A, X)),
    "paired and unpaired": (_owner(A, X), Operation(Op.UNPAIR, A, imsi=X)),
    "tracked and not": (Operation(Op.TRACK, A), Operation(Op.UNTRACK, A)),
    "exempt twice": (Operation(Op.EXEMPT, A, time=5, cause=1), Operation(Op.EXEMPT, A, time=6, cause=1)),
    "exempt for two causes": (Operation(Op.EXEMPT, imsi=X, cause=1), Operation(Op.EXEMPT, imsi=X, cause=2)),
    "exempt and not": (Operation(Op.EXEMPT, A, imsi=X, cause=1), Operation(Op.UNEXEMPT, A, imsi=X)),
    "grandfathered and not": (Operation(Op.GRANDFATHER, A), Operation(Op.UNGRANDFATHER, A)),
    "linked and not, the other way round": (
        Operation(Op.LINK, A, imei_other=B),
        Operation(Op.UNLINK, B, imei_other=A),
    ),
    "each separated": (Operation(Op.UNLINK, A, imei_other=B), Operation(Op.UNLINK, B, imei_other=A)),
    "a SIM replaced by two": (_replace(X, Y), _replace(X, Z)),
    "two SIMs replaced by one": (_replace(X, Z), _replace(Y, Z)),
    "a chain": (_replace(X, Y), _replace(Y, Z)),
    "a replaced SIM paired": (_replace(X, Y), _owner(A, X)),
    "a replaced SIM unexempted": (_replace(X, Y), Operation(Op.UNEXEMPT, imsi=X)),
    "one TAC, two types": (
        Operation(Op.TAC, 35123456, name="phone"),
        Operation(Op.TAC, 35123456, name="meter"),
    ),
    "one subscriber, two numbers": (
        Operation(Op.SUBSCRIBER, imsi=X, time=12),
        Operation(Op.SUBSCRIBER, imsi=X),
    ),
    "ranges that overlap": (Operation(Op.REGISTER, A, B), Operation(Op.REGISTER, B, C)),
    "a range in another": (Operation(Op.REGISTER, A, C), Operation(Op.DEREGISTER, B, B)),
    "one range, both ways": (Operation(Op.REGISTER, A, C), Operation(Op.DEREGISTER, A, C)),
    "blocked ranges that overlap": (_block(Op.BLOCK, A, B), _block(Op.UNBLOCK, B, C)),
}
AGREEING = {
    "an IMEI in a range": (Operation(Op.REGISTER, A, C), Operation(Op.REGISTER, B)),
    "ranges that touch": (Operation(Op.REGISTER, A, A), Operation(Op.REGISTER, B, C)),
    "two causes": (_block(Op.BLOCK, A), _block(Op.UNBLOCK, A, cause=BlockCause.STOLEN)),
    "two authorities": (_block(Op.BLOCK, A, C), _block(Op.BLOCK, A, C, name="b")),
    "owner and another utilizer": (_owner(A, X), _utilizer(A, Y)),
    "a transfer to a SIM, and the former owner as utilizer": (_owner(A, X, Y), _utilizer(A, Y)),
    "owner ends, another comes": (Operation(Op.UNPAIR, A, imsi=X), _owner(A, Y)),
    "registered and paired": (Operation(Op.REGISTER, A), _owner(A, X)),
    "deregistered and blocked": (Operation(Op.DEREGISTER, A), _block(Op.BLOCK, A)),
    "a range deregistered, one of it paired": (Operation(Op.DEREGISTER, A, C), _owner(B, X)),
    "exempt by IMEI and by pair": (
        Operation(Op.EXEMPT, A, cause=1),
        Operation(Op.EXEMPT, A, imsi=X, cause=1),
    ),
    "a SIM replaced, its subscriber removed": (_replace(X, Y), Operation(Op.SUBSCRIBER, imsi=X)),
    "a SIM replaced, the new one paired": (_replace(X, Y), _utilizer(A, Y)),
    "three slots": (Operation(Op.LINK, A, imei_other=B), Operation(Op.LINK, B, imei_other=C)),
    "one SIM on two IMEIs": (_owner(A, X), _owner(B, X)),
}


@pytest.mark.parametrize("pair", CONTRADICTING.values(), ids=CONTRADICTING.keys())
def test_rows_that_contradict_each_other(pair: tuple[Operation, Operation]) -> None:
    filler = Operation(Op.TRACK, 86000000000000 + 1)
    for one, other in (pair, pair[::-1]):
        index, told = contradictions(rows_of([one, filler, other]), row_base=10)
        assert index.tolist() == [0, 2]
        assert [(row.row, row.reason, row.message) for row in told] == [
            (10, "CONTRADICTS_ROW", f"contradicts row 12, a {other.op.name}"),
            (12, "CONTRADICTS_ROW", f"contradicts row 10, a {one.op.name}"),
        ]


@pytest.mark.parametrize("pair", AGREEING.values(), ids=AGREEING.keys())
def test_rows_that_do_not(pair: tuple[Operation, Operation]) -> None:
    assert contradictions(rows_of(list(pair)))[0].tolist() == []
    assert clashes(pair) == set()


@pytest.mark.parametrize("row", sorted({pair[0] for pair in CONTRADICTING.values()}, key=str), ids=str)
def test_a_row_repeated(row: Operation) -> None:
    index, told = contradictions(rows_of([row, row, row]))
    assert index.tolist() == [1, 2]
    assert [(bad.reason, bad.message) for bad in told] == [
        ("REPEATS_ROW", f"repeats row 0, a {row.op.name}")
    ] * 2


def test_a_link_repeated_the_other_way_round() -> None:
    rows = [Operation(Op.LINK, A, imei_other=B), Operation(Op.LINK, B, imei_other=A)]
    assert contradictions(rows_of(rows))[1][0].reason == "REPEATS_ROW"


def test_ranges_within_a_large_one_far_before() -> None:
    tac = 35123456000000
    rows = [Operation(Op.REGISTER, tac, tac + 999_999), Operation(Op.REGISTER, tac + 5, tac + 6)]
    rows += [Operation(Op.REGISTER, tac + 8, tac + 9)]
    assert contradictions(rows_of(rows))[0].tolist() == [0, 1, 2]


def test_ignored_rows_do_not_count() -> None:
    rows = rows_of([Operation(Op.REGISTER, A), Operation(Op.DEREGISTER, A), _replace(X, Y), _owner(B, X)])
    rows.op[[1, 2]] = IGNORED
    assert contradictions(rows)[0].tolist() == []


def test_many_rows_are_counted_and_the_first_told() -> None:
    keys = np.repeat(np.arange(1, 5001, dtype=np.uint64) * 7, 2)[np.random.default_rng(1).permutation(10_000)]
    index, told = contradictions(Rows(op=np.full(10_000, Op.TRACK, np.uint8), imei=keys))
    assert len(index) == 5000
    assert len(told) == BAD_ROWS_MAX
    assert [row.row for row in told] == index[:BAD_ROWS_MAX].tolist()


@pytest.mark.parametrize("shuffled", [False, True])
def test_bulk_rows_without_clash(shuffled: bool) -> None:
    keys = np.arange(1, 200_001, dtype=np.uint64) * 331
    if shuffled:
        keys = np.random.default_rng(1).permutation(keys)
    rows = Rows(
        op=np.full(len(keys), Op.PAIR, np.uint8),
        imei=keys,
        imsi=keys + np.uint64(10**15),
        cause=np.full(len(keys), Role.OWNER, np.uint8),
    )
    assert len(contradictions(rows)[0]) == 0
    again = keys.copy()
    again[17] = again[190_000]
    assert contradictions(replace(rows, imei=again))[0].tolist() == [17, 190_000]
