"""What a list says against what is there: the change that makes the tables say the same. Pure.

    Settled, tables ──full: all of its scope──► Change
                    └─delta: what it names────► Change, rows that cannot be

A list of IMEIs speaks of a set (registered one by one; blocked for one cause by one
authority); `pairs` compares pairings, `numbers` subscribers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from eir.identity import SERIALS
from eir.lists import present
from eir.lists.blocks import Mask
from eir.lists.change import Batch, Change
from eir.lists.clash import Settled
from eir.lists.fields import CHANGES, language_text
from eir.lists.report import EXAMPLES_MAX, FAULTS_MAX, Reason, Remarkable, Report
from eir.whitelist.hashtable import contains, find_sorted
from eir.whitelist.order import distinct
from eir.whitelist.rows import RAW, U8, U64, BlockCause, Op
from eir.whitelist.shard import KeyColumns
from eir.whitelist.tables import Generation

ADD, REMOVE, UPDATE = CHANGES["add"], CHANGES["remove"], CHANGES["update"]
_PIECE_ROWS: Final = 1 << 20
_NONE: Final = np.empty(0, np.uint64)
_CAUSES: Final = {"stolen": BlockCause.STOLEN, "barred": BlockCause.BARRED, "barred-tac": BlockCause.BARRED}


@dataclass(frozen=True)
class Scope:
    """Which rows of the tables a list of IMEIs or TACs is about.

    `number` is the authority's in the tables, -1 where it has none there yet.
    """

    cause: int = 0
    authority: str = ""
    number: int = -1

    def keys(self, rows: KeyColumns) -> U64:
        """Keys in the scope."""
        if not self.cause:
            return present.registered(rows)
        return present.blocked(rows, self.cause, self.number) if self.number >= 0 else _NONE

    def batch(self, op: Op, keys: U64) -> Batch:
        """Operations on keys."""
        return Batch(op, keys, cause=self.cause, authority=self.authority)

    @property
    def put(self) -> Op:
        """The operation that puts an IMEI into the scope."""
        return Op.BLOCK if self.cause else Op.REGISTER

    @property
    def take(self) -> Op:
        """The operation that takes it out."""
        return Op.UNBLOCK if self.cause else Op.DEREGISTER


def scope_of(list_name: str, authority: str, number: int) -> Scope:
    """Return the scope of a list of IMEIs or TACs."""
    if list_name == "registration":
        return Scope()
    return Scope(int(_CAUSES[list_name]), authority, number)


@dataclass
class Shelved:
    """Rows of a list that are not in force: keys (sorted) and raw texts; the tables do not hold them."""

    keys: U64
    texts: frozenset[str]

    @classmethod
    def empty(cls) -> Shelved:
        """Make an empty one."""
        return cls(_NONE, frozenset())

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.keys) + len(self.texts)


def imeis(
    generation: Generation, settled: Settled, scope: Scope, shelved: Shelved, report: Report
) -> tuple[Change, Shelved]:
    """Compare a list of IMEIs; returns what changes, and what is shelved then."""
    keys = settled.columns["imei"]
    split = int(np.searchsorted(keys, np.uint64(RAW)))
    if settled.delta:
        return _delta(generation, settled, scope, shelved, report, split)
    in_force = settled.in_force()
    wanted = keys[:split][in_force[:split]]
    texts = [settled.raw_texts[int(key) ^ RAW] for key in keys[split:]]
    wanted_texts = {text for text, force in zip(texts, in_force[split:].tolist(), strict=True) if force}
    change, puts, takes = Change(after=len(settled)), [_NONE], [_NONE]
    for span in present.spans(generation):
        have, edges = scope.keys(span.rows), np.array([span.first, span.end], np.uint64)
        part = wanted[slice(*np.searchsorted(wanted, edges))]
        puts += [some[~contains(have, some)] for some in _pieces(part)]
        takes.append(have[~contains(part, have)])
        rows = slice(*np.searchsorted(keys[:split], edges))
        on_shelf = shelved.keys[slice(*np.searchsorted(shelved.keys, edges))]
        _count(change, have, on_shelf, keys[:split][rows], in_force[:split][rows])
    entries = present.raw_entries(generation)
    have_texts = {text for text, row in entries.items() if len(scope.keys(row))}
    before_texts = have_texts | shelved.texts
    change.before += len(before_texts)
    change.added += len(set(texts) - before_texts)
    change.removed += len(before_texts.difference(texts))
    change.changed += len((have_texts ^ wanted_texts) & before_texts.intersection(texts))
    all_new = sum(map(len, puts)) == len(wanted)
    put, take = wanted if all_new else np.concatenate(puts), np.concatenate(takes)
    del puts, takes
    _emit(generation, change, scope, put, take)
    _emit_texts(change, scope, wanted_texts - have_texts, have_texts - wanted_texts)
    now = Shelved(keys[:split][~in_force[:split]], frozenset(texts) - wanted_texts)
    return change, now


def _pieces(keys: U64) -> list[U64]:
    """Cut keys so that what is worked out of each takes little memory."""
    return [keys[start : start + _PIECE_ROWS] for start in range(0, len(keys), _PIECE_ROWS)]


def _count(change: Change, have: U64, on_shelf: U64, keys: U64, in_force: Mask) -> None:
    """Count what becomes of rows of a full list, in force or not; keys are sorted."""
    before = np.union1d(have, on_shelf) if len(on_shelf) else have
    change.before += len(before)
    change.removed += len(before)
    for start in range(0, len(keys), _PIECE_ROWS):
        some, force = keys[start : start + _PIECE_ROWS], in_force[start : start + _PIECE_ROWS]
        stays = contains(before, some)
        change.added += int((~stays).sum())
        change.removed -= int(stays.sum())
        change.changed += int((stays & (contains(have, some) != force)).sum())


def _emit(generation: Generation, change: Change, scope: Scope, puts: U64, takes: U64) -> None:
    change.add(scope.batch(scope.take, takes))
    change.add(scope.batch(scope.put, puts))
    if (
        scope.number >= 0
    ):  # taking a block off an IMEI takes it out of a range too: what a barred TAC says stays
        ranged = present.in_blocked_ranges(generation, takes, scope.cause, scope.number)
        change.add(Batch(scope.put, ranged, ranged, cause=scope.cause, authority=scope.authority))


def _emit_texts(change: Change, scope: Scope, puts: set[str], takes: set[str]) -> None:
    for op, texts in ((scope.take, takes), (scope.put, puts)):
        change.add(Batch(op, texts=tuple(sorted(texts)), cause=scope.cause, authority=scope.authority))


def _delta(
    generation: Generation, settled: Settled, scope: Scope, shelved: Shelved, report: Report, split: int
) -> tuple[Change, Shelved]:
    """Compare what a delta names with what is there."""
    keys = settled.columns["imei"]
    touched = keys[:split]
    there = np.zeros(len(keys), np.bool_)
    there[:split] = contains(scope.keys(generation.read_keys(touched)), touched)
    on_shelf = np.zeros(len(keys), np.bool_)
    on_shelf[:split] = contains(shelved.keys, touched)
    texts = [settled.raw_texts[int(key) ^ RAW] for key in keys[split:]]
    for place, text in enumerate(texts, split):
        there[place] = len(scope.keys(present.raw_entry(generation, text))) > 0
        on_shelf[place] = text in shelved.texts
    kinds = kinds_of(settled, there | on_shelf, report)
    acts = kinds != 0
    force = settled.in_force() & (kinds != REMOVE) & acts
    put, take = force & ~there, ~force & there & acts
    change = Change()
    _emit(generation, change, scope, touched[put[:split]], touched[take[:split]])
    text_of = np.array(texts, object)
    _emit_texts(change, scope, set(text_of[put[split:]]), set(text_of[take[split:]]))
    change.added, change.removed = int((kinds == ADD).sum()), int((kinds == REMOVE).sum())
    change.changed = int((kinds == UPDATE).sum())
    change.before = size(generation, scope) + len(shelved)
    change.after = change.before + change.added - change.removed
    shelve = ~force & (kinds != REMOVE) & acts
    rest = shelved.keys[~contains(touched[acts[:split]], shelved.keys)]
    now_keys = np.union1d(rest, touched[shelve[:split]])
    now_texts = (shelved.texts - set(text_of[acts[split:]])) | frozenset(text_of[shelve[split:]])
    return change, Shelved(now_keys, now_texts)


def size(generation: Generation, scope: Scope) -> int:
    """Count the rows of a scope."""
    count = sum(len(scope.keys(span.rows)) for span in present.spans(generation))
    return count + sum(len(scope.keys(row)) for row in present.raw_entries(generation).values())


def kinds_of(settled: Settled, listed: Mask, report: Report) -> U8:
    """Return what the rows of a delta do: as in fields.CHANGES, 0 for nothing.

    Rows that add what is there, or remove or update what is not, do nothing: they are
    faults, or warnings where the report is lenient.
    """
    kinds: U8 = settled.columns["change"]
    wrong = (kinds == ADD) == listed
    if not wrong.any():
        return kinds
    if report.lenient:
        lines = [settled.line(place) for place in np.flatnonzero(wrong)[:EXAMPLES_MAX].tolist()]
        report.warnings.pop(Remarkable.IGNORED, None)  # of an attempt before
        report.warn(Remarkable.IGNORED, int(wrong.sum()), lines)
    else:
        for reason, mask in ((Reason.ALREADY_THERE, wrong & listed), (Reason.NOT_THERE, wrong & ~listed)):
            found = np.flatnonzero(mask)
            for place in found[:FAULTS_MAX].tolist():
                report.fault(settled.line(place), *settled.shown(place), reason)
            report.more(reason, max(len(found) - FAULTS_MAX, 0))
    return np.where(wrong, np.uint8(0), kinds)


def tacs(generation: Generation, settled: Settled, scope: Scope, report: Report) -> Change:
    """Compare a list of barred TACs: whole TACs that the authority has barred."""
    wanted = settled.columns["tac"]
    have = present.whole_tacs(generation, scope.cause, scope.number) if scope.number >= 0 else _NONE
    if settled.delta:
        kinds = kinds_of(settled, contains(have, wanted), report)
        puts, takes = wanted[kinds == ADD], wanted[kinds == REMOVE]
    else:
        puts, takes = wanted[~contains(have, wanted)], have[~contains(wanted, have)]
    change = Change(before=len(have), added=len(puts), removed=len(takes))
    change.after = change.before + change.added - change.removed
    for op, some in ((scope.take, takes), (scope.put, puts)):
        first = some * np.uint64(SERIALS)
        last = first + np.uint64(SERIALS - 1)
        change.add(Batch(op, first, last, cause=scope.cause, authority=scope.authority))
    return change


@dataclass(frozen=True)
class Numbers:
    """Subscribers that are there, sorted by IMSI: codes of IMSI and MSISDN, languages by number."""

    imsi: U64
    msisdn: U64
    language: U64


def numbers(have: Numbers, settled: Settled, report: Report) -> Change:
    """Compare a list of subscriber numbers."""
    imsi, msisdn, language = (settled.columns[name] for name in ("imsi", "msisdn", "language"))
    place = find_sorted(have.imsi, imsi)
    listed = place >= 0
    same = listed.copy()
    same[listed] = (have.msisdn[place[listed]] == msisdn[listed]) & (
        have.language[place[listed]] == language[listed]
    )
    change = Change(before=len(have.imsi))
    if settled.delta:
        kinds = kinds_of(settled, listed, report)
        put, gone = (kinds != REMOVE) & (kinds != 0) & ~same, imsi[kinds == REMOVE]
    else:
        put, gone = ~same, have.imsi[~contains(imsi, have.imsi)]
    change.add(Batch(Op.SUBSCRIBER, imsi=gone))
    for code in distinct(language[put]).tolist():
        at = np.flatnonzero(put & (language == np.uint64(code)))
        change.add(Batch(Op.SUBSCRIBER, imsi=imsi[at], msisdn=msisdn[at], language=language_text(code)))
    change.removed, change.changed = len(gone), int((put & listed).sum())
    change.added = int(put.sum()) - change.changed
    change.after = change.before + change.added - change.removed
    return change
