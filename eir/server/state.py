"""What the services and the daemon share."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import structlog

from eir.clock import monotonic
from eir.config import Config
from eir.decisions.log import DecisionLog
from eir.decisions.policies import keep_policy
from eir.errors import ConfigError, DrainingError, NotReadyError, StorageError, WriterBusyError
from eir.inquiry.audit import InquiryAudit
from eir.lists import ledger
from eir.metrics import Metrics
from eir.notify.sightings import Sightings
from eir.readiness import Readiness, stale_feeds
from eir.whitelist.segments import stop_children
from eir.whitelist.store import RebuildResult, Store

if TYPE_CHECKING:
    from eir.check import Checker
    from eir.feed.consumer import Consumer
    from eir.inquiry.inquirer import Inquirer
    from eir.policy import Policy
    from eir.server.branch import Branch
    from eir.server.core import CoreServer
    from eir.server.desk import Casework
    from eir.trial.trial import Trial

Result = TypeVar("Result")
log = structlog.get_logger()


class Refused(NamedTuple):
    """When a policy was refused, and why; 0: none was, or a good one came since."""

    at: int
    why: str


class Disk(NamedTuple):
    """The disk of a folder: its size, and what may still be written."""

    bytes: int
    free_bytes: int


class State:
    """One daemon's parts; `store` and `checker` appear once the tables are loaded.

    Deltas are applied in the `writer` thread, one step after another. Reads of
    the journal and the override go beside it, in other threads.
    """

    def __init__(self, config: Config, metrics: Metrics, clock: Callable[[], int], engine: str) -> None:
        """Start without tables."""
        self.config, self.metrics, self.clock, self.engine = config, metrics, clock, engine
        self.readiness = Readiness()
        self.started_at = clock()
        self.store: Store | None = None
        self.checker: Checker | None = None
        self.consumers: dict[str, Consumer] = {}
        self.inquirer: Inquirer | None = None
        self.draining = asyncio.Event()
        self.decisions = DecisionLog(config.decisions, config.data_dir, metrics, clock)
        self.policy_since = 0
        self.policy_refused = Refused(0, "")
        self.trial: Trial | None = None
        self.core: CoreServer | None = None
        self.casework: Casework | Branch | None = None
        self._audit: InquiryAudit | None = None
        self._audit_opening = threading.Lock()
        self.sightings = _sightings(config, metrics)
        """Pairs that checks found unpaired; None where no cases are kept."""
        self._rebuild: asyncio.Task[RebuildResult] | None = None
        self.writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")
        self.override_writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="override")
        self.inquiry_reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inquiry")
        self.history_reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="history")

    def loaded(self) -> Store:
        """Return the store. Raises NotReadyError until it is open."""
        if self.store is None:
            raise NotReadyError
        return self.store

    def working(self) -> Checker:
        """Return the checker. Raises NotReadyError until there is one."""
        if self.checker is None:
            raise NotReadyError
        return self.checker

    async def use_policy(self, policy: Policy, why: str) -> None:
        """Judge by a policy from now on; its text is kept to explain today's decisions later.

        Checks never wait for it, and a disk that fails does not keep a policy out.
        """
        store, checker, now = self.loaded(), self.working(), self.clock()

        def keep() -> None:
            keep_policy(self.config.data_dir, policy, self.config.decisions.policies_max)
            store.note_policy(policy.name, policy.hash, why, now)

        try:
            await asyncio.to_thread(keep)
        except (OSError, StorageError) as error:
            self.metrics.upkeep_failures.inc()
            log.warning("policy not kept: its decisions cannot be explained later", error=str(error))
        if self.trial is not None:
            self.trial.stop("another policy came into force")
        checker.policy = policy
        self.policy_since = now
        self.metrics.set_policy(policy.name, policy.hash, now)
        if self.casework is not None:
            await self.casework.use_policy()

    async def reload_policy(self, load: Callable[[], Policy]) -> None:
        """Read the policy again: a good one comes into force, of a bad one the reason is kept."""
        try:
            policy = await asyncio.to_thread(load)
        except ConfigError as error:
            self.policy_refused = Refused(self.clock(), error.message)
            self.metrics.policy_reloads["refused"].inc()
            self.metrics.policy_refused.set(1)
            log.error("policy refused: the old one stays", why=error.message)  # noqa: TRY400 - one line, no trace
            return
        self.policy_refused = Refused(0, "")
        self.metrics.policy_refused.set(0)
        if policy.hash == self.working().policy.hash:
            self.metrics.policy_reloads["unchanged"].inc()
            log.info("policy unchanged", policy=policy.name, hash=policy.hash)
            return
        await self.use_policy(policy, "reload")
        self.metrics.policy_reloads["applied"].inc()
        log.info("policy in force", policy=policy.name, hash=policy.hash)

    def inquiring(self) -> Inquirer:
        """Return the inquirer. Raises NotReadyError until there is one."""
        if self.inquirer is None:
            raise NotReadyError
        return self.inquirer

    def inquiry_audit(self, *told: str) -> None:
        """Note who is told what of subscribers: as `InquiryAudit.add` takes it, but for the time.

        The audit is opened with the first that needs it: a start depends on it as little as checks.
        Raises StorageError, JournalDamagedError.
        """
        with self._audit_opening:
            if self._audit is None:
                says = self.config.inquiry
                self._audit = InquiryAudit.open(
                    self.config.data_dir, days_max=says.audit_days_max, rows_max=says.audit_rows_max
                )
        self._audit.add(self.clock(), *told)

    def not_draining(self) -> None:
        """Raise DrainingError when the daemon is stopping."""
        if self.draining.is_set():
            raise DrainingError

    async def write(self, work: Callable[..., Result], *args: object) -> Result:
        """Run in the writer thread, and note whether storage can be written."""
        return await self.durable(self.writer, work, *args)

    async def durable(
        self, executor: ThreadPoolExecutor, work: Callable[..., Result], *args: object
    ) -> Result:
        """Run in a thread, and note whether storage can be written."""
        try:
            result = await asyncio.get_running_loop().run_in_executor(executor, work, *args)
        except StorageError as error:
            # Checks go on from memory: a full disk must not take the answers away.
            self.readiness.fail("storage", error.message, required=False)
            raise
        self.readiness.hold("storage")
        return result

    async def refresh(self) -> None:
        """Bring staleness and gauges up to the present."""
        store, checker = self.loaded(), self.working()
        positions, sizes, journal_deltas, imports, disk = await asyncio.to_thread(
            lambda: (
                store.feeds(),
                store.table_sizes(),
                journal_delta_count(store),
                ledger.read(self.config.data_dir),
                disk_space(self.config.data_dir),
            )
        )
        limits = {name: feed.stale_after_seconds for name, feed in self.config.feeds.items()}
        stale = stale_feeds(positions, limits, self.clock())
        checker.stale = bool(stale)
        if stale:
            self.readiness.fail("fresh", f"stale feeds: {', '.join(stale)}", required=False)
        else:
            self.readiness.hold("fresh")
        troubles = [f"{name}: {message}" for name, one in self.consumers.items() if (message := one.message)]
        if troubles:
            self.readiness.fail("feeds", "; ".join(troubles), required=False)
        else:
            self.readiness.hold("feeds")
        if self.casework is not None:
            await self.casework.refresh()
        metrics = self.metrics
        metrics.stale.set(checker.stale)
        metrics.serial.set(store.generation.serial)
        metrics.override_active.set(checker.override)
        metrics.set_feeds(positions)
        metrics.set_tables(sizes)
        metrics.set_imports(imports)
        metrics.disk_bytes.set(disk.bytes)
        metrics.disk_free_bytes.set(disk.free_bytes)
        metrics.segments.set(len(store.generation.shards))
        metrics.segments_recovered.set(len(store.segments.recovered))
        metrics.overlay_rows.set(store.generation.overlay_rows)
        metrics.journal_deltas.set(journal_deltas)
        metrics.set_readiness(self.readiness)

    async def checkpoint(self) -> None:
        """Fold the journal's write-ahead log into its file, beside the writer."""
        pages = await asyncio.to_thread(self.loaded().journal.checkpoint)
        self.metrics.journal_wal_pages.set(pages)

    @property
    def rebuilding(self) -> bool:
        """Tell whether segments are being rebuilt."""
        return self._rebuild is not None and not self._rebuild.done()

    async def rebuild(self, *, all_segments: bool) -> RebuildResult:
        """Rebuild segments, beside the writer. Raises WriterBusyError while one runs."""
        store = self.loaded()
        if self.rebuilding:
            raise WriterBusyError("segments are being rebuilt already")
        self._rebuild = asyncio.create_task(self._run_rebuild(store, all_segments=all_segments))
        # A client that goes away does not stop it.
        return await asyncio.shield(self._rebuild)

    async def _run_rebuild(self, store: Store, *, all_segments: bool) -> RebuildResult:
        """Rebuild in a thread, measured."""
        metrics, started = self.metrics, monotonic()
        metrics.rebuild_running.set(1)
        try:
            result = await asyncio.to_thread(store.rebuild, all_segments)
        except Exception:
            metrics.rebuild_failures.inc()
            raise
        finally:
            metrics.rebuild_running.set(0)
        metrics.rebuild_seconds.observe(monotonic() - started)
        metrics.segments_rebuilt.inc(result.rebuilt_count)
        return result

    async def close(self) -> None:
        """Close the store once nobody uses it. A rebuild that runs is ended: the journal has its rows."""
        stop_children()
        if self._rebuild is not None:
            await asyncio.wait({self._rebuild})
        if self.trial is not None:
            self.trial.stop("the daemon stopped")
            await asyncio.to_thread(self.trial.join)
        await asyncio.to_thread(self.decisions.close)
        self.inquiry_reader.shutdown(cancel_futures=True)
        self.history_reader.shutdown(cancel_futures=True)
        if self.inquirer is not None:
            self.inquirer.close()
        if self.store is not None:
            await self.write(self.store.close)
        self.writer.shutdown()
        self.override_writer.shutdown()


def _sightings(config: Config, metrics: Metrics) -> Sightings | None:
    """Make the queue of sightings where cases are kept."""
    says = config.notices
    if not says.enabled:
        return None
    return Sightings(says.sightings_max, says.sighting_repeat_seconds, metrics.sightings)


def journal_delta_count(store: Store) -> int:
    """Return how many deltas the journal keeps: every serial from the oldest on is one."""
    oldest = store.journal.oldest_serial()
    return store.journal.last_serial() - oldest + 1 if oldest else 0


def disk_space(folder: Path) -> Disk:
    """Return what the disk of a folder has; nothing where the folder is gone, which its writer tells."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return Disk(0, 0)
    return Disk(usage.total, usage.free)
