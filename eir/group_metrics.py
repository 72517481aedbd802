"""Metrics of daemons that keep cases together, or leave them to another."""

from __future__ import annotations

from collections import Counter as Counts
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge

if TYPE_CHECKING:
    from eir.notify.group import Group

STATES: Final = ("away", "joining", "together")
EVENTS: Final = (
    *("published", "lines_next", "lines_repeat", "lines_missed", "lines_refused", "lines_strange"),
    *("lines_dropped", "lines_damaged", "sent_by_others", "denied", "taken_over", "leases_lost"),
    *("caught_up", "catch_up_failures", "streams_lost", "daemons_lost", "unplaced_forgotten", "failures"),
    *("receipts_by_others", "receipts_of_no_use"),
)
"""What a group counts; see docs/notices-shared.md."""


class GroupMetrics:
    """Created with all metrics; without a group they stay 0."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Create every metric, and the children whose labels are known."""
        state = Gauge("eir_group_state", "1 for how it stands with the group.", ["state"], registry=registry)
        self._states = {name: state.labels(name) for name in STATES}
        self._daemons = Gauge("eir_group_daemons", "Daemons of the group that are there.", registry=registry)
        self._unplaced = Gauge(
            "eir_group_unplaced", "Cases of others that do not hold by the tables here.", registry=registry
        )
        events = Counter(
            "eir_group_events_total", "What happened in the group.", ["event"], registry=registry
        )
        self._events = {name: events.labels(name) for name in EVENTS}
        self._seen: Counts[str] = Counts()
        self.owner_connected = Gauge(
            "eir_owner_connected", "1 while the daemon that keeps our cases is followed.", registry=registry
        )
        self.followed_cases = Gauge(
            "eir_followed_cases", "Cases that are known of the daemon that keeps them.", registry=registry
        )
        forwarded = Counter(
            "eir_forwarded_sightings_total",
            "Sightings sent to the daemon that keeps the cases (sent), batches that failed and are sent again"
            " (failed), sightings taken of other daemons (taken).",
            ["result"],
            registry=registry,
        )
        self.forwarded = {result: forwarded.labels(result) for result in ("sent", "failed", "taken")}

    def show(self, group: Group) -> None:
        """Bring everything up to date."""
        for name, child in self._states.items():
            child.set(group.state == name)
        self._daemons.set(len(group.peers))
        self._unplaced.set(len(group.member.notes.unplaced))
        counts = group.counts + group.member.counts
        for name, event in self._events.items():
            if fresh := counts[name] - self._seen[name]:
                event.inc(fresh)
                self._seen[name] = counts[name]
