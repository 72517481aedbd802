"""What daemons tell each other, as bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from property.test_facts_laws import known

from eir.notify.facts import Facts
from eir.notify.lines import ROWS_MAX, Order, Told, facts_in, is_empty, lines, order, read_line
from eir.proto import group_pb2
from eir.verdict import Reason


def facts(number: int = 0) -> Facts:
    told = {
        "cause": 36,
        "opened_at": 1_790_000_000,
        "grace_seconds": 86_400,
        "state": 1,
        "since": 1_790_000_000,
    }
    made = group_pb2.CaseFacts(key=35_693_803_564_380 + number, imsi=1_432_110_000_000_001, **told)
    return next(facts_in(group_pb2.GroupLine(cases=[made])))


@given(st.lists(known, max_size=5))
def test_what_is_written_is_read(told: list[Facts]) -> None:
    made = list(lines("a", 3, 5, Told(told)))
    read = [read_line(line.SerializeToString()) for line in made]
    assert [one for line in read if line for one in facts_in(line)] == told
    assert (made[0].previous, made[0].number) == (3, 5)


def test_a_large_commit_is_several_lines_each_after_the_one_before() -> None:
    made = list(lines("a", 10, 4, Told([facts(number) for number in range(ROWS_MAX * 2 + 1)])))
    assert [(line.previous, line.number) for line in made] == [(10, 11), (11, 12), (12, 13)]
    assert [len(line.cases) for line in made] == [ROWS_MAX, ROWS_MAX, 1]


def test_a_line_is_next_a_repeat_or_shows_that_one_was_missed() -> None:
    heard = {"a": 5}
    line = group_pb2.GroupLine
    assert order(heard, line(daemon="a", previous=5, number=9)) is Order.NEXT
    assert order(heard, line(daemon="a", previous=4, number=5)) is Order.REPEAT
    assert order(heard, line(daemon="a", previous=6, number=9)) is Order.MISSED
    assert order(heard, line(daemon="b", previous=0, number=1)) is Order.NEXT
    assert order(heard, line(daemon="b", previous=1, number=2)) is Order.MISSED


@given(st.binary(max_size=200))
def test_garbage_is_no_line(data: bytes) -> None:
    line = read_line(data)
    if line is not None:
        assert line.daemon
        list(facts_in(line))


def test_what_there_is_no_room_or_no_word_for_is_left_out() -> None:
    good = group_pb2.CaseFacts(
        key=1, imsi=1_432_110_000_000_001, cause=Reason.NOT_REGISTERED, opened_at=1, state=1
    )
    assert len(list(facts_in(group_pb2.GroupLine(cases=[good])))) == 1
    for change in (
        {"cause": 1},
        {"state": 6},
        {"state": 0},
        {"key": 10**14},
        {"imsi": 5},
        {"opened_at": 0},
        {"clock_at": (1 << 32) - 1, "grace_seconds": 86_400},
        {"steps_sent": 256},
    ):
        bad = group_pb2.CaseFacts()
        bad.CopyFrom(good)
        for name, value in change.items():
            setattr(bad, name, value)
        assert not list(facts_in(group_pb2.GroupLine(cases=[bad]))), change


def test_the_last_of_everything_is_empty() -> None:
    assert is_empty(group_pb2.GroupLine(daemon="a", number=3))
    assert not is_empty(group_pb2.GroupLine(daemon="a", holds=[group_pb2.ToldHold(at=1)]))
