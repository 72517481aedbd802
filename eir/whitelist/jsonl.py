"""Operations as JSON lines, for hands. Pure.

    {"kind": "PAIR", "imei": "35123456000001", "imsi": "432110000000001"}

Keys are the fields of Operation, enums are written without their prefix, times
as RFC 3339 or as seconds since the Unix epoch.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from eir.errors import DeltaInvalidError
from eir.proto import sync_pb2

_FIELDS: Final = sync_pb2.Operation.DESCRIPTOR.fields_by_name
_TIMES: Final = frozenset({"until", "in_use_since"})
_PREFIXES: Final = {
    "kind": "OPERATION_KIND_",
    "role": "PAIR_ROLE_",
    "block_cause": "BLOCK_CAUSE_",
    "exempt_cause": "EXEMPT_CAUSE_",
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_END: Final = 1 << 63


def operation_from_json(line: str, line_number: int) -> sync_pb2.Operation:
    """Read one line. Raises DeltaInvalidError naming the line and what is wrong with it."""
    try:
        return _operation(_DECODER.decode(line))
    except json.JSONDecodeError as error:
        raise DeltaInvalidError(
            f"line {line_number}: not JSON: {error.msg} at column {error.colno}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DeltaInvalidError(f"line {line_number}: {error or 'nested too deeply'}") from error


def _operation(values: object) -> sync_pb2.Operation:
    if not isinstance(values, dict):
        raise ValueError("a JSON object is needed")  # noqa: TRY004 - told as the others
    if "kind" not in values:
        raise ValueError("kind: is missing")
    return sync_pb2.Operation(**{name: _value(name, value) for name, value in values.items()})


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object; a key given twice is an error."""
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key is given twice")
    return values


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_once)
"""Made once: `json.loads` with a hook makes one a line."""


def _value(name: str, value: Any) -> Any:
    """Turn a value into what its field takes."""
    if name not in _FIELDS:
        raise ValueError(f"{name}: no such field; there are {', '.join(_FIELDS)}")
    if name in _TIMES:
        return _seconds(name, value)
    if not isinstance(value, str):
        raise ValueError(f"{name}: a text is needed; digits lose their leading zeros as a number")  # noqa: TRY004
    if name in _PREFIXES:
        numbers = _NUMBERS[name]
        if value not in numbers:
            raise ValueError(f"{name}: {value[:32]!r} is none of {', '.join(numbers)}")
        return numbers[value]
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name}: not Unicode text") from error
    return value


def _numbers(name: str) -> dict[str, int]:
    """Numbers of an enum field by name."""
    enum = _FIELDS[name].enum_type
    values = enum.values if enum else ()
    return {value.name.removeprefix(_PREFIXES[name]): value.number for value in values if value.number}


_NUMBERS: Final = {name: _numbers(name) for name in _PREFIXES}
_NAMES: Final = {
    field: {number: name for name, number in numbers.items()} for field, numbers in _NUMBERS.items()
}


def _seconds(name: str, value: Any) -> int:
    """Read a time."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _SECONDS_END:
        return value
    try:
        time = datetime.fromisoformat(value)
        return (time - _EPOCH) // (_EPOCH.resolution * 1_000_000)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name}: seconds, or a time as 2026-03-21T00:00:00Z, is needed") from error


def operation_to_json(operation: sync_pb2.Operation) -> str:
    """Write one line, without line break; what `operation_from_json` reads back."""
    values: dict[str, Any] = {}
    for field, value in operation.ListFields():
        if field.name in _PREFIXES:
            values[field.name] = _NAMES[field.name].get(value, value)
        elif field.name in _TIMES:
            values[field.name] = _time_text(value)
        else:
            values[field.name] = value
    return json.dumps(values, ensure_ascii=False)


def _time_text(seconds: int) -> str | int:
    """RFC 3339; seconds where a calendar does not reach."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return seconds
