"""A delta on its way into the store: header taken, chunks coming, applied as a whole.

header ──► chunks: parsed, durable ──► plan ──► guards ──► journal ──► published
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eir.errors import (
    DeltaConflictError,
    DeltaInvalidError,
    DeltaRowCountMismatchError,
    DeltaRowsRefusedError,
    StorageError,
)
from eir.whitelist import plan as planning
from eir.whitelist import subscribers
from eir.whitelist.apply import Bools
from eir.whitelist.blob import rows_to_blob
from eir.whitelist.contradict import contradictions
from eir.whitelist.delta import BAD_ROWS_MAX, Applied, BadRow, Header, RowReason
from eir.whitelist.feeds import AppliedBefore, FeedRules, Placement, check_content, check_guards
from eir.whitelist.journal import Journal
from eir.whitelist.parse import rows_from_payload
from eir.whitelist.plan import Plan
from eir.whitelist.rows import IGNORED, Rows, concat
from eir.whitelist.schema import COUNTS_KEY
from eir.whitelist.subscribers import SubscriberRows
from eir.whitelist.tables import TABLES

if TYPE_CHECKING:
    from eir.whitelist.store import Store


class PendingDelta:
    """A delta on its way: header taken, chunks coming."""

    def __init__(self, store: Store, header: Header, before: AppliedBefore | None, *, repeat: bool) -> None:
        """Use `Store.push`."""
        self._store, self._header, self._before = store, header, before
        self.repeat = repeat
        self.ignore_bad_rows = store.limits.feeds.get(header.feed, FeedRules()).lenient
        self._hash = hashlib.sha256()
        self._token: int | None = None
        self._parts: list[Rows] = []
        self._bad: list[BadRow] = []
        self._chunks = self._rows = 0

    def chunk(self, index: int, payload: bytes) -> None:
        """Take a chunk; parsed and, unless it is a repeat or a dry run, durable on return."""
        if index != self._chunks:
            raise DeltaInvalidError(f"chunk {index} came where chunk {self._chunks} was expected")
        self._hash.update(payload)
        self._chunks += 1
        if self.repeat:
            return
        rows, bad = rows_from_payload(payload, self._rows, self._header.feed)
        # A delta without rows may have a chunk without; otherwise rows bound the number of chunks.
        if not len(rows) and (index or self._header.row_count):
            raise DeltaInvalidError(f"chunk {index} has no rows")
        self.take(rows, bad)

    def take(self, rows: Rows, bad: list[BadRow]) -> None:
        """Take parsed rows; those that are bad are IGNORED among them."""
        if self._rows + len(rows) > self._header.row_count:
            raise DeltaRowCountMismatchError(
                f"the header says {self._header.row_count} rows, there are {self._rows + len(rows)} or more"
            )
        if not self._header.dry_run:
            if self._token is None:
                self._token = self._store.journal.new_token()
            self._store.journal.append_chunk(self._token, len(self._parts), rows_to_blob(rows))
        self._rows += len(rows)
        self._parts.append(rows)
        self._bad += bad[: BAD_ROWS_MAX - len(self._bad)]

    def commit(self, content_sha256: bytes) -> Applied:
        """Apply the delta; durable and published on return.

        Raises DeltaHashMismatchError, DeltaConflictError, DeltaRowCountMismatchError,
        DeltaRowsRefusedError, DeltaGuardError, StorageError; then nothing is changed.
        """
        try:
            check_content(self._header, content_sha256, self._hash.digest(), self._before)
            return self.apply(content_sha256)
        except BaseException:
            self.abort()
            raise

    def apply(self, content_sha256: bytes) -> Applied:
        """Apply the rows taken, whose hash was checked."""
        store, header = self._store, self._header
        if self.repeat:
            return Applied(
                store.generation.serial,
                repeat=True,
                dry_run=False,
                effects=(),
                ignored_row_count=0,
                bad_rows=(),
            )
        if store.place(header)[0] is Placement.REPEAT:  # another was committed since this one began
            raise DeltaConflictError(
                f"sequence {header.sequence} of feed {header.feed} was applied meanwhile"
            )
        if self._rows != header.row_count:
            raise DeltaRowCountMismatchError(
                f"the header says {header.row_count} rows, there are {self._rows}"
            )
        rows = concat(self._parts) if self._parts else _no_rows()
        self._parts = []
        left_out = _left_out(rows)
        disputed, told = contradictions(rows)
        left_out[disputed] = True
        # A refused delta changes nothing: names become durable with it.
        plan = planning.make(store.generation, rows, store.names_of(rows, provisional=True), left_out)
        given = _check_subscribers(store.journal, rows, plan)
        bad = tuple(sorted([*self._bad, *told, *plan.bad.report()], key=lambda row: row.row)[:BAD_ROWS_MAX])
        ignored = plan.bad.count
        if ignored and not self.ignore_bad_rows:
            raise DeltaRowsRefusedError(bad, ignored)
        effects = store.effects(plan)
        in_ranges = store.generation.registered_in_ranges
        guard = check_guards(effects, store.counts, store.limits.guards, in_ranges)
        if guard is not None and not header.override_guards:
            raise guard
        applied = Applied(store.generation.serial, False, header.dry_run, effects, ignored, bad)
        if header.dry_run:
            return applied
        serial = store.generation.serial + 1
        before = store.counts
        store.publish(plan, serial, lambda: self._journal(plan, given, serial, content_sha256, ignored))
        effects = store.effects(plan, before)
        return Applied(serial, False, False, effects, ignored, bad)

    def _journal(self, plan: Plan, given: _Given, serial: int, content_sha256: bytes, ignored: int) -> None:
        store, journal = self._store, self._store.journal
        token = self._token if self._token is not None else journal.new_token()
        with journal.transaction():
            store.names_of(given.rows)
            before = journal.subscriber_count()
            journal.commit_delta(
                self._header,
                token,
                serial,
                content_sha256=content_sha256,
                committed_at=store.clock(),
                ignored_row_count=ignored,
                counts={effect.table: (effect.added, effect.removed) for effect in store.effects(plan)},
                subscribers=given.subscribers,
            )
            plan.added["subscribers"] = int(np.count_nonzero(given.subscribers["msisdn"]))
            plan.change["subscribers"] = journal.subscriber_count() - before
            counts = {table: store.counts[table] + plan.change[table] for table in TABLES}
            journal.meta_set(COUNTS_KEY, json.dumps(counts))
        self._token = None

    def abort(self) -> None:
        """Forget the delta and its chunks."""
        self._parts = []
        if self._token is not None:
            token, self._token = self._token, None
            with contextlib.suppress(StorageError):  # why the delta ends matters more; they are dropped later
                self._store.journal.drop_chunks(token)


def _subscribers(rows: Rows, plan: Plan) -> SubscriberRows:
    at = plan.subscribers
    if not len(at):
        return subscribers.NONE
    languages = np.array(list(map(subscribers.language_code, rows.names)), np.uint64)
    name = rows.column("name")[at].astype(np.int64)
    return subscribers.rows_of(rows.column("imsi")[at], rows.column("time")[at], languages[name])


class _Given(NamedTuple):
    """Rows of a delta, and the subscribers among them that are usable."""

    rows: Rows
    subscribers: SubscriberRows


def _check_subscribers(journal: Journal, rows: Rows, plan: Plan) -> _Given:
    """Refuse subscribers that are set to what they are, or removed though they are not there."""
    wanted = _subscribers(rows, plan)
    if not len(wanted):
        return _Given(rows, wanted)
    known = np.append(journal.subscriber_rows(wanted["imsi"]), np.zeros(1, subscribers.ROW))
    before = known[np.searchsorted(known["imsi"][:-1], wanted["imsi"])]
    there, put = before["imsi"] == wanted["imsi"], wanted["msisdn"] != 0
    same = there & (before["msisdn"] == wanted["msisdn"]) & (before["language"] == wanted["language"])
    for found, reason, message in (
        (put & same, RowReason.ALREADY_THERE, "the subscriber has this number already"),
        (~put & ~there, RowReason.NOT_THERE, "there is no such subscriber to remove"),
    ):
        plan.bad.add(plan.subscribers[found], reason, message)
    usable = ~plan.bad.mask[plan.subscribers]
    plan.subscribers = plan.subscribers[usable]
    return _Given(rows, wanted if usable.all() else wanted[usable])


def _left_out(rows: Rows) -> Bools:
    left_out: Bools = rows.op == IGNORED
    return left_out


def _no_rows() -> Rows:
    return Rows(np.zeros(0, np.uint8))
