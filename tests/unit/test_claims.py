"""What a daemon of a group asks for, and what it makes of what it was granted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from notice_group import Node

from eir.errors import StreamUnavailableError
from eir.notify.board import Board
from eir.notify.claims import UNUSED_SECONDS_MAX, Candidate, Claims, Share, claim_of
from eir.notify.outbox import NoticeState

KEY, SIM, OTHER = 35_693_803_564_380, 1_432_110_000_000_001, 1_432_110_000_000_002
NOON = 1_793_521_800


class Scene:
    """A daemon whose time goes as it is told."""

    def __init__(self, folder: Path) -> None:
        async def away() -> Board:
            raise StreamUnavailableError("away")

        self.now = NOON
        self.node = Node(folder, away, lambda: self.now, [], {})

    @property
    def claims(self) -> Claims:
        return self.node.member.claims

    def due(self, *pairs: tuple[int, int]) -> None:
        """Cases whose first notice is due."""
        for pair in pairs:
            self.node.seen(*pair)
        self.node.keeper.tick(self.now, self.node.world, 100)
        self.node.keeper.commit()

    def asked(self, share: Share = Share()) -> list[Candidate]:  # noqa: B008 - immutable
        found = self.claims.candidates(100, share)
        self.node.keeper.commit()
        return found


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.node.kill()


def test_a_subscriber_of_several_cases_is_told_one_thing_at_a_time(scene: Scene) -> None:
    scene.due((KEY, SIM), (KEY + 1, SIM), (KEY, OTHER))
    first = scene.asked()
    assert [one.claim for one in first] == [f"{SIM}-notice", f"{OTHER}-notice"]
    going = scene.node.submit(scene.claims.still_due(first))
    scene.claims.used()
    assert len(going) == 2
    assert scene.asked() == []
    scene.node.answer(going)
    # Until the others could hear of it, it is not asked for, and not let go.
    assert scene.asked() == []
    assert scene.claims.let_go(0) == []
    assert sorted(scene.claims.let_go(scene.node.member.notes.told)) == [f"{SIM}-notice", f"{OTHER}-notice"]
    assert [one.notice.number for one in scene.asked()] == [1]


def test_the_ends_of_cases_are_claimed_each(scene: Scene) -> None:
    scene.due((KEY, SIM))
    case = scene.node.cases.get(0)
    assert claim_of(case, "first") == claim_of(case, "reminder") == f"{SIM}-notice"
    assert len({claim_of(case, stage) for stage in ("cut_off", "resolved", "restored", "fall", "last")}) == 5


def test_what_is_anothers_is_left_to_it_for_a_while(scene: Scene) -> None:
    scene.due((KEY, SIM), (KEY + 1, SIM), *((KEY + number, SIM + number) for number in range(1, 20)))
    shares = [Share(index, 3, 20) for index in range(3)]
    found = [{one.claim for one in scene.asked(share)} for share in shares]
    assert sum(map(len, found)) == len(set.union(*found)) == 20
    scene.now += 21
    assert len(scene.asked(shares[0])) == 20


def test_what_was_sent_meanwhile_is_not_due_any_more(scene: Scene) -> None:
    scene.due((KEY, SIM), (KEY, OTHER))
    first, second = scene.asked()
    outbox = scene.node.keeper.outbox
    outbox.put(first.notice._replace(state=NoticeState.CANCELLED))
    assert scene.claims.still_due([first, second]) == [second.notice]


def test_a_claim_that_was_not_made_use_of_is_let_go(scene: Scene) -> None:
    scene.due((KEY, SIM))
    scene.claims.still_due(scene.asked())
    assert scene.claims.held() == ([f"{SIM}-notice"], [])
    scene.claims.used()
    assert scene.claims.held() == ([], [f"{SIM}-notice"])


def test_a_fall_is_asked_for_then_done_in_its_time(scene: Scene) -> None:
    scene.due((KEY, SIM))
    case, fall = scene.node.cases.get(0), f"{KEY}-{SIM}-fall"
    assert not scene.claims.may_fall(case)
    assert scene.claims.take_wanted(10) == [fall]
    assert scene.claims.take_wanted(10) == []
    scene.claims.grant([fall], scene.now + 5)
    assert scene.claims.held() == ([fall], [])
    scene.now += 6
    assert not scene.claims.may_fall(case), "the lease ran out"
    scene.claims.grant([fall], scene.now + 5)
    assert scene.claims.may_fall(case)
    assert not scene.claims.may_fall(case), "once"
    scene.claims.told([], 7)
    assert (scene.claims.let_go(6), scene.claims.let_go(7)) == ([], [fall])


def test_a_fall_that_is_not_made_use_of_is_not_renewed_for_ever(scene: Scene) -> None:
    fall = f"{KEY}-{SIM}-fall"
    scene.claims.grant([fall], scene.now + 5)
    scene.claims.renewed([fall], scene.now + 50)
    scene.now += 40
    scene.claims.take_wanted(10)
    assert scene.claims.held()[0] == [fall]
    scene.now += int(UNUSED_SECONDS_MAX)
    scene.claims.renewed([fall], scene.now + 50)
    scene.claims.take_wanted(10)
    assert scene.claims.held()[0] == []
