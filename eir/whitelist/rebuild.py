"""Folding overlays into segments, in a child process at low priority.

    shards + frozen overlay ──decode, merge, encode──► new shards + new common

The child writes files and prints what it wrote as JSON; the store commits the
manifest and swaps. `python -m eir.whitelist.rebuild JOB.json`.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from eir import heap
from eir.identity import SERIALS
from eir.whitelist import imsi_index, segment, shard_decode, shard_encode, shard_rows
from eir.whitelist.files import FileLayer
from eir.whitelist.hashtable import Columns, HashTable, Ragged, contains
from eir.whitelist.imsi_blocks import ImsiBlocks
from eir.whitelist.items import CODE_MASK
from eir.whitelist.overlay import COMMON, Overlay, Table
from eir.whitelist.shard import KeyColumns, Shard
from eir.whitelist.shard_rows import LinkColumns, RangeColumns, ShardRows
from eir.whitelist.tables import Common

SHARD_KEYS_TARGET: Final = 4_000_000
SHARD_KEYS_MAX: Final = 6_000_000
"""A shard of more keys is split."""
TAC_END: Final = 100_000_000
_PR_SET_PDEATHSIG: Final = 1
"""prctl(2)"""


@dataclass(frozen=True)
class SegmentFile:
    """One segment file, as the manifest lists it."""

    name: str
    kind: str
    first_tac: int
    last_tac: int
    serial: int
    crc32c: int
    bytes: int


@dataclass
class Job:
    """What a child is to do. Names are of files in `folder`."""

    folder: str
    serial: int
    overlay: str
    common: str | None
    shards: list[str] = field(default_factory=list)
    bytes_per_second_max: int = 0
    edition: int = 0
    """Number of the rebuild; tells files of one serial apart."""
    first_tac: int = 0
    last_tac: int = TAC_END - 1
    """TACs that it is about: of a shard that reaches beyond them, a part."""
    is_first: bool = False
    """There are no shards yet."""
    nice: int = 10
    parent: int = 0
    """Process that waits for the child; 0: none."""


def index_name(name: str) -> str:
    """Name of the IMSI index beside a shard."""
    return name.removesuffix(".seg") + ".imsi"


def edition_of(name: str) -> int:
    """Return the edition in the name of a segment file."""
    return int(name.removesuffix(".seg").rpartition("-")[2])


def overlay_name(serial: int, edition: int) -> str:
    """Name of the overlay that a rebuild folded in."""
    return f"overlay-{serial:012d}-{edition:06d}.seg"


class Writer:
    """Encodes rows into shard files, splitting where they are many."""

    def __init__(
        self, folder: Path, files: FileLayer, serial: int, blocks: ImsiBlocks, edition: int = 0
    ) -> None:
        """Take where to write, and the dictionary so far."""
        self.folder, self.files, self.serial, self.blocks = folder, files, serial, blocks
        self.stamp = f"{serial:012d}-{edition:06d}"
        self.grows = True
        """Whether the dictionary may get new blocks."""
        self.written: list[SegmentFile] = []

    def shards(self, rows: ShardRows, first_tac: int, last_tac: int) -> None:
        """Write the shards of a range of TACs."""
        for part, first, last in _split(rows, first_tac, last_tac):
            owner = part.keys.head & np.uint64(CODE_MASK)
            if self.grows:
                self.blocks = self.blocks.grown(owner[owner != 0])
            packed = shard_encode.encode(
                part, self.blocks, first_tac=first, last_tac=last, serial=self.serial
            )
            name = f"shard-{first:08d}-{self.stamp}.seg"
            # The index first: a shard that is there has one.
            self.files.write(self.folder / index_name(name), imsi_index.image(part.keys))
            self._write(name, "shard", first, last, packed)

    def common(self, tables: dict[Table, HashTable]) -> None:
        """Write the common segment with the dictionary that the shards were packed by."""
        packed = Common.image(tables, self.blocks, self.serial)
        self._write(f"common-{self.stamp}.seg", "common", 0, TAC_END - 1, packed)

    def _write(self, name: str, kind: str, first: int, last: int, packed: bytearray) -> None:
        self.files.write(self.folder / name, packed)
        crc = segment.crc_of(packed)
        self.written.append(SegmentFile(name, kind, first, last, self.serial, crc, len(packed)))


def _split(rows: ShardRows, first_tac: int, last_tac: int) -> Iterator[tuple[ShardRows, int, int]]:
    n = len(rows.keys)
    if n <= SHARD_KEYS_MAX:
        yield rows, first_tac, last_tac
        return
    parts = -(-n // SHARD_KEYS_TARGET)
    at = [n * part // parts for part in range(1, parts)]
    cuts = sorted({int(tac) for tac in rows.keys.key[at] // np.uint64(SERIALS)} - {first_tac})
    starts = [first_tac, *cuts]
    for first, end in zip(starts, [*cuts, last_tac + 1], strict=True):
        yield slice_tacs(rows, first, end - 1), first, end - 1


def slice_tacs(rows: ShardRows, first_tac: int, last_tac: int) -> ShardRows:
    """Rows of a range of TACs."""
    low, high = np.uint64(first_tac * SERIALS), np.uint64((last_tac + 1) * SERIALS)
    start, end = np.searchsorted(rows.keys.key, (low, high))
    keys = KeyColumns(
        rows.keys.key[start:end], rows.keys.head[start:end], rows.keys.extra.take(np.arange(start, end))
    )
    some = (rows.ranges.tac >= np.uint64(first_tac)) & (rows.ranges.tac <= np.uint64(last_tac))
    start, end = np.searchsorted(rows.links.key, (low, high))
    return ShardRows(
        keys, rows.ranges.take(some), LinkColumns(rows.links.key[start:end], rows.links.other[start:end])
    )


def merge(rows: ShardRows, overlay: Overlay, first_tac: int, last_tac: int) -> ShardRows:
    """Rows of a shard with the overlay's over them; rows that say "gone" leave."""
    low, high = np.uint64(first_tac * SERIALS), np.uint64((last_tac + 1) * SERIALS)
    newer = _between(overlay, Table.KEYS, low, high)
    merged = Columns(rows.keys.key, rows.keys.head, rows.keys.extra).merged(newer)
    alive = np.flatnonzero((merged.heads != 0) | (merged.extra.counts() > 0))
    if len(alive) < len(merged):
        merged = merged.take(alive)
    ranges = _between(overlay, Table.RANGES, np.uint64(first_tac), np.uint64(last_tac + 1))
    kept = rows.ranges.take(~contains(ranges.keys, rows.ranges.tac))
    fresh = shard_rows.unflatten_ranges(np.repeat(ranges.keys, ranges.extra.counts()), ranges.extra.words)
    both = _both(kept, fresh)
    links = _between(overlay, Table.LINKS, low, high)
    stay = ~contains(links.keys, rows.links.key)
    key = np.concatenate((rows.links.key[stay], np.repeat(links.keys, links.extra.counts())))
    other = np.concatenate((rows.links.other[stay], links.extra.words))
    order = np.lexsort((other, key))
    return ShardRows(
        KeyColumns(merged.keys, merged.heads, merged.extra),
        both.sorted(),
        LinkColumns(key[order], other[order]),
    )


def _between(overlay: Overlay, table: Table, low: np.uint64, high: np.uint64) -> Columns:
    columns = overlay.columns.get(table, Columns.empty())
    start, end = np.searchsorted(columns.keys, (low, high))
    return columns.take(np.arange(start, end))


def merge_common(common: Common, overlay: Overlay) -> dict[Table, HashTable]:
    """Tables that are not split by TAC, with the overlay's rows over them."""
    out = {}
    for table in COMMON:
        merged = common.tables[table].columns().merged(overlay.columns.get(table, Columns.empty()))
        alive = np.flatnonzero((merged.heads != 0) | (merged.extra.counts() > 0))
        out[table] = HashTable.build(merged.take(alive))
    return out


def _both(one: RangeColumns, two: RangeColumns) -> RangeColumns:
    names = ("tac", "first", "last", "cause", "authority")
    return RangeColumns(*(np.concatenate((getattr(one, name), getattr(two, name))) for name in names))


def empty_rows() -> ShardRows:
    """Make rows of a shard that has none."""
    none = np.empty(0, np.uint64)
    return ShardRows(KeyColumns(none, none, Ragged.empty()), RangeColumns.empty(), LinkColumns.empty())


def run(job: Job) -> list[SegmentFile]:
    """Do a job in this process; returns the files written."""
    folder = Path(job.folder)
    files = FileLayer(job.bytes_per_second_max)
    overlay = Overlay.from_segment(segment.load(folder / job.overlay))
    common = Common.of(segment.load(folder / job.common)) if job.common else Common.empty()
    writer = Writer(folder, files, job.serial, common.blocks, job.edition)
    for name in job.shards:
        shard = Shard(segment.load(folder / name), common.blocks)
        first, last = max(shard.first_tac, job.first_tac), min(shard.last_tac, job.last_tac)
        rows = shard_decode.decode(shard)
        if (first, last) != (shard.first_tac, shard.last_tac):
            rows = slice_tacs(rows, first, last)
        del shard
        writer.shards(merge(rows, overlay, first, last), first, last)
    if job.is_first:
        first, last = job.first_tac, job.last_tac
        writer.shards(merge(empty_rows(), overlay, first, last), first, last)
    writer.common(merge_common(common, overlay))
    return writer.written


def end_with(parent: int) -> None:
    """End this process when its parent ends, however that does: nobody would take what it writes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before the kernel was told
        sys.exit("the daemon that wanted this rebuild is gone")


def main() -> int:
    """Run the job that a file describes."""
    job = Job(**json.loads(Path(sys.argv[1]).read_text()))
    if job.parent:
        end_with(job.parent)
    os.nice(job.nice)
    heap.settle()  # the heap; about pages the daemon has said it, in the environment
    json.dump([asdict(file) for file in run(job)], sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
