"""What happens to cases, by whatever happens."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from case_samples import KEY, SHIPPED, SIM, small_extents
from keeper_desk import FOREVER, OTHER, START, Desk, policy

from eir.notify.case import Event, State
from eir.notify.judged import Judged
from eir.notify.keeper import Sighting, World
from eir.notify.outbox import NoticeState
from eir.notify.schedule import DAY, HOUR, Shift
from eir.verdict import Reason


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Extents of 64 cases: hundreds of hours pass in a test."""
    small_extents(monkeypatch)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.cases.close()


def test_a_whole_course(desk: Desk) -> None:
    desk.seen(START)
    assert desk.found() == (State.OPEN, Reason.NEVER_ACTIVATED, 0)
    desk.run(START, 40)
    assert desk.said == [(0, "first"), (240, "reminder"), (480, "reminder"), (648, "last"), (720, "cut_off")]
    assert desk.found() == (State.CUT_OFF, Reason.NEVER_ACTIVATED, START + 30 * DAY)
    events = [line.event for line in desk.cases.history(0)]
    assert events[0] == "opened: NEVER_ACTIVATED"
    assert events[-1] == "cut off"


def test_what_is_in_order_by_now_opens_nothing(desk: Desk) -> None:
    desk.answers[KEY, SIM] = Reason.OWNER
    desk.seen(START)
    assert len(desk.cases) == 0


def test_a_remedy_resolves_and_tells_who_was_warned(desk: Desk) -> None:
    desk.seen(START)
    desk.run(START, 1)
    desk.answers[KEY, SIM] = Reason.OWNER
    assert desk.keeper.changed(np.array([KEY], np.uint64), START + 2 * DAY) == 1
    desk.keeper.commit()
    assert desk.found() is None
    desk.send(START + 2 * DAY)
    assert [stage for _, stage in desk.said] == ["first", "resolved"]


def test_who_was_not_warned_is_told_nothing(desk: Desk) -> None:
    desk.seen(START)
    desk.keeper.tick(START, FOREVER, 10)
    desk.keeper.commit()
    desk.answers[KEY, SIM] = Reason.OWNER
    desk.keeper.changed(np.array([KEY], np.uint64), START)
    desk.keeper.commit()
    desk.send(START + 1)
    assert desk.said == []
    assert desk.keeper.outbox.counts()[NoticeState.CANCELLED] == 1


def test_a_notice_resolved_before_its_commit_is_not_sent(desk: Desk) -> None:
    desk.seen(START)
    desk.keeper.tick(START, FOREVER, 10)
    desk.answers[KEY, SIM] = Reason.OWNER
    desk.keeper.changed(np.array([KEY], np.uint64), START)
    desk.keeper.commit()
    desk.send(START + 1)
    assert desk.said == []


def test_who_was_cut_off_is_told_to_restart(desk: Desk) -> None:
    desk.seen(START)
    desk.run(START, 31)
    desk.answers[KEY, SIM] = Reason.OWNER
    desk.keeper.changed(np.array([KEY], np.uint64), START + 32 * DAY)
    desk.keeper.commit()
    desk.send(START + 32 * DAY)
    assert desk.said[-1][1] == "restored"


def test_a_phone_in_order_at_its_deadline_is_not_cut_off(desk: Desk) -> None:
    desk.seen(START)
    desk.run(START, 29)
    desk.answers[KEY, SIM] = Reason.OWNER  # and the delta's keys were lost
    desk.run(START + 29 * DAY, 3, visible=False)
    assert desk.found() is None
    assert "cut_off" not in [stage for _, stage in desk.said]


@pytest.mark.parametrize("world", [World(START + 20 * DAY), World(1 << 32, clock_doubtful=True)])
def test_lag_holds_the_deadline_back(desk: Desk, world: World) -> None:
    desk.seen(START)
    desk.run(START, 34, world)
    assert desk.case().state == State.OPEN
    assert desk.keeper.counts["waiting"]
    desk.run(START + 34 * DAY, 2)
    assert desk.case().state == State.CUT_OFF


def test_without_an_smsc_nobody_is_cut_off(desk: Desk) -> None:
    desk.seen(START)
    for now in range(START, START + 60 * DAY, 6 * HOUR):
        desk.seen(now)
        desk.keeper.tick(now, FOREVER, 10)
        desk.keeper.commit()
    assert desk.case().state == State.OPEN
    desk.run(START + 60 * DAY, 7)
    assert desk.case().state == State.OPEN


def test_observed_and_notified_rules_never_cut_off(desk: Desk) -> None:
    desk.enforced = False
    desk.seen(START)
    desk.run(START, 60)
    assert desk.case().state == State.OPEN


def test_what_is_not_seen_goes_absent_and_resumes(desk: Desk) -> None:
    desk.seen(START)
    desk.run(START, 1)
    desk.run(START + DAY, 40, visible=False)
    assert desk.case().state == State.ABSENT
    back = START + 60 * DAY
    desk.seen(back)
    assert desk.case().state == State.OPEN
    assert desk.case().deadline == back  # 30 days had run when it went absent
    desk.run(back, 1, visible=False)
    assert desk.case().state == State.CUT_OFF


def test_late_sightings_do_not_wake_the_absent(desk: Desk) -> None:
    desk.seen(START)
    desk.run(START, 40, visible=False)
    desk.seen(START + 5)
    assert desk.case().state == State.ABSENT


@pytest.mark.parametrize("first", ["sighting", "delta"])
def test_the_order_of_a_sighting_and_a_delta_makes_no_difference(desk: Desk, first: str) -> None:
    if first == "sighting":
        desk.seen(START)
    desk.answers[KEY, SIM] = Reason.OWNER
    desk.keeper.changed(np.array([KEY], np.uint64), START)
    desk.seen(START + 1)
    desk.keeper.tick(START + 2, FOREVER, 10)
    desk.keeper.commit()
    desk.send(START + 2)
    assert desk.found() is None
    assert desk.said == []


def test_another_cause_is_another_case(desk: Desk) -> None:
    desk.seen(START)
    desk.answers[KEY, SIM] = Reason.NOT_REGISTERED
    desk.seen(START + DAY)
    assert desk.case().cause == Reason.NOT_REGISTERED
    assert desk.case().opened_at == START + DAY
    assert desk.cases.states()[State.RESOLVED] == 1


def test_a_new_sim_inherits_the_deadline_of_an_unregistered_phone(tmp_path: Path) -> None:
    desk = Desk(tmp_path, policy("not_registered", clock_start="first_sighting"))
    desk.answers = dict.fromkeys(((KEY, SIM), (KEY, OTHER)), Reason.NOT_REGISTERED)
    desk.seen(START)
    desk.seen(START + 10 * DAY, OTHER)
    assert desk.case(OTHER).deadline == desk.case(SIM).deadline == START + 30 * DAY
    desk.cases.close()


def test_of_other_causes_it_does_not(tmp_path: Path) -> None:
    desk = Desk(tmp_path, policy(clock_start="first_sighting"))
    desk.seen(START)
    desk.seen(START + 10 * DAY, OTHER)
    assert desk.case(OTHER).deadline == START + 40 * DAY
    desk.cases.close()


def test_a_dated_clock(tmp_path: Path) -> None:
    desk = Desk(tmp_path, policy(clock_start="date", clock_date=START + 5 * DAY))
    desk.seen(START)
    desk.seen(START + 9 * DAY, OTHER)
    assert desk.case().deadline == START + 35 * DAY
    assert desk.case(OTHER).deadline == START + 39 * DAY
    desk.cases.close()


def test_an_imei_of_many_gets_only_so_many_cases(desk: Desk) -> None:
    for number in range(9):
        desk.seen(START, SIM + number)
    assert len(desk.cases) == SHIPPED.notices.cases_per_imei_max
    assert desk.keeper.counts["crowded"] == 4


@pytest.mark.parametrize("event", [Event.HOLD, Event.WITHDRAW])
def test_people_stop_a_case_until_its_end(desk: Desk, event: Event) -> None:
    desk.seen(START)
    desk.keeper.act(0, event, START, START + 50 * DAY, "court", "4711")
    desk.run(START, 49)
    assert desk.said == []
    assert desk.cases.history(0)[-1][1:] == (event.name.lower(), "court", "4711")
    desk.run(START + 49 * DAY, 5)
    assert desk.said[0][1] == "first"


def test_shifts_move_what_checks_see(desk: Desk) -> None:
    desk.keeper.shifts = {1: Shift(10 * DAY, None, (0, 99_999_999), (0, 1 << 51))}
    desk.seen(START)
    desk.run(START, 35)
    assert desk.found() == (State.OPEN, Reason.NEVER_ACTIVATED, START + 40 * DAY)
    desk.run(START + 35 * DAY, 7)
    assert desk.case().state == State.CUT_OFF


def test_too_many_cases_hold_the_sending(tmp_path: Path) -> None:
    few = replace(SHIPPED, notices=replace(SHIPPED.notices, cases_per_hour_max=3))
    desk = Desk(tmp_path, few)
    for number in range(3):
        desk.seen(START, key=KEY + number)
    assert not desk.keeper.held
    desk.seen(START, key=KEY + 3)
    assert "cases_per_hour_max" in desk.keeper.held
    desk.keeper.release()
    desk.seen(START + HOUR, key=KEY + 4)
    assert not desk.keeper.held
    desk.cases.close()


def test_cut_offs_are_rationed(tmp_path: Path) -> None:
    few = replace(SHIPPED, notices=replace(SHIPPED.notices, cut_offs_per_hour_max=2))
    desk = Desk(tmp_path, few)
    for number in range(5):
        desk.seen(START, key=KEY + number)
    for now in range(START, START + 30 * DAY, HOUR):
        desk.keeper.tick(now, FOREVER, 100)
        desk.keeper.commit()
        desk.send(now)
    cut = []
    for now in range(START + 30 * DAY - 60, START + 30 * DAY + 4 * HOUR, 600):
        for number in range(5):
            desk.keeper._seen(number, desk.cases.get(number), now)
        desk.keeper.tick(now, FOREVER, 100)
        cut.append(desk.cases.states()[State.CUT_OFF])
    desk.keeper.commit()
    assert max(after - before for before, after in itertools.pairwise(cut)) == 2
    assert cut[-1] == 5
    desk.cases.close()


@pytest.mark.parametrize("why", ["absence", "hold"])
def test_a_notice_that_a_pause_cancelled_is_sent_after_it(desk: Desk, why: str) -> None:
    desk.seen(START)
    desk.keeper.tick(START, FOREVER, 10)
    desk.keeper.commit()
    back = START + 31 * DAY
    if why == "hold":
        desk.keeper.act(0, Event.HOLD, START, back, "court", "4711")
    else:
        desk.keeper.tick(START + 30 * DAY, FOREVER, 10)
    desk.keeper.commit()
    assert desk.case().state in (State.ABSENT, State.HELD)
    assert desk.claim(START + 30 * DAY) == []
    desk.seen(back)
    desk.run(back, 2)
    assert [stage for _, stage in desk.said] == ["first", "reminder"]
    assert desk.said[0][0] - 31 * 24 in (
        0,
        1,
    )  # the end of a hold is noted in one tick, and acted on in the next


def test_sightings_of_who_is_cut_off_are_noted_rarely(desk: Desk) -> None:
    desk.seen(START)
    desk.run(START, 31)
    desk.seen(START + 31 * DAY)
    desk.seen(START + 31 * DAY + 60)
    assert desk.case().seen_at == START + 31 * DAY


def test_a_hold_keeps_deadlines_from_falling(desk: Desk) -> None:
    desk.seen(START)
    desk.run(START, 29)
    desk.keeper.hold("a bad delta")
    desk.run(START + 29 * DAY, 3)
    assert desk.case().state == State.OPEN
    desk.keeper.release()
    desk.run(START + 32 * DAY, 1)
    assert desk.case().state == State.CUT_OFF


def test_a_hold_and_the_rates_of_the_hour_survive_a_restart(tmp_path: Path) -> None:
    few = replace(SHIPPED, notices=replace(SHIPPED.notices, cases_per_hour_max=3))
    desk = Desk(tmp_path, few)
    for number in range(3):
        desk.seen(START, key=KEY + number)
    desk.cases.close()
    desk.start()
    assert not desk.keeper.held
    desk.seen(START, key=KEY + 3)
    held = desk.keeper.held
    assert held
    desk.cases.close()
    desk.start()
    assert desk.keeper.held == held
    desk.keeper.release()
    desk.keeper.commit()
    desk.cases.close()
    desk.start()
    assert not desk.keeper.held
    for number in range(4, 7):  # a release goes on: the hour is counted anew
        desk.seen(START, key=KEY + number)
    assert not desk.keeper.held
    desk.cases.close()


def test_deadlines_beyond_the_rate_wait_for_the_hours_with_room(tmp_path: Path) -> None:
    few = replace(SHIPPED, notices=replace(SHIPPED.notices, cut_offs_per_hour_max=2))
    desk = Desk(tmp_path, few)
    for number in range(7):
        desk.seen(START, key=KEY + number)
    for now in range(START, START + 30 * DAY, HOUR):
        desk.keeper.tick(now, FOREVER, 100)
        desk.keeper.commit()
        desk.send(now)
    at = START + 30 * DAY - 60
    for number in range(7):
        desk.keeper._seen(number, desk.cases.get(number), at)
    at += 60
    assert desk.keeper.tick(at, FOREVER, 100) == 7
    assert desk.keeper.tick(at + 60, FOREVER, 100) == 0
    hour, cut = (at // HOUR + 1) * HOUR, []
    for now in range(hour, hour + 3 * HOUR, 60):
        desk.keeper.tick(now, FOREVER, 100)
        cut += [n for n in range(7) if n not in cut and desk.cases.get(n).state == State.CUT_OFF]
        assert len(cut) <= 4 + 2 * ((now - hour) // HOUR)
    assert cut[:5] == [0, 1, 2, 3, 4], "who waited longest comes first"
    assert sorted(cut) == [0, 1, 2, 3, 4, 5, 6]
    desk.cases.close()


def test_who_is_absent_while_his_deadline_waits_is_not_cut_off(desk: Desk) -> None:
    desk.seen(START)
    desk.run(START, 25)
    desk.run(START + 25 * DAY, 8, World(START))
    seen = desk.case().seen_at
    assert desk.case().state == State.OPEN
    desk.keeper.tick(seen + 31 * DAY, FOREVER, 10)
    assert desk.case().state == State.ABSENT


def test_a_grace_does_not_begin_in_a_withdrawal(tmp_path: Path) -> None:
    desk = Desk(tmp_path, policy(clock_start="first_sighting"))
    desk.seen(START)
    desk.keeper.act(0, Event.WITHDRAW, START, START + 5 * DAY, "court", "4711")
    desk.seen(START + 2 * DAY)
    assert desk.case().clock_at == 0
    desk.keeper.tick(START + 5 * DAY, FOREVER, 10)
    desk.seen(START + 6 * DAY)
    assert desk.case().clock_at == START + 6 * DAY
    desk.cases.close()


def test_a_deadline_that_waits_keeps_no_notice_back(desk: Desk) -> None:
    """The last warning came late; the deadline waits for the feed, and the warning is sent all the same."""
    desk.seen(START)
    desk.run(START, 21)
    lag = World(START + 20 * DAY)
    for now in range(START + 21 * DAY, START + 31 * DAY, 6 * HOUR):
        desk.seen(now)
        desk.keeper.tick(now, lag, 10)
        desk.keeper.commit()
    assert [stage for _, stage in desk.said] == ["first", "reminder", "reminder"]
    desk.run(START + 31 * DAY, 3, lag)
    assert desk.said[3:] == [(31 * 24, "last")]
    assert desk.case().state == State.OPEN


def test_another_timetable_changes_what_is_due_when_cases_are_looked_at_anew(desk: Desk) -> None:
    desk.seen(START)
    desk.run(START, 1)
    assert desk.cases.due_at(0) == START + 10 * DAY
    sooner = replace(SHIPPED, notices=replace(SHIPPED.notices, reminders_after_days=(3,)))
    desk.keeper.use_policy(sooner)
    desk.keeper.look_again([0], START + DAY)
    assert desk.cases.due_at(0) == START + 10 * DAY
    desk.keeper.look_again([0], START + DAY, anew=True)
    assert desk.cases.due_at(0) == START + 3 * DAY


@pytest.mark.parametrize("answered", [False, True])
def test_a_replaced_sim_is_the_same_subscriber(desk: Desk, answered: bool) -> None:
    one, other = desk.several(2)
    sent = desk.keeper.submitted(one, desk.cases.get(0), "main", START)
    if answered:
        desk.keeper.accepted(sent, ("m",), START)
    desk.keeper.replace_sims([(SIM, OTHER)], START + 1)
    later = desk.cases.get(1)
    assert later.imsi == OTHER
    waits_until = START + DAY if answered else START + 2 + 60
    assert desk.keeper.spaced_at(other, later, START + 2) == waits_until
    if not answered:
        desk.keeper.accepted(sent, ("m",), START + 5)
        assert desk.keeper.spaced_at(other, later, START + 6) == START + 5 + DAY


def test_cut_offs_of_an_hour_are_counted_over_a_restart(tmp_path: Path) -> None:
    few = replace(SHIPPED, notices=replace(SHIPPED.notices, cut_offs_per_hour_max=2))
    desk = Desk(tmp_path, few)
    for number in range(5):
        desk.seen(START, key=KEY + number, imsi=SIM + number)
    for now in range(START, START + 30 * DAY, HOUR):
        desk.keeper.tick(now, FOREVER, 100)
        desk.keeper.commit()
        desk.send(now)
    begins = START + 30 * DAY
    assert begins % HOUR < HOUR - 600
    for number in range(5):
        desk.keeper._seen(number, desk.cases.get(number), begins - 60)
    for now in (begins, begins + 300):
        desk.keeper.tick(now, FOREVER, 100)
        desk.keeper.commit()
        assert desk.cases.states()[State.CUT_OFF] == 2
        desk.cases.close()
        desk.start()
        desk.keeper.restarted(now + 60)
    desk.keeper.tick(begins + 3 * HOUR, FOREVER, 100)
    assert desk.cases.states()[State.CUT_OFF] == 4
    desk.cases.close()


def test_who_was_cut_off_and_is_exempt_for_a_while_is_let_in_and_warned_anew(desk: Desk) -> None:
    desk.seen(START)
    desk.run(START, 31)
    assert desk.found() == (State.CUT_OFF, Reason.NEVER_ACTIVATED, START + 30 * DAY)
    ends = START + 45 * DAY
    desk.keeper.judge = lambda pairs: [Judged(Reason.NEVER_ACTIVATED, False, True, ends) for _ in pairs]
    assert desk.keeper.changed(np.array([KEY], np.uint64), START + 31 * DAY) == 1
    desk.keeper.commit()
    assert desk.found() is None
    desk.send(START + 31 * DAY)
    assert desk.said[-1][1] == "restored"
    desk.seen(START + 32 * DAY)
    assert desk.found() == (State.OPEN, Reason.NEVER_ACTIVATED, ends)
    assert not desk.case().warned_at


def test_old_sightings_among_new_ones_count_for_the_hour_they_are_taken_in(desk: Desk) -> None:
    desk.keeper.use_policy(replace(SHIPPED, notices=replace(SHIPPED.notices, cases_per_hour_max=10)))
    for place in range(12):
        at = START - (place % 2) * 2 * HOUR
        desk.keeper.sighted([Sighting(KEY + place * 10, SIM + place, at)], START)
    assert "cases_per_hour_max" in desk.keeper.held
