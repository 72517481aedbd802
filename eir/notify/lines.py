"""What daemons of a group tell each other, as bytes; and whether anything of it was missed. Pure.

    facts, notices, acts of a commit ──► lines ──► bytes ──► stream ──► line ──► next, repeat, missed

A line names the one before it: so its hearer finds out that something is
missing, whatever a stream lost, and asks the daemon itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from eir.notify.case import State
from eir.notify.facts import Facts
from eir.notify.messages import ENDINGS
from eir.notify.schedule import DAY
from eir.policy.rules import CAUSES
from eir.proto import group_pb2
from eir.verdict import Reason

ROWS_MAX: Final = 500
"""Facts, notices and acts in one line: some tens of kilobytes."""
KEYS_MAX: Final = 10**14
IMSIS_MIN: Final = 10
IMSIS_MAX: Final = 2 * 10**15
"""IMSI codes: a 1, and 1 to 15 digits."""
TIMES_MAX: Final = 1 << 32
GRACE_SECONDS_MAX: Final = 36_500 * DAY
STEPS_MAX: Final = 256
LAST_STAGES: Final = (*ENDINGS, "cut_off")
"""Stages that are no steps of a timetable."""
_CAUSES: Final = frozenset(CAUSES.values())
_TIMES: Final = (
    *("opened_at", "grace_seconds", "since", "until", "paused_seconds", "seen_at", "clock_at"),
    *("warned_at", "noticed_at", "steps_sent", "round_at"),
)


class Order(Enum):
    """How a line comes after what was heard of its daemon."""

    NEXT = "next"
    REPEAT = "repeat"
    MISSED = "missed"
    """Something came before it that was not heard."""


class Told(NamedTuple):
    """What a commit did that others are to know."""

    facts: Sequence[Facts] = ()
    notices: Sequence[group_pb2.ToldNotice] = ()
    acts: Sequence[group_pb2.ToldAct] = ()
    numbers: Sequence[group_pb2.ToldNumber] = ()
    holds: Sequence[group_pb2.ToldHold] = ()
    shifts: Sequence[group_pb2.ToldShift] = ()
    receipts: Sequence[group_pb2.ToldReceipt] = ()

    def __bool__(self) -> bool:
        """Tell whether there is anything to tell."""
        return any(map(len, self))


def order(heard: Mapping[str, int], line: group_pb2.GroupLine) -> Order:
    """Say how a line comes after those that were heard, by daemon."""
    last = heard.get(line.daemon, 0)
    if line.number <= last:
        return Order.REPEAT
    return Order.NEXT if line.previous == last else Order.MISSED


def lines(daemon: str, previous: int, number: int, told: Told) -> Iterator[group_pb2.GroupLine]:
    """Yield the lines of a commit, the first of which has `number`, or a greater one."""
    for at in range(0, max(*map(len, told), 1), ROWS_MAX):
        number = max(number, previous + 1)
        part = slice(at, at + ROWS_MAX)
        yield group_pb2.GroupLine(
            daemon=daemon,
            number=number,
            previous=previous,
            cases=map(_message, told.facts[part]),
            notices=told.notices[part],
            acts=told.acts[part],
            numbers=told.numbers[part],
            holds=told.holds[part],
            shifts=told.shifts[part],
            receipts=told.receipts[part],
        )
        previous = number


def read_line(data: bytes) -> group_pb2.GroupLine | None:
    """Read a line; None for anything else."""
    try:
        line = group_pb2.GroupLine.FromString(data)
    except DecodeError:
        return None
    return line if line.daemon and line.number > line.previous else None


def is_empty(line: group_pb2.GroupLine) -> bool:
    """Tell whether a line tells nothing: the last of everything that a daemon knows."""
    parts = line.cases, line.notices, line.acts, line.numbers, line.holds, line.shifts, line.receipts
    return not any(len(part) for part in parts)


def facts_in(line: group_pb2.GroupLine) -> Iterator[Facts]:
    """Yield the facts of a line; what this daemon has no word for is left out."""
    for said in line.cases:
        if _possible(said):
            times = {name: getattr(said, name) for name in _TIMES}
            yield Facts(said.key, said.imsi, Reason(said.cause), state=State(said.state), **times)


def _possible(said: group_pb2.CaseFacts) -> bool:
    """Tell whether a row of cases has room for what is said, and this daemon a word for it."""
    return (
        said.cause in _CAUSES
        and 0 < said.state < State.RESOLVED
        and 0 < said.key < KEYS_MAX
        and IMSIS_MIN <= said.imsi < IMSIS_MAX
        and said.opened_at > 0
        and said.grace_seconds <= GRACE_SECONDS_MAX
        and said.clock_at + said.grace_seconds + said.paused_seconds < TIMES_MAX
        and said.steps_sent < STEPS_MAX
    )


def _message(facts: Facts) -> group_pb2.CaseFacts:
    return group_pb2.CaseFacts(**facts._asdict())
