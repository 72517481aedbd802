"""Cases, notices and shifts as messages, and what requests ask of them."""

from __future__ import annotations

from typing import Any

import pytest
from case_samples import KEY, NOON, SIM, case

from eir.errors import InvalidRequestError
from eir.identity import imei_15
from eir.notify.case import State
from eir.notify.listing import Wanted
from eir.notify.notebook import Noted
from eir.notify.outbox import Notice, NoticeState
from eir.notify.schedule import DAY, Shift
from eir.proto import check_pb2, notice_pb2
from eir.server import notice_messages as messages
from eir.verdict import Reason


def test_states_of_cases_and_notices_have_the_numbers_of_the_proto() -> None:
    for state in State:
        assert notice_pb2.CaseState.Name(int(state)) == f"CASE_STATE_{state.name}"  # type: ignore[arg-type]
    for one in NoticeState:
        assert notice_pb2.NoticeState.Name(int(one)) == f"NOTICE_STATE_{one.name}"  # type: ignore[arg-type]
    for cause in messages.CAUSE_REASONS:
        assert check_pb2.VerdictReason.Name(int(cause)) == f"VERDICT_REASON_{cause.name}"  # type: ignore[arg-type]


def test_a_case_and_a_notice_say_everything() -> None:
    told = messages.case_message(7, case(2, until=NOON + 9, state=State.HELD), NOON + 30 * DAY)
    assert (told.number, told.imei, told.imsi, told.cause) == (
        7,
        imei_15(KEY + 1),
        str(SIM + 2)[1:],
        Reason.NEVER_ACTIVATED,
    )
    assert (told.state, told.until, told.deadline, told.grace_days) == (3, NOON + 9, NOON + 30 * DAY, 30)
    notice = Notice(1, 7, NOON, "last", 4, NoticeState.FAILED, NOON, 0, 2, NOON + 1, "main", ("a", "b"), "no")
    shown = messages.notice_message(notice)
    assert (shown.case_number, shown.stage, shown.state, shown.attempts) == (7, "last", 5, 2)
    assert (list(shown.message_ids), shown.error, shown.smsc) == (["a", "b"], "no", "main")


@pytest.mark.parametrize(
    ("asked", "shift", "name"),
    [
        ({"seconds": 60}, Shift(60, None, messages.ALL_TACS, messages.ALL_IMSIS), "every cause"),
        (
            {
                "seconds": -DAY,
                "cause": int(Reason.NOT_REGISTERED),
                "first_tac": "00000001",
                "last_tac": "35693803",
            },
            Shift(-DAY, Reason.NOT_REGISTERED, (1, 35_693_803), messages.ALL_IMSIS),
            "NOT_REGISTERED, TACs 00000001 to 35693803",
        ),
        (
            {"seconds": 1, "imsi_prefix": "43211", "first_tac": "35693803"},
            Shift(1, None, (35_693_803, 35_693_803), (1_432_110_000_000_000, 1_432_119_999_999_999)),
            "every cause, TACs 35693803 to 35693803, IMSIs from 43211",
        ),
    ],
)
def test_a_shift_comes_back_as_it_was_asked_for(asked: dict[str, Any], shift: Shift, name: str) -> None:
    request = notice_pb2.Shift(**asked)
    assert messages.shift_of(request) == shift
    assert messages.cohort_name(shift) == name
    told = messages.shift_message(Noted(3, shift, name, NOON, "me", "why", NOON + 1, "you", "over"))
    assert messages.shift_of(told) == shift
    assert (told.id, told.who, told.undone_by, told.undone_why) == (3, "me", "you", "over")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "shift.seconds"),
        ({"seconds": 1 << 40}, "shift.seconds"),
        ({"seconds": 1, "cause": int(Reason.OWNER)}, "shift.cause"),
        ({"seconds": 1, "first_tac": "123"}, "shift.first_tac"),
        ({"seconds": 1, "last_tac": "12345678"}, "shift.first_tac"),
        ({"seconds": 1, "first_tac": "12345678", "last_tac": "12345677"}, "shift.last_tac"),
        ({"seconds": 1, "imsi_prefix": "43x"}, "shift.imsi_prefix"),
        ({"seconds": 1, "imsi_prefix": "4" * 16}, "shift.imsi_prefix"),
    ],
)
def test_shifts_that_are_refused(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        messages.shift_of(notice_pb2.Shift(**asked))
    assert caught.value.field == field


def test_what_cases_are_asked_for() -> None:
    request = notice_pb2.ListCasesRequest(
        states=[notice_pb2.CASE_STATE_UNSPECIFIED, notice_pb2.CASE_STATE_HELD],
        causes=[int(Reason.UNOWNED_SLOT)],  # type: ignore[list-item]
        imei=f"{imei_15(KEY)[:8]} {imei_15(KEY)[8:]}",
        imsi=str(SIM)[1:],
        deadline_before=NOON,
        unwarned_only=True,
    )
    assert messages.wanted_of(request) == Wanted(
        (State.HELD,), (Reason.UNOWNED_SLOT,), KEY, SIM, NOON, unwarned_only=True
    )
    for name, value in (
        ("imei", "123"),
        ("imsi", "x"),
        ("deadline_before", -1),
        ("deadline_before", 1 << 32),
    ):
        with pytest.raises(InvalidRequestError, match=name):
            messages.wanted_of(notice_pb2.ListCasesRequest(**{name: value}))  # type: ignore[arg-type]


def test_pages() -> None:
    assert (messages.page_size(0), messages.page_size(1000)) == (100, 1000)
    assert messages.page_first(messages.page_token(77)) == 77
    assert (messages.page_token(-1), messages.page_first(b"", 5)) == (b"", 5)
    with pytest.raises(InvalidRequestError, match="page_token"):
        messages.page_first(b"123")
    assert messages.page_first(b"\xff" * 8) > 0
    with pytest.raises(InvalidRequestError, match="stages"):
        messages.stages_of(["none"])
