"""One row of a delta as a value: for the plain model, for people and for tests. Pure.

rows ──operations──► operations ──messages──► sync_pb2.Operation ──► JSON lines
     ◄──rows_of─────
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from eir.identity import imei_text, imsi_text
from eir.proto import sync_pb2
from eir.whitelist.delta import RowReason
from eir.whitelist.rows import COLUMNS, DTYPES, RAW, Op, Role, Rows

Imei = int | str
"""A key, or raw text."""


class Operation(NamedTuple):
    """A row, with texts in the place of indexes; see `rows.Rows`."""

    op: Op
    imei: Imei = 0
    imei_last: int = 0
    imei_other: int = 0
    imsi: int = 0
    former_imsi: int = 0
    time: int = 0
    cause: int = 0
    name: str = ""


def operations(rows: Rows, at: Sequence[int] | None = None) -> Iterator[tuple[int, Operation]]:
    """Iterate over rows that are not IGNORED, with their indexes; over those at some indexes only."""
    indexes = range(len(rows)) if at is None else at
    columns = [(rows.column(name) if at is None else rows.column(name)[at]).tolist() for name in COLUMNS]
    for index, (op, imei, *numbers, name) in zip(indexes, zip(*columns, strict=True), strict=True):
        if op:
            text = rows.raw_texts[imei ^ RAW] if imei >= RAW else imei
            yield index, Operation._make((Op(op), text, *numbers, rows.names[name]))


def rows_of(given: Sequence[Operation]) -> Rows:
    """Make rows of operations."""
    names, raw_texts = {"": 0}, dict[str, int]()
    columns: dict[str, list[int]] = {name: [] for name in COLUMNS}
    for row in given:
        values: dict[str, Any] = row._asdict()
        values["name"] = names.setdefault(row.name, len(names))
        if isinstance(row.imei, str):
            values["imei"] = RAW | raw_texts.setdefault(row.imei, len(raw_texts))
        for name, value in values.items():
            columns[name].append(value)
    arrays: dict[str, Any] = {
        name: np.array(values, DTYPES[name]) if name == "op" or any(values) else None
        for name, values in columns.items()
    }
    return Rows(**arrays, names=list(names), raw_texts=list(raw_texts))


def message(row: Operation, reference: str = "") -> sync_pb2.Operation:
    """Make the message that a feed would send for a row."""
    out = sync_pb2.Operation(kind=int(row.op), reference=reference)  # type: ignore[arg-type]
    if row.op == Op.TAC:
        out.tac, out.device_type = f"{row.imei:08d}", row.name
        return out
    if row.imei:
        out.imei = row.imei if isinstance(row.imei, str) else imei_text(row.imei)
    for field in ("imei_last", "imei_other"):
        if key := getattr(row, field):
            setattr(out, field, imei_text(key))
    for field in ("imsi", "former_imsi"):
        if code := getattr(row, field):
            setattr(out, field, imsi_text(code))
    if row.op in (Op.PAIR, Op.UNPAIR):
        out.role = row.cause  # type: ignore[assignment]
    elif row.op in (Op.BLOCK, Op.UNBLOCK):
        out.block_cause, out.authority = row.cause, row.name  # type: ignore[assignment]
    elif row.op == Op.EXEMPT:
        out.exempt_cause, out.until = row.cause, row.time  # type: ignore[assignment]
    elif row.op == Op.GRANDFATHER:
        out.in_use_since = row.time
    elif row.op == Op.SUBSCRIBER:
        out.msisdn, out.language = imsi_text(row.time) if row.time else "", row.name
    return out


def messages(rows: Rows) -> Iterator[sync_pb2.Operation]:
    """Iterate over rows as messages, with their references; IGNORED rows are left out."""
    for index, row in operations(rows):
        yield message(row, rows.references if isinstance(rows.references, str) else rows.references[index])


def _claims(row: Operation) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Return what a row says, by what it says it of."""
    match row.op:
        case Op.REGISTER | Op.DEREGISTER:
            return {("registered", row.imei, row.imei_last): (row.op,)}
        case Op.BLOCK | Op.UNBLOCK:
            return {("blocked", row.imei, row.imei_last, row.cause, row.name): (row.op,)}
        case Op.PAIR | Op.UNPAIR:
            claims: dict[tuple[Any, ...], tuple[Any, ...]] = {
                ("pair", row.imei, row.imsi): (row.op, row.cause, row.former_imsi)
            }
            if row.op == Op.PAIR and row.cause == Role.OWNER:
                claims["owner", row.imei] = (row.imsi, row.former_imsi)
            return claims
        case Op.TRACK | Op.UNTRACK:
            return {("tracked", row.imei): (row.op,)}
        case Op.EXEMPT | Op.UNEXEMPT:
            return {("exempt", row.imei, row.imsi): (row.op, row.time, row.cause)}
        case Op.GRANDFATHER | Op.UNGRANDFATHER:
            return {("grandfathered", row.imei, row.imsi): (row.op, row.time)}
        case Op.LINK | Op.UNLINK:
            slots = frozenset({row.imei, row.imei_other})
            return {("link", slots): (row.op, row.imei_other if row.op == Op.UNLINK else 0)}
        case Op.REPLACE_SIM:
            return {("former", row.former_imsi): (row.imsi,), ("new", row.imsi): (row.former_imsi,)}
        case Op.SUBSCRIBER:
            return {("subscriber", row.imsi): (row.time, row.name)}
        case Op.TAC:
            return {("tac", row.imei): (row.name,)}


def _contradicts(one: Operation, other: Operation) -> bool:
    """Tell whether two rows with different subjects contradict each other; one way round."""
    if one.op == Op.REPLACE_SIM and other.op != Op.SUBSCRIBER and one.former_imsi == other.imsi:
        return True
    if one.op == Op.DEREGISTER and other.op == Op.PAIR:
        return not one.imei_last and one.imei == other.imei
    if not one.imei_last or not other.imei_last:
        return False
    registering = {one.op, other.op} <= {Op.REGISTER, Op.DEREGISTER}
    blocking = {one.op, other.op} <= {Op.BLOCK, Op.UNBLOCK} and (one.cause, one.name) == (
        other.cause,
        other.name,
    )
    return (registering or blocking) and int(one.imei) <= other.imei_last and int(other.imei) <= one.imei_last


def clash(one: Operation, other: Operation) -> RowReason | None:
    """Tell whether two rows of a delta repeat or contradict each other: the plain model of `contradict`."""
    if one == other:
        return RowReason.REPEATS_ROW
    first, second = _claims(one), _claims(other)
    shared = first.keys() & second.keys()
    if any(first[subject] != second[subject] for subject in shared):
        return RowReason.CONTRADICTS_ROW
    if _contradicts(one, other) or _contradicts(other, one):
        return RowReason.CONTRADICTS_ROW
    return RowReason.REPEATS_ROW if shared else None


def clashes(given: Iterable[Operation]) -> set[int]:
    """Indexes of the rows of a delta that contradict another, or repeat an earlier one."""
    rows = list(given)
    bad: set[int] = set()
    for index, row in enumerate(rows):
        for earlier in range(index):
            reason = clash(rows[earlier], row)
            if reason is not None:
                bad.add(index)
            if reason is RowReason.CONTRADICTS_ROW:
                bad.add(earlier)
    return bad
