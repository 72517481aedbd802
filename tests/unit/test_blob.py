"""Rows in the journal: sizes, versions, and what damage is called."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from crc32c import crc32c

from eir.errors import JournalDamagedError
from eir.whitelist.blob import columns_from_blob, rows_from_blob, rows_to_blob
from eir.whitelist.rows import Op, Rows


def _rows() -> Rows:
    return Rows(
        op=np.full(3, Op.PAIR, np.uint8),
        imei=np.array([1, 2, 3], np.uint64),
        imsi=np.array([10, 10, 10], np.uint64),
        cause=np.array([1, 2, 1], np.uint8),
        time=np.zeros(3, np.uint64),
    )


def test_constant_columns_take_no_room() -> None:
    many = Rows(
        op=np.full(1000, Op.PAIR, np.uint8),
        imei=np.arange(1000, dtype=np.uint64),
        imsi=np.full(1000, 10, np.uint64),
    )
    assert len(rows_to_blob(many)) < 8 * 1000 + 300


def test_columns_come_back() -> None:
    decoded = rows_from_blob(rows_to_blob(_rows()))
    assert decoded.op.tolist() == [Op.PAIR] * 3
    assert decoded.column("imei").tolist() == [1, 2, 3]
    assert decoded.column("imsi").tolist() == [10, 10, 10]
    assert decoded.column("cause").tolist() == [1, 2, 1]
    assert decoded.time is None
    assert decoded.op.flags.writeable


def test_no_rows_come_back() -> None:
    assert len(rows_from_blob(rows_to_blob(Rows(op=np.zeros(0, np.uint8))))) == 0


def _sealed(blob: bytes) -> bytes:
    return blob[:8] + struct.pack("<I", crc32c(blob[12:])) + blob[12:]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda blob: blob[:100], "cut short"),
        (lambda blob: b"XXXX" + blob[4:], "begin with b'XXXX'"),
        (lambda blob: blob[:4] + b"\x02" + blob[5:], "version 2; this daemon reads 1"),
        (lambda blob: blob[:-1], "checksum"),
        (lambda blob: blob[:-9] + b"?" + blob[-8:], "checksum"),
        (lambda blob: _sealed(blob + bytes(8)), "8 bytes follow"),
        (lambda blob: _sealed(blob[:-40]), "end at byte"),
        (lambda blob: _sealed(blob[:16] + struct.pack("<QQ", 3, 0) + blob[32:]), "column op has form 3"),
        (lambda blob: _sealed(blob[:16] + struct.pack("<QQ", 1, 18) + blob[32:]), "operation 18"),
        (lambda blob: _sealed(blob[:16] + struct.pack("<QQ", 1, 256) + blob[32:]), "value 256"),
        (
            lambda blob: _sealed(blob[:32] + struct.pack("<QQ", 1, 1 << 63) + blob[48:]),
            "bytes follow|raw text",
        ),
        (lambda blob: _sealed(blob[:144] + struct.pack("<QQ", 1, 1) + blob[160:]), "a name is not"),
    ],
)
def test_damage_is_named(damage: object, says: str) -> None:
    with pytest.raises(JournalDamagedError, match=says):
        rows_from_blob(damage(rows_to_blob(_rows())))  # type: ignore[operator]


def test_references_as_many_as_rows() -> None:
    rows = _rows()
    rows.references = ["a", "b"]
    with pytest.raises(JournalDamagedError, match="2 references for 3 rows"):
        rows_from_blob(rows_to_blob(rows))


def test_a_constant_column_comes_back_as_an_array_of_its_own() -> None:
    """A column of stride 0 is taken for one that is not there."""
    rows = Rows(op=np.full(3, Op.TRACK, np.uint8), imei=np.full(3, 5, np.uint64))
    blob = rows_to_blob(rows)
    for column in (rows_from_blob(blob).column("imei"), columns_from_blob(blob)["imei"]):
        assert (column.tolist(), column.strides) == ([5, 5, 5], (8,))


def test_columns_alone_are_those_of_the_rows() -> None:
    rows = Rows(op=np.array([1, 7], np.uint8), imei=np.array([5, 6], np.uint64), references=["a", "b"])
    columns = columns_from_blob(rows_to_blob(rows))
    assert {name: column.tolist() for name, column in columns.items()} == {"op": [1, 7], "imei": [5, 6]}
