"""What an SMSC does with notices, and what becomes of their cases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from case_samples import KEY, NOON, SHIPPED, SIM, kept, small_extents
from keeper_desk import FOREVER, OTHER, START, Desk

from eir.notify.answers import RETRY_SECONDS
from eir.notify.case import Event, State
from eir.notify.judged import Judged, NotJudgedError
from eir.notify.keeper import Keeper, Sighting, World
from eir.notify.outbox import Notice, NoticeState
from eir.notify.receipts import Outcome, Receipt
from eir.notify.schedule import DAY, HOUR
from eir.verdict import Reason

SPACING = SHIPPED.notices.spacing_hours_min * HOUR


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    yield from kept(Keeper, tmp_path)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    small_extents(monkeypatch)
    desk = Desk(tmp_path)
    yield desk
    desk.cases.close()


def going(keeper: Keeper, *keys: int) -> list[Notice]:
    """The first notices of a subscriber's phones; the first of them is with an SMSC."""
    keeper.sighted([Sighting(key, SIM, NOON) for key in keys])
    keeper.tick(NOON, World(1 << 32), 10)
    keeper.commit()
    first, *others = keeper.outbox.waiting(NOON, 10)
    sent = keeper.submitted(first, keeper.cases.get(first.number), "main", NOON)
    keeper.commit()
    return [sent, *others]


def test_while_one_is_on_its_way_another_waits_and_then_keeps_its_distance(keeper: Keeper) -> None:
    first, second = going(keeper, KEY, KEY + 1)
    case = keeper.cases.get(second.number)
    assert keeper.spaced_at(second, case, NOON) == NOON + RETRY_SECONDS[0]
    assert keeper.spaced_at(second._replace(stage="resolved"), case, NOON) == NOON
    keeper.accepted(first, ("1",), NOON + 5)
    assert keeper.spaced_at(second, case, NOON + 6) == NOON + 5 + SPACING


def test_what_was_refused_for_a_while_waits_ever_longer_and_what_was_throttled_does_not(
    keeper: Keeper,
) -> None:
    (first,) = going(keeper, KEY)
    waits = []
    for _ in range(len(RETRY_SECONDS) + 1):
        keeper.refused(first, "temporary 0x08", NOON, permanent=False)
        keeper.commit()
        (again,) = keeper.outbox.of_case(0, 0)
        waits.append(again.due_at - NOON)
        first = keeper.submitted(again, keeper.cases.get(0), "main", NOON)
    assert waits == [*RETRY_SECONDS, RETRY_SECONDS[-1]]
    keeper.refused(first, "throttled 0x58", NOON, permanent=False, tried=False)
    keeper.commit()
    assert keeper.outbox.of_case(0, 0)[0].due_at == NOON + RETRY_SECONDS[0]


def test_who_was_refused_for_good_is_still_unwarned_and_warned_again(keeper: Keeper) -> None:
    (first,) = going(keeper, KEY)
    keeper.refused(first, "permanent 0x0B", NOON, permanent=True)
    keeper.commit()
    case = keeper.cases.get(0)
    assert (case.warned_at, case.steps_sent, case.waits) == (0, 0, False)
    assert keeper.cases.due_at(0) >= NOON + SPACING
    assert keeper.counts["failed"] == 1


def test_a_receipt_is_noted_once(keeper: Keeper) -> None:
    told: list[Notice] = []
    keeper.receipted = told.append
    (first,) = going(keeper, KEY)
    keeper.accepted(first, ("0A",), NOON)
    keeper.commit()
    for outcome in (Outcome.DELIVERED, Outcome.FAILED):
        keeper.receipt("main", Receipt("0A", outcome, ""), NOON + 9)
        keeper.commit()
    keeper.receipt("other", Receipt("0A", Outcome.DELIVERED, ""), NOON + 9)
    assert [one.state for one in told] == [NoticeState.DELIVERED]
    assert keeper.outbox.of_case(0, 0)[0].state == NoticeState.DELIVERED
    assert keeper.counts["receipts_unknown"] == 1


def test_temporary_errors_are_tried_again_ever_later(desk: Desk) -> None:
    desk.seen(START)
    desk.keeper.tick(START, FOREVER, 10)
    desk.keeper.commit()
    now, tries = START, []
    for _ in range(4):
        (notice,) = desk.claim(now)
        tries.append(now - START)
        desk.keeper.refused(notice, "0x08", now, permanent=False)
        desk.keeper.commit()
        assert desk.keeper.outbox.waiting(now, 10) == []
        now = min(n.due_at for n in desk.keeper.outbox.of_case(0, START))
    assert tries == [0, 60, 360, 2160]


def test_a_permanent_error_leaves_the_subscriber_unwarned(desk: Desk) -> None:
    notice = desk.warning()
    desk.keeper.refused(notice, "0x0B", START, permanent=True)
    desk.keeper.commit()
    assert desk.case().warned_at == 0
    desk.run(START + 1, 2)
    assert desk.said == [(24, "first")]


@pytest.mark.parametrize("answered", [True, False])
def test_a_kill_repeats_at_most_what_was_in_flight(desk: Desk, answered: bool) -> None:
    notice = desk.warning()
    if answered:
        desk.keeper.accepted(notice, ("m",), START)
        desk.keeper.commit()
    desk.cases.close()
    desk.start()
    assert desk.keeper.restarted(START + 60) == (not answered)
    desk.keeper.commit()
    desk.send(START + 60)
    assert desk.said == ([] if answered else [(0, "first")])


def test_receipts(desk: Desk) -> None:
    desk.seen(START)
    desk.run(START, 0.1)
    for message_id, outcome in (("zzz", Outcome.FAILED), ("m0", Outcome.PENDING), ("m0", Outcome.DELIVERED)):
        desk.keeper.receipt("main", Receipt(message_id, outcome, ""), START)
        desk.keeper.commit()
    desk.keeper.receipt("main", Receipt("m0", Outcome.FAILED, "late"), START)
    desk.keeper.receipt("other", Receipt("m0", Outcome.FAILED, "not theirs"), START)
    desk.keeper.commit()
    (notice,) = desk.keeper.outbox.of_case(0, START)
    assert (notice.state, notice.error) == (NoticeState.DELIVERED, "")
    assert desk.keeper.counts["receipts_unknown"] == 2


def test_an_old_notice_says_nothing_of_a_new_case(desk: Desk) -> None:
    desk.seen(START)
    desk.keeper.tick(START, FOREVER, 10)
    desk.keeper.commit()
    (notice,) = desk.keeper.outbox.waiting(START, 10)
    assert desk.keeper.case_of(notice._replace(opened_at=START - 1)) is None
    assert desk.keeper.case_of(notice._replace(number=99)) is None
    assert desk.keeper.case_of(notice) == desk.case()


def test_a_case_has_one_notice_on_its_way(desk: Desk) -> None:
    """A first notice that waits for an MSISDN until the reminder is due does not bring both at once."""
    desk.seen(START)
    for now in range(START, START + 12 * DAY, 6 * HOUR):
        desk.seen(now)
        desk.keeper.tick(now, FOREVER, 10)
        desk.keeper.commit()
    desk.run(START + 12 * DAY, 3)
    assert desk.said == [(288, "first"), (312, "reminder")]


@pytest.mark.parametrize("pause", [State.ABSENT, State.HELD])
def test_a_notice_accepted_in_a_pause_counts(desk: Desk, pause: State) -> None:
    notice = desk.warning()
    if pause == State.HELD:
        desk.keeper.act(0, Event.HOLD, START + 1, START + DAY, "court", "4711")
    else:
        desk.keeper.tick(START + 30 * DAY, FOREVER, 10)
    desk.keeper.accepted(notice, ("m",), START + 30 * DAY)
    desk.keeper.commit()
    assert (desk.case().state, desk.case().warned_at) == (pause, START + 30 * DAY)


@pytest.mark.parametrize("reason", [Reason.OWNER, Reason.NOT_REGISTERED])
def test_who_was_in_order_before_his_notice_was_taken_is_told(desk: Desk, reason: Reason) -> None:
    notice = desk.warning()
    desk.answers[KEY, SIM] = reason
    desk.keeper.changed(np.array([KEY], np.uint64), START + 1)
    desk.keeper.accepted(notice, ("m",), START + 2)
    desk.keeper.commit()
    desk.send(START + 3)
    assert desk.said == ([(0, "resolved")] if reason == Reason.OWNER else [])


def test_a_cause_that_takes_the_place_of_another_is_not_called_in_order(desk: Desk) -> None:
    desk.seen(START)
    desk.run(START, 1)
    desk.answers[KEY, SIM] = Reason.OWNED_BY_OTHER
    desk.seen(START + 2 * DAY)
    desk.run(START + 2 * DAY, 1)
    assert desk.said == [(0, "first"), (48, "first")]


def test_a_subscriber_of_several_cases_gets_one_notice_at_a_time(desk: Desk) -> None:
    one, other, _ = desk.several(3)
    case, later = desk.cases.get(one.number), desk.cases.get(other.number)
    assert desk.keeper.spaced_at(one, case, START) == START
    sent = desk.keeper.submitted(one, case, "main", START)
    assert desk.keeper.spaced_at(one, case, START) == START
    assert desk.keeper.spaced_at(other, later, START) == START + 60, "the first has no answer yet"
    desk.keeper.accepted(sent, ("m",), START + 5)
    desk.keeper.commit()
    assert desk.keeper.spaced_at(other, later, START + 60) == START + 5 + DAY
    assert desk.keeper.spaced_at(other._replace(stage="resolved"), later, START + 60) == START + 60
    desk.cases.close()
    desk.start()
    desk.keeper.restarted(START + 120)
    assert desk.keeper.spaced_at(other, later, START + 120) == START + 5 + DAY


def test_one_that_fails_is_in_nobodys_way(desk: Desk) -> None:
    one, other = desk.several(2)
    sent = desk.keeper.submitted(one, desk.cases.get(0), "main", START)
    desk.keeper.refused(sent, "0x08", START, permanent=False)
    assert desk.keeper.spaced_at(other, desk.cases.get(1), START) == START


def test_what_is_throttled_does_not_wait_ever_longer(desk: Desk) -> None:
    desk.seen(START)
    desk.keeper.tick(START, FOREVER, 10)
    desk.keeper.commit()
    now, tries = START, []
    for _ in range(8):
        (notice,) = desk.claim(now)
        tries.append(now - START)
        desk.keeper.refused(notice, "throttled 0x58", now, permanent=False, tried=False)
        desk.keeper.commit()
        now += 60
    assert tries == [60 * n for n in range(8)]
    (notice,) = desk.claim(now)
    assert notice.attempts == 1


def test_after_a_kill_the_repeat_comes_before_other_notices_of_the_subscriber(desk: Desk) -> None:
    one, other = desk.several(2)
    desk.keeper.submitted(one, desk.cases.get(0), "main", START)
    desk.keeper.commit()
    desk.cases.close()
    desk.start()
    desk.keeper.restarted(START + 60)
    desk.keeper.commit()
    case, later = desk.cases.get(0), desk.cases.get(1)
    (one,) = [again for again in desk.keeper.outbox.waiting(START + 60, 10) if again.id == one.id]
    assert desk.keeper.spaced_at(one, case, START + 60) == START + 60
    assert desk.keeper.spaced_at(other, later, START + 60) == START + DAY
    desk.keeper.cancelled(one, START + 60)
    assert desk.keeper.spaced_at(other, later, START + 60) == START + DAY, "it may have been taken"


@pytest.mark.parametrize("restarted", [False, True])
def test_what_an_smsc_may_have_taken_keeps_other_notices_of_the_subscriber_away(
    desk: Desk, restarted: bool
) -> None:
    one, other = desk.several(2)
    sent = desk.keeper.submitted(one, desk.cases.get(0), "main", START)
    desk.keeper.refused(sent, "lost 0x00", START + 5, permanent=False, unsure=True)
    desk.keeper.commit()
    if restarted:
        desk.cases.close()
        desk.start()
        desk.keeper.restarted(START + 60)
        desk.keeper.commit()
    case, later = desk.cases.get(0), desk.cases.get(1)
    assert case.warned_at == 0, "nobody knows that he was warned"
    (again,) = [one for one in desk.keeper.outbox.waiting(START + 65, 10) if one.number == 0]
    assert desk.keeper.spaced_at(again, case, START + 65) == START + 65, "it is repeated at once"
    assert desk.keeper.spaced_at(other, later, START + 65) == START + 5 + DAY
    # Its repeat was in somebody's way for a day; then it keeps its distance as any other does.
    day_later = START + 6 + DAY
    sent = desk.keeper.submitted(other, later, "main", day_later)
    desk.keeper.accepted(sent, ("m",), day_later)
    assert desk.keeper.spaced_at(again, case, day_later + 60) == day_later + DAY


@pytest.mark.parametrize("state", [State.RESOLVED, State.WITHDRAWN])
def test_a_notice_of_a_case_that_is_over_counts_for_the_spacing_after_a_restart(
    desk: Desk, state: State
) -> None:
    one, other = desk.several(2)
    sent = desk.keeper.submitted(one, desk.cases.get(0), "main", START)
    if state == State.RESOLVED:
        desk.answers[KEY, SIM] = Reason.OWNER
        desk.keeper.changed(np.array([KEY], np.uint64), START + 1)
    else:
        desk.keeper.act(0, Event.WITHDRAW, START + 1, START + DAY, "court", "4711")
    desk.keeper.accepted(sent, ("m",), START + 2)
    desk.keeper.commit()
    assert desk.cases.get(0).state == state
    for _ in range(2):
        assert desk.keeper.spaced_at(other, desk.cases.get(1), START + 60) == START + 2 + DAY
        desk.cases.close()
        desk.start()
        desk.keeper.restarted(START + 60)


def test_an_answer_under_the_override_is_noted(desk: Desk) -> None:
    notice = desk.warning()
    desk.answers[KEY, SIM] = Reason.OWNER
    desk.keeper.changed(np.array([KEY], np.uint64), START)

    def not_judged(_: object) -> list[Judged]:
        raise NotJudgedError

    desk.keeper.judge = not_judged
    desk.keeper.accepted(notice, ("m1",), START + 1)
    desk.keeper.commit()
    assert desk.keeper.outbox.counts()[NoticeState.ACCEPTED] == 1


def test_a_failed_notice_of_a_former_case_leaves_the_new_one_alone(desk: Desk) -> None:
    notice = desk.warning()
    desk.answers[KEY, SIM] = Reason.NOT_REGISTERED
    desk.seen(START + 60)
    new = desk.cases.number(KEY, SIM)
    assert new != notice.number
    desk.keeper.refused(notice, "permanent 0x0B", START + 61, permanent=True)
    desk.keeper.commit()
    assert desk.cases.number(KEY, SIM) == new
    assert desk.found() is not None


def test_an_id_that_an_smsc_gave_again_is_kept_for_the_newer_notice(desk: Desk) -> None:
    desk.seen(START)
    desk.keeper.tick(START, FOREVER, 10)
    desk.keeper.commit()
    (old,) = desk.claim(START)
    desk.keeper.accepted(old, ("again",), START)
    desk.seen(START, imsi=OTHER)
    desk.keeper.tick(START + DAY, FOREVER, 10)
    desk.keeper.commit()
    (new,) = desk.claim(START + DAY)
    desk.keeper.accepted(new, ("again",), START + DAY)
    desk.keeper.commit()
    desk.keeper.outbox.purge(START + HOUR, 0)
    desk.keeper.commit()
    found = desk.keeper.outbox.of_message("main", ["again"])
    assert found is not None
    assert found.id == new.id
