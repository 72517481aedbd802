"""Operations as JSON lines."""

from __future__ import annotations

import pytest

from eir.errors import DeltaInvalidError
from eir.proto import sync_pb2
from eir.whitelist.jsonl import operation_from_json, operation_to_json


def test_a_line_is_an_operation_and_back() -> None:
    line = (
        '{"kind": "EXEMPT", "imei": "35123456000001", "exempt_cause": "COURT",'
        ' "until": "2026-03-21T00:00:00Z", "reference": "دادگاه"}'
    )
    operation = operation_from_json(line, 1)
    assert operation == sync_pb2.Operation(
        kind=sync_pb2.OPERATION_KIND_EXEMPT,
        imei="35123456000001",
        exempt_cause=sync_pb2.EXEMPT_CAUSE_COURT,
        until=1_774_051_200,
        reference="دادگاه",
    )
    assert operation_to_json(operation) == line


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("5", 5), ('"1970-01-01T03:30:05+03:30"', 5), ('"2026-03-21T00:00:00.9Z"', 1_774_051_200), ("-1", -1)],
)
def test_times(time: str, seconds: int) -> None:
    assert (
        operation_from_json(f'{{"kind": "GRANDFATHER", "in_use_since": {time}}}', 1).in_use_since == seconds
    )


@pytest.mark.parametrize("kind", sync_pb2.OperationKind.keys()[1:])
def test_every_kind_has_a_name(kind: str) -> None:
    line = f'{{"kind": "{kind.removeprefix("OPERATION_KIND_")}"}}'
    assert operation_from_json(line, 1).kind == sync_pb2.OperationKind.Value(kind)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "not JSON: Expecting value at column 1"),
        ("[]", "a JSON object is needed"),
        ("{}", "kind: is missing"),
        ('{"kind": "pair"}', "kind: 'pair' is none of REGISTER, DEREGISTER"),
        ('{"kind": 7}', "kind: a text is needed"),
        ('{"kind": "UNSPECIFIED"}', "kind: 'UNSPECIFIED' is none of"),
        ('{"kind": "PAIR", "kind": "PAIR"}', "a key is given twice"),
        ('{"kind": "PAIR", "imie": "1"}', "imie: no such field; there are kind, imei"),
        (
            '{"kind": "PAIR", "imei": 35123456000001}',
            "imei: a text is needed; digits lose their leading zeros",
        ),
        ('{"kind": "PAIR", "role": "owner"}', "role: 'owner' is none of OWNER, UTILIZER"),
        ('{"kind": "EXEMPT", "until": "2026-03-21"}', "until: seconds, or a time as"),
        ('{"kind": "EXEMPT", "until": "2026-03-21T00:00:00"}', "until: seconds, or a time as"),
        ('{"kind": "EXEMPT", "until": true}', "until: seconds, or a time as"),
        ('{"kind": "EXEMPT", "until": 9223372036854775808}', "until: seconds, or a time as"),
        ('{"kind": "EXEMPT", "until": 1.5}', "until: seconds, or a time as"),
        ('{"kind": "TRACK", "imei": "\\ud800"}', "imei: not Unicode"),
    ],
)
def test_lines_that_are_refused(line: str, says: str) -> None:
    with pytest.raises(DeltaInvalidError) as refused:
        operation_from_json(line, 12)
    assert refused.value.message.startswith(f"line 12: {says}")
