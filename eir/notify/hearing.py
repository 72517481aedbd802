"""What a daemon hears of the others of its group: placed, or joined with what it knows.

    lines ──► next, repeat, missed ──► judged now ──► placed, joined, or kept until it holds ──► commit

What was heard twice changes nothing. Where something was missed, its daemon is
asked for all that it knows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final, Protocol

from eir.notify.case import Case
from eir.notify.case_file import Happened
from eir.notify.facts import Facts, case_with, facts_of, joined, overruled, settled
from eir.notify.group_notes import GroupNotes
from eir.notify.judged import Judged, NotJudgedError
from eir.notify.lines import LAST_STAGES, Order, Told, facts_in, is_empty, order, read_line
from eir.notify.messages import ENDINGS
from eir.notify.outbox import Notice, NoticeState
from eir.notify.schedule import STEPS
from eir.notify.shared_keeper import SharedKeeper
from eir.notify.telling import Teller
from eir.proto import group_pb2

LATE_SECONDS: Final = 600
"""Facts so old are held against what was resolved here meanwhile."""


class Others(Protocol):
    """Whoever keeps what is no case's: numbers of subscribers, holds of all sending, shifts of deadlines."""

    def hear(self, line: group_pb2.GroupLine) -> None:
        """Take it from a line."""

    def everything(self) -> Told:
        """Return all that others may have missed."""


class Hearer:
    """Takes in lines. In the keeper's thread; everything is to be committed after it."""

    def __init__(self, keeper: SharedKeeper, notes: GroupNotes, teller: Teller) -> None:
        """Hear for a keeper."""
        self._keeper, self._notes, self._teller, self._cases = keeper, notes, teller, keeper.cases
        self.missed: set[str] = set()
        """Daemons of which something was missed: they are to be asked for all that they know."""
        self.others: Others | None = None
        """Takes what is no case's."""

    def hear(self, entries: Sequence[tuple[str, bytes]], now: int) -> None:
        """Take in entries of the stream."""
        taken = []
        heard = dict(self._notes.heard)
        missed = set()
        for _, data in entries:
            line = read_line(data)
            if line is None:
                self._notes.counts["lines_refused"] += 1
            elif line.daemon == self._notes.name:
                if (
                    line.number > self._notes.told
                ):  # of before a backup that was restored, or of a copy of this daemon
                    self._notes.counts["lines_strange"] += 1
                    taken.append(line)
            else:
                comes = order(heard, line)
                self._notes.counts[f"lines_{comes.value}"] += 1
                if comes is Order.REPEAT:
                    continue
                if comes is Order.MISSED:
                    missed.add(line.daemon)
                heard[line.daemon] = line.number
                taken.append(line)
        self._take(taken, now)
        self.missed |= missed
        self._notes.hear_to(heard)
        self._notes.put("position", entries[-1][0])

    def hear_again(self) -> None:
        """Read the stream from its first entry: another one is there than before."""
        self._notes.put("position", "0-0")

    def caught_up(self, part: group_pb2.GroupLine, now: int) -> None:
        """Take in a part of everything that another daemon knows; to be committed after it."""
        self._take([part], now, say=False)
        if is_empty(part):
            self._notes.hear_to(
                {**self._notes.heard, part.daemon: max(self._notes.heard.get(part.daemon, 0), part.number)}
            )
            self.missed.discard(part.daemon)

    def lost(self, daemons: Sequence[str]) -> None:
        """Go on without what some daemons told last: they are gone, and nobody else has it."""
        self._notes.counts["daemons_lost"] += len(self.missed.intersection(daemons))
        self.missed.difference_update(daemons)

    def retry(self, now: int, limit: int = 1_000) -> None:
        """Look again at what did not hold here when it was heard."""
        self._take_facts(self._notes.some_unplaced(now, limit), now, say=True)

    def _readdress(self, line: group_pb2.GroupLine) -> None:
        """Let what is said of a replaced SIM be said of the new one: others learn of it a moment later."""
        for facts in line.cases:
            facts.imsi = self._keeper.imsi_now(facts.key, facts.imsi, facts.opened_at)
        for notice in line.notices:
            notice.imsi = self._keeper.imsi_now(notice.key, notice.imsi)
        for act in line.acts:
            act.imsi = self._keeper.imsi_now(act.key, act.imsi)

    def _take(self, taken: Sequence[group_pb2.GroupLine], now: int, *, say: bool = True) -> None:
        for line in taken:
            self._readdress(line)
        notices = [notice for line in taken for notice in line.notices]
        # What ends a case is said of it as it is then; steps are taken before the facts that count them.
        steps = [notice for notice in notices if notice.stage not in LAST_STAGES]
        later = self._take_notices(steps, now)
        ends = [notice for notice in notices if notice.stage in LAST_STAGES]
        sent = {(one.key, one.imsi) for one in ends if one.state == NoticeState.ACCEPTED}
        known = [facts for line in taken for facts in facts_in(line)]
        self._take_facts(known, now, say=say, but=sent)
        self._take_notices([*later, *ends], now)
        self._take_receipts(taken)
        for line in taken:
            for act in line.acts:
                number = self._cases.number(act.key, act.imsi)
                if number >= 0:
                    happened = Happened(act.at, act.event, act.who, act.why)
                    self._teller.hush_act(number, happened)
                    self._cases.add_history(number, happened)
        if self.others is not None:
            for line in taken:
                self.others.hear(line)

    def _take_receipts(self, taken: Sequence[group_pb2.GroupLine]) -> None:
        receipts = [receipt for line in taken for receipt in line.receipts]
        if receipts:
            self._cases.commit()  # they look for the ids of what was accepted
        for receipt in receipts:
            known = self._keeper.receipted_elsewhere(receipt)
            self._notes.counts["receipts_by_others" if known else "receipts_of_no_use"] += 1

    def _take_facts(
        self,
        known: Sequence[Facts],
        now: int,
        *,
        say: bool,
        but: Collection[tuple[int, int]] = (),
    ) -> None:
        """Place or join facts, by what a check answers now where they are new here.

        `say`: who is cut off is to be told here, too, `but` those pairs, whom somebody told.
        """
        numbers = [self._cases.number(facts.key, facts.imsi) for facts in known]
        new = {(f.key, f.imsi): f.cause for f, number in zip(known, numbers, strict=True) if number < 0}
        judged = self._judged(list(new))
        late = {(f.key, f.imsi) for f in known if f.opened_at < now - LATE_SECONDS and self._matters(f)}
        ended = self._cases.resolved_at(late) if late else {}
        for facts in known:
            pair = facts.key, facts.imsi
            # What was told while this daemon was not there; one that was refused for good counts, too.
            self._keeper.told_elsewhere(facts.imsi, facts.noticed_at, now)
            if facts.opened_at <= ended.get(pair, 0):
                self._notes.place(pair)
                continue  # of a case that ended here
            number = self._cases.number(*pair)
            if number >= 0 and self._cases.get(number).cause == facts.cause:
                self._join(number, facts, now, say=say and pair not in but)
            elif number < 0 and pair in judged and judged[pair].reason == facts.cause:
                self._place(facts, now, say=say and pair not in but)
            else:
                self._notes.keep_unplaced(facts)

    def _judged(self, pairs: list[tuple[int, int]]) -> dict[tuple[int, int], Judged]:
        """Judge pairs by the tables of now; while the override is on nothing holds, and everything waits."""
        try:
            return dict(zip(pairs, self._keeper.judge(pairs), strict=True)) if pairs else {}
        except NotJudgedError:
            return {}

    def _matters(self, facts: Facts) -> bool:
        """Tell whether facts would open a case, or move its opening."""
        number = self._cases.number(facts.key, facts.imsi)
        return number < 0 or facts.opened_at < self._cases.get(number).opened_at

    def _place(self, facts: Facts, now: int, *, say: bool) -> None:
        pair = facts.key, facts.imsi
        facts = settled(facts, self._keeper.absent_seconds(facts.cause))
        number = self._keeper.place(case_with(facts), now, f"opened: {facts.cause.name}", say=say)
        self._notes.put_round(pair, facts.round_at)
        self._notes.place(pair)
        self._teller.hush(number, facts)

    def _join(self, number: int, facts: Facts, now: int, *, say: bool) -> None:
        """Make one of what is known here and there of a case."""
        case, pair = self._cases.get(number), (facts.key, facts.imsi)
        mine = facts_of(case, 0, self._notes.round_of(pair))
        both = settled(overruled(mine, facts) or joined(mine, facts), self._keeper.absent_seconds(case.cause))
        same_round = both.round_at == mine.round_at
        if case.waits and (not same_round or both.steps_sent >= case.steps_sent):
            case = self._sent(number, case, both.steps_sent if same_round else 0, now)
        after = case_with(both, case if same_round else None)
        if after == case:
            return
        self._notes.put_round(pair, both.round_at)
        what = after.state.name.lower().replace("_", " ") if after.state != case.state else ""
        self._keeper.adopt(number, after, now, what, say=say)
        self._teller.hush(number, facts)

    def _sent(self, number: int, case: Case, steps: int, now: int) -> Case:
        """Take out what waits of a case, where others sent it; what an SMSC has is answered by it."""
        for notice in self._keeper.outbox.waiting_of([number]):
            if notice.stage in STEPS:
                self._keeper.outbox.put(notice._replace(state=NoticeState.CANCELLED, changed_at=now))
                case = replace(case, waits=False, steps_sent=steps)
        return case

    def _take_notices(self, told: Sequence[group_pb2.ToldNotice], now: int) -> list[group_pb2.ToldNotice]:
        """Take what became of notices; return those of cases that are not known here."""
        numbers = [self._cases.number(one.key, one.imsi) for one in told]
        known = [number for number in numbers if number >= 0]
        waiting = {one.number: one for one in self._keeper.outbox.waiting_of(known)} if known else {}
        later = []
        for one, number in zip(told, numbers, strict=True):
            if one.state == NoticeState.ACCEPTED and one.stage in STEPS:
                self._keeper.told_elsewhere(one.imsi, one.at, now)
            mine = waiting.get(number)
            if mine is not None and mine.stage != one.stage and not {mine.stage, one.stage} <= set(STEPS):
                mine = None
            if number < 0 or one.stage in ENDINGS:
                if one.state == NoticeState.ACCEPTED:
                    later.append(one)
                if one.state == NoticeState.ACCEPTED and one.stage in LAST_STAGES:
                    self._notes.say(one)
            elif one.at < max(self._cases.get(number).opened_at, self._notes.round_of((one.key, one.imsi))):
                pass  # of an earlier case, or of what was taken back
            elif one.state == NoticeState.ACCEPTED:
                self._accepted(one, number, mine, now)
                waiting.pop(number, None)
            elif mine is not None and one.state == NoticeState.FAILED:
                self._keeper.failed_elsewhere(mine, one.error, one.at)
                waiting.pop(number, None)
            elif mine is not None and one.state == NoticeState.DUE:
                due_at, attempts = max(mine.due_at, one.due_at), mine.attempts + 1
                waiting[number] = mine._replace(
                    due_at=due_at, error=one.error, attempts=attempts, changed_at=one.at
                )
                self._keeper.outbox.put(waiting[number])
        return later

    def _accepted(self, told: group_pb2.ToldNotice, number: int, mine: Notice | None, now: int) -> None:
        """Note that another daemon sent a notice: ours is sent with it, and its receipt may come here."""
        self._notes.counts["sent_by_others"] += 1
        if told.stage in LAST_STAGES:
            self._notes.say(told)
        else:
            self._keeper.sent_elsewhere(number, mine, told.steps, now)
        outbox = self._keeper.outbox
        if mine is not None and (mine.stage, mine.steps) != (told.stage, told.steps):
            outbox.put(mine._replace(state=NoticeState.CANCELLED, changed_at=now))
            mine = None
        if mine is None:
            opened_at = self._cases.get(number).opened_at
            mine = outbox.add(number, opened_at, told.stage, told.steps, told.at, told.at)
        ids = tuple(told.message_ids)
        outbox.put(
            mine._replace(
                state=NoticeState.ACCEPTED, smsc=told.smsc, message_ids=ids, changed_at=told.at, error=""
            )
        )
        self._cases.add_history(number, Happened(told.at, f"noticed: {told.stage}"))
