"""Notices that wait, counted beside the keeper."""

from __future__ import annotations

from pathlib import Path

import pytest
from case_samples import NOON, opened

from eir.errors import StorageError
from eir.notify.backlog import Backlog, Waiting
from eir.notify.outbox import NoticeState, Outbox
from eir.notify.sender import NO_MSISDN


def test_what_waits_by_stage_as_it_is_committed(tmp_path: Path) -> None:
    cases = opened(tmp_path)
    outbox = Outbox(cases)
    backlog = Backlog.open(tmp_path)
    assert backlog.waiting() == []
    first = outbox.add(0, NOON, "first", 1, NOON + 5, NOON)
    outbox.put(first._replace(error=NO_MSISDN))
    outbox.add(1, NOON, "first", 1, NOON + 3, NOON)
    outbox.add(2, NOON, "last", 4, NOON + 9, NOON)
    outbox.put(outbox.add(3, NOON, "last", 4, NOON, NOON)._replace(state=NoticeState.SUBMITTED))
    assert backlog.waiting() == []
    cases.commit()
    assert backlog.waiting() == [Waiting("first", 2, NOON + 3, 1), Waiting("last", 1, NOON + 9, 0)]
    backlog.close()
    cases.close()


def test_without_the_file_it_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        Backlog.open(tmp_path)
