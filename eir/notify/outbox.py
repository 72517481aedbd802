"""Notices on their way: in cases.db before they are sent.

    due ──► submitted ──► accepted ──► delivered, failed, expired
     │          └──► due (not taken, or lost), failed
     └──► cancelled

A notice is `submitted` on disk before its first byte leaves: after a kill, what
was submitted without an answer goes out once more and is counted as a repeat.
Changes are durable with the next commit of the cases they belong to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

from eir.notify.cases import Cases

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS notices (
    id INTEGER PRIMARY KEY, number INTEGER NOT NULL, opened_at INTEGER NOT NULL, stage TEXT NOT NULL,
    steps INTEGER NOT NULL, state INTEGER NOT NULL, due_at INTEGER NOT NULL, priority INTEGER NOT NULL,
    attempts INTEGER NOT NULL, changed_at INTEGER NOT NULL, smsc TEXT NOT NULL, message_ids TEXT NOT NULL,
    error TEXT NOT NULL
) STRICT;
DROP INDEX IF EXISTS notices_waiting;
CREATE INDEX IF NOT EXISTS notices_due ON notices (priority, id, due_at) WHERE state = 1;
CREATE INDEX IF NOT EXISTS notices_unanswered ON notices (id) WHERE state = 2;
CREATE INDEX IF NOT EXISTS notices_of ON notices (number);
CREATE TABLE IF NOT EXISTS messages (
    smsc TEXT NOT NULL, message_id TEXT NOT NULL, notice INTEGER NOT NULL, PRIMARY KEY (smsc, message_id)
) STRICT, WITHOUT ROWID;
"""


LOOKED_THROUGH_MAX: Final = 20_000
"""Notices looked through for one page, or for those that ended long ago."""


class NoticeState(IntEnum):
    """Where a notice stands."""

    DUE = 1
    SUBMITTED = 2
    """Given to an SMSC; no answer yet."""
    ACCEPTED = 3
    DELIVERED = 4
    FAILED = 5
    EXPIRED = 6
    CANCELLED = 7
    """Its case was resolved, held or withdrawn while it waited."""


class Notice(NamedTuple):
    """One SMS of a case; `number` and `opened_at` name the case, `steps` what it will have sent.

    `priority` is the case's deadline: the nearest goes first.
    """

    id: int
    number: int
    opened_at: int
    stage: str
    steps: int
    state: NoticeState
    due_at: int
    priority: int
    attempts: int = 0
    changed_at: int = 0
    smsc: str = ""
    message_ids: tuple[str, ...] = ()
    error: str = ""


_STATES: Final = {int(state): state for state in NoticeState}
_COLUMNS: Final = ", ".join(Notice._fields)
_PUT: Final = """
INSERT INTO notices VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
    state = excluded.state, due_at = excluded.due_at, attempts = excluded.attempts,
    changed_at = excluded.changed_at, smsc = excluded.smsc, message_ids = excluded.message_ids,
    error = excluded.error
"""
"""Replacing the row would take it out of both indexes and put it in again."""
_ADD: Final = "INSERT INTO notices VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Outbox:
    """The notices of `cases`, in the same database and the same commits."""

    def __init__(self, cases: Cases) -> None:
        """Make the tables where they are missing, and find the next number."""
        self._cases = cases
        cases.script(SCHEMA)
        self._next_id = cases.read("SELECT coalesce(max(id), 0) + 1 FROM notices")[0][0]

    def add(self, number: int, opened_at: int, stage: str, steps: int, due_at: int, priority: int) -> Notice:
        """Put a notice in; it may be sent after the next commit."""
        due = NoticeState.DUE
        notice = Notice(self._next_id, number, opened_at, stage, steps, due, due_at, priority, 0, due_at)
        self._next_id += 1
        self.put(notice)
        return notice

    def add_many(self, stage: str, cases: Iterable[tuple[int, int, int]], now: int) -> None:
        """Put in a notice that is due at once of each of many cases: number, opened_at and steps."""
        fixed = int(NoticeState.DUE), now, now, 0, now, "", "[]", ""
        rows = [
            (notice_id, number, opened_at, stage, steps, *fixed)
            for notice_id, (number, opened_at, steps) in enumerate(cases, self._next_id)
        ]
        self._next_id += len(rows)
        self._cases.also_new(_ADD, rows)

    def waiting(self, now: int, limit: int) -> list[Notice]:
        """Return notices that are due, the nearest deadline first."""
        return self._select("state = 1 AND due_at <= ? ORDER BY priority, id LIMIT ?", now, limit)

    def of_case(self, number: int, opened_at: int) -> list[Notice]:
        """Return all notices of a case, oldest first."""
        # A case's opening moves to an earlier second where another daemon saw it before.
        return self._select("number = ? AND opened_at >= ? ORDER BY id", number, opened_at)

    def newest(
        self,
        before: int,
        limit: int,
        states: Sequence[NoticeState] = (),
        stages: Sequence[str] = (),
        smsc: str = "",
    ) -> tuple[list[Notice], int]:
        """Return notices that fit, the newest before an id first, and the id to go on before; -1: no more."""
        first = min(before, self._next_id)
        last = max(first - LOOKED_THROUGH_MAX, 1)
        where = "id < ? AND id >= ? AND (? OR state IN (SELECT value FROM json_each(?)))"
        where += " AND (? OR stage IN (SELECT value FROM json_each(?))) AND (? OR smsc = ?)"
        values = (first, last, not states, json.dumps(states), not stages, json.dumps(stages), not smsc, smsc)
        found = self._select(f"{where} ORDER BY id DESC LIMIT ?", *values, limit)
        if len(found) == limit:
            return found, found[-1].id
        return found, last if last > 1 else -1

    def waiting_of(self, numbers: Sequence[int]) -> list[Notice]:
        """Return the notices of cases that are not sent yet."""
        # The plus keeps SQLite from looking through all that wait.
        return self._select("+state = 1 AND number IN (SELECT value FROM json_each(?))", json.dumps(numbers))

    def unanswered(self) -> list[Notice]:
        """Return what was submitted and has no answer: at the start, what a kill left behind."""
        return self._select("state = 2 ORDER BY id")

    def get(self, notice_id: int) -> Notice | None:
        """Return one notice, as the next commit makes it."""
        changed = self._cases.pending(("notice", notice_id))
        if changed is not None and len(changed) == len(Notice._fields):
            return _notice(changed)
        return next(iter(self._select("id = ?", notice_id)), None)

    def of_message(self, smsc: str, message_ids: Sequence[str]) -> Notice | None:
        """Return the notice that an SMSC knows by one of these ids, the first that there is."""
        found = self._known(smsc, message_ids)
        return self.get(next(found[one] for one in message_ids if one in found)) if found else None

    def knows(self, smsc: str, message_ids: Sequence[str]) -> bool:
        """Tell whether an SMSC knows a notice by one of these ids."""
        return bool(self._known(smsc, message_ids))

    def _known(self, smsc: str, message_ids: Sequence[str]) -> dict[str, int]:
        marks = ", ".join("?" * len(message_ids))
        query = f"SELECT message_id, notice FROM messages WHERE smsc = ? AND message_id IN ({marks})"  # noqa: S608 - marks only
        return dict(self._cases.read(query, smsc, *message_ids))

    def put(self, notice: Notice) -> None:
        """Replace a notice. The ids of an accepted one are kept for its receipts."""
        self._cases.also(("notice", notice.id), _PUT, _row(notice))
        if notice.state == NoticeState.ACCEPTED:
            for message_id in notice.message_ids:
                row = (notice.smsc, message_id, notice.id)
                self._cases.also(("message", *row), "REPLACE INTO messages VALUES (?, ?, ?)", row)

    def counts(self) -> dict[NoticeState, int]:
        """Count the notices by state."""
        found = dict(self._cases.read("SELECT state, count(*) FROM notices GROUP BY state"))
        return {state: found.get(state, 0) for state in NoticeState}

    def purge(self, before: int, after_id: int) -> int:
        """Forget notices that ended before a second, of some from an id on; return the last id looked at.

        0: all were looked at, and the next time begins anew.
        """
        rows = self._cases.read(
            "SELECT id, state, changed_at, smsc, message_ids FROM notices WHERE id > ? ORDER BY id LIMIT ?",
            after_id,
            LOOKED_THROUGH_MAX,
        )
        for number, state, changed_at, smsc, message_ids in rows:
            if state > NoticeState.SUBMITTED and changed_at < before:
                self._cases.also(("notice", number), "DELETE FROM notices WHERE id = ?", (number,))
                for message_id in json.loads(message_ids):
                    # An SMSC may have given the id again: then it is another notice's.
                    row = (smsc, message_id, number)
                    delete = "DELETE FROM messages WHERE smsc = ? AND message_id = ? AND notice = ?"
                    self._cases.also(("message", *row), delete, row)
        # Ids grow with time: behind a page of which the last is young there are none to forget.
        done = len(rows) < LOOKED_THROUGH_MAX or rows[-1][2] >= before
        return 0 if done else rows[-1][0]

    def _select(self, where: str, *values: object) -> list[Notice]:
        query = f"SELECT {_COLUMNS} FROM notices WHERE {where}"  # noqa: S608 - constants
        return [_notice(row) for row in self._cases.read(query, *values)]


def _row(notice: Notice) -> tuple[object, ...]:
    *others, message_ids, error = notice
    return (*others, json.dumps(message_ids) if message_ids else "[]", error)


def _notice(row: tuple[Any, ...]) -> Notice:
    number, case, opened_at, stage, steps, state, *others, message_ids, error = row
    ids = () if message_ids == "[]" else tuple(json.loads(message_ids))
    return Notice._make((number, case, opened_at, stage, steps, _STATES[state], *others, ids, error))
