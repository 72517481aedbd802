"""What a daemon of a group does alone: which notices and falls it asks for, and what it was granted.

outbox ──► candidates ──claim──► granted ──► still due ──► sender ──► answered, told ──► let go
deadline ──► wanted ──claim──► granted, for a while ──► falls ──► told ──► let go
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from eir.notify.case import Case
from eir.notify.case_table import tag_of
from eir.notify.group_notes import GroupNotes
from eir.notify.lines import LAST_STAGES
from eir.notify.outbox import Notice, NoticeState
from eir.notify.shared_keeper import SharedKeeper

UNUSED_SECONDS_MAX: Final = 60.0
"""A fall that was granted and is not done for so long is let go."""


class Candidate(NamedTuple):
    """A notice that may go out once this daemon alone may send it."""

    notice: Notice
    claim: str


@dataclass(frozen=True)
class Share:
    """Which subscribers this daemon sends to: those of others are theirs for `seconds`, while they live."""

    index: int = 0
    count: int = 1
    seconds: int = 10

    def has(self, case: Case) -> bool:
        """Tell whether the subscriber of a case is in it."""
        return tag_of(0, case.imsi) % self.count == self.index


class Claims:
    """What this daemon claims. In the keeper's thread."""

    def __init__(
        self,
        keeper: SharedKeeper,
        notes: GroupNotes,
        clock: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        """Claim for a keeper."""
        self._keeper, self._notes, self._clock, self._monotonic = keeper, notes, clock, monotonic
        self._claims: dict[int, str] = {}
        self._in_use: frozenset[int] = frozenset()
        """Notices that are just being made durable as submitted."""
        self._done: list[tuple[int, str]] = []
        self._granted: dict[str, float] = {}
        self._granted_at: dict[str, float] = {}
        self._fell: list[str] = []
        self._wanted: dict[str, None] = {}

    def told(self, answers: Sequence[Notice], line: int) -> None:
        """Note with which line the others learn what became of claims."""
        claims = [self._claims.pop(one.id) for one in answers if one.id in self._claims]
        self._done += [(line, claim) for claim in claims]
        self._done += [(line, claim) for claim in self._fell]
        self._fell.clear()

    def let_go(self, published: int) -> list[str]:
        """Return claims of which the others know now."""
        done = [claim for line, claim in self._done if line <= published]
        self._done = [(line, claim) for line, claim in self._done if line > published]
        return done

    def candidates(self, limit: int, share: Share) -> list[Candidate]:
        """Return notices to ask for; to be committed after it: those that others sent are taken out."""
        now = self._clock()
        if self._keeper.awake_at(now) > now:
            return []
        found: list[Candidate] = []
        waiting = self._keeper.outbox.waiting(now, limit * share.count * 2)
        cases = {notice.id: self._keeper.case_of(notice) for notice in waiting}
        said = self._notes.said_of([c for c in cases.values() if c is not None]) if waiting else {}
        # A subscriber of several cases is told one thing at a time.
        asked = {*self._claims.values(), *(claim for _, claim in self._done)}
        for notice in waiting:
            case = cases[notice.id]
            if case is None:
                self._keeper.cancelled(notice, now)
                continue
            at, smsc, ids = said.get((case.key, case.imsi, notice.stage), (0, "", "[]"))
            if at and at >= notice.opened_at:
                sent = notice._replace(state=NoticeState.ACCEPTED, smsc=smsc, changed_at=at)
                self._keeper.outbox.put(sent._replace(message_ids=tuple(json.loads(ids))))
            elif share.has(case) or notice.due_at <= now - share.seconds:
                claim = claim_of(case, notice.stage)
                if claim not in asked:
                    asked.add(claim)
                    found.append(Candidate(notice, claim))
                if len(found) == limit:
                    break
        return found

    def still_due(self, claimed: Sequence[Candidate]) -> list[Notice]:
        """Return those of claimed notices that are still to be sent, now that all was heard that was told."""
        ready = []
        for one in claimed:
            notice = self._keeper.outbox.get(one.notice.id)
            if notice is not None and notice.state == NoticeState.DUE and notice.due_at <= self._clock():
                ready.append(notice)
                self._claims[notice.id] = one.claim
        self._in_use = frozenset(notice.id for notice in ready)
        return ready

    def used(self) -> None:
        """Say that what was still due is submitted by now, or is not. Any thread may."""
        self._in_use = frozenset()

    def held(self) -> tuple[list[str], list[str]]:
        """Return what to claim on, and what to let go: notices that did not go out after all."""
        in_use = self._in_use
        out = {notice.id for notice in self._keeper.outbox.unanswered()} if self._claims else set()
        unused = [number for number in self._claims if number not in out and number not in in_use]
        gone = [self._claims.pop(number) for number in unused]
        return [*self._claims.values(), *(claim for _, claim in self._done), *self._granted], gone

    def renewed(self, claims: Sequence[str], until: float) -> None:
        """Let granted falls be done until later; what was not made use of for long is given up."""
        now = self._monotonic()
        for fall in claims:
            if fall in self._granted and now - self._granted_at[fall] < UNUSED_SECONDS_MAX:
                self._granted[fall] = until

    def grant(self, falls: Sequence[str], until: float) -> None:
        """Let cases be cut off here, until a time of the clock that only goes forward."""
        for fall in falls:
            self._wanted.pop(fall, None)
            self._granted[fall] = until
            self._granted_at[fall] = self._monotonic()

    def take_wanted(self, limit: int) -> list[str]:
        """Return falls to ask for; what lapsed is forgotten."""
        now = self._monotonic()
        self._granted = {fall: until for fall, until in self._granted.items() if until > now}
        self._granted_at = {fall: at for fall, at in self._granted_at.items() if fall in self._granted}
        wanted = list(self._wanted)[:limit]
        self._wanted.clear()
        return wanted

    def may_fall(self, case: Case) -> bool:
        """Tell whether this daemon was granted to cut a case off; else it is to be asked for."""
        fall = claim_of(case, "fall")
        if self._granted.pop(fall, 0) > self._monotonic():
            self._fell.append(fall)
            return True
        self._wanted[fall] = None
        return False


def claim_of(case: Case, stage: str) -> str:
    """Return what only one daemon may do at a time.

    Of the steps of timetables it is the subscriber: whoever tells him the next one has heard of the last.
    """
    if stage not in (*LAST_STAGES, "fall"):
        return f"{case.imsi}-notice"
    return f"{case.key}-{case.imsi}-{stage}"
