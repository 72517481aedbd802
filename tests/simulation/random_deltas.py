"""Seeded random operations over a small universe, for simulations that replay from a seed alone."""

from __future__ import annotations

from random import Random

import delta_strategies as universe

from eir.whitelist.algebra import State, perform
from eir.whitelist.operation import Operation, clashes
from eir.whitelist.rows import BlockCause, ExemptCause, Op, Role

_TIMES = (0, 1_700_000_000, (1 << 32) - 1)
_KINDS = (*Op, Op.REGISTER, Op.PAIR, Op.PAIR, Op.LINK, Op.REPLACE_SIM)
"""Some more often, so that rows are not only refused."""


def operation(random: Random) -> Operation:
    """One row; it may be impossible in the state it meets."""
    op = random.choice(_KINDS)
    imei = random.choice([*universe.KEYS, *universe.RAW_TEXTS])
    imsi, former = random.sample(universe.IMSIS, 2)
    any_imsi = random.choice([0, *universe.IMSIS])
    row = Operation(op, imei)
    match op:
        case Op.REGISTER | Op.DEREGISTER | Op.BLOCK | Op.UNBLOCK:
            if random.random() < 0.4:
                first, last = sorted(universe.TAC * 10**6 + random.randrange(13) for _ in range(2))
                row = Operation(op, first, last)
            if op in (Op.BLOCK, Op.UNBLOCK):
                cause = random.choice((BlockCause.STOLEN, BlockCause.CLONED))
                row = row._replace(cause=cause, name=random.choice(("a", "b.c")))
        case Op.PAIR:
            role = random.choice(list(Role))
            expected = random.choice((0, 0, former)) if role == Role.OWNER else 0
            row = row._replace(imsi=imsi, cause=role, former_imsi=expected)
        case Op.UNPAIR:
            row = row._replace(imsi=imsi, cause=random.choice((0, *Role)))
        case Op.REPLACE_SIM:
            row = Operation(op, imsi=imsi, former_imsi=former)
        case Op.EXEMPT | Op.UNEXEMPT:
            row = row._replace(imsi=any_imsi) if random.random() < 0.7 else Operation(op, imsi=imsi)
            if op == Op.EXEMPT:
                row = row._replace(time=random.choice(_TIMES), cause=random.choice(list(ExemptCause)))
        case Op.GRANDFATHER | Op.UNGRANDFATHER:
            row = row._replace(imsi=any_imsi, time=random.choice(_TIMES) if op == Op.GRANDFATHER else 0)
        case Op.LINK | Op.UNLINK:
            one, two = random.sample(universe.KEYS, 2)
            row = Operation(op, one, imei_other=two)
        case Op.SUBSCRIBER:
            number = random.choice((0, 1989120000001))
            row = Operation(op, imsi=imsi, time=number, name=random.choice(("", "fa")) if number else "")
        case Op.TAC:
            row = Operation(op, random.choice((universe.TAC, 1)), name=random.choice(("", "phone", "meter")))
    return row


def delta(random: Random, rows_max: int = 16) -> list[Operation]:
    """Rows of a delta for a lenient feed: some may clash, some may be impossible."""
    return [operation(random) for _ in range(random.randint(0, rows_max))]


def outcome(state: State, rows: list[Operation]) -> tuple[State, set[int]]:
    """State after a delta to a lenient feed, and the rows it ignores."""
    bad = clashes(rows)
    numbers = [index for index in range(len(rows)) if index not in bad]
    done = perform(state, [rows[index] for index in numbers])
    return done.state, bad | {numbers[index] for index in done.bad}
