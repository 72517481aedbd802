"""InquiryService: what is privileged, bounds, and what happens before there are tables."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from eir.check import Checker
from eir.config import load
from eir.errors import InquiriesBusyError, InvalidRequestError, NotReadyError
from eir.inquiry.inquirer import Inquirer
from eir.metrics import Metrics
from eir.policy import compile_policy, default_policy_text
from eir.proto import inquiry_pb2
from eir.server.inquiry import FORMS, PRIVILEGED, InquiryService
from eir.server.state import State
from eir.whitelist.store import Store

KEY = "35693803564380"
NOBODY: Any = SimpleNamespace(invocation_metadata=lambda: (("eir-client", "web"),))


def test_all_but_the_public_form_are_privileged() -> None:
    assert frozenset(FORMS) - PRIVILEGED == {"InquireStatus"}
    assert FORMS["InquireHistory"] == "history"


def state_of(folder: Path, **settings: object) -> State:
    config = load(overrides={"data_dir": str(folder), **settings})
    return State(config, Metrics(), lambda: 1_000, "portable")


def open_tables(state: State) -> None:
    state.store = Store.open(state.config.data_dir, clock=state.clock)
    checker = Checker(state.store, compile_policy(default_policy_text()), state.clock)
    registry = state.config.data_dir / "registry.db"
    state.inquirer = Inquirer(state.store, registry, lambda: checker, state.clock)


def count(state: State, form: str, outcome: str) -> float | None:
    labels = {"form": form, "outcome": outcome}
    return state.metrics.registry.get_sample_value("eir_inquiries_total", labels)


def test_until_the_tables_are_loaded_nothing_is_told(tmp_path: Path) -> None:
    async def inside() -> None:
        state = state_of(tmp_path)
        service = InquiryService(state)
        for ask in (service.equipment, service.subscriber, service.history, service.status):
            with pytest.raises(NotReadyError):
                await ask(b"", NOBODY)
        assert count(state, "status", "failed") == 1
        await state.close()

    asyncio.run(inside())


def test_too_many_at_once_are_refused_and_the_others_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def inside() -> None:
        state = state_of(tmp_path, **{"inquiry.waiting_max": 2})
        open_tables(state)
        service, go = InquiryService(state), threading.Event()
        asked = Inquirer.status
        monkeypatch.setattr(Inquirer, "status", lambda *given: (go.wait(10), asked(*given))[1])
        request = inquiry_pb2.InquireStatusRequest(imei=KEY).SerializeToString()
        waiting = [asyncio.create_task(service.status(request, NOBODY)) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(InquiriesBusyError):
            await service.status(request, NOBODY)
        go.set()
        answers = [
            inquiry_pb2.InquireStatusResponse.FromString(data) for data in await asyncio.gather(*waiting)
        ]
        assert {answer.status for answer in answers} == {inquiry_pb2.PUBLIC_STATUS_NOT_FOUND}
        assert count(state, "status", "failed") == 1
        assert count(state, "status", "not_found") == 2
        await state.close()

    asyncio.run(inside())


def test_a_public_inquiry_leaves_no_audit(tmp_path: Path) -> None:
    async def inside() -> None:
        state = state_of(tmp_path)
        open_tables(state)
        service = InquiryService(state)
        await service.status(inquiry_pb2.InquireStatusRequest(imei=KEY).SerializeToString(), NOBODY)
        assert not (tmp_path / "inquiries.db").exists()
        request = inquiry_pb2.InquireEquipmentRequest(imei=KEY, who="desk")
        await service.equipment(request.SerializeToString(), NOBODY)
        assert (tmp_path / "inquiries.db").exists()
        named: Any = SimpleNamespace(invocation_metadata=lambda: (("eir-client", "x" * 200),))
        with pytest.raises(InvalidRequestError, match="eir-client"):
            await service.equipment(request.SerializeToString(), named)
        assert count(state, "equipment", "refused") == 1
        await state.close()

    asyncio.run(inside())
