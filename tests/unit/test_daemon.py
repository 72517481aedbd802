"""Parts of the daemon that need no process; the rest is in tests/integration."""

import asyncio
from pathlib import Path

import pytest
import structlog

from eir import daemon, native
from eir.config import load
from eir.errors import ConfigError, EngineUnavailableError
from eir.metrics import Metrics
from eir.policy import default_policy_text
from eir.server.state import State
from eir.whitelist.feeds import FeedRules, GuardLimits
from eir.whitelist.store import Limits


def test_the_policy_is_the_shipped_one_or_that_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(default_policy_text().replace('name = "default"', 'name = "ours"'))
    assert daemon.load_policy("").name == "default"
    assert daemon.load_policy(str(path)).name == "ours"


@pytest.mark.parametrize("content", [None, b"\xff", b"name = ", b"name = 'x'\nnothing = 1\n"])
def test_a_policy_that_cannot_be_used_is_a_configuration_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "policy.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        daemon.load_policy(str(path))
    assert caught.value.exit_code == 2


def test_the_native_engine_is_taken_where_it_can_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "load", lambda: None)
    assert [daemon.choose_engine(wanted) for wanted in ("auto", "native", "portable")] == [
        "native",
        "native",
        "portable",
    ]


def test_without_the_native_engine_checks_run_portable_unless_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing() -> None:
        raise EngineUnavailableError("the native engine is not built")

    monkeypatch.setattr(native, "load", missing)
    assert [daemon.choose_engine(wanted) for wanted in ("auto", "portable")] == ["portable", "portable"]
    with pytest.raises(EngineUnavailableError, match="not built"):
        daemon.choose_engine("native")


def test_the_store_gets_the_bounds_of_the_configuration(tmp_path: Path) -> None:
    assert daemon.store_limits(load()) == Limits()
    path = tmp_path / "eir.toml"
    path.write_text(
        "[limits]\noverlay_rows_max = 9\n[guards]\nunpaired_percent_max = 1\n[feeds.hamta]\nlenient = true\n"
    )
    limits = daemon.store_limits(load(path))
    assert limits.overlay_rows_max == 9
    assert limits.feeds == {"hamta": FeedRules(lenient=True)}
    assert limits.guards.removed_percent_max_by_table["pairs"] == 1
    assert limits.guards.removed_percent_max == GuardLimits().removed_percent_max


def test_a_loop_that_does_not_turn_is_not_live() -> None:
    async def inside() -> None:
        heartbeat = daemon.Heartbeat(0.02)
        beating = asyncio.create_task(heartbeat.beat())
        await asyncio.sleep(0)
        assert heartbeat.live
        await asyncio.sleep(0.05)  # it beats once a second: longer than the bound of this test
        assert not heartbeat.live
        beating.cancel()

    asyncio.run(inside())


def test_upkeep_outlives_a_round_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    async def inside() -> None:
        state = State(load(), Metrics(), lambda: 0, "portable")
        rounds: list[int] = []
        folded: list[int] = []

        async def refresh() -> None:
            rounds.append(1)
            raise ZeroDivisionError

        monkeypatch.setattr(daemon, "REFRESH_SECONDS", 0.001)

        async def checkpoint() -> None:
            folded.append(1)

        monkeypatch.setattr(state, "refresh", refresh)
        monkeypatch.setattr(state, "checkpoint", checkpoint)
        with structlog.testing.capture_logs() as logged:
            upkeep = asyncio.create_task(daemon._keep(state))
            await asyncio.sleep(0.05)
            assert not upkeep.done()
            upkeep.cancel()
        assert len(rounds) > 1
        failures = state.metrics.registry.get_sample_value("eir_upkeep_failures_total")
        assert failures == len(rounds) == len(logged)
        assert folded, "one task that fails does not keep the other from its work"

    asyncio.run(inside())
