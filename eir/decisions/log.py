"""The decision log: a queue, a thread, files.

    record ──► queue (bounded) ──► thread: repeats out, encoded ──► decisions/DAY.PART.log

Never waits and never raises on the caller's side. Files are not synced one by
one: a killed process loses what was in the queue, a power cut some seconds more.
"""

from __future__ import annotations

import errno
import os
import threading
from array import array
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Final

import structlog

from eir.decisions.keep import DAY_SECONDS, Wanted, repeat_key, wanted
from eir.decisions.record import HEADER, POLICY_BYTES, RECORD_BYTES, Decision, encode
from eir.metrics import Metrics
from eir.settings import Decisions

FOLDER: Final = "decisions"
SUFFIX: Final = ".log"
FILE_MODE: Final = 0o640
FOLDER_MODE: Final = 0o750
WRITE_SECONDS: Final = 0.25
"""Pause between two writes."""
GROUP_RECORDS: Final = 256
"""Records encoded at a time: some milliseconds of the interpreter."""
PAUSE_SHARE: Final = 3
"""Between two groups, so many times as long as one took: interpreter and processor are the checks' first."""
PARTS: Final = 16
"""Files that `bytes_max` is dealt out to: the oldest is deleted as a whole."""
CHARACTERS_MAX: Final = 64
"""Of an identity or a client's name in the queue."""
TIDY_SECONDS: Final = 3600
"""Pause between two looks at the age of the files."""
SLOTS: Final = 1 << 20
"""Places in which decisions are remembered, to notice repeats: 8 MiB."""
SLOT_MASK: Final = (1 << 64) - 1

Entry = tuple[int, str, str, str, str, int, int, int, str]


class DecisionLog:
    """Keeps decisions; `wanted` says which are worth a call of `record`."""

    def __init__(
        self, settings: Decisions, data_dir: Path, metrics: Metrics, clock: Callable[[], int]
    ) -> None:
        """Take the bounds; nothing is read or written before `start`."""
        self.wanted: Wanted = wanted(settings.allowed_sample_percent)
        self._settings, self._metrics, self._clock = settings, metrics, clock
        self._queue: deque[Entry] = deque()
        self._seen = array("Q", bytes(8 * SLOTS))
        self._files = Files(data_dir / FOLDER, settings.bytes_max, settings.retention_days)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing = False
        self._log = structlog.get_logger()

    def record(
        self,
        time: int,
        imei: str,
        imsi: str,
        serving_plmn: str,
        client: str,
        status: int,
        reason: int,
        serial: int,
        policy_hash: str,
    ) -> None:
        """Keep a decision that `wanted` chose; where the queue is full it is dropped and counted."""
        if len(self._queue) >= self._settings.queue_records_max:
            self._metrics.decisions_dropped["queue"].inc()
        else:
            # What a phone or a client sent may be long.
            client = client[:CHARACTERS_MAX]
            imei, imsi = imei[:CHARACTERS_MAX], imsi[:CHARACTERS_MAX]
            self._queue.append((time, imei, imsi, serving_plmn, client, status, reason, serial, policy_hash))

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._run, name="decisions", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what is in the queue, and end."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._files.close()

    def _run(self) -> None:
        last, tidied_at = False, 0
        while not last:
            last = self._stop.wait(WRITE_SECONDS)
            try:
                self._write_all()
                if abs(self._clock() - tidied_at) >= TIDY_SECONDS:
                    tidied_at = self._clock()
                    self._files.tidy(tidied_at)
            except Exception:  # noqa: BLE001 - logged
                # The log must outlive whatever goes wrong in one round of it.
                self._metrics.upkeep_failures.inc()
                self._log.exception("decisions not written")

    def _write_all(self) -> None:
        """Write what is in the queue now."""
        left = len(self._queue)
        while left > 0:
            group = [self._queue.popleft() for _ in range(min(left, GROUP_RECORDS))]
            left -= len(group)
            began = monotonic()
            self._write(group)
            if left:
                self._stop.wait(PAUSE_SHARE * (monotonic() - began))
        self._metrics.decision_bytes.set(self._files.bytes_kept)

    def _write(self, group: list[Entry]) -> None:
        """Write some entries, without repeats."""
        records, repeated, latest = [], 0, 0
        for entry in group:
            time, imei, imsi, plmn, client, status, reason, serial, policy_hash = entry
            latest = max(latest, time)
            if self._repeats(time, imei, imsi, status, reason):
                repeated += 1
                continue
            policy = policy_hash[: 2 * POLICY_BYTES]
            decision = Decision(time, imei, imsi, plmn, status, reason, serial, policy, client)
            records.append(encode(decision))
        self._metrics.decisions_repeated.inc(repeated)
        if not records:
            return
        try:
            self._files.append(b"".join(records), latest)
        except OSError as error:
            self._metrics.decisions_dropped["disk"].inc(len(records))
            if not self._failing:
                self._log.error("decisions are dropped", error=error.strerror)
            self._failing = True
            return
        if self._failing:
            self._log.info("decisions are written again")
        self._failing = False
        self._metrics.decisions_recorded.inc(len(records))

    def _repeats(self, time: int, imei: str, imsi: str, status: int, reason: int) -> bool:
        """Tell whether a decision was kept lately; a collision forgets the older one."""
        key = repeat_key(time, imei, imsi, status, reason, self._settings.denial_repeat_seconds)
        if key is None:
            return False
        mark = hash(key) & SLOT_MASK
        place = mark % SLOTS
        if self._seen[place] == mark:
            return True
        self._seen[place] = mark
        return False


class Files:
    """The files of a folder: appended to, begun anew by day and size, deleted by age and size."""

    def __init__(self, folder: Path, bytes_max: int, retention_days: int) -> None:
        """Take the bounds; the folder is made when it is needed."""
        self._folder, self._bytes_max, self._retention_days = folder, bytes_max, retention_days
        self._part_bytes_max = max(bytes_max // PARTS, len(HEADER) + RECORD_BYTES)
        self._file: int | None = None
        self._path: Path | None = None
        self._day = ""
        self._size = self._older_bytes = 0

    @property
    def bytes_kept(self) -> int:
        """Bytes of all files, as of the last write."""
        return self._older_bytes + self._size

    def append(self, records: bytes, now: int) -> None:
        """Append whole records. Raises OSError; then none of them is there."""
        day = day_of(now)
        full = self._size + len(records) > self._part_bytes_max and self._size > len(HEADER)
        if self._file is None or day != self._day or full:
            self._begin(day)
        assert self._file is not None
        written = 0
        try:
            written = os.write(self._file, records)
        finally:
            if written != len(records):
                # A part of a record would put those after it out of their places.
                os.ftruncate(self._file, self._size)
        if written != len(records):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += written

    def _begin(self, day: str) -> None:
        """Go on in the day's last file, or begin one; delete what is too old or too much."""
        first = not self._size
        self.close()
        self._folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        parts = self._delete(day)
        of_day = [part for part in parts if part.name.startswith(f"{day}.")]
        if first and of_day and of_day[-1].stat().st_size < self._part_bytes_max:
            path = of_day[-1]  # the process before this one ended here
        else:
            number = int(of_day[-1].name.split(".")[1]) + 1 if of_day else 1
            path = self._folder / f"{day}.{number:06d}{SUFFIX}"
        self._path, self._file = path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
        size = os.fstat(self._file).st_size
        if size < len(HEADER):
            os.ftruncate(self._file, 0)
            os.write(self._file, HEADER)
            size = len(HEADER)
        whole = size - (size - len(HEADER)) % RECORD_BYTES
        if whole != size:  # the end of a write that a crash cut short
            os.ftruncate(self._file, whole)
        self._day, self._size = day, whole
        self._older_bytes = sum(part.stat().st_size for part in parts if part != path)

    def tidy(self, now: int) -> None:
        """Delete what is too old. Raises OSError."""
        parts = self._delete(day_of(now))
        self._older_bytes = sum(part.stat().st_size for part in parts if part != self._path)

    def _delete(self, day: str) -> list[Path]:
        """Delete files that are too old, then the oldest until one more fits; return those that stay."""
        oldest = day_of(_seconds(day) - self._retention_days * DAY_SECONDS)
        parts = parts_of(self._folder)
        sizes = {part: part.stat().st_size for part in parts}
        for part in parts:
            too_much = sum(sizes.values()) + self._part_bytes_max > self._bytes_max
            if part != self._path and (part.name[:10] < oldest or too_much):
                part.unlink()
                del sizes[part]
        return list(sizes)

    def close(self) -> None:
        """Close the file that is written, on disk."""
        if self._file is not None:
            file, self._file, self._path = self._file, None, None
            try:
                os.fsync(file)
            finally:
                os.close(file)


def parts_of(folder: Path) -> list[Path]:
    """Files of a folder, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []


def day_of(second: int) -> str:
    """Day of a second since the Unix epoch, in UTC."""
    return f"{datetime.fromtimestamp(max(second, 0), UTC):%Y-%m-%d}"


def _seconds(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
