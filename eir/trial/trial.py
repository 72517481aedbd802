"""A trial that runs: takes a sample of checks, judges them by two policies in a thread of its own.

Checks pay for a hash and an append. The thread takes no more than its share of a
processor: what it cannot keep up with is left out and counted.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog
from crc32c import crc32c

from eir.check import Checker
from eir.metrics import Metrics
from eir.policy import Policy, cohort_of
from eir.settings import Trials
from eir.trial.tally import Change, Tally

CHARACTERS_MAX: Final = 64
"""Of an identity in the queue; from 17 on an IMEI is malformed, from 16 on an IMSI."""
GROUP_CHECKS: Final = 16
"""Judged at a time: less than a millisecond of the interpreter."""
IDLE_SECONDS: Final = 0.1

Question = tuple[str, str, str, bool]


class Trial:
    """One policy on trial; its report stays until another trial begins."""

    def __init__(
        self,
        checker: Checker,
        policy: Policy,
        settings: Trials,
        metrics: Metrics,
        clock: Callable[[], int],
        *,
        sample_percent: float,
        seconds: int,
    ) -> None:
        """Take what is tried, on which share of the subscribers, for how long."""
        self.policy, self.base = policy, checker.policy
        self.sample_percent = sample_percent
        self.started_at = clock()
        self.until = self.started_at + seconds
        self.ended_at = 0
        self.ended_why = ""
        self.tally = Tally(settings.lines_max)
        self.left_out_count = 0
        self._checker, self._metrics, self._clock = checker, metrics, clock
        self._settings = settings
        self._threshold = round(sample_percent / 100 * (1 << 32))
        self._queue: deque[Question] = deque()
        self._wake = threading.Event()
        self._ending = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="trial", daemon=True)

    @property
    def running(self) -> bool:
        """Tell whether checks are judged."""
        return not self.ended_at

    def start(self) -> None:
        """Begin."""
        self._metrics.trial_active.set(1)
        self._thread.start()

    @property
    def threshold(self) -> int:
        """Of the 2**32 hashes of subscribers, those below are in the sample."""
        return self._threshold

    def leave_out(self, count: int) -> None:
        """Note checks of the sample that found no room."""
        if count:
            self.left_out_count += count
            self._metrics.trial_checks["left_out"].inc(count)

    def offer(self, imei: str, imsi: str, serving_plmn: str, emergency: bool) -> None:
        """Take a check, where its subscriber belongs to the sample and there is room."""
        imei, imsi = imei[:CHARACTERS_MAX], imsi[:CHARACTERS_MAX]
        if crc32c((imsi or imei).encode()) >= self._threshold:
            return
        if len(self._queue) >= self._settings.queue_checks_max:
            self.leave_out(1)
        else:
            self._queue.append((imei, imsi, serving_plmn, emergency))

    def stop(self, why: str) -> None:
        """End it; what was counted stays."""
        with self._ending:
            if self.ended_at:
                return
            self.ended_at, self.ended_why = max(self._clock(), 1), why
            self._metrics.trial_active.set(0)
        self._wake.set()
        structlog.get_logger().info("policy trial ended", policy=self.policy.name, why=why)

    def join(self) -> None:
        """Wait for the thread of a trial that was stopped."""
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        pause = 100 / self._settings.cpu_percent_max - 1
        while not self.ended_at:
            if self._clock() >= self.until:
                self.stop("its time is over")
                return
            started = time.thread_time()
            try:
                judged = self._judge_some()
            except Exception:  # noqa: BLE001 - logged; checks go on
                structlog.get_logger().exception("policy trial failed")
                self.stop("an internal error, see the log")
                return
            used = time.thread_time() - started
            self._wake.wait(max(used * pause, 0 if judged else IDLE_SECONDS))

    def _judge_some(self) -> int:
        """Judge what waits, up to a group; return how many."""
        count = min(len(self._queue), GROUP_CHECKS)
        for _ in range(count):
            self._judge(*self._queue.popleft())
        return count

    def _judge(self, imei: str, imsi: str, serving_plmn: str, emergency: bool) -> None:
        before, after = self._checker.compare((self.base, self.policy), imei, imsi, serving_plmn, emergency)
        subscriber = imsi or imei
        if before[:2] == after[:2]:
            self.tally.same(subscriber)
            self._metrics.trial_checks["same"].inc()
            return
        cohort = cohort_of(self.policy, self._clock(), imei, imsi)
        change = Change(cohort, before.status, before.reason, after.status, after.reason)
        self.tally.changed(change, subscriber)
        self._metrics.trial_checks["changed"].inc()
