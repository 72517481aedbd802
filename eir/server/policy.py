"""PolicyService: a second policy on trial, beside the one in force."""

from __future__ import annotations

import asyncio
import math

import structlog

from eir.errors import InvalidRequestError, TrialRunningError
from eir.interceptors import Context
from eir.policy import compile_policy
from eir.proto import policy_pb2
from eir.server.check import bounded, parse
from eir.server.state import State
from eir.trial.trial import Trial


class PolicyService:
    """Starts, shows and stops trials."""

    def __init__(self, state: State) -> None:
        """Serve over `state`."""
        self._state = state
        self._turn = asyncio.Lock()
        self._log = structlog.get_logger()

    async def start(self, data: bytes, _: Context) -> bytes:
        """StartTrial."""
        state, checker = self._state, self._state.working()
        state.not_draining()
        request = parse(policy_pb2.StartTrialRequest, data)
        settings = state.config.trials
        bounded("policy", request.policy, state.config.limits.policy_bytes_max)
        if not (math.isfinite(request.sample_percent) and 0 < request.sample_percent <= 100):
            raise InvalidRequestError("sample_percent", "allowed is more than 0, to 100")
        if not 1 <= request.duration_seconds <= settings.seconds_max:
            raise InvalidRequestError("duration_seconds", f"allowed are 1 to {settings.seconds_max}")
        async with self._turn:
            if state.trial is not None and state.trial.running:
                raise TrialRunningError(
                    f"policy {state.trial.policy.name} is on trial; stop it first", until=state.trial.until
                )
            policy = await asyncio.to_thread(compile_policy, request.policy, "policy on trial")
            state.trial = Trial(
                checker,
                policy,
                settings,
                state.metrics,
                state.clock,
                sample_percent=request.sample_percent,
                seconds=request.duration_seconds,
            )
            state.trial.start()
            if state.core is not None:  # its checks are put aside from now on
                state.core.feed()
        self._log.info("policy on trial", policy=policy.name, hash=policy.hash, until=state.trial.until)
        trial = await asyncio.to_thread(_message, state.trial)
        return policy_pb2.StartTrialResponse(trial=trial).SerializeToString()

    async def get(self, _: bytes, __: Context) -> bytes:
        """GetTrial."""
        trial = await asyncio.to_thread(_message, self._state.trial)
        return policy_pb2.GetTrialResponse(trial=trial).SerializeToString()

    async def stop(self, _: bytes, __: Context) -> bytes:
        """StopTrial."""
        if self._state.trial is not None:
            self._state.trial.stop("stopped by request")
        trial = await asyncio.to_thread(_message, self._state.trial)
        return policy_pb2.StopTrialResponse(trial=trial).SerializeToString()


def _message(trial: Trial | None) -> policy_pb2.Trial | None:
    """Return a trial as a message."""
    if trial is None:
        return None
    tally = trial.tally
    return policy_pb2.Trial(
        policy_name=trial.policy.name,
        policy_hash=trial.policy.hash,
        base_hash=trial.base.hash,
        started_at=trial.started_at,
        until=trial.until,
        ended_at=trial.ended_at,
        ended_why=trial.ended_why,
        sample_percent=trial.sample_percent,
        judged_count=tally.judged_count,
        subscriber_estimate=tally.subscriber_count,
        changed_count=tally.changed_count,
        left_out_count=trial.left_out_count,
        changes=[
            policy_pb2.TrialChange(
                **line.change._asdict(),
                check_count=line.check_count,
                subscriber_estimate=line.subscriber_count,
            )
            for line in tally.lines()
        ],
        more_count=tally.more_count,
    )
