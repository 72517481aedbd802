"""A scheme's launch in simulation, held against the plain model; see bench/launch.

The seed is printed first; EIR_SIM_SEED replays one.
"""

from __future__ import annotations

import os
import shutil

import pytest
import stores

from bench.launch.people import People
from bench.launch.run import Launch
from eir.notify import keeper as keeper_module
from eir.notify.keeper import Keeper

STAGES = ("first", "reminder", "last", "cut_off", "resolved", "restored")
SEED = int(os.environ.get("EIR_SIM_SEED", "1"))


def launched(subscribers: int, seed: int, days: int = 45, step_seconds: int = 1_800) -> Launch:
    print(f"seed {seed}")
    folder = stores.new_folder()
    try:
        launch = Launch(People(seed, subscribers, days), folder, step_seconds)
        launch.run()
        launch.compare()
        launch.close()
    finally:
        shutil.rmtree(folder)
    return launch


def assert_as_it_should_be(launch: Launch) -> None:
    model, counts = launch.model, launch.counts
    assert not model.wrong, f"{dict(model.wrong)}, {model.examples}"
    assert counts["kills"] == 2
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
    assert_as_it_should_be(launched(4_000, SEED))


@pytest.mark.sim
@pytest.mark.timeout(3_600)
def test_a_larger_launch_is_as_the_plain_model_says() -> None:
    assert_as_it_should_be(launched(20_000, SEED))


@pytest.mark.parametrize(
    ("broken", "found", "subscribers", "days"),
    [
        ("spacing", "two notices of a subscriber within the spacing", 3_000, 10),
        ("feed", "cut off before its time", 600, 30),
    ],
)
def test_the_model_finds_what_is_wrong(
    broken: str, found: str, subscribers: int, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sender and keeper as they must not be."""
    if broken == "spacing":
        monkeypatch.setattr(Keeper, "spaced_at", lambda _keeper, _notice, _case, now: now)
    else:
        may_fall = keeper_module.may_fall

        def never_waits(*args: object, **held_back: object) -> bool:
            return may_fall(*args, **(held_back | {"complete_until": 1 << 32}))  # type: ignore[arg-type]

        monkeypatch.setattr(keeper_module, "may_fall", never_waits)
    assert found in launched(subscribers, 1, days, step_seconds=3_600).model.wrong
