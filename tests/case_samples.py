"""Cases for tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from eir.notify import cases as cases_module
from eir.notify.case import Case, State
from eir.notify.case_file import Happened
from eir.notify.cases import Cases
from eir.notify.judged import Judged
from eir.notify.keeper import Keeper
from eir.notify.outbox import Outbox
from eir.notify.schedule import DAY, deadline
from eir.policy import compile_policy, default_policy_text
from eir.verdict import Reason
from eir.whitelist.files import FileLayer

K = TypeVar("K", bound=Keeper)
SHIPPED = compile_policy(default_policy_text()).settings
"""The policy that is shipped."""
NOON = 1_800_000_000
KEY, SIM = 35_693_803_564_380, 1_432_110_000_000_001
CAUSES = (
    Reason.UNOWNED_SLOT,
    Reason.OWNED_BY_OTHER,
    Reason.NEVER_ACTIVATED,
    Reason.NOT_REGISTERED,
)


def opened(folder: Path) -> Cases:
    """Cases of a folder."""
    return Cases.open(folder, FileLayer())


def case(number: int, **changes: object) -> Case:
    """A case that differs from others by its number."""
    values: dict[str, object] = {
        "key": KEY + number // 2,
        "imsi": SIM + number,
        "cause": CAUSES[number % 4],
        "opened_at": NOON + number,
        "grace_seconds": 30 * DAY,
        "seen_at": NOON + number,
        "clock_at": 0 if number % 5 == 0 else NOON + number,
        "warned_at": 0 if number % 3 == 0 else NOON + number,
    }
    return Case(**(values | changes))  # type: ignore[arg-type]


def add(cases: Cases, one: Case) -> int:
    """Take a case in."""
    return cases.add(one, NOON, deadline(one, 0), Happened(NOON, "opened"))


def fill(cases: Cases, count: int) -> None:
    """Cases of every cause, some resolved."""
    for number in range(count):
        add(cases, case(number, state=State.RESOLVED if number % 7 == 6 else State.OPEN))
    cases.commit()


def small_extents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few cases fill several extents."""
    monkeypatch.setattr(cases_module, "EXTENT_BITS", 6)
    monkeypatch.setattr(cases_module, "EXTENT_ROWS", 64)


def kept(kind: type[K], folder: Path) -> Iterator[K]:
    """A keeper of no cases, while it is needed; every pair that it asks of was never activated."""
    cases = opened(folder)
    judge = lambda pairs: [Judged(Reason.NEVER_ACTIVATED, True)] * len(pairs)  # noqa: E731
    yield kind(cases, Outbox(cases), judge, SHIPPED)
    cases.close()
