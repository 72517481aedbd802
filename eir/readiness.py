"""Whether the daemon takes checks, and what is wrong with it. Pure.

    conditions ──► ready (every required one holds) + reasons
    feed positions + limits ──► stale (any feed older than its limit)

Staleness is one condition among them, and keeps nobody away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol


class Condition(NamedTuple):
    """One named condition; `reason` says what is wrong while it does not hold.

    A condition that is not required is reported and keeps nobody away: stale
    tables answer better than no answer.
    """

    name: str
    holds: bool
    reason: str
    required: bool = True


class Readiness:
    """The conditions of a daemon; replaced one by one, read at any time."""

    def __init__(self) -> None:
        """Start with tables that are not loaded."""
        self._conditions: dict[str, Condition] = {}
        for name in ("serving", "storage", "fresh", "feeds", "cases", "notices"):
            self.hold(name)
        self.fail("tables", "tables loading")

    def hold(self, name: str) -> None:
        """Let a condition hold."""
        self._conditions[name] = Condition(name, holds=True, reason="")

    def fail(self, name: str, reason: str, *, required: bool = True) -> None:
        """Let a condition fail, with the reason that people read."""
        self._conditions[name] = Condition(name, holds=False, reason=reason, required=required)

    def conditions(self) -> tuple[Condition, ...]:
        """Return every condition."""
        return tuple(self._conditions.values())

    @property
    def ready(self) -> bool:
        """Tell whether every required condition holds."""
        return all(condition.holds for condition in self.conditions() if condition.required)

    def reasons(self) -> list[str]:
        """Return what is wrong, required or not."""
        return [f"{c.name}: {c.reason}" for c in self.conditions() if not c.holds]


class Position(Protocol):
    """What staleness asks of the position of a feed; times in epoch seconds."""

    @property
    def feed(self) -> str:
        """Name of the feed."""

    @property
    def complete_until(self) -> int:
        """Time up to which the feed said it is complete; 0: never said."""

    @property
    def applied_at(self) -> int:
        """Time its last delta was applied."""


def stale_feeds(positions: Iterable[Position], limits_seconds: Mapping[str, int], now: int) -> list[str]:
    """Return the feeds whose content is older than their limit: the one rule of staleness.

    A feed is as old as what it is complete until, or, where it never says so,
    as its last delta. A feed with a limit that has sent nothing yet is stale. A
    feed without a limit, or with limit 0, is never stale.
    """
    known = {position.feed: position.complete_until or position.applied_at for position in positions}
    return sorted(
        feed for feed, limit in limits_seconds.items() if limit and now - known.get(feed, 0) > limit
    )
