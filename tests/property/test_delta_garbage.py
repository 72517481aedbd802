"""What parsers do with garbage: they parse it, or raise their own error, nothing else."""

from __future__ import annotations

import json

from crc32c import crc32c
from delta_strategies import mixed, payload
from hypothesis import example, given
from hypothesis import strategies as st

from eir.errors import DeltaInvalidError, DeltaTooLargeError, JournalDamagedError
from eir.proto import sync_pb2
from eir.whitelist.blob import rows_from_blob, rows_to_blob
from eir.whitelist.contradict import contradictions
from eir.whitelist.delta import RowReason
from eir.whitelist.jsonl import operation_from_json, operation_to_json
from eir.whitelist.operation import Operation, rows_of
from eir.whitelist.operation import operations as operations_of
from eir.whitelist.parse import rows_from_payload

words = st.one_of(
    st.text(max_size=20),
    st.from_regex(r"[0-9]{1,17}", fullmatch=True),
    st.from_regex(r"[0-9A-Fa-f*#]{1,16}", fullmatch=True),
    st.sampled_from(["0" * 14, "1" * 14, "٣٥١٢٣٤٥٦٧٨٩٠١٢", "35123456000001 ", "²", "00440000000000"]),
)
numbers = st.one_of(st.integers(-1, 20), st.integers(-(1 << 31), (1 << 31) - 1))
longs = st.one_of(st.integers(-1, 3), st.integers(-(1 << 63), (1 << 63) - 1))
maybe = st.one_of(st.just(""), words)
messages = st.builds(
    sync_pb2.Operation,
    kind=numbers, imei=words, imei_last=maybe, imei_other=maybe,
    imsi=words, former_imsi=maybe, role=numbers, block_cause=numbers, authority=words,
    exempt_cause=numbers, until=longs, in_use_since=longs, msisdn=words, language=words, tac=words,
    device_type=words, reference=st.text(max_size=80),
)  # fmt: skip
sparse = st.fixed_dictionaries(
    {"kind": st.integers(0, 18)},
    optional={
        "imei": words, "imei_last": words, "imei_other": words, "imsi": words, "former_imsi": words,
        "role": st.integers(0, 3), "block_cause": st.integers(0, 5), "authority": words,
        "exempt_cause": st.integers(0, 7), "until": longs, "in_use_since": longs, "msisdn": words,
        "language": words, "tac": words, "device_type": words,
    },
).map(lambda values: sync_pb2.Operation(**values))  # fmt: skip


def _parse(data: bytes) -> None:
    """Parse; rows that come out can be compared, kept and read back."""
    try:
        rows, bad = rows_from_payload(data, 7, "feed")
    except (DeltaInvalidError, DeltaTooLargeError):
        return
    marked = {row + 7 for row in range(len(rows)) if rows.op[row] == 0}
    assert {row.row for row in bad} == marked
    assert {row.reason for row in bad} <= set(RowReason)
    contradictions(rows)
    decoded = rows_from_blob(rows_to_blob(rows))
    assert dict(operations_of(decoded)) == dict(operations_of(rows))


@given(st.binary(max_size=200))
def test_bytes_as_a_payload(data: bytes) -> None:
    _parse(data)


@given(st.lists(st.one_of(messages, sparse), max_size=8))
def test_operations_of_anything(given_messages: list[sync_pb2.Operation]) -> None:
    _parse(sync_pb2.DeltaRows(operations=given_messages).SerializeToString())


columns = st.integers(0, 4).flatmap(
    lambda count: st.fixed_dictionaries(
        {"kind": st.integers(0, 18), "row_count": st.just(count)},
        optional={
            name: st.one_of(st.binary(min_size=8 * count, max_size=8 * count), st.binary(max_size=9))
            for name in ("imei", "imei_last", "imei_other", "imsi", "former_imsi", "time")
        }
        | {
            "role": numbers,
            "block_cause": numbers,
            "exempt_cause": numbers,
            "authority": words,
            "reference": words,
        },
    )
)


@given(st.lists(columns, max_size=3))
@example([{"kind": 1, "row_count": 1, "imei": b"\0\0\0\0\0\0\0\x81"}])  # the number of a raw text
def test_columns_of_anything(given_columns: list[dict[str, object]]) -> None:
    made = [sync_pb2.OperationColumns(**values) for values in given_columns]
    _parse(sync_pb2.DeltaRows(columns=made).SerializeToString())


@given(mixed, st.data())
def test_a_payload_with_bytes_changed(rows: list[Operation], data: st.DataObject) -> None:
    _parse(_changed(payload(rows), data))


@given(mixed, st.data())
def test_a_blob_with_bytes_changed_is_refused(rows: list[Operation], data: st.DataObject) -> None:
    blob = rows_to_blob(rows_of(rows))
    broken = _changed(blob, data)
    if broken != blob:
        try:
            rows_from_blob(broken)
        except JournalDamagedError:
            return
        raise AssertionError("a change went unnoticed")


@given(mixed, st.data())
def test_a_blob_with_a_checksum_that_agrees_is_read_or_refused(
    rows: list[Operation], data: st.DataObject
) -> None:
    blob = _changed(rows_to_blob(rows_of(rows)), data)
    blob = blob[:8] + crc32c(blob[12:]).to_bytes(4, "little") + blob[12:]
    try:
        decoded = rows_from_blob(blob)
    except JournalDamagedError:
        return
    list(operations_of(decoded))


@given(st.binary(max_size=300))
def test_bytes_as_a_blob(data: bytes) -> None:
    try:
        rows_from_blob(data)
    except JournalDamagedError:
        return
    raise AssertionError("bytes without a checksum were read")


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), words),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=4,
)
fields = st.sampled_from([field.name for field in sync_pb2.Operation.DESCRIPTOR.fields])


@given(
    st.one_of(
        st.text(max_size=50),
        json_values.map(json.dumps),
        st.dictionaries(fields, json_values, max_size=5).map(
            lambda values: json.dumps({"kind": "PAIR"} | values)
        ),
    )
)
@example("[" * 100_000)
@example('{"kind": "PAIR", "until": 1' + "0" * 5000 + "}")
@example('{"kind": "PAIR", "until": "9999-12-31T23:59:59-23:59"}')
@example('{"kind": "PAIR", "imei": "\\ud800"}')
def test_text_as_a_line(line: str) -> None:
    try:
        operation = operation_from_json(line, 3)
    except DeltaInvalidError as error:
        told = error.message
    else:
        told = "line 3: "
        assert operation_from_json(operation_to_json(operation), 3) == operation
    assert told.startswith("line 3: ")


def _changed(data: bytes, choose: st.DataObject) -> bytes:
    """Data with some bytes replaced, or cut, or added."""
    out = bytearray(data)
    for _ in range(choose.draw(st.integers(1, 3))):
        place = choose.draw(st.integers(0, len(out)))
        out[place : place + choose.draw(st.integers(0, 2))] = choose.draw(st.binary(max_size=2))
    return bytes(out)
