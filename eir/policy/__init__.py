"""The policy: what a registry's rules are, as tables that engines look up.

    TOML ──► read ──► Settings ──► agree ──► tables ──► PolicyTables (one a stretch of time)
                                     ▲         ▲
                                   rules ──────┴──► printing ──► text

Pure. The order of the rules stands in `rules.ORDER`; the keys of the file are
the fields of `settings.Settings`, described in docs/policy.md.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from dataclasses import asdict, dataclass
from importlib import resources

from eir.errors import PolicyError
from eir.policy.agree import agree
from eir.policy.printing import cohort_of, explain, explain_facts, row_of, table
from eir.policy.read import read
from eir.policy.settings import Settings, StatusMap
from eir.policy.tables import PolicyTables, compile_tables
from eir.verdict import Status

__all__ = [
    "Policy",
    "PolicyError",
    "PolicyTables",
    "cohort_of",
    "compile_policy",
    "default_policy_text",
    "explain",
    "explain_facts",
    "row_of",
    "table",
]

_ANY_CLIENT = "*"


@dataclass(frozen=True)
class Policy:
    """A compiled policy; immutable."""

    name: str
    hash: str
    """SHA-256, in hex, of what the policy says: comments and spacing do not count."""
    text: str
    settings: Settings
    placeholders: frozenset[int]
    stretches: tuple[PolicyTables, ...]
    """By time; the first is valid from 0."""
    starts: tuple[int, ...]
    status_maps: dict[str, tuple[int, ...]]

    def at(self, now: int) -> PolicyTables:
        """Tables in force at a second since the Unix epoch."""
        return self.stretches[max(bisect_right(self.starts, now) - 1, 0)]

    def next_change(self, now: int) -> int:
        """Second at which the tables in force now end; 0 when they do not."""
        after = bisect_right(self.starts, now)
        return self.starts[after] if after < len(self.starts) else 0

    def status_map(self, client: str) -> tuple[int, ...]:
        """Status that a client gets, by Status: its own map, that of "*", or no change.

        WHITELISTED and BLACKLISTED are never mapped: an emergency call stays
        allowed, a stolen phone denied.
        """
        return self.status_maps.get(client) or self.status_maps[_ANY_CLIENT]


def _status_map(status_map: StatusMap) -> tuple[int, ...]:
    """Compile a status map."""
    mapped = list(range(max(Status) + 1))
    mapped[Status.GREYLISTED] = Status[status_map.greylisted.upper()]
    mapped[Status.UNKNOWN] = Status[status_map.unknown.upper()]
    return tuple(int(status) for status in mapped)


def compile_policy(text: str, source: str = "policy") -> Policy:
    """Compile a policy from TOML; `source` is its name in errors.

    Raises PolicyError, which names line, key, what is wrong and what is allowed.
    """
    settings, root = read(text, source)
    agree(settings, root)
    stretches = compile_tables(settings)
    content = json.dumps(asdict(settings), sort_keys=True)
    return Policy(
        name=settings.name,
        hash=hashlib.sha256(content.encode()).hexdigest(),
        text=text,
        settings=settings,
        placeholders=frozenset(settings.placeholders),
        stretches=stretches,
        starts=tuple(tables.valid_from for tables in stretches),
        status_maps={
            name: _status_map(status_map)
            for name, status_map in {_ANY_CLIENT: StatusMap(), **settings.status_map}.items()
        },
    )


def default_policy_text() -> str:
    """TOML of the policy that the package ships."""
    return resources.files("eir").joinpath("default_policy.toml").read_text(encoding="utf-8")
