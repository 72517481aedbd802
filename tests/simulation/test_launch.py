"""A scheme's launch in simulation, held against the plain model; see bench/launch.

The seed is printed first; EIR_SIM_SEED replays one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import stores

from bench.launch.compare import compare
from bench.launch.killing import KILLS, TICKING, Kill, drawn
from bench.launch.people import People
from bench.launch.run import Launch
from eir.notify import keeper as keeper_module
from eir.notify.keeper import Keeper

STAGES = ("first", "reminder", "last", "cut_off", "resolved", "restored")
SEED = int(os.environ.get("EIR_SIM_SEED", "1"))


def launched(
    subscribers: int,
    seed: int,
    days: int = 45,
    step_seconds: int = 1_800,
    kills: tuple[Kill, ...] = KILLS,
    lost_share: float = 0.03,
) -> Launch:
    print(f"seed {seed}")
    folder = stores.new_folder()
    try:
        launch = Launch(People(seed, subscribers, days), folder, step_seconds, kills, lost_share)
        launch.run()
        compare(launch)
        launch.close()
    finally:
        shutil.rmtree(folder)
    return launch


def assert_as_it_should_be(launch: Launch) -> None:
    model, counts = launch.model, launch.counts
    assert not model.wrong, f"{dict(model.wrong)}, {model.examples}"
    assert counts["kills"] == len(launch.kills)
    assert counts["refused by the guard"] == 1
    assert model.counts["holds"] >= 1
    for what in (
        "cut off",
        "taken first",
        "taken reminder",
        "taken last",
        "taken resolved",
        "taken restored",
    ):
        assert model.counts[what] > launch.people.subscribers // 100, what
    assert model.counts["repeats"] <= counts["in flight at kills"] + launch.smsc.counts["answers lost"]


def test_a_launch_is_as_the_plain_model_says() -> None:
    launch = launched(4_000, SEED)
    assert_as_it_should_be(launch)
    killed = {what.removeprefix("killed while: ") for what in launch.counts if what.startswith("killed")}
    assert killed == {kill.where for kill in KILLS}


def test_a_daemon_that_is_killed_again_and_again() -> None:
    assert_as_it_should_be(launched(1_500, SEED, kills=drawn(Random(SEED), 40, 45)))


@pytest.mark.sim
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("kills", [KILLS, drawn(Random(SEED), 60, 45)], ids=["usual", "often"])
def test_a_larger_launch_is_as_the_plain_model_says(kills: tuple[Kill, ...]) -> None:
    assert_as_it_should_be(launched(20_000, SEED, kills=kills))


def without_spacing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keeper, "spaced_at", lambda _keeper, _notice, _case, now: now)


def with_answers_that_count_as_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = Keeper.refused

    def sure(keeper: Keeper, *args: Any, **how: bool) -> None:
        refused(keeper, *args, **(how | {"unsure": False}))

    monkeypatch.setattr(Keeper, "refused", sure)


def with_no_wait_for_the_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    may_fall = keeper_module.may_fall

    def never_waits(*args: object, **held_back: object) -> bool:
        return may_fall(*args, **(held_back | {"complete_until": 1 << 32}))  # type: ignore[arg-type]

    monkeypatch.setattr(keeper_module, "may_fall", never_waits)


def with_rates_forgotten_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    restarted = Keeper.restarted

    def forgets(keeper: Keeper, now: int) -> int:
        keeper._fallen.count = 0
        return restarted(keeper, now)

    monkeypatch.setattr(Keeper, "restarted", forgets)


SAME_HOUR = tuple(Kill(day, TICKING) for day in (18.4, 19.4, 20.4, 21.4))


@pytest.mark.parametrize(
    ("broken", "found", "how"),
    [
        (without_spacing, "two notices of a subscriber within the spacing", {"days": 10}),
        (
            with_answers_that_count_as_refusals,
            "two notices of a subscriber within the spacing",
            {"days": 10, "lost_share": 0.2},
        ),
        (with_no_wait_for_the_feed, "cut off before its time", {"subscribers": 600, "days": 30}),
        (
            with_rates_forgotten_at_the_start,
            "cut off faster than the rate",
            {"days": 23, "kills": SAME_HOUR, "step_seconds": 600},
        ),
    ],
)
def test_the_model_finds_what_is_wrong(
    broken: Callable[[pytest.MonkeyPatch], None],
    found: str,
    how: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sender and keeper as they must not be."""
    broken(monkeypatch)
    assert found in launched(**({"subscribers": 3_000, "seed": 1, "step_seconds": 3_600} | how)).model.wrong
