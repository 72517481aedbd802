"""What a delta does to a generation: new rows by table, effects, bad rows.

    Rows ──by space──► keys · raw · IMSIs · ranges · links · TACs ──► Plan

Pure: reads a generation and the rows, and returns what to publish. The store
makes it durable and publishes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from eir.whitelist import apply, imsi_index
from eir.whitelist.apply import BadAmong, Bools, KeyState, Ops
from eir.whitelist.aside import in_order
from eir.whitelist.delta import BadRows, RowReason
from eir.whitelist.filled import Filled, Names
from eir.whitelist.hashtable import I64, Columns, Ragged, gather, spread
from eir.whitelist.items import UNTIL_BITS, UNTIL_MASK, Item, name_of
from eir.whitelist.overlay import Table
from eir.whitelist.plan_links import plan_links
from eir.whitelist.plan_ranges import RangePlan
from eir.whitelist.rows import RAW, U64, Op, Role, Rows
from eir.whitelist.tables import Generation, raw_key, raw_words

_BLOCK_ROWS = 1 << 16
"""Rows worked out together: their columns stay in the cache."""
NO_END = UNTIL_MASK
"""The end of an exemption that has none."""
_KEYED = (
    Op.REGISTER,
    Op.DEREGISTER,
    Op.BLOCK,
    Op.UNBLOCK,
    Op.TRACK,
    Op.UNTRACK,
    Op.PAIR,
    Op.UNPAIR,
    Op.EXEMPT,
    Op.UNEXEMPT,
    Op.GRANDFATHER,
    Op.UNGRANDFATHER,
)
_COUNTED = {
    "registered": 0,
    "pairs": 15,
    "utilizers": Item.UTILIZER,
    "blocks": Item.BLOCK,
    "tracked": Item.TRACK,
}


@dataclass
class Plan:
    """What to publish, and what to report."""

    columns: dict[Table, Columns] = field(default_factory=dict)
    added: Counter[str] = field(default_factory=Counter)
    change: Counter[str] = field(default_factory=Counter)
    """Rows after less rows before, by table."""
    replaced: Counter[str] = field(default_factory=Counter)
    """Rows that got another value: added, and nothing is removed for it."""
    removed: Counter[str] = field(default_factory=Counter)
    """Ranges removed, parts of one as a part of it. Of other tables it follows from the two above."""
    bad: BadRows = field(default_factory=lambda: BadRows(0))
    subscribers: I64 = field(default_factory=lambda: np.empty(0, np.int64))
    """Places of the rows that set subscribers."""


def make(generation: Generation, rows: Rows, names: Names, already_bad: Bools) -> Plan:
    """Work out a delta. Rows already bad are left out."""
    plan = Plan(bad=BadRows.besides(already_bad))
    filled = Filled.of(rows, names)
    usable = ~plan.bad.mask
    present = filled.kinds()
    single = filled.last == 0
    raw = filled.imei >= np.uint64(RAW)
    has_imei = filled.imei != 0
    if len(present) == 1 and next(iter(present)) in _KEYED:
        keyed = usable
    else:
        keyed = usable & np.isin(filled.op, _KEYED)
    replaced = Replaced.of(generation, filled, plan) if Op.REPLACE_SIM in present else None
    ranges = RangePlan(generation, filled, np.flatnonzero(keyed & ~single), plan)
    _plan_keys(generation, filled, rows.by_imei(keyed & single & has_imei & ~raw), ranges, plan, replaced)
    if replaced is not None or raw.any():
        _plan_raw(generation, filled, np.flatnonzero(keyed & raw), rows.raw_texts, plan, replaced)
    if present & {Op.EXEMPT, Op.UNEXEMPT, Op.REPLACE_SIM}:
        _plan_imsis(generation, filled, np.flatnonzero(keyed & ~has_imei), plan, replaced)
    if present & {Op.LINK, Op.UNLINK}:
        plan_links(generation, filled, usable, plan)
    if Op.TAC in present:
        _plan_tacs(generation, filled, np.flatnonzero(usable & (filled.op == Op.TAC)), plan)
    if Op.SUBSCRIBER in present:
        plan.subscribers = np.flatnonzero(usable & (filled.op == Op.SUBSCRIBER))
    ranges.emit()
    return plan


# -- keys ------------------------------------------------------------------------------------------


def _plan_keys(
    generation: Generation,
    filled: Filled,
    index: I64 | None,
    ranges: RangePlan,
    plan: Plan,
    replaced: Replaced | None,
) -> None:
    """Plan the rows of keys; `index` are their places in the order of the keys, None: all, as they stand."""
    ended = ranges.keys_ended()
    keys = filled.imei if index is None else filled.imei[index]
    more = np.concatenate((ended, replaced.keys)) if replaced else ended
    # Keys that no row names may lie anywhere among the others: then all go at once.
    blocks = [(0, len(keys))] if len(more) else list(_blocks(keys))
    distinct = [_distinct(keys[start:end], more) for start, end in blocks]
    found = in_order(generation.read_keys, [unique for unique, _ in distinct])
    gathered = _Gathered(sum(len(unique) for unique, _ in distinct))
    for (start, end), (unique, place), before in zip(blocks, distinct, found, strict=True):
        rows = np.arange(start, end) if index is None else index[start:end]
        state = KeyState.of(before.head, before.extra)
        counts = state.counts()
        if replaced is not None:
            replaced.apply(state)
        bad = BadAmong(plan.bad, rows)
        _Space(state, filled.take(rows), place[: len(rows)], unique, ranges, plan, bad).perform(
            np.searchsorted(unique, ended)
        )
        _count(plan, counts, state.counts())
        columns = Columns(unique, *state.packed())
        if bad.count:
            touched = np.zeros(len(unique), bool)
            touched[place[len(rows) :]] = True
            touched[place[: len(rows)][bad.good()]] = True
            columns = columns.take(np.flatnonzero(touched))
        gathered.add(columns)
    if blocks:
        plan.columns[Table.KEYS] = gathered.columns(None if len(more) else keys)


class _Gathered:
    """Rows of one block after another, each at its place when it comes: memory does not double."""

    def __init__(self, rows_max: int) -> None:
        self._heads = np.empty(rows_max, np.uint64)
        self._first = np.zeros(rows_max + 1, np.int64)
        self._keys: list[U64] = []
        self._words: list[U64] = []
        self._rows = 0

    def add(self, part: Columns) -> None:
        """Take the rows of a block."""
        start, end = self._rows, self._rows + len(part)
        self._heads[start:end] = part.heads
        if len(part.extra.words) or self._words:
            self._first[start + 1 : end + 1] = part.extra.first[1:] + self._first[start]
            self._words.append(part.extra.words)
        self._keys.append(part.keys)
        self._rows = end

    def columns(self, keys: U64 | None) -> Columns:
        """Return all rows; `keys` are those of all blocks, which need no copy where each made a row."""
        if keys is None or self._rows != len(keys):
            keys = np.concatenate(self._keys)
        words = np.concatenate(self._words) if self._words else np.empty(0, np.uint64)
        return Columns(keys, self._heads[: self._rows], Ragged(self._first[: self._rows + 1], words))


def _blocks(keys: U64) -> Iterator[tuple[int, int]]:
    """Cut sorted keys where they change, so that what is worked out of a block stays in the cache."""
    start = 0
    while start < len(keys):
        end = min(start + _BLOCK_ROWS, len(keys))
        if end < len(keys):
            end = int(np.searchsorted(keys, keys[end]))
            if end <= start:
                end = int(np.searchsorted(keys, keys[start], side="right"))
        yield start, end
        start = end


def _distinct(keys: U64, more: U64) -> tuple[U64, I64]:
    """Find the distinct keys of sorted ones and some more, and the place of each among them."""
    if len(more):
        unique, place = np.unique(np.concatenate((keys, more)), return_inverse=True)
        return unique, place
    first = np.ones(len(keys), bool)
    first[1:] = keys[1:] != keys[:-1]
    if first.all():
        return keys, np.arange(len(keys))
    return keys[first], np.cumsum(first) - 1


def _count(plan: Plan, before: I64, after: I64) -> None:
    step = after - before
    for table, kind in _COUNTED.items():
        plan.change[table] += int(step[kind])
    plan.change["exemptions"] += int(step[Item.EXEMPT_IMEI] + step[Item.EXEMPT_PAIR])
    plan.change["grandfathered"] += int(step[Item.GRANDFATHER_IMEI] + step[Item.GRANDFATHER_PAIR])
    plan.change["imsi_exemptions"] += int(step[Item.EXEMPT_IMSI])


@dataclass(frozen=True)
class _Space:
    """Operations on one space of keys: IMEI keys, or raw texts (which have no ranges)."""

    state: KeyState
    rows: Filled
    place: I64
    """Place of the key of each row."""
    keys: U64
    ranges: RangePlan | None
    plan: Plan
    bad: BadAmong

    def perform(self, ended: I64) -> None:
        """Apply the operations in their canonical order; `ended` are keys that lose a registered range."""
        present = self.rows.kinds()
        self._remove(present, ended)
        self._add(present)

    def _of(self, kind: Op, role: int | None = None) -> Ops:
        wanted = self.rows.op == kind
        if role is not None:
            wanted &= (self.rows.cause == Role.UTILIZER) == (role == Role.UTILIZER)
        if wanted.all():
            return self.rows.ops(np.arange(len(wanted)), self.place)
        return self.rows.ops(np.flatnonzero(wanted), self.place[wanted])

    def _counted(self, table: str, ops: Ops, bad_before: int) -> None:
        self.plan.added[table] += len(ops) - (self.bad.count - bad_before)

    def _cut(self, ops: Ops, cause: U64, authority: U64) -> Bools:
        """Take keys off ranges; tells those that were in one."""
        if self.ranges is None:
            return np.zeros(len(ops), bool)
        return self.ranges.cut_keys(self.keys[ops.at], cause, authority)

    def _remove(self, present: set[int], ended: I64) -> None:
        state, bad = self.state, self.bad
        if Op.UNPAIR in present:
            apply.unpair(state, self._of(Op.UNPAIR), bad)
        for kind, what in (
            (Op.UNEXEMPT, "exemption"),
            (Op.UNBLOCK, "block of this cause by this authority"),
            (Op.UNTRACK, "tracking"),
            (Op.UNGRANDFATHER, "grandfathering"),
        ):
            if kind in present:
                ops = self._of(kind)
                cut = self._cut(ops, ops.cause, ops.name) if kind == Op.UNBLOCK else None
                apply.drop_items(state, ops, _name(kind, ops), bad, what, cut)
        apply.end_pairs(state, ended[~state.registered[ended]])
        if Op.DEREGISTER in present:
            ops = self._of(Op.DEREGISTER)
            registration = np.zeros(len(ops), np.uint64)
            apply.deregister(state, ops, self._cut(ops, registration, registration), bad)

    def _add(self, present: set[int]) -> None:
        state, bad = self.state, self.bad
        if Op.REGISTER in present:
            ops, before = self._of(Op.REGISTER), bad.count
            apply.register(state, ops, bad)
            self._counted("registered", ops, before)
        if Op.PAIR in present:
            for role, table, pair in (
                (Role.OWNER, "pairs", apply.pair_owner),
                (Role.UTILIZER, "utilizers", apply.pair_utilizer),
            ):
                ops, before = self._of(Op.PAIR, role), bad.count
                if len(ops):
                    pair(state, ops, bad)
                    self._counted(table, ops, before)
        for kind, table, what in (
            (Op.BLOCK, "blocks", "block"),
            (Op.TRACK, "tracked", "tracking"),
            (Op.EXEMPT, "exemptions", "exemption"),
            (Op.GRANDFATHER, "grandfathered", "grandfathering"),
        ):
            if kind in present:
                ops, before = self._of(kind), bad.count
                replace = kind == Op.EXEMPT
                name, value = _name(kind, ops), _value(kind, ops)
                self.plan.replaced[table] += apply.put_items(
                    state, ops, name, value, bad, what, replace=replace
                )
                self._counted(table, ops, before)


def _name(kind: Op, ops: Ops) -> U64:
    """Names of the items that operations are about."""
    if kind in (Op.BLOCK, Op.UNBLOCK):
        return np.uint64(name_of(Item.BLOCK)) | ops.cause << np.uint64(16) | ops.name
    if kind in (Op.TRACK, Op.UNTRACK):
        return np.full(len(ops), name_of(Item.TRACK), np.uint64)
    alone, pair = (
        (Item.EXEMPT_IMEI, Item.EXEMPT_PAIR)
        if kind in (Op.EXEMPT, Op.UNEXEMPT)
        else (Item.GRANDFATHER_IMEI, Item.GRANDFATHER_PAIR)
    )
    return np.where(ops.imsi == 0, np.uint64(name_of(alone)), np.uint64(name_of(pair)) | ops.imsi)


def _value(kind: Op, ops: Ops) -> U64:
    """Values of the items that operations set."""
    if kind == Op.EXEMPT:
        return ops.cause << np.uint64(UNTIL_BITS) | np.where(ops.time == 0, np.uint64(NO_END), ops.time)
    return ops.time if kind == Op.GRANDFATHER else np.zeros(len(ops), np.uint64)


# -- SIMs replaced ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Replaced:
    """SIMs that a delta replaces: rows sorted by the former code, and where those stand."""

    row: I64
    old: U64
    new: U64
    keys: U64
    raw: U64

    @classmethod
    def of(cls, generation: Generation, filled: Filled, plan: Plan) -> Replaced:
        """Find out where the former SIMs stand; refuse those unknown, and new ones that stand there too."""
        row = np.flatnonzero((filled.op == Op.REPLACE_SIM) & ~plan.bad.mask)
        row = row[np.argsort(filled.former[row])]
        old, new = filled.former[row], filled.imsi[row]
        keys, raw = imsi_index.keys_of(generation, old), imsi_index.raw_of(generation, old)
        states = [KeyState.of(rows.head, rows.extra) for rows in [generation.read_keys(keys)]]
        rows = generation.read_common(Table.RAW, raw)
        states.append(KeyState.of(rows.heads, _without_text(rows.extra)))
        found, clash = _exemptions_moved(generation, old, new)
        for state in states:
            here, clashing = apply.replace_sims(state, old, new)
            found, clash = found | here, clash | clashing
        plan.bad.add(row[~found], RowReason.NOT_THERE, "nothing is kept of former_imsi")
        plan.bad.add(
            row[clash], RowReason.SIM_CONFLICT, "the new IMSI already stands where the former one does"
        )
        good = found & ~clash
        return cls(row[good], old[good], new[good], keys, raw)

    def apply(self, state: KeyState) -> None:
        """Replace them in a state."""
        apply.replace_sims(state, self.old, self.new)


def _exemptions_moved(generation: Generation, old: U64, new: U64) -> tuple[Bools, Bools]:
    """Tell which former codes are exempt by themselves, and which new ones are too."""
    exempt = [
        generation.read_common(Table.IMSI, np.sort(codes)).extra.counts()[np.argsort(np.argsort(codes))] > 0
        for codes in (old, new)
    ]
    return exempt[0], exempt[0] & exempt[1]


# -- raw texts, IMSIs, TACs ------------------------------------------------------------------------


def _without_text(extra: Ragged) -> Ragged:
    """Words of raw rows without their text, which is the last two."""
    keep = np.maximum(extra.counts() - 2, 0)
    return gather(extra.words, extra.first[:-1], keep)


def _plan_raw(
    generation: Generation,
    filled: Filled,
    index: I64,
    raw_texts: list[str],
    plan: Plan,
    replaced: Replaced | None,
) -> None:
    texts = [raw_texts[int(place)] for place in filled.imei[index] & np.uint64(RAW - 1)]
    hashes = np.array([raw_key(text) for text in texts], np.uint64)
    more = replaced.raw if replaced is not None else np.empty(0, np.uint64)
    unique, place = np.unique(np.concatenate((hashes, more)), return_inverse=True)
    place = place[: len(index)]
    before = generation.read_common(Table.RAW, unique)
    there = np.flatnonzero(before.extra.counts())
    own = np.zeros((len(unique), 2), np.uint64)
    ends = before.extra.first[1:][there]
    own[there, 0], own[there, 1] = before.extra.words[ends - 2], before.extra.words[ends - 1]
    given = np.array([raw_words(text) for text in texts], np.uint64).reshape(-1, 2)
    clash = np.isin(place, there) & (own[place] != given).any(axis=1)
    plan.bad.add(
        index[clash], RowReason.IMEI_INVALID, "another raw entry has the same hash; it cannot be held"
    )
    index, place = index[~clash], place[~clash]
    own[place] = given[~clash]
    state = KeyState.of(before.heads, _without_text(before.extra))
    before_counts = state.counts()
    if replaced is not None:
        replaced.apply(state)
    _Space(state, filled.take(index), place, unique, None, plan, BadAmong(plan.bad, index)).perform(
        np.empty(0, np.int64)
    )
    _count(plan, before_counts, state.counts())
    head, extra = state.packed()
    alive = np.flatnonzero((head != 0) | (extra.counts() > 0))
    counts = extra.counts()
    counts[alive] += 2
    words = Ragged.of(counts, np.empty(int(counts.sum()), np.uint64))
    words.words[spread(words.first[:-1], extra.counts())] = extra.words
    words.words[words.first[1:][alive] - 2] = own[alive, 0]
    words.words[words.first[1:][alive] - 1] = own[alive, 1]
    plan.change["raw"] += len(alive) - len(there)
    plan.columns[Table.RAW] = Columns(unique, head, words)


def _plan_imsis(
    generation: Generation, filled: Filled, index: I64, plan: Plan, replaced: Replaced | None
) -> None:
    none = np.empty(0, np.uint64)
    old, new = (replaced.old, replaced.new) if replaced is not None else (none, none)
    unique, place = np.unique(np.concatenate((filled.imsi[index], old, new)), return_inverse=True)
    before = generation.read_common(Table.IMSI, unique)
    state = KeyState.of(before.heads, before.extra)
    counts = state.counts()
    name = np.full(len(unique), name_of(Item.EXEMPT_IMSI), np.uint64)
    source, target = place[len(index) :].reshape(2, -1)
    here = state.match(source, name[source])
    moved = here >= 0
    value = state.item_value[here[moved]]
    state.drop(here[moved])
    state.put(target[moved], name[target[moved]], value)
    kind = filled.op[index]
    for op in (Op.UNEXEMPT, Op.EXEMPT):
        wanted = kind == op
        ops = filled.ops(index[wanted], place[: len(index)][wanted])
        names = name[ops.at]
        if op == Op.EXEMPT:
            replaced_count = apply.put_items(
                state, ops, names, _value(op, ops), plan.bad, "exemption", replace=True
            )
            plan.replaced["imsi_exemptions"] += replaced_count
            plan.added["imsi_exemptions"] += int((~plan.bad.mask[ops.row]).sum())
        else:
            apply.drop_items(state, ops, names, plan.bad, "exemption")
    _count(plan, counts, state.counts())
    head, extra = state.packed()
    plan.columns[Table.IMSI] = Columns(unique, head, extra)


def _plan_tacs(generation: Generation, filled: Filled, index: I64, plan: Plan) -> None:
    order = np.argsort(filled.imei[index])
    tacs, index = filled.imei[index][order], index[order]
    before = generation.read_common(Table.TACS, tacs).heads
    # Names are numbered from 1, 0 is the empty name: the type is removed.
    heads = filled.name[index]
    same = heads == before
    plan.bad.add(
        index[same & (heads != 0)], RowReason.ALREADY_THERE, "the TAC is of this device type already"
    )
    plan.bad.add(index[same & (heads == 0)], RowReason.NOT_THERE, "the TAC has no device type to remove")
    good = ~same
    plan.added["tacs"] += int((good & (heads != 0)).sum())
    plan.change["tacs"] += int((heads[good] != 0).sum()) - int((before[good] != 0).sum())
    plan.columns[Table.TACS] = Columns(tacs[good], heads[good], Ragged.empty(int(good.sum())))
