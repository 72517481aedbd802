"""PolicyService: what it takes and what it refuses."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from eir.config import Config
from eir.errors import DrainingError, InvalidRequestError, NotReadyError, PolicyError, TrialRunningError
from eir.metrics import Metrics
from eir.policy import compile_policy, default_policy_text
from eir.proto import policy_pb2
from eir.server.policy import PolicyService
from eir.server.state import State
from eir.trial.tally import Change

TEXT = default_policy_text()


def run(use: Callable[[PolicyService, State], Awaitable[Any]], *, ready: bool = True) -> Any:
    async def inside() -> Any:
        state = State(Config(), Metrics(), lambda: 1_700_000_000, "portable")
        if ready:
            state.checker = SimpleNamespace(policy=compile_policy(TEXT))  # type: ignore[assignment]
        try:
            return await use(PolicyService(state), state)
        finally:
            if state.trial is not None:
                state.trial.stop("test")

    return asyncio.run(inside())


def request(**fields: Any) -> bytes:
    given = {"policy": TEXT, "sample_percent": 50, "duration_seconds": 60} | fields
    return policy_pb2.StartTrialRequest(**given).SerializeToString()


def test_a_trial_is_started_shown_and_stopped_and_one_at_a_time() -> None:
    async def use(service: PolicyService, state: State) -> None:
        assert not policy_pb2.GetTrialResponse.FromString(await service.get(b"", None)).HasField("trial")
        assert not policy_pb2.StopTrialResponse.FromString(await service.stop(b"", None)).HasField("trial")
        tried = TEXT.replace('name = "default"', 'name = "tried"')
        begun = policy_pb2.StartTrialResponse.FromString(
            await service.start(request(policy=tried), None)
        ).trial
        assert (begun.policy_name, begun.until - begun.started_at, begun.ended_at) == ("tried", 60, 0)
        assert begun.base_hash == compile_policy(TEXT).hash != begun.policy_hash
        with pytest.raises(TrialRunningError, match="tried is on trial"):
            await service.start(request(), None)
        assert state.trial is not None
        state.trial.tally.changed(Change("operator a", 1, 16, 3, 37), "1")
        shown = policy_pb2.GetTrialResponse.FromString(await service.get(b"", None)).trial
        assert (shown.judged_count, shown.changed_count, shown.subscriber_estimate) == (1, 1, 1)
        (change,) = shown.changes
        assert (change.cohort, change.status_after, change.reason_after) == ("operator a", 3, 37)
        ended = policy_pb2.StopTrialResponse.FromString(await service.stop(b"", None)).trial
        assert (ended.ended_at, ended.ended_why) == (1_700_000_000, "stopped by request")
        again = policy_pb2.StartTrialResponse.FromString(await service.start(request(), None)).trial
        assert again.judged_count == 0

    run(use)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"policy": "name ="}, PolicyError),
        ({"policy": "#" * (1 << 20) + "#"}, InvalidRequestError),
        ({"sample_percent": 0}, InvalidRequestError),
        ({"sample_percent": 100.1}, InvalidRequestError),
        ({"sample_percent": float("nan")}, InvalidRequestError),
        ({"duration_seconds": 0}, InvalidRequestError),
        ({"duration_seconds": 86_401}, InvalidRequestError),
    ],
)
def test_what_cannot_be_tried_is_refused(fields: dict[str, Any], error: type[Exception]) -> None:
    async def use(service: PolicyService, state: State) -> None:
        with pytest.raises(error):
            await service.start(request(**fields), None)
        assert state.trial is None

    run(use)


def test_a_daemon_that_is_not_there_yet_or_leaves_tries_nothing() -> None:
    async def use(service: PolicyService, state: State) -> None:
        state.draining.set()
        with pytest.raises(DrainingError):
            await service.start(request(), None)

    async def early(service: PolicyService, _: State) -> None:
        with pytest.raises(NotReadyError):
            await service.start(request(), None)

    run(use)
    run(early, ready=False)
