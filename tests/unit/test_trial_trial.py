"""A trial: bounded, paced, without effect."""

import time
from typing import Any

import pytest

from eir.check import Verdict
from eir.metrics import Metrics
from eir.policy import Policy, compile_policy, default_policy_text
from eir.settings import Trials
from eir.trial.trial import Trial
from eir.verdict import Reason, Status

BASE = compile_policy(default_policy_text())
TRIED = compile_policy(default_policy_text().replace('name = "default"', 'name = "tried"'))
GREY = Verdict(Status.GREYLISTED, Reason.NOT_REGISTERED, 0, 1, False, 0)
DENY = Verdict(Status.BLACKLISTED, Reason.NOT_REGISTERED, 0, 1, False, 0)


class FakeChecker:
    """Policies differ on IMEIs that end in 1."""

    policy = BASE

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.fail = False

    def compare(self, policies: tuple[Policy, Policy], *question: Any) -> tuple[Verdict, Verdict]:
        assert policies == (BASE, TRIED)
        if self.fail:
            raise ZeroDivisionError
        self.asked.append(question)
        return GREY, DENY if question[0].endswith("1") else GREY


def made(now: Any = None, percent: float = 100, **settings: Any) -> tuple[Trial, FakeChecker, Metrics]:
    metrics, checker = Metrics(), FakeChecker()
    clock = now or (lambda: 1000)
    trial = Trial(
        checker,  # type: ignore[arg-type]
        TRIED,
        Trials(**settings),
        metrics,
        clock,
        sample_percent=percent,
        seconds=60,
    )
    return trial, checker, metrics


def until(condition: Any) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def checks(metrics: Metrics, result: str) -> float | None:
    return metrics.registry.get_sample_value("eir_policy_trial_checks_total", {"result": result})


def test_what_would_change_is_counted_by_rule_and_cohort() -> None:
    trial, checker, metrics = made(cpu_percent_max=100.0)
    trial.start()
    for number in range(100):
        trial.offer(f"3569380356438{number % 2}", f"43211000000{number:04d}", "43211", number == 0)
    until(lambda: trial.tally.judged_count == 100)
    trial.stop("enough")
    trial.join()
    (line,) = trial.tally.lines()
    assert line.change == ("no class", Status.GREYLISTED, Reason.NOT_REGISTERED, Status.BLACKLISTED, 37)
    assert line.check_count == 50
    assert line.subscriber_count == pytest.approx(50, abs=3)
    assert (checks(metrics, "same"), checks(metrics, "changed")) == (50, 50)
    assert checker.asked[0] == ("35693803564380", "432110000000000", "43211", True)


def test_a_sample_is_of_subscribers_and_the_same_ones_throughout() -> None:
    trial, *_ = made(percent=10)
    for _ in range(2):
        for number in range(1000):
            trial.offer("35693803564380", f"43211{number * 7919:010d}", "", False)
    subscribers = [imsi for _, imsi, *_ in trial._queue]
    assert len(subscribers) == pytest.approx(200, rel=0.4)
    assert len(set(subscribers)) * 2 == len(subscribers)


def test_what_does_not_fit_is_left_out_and_counted() -> None:
    trial, _, metrics = made(queue_checks_max=3)
    for _ in range(5):
        trial.offer("1" * 500, "2" * 500, "", False)
    assert trial.left_out_count == checks(metrics, "left_out") == 2
    assert len(trial._queue[0][0]) == 64


def test_it_ends_when_its_time_is_over() -> None:
    now = [1000]
    trial, _, metrics = made(lambda: now[0])
    trial.start()
    assert metrics.registry.get_sample_value("eir_policy_trial_active") == 1
    now[0] = 1060
    trial.join()
    assert (trial.running, trial.ended_at, trial.ended_why) == (False, 1060, "its time is over")
    assert metrics.registry.get_sample_value("eir_policy_trial_active") == 0
    trial.stop("again")
    assert trial.ended_why == "its time is over"


def test_an_error_ends_the_trial_and_nothing_else() -> None:
    trial, checker, _ = made()
    checker.fail = True
    trial.start()
    trial.offer("1", "2", "", False)
    trial.join()
    assert trial.ended_why == "an internal error, see the log"


def test_it_takes_no_more_than_its_share_of_a_processor() -> None:
    trial, checker, _ = made(cpu_percent_max=5.0)

    def busy(*_: Any) -> tuple[Verdict, Verdict]:
        end = time.thread_time() + 0.0005
        while time.thread_time() < end:
            pass
        return GREY, GREY

    checker.compare = busy  # type: ignore[method-assign]
    for _ in range(10_000):
        trial.offer("1", "2", "", False)
    trial.start()
    time.sleep(1.0)
    trial.stop("enough")
    trial.join()
    # 5 % of a second is 100 checks of half a millisecond; groups of 16 end in full.
    assert 16 <= trial.tally.judged_count <= 140


def test_a_trial_that_was_never_started_can_be_stopped() -> None:
    trial, *_ = made()
    trial.stop("x")
    trial.join()
