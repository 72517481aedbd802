"""A keeper that takes in what others know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from case_samples import KEY, NOON, SIM, kept

from eir.notify import shared_keeper as shared_keeper_module
from eir.notify.case import Case, State
from eir.notify.keeper import Sighting
from eir.notify.outbox import NoticeState
from eir.notify.schedule import DAY
from eir.notify.shared_keeper import SharedKeeper
from eir.verdict import Reason

OTHER = SIM + 1


def case_of(imsi: int = SIM, **changes: object) -> Case:
    case = Case(KEY, imsi, Reason.NEVER_ACTIVATED, NOON, 30 * DAY, since=NOON, seen_at=NOON, clock_at=NOON)
    return replace(case, **changes)  # type: ignore[arg-type]


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[SharedKeeper]:
    yield from kept(SharedKeeper, tmp_path)


def test_who_was_cut_off_elsewhere_is_told_where_that_is_still_to_be_done(keeper: SharedKeeper) -> None:
    for say, imsi in ((True, SIM), (False, OTHER)):
        number = keeper.place(case_of(imsi, state=State.CUT_OFF), NOON, "opened", say=say)
        keeper.commit()
        assert [one.stage for one in keeper.outbox.waiting_of([number])] == ["cut_off"] * say


def test_a_step_that_another_sent_is_not_waited_for(keeper: SharedKeeper) -> None:
    number = keeper.place(case_of(waits=True, steps_sent=1), NOON, "opened")
    waiting = keeper.outbox.add(number, NOON, "first", 1, NOON, NOON)
    keeper.sent_elsewhere(number, waiting, 1, NOON)
    assert keeper.cases.get(number) == case_of(steps_sent=1)
    keeper.sent_elsewhere(number, None, 3, NOON)
    keeper.sent_elsewhere(number, None, 2, NOON)
    assert keeper.cases.get(number).steps_sent == 3


def test_a_notice_that_failed_elsewhere_is_due_anew(keeper: SharedKeeper) -> None:
    number = keeper.place(case_of(waits=True, steps_sent=1), NOON, "opened")
    waiting = keeper.outbox.add(number, NOON, "first", 1, NOON, NOON)
    keeper.failed_elsewhere(waiting, "permanent 0x0B", NOON)
    keeper.commit()
    assert keeper.outbox.of_case(number, NOON)[0].state == NoticeState.FAILED
    assert keeper.cases.get(number) == case_of(noticed_at=NOON)


def test_a_later_sim_of_an_unregistered_phone_inherits_the_grace(keeper: SharedKeeper) -> None:
    cause = Reason.NOT_REGISTERED
    later = keeper.place(
        case_of(OTHER, cause=cause, opened_at=NOON + 9, clock_at=NOON + 9), NOON + 9, "opened"
    )
    keeper.place(case_of(cause=cause), NOON + 20, "opened")
    assert keeper.cases.get(later).clock_at == NOON


def test_others_speak_of_a_replaced_sim_for_a_while(
    keeper: SharedKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.place(case_of(), NOON, "opened")
    keeper.replace_sims([(SIM, OTHER)], NOON + 5)
    assert keeper.imsi_now(KEY, SIM) == keeper.imsi_now(KEY, SIM, NOON) == OTHER
    assert keeper.imsi_now(KEY, SIM, NOON + 6) == SIM, "of a later case"
    assert keeper.imsi_now(KEY + 1, SIM) == SIM
    keeper.sighted([Sighting(KEY, SIM, NOON + 9)])
    assert keeper.imsi_now(KEY, SIM) == SIM, "it has a case of its own"
    monkeypatch.setattr(shared_keeper_module, "MOVED_MAX", 2)
    for number in range(5):
        keeper.place(case_of(SIM + 10 + number), NOON, "opened")
        keeper.replace_sims([(SIM + 10 + number, SIM + 20 + number)], NOON + 9)
    assert [keeper.imsi_now(KEY, SIM + 10 + n) - SIM for n in range(5)] == [10, 11, 12, 23, 24]
