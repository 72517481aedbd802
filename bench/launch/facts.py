"""What the plain model speaks of: rules, cases, who owns what. Nothing of eir is imported."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

OPEN, ABSENT, HELD, WITHDRAWN, CUT, DONE = "OPEN", "ABSENT", "HELD", "WITHDRAWN", "CUT_OFF", "RESOLVED"


@dataclass(frozen=True)
class Rules:
    """What the policy says, in seconds and hours of the day; `grace` and `clock` by cause."""

    utc_offset: int
    grace: dict[str, int]
    clock: dict[str, str]
    reminders: tuple[int, ...]
    last_before: int
    first_after: int
    awake: tuple[int, int]
    cut_off: tuple[int, int]
    spacing: int
    warned_min: int
    absent: int
    cases_per_imei_max: int
    cases_per_hour_max: int
    notices_per_hour_max: int
    cut_offs_per_hour_max: int


@dataclass(slots=True)
class Course:
    """A case as the model knows it."""

    pair: int
    cause: str
    opened: int
    grace: int
    seen: int
    clock: int
    state: str = OPEN
    since: int = 0
    until: int = 0
    paused: int = 0
    warned: int = 0
    noticed: int = 0
    done: int = 0
    """Steps of the timetable that were sent or passed over."""
    pending: str = ""
    """Stage that waits to be sent."""
    step: int = 0
    possible_since: int = 0
    told: list[tuple[str, int]] = field(default_factory=list)
    """Messages the SMSC took."""

    @property
    def end(self) -> int:
        """Deadline without shifts; 0 while the clock has not started."""
        return self.clock + self.grace + self.paused if self.clock else 0


class Registry:
    """What is registered to whom."""

    def __init__(self) -> None:
        """Begin empty."""
        self.owner: dict[int, int] = {}
        self.utilizers: dict[int, set[int]] = defaultdict(set)
        self.registered: set[int] = set()
        self.twin: dict[int, int] = {}
        self.exempt_until: dict[int, int] = {}
        self.in_use_before: set[int] = set()
        self.placeholders: set[int] = set()

    def reason(self, key: int, sim: int, now: int, grace: dict[str, int]) -> tuple[str, int]:
        """Say why a pair is a case, or the empty string; and when the exemption ends that it still has.

        The end of an exemption is a deadline: from a grace before it, the pair is what it will be.
        """
        why, until = self._reason(key, sim), self.exempt_until.get(key, 0)
        if until <= now or not why:
            return why, 0
        return (why, until) if until - now <= grace[why] else ("", 0)

    def _reason(self, key: int, sim: int) -> str:
        mine = self.owner.get(key) == sim or sim in self.utilizers.get(key, ())
        twin = self.twin.get(key)
        other = twin is not None and (self.owner.get(twin) == sim or sim in self.utilizers.get(twin, ()))
        if mine or other:
            return ""
        if key in self.in_use_before or key in self.placeholders:
            return ""
        owned = key in self.owner
        if not owned and twin is not None and (twin in self.owner or twin in self.in_use_before):
            return "unowned_slot"
        if key not in self.registered:
            return "not_registered"
        return "owned_by_other" if owned else "never_activated"
