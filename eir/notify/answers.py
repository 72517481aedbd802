"""What an SMSC does with notices, and what becomes of their cases: the part of the keeper that a sender asks.

    submitted ──► accepted, refused ──► warned, clock started, due again ──► receipt

Times are seconds since the Unix epoch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from eir.notify.case import GRACE_WAITS, Case, State
from eir.notify.case_file import Happened
from eir.notify.cases import Cases
from eir.notify.judged import CAUSE_NAMES, Judge, NotJudgedError
from eir.notify.outbox import Notice, NoticeState, Outbox
from eir.notify.receipts import Outcome, Receipt, spellings
from eir.notify.schedule import HOUR, STEPS, Shift, Timetable, deadline, moved_out_of, next_due, shift_of
from eir.notify.told import Told
from eir.policy.settings import Settings
from eir.verdict import Reason

RETRY_SECONDS: Final = (60, 300, 1800, 2 * HOUR, 6 * HOUR)
"""Waits after a temporary error, the last for all further ones."""
_OUTCOMES: Final = {
    Outcome.DELIVERED: NoticeState.DELIVERED,
    Outcome.EXPIRED: NoticeState.EXPIRED,
    Outcome.FAILED: NoticeState.FAILED,
}


@dataclass
class Answers:
    """Cases and their notices, and what an SMSC says of these; a keeper is made of it."""

    cases: Cases
    outbox: Outbox
    judge: Judge
    policy: Settings
    shifts: Mapping[int, Shift] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    answered: Callable[[Notice], None] | None = None
    """Told what an SMSC did with a notice."""
    receipted: Callable[[Notice], None] | None = None
    """Told what became of a notice by its receipt."""
    _tables: dict[Reason, Timetable] = field(init=False)
    _told: Told = field(default_factory=Told)
    _going: dict[int, int] = field(default_factory=dict)
    """Notices of timetables that are with an SMSC, by the IMSI of the subscriber."""
    _going_to: dict[int, int] = field(default_factory=dict)
    """The other way round."""

    # -- what an SMSC says ------------------------------------------------------------------------

    def spaced_at(self, notice: Notice, case: Case, now: int) -> int:
        """Return the first second from now on at which a notice keeps its distance from the last one.

        He may have several cases; what ends one is told at once.
        """
        if notice.stage not in STEPS:
            return now
        if self._going.get(case.imsi, notice.id) != notice.id:
            return now + RETRY_SECONDS[0]
        if notice.attempts and self._told.last_at(case.imsi) == case.noticed_at:
            return now  # the last that he may have got is this very one, and no answer came of it
        return max(self._told.free_at(case.imsi), now)

    def submitted(self, notice: Notice, case: Case, smsc: str, now: int) -> Notice:
        """Note that a notice goes out once this is durable."""
        if notice.stage in STEPS:
            self._going[case.imsi], self._going_to[notice.id] = notice.id, case.imsi
        attempts = notice.attempts + 1
        sent = notice._replace(state=NoticeState.SUBMITTED, smsc=smsc, attempts=attempts, changed_at=now)
        self.outbox.put(sent)
        return sent

    def cancelled(self, notice: Notice, now: int) -> None:
        """Take back a notice that waits; where its case goes on later, the step is still to be done."""
        self.outbox.put(notice._replace(state=NoticeState.CANCELLED, changed_at=now))
        self.counts["cancelled"] += 1
        self._gone(notice)
        if self.cases.state_of(notice.number) not in GRACE_WAITS:
            return
        case = self._any_case_of(notice)
        if case is not None and case.waits and notice.stage in STEPS and case.state in GRACE_WAITS:
            self._put(notice.number, replace(case, waits=False, steps_sent=notice.steps - 1), now, "")

    def postponed(self, notice: Notice, now: int, due_at: int, why: str = "") -> None:
        """Let a notice wait longer; `why` is what keeps it, where somebody should know."""
        self.outbox.put(notice._replace(due_at=due_at, error=why, changed_at=now))
        self.counts["postponed"] += bool(why)

    def awake_at(self, now: int) -> int:
        """Return the first second from now on that is not in the quiet hours."""
        table = next(iter(self._tables.values()))
        return moved_out_of(now, table.quiet, table.zone)

    def absent_seconds(self, cause: Reason) -> int:
        """Return after how long a case that is not seen is absent."""
        return self._tables[cause].absent_seconds

    def deadline_of(self, case: Case) -> int:
        """Return the deadline of a case with its shifts; 0 while its clock has not started."""
        return deadline(case, self._shift(case))

    def case_of(self, notice: Notice) -> Case | None:
        """Return the case of a notice while the notice still says something true of it."""
        case = self._any_case_of(notice)
        if case is None:
            return None
        wanted = {"cut_off": State.CUT_OFF, "resolved": State.RESOLVED, "restored": State.RESOLVED}
        return case if case.state == wanted.get(notice.stage, State.OPEN) else None

    def _any_case_of(self, notice: Notice) -> Case | None:
        """Return the case of a notice, whatever its state; None once its number is another's."""
        case = self.cases.get(notice.number) if self.cases.has(notice.number) else None
        # An earlier sighting that another daemon had moves the opening; a later one is of another case.
        return case if case is not None and case.opened_at <= notice.opened_at else None

    def accepted(self, notice: Notice, message_ids: tuple[str, ...], now: int) -> None:
        """Note that an SMSC took a notice: the subscriber counts as warned, and the clock may start."""
        self._answered(
            notice._replace(state=NoticeState.ACCEPTED, message_ids=message_ids, changed_at=now, error="")
        )
        self.counts["accepted"] += 1
        self.counts[f"accepted_{notice.stage}"] += 1
        case = self._any_case_of(notice)
        if case is None or notice.stage not in STEPS:
            return
        if case.state in (State.WITHDRAWN, State.RESOLVED):
            self._got(notice, case, now)
            if case.state == State.RESOLVED:
                self._warned_too_late(notice, case, now)
            return
        self._told.note(case.imsi, now)
        clock_at = case.clock_at
        if not clock_at and self.policy.cause[CAUSE_NAMES[case.cause]].clock_start == "first_notice":
            clock_at = now
        warned = replace(
            case, warned_at=case.warned_at or now, noticed_at=now, clock_at=clock_at, waits=False
        )
        self._put(notice.number, warned, now, f"noticed: {notice.stage}")

    def _got(self, notice: Notice, case: Case, at: int) -> None:
        """Let other notices of a subscriber keep their distance from one that he got, or may have got."""
        self._told.note(case.imsi, at)
        self._put(notice.number, replace(case, noticed_at=at), at, "")

    def _warned_too_late(self, notice: Notice, case: Case, now: int) -> None:
        """Tell who was in order before his first notice was taken, and is warned all the same."""
        if case.warned_at:
            return
        try:
            (judged,) = self.judge([(case.key, case.imsi)])
        except NotJudgedError:
            return  # nobody is cut off meanwhile, either
        if judged.reason not in CAUSE_NAMES:
            self.outbox.add(notice.number, case.opened_at, "resolved", case.steps_sent, now, now)

    def refused(
        self,
        notice: Notice,
        error: str,
        now: int,
        *,
        permanent: bool,
        tried: bool = True,
        unsure: bool = False,
    ) -> None:
        """Note that an SMSC did not take a notice: it is tried again, or failed for good.

        What was only throttled, or never went out, was not tried: it does not wait ever longer.
        `unsure`: it may have been taken, and its subscriber counts as told until it is repeated.
        """
        if permanent:
            self._answered(notice._replace(state=NoticeState.FAILED, error=error, changed_at=now))
            self._failed(notice, now)
            return
        attempts = notice.attempts - (not tried)
        wait_seconds = RETRY_SECONDS[min(attempts, len(RETRY_SECONDS)) - 1] if tried else RETRY_SECONDS[0]
        again = notice._replace(state=NoticeState.DUE, due_at=now + wait_seconds, attempts=attempts)
        self._answered(again._replace(error=error, changed_at=now))
        case = self._any_case_of(notice)
        if unsure and case is not None and notice.stage in STEPS:
            self._got(notice, case, now)

    def _failed(self, notice: Notice, now: int) -> None:
        """Let a case go on whose notice failed: who is unwarned is warned again, after the spacing."""
        self.counts["failed"] += 1
        case = self._any_case_of(notice)
        if case is not None and case.state != State.RESOLVED and case.waits and notice.stage in STEPS:
            steps = case.steps_sent if case.warned_at else 0
            self._put(notice.number, replace(case, steps_sent=steps, noticed_at=now, waits=False), now, "")

    def _gone(self, notice: Notice) -> None:
        """Let other notices of a subscriber go: this one is answered, or will not go out."""
        if imsi := self._going_to.pop(notice.id, 0):
            self._going.pop(imsi, None)

    def _answered(self, notice: Notice) -> None:
        self.outbox.put(notice)
        self._gone(notice)
        if self.answered is not None:
            self.answered(notice)

    def receipt(self, smsc: str, receipt: Receipt, now: int) -> None:
        """Note what became of an accepted notice; late, repeated and unknown receipts change nothing."""
        notice = self.outbox.of_message(smsc, spellings(receipt.message_id))
        if notice is None:
            self.counts["receipts_unknown"] += 1
        elif notice.state == NoticeState.ACCEPTED and receipt.outcome in _OUTCOMES:
            ended = notice._replace(state=_OUTCOMES[receipt.outcome], error=receipt.error, changed_at=now)
            self.outbox.put(ended)
            self.counts[f"receipts_{receipt.outcome.value}"] += 1
            if self.receipted is not None:
                self.receipted(ended)

    def restarted(self, now: int) -> int:
        """Send again what a kill left without an answer; return how many may be repeats."""
        self._told.load(*self.cases.noticed_since(now - self._told.spacing_seconds))
        unanswered = self.outbox.unanswered()
        for notice in unanswered:
            case = self._any_case_of(notice)
            if case is not None and notice.stage in STEPS:
                self._got(notice, case, notice.changed_at)
            self.outbox.put(notice._replace(state=NoticeState.DUE, due_at=now, changed_at=now))
        self.counts["repeated"] += len(unanswered)
        return len(unanswered)

    # -- helpers ----------------------------------------------------------------------------------

    def _shift(self, case: Case) -> int:
        return shift_of(case, self.shifts.values())

    def _due_at(self, case: Case, now: int) -> tuple[int, int]:
        """Return when a case is to be looked at again, and the deadline that checks see."""
        shift = self._shift(case)
        due = next_due(case, self._tables[case.cause], now, shift)
        return (due.at if due is not None else 0), deadline(case, shift)

    def _put(
        self, number: int, case: Case, now: int, what: str, *, due_at: int = -1, who: str = "", why: str = ""
    ) -> None:
        if due_at < 0:
            due_at, ends = self._due_at(case, now)
        else:
            ends = self.deadline_of(case)
        self.cases.put(number, case, due_at, ends, Happened(now, what, who, why) if what else None)
