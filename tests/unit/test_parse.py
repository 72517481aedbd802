"""Payload to rows: what each kind takes, what makes a row bad, what refuses the payload."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from eir.errors import DeltaInvalidError, DeltaTooLargeError
from eir.proto import sync_pb2
from eir.whitelist.delta import BAD_ROWS_MAX, PAYLOAD_BYTES_MAX, BadRow, RowReason
from eir.whitelist.parse import COLUMN_KINDS, FIELDS, rows_from_payload
from eir.whitelist.rows import IGNORED, RAW, BlockCause, ExemptCause, Op, Role, Rows

IMEI, OTHER, LAST = "35123456000001", "35123456000002", "35123456000009"
IMSI, FORMER = "432110000000001", "432110000000002"
NOT_TAKEN = RowReason.FIELD_NOT_TAKEN
GOOD: dict[str, Any] = {
    "imei": IMEI,
    "imei_last": LAST,
    "imei_other": OTHER,
    "imsi": IMSI,
    "former_imsi": FORMER,
    "role": 1,
    "block_cause": 1,
    "authority": "police",
    "exempt_cause": 2,
    "until": 5,
    "in_use_since": 6,
    "msisdn": "989120000001",
    "language": "fa",
    "tac": "35123456",
    "device_type": "phone",
}


def _parse(
    *operations: dict[str, Any], columns: list[dict[str, Any]] | None = None
) -> tuple[Rows, list[BadRow]]:
    message = sync_pb2.DeltaRows(
        operations=[sync_pb2.Operation(**values) for values in operations],
        columns=[sync_pb2.OperationColumns(**values) for values in columns or []],
    )
    return rows_from_payload(message.SerializeToString(), 100, "registry")


def _column(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def _fault(**values: Any) -> tuple[str, str]:
    """The one fault of a row between two good ones, which stay as they are."""
    good = {"kind": Op.TRACK, "imei": OTHER}
    rows, bad = _parse(good, values, good)
    assert rows.op.tolist() == [Op.TRACK, IGNORED, Op.TRACK]
    assert [row.row for row in bad] == [101]
    return bad[0].reason, bad[0].message


@pytest.mark.parametrize("op", list(Op))
def test_each_kind_takes_its_fields_and_no_other(op: Op) -> None:
    takes = FIELDS[op].needs | FIELDS[op].takes
    values = {name: GOOD[name] for name in takes}
    rows, bad = _parse({"kind": op, "reference": "r", **values})
    assert bad == []
    assert rows.op.tolist() == [op]
    for name in GOOD.keys() - takes:
        assert _fault(kind=op, **values, **{name: GOOD[name]}) == (
            RowReason.FIELD_NOT_TAKEN,
            f"{name}: {op.name} does not take it",
        )


@pytest.mark.parametrize("op", list(Op))
def test_each_kind_needs_its_fields(op: Op) -> None:
    for name in FIELDS[op].needs:
        values = {other: GOOD[other] for other in FIELDS[op].needs if other != name}
        assert _fault(kind=op, **values) == (RowReason.FIELD_MISSING, f"{name}: {op.name} needs it")


@pytest.mark.parametrize("op", [Op.EXEMPT, Op.UNEXEMPT])
def test_an_exemption_needs_an_imei_or_an_imsi(op: Op) -> None:
    assert _fault(kind=op)[0] == RowReason.FIELD_MISSING
    for values in ({"imei": IMEI}, {"imsi": IMSI}, {"imei": IMEI, "imsi": IMSI}):
        assert _parse({"kind": op, **values})[1] == []


def test_values_of_a_row() -> None:
    rows, bad = _parse(
        {"kind": Op.PAIR, "imei": IMEI, "imsi": "0012", "former_imsi": IMSI, "reference": "a"},
        {
            "kind": Op.BLOCK,
            "imei": " 3512345600000177 ",
            "imei_last": LAST,
            "block_cause": 4,
            "reference": "b",
        },
        {"kind": Op.EXEMPT, "imsi": "7", "until": 77},
        {"kind": Op.GRANDFATHER, "imei": "ab*", "in_use_since": 8},
        {"kind": Op.SUBSCRIBER, "imsi": IMSI, "msisdn": "0123", "language": "fa"},
        {"kind": Op.TAC, "tac": "00000001", "device_type": "meter"},
        {"kind": Op.UNPAIR, "imei": IMEI, "imsi": IMSI},
        {"kind": Op.LINK, "imei": IMEI, "imei_other": OTHER},
    )
    assert bad == []
    key = int(IMEI)
    assert rows.column("imei").tolist() == [key, key, 0, RAW, 0, 1, key, key]
    assert rows.raw_texts == ["AB*"]
    assert rows.column("imei_last").tolist() == [0, int(LAST), 0, 0, 0, 0, 0, 0]
    assert rows.column("imei_other").tolist() == [0, 0, 0, 0, 0, 0, 0, int(OTHER)]
    assert rows.column("imsi").tolist() == [10012, 0, 17, 0, int("1" + IMSI), 0, int("1" + IMSI), 0]
    assert rows.column("former_imsi").tolist()[0] == int("1" + IMSI)
    assert rows.column("time").tolist() == [0, 0, 77, 8, 10123, 0, 0, 0]
    assert rows.column("cause").tolist() == [Role.OWNER, BlockCause.BARRED, ExemptCause.OTHER, 0, 0, 0, 0, 0]
    assert [rows.names[index] for index in rows.column("name").tolist()] == [
        "", "registry", "", "", "fa", "meter", "", "",
    ]  # fmt: skip
    assert rows.references == ["a", "b", "", "", "", "", "", ""]


@pytest.mark.parametrize(
    "imei", ["35123456000001", "351234560000013", "351234560000010", "3512345600000101", "35123456000001AB"]
)
def test_the_spellings_of_an_imei_are_one_key(imei: str) -> None:
    rows, bad = _parse({"kind": Op.TRACK, "imei": imei})
    assert bad == []
    assert rows.column("imei").tolist() == [int(IMEI)]


def test_a_wrong_check_digit_is_a_warning() -> None:
    right, spare, wrong = "260531793113837", "260531793113830", "260531793113834"
    rows, bad = _parse(*({"kind": Op.TRACK, "imei": imei} for imei in (right, spare, wrong, right + "1")))
    assert bad == []
    assert rows.wrong_check_digits == 1


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"kind": 0}, RowReason.KIND_UNKNOWN),
        ({"kind": 18}, RowReason.KIND_UNKNOWN),
        ({"kind": -1}, RowReason.KIND_UNKNOWN),
        ({"kind": Op.TRACK, "imei": "1" * 17}, RowReason.IMEI_INVALID),
        ({"kind": Op.TRACK, "imei": "  "}, RowReason.IMEI_INVALID),
        ({"kind": Op.TRACK, "imei": "GG"}, RowReason.IMEI_INVALID),
        ({"kind": Op.TRACK, "imei": "35123456000001XY"}, RowReason.IMEI_INVALID),
        ({"kind": Op.TRACK, "imei": "٣٥١٢٣٤٥٦٠٠٠٠٠١"}, RowReason.IMEI_INVALID),
        ({"kind": Op.TRACK, "imei": "0" * 15}, RowReason.IMEI_SPECIAL),
        ({"kind": Op.REGISTER, "imei": "0" * 14, "imei_last": LAST}, RowReason.IMEI_SPECIAL),
        ({"kind": Op.REGISTER, "imei": IMEI, "imei_last": "0" * 14}, RowReason.IMEI_SPECIAL),
        ({"kind": Op.EXEMPT, "imei": "0" * 14, "imsi": IMSI}, RowReason.IMEI_SPECIAL),
        ({"kind": Op.REGISTER, "imei": "7" * 14}, RowReason.IMEI_SPECIAL),
        ({"kind": Op.PAIR, "imei": "9" * 14, "imsi": IMSI}, RowReason.IMEI_SPECIAL),
        ({"kind": Op.PAIR, "imei": "00101700000001", "imsi": IMSI}, RowReason.IMEI_SPECIAL),
        ({"kind": Op.GRANDFATHER, "imei": "00440000000001"}, RowReason.IMEI_SPECIAL),
        ({"kind": Op.GRANDFATHER, "imei": "00860000000001", "imsi": IMSI}, RowReason.IMEI_SPECIAL),
        ({"kind": Op.PAIR, "imei": IMEI, "imsi": "4" * 16}, RowReason.IMSI_INVALID),
        ({"kind": Op.PAIR, "imei": IMEI, "imsi": "43211x"}, RowReason.IMSI_INVALID),
        ({"kind": Op.PAIR, "imei": IMEI, "imsi": "٤٣"}, RowReason.IMSI_INVALID),
        ({"kind": Op.PAIR, "imei": IMEI, "imsi": IMSI, "former_imsi": "-1"}, RowReason.IMSI_INVALID),
        ({"kind": Op.PAIR, "imei": IMEI, "imsi": IMSI, "former_imsi": IMSI}, RowReason.FIELD_INVALID),
        ({"kind": Op.PAIR, "imei": IMEI, "imsi": "5", "former_imsi": "4", "role": 2}, NOT_TAKEN),
        ({"kind": Op.PAIR, "imei": IMEI, "imsi": IMSI, "role": 3}, RowReason.FIELD_INVALID),
        ({"kind": Op.REPLACE_SIM, "imsi": IMSI, "former_imsi": IMSI}, RowReason.FIELD_INVALID),
        ({"kind": Op.REGISTER, "imei": LAST, "imei_last": IMEI}, RowReason.RANGE_INVALID),
        ({"kind": Op.REGISTER, "imei": IMEI, "imei_last": "35123457000001"}, RowReason.RANGE_INVALID),
        ({"kind": Op.REGISTER, "imei": "AB", "imei_last": LAST}, RowReason.RANGE_INVALID),
        ({"kind": Op.REGISTER, "imei": IMEI, "imei_last": "AB"}, RowReason.RANGE_INVALID),
        ({"kind": Op.LINK, "imei": IMEI, "imei_other": "AB"}, RowReason.IMEI_INVALID),
        ({"kind": Op.LINK, "imei": "AB", "imei_other": OTHER}, RowReason.IMEI_INVALID),
        ({"kind": Op.LINK, "imei": IMEI, "imei_other": IMEI + "5"}, RowReason.FIELD_INVALID),
        ({"kind": Op.BLOCK, "imei": IMEI, "block_cause": 5}, RowReason.FIELD_INVALID),
        ({"kind": Op.BLOCK, "imei": IMEI, "block_cause": 1, "authority": "Police"}, RowReason.FIELD_INVALID),
        ({"kind": Op.EXEMPT, "imei": IMEI, "until": -1}, RowReason.TIME_INVALID),
        ({"kind": Op.EXEMPT, "imei": IMEI, "until": 1 << 32}, RowReason.TIME_INVALID),
        ({"kind": Op.GRANDFATHER, "imei": IMEI, "in_use_since": -(1 << 63)}, RowReason.TIME_INVALID),
        ({"kind": Op.SUBSCRIBER, "imsi": IMSI, "msisdn": "+98912"}, RowReason.FIELD_INVALID),
        ({"kind": Op.SUBSCRIBER, "imsi": IMSI, "msisdn": "1" * 16}, RowReason.FIELD_INVALID),
        ({"kind": Op.SUBSCRIBER, "imsi": IMSI, "msisdn": "1", "language": "fas"}, RowReason.FIELD_INVALID),
        ({"kind": Op.SUBSCRIBER, "imsi": IMSI, "language": "fa"}, RowReason.FIELD_NOT_TAKEN),
        ({"kind": Op.TAC, "tac": "3512345", "device_type": "phone"}, RowReason.FIELD_INVALID),
        ({"kind": Op.TAC, "tac": "00000000", "device_type": "phone"}, RowReason.FIELD_INVALID),
        ({"kind": Op.TAC, "tac": "35123456", "device_type": "a b"}, RowReason.FIELD_INVALID),
        ({"kind": Op.TRACK, "imei": IMEI, "reference": "x" * 65}, RowReason.FIELD_INVALID),
    ],
)  # fmt: skip
def test_rows_that_are_bad(values: dict[str, Any], reason: RowReason) -> None:
    found, message = _fault(**values)
    assert found == reason
    assert ": " in message


@pytest.mark.parametrize(
    "values",
    [
        {"kind": Op.REGISTER, "imei": "00440000000001"},
        {"kind": Op.BLOCK, "imei": "9" * 14, "block_cause": 1},
        {"kind": Op.REGISTER, "imei": "77777777000000", "imei_last": "77777777999999"},
        {"kind": Op.TRACK, "imei": "#"},
        {"kind": Op.EXEMPT, "imei": IMEI, "until": (1 << 32) - 1},
        {"kind": Op.TRACK, "imei": IMEI, "reference": "é" * 32},
    ],
)
def test_rows_that_are_good(values: dict[str, Any]) -> None:
    assert _parse(values)[1] == []


def test_more_bad_rows_than_are_described() -> None:
    rows, bad = _parse(*[{"kind": Op.TRACK}] * 1200, {"kind": Op.TRACK, "imei": IMEI}, {"kind": Op.TRACK})
    assert [row.row for row in bad] == list(range(100, 100 + BAD_ROWS_MAX))
    assert np.count_nonzero(rows.op == IGNORED) == 1201


# Columns.


@pytest.mark.parametrize("op", sorted(COLUMN_KINDS))
def test_columns_are_the_rows_that_operations_are(op: Op) -> None:
    names = FIELDS[op].needs | FIELDS[op].takes
    values = {name: GOOD[name] for name in names}
    parsed, _ = _parse({"kind": op, **values}, {"kind": op, **values})
    times = {"until": "time", "in_use_since": "time"}
    sent: dict[str, Any] = {}
    for name in names:
        value = GOOD[name]
        if name.startswith("imei"):
            value = _column(*[int(value)] * 2)
        elif name.endswith(("imsi", "msisdn")):
            value = _column(*[int("1" + value)] * 2)
        elif name in times:
            value = _column(value, value)
        sent[times.get(name, name)] = value
    rows, bad = _parse(columns=[{"kind": op, "row_count": 2, **sent}])
    assert bad == []
    for name in ("op", "imei", "imei_last", "imei_other", "imsi", "former_imsi", "time", "cause", "name"):
        assert rows.column(name).tolist() == parsed.column(name).tolist()
    assert rows.names == parsed.names


def test_columns_come_after_operations_and_keep_their_numbers() -> None:
    rows, bad = _parse(
        {"kind": Op.TRACK, "imei": "AB"},
        {"kind": Op.BLOCK, "imei": IMEI, "block_cause": 1, "authority": "police", "reference": "x"},
        columns=[
            {"kind": Op.BLOCK, "row_count": 2, "imei": _column(5, 0), "block_cause": 2, "reference": "y"},
            {"kind": Op.REGISTER, "row_count": 1, "imei": _column(10**14)},
        ],
    )
    assert [(row.row, row.reason) for row in bad] == [(103, "FIELD_MISSING"), (104, "IMEI_INVALID")]
    assert rows.op.tolist() == [Op.TRACK, Op.BLOCK, Op.BLOCK, IGNORED, IGNORED]
    assert [rows.names[index] for index in rows.column("name").tolist()[:3]] == ["", "police", "registry"]
    assert rows.references == ["", "x", "y", "y", ""]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"kind": Op.REGISTER, "imei": 10**14}, RowReason.IMEI_INVALID),
        ({"kind": Op.REGISTER, "imei": RAW}, RowReason.IMEI_INVALID),
        ({"kind": Op.REGISTER, "imei": 11_111_111_111_111}, RowReason.IMEI_SPECIAL),
        ({"kind": Op.PAIR, "imei": 100_100_000_000, "imsi": 10}, RowReason.IMEI_SPECIAL),
        ({"kind": Op.PAIR, "imei": 101_700_000_000, "imsi": 10}, RowReason.IMEI_SPECIAL),
        ({"kind": Op.PAIR, "imei": int(IMEI), "imsi": 20}, RowReason.IMSI_INVALID),
        ({"kind": Op.SUBSCRIBER, "imsi": 10, "msisdn": 20}, RowReason.FIELD_INVALID),
        ({"kind": Op.PAIR, "imei": int(IMEI), "imsi": 9}, RowReason.IMSI_INVALID),
        ({"kind": Op.PAIR, "imei": int(IMEI), "imsi": 2 * 10**15}, RowReason.IMSI_INVALID),
        ({"kind": Op.PAIR, "imei": int(IMEI), "imsi": 10**16}, RowReason.IMSI_INVALID),
        ({"kind": Op.EXEMPT, "imei": int(IMEI), "time": 1 << 32}, RowReason.TIME_INVALID),
        ({"kind": Op.REGISTER, "imei": 5, "imei_last": 10**14}, RowReason.RANGE_INVALID),
        ({"kind": Op.REGISTER, "imei": 5, "imei_last": 4}, RowReason.RANGE_INVALID),
        ({"kind": Op.LINK, "imei": 5, "imei_other": 5}, RowReason.FIELD_INVALID),
        ({"kind": Op.LINK, "imei": 5, "imei_other": 10**14}, RowReason.IMEI_INVALID),
    ],
)
def test_rows_of_columns_that_are_bad(values: dict[str, int], reason: RowReason) -> None:
    good = {"imei": 6, "imsi": 10, "imei_last": 0, "imei_other": 7, "time": 0, "msisdn": 0}
    sent = {name: _column(good[name], value) for name, value in values.items() if name != "kind"}
    rows, bad = _parse(columns=[{"kind": values["kind"], "row_count": 2, **sent}])
    assert [(row.row, row.reason) for row in bad] == [(101, reason)]
    assert rows.op.tolist() == [values["kind"], IGNORED]


@pytest.mark.parametrize("digits", range(1, 16))
def test_codes_of_imsis_of_every_length(digits: int) -> None:
    codes = [10**digits, 2 * 10**digits - 1]
    rows, bad = _parse(columns=[{"kind": Op.EXEMPT, "row_count": 2, "imsi": _column(*codes)}])
    assert bad == []
    assert rows.column("imsi").tolist() == codes


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kind": 0}, "kind: 0 is not an operation"),
        ({"kind": Op.TAC}, "kind: TAC is sent as operations"),
        ({"row_count": 0}, "row_count: 0"),
        ({"row_count": 262_145}, "row_count: 262145"),
        ({"imei": b""}, "imei: REGISTER needs it"),
        ({"imei": b"1234567"}, "imei: 7 bytes are not 1 rows"),
        ({"imei": bytes(16)}, "imei: 16 bytes are not 1 rows"),
        ({"imsi": _column(10)}, "imsi: REGISTER does not take it"),
        ({"time": _column(10)}, "time: REGISTER does not take it"),
        ({"role": 1}, "role: REGISTER does not take it"),
        ({"kind": Op.PAIR, "imsi": _column(10), "role": 9}, "role: 9 is not one"),
        ({"kind": Op.PAIR}, "imsi: PAIR needs it"),
        ({"kind": Op.BLOCK}, "block_cause: BLOCK needs it"),
        ({"kind": Op.BLOCK, "block_cause": 1, "authority": "A B"}, "authority: 1 to 64"),
        ({"kind": Op.EXEMPT, "imei": b""}, "imei: EXEMPT needs it"),
        ({"reference": "x" * 65}, "reference: longer than 64 bytes"),
    ],
)
def test_columns_that_refuse_the_payload(values: dict[str, Any], says: str) -> None:
    good = {"kind": Op.REGISTER, "row_count": 1, "imei": _column(5)}
    with pytest.raises(DeltaInvalidError, match=rf"columns\[1\]\.{says}"):
        _parse(columns=[good, good | values])


def test_what_is_not_rows_refuses_the_payload() -> None:
    with pytest.raises(DeltaInvalidError, match="payload"):
        rows_from_payload(b"\xff\xff", 0, "registry")
    with pytest.raises(DeltaTooLargeError, match="payload"):
        rows_from_payload(bytes(PAYLOAD_BYTES_MAX + 1), 0, "registry")


def test_too_many_names_refuse_the_payload() -> None:
    with pytest.raises(DeltaTooLargeError, match="names"):
        _parse(
            *({"kind": Op.BLOCK, "imei": IMEI, "block_cause": 1, "authority": f"a{n}"} for n in range(65_536))
        )


def test_an_empty_payload_is_no_rows() -> None:
    rows, bad = _parse()
    assert (len(rows), bad) == (0, [])
