"""The container of every segment: header, directory, checksummed sections.

    sections ──pack──► bytes ──file──► load (anonymous memory, verified) ──► views

A check never reads a mapped file: truncation would kill the process, eviction
would stall it. `load` copies the file into anonymous memory with 2 MiB pages and
verifies CRC32C in the same pass. Format: docs/segment-format.md.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from crc32c import crc32c

from eir.errors import SegmentDamagedError
from eir.whitelist.files import CALL_BYTES

MAGIC: Final = b"EIRSEG\r\n"
VERSION: Final = 1
ALIGN: Final = 64
SECTIONS_MAX: Final = 64
_HEADER: Final = struct.Struct("<8sHHIIIQQI20x")
_ENTRY: Final = struct.Struct("<IIQQQ")
_CRC_AT: Final = 40
_HUGE_BYTES: Final = 2 << 20


class Kind(IntEnum):
    """What a segment file holds."""

    SHARD = 1
    COMMON = 2
    OVERLAY = 3


@dataclass(frozen=True)
class Segment:
    """A verified segment in memory: its header and a view of each section."""

    kind: Kind
    first_tac: int
    last_tac: int
    serial: int
    crc32c: int
    sections: Mapping[int, memoryview]
    image: memoryview
    """The whole file, in the memory that the sections are views of."""
    name: str = ""

    @property
    def total_bytes(self) -> int:
        """Length of the file."""
        return len(self.image)

    def damaged(self, what: str) -> SegmentDamagedError:
        """Make an error that names the file."""
        return SegmentDamagedError(f"{self.name}: {what}", segment=self.name)

    def expect(self, kind: Kind) -> None:
        """Check what the file holds. Raises SegmentDamagedError."""
        if self.kind is not kind:
            raise self.damaged(
                f"is a {self.kind.name.lower()} segment where a {kind.name.lower()} one is needed"
            )

    def array(self, section: int, dtype: npt.DTypeLike, width: int = 1) -> npt.NDArray[Any]:
        """Read-only view of a section as an array, empty where it is left out; [n, width] for rows."""
        shape = (-1, width) if width > 1 else (-1,)
        view = self.sections.get(section)
        if view is None:
            return np.empty(0, dtype).reshape(shape)
        row_bytes = np.dtype(dtype).itemsize * width
        if len(view) % row_bytes:
            raise self.damaged(f"section {section} has {len(view)} bytes, not whole rows of {row_bytes}")
        return np.frombuffer(view, dtype).reshape(shape)


def _padded(length: int) -> int:
    return -(-length // ALIGN) * ALIGN


def pack(
    kind: Kind,
    sections: Mapping[int, npt.NDArray[np.generic]],
    *,
    serial: int,
    first_tac: int = 0,
    last_tac: int = 0,
) -> bytearray:
    """Lay sections out as the bytes of a segment file. Empty sections are left out."""
    arrays = {number: np.ascontiguousarray(array) for number, array in sections.items() if array.nbytes}
    offset = _padded(_HEADER.size + _ENTRY.size * len(arrays))
    total = offset + sum(_padded(array.nbytes) for array in arrays.values())
    out = bytearray(total)
    for place, (number, array) in enumerate(sorted(arrays.items())):
        view = array.reshape(-1).data.cast("B")
        out[offset : offset + array.nbytes] = view
        at = _HEADER.size + place * _ENTRY.size
        _ENTRY.pack_into(out, at, number, crc32c(view), offset, array.nbytes, 0)
        offset += _padded(array.nbytes)
    _HEADER.pack_into(out, 0, MAGIC, VERSION, kind, len(arrays), first_tac, last_tac, serial, total, 0)
    head = memoryview(out)[: _HEADER.size + _ENTRY.size * len(arrays)]
    struct.pack_into("<I", out, _CRC_AT, crc32c(head))
    return out


def crc_of(packed: bytes | bytearray) -> int:
    """Checksum that names a segment: that of its header, which covers all others."""
    return int(struct.unpack_from("<I", packed, _CRC_AT)[0])


def anonymous(length: int) -> mmap.mmap:
    """Anonymous memory, in 2 MiB pages as far as whole ones fit."""
    # Private: shared anonymous memory gets no huge pages.
    memory = mmap.mmap(-1, max(length, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if length >= _HUGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def parse(buffer: memoryview, name: str) -> Segment:
    """Verify a segment in memory and find its sections. Raises SegmentDamagedError."""

    def damaged(what: str) -> SegmentDamagedError:
        return SegmentDamagedError(f"{name}: {what}", segment=name)

    if len(buffer) < _HEADER.size:
        raise damaged(f"{len(buffer)} bytes are too few for a header")
    magic, version, kind, count, first_tac, last_tac, serial, total, crc = _HEADER.unpack_from(buffer)
    if magic != MAGIC:
        raise damaged("is not a segment (wrong magic)")
    if version != VERSION:
        raise damaged(f"has format version {version}, this reader knows {VERSION}")
    if total != len(buffer) or count > SECTIONS_MAX or _HEADER.size + _ENTRY.size * count > total:
        raise damaged(f"is {len(buffer)} bytes long, its header says {total} with {count} sections")
    head = bytearray(buffer[: _HEADER.size + _ENTRY.size * count])
    head[_CRC_AT : _CRC_AT + 4] = bytes(4)
    if crc32c(head) != crc:
        raise damaged("the checksum of its header does not match")
    if kind not in Kind.__members__.values():
        raise damaged(f"is of unknown kind {kind}")
    sections: dict[int, memoryview] = {}
    for place in range(count):
        number, section_crc, offset, length, _ = _ENTRY.unpack_from(
            buffer, _HEADER.size + place * _ENTRY.size
        )
        if offset % ALIGN or offset + length > total:
            raise damaged(f"section {number} lies outside of the file")
        if number <= max(sections, default=-1):
            raise damaged("its sections are not in the order of their numbers, each once")
        view = buffer[offset : offset + length]
        if crc32c(view) != section_crc:
            raise damaged(f"the checksum of section {number} does not match")
        sections[number] = view
    return Segment(Kind(kind), first_tac, last_tac, serial, crc, sections, buffer, name)


def load(path: Path) -> Segment:
    """Copy a segment file into anonymous memory and verify it.

    Raises SegmentDamagedError, also where the file is missing or cannot be read.
    """
    try:
        with path.open("rb", buffering=0) as file:
            length = path.stat().st_size
            view = memoryview(anonymous(length))[:length]
            done = 0
            while done < length:
                got = file.readinto(view[done : done + CALL_BYTES])
                if not got:
                    break
                done += got
    except OSError as error:
        raise SegmentDamagedError(f"{path.name}: {error.strerror}", segment=path.name) from error
    if done != length:
        raise SegmentDamagedError(f"{path.name}: ended after {done} of {length} bytes", segment=path.name)
    return parse(view.toreadonly(), path.name)
