"""Metrics of checks that the native engine answers: its counters under the names of the portable engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from eir.metrics import Metrics


class CoreMetrics(Collector):
    """Adds what the engine has counted since it was read last; durations are read as they are."""

    def __init__(self, metrics: Metrics, server: Any) -> None:
        """Read a server's counters."""
        self._metrics, self._server = metrics, server
        self._lock = threading.Lock()
        self._seen: dict[object, int] = {}

    def _fresh(self, what: object, count: int) -> int:
        """Count since the last time."""
        before, self._seen[what] = self._seen.get(what, 0), count
        return count - before

    def update(self) -> None:
        """Add to the counters."""
        metrics, server = self._metrics, self._server
        with self._lock:
            for status, reason, count in server.verdicts():
                if fresh := self._fresh((status, reason), count):
                    metrics.count(status, reason, fresh)
            for reason, count in server.errors():
                if fresh := self._fresh(reason, count):
                    metrics.errors.labels(reason).inc(fresh)
            for cause, count in server.abuses():
                metrics.connections_closed[cause].inc(self._fresh(("closed", cause), count))
            for cause, count in server.bounds():
                metrics.calls_refused[cause].inc(self._fresh(("refused", cause), count))
            repeated, dropped, _ = server.sightings_left_out()
            metrics.decisions_repeated.inc(self._fresh("repeated", repeated))
            metrics.decisions_dropped["queue"].inc(self._fresh("dropped", dropped))
            for result, count in zip(("repeated", "dropped"), server.unpaired_left_out(), strict=True):
                metrics.sightings[result].inc(self._fresh(("unpaired", result), count))
            metrics.check_panics.inc(self._fresh("panics", server.panics()))
            metrics.connections.set(server.connections())
            metrics.check_held_bytes.set(server.held_bytes())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the durations of checks, by method."""
        from eir.metrics import CHECK_SECONDS, CHECK_SECONDS_HELP, CHECK_SECONDS_NAME, METHODS

        family = HistogramMetricFamily(CHECK_SECONDS_NAME, CHECK_SECONDS_HELP, labels=["method"])
        ends = [floatToGoString(end) for end in (*CHECK_SECONDS, float("inf"))]  # type: ignore[no-untyped-call]
        for method, (counts, sum_nanoseconds) in zip(METHODS, self._server.seconds(), strict=True):
            buckets = list(zip(ends, accumulate(counts), strict=True))
            family.add_metric([method], buckets, sum_nanoseconds / 1e9)
        yield family
