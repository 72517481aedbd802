"""Cases for tests."""

from __future__ import annotations

from pathlib import Path

from eir.notify import cases as cases_module
from eir.notify.case import Case, State
from eir.notify.case_file import Happened
from eir.notify.cases import Cases
from eir.notify.schedule import DAY, deadline
from eir.verdict import Reason
from eir.whitelist.files import FileLayer

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


SMALL_EXTENTS = {(cases_module, "EXTENT_BITS"): 6, (cases_module, "EXTENT_ROWS"): 64}
"""What to set so that a few cases fill several extents."""
