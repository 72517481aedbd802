"""The segment files of a data directory: loading, rebuilding, recovering, cleaning.

manifest ──load──► generation      overlay ──child──► new files ──manifest──► swapped
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from eir.errors import SegmentDamagedError, StorageError
from eir.identity import SERIALS
from eir.whitelist import imsi_index, segment, shard_decode
from eir.whitelist.aside import in_order
from eir.whitelist.files import FileLayer
from eir.whitelist.imsi_blocks import ImsiBlocks
from eir.whitelist.imsi_index import ImsiIndex
from eir.whitelist.items import Item
from eir.whitelist.journal import Journal, SegmentRecord
from eir.whitelist.overlay import Overlay, Table
from eir.whitelist.rebuild import (
    TAC_END,
    Job,
    SegmentFile,
    Writer,
    edition_of,
    index_name,
    overlay_name,
)
from eir.whitelist.recover import BASE_SERIAL_KEY, NamesOf, Recovery, load
from eir.whitelist.segment import Segment
from eir.whitelist.shard import Shard
from eir.whitelist.shard_layout import Section
from eir.whitelist.tables import Common, Generation

SHARD: Final = "shard"
COMMON: Final = "common"
EDITION_KEY: Final = "edition"
"""Number of the last rebuild that began: tells its files from those of all others."""
BLOCKS_KEY: Final = "imsi_blocks"
"""The dictionary of IMSI blocks, kept beside the common segment: no shard can be read without it."""

_ITEM_TABLES: Final = {
    Item.UTILIZER: "utilizers",
    Item.BLOCK: "blocks",
    Item.TRACK: "tracked",
    Item.EXEMPT_IMEI: "exemptions",
    Item.EXEMPT_PAIR: "exemptions",
    Item.GRANDFATHER_IMEI: "grandfathered",
    Item.GRANDFATHER_PAIR: "grandfathered",
}
_RANGE_TABLES: Final = ("registered_ranges", "blocked_ranges")
FOLDED_KEYS: Final = 4_000_000
"""Keys that are folded in at a time: their image takes 150 MiB, in this process and in the child."""
_LOADING_THREADS: Final = 4
"""Files read at a time: one alone does not keep a disk busy."""

Swap = Callable[[Callable[[Generation], Generation]], None]
_children: set[subprocess.Popen[str]] = set()
_log = structlog.get_logger(__name__)


class Segments:
    """Segment files and their manifest."""

    def __init__(self, folder: Path, journal: Journal, files: FileLayer) -> None:
        """Take the folder, made where it is missing."""
        files.make_folder(folder)
        self.folder, self._journal, self._files = folder, journal, files
        self.recovered: list[str] = []
        self.base_serial = int(journal.meta_get(BASE_SERIAL_KEY) or 0)

    # -- loading ----------------------------------------------------------------------------------

    def load(self, names_of: NamesOf) -> Generation:
        """Load and verify all segments of the manifest; remove files it does not name.

        A damaged segment is made again, as `recover` says. Raises StateDamagedError
        where that cannot be done, saying what is needed, and StorageError.
        """
        try:
            return self._load(names_of)
        except OSError as error:
            raise StorageError(f"loading segments: {error.strerror}") from error

    def _load(self, names_of: NamesOf) -> Generation:
        manifest = self._journal.manifest()
        self._remove_strays()
        recovery = Recovery(self.folder, self._journal, names_of, manifest.previous)
        common = Common.empty()
        shards = []
        # The common segment comes first: shards need its dictionary.
        loaded = in_order(self._read, manifest.current, _LOADING_THREADS)
        for record, segment_or_error in zip(manifest.current, loaded, strict=True):
            if record.kind == COMMON:
                common = self._load_common(record, segment_or_error, recovery)
            else:
                shards.append(self._load_or_remake(record, segment_or_error, common.blocks, recovery))
        return Generation.of(self.base_serial, (), shards, common)

    def _read(self, record: SegmentRecord) -> Segment | SegmentDamagedError:
        """Read and verify a file; what is wrong with it is for the caller to raise."""
        try:
            return load(self.folder, record)
        except SegmentDamagedError as error:
            return error

    def load_shard(self, name: str, blocks: ImsiBlocks) -> Shard:
        """Load one shard with its index."""
        return self._shard(segment.load(self.folder / name), name, blocks)

    def _shard(self, loaded: Segment, name: str, blocks: ImsiBlocks) -> Shard:
        """Make a shard of its segment and its index; an index that is damaged is made again."""
        shard = Shard(loaded, blocks)
        path = self.folder / index_name(name)
        try:
            shard.index = ImsiIndex(path)
        except SegmentDamagedError as error:
            _log.warning("index damaged, made again", segment=path.name, error=error.message)
            self._files.write(path, imsi_index.image(shard_decode.decode(shard).keys))
            shard.index = ImsiIndex(path)
        return shard

    def _load_common(
        self, record: SegmentRecord, loaded: Segment | SegmentDamagedError, recovery: Recovery
    ) -> Common:
        try:
            return Common.of(_whole(loaded))
        except SegmentDamagedError as error:
            _log.error("segment damaged", segment=record.file, error=error.message)
            blocks = np.frombuffer(bytes.fromhex(self._journal.meta_get(BLOCKS_KEY) or ""), "<u8")
            tables = recovery.common(record)
            self._remake(record, ImsiBlocks(blocks), lambda writer: writer.common(tables))
            return Common.of(segment.load(self.folder / record.file))

    def _load_or_remake(
        self,
        record: SegmentRecord,
        loaded: Segment | SegmentDamagedError,
        blocks: ImsiBlocks,
        recovery: Recovery,
    ) -> Shard:
        try:
            return self._shard(_whole(loaded), record.file, blocks)
        except SegmentDamagedError as error:
            _log.error("segment damaged", segment=record.file, error=error.message)
            rows = recovery.shard(record, blocks)
            self._remake(
                record, blocks, lambda writer: writer.shards(rows, record.first_tac, record.last_tac)
            )
            return self.load_shard(record.file, blocks)

    def _remake(self, record: SegmentRecord, blocks: ImsiBlocks, write: Callable[[Writer], None]) -> None:
        """Write a segment again under its name; the damaged file is kept for a look."""
        path = self.folder / record.file
        if path.exists():
            self._files.rename(path, path.with_name(f"{path.name}.damaged"))
        writer = Writer(self.folder, self._files, record.serial, blocks, edition_of(record.file))
        writer.grows = False  # the dictionary is what the other shards were packed by
        write(writer)
        # Its bytes may be others: the dictionary may have grown since. A crash before this line leaves a file
        # that the manifest does not know, which is made again.
        self._journal.replace_segment(record.file, [_record(file) for file in writer.written])
        self.recovered.append(record.file)
        _log.warning("segment recovered", segment=record.file)

    def _remove_strays(self) -> None:
        """Remove files that the manifest does not name; overlays that a current segment came from stay."""
        manifest = self._journal.manifest()
        named = {record.file for record in (*manifest.current, *manifest.previous)}
        keep = named | {index_name(name) for name in named}
        keep |= {overlay_name(record.serial, edition_of(record.file)) for record in manifest.current}
        for path in self.folder.iterdir():
            if path.name not in keep and path.suffix != ".damaged":
                self._files.remove(path)

    # -- rebuilding -------------------------------------------------------------------------------

    def reconcile(self, generation: Generation, swap: Swap) -> None:
        """Read segments that the manifest names and the generation lacks: an earlier swap failed half-way.

        Raises StorageError where they cannot be read now.
        """
        current = [record.file for record in self._journal.manifest().current]
        held = {shard.segment.name for shard in generation.shards}
        missing = [name for name in current if name.startswith(SHARD) and name not in held]
        if not missing:
            return
        try:
            common = next(name for name in current if name.startswith(COMMON))
            tables = Common.of(segment.load(self.folder / common))
            shards = [self.load_shard(name, tables.blocks) for name in missing]
        except (OSError, MemoryError, SegmentDamagedError) as error:
            raise StorageError(f"segments cannot be read: {error}") from error
        swap(
            lambda now: Generation.of(
                now.serial,
                now.levels,
                [*(shard for shard in now.shards if shard.segment.name in current), *shards],
                tables,
            )
        )

    def rebuild(
        self,
        generation: Generation,
        overlay: Overlay,
        serial: int,
        *,
        all_segments: bool,
        bytes_per_second_max: int,
        swap: Swap,
    ) -> int:
        """Fold an overlay into segments with a child process; returns how many files it wrote."""
        touched = [shard for shard in generation.shards if all_segments or _touches(overlay, shard)]
        manifest = {record.file: record for record in self._journal.manifest().current}
        names = {
            (record.first_tac, record.last_tac): record.file
            for record in manifest.values()
            if record.kind == SHARD
        }
        common = next((record.file for record in manifest.values() if record.kind == COMMON), None)
        # No shard by a name of its own: it would stay in memory until this returns.
        tacs = [(shard.first_tac, shard.last_tac) for shard in touched]
        retired = [names[one] for one in tacs]
        written: list[SegmentFile] = []
        latest = common
        parts = _parts(overlay, generation)
        try:
            for first, last in parts:
                whole = len(parts) == 1
                part = overlay if whole else overlay.between(first, last, common=last == parts[-1][1])
                job = Job(str(self.folder), serial, "", latest, bytes_per_second_max=bytes_per_second_max)
                job.first_tac, job.last_tac, job.is_first = first, last, common is None
                job.shards = [names[one] for one in tacs if one[0] <= last and one[1] >= first]
                # The common segment of each but the last only brings the next one the dictionary so far.
                written = [file for file in written if file.kind != COMMON] + self._fold(part, job)
                latest = next(file.name for file in written if file.kind == COMMON)
            folded_common = self._commit(written, retired + ([common] if common else []), serial)
        except BaseException as error:
            with contextlib.suppress(StorageError, OSError):  # on a full disk, make room
                self._remove_strays()
            if isinstance(error, OSError):
                raise StorageError(f"rebuilding segments: {error.strerror}") from error
            raise
        del generation  # it would keep every old shard in memory until the last is replaced
        try:
            self._swap(written, touched, folded_common, swap)
        except (OSError, MemoryError, SegmentDamagedError) as error:
            raise StorageError(
                f"new segments cannot be read, the next rebuild tries again: {error}"
            ) from error
        return len(written)

    def _fold(self, overlay: Overlay, job: Job) -> list[SegmentFile]:
        """Have a child fold an overlay in; returns what it wrote. Raises StorageError, OSError."""
        job.edition, job.parent = self._next_edition(), os.getpid()
        job.overlay = overlay_name(job.serial, job.edition)
        path = self.folder / f"rebuild-{job.edition:06d}.json"
        self._files.write(self.folder / job.overlay, overlay.image(job.serial))
        self._files.write(path, json.dumps(asdict(job)).encode())
        return _run_child(path)

    def _next_edition(self) -> int:
        """Return the number of a rebuild that begins; durable: files of two attempts never share a name."""
        edition = int(self._journal.meta_get(EDITION_KEY) or 0) + 1
        self._journal.meta_set(EDITION_KEY, str(edition))
        return edition

    def _commit(self, written: list[SegmentFile], retired: list[str], serial: int) -> Common:
        """Make new segments those of the manifest; returns the common one, read."""
        common_file = next(file for file in written if file.kind == COMMON)
        common = Common.of(segment.load(self.folder / common_file.name))
        with self._journal.transaction():
            self._journal.swap_manifest([_record(file) for file in written], retired)
            self._journal.meta_set(BASE_SERIAL_KEY, str(serial))
            self._journal.meta_set(BLOCKS_KEY, common.blocks.blocks.tobytes().hex())
        self.base_serial = serial
        return common

    def _swap(
        self,
        written: list[SegmentFile],
        touched: list[Shard],
        common: Common,
        swap: Swap,
    ) -> None:
        """Put new shards in the place of old ones, one at a time: memory never doubles."""
        swap(lambda now: Generation.of(now.serial, now.levels, now.shards, common))
        fresh = [file for file in written if file.kind == SHARD]
        olds: list[Shard | None] = list(touched) or [None]
        touched.clear()
        while olds:
            self._replace(olds.pop(0), fresh, common, swap)

    def _replace(self, old: Shard | None, fresh: list[SegmentFile], common: Common, swap: Swap) -> None:
        """Put what is fresh of an old shard's TACs in its place; it is held no longer than this runs."""
        mine = [f for f in fresh if old is None or old.first_tac <= f.first_tac <= old.last_tac]
        shards = [self.load_shard(file.name, common.blocks) for file in mine]

        def replaced(now: Generation) -> Generation:
            kept = [shard for shard in now.shards if shard is not old]
            return Generation.of(now.serial, now.levels, [*kept, *shards], now.common)

        swap(replaced)

    def clean(self, journal_days_min: int, now: int) -> None:
        """Remove files that left the manifest, and old deltas that the segments hold."""
        self._remove_strays()
        self._journal.prune(self.base_serial + 1, journal_days_min, now)

    # -- sizes ------------------------------------------------------------------------------------

    @staticmethod
    def bytes_by_table(generation: Generation) -> dict[str, int]:
        """Bytes of memory by table.

        What says which keys there are counts as registered; owners, and what finds and
        begins the records of keys with more, as pairs; an item as the table it is of.
        """
        out = dict.fromkeys(("registered", "pairs", "links", *_ITEM_TABLES.values(), *_RANGE_TABLES), 0)
        for shard in generation.shards:
            sizes = {section: len(view) for section, view in shard.segment.sections.items()}
            links = sum(sizes.get(section, 0) for section in (Section.RUNS, Section.FAR, Section.FAR_TACS))
            records = sizes.get(Section.MORE_FIRST, 0) + sizes.get(Section.WORDS, 0)
            owners, ranges = sizes.get(Section.OWNERS, 0), sizes.get(Section.RANGES, 0)
            items = {kind: 8 * count for kind, count in shard.item_words.items()}
            for kind, size in items.items():
                out[_ITEM_TABLES[kind]] += size
            blocked = 8 * shard.blocked_pieces
            out["blocked_ranges"] += blocked
            out["registered_ranges"] += ranges - blocked
            out["links"] += links
            out["pairs"] += owners + records - sum(items.values())
            out["registered"] += shard.segment.total_bytes - links - records - owners - ranges
        for table, name in ((Table.RAW, "raw"), (Table.IMSI, "imsi_exemptions"), (Table.TACS, "tacs")):
            out[name] = generation.common.tables[table].nbytes
        return out


def _whole(loaded: Segment | SegmentDamagedError) -> Segment:
    """Return a segment that could be read. Raises SegmentDamagedError."""
    if isinstance(loaded, SegmentDamagedError):
        raise loaded
    return loaded


def _record(file: SegmentFile) -> SegmentRecord:
    return SegmentRecord(
        file.name, file.kind, file.first_tac, file.last_tac, file.serial, file.crc32c, file.bytes
    )


def _parts(overlay: Overlay, generation: Generation) -> list[tuple[int, int]]:
    """Cut all TACs, from first to last, so that few enough keys are folded in at a time.

    At the first TAC of a shard where one is near: then no shard is cut.
    """
    keys = overlay.columns[Table.KEYS].keys if Table.KEYS in overlay.columns else np.empty(0, np.uint64)
    starts = [0]
    for tac in (keys[FOLDED_KEYS::FOLDED_KEYS] // np.uint64(SERIALS)).tolist():
        place = bisect_right(generation.shard_tacs, tac) - 1
        shard = generation.shard_tacs[place] if place >= 0 else 0
        start = shard if shard > starts[-1] else tac
        starts += [start] if start > starts[-1] else []
    return [(start, end - 1) for start, end in zip(starts, [*starts[1:], TAC_END], strict=True)]


def _touches(overlay: Overlay, shard: Shard) -> bool:
    for table, scale in ((Table.KEYS, SERIALS), (Table.LINKS, SERIALS), (Table.RANGES, 1)):
        columns = overlay.columns.get(table)
        if columns is not None:
            low, high = shard.first_tac * scale, (shard.last_tac + 1) * scale
            start, end = np.searchsorted(columns.keys, np.array([low, high], np.uint64))
            if start < end:
                return True
    return False


def _run_child(job: Path) -> list[SegmentFile]:
    """Run a rebuild in a process of its own, on the cores it may have. Raises StorageError."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    child = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "eir.whitelist.rebuild", str(job)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    _children.add(child)
    try:
        out, told = child.communicate()
    finally:
        _children.discard(child)
    if child.returncode:
        last = (told.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
        raise StorageError(f"rebuilding segments failed: {last}")
    return [SegmentFile(**row) for row in json.loads(out)]


def stop_children() -> None:
    """End rebuilds that run: what they would fold in stays in the journal."""
    for child in list(_children):
        child.terminate()
