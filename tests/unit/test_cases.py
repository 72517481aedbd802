"""Cases, beside a dictionary that knows what was committed."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eir.errors import StateDamagedError, StorageError
from eir.notify import case_table, extents
from eir.notify import cases as module
from eir.notify.case import Case, Event, State, step
from eir.notify.case_file import Happened
from eir.notify.cases import Cases
from eir.verdict import Reason
from eir.whitelist.files import FileLayer

NOW = 1_790_000_000
DAY = 86_400


def case(number: int, state: State = State.OPEN) -> Case:
    """A case like no other."""
    return Case(
        35_693_803_000_000 + number // 3,
        1_432_110_000_000_000 + number,
        Reason(12 + number % 4) if number % 4 in (0, 1) else Reason.NEVER_ACTIVATED,
        NOW + number,
        30 * DAY,
        state,
        NOW + number,
        0,
        NOW + 2 * number,
        NOW,
        number,
        number % 2,
        3,
        number % 5,
    )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Extents of 8 cases."""
    monkeypatch.setattr(module, "EXTENT_BITS", 3)
    monkeypatch.setattr(module, "EXTENT_ROWS", 8)


def opened(folder: Path) -> Cases:
    return Cases.open(folder, FileLayer())


def test_a_case_is_there_after_a_restart(tmp_path: Path) -> None:
    cases = opened(tmp_path)
    number = cases.add(case(1), NOW + 5, NOW + 30 * DAY, Happened(NOW, "opened"))
    cases.commit()
    cases.close()
    cases = opened(tmp_path)
    assert cases.get(number) == case(1)
    assert cases.number(case(1).key, case(1).imsi) == number
    found = cases.table.find(case(1).key, case(1).imsi)
    assert found == (State.OPEN, case(1).cause, NOW + 30 * DAY)
    assert cases.history(number) == [Happened(NOW, "opened")]
    assert cases.due(NOW + 5, 10) == [number]


@pytest.mark.usefixtures("small")
def test_who_follows_learns_that_a_pair_has_no_case_any_more(tmp_path: Path) -> None:
    """A case that goes over to another SIM, whose own case gives way."""
    cases, one = opened(tmp_path), case(3)
    number = cases.add(one, NOW, NOW, Happened(NOW, "opened"))
    other = cases.add(replace(one, imsi=7), NOW, NOW, Happened(NOW, "opened"))
    cases.commit()
    known = cases.log_id
    cases.put(number, replace(one, seen_at=NOW + 9), NOW, NOW)  # changed before the other one is
    cases.resolve([other], NOW)
    cases.move(number, 7)
    cases.put(number, replace(one, imsi=7), NOW, NOW)
    cases.commit()
    for restarted in (False, True):
        if restarted:
            cases.close()
            cases = opened(tmp_path)
        found = cases.changed_after(known, 10)
        assert found is not None
        last = {(int(row["key"]), int(row["imsi"])): State(row["state"]) for row in found[0]}
        assert last == {(one.key, one.imsi): State.RESOLVED, (one.key, 7): State.OPEN}
        assert (len(cases), cases.number(one.key, 7), cases.number(one.key, one.imsi)) == (2, number, -1)
    # The former SIM may be seen again.
    again = cases.add(one, NOW, NOW, Happened(NOW, "opened"))
    cases.commit()
    found = cases.changed_after(known, 10)
    assert found is not None
    assert (found[0]["imsi"][-1], found[0]["state"][-1]) == (one.imsi, State.OPEN)
    cases.move(again, 8)
    cases.put(again, replace(one, imsi=8), NOW, NOW)
    cases.commit()
    cases.fold()
    assert cases.changed_after(known, 10) is None
    cases.close()


def test_without_a_commit_it_is_not(tmp_path: Path) -> None:
    cases = opened(tmp_path)
    cases.add(case(1), 0, 0, Happened(NOW, "opened"))
    cases.close()
    assert len(opened(tmp_path)) == 0


def test_what_is_due_comes_longest_overdue_first(tmp_path: Path) -> None:
    cases = opened(tmp_path)
    times = [NOW + 9, NOW, 0, NOW - 5]
    due = [cases.add(case(n), at, 0, Happened(NOW, "opened")) for n, at in enumerate(times)]
    assert cases.due(NOW, 10) == [due[3], due[1]]
    assert cases.due(NOW, 1) == [due[3]]
    assert cases.due(NOW + 9, 10) == [due[3], due[1], due[0]]
    cases.close()


def test_cases_of_imeis(tmp_path: Path) -> None:
    cases = opened(tmp_path)
    numbers = [cases.add(case(n), 0, 0, Happened(NOW, "opened")) for n in range(9)]
    keys = np.array(sorted({case(n).key for n in numbers}), np.uint64)
    assert cases.numbers_of(keys[1:2]) == numbers[3:6]
    assert cases.numbers_of(keys[1:3]) == numbers[3:9]
    assert cases.numbers_of(keys[2:3] + np.uint64(77)) == []
    cases.close()


def test_a_resolved_case_is_not_found_by_its_pair(tmp_path: Path) -> None:
    cases = opened(tmp_path)
    number = cases.add(case(1), NOW, 0, Happened(NOW, "opened"))
    cases.put(number, replace(case(1), state=State.RESOLVED), 0, 0, Happened(NOW + 1, "resolved"))
    cases.commit()
    cases.close()
    cases = opened(tmp_path)
    assert cases.number(case(1).key, case(1).imsi) == -1
    assert cases.get(number).state == State.RESOLVED
    assert cases.states()[State.RESOLVED] == 1
    assert [line.event for line in cases.history(number)] == ["opened", "resolved"]


def test_the_number_of_a_purged_case_is_given_again(tmp_path: Path) -> None:
    cases = opened(tmp_path)
    first, second = (cases.add(case(n), NOW, 0, Happened(NOW, "opened")) for n in (1, 2))
    cases.put(first, replace(case(1), state=State.RESOLVED), 0, 0)
    cases.commit()
    cases.purge(first)
    cases.commit()
    assert (len(cases), cases.history(first), cases.due(NOW, 9)) == (1, [], [second])
    assert cases.add(case(3), 0, 0, Happened(NOW, "opened")) == first
    cases.close()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(12))
def test_restarts_anywhere_change_nothing_that_was_committed(tmp_path: Path, seed: int) -> None:
    """Random work: what was not committed is gone, all else is as it was."""
    draw = random.Random(seed)
    cases, committed, model = opened(tmp_path), {}, {}
    for at in range(160):
        act = draw.choice(["add", "add", "put", "put", "resolve", "purge", "commit", "fold", "restart"])
        live = [number for number, held in model.items() if held[0].state != State.RESOLVED]
        if act == "add":
            new = case(at)
            model[cases.add(new, NOW + at, NOW, Happened(at, "opened"))] = (new, NOW + at)
        elif act in ("put", "resolve") and live:
            number = draw.choice(live)
            others = [State.OPEN, State.ABSENT, State.CUT_OFF]
            state = State.RESOLVED if act == "resolve" else draw.choice(others)
            changed = replace(model[number][0], state=state, noticed_at=at)
            model[number] = (changed, NOW + at if act == "put" else 0)
            cases.put(number, changed, model[number][1], NOW, Happened(at, act))
        elif act == "purge" and len(live) < len(model):
            number = draw.choice([number for number in model if number not in live])
            cases.purge(number)
            del model[number]
        elif act in ("commit", "fold"):
            cases.commit()
            committed = dict(model)
            if act == "fold":
                cases.fold()
        elif act == "restart":
            cases.close()
            cases, model = opened(tmp_path), dict(committed)
            check(cases, model)
    check(cases, model)
    cases.close()


def check(cases: Cases, model: dict[int, tuple[Case, int]]) -> None:
    assert len(cases) == len(model)
    for number, (held, _) in model.items():
        assert cases.get(number) == held
        assert cases.number(held.key, held.imsi) == (-1 if held.state == State.RESOLVED else number)
    due = {number: at for number, (_, at) in model.items() if at}
    assert cases.due(NOW + 10_000, 10_000) == sorted(due, key=lambda number: (due[number], number))
    assert sum(cases.states().values()) == len(model)


@pytest.mark.usefixtures("small")
def test_folding_drops_the_log_and_old_files(tmp_path: Path) -> None:
    cases = opened(tmp_path)
    for number in range(20):
        cases.add(case(number), 0, 0, Happened(NOW, "opened"))
        cases.commit()
    before = cases.log_bytes()
    for _ in range(3):
        cases.fold()
    assert before > cases.log_bytes() == 0
    for _ in range(3):
        cases.put(0, case(0), 7, 0)
        cases.commit()
        cases.fold()
    assert len(list(tmp_path.glob("cases-*.ext"))) == 3
    cases.close()
    assert len(opened(tmp_path)) == 20


@pytest.mark.usefixtures("small")
def test_damage_is_noticed(tmp_path: Path) -> None:
    cases = opened(tmp_path)
    cases.add(case(1), 0, 0, Happened(NOW, "opened"))
    cases.commit()
    cases.fold()
    cases.close()
    (file,) = tmp_path.glob("cases-*.ext")
    data = bytearray(file.read_bytes())
    data[9] ^= 1
    file.write_bytes(data)
    with pytest.raises(StateDamagedError, match=file.name):
        opened(tmp_path)
    file.unlink()
    with pytest.raises(StateDamagedError, match=file.name):
        opened(tmp_path)


def test_a_damaged_log_is_noticed(tmp_path: Path) -> None:
    cases = opened(tmp_path)
    cases.add(case(1), 0, 0, Happened(NOW, "opened"))
    cases.commit()
    cases.file.db.execute("UPDATE log SET records = zeroblob(length(records))")
    cases.close()
    with pytest.raises(StateDamagedError, match="entry 1 of the log"):
        opened(tmp_path)


def test_a_commit_that_fails_is_made_up_for(tmp_path: Path) -> None:
    cases = opened(tmp_path)
    cases.add(case(1), 0, 0, Happened(NOW, "opened"))
    other = opened(tmp_path)
    other.file.db.execute("BEGIN IMMEDIATE")
    cases.file.db.execute("PRAGMA busy_timeout = 0")
    with pytest.raises(StorageError, match="locked"):
        cases.commit()
    other.file.db.execute("ROLLBACK")
    other.close()
    cases.commit()
    cases.close()
    cases = opened(tmp_path)
    assert (len(cases), len(cases.history(0))) == (1, 1)


def test_many_cases_grow_the_table(tmp_path: Path) -> None:
    cases = opened(tmp_path)
    for number in range(3000):
        cases.add(case(number), 0, 0, Happened(NOW, "opened"))
    assert all(cases.number(case(n).key, case(n).imsi) == n for n in range(3000))
    cases.close()


def test_commits_go_on_while_an_extent_is_written(tmp_path: Path) -> None:
    cases = opened(tmp_path)
    cases.add(case(0), NOW + 1, 0, Happened(NOW, "opened"))
    assert cases.begin_fold() is None, "what is not committed is in no file"
    cases.commit()
    folding = cases.begin_fold()
    assert folding is not None
    cases.put(0, replace(case(0), noticed_at=7), NOW + 2, 0)
    cases.add(case(1), 0, 0, Happened(NOW, "opened"))
    cases.commit()
    folding.write()
    cases.end_fold(folding)
    cases.close()
    cases = opened(tmp_path)
    assert (cases.get(0).noticed_at, cases.get(1), cases.due(NOW + 9, 9)) == (7, case(1), [0])
    cases.close()


def test_what_is_due_is_found_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extents, "BLOCK_BITS", 2)
    monkeypatch.setattr(module, "EXTENT_BITS", 5)
    monkeypatch.setattr(module, "EXTENT_ROWS", 32)
    cases, draw = opened(tmp_path), random.Random(4)
    for number in range(100):
        cases.add(case(number), 0, 0, Happened(NOW, "opened"))
    cases.commit()
    times = [0] * 100
    for round_ in range(60):
        for _ in range(10):
            number = draw.randrange(100)
            times[number] = draw.choice([0, NOW + draw.randrange(60)])
            cases.put(number, case(number), times[number], 0)
        if round_ % 20 == 19:
            cases.commit()
            cases.fold()
            cases.close()
            cases = opened(tmp_path)
        due = sorted((at, number) for number, at in enumerate(times) if 0 < at <= NOW + round_)
        assert cases.due(NOW + round_, 1_000) == [number for _, number in due]
        some = cases.due(NOW + round_, 3)
        assert len(some) == min(3, len(due))
        # The longest overdue is the first, however few are asked for.
        assert [times[number] for number in some[:1]] == [at for at, _ in due[:1]]
    cases.close()


@pytest.mark.usefixtures("small")
def test_resolving_many_is_what_resolving_each_is(tmp_path: Path) -> None:
    cases, states = opened(tmp_path), list(State)
    held = [replace(case(n, states[n % len(states)]), clock_at=(n % 3) * (NOW + 5)) for n in range(30)]
    for one in held:
        cases.add(one, NOW, NOW, Happened(NOW, "opened"))
    numbers = list(range(2, 29))
    before = cases.resolve(numbers, NOW + 9 * DAY)
    assert before["state"].tolist() == [held[n].state for n in numbers]
    cases.commit()
    for restarted in (False, True):
        if restarted:
            cases.close()
            cases = opened(tmp_path)
        assert [cases.get(n) for n in numbers] == [
            step(held[n], Event.REMEDIED, NOW + 9 * DAY) for n in numbers
        ]
        assert cases.due(NOW + DAY, 99) == [0, 1, 29]
        assert [cases.number(one.key, one.imsi) for one in held] == [
            n if n not in numbers and one.state != State.RESOLVED else -1 for n, one in enumerate(held)
        ]
        assert cases.history(2)[-1] == Happened(NOW + 9 * DAY, "resolved")
    cases.close()


def test_whoever_reads_the_table_is_told_of_other_slots(tmp_path: Path) -> None:
    """Of a larger table, and of one that was made longer."""
    cases, told = opened(tmp_path), []
    cases.on_table = lambda table: told.append((table, table.slots))
    for number in range(1, 684):
        cases.add(case(number), 0, NOW, Happened(NOW, "opened"))
    assert not told
    cases.add(case(684), 0, NOW, Happened(NOW, "opened"))
    assert told == [(cases.table, cases.table.slots)]
    assert cases.table.bits == case_table.BITS_MIN + 1
    last = next(key for key in range(1, 1 << 20) if cases.table._home(key) == (1 << cases.table.bits) - 1)
    for number in range(70):
        crowd = replace(case(1000 + number), key=last)
        cases.add(crowd, 0, NOW, Happened(NOW, "opened"))
    assert [slots is cases.table.slots for _, slots in told] == [False, True]
    assert told[1][0] is cases.table is told[0][0]
