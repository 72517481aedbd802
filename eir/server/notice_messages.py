"""Cases, notices and shifts as messages, and what requests ask of them. Pure."""

from __future__ import annotations

from typing import Any, Final

from eir.errors import InvalidRequestError
from eir.identity import IMSI_DIGITS_MAX, imei_15, imsi_text, typed_imei, typed_imsi
from eir.notify.case import Case
from eir.notify.listing import Wanted
from eir.notify.notebook import Noted
from eir.notify.outbox import Notice
from eir.notify.schedule import Shift
from eir.policy.read import STAGES
from eir.policy.rules import CAUSES
from eir.proto import notice_pb2
from eir.verdict import Reason

PAGE_SIZE: Final = 100
PAGE_SIZE_MAX: Final = 1000
TAC_DIGITS: Final = 8
STAGES_KNOWN: Final = (*STAGES, "resolved", "restored")
CAUSE_REASONS: Final = frozenset(CAUSES.values())
SHIFT_SECONDS_MAX: Final = 3650 * 86_400


def case_message(number: int, case: Case, deadline: int) -> notice_pb2.Case:
    """Return a case as a message."""
    return notice_pb2.Case(
        number=number,
        imei=imei_15(case.key),
        imsi=imsi_text(case.imsi),
        cause=int(case.cause),  # type: ignore[arg-type]  # an int is what the wire has
        state=int(case.state),  # type: ignore[arg-type]
        since=case.since,
        until=case.until,
        opened_at=case.opened_at,
        seen_at=case.seen_at,
        deadline=deadline,
        warned_at=case.warned_at,
        noticed_at=case.noticed_at,
        grace_days=case.grace_seconds // 86_400,
    )


def notice_message(notice: Notice) -> notice_pb2.Notice:
    """Return a notice as a message."""
    return notice_pb2.Notice(
        id=notice.id,
        case_number=notice.number,
        stage=notice.stage,
        state=int(notice.state),  # type: ignore[arg-type]
        due_at=notice.due_at,
        changed_at=notice.changed_at,
        attempts=notice.attempts,
        smsc=notice.smsc,
        message_ids=notice.message_ids,
        error=notice.error,
    )


def shift_message(noted: Noted) -> notice_pb2.Shift:
    """Return a shift as a message."""
    shift = noted.shift
    all_tacs, all_imsis = shift.tacs == ALL_TACS, shift.imsis == ALL_IMSIS
    return notice_pb2.Shift(
        id=noted.id,
        seconds=shift.seconds,
        cause=int(shift.cause or 0),  # type: ignore[arg-type]
        first_tac="" if all_tacs else f"{shift.tacs[0]:08d}",
        last_tac="" if all_tacs else f"{shift.tacs[1]:08d}",
        imsi_prefix="" if all_imsis else _prefix_of(shift.imsis),
        at=noted.at,
        who=noted.who,
        why=noted.why,
        undone_at=noted.undone_at,
        undone_by=noted.undone_by,
        undone_why=noted.undone_why,
    )


ALL_TACS: Final = (0, 10**TAC_DIGITS - 1)
ALL_IMSIS: Final = (0, 2 * 10**IMSI_DIGITS_MAX - 1)


def _prefix_of(imsis: tuple[int, int]) -> str:
    first, last = imsi_text(imsis[0]), imsi_text(imsis[1])
    return first[: next((at for at in range(len(first)) if first[at] != last[at]), len(first))]


def shift_of(message: notice_pb2.Shift) -> Shift:
    """Return the shift that is asked for. Raises InvalidRequestError."""
    if not 0 < abs(message.seconds) <= SHIFT_SECONDS_MAX:
        raise InvalidRequestError(
            "shift.seconds", f"allowed are 1 to {SHIFT_SECONDS_MAX}, or as many less than 0"
        )
    cause = None
    if message.cause:
        cause = _cause("shift.cause", message.cause)
    tacs = ALL_TACS
    if message.first_tac or message.last_tac:
        tacs = _tac("first_tac", message.first_tac), _tac("last_tac", message.last_tac or message.first_tac)
        if tacs[0] > tacs[1]:
            raise InvalidRequestError("shift.last_tac", "is less than first_tac")
    imsis, prefix = ALL_IMSIS, message.imsi_prefix
    if prefix:
        if not (prefix.isascii() and prefix.isdigit() and len(prefix) <= IMSI_DIGITS_MAX):
            raise InvalidRequestError("shift.imsi_prefix", f"allowed are 1 to {IMSI_DIGITS_MAX} digits")
        imsis = (int("1" + prefix.ljust(IMSI_DIGITS_MAX, "0")), int("1" + prefix.ljust(IMSI_DIGITS_MAX, "9")))
    return Shift(message.seconds, cause, tacs, imsis)


def _tac(name: str, text: str) -> int:
    if not (len(text) == TAC_DIGITS and text.isascii() and text.isdigit()):
        raise InvalidRequestError(f"shift.{name}", f"allowed are {TAC_DIGITS} digits, or none in both")
    return int(text)


def cohort_name(shift: Shift) -> str:
    """Say in words which cases a shift covers."""
    parts = [shift.cause.name if shift.cause is not None else "every cause"]
    if shift.tacs != ALL_TACS:
        parts.append(f"TACs {shift.tacs[0]:08d} to {shift.tacs[1]:08d}")
    if shift.imsis != ALL_IMSIS:
        parts.append(f"IMSIs from {_prefix_of(shift.imsis)}")
    return ", ".join(parts)


def _cause(field: str, number: int) -> Reason:
    if number not in CAUSE_REASONS:
        allowed = ", ".join(sorted(reason.name for reason in CAUSE_REASONS))
        raise InvalidRequestError(field, f"allowed are {allowed}")
    return Reason(number)


def wanted_of(request: notice_pb2.ListCasesRequest) -> Wanted:
    """Return what cases are asked for. Raises InvalidRequestError."""
    return Wanted(
        tuple(state for state in request.states if state),
        tuple(_cause("causes", cause) for cause in request.causes),
        key_of(request.imei) if request.imei else 0,
        imsi_of(request.imsi) if request.imsi else 0,
        second_of("deadline_before", request.deadline_before),
        request.unwarned_only,
    )


def key_of(text: str) -> int:
    """Return the key of an IMEI that somebody typed. Raises InvalidRequestError."""
    try:
        imei = typed_imei(text).imei
    except ValueError as error:
        raise InvalidRequestError("imei", str(error)) from None
    return imei.key


def imsi_of(text: str) -> int:
    """Return the code of an IMSI that somebody typed. Raises InvalidRequestError."""
    try:
        return typed_imsi(text)
    except ValueError as error:
        raise InvalidRequestError("imsi", str(error)) from None


def second_of(field: str, second: int) -> int:
    """Return a time that fits the tables. Raises InvalidRequestError."""
    if not 0 <= second < 1 << 32:
        raise InvalidRequestError(field, "allowed are seconds since the Unix epoch, below 2^32")
    return second


def page_size(size: int) -> int:
    """Return how many are asked for. Raises InvalidRequestError."""
    if size > PAGE_SIZE_MAX:
        raise InvalidRequestError("page_size", f"allowed are 1 to {PAGE_SIZE_MAX}")
    return size or PAGE_SIZE


def page_token(number: int) -> bytes:
    """Return a token to go on from a number with."""
    return number.to_bytes(8, "big") if number >= 0 else b""


def page_first(token: bytes, default: int = 0) -> int:
    """Return the number that a token goes on from. Raises InvalidRequestError."""
    if len(token) not in (0, 8):
        raise InvalidRequestError("page_token", "is none of ours")
    return int.from_bytes(token, "big") & (1 << 62) - 1 if token else default


def stages_of(stages: Any) -> tuple[str, ...]:
    """Return the stages asked for. Raises InvalidRequestError."""
    for stage in stages:
        if stage not in STAGES_KNOWN:
            raise InvalidRequestError("stages", f"allowed are {', '.join(STAGES_KNOWN)}")
    return tuple(stages)
