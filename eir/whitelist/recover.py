"""Recovering a damaged shard: its predecessor, and the deltas since.

predecessor ──► rows of the TACs ──replay of the journal──► rows of the shard
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from eir.errors import JournalDamagedError, StateDamagedError
from eir.identity import SERIALS
from eir.whitelist import plan as planning
from eir.whitelist import rebuild, shard_encode
from eir.whitelist.apply import Bools
from eir.whitelist.blob import rows_from_blob
from eir.whitelist.contradict import contradictions
from eir.whitelist.journal import Journal, SegmentRecord
from eir.whitelist.overlay import Overlay
from eir.whitelist.plan import Names
from eir.whitelist.rows import IGNORED, RAW, Op, Rows, concat
from eir.whitelist.shard import Shard
from eir.whitelist.shard_encode import ShardRows
from eir.whitelist.tables import Generation


def shard_rows(
    journal: Journal,
    names_of: Callable[[Rows], Names],
    base: Generation,
    record: SegmentRecord,
    previous: list[Shard],
) -> ShardRows:
    """Rows of a shard whose file is damaged. Raises StateDamagedError saying what is needed."""
    start = previous[0].serial if previous else 0
    covered = sum(
        min(old.last_tac, record.last_tac) - max(old.first_tac, record.first_tac) + 1 for old in previous
    )
    built = int(journal.meta_get("built_serial") or 0)
    if (previous and covered != record.last_tac - record.first_tac + 1) or (not previous and built):
        raise StateDamagedError(_needed(record, "it has no predecessor"))
    deltas = [delta for delta in journal.deltas(start) if delta.serial <= record.serial]
    if [delta.serial for delta in deltas] != list(range(start + 1, record.serial + 1)):
        raise StateDamagedError(_needed(record, f"the journal does not go back to serial {start + 1}"))
    overlay = Overlay.empty()
    generation = Generation.of(start, (), previous, base.common)
    try:
        for delta in deltas:
            rows = concat(
                [rows_from_blob(blob) for blob in journal.chunks(delta)] or [Rows(np.zeros(0, np.uint8))]
            )
            left_out = (rows.op == IGNORED) | _elsewhere(rows, record.first_tac, record.last_tac)
            if delta.ignored_row_count:
                left_out[contradictions(rows)[0]] = True
            plan = planning.make(generation, rows, names_of(rows), left_out)
            overlay = overlay.merged(plan.columns)
            generation = generation.with_levels(delta.serial, (overlay,))
    except JournalDamagedError as error:
        raise StateDamagedError(_needed(record, error.message)) from error
    out = rebuild.empty_rows()
    for old in previous:
        out = rebuild.joined(out, shard_encode.decode(old))
    return rebuild.merge(
        rebuild.slice_tacs(out, record.first_tac, record.last_tac), overlay, record.first_tac, record.last_tac
    )


def _elsewhere(rows: Rows, first_tac: int, last_tac: int) -> Bools:
    """Rows about other TACs; what is about an IMSI alone may concern any."""
    low, high = np.uint64(first_tac * SERIALS), np.uint64((last_tac + 1) * SERIALS - 1)
    imei, other = rows.column("imei"), rows.column("imei_other")
    here = (imei >= low) & (imei <= high)
    linked = np.isin(rows.op, (Op.LINK, Op.UNLINK)) & (other >= low) & (other <= high)
    of_imsi = rows.op == Op.REPLACE_SIM
    elsewhere: Bools = (
        ~(here | linked | of_imsi) | (imei >= np.uint64(RAW)) | np.isin(rows.op, (Op.TAC, Op.SUBSCRIBER))
    )
    return elsewhere


def _needed(record: SegmentRecord, why: str) -> str:
    return (
        f"{record.file} is damaged and cannot be made again: {why}. Restore the file from a backup of the "
        f"data directory (serial {record.serial}), or start with an empty one and load the registry again"
    )
