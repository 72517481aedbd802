"""The segment files of a data directory: loading, rebuilding, recovering, cleaning.

manifest ──load──► generation      overlay ──child──► new files ──manifest──► swapped
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from eir.errors import SegmentDamagedError, StateDamagedError, StorageError
from eir.identity import SERIALS
from eir.whitelist import imsi_index, segment, shard_encode
from eir.whitelist.files import FileLayer
from eir.whitelist.imsi_blocks import ImsiBlocks
from eir.whitelist.imsi_index import ImsiIndex
from eir.whitelist.journal import Journal, SegmentRecord
from eir.whitelist.overlay import Overlay, Table
from eir.whitelist.rebuild import Job, SegmentFile, Writer, index_name
from eir.whitelist.shard import Section, Shard
from eir.whitelist.shard_encode import ShardRows
from eir.whitelist.tables import Common, Generation

SHARD: Final = "shard"
COMMON: Final = "common"
BASE_SERIAL_KEY: Final = "base_serial"
EDITION_KEY: Final = "edition"
"""Number of the last rebuild: tells files of one serial apart."""
BUILT_SERIAL_KEY: Final = "built_serial"
"""Serial of segments that were built at once: no journal leads there."""
BLOCKS_KEY: Final = "imsi_blocks"
"""The dictionary of IMSI blocks, kept beside the common segment: no shard can be read without it."""

Recover = Callable[[Generation, SegmentRecord, list[Shard]], ShardRows]
_log = structlog.get_logger(__name__)


class Segments:
    """Segment files and their manifest."""

    def __init__(self, folder: Path, journal: Journal, files: FileLayer) -> None:
        """Take the folder, made where it is missing."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._journal, self._files = folder, journal, files
        self.recovered: list[str] = []
        self._dropped: list[str] = []
        self.base_serial = int(journal.meta_get(BASE_SERIAL_KEY) or 0)

    # -- loading ----------------------------------------------------------------------------------

    def load(self, recover: Recover) -> Generation:
        """Load and verify all segments of the manifest; remove files it does not name.

        A damaged shard is recovered from its predecessor and the journal. Raises
        StateDamagedError where that cannot be done, saying what is needed.
        """
        manifest = self._journal.manifest()
        self._remove_strays({record.file for record in (*manifest.current, *manifest.previous)})
        common = Common.empty()
        shards: list[Shard] = []
        damaged: list[SegmentRecord] = []
        for record in manifest.current:
            if record.kind == COMMON:
                common = self._load_common(record, manifest.previous)
        for record in manifest.current:
            if record.kind != SHARD:
                continue
            try:
                shards.append(self.load_shard(record.file, common.blocks, record.crc32c))
            except SegmentDamagedError as error:
                _log.error("segment damaged", segment=record.file, error=error.message)
                damaged.append(record)
        base = Generation.of(self.base_serial, (), shards, common)
        for record in damaged:
            base = self._recovered(base, record, manifest.previous, recover)
        return base

    def load_shard(self, name: str, blocks: ImsiBlocks, crc: int | None = None) -> Shard:
        """Load one shard with its index; an index that is damaged is made again."""
        loaded = segment.load(self.folder / name)
        if crc is not None and loaded.crc32c != crc:
            raise SegmentDamagedError(f"{name} is not the file that the manifest names", segment=name)
        shard = Shard(loaded, blocks)
        path = self.folder / index_name(name)
        try:
            shard.index = ImsiIndex(path)
        except SegmentDamagedError as error:
            _log.warning("index damaged, made again", segment=path.name, error=error.message)
            self._files.write(path, imsi_index.image(shard_encode.decode(shard).keys))
            shard.index = ImsiIndex(path)
        return shard

    def _load_common(self, record: SegmentRecord, previous: Iterable[SegmentRecord]) -> Common:
        try:
            loaded = segment.load(self.folder / record.file)
            if loaded.crc32c != record.crc32c:
                raise SegmentDamagedError(f"{record.file} is not the file that the manifest names")
            return Common.of(loaded)
        except SegmentDamagedError as error:
            _log.error("segment damaged", segment=record.file, error=error.message)
            older = [old for old in previous if old.kind == COMMON and old.serial < record.serial]
            raise StateDamagedError(
                f"{error.message}; it holds what is not split by TAC. Restore {record.file} from a backup of the "
                f"data directory"
                + (f", or its predecessor {older[-1].file} with the journal" if older else "")
            ) from error

    def _recovered(
        self, base: Generation, record: SegmentRecord, previous: Iterable[SegmentRecord], recover: Recover
    ) -> Generation:
        older = []
        for old in previous:
            if old.kind == SHARD and old.first_tac <= record.last_tac and record.first_tac <= old.last_tac:
                try:
                    older.append(Shard(segment.load(self.folder / old.file), base.common.blocks))
                except SegmentDamagedError as error:
                    raise StateDamagedError(
                        f"{record.file} is damaged, and so is its predecessor: {error.message}. Restore either from a "
                        "backup of the data directory"
                    ) from error
        rows = recover(base, record, older)
        writer = Writer(self.folder, self._files, record.serial, base.common.blocks)
        (self.folder / record.file).replace(self.folder / f"{record.file}.damaged")
        writer.shards(rows, record.first_tac, record.last_tac)
        if writer.blocks is not base.common.blocks:
            raise StateDamagedError(
                f"{record.file} was recovered with IMSI blocks that the dictionary does not have"
            )
        self._journal.replace_segment(record.file, [_record(file) for file in writer.written])
        self.recovered.append(record.file)
        _log.warning("segment recovered", segment=record.file)
        shards = [self.load_shard(file.name, base.common.blocks) for file in writer.written]
        return Generation.of(base.serial, base.levels, [*base.shards, *shards], base.common)

    def _remove_strays(self, named: set[str]) -> None:
        keep = named | {index_name(name) for name in named}
        for path in self.folder.iterdir():
            if path.name not in keep and path.suffix != ".damaged":
                self._files.remove(path)

    # -- rebuilding -------------------------------------------------------------------------------

    def rebuild(
        self,
        generation: Generation,
        overlay: Overlay,
        serial: int,
        *,
        all_segments: bool,
        bytes_per_second_max: int,
        swap: Callable[[Callable[[Generation], Generation]], None],
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
        retired = [names[shard.first_tac, shard.last_tac] for shard in touched]
        overlay_name, job_name = f"overlay-{serial:012d}.seg", f"rebuild-{serial:012d}.json"
        # Segments of this serial may be there: a rebuild of all though nothing changed since.
        edition = int(self._journal.meta_get(EDITION_KEY) or 0) + 1
        job = Job(str(self.folder), serial, overlay_name, common, retired, bytes_per_second_max, edition)
        try:
            self._files.write(self.folder / overlay_name, overlay.image(serial))
            self._files.write(self.folder / job_name, json.dumps(asdict(job)).encode())
            written = _run_child(self.folder / job_name)
            self._commit(written, retired + ([common] if common else []), serial, edition)
        except OSError as error:
            raise StorageError(f"rebuilding segments: {error.strerror}") from error
        finally:
            self._files.remove(self.folder / overlay_name)
            self._files.remove(self.folder / job_name)
        self._swap(generation, written, touched, swap)
        return len(written)

    def _all_records(self) -> list[SegmentRecord]:
        manifest = self._journal.manifest()
        return [*manifest.current, *manifest.previous]

    def _commit(self, written: list[SegmentFile], retired: list[str], serial: int, edition: int) -> None:
        common = next(file for file in written if file.kind == COMMON)
        blocks = Common.of(segment.load(self.folder / common.name)).blocks
        with self._journal.transaction():
            self._dropped = self._journal.swap_manifest([_record(file) for file in written], retired)
            self._journal.meta_set(BASE_SERIAL_KEY, str(serial))
            self._journal.meta_set(EDITION_KEY, str(edition))
            self._journal.meta_set(BLOCKS_KEY, blocks.blocks.tobytes().hex())
        self.base_serial = serial

    def _swap(
        self,
        generation: Generation,
        written: list[SegmentFile],
        touched: list[Shard],
        swap: Callable[[Callable[[Generation], Generation]], None],
    ) -> None:
        """Put new shards in the place of old ones, one at a time: memory never doubles."""
        common_file = next(file for file in written if file.kind == COMMON)
        common = Common.of(segment.load(self.folder / common_file.name))
        del generation
        swap(lambda now: Generation.of(now.serial, now.levels, now.shards, common))
        fresh = [file for file in written if file.kind == SHARD]
        olds: list[Shard | None] = list(touched) or [None]
        touched.clear()
        while olds:
            old = olds.pop(0)
            mine = [f for f in fresh if old is None or old.first_tac <= f.first_tac <= old.last_tac]
            shards = [self.load_shard(file.name, common.blocks) for file in mine]

            def replaced(
                now: Generation, old: Shard | None = old, shards: list[Shard] = shards
            ) -> Generation:
                kept = [shard for shard in now.shards if shard is not old]
                return Generation.of(now.serial, now.levels, [*kept, *shards], now.common)

            swap(replaced)

    def clean(self, journal_days_min: int, now: int) -> None:
        """Remove files that left the manifest, and deltas that no kept segment needs."""
        for name in self._dropped:
            self._files.remove(self.folder / name)
            self._files.remove(self.folder / index_name(name))
        self._dropped = []
        oldest = min((record.serial for record in self._all_records()), default=0)
        self._journal.prune(oldest + 1, journal_days_min, now)

    # -- sizes ------------------------------------------------------------------------------------

    @staticmethod
    def bytes_by_table(generation: Generation) -> dict[str, int]:
        """Bytes of memory by table; what all keys share counts as pairs."""
        out: dict[str, int] = {"pairs": 0, "registered_ranges": 0, "links": 0, "exemptions": 0}
        for shard in generation.shards:
            sizes = {section: len(view) for section, view in shard.segment.sections.items()}
            ranges = sizes.get(Section.RANGES, 0)
            links = sum(sizes.get(section, 0) for section in (Section.RUNS, Section.FAR, Section.FAR_TACS))
            records = sum(sizes.get(section, 0) for section in (Section.MORE_FIRST, Section.WORDS))
            out["registered_ranges"] += ranges
            out["links"] += links
            out["exemptions"] += records
            out["pairs"] += shard.segment.total_bytes - ranges - links - records
        for table, name in ((Table.RAW, "raw"), (Table.IMSI, "imsi_exemptions"), (Table.TACS, "tacs")):
            out[name] = generation.common.tables[table].nbytes
        return out


def _record(file: SegmentFile) -> SegmentRecord:
    return SegmentRecord(
        file.name, file.kind, file.first_tac, file.last_tac, file.serial, file.crc32c, file.bytes
    )


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
    done = subprocess.run(
        [sys.executable, "-m", "eir.whitelist.rebuild", str(job)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise StorageError(f"rebuilding segments failed: {last}")
    return [SegmentFile(**row) for row in json.loads(done.stdout)]
