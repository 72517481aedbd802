"""What is no case's and all daemons of a group know: numbers, holds, shifts."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from case_samples import KEY, NOON, SIM, opened

from eir.notify.affairs import Affairs
from eir.notify.desk import Bounds, Desk, Tables
from eir.notify.judged import Judged
from eir.notify.keeper import Sighting
from eir.notify.lines import is_empty
from eir.notify.member import Member
from eir.notify.notebook import Held
from eir.notify.schedule import DAY, Shift
from eir.notify.shared_keeper import SharedKeeper
from eir.policy import compile_policy, default_policy_text
from eir.verdict import Reason
from eir.whitelist.journal import Journal
from eir.whitelist.store import Limits, Store

SETTINGS = compile_policy(default_policy_text()).settings
ALL_TACS, ALL_IMSIS = (0, 99_999_999), (0, 1 << 60)


class Office:
    """The desk of a daemon of a group, and what it tells."""

    def __init__(self, folder: Path) -> None:
        self.now = NOON
        self.thread = ThreadPoolExecutor(max_workers=1)
        self.store = Store.open(folder, clock=lambda: self.now, limits=Limits())
        journal = Journal.open(folder / "registry.db", read_only=True)
        self.desk = Desk.open(
            opened(folder),
            self.thread,
            lambda pairs: [Judged(Reason.NEVER_ACTIVATED, True)] * len(pairs),
            SETTINGS,
            Tables(journal, lambda: self.store.generation),
            lambda: self.now,
            Bounds(),
            SharedKeeper,
        )
        assert isinstance(self.desk.keeper, SharedKeeper)
        self.member = Member.of(self.desk.keeper, lambda: self.now, lambda: self.now)
        self.member.hearer.others = Affairs(self.desk, self.member.teller)
        self.entries = 0

    def tell(self, other: Office) -> None:
        """Let another hear what this one did."""
        for number, line in self.member.teller.unpublished(100):
            self.member.teller.published(number)
            self.entries += 1
            other.member.hearer.hear([(f"{self.entries}-0", line)], other.now)
            other.desk.commit()

    def end(self) -> None:
        self.desk.close()
        self.store.close()
        self.thread.shutdown()


@pytest.fixture
def offices(tmp_path: Path) -> Iterator[tuple[Office, Office]]:
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(Office(tmp_path / name))
    yield made[0], made[1]
    for one in made:
        one.end()


def test_a_hold_and_its_release_are_heard_and_the_latest_holds(offices: tuple[Office, Office]) -> None:
    one, two = offices
    one.desk.hold("maryam", "a bad delta")
    one.tell(two)
    assert two.desk.held == Held("a bad delta", NOON, "maryam")
    assert two.desk.keeper.held == "a bad delta"
    two.now += 5
    two.desk.release()
    two.tell(one)
    assert (one.desk.held.why, one.desk.keeper.held) == ("", "")
    one.desk.hear_held(Held("an earlier one", NOON + 1, "late"))
    assert not one.desk.held.why
    assert not one.member.teller.unpublished(10), "what was heard is not told on"


def test_a_guards_hold_is_told_with_the_commit_that_keeps_it(offices: tuple[Office, Office]) -> None:
    one, two = offices
    one.desk.keeper.hold("too many cases")
    one.desk.commit()
    one.tell(two)
    assert (two.desk.held.why, two.desk.held.who) == ("too many cases", "")


def test_shifts_are_heard_and_what_was_undone_stays_so(offices: tuple[Office, Office]) -> None:
    one, two = offices
    shift = Shift(5 * DAY, Reason.NEVER_ACTIVATED, (35_693_803, 35_693_804), ALL_IMSIS)
    noted = one.desk.shift(shift, "two TACs", "maryam", "amnesty")
    one.tell(two)
    assert two.desk.shifts == {noted.id: noted}
    assert two.desk.keeper.shifts == {noted.id: shift}
    undone = two.desk.unshift(noted.id, "reza", "in error")
    two.tell(one)
    assert one.desk.shifts == {noted.id: undone}
    assert not one.desk.keeper.shifts
    one.desk.hear_shift(noted)
    assert not one.desk.keeper.shifts


def test_two_daemons_do_not_give_the_same_id(offices: tuple[Office, Office]) -> None:
    one, two = offices
    shift = Shift(DAY, None, ALL_TACS, ALL_IMSIS)
    for office in (one, two):
        office.desk.shift(shift, "all", "maryam", "amnesty")
    one.tell(two)
    two.tell(one)
    assert one.desk.shifts == two.desk.shifts
    assert len(one.desk.shifts) == 2


def test_numbers_that_checks_named_are_heard(offices: tuple[Office, Office]) -> None:
    one, two = offices
    one.desk.sighted([Sighting(KEY, SIM, NOON, "989120000001")])
    one.tell(two)
    assert two.desk.subscribers([SIM])[SIM].msisdn == 1_989_120_000_001


def test_everything_has_holds_and_shifts(offices: tuple[Office, Office]) -> None:
    one, two = offices
    one.desk.hold("maryam", "a bad delta")
    noted = one.desk.shift(Shift(DAY, None, ALL_TACS, ALL_IMSIS), "all", "maryam", "amnesty")
    parts = list(one.member.teller.everything())
    assert is_empty(parts[-1])
    for part in parts:
        two.member.hearer.caught_up(part, two.now)
    assert two.desk.held.who == "maryam"
    assert two.desk.shifts == {noted.id: noted}
