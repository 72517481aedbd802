"""A row of a delta in words. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from eir.identity import imei_text, imsi_text
from eir.whitelist.operation import Operation
from eir.whitelist.rows import BlockCause, ExemptCause, Op, Role


def told(operation: Operation) -> str:
    """Tell what a row did: "IMEI 35693803564380 was blocked as stolen by police"."""
    op, cause = operation.op, operation.cause
    sim = f"IMSI {imsi_text(operation.imsi)}" if operation.imsi else ""
    with_sim = f" with {sim}" if sim else ""
    match op:
        case Op.REGISTER | Op.DEREGISTER:
            did = "registered" if op == Op.REGISTER else "deregistered"
        case Op.BLOCK | Op.UNBLOCK:
            did = "blocked" if op == Op.BLOCK else "no longer blocked"
            did += f" as {BlockCause(cause).name.lower()} by {operation.name or 'an authority without name'}"
        case Op.TRACK | Op.UNTRACK:
            did = "put on the grey list" if op == Op.TRACK else "taken off the grey list"
        case Op.PAIR | Op.UNPAIR:
            role = f" as {Role(cause).name.lower()}" if cause else ""
            former = f", in the place of IMSI {imsi_text(operation.former_imsi)}" * bool(
                operation.former_imsi
            )
            did = f"{'paired' if op == Op.PAIR else 'unpaired'}{with_sim}{role}{former}"
        case Op.EXEMPT:
            until = f"until {_moment(operation.time)}" if operation.time else "without end"
            did = f"exempted{with_sim if operation.imei else ''} as {ExemptCause(cause).name.lower()} {until}"
        case Op.UNEXEMPT:
            did = f"no longer exempted{with_sim if operation.imei else ''}"
        case Op.GRANDFATHER | Op.UNGRANDFATHER:
            did = f"{'grandfathered' if op == Op.GRANDFATHER else 'no longer grandfathered'}{with_sim}"
        case Op.LINK | Op.UNLINK:
            other = imei_text(operation.imei_other)
            did = f"linked with IMEI {other}" if op == Op.LINK else f"unlinked from IMEI {other}"
        case Op.REPLACE_SIM:
            return f"IMSI {imsi_text(operation.former_imsi)} was replaced by {sim}"
        case Op.SUBSCRIBER:
            return f"the number of {sim} was {'set' if operation.time else 'removed'}"
        case Op.TAC:
            return f"the TAC {operation.imei:08d} was set to {operation.name or 'no device type'}"
    return f"{_subject(operation) or sim} was {did}"


def _subject(operation: Operation) -> str:
    """Name the IMEI or the range; empty where a row has none, and its IMSI is meant."""
    if not operation.imei:
        return ""
    text = operation.imei if isinstance(operation.imei, str) else imei_text(operation.imei)
    if operation.imei_last:
        return f"the range {text} to {imei_text(operation.imei_last)}"
    return f"IMEI {text}"


def _moment(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S} UTC"
