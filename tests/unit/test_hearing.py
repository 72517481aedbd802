"""What a daemon hears of another of its group, line by line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from notice_group import Node

from eir.errors import StreamUnavailableError
from eir.notify.board import Board
from eir.notify.outbox import Notice, NoticeState
from eir.notify.receipts import Outcome, Receipt
from eir.notify.schedule import HOUR
from eir.proto import group_pb2
from eir.verdict import Reason

KEY, SIM, OTHER = 35_693_803_564_380, 1_432_110_000_000_001, 1_432_110_000_000_002
NOON = 1_793_521_800


class Pair:
    """Two daemons; what one tells the other hears when it is said to."""

    def __init__(self, folder: Path) -> None:
        async def away() -> Board:
            raise StreamUnavailableError("away")

        self.now, self.nodes = NOON, dict[str, Node]()
        self.one, self.two = (
            Node(folder / name, away, lambda: self.now, [], self.nodes) for name in ("one", "two")
        )
        self.entries = 0

    def hear(self, source: Node, target: Node, *, forget: int = 0) -> list[tuple[str, bytes]]:
        """Let one hear what another told since; the first `forget` lines are lost."""
        found = source.member.teller.unpublished(1_000)
        entries = []
        for number, data in found:
            source.member.teller.published(number)
            self.entries += 1
            entries.append((f"{self.entries}-0", data))
        if entries[forget:]:
            target.member.hearer.hear(entries[forget:], self.now)
            target.keeper.commit()
        return entries

    def sent(self, node: Node) -> list[Notice]:
        """Give what is due to an SMSC."""
        node.keeper.tick(self.now, node.world, 100)
        node.keeper.commit()
        return node.submit(node.keeper.outbox.waiting(self.now, 100))


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    for node in (made.one, made.two):
        node.kill()


def test_a_line_again_changes_nothing_and_one_that_was_lost_is_missed(pair: Pair) -> None:
    pair.one.seen(KEY, SIM)
    entries = pair.hear(pair.one, pair.two)
    before = pair.two.case(KEY, SIM)
    assert before is not None
    pair.two.member.hearer.hear(entries, pair.now)
    assert pair.two.case(KEY, SIM) == before
    assert pair.two.member.counts["lines_repeat"] == 1
    pair.one.seen(KEY + 1, SIM)
    pair.one.seen(KEY + 2, SIM)
    pair.hear(pair.one, pair.two, forget=1)
    assert pair.two.member.hearer.missed == {pair.one.name}
    assert pair.two.case(KEY + 1, SIM) is None
    for part in pair.one.member.teller.everything():
        pair.two.member.hearer.caught_up(part, pair.now)
    assert not pair.two.member.hearer.missed
    assert pair.two.case(KEY + 1, SIM) == pair.one.case(KEY + 1, SIM)


def test_what_others_told_a_subscriber_keeps_the_next_notice_back(pair: Pair) -> None:
    """Of another case of his, whether or not the case that he was told of is known here."""
    spacing = pair.one.settings.notices.spacing_hours_min * HOUR
    pair.two.answers[KEY, SIM] = Reason.OWNER  # by the tables there it is in order: no case
    pair.one.seen(KEY, SIM)
    (going,) = pair.sent(pair.one)
    pair.one.take([going])
    pair.one.answer([going])
    pair.hear(pair.one, pair.two)
    assert pair.two.case(KEY, SIM) is None
    pair.two.seen(KEY + 1, SIM)
    pair.two.seen(KEY + 1, OTHER)
    assert [one.number for one in pair.sent(pair.two)] == [pair.two.cases.number(KEY + 1, OTHER)]
    waits = pair.two.keeper.outbox.waiting(pair.now + spacing, 10)
    assert [one.due_at for one in waits] == [pair.now + spacing]


def test_who_missed_a_notice_learns_when_a_subscriber_was_told(pair: Pair) -> None:
    pair.one.seen(KEY, SIM)
    pair.one.answer(pair.sent(pair.one))
    for part in pair.one.member.teller.everything():
        pair.two.member.hearer.caught_up(part, pair.now)
    pair.two.seen(KEY + 1, SIM)
    assert pair.sent(pair.two) == []


def test_receipts_are_noted_by_all(pair: Pair) -> None:
    pair.one.seen(KEY, SIM)
    (going,) = pair.sent(pair.one)
    pair.one.answer([going])
    pair.hear(pair.one, pair.two)
    (message_id,) = pair.one.keeper.outbox.of_case(0, 0)[0].message_ids
    # The SMSC sends it to the session of the daemon that did not submit.
    pair.two.keeper.receipt("main", Receipt(message_id, Outcome.DELIVERED, ""), pair.now + 60)
    pair.two.keeper.commit()
    entries = pair.hear(pair.two, pair.one)
    (notice,) = pair.one.keeper.outbox.of_case(0, 0)
    assert (notice.state, notice.changed_at) == (NoticeState.DELIVERED, pair.now + 60)
    assert pair.one.member.counts["receipts_by_others"] == 1
    assert pair.one.member.teller.unpublished(10) == [], "what was heard is not told on"
    # A line of another daemon's that says it once more.
    line = group_pb2.GroupLine.FromString(entries[-1][1])
    line.daemon, line.number, line.previous = "third", 5, 0
    pair.one.member.hearer.hear([("9999-0", line.SerializeToString())], pair.now)
    assert pair.one.member.counts["receipts_of_no_use"] == 1


def test_a_receipt_of_an_id_that_was_given_again_is_of_no_use(pair: Pair) -> None:
    pair.one.seen(KEY, SIM)
    pair.one.answer(pair.sent(pair.one))
    (notice,) = pair.one.keeper.outbox.of_case(0, 0)
    told = group_pb2.ToldReceipt(smsc="main", message_ids=notice.message_ids, stage="last", state=4)
    line = group_pb2.GroupLine(daemon="third", number=1, receipts=[told])
    pair.one.member.hearer.hear([("1-0", line.SerializeToString())], pair.now)
    assert pair.one.keeper.outbox.of_case(0, 0)[0].state == NoticeState.ACCEPTED
    assert pair.one.member.counts["receipts_of_no_use"] == 1


def test_what_is_said_of_a_replaced_sim_is_of_its_new_one(pair: Pair) -> None:
    pair.one.seen(KEY, SIM)
    pair.hear(pair.one, pair.two)
    pair.two.keeper.replace_sims([(SIM, OTHER)], pair.now)
    pair.two.keeper.commit()
    # The other daemon has not read the delta yet, and warns.
    pair.one.answer(pair.sent(pair.one))
    pair.hear(pair.one, pair.two)
    case = pair.two.case(KEY, OTHER)
    assert case is not None
    assert case.warned_at == pair.now
    assert pair.two.case(KEY, SIM) is None
    # A case of the former SIM that opened later is its own.
    pair.now += HOUR
    pair.one.keeper.replace_sims([(SIM, OTHER)], pair.now - HOUR)
    pair.one.seen(KEY, SIM)
    pair.hear(pair.one, pair.two)
    found = pair.two.case(KEY, SIM)
    assert found is not None
    assert found.opened_at == pair.now
