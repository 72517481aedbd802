"""Settings of a policy: what the TOML says, checked, with its defaults.

The fields of these classes are the keys of the file. Times are seconds since
the Unix epoch, 0 where none is set.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from eir.policy.rules import CAUSES

Span = tuple[int, int]
"""First and last, inclusive: TACs, or IMSI digits behind a leading 1 (see `read.imsi_span`)."""


@dataclass(frozen=True)
class Stale:
    """What changes while tables are stale: only ever towards allowing."""

    cut_off: str = "greylisted"
    undecided: str = "greylisted"


@dataclass(frozen=True)
class Exempt:
    """Devices that row 7 lets pass by what they are."""

    device_types: tuple[str, ...] = ()
    tac_sets: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImsiRange:
    """A named part of the IMSIs."""

    imsi: tuple[Span, ...]
    exempt: bool = False


@dataclass(frozen=True)
class Operator:
    """An operator, by the IMSIs it gave out."""

    imsi: tuple[Span, ...]


@dataclass(frozen=True)
class TacSet:
    """A named part of the TACs."""

    tacs: tuple[Span, ...]


@dataclass(frozen=True)
class Grandfather:
    """Which rows of phones in use before the scheme count."""

    imei: bool = True
    pair: bool = True
    in_use_before: int = 0
    tac_set: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Modes:
    """Modes of the rules that open no case."""

    blocked_range: str = "enforce"
    malformed: str = "notify"
    special: str = "notify"
    shared: str = "notify"
    cloned: str = "notify"


@dataclass(frozen=True)
class Cause:
    """How a case of one cause runs."""

    mode: str = "notify"
    grace_days: int = 30
    clock_start: str = "first_notice"
    clock_date: int = 0
    stages_left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Notices:
    """When notices go out and deadlines fall, for every cause; hours of the day in minutes, begin and end."""

    first_after_hours: int = 0
    reminders_after_days: tuple[int, ...] = (10, 20)
    last_before_days: int = 3
    quiet_hours: tuple[int, int] = (21 * 60, 9 * 60)
    cut_off_hours: tuple[int, int] = (9 * 60, 16 * 60)
    spacing_hours_min: int = 24
    warned_days_min: int = 7
    absent_days: int = 30
    cut_offs_per_hour_max: int = 10_000
    cases_per_hour_max: int = 100_000
    notices_per_hour_max: int = 200_000
    cases_per_imei_max: int = 5


@dataclass(frozen=True)
class Phase:
    """Modes for a cohort and a time; empty tuples select all."""

    rules: tuple[str, ...]
    mode: str
    operators: tuple[str, ...] = ()
    tac_sets: tuple[str, ...] = ()
    imsi_ranges: tuple[str, ...] = ()
    valid_from: int = 0
    valid_until: int = 0


@dataclass(frozen=True)
class StatusMap:
    """What a client gets in place of a status."""

    greylisted: str = "greylisted"
    unknown: str = "unknown"


@dataclass(frozen=True)
class Settings:
    """The whole policy."""

    name: str
    home_plmns: tuple[str, ...]
    time_zone: str = "Asia/Tehran"
    placeholders: tuple[int, ...] = ()
    slot_rule: str = "other"
    moved_sim: str = "allow"
    roamers: str = "allow"
    served_abroad: str = "allow"
    pairs_per_imei_max: int = 10
    no_imsi: str = "greylisted"
    default: str = "unknown"
    cache_seconds_max: int = 0
    stale: Stale = Stale()
    exempt: Exempt = Exempt()
    operator: dict[str, Operator] = field(default_factory=dict)
    tac_set: dict[str, TacSet] = field(default_factory=dict)
    imsi_range: dict[str, ImsiRange] = field(default_factory=dict)
    grandfather: Grandfather = field(default_factory=Grandfather)
    mode: Modes = Modes()
    cause: dict[str, Cause] = field(default_factory=lambda: dict.fromkeys(CAUSES, Cause()))
    notices: Notices = Notices()
    phase: tuple[Phase, ...] = ()
    status_map: dict[str, StatusMap] = field(default_factory=dict)

    def value(self, path: str) -> object:
        """Value of a setting by its dotted key."""
        found: object = self
        for name in path.split("."):
            found = found[name] if isinstance(found, dict) else getattr(found, name)
        return found
