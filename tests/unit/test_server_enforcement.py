"""EnforcementService where storage fails: the override is what must work then."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from eir.check import Checker
from eir.config import load
from eir.errors import StorageError
from eir.metrics import Metrics
from eir.policy import compile_policy, default_policy_text
from eir.proto import enforcement_pb2
from eir.server.enforcement import ALLOW_ALL, EnforcementService
from eir.server.state import State
from eir.verdict import Reason
from eir.whitelist.store import Store

POLICY = enforcement_pb2.ENFORCEMENT_MODE_POLICY


def test_the_override_is_turned_on_though_it_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def inside() -> None:
        store = Store.open(tmp_path, clock=lambda: 1)
        checker = Checker(store, compile_policy(default_policy_text()), lambda: 1)
        state = State(load(), Metrics(), lambda: 1, "portable")
        state.store, state.checker = store, checker
        service = EnforcementService(state)

        def full(*_: Any) -> None:
            raise StorageError("writing the journal: database or disk is full")

        monkeypatch.setattr(store, "set_enforcement", full)
        for mode in (ALLOW_ALL, POLICY):  # off again waits for the disk: nobody is cut off by a failure
            request = enforcement_pb2.SetEnforcementRequest(mode=mode, who="me", why="a test")
            with pytest.raises(StorageError, match="disk is full") as refused:
                await service.set(request.SerializeToString(), None)  # type: ignore[arg-type]
            assert ("is in force" in refused.value.message) == (mode == ALLOW_ALL)
            verdict = checker.check("35365308000001", "432110000000001", "", False)
            assert verdict.reason == Reason.OVERRIDE
        store.close()

    asyncio.run(inside())
