"""TOML to `Settings`: every key known, every value in range, or a PolicyError.

An error names the file, the line, the key, what is wrong and what is allowed.
"""

from __future__ import annotations

import datetime as dt
import re
import tomllib
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, NoReturn

from eir.errors import PolicyError
from eir.policy import settings as s
from eir.policy.rules import CAUSES, MODED, MODES, OFF

ITEMS_MAX: Final = 10_000
"""Entries of one list."""
NAMES_MAX: Final = 255
"""Tables of one kind: operators, TAC sets, IMSI ranges, clients."""
COHORTS_MAX: Final = 1_024
"""TAC classes by IMSI classes."""
PHASES_MAX: Final = 128
GRACE_DAYS_MAX: Final = 3_650
PAIRS_PER_IMEI_LIMIT: Final = 64
"""More pairs on an IMEI than this are a class of clones under any policy."""
CACHE_SECONDS_LIMIT: Final = 86_400
PER_HOUR_LIMIT: Final = 1_000_000_000
STAGES: Final = ("first", "reminder", "last", "cut_off")
CLOCK_STARTS: Final = ("first_sighting", "first_notice", "date")
IMSI_DIGITS: Final = 15
_YEARS: Final = range(2000, 2200)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_HOURS: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
_ANY_CLIENT: Final = "*"


@dataclass
class Source:
    """A policy's text, for naming lines, and the zone its dates are in."""

    text: str
    name: str
    zone: zoneinfo.ZoneInfo | None = None


class Node(NamedTuple):
    """A value of the file, and where it stands."""

    value: Any
    path: tuple[str | int, ...]
    source: Source

    def at(self, key: str | int) -> Node:
        """Return the value below a key, or a place in an array."""
        return Node(self.value[key], (*self.path, key), self.source)

    def fail(self, wrong: str, allowed: str) -> NoReturn:
        """Raise the PolicyError of this value."""
        key = ""
        for part in self.path:
            key += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
        key = key.lstrip(".") or "the file"
        line = line_of(self.source.text, self.path)
        where = f"{self.source.name}, line {line}" if line else self.source.name
        raise PolicyError(f"{where}: {key}: {wrong}; allowed: {allowed}", key=key, line=line)


Reader = Callable[[Node], Any]


def _shown(value: object) -> str:
    """Show a value in an error: short, whatever the file holds."""
    try:
        shown = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return "a number"
    return shown if len(shown) <= 80 else f"{shown[:80]}…"


def _parts(key: str) -> list[str]:
    """Split a dotted TOML key."""
    return [part.strip().strip("\"'") for part in re.findall(r"\"[^\"]*\"|'[^']*'|[^.]+", key)]


def line_of(text: str, path: tuple[str | int, ...]) -> int:
    """Line on which a key is set, or the nearest one above it; 0 when there is none."""
    head: list[str | int] = []
    counts: dict[str, int] = {}
    best, best_length = 0, 0
    for number, line in enumerate(text.splitlines(), 1):
        if array := re.match(r"\s*\[\[([^\]]+)\]\]", line):
            name = ".".join(_parts(array[1]))
            counts[name] = counts.get(name, -1) + 1
            head = [*_parts(array[1]), counts[name]]
            here = head
        elif table := re.match(r"\s*\[([^\]]+)\]\s*(#.*)?$", line):
            head = list(_parts(table[1]))
            here = head
        elif pair := re.match(r"\s*((?:[\w.-]|\"[^\"]*\"|'[^']*')+)\s*=", line):
            here = [*head, *_parts(pair[1])]
        else:
            continue
        length = min(len(here), len(path))
        if tuple(here[:length]) == path[:length] and length > best_length:
            best, best_length = number, length
    return best


def text(node: Node) -> str:
    """Read a string of 1 to 128 characters."""
    if not isinstance(node.value, str) or not 0 < len(node.value) <= 128:
        node.fail(f"{_shown(node.value)} cannot be used", "a string of 1 to 128 characters")
    return node.value


def choice(*allowed: str) -> Reader:
    """Make a reader of one word of several."""

    def read(node: Node) -> str:
        if not isinstance(node.value, str) or node.value not in allowed:
            node.fail(f"{_shown(node.value)} cannot be used", ", ".join(f'"{word}"' for word in allowed))
        return node.value

    return read


def integer(low: int, high: int) -> Reader:
    """Make a reader of a whole number in a range."""

    def read(node: Node) -> int:
        if type(node.value) is not int or not low <= node.value <= high:
            node.fail(f"{_shown(node.value)} cannot be used", f"a whole number from {low} to {high}")
        return node.value

    return read


def boolean(node: Node) -> bool:
    """Read true or false."""
    if not isinstance(node.value, bool):
        node.fail(f"{_shown(node.value)} cannot be used", "true or false")
    return node.value


def instant(node: Node) -> int:
    """Read a date (its midnight) or a date with time, in the policy's zone unless it names one."""
    value = node.value
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    if not isinstance(value, dt.datetime) or value.year not in _YEARS:
        node.fail(
            f"{_shown(node.value)} is no date",
            f"a date without quotes, {_YEARS[0]} to {_YEARS[-1]}: 2026-03-21 or 2026-03-21T08:00:00+03:30",
        )
    return int((value if value.tzinfo else value.replace(tzinfo=node.source.zone)).timestamp())


def items(reader: Reader, least: int = 0) -> Reader:
    """Make a reader of an array without repeats."""

    def read(node: Node) -> tuple[Any, ...]:
        if not isinstance(node.value, list) or not least <= len(node.value) <= ITEMS_MAX:
            node.fail("cannot be used", f"an array of {least} to {ITEMS_MAX} entries")
        found: dict[Any, int] = {}
        for place in range(len(node.value)):
            value = reader(node.at(place))
            if value in found:
                node.at(place).fail(f"repeats entry {found[value] + 1}", "each entry once")
            found[value] = place
        return tuple(found)

    return read


def table(made: Callable[..., Any], readers: Mapping[str, Reader], *required: str) -> Reader:
    """Make a reader of a table with these keys."""

    def read(node: Node) -> Any:
        if not isinstance(node.value, dict):
            node.fail("is no table", f"a table of {', '.join(readers)}")
        for key in node.value:
            if key not in readers:
                node.at(key).fail("unknown key", ", ".join(readers))
        for key in required:
            if key not in node.value:
                node.fail(f"{key} is missing", f"a table with {', '.join(required)}")
        return made(**{key: readers[key](node.at(key)) for key in node.value})

    return read


def named(reader: Reader, *also: str) -> Reader:
    """Make a reader of tables by names that the operator chose, or those in `also`."""

    def read(node: Node) -> dict[str, Any]:
        if not isinstance(node.value, dict) or len(node.value) > NAMES_MAX:
            node.fail("cannot be used", f"at most {NAMES_MAX} tables, each with a name")
        for name in node.value:
            if name not in also and not _NAME.match(name):
                node.at(name).fail("is no name", "1 to 64 letters, digits, dots, hyphens and underscores")
        return {name: reader(node.at(name)) for name in node.value}

    return read


def _span(node: Node, digits_max: int, what: str) -> tuple[str, str]:
    """Read `123` or `123-456` as a pair of as many digits."""
    allowed = f'{what} of 1 to {digits_max} digits ("432110"), or two of equal length ("432110-432119")'
    first, hyphen, last = node.value.partition("-") if isinstance(node.value, str) else ("", "", "")
    last = last if hyphen else first
    if not (f"{first}{last}".isascii() and first.isdigit() and last.isdigit()):
        node.fail(f"{_shown(node.value)} cannot be used", allowed)
    if len(first) != len(last) or len(first) > digits_max or first > last:
        node.fail(f"{_shown(node.value)} cannot be used", allowed)
    return first, last


def tac_span(node: Node) -> s.Span:
    """Read a TAC, a prefix of TACs, or a range of either, as TACs."""
    first, last = _span(node, 8, "a TAC or its beginning")
    return int(first.ljust(8, "0")), int(last.ljust(8, "9"))


def imsi_span(node: Node) -> s.Span:
    """Read an IMSI's beginning or a range of them, as digits behind a leading 1."""
    first, last = _span(node, IMSI_DIGITS, "the beginning of IMSIs")
    return int(f"1{first}"), int(f"1{last}")


def plmn(node: Node) -> str:
    """Read a PLMN: MCC and MNC (TS 23.003 clause 12.1)."""
    if not isinstance(node.value, str) or not re.fullmatch(r"[0-9]{5,6}", node.value):
        node.fail(f"{_shown(node.value)} is no PLMN", 'MCC and MNC, 5 or 6 digits in quotes: "43211"')
    return node.value


def placeholder(node: Node) -> int:
    """Read an IMEI as its key."""
    if not isinstance(node.value, str) or not re.fullmatch(r"[0-9]{14,16}", node.value):
        node.fail(f"{_shown(node.value)} is no IMEI", "14 to 16 digits in quotes; the first 14 count")
    return int(node.value[:14])


def zone(node: Node) -> str:
    """Read the name of a time zone."""
    try:
        zoneinfo.ZoneInfo(text(node))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        node.fail(f"{_shown(node.value)} is not known", 'a name of the IANA database: "Asia/Tehran"')
    return str(node.value)


def hours(node: Node) -> tuple[int, int]:
    """Read `"21:00-09:00"` as minutes since midnight; hours that end before they begin go over midnight."""
    found = _HOURS.fullmatch(node.value) if isinstance(node.value, str) else None
    if not found:
        node.fail(f"{_shown(node.value)} cannot be used", 'hours of the day: "21:00-09:00"')
    begin_hour, begin_minute, end_hour, end_minute = map(int, found.groups())
    return begin_hour * 60 + begin_minute, end_hour * 60 + end_minute


_names = items(text)
_stale = choice("greylisted", "keep")
_cause = table(
    s.Cause,
    {
        "mode": choice(*MODES, OFF),
        "grace_days": integer(0, GRACE_DAYS_MAX),
        "clock_start": choice(*CLOCK_STARTS),
        "clock_date": instant,
        "stages_left_out": items(choice(*STAGES)),
    },
)
_notices = table(
    s.Notices,
    {
        "first_after_hours": integer(0, 24 * GRACE_DAYS_MAX),
        "reminders_after_days": items(integer(1, GRACE_DAYS_MAX)),
        "last_before_days": integer(0, GRACE_DAYS_MAX),
        "quiet_hours": hours,
        "cut_off_hours": hours,
        "spacing_hours_min": integer(1, 24 * 365),
        "warned_days_min": integer(1, GRACE_DAYS_MAX),
        "absent_days": integer(1, GRACE_DAYS_MAX),
        "cut_offs_per_hour_max": integer(0, PER_HOUR_LIMIT),
        "cases_per_hour_max": integer(1, PER_HOUR_LIMIT),
        "notices_per_hour_max": integer(1, PER_HOUR_LIMIT),
        "cases_per_imei_max": integer(1, PAIRS_PER_IMEI_LIMIT),
    },
)
_causes = table(dict, dict.fromkeys(CAUSES, _cause))
_phase = table(
    s.Phase,
    {
        "rules": items(choice(*MODED), 1),
        "mode": choice(*MODES),
        "operators": _names,
        "tac_sets": _names,
        "imsi_ranges": _names,
        "valid_from": instant,
        "valid_until": instant,
    },
    "rules",
    "mode",
)


def _phases(node: Node) -> tuple[s.Phase, ...]:
    """Read the phases, in their order."""
    if not isinstance(node.value, list) or len(node.value) > PHASES_MAX:
        node.fail("cannot be used", f"at most {PHASES_MAX} tables [[phase]]")
    return tuple(_phase(node.at(place)) for place in range(len(node.value)))


_policy = table(
    s.Settings,
    {
        "name": text,
        "home_plmns": items(plmn, 1),
        "time_zone": zone,
        "placeholders": items(placeholder),
        "slot_rule": choice("each", "other", "any"),
        "moved_sim": choice("allow", "case"),
        "roamers": choice("allow", "judge"),
        "served_abroad": choice("allow", "judge"),
        "pairs_per_imei_max": integer(1, PAIRS_PER_IMEI_LIMIT),
        "no_imsi": choice("greylisted", "whitelisted"),
        "default": choice("whitelisted", "greylisted", "blacklisted", "unknown"),
        "cache_seconds_max": integer(0, CACHE_SECONDS_LIMIT),
        "stale": table(s.Stale, {"cut_off": _stale, "undecided": _stale}),
        "exempt": table(s.Exempt, {"device_types": _names, "tac_sets": _names}),
        "operator": named(table(s.Operator, {"imsi": items(imsi_span, 1)}, "imsi")),
        "tac_set": named(table(s.TacSet, {"tacs": items(tac_span, 1)}, "tacs")),
        "imsi_range": named(
            table(s.ImsiRange, {"imsi": items(imsi_span, 1), "exempt": boolean}, "imsi"),
        ),
        "grandfather": table(
            s.Grandfather,
            {"imei": boolean, "pair": boolean, "in_use_before": instant, "tac_set": named(instant)},
        ),
        "mode": table(
            s.Modes,
            {name: choice(*admits) for name, (_, admits) in MODED.items() if name not in CAUSES},
        ),
        "cause": lambda node: {**dict.fromkeys(CAUSES, s.Cause()), **_causes(node)},
        "notices": _notices,
        "phase": _phases,
        "status_map": named(
            table(
                s.StatusMap,
                {
                    "greylisted": choice("greylisted", "whitelisted"),
                    "unknown": choice("unknown", "whitelisted", "greylisted", "blacklisted"),
                },
            ),
            _ANY_CLIENT,
        ),
    },
    "name",
    "home_plmns",
)


def read(policy_text: str, source_name: str) -> tuple[s.Settings, Node]:
    """Read a policy; also returns the root, for errors of what is found later.

    Raises PolicyError. What several keys say together is checked by `agree`.
    """
    try:
        document = tomllib.loads(policy_text)
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"{source_name}: not TOML: {error}; allowed: TOML 1.0") from error
    root = Node(document, (), Source(policy_text, source_name))
    if "time_zone" in document:
        zone(root.at("time_zone"))
    root.source.zone = zoneinfo.ZoneInfo(document.get("time_zone", s.Settings.time_zone))
    settings: s.Settings = _policy(root)
    return settings, root
