"""RegistrySyncService where it meets a sender that does not read."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from eir.config import Config
from eir.errors import DeltaInvalidError
from eir.metrics import Metrics
from eir.server.state import State
from eir.server.sync import SyncService
from eir.settings import Limits


def test_answers_that_nobody_reads_end_the_push() -> None:
    async def inside() -> None:
        config = replace(Config(), limits=Limits(push_idle_seconds_max=1))
        service = SyncService(State(config, Metrics(), lambda: 0, "portable"))

        async def write(_: bytes) -> None:
            await asyncio.Event().wait()

        context: Any = SimpleNamespace(write=write)
        with pytest.raises(DeltaInvalidError, match="answers were not read for 1 seconds"):
            await service._write(context, accepted={"repeat": True})

    asyncio.run(inside())
