"""Building the segments of a whole registry at once, without a daemon.

rows by TAC, increasing ──encode──► shards ──manifest──► data directory
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from eir.errors import StateDamagedError
from eir.whitelist import items
from eir.whitelist.files import FileLayer
from eir.whitelist.hashtable import Columns, HashTable
from eir.whitelist.imsi_blocks import ImsiBlocks
from eir.whitelist.items import CODE_MASK, REGISTERED, Item
from eir.whitelist.journal import Journal, NameKind, SegmentRecord
from eir.whitelist.overlay import Table
from eir.whitelist.rebuild import TAC_END, SegmentFile, Writer
from eir.whitelist.recover import BASE_SERIAL_KEY
from eir.whitelist.schema import COUNTS_KEY
from eir.whitelist.segments import BLOCKS_KEY
from eir.whitelist.shard_rows import ShardRows
from eir.whitelist.store import locked


@dataclass(frozen=True)
class Part:
    """Rows of neighbouring TACs."""

    last_tac: int
    rows: ShardRows


def build(
    data_dir: Path,
    parts: Iterable[Part],
    common: dict[Table, Columns],
    *,
    authorities: Sequence[str],
    device_types: Sequence[str],
    now: int,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Build the segments of parts that come in increasing order of TACs, as serial 1.

    Authorities and device types are numbered from 1 in the order given. A part's
    shard begins where the one before ended; the last one reaches to the end of
    all TACs. `progress` is told the rows written so far. Raises StateDamagedError
    where the directory holds a registry already, DataDirLockedError.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with locked(data_dir):
        journal = Journal.open(data_dir / "registry.db")
        try:
            if journal.manifest().current or journal.last_serial():
                raise StateDamagedError(f"{data_dir} holds a registry already; build in an empty directory")
            journal.name_ids(NameKind.AUTHORITY, authorities)
            journal.name_ids(NameKind.DEVICE_TYPE, device_types)
            counts: Counter[str] = Counter(tacs=len(common.get(Table.TACS, Columns.empty())))
            writer = _write(data_dir / "segments", parts, common, counts, progress)
            with journal.transaction():
                journal.swap_manifest([_record(file) for file in writer.written], [])
                journal.meta_set(COUNTS_KEY, json.dumps(counts))
                journal.meta_set(BASE_SERIAL_KEY, str(writer.serial))
                journal.meta_set(BLOCKS_KEY, writer.blocks.blocks.tobytes().hex())
                journal.audit_add(now, "build", "segments built", f"{counts['registered']} registered")
        finally:
            journal.close()


def _write(
    folder: Path,
    parts: Iterable[Part],
    common: dict[Table, Columns],
    counts: Counter[str],
    progress: Callable[[int], None],
) -> Writer:
    folder.mkdir(parents=True, exist_ok=True)
    writer = Writer(folder, FileLayer(), 1, ImsiBlocks(np.empty(0, np.uint64)))
    first_tac, done = 0, 0
    waiting: Part | None = None
    for part in parts:
        if waiting is not None:
            writer.shards(waiting.rows, first_tac, waiting.last_tac)
            first_tac = waiting.last_tac + 1
        _count(counts, part.rows)
        done += len(part.rows.keys)
        progress(done)
        waiting = part
    if waiting is not None:
        writer.shards(waiting.rows, first_tac, TAC_END - 1)
    writer.common({table: HashTable.build(columns) for table, columns in common.items()})
    return writer


def _count(counts: Counter[str], rows: ShardRows) -> None:
    """Rows by table, as the store counts them."""
    head = rows.keys.head
    _, name, _ = items.from_words(rows.keys.extra)
    kinds = np.bincount((name >> np.uint64(items.KIND_SHIFT)).astype(np.int64), minlength=16)
    counts["registered"] += int(((head & np.uint64(REGISTERED)) != 0).sum())
    counts["pairs"] += int(((head & np.uint64(CODE_MASK)) != 0).sum())
    counts["utilizers"] += int(kinds[Item.UTILIZER])
    counts["blocks"] += int(kinds[Item.BLOCK])
    counts["tracked"] += int(kinds[Item.TRACK])
    counts["exemptions"] += int(kinds[Item.EXEMPT_IMEI] + kinds[Item.EXEMPT_PAIR])
    counts["grandfathered"] += int(kinds[Item.GRANDFATHER_IMEI] + kinds[Item.GRANDFATHER_PAIR])
    registered_ranges = int((rows.ranges.cause == 0).sum())
    counts["registered_ranges"] += registered_ranges
    counts["blocked_ranges"] += len(rows.ranges) - registered_ranges
    counts["links"] += int((rows.links.key < rows.links.other).sum())


def _record(file: SegmentFile) -> SegmentRecord:
    row = asdict(file)
    return SegmentRecord(row.pop("name"), **row)
