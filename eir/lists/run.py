"""One list from its file into the tables, whole or not at all.

    FILE ──read──► settled ──┬──► compare with a view ──► guard ──► one delta
                             └────────── again, where others changed the tables meanwhile ─┘

A delta is computed against the tables at one serial. Where other feeds have changed
the same rows until it arrives, it is refused as a whole, and computed anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from eir.errors import RejectedError
from eir.lists import clash, compare, parse, sample, uids
from eir.lists.change import Change, shrink_fault
from eir.lists.clash import Settled
from eir.lists.compare import Numbers, Shelved
from eir.lists.errors import ListError, ListGuardError, ListRefusedError, PushRefusedError
from eir.lists.formats import BYTES_MAX, ROWS_MAX, Grammar, HeaderError, ListFormat, read_header
from eir.lists.formats import Header as ListHeader
from eir.lists.open import opened
from eir.lists.pairs import pairs
from eir.lists.parse import Parser
from eir.lists.report import Reason, Remarkable, Report
from eir.lists.shelf import Arrays, Shelf
from eir.policy import Policy
from eir.whitelist.delta import Applied, Header
from eir.whitelist.subscribers import SubscriberRows
from eir.whitelist.view import View

ATTEMPTS_MAX: Final = 5
"""How often a change is computed anew where others change the tables meanwhile."""
MOVED: Final = frozenset({"DELTA_ROWS_REFUSED", "DELTA_GAP", "DELTA_CONFLICT"})
"""Reasons that a change of the tables by others explains."""
UID_LISTS: Final = ("subscribers", "associations")


class Target(Protocol):
    """Where lists go: a store, a running daemon and its data directory, or a stream."""

    counts_refusals: bool
    """Who refuses a delta there counts it in its metrics."""

    def view(self) -> View:
        """Read the tables as they are now."""

    def subscribers(self) -> Iterator[SubscriberRows]:
        """Iterate over all subscribers, by IMSI code."""

    def reference(self, feed: str, sequence: int) -> str:
        """Return the reference of a delta; empty where there is none."""

    def push(self, header: Header, change: Change) -> Applied:
        """Apply a delta. Raises PushRefusedError."""


@dataclass(frozen=True)
class Where:
    """Where lists go, and the shelf beside it."""

    target: Target
    shelf: Shelf


@dataclass(frozen=True)
class Options:
    """How files are read and applied."""

    list_name: str = ""
    delta: bool | None = None
    """What the file must be; None: as its header says."""
    encoding: str = ""
    loose: bool = False
    in_force: str = ""
    feed: str = ""
    authority: str = ""
    complete_until: int = 0
    dry_run: bool = False
    override: bool = False
    lenient: bool = False
    lenient_feeds: frozenset[str] = frozenset()
    """Feeds that are lenient by the configuration."""
    rows_max: int = ROWS_MAX
    bytes_max: int = BYTES_MAX
    policy: Policy | None = None
    """What a dry run checks a sample by; None: it does not."""
    sample_rows: int = 1_000


@dataclass
class Outcome:
    """What came of one file."""

    file: str
    report: Report = field(default_factory=Report)
    list_name: str = ""
    delta: bool = False
    row_count: int = 0
    feed: str = ""
    sequence: int = 0
    serial: int = 0
    change: Change | None = None
    applied: Applied | None = None
    repeat: bool = False
    verdicts: sample.Verdicts | None = None
    refused: RejectedError | None = None

    @property
    def word(self) -> str:
        """Return what came of it in a word, one of ledger.OUTCOMES."""
        if self.refused:
            return "refused"
        return "repeat" if self.repeat else "applied" if self.applied else "unchanged"


Progress = Callable[[int, int], None]
"""Is told bytes done, and of how many."""


def read(path: str, options: Options, outcome: Outcome, progress: Progress) -> tuple[Settled, str]:
    """Read a file; returns what it says and the hash of its text. Raises ListError, ListRefusedError."""
    digest = hashlib.sha256()
    with opened(path, options.encoding, options.bytes_max) as file:
        header = _header(file.header, file.name, options)
        kind = header.format.name
        outcome.list_name, outcome.delta = kind, header.delta
        outcome.feed = options.feed or (f"{kind}.{options.authority}" if options.authority else kind)
        outcome.report.lenient = options.lenient or outcome.feed in options.lenient_feeds
        parser = Parser(header, options.rows_max, outcome.report)
        digest.update(file.header)
        for block in file.blocks:
            digest.update(block.data)
            parser.take(block.data)
            progress(block.done_bytes, file.size_bytes)
    listed = parser.finish()
    outcome.row_count = listed.row_count
    _check(outcome)
    settled = clash.settle(listed, outcome.report)
    _check(outcome)
    return settled, digest.hexdigest()


def _header(line: bytes, name: str, options: Options) -> ListHeader:
    if not line.strip():  # as of an export that broke off; a list without rows has its header
        raise ListError(f"{name}: is empty: a list has a header, even if it has no rows")
    cells = parse.split(line.decode(errors="replace"))
    if cells is None:
        raise ListError(f"{name}: the quotes of the header are not closed")
    try:
        header = read_header(cells, options.list_name, loose=options.loose)
    except HeaderError as error:
        raise ListError(f"{name}: {_separator(line) or error}") from error
    if options.delta is not None and options.delta != header.delta:
        is_one = "has a column change_type: it is a delta" if header.delta else "has no column change_type"
        raise ListError(f"{name}: {is_one}, and --{'delta' if options.delta else 'full'} is given")
    if options.in_force and header.format.in_force:
        changed = {**vars(header.format), "in_force": options.in_force.lower()}
        header = ListHeader(ListFormat(**changed), header.delta, header.names, header.unknown, header.missing)
    return header


def _separator(line: bytes) -> str:
    """Say that another separator than the comma seems to be used."""
    for letter, called in ((b";", "semicolons"), (b"\t", "tabs"), (b"|", "bars")):
        if letter in line and b"," not in line:
            return f"the fields of the header seem to be separated by {called}; commas are needed"
    return ""


def _check(outcome: Outcome) -> None:
    if outcome.report.fault_count:
        raise ListRefusedError(
            f"{outcome.file}: {outcome.report.fault_count:,} fault{'s' * (outcome.report.fault_count != 1)}",
            fault_count=outcome.report.fault_count,
        )


def take(path: str, options: Options, where: Where, now: int, progress: Progress) -> Outcome:
    """Take one list. What refuses it is in the outcome; raises what hinders it (StorageError, OSError)."""
    outcome = Outcome(path)
    try:
        settled, digest = read(path, options, outcome, progress)
        _apply(settled, digest, options, where, outcome, now)
    except RejectedError as error:
        outcome.refused = error
    return outcome


def _apply(settled: Settled, digest: str, options: Options, where: Where, outcome: Outcome, now: int) -> None:
    """Bring the tables to what a list says, again where others change them meanwhile."""
    kind = settled.format
    work = _Work(settled, options.authority or options.feed or kind.name, where)
    reference = f"list {kind.name} sha256 {digest}"
    where.shelf.settle(where.target.reference)
    view = where.target.view()
    for attempt in range(1, ATTEMPTS_MAX + 1):
        position = view.position(outcome.feed)
        outcome.sequence, outcome.serial = position + 1, view.serial
        if settled.delta and position and where.target.reference(outcome.feed, position) == reference:
            outcome.repeat, outcome.sequence = True, position
            return
        change, shelved = work.compare(view, outcome)
        _check(outcome)
        outcome.change = change
        fault = shrink_fault(kind.name, kind.removed_percent_max, change.before, change.after)
        if fault and not options.override:
            raise ListGuardError(fault, before=change.before, after=change.after)
        if options.dry_run and options.policy is not None:
            outcome.verdicts = sample.verdicts(view, change, options.policy, options.sample_rows, now)
        header = Header(
            feed=outcome.feed,
            sequence=outcome.sequence,
            base_sequence=position,
            row_count=change.row_count,
            complete_until=options.complete_until,
            reference=reference,
            dry_run=options.dry_run,
            override_guards=options.override,
        )
        try:
            _push(header, change, shelved, work.shelf_name, where, outcome)
        except PushRefusedError as error:
            where.shelf.forget()
            moved = where.target.view() if error.store_reason in MOVED else view
            if moved.serial == view.serial or attempt == ATTEMPTS_MAX:
                _note_bad_rows(settled, change, error, outcome.report)
                raise
            view = moved
        else:
            return


def _push(
    header: Header, change: Change, shelved: Arrays, shelf_name: str, where: Where, outcome: Outcome
) -> None:
    """Apply a delta, with what goes on the shelf. Raises PushRefusedError."""
    # A delta without operations is still noted, so that it is known when it comes again.
    needed = change.row_count or header.complete_until or outcome.delta
    if header.dry_run:
        outcome.applied = where.target.push(header, change) if needed else None
        return
    with where.shelf.replacing(shelf_name, shelved, header.feed, header.sequence, header.reference):
        outcome.applied = where.target.push(header, change) if needed else None
    if outcome.applied:
        outcome.serial = outcome.applied.serial


@dataclass
class _Work:
    """A list on its way: what it is compared with, and what it leaves on the shelf."""

    settled: Settled
    authority: str
    where: Where

    @property
    def shelf_name(self) -> str:
        """Name of what the list leaves on the shelf."""
        kind = self.settled.format.name
        return f"{kind}.{self.authority}" if kind in ("stolen", "barred", "barred-tac") else kind

    def compare(self, view: View, outcome: Outcome) -> tuple[Change, Arrays]:
        """Compare with the tables and the shelf; what cannot be is in the report."""
        settled, report, kind = self.settled, outcome.report, self.settled.format.name
        if kind == "pairing":
            remark = f"{Remarkable.NOT_TAKEN.value}: msisdn"
            count = settled.row_count if "msisdn" in settled.columns else 0
            report.warnings.pop(Remarkable.NOT_TAKEN, None)
            report.warn(Remarkable.NOT_TAKEN, count, text=remark)
            return pairs(view.generation, settled, report), {}
        if kind == "numbers":
            return compare.numbers(_numbers(self.where.target.subscribers()), settled, report), {}
        if kind in UID_LISTS:
            return self._uids(view, report)
        scope = compare.scope_of(kind, self.authority, view.authority(self.authority))
        if kind == "barred-tac":
            return compare.tacs(view.generation, settled, scope, report), {}
        arrays = self.where.shelf.read(self.shelf_name)
        shelved = Shelved(
            arrays.get("keys", np.empty(0, np.uint64)),
            frozenset(arrays.get("texts", np.empty(0, "U16")).tolist()),
        )
        change, shelved = compare.imeis(view.generation, settled, scope, shelved, report)
        texts = np.array(sorted(shelved.texts), "U16")
        return change, {"keys": shelved.keys, "texts": texts}

    def _uids(self, view: View, report: Report) -> tuple[Change, Arrays]:
        """Compare a list of user IDs: itself with the shelf, the pairs that follow with the tables."""
        none = uids.UidRows.empty().rows
        both = [uids.UidRows(self.where.shelf.read(name).get("rows", none)) for name in UID_LISTS]
        mine = UID_LISTS.index(self.settled.format.name)
        after, change = uids.moved(both[mine], self.settled, report)
        old, new = (both[0], both[1]), (after, both[1]) if mine == 0 else (both[0], after)
        if not report.fault_count:
            uids.change_pairs(view.generation, old, new, change)
        return change, {"rows": after.rows}


def _numbers(rows: Iterator[SubscriberRows]) -> Numbers:
    """Return subscribers as columns."""
    none = np.empty(0, np.uint64)
    parts = [(none, none, none)]
    parts += [(some["imsi"], some["msisdn"], some["language"].astype(np.uint64)) for some in rows]
    return Numbers(*map(np.concatenate, zip(*parts, strict=True)))


def _note_bad_rows(settled: Settled, change: Change, error: PushRefusedError, report: Report) -> None:
    """Note what the store says of operations at the lines they came from."""
    for bad in error.bad_rows:
        subject = change.subject(bad.row)
        lines = _lines_of(settled, subject.imei, subject.imsi)
        value = ",".join(filter(None, subject))
        report.fault(lines[0] if lines else 0, "", value, Reason.REFUSED, f"{bad.message} ({bad.reason})")
    report.more(Reason.REFUSED, max(error.bad_row_count - len(error.bad_rows), 0))


def _lines_of(settled: Settled, imei: str, imsi: str) -> list[int]:
    """Lines that speak of an IMEI and an IMSI, of those that are given."""
    found = np.ones(len(settled), np.bool_)
    grammars = {column.grammar for column in settled.format.columns}
    if imei and Grammar.TAC in grammars:
        found &= settled.columns["tac"] == int(imei[:8])
    elif imei and imei.isdigit() and len(imei) == 14:
        found &= settled.columns["imei"] == int(imei)
    elif imei:
        place = settled.raw_texts.index(imei) if imei in settled.raw_texts else -1
        found &= settled.columns["imei"] == np.uint64((1 << 63) | place) if place >= 0 else np.False_
    if imsi and "imsi" in settled.columns:
        found &= settled.columns["imsi"] == int("1" + imsi)
    return [settled.line(int(place)) for place in np.flatnonzero(found)[:4]]
