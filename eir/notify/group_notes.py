"""What a daemon of a group keeps beside its cases, in the same database and the same commits.

name · place in the stream · heard of whom · withdrawals · what was said · facts that do not hold here
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from eir.notify.case import Case, State
from eir.notify.cases import Cases
from eir.notify.facts import Facts, joined
from eir.notify.outbox import NoticeState
from eir.notify.schedule import DAY
from eir.policy.rules import CAUSES
from eir.proto import group_pb2

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS group_notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS group_lines (
    number INTEGER PRIMARY KEY, crc32 INTEGER NOT NULL, line BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS group_said (
    key INTEGER NOT NULL, imsi INTEGER NOT NULL, stage TEXT NOT NULL, at INTEGER NOT NULL,
    smsc TEXT NOT NULL, message_ids TEXT NOT NULL, PRIMARY KEY (key, imsi, stage)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS group_rounds (
    key INTEGER NOT NULL, imsi INTEGER NOT NULL, round_at INTEGER NOT NULL, PRIMARY KEY (key, imsi)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS group_unplaced (
    key INTEGER NOT NULL, imsi INTEGER NOT NULL, facts TEXT NOT NULL, PRIMARY KEY (key, imsi)
) STRICT, WITHOUT ROWID;
"""
UNPLACED_SECONDS: Final = DAY
"""Facts that do not hold here are kept for so long: the delta that made them true may be on its way."""
UNPLACED_MAX: Final = 100_000
SAID_SECONDS: Final = 30 * DAY
"""How long it is known what a resolved or cut off subscriber was told."""
Pair = tuple[int, int]


class GroupNotes:
    """The notes of `cases`; durable with the next commit."""

    def __init__(self, cases: Cases) -> None:
        """Make the tables where they are missing; a new daemon gives itself a name."""
        self.cases = cases
        self.counts: Counter[str] = Counter()
        cases.script(SCHEMA)
        self._notes: dict[str, Any] = {
            name: json.loads(value) for name, value in cases.read("SELECT name, value FROM group_notes")
        }
        if "name" not in self._notes:
            self.put("name", secrets.token_hex(8))
        self.name: str = self._notes["name"]
        self._rounds = {
            (key, imsi): at for key, imsi, at in cases.read("SELECT key, imsi, round_at FROM group_rounds")
        }
        self.unplaced = {
            (key, imsi): _facts(text)
            for key, imsi, text in cases.read("SELECT key, imsi, facts FROM group_unplaced")
        }

    def put(self, name: str, value: object) -> None:
        """Change a note."""
        self._notes[name] = value
        row = (name, json.dumps(value))
        self.cases.also(("group note", name), "REPLACE INTO group_notes VALUES (?, ?)", row)

    @property
    def told(self) -> int:
        """Number of the last line that this daemon told, or is about to."""
        return int(self._notes.get("told", 0))

    @property
    def position(self) -> str:
        """Id of the last entry of the stream that was heard."""
        return str(self._notes.get("position", "0-0"))

    @property
    def heard(self) -> Mapping[str, int]:
        """Number of the last line that was heard of each daemon."""
        found: dict[str, int] = self._notes.get("heard", {})
        return found

    def hear_to(self, heard: Mapping[str, int]) -> None:
        """Note what was heard."""
        if heard != self.heard:
            self.put("heard", dict(heard))

    # -- withdrawals ------------------------------------------------------------------------------

    def round_of(self, pair: Pair) -> int:
        """Return when a case was last withdrawn; 0: never."""
        at: int = self._rounds.get(pair, 0)
        return at

    def put_round(self, pair: Pair, at: int) -> None:
        """Note that a case was withdrawn."""
        if at > self.round_of(pair):
            self._rounds[pair] = at
            row = (*pair, at)
            self.cases.also(("round", *pair), "REPLACE INTO group_rounds VALUES (?, ?, ?)", row)

    # -- facts that do not hold here --------------------------------------------------------------

    def keep_unplaced(self, facts: Facts) -> None:
        """Keep facts that do not hold here now; of too many, the oldest are given up."""
        pair = facts.key, facts.imsi
        mine = self.unplaced.get(pair)
        if mine is not None and mine.cause == facts.cause:
            facts = joined(mine, facts)
        if mine == facts:
            return
        self.unplaced[pair] = facts
        row = (*pair, json.dumps(facts))
        self.cases.also(("unplaced", *pair), "REPLACE INTO group_unplaced VALUES (?, ?, ?)", row)
        if len(self.unplaced) > UNPLACED_MAX:
            self.give_up(next(iter(self.unplaced)))

    def place(self, pair: Pair) -> None:
        """Forget facts: they hold now, or are of no use any more."""
        if self.unplaced.pop(pair, None) is not None:
            statement = "DELETE FROM group_unplaced WHERE key = ? AND imsi = ?"
            self.cases.also(("unplaced", *pair), statement, pair)

    def give_up(self, pair: Pair) -> None:
        """Forget facts that never held here."""
        self.place(pair)
        self.counts["unplaced_forgotten"] += 1

    def some_unplaced(self, now: int, limit: int) -> list[Facts]:
        """Return some to look at again, those that waited longest; what is too old is given up."""
        for pair, facts in list(self.unplaced.items()):
            if now - max(facts.seen_at, facts.since) > UNPLACED_SECONDS:
                self.give_up(pair)
        found = list(self.unplaced)[:limit]
        for pair in found:  # to the end: others have their turn
            self.unplaced[pair] = self.unplaced.pop(pair)
        return [self.unplaced[pair] for pair in found]

    # -- what was said at the end of cases --------------------------------------------------------

    def say(self, told: group_pb2.ToldNotice) -> None:
        """Note that a subscriber was told the last of a case."""
        row = (told.key, told.imsi, told.stage, told.at, told.smsc, json.dumps(list(told.message_ids)))
        self.cases.also(("said", *row[:3]), "REPLACE INTO group_said VALUES (?, ?, ?, ?, ?, ?)", row)

    def said_of(self, cases: Sequence[Case]) -> dict[tuple[int, int, str], tuple[int, str, str]]:
        """Return what was said of cases, by pair and stage: when, by which SMSC, its ids."""
        pairs = json.dumps([[case.key, case.imsi] for case in cases])
        query = (
            "SELECT key, imsi, stage, at, smsc, message_ids FROM group_said WHERE (key, imsi) IN"
            " (SELECT value ->> 0, value ->> 1 FROM json_each(?))"
        )
        return {(row[0], row[1], row[2]): (row[3], row[4], row[5]) for row in self.cases.read(query, pairs)}

    def all_said(self) -> list[group_pb2.ToldNotice]:
        """Return all that was said lately."""
        return [_said(row) for row in self.cases.read("SELECT * FROM group_said")]

    def forget_said(self, now: int) -> None:
        """Forget what was said long ago."""
        before = (now - SAID_SECONDS,)
        self.cases.also(("said", 0), "DELETE FROM group_said WHERE at < ?", before)


def _facts(text: str) -> Facts:
    key, imsi, cause, opened_at, grace_seconds, state, *rest = json.loads(text)
    by_number = {int(reason): reason for reason in CAUSES.values()}
    return Facts(key, imsi, by_number[cause], opened_at, grace_seconds, State(state), *rest)


def _said(row: tuple[Any, ...]) -> group_pb2.ToldNotice:
    key, imsi, stage, at, smsc, ids = row
    state = NoticeState.ACCEPTED
    return group_pb2.ToldNotice(
        key=key, imsi=imsi, stage=stage, state=state, at=at, smsc=smsc, message_ids=json.loads(ids)
    )
