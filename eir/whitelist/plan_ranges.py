"""Ranges of a delta: interval sets by TAC, cause and authority.

Registered ranges are cause 0. Intervals of one kind are disjoint, and adjacent
ones are one, so that the state does not depend on how it came about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eir.identity import SERIALS
from eir.whitelist.apply import Bools, Intervals
from eir.whitelist.delta import RowReason
from eir.whitelist.hashtable import Columns, I64, Ragged
from eir.whitelist.items import CODE_MASK, REGISTERED
from eir.whitelist.overlay import Table
from eir.whitelist.rows import Op, U64
from eir.whitelist.shard_encode import RangeColumns, flatten_ranges, unflatten_ranges

if TYPE_CHECKING:
    from eir.whitelist.plan import Filled, Plan
    from eir.whitelist.tables import Generation

_GROUP_STEP = 1 << 21
"""Coordinates of one (TAC, cause, authority); more than its serials, so that groups never touch."""
_SCAN_ROWS = 1 << 18


class RangePlan:
    """Collects what a delta does to ranges; `emit` works it out at the end."""

    def __init__(self, generation: Generation, filled: Filled, index: I64, plan: Plan) -> None:
        """Take the rows that are ranges."""
        self.generation, self.filled, self.index, self.plan = generation, filled, index, plan
        self.cuts: list[U64] = []
        op = filled.op[index]
        cause = filled.cause[index]
        self.cause = np.where((op == Op.BLOCK) | (op == Op.UNBLOCK), cause, np.uint64(0))
        self.name = np.where(self.cause != 0, filled.name[index], np.uint64(0))
        self.remove = (op == Op.DEREGISTER) | (op == Op.UNBLOCK)

    def keys_ended(self) -> U64:
        """Paired keys of deregistered ranges that are not registered individually."""
        at = self.index[self.remove & (self.cause == 0)]
        found = []
        for first, last in zip(self.filled.imei[at].tolist(), self.filled.last[at].tolist(), strict=True):
            for start in range(first, last + 1, _SCAN_ROWS):
                keys = np.arange(start, min(start + _SCAN_ROWS, last + 1), dtype=np.uint64)
                head = self.generation.read_keys(keys).head
                found.append(keys[((head & np.uint64(REGISTERED)) == 0) & ((head & np.uint64(CODE_MASK)) != 0)])
        return np.concatenate(found) if found else np.empty(0, np.uint64)

    def cut_keys(self, keys: U64) -> Bools:
        """Tell which keys lie in a registered range; those are cut out of it."""
        if not len(keys):
            return np.zeros(0, bool)
        present = self._existing(np.unique(keys // np.uint64(SERIALS)))
        registered = present.take(present.cause == 0)
        base = registered.tac * np.uint64(SERIALS)
        spans = Intervals((base + registered.first).astype(np.int64), (base + registered.last).astype(np.int64))
        key = keys.astype(np.int64)
        held = spans.holds(key, key)
        self.cuts.append(keys[held])
        return held

    def _existing(self, tacs: U64) -> RangeColumns:
        pieces = self.generation.read_ranges(tacs)
        return unflatten_ranges(np.repeat(tacs, pieces.counts()), pieces.words)

    def emit(self) -> None:
        """Work out all removals, then all additions, and put the TACs' new pieces into the plan."""
        bad = self.plan.bad
        cuts = np.unique(np.concatenate(self.cuts)) if self.cuts else np.empty(0, np.uint64)
        first_key = self.filled.imei[self.index]
        tac = first_key // np.uint64(SERIALS)
        cut_tac = cuts // np.uint64(SERIALS)
        tacs = np.unique(np.concatenate((tac, cut_tac)))
        if not len(tacs):
            return
        first = (first_key - tac * np.uint64(SERIALS)).astype(np.int64)
        last = (self.filled.last[self.index] - tac * np.uint64(SERIALS)).astype(np.int64)
        present = self._existing(tacs)
        groups, number = np.unique(
            np.concatenate(
                (
                    _group(present.tac, present.cause, present.authority),
                    _group(tac, self.cause, self.name),
                    _group(cut_tac, np.zeros_like(cut_tac), np.zeros_like(cut_tac)),
                )
            ),
            return_inverse=True,
        )
        base = number.astype(np.int64) * _GROUP_STEP
        n, m = len(present), len(self.index)
        own, of_ops, of_cuts = base[:n], base[n : n + m], base[n + m :]
        start = own + present.first.astype(np.int64)
        order = np.argsort(start)
        spans = Intervals(start[order], (own + present.last.astype(np.int64))[order])
        before = self._counts(groups, spans)

        low, high = of_ops + first, of_ops + last
        gone = np.flatnonzero(self.remove)
        wrong = ~spans.holds(low[gone], high[gone])
        bad.add(self.index[gone[wrong]], RowReason.NOT_THERE, "the range is not wholly inside ranges of this kind")
        gone = gone[~wrong]
        cut = of_cuts + (cuts - cut_tac * np.uint64(SERIALS)).astype(np.int64)
        removed = Intervals(np.empty(0, np.int64), np.empty(0, np.int64)).with_spans(
            low[gone][np.argsort(low[gone])], high[gone][np.argsort(low[gone])]
        )
        cut = cut[~removed.touches(cut, cut)] if len(gone) else cut
        spans = spans.without(np.concatenate((low[gone], cut)), np.concatenate((high[gone], cut)))

        new = np.flatnonzero(~self.remove)
        wrong = spans.touches(low[new], high[new])
        bad.add(self.index[new[wrong]], RowReason.ALREADY_THERE, "the range overlaps one that is there already")
        new = new[~wrong]
        spans = spans.with_spans(low[new], high[new])
        after = self._counts(groups, spans)
        for table, place in (("registered_ranges", 0), ("blocked_ranges", 1)):
            self.plan.change[table] += after[place] - before[place]
            of_table = (self.cause[new] == 0) == (place == 0)
            self.plan.added[table] += int(of_table.sum())
        self.plan.columns[Table.RANGES] = self._columns(tacs, groups, spans)

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


def _group(tac: U64, cause: U64, authority: U64) -> U64:
    return tac << np.uint64(24) | cause << np.uint64(16) | authority
