"""The one writer: takes deltas, makes them durable, publishes generations.

    push ──► chunks durable ──► commit: plan ──► guards ──► journal ──► published
                                                  rebuild: overlays ──► segments

Order: a chunk is durable before it is acknowledged; the delta's row in the
journal is its commit; only then the generation is replaced. A segment file is
durable before the manifest names it, the manifest before it is read.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TextIO

import numpy as np

from eir.errors import (
    DataDirLockedError,
    JournalDamagedError,
    StateDamagedError,
    StorageError,
    WriterBusyError,
)
from eir.whitelist import plan as planning
from eir.whitelist import recover
from eir.whitelist.apply import Bools
from eir.whitelist.delta import Header, TableEffect, check_header
from eir.whitelist.feeds import (
    AppliedBefore,
    FeedRules,
    GuardLimits,
    Placement,
    place,
)
from eir.whitelist.files import FileLayer
from eir.whitelist.filled import Names
from eir.whitelist.journal import DeltaRecord, FeedRecord, Journal, NameKind
from eir.whitelist.overlay import Overlay, Table
from eir.whitelist.pending import PendingDelta
from eir.whitelist.plan import Plan
from eir.whitelist.rows import U64, Op, Rows
from eir.whitelist.schema import COUNTS_KEY
from eir.whitelist.segments import Segments, stop_children
from eir.whitelist.tables import TABLES, Generation

ENFORCEMENT_KEY: Final = "enforcement"
POLICY_KEY: Final = "policy"
MODE_POLICY: Final = 1
MODE_ALLOW_ALL: Final = 2


@dataclass(frozen=True)
class Limits:
    """Bounds of the store, each with its unit."""

    small_overlay_rows_max: int = 1 << 16
    """Rows of the overlay that every publication makes anew."""
    rebuild_overlay_rows: int = 1_000_000
    """Rows above the segments from which on they are folded in."""
    overlay_rows_max: int = 40_000_000
    """Rows above the segments at which deltas are refused until a rebuild has run."""
    rebuild_bytes_per_second_max: int = 100_000_000
    """Pace of the files that a rebuild writes."""
    clock_skew_seconds_max: int = 300
    """What a feed's `complete_until` may be ahead of the clock."""
    serving: bool = True
    """Checks read what is published: then its images are built with it."""
    journal_days_min: int = 30
    """Days that deltas stay in the journal after the segments hold them."""
    feeds: Mapping[str, FeedRules] = field(default_factory=dict)
    guards: GuardLimits = field(default_factory=GuardLimits)


@dataclass(frozen=True)
class EnforcementState:
    """The override: mode (1 policy, 2 allow all), when, who, why."""

    mode: int = MODE_POLICY
    changed_at: int = 0
    changed_by: str = ""
    why: str = ""


@dataclass(frozen=True)
class TableSize:
    """Rows of a table, and bytes of memory it takes in the segments."""

    table: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class RebuildResult:
    """What a rebuild did; seconds."""

    serial: int
    rebuilt_count: int
    duration_seconds: float


class Store:
    """Owns a data directory. Reads are public, writes happen here and nowhere else.

    `generation` is replaced by one assignment, and so is `device_types`, the
    names by number. Pushes come from one thread at a
    time; `rebuild` may run in another.
    """

    def __init__(self, data_dir: Path, clock: Callable[[], int], limits: Limits, files: FileLayer) -> None:
        """Use `open`."""
        self.data_dir, self.limits = data_dir, limits
        self.clock, self._files = clock, files
        self.on_generation: Callable[[], None] = lambda: None
        """Called at each new generation, in the thread that made it, before a commit returns."""
        self._lock = threading.RLock()
        self._rebuilding = threading.Lock()
        self._frozen: tuple[Overlay, ...] = ()
        """Overlays that a rebuild folds in, newest first."""
        self._small, self._large = Overlay.empty(), Overlay.empty()
        self._lock_file = locked(data_dir)
        try:
            self.journal = Journal.open(data_dir / "registry.db")
            try:
                self._load()
            except BaseException:
                self.journal.close()
                raise
        except BaseException:
            self._lock_file.close()
            raise

    def _load(self) -> None:
        """Bring back the state that there was. Raises StateDamagedError, StorageError."""
        try:
            self.segments = Segments(self.data_dir / "segments", self.journal, self._files)
            self.generation = self.segments.load(self.names_of)
            self.counts = dict.fromkeys(TABLES, 0) | json.loads(self.journal.meta_get(COUNTS_KEY) or "{}")
            self.replayed_count = self._replay()
            self.device_types = self.journal.names(NameKind.DEVICE_TYPE)
        except JournalDamagedError as error:
            raise StateDamagedError(error.message) from error
        except OSError as error:
            raise StorageError(f"{self.data_dir}: {error.strerror}") from error

    @classmethod
    def open(
        cls,
        data_dir: Path,
        *,
        clock: Callable[[], int],
        limits: Limits | None = None,
        files: FileLayer | None = None,
    ) -> Store:
        """Lock the directory, load and verify the segments, replay the journal.

        Raises DataDirLockedError, StateDamagedError, StorageError.
        """
        data_dir.mkdir(parents=True, exist_ok=True)
        return cls(data_dir, clock, limits or Limits(), files or FileLayer())

    def close(self) -> None:
        """Close the journal and free the directory. A rebuild that runs is ended."""
        stop_children()
        with self._rebuilding, self._lock:
            self.journal.close()
            with contextlib.suppress(OSError, ValueError):  # ValueError: it was closed before
                self._lock_file.truncate(0)
            self._lock_file.close()

    def announce(self, address: str) -> None:
        """Say in the lock file where the daemon that has the directory is reached. Raises OSError."""
        self._lock_file.truncate(0)
        self._lock_file.write(address)
        self._lock_file.flush()

    # -- reads ------------------------------------------------------------------------------------

    @property
    def authorities(self) -> list[str]:
        """Authorities by number."""
        return self.journal.names(NameKind.AUTHORITY)

    def feeds(self) -> list[FeedRecord]:
        """Where each feed stands."""
        return self.journal.feeds()

    def position(self, feed: str) -> int:
        """Sequence of the last delta of a feed, 0 for none."""
        return next((known.sequence for known in self.feeds() if known.feed == feed), 0)

    def table_sizes(self) -> list[TableSize]:
        """Rows and bytes of each table."""
        sizes = self.segments.bytes_by_table(self.generation)
        return [TableSize(table, self.counts[table], sizes.get(table, 0)) for table in TABLES]

    def rebuild_needed(self) -> bool:
        """Tell whether the overlays are worth folding in."""
        return self.generation.overlay_rows >= self.limits.rebuild_overlay_rows

    @property
    def rebuild_running(self) -> bool:
        """Tell whether a rebuild runs now."""
        return self._rebuilding.locked()

    # -- the override -----------------------------------------------------------------------------

    def enforcement(self) -> EnforcementState:
        """State of the override."""
        return EnforcementState(**json.loads(self.journal.meta_get(ENFORCEMENT_KEY) or "{}"))

    def set_enforcement(self, mode: int, who: str, why: str, now: int) -> EnforcementState:
        """Set the override; durable, with its audit row, on return."""
        state = EnforcementState(mode, now, who, why)
        what = "enforcement set to " + ("allow all" if mode == MODE_ALLOW_ALL else "policy")
        with self.journal.transaction():
            self.journal.audit_add(now, who, what, why)
            self.journal.meta_set(ENFORCEMENT_KEY, json.dumps(state.__dict__))
        return state

    def note_policy(self, name: str, policy_hash: str, why: str, now: int) -> None:
        """Note in the audit which policy is in force, where it is another than before; durable on return."""
        if self.journal.meta_get(POLICY_KEY) == policy_hash:
            return
        with self.journal.transaction():
            self.journal.audit_add(now, "daemon", f"policy in force: {name}", why, policy_hash)
            self.journal.meta_set(POLICY_KEY, policy_hash)

    # -- deltas -----------------------------------------------------------------------------------

    def push(self, header: Header) -> PendingDelta:
        """Begin a delta. Raises DeltaInvalidError, DeltaGapError, DeltaConflictError, WriterBusyError."""
        check_header(header)
        header = replace(header, complete_until=self.plausible(header.complete_until))
        if self.generation.overlay_rows >= self.limits.overlay_rows_max:
            raise WriterBusyError(
                "the overlays are full; deltas are taken again when the segments are rebuilt"
            )
        placement, before = self.place(header)
        return PendingDelta(self, header, before, repeat=placement is Placement.REPEAT)

    def plausible(self, complete_until: int) -> int:
        """Return until when a feed can be complete: hardly past the present.

        A time far ahead, believed, would keep a feed fresh for ever.
        """
        return min(complete_until, self.clock() + self.limits.clock_skew_seconds_max)

    def heartbeat(self, feed: str, sequence: int, complete_until: int) -> bool:
        """Note until when a feed is complete, if it stands at `sequence`; tells whether it does."""
        return self.journal.heartbeat(feed, sequence, self.plausible(complete_until))

    def place(self, header: Header) -> tuple[Placement, AppliedBefore | None]:
        """Tell what to do with a delta, and what was applied under its sequence."""
        feed = next((feed for feed in self.feeds() if feed.feed == header.feed), None)
        record: DeltaRecord | FeedRecord | None = self.journal.find_delta(header.feed, header.sequence)
        if record is None and feed is not None and feed.sequence == header.sequence and feed.content_sha256:
            record = feed  # the last delta is known also after it was pruned
        before = (
            AppliedBefore(record.base_sequence, record.row_count, record.content_sha256) if record else None
        )
        return place(feed.sequence if feed else 0, header, before), before

    def names_of(self, rows: Rows, *, provisional: bool = False) -> Names:
        """Durable numbers of the names of a delta; `provisional` makes up those that are new."""
        used = np.zeros(len(rows.names), bool)
        tacs = np.zeros(len(rows.names), bool)
        if rows.name is not None:
            used[rows.name[np.isin(rows.op, (Op.BLOCK, Op.UNBLOCK))]] = True
            tacs[rows.name[rows.op == Op.TAC]] = True
        return Names(
            self._ids(NameKind.AUTHORITY, rows.names, used, provisional=provisional),
            self._ids(NameKind.DEVICE_TYPE, rows.names, tacs, provisional=provisional),
        )

    def _ids(self, kind: NameKind, names: list[str], used: Bools, *, provisional: bool) -> U64:
        out = np.zeros(len(names), np.uint64)
        wanted = np.flatnonzero(used)
        texts = [names[place] for place in wanted]
        if provisional:
            known = {name: number for number, name in enumerate(self.journal.names(kind))}
            ids = [known.setdefault(text, len(known)) for text in texts]
        else:
            ids = self.journal.name_ids(kind, texts)
        out[wanted] = ids
        return out

    def publish(self, plan: Plan, serial: int, commit: Callable[[], None] = lambda: None) -> None:
        """Put a plan's rows above the segments, make them durable, and replace the generation.

        All that can fail comes before the commit: what is durable is seen.
        """
        columns = {table: rows for table, rows in plan.columns.items() if len(rows)}
        rows = sum(len(part) for part in columns.values())
        with self._lock:
            if self._small.rows + rows <= self.limits.small_overlay_rows_max:
                small, large = self._small.merged(columns), self._large
            else:
                small, large = Overlay.empty(), self._large.merged(self._small.columns, columns)
            self._built(small), self._built(large)
            commit()
            if Table.TACS in columns:  # a check must not ask the journal: the names come before the rows
                self.device_types = self.journal.names(NameKind.DEVICE_TYPE)
            self._small, self._large = small, large
            self.counts = {table: self.counts[table] + plan.change[table] for table in TABLES}
            self._show(self.generation.with_levels(serial, self._levels()))

    def _built(self, overlay: Overlay) -> Overlay:
        """Build what checks read, where there are any."""
        return overlay.built() if self.limits.serving else overlay

    def _levels(self) -> list[Overlay]:
        return [level for level in (self._small, self._large, *self._frozen) if level.rows]

    def effects(self, plan: Plan, before: Mapping[str, int] | None = None) -> tuple[TableEffect, ...]:
        """Effects of a plan by table, those it touches, on the rows there were before."""
        counts = self.counts if before is None else before
        out = []
        for table in TABLES:
            added, change = plan.added[table], plan.change[table]
            removed = (
                plan.removed[table]
                if table in plan.removed
                else max(added - plan.replaced[table] - change, 0)
            )
            if added or removed:
                out.append(TableEffect(table, added, removed, counts[table] + change))
        return tuple(out)

    def _replay(self) -> int:
        """Apply the deltas that came after the segments; returns how many."""
        base, last = self.segments.base_serial, self.journal.last_serial()
        levels: list[Overlay] = []
        for record, rows, left_out in recover.deltas(self.journal, base, last):
            plan = planning.make(self.generation, rows, self.names_of(rows), left_out)
            newest = Overlay({table: part for table, part in plan.columns.items() if len(part)})
            # Levels of like size become one: a row is merged a few times, however many deltas there are.
            while levels and levels[0].rows <= 2 * newest.rows:
                newest = levels.pop(0).merged(newest.columns)
            levels.insert(0, newest)
            self.generation = self.generation.with_levels(record.serial, levels)
        whole = self._built(_joined(levels))
        if whole.rows <= self.limits.small_overlay_rows_max:
            self._small = whole
        else:
            self._large = whole
        self.generation = self.generation.with_levels(self.generation.serial, self._levels())
        return max(last - base, 0)

    # -- rebuilding -------------------------------------------------------------------------------

    def rebuild(self, all_segments: bool = False) -> RebuildResult:
        """Fold the overlays into segments; checks and deltas go on meanwhile.

        Raises StorageError where the child failed: the overlays then stay.
        """
        with self._rebuilding:
            started = time.monotonic()
            self.segments.reconcile(self.generation, self._swap)
            with self._lock:
                serial = self.generation.serial
                levels = self._levels()
                if not levels and not all_segments and self.generation.shards:
                    return RebuildResult(serial, 0, 0.0)
                self._frozen, self._large, self._small = tuple(levels), Overlay.empty(), Overlay.empty()
            # Joining a million rows takes its time: deltas go on beside it.
            frozen = self._built(_joined(levels))
            with self._lock:
                self._frozen = (frozen,)
                self._show(self.generation.with_levels(self.generation.serial, self._levels()))
            written = self.segments.rebuild(
                self.generation,
                frozen,
                serial,
                all_segments=all_segments,
                bytes_per_second_max=self.limits.rebuild_bytes_per_second_max,
                swap=self._swap,
            )
            with self._lock:
                self._frozen = ()
                self._show(self.generation.with_levels(self.generation.serial, self._levels()))
            self.segments.clean(self.limits.journal_days_min, self.clock())
            return RebuildResult(serial, written, time.monotonic() - started)

    def _swap(self, change: Callable[[Generation], Generation]) -> None:
        with self._lock:
            self._show(change(self.generation))

    def _show(self, generation: Generation) -> None:
        """Replace what checks read, and say so."""
        self.generation = generation
        self.on_generation()


def _joined(levels: list[Overlay]) -> Overlay:
    """Join overlays, the newest first; a single one keeps its images."""
    if len(levels) == 1:
        return levels[0]
    return Overlay.empty().merged(*(level.columns for level in reversed(levels)))


def announced(data_dir: Path) -> str:
    """Return the management address of the daemon that has a directory; empty where it has not said it."""
    try:
        return (data_dir / "lock").read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def locked(data_dir: Path, name: str = "lock") -> TextIO:
    """Take a directory, or what else a name stands for, for this process, until the file returned is closed.

    Raises DataDirLockedError, StorageError.
    """
    try:
        file = (data_dir / name).open("a+")
    except OSError as error:
        raise StorageError(f"{data_dir}: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise DataDirLockedError(
            f"{data_dir} is in use by another daemon: stop it, or give this one another --data-dir"
        ) from error
    with contextlib.suppress(OSError):  # a full disk does not keep a daemon from starting
        file.truncate(0)  # what is there was said by one that is no more
    return file
