"""Ranges of a delta: interval sets by TAC, cause and authority.

Registered ranges are cause 0. Intervals of one kind are disjoint, and adjacent
ones are one, so that the state does not depend on how it came about.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eir.identity import SERIALS
from eir.whitelist.apply import Bools, Intervals
from eir.whitelist.delta import RowReason
from eir.whitelist.hashtable import I64, Columns, Ragged
from eir.whitelist.items import CODE_MASK, REGISTERED, piece_parts
from eir.whitelist.order import distinct
from eir.whitelist.overlay import Table
from eir.whitelist.rows import U64, Op
from eir.whitelist.shard_rows import RangeColumns, flatten_ranges, unflatten_ranges

if TYPE_CHECKING:
    from eir.whitelist.filled import Filled
    from eir.whitelist.plan import Plan
    from eir.whitelist.tables import Generation

_GROUP_STEP = 1 << 21
"""Coordinates of one (TAC, cause, authority); more than its serials, so that groups never touch."""


@dataclass(frozen=True)
class Placed:
    """Present ranges and spans asked about on one line: each kind of range has a stretch of its own."""

    groups: U64
    present: Intervals
    first: I64
    last: I64


class RangePlan:
    """Collects what a delta does to ranges; `emit` works it out at the end."""

    def __init__(self, generation: Generation, filled: Filled, index: I64, plan: Plan) -> None:
        """Take the rows that are ranges; refuse removals of what is not there."""
        self.generation, self.filled, self.plan = generation, filled, plan
        self.cuts: list[tuple[U64, U64]] = []
        op = filled.op[index]
        remove = (op == Op.DEREGISTER) | (op == Op.UNBLOCK)
        gone = index[remove]
        if len(gone):
            placed = self._placed(filled.imei[gone], filled.last[gone], self._kinds(gone))
            wrong = ~placed.present.holds(placed.first, placed.last)
            plan.bad.add(
                gone[wrong], RowReason.NOT_THERE, "the range is not wholly inside ranges of this kind"
            )
            gone = gone[~wrong]
        self.gone, self.new = gone, index[~remove]

    def _kinds(self, index: I64) -> U64:
        """Cause and authority of rows: 0 is registration."""
        op = self.filled.op[index]
        block = (op == Op.BLOCK) | (op == Op.UNBLOCK)
        kind = self.filled.cause[index] << np.uint64(16) | self.filled.name[index]
        return np.where(block, kind, np.uint64(0))

    def keys_ended(self) -> U64:
        """Paired keys of deregistered ranges that are not registered individually."""
        at = self.gone[self.filled.op[self.gone] == Op.DEREGISTER]
        spans = zip(self.filled.imei[at].tolist(), self.filled.last[at].tolist(), strict=True)
        keys = distinct(
            np.concatenate([np.empty(0, np.uint64), *(self.generation.paired_keys(*span) for span in spans)])
        )
        head = self.generation.read_keys(keys).head
        ended: U64 = keys[((head & np.uint64(REGISTERED)) == 0) & ((head & np.uint64(CODE_MASK)) != 0)]
        return ended

    def cut_keys(self, keys: U64, cause: U64, authority: U64) -> Bools:
        """Tell which keys lie in a range of this kind; those are cut out of it."""
        held = np.zeros(len(keys), bool)
        near = self._in_pieces(keys)  # few: most keys are registered and blocked one by one
        if len(near):
            keys, kinds = keys[near], cause[near] << np.uint64(16) | authority[near]
            placed = self._placed(keys, keys, kinds)
            inside = placed.present.holds(placed.first, placed.last)
            held[near] = inside
            self.cuts.append((keys[inside], kinds[inside]))
        return held

    def _in_pieces(self, keys: U64) -> I64:
        """Places of the keys that lie in a range of whatever kind."""
        tacs = distinct(keys // np.uint64(SERIALS))
        pieces = self.generation.read_ranges(tacs)
        if not len(pieces.words):
            return np.empty(0, np.int64)
        first, last, _, _ = piece_parts(pieces.words)
        base = np.repeat(tacs * np.uint64(SERIALS), pieces.counts())
        # Pieces of a TAC are disjoint or the same span: the last one that begins before a key tells.
        place = np.searchsorted(base + first, keys, side="right") - 1
        return np.flatnonzero((place >= 0) & (keys <= (base + last).take(place, mode="clip")))

    def _placed(self, first: U64, last: U64, kinds: U64) -> Placed:
        """Put spans, and all ranges of their TACs, on one line."""
        tac = first // np.uint64(SERIALS)
        tacs = distinct(tac)
        pieces = self.generation.read_ranges(tacs)
        present = unflatten_ranges(np.repeat(tacs, pieces.counts()), pieces.words)
        of_present = present.cause << np.uint64(16) | present.authority
        of_all = np.concatenate((present.tac << np.uint64(24) | of_present, tac << np.uint64(24) | kinds))
        groups = distinct(of_all)
        base = np.searchsorted(groups, of_all) * _GROUP_STEP
        n = len(present)
        start = base[:n] + present.first.astype(np.int64)
        order = np.argsort(start, kind="stable")
        spans = Intervals(start[order], (base[:n] + present.last.astype(np.int64))[order])
        offset = base[n:] - (tac * np.uint64(SERIALS)).astype(np.int64)
        return Placed(groups, spans, first.astype(np.int64) + offset, last.astype(np.int64) + offset)

    def emit(self) -> None:
        """Work out all removals, then all additions, and put the TACs' new pieces into the plan."""
        cut = np.concatenate([np.empty(0, np.uint64), *(keys for keys, _ in self.cuts)])
        cut_kinds = np.concatenate([np.empty(0, np.uint64), *(kinds for _, kinds in self.cuts)])
        rows = np.concatenate((self.gone, self.new))
        first = np.concatenate((self.filled.imei[rows], cut))
        last = np.concatenate((self.filled.last[rows], cut))
        if not len(first):
            return
        placed = self._placed(first, last, np.concatenate((self._kinds(rows), cut_kinds)))
        groups, spans = placed.groups, placed.present
        before = self._counts(groups, spans)
        n, m = len(self.gone), len(rows)
        removed = _disjoint(*(np.concatenate((side[:n], side[m:])) for side in (placed.first, placed.last)))
        self._count_removed(groups, spans, *removed)
        spans = spans.without(*removed)
        low, high = placed.first[n:m], placed.last[n:m]
        wrong = spans.touches(low, high)
        self.plan.bad.add(
            self.new[wrong], RowReason.ALREADY_THERE, "the range overlaps one that is there already"
        )
        spans = spans.with_spans(low[~wrong], high[~wrong])
        after = self._counts(groups, spans)
        registered = self._kinds(self.new[~wrong]) == 0
        for table, place, count in (
            ("registered_ranges", 0, int(registered.sum())),
            ("blocked_ranges", 1, int((~registered).sum())),
        ):
            self.plan.change[table] += after[place] - before[place]
            self.plan.added[table] += count
        tacs = distinct(first // np.uint64(SERIALS))
        self.plan.columns[Table.RANGES] = self._columns(tacs, groups, spans)

    def _count_removed(self, groups: U64, spans: Intervals, first: I64, last: I64) -> None:
        """Count ranges removed: their number says nothing, for a hole makes two of one."""
        holder = np.searchsorted(spans.first, first, side="right") - 1
        share = (last - first + 1) / (spans.last[holder] - spans.first[holder] + 1)
        registered = (groups[first // _GROUP_STEP] & np.uint64(0xFFFFFF)) == 0
        for table, mine in (("registered_ranges", registered), ("blocked_ranges", ~registered)):
            self.plan.removed[table] = math.ceil(round(float(share[mine].sum()), 6))

    @staticmethod
    def _counts(groups: U64, spans: Intervals) -> tuple[int, int]:
        registered = (groups[spans.first // _GROUP_STEP] & np.uint64(0xFFFFFF)) == 0
        return int(registered.sum()), int((~registered).sum())

    @staticmethod
    def _columns(tacs: U64, groups: U64, spans: Intervals) -> Columns:
        number = spans.first // _GROUP_STEP
        group = groups[number]
        ranges = RangeColumns(
            group >> np.uint64(24),
            (spans.first - number * _GROUP_STEP).astype(np.uint64),
            (spans.last - number * _GROUP_STEP).astype(np.uint64),
            (group >> np.uint64(16)) & np.uint64(0xFF),
            group & np.uint64(0xFFFF),
        )
        tac, pieces = flatten_ranges(ranges)
        counts = np.searchsorted(tac, tacs, side="right") - np.searchsorted(tac, tacs)
        return Columns(tacs, np.zeros(len(tacs), np.uint64), Ragged.of(counts, pieces))


def _disjoint(first: I64, last: I64) -> tuple[I64, I64]:
    """Spans that overlap or repeat as disjoint ones."""
    if not len(first):
        return first, last
    order = np.argsort(first)
    first, last = first[order], np.maximum.accumulate(last[order])
    opens = np.concatenate(([True], first[1:] > last[:-1]))
    return first[opens], last[np.concatenate((opens[1:], [True]))]
