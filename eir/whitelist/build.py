"""Building the segments of a whole registry at once, without a daemon.

    rows by TAC, increasing ──encode──► shards ──manifest──► data directory
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eir.whitelist.files import FileLayer
from eir.whitelist.hashtable import Columns, HashTable
from eir.whitelist.imsi_blocks import ImsiBlocks
from eir.whitelist.overlay import Table
from eir.whitelist.rebuild import TAC_END, SegmentFile, Writer
from eir.whitelist.shard_encode import ShardRows


@dataclass(frozen=True)
class Part:
    """Rows of neighbouring TACs."""

    last_tac: int
    rows: ShardRows


def write_segments(
    folder: Path,
    parts: Iterable[Part],
    common: dict[Table, Columns],
    *,
    serial: int,
    progress: Callable[[int], None] = lambda rows: None,
) -> list[SegmentFile]:
    """Write the segments of parts that come in increasing order of TACs.

    A part's shard begins where the one before ended; the last one is widened to
    the end of all TACs. `progress` is told the rows written so far.
    """
    folder.mkdir(parents=True, exist_ok=True)
    writer = Writer(folder, FileLayer(), serial, ImsiBlocks(np.empty(0, np.uint64)))
    first_tac, done = 0, 0
    waiting: Part | None = None
    for part in parts:
        if waiting is not None:
            writer.shards(waiting.rows, first_tac, waiting.last_tac)
            first_tac = waiting.last_tac + 1
            done += len(waiting.rows.keys)
            progress(done)
        waiting = part
    if waiting is not None:
        writer.shards(waiting.rows, first_tac, TAC_END - 1)
        progress(done + len(waiting.rows.keys))
    writer.common({table: HashTable.build(columns) for table, columns in common.items()})
    return writer.written
