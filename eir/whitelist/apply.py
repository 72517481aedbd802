"""Operations on rows: what a delta makes of the state of its keys.

    state of the touched keys ──replace──► ──remove──► ──add──► new state, bad rows

Pure and on whole columns. One `KeyState` holds the rows of one space of keys:
IMEI keys, raw texts or IMSIs. The order of phases is that of a delta, whose rows
have no order of their own: SIMs replaced, then removals, then additions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from eir.whitelist import items
from eir.whitelist.delta import PAIRS_MAX, BadRows, RowReason
from eir.whitelist.hashtable import I64, Ragged
from eir.whitelist.items import CODE_MASK, REGISTERED, Item, name_of
from eir.whitelist.rows import U64, Role

Bools = npt.NDArray[np.bool_]


@dataclass
class BadAmong:
    """Bad rows among some of a delta: `rows` are those, by place."""

    whole: BadRows
    rows: I64
    count: int = 0
    """How many were marked here."""

    def add(self, places: I64, reason: RowReason, message: str) -> None:
        """Mark rows by their place among these; each at most once."""
        if len(places):
            self.whole.add(self.rows[places], reason, message)
            self.count += len(places)

    def good(self) -> Bools:
        """Tell which of these rows are not bad."""
        return ~self.whole.mask[self.rows]


class Marks(Protocol):
    """Where operations mark bad rows."""

    def add(self, rows: I64, reason: RowReason, message: str) -> None:
        """Mark rows."""


@dataclass
class KeyState:
    """State of the touched keys, changed in place.

    registered bool[n], owner u64[n] (IMSI code), items as columns sorted by row:
    item_row i64[m], item_name u64[m], item_value u64[m].
    """

    registered: Bools
    owner: U64
    item_row: I64
    item_name: U64
    item_value: U64

    @classmethod
    def of(cls, head: U64, extra: Ragged) -> KeyState:
        """Unpack heads and words."""
        row, name, value = items.from_words(extra)
        return cls((head & np.uint64(REGISTERED)) != 0, head & np.uint64(CODE_MASK), row, name, value)

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self.owner)

    def packed(self) -> tuple[U64, Ragged]:
        """Heads and words of the state."""
        head = self.owner | np.where(self.registered, np.uint64(REGISTERED), np.uint64(0))
        return head, items.to_words(self.item_row, self.item_name, self.item_value, len(self))

    def match(self, row: I64, name: U64) -> I64:
        """Place of the item of this name at each row, -1 where there is none."""
        out = np.full(len(row), -1, np.int64)
        if not len(self.item_row) or not len(row):
            return out
        count = np.bincount(self.item_row, minlength=len(self))
        todo = np.flatnonzero(count[row])
        if not len(todo):
            return out
        end = np.cumsum(count)[row[todo]]
        at = end - count[row[todo]]
        while len(todo):
            hit = self.item_name[at] == name[todo]
            out[todo[hit]] = at[hit]
            at = at + 1
            go_on = ~hit & (at < end)
            todo, at, end = todo[go_on], at[go_on], end[go_on]
        return out

    def drop(self, places: I64) -> None:
        """Remove items by place."""
        if len(places):
            keep = np.ones(len(self.item_row), bool)
            keep[places] = False
            self.item_row, self.item_name, self.item_value = (
                self.item_row[keep],
                self.item_name[keep],
                self.item_value[keep],
            )

    def drop_kind(self, rows: I64, kind: Item) -> None:
        """Remove all items of a kind at these rows."""
        if len(self.item_row) and len(rows):
            wanted = (self.item_name >> np.uint64(items.KIND_SHIFT)) == np.uint64(kind)
            if wanted.any():
                mine = np.zeros(len(self), bool)
                mine[rows] = True
                self.drop(np.flatnonzero(wanted & mine[self.item_row]))

    def put(self, row: I64, name: U64, value: U64) -> None:
        """Add items (none of which is there)."""
        if not len(row):
            return
        row = np.concatenate((self.item_row, row))
        name = np.concatenate((self.item_name, name))
        value = np.concatenate((self.item_value, value))
        step = np.diff(row)
        ordered = (step > 0).all() or ((step >= 0) & ((step > 0) | (name[1:] > name[:-1]))).all()
        order = slice(None) if ordered else np.lexsort((name, row))
        self.item_row, self.item_name, self.item_value = row[order], name[order], value[order]

    def counts(self) -> npt.NDArray[np.int64]:
        """Items by kind; place 0 is registered, place 15 owners."""
        kinds = (self.item_name >> np.uint64(items.KIND_SHIFT)).astype(np.int64)
        out = np.bincount(kinds, minlength=16).astype(np.int64)
        out[0], out[15] = np.count_nonzero(self.registered), np.count_nonzero(self.owner)
        return out


class Columns(Protocol):
    """Columns of a whole delta, by row."""

    @property
    def imsi(self) -> U64:
        """IMSI codes."""

    @property
    def former(self) -> U64:
        """IMSI codes of former owners."""

    @property
    def time(self) -> U64:
        """Seconds since the Unix epoch."""

    @property
    def cause(self) -> U64:
        """Causes or roles."""

    @property
    def name(self) -> U64:
        """Numbers of authorities or device types."""


@dataclass(frozen=True)
class Ops:
    """Operations of one kind: rows of the delta, and the place of the key of each."""

    columns: Columns
    row: I64
    at: I64

    def __len__(self) -> int:
        """Return the number of operations."""
        return len(self.row)

    def take(self, index: I64 | Bools) -> Ops:
        """Return the operations at these places."""
        return Ops(self.columns, self.row[index], self.at[index])

    @cached_property
    def imsi(self) -> U64:
        """IMSI codes."""
        return _rows(self.columns.imsi, self.row)

    @cached_property
    def former(self) -> U64:
        """IMSI codes of former owners."""
        return _rows(self.columns.former, self.row)

    @cached_property
    def time(self) -> U64:
        """Seconds since the Unix epoch."""
        return _rows(self.columns.time, self.row)

    @cached_property
    def cause(self) -> U64:
        """Causes or roles."""
        return _rows(self.columns.cause, self.row)

    @cached_property
    def name(self) -> U64:
        """Numbers of authorities or device types."""
        return _rows(self.columns.name, self.row)


def _rows(column: U64, row: I64) -> U64:
    """Take rows of a column, in its order: all, where there are as many."""
    return column if len(row) == len(column) else rows_of(column, row)


def rows_of(column: U64, row: I64) -> U64:
    """Take rows of a column; one of a single value takes no memory, before and after."""
    return column.take(row) if column.strides[0] else np.broadcast_to(column[:1].sum(), len(row))


def _refuse(ops: Ops, wrong: Bools, bad: Marks, reason: RowReason, message: str) -> Ops:
    """Report the wrong ones, go on with the rest."""
    if not wrong.any():
        return ops
    bad.add(ops.row[wrong], reason, message)
    return ops.take(~wrong)


# -- replace ---------------------------------------------------------------------------------------


_OF_IMSI: Final = (Item.UTILIZER, Item.EXEMPT_PAIR, Item.GRANDFATHER_PAIR)


def replace_sims(state: KeyState, old: U64, new: U64) -> tuple[Bools, Bools]:
    """Turn sorted IMSI codes into others wherever they stand.

    Returns for each whether anything had it, and whether its new code already
    stood on the same key, so that the state is of no use.
    """
    owner_at, owner_of = _positions(old, state.owner)
    kind = state.item_name >> np.uint64(items.KIND_SHIFT)
    subject = np.where(np.isin(kind, _OF_IMSI), state.item_name & np.uint64(items.SUBJECT_MASK), np.uint64(0))
    item_at, item_of = _positions(old, subject)
    row = np.concatenate((owner_at, state.item_row[item_at]))
    which = np.concatenate((owner_of, item_of))
    # A pair clashes with a pair, an item with one of its own kind.
    of_pair = np.concatenate((np.ones(len(owner_at), bool), kind[item_at] == np.uint64(Item.UTILIZER)))
    own_kind = np.concatenate((np.full(len(owner_at), Item.UTILIZER, np.uint64), kind[item_at]))
    clash = (state.owner[row] == new[which]) & of_pair
    clash |= state.match(row, new[which] | own_kind << np.uint64(items.KIND_SHIFT)) >= 0
    found, clashes = np.zeros(len(old), bool), np.zeros(len(old), bool)
    found[which] = True
    clashes[which[clash]] = True
    state.owner[owner_at] = new[owner_of]
    state.item_name[item_at] = (kind[item_at] << np.uint64(items.KIND_SHIFT)) | new[item_of]
    order = np.lexsort((state.item_name, state.item_row))
    state.item_row, state.item_name, state.item_value = (
        state.item_row[order],
        state.item_name[order],
        state.item_value[order],
    )
    return found, clashes


def _positions(wanted: U64, values: U64) -> tuple[I64, I64]:
    """Places of values that are wanted (sorted), and which."""
    if not len(wanted):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    place = np.minimum(np.searchsorted(wanted, values), len(wanted) - 1)
    at = np.flatnonzero((wanted[place] == values) & (values != 0))
    return at, place[at]


# -- remove ----------------------------------------------------------------------------------------


def unpair(state: KeyState, ops: Ops, bad: Marks) -> None:
    """End pairs; an owner's end ends the utilizers of the slot too."""
    owner = state.owner[ops.at] == ops.imsi
    owner &= ops.cause != Role.UTILIZER
    ended = ops.at[owner]
    if len(ended) < len(ops):
        others = ops.take(~owner)
        place = state.match(others.at, others.imsi | np.uint64(name_of(Item.UTILIZER)))
        place[others.cause == Role.OWNER] = -1
        _refuse(others, place < 0, bad, RowReason.NOT_THERE, "the IMEI is not paired with this IMSI")
        state.drop(place[place >= 0])
    state.owner[ended] = 0
    state.drop_kind(ended, Item.UTILIZER)


def drop_items(
    state: KeyState, ops: Ops, name: U64, bad: Marks, what: str, elsewhere: Bools | None = None
) -> None:
    """Remove one item a row; `elsewhere` tells rows that take something off a range."""
    place = state.match(ops.at, name)
    wrong = place < 0 if elsewhere is None else (place < 0) & ~elsewhere
    _refuse(ops, wrong, bad, RowReason.NOT_THERE, f"there is no {what} to remove")
    state.drop(place[place >= 0])


def deregister(state: KeyState, ops: Ops, in_range: Bools, bad: Marks) -> None:
    """End the registration and the pairs; `in_range` tells keys in a registered range."""
    wrong = ~state.registered[ops.at] & ~in_range
    ops = _refuse(ops, wrong, bad, RowReason.NOT_THERE, "the IMEI is not registered")
    state.registered[ops.at] = False
    end_pairs(state, ops.at)


def end_pairs(state: KeyState, at: I64) -> None:
    """End owner and utilizers of these keys."""
    state.owner[at] = 0
    state.drop_kind(at, Item.UTILIZER)


# -- add -------------------------------------------------------------------------------------------


def register(state: KeyState, ops: Ops, bad: Marks) -> None:
    """Register IMEIs individually."""
    wrong = state.registered[ops.at]
    ops = _refuse(ops, wrong, bad, RowReason.ALREADY_THERE, "the IMEI is registered already")
    state.registered[ops.at] = True


def pair_owner(state: KeyState, ops: Ops, bad: Marks) -> None:
    """Pair owners: an activation, or a transfer that names the owner it expects."""
    present = state.owner[ops.at]
    there = (present == ops.imsi) & (present != 0)
    ops = _refuse(ops, there, bad, RowReason.ALREADY_THERE, "the IMSI owns the IMEI already")
    present = present if len(ops) == len(present) else present[~there]
    wrong = present != ops.former
    if wrong.any():
        owned = wrong & (present != 0)
        bad.add(
            ops.row[owned],
            RowReason.OWNER_MISMATCH,
            "the IMEI is owned by another IMSI than former_imsi says; a transfer names the owner it expects",
        )
        bad.add(
            ops.row[wrong & ~owned], RowReason.OWNER_MISMATCH, "the IMEI has no owner, former_imsi names one"
        )
        ops, present = ops.take(~wrong), present[~wrong]
    transferred = present != 0
    if transferred.any():
        transfer, former = ops.take(transferred), present[transferred]
        gone = state.match(transfer.at, former | np.uint64(name_of(Item.GRANDFATHER_PAIR)))
        state.drop(gone[gone >= 0])
        state.drop_kind(transfer.at, Item.UTILIZER)
    state.owner[ops.at] = ops.imsi


def pair_utilizer(state: KeyState, ops: Ops, bad: Marks) -> None:
    """Pair utilizers: SIMs the owner declared for the slot."""
    ops = _refuse(
        ops, state.owner[ops.at] == 0, bad, RowReason.NO_OWNER, "the IMEI has no owner to declare a utilizer"
    )
    name = ops.imsi | np.uint64(name_of(Item.UTILIZER))
    wrong = (state.owner[ops.at] == ops.imsi) | (state.match(ops.at, name) >= 0)
    ops = _refuse(ops, wrong, bad, RowReason.ALREADY_THERE, "the IMSI is paired with the IMEI already")
    is_pair = (state.item_name >> np.uint64(items.KIND_SHIFT)) == np.uint64(Item.UTILIZER)
    pairs = (
        np.bincount(state.item_row[is_pair], minlength=len(state))
        + 1
        + np.bincount(ops.at, minlength=len(state))
    )
    wrong = pairs[ops.at] > PAIRS_MAX
    ops = _refuse(ops, wrong, bad, RowReason.TOO_MANY_PAIRS, f"more than {PAIRS_MAX} IMSIs on one IMEI")
    state.put(ops.at, ops.imsi | np.uint64(name_of(Item.UTILIZER)), np.zeros(len(ops), np.uint64))


def put_items(
    state: KeyState, ops: Ops, name: U64, value: U64, bad: Marks, what: str, *, replace: bool = False
) -> int:
    """Add one item a row; with `replace`, one that is there with another value is replaced.

    Returns how many were replaced.
    """
    place = state.match(ops.at, name)
    there = place >= 0
    same = there.copy()
    if replace:
        same[there] = state.item_value[place[there]] == value[there]
    _refuse(ops, same, bad, RowReason.ALREADY_THERE, f"this {what} is there already")
    changed = there & ~same
    state.item_value[place[changed]] = value[changed]
    new = ~there
    state.put(ops.at[new], name[new], value[new])
    return int(changed.sum())


# -- ranges ----------------------------------------------------------------------------------------


@dataclass
class Intervals:
    """Disjoint closed intervals, sorted: [first[i], last[i]]. Adjacent ones are one."""

    first: I64
    last: I64

    def holds(self, first: I64, last: I64) -> Bools:
        """Tell which spans lie wholly inside one interval."""
        if not len(self.first):
            return np.zeros(len(first), bool)
        place = np.searchsorted(self.first, first, side="right") - 1
        return (place >= 0) & (last <= self.last[np.maximum(place, 0)])

    def touches(self, first: I64, last: I64) -> Bools:
        """Tell which spans overlap any interval."""
        if not len(self.first):
            return np.zeros(len(first), bool)
        place = np.searchsorted(self.first, last, side="right") - 1
        return (place >= 0) & (self.last[np.maximum(place, 0)] >= first)

    def without(self, first: I64, last: I64) -> Intervals:
        """Cut disjoint spans out, each inside one interval."""
        starts = np.sort(np.concatenate((self.first, last + 1)))
        ends = np.sort(np.concatenate((self.last, first - 1)))
        some = starts <= ends
        return Intervals(starts[some], ends[some])

    def with_spans(self, first: I64, last: I64) -> Intervals:
        """Add disjoint spans that overlap no interval."""
        starts = np.sort(np.concatenate((self.first, first)))
        ends = np.sort(np.concatenate((self.last, last)))
        if not len(starts):
            return self
        breaks = np.concatenate(([True], starts[1:] != ends[:-1] + 1))
        return Intervals(starts[breaks], ends[np.concatenate((breaks[1:], [True]))])
