"""NoticeService: cases and notices, to look at and to steer.

    message ──► who, why ──► audit ──► desk's thread, in pieces ──► answer

What names subscribers is in the inquiries' audit before it is answered; every
act is in the registry's audit before it is done, and in its case's history.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog

from eir.errors import CaseNotFoundError, CasesUnavailableError, InvalidRequestError
from eir.identity import imei_text, imsi_text, mask
from eir.interceptors import Context
from eir.notify.case import Case, Event, State, step
from eir.notify.judged import NotJudgedError
from eir.notify.listing import find
from eir.notify.outbox import NoticeState
from eir.notify.preview import Preview
from eir.notify.redate import covered
from eir.notify.schedule import Shift
from eir.proto import notice_pb2
from eir.server import notice_messages as messages
from eir.server.check import bounded, client_of, parse
from eir.server.enforcement import WHO_BYTES_MAX, check_reasons
from eir.server.state import State as Daemon

if TYPE_CHECKING:
    from eir.notify.desk import Desk
    from eir.notify.group import Group
    from eir.server.desk import Casework

HOURS_MAX: Final = 168
NOTICE_STATES: Final = frozenset(map(int, NoticeState))
log = structlog.get_logger()


class NoticeService:
    """Shows cases and notices, and steers them."""

    def __init__(self, state: Daemon) -> None:
        """Serve over `state`."""
        self._state = state

    def _casework(self) -> Casework:
        casework = self._state.casework
        if casework is None:
            raise CasesUnavailableError("this daemon keeps no cases: notices.enabled is false")
        from eir.server.desk import Casework  # not imported where no cases are kept

        if not isinstance(casework, Casework):
            raise CasesUnavailableError(f"{casework.damaged}: ask there")
        return casework

    def _desk(self) -> Desk:
        """Return the desk. Raises CasesUnavailableError, NotReadyError."""
        casework = self._casework()
        if casework.desk is None:
            self._state.loaded()
            raise CasesUnavailableError(f"cases cannot be read: {casework.damaged}")
        return casework.desk

    async def _told(self, method: str, who: str, context: Context, imei: int = 0, imsi: int = 0) -> None:
        """Note who is told of subscribers, before he is: of a phone, a SIM, both, or any.

        Raises InvalidRequestError, StorageError.
        """
        if not who.strip():
            raise InvalidRequestError("who", f"is empty; allowed are 1 to {WHO_BYTES_MAX} bytes")
        bounded("who", who, WHO_BYTES_MAX)
        client = client_of(context)
        bounded("eir-client", client, WHO_BYTES_MAX)
        asked = [("imei", imei_text(imei))] * bool(imei) + [("imsi", imsi_text(imsi))] * bool(imsi)
        for kind, identity in asked or [("", "")]:
            await asyncio.to_thread(self._state.inquiry_audit, who, client, method, kind, identity, "told")

    async def _audited(self, who: str, why: str, what: str) -> None:
        """Note what is about to be done. Raises InvalidRequestError, StorageError."""
        check_reasons(who, why)
        state = self._state
        await state.durable(
            state.override_writer, state.loaded().journal.audit_add, state.clock(), who, what, why
        )
        log.warning(what, who=who, why=why)

    # -- cases ------------------------------------------------------------------------------------

    async def list_cases(self, data: bytes, context: Context) -> bytes:
        """ListCases."""
        request, desk = parse(notice_pb2.ListCasesRequest, data), self._desk()
        wanted, size = messages.wanted_of(request), messages.page_size(request.page_size)
        first = messages.page_first(request.page_token)
        await self._told("cases", request.who, context, wanted.key, wanted.imsi)

        def work() -> bytes:
            numbers, further = find(desk.keeper.cases, wanted, first, size)
            cases = [_message(desk, number) for number in numbers]
            answer = notice_pb2.ListCasesResponse(cases=cases, next_page_token=messages.page_token(further))
            return answer.SerializeToString()

        return await desk.in_thread(work)

    async def get_case(self, data: bytes, context: Context) -> bytes:
        """GetCase."""
        request, desk = parse(notice_pb2.GetCaseRequest, data), self._desk()
        if bool(request.imei) != bool(request.imsi):
            raise InvalidRequestError("imsi", "allowed are imei and imsi together, or case_number alone")
        pair = (messages.key_of(request.imei), messages.imsi_of(request.imsi)) if request.imei else None

        def number_of() -> tuple[int, Case]:
            number = desk.keeper.cases.number(*pair) if pair else request.case_number
            return number, _case(desk, number)

        if pair:  # that there is none is told, too
            await self._told("case", request.who, context, *pair)
        number, case = await desk.in_thread(number_of)
        if not pair:
            await self._told("case", request.who, context, case.key, case.imsi)

        def work() -> bytes:
            case = _case(desk, number)
            subscriber = desk.subscribers([case.imsi]).get(case.imsi)
            answer = notice_pb2.GetCaseResponse(
                found=_message(desk, number),
                history=[
                    notice_pb2.CaseEvent(at=line.at, event=line.event, who=line.who, why=line.why)
                    for line in desk.keeper.cases.history(number)
                ],
                notices=map(messages.notice_message, desk.keeper.outbox.of_case(number, case.opened_at)),
                msisdn=str(subscriber.msisdn)[1:] if subscriber else "",
                language=subscriber.language if subscriber else "",
            )
            return answer.SerializeToString()

        return await desk.in_thread(work)

    async def hold_case(self, data: bytes, _: Context) -> bytes:
        """HoldCase."""
        request = parse(notice_pb2.HoldCaseRequest, data)
        changed = await self._act(request.case_number, Event.HOLD, request.until, request.who, request.why)
        return notice_pb2.HoldCaseResponse(changed=changed).SerializeToString()

    async def withdraw_case(self, data: bytes, _: Context) -> bytes:
        """WithdrawCase."""
        request = parse(notice_pb2.WithdrawCaseRequest, data)
        changed = await self._act(
            request.case_number, Event.WITHDRAW, request.until, request.who, request.why
        )
        return notice_pb2.WithdrawCaseResponse(changed=changed).SerializeToString()

    async def free_case(self, data: bytes, _: Context) -> bytes:
        """FreeCase."""
        request = parse(notice_pb2.FreeCaseRequest, data)
        changed = await self._act(request.case_number, Event.ENDED, 0, request.who, request.why)
        return notice_pb2.FreeCaseResponse(changed=changed).SerializeToString()

    async def _act(self, number: int, event: Event, until: int, who: str, why: str) -> notice_pb2.Case:
        """Act on a case; durable on return. Raises CaseNotFoundError, InvalidRequestError, StorageError."""
        desk = self._desk()
        check_reasons(who, why)
        messages.second_of("until", until)

        def possible() -> Case:
            case = _case(desk, number)
            step(case, event, self._state.clock(), until)
            return case

        case = await desk.in_thread(possible)
        verb = {Event.HOLD: "held", Event.WITHDRAW: "withdrawn", Event.ENDED: "freed"}[event]
        ends = f" until {until}" if until else ""
        phone, sim = mask(imei_text(case.key)), mask(imsi_text(case.imsi))
        await self._audited(who, why, f"case {number} ({phone}, {sim}) {verb}{ends}")

        def work() -> notice_pb2.Case:
            desk.act(number, event, until, who, why)
            return _message(desk, number)

        return await desk.in_thread(work)

    # -- shifts -----------------------------------------------------------------------------------

    async def shift(self, data: bytes, _: Context) -> bytes:
        """ShiftDeadlines."""
        request, desk = parse(notice_pb2.ShiftDeadlinesRequest, data), self._desk()
        shift = messages.shift_of(request.shift)
        check_reasons(request.who, request.why)
        count, first = 0, 0
        while True:
            fitting, rows = await desk.in_thread(_covered, desk, shift, first)
            if not rows:
                break
            count, first = count + fitting, first + rows
        answer = notice_pb2.ShiftDeadlinesResponse(shift=request.shift, case_count=count)
        if not request.dry_run:
            name = messages.cohort_name(shift)
            what = f"deadlines shifted by {shift.seconds} s: {name} ({count} cases)"
            await self._audited(request.who, request.why, what)
            noted = await desk.in_thread(desk.shift, shift, name, request.who, request.why)
            answer.shift.CopyFrom(messages.shift_message(noted))
        return answer.SerializeToString()

    async def unshift(self, data: bytes, _: Context) -> bytes:
        """UnshiftDeadlines."""
        request, desk = parse(notice_pb2.UnshiftDeadlinesRequest, data), self._desk()
        check_reasons(request.who, request.why)
        known = desk.shifts.get(request.id)
        if known is None or known.undone_at:
            raise InvalidRequestError("id", f"there is no shift {request.id} in force")
        await self._audited(request.who, request.why, f"shift {request.id} undone: {known.name}")
        noted = await desk.in_thread(desk.unshift, request.id, request.who, request.why)
        answer = notice_pb2.UnshiftDeadlinesResponse(shift=messages.shift_message(noted))
        return answer.SerializeToString()

    async def list_shifts(self, _: bytes, __: Context) -> bytes:
        """ListShifts."""
        shifts = [messages.shift_message(noted) for noted in list(self._desk().shifts.values())]
        return notice_pb2.ListShiftsResponse(shifts=shifts).SerializeToString()

    # -- notices ----------------------------------------------------------------------------------

    async def list_notices(self, data: bytes, context: Context) -> bytes:
        """ListNotices."""
        request, desk = parse(notice_pb2.ListNoticesRequest, data), self._desk()
        wanted = {int(state) for state in request.states} - {0}  # UNSPECIFIED is all
        if not wanted <= NOTICE_STATES:
            raise InvalidRequestError("states", f"allowed are 1 to {max(NOTICE_STATES)}")
        states = [NoticeState(state) for state in sorted(wanted)]
        stages, size = messages.stages_of(request.stages), messages.page_size(request.page_size)
        bounded("smsc", request.smsc, WHO_BYTES_MAX)
        before = messages.page_first(request.page_token, 1 << 62)
        await self._told("notices", request.who, context)

        def work() -> bytes:
            found, further = desk.keeper.outbox.newest(before, size, states, stages, request.smsc)
            answer = notice_pb2.ListNoticesResponse(
                notices=map(messages.notice_message, found),
                next_page_token=messages.page_token(further),
            )
            return answer.SerializeToString()

        return await desk.in_thread(work)

    async def preview(self, data: bytes, context: Context) -> bytes:
        """PreviewNotices."""
        request, desk, casework = (
            parse(notice_pb2.PreviewNoticesRequest, data),
            self._desk(),
            self._casework(),
        )
        if not 1 <= request.hours <= HOURS_MAX:
            raise InvalidRequestError("hours", f"allowed are 1 to {HOURS_MAX}")
        size = messages.page_size(request.page_size)
        await self._told("preview", request.who, context)
        preview = Preview(desk.keeper, self._state.clock(), request.hours, size)
        try:
            await desk.in_thread(preview.begin)
            while await desk.in_thread(preview.step):
                pass
        except NotJudgedError:
            raise CasesUnavailableError(
                "the override is on: no notice goes out, and none can be told"
            ) from None
        return await desk.in_thread(lambda: _previewed(desk, casework, preview).SerializeToString())

    async def hold(self, data: bytes, _: Context) -> bytes:
        """HoldNotices."""
        request, desk = parse(notice_pb2.HoldNoticesRequest, data), self._desk()
        await self._audited(request.who, request.why, "notices held")
        await desk.in_thread(desk.hold, request.who, request.why)
        return notice_pb2.HoldNoticesResponse().SerializeToString()

    async def release(self, data: bytes, _: Context) -> bytes:
        """ReleaseNotices."""
        request, desk = parse(notice_pb2.ReleaseNoticesRequest, data), self._desk()
        answer = notice_pb2.ReleaseNoticesResponse(
            was_held_why=desk.keeper.held, clock_was_doubted_why=desk.watch.why
        )
        await self._audited(request.who, request.why, "notices released")
        await desk.in_thread(desk.release)
        return answer.SerializeToString()

    async def status(self, _: bytes, __: Context) -> bytes:
        """GetNoticeStatus."""
        desk, casework = self._desk(), self._casework()
        waiting = await asyncio.to_thread(casework.waiting)
        states, held = desk.keeper.cases.states(), desk.held
        return notice_pb2.GetNoticeStatusResponse(
            cases=[
                notice_pb2.CaseCount(state=int(state), count=states[state])  # type: ignore[arg-type]
                for state in State
            ],
            waiting=[
                notice_pb2.WaitingCount(
                    stage=one.stage,
                    count=one.notices,
                    oldest_due_at=one.oldest_due_at,
                    without_msisdn=one.without_msisdn,
                )
                for one in waiting
            ],
            smscs=[
                notice_pb2.SmscStatus(
                    name=link.endpoint.name,
                    bound=link.bound.is_set(),
                    in_flight=link.in_flight,
                    window_max=link.endpoint.terms.window_max,
                    parts_per_second=link.pace.rate,
                )
                for link in casework.sending
            ],
            held_why=held.why,
            held_since=held.at,
            held_by=held.who,
            clock_doubted_why=desk.watch.why,
            complete_until=desk.complete_until,
            deltas_behind=max(desk.follower.behind, 0),
            serial=desk.follower.serial,
            storage_failed_why=desk.storage,
            memory_bytes=desk.keeper.cases.nbytes,
            **_group(casework.group),
        ).SerializeToString()


def _group(group: Group | None) -> dict[str, Any]:
    """Return what a status says of the group."""
    if group is None:
        return {}
    share = 100 / max(sum(peer.sends for peer in group.peers.values()), 1)
    daemons = [
        notice_pb2.GroupDaemon(
            name=name, address=peer.address, sends=peer.sends, share_percent=share if peer.sends else 0
        )
        for name, peer in sorted(group.peers.items())
    ]
    return {"group_state": group.state.value, "group_trouble": group.message, "group_daemons": daemons}


# -- in the desk's thread ------------------------------------------------------------------------


def _case(desk: Desk, number: int) -> Case:
    """Return a case. Raises CaseNotFoundError."""
    if number < 0 or not desk.keeper.cases.has(number):
        raise CaseNotFoundError
    return desk.keeper.cases.get(number)


def _message(desk: Desk, number: int) -> notice_pb2.Case:
    case = _case(desk, number)
    return messages.case_message(number, case, desk.keeper.deadline_of(case))


def _covered(desk: Desk, shift: Shift, first: int) -> tuple[int, int]:
    """Count the cases of a cohort among the rows from a number on; and those rows."""
    rows = desk.keeper.cases.rows_from(first)
    states = rows["state"]
    return int((covered(rows, shift) & (states != 0) & (states != State.RESOLVED)).sum()), len(rows)


def _previewed(desk: Desk, casework: Casework, preview: Preview) -> notice_pb2.PreviewNoticesResponse:
    known = desk.subscribers({one.case.imsi for one in preview.shown})
    answer = notice_pb2.PreviewNoticesResponse(cases_looked_at=preview.looked_at, cases_due=preview.due)
    for (cause, stage), count in sorted(preview.counts.items()):
        answer.counts.add(cause=cause, stage=stage, count=count)
    for one in preview.shown:
        subscriber, ends = known.get(one.case.imsi), desk.keeper.deadline_of(one.case)
        language = subscriber.language if subscriber else ""
        answer.shown.add(
            of=messages.case_message(one.number, one.case, ends),
            stage=one.stage,
            at=one.at,
            text=casework.wording.text(one.case, one.stage, language, ends, one.at),
            msisdn=str(subscriber.msisdn)[1:] if subscriber and subscriber.msisdn else "",
        )
    return answer
