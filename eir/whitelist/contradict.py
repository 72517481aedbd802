"""Rows of a delta against each other: repeats and contradictions. Pure, by whole columns.

A delta is a set: every row is a claim on a subject (an IMEI's registration, a
pair, a SIM that is replaced). Rows with one subject repeat each other where they
claim the same, and contradict each other otherwise.

    rows ──by subject──► same claim ───► REPEATS_ROW (all but the first)
                    └──► other claims ─► CONTRADICTS_ROW (all of them)

Besides: ranges that overlap, a PAIR of an IMEI that is deregistered, and a row
about a SIM that is replaced.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from eir.errors import DeltaTooLargeError
from eir.whitelist.delta import BadRow, BadRows, RowReason
from eir.whitelist.rows import Op, Role, Rows

Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Column = npt.NDArray[np.unsignedinteger[Any]]


class Domain(NamedTuple):
    """Rows that speak of one thing: their kinds, the columns that name it, those that claim of it."""

    ops: frozenset[Op]
    subject: tuple[str, ...]
    claim: tuple[str, ...]


_REGISTERING: Final = frozenset({Op.REGISTER, Op.DEREGISTER})
_BLOCKING: Final = frozenset({Op.BLOCK, Op.UNBLOCK})
_OWNING: Final = Domain(frozenset({Op.PAIR}), ("imei",), ("imsi", "former_imsi"))
_SINGLE: Final = (
    Domain(_REGISTERING, ("imei",), ("op",)),
    Domain(_BLOCKING, ("imei", "cause", "name"), ("op",)),
    Domain(frozenset({Op.PAIR, Op.UNPAIR}), ("imei", "imsi"), ("op", "cause", "former_imsi")),
    _OWNING,
    Domain(frozenset({Op.TRACK, Op.UNTRACK}), ("imei",), ("op",)),
    Domain(frozenset({Op.EXEMPT, Op.UNEXEMPT}), ("imei", "imsi"), ("op", "time", "cause")),
    Domain(frozenset({Op.GRANDFATHER, Op.UNGRANDFATHER}), ("imei", "imsi"), ("op", "time")),
    Domain(frozenset({Op.REPLACE_SIM}), ("former_imsi",), ("imsi",)),
    Domain(frozenset({Op.REPLACE_SIM}), ("imsi",), ("former_imsi",)),
    Domain(frozenset({Op.SUBSCRIBER}), ("imsi",), ("time", "name")),
    Domain(frozenset({Op.TAC}), ("imei",), ("name",)),
)
"""Domains of rows without imei_last."""
_RANGES: Final = (
    Domain(_REGISTERING, ("imei", "imei_last"), ("op",)),
    Domain(_BLOCKING, ("imei", "imei_last", "cause", "name"), ("op",)),
)
_GROUPS_MAX: Final = 150_000
"""Pairs of cause and authority with ranges in one delta: so many keys fit 64 bits side by side."""
_KEYS: Final = np.uint64(10**14)


def contradictions(rows: Rows, row_base: int = 0) -> tuple[Index, list[BadRow]]:
    """Find rows that repeat or contradict another row; IGNORED rows do not count.

    Returns the indexes of all of them, ascending, and descriptions of at most
    BAD_ROWS_MAX. Costs one pass over a column where rows are sorted by IMEI.
    """
    finder = _Finder(rows, row_base)
    for domain in _SINGLE:
        finder.compare(domain)
    finder.compare_links()
    finder.compare_replaced()
    finder.compare_deregistered()
    for domain in _RANGES:
        finder.compare_ranges(domain)
    return np.flatnonzero(finder.bad.mask), finder.bad.report()


class _Finder:
    """Compares the rows of one delta."""

    def __init__(self, rows: Rows, row_base: int) -> None:
        self.rows = rows
        self.row_base = row_base
        self.bad = BadRows(len(rows), row_base)
        self.counts = np.bincount(rows.op, minlength=max(Op) + 1)

    def select(self, ops: frozenset[Op], more: Mask | None = None) -> Index | slice:
        """Rows of these kinds, where `more` holds too; a slice where it is all rows, which costs no copy."""
        count = sum(self.counts[op] for op in ops)
        if not count:
            return np.zeros(0, np.int64)
        if count < len(self.rows):
            kinds = np.isin(np.arange(max(Op) + 1), list(ops))[self.rows.op]
            more = kinds if more is None else more & kinds
        return slice(None) if more is None or more.all() else np.flatnonzero(more)

    def compare(self, domain: Domain) -> None:
        """Compare rows without imei_last."""
        if not any(self.counts[op] for op in domain.ops):
            return
        more = None
        if self.rows.imei_last is not None and domain.ops & (_REGISTERING | _BLOCKING):
            more = self.rows.imei_last == 0
        elif domain is _OWNING:
            more = self.rows.column("cause") == Role.OWNER
        selected = self.select(domain.ops, more)
        subject, claim = ([self.rows.column(name)[selected] for name in names] for names in domain[1:])
        by_imei = domain.subject[0] == "imei" and isinstance(selected, slice)
        self.compare_columns(selected, subject, claim, self.repeated_imeis if by_imei else None)

    @cached_property
    def repeated_imeis(self) -> Index:
        """Rows whose IMEI another has too, ascending."""
        return _repeated(self.rows.column("imei"), self.rows.imei_order)

    def compare_columns(
        self,
        selected: Index | slice,
        subject: list[Column],
        claim: list[Column],
        repeated: Index | None = None,
    ) -> Index:
        """Compare selected rows by columns of theirs; return those that only repeat another.

        `repeated` are those whose first subject another has too, where that is known.
        """
        chosen = _repeated(subject[0]) if repeated is None else repeated
        chosen = chosen[np.lexsort([column[chosen] for column in reversed(subject)])]
        if not len(chosen):
            return chosen
        new = np.ones(len(chosen), np.bool_)
        new[1:] = _differ([column[chosen] for column in subject], slice(1, None), slice(None, -1))
        first = np.maximum.accumulate(np.where(new, np.arange(len(chosen)), 0))  # of each one's group
        other = _differ([column[chosen] for column in claim], slice(None), first)
        at = chosen if isinstance(selected, slice) else selected[chosen]
        repeats = at[~new & ~other]
        self.mark(repeats, at[first][~new & ~other], RowReason.REPEATS_ROW)
        self.mark(at[other], at[first][other], RowReason.CONTRADICTS_ROW)
        self.mark(at[first][other], at[other], RowReason.CONTRADICTS_ROW)
        return repeats

    def mark(self, at: Index, others: Index, reason: RowReason) -> None:
        """Mark rows, each with the other row it clashes with; the first of several counts."""
        if len(at):
            unique, place = np.unique(at, return_index=True)
            other_of = dict(zip(unique.tolist(), others[place].tolist(), strict=True))
            marked = np.zeros(len(self.rows), np.bool_)
            marked[at] = True
            verb = "repeats" if reason is RowReason.REPEATS_ROW else "contradicts"
            self.bad.add(marked, reason, lambda row: self.message(verb, other_of[row]))

    def message(self, verb: str, other: int) -> str:
        """Say which row a row clashes with."""
        return f"{verb} row {self.row_base + other}, a {Op(self.rows.op[other]).name}"

    def compare_links(self) -> None:
        """Compare LINK and UNLINK by the two slots, whichever comes first."""
        selected = self.select(frozenset({Op.LINK, Op.UNLINK}))
        one, other, op = (self.rows.column(name)[selected] for name in ("imei", "imei_other", "op"))
        separated = np.where(op == Op.UNLINK, other, np.uint64(0))
        self.compare_columns(selected, [np.minimum(one, other), np.maximum(one, other)], [op, separated])

    def compare_replaced(self) -> None:
        """Compare REPLACE_SIM with rows about the SIM it replaces; a subscriber's entry does not move."""
        if self.counts[Op.REPLACE_SIM]:
            replacing = np.flatnonzero(self.rows.op == Op.REPLACE_SIM)
            about = np.flatnonzero(
                (self.rows.op != Op.SUBSCRIBER) & (self.rows.op != 0) & (self.rows.column("imsi") != 0)
            )
            self.cross(replacing, self.rows.column("former_imsi"), about, self.rows.column("imsi"))

    def compare_deregistered(self) -> None:
        """Compare DEREGISTER of one IMEI with PAIR of it; in a range, pairs are added after the removal."""
        if self.counts[Op.DEREGISTER] and self.counts[Op.PAIR]:
            removing = np.flatnonzero((self.rows.op == Op.DEREGISTER) & (self.rows.column("imei_last") == 0))
            pairing = np.flatnonzero(self.rows.op == Op.PAIR)
            self.cross(removing, self.rows.column("imei"), pairing, self.rows.column("imei"))

    def cross(self, left: Index, left_column: Column, right: Index, right_column: Column) -> None:
        """Mark rows of both sides that have one value in the given columns."""
        for these, their_column, those, other_column in (
            (left, left_column, right, right_column),
            (right, right_column, left, left_column),
        ):
            ordered = those[np.argsort(other_column[those], kind="stable")]
            values, sought = other_column[ordered], their_column[these]
            place = np.minimum(np.searchsorted(values, sought), max(len(values) - 1, 0))
            hit = values[place] == sought if len(values) else np.zeros(len(these), np.bool_)
            self.mark(these[hit], ordered[place[hit]], RowReason.CONTRADICTS_ROW)

    def compare_ranges(self, domain: Domain) -> None:
        """Compare ranges: equal ones as other rows, then those that overlap."""
        if self.rows.imei_last is None or not any(self.counts[op] for op in domain.ops):
            return
        selected = self.select(domain.ops, self.rows.imei_last != 0)
        subject, claim = ([self.rows.column(name)[selected] for name in names] for names in domain[1:])
        repeats = self.compare_columns(selected, subject, claim)
        at = np.arange(len(self.rows))[selected]
        at = at[~np.isin(at, repeats)]
        first, last = self.rows.column("imei")[at], self.rows.column("imei_last")[at]
        if len(domain.subject) > 2:
            group = (
                self.rows.column("cause")[at].astype(np.uint64) << np.uint64(16)
                | self.rows.column("name")[at]
            )
            kinds, group_index = np.unique(group, return_inverse=True)
            if len(kinds) > _GROUPS_MAX:
                raise DeltaTooLargeError(f"the delta has ranges of {len(kinds)} causes and authorities")
            first = first + group_index.astype(np.uint64) * _KEYS
            last = last + group_index.astype(np.uint64) * _KEYS
        if not (first[1:] >= first[:-1]).all():
            order = np.argsort(first, kind="stable")
            at, first, last = at[order], first[order], last[order]
        furthest = np.maximum.accumulate(last) if len(last) else last
        holder = np.maximum.accumulate(np.where(last == furthest, np.arange(len(at)), 0)) if len(at) else at
        later = np.flatnonzero(first[1:] <= furthest[:-1]) + 1  # overlap an earlier one
        self.mark(at[later], at[holder[later - 1]], RowReason.CONTRADICTS_ROW)
        earlier = np.flatnonzero(first[1:] <= last[:-1])  # overlap the next one
        self.mark(at[earlier], at[earlier + 1], RowReason.CONTRADICTS_ROW)


def _differ(columns: list[Column], here: slice, there: slice | Index) -> Mask:
    """Tell where any of the columns differs between two places."""
    differ: Mask = columns[0][here] != columns[0][there]
    for column in columns[1:]:
        differ |= column[here] != column[there]
    return differ


def _repeated(values: Column, order: Index | None = None) -> Index:
    """Places of the values that occur more than once, ascending; `order` sorts them, where it is known."""
    if (values[1:] > values[:-1]).all():
        return np.zeros(0, np.int64)
    if order is not None:
        ascending = values[order]
    else:
        ascending = values if (values[1:] >= values[:-1]).all() else np.sort(values)
    again = ascending[1:] == ascending[:-1]
    if ascending is values or order is not None:
        mask = np.zeros(len(values), np.bool_)
        mask[1:] |= again
        mask[:-1] |= again
        return np.flatnonzero(mask) if order is None else np.sort(order[mask])
    twice = np.unique(ascending[1:][again])
    return np.flatnonzero(np.isin(values, twice)) if len(twice) else np.zeros(0, np.int64)
