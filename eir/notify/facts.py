"""What is known of an unresolved case, so that daemons that know different things come to know the same.

    facts of one daemon ──┐
                          ├──► joined ──► the case, at every daemon
    facts of another    ──┘

`joined` takes of each fact what was first, or last: in whatever order, and
however often facts arrive, the outcome is the same. Times are seconds since the
Unix epoch, 0 where there is none.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from eir.notify.case import Case, State
from eir.verdict import Reason


class Facts(NamedTuple):
    """Of a pair's case: `key` is an IMEI key, `imsi` an IMSI code (see docs/segment-format.md)."""

    key: int
    imsi: int
    cause: Reason
    opened_at: int
    grace_seconds: int
    state: State
    since: int
    until: int
    paused_seconds: int
    seen_at: int
    clock_at: int
    warned_at: int
    noticed_at: int
    steps_sent: int = 0
    """Steps that an SMSC took, or that were passed over; of what waits others are not told."""
    round_at: int = 0
    """When it was last withdrawn: what was said before counts no more."""


_RANK: Final = {
    state: rank
    for rank, state in enumerate((State.ABSENT, State.OPEN, State.CUT_OFF, State.HELD, State.WITHDRAWN))
}
"""Which of two states holds that began in the same second."""


def facts_of(case: Case, steps_sent: int = 0, round_at: int = 0) -> Facts:
    """Return what others may know of an unresolved case."""
    return Facts(
        *(case.key, case.imsi, case.cause, case.opened_at, case.grace_seconds, case.state, case.since),
        *(case.until, case.paused_seconds, case.seen_at, case.clock_at, case.warned_at, case.noticed_at),
        *(steps_sent, round_at),
    )


def joined(one: Facts, other: Facts) -> Facts:
    """Join what is known of the same case.

    Commutative, associative, idempotent; of no use for cases of different pairs or causes.
    """
    opened_at, grace_seconds = min(one[3:5], other[3:5])
    standing = max(one, other, key=_standing)
    said = max(one, other, key=lambda facts: facts.round_at)
    clock_at, warned_at, steps_sent = said.clock_at, said.warned_at, said.steps_sent
    if one.round_at == other.round_at:
        clock_at = _first(one.clock_at, other.clock_at)
        warned_at = _first(one.warned_at, other.warned_at)
        steps_sent = max(one.steps_sent, other.steps_sent)
    return Facts(
        *(one.key, one.imsi, one.cause, opened_at, grace_seconds),
        *(standing.state, standing.since, standing.until, standing.paused_seconds),
        *(max(one.seen_at, other.seen_at), clock_at, warned_at, max(one.noticed_at, other.noticed_at)),
        *(steps_sent, said.round_at),
    )


def settled(facts: Facts, absent_seconds: int) -> Facts:
    """Take an absence back that was none: the phone was seen meanwhile, elsewhere."""
    seen = facts.seen_at + absent_seconds > facts.since and not facts.round_at
    return facts._replace(state=State.OPEN) if facts.state == State.ABSENT and seen else facts


def overruled(mine: Facts, theirs: Facts) -> Facts | None:
    """Return my facts where those who cut the case off did not know of a hold or a withdrawal here.

    Somebody stopped the case while nobody else could be told: what he did goes before the deadline.
    """
    stopped = mine.state in (State.HELD, State.WITHDRAWN) and mine.since <= theirs.since < mine.until
    return mine._replace(since=theirs.since) if stopped and theirs.state == State.CUT_OFF else None


def case_with(facts: Facts, mine: Case | None = None) -> Case:
    """Return the case of joined facts; a notice of `mine` that waits here is still to be sent."""
    steps, waits = facts.steps_sent, False
    if mine is not None:
        steps, waits = max(steps, mine.steps_sent), mine.waits and facts.state != State.CUT_OFF
    return Case(
        *(facts.key, facts.imsi, facts.cause, facts.opened_at, facts.grace_seconds, facts.state, facts.since),
        *(facts.until, facts.seen_at, facts.clock_at, facts.paused_seconds, facts.warned_at),
        *(facts.noticed_at, steps, waits),
    )


def _standing(facts: Facts) -> tuple[int, int, int, int]:
    """Order of the states of a case: the later holds."""
    return facts.since, _RANK[facts.state], facts.until, facts.paused_seconds


def _first(one: int, other: int) -> int:
    """Return the earlier of two times that may be 0, which is none."""
    return min(one, other) if one and other else one or other
