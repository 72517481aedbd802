"""Parts of the daemon that need no process; the rest is in tests/integration."""

import asyncio

import pytest
import structlog

from eir import daemon, native
from eir.config import load
from eir.errors import EngineUnavailableError
from eir.metrics import Metrics
from eir.server.priority import CheckThreads
from eir.server.state import State


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
            upkeep = asyncio.create_task(daemon._keep(state, CheckThreads()))
            await asyncio.sleep(0.05)
            assert not upkeep.done()
            upkeep.cancel()
        assert len(rounds) > 1
        failures = state.metrics.registry.get_sample_value("eir_upkeep_failures_total")
        assert failures == len(rounds) == len(logged)
        assert folded, "one task that fails does not keep the other from its work"

    asyncio.run(inside())
