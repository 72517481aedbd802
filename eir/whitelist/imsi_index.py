"""Where an IMSI stands: an index on disk beside each shard.

Sorted (IMSI code, IMEI key) of owners, utilizers and pair items. It is read with
pread, never mapped and never kept, outside of the memory that checks use.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from crc32c import crc32c

from eir.errors import SegmentDamagedError
from eir.whitelist import items
from eir.whitelist.hashtable import I64, Columns
from eir.whitelist.items import CODE_MASK, Item
from eir.whitelist.overlay import Table
from eir.whitelist.rows import U64
from eir.whitelist.shard import KeyColumns

if TYPE_CHECKING:
    from eir.whitelist.tables import Generation

MAGIC: Final = b"EIRIMSI\n"
_HEADER: Final = struct.Struct("<8sQI12x")
_HEADER_BYTES: Final = _HEADER.size
_READ_BYTES: Final = 4 << 20
_BULK: Final = 256
"""From this many codes on, reading an index whole is cheaper than probing it."""
_OF_IMSI: Final = (Item.UTILIZER, Item.EXEMPT_PAIR, Item.GRANDFATHER_PAIR)


def codes_of(keys: U64, heads: U64, extra_row: I64, extra_name: U64) -> tuple[U64, U64]:
    """IMSI codes that stand on keys, with their keys; sorted by code."""
    owner = heads & np.uint64(CODE_MASK)
    owned = np.flatnonzero(owner)
    of_imsi = np.flatnonzero(np.isin(extra_name >> np.uint64(items.KIND_SHIFT), _OF_IMSI))
    code = np.concatenate((owner[owned], extra_name[of_imsi] & np.uint64(items.SUBJECT_MASK)))
    key = np.concatenate((keys[owned], keys[extra_row[of_imsi]]))
    order = np.argsort(code, kind="stable")
    return code[order], key[order]


def image(columns: KeyColumns) -> bytes:
    """Bytes of the index of a shard: magic, count and checksum, then codes, then keys."""
    row, name, _ = items.from_words(columns.extra)
    code, key = codes_of(columns.key, columns.head, row, name)
    body = code.tobytes() + key.tobytes()
    return _HEADER.pack(MAGIC, len(code), crc32c(body)) + body


class ImsiIndex:
    """The index of one shard; opened once, closed with the shard."""

    def __init__(self, path: Path) -> None:
        """Open an index. Raises SegmentDamagedError."""
        self.name = path.name
        try:
            self._file = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise SegmentDamagedError(f"{path.name}: {error.strerror}", segment=path.name) from error
        head = os.pread(self._file, _HEADER_BYTES, 0).ljust(_HEADER_BYTES, b"\0")
        magic, self.count, self._crc32c = _HEADER.unpack(head)
        if magic != MAGIC or os.fstat(self._file).st_size != _HEADER_BYTES + 16 * self.count:
            raise SegmentDamagedError(
                f"{path.name} is not an index of IMSIs, or was cut short", segment=path.name
            )

    def verify(self) -> None:
        """Read the whole index and check it. Raises SegmentDamagedError."""
        crc, at = 0, _HEADER_BYTES
        while data := os.pread(self._file, _READ_BYTES, at):
            crc, at = crc32c(data, crc), at + len(data)
        if crc != self._crc32c:
            raise SegmentDamagedError(f"{self.name}: its checksum does not match", segment=self.name)

    def __del__(self) -> None:
        """Close the file with the last user of the index."""
        if hasattr(self, "_file"):
            os.close(self._file)

    def keys(self, codes: U64) -> U64:
        """Keys on which any of these sorted codes stands."""
        if len(codes) >= _BULK:
            return self._keys_bulk(codes)
        found: list[int] = []
        for code in codes.tolist():
            low, high = 0, self.count
            while low < high:
                middle = (low + high) // 2
                low, high = (middle + 1, high) if self._number(middle) < code else (low, middle)
            while low < self.count and self._number(low) == code:
                found.append(self._number(self.count + low))
                low += 1
        return np.array(found, np.uint64)

    def _keys_bulk(self, codes: U64) -> U64:
        data = os.pread(self._file, self.count * 8, _HEADER_BYTES)
        there = np.frombuffer(data, "<u8")
        at = np.flatnonzero(np.isin(there, codes))
        data = os.pread(self._file, self.count * 8, _HEADER_BYTES + self.count * 8)
        return np.frombuffer(data, "<u8")[at]

    def _number(self, place: int) -> int:
        return int.from_bytes(os.pread(self._file, 8, _HEADER_BYTES + place * 8), "little")


def raw_of(generation: Generation, codes: U64) -> U64:
    """Keys of raw rows on which any of these codes may stand."""
    tables = [level.columns.get(Table.RAW, Columns.empty()) for level in generation.levels]
    found = [np.empty(0, np.uint64)]
    for columns in (*tables, generation.common.tables[Table.RAW].columns()):
        # The text of a raw row may look like an item: then a row too many is looked at.
        words = columns.extra.words & np.uint64(items.SUBJECT_MASK)
        of_words = np.repeat(columns.keys, columns.extra.counts())[np.isin(words, codes)]
        found += [of_words, columns.keys[np.isin(columns.heads & np.uint64(CODE_MASK), codes)]]
    return np.unique(np.concatenate(found))


def keys_of(generation: Generation, codes: U64) -> U64:
    """Keys on which any of these codes may stand: the rows there tell."""
    codes = np.unique(codes)
    found = [np.empty(0, np.uint64)]
    for level in generation.levels:
        columns = level.columns.get(Table.KEYS)
        if columns is not None:
            row, name, _ = items.from_words(columns.extra)
            there, key = codes_of(columns.keys, columns.heads, row, name)
            found.append(key[np.isin(there, codes)])
    found.extend(shard.index.keys(codes) for shard in generation.shards if shard.index is not None)
    return np.unique(np.concatenate(found))
