"""Metrics of the daemon: names, labels and help, in one place.

Every label value comes from code, the policy, the tables or the names of feeds
that were applied, never from what a phone or a client sent. Children are bound
once: `labels()` costs 2 µs, a bound child 0.4 µs.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from eir import __version__
from eir.feed.follower import FeedState
from eir.group_metrics import GroupMetrics
from eir.notice_metrics import NoticeMetrics
from eir.readiness import Readiness
from eir.verdict import Reason, Status

if TYPE_CHECKING:
    from eir.core_metrics import CoreMetrics
    from eir.lists.ledger import Noted
    from eir.whitelist.journal import FeedRecord
    from eir.whitelist.store import TableSize

# A second series a counter, that nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]

CHECK_SECONDS: Final = (25e-6, 50e-6, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.025, 0.1, 0.5)
WORK_SECONDS: Final = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
INQUIRY_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5, 10)
CHECK_SECONDS_NAME: Final = "eir_check_duration_seconds"
CHECK_SECONDS_HELP: Final = "From a check's message to its answer, without the transport."
CONNECTION_CAUSES: Final = ("protocol", "flood", "pings", "stalled", "too_many")
CALL_CAUSES: Final = ("streams", "calls", "metadata", "message", "held", "stalled")
SIGHTING_RESULTS: Final = ("taken", "repeated", "dropped")
METHODS: Final = ("unary", "stream", "batch")
MALFORMED: Final = (
    Reason.IMSI_MALFORMED,
    Reason.IMSI_SHORT,
    *(reason for reason in Reason if Reason.MALFORMED_EMPTY <= reason <= Reason.SPECIAL_PLACEHOLDER),
)
"""Reasons that name a class of identity which phones should not send."""


class FeedMetrics:
    """What is counted of one feed that is followed; children are bound once."""

    def __init__(self, metrics: Metrics, feed: str) -> None:
        """Bind the children of `feed`."""
        self._feed, self._metrics = feed, metrics
        self.messages = metrics.feed_messages.labels(feed)
        self.repeats = metrics.feed_repeats.labels(feed)
        self.gaps = metrics.feed_gaps.labels(feed)
        self.connects = metrics.feed_connects.labels(feed)
        self.connected = metrics.feed_connected.labels(feed)
        self.lag_messages = metrics.feed_lag_messages.labels(feed)
        self.lag_seconds = metrics.feed_lag_seconds.labels(feed)
        self.read = metrics.feed_read.labels(feed)
        self._snapshot_needed = metrics.feed_snapshot_needed.labels(feed)
        self._sequence = metrics.feed_stream_sequence.labels(feed)
        self._states = {state: metrics.feed_state.labels(feed, state) for state in FeedState}

    def refusals(self, cause: str) -> Counter:
        """Counter of the refusals of a cause."""
        return self._metrics.feed_refusals.labels(self._feed, cause)

    def show(self, state: FeedState, *, snapshot_needed: bool, sequence: int) -> None:
        """Show how following goes."""
        for one, gauge in self._states.items():
            gauge.set(one is state)
        self._snapshot_needed.set(snapshot_needed)
        self._sequence.set(sequence)


class Metrics:
    """All metrics of one daemon, in a registry of their own."""

    def __init__(self) -> None:
        """Create every metric, and the children whose labels are known."""
        self.registry = CollectorRegistry()
        self._core: CoreMetrics | None = None
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._create_checks()
        self._create_sightings()
        self._create_tables()
        self._create_writes()
        self._create_decisions()
        self._create_feeds()
        self._create_policy()
        self._create_inquiries()
        self._create_daemon()
        self.notices = NoticeMetrics(self.registry)
        self.group = GroupMetrics(self.registry)
        # One inc a check; bound on first use, because most of the 152 pairs never occur.
        self._count = lru_cache(maxsize=None)(self._checks_child)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"eir_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"eir_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"eir_{name}", text, labels, buckets=buckets, registry=self.registry)

    def _create_checks(self) -> None:
        """Create what counts checks and errors."""
        self._checks = self._counter("checks_total", "Checks answered.", "status", "reason")
        self._check_seconds = self._histogram(
            CHECK_SECONDS_NAME.removeprefix("eir_"),
            CHECK_SECONDS_HELP,
            CHECK_SECONDS,
            "method",
        )
        self.check_seconds = {method: self._check_seconds.labels(method) for method in METHODS}
        malformed = self._counter(
            "malformed_total", "Identities that phones should not send, by class.", "class"
        )
        self._malformed = {reason: malformed.labels(reason.name.lower()) for reason in MALFORMED}
        self._block_overrides = self._counter("block_overrides_total", "Checks allowed although blocked.")
        self.errors = self._counter(
            "rpc_errors_total", "RPCs ended by an error, by its stable reason.", "reason"
        )

        self.connections = self._gauge(
            "check_connections", "Connections on the check listener; counted by the native engine."
        )
        self.check_held_bytes = self._gauge(
            "check_held_bytes",
            "Bytes of messages that are not whole and of answers that are not taken; native engine.",
        )
        closed = self._counter(
            "check_connections_closed_total",
            "Connections of the check listener closed because of what the peer did; native engine.",
            "cause",
        )
        self.connections_closed = {cause: closed.labels(cause) for cause in CONNECTION_CAUSES}
        refused = self._counter(
            "check_calls_refused_total",
            "Calls of the check listener that a bound ended; native engine.",
            "cause",
        )
        self.calls_refused = {cause: refused.labels(cause) for cause in CALL_CAUSES}
        self.check_panics = self._counter(
            "check_panics_total", "Calls that ended in a bug of the native engine."
        )

    def _create_sightings(self) -> None:
        """Create what counts the pairs that checks found unpaired."""
        sightings = self._counter(
            "sightings_total",
            "Unpaired pairs that checks met: taken to the cases, repeated lately, dropped for want of room.",
            "result",
        )
        self.sightings = {result: sightings.labels(result) for result in SIGHTING_RESULTS}

    def _create_tables(self) -> None:
        """Create what tells of tables and feeds."""
        self._table_rows = self._gauge("table_rows", "Rows of a table.", "table")
        self._table_bytes = self._gauge("table_bytes", "Memory of a table.", "table")
        self.serial = self._gauge("serial", "Number of the table state that checks read.")
        self._feed_serial = self._gauge("feed_serial", "Serial after the last delta of a feed.", "feed")
        self._feed_sequence = self._gauge("feed_sequence", "Sequence of the last delta of a feed.", "feed")
        self._feed_applied = self._gauge(
            "feed_applied_timestamp_seconds", "Time the last delta of a feed was applied.", "feed"
        )
        self._feed_complete = self._gauge(
            "feed_complete_until_timestamp_seconds", "Time up to which a feed is complete.", "feed"
        )
        self.feeds_ahead = self._counter(
            "feed_ahead_total", "Deltas and heartbeats whose complete_until lay too far ahead."
        )
        self.stale = self._gauge("tables_stale", "1 while a feed is older than its limit.")

    def _create_writes(self) -> None:
        """Create what counts deltas, the journal and rebuilds."""
        self.deltas_applied = self._counter(
            "deltas_applied_total", "Deltas applied, without repeats and dry runs."
        )
        self.deltas_refused = self._counter("deltas_refused_total", "Deltas refused, by cause.", "reason")
        self.rows_ignored = self._counter("delta_rows_ignored_total", "Rows that lenient feeds had ignored.")
        self.guard_trips = self._counter("guard_trips_total", "Deltas that a guard refused.")
        self.pushes_waiting = self._gauge("pushes_waiting", "Deltas waiting while another is applied.")
        self.journal_chunks = self._counter("journal_chunks_total", "Chunks written to the journal.")
        self.journal_bytes = self._counter("journal_bytes_total", "Payload written to the journal.")
        self.chunk_seconds = self._histogram(
            "journal_chunk_duration_seconds", "Parsing a chunk and making it durable.", WORK_SECONDS
        )
        self.commit_seconds = self._histogram(
            "delta_commit_duration_seconds", "From a delta's commit to its publication.", WORK_SECONDS
        )
        self.journal_wal_pages = self._gauge(
            "journal_wal_pages", "Pages of the write-ahead log that are not in the file yet."
        )
        self.journal_deltas = self._gauge("journal_deltas", "Deltas kept in the journal.")
        self.disk_bytes = self._gauge("disk_bytes", "Size of the disk that has the data directory.")
        self.disk_free_bytes = self._gauge(
            "disk_free_bytes", "Space of that disk which the daemon may still fill."
        )
        self.segments = self._gauge("segments", "Segment files in use.")
        self.segments_recovered = self._gauge(
            "segments_recovered", "Segment files that were damaged at the start and made again."
        )
        self.overlay_rows = self._gauge("overlay_rows", "Rows above the segments.")
        self.rebuild_running = self._gauge("rebuild_running", "1 while segments are rebuilt.")
        self.rebuild_seconds = self._histogram(
            "rebuild_duration_seconds", "Rebuilding segments.", WORK_SECONDS
        )
        self.rebuild_failures = self._counter("rebuild_failures_total", "Rebuilds that failed.")
        self.segments_rebuilt = self._counter("segments_rebuilt_total", "Segment files written.")

    def _create_decisions(self) -> None:
        """Create what counts the decisions that are kept."""
        self.decisions_recorded = self._counter("decisions_recorded_total", "Decisions written to the log.")
        self.decisions_repeated = self._counter(
            "decisions_repeated_total", "Decisions left out of the log as repeats."
        )
        dropped = self._counter(
            "decisions_dropped_total", "Decisions lost to a full queue, or a disk that failed.", "cause"
        )
        self.decisions_dropped = {cause: dropped.labels(cause) for cause in ("queue", "disk")}
        self.decision_bytes = self._gauge("decision_log_bytes", "Files of the decision log.")

    def _create_feeds(self) -> None:
        """Create what tells of the feeds that are followed on streams."""
        self.feed_connected = self._gauge("feed_connected", "1 while a feed's stream can be read.", "feed")
        self.feed_connects = self._counter("feed_connects_total", "Connections made to a stream.", "feed")
        self.feed_state = self._gauge("feed_state", "1 for the state that following is in.", "feed", "state")
        self.feed_snapshot_needed = self._gauge(
            "feed_snapshot_needed", "1 while a stream cannot bring its feed on.", "feed"
        )
        self.feed_gaps = self._counter(
            "feed_gaps_total", "Places where the next delta of a feed was missing.", "feed"
        )
        self.feed_messages = self._counter("feed_messages_total", "Messages read from a stream.", "feed")
        self.feed_repeats = self._counter("feed_repeats_total", "Messages of what had been applied.", "feed")
        self.feed_refusals = self._counter(
            "feed_refusals_total", "What was refused of a feed: messages, deltas, lists.", "feed", "cause"
        )
        self.feed_lag_messages = self._gauge(
            "feed_lag_messages", "Messages of a stream not read yet.", "feed"
        )
        self.feed_lag_seconds = self._gauge(
            "feed_lag_seconds", "Age of the stream's end over the last message read.", "feed"
        )
        self.feed_read = self._gauge("feed_read_timestamp_seconds", "Time a stream was last read.", "feed")
        self.feed_stream_sequence = self._gauge(
            "feed_stream_sequence", "Largest sequence that a stream named.", "feed"
        )

        self._imports = self._counter(
            "imports_total", "Lists imported, by what came of it.", "feed", "outcome"
        )
        self._import_taken = self._gauge(
            "import_timestamp_seconds", "Time a list of a feed was last taken.", "feed"
        )
        self._import_rows = self._gauge("import_rows", "Rows of the last list that was taken.", "feed")
        self._import_seconds = self._gauge(
            "import_duration_seconds", "Time that the last list took from its file into the tables.", "feed"
        )
        self._imports_shown: dict[tuple[str, ...], int] = {}

    def _create_policy(self) -> None:
        """Create what tells of the policy and of one on trial."""
        self._policy = self._gauge("policy_info", "The policy in force.", "name", "hash")
        self._policy_since = self._gauge(
            "policy_since_timestamp_seconds", "Time since which the policy is in force in this process."
        )
        reloads = self._counter("policy_reloads_total", "Reloads of the policy, by result.", "result")
        self.policy_reloads = {
            result: reloads.labels(result) for result in ("applied", "unchanged", "refused")
        }
        self.policy_refused = self._gauge(
            "policy_refused", "1 while the policy file is one that was refused, and the old one stays."
        )
        self.trial_active = self._gauge("policy_trial_active", "1 while a second policy is on trial.")
        checks = self._counter(
            "policy_trial_checks_total",
            "Checks of trials: the same, changed, or left out.",
            "result",
        )
        self.trial_checks = {result: checks.labels(result) for result in ("same", "changed", "left_out")}

    def _create_inquiries(self) -> None:
        """Create what counts inquiries."""
        self.inquiries = self._counter(
            "inquiries_total", "Inquiries, by form and outcome.", "form", "outcome"
        )
        self.inquiry_seconds = self._histogram(
            "inquiry_duration_seconds",
            "From an inquiry's message to its answer, without the transport.",
            INQUIRY_SECONDS,
            "form",
        )
        self.inquiries_waiting = self._gauge("inquiries_waiting", "Inquiries that wait for an answer.")

    def _create_daemon(self) -> None:
        """Create what tells of the daemon."""
        self.override_active = self._gauge("override_active", "1 while the override allows every check.")
        self.ready = self._gauge("ready", "1 while the daemon takes checks.")
        self._condition = self._gauge(
            "ready_condition", "1 while a condition of readiness holds.", "condition"
        )
        self._insecure = self._gauge(
            "insecure_listener", "1 where a plain-text listener is not loopback.", "listener"
        )
        self._build = self._gauge("build_info", "What the daemon is.", "version", "engine", "python")
        self.upkeep_failures = self._counter("upkeep_failures_total", "Rounds of upkeep that failed.")
        self.started = self._gauge("start_timestamp_seconds", "Time the tables were loaded.")
        self.load_seconds = self._gauge("load_duration_seconds", "Loading the tables at start.")

    def _checks_child(self, status: int, reason: int) -> Counter:
        """Bound child of one status and reason."""
        return self._checks.labels(Status(status).name.lower(), Reason(reason).name.lower())

    def count(self, status: int, reason: int, times: int = 1) -> None:
        """Count verdicts."""
        self._count(status, reason).inc(times)
        if reason in self._malformed:
            self._malformed[Reason(reason)].inc(times)
        elif reason == Reason.EXEMPT_PAIR_BLOCKED:
            self._block_overrides.inc(times)

    def set_feeds(self, positions: Iterable[FeedRecord]) -> None:
        """Show where feeds stand."""
        for position in positions:
            self._feed_serial.labels(position.feed).set(position.serial)
            self._feed_sequence.labels(position.feed).set(position.sequence)
            self._feed_applied.labels(position.feed).set(position.applied_at)
            self._feed_complete.labels(position.feed).set(position.complete_until)

    def set_imports(self, noted: Mapping[str, Noted]) -> None:
        """Show what came of imports; `noted` by feed, counts that only grow."""
        for feed, one in noted.items():
            for outcome, count in one.outcomes.items():
                self._imports.labels(feed, outcome).inc(self._fresh("outcome", feed, outcome, count=count))
            for cause, count in one.refusals.items():
                self.feed_refusals.labels(feed, cause).inc(self._fresh("cause", feed, cause, count=count))
            if one.taken_at:
                self._import_taken.labels(feed).set(one.taken_at)
                self._import_rows.labels(feed).set(one.rows)
                self._import_seconds.labels(feed).set(one.seconds)

    def _fresh(self, *what: str, count: int) -> int:
        """Count since the last time; of a file that began anew, all of it."""
        before, self._imports_shown[what] = self._imports_shown.get(what, 0), count
        return count - before if count >= before else count

    def set_tables(self, sizes: Iterable[TableSize]) -> None:
        """Show the sizes of the tables."""
        for size in sizes:
            self._table_rows.labels(size.table).set(size.rows)
            self._table_bytes.labels(size.table).set(size.bytes)

    def set_readiness(self, readiness: Readiness) -> None:
        """Show the conditions of readiness."""
        self.ready.set(readiness.ready)
        for condition in readiness.conditions():
            self._condition.labels(condition.name).set(condition.holds)

    def set_identity(self, engine: str, insecure_listeners: Iterable[str], listeners: Iterable[str]) -> None:
        """Show what the daemon is, and how it listens."""
        self._build.labels(__version__, engine, platform.python_version()).set(1)
        insecure = set(insecure_listeners)
        for listener in listeners:
            self._insecure.labels(listener).set(listener in insecure)

    def set_policy(self, name: str, digest: str, since: int) -> None:
        """Show the policy in force, and since when."""
        self._policy.clear()
        self._policy.labels(name, digest).set(1)
        self._policy_since.set(since)

    def use_core(self, core: CoreMetrics) -> None:
        """Let the native engine tell of the checks."""
        self._core = core
        self.registry.unregister(self._check_seconds)
        self.registry.register(core)

    def render(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        if self._core is not None:
            self._core.update()
        return generate_latest(self.registry)
