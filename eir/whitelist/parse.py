"""Payload to rows: the syntax of a delta. Pure.

    payload ──► operations ──field by field──► rows ──► checks ──► rows, bad rows
            └─► columns ─────────as they are──► rows ──┘

What is wrong with one row makes a bad row, which stays in its place as IGNORED.
What is wrong with the payload, or with a whole OperationColumns, refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from eir.errors import DeltaInvalidError, DeltaTooLargeError
from eir.identity import IMEI_CHARS_MAX, IMEI_DIGITS, IMSI_DIGITS_MAX, RAW_CHARS, SPACES, imsi_code, normalise
from eir.proto import sync_pb2
from eir.whitelist import delta
from eir.whitelist.check_rows import check_rows, wrong_check_digits
from eir.whitelist.delta import BadRow, BadRows, RowReason
from eir.whitelist.rows import (
    IGNORED,
    NAMES_MAX,
    RAW,
    U8,
    U16,
    U64,
    BlockCause,
    ExemptCause,
    Op,
    Role,
    Rows,
    concat,
)


class Fields(NamedTuple):
    """Fields of an Operation that a kind needs, and those it takes besides."""

    needs: frozenset[str]
    takes: frozenset[str] = frozenset()


def _fields(needs: str, takes: str = "") -> Fields:
    return Fields(frozenset(needs.split()), frozenset(takes.split()))


FIELDS: Final[dict[Op, Fields]] = {
    Op.REGISTER: _fields("imei", "imei_last"),
    Op.DEREGISTER: _fields("imei", "imei_last"),
    Op.BLOCK: _fields("imei block_cause", "imei_last authority"),
    Op.UNBLOCK: _fields("imei block_cause", "imei_last authority"),
    Op.TRACK: _fields("imei"),
    Op.UNTRACK: _fields("imei"),
    Op.PAIR: _fields("imei imsi", "role former_imsi"),
    Op.UNPAIR: _fields("imei imsi", "role"),
    Op.REPLACE_SIM: _fields("imsi former_imsi"),
    Op.EXEMPT: _fields("", "imei imsi until exempt_cause"),
    Op.UNEXEMPT: _fields("", "imei imsi"),
    Op.GRANDFATHER: _fields("imei", "imsi in_use_since"),
    Op.UNGRANDFATHER: _fields("imei", "imsi"),
    Op.LINK: _fields("imei imei_other"),
    Op.UNLINK: _fields("imei imei_other"),
    Op.SUBSCRIBER: _fields("imsi", "msisdn language"),
    Op.TAC: _fields("tac", "device_type"),
}
"""What each kind takes, besides a reference. EXEMPT and UNEXEMPT need an IMEI or an IMSI."""

COLUMN_KINDS: Final = frozenset(FIELDS) - {Op.REPLACE_SIM, Op.TAC}
"""Kinds that OperationColumns may carry."""
_OPERATION_FIELDS: Final = [field.name for field in sync_pb2.Operation.DESCRIPTOR.fields]
_SPECIAL_FIELDS: Final = frozenset({"kind", "reference"})


def _by_kind(fields_of: dict[Op, frozenset[str]]) -> dict[str, npt.NDArray[np.bool_]]:
    """Tell for each field, by number of the kind, whether it is among the kind's."""
    return {
        name: np.array([name in fields_of.get(Op(op), ()) if op else False for op in range(max(Op) + 1)])
        for name in _OPERATION_FIELDS
        if name not in _SPECIAL_FIELDS
    }


_NEEDS: Final = _by_kind({op: fields.needs for op, fields in FIELDS.items()})
_TAKES: Final = _by_kind({op: fields.needs | fields.takes for op, fields in FIELDS.items()})
_TIMES: Final = {Op.EXEMPT: "until", Op.GRANDFATHER: "in_use_since"}
"""What the time column is, by kind."""
_ENUMS: Final = {"role": Role, "block_cause": BlockCause, "exempt_cause": ExemptCause}
_MSISDN_DIGITS_MAX: Final = 15  # E.164


def rows_from_payload(payload: bytes, row_base: int, feed: str) -> tuple[Rows, list[BadRow]]:
    """Parse a serialized DeltaRows whose first row has number `row_base`.

    Bad rows are IGNORED in the rows; at most BAD_ROWS_MAX of them are described.
    Arrays may be read-only views of the payload. Raises DeltaInvalidError for
    what is not rows, DeltaTooLargeError for what is too many.
    """
    if len(payload) > delta.PAYLOAD_BYTES_MAX:
        raise DeltaTooLargeError(
            f"payload of {len(payload)} bytes; at most {delta.PAYLOAD_BYTES_MAX} are admitted"
        )
    try:
        message = sync_pb2.DeltaRows.FromString(payload)
    except DecodeError as error:
        raise DeltaInvalidError("payload: not a serialized DeltaRows") from error
    parts: list[Rows] = []
    bad_rows: list[BadRow] = []
    if message.operations:
        parts.append(_from_operations(message.operations, row_base, feed, bad_rows))
        row_base += len(parts[-1])
    for index, columns in enumerate(message.columns):
        parts.append(_from_columns(columns, f"columns[{index}]", row_base, feed, bad_rows))
        row_base += len(parts[-1])
    return concat(parts), bad_rows[: delta.BAD_ROWS_MAX]


def _ignore(rows: Rows, bad: BadRows, bad_rows: list[BadRow]) -> Rows:
    """Take bad rows out, in their place, and report them."""
    if bad.mask.any():
        rows.op[bad.mask] = IGNORED
        if rows.imei is not None:
            # A number that names no raw text would make the journal unreadable.
            rows.imei = np.where(bad.mask, np.uint64(0), rows.imei)
        bad_rows.extend(bad.report())
    return rows


def _index(names: dict[str, int], texts: Iterable[str]) -> list[int]:
    """Index of each text in names, which grows."""
    return [names.setdefault(text, len(names)) for text in texts]


# Operations: one message a row.


def _from_operations(
    operations: Sequence[sync_pb2.Operation], row_base: int, feed: str, bad_rows: list[BadRow]
) -> Rows:
    """Make rows of operations, field by field: a field empty in all rows costs next to nothing."""
    values = _values(operations)
    bad = BadRows(len(operations), row_base)
    ops = _kinds(values, bad)
    texts = _Texts(bad)
    rows = Rows(
        op=ops,
        imei=texts.imeis(values["imei"], "imei"),
        imei_last=texts.imeis(values["imei_last"], "imei_last"),
        imei_other=texts.imeis(values["imei_other"], "imei_other"),
        imsi=texts.imsis(values["imsi"], "imsi"),
        former_imsi=texts.imsis(values["former_imsi"], "former_imsi"),
        references=texts.references(values["reference"]),
        wrong_check_digits=texts.wrong_check_digits,
        raw_texts=list(texts.raw),
    )
    rows.imei = _merge(rows.imei, texts.parsed(values["tac"], _tac_fault, int, "tac"))
    for times in (
        texts.times(values["until"], "until"),
        texts.times(values["in_use_since"], "in_use_since"),
        texts.parsed(values["msisdn"], _msisdn_fault, lambda text: int("1" + text), "msisdn"),
    ):
        rows.time = _merge(rows.time, times)
    rows.cause = _causes(values, ops, bad)
    rows.name, rows.names = _names(values, ops, feed, bad)
    check_rows(rows, bad)
    return _ignore(rows, bad, bad_rows)


def _values(operations: Sequence[sync_pb2.Operation]) -> dict[str, tuple[Any, ...]]:
    """Values by field. What no row sets is not read row by row, for reading a field costs 0.2 µs."""
    operations = list(operations)  # each access through the message makes a new wrapper
    union = sync_pb2.Operation()
    for operation in operations:
        union.MergeFrom(operation)
    used = [field.name for field, _ in union.ListFields()]
    values: dict[str, tuple[Any, ...]] = dict.fromkeys(_OPERATION_FIELDS, ())
    values.update((name, tuple(map(attrgetter(name), operations))) for name in used)
    values["reference"] = values["reference"] or ("",)
    return values


def _kinds(values: dict[str, tuple[Any, ...]], bad: BadRows) -> U8:
    """Kinds of rows, with the fields they need and take checked."""
    kinds = np.array(values["kind"] or [0] * len(bad.mask), np.int64)
    known = (kinds >= 1) & (kinds <= max(Op))
    bad.add(~known, RowReason.KIND_UNKNOWN, lambda row: f"kind: {kinds[row]} is not an operation")
    ops: U8 = np.where(known, kinds, IGNORED).astype(np.uint8)
    for name, needs in _NEEDS.items():
        given = np.fromiter(map(bool, values[name]), np.bool_, len(ops)) if values[name] else np.False_
        bad.add(needs[ops] & ~given, RowReason.FIELD_MISSING, _says(name, "{} needs it", ops))
        bad.add(
            ~_TAKES[name][ops] & given, RowReason.FIELD_NOT_TAKEN, _says(name, "{} does not take it", ops)
        )
    return ops


def _says(field: str, text: str, ops: U8) -> Callable[[int], str]:
    """Message about a field, with the name of the row's kind."""
    return lambda row: f"{field}: {text.format(Op(ops[row]).name)}"


def _merge(first: U64 | None, second: U64 | None) -> U64 | None:
    """Lay two columns over each other; no row has both."""
    if first is None or second is None:
        return second if first is None else first
    return np.where(first == 0, second, first)


def _causes(values: dict[str, tuple[Any, ...]], ops: U8, bad: BadRows) -> U8 | None:
    """Roles and causes, with what unspecified means filled in."""
    column = np.zeros(len(ops), np.uint8)
    for name, enum in _ENUMS.items():
        if values[name]:
            numbers = np.array(values[name], np.int64)
            unknown = (numbers < 0) | (numbers > max(enum))
            bad.add(unknown, RowReason.FIELD_INVALID, f"{name}: not one of its enum")
            column |= np.where(unknown, 0, numbers).astype(np.uint8)
    column[(ops == Op.PAIR) & (column == 0)] = Role.OWNER
    column[(ops == Op.EXEMPT) & (column == 0)] = ExemptCause.OTHER
    return column if column.any() else None


def _names(
    values: dict[str, tuple[Any, ...]], ops: U8, feed: str, bad: BadRows
) -> tuple[U16 | None, list[str]]:
    """Make one column of indexes of authorities, languages and device types."""
    names = {"": 0}
    column = np.zeros(len(ops), np.uint32)
    for field, grammar, says in (
        ("authority", delta.NAME, "1 to 64 of a-z, 0-9, '-', '_', '.'"),
        ("language", delta.LANGUAGE, "a two-letter code of ISO 639-1"),
        ("device_type", delta.DEVICE_TYPE, "1 to 32 of a-z, 0-9, '-', '_'"),
    ):
        if not values[field]:
            continue
        valid = {text for text in set(values[field]) if not text or grammar.fullmatch(text)}
        wrong = np.array([text not in valid for text in values[field]])
        bad.add(wrong, RowReason.FIELD_INVALID, f"{field}: {says} is needed")
        index = _index(names, (text if text in valid else "" for text in values[field]))
        column = np.where(column == 0, np.array(index, np.uint32), column)  # only a bad row has two
    unnamed = ((ops == Op.BLOCK) | (ops == Op.UNBLOCK)) & (column == 0)
    if unnamed.any():
        column[unnamed] = _index(names, [feed])[0]
    if len(names) > NAMES_MAX:
        raise DeltaTooLargeError(f"payload: {len(names)} names; at most {NAMES_MAX} are admitted")
    return (column.astype(np.uint16) if len(names) > 1 else None), list(names)


def _tac_fault(text: str) -> str:
    ok = len(text) == 8 and text.isascii() and text.isdigit() and int(text) > 0
    return "" if ok else "8 digits, not all zeros, are needed"


def _msisdn_fault(text: str) -> str:
    ok = len(text) <= _MSISDN_DIGITS_MAX and text.isascii() and text.isdigit()
    return "" if ok else f"1 to {_MSISDN_DIGITS_MAX} digits, without a plus sign, are needed"


def _imei_fault(text: str) -> str:
    """Say what keeps a trimmed text that is not 14 to 16 digits from being listed."""
    if len(text) > IMEI_CHARS_MAX:
        return f"longer than {IMEI_CHARS_MAX} characters"
    if not text:
        return "nothing but spaces"
    if not text.isascii() or not RAW_CHARS.issuperset(text.upper()):
        return "other characters than hex digits, '*' and '#'"
    return ""


class _Texts:
    """Turns fields of text into columns; what it cannot turn is a bad row."""

    def __init__(self, bad: BadRows) -> None:
        self.bad = bad
        self.raw: dict[str, int] = {}
        self.wrong_check_digits = 0

    def parsed(
        self,
        texts: tuple[str, ...],
        fault: Callable[[str], str],
        parse: Callable[[str], int],
        name: str,
        reason: RowReason = RowReason.FIELD_INVALID,
    ) -> U64 | None:
        """Turn texts into numbers, 0 where there is none."""
        if not texts:
            return None
        numbers = [0] * len(texts)
        faults: dict[int, str] = {}
        for row, text in enumerate(texts):
            if text:
                if wrong := fault(text):
                    faults[row] = f"{name}: {wrong}"
                else:
                    numbers[row] = parse(text)
        self.bad.add_faults(faults, reason)
        return np.array(numbers, np.uint64)

    def imeis(self, texts: tuple[str, ...], name: str) -> U64 | None:
        """Turn IMEIs into keys or raw texts; count wrong check digits."""
        if not texts:
            return None
        numbers = [0] * len(texts)
        faults: dict[int, str] = {}
        checked, check_digits = [], []  # rows of 15 digits, and the last of them
        for row, given in enumerate(texts):
            if not given:
                continue
            text = given.strip(SPACES)
            size, digits = len(text), text.isdigit() and text.isascii()
            if digits and IMEI_DIGITS <= size <= IMEI_CHARS_MAX:
                numbers[row] = int(text[:IMEI_DIGITS])
                if size == IMEI_DIGITS + 1:
                    checked.append(row)
                    check_digits.append(int(text) % 10)
            elif wrong := _imei_fault(text):
                faults[row] = f"{name}: {wrong}"
            elif (text := normalise(text)).isdigit() and len(text) == IMEI_DIGITS:
                numbers[row] = int(text)
            else:
                numbers[row] = RAW | self.raw.setdefault(text, len(self.raw))
        self.bad.add_faults(faults, RowReason.IMEI_INVALID)
        keys = np.array(numbers, np.uint64)
        zero = (keys == 0) & np.fromiter(map(bool, texts), np.bool_, len(texts))
        self.bad.add(zero, RowReason.IMEI_SPECIAL, f"{name}: all zeros cannot be listed")
        self.wrong_check_digits += wrong_check_digits(keys[checked], np.array(check_digits, np.uint64))
        return keys

    def imsis(self, texts: tuple[str, ...], name: str) -> U64 | None:
        """Turn IMSIs into codes."""
        if not texts:
            return None
        codes = [0] * len(texts)
        faults: dict[int, str] = {}
        for row, text in enumerate(texts):
            if text:
                try:
                    usual = text.isdigit() and text.isascii() and len(text) <= IMSI_DIGITS_MAX
                    codes[row] = int("1" + text) if usual else imsi_code(text)
                except ValueError as error:
                    faults[row] = f"{name}: {error}"
        self.bad.add_faults(faults, RowReason.IMSI_INVALID)
        return np.array(codes, np.uint64)

    def times(self, seconds: tuple[int, ...], name: str) -> U64 | None:
        """Take times; bad where negative or larger than the tables keep."""
        if not seconds:
            return None
        times = np.array(seconds, np.int64)
        wrong = (times < 0) | (times > delta.SECONDS_MAX)
        self.bad.add(
            wrong, RowReason.TIME_INVALID, f"{name}: 0 to {delta.SECONDS_MAX} seconds since the Unix epoch"
        )
        return np.where(wrong, 0, times).astype(np.uint64)

    def references(self, texts: tuple[str, ...]) -> list[str] | str:
        """Take references; one where they are all the same."""
        different = set(texts)
        if any(len(text.encode()) > delta.ROW_REFERENCE_BYTES_MAX for text in different):
            long = {
                row: f"reference: longer than {delta.ROW_REFERENCE_BYTES_MAX} bytes"
                for row, text in enumerate(texts)
                if len(text.encode()) > delta.ROW_REFERENCE_BYTES_MAX
            }
            self.bad.add_faults(long, RowReason.FIELD_INVALID)
        return texts[0] if len(different) == 1 else list(texts)


# Columns: many rows of one kind.


def _from_columns(
    columns: sync_pb2.OperationColumns, where: str, row_base: int, feed: str, bad_rows: list[BadRow]
) -> Rows:
    """Make rows of columns: views of the payload's arrays, checked whole."""
    op, count = _check_columns(columns, where)
    arrays: dict[str, Any] = {}
    for name in ("imei", "imei_last", "imei_other", "imsi", "former_imsi", "time", "msisdn"):
        data = getattr(columns, name)
        if not data:
            continue
        if len(data) != 8 * count:
            raise DeltaInvalidError(f"{where}.{name}: {len(data)} bytes are not {count} rows of 8 bytes")
        arrays[name] = np.frombuffer(data, "<u8")
    names, name_index = [""], 0
    if op in (Op.BLOCK, Op.UNBLOCK):
        names, name_index = ["", columns.authority or feed], 1
    elif columns.language:
        names, name_index = ["", columns.language], 1
    if "msisdn" in arrays:
        arrays["time"] = arrays.pop("msisdn")  # no kind has both
    cause = int(columns.role or columns.block_cause or columns.exempt_cause)
    cause = cause or {Op.PAIR: int(Role.OWNER), Op.EXEMPT: int(ExemptCause.OTHER)}.get(op, 0)
    rows = Rows(
        op=np.full(count, op, np.uint8),
        **arrays,
        cause=np.full(count, cause, np.uint8) if cause else None,
        name=np.full(count, name_index, np.uint16) if name_index else None,
        names=names,
        references=columns.reference,
    )
    bad = BadRows(count, row_base)
    for name in FIELDS[op].needs & arrays.keys():
        bad.add(arrays[name] == 0, RowReason.FIELD_MISSING, f"{name}: {op.name} needs it")
    check_rows(rows, bad)
    return _ignore(rows, bad, bad_rows)


def _check_columns(columns: sync_pb2.OperationColumns, where: str) -> tuple[Op, int]:
    """Check what holds for every row. Raises DeltaInvalidError naming the field."""
    try:
        op = Op(columns.kind)
    except ValueError as error:
        raise DeltaInvalidError(f"{where}.kind: {columns.kind} is not an operation") from error
    if op not in COLUMN_KINDS:
        raise DeltaInvalidError(f"{where}.kind: {op.name} is sent as operations, not as columns")
    if not 1 <= columns.row_count <= delta.COLUMN_ROWS_MAX:
        raise DeltaInvalidError(f"{where}.row_count: {columns.row_count} is not 1 to {delta.COLUMN_ROWS_MAX}")
    given = {
        _TIMES.get(op, field.name) if field.name == "time" else field.name
        for field, _ in columns.ListFields()
    }
    given -= _SPECIAL_FIELDS | {"row_count"}
    if wrong := given - FIELDS[op].needs - FIELDS[op].takes:
        raise DeltaInvalidError(f"{where}.{min(wrong)}: {op.name} does not take it")
    needs = FIELDS[op].needs
    if op in (Op.EXEMPT, Op.UNEXEMPT) and not given & {"imei", "imsi"}:
        needs = frozenset({"imei"})
    if missing := needs - given:
        raise DeltaInvalidError(f"{where}.{min(missing)}: {op.name} needs it")
    for name, enum in _ENUMS.items():
        if not 0 <= getattr(columns, name) <= max(enum):
            raise DeltaInvalidError(f"{where}.{name}: {getattr(columns, name)} is not one of its enum")
    if columns.language and not delta.LANGUAGE.fullmatch(columns.language):
        raise DeltaInvalidError(f"{where}.language: a two-letter code of ISO 639-1 is needed")
    if columns.authority and not delta.NAME.fullmatch(columns.authority):
        raise DeltaInvalidError(f"{where}.authority: 1 to 64 of a-z, 0-9, '-', '_', '.' are needed")
    if len(columns.reference.encode()) > delta.ROW_REFERENCE_BYTES_MAX:
        raise DeltaInvalidError(f"{where}.reference: longer than {delta.ROW_REFERENCE_BYTES_MAX} bytes")
    return op, columns.row_count
