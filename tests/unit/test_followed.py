"""Cases that another daemon keeps, as checks know them here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from eir.errors import StateDamagedError
from eir.notify.case import State
from eir.notify.case_table import CaseTable, Found
from eir.notify.extents import ROW
from eir.notify.followed import FILE, Followed, parts_of
from eir.proto import group_pb2
from eir.verdict import Reason
from eir.whitelist.files import FileLayer

KEY, SIM = 35_693_803_564_380, 1_432_110_000_000_001
CAUSE = Reason.NEVER_ACTIVATED


def part(
    numbers: Sequence[int], state: State = State.OPEN, position: int = 0, deadline: int = 5, **more: object
) -> group_pb2.FollowCasesResponse:
    rows = np.zeros(len(numbers), ROW)
    rows["key"], rows["imsi"] = [KEY + number for number in numbers], SIM
    rows["state"], rows["cause"], rows["deadline"] = state, CAUSE, deadline
    made = parts_of(rows, "h", position)
    made.from_beginning = bool(more.get("begin"))
    return made


@pytest.fixture
def shown() -> list[CaseTable]:
    return []


@pytest.fixture
def followed(tmp_path: Path, shown: list[CaseTable]) -> Followed:
    return Followed(tmp_path, FileLayer(), shown.append)


def test_all_then_changes(followed: Followed, shown: list[CaseTable]) -> None:
    followed.take(part([], begin=True))
    followed.take(part(range(3)))
    assert followed.table.find(KEY, SIM) is None  # not before all are there
    followed.take(part([], position=7))
    assert shown[-1].find(KEY + 2, SIM) == Found(State.OPEN, CAUSE, 5)
    assert (len(followed), followed.history, followed.position) == (3, "h", 7)
    followed.take(part([1], State.CUT_OFF, position=8))
    followed.take(part([2], State.RESOLVED, position=9))
    followed.take(part([9], position=10, deadline=77))
    assert followed.table.find(KEY + 1, SIM) == Found(State.CUT_OFF, CAUSE, 5)
    assert followed.table.find(KEY + 2, SIM) is None
    assert followed.table.find(KEY + 9, SIM) == Found(State.OPEN, CAUSE, 77)
    assert len(followed) == 3


def test_a_beginning_forgets_what_was_known_once_it_is_whole(followed: Followed) -> None:
    for one in (part([], begin=True), part([1, 2], position=3)):
        followed.take(one)
    followed.take(part([], begin=True))
    followed.take(part([5]))
    followed.lost()
    assert followed.table.find(KEY + 1, SIM)
    for one in (part([], begin=True), part([5], position=9)):
        followed.take(one)
    assert followed.table.find(KEY + 1, SIM) is None
    assert followed.table.find(KEY + 5, SIM)


def test_the_table_grows_and_checks_are_shown_it(followed: Followed, shown: list[CaseTable]) -> None:
    followed.take(part([], begin=True))
    followed.take(part([], position=1))
    for first in range(0, 5_000, 500):
        followed.take(part(range(first, first + 500), position=2 + first))
    assert all(shown[-1].find(KEY + number, SIM) for number in range(5_000))
    assert len(followed) == 5_000


def test_the_file_has_what_was_known(followed: Followed, tmp_path: Path, shown: list[CaseTable]) -> None:
    followed.take(part([], begin=True))
    followed.take(part(range(50), State.CUT_OFF, position=4))
    followed.take(part([3], State.RESOLVED, position=5))
    followed.save(followed.content())
    again = Followed(tmp_path, FileLayer(), shown.append)
    assert (again.history, again.position, len(again)) == ("h", 5, 49)
    assert again.table.find(KEY + 7, SIM) == Found(State.CUT_OFF, CAUSE, 5)
    assert again.table.find(KEY + 3, SIM) is None


def test_a_damaged_file_is_refused(followed: Followed, tmp_path: Path) -> None:
    followed.take(part([], begin=True))
    followed.take(part(range(5), position=4))
    content = bytearray(followed.content())
    content[-3] ^= 1
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(StateDamagedError):
        Followed(tmp_path, FileLayer(), lambda table: None)
    (tmp_path / FILE).write_bytes(b"")
    with pytest.raises(StateDamagedError):
        Followed(tmp_path, FileLayer(), lambda table: None)


def test_places_without_a_case_are_left_out() -> None:
    rows = np.zeros(3, ROW)
    rows["state"][1], rows["key"][1] = State.OPEN, KEY
    assert list(parts_of(rows, "h", 1).keys) == [KEY]
