"""Where an IMSI stands: an index on disk beside each shard.

    code ──► overlays (their columns) ──┐
         └─► fence ──► block (pread) ───┴──► keys, whose rows tell

Sorted (IMSI code, IMEI key) of owners, utilizers and pair items, in blocks with
checksums. It is read with pread, never mapped, outside of the memory that checks
use; only the fence is kept, 12 bytes for 1,024 entries.
"""

from __future__ import annotations

import os
import struct
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import structlog
from crc32c import crc32c

from eir.errors import SegmentDamagedError
from eir.whitelist import items
from eir.whitelist.files import FileLayer
from eir.whitelist.hashtable import I64, Columns, contains, spread
from eir.whitelist.items import CODE_MASK, Item
from eir.whitelist.order import distinct
from eir.whitelist.overlay import Table
from eir.whitelist.rows import U64
from eir.whitelist.shard import KeyColumns, Shard
from eir.whitelist.shard_decode import decode

if TYPE_CHECKING:
    from eir.whitelist.tables import Generation

VERSION: Final = 2
MAGIC: Final = b"EIRIMS2\n"
ENTRIES: Final = 1024
"""Entries of a block: 16 KiB, the least that is read and checked."""
_HEADER: Final = struct.Struct("<8sQI12x")
_HEADER_BYTES: Final = _HEADER.size
_ENTRY_BYTES: Final = 16
_FENCE: Final = np.dtype([("first", "<u8"), ("crc32c", "<u8")])
_SCAN_ROWS: Final = 1 << 16
"""Rows of an overlay compared at a time: temporaries stay in the cache."""
_OF_IMSI: Final = (Item.UTILIZER, Item.EXEMPT_PAIR, Item.GRANDFATHER_PAIR)
_mending = threading.Lock()
"""Held while an index is made again: the writer and inquiries both read them."""
_log = structlog.get_logger(__name__)


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
    """Bytes of the index of a shard: header, blocks of codes and their keys, and the fence."""
    row, name, _ = items.from_words(columns.extra)
    code, key = codes_of(columns.key, columns.head, row, name)
    blocks = [
        code[start : start + ENTRIES].tobytes() + key[start : start + ENTRIES].tobytes()
        for start in range(0, len(code), ENTRIES)
    ]
    fence = np.zeros(len(blocks), _FENCE)
    fence["first"] = code[::ENTRIES]
    fence["crc32c"] = [crc32c(block) for block in blocks]
    tail = fence.tobytes()
    return b"".join((_HEADER.pack(MAGIC, len(code), crc32c(tail)), *blocks, tail))


class ImsiIndex:
    """The index of one shard; opened once, closed with the shard.

    The fence, the first code of each block with the block's checksum, is kept: a
    look-up reads one block.
    """

    def __init__(self, path: Path) -> None:
        """Open an index and read its fence. Raises SegmentDamagedError."""
        self.path = path
        try:
            self._file = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise SegmentDamagedError(f"{path.name}: {error.strerror}", segment=path.name) from error
        head = os.pread(self._file, _HEADER_BYTES, 0).ljust(_HEADER_BYTES, b"\0")
        magic, self.count, checksum = _HEADER.unpack(head)
        blocks = -(-self.count // ENTRIES)
        at, size = _HEADER_BYTES + _ENTRY_BYTES * self.count, _FENCE.itemsize * blocks
        if magic != MAGIC or os.fstat(self._file).st_size != at + size:
            raise self._damaged("is not an index of IMSIs, or was cut short")
        fence = os.pread(self._file, size, at)
        if crc32c(fence) != checksum:
            raise self._damaged("its fence does not match its checksum")
        parts = np.frombuffer(fence, _FENCE)
        self._first = np.ascontiguousarray(parts["first"]).data
        self._checksums = parts["crc32c"].astype(np.uint32).data

    def _damaged(self, what: str) -> SegmentDamagedError:
        return SegmentDamagedError(f"{self.path.name}: {what}", segment=self.path.name)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that are kept."""
        return self._first.nbytes + self._checksums.nbytes

    def verify(self) -> None:
        """Read the whole index and check it. Raises SegmentDamagedError."""
        for place in range(len(self._first)):
            self._block(place)

    def __del__(self) -> None:
        """Close the file with the last user of the index."""
        if hasattr(self, "_file"):
            os.close(self._file)

    def keys(self, codes: U64) -> U64:
        """Keys on which any of these sorted codes stands. Raises SegmentDamagedError."""
        found = [np.empty(0, np.uint64)]
        for place in self._places(codes):
            code, key = self._block(place)
            found.append(key[code == codes[0] if len(codes) == 1 else contains(codes, code)])
        return np.concatenate(found)

    def expect(self, codes: U64) -> None:
        """Let the disk begin to read what `keys` will: indexes of many shards are then read at once."""
        for place in self._places(codes):
            start, size = self._span(place)
            os.posix_fadvise(self._file, start, size, os.POSIX_FADV_WILLNEED)

    def _places(self, codes: U64) -> Sequence[int]:
        """Blocks that may have any of these sorted codes."""
        if len(codes) == 1:  # an inquiry's, or a single replacement
            code = int(codes[0])
            return range(max(bisect_left(self._first, code) - 1, 0), bisect_right(self._first, code))
        fence = np.asarray(self._first)
        first = np.maximum(np.searchsorted(fence, codes) - 1, 0)
        end = np.searchsorted(fence, codes, side="right")
        places: list[int] = distinct(spread(first, np.maximum(end - first, 0))).tolist()
        return places

    def _span(self, place: int) -> tuple[int, int]:
        """Where a block begins, and its bytes."""
        entries = min(ENTRIES, self.count - place * ENTRIES)
        return _HEADER_BYTES + place * ENTRIES * _ENTRY_BYTES, entries * _ENTRY_BYTES

    def _block(self, place: int) -> tuple[U64, U64]:
        """Codes and keys of a block, checked."""
        start, size = self._span(place)
        data = os.pread(self._file, size, start)
        if crc32c(data) != self._checksums[place]:
            raise self._damaged(f"block {place} does not match its checksum")
        numbers = np.frombuffer(data, "<u8")
        return numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]


def _shard_keys(shard: Shard, codes: U64) -> U64:
    """Keys of a shard on which any of these sorted codes stands; a damaged index is made again."""
    if shard.index is None:  # a shard that is not of a data directory has its rows only
        row, name, _ = items.from_words((columns := decode(shard).keys).extra)
        code, key = codes_of(columns.key, columns.head, row, name)
        return key[contains(codes, code)]
    try:
        return shard.index.keys(codes)
    except SegmentDamagedError as error:
        damaged = shard.index
        _log.warning("index damaged, made again", segment=damaged.path.name, error=error.message)
        with _mending:
            if shard.index is damaged:
                FileLayer().write(damaged.path, image(decode(shard).keys))
                shard.index = ImsiIndex(damaged.path)
        return shard.index.keys(codes)


def _matching(values: U64, bits: int, codes: U64) -> I64:
    """Places of values whose low bits are one of a few codes."""
    mask, found = np.uint64(bits), []
    for start in range(0, len(values), _SCAN_ROWS):
        part = values[start : start + _SCAN_ROWS] & mask
        # One code, an inquiry's, is several times faster so.
        here = np.flatnonzero(part == codes[0] if len(codes) == 1 else np.isin(part, codes))
        if len(here):
            found.append(here + start)
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _overlay_keys(columns: Columns, codes: U64) -> U64:
    """Keys of an overlay on which any of these codes may stand: a value may look like an item."""
    words = _matching(columns.extra.words, items.SUBJECT_MASK, codes)
    rows = np.searchsorted(columns.extra.first, words, side="right") - 1
    return columns.keys[np.concatenate((_matching(columns.heads, CODE_MASK, codes), rows))]


def raw_of(generation: Generation, codes: U64) -> U64:
    """Keys of raw rows on which any of these codes may stand."""
    found = [np.empty(0, np.uint64)]
    found += [
        _overlay_keys(level.columns[Table.RAW], codes)
        for level in generation.levels
        if Table.RAW in level.columns
    ]
    image = generation.common.tables[Table.RAW]
    slots, words = image.slots[:, 1], image.words
    # Reading the whole table in order is slow, and hardly ever needed.
    if len(_matching(slots, CODE_MASK, codes)) or any(
        len(_matching(words, bits, codes)) for bits in (CODE_MASK, items.SUBJECT_MASK)
    ):
        found.append(_overlay_keys(image.columns(), codes))
    return distinct(np.concatenate(found))


def keys_of(generation: Generation, codes: U64) -> U64:
    """Keys on which any of these codes may stand: the rows there tell."""
    codes = distinct(codes)
    found = [np.empty(0, np.uint64)]
    found += [
        _overlay_keys(level.columns[Table.KEYS], codes)
        for level in generation.levels
        if Table.KEYS in level.columns
    ]
    if len(codes) == 1:
        for shard in generation.shards:
            if shard.index is not None:
                shard.index.expect(codes)
    found += [_shard_keys(shard, codes) for shard in generation.shards]
    return distinct(np.concatenate(found))
