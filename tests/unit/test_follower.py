"""Cases that deltas touched, looked at in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import store_model
from case_samples import NOON, SIM, opened

from eir.errors import StorageError
from eir.notify import follower as follower_module
from eir.notify.follower import Follower
from eir.notify.judged import Judged, NotJudgedError
from eir.notify.keeper import Keeper, Sighting
from eir.notify.notebook import Notebook
from eir.notify.outbox import Outbox
from eir.policy import compile_policy, default_policy_text
from eir.verdict import Reason
from eir.whitelist.journal import Journal
from eir.whitelist.operation import Operation
from eir.whitelist.rows import Op, Role
from eir.whitelist.store import Limits, Store

KEY = 35_693_803_000_000
SETTINGS = compile_policy(default_policy_text()).settings


class Scene:
    """A store, and a follower whose judge notes whom it was asked about."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store.open(folder, clock=lambda: NOON, limits=Limits(rebuild_bytes_per_second_max=0))
        self.asked: list[int] = []
        self.override = False
        self.start()

    def start(self) -> None:
        self.cases = opened(self.folder)
        self.journal = Journal.open(self.folder / "registry.db", read_only=True)
        keeper = Keeper(self.cases, Outbox(self.cases), self.judge, SETTINGS)
        self.follower = Follower(
            keeper, Notebook(self.cases), self.journal, lambda: self.store.generation, lambda: NOON, 100
        )

    def restart(self) -> None:
        self.end()
        self.asked.clear()
        self.start()

    def end(self) -> None:
        self.cases.close()
        self.journal.close()

    def judge(self, pairs: Sequence[tuple[int, int]]) -> list[Judged]:
        if self.override:
            raise NotJudgedError
        self.asked += [key - KEY for key, _ in pairs]
        return [Judged(Reason.NEVER_ACTIVATED, True) for _ in pairs]

    def open_cases(self, *keys: int) -> None:
        self.follower.keeper.sighted([Sighting(KEY + key, SIM, NOON) for key in keys])
        self.cases.commit()
        self.asked.clear()

    def delta(self, *rows: Operation, parts: int = 1) -> None:
        store_model.push(self.store, list(rows), parts=parts)

    def follow(self) -> list[int]:
        """Look at everything; return whom the judge was asked about, in order."""
        while self.follower.behind:
            self.follower.step(NOON)
            self.cases.commit()
        asked, self.asked = self.asked, []
        return asked


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.end()
    made.store.close()


def registered(*keys: int) -> list[Operation]:
    return [Operation(Op.REGISTER, KEY + key) for key in keys]


def paired(*keys: int) -> list[Operation]:
    return [Operation(Op.PAIR, KEY + key, imsi=SIM + key, cause=Role.OWNER) for key in keys]


def test_only_cases_of_touched_phones_are_looked_at(scene: Scene) -> None:
    scene.delta(*registered(*range(10)))
    scene.follow()
    scene.open_cases(*range(10))
    scene.delta(*paired(3, 5))
    assert scene.follow() == [3, 5]
    assert scene.follower.serial == 2
    scene.delta(Operation(Op.SUBSCRIBER, imsi=SIM, time=1_98912, name="fa"))
    assert scene.follow() == []
    assert scene.follower.serial == 3


def test_the_other_slots_come_after_the_slots_themselves(scene: Scene) -> None:
    scene.delta(*registered(*range(10)), Operation(Op.LINK, KEY + 1, imei_other=KEY + 8))
    scene.follow()
    scene.open_cases(1, 2, 8)
    scene.delta(*paired(1, 2), parts=2)
    assert scene.follow() == [1, 2, 8]
    scene.delta(Operation(Op.TRACK, KEY + 1))
    assert scene.follow() == [1]


def test_small_deltas_go_before_the_rest_of_large_ones(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "SMALL_ROWS", 5)
    monkeypatch.setattr(follower_module, "PIECE_CASES_MIN", 10)
    monkeypatch.setattr(follower_module, "PIECE_SECONDS", 1e-9)
    scene.delta(*registered(*range(60)))
    scene.follow()
    scene.open_cases(*range(60))
    scene.delta(*paired(*range(50)), parts=5)
    for _ in range(4):
        scene.follower.step(NOON)
    scene.delta(*paired(55))
    asked = scene.follow()
    assert sorted(asked) == [*range(50), 55]
    assert asked.index(55) < 40
    assert scene.follower.serial == 3


def test_a_restart_between_goes_on_with_what_was_not_looked_at(scene: Scene) -> None:
    scene.delta(*registered(*range(10)))
    scene.follow()
    scene.open_cases(*range(10))
    scene.delta(*paired(3))
    scene.restart()
    assert scene.follower.behind == 1
    assert scene.follow() == [3]
    scene.restart()
    assert scene.follow() == []


def test_what_the_journal_does_not_have_has_all_looked_at(scene: Scene) -> None:
    scene.delta(*registered(*range(10)))
    scene.follow()
    scene.open_cases(*range(10))
    scene.delta(*paired(3))
    scene.delta(*paired(4))
    with scene.store.journal.transaction():
        scene.store.journal._db.execute("DELETE FROM deltas WHERE serial = 2")
    scene.restart()
    assert scene.follow() == list(range(10))
    assert scene.follower.serial == 3


DAMAGE = "UPDATE chunks SET rows = x'00' WHERE token = (SELECT max(token) FROM deltas)"


def test_a_damaged_small_delta_has_all_looked_at(scene: Scene) -> None:
    scene.delta(*registered(*range(10)))
    scene.follow()
    scene.open_cases(*range(10))
    scene.delta(*paired(3))
    with scene.store.journal.transaction():
        scene.store.journal._db.execute(DAMAGE)
    scene.delta(*paired(4))
    assert sorted(scene.follow()) == sorted([*range(10), 4])
    assert scene.follower.serial == 3


def test_a_damaged_delta_has_all_looked_at(scene: Scene) -> None:
    scene.delta(*registered(*range(10)))
    scene.follow()
    scene.open_cases(*range(10))
    scene.delta(*paired(3, 4, 5, 6), parts=2)
    with scene.store.journal.transaction():
        scene.store.journal._db.execute(
            "UPDATE chunks SET rows = x'00' WHERE token = (SELECT max(token) FROM deltas)"
        )
    with pytest.raises(StorageError):
        scene.follow()
    assert scene.follow() == list(range(10))
    assert scene.follower.serial == 2


def test_a_read_that_fails_begins_the_delta_anew(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.delta(*registered(*range(10)))
    scene.follow()
    scene.open_cases(*range(10))
    scene.delta(*paired(3, 4), parts=2)
    read, failures = scene.journal.chunk, iter([False, True])

    def fails(*args: object) -> bytes:
        if next(failures, False):
            raise StorageError("no")
        return read(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(scene.journal, "chunk", fails)
    with pytest.raises(StorageError):
        scene.follow()
    assert set(scene.follow()) == {3, 4}


def test_while_nothing_can_be_judged_the_piece_waits(scene: Scene) -> None:
    scene.delta(*registered(*range(10)))
    scene.follow()
    scene.open_cases(*range(10))
    scene.delta(*paired(3))
    scene.override = True
    with pytest.raises(NotJudgedError):
        scene.follow()
    scene.override = False
    assert scene.follow() == [3]


def test_look_at_all(scene: Scene) -> None:
    scene.delta(*registered(*range(250)))
    scene.follow()
    scene.open_cases(*range(250))
    scene.follower.look_at_all()
    assert scene.follow() == list(range(250))
