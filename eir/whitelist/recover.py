"""Making damaged segments again, and reading the journal back.

predecessor + the overlay folded into it ──merge──► rows of the segment
journal from the first delta on          ──replay──► rows of any segment
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np

from eir.errors import JournalDamagedError, SegmentDamagedError, StateDamagedError
from eir.whitelist import plan as planning
from eir.whitelist import rebuild, segment, shard_decode
from eir.whitelist.apply import Bools
from eir.whitelist.blob import rows_from_blob
from eir.whitelist.contradict import contradictions
from eir.whitelist.filled import Names
from eir.whitelist.hashtable import HashTable
from eir.whitelist.imsi_blocks import ImsiBlocks
from eir.whitelist.journal import DeltaRecord, Journal, SegmentRecord
from eir.whitelist.overlay import Overlay, Table
from eir.whitelist.rows import IGNORED, Rows, concat
from eir.whitelist.segment import Segment
from eir.whitelist.shard import Shard
from eir.whitelist.shard_rows import ShardRows
from eir.whitelist.tables import Common, Generation

BASE_SERIAL_KEY: Final = "base_serial"
"""In the journal: the serial up to which the segments hold everything."""
NamesOf = Callable[[Rows], Names]
_ADVICE: Final = (
    "Restore registry.db and segments from one backup of the data directory, or start with an empty one and"
    " load the registry again"
)


def deltas(journal: Journal, after: int, until: int) -> Iterator[tuple[DeltaRecord, Rows, Bools]]:
    """Iterate over deltas by serial: each with its rows, and a mask of those that are bad by themselves.

    Raises StateDamagedError naming the first that is damaged or missing.
    """
    expected = after + 1
    try:
        for record in journal.deltas(after):
            if record.serial != expected or expected > until:
                break
            rows = _rows(journal, record)
            left_out: Bools = rows.op == IGNORED
            if record.ignored_row_count:
                left_out[contradictions(rows)[0]] = True
            yield record, rows, left_out
            expected += 1
    except JournalDamagedError as error:
        raise StateDamagedError(f"registry.db: {error.message}. {_ADVICE}") from error
    if expected <= until:
        raise StateDamagedError(f"registry.db: delta {expected} is missing. {_ADVICE}")


def _rows(journal: Journal, record: DeltaRecord) -> Rows:
    try:
        parts = [rows_from_blob(blob) for blob in journal.chunks(record)]
    except JournalDamagedError as error:
        named = f"delta {record.serial} (feed {record.feed}, sequence {record.sequence})"
        text = error.message if error.message.startswith(named) else f"{named}: {error.message}"
        raise JournalDamagedError(text) from error
    return concat(parts) if parts else Rows(np.zeros(0, np.uint8))


class Recovery:
    """What the damaged segments of a folder are made again from."""

    def __init__(
        self, folder: Path, journal: Journal, names_of: NamesOf, previous: Iterable[SegmentRecord]
    ) -> None:
        """Take where the files are, and the segments kept from before the last rebuild."""
        self._folder, self._journal, self._names_of = folder, journal, names_of
        self._previous = tuple(previous)
        self._whole: Overlay | None = None

    def shard(self, record: SegmentRecord, blocks: ImsiBlocks) -> ShardRows:
        """Rows of a damaged shard. Raises StateDamagedError saying what is needed."""
        older, overlay = self._source(record)
        rows = rebuild.empty_rows()
        if older is not None:
            old = shard_decode.decode(Shard(older, blocks))
            rows = rebuild.slice_tacs(old, record.first_tac, record.last_tac)
        return rebuild.merge(rows, overlay, record.first_tac, record.last_tac)

    def common(self, record: SegmentRecord) -> dict[Table, HashTable]:
        """Tables of a damaged common segment. Raises StateDamagedError saying what is needed."""
        older, overlay = self._source(record)
        return rebuild.merge_common(Common.of(older) if older is not None else Common.empty(), overlay)

    def _source(self, record: SegmentRecord) -> tuple[Segment | None, Overlay]:
        """Return the predecessor, None where there was none, and the overlay that was folded into it."""
        try:
            name = rebuild.overlay_name(record.serial, rebuild.edition_of(record.file))
            overlay = Overlay.from_segment(segment.load(self._folder / name))
            older = self._predecessor(record)
            return (None if older is None else load(self._folder, older)), overlay
        except SegmentDamagedError as error:
            return None, self._replayed(record, error.message)

    def _predecessor(self, record: SegmentRecord) -> SegmentRecord | None:
        # Of a shard that was split, the whole may still be kept beside the part that followed.
        older = [old for old in self._previous if old.overlaps(record)]
        return max(older, key=lambda old: rebuild.edition_of(old.file), default=None)

    def _replayed(self, record: SegmentRecord, why: str) -> Overlay:
        """Everything up to the segments' serial, from the journal alone."""
        if self._whole is None:
            until = int(self._journal.meta_get(BASE_SERIAL_KEY) or 0)
            oldest = next(self._journal.deltas(), None)
            if until and (oldest is None or oldest.serial != 1):
                raise StateDamagedError(
                    f"{record.file} is damaged and cannot be made again: {why}, and the journal does not"
                    f" begin with the first delta. Restore the file (serial {record.serial}) from a backup of"
                    " the data directory, or start with an empty one and load the registry again"
                )
            self._whole = Overlay.empty()
            for delta, rows, left_out in deltas(self._journal, 0, until):
                generation = Generation.of(delta.serial, (self._whole,), (), Common.empty())
                plan = planning.make(generation, rows, self._names_of(rows), left_out)
                self._whole = self._whole.merged(plan.columns)
        return self._whole


def load(folder: Path, record: SegmentRecord) -> Segment:
    """Load a segment that the manifest names. Raises SegmentDamagedError where it is not that one."""
    loaded = segment.load(folder / record.file)
    if loaded.crc32c != record.crc32c:
        raise SegmentDamagedError(
            f"{record.file} is not the file that the manifest names", segment=record.file
        )
    return loaded
