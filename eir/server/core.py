"""The check port of the native engine: its server beside the daemon, and what it tells Python.

    config ──► eir._core.CheckServer ──sightings──► decision log, policy on trial
                                     ──unpaired───► sightings of the cases
                                     ──counters───► metrics

No check passes through Python. What the server puts aside for it is taken some
times a second, bounded there, and counted where it found no room.
"""

from __future__ import annotations

import asyncio
import os
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog

from eir import native
from eir.config import address
from eir.core_metrics import CoreMetrics
from eir.errors import ConfigError
from eir.native import PublishingChecker
from eir.settings import Limits
from eir.verdict import Reason

if TYPE_CHECKING:
    from eir.policy import Policy
    from eir.server.state import State
    from eir.trial.trial import Trial
    from eir.whitelist.store import Store

FEED_SECONDS: Final = 0.05
"""Pause between two looks at what the server has put aside: a case is durable 200 ms after its sighting."""
PAUSE_SHARE: Final = 3
"""Where there is much, so many times as long as it took: what overflows meanwhile is counted."""
STREAM_ANSWER_BYTES: Final = 256
"""Of the bytes that wait for a stream's client, so many are counted for each request read ahead."""

log = structlog.get_logger()


class CoreServer:
    """Serves checks and health on threads of its own. `port` is bound."""

    def __init__(self, state: State) -> None:
        """Bind. Raises ConfigError where the address cannot be bound, EngineUnavailableError."""
        self._state = state
        config, limits = state.config, state.config.limits
        host, port = address(config.check_listen)
        self.threads = limits.check_threads or default_threads()
        core = native.load()
        native.help_writer()  # before the journal is replayed
        self._engine = core.Engine()
        wanted, settings, seen = state.decisions.wanted, config.decisions, state.sightings
        repeat_seconds, records_max = settings.denial_repeat_seconds, settings.queue_records_max
        try:
            self._server: Any = core.CheckServer(
                self._engine,
                host=host,
                port=port,
                threads=self.threads,
                limits=_bounds(limits, self.threads),
                wanted=(list(wanted.table), wanted.sample_threshold, repeat_seconds, records_max),
                unpaired=(seen.sightings_max, seen.repeat_seconds) if seen is not None else (0, 0),
            )
        except OSError as error:
            raise ConfigError(
                f"check_listen: {config.check_listen} cannot be bound: {error.strerror or error};"
                " is another daemon listening there?"
            ) from None
        self.port: int = self._server.port
        self._policy_hashes: list[str] = []
        self._trial: Trial | None = None
        self._untried = 0
        state.metrics.use_core(CoreMetrics(state.metrics, self._server))

    def checker(self, store: Store, policy: Policy) -> PublishingChecker:
        """Let checks be answered from a store from now on."""
        checker = PublishingChecker(store, policy, self._state.clock, self._engine)
        self._policy_hashes = checker.native.policy_hashes
        store.on_generation = checker.native.publish
        return checker

    def start(self) -> None:
        """Take calls; health says NOT_SERVING until `set_serving`. Raises OSError."""
        self._server.start()

    def set_serving(self, *, serving: bool) -> None:
        """Change what health says."""
        self._server.set_serving(serving)

    def end(self) -> None:
        """Say NOT_SERVING for good; calls are answered on."""
        self._server.end()

    async def drain(self) -> None:
        """Ask clients to go, let the calls in flight finish, and end."""
        await asyncio.to_thread(self._server.drain)
        self.feed()

    async def run(self) -> None:
        """Feed the decision log and the policy on trial until cancelled."""
        pause = FEED_SECONDS
        while True:
            await asyncio.sleep(pause)
            began = monotonic()
            try:
                self.feed()
                self._engine.free_retired()
            except Exception:
                self._state.metrics.upkeep_failures.inc()
                log.exception("what the check server put aside was lost")
            pause = max(FEED_SECONDS, PAUSE_SHARE * (monotonic() - began))

    def feed(self) -> None:
        """Take what the server has put aside."""
        record, hashes = self._state.decisions.record, self._policy_hashes
        for seen in self._server.take_sightings():
            _, status, reason, imei, imsi, plmn, client, time, serial, policy = seen
            record(time, imei, imsi, plmn, client, status, reason, serial, hashes[policy])
        if (sightings := self._state.sightings) is not None:
            for key, imsi, at, msisdn in self._server.take_unpaired():
                sightings.note(key, imsi, at, str(msisdn) if msisdn else "")
        self._feed_trial()

    def _feed_trial(self) -> None:
        """Begin and end trials in the server, and pass its checks on."""
        trial = self._state.trial
        trial = trial if trial is not None and trial.running else None
        tried, untried = self._server.take_tried(), self._server.sightings_left_out()[2]
        if trial is not self._trial:
            # What waits was put aside for the one before.
            self._trial, self._untried = trial, untried
            self._server.set_trial_threshold(trial.threshold if trial else 0)
        elif trial is not None:
            for _, _, reason, imei, imsi, plmn, *_ in tried:
                trial.offer(imei, imsi, plmn, emergency=reason == Reason.EMERGENCY)
            trial.leave_out(untried - self._untried)
            self._untried = untried


def default_threads() -> int:
    """Return one thread per core this process may use, less one for Python; at least one."""
    return max(len(os.sched_getaffinity(0)) - 1, 1)


def _bounds(limits: Limits, threads: int) -> dict[str, int]:
    """Return the bounds by the names that the server has for them."""
    return {
        "batch_rows_max": limits.batch_rows_max,
        "message_bytes_max": limits.check_message_bytes_max,
        "metadata_bytes_max": limits.metadata_bytes_max,
        "streams_per_connection_max": limits.streams_per_connection_max,
        # Of one thread.
        "calls_max": -(-limits.check_calls_max // threads),
        "answers_bytes_max": limits.stream_in_flight_max * STREAM_ANSWER_BYTES,
        "connection_bytes_max": limits.connection_bytes_max,
        "held_bytes_max": -(-limits.check_held_bytes_max // threads),
        "stall_milliseconds_max": limits.connection_stall_seconds_max * 1000,
        "keepalive_milliseconds": limits.keepalive_seconds * 1000,
        "keepalive_timeout_milliseconds": limits.keepalive_timeout_seconds * 1000,
        "age_milliseconds_max": limits.connection_age_seconds_max * 1000,
        "drain_milliseconds_max": limits.drain_seconds_max * 1000,
        "connections_max": limits.check_connections_max,
    }
