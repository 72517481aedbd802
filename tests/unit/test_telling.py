"""What a daemon tells the others of its group, of each commit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from notice_group import Node

from eir.errors import StorageError, StreamUnavailableError
from eir.notify import telling as telling_module
from eir.notify.board import Board
from eir.notify.case import Event
from eir.notify.lines import facts_in, is_empty, read_line
from eir.notify.outbox import Notice, NoticeState
from eir.notify.receipts import Outcome, Receipt
from eir.notify.schedule import DAY
from eir.proto import group_pb2

KEY, SIM = 35_693_803_564_380, 1_432_110_000_000_001
NOW = 1_793_521_800


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    async def away() -> Board:
        raise StreamUnavailableError("away")

    made = Node(tmp_path, away, lambda: NOW, [], {})
    yield made
    made.kill()


def told(node: Node) -> list[group_pb2.GroupLine]:
    """What is to be published, which is published."""
    found = node.member.teller.unpublished(1_000)
    for number, _ in found:
        node.member.teller.published(number)
    return [line for _, data in found if (line := read_line(data))]


def sent(node: Node) -> Notice:
    """The first notice, as it was given to an SMSC."""
    node.keeper.tick(NOW, node.world, 10)
    node.keeper.commit()
    return node.submit(node.keeper.outbox.waiting(NOW, 10))[0]


def test_a_commit_is_told_once_with_what_changed(node: Node) -> None:
    node.seen(KEY, SIM)
    node.seen(KEY + 1, SIM)
    one, two = told(node)
    assert [(facts.key, facts.opened_at) for facts in facts_in(one)] == [(KEY, NOW)]
    assert two.previous == one.number
    assert told(node) == []
    node.seen(KEY, SIM)  # says nothing new
    assert told(node) == []


def test_what_was_not_committed_is_told_with_the_commit_that_succeeds(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise StorageError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(node.cases.file, "commit", fails)
        with pytest.raises(StorageError):
            node.seen(KEY, SIM)
        assert told(node) == []
    node.keeper.commit()
    assert [facts.key for line in told(node) for facts in facts_in(line)] == [KEY]


def test_what_was_not_published_is_told_after_a_kill(node: Node) -> None:
    node.seen(KEY, SIM)
    node.kill()
    node.start()
    assert [facts.key for line in told(node) for facts in facts_in(line)] == [KEY]


def test_answers_and_receipts_are_told(node: Node) -> None:
    node.seen(KEY, SIM)
    notice = sent(node)
    told(node)
    node.keeper.accepted(notice, ("0A1B", "0A1C"), NOW)
    node.keeper.commit()
    (line,) = told(node)
    assert [(one.stage, one.state, list(one.message_ids)) for one in line.notices] == [
        ("first", NoticeState.ACCEPTED, ["0A1B", "0A1C"])
    ]
    assert [facts.steps_sent for facts in facts_in(line)] == [1]
    receipt = Receipt("0A1B", Outcome.FAILED, "005")
    node.keeper.receipt("main", receipt, NOW + 5)
    node.keeper.commit()
    (line,) = told(node)
    assert [(one.smsc, one.message_ids[0], one.state, one.error) for one in line.receipts] == [
        ("main", "0A1B", NoticeState.FAILED, "005")
    ]
    node.keeper.receipt("main", receipt, NOW + 6)
    node.keeper.commit()
    assert told(node) == [], "a repeat says nothing new"


def test_acts_are_told_with_who_and_why(node: Node) -> None:
    node.seen(KEY, SIM)
    told(node)
    node.keeper.act(0, Event.HOLD, NOW, NOW + DAY, "maryam", "in court")
    node.keeper.commit()
    (line,) = told(node)
    assert [(act.event, act.who, act.why) for act in line.acts] == [("hold", "maryam", "in court")]


def test_everything_ends_with_the_number_of_the_last_line(node: Node) -> None:
    for number in range(5):
        node.seen(KEY + number, SIM)
    *parts, last = node.member.teller.everything()
    assert {facts.key - KEY for part in parts for facts in facts_in(part)} == set(range(5))
    assert is_empty(last)
    assert (last.daemon, last.number) == (node.name, node.member.notes.told)


def test_lines_that_were_published_are_forgotten(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling_module, "FORGET_LINES", 4)
    for number in range(6):
        node.seen(KEY + number, SIM)
        told(node)
    assert node.cases.read("SELECT count(*) FROM group_lines")[0][0] < 4


def test_a_damaged_line_is_passed_over_and_counted(node: Node) -> None:
    node.seen(KEY, SIM)
    node.cases.file.db.execute("UPDATE group_lines SET line = x'00'")
    assert told(node) == []
    node.seen(KEY + 1, SIM)
    assert [facts.key for line in told(node) for facts in facts_in(line)] == [KEY + 1]
    assert node.member.counts["lines_damaged"] == 1
