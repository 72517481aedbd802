"""A list of pairs against the pairings that are there. Pure.

    pairs wanted of an IMEI ──owner there is among them──► it stays, utilizers change
                           └─ it is not ─────────────────► the first of the file becomes owner

The first SIM that a file names for an IMEI is its owner, further ones are utilizers;
an owner that the tables have stays owner as long as the file names it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from eir.lists import present
from eir.lists.blocks import Mask
from eir.lists.change import Batch, Change
from eir.lists.clash import Settled
from eir.lists.compare import ADD, REMOVE, kinds_of
from eir.lists.present import Pairs
from eir.lists.report import Report
from eir.whitelist.hashtable import I64, Ragged, find_sorted
from eir.whitelist.rows import RAW, U8, U64, Op, Role
from eir.whitelist.shard import KeyColumns
from eir.whitelist.tables import Generation

_NONE: Final = np.empty(0, np.uint64)
_NO_PAIRS: Final = Pairs(_NONE, _NONE, Ragged.empty())


@dataclass
class _Columns:
    """Operations on pairs as they are found: parts of columns, and single ones."""

    parts: list[tuple[U64, U64, U64]] = field(default_factory=list)
    single: list[tuple[int, int, int]] = field(default_factory=list)

    def columns(self) -> tuple[U64, U64, U64]:
        """IMEI, IMSI, former IMSI."""
        single = np.array(self.single, np.uint64).reshape(-1, 3)
        parts = [*self.parts, (single[:, 0], single[:, 1], single[:, 2])]
        one, two, three = (np.concatenate([part[column] for part in parts]) for column in range(3))
        order = np.argsort(one, kind="stable")
        return one[order], two[order], three[order]


@dataclass
class Found:
    """All that changes."""

    change: Change = field(default_factory=Change)
    unpaired: _Columns = field(default_factory=_Columns)
    owners: _Columns = field(default_factory=_Columns)
    utilizers: _Columns = field(default_factory=_Columns)
    texts: list[tuple[Op, int, str, int, int]] = field(default_factory=list)

    def turn(self, imei: int, text: str, before: list[int], after: list[int]) -> None:
        """Turn the SIMs of one IMEI, the owner first, into others."""
        added, removed = set(after) - set(before), set(before) - set(after)
        self.change.added += len(added)
        self.change.removed += len(removed)
        if not added and not removed:
            return
        if not after:
            self._one(Op.UNPAIR, 0, imei, text, before[0], 0)
        elif before and before[0] in after:
            for imsi in sorted(removed):
                self._one(Op.UNPAIR, 0, imei, text, imsi, 0)
            for imsi in after:
                if imsi in added:
                    self._one(Op.PAIR, Role.UTILIZER, imei, text, imsi, 0)
        else:  # a transfer ends the utilizers there were: those that stay are declared again
            self._one(Op.PAIR, Role.OWNER, imei, text, after[0], before[0] if before else 0)
            for imsi in after[1:]:
                self._one(Op.PAIR, Role.UTILIZER, imei, text, imsi, 0)

    def _one(self, op: Op, role: int, imei: int, text: str, imsi: int, former: int) -> None:
        if text:
            self.texts.append((op, role, text, imsi, former))
        else:
            kind = (
                self.unpaired if op == Op.UNPAIR else self.utilizers if role == Role.UTILIZER else self.owners
            )
            kind.single.append((imei, imsi, former))

    def finish(self) -> Change:
        """Return the change with its batches."""
        for op, role, columns in (
            (Op.UNPAIR, 0, self.unpaired),
            (Op.PAIR, Role.OWNER, self.owners),
            (Op.PAIR, Role.UTILIZER, self.utilizers),
        ):
            imei, imsi, former = columns.columns()
            self.change.add(
                Batch(op, imei, imsi=imsi, former_imsi=former if op == Op.PAIR else None, role=role)
            )
        for kind in dict.fromkeys((op, role) for op, role, *_ in self.texts):
            rows = [row for row in self.texts if row[:2] == kind]
            self.change.add(
                Batch(
                    kind[0],
                    texts=tuple(row[2] for row in rows),
                    imsi=np.array([row[3] for row in rows], np.uint64),
                    former_imsi=np.array([row[4] for row in rows], np.uint64),
                    role=kind[1],
                )
            )
        return self.change


def pairs(generation: Generation, settled: Settled, report: Report) -> Change:
    """Compare a list of pairs."""
    found = Found()
    keys = settled.columns["imei"]
    split = int(np.searchsorted(keys, np.uint64(RAW)))
    if settled.delta:
        _delta(generation, settled, report, found, split)
        found.change.before = sum(_size(span.rows) for span in present.spans(generation))
        found.change.before += sum(_size(row) for row in present.raw_entries(generation).values())
    else:
        for span in present.spans(generation):
            low, high = np.searchsorted(keys[:split], np.array([span.first, span.end], np.uint64))
            have = present.paired(span.rows)
            found.change.before += len(have.keys) + len(have.utilizers.words)
            _full(settled, int(low), int(high), have, found)
        wanted = _by_text(settled, split)
        entries = present.raw_entries(generation)
        for text in sorted(wanted.keys() | entries.keys()):
            before = sims(present.paired(entries[text]), 0) if text in entries else []
            found.change.before += len(before)
            found.turn(0, text, before, _in_order(before, wanted.get(text, [])))
    change = found.finish()
    change.after = change.before + change.added - change.removed
    return change


def _size(rows: KeyColumns) -> int:
    have = present.paired(rows)
    return len(have.keys) + len(have.utilizers.words)


def sims(have: Pairs, place: int) -> list[int]:
    """SIMs of an IMEI, the owner first; none where there is no such place."""
    if place >= len(have.keys) or place < 0:
        return []
    owner = int(have.owner[place])
    return [owner, *have.utilizers.run(place).tolist()] if owner else have.utilizers.run(place).tolist()


def _in_order(before: list[int], wanted: list[int]) -> list[int]:
    """SIMs wanted, the owner first: who is owner stays it, else the first of the file becomes it."""
    if before and before[0] in wanted:
        return [before[0]] + [sim for sim in wanted if sim != before[0]]
    return wanted


def _by_text(settled: Settled, split: int) -> dict[str, list[int]]:
    """SIMs of raw IMEIs, in the order of the file."""
    out: dict[str, list[int]] = {}
    for place in np.argsort(settled.row[split:], kind="stable") + split:
        text = settled.raw_texts[int(settled.columns["imei"][place]) ^ RAW]
        out.setdefault(text, []).append(int(settled.columns["imsi"][place]))
    return out


def _full(settled: Settled, low: int, high: int, have: Pairs, found: Found) -> None:
    """Compare the rows from `low` to `high` with the pairs of the same span of keys."""
    imei, imsi = settled.columns["imei"][low:high], settled.columns["imsi"][low:high]
    starts = np.flatnonzero(np.diff(imei, prepend=np.uint64(0)))
    count = np.diff(starts, append=len(imei))
    keys = imei[starts]
    place = find_sorted(have.keys, keys)
    utilizers = have.utilizers.counts()
    owner = np.zeros(len(keys), np.uint64)
    owner[place >= 0] = have.owner[place[place >= 0]]
    simple = count == 1
    simple[place >= 0] &= utilizers[place[place >= 0]] == 0
    first = imsi[starts]
    turned = simple & (owner != first)
    found.owners.parts.append((keys[turned], first[turned], owner[turned]))
    found.change.added += int(turned.sum())
    found.change.removed += int((turned & (owner != 0)).sum())
    gone = np.ones(len(have.keys), np.bool_)
    gone[place[place >= 0]] = False
    ended = have.owner[gone]
    found.unpaired.parts.append((have.keys[gone], ended, np.zeros_like(ended)))
    found.change.removed += int(gone.sum()) + int(utilizers[gone].sum())
    rows = settled.row[low:high]
    for index in np.flatnonzero(~simple).tolist():
        group = slice(int(starts[index]), int(starts[index] + count[index]))
        before = sims(have, int(place[index]))
        wanted = imsi[group][np.argsort(rows[group])].tolist()
        found.turn(int(keys[index]), "", before, _in_order(before, wanted))


def _delta(generation: Generation, settled: Settled, report: Report, found: Found, split: int) -> None:
    """Compare what a delta names with what is there."""
    imei, imsi = settled.columns["imei"], settled.columns["imsi"]
    starts = np.flatnonzero(np.diff(imei, prepend=np.uint64(0))) if len(imei) else np.empty(0, np.int64)
    count = np.diff(starts, append=len(imei))
    keyed = int(np.searchsorted(starts, split))
    have = present.paired(generation.read_keys(imei[starts[:keyed]]))
    place = np.full(len(starts), -1, np.int64)
    place[:keyed] = find_sorted(have.keys, imei[starts[:keyed]])
    owner, alone = np.zeros(len(starts), np.uint64), np.ones(len(starts), np.bool_)
    there = place >= 0
    owner[there] = have.owner[place[there]]
    alone[there] = (have.utilizers.counts() == 0)[place[there]]
    alone[keyed:] = False
    listed = imsi == np.repeat(owner, count)
    before: dict[int, list[int]] = {}
    for group in np.flatnonzero(~alone).tolist():
        start, end = int(starts[group]), int(starts[group] + count[group])
        row = _raw_pairs(generation, settled, start) if group >= keyed else have
        before[group] = sims(row, 0 if group >= keyed else int(place[group]))
        listed[start:end] = np.isin(imsi[start:end], np.array(before[group], np.uint64))
    kinds = kinds_of(settled, listed, report)
    done = _turn_alone(settled, kinds, starts, count, owner, alone, found)
    for group in np.flatnonzero(~done).tolist():
        start, end = int(starts[group]), int(starts[group] + count[group])
        order: I64 = start + np.argsort(settled.row[start:end])
        rows = list(zip(imsi[order].tolist(), kinds[order].tolist(), strict=True))
        have_now = before.get(group, [int(owner[group])] if owner[group] else [])
        removed = {sim for sim, kind in rows if kind == REMOVE}
        after = [sim for sim in have_now if sim not in removed]
        after += [sim for sim, kind in rows if kind == ADD and sim not in have_now]
        text = settled.raw_texts[int(imei[start]) ^ RAW] if group >= keyed else ""
        found.turn(0 if text else int(imei[start]), text, have_now, after)


def _raw_pairs(generation: Generation, settled: Settled, at: int) -> Pairs:
    """Pairs of the raw IMEI of a row."""
    text = settled.raw_texts[int(settled.columns["imei"][at]) ^ RAW]
    return present.paired(present.raw_entry(generation, text))


def _turn_alone(
    settled: Settled, kinds: U8, starts: I64, count: I64, owner: U64, alone: Mask, found: Found
) -> Mask:
    """Take what most deltas are made of, all at once: one row of an IMEI, or its owner and another SIM.

    `alone`: the IMEI has at most an owner. Returns which IMEIs are done.
    """
    imei, imsi = settled.columns["imei"], settled.columns["imsi"]
    first = kinds[starts]
    one = alone & (count == 1)
    none = np.zeros(len(starts), np.uint64)
    for mask, columns, former in (
        (one & (first == ADD) & (owner == 0), found.owners, none),
        (one & (first == ADD) & (owner != 0), found.utilizers, none),
        (one & (first == REMOVE), found.unpaired, none),
    ):
        columns.parts.append((imei[starts[mask]], imsi[starts[mask]], former[mask]))
    found.change.added += int((one & (first == ADD)).sum())
    found.change.removed += int((one & (first == REMOVE)).sum())
    two = np.flatnonzero(alone & (count == 2) & (owner != 0))
    kind, other = first[two], kinds[starts[two] + 1]
    swapped = (np.minimum(kind, other) == ADD) & (np.maximum(kind, other) == REMOVE)
    two, kind = two[swapped], kind[swapped]
    added = starts[two] + (kind != ADD)
    found.owners.parts.append((imei[added], imsi[added], owner[two]))
    found.change.added += len(two)
    found.change.removed += len(two)
    done: Mask = one.copy()
    done[two] = True
    return done
