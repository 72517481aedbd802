"""Operations that lead from one state of the plain model to another. Pure.

state, state ──► removals ──► additions
"""

from __future__ import annotations

from collections.abc import Iterator

from eir.whitelist.algebra import Fact, Interval, State, cut, perform
from eir.whitelist.operation import Imei, Operation
from eir.whitelist.rows import Op, Role


def deltas_between(before: State, after: State) -> list[list[Operation]]:
    """Return at most two deltas that lead from one state to another.

    Two, because what one removes may take with it what the other has to bring
    back: deregistering ends pairs that stay, an UNBLOCK cuts a range that stays.
    """
    removals = list(_removals(before, after))
    middle = perform(before, removals).state
    additions = list(_additions(middle, after))
    return [delta for delta in (removals, additions) if delta]


def _less(intervals: tuple[Interval, ...], others: tuple[Interval, ...]) -> tuple[Interval, ...]:
    """Take others out of intervals."""
    for first, last in others:
        intervals = cut(intervals, first, last)
    return intervals


def _removals(before: State, after: State) -> Iterator[Operation]:
    """Take out what is not in the state after, or is otherwise there and cannot be replaced."""
    devices: set[frozenset[Imei]] = set()
    for fact, value in before.items():
        kept = after.get(fact)
        if kept == value:
            continue
        match fact:
            case ("registered_ranges", _):
                yield from (Operation(Op.DEREGISTER, *piece) for piece in _less(value, kept or ()))
            case ("blocked_ranges", _, cause, name):
                pieces = _less(value, kept or ())
                yield from (Operation(Op.UNBLOCK, *piece, cause=cause, name=name) for piece in pieces)
            case ("pairs", imei):
                yield Operation(Op.UNPAIR, imei, imsi=value)
            case ("utilizers", imei):
                if before[("pairs", imei)] == after.get(("pairs", imei)):
                    yield from (
                        Operation(Op.UNPAIR, imei, imsi=imsi) for imsi in value - (kept or frozenset())
                    )
            case ("links", _):
                if value not in devices and not value <= (kept or frozenset()):
                    devices.add(value)
                    first, *others = sorted(value)
                    yield from (Operation(Op.UNLINK, first, imei_other=other) for other in others)
            case ("grandfathered", imei, imsi):
                yield Operation(Op.UNGRANDFATHER, imei, imsi=imsi)
            case _ if kept is None:
                yield _removal(fact)


def _removal(fact: Fact) -> Operation:
    """Return the operation that ends a fact that is there or not."""
    match fact:
        case ("registered", imei):
            return Operation(Op.DEREGISTER, imei)
        case ("blocks", imei, cause, name):
            return Operation(Op.UNBLOCK, imei, cause=cause, name=name)
        case ("tracked", imei):
            return Operation(Op.UNTRACK, imei)
        case ("exemptions", imei, imsi):
            return Operation(Op.UNEXEMPT, imei, imsi=imsi)
        case ("subscribers", imsi):
            return Operation(Op.SUBSCRIBER, imsi=imsi)
        case ("tacs", tac):
            return Operation(Op.TAC, tac)
    raise ValueError(f"not a fact: {fact}")


def _additions(before: State, after: State) -> Iterator[Operation]:  # noqa: C901 - one case a table
    """Bring what the state before, which has nothing else, lacks."""
    devices: set[frozenset[Imei]] = set()
    for fact, value in after.items():
        there = before.get(fact)
        if there == value:
            continue
        match fact:
            case ("registered", imei):
                yield Operation(Op.REGISTER, imei)
            case ("registered_ranges", _):
                yield from (Operation(Op.REGISTER, *piece) for piece in _less(value, there or ()))
            case ("blocks", imei, cause, name):
                yield Operation(Op.BLOCK, imei, cause=cause, name=name)
            case ("blocked_ranges", _, cause, name):
                pieces = _less(value, there or ())
                yield from (Operation(Op.BLOCK, *piece, cause=cause, name=name) for piece in pieces)
            case ("pairs", imei):
                yield Operation(Op.PAIR, imei, imsi=value, cause=Role.OWNER)
            case ("utilizers", imei):
                fresh = value - (there or frozenset())
                yield from (Operation(Op.PAIR, imei, imsi=imsi, cause=Role.UTILIZER) for imsi in fresh)
            case ("links", _):
                if value not in devices:
                    devices.add(value)
                    first, *others = sorted(value)
                    linked = before.get(("links", first), ())
                    yield from (
                        Operation(Op.LINK, first, imei_other=other) for other in others if other not in linked
                    )
            case ("tracked", imei):
                yield Operation(Op.TRACK, imei)
            case ("exemptions", imei, imsi):
                yield Operation(Op.EXEMPT, imei, imsi=imsi, time=value[0], cause=value[1])
            case ("grandfathered", imei, imsi):
                yield Operation(Op.GRANDFATHER, imei, imsi=imsi, time=value)
            case ("subscribers", imsi):
                yield Operation(Op.SUBSCRIBER, imsi=imsi, time=value[0], name=value[1])
            case ("tacs", tac):
                yield Operation(Op.TAC, tac, name=value)
