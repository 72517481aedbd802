"""Rows to bytes and back: how a chunk lies in the journal. Pure.

    header 16 | column table 9 x 16 | columns | names | raw texts | references

All little-endian, every part padded to 8 bytes. Header: magic, version u32,
CRC32C u32 of what follows it, rows u32. Column table, in the order of
`rows.COLUMNS`: form u64 (absent, constant, array) and value u64 (of a
constant). A list of texts: count u64, lengths u32 each, UTF-8. References are
one text for all rows, or as many as rows.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from crc32c import crc32c

from eir.errors import JournalDamagedError
from eir.whitelist.rows import COLUMNS, DTYPES, RAW, Op, Rows

MAGIC: Final = b"EIRR"
VERSION: Final = 1
_HEADER: Final = struct.Struct("<4sIII")
_TABLE: Final = struct.Struct(f"<{2 * len(COLUMNS)}Q")
_ABSENT, _CONSTANT, _ARRAY = range(3)


def rows_to_blob(rows: Rows) -> bytes:
    """Encode rows. A column that is 0 throughout comes back as None."""
    table: list[int] = []
    parts: list[bytes] = []
    for name in COLUMNS:
        column = getattr(rows, name)
        form, value = _form(column)
        table += (form, value)
        if form == _ARRAY:
            parts.append(_pad(column.astype(DTYPES[name], copy=False).tobytes()))
    references = [rows.references] if isinstance(rows.references, str) else rows.references
    parts += (_encode(texts) for texts in (rows.names, rows.raw_texts, references))
    body = b"".join([_TABLE.pack(*table), *parts])
    checksum = crc32c(body, crc32c(struct.pack("<I", len(rows))))
    return _HEADER.pack(MAGIC, VERSION, checksum, len(rows)) + body


def _form(column: npt.NDArray[Any] | None) -> tuple[int, int]:
    """How a column is stored, and its value where it is constant."""
    if column is None or not len(column):
        return _ABSENT, 0
    value = int(column[0])
    if column[-1] != value or not (column == column[0]).all():
        return _ARRAY, 0
    return (_CONSTANT, value) if value else (_ABSENT, 0)


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def _encode(texts: list[str]) -> bytes:
    encoded = [text.encode("utf-8") for text in texts]
    lengths = np.fromiter(map(len, encoded), "<u4", len(encoded)).tobytes()
    return _pad(struct.pack("<Q", len(encoded)) + lengths + b"".join(encoded))


def rows_from_blob(blob: bytes) -> Rows:
    """Decode rows; arrays are read-only views of the blob, op excepted.

    Raises JournalDamagedError saying what is wrong.
    """
    if len(blob) < _HEADER.size + _TABLE.size:
        raise JournalDamagedError(f"rows of {len(blob)} bytes are cut short")
    magic, version, checksum, count = _HEADER.unpack_from(blob)
    if magic != MAGIC:
        raise JournalDamagedError(f"rows begin with {magic!r} instead of {MAGIC!r}")
    if version != VERSION:
        raise JournalDamagedError(f"rows are of version {version}; this daemon reads {VERSION}")
    if crc32c(memoryview(blob)[_HEADER.size - 4 :]) != checksum:
        raise JournalDamagedError("rows do not match their checksum")
    columns, reader = _columns(blob, count)
    columns["op"] = np.array(columns.get("op", np.zeros(count)), np.uint8)
    names, raw_texts, references = (
        reader.texts("names"),
        reader.texts("raw texts"),
        reader.texts("references"),
    )
    if reader.offset != len(blob):
        raise JournalDamagedError(f"{len(blob) - reader.offset} bytes follow the rows")
    rows = Rows(**columns, names=names, raw_texts=raw_texts)
    rows.references = references[0] if len(references) == 1 else references
    _check(rows, len(references))
    return rows


def columns_from_blob(blob: bytes) -> dict[str, Any]:
    """Decode the columns of rows only, those that are not 0 throughout; views of the blob.

    Several times faster than `rows_from_blob`: the caller has checked the blob.
    """
    return _columns(blob, _HEADER.unpack_from(blob)[3])[0]


def _columns(blob: bytes, count: int) -> tuple[dict[str, Any], _Reader]:
    """Columns of a blob, and the reader where they end."""
    reader = _Reader(blob, _HEADER.size)
    table = reader.take("<u8", 2 * len(COLUMNS))
    columns: dict[str, Any] = {}
    for name, form, value in zip(COLUMNS, table[::2].tolist(), table[1::2].tolist(), strict=True):
        if form == _ARRAY:
            columns[name] = reader.take(DTYPES[name], count)
        elif form == _CONSTANT and value <= np.iinfo(DTYPES[name]).max:
            columns[name] = np.full(count, value, DTYPES[name])
        elif form != _ABSENT:
            raise JournalDamagedError(f"column {name} has form {form} and value {value}")
    return columns, reader


def _check(rows: Rows, reference_count: int) -> None:
    """Check that every number in the rows names something."""
    if rows.op.max(initial=0) > max(Op):
        raise JournalDamagedError(f"operation {rows.op.max()} is not known")
    if rows.names[:1] != [""] or rows.column("name").max(initial=0) >= len(rows.names):
        raise JournalDamagedError("a name is not among the names")
    raw = rows.column("imei") & np.uint64(RAW - 1)
    if raw[rows.column("imei") >= RAW].max(initial=0) >= max(len(rows.raw_texts), 1):
        raise JournalDamagedError("a raw text is not among the raw texts")
    if reference_count not in (1, len(rows)):
        raise JournalDamagedError(f"{reference_count} references for {len(rows)} rows")


class _Reader:
    """Takes parts off a blob, one after the other."""

    def __init__(self, blob: bytes, offset: int) -> None:
        self.blob = blob
        self.offset = offset

    def take(self, dtype: npt.DTypeLike, count: int) -> npt.NDArray[Any]:
        """Take an array, and its padding."""
        bytes_needed = np.dtype(dtype).itemsize * count
        if bytes_needed > len(self.blob) - self.offset:
            raise JournalDamagedError(f"rows end at byte {len(self.blob)}; {bytes_needed} more are needed")
        array = np.frombuffer(self.blob, dtype, count, self.offset)
        self.offset = min(self.offset + bytes_needed + -bytes_needed % 8, len(self.blob))
        return array

    def texts(self, what: str) -> list[str]:
        """Take a list of texts."""
        start = self.offset
        count = int(self.take("<u8", 1)[0])
        lengths = self.take("<u4", count)
        self.offset = start + 8 + 4 * count  # the texts follow without padding
        text = bytes(self.take("u1", int(lengths.sum(dtype=np.uint64))))
        self.offset = min(start + (8 + 4 * count + len(text) + 7) // 8 * 8, len(self.blob))
        ends = np.cumsum(lengths, dtype=np.int64).tolist()
        try:
            return [text[end - size : end].decode() for end, size in zip(ends, lengths.tolist(), strict=True)]
        except UnicodeDecodeError as error:
            raise JournalDamagedError(f"{what} are not UTF-8") from error
