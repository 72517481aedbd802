"""Metrics of cases and notices: what the desk has counted, under names of our own.

They are made with the others, and have samples where cases are kept. Counters
take what was counted since they were updated last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from eir.notify.case import TRANSITIONS, State
from eir.notify.incoming import RESULTS
from eir.notify.judged import CAUSE_NAMES
from eir.notify.keeper import HELD_BACK_BY
from eir.notify.link import PERMANENT, THROTTLING, Fate, Link
from eir.notify.receipts import Outcome
from eir.policy.read import STAGES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eir.notify.backlog import Waiting
    from eir.notify.desk import Desk

COMMIT_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 5)
ALL_STAGES: Final = (*STAGES, "resolved", "restored")
STATUSES: Final = tuple(sorted(PERMANENT | THROTTLING | {0x08, 0x0D, 0x0E, 0x45, 0x64, 0x65}))
"""command_status that has a label of its own: those acted on, and what SMSCs say most; others are `other`."""
RECEIPTS: Final = (*(outcome.value for outcome in Outcome if outcome != Outcome.PENDING), "unknown")
MOVES: Final = tuple(
    dict.fromkeys(
        [(0, int(State.OPEN)), *((int(old), int(new)) for (old, _), new in TRANSITIONS.items() if old != new)]
    )
)


class NoticeMetrics:
    """All metrics of cases and notices."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Create them."""
        self._registry = registry
        self._seen: dict[object, float] = {}
        self._create_cases()
        self._create_notices()
        self._create_smscs()

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"eir_{name}", text, labels, registry=self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"eir_{name}", text, labels, registry=self._registry)

    def _create_cases(self) -> None:
        self._cases = self._gauge("cases", "Cases, by cause and state.", "cause", "state")
        self._moves = self._counter(
            "case_transitions_total", "Changes of cases' states; from none: opened.", "from", "to"
        )
        self._crowded = self._counter(
            "cases_crowded_total",
            "Sightings that opened no case: their IMEI has as many as it may, and is shared or cloned.",
        )
        self._replaced = self._counter("cases_moved_total", "Cases that went over to a replaced SIM.")
        self._bytes = self._gauge("cases_memory_bytes", "Memory of the cases.")
        self._overdue = self._gauge(
            "cases_overdue", "Open cases past their deadline: unwarned, or held back; minutes old.", "why"
        )
        self._unwarned = self._gauge(
            "cases_unwarned", "Open cases without a notice that an SMSC accepted; minutes old."
        )
        self._waited = self._counter(
            "deadlines_held_back_total",
            "Looks at a deadline that did not fall, by what held it; clock: seconds with something due.",
            "cause",
        )
        self._until = self._gauge(
            "deadlines_complete_until_timestamp_seconds",
            "Time up to which the feeds that hold deadlines back are complete.",
        )
        self._behind = self._gauge("cases_deltas_behind", "Deltas whose cases were not all looked at.")
        self._serial = self._gauge("cases_serial", "Serial up to which all cases were looked at.")
        self._doubtful = self._gauge("clock_doubtful", "1 while the wall clock is in doubt.")
        self.commit_seconds = Histogram(
            "eir_cases_commit_duration_seconds",
            "Making what was done to cases durable.",
            buckets=COMMIT_SECONDS,
            registry=self._registry,
        )

    def _create_notices(self) -> None:
        self._accepted = self._counter("notices_accepted_total", "Notices that an SMSC took.", "stage")
        self._submissions = self._counter(
            "notice_submissions_total", "Notices submitted to an SMSC, by what became of it.", "outcome"
        )
        self._errors = self._counter(
            "notice_submission_errors_total", "Refused submissions, by command_status of SMPP.", "status"
        )
        self._receipts = self._counter("notice_receipts_total", "Delivery receipts, by outcome.", "outcome")
        self._incoming = self._counter(
            "incoming_messages_total", "Short messages of subscribers, by what became of them.", "result"
        )
        self._replies = self._counter("replies_total", "Answers to short messages, by result.", "result")
        self._sender_failed = self._counter(
            "notices_sender_failures_total", "Rounds of sending that failed by a bug; the next one came."
        )
        self._failed = self._counter("notices_failed_total", "Notices refused for good.")
        self._cancelled = self._counter("notices_cancelled_total", "Notices cancelled while they waited.")
        self._repeated = self._counter(
            "notices_repeated_total",
            "Notices that may have gone out twice: a kill came before their answer.",
        )
        self._waiting = self._gauge("notices_waiting", "Notices that wait.", "stage")
        self._numberless = self._gauge(
            "notices_waiting_without_msisdn", "Notices that wait because no number is known."
        )
        self._oldest = self._gauge(
            "notices_oldest_due_timestamp_seconds",
            "Since when the notice that waits longest is due; 0: none waits.",
        )
        self._held = self._gauge("notices_held", "1 while all sending holds.")
        self._holds = self._counter("notices_holds_total", "Times that a guard or somebody held sending.")

    def _create_smscs(self) -> None:
        self._bound = self._gauge("smsc_bound", "1 while an SMSC takes submissions.", "smsc")
        self._window = self._gauge("smsc_window_parts", "Submissions without an answer.", "smsc")
        self._window_max = self._gauge("smsc_window_parts_max", "Bound of smsc_window_parts.", "smsc")
        self._rate = self._gauge(
            "smsc_parts_per_second_max", "Submissions a second, at most: less after throttling.", "smsc"
        )
        self._throttled = self._counter("smsc_throttled_total", "Answers that said: slower.", "smsc")
        self._refused = self._counter("smsc_binds_refused_total", "Binds that an SMSC refused.", "smsc")

    def _add(self, counter: Counter, what: object, count: float) -> None:
        """Let a counter stand where the desk's stands."""
        before, self._seen[what] = self._seen.get(what, 0), count
        counter.inc(max(count - before, 0))

    def update(self, desk: Desk, links: Iterable[Link]) -> None:
        """Show how the desk stands."""
        cases, counts = desk.keeper.cases, desk.keeper.counts
        for cause, name in CAUSE_NAMES.items():
            for state in State:
                self._cases.labels(name, state.name.lower()).set(cases.tally.of(cause, state))
        for old, new in MOVES:
            labels = (State(old).name.lower() if old else "none", State(new).name.lower())
            self._add(self._moves.labels(*labels), labels, cases.tally.moves[old, new])
        self._bytes.set(cases.nbytes)
        overdue = desk.census.last
        self._overdue.labels("unwarned").set(overdue.unwarned)
        self._overdue.labels("held_back").set(overdue.held_back)
        self._unwarned.set(overdue.unwarned_all)
        for cause_name in HELD_BACK_BY:
            self._add(
                self._waited.labels(cause_name), ("waiting", cause_name), counts[f"waiting_{cause_name}"]
            )
        self._until.set(desk.complete_until)
        self._behind.set(max(desk.follower.behind, 0))
        self._serial.set(desk.follower.serial)
        self._doubtful.set(bool(desk.watch.why))
        self._held.set(bool(desk.keeper.held))
        plain = {
            "crowded": self._crowded,
            "moved": self._replaced,
            "failed": self._failed,
            "cancelled": self._cancelled,
            "repeated": self._repeated,
            "holds": self._holds,
            "sender_failures": self._sender_failed,
        }
        for name, counter in plain.items():
            self._add(counter, name, counts[name])
        for stage in ALL_STAGES:
            self._add(self._accepted.labels(stage), ("accepted", stage), counts[f"accepted_{stage}"])
        self._update_answers(counts)
        for link in links:
            self._update_link(link)

    def _update_answers(self, counts: dict[str, int]) -> None:
        for fate in Fate:
            known = "accepted" if fate is Fate.ACCEPTED else f"sent_{fate.value}"
            self._add(self._submissions.labels(fate.value), ("sent", fate), counts[known])
        named = 0
        for status in STATUSES:
            if count := counts[f"status_{status}"]:
                self._add(self._errors.labels(f"0x{status:02x}"), ("status", status), count)
                named += count
        every = sum(count for name, count in list(counts.items()) if name.startswith("status_"))
        self._add(self._errors.labels("other"), "other status", every - named)
        for outcome in RECEIPTS:
            self._add(self._receipts.labels(outcome), ("receipt", outcome), counts[f"receipts_{outcome}"])
        for result in RESULTS:
            self._add(self._incoming.labels(result), ("incoming", result), counts[f"incoming_{result}"])
        for result in ("sent", "dropped"):
            self._add(self._replies.labels(result), ("reply", result), counts[f"replies_{result}"])

    def _update_link(self, link: Link) -> None:
        name = link.endpoint.name
        self._bound.labels(name).set(link.bound.is_set())
        self._window.labels(name).set(link.in_flight)
        self._window_max.labels(name).set(link.endpoint.terms.window_max)
        self._rate.labels(name).set(link.pace.rate)
        self._add(self._throttled.labels(name), ("throttled", name), link.throttled_count)
        self._add(self._refused.labels(name), ("refused", name), link.binds_refused_count)

    def show_waiting(self, waiting: Iterable[Waiting]) -> None:
        """Show what waits."""
        found = {one.stage: one for one in waiting}
        for stage in ALL_STAGES:
            self._waiting.labels(stage).set(found[stage].notices if stage in found else 0)
        self._numberless.set(sum(one.without_msisdn for one in found.values()))
        self._oldest.set(min((one.oldest_due_at for one in found.values()), default=0))
