"""What operations mean, as a dictionary: the plain model of the tables. Pure.

    state, operations ──perform──► state, bad rows
    state, state ──diff──► change ──apply──► state
                            └─merge, invert─► change

The store does the same by columns and is tested against this. A state maps
facts, tuples that begin with the name of their table, to values; a change maps
facts to their value before and after. Operations of a delta are performed in
the order of `PHASES`; the rows of a phase are all checked against the state in
which it begins, so that the order of rows has no meaning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from eir.identity import SERIALS, imsi_text, mask
from eir.whitelist.delta import PAIRS_MAX, SLOTS_MAX, RowReason
from eir.whitelist.operation import Imei, Operation
from eir.whitelist.rows import Op, Role

Interval = tuple[int, int]
"""Keys of a range, inclusive."""
Fact = tuple[Any, ...]
State = dict[Fact, Any]
Change = dict[Fact, tuple[Any, Any]]
"""Value before and after by fact; None where there is none."""
Fault = tuple[RowReason, str]


@dataclass(frozen=True)
class Outcome:
    """The state without what bad rows ask for; and the bad rows by their index."""

    state: State
    bad: dict[int, Fault]


# Ranges: disjoint intervals in order, adjacent ones joined.


def union(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Join intervals that overlap or touch."""
    joined: list[Interval] = []
    for first, last in sorted(intervals):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    return tuple(joined)


def cut(intervals: Iterable[Interval], first: int, last: int) -> tuple[Interval, ...]:
    """Take first to last out of intervals."""
    pieces = [
        piece
        for low, high in intervals
        for piece in ((low, min(high, first - 1)), (max(low, last + 1), high))
    ]
    return union((low, high) for low, high in pieces if low <= high)


def _inside(intervals: Iterable[Interval], first: int, last: int) -> bool:
    return any(low <= first and last <= high for low, high in intervals)


def _overlapped(intervals: Iterable[Interval], first: int, last: int) -> bool:
    return any(low <= last and first <= high for low, high in intervals)


# Checks and effects of each kind.


def _single(row: Operation) -> Fact:
    """Return the fact about one IMEI that a registration or block makes."""
    if row.op in (Op.REGISTER, Op.DEREGISTER):
        return ("registered", row.imei)
    return ("blocks", row.imei, row.cause, row.name)


def _ranged(row: Operation) -> Fact:
    """Return the fact with the ranges of the row's TAC; raw text has none."""
    if isinstance(row.imei, str):
        return ()
    if row.op in (Op.REGISTER, Op.DEREGISTER):
        return ("registered_ranges", row.imei // SERIALS)
    return ("blocked_ranges", row.imei // SERIALS, row.cause, row.name)


def _keys(row: Operation) -> Interval:
    """Return the first and the last key of a row; none of raw text."""
    return (0, -1) if isinstance(row.imei, str) else (row.imei, row.imei_last or row.imei)


def _check_add(state: State, row: Operation) -> Fault | None:
    """REGISTER and BLOCK: one IMEI and ranges are independent of each other."""
    overlapped = row.imei_last and _overlapped(state.get(_ranged(row), ()), *_keys(row))
    there = overlapped or (not row.imei_last and _single(row) in state)
    return (RowReason.ALREADY_THERE, f"{row.op.name}: is there already") if there else None


def _add(state: State, row: Operation) -> None:
    if row.imei_last:
        fact = _ranged(row)
        state[fact] = union([*state.get(fact, ()), _keys(row)])
    else:
        state[_single(row)] = True


def _check_remove(state: State, row: Operation) -> Fault | None:
    """DEREGISTER and UNBLOCK: a range lies wholly in ranges; one IMEI is there by itself or in a range."""
    there = _inside(state.get(_ranged(row), ()), *_keys(row))
    if not row.imei_last:
        there = there or _single(row) in state
    return None if there else (RowReason.NOT_THERE, f"{row.op.name}: is not there")


def _remove(state: State, row: Operation) -> None:
    ranged = _ranged(row)
    if ranged in state:
        _put(state, ranged, cut(state[ranged], *_keys(row)))
    if not row.imei_last:
        state.pop(_single(row), None)


def _put(state: State, fact: Fact, value: Any) -> None:
    """Set a fact, or take it out where nothing is left of it."""
    if value:
        state[fact] = value
    else:
        state.pop(fact, None)


def _deregister(state: State, row: Operation) -> None:
    """End the pairs too; in a range, of those not registered one by one."""
    _remove(state, row)
    first, last = _keys(row)
    ended: list[Imei] = [row.imei]
    if row.imei_last:
        paired = [fact[1] for fact in state if fact[0] == "pairs" and isinstance(fact[1], int)]
        ended = [key for key in paired if first <= key <= last and ("registered", key) not in state]
    for imei in ended:
        state.pop(("pairs", imei), None)
        state.pop(("utilizers", imei), None)


def _check_owner(state: State, row: Operation) -> Fault | None:
    owner = state.get(("pairs", row.imei), 0)
    if owner == row.imsi:
        return RowReason.ALREADY_THERE, "PAIR: this SIM is the owner already"
    if owner != row.former_imsi:
        return (
            RowReason.OWNER_MISMATCH,
            f"PAIR: former_imsi is {_shown(row.former_imsi)}, the owner {_shown(owner)}",
        )
    return None


def _pair_owner(state: State, row: Operation) -> None:
    """Make the owner; a transfer ends the former owner's utilizers and grandfathered pair."""
    if row.former_imsi:
        state.pop(("utilizers", row.imei), None)
        state.pop(("grandfathered", row.imei, row.former_imsi), None)
    state[("pairs", row.imei)] = row.imsi


def _check_utilizer(state: State, row: Operation) -> Fault | None:
    if ("pairs", row.imei) not in state:
        return RowReason.NO_OWNER, "PAIR: a utilizer needs an owner, there is none"
    if _role(state, row) is not None:
        return RowReason.ALREADY_THERE, "PAIR: this SIM is paired already"
    return None


def _pair_utilizer(state: State, row: Operation) -> None:
    fact = ("utilizers", row.imei)
    state[fact] = state.get(fact, frozenset()) | {row.imsi}


def _role(state: State, row: Operation) -> Role | None:
    """Return what the row's SIM is to its IMEI."""
    if state.get(("pairs", row.imei)) == row.imsi:
        return Role.OWNER
    return Role.UTILIZER if row.imsi in state.get(("utilizers", row.imei), ()) else None


def _check_unpair(state: State, row: Operation) -> Fault | None:
    role = _role(state, row)
    if role is None or row.cause not in (0, role):
        return RowReason.NOT_THERE, f"UNPAIR: this SIM is {role.name.lower() if role else 'not paired'} here"
    return None


def _unpair(state: State, row: Operation) -> None:
    """End the pair; the owner's end ends the utilizers."""
    if state.get(("pairs", row.imei)) == row.imsi:
        del state[("pairs", row.imei)]
        state.pop(("utilizers", row.imei), None)
    else:
        utilizers = state.get(("utilizers", row.imei), frozenset())
        _put(state, ("utilizers", row.imei), utilizers - {row.imsi})


def _moves(state: State, row: Operation) -> list[tuple[Fact, Fact]]:
    """Facts that name the replaced SIM, and what each becomes; pairs keep their fact."""
    moves = []
    for fact, value in state.items():
        pair = fact[0] == "pairs" and value == row.former_imsi
        if pair or (fact[0] == "utilizers" and row.former_imsi in value):
            moves.append((fact, fact))
        elif fact[0] in ("exemptions", "grandfathered") and fact[2] == row.former_imsi:
            moves.append((fact, (fact[0], fact[1], row.imsi)))
    return moves


def _check_replace_sim(state: State, row: Operation) -> Fault | None:
    moves = _moves(state, row)
    if not moves:
        return RowReason.NOT_THERE, f"REPLACE_SIM: nothing is on {_shown(row.former_imsi)}"
    for old, new in moves:
        if (_role(state, row._replace(imei=old[1])) is not None) if old == new else new in state:
            return RowReason.SIM_CONFLICT, f"REPLACE_SIM: {_shown(row.imsi)} is there already, in {old[0]}"
    return None


def _replace_sim(state: State, row: Operation) -> None:
    for old, new in _moves(state, row):
        value = state.pop(old)
        if old[0] == "pairs":
            value = row.imsi
        elif old[0] == "utilizers":
            value = value - {row.former_imsi} | {row.imsi}
        state[new] = value


def _flag(row: Operation) -> tuple[Fact, Any]:
    """Return the fact that other kinds add or remove, and its value."""
    table = _FLAG_TABLES[row.op]
    if table == "tracked":
        return (table, row.imei), True
    if table == "subscribers":
        return (table, row.imsi), (row.time, row.name) if row.time else None
    if table == "tacs":
        return (table, row.imei), row.name or None
    return (table, row.imei, row.imsi), row.time if table == "grandfathered" else (row.time, row.cause)


_FLAG_TABLES: Final = {
    Op.TRACK: "tracked",
    Op.UNTRACK: "tracked",
    Op.EXEMPT: "exemptions",
    Op.UNEXEMPT: "exemptions",
    Op.GRANDFATHER: "grandfathered",
    Op.UNGRANDFATHER: "grandfathered",
    Op.SUBSCRIBER: "subscribers",
    Op.TAC: "tacs",
}


def _check_new(state: State, row: Operation) -> Fault | None:
    """TRACK and GRANDFATHER: whatever the value, it must not be there."""
    return (RowReason.ALREADY_THERE, f"{row.op.name}: is there already") if _flag(row)[0] in state else None


def _check_there(state: State, row: Operation) -> Fault | None:
    return None if _flag(row)[0] in state else (RowReason.NOT_THERE, f"{row.op.name}: is not there")


def _check_set(state: State, row: Operation) -> Fault | None:
    """EXEMPT, SUBSCRIBER and TAC: another value replaces, nothing removes."""
    fact, value = _flag(row)
    if state.get(fact) != value:
        return None
    if value is None:
        return RowReason.NOT_THERE, f"{row.op.name}: is not there"
    return RowReason.ALREADY_THERE, f"{row.op.name}: is there already"


def _set(state: State, row: Operation) -> None:
    fact, value = _flag(row)
    if value is None:
        del state[fact]
    else:
        state[fact] = value


def _unset(state: State, row: Operation) -> None:
    del state[_flag(row)[0]]


def _device(state: State, imei: Imei) -> frozenset[Imei]:
    device: frozenset[Imei] = state.get(("links", imei), frozenset({imei}))
    return device


def _check_link(state: State, row: Operation) -> Fault | None:
    linked = row.imei_other in _device(state, row.imei)
    return (RowReason.ALREADY_THERE, "LINK: they are slots of one device already") if linked else None


def _link(state: State, row: Operation) -> None:
    device = _device(state, row.imei) | _device(state, row.imei_other)
    for slot in device:
        state[("links", slot)] = device


def _check_unlink(state: State, row: Operation) -> Fault | None:
    linked = row.imei_other in _device(state, row.imei)
    return None if linked else (RowReason.NOT_THERE, "UNLINK: they are not slots of one device")


def _unlink(state: State, row: Operation) -> None:
    """Separate imei_other from its device."""
    rest = _device(state, row.imei_other) - {row.imei_other}
    state.pop(("links", row.imei_other), None)
    for slot in rest:
        _put(state, ("links", slot), rest if len(rest) > 1 else None)


def _shown(imsi: int) -> str:
    return mask(imsi_text(imsi)) if imsi else "none"


class Phase(NamedTuple):
    """Rows performed together: of which kind, how each is checked, what it does."""

    op: Op
    check: Callable[[State, Operation], Fault | None]
    do: Callable[[State, Operation], None]
    cause: int = 0


PHASES: Final = (
    Phase(Op.TAC, _check_set, _set),
    Phase(Op.SUBSCRIBER, _check_set, _set),
    Phase(Op.REPLACE_SIM, _check_replace_sim, _replace_sim),
    Phase(Op.UNPAIR, _check_unpair, _unpair),
    Phase(Op.UNEXEMPT, _check_there, _unset),
    Phase(Op.UNBLOCK, _check_remove, _remove),
    Phase(Op.UNTRACK, _check_there, _unset),
    Phase(Op.UNGRANDFATHER, _check_there, _unset),
    Phase(Op.UNLINK, _check_unlink, _unlink),
    Phase(Op.DEREGISTER, _check_remove, _deregister),
    Phase(Op.REGISTER, _check_add, _add),
    Phase(Op.PAIR, _check_owner, _pair_owner, Role.OWNER),
    Phase(Op.PAIR, _check_utilizer, _pair_utilizer, Role.UTILIZER),
    Phase(Op.BLOCK, _check_add, _add),
    Phase(Op.TRACK, _check_new, _set),
    Phase(Op.EXEMPT, _check_set, _set),
    Phase(Op.GRANDFATHER, _check_new, _set),
    Phase(Op.LINK, _check_link, _link),
)
"""The canonical order inside a delta."""


def perform(state: State, rows: Sequence[Operation]) -> Outcome:
    """Perform the operations of a delta without contradictions; bad rows are left out."""
    state = dict(state)
    bad: dict[int, Fault] = {}
    for phase in PHASES:
        chosen = {
            index: row
            for index, row in enumerate(rows)
            if row.op == phase.op and phase.cause in (0, row.cause)
        }
        faults = {index: fault for index, row in chosen.items() if (fault := phase.check(state, row))}
        good = {index: row for index, row in chosen.items() if index not in faults}
        faults |= _check_together(state, good)
        for index, row in good.items():
            if index not in faults:
                phase.do(state, row)
        bad |= faults
    return Outcome(state, bad)


def _check_together(state: State, rows: Mapping[int, Operation]) -> dict[int, Fault]:
    """Find rows of a phase that are too many for an IMEI or a device together."""
    faults: dict[int, Fault] = {}
    utilizers = Counter(row.imei for row in rows.values() if row.op == Op.PAIR and row.cause == Role.UTILIZER)
    devices = dict(state)
    for row in rows.values():
        if row.op == Op.LINK:
            _link(devices, row)
    for index, row in rows.items():
        if row.op == Op.LINK and len(_device(devices, row.imei)) > SLOTS_MAX:
            faults[index] = (
                RowReason.TOO_MANY_SLOTS,
                f"LINK: the device would have more than {SLOTS_MAX} slots",
            )
        if (
            1 + utilizers[row.imei] + len(state.get(("utilizers", row.imei), ())) > PAIRS_MAX
            and utilizers[row.imei]
        ):
            faults[index] = RowReason.TOO_MANY_PAIRS, f"PAIR: the IMEI would have more than {PAIRS_MAX} SIMs"
    return faults


# Changes.


def diff(before: State, after: State) -> Change:
    """Return the change from one state to another."""
    return {
        fact: (before.get(fact), after.get(fact))
        for fact in before.keys() | after.keys()
        if before.get(fact) != after.get(fact)
    }


def apply(state: State, change: Change) -> State:
    """Return the state after a change. Raises ValueError where it does not begin there."""
    wrong = [fact for fact, (before, _) in change.items() if state.get(fact) != before]
    if wrong:
        raise ValueError(f"the change does not begin at this state: {wrong[0]}")
    merged = {**state, **{fact: after for fact, (_, after) in change.items()}}
    return {fact: value for fact, value in merged.items() if value is not None}


def merge(first: Change, second: Change) -> Change:
    """Return one change for two consecutive ones. Raises ValueError where they are not."""
    merged = dict(first)
    for fact, (before, after) in second.items():
        if fact in first and first[fact][1] != before:
            raise ValueError(f"the changes are not consecutive: {fact}")
        merged[fact] = first.get(fact, (before, None))[0], after
    return {fact: (before, after) for fact, (before, after) in merged.items() if before != after}


def invert(change: Change) -> Change:
    """Return the change that undoes a change."""
    return {fact: (after, before) for fact, (before, after) in change.items()}
