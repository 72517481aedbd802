"""NoticeService over a desk at work."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from casework import KEY, NOON, NOTICES, OTHER, SIM, Office, office
from test_server_desk import NUMBER, REGISTER

from eir.config import Config
from eir.errors import CaseNotFoundError, CasesUnavailableError, InvalidRequestError, NotReadyError
from eir.identity import imei_15, imei_text, imsi_text, mask
from eir.metrics import Metrics
from eir.notify.case import State
from eir.notify.outbox import NoticeState
from eir.notify.schedule import DAY
from eir.proto import notice_pb2
from eir.server.desk import Casework
from eir.server.notices import NoticeService
from eir.server.state import State as Daemon
from eir.verdict import Reason

CONTEXT: Any = SimpleNamespace(invocation_metadata=tuple)
SAID = {"who": "ticket 7", "why": "a test"}


def run(folder: Path, test: Callable[[Office, NoticeService], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        async with office(folder, **settings) as (made, _):
            await made.delta(REGISTER, NUMBER)
            await test(made, NoticeService(made.state))

    asyncio.run(main())


async def opened(made: Office, *imsis: int) -> None:
    for imsi in imsis or (SIM,):
        made.seen(imsi=imsi)
    await made.until(lambda: len(made.desk.keeper.cases) == len(imsis or (SIM,)))


def answer(kind: Any, data: bytes) -> Any:
    return kind.FromString(data)


def inquiries(folder: Path) -> list[str]:
    with sqlite3.connect(folder / "inquiries.db") as db:
        return [identity for (identity,) in db.execute("SELECT identity FROM inquiries ORDER BY id")]


def audit(folder: Path) -> list[tuple[str, str, str]]:
    with sqlite3.connect(folder / "registry.db") as db:
        return db.execute("SELECT who, what, why FROM audit WHERE who <> 'daemon'").fetchall()


def test_cases_are_listed_in_pages_and_found_by_what_they_are(tmp_path: Path) -> None:
    async def test(made: Office, service: NoticeService) -> None:
        await opened(made, SIM, OTHER)

        async def listed(**wanted: Any) -> Any:
            request = notice_pb2.ListCasesRequest(who="me", **wanted).SerializeToString()
            return answer(notice_pb2.ListCasesResponse, await service.list_cases(request, CONTEXT))

        page = await listed(page_size=1)
        assert [case.imsi for case in page.cases] == [imsi_text(SIM)]
        page = await listed(page_size=1, page_token=page.next_page_token)
        assert [case.imsi for case in page.cases] == [imsi_text(OTHER)]
        assert not page.next_page_token
        (case,) = (await listed(imsi=imsi_text(OTHER))).cases
        assert (case.imei, case.cause, case.state) == (
            imei_15(KEY),
            Reason.NEVER_ACTIVATED,
            notice_pb2.CASE_STATE_OPEN,
        )
        assert len((await listed(imei=imei_15(KEY))).cases) == 2
        assert not (await listed(causes=[int(Reason.NOT_REGISTERED)])).cases
        assert not (await listed(states=[notice_pb2.CASE_STATE_CUT_OFF])).cases
        with pytest.raises(InvalidRequestError, match="who"):
            await service.list_cases(b"", CONTEXT)
        with pytest.raises(InvalidRequestError, match="causes"):
            await listed(causes=[int(Reason.OWNER)])
        with pytest.raises(InvalidRequestError, match="page_size"):
            await listed(page_size=1001)
        with sqlite3.connect(tmp_path / "inquiries.db") as db:
            told = db.execute("SELECT who, form, kind FROM inquiries").fetchall()
        assert ("me", "cases", "imsi") in told

    run(tmp_path, test)


def test_a_case_is_shown_with_history_and_notices(tmp_path: Path) -> None:
    async def test(made: Office, service: NoticeService) -> None:
        await opened(made)
        await made.until(lambda: made.desk.keeper.outbox.counts()[NoticeState.ACCEPTED] == 1)
        request = notice_pb2.GetCaseRequest(imei=imei_15(KEY), imsi=imsi_text(SIM), who="me")
        told = answer(
            notice_pb2.GetCaseResponse, await service.get_case(request.SerializeToString(), CONTEXT)
        )
        assert told.found.number == 0
        assert [line.event for line in told.history] == ["opened: NEVER_ACTIVATED", "noticed: first"]
        assert [(one.stage, one.state, one.smsc) for one in told.notices] == [
            ("first", notice_pb2.NOTICE_STATE_ACCEPTED, "main")
        ]
        assert (told.msisdn, told.language) == ("989120000001", "en")
        missing = notice_pb2.GetCaseRequest(case_number=77, who="me")
        none = notice_pb2.GetCaseRequest(imei=imei_15(KEY), imsi=imsi_text(OTHER), who="me")
        for request in (missing, none):
            with pytest.raises(CaseNotFoundError):
                await service.get_case(request.SerializeToString(), CONTEXT)
        phone = mask(imei_text(KEY))
        assert inquiries(tmp_path) == [phone, mask(imsi_text(SIM)), phone, mask(imsi_text(OTHER))]
        request = notice_pb2.GetCaseRequest(imei=imei_15(KEY), who="me")
        with pytest.raises(InvalidRequestError, match="imsi"):
            await service.get_case(request.SerializeToString(), CONTEXT)

    run(tmp_path, test)


def test_acts_are_audited_durable_and_in_the_history(tmp_path: Path) -> None:
    async def test(made: Office, service: NoticeService) -> None:
        await opened(made)
        hold = notice_pb2.HoldCaseRequest(case_number=0, until=NOON + DAY, **SAID).SerializeToString()
        held = answer(notice_pb2.HoldCaseResponse, await service.hold_case(hold, CONTEXT)).changed
        assert (held.state, held.until) == (notice_pb2.CASE_STATE_HELD, NOON + DAY)
        free = notice_pb2.FreeCaseRequest(case_number=0, **SAID).SerializeToString()
        freed = answer(notice_pb2.FreeCaseResponse, await service.free_case(free, CONTEXT)).changed
        assert freed.state == notice_pb2.CASE_STATE_OPEN
        withdraw = notice_pb2.WithdrawCaseRequest(case_number=0, until=NOON + 9, **SAID).SerializeToString()
        await service.withdraw_case(withdraw, CONTEXT)
        case = await made.case()
        assert case is not None
        assert case.state == State.WITHDRAWN
        history = await made.desk.in_thread(made.desk.keeper.cases.history, 0)
        assert [line.who for line in history[-3:]] == ["ticket 7"] * 3
        said = audit(tmp_path)
        assert [what.split(") ")[1].split()[0] for _, what, _ in said] == ["held", "freed", "withdrawn"]
        assert imsi_text(SIM) not in str(said)
        past = notice_pb2.WithdrawCaseRequest(case_number=0, until=5, **SAID).SerializeToString()
        with pytest.raises(InvalidRequestError, match="until"):
            await service.withdraw_case(past, CONTEXT)
        with pytest.raises(InvalidRequestError, match="why"):
            await service.free_case(notice_pb2.FreeCaseRequest(who="me").SerializeToString(), CONTEXT)
        assert len(audit(tmp_path)) == 3

    run(tmp_path, test)


FIRST_SIGHTING = """
name = "p"
home_plmns = ["43211"]
[cause.never_activated]
clock_start = "first_sighting"
"""


def test_a_shift_moves_deadlines_at_once_and_can_be_undone(tmp_path: Path) -> None:
    async def test(made: Office, service: NoticeService) -> None:
        await opened(made, SIM, OTHER)
        table = made.desk.keeper.cases.table
        request = notice_pb2.ShiftDeadlinesRequest(
            shift=notice_pb2.Shift(seconds=10 * DAY, imsi_prefix=imsi_text(OTHER)), dry_run=True, **SAID
        )
        told = answer(
            notice_pb2.ShiftDeadlinesResponse, await service.shift(request.SerializeToString(), CONTEXT)
        )
        assert (told.case_count, len(made.desk.shifts)) == (1, 0)
        request.dry_run = False
        await service.shift(request.SerializeToString(), CONTEXT)
        await made.until(
            lambda: table.find(KEY, OTHER) == (State.OPEN, Reason.NEVER_ACTIVATED, NOON + 40 * DAY)
        )
        assert table.find(KEY, SIM) == (State.OPEN, Reason.NEVER_ACTIVATED, NOON + 30 * DAY)
        shifts = answer(notice_pb2.ListShiftsResponse, await service.list_shifts(b"", CONTEXT)).shifts
        assert [(one.seconds, one.imsi_prefix, one.who) for one in shifts] == [
            (10 * DAY, imsi_text(OTHER), "ticket 7")
        ]
        undo = notice_pb2.UnshiftDeadlinesRequest(id=1, **SAID).SerializeToString()
        await service.unshift(undo, CONTEXT)
        await made.until(
            lambda: table.find(KEY, OTHER) == (State.OPEN, Reason.NEVER_ACTIVATED, NOON + 30 * DAY)
        )
        with pytest.raises(InvalidRequestError, match="no shift 1"):
            await service.unshift(undo, CONTEXT)
        assert [what for _, what, _ in audit(tmp_path)] == [
            f"deadlines shifted by {10 * DAY} s: every cause, IMSIs from {imsi_text(OTHER)} (1 cases)",
            f"shift 1 undone: every cause, IMSIs from {imsi_text(OTHER)}",
        ]

    run(tmp_path, test, policy=FIRST_SIGHTING, smsc=False)


def test_what_would_be_sent_is_told_and_nothing_is_sent(tmp_path: Path) -> None:
    async def test(made: Office, service: NoticeService) -> None:
        await opened(made)
        await made.until(lambda: made.desk.keeper.outbox.counts()[NoticeState.DUE] == 1)
        request = notice_pb2.PreviewNoticesRequest(hours=2, who="me").SerializeToString()
        told = answer(notice_pb2.PreviewNoticesResponse, await service.preview(request, CONTEXT))
        assert [(one.cause, one.stage, one.count) for one in told.counts] == [
            (Reason.NEVER_ACTIVATED, "first", 1)
        ]
        assert "IMEI ending in 643809" in told.shown[0].text
        assert told.shown[0].msisdn == "989120000001"
        with pytest.raises(InvalidRequestError, match="hours"):
            await service.preview(notice_pb2.PreviewNoticesRequest(who="me").SerializeToString(), CONTEXT)

    run(tmp_path, test, smsc=False)


def test_held_sending_survives_a_restart_and_goes_on_when_released(tmp_path: Path) -> None:
    async def before(made: Office, service: NoticeService) -> None:
        await service.hold(notice_pb2.HoldNoticesRequest(**SAID).SerializeToString(), CONTEXT)
        await opened(made)

    async def after(made: Office, service: NoticeService) -> None:
        told = answer(notice_pb2.GetNoticeStatusResponse, await service.status(b"", CONTEXT))
        assert (told.held_why, told.held_by, told.held_since) == ("a test", "ticket 7", NOON)
        outbox = made.desk.keeper.outbox
        await made.until(lambda: outbox.counts()[NoticeState.DUE] == 1)
        released = await service.release(
            notice_pb2.ReleaseNoticesRequest(**SAID).SerializeToString(), CONTEXT
        )
        assert answer(notice_pb2.ReleaseNoticesResponse, released).was_held_why == "a test"
        await made.until(lambda: outbox.counts()[NoticeState.ACCEPTED] == 1)
        listed = await service.list_notices(
            notice_pb2.ListNoticesRequest(who="me", stages=["first"]).SerializeToString(), CONTEXT
        )
        (one,) = answer(notice_pb2.ListNoticesResponse, listed).notices
        assert (one.stage, one.smsc, one.attempts) == ("first", "main", 1)
        unknown = notice_pb2.ListNoticesRequest(who="me", states=[99]).SerializeToString()
        with pytest.raises(InvalidRequestError, match="states: allowed are 1 to 7"):
            await service.list_notices(unknown, CONTEXT)
        told = answer(notice_pb2.GetNoticeStatusResponse, await service.status(b"", CONTEXT))
        assert [smsc.bound for smsc in told.smscs] == [True]
        assert {one.state: one.count for one in told.cases}[notice_pb2.CASE_STATE_OPEN] == 1

    run(tmp_path, before)

    async def again() -> None:
        async with office(tmp_path) as (made, _):
            await after(made, NoticeService(made.state))

    asyncio.run(again())


def test_without_casework_it_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(Config(data_dir=tmp_path), Metrics(), lambda: NOON, "portable")
        with pytest.raises(CasesUnavailableError, match=r"notices\.enabled"):
            await NoticeService(daemon).status(b"", CONTEXT)
        daemon = Daemon(Config(data_dir=tmp_path, notices=NOTICES), Metrics(), lambda: NOON, "portable")
        daemon.casework = Casework(daemon)
        with pytest.raises(NotReadyError):
            await NoticeService(daemon).status(b"", CONTEXT)
        await daemon.casework.close()

    asyncio.run(main())
