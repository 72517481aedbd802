"""What a daemon tells the others of its group: of each commit the lines of what it did, in that commit.

    commit ──► changed rows, answers, acts ──► lines in cases.db ──► published ──► forgotten

Whatever was committed is told after a kill, too. What was heard is not told on.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from eir.notify.case import State
from eir.notify.case_file import Happened
from eir.notify.cases import Cases
from eir.notify.extents import Rows
from eir.notify.facts import Facts, facts_of
from eir.notify.group_notes import GroupNotes
from eir.notify.lines import LAST_STAGES, Told, is_empty, lines
from eir.notify.outbox import Notice, NoticeState
from eir.proto import group_pb2

FORGET_LINES: Final = 256
"""Lines that were published are forgotten so many at a time: each forgetting is a write."""
PIECE_CASES: Final = 2_000
MICROSECONDS: Final = 1_000_000
_UNTOLD: Final = ("steps_sent", "waits", "deadline")
"""Fields of a row that say nothing to others: steps may wait, shifts are each daemon's own to add."""


class Teller:
    """Makes lines of commits, and has them until they are published. In the keeper's thread."""

    def __init__(self, notes: GroupNotes, clock: Callable[[], int], lines_max: int) -> None:
        """Take up what an earlier process did not publish; at most so many lines are kept."""
        self._notes, self._cases, self._clock, self._lines_max = notes, notes.cases, clock, lines_max
        self._published = self._forgotten = 0
        self._lines = self._cases.read("SELECT count(*) FROM group_lines")[0][0]
        self._answers: list[Notice] = []
        self._named: list[group_pb2.ToldNumber] = []
        self._holds: list[group_pb2.ToldHold] = []
        self._shifts: list[group_pb2.ToldShift] = []
        self._receipts: list[group_pb2.ToldReceipt] = []
        self.others: Callable[[], Told] = Told
        """All that is no case's, for who missed something."""
        self._quiet: dict[tuple[int, int], Facts] = {}
        self._heard_acts: set[tuple[int, Happened]] = set()
        self.after: list[Callable[[list[Notice], int], None]] = []
        """Told, of each commit, the answers in it and the number of the line that tells them."""
        self._cases.before_commit = self._tell

    # -- what to tell, and what not ---------------------------------------------------------------

    def answered(self, notice: Notice) -> None:
        """Tell what an SMSC did with a notice."""
        self._answers.append(notice)

    def receipted(self, notice: Notice) -> None:
        """Tell what became of a notice that an SMSC had taken."""
        self._receipts.append(
            group_pb2.ToldReceipt(
                smsc=notice.smsc,
                message_ids=notice.message_ids,
                stage=notice.stage,
                state=notice.state,
                at=notice.changed_at,
                error=notice.error,
            )
        )

    def named(self, imsi: int, msisdn: int) -> None:
        """Tell a subscriber's number that a check named."""
        self._named.append(group_pb2.ToldNumber(imsi=imsi, msisdn=msisdn))

    def held(self, hold: group_pb2.ToldHold) -> None:
        """Tell that all sending holds, or goes on."""
        self._holds.append(hold)

    def shifted(self, shift: group_pb2.ToldShift) -> None:
        """Tell that deadlines were shifted."""
        self._shifts.append(shift)

    def hush(self, number: int, facts: Facts) -> None:
        """Do not tell of a case what was heard, unless it became something else here."""
        mine = self.facts_of_row(self._cases.rows_of([number])[0])
        if mine._replace(steps_sent=0) == facts._replace(steps_sent=0):
            self._quiet[facts.key, facts.imsi] = mine
        else:
            self._quiet.pop((facts.key, facts.imsi), None)

    def hush_act(self, number: int, happened: Happened) -> None:
        """Do not tell of an act that was heard."""
        self._heard_acts.add((number, happened))

    # -- lines ------------------------------------------------------------------------------------

    def _tell(self, before: Rows, now: Rows, acts: Sequence[tuple[int, Happened]]) -> None:
        """Make lines of what a commit did; they are part of it."""
        withdrawn = (now["state"] == State.WITHDRAWN) & (before["state"] != State.WITHDRAWN)
        for row in now[withdrawn]:
            self._notes.put_round((int(row["key"]), int(row["imsi"])), int(row["since"]))
        answers, self._answers = self._answers, []
        confirmed = {
            self._pair(one.number): one.steps for one in answers if one.state == NoticeState.ACCEPTED
        }
        facts = [self.facts_of_row(row) for row in now[_changed(before, now)]]
        told = Told(
            [
                one._replace(steps_sent=confirmed.get((one.key, one.imsi), 0))
                for one in facts
                if self._quiet.get((one.key, one.imsi)) != one
            ],
            [self._notice(one) for one in answers],
            [self._act(*act) for act in acts if act not in self._heard_acts],
            self._named,
            self._holds,
            self._shifts,
            self._receipts,
        )
        self._named, self._holds, self._shifts, self._receipts = [], [], [], []
        self._quiet.clear()
        self._heard_acts.clear()
        if told:
            now_number = self._clock() * MICROSECONDS
            for line in lines(self._notes.name, self._notes.told, now_number, told):
                self._put(line)
        for listener in self.after:
            listener(answers, self._notes.told)

    def _put(self, line: group_pb2.GroupLine) -> None:
        data = line.SerializeToString()
        row = (line.number, zlib.crc32(data), data)
        self._cases.also(("line", line.number), "INSERT INTO group_lines VALUES (?, ?, ?)", row)
        self._notes.put("told", line.number)
        self._lines += 1
        if self._lines > self._lines_max:
            # Who has not heard these asks for everything.
            dropped = self._lines_max // 2 + 1
            query = "SELECT number FROM group_lines ORDER BY number LIMIT 1 OFFSET ?"
            for (number,) in self._cases.read(query, dropped - 1):
                self._forget(number)
            self._notes.counts["lines_dropped"] += dropped
            self._lines -= dropped

    def unpublished(self, limit: int) -> list[tuple[int, bytes]]:
        """Return lines that are durable and not published yet, the oldest first."""
        query = "SELECT number, crc32, line FROM group_lines WHERE number > ? ORDER BY number LIMIT ?"
        found = self._cases.read(query, self._published, limit)
        if not found:
            told = self._cases.read("SELECT value FROM group_notes WHERE name = 'told'")
            self._published = max(self._published, *(int(row[0]) for row in told), 0)
        whole = [(number, data) for number, crc, data in found if zlib.crc32(data) == crc]
        self._notes.counts["lines_damaged"] += len(found) - len(whole)
        if found and not whole:
            self._published = found[-1][0]
        return whole

    def published(self, number: int) -> None:
        """Note up to which line the stream has everything."""
        self._published = max(self._published, number)
        if self._published > self._forgotten and self._lines >= FORGET_LINES:
            self._forgotten = self._published
            self._forget(self._published)
            query = "SELECT count(*) FROM group_lines WHERE number > ?"
            self._lines = self._cases.read(query, self._published)[0][0]

    @property
    def published_to(self) -> int:
        """Number of the last line that the stream has."""
        return self._published

    def _forget(self, number: int) -> None:
        self._cases.also(("lines", 0), "DELETE FROM group_lines WHERE number <= ?", (number,))

    def everything(self) -> Iterator[group_pb2.GroupLine]:
        """Yield all that this daemon knows of unresolved cases, a part at a time; the last is empty.

        Between two parts other work may be done: what it changes is told by lines of its own.
        """
        name, number = self._notes.name, self._notes.told
        for first in range(0, self._cases.count, PIECE_CASES):
            places = np.arange(first, min(first + PIECE_CASES, self._cases.count))
            rows = self._cases.rows_of(self._cases.unresolved(places))
            # Of a step that waits it is not known whether it will be sent.
            facts = [
                self.facts_of_row(row, max(int(row["steps_sent"]) - int(row["waits"]), 0)) for row in rows
            ]
            yield from (line for line in lines(name, 0, 1, Told(facts)) if line.cases)
        for told in (Told(notices=self._notes.all_said()), self.others()):
            yield from (line for line in lines(name, 0, 1, told) if not is_empty(line))
        yield group_pb2.GroupLine(daemon=name, number=number)

    # -- words ------------------------------------------------------------------------------------

    def facts_of_row(self, row: Any, steps_sent: int = 0) -> Facts:
        """Return what others may know of the case of a row."""
        pair = int(row["key"]), int(row["imsi"])
        return facts_of(Cases.case_of_row(row), steps_sent, self._notes.round_of(pair))

    def _pair(self, number: int) -> tuple[int, int]:
        case = self._cases.get(number)
        return case.key, case.imsi

    def _notice(self, notice: Notice) -> group_pb2.ToldNotice:
        key, imsi = self._pair(notice.number)
        told = group_pb2.ToldNotice(
            key=key,
            imsi=imsi,
            stage=notice.stage,
            steps=notice.steps,
            state=notice.state,
            at=notice.changed_at,
            due_at=notice.due_at,
            smsc=notice.smsc,
            message_ids=notice.message_ids,
            error=notice.error,
        )
        if notice.state == NoticeState.ACCEPTED and notice.stage in LAST_STAGES:
            self._notes.say(told)
        return told

    def _act(self, number: int, happened: Happened) -> group_pb2.ToldAct:
        key, imsi = self._pair(number)
        at, event, who, why = happened
        return group_pb2.ToldAct(key=key, imsi=imsi, at=at, event=event, who=who, why=why)


def _changed(before: Rows, now: Rows) -> Any:
    """Say which rows say something else than before."""
    changed = np.zeros(len(now), bool)
    for name in now.dtype.names or ():
        if name not in _UNTOLD:
            changed |= before[name] != now[name]
    return changed
