"""A daemon that is killed: when, in the middle of what, and what it had done by then.

plan ──► armed ──► points of the daemon's work ──► KilledError
disk at the next start ──► what was done before the kill, which nobody outside saw ──► plain model
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from eir.notify.cases import Cases
from eir.notify.link import Fate
from eir.notify.outbox import NoticeState
from eir.notify.schedule import STEPS

from .model import Plain
from .people import DAY, START

DELTAS, SIGHTINGS, TICKING, SENDING = "deltas", "sightings", "ticking", "sending"
FOLDING, PEOPLE = "folding", "people"
"""What the daemon is about. What people do is done whole: who gets no answer looks, and does it again."""
PLACES = (DELTAS, SIGHTINGS, TICKING, SENDING)
POINTS_MAX = 30
"""A kill falls at one of so many places at which something is durable, or about to be."""


class KilledError(BaseException):
    """The daemon was killed. Nothing in it may catch this."""


class Kill(NamedTuple):
    """A kill: from which day on, in the middle of what (empty: of anything), and for how many steps."""

    day: float
    where: str = ""
    down_steps: int = 1


KILLS = (Kill(12.4, SIGHTINGS), Kill(17.3, TICKING, 3), Kill(28.45, TICKING), Kill(33.45, SENDING, 3))


def drawn(random: Random, count: int, days: int) -> tuple[Kill, ...]:
    """Draw kills, in the middle of one thing after another; of some the daemon is away for long."""
    first = sorted(random.uniform(1, days - 3) for _ in range(count))
    down = random.choices((1, 3, 50), (12, 6, 1), k=count)
    return tuple(
        Kill(day, PLACES[number % len(PLACES)], steps)
        for number, (day, steps) in enumerate(zip(first, down, strict=True))
    )


@dataclass
class Killer:
    """Kills the daemon as planned."""

    random: Random
    plan: list[Kill]
    phase: str = ""
    """What the daemon is about."""
    down_steps: int = 0
    """How long the one that is armed leaves it away."""
    _where: str = ""
    _points: int = -1
    """Points until it falls; negative: none is armed."""

    def arm(self, now: int) -> None:
        """Arm the kill whose day has come."""
        if self._points < 0 and self.plan and now >= START + self.plan[0].day * DAY:
            _, self._where, self.down_steps = self.plan.pop(0)
            self._points = self.random.randrange(POINTS_MAX)

    def point(self) -> None:
        """Kill here, where it is to be."""
        if self._points < 0 or self.phase == PEOPLE or self._where not in ("", self.phase):
            return
        self._points -= 1
        if self._points < 0:
            raise KilledError


class InHand(NamedTuple):
    """A notice that was given to the SMSC, and whose answer was not noted yet."""

    pair: int
    stage: str
    taken: bool
    fate: Fate


@dataclass
class Traces:
    """What the daemon left on disk that the model is not told by anybody else."""

    pair_by: dict[tuple[int, int], int]
    in_hand: dict[int, InHand] = field(default_factory=dict)
    """By the notice's id."""
    _history_id: int = 0
    _notice_id: int = 0

    def cut_off(self, cases: Cases) -> list[int]:
        """Return the pairs that were cut off since the last look."""
        return [pair for pair, event in self._happened(cases) if event == "cut off"]

    def _happened(self, cases: Cases) -> list[tuple[int, str]]:
        """Return what became of cases in time since the last look: pairs and events."""
        query = "SELECT number, event FROM history WHERE id > ? AND event IN ('absence', 'end', 'cut off')"
        found = cases.read(f"{query} ORDER BY id", self._history_id)
        self._history_id = cases.read("SELECT coalesce(max(id), 0) FROM history")[0][0]
        return [(self._pair(cases, number), event) for number, event in found]

    def ticked(self, cases: Cases) -> None:
        """Note that the model knows of all notices that came due so far."""
        self._notice_id = cases.read("SELECT coalesce(max(id), 0) FROM notices")[0][0]

    def after_kill(self, cases: Cases, model: Plain, at: int, counts: Counter[str]) -> None:
        """Tell the model what was done when the daemon was killed, at a second."""
        query = "SELECT number, stage FROM notices WHERE id > ? ORDER BY id"
        for number, stage in cases.read(query, self._notice_id):
            if stage in STEPS:
                model.passed(self._pair(cases, number), at)
        for pair, event in self._happened(cases):
            model.passed(pair, at)
            if event == "cut off":
                model.cut_off(pair, at)
        for notice_id, (pair, stage, taken, fate) in self.in_hand.items():
            ((state,),) = cases.read("SELECT state FROM notices WHERE id = ?", notice_id)
            if state == NoticeState.FAILED:
                model.refused_for_good(pair, stage, at)
            elif state >= NoticeState.ACCEPTED and fate == Fate.ACCEPTED:
                model.answered(pair, stage, at)
            elif taken:
                model.in_flight(pair, stage)
                counts["in flight at kills"] += 1
        self.in_hand.clear()

    def _pair(self, cases: Cases, number: int) -> int:
        case = cases.get(number)
        return self.pair_by[case.key, case.imsi]
