"""A case: an unpaired (IMEI, IMSI) seen on the network, and what becomes of it.

    sighted ──► OPEN ──► CUT_OFF ──► RESOLVED; sighted again: a new case
                │  ▲
                ▼  │
     ABSENT, HELD, WITHDRAWN ──────► RESOLVED

TRANSITIONS is the whole of it: the docs' drawing is made from it. Times are
seconds since the Unix epoch, 0 where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from eir.errors import InvalidRequestError
from eir.verdict import Reason


class State(IntEnum):
    """Where a case stands."""

    OPEN = 1
    """Its grace runs, or waits for its first notice."""
    ABSENT = 2
    """Not seen for long: sends nothing, its grace waits."""
    HELD = 3
    """Stopped by somebody, with an end: its grace waits."""
    WITHDRAWN = 4
    """Taken back by somebody, with an end; a new grace begins after it."""
    CUT_OFF = 5
    """Its deadline has fallen."""
    RESOLVED = 6
    """The pair is in order; a later sighting opens a new case."""


class Event(IntEnum):
    """What happens to a case."""

    SIGHTED = 1
    """The pair was seen, unpaired."""
    MISSED = 2
    """It was not seen for the policy's absent_days."""
    REMEDIED = 3
    """Paired, exempt, grandfathered, or the cause is gone."""
    HOLD = 4
    WITHDRAW = 5
    ENDED = 6
    """A hold or a withdrawal reached its end, or was lifted."""
    FELL = 7
    """The deadline fell."""


_S, _E = State, Event
TRANSITIONS: Final = {
    (_S.OPEN, _E.SIGHTED): _S.OPEN,
    (_S.OPEN, _E.MISSED): _S.ABSENT,
    (_S.OPEN, _E.REMEDIED): _S.RESOLVED,
    (_S.OPEN, _E.HOLD): _S.HELD,
    (_S.OPEN, _E.WITHDRAW): _S.WITHDRAWN,
    (_S.OPEN, _E.FELL): _S.CUT_OFF,
    (_S.ABSENT, _E.SIGHTED): _S.OPEN,
    (_S.ABSENT, _E.REMEDIED): _S.RESOLVED,
    (_S.ABSENT, _E.HOLD): _S.HELD,
    (_S.ABSENT, _E.WITHDRAW): _S.WITHDRAWN,
    (_S.HELD, _E.SIGHTED): _S.HELD,
    (_S.HELD, _E.REMEDIED): _S.RESOLVED,
    (_S.HELD, _E.HOLD): _S.HELD,
    (_S.HELD, _E.WITHDRAW): _S.WITHDRAWN,
    (_S.HELD, _E.ENDED): _S.OPEN,
    (_S.WITHDRAWN, _E.SIGHTED): _S.WITHDRAWN,
    (_S.WITHDRAWN, _E.REMEDIED): _S.RESOLVED,
    (_S.WITHDRAWN, _E.WITHDRAW): _S.WITHDRAWN,
    (_S.WITHDRAWN, _E.ENDED): _S.ABSENT,
    (_S.CUT_OFF, _E.SIGHTED): _S.CUT_OFF,
    (_S.CUT_OFF, _E.REMEDIED): _S.RESOLVED,
    (_S.CUT_OFF, _E.HOLD): _S.HELD,
    (_S.CUT_OFF, _E.WITHDRAW): _S.WITHDRAWN,
    (_S.RESOLVED, _E.REMEDIED): _S.RESOLVED,
}
"""State after an event; what is not here is refused."""

GRACE_WAITS: Final = frozenset((State.ABSENT, State.HELD))
"""States whose time does not count against the grace."""
WITH_END: Final = frozenset((Event.HOLD, Event.WITHDRAW))
"""Events that give the state an end."""


@dataclass(frozen=True, slots=True)
class Case:
    """One case; `key` is an IMEI key, `imsi` an IMSI code (see docs/segment-format.md)."""

    key: int
    imsi: int
    cause: Reason
    opened_at: int
    grace_seconds: int
    state: State = State.OPEN
    since: int = 0
    """When it came into its state."""
    until: int = 0
    """End of a hold or a withdrawal."""
    seen_at: int = 0
    clock_at: int = 0
    """When the grace began; 0: it waits for the first notice."""
    paused_seconds: int = 0
    """Of the grace that did not count."""
    warned_at: int = 0
    """When an SMSC accepted the first notice of it; 0: unwarned."""
    noticed_at: int = 0
    """When an SMSC accepted the latest one, may have accepted it, or refused it for good."""
    steps_sent: int = 0
    """Steps of its timetable that were sent, or passed over."""
    waits: bool = False
    """A notice of it is in the outbox without an answer: no other is due before."""

    @property
    def deadline(self) -> int:
        """End of the grace; 0 while its clock has not started, and where it has none to wait for."""
        return self.clock_at + self.grace_seconds + self.paused_seconds if self.clock_at else 0


def after(state: State, event: Event) -> State:
    """State after an event. Raises InvalidRequestError where there is none."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise InvalidRequestError("case", f"is {state.name}: {event.name} is not possible") from None


def step(case: Case, event: Event, now: int, until: int = 0) -> Case:
    """Return the case after an event at a second; `until` is the end of a hold or a withdrawal.

    Raises InvalidRequestError.
    """
    state = after(case.state, event)
    if event in WITH_END and until <= now:
        raise InvalidRequestError("until", "must be later than now")
    seen_at = max(case.seen_at, now) if event == Event.SIGHTED else case.seen_at
    if state == case.state:
        return replace(case, seen_at=seen_at, until=until if event in WITH_END else case.until)
    moved = replace(case, state=state, since=now, until=until if event in WITH_END else 0, seen_at=seen_at)
    if state == State.WITHDRAWN:
        # What was said is taken back: after it the subscriber is warned anew, with the whole grace.
        return replace(moved, clock_at=0, paused_seconds=0, warned_at=0, steps_sent=0, waits=False)
    if case.state in GRACE_WAITS and case.clock_at:
        moved = replace(
            moved, paused_seconds=case.paused_seconds + max(now - max(case.since, case.clock_at), 0)
        )
    return moved
