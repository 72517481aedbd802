"""Feeds: may this delta come now, and does it do too much. Pure.

header, position ──► accept | repeat | DeltaGapError | DeltaConflictError
effects, sizes   ──► None | DeltaGuardError
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final

from eir.errors import DeltaConflictError, DeltaGapError, DeltaGuardError, DeltaHashMismatchError
from eir.whitelist.delta import Header, TableEffect


class Placement(Enum):
    """What to do with a delta."""

    ACCEPT = "accept"
    """It builds on where its feed stands."""
    REPEAT = "repeat"
    """It was applied before: acknowledge it, change nothing."""


@dataclass(frozen=True)
class FeedRules:
    """How a feed is taken."""

    lenient: bool = False
    """Ignore and count bad rows instead of refusing the delta."""


@dataclass(frozen=True)
class AppliedBefore:
    """A delta that was applied under this feed and sequence, as the journal has it."""

    base_sequence: int
    row_count: int
    content_sha256: bytes


def place(position: int, header: Header, before: AppliedBefore | None) -> Placement:
    """Tell what to do with a delta of a feed that stands at `position` (0: new).

    `before` is what was applied under the header's sequence, if that is known.
    Raises DeltaConflictError where that was another delta, DeltaGapError where
    the delta does not build on the position.
    """
    if before is not None:
        if (before.base_sequence, before.row_count) != (header.base_sequence, header.row_count):
            raise DeltaConflictError(
                f"sequence {header.sequence} of feed {header.feed} was applied with base"
                f" {before.base_sequence} and {before.row_count} rows,"
                f" not base {header.base_sequence} and {header.row_count} rows",
                sequence=header.sequence,
            )
        return Placement.REPEAT
    if header.base_sequence != position:
        raise DeltaGapError(
            f"feed {header.feed} stands at sequence {position}; a delta building on {position} is expected,"
            f" this one builds on {header.base_sequence}",
            expected_base_sequence=position,
        )
    return Placement.ACCEPT


def check_content(
    header: Header, content_sha256: bytes, received_sha256: bytes, before: AppliedBefore | None
) -> None:
    """Check the hash of a commit against the rows received, and those applied before.

    Raises DeltaHashMismatchError or DeltaConflictError.
    """
    if content_sha256 != received_sha256:
        raise DeltaHashMismatchError(
            f"the rows received have SHA-256 {received_sha256.hex()},"
            f" the sender's {content_sha256.hex() or 'none'}"
        )
    if before is not None and before.content_sha256 != content_sha256:
        raise DeltaConflictError(
            f"sequence {header.sequence} of feed {header.feed} was applied with other rows",
            sequence=header.sequence,
        )


REMOVED_PERCENT_MAX: Final[Mapping[str, float]] = MappingProxyType(
    {"pairs": 5.0, "utilizers": 5.0, "subscribers": 5.0, "grandfathered": 5.0}
)
"""Tables whose rows decide over service one by one are guarded more closely."""


@dataclass(frozen=True)
class GuardLimits:
    """What one delta may do without an explicit override, in percent of a table's rows before it."""

    removed_percent_max: float = 25.0
    """Rows removed from any table not named below."""
    removed_percent_max_by_table: Mapping[str, float] = field(default_factory=lambda: REMOVED_PERCENT_MAX)
    blocked_percent_max: float = 5.0
    """Blocks added in percent of the IMEIs known one by one, blocked ranges of the registered ranges.

    Known one by one are those registered or those paired, whichever are more. What lies in registered
    ranges counts only where these are too few to be guarded: most of it was never sold, and would let
    a delta block every phone in use.
    """
    guarded_rows_min: int = 1_000
    """Tables of fewer rows are not guarded."""


def check_guards(
    effects: Sequence[TableEffect],
    rows_before: Mapping[str, int],
    limits: GuardLimits,
    registered_in_ranges: Callable[[], int] = lambda: 0,
) -> DeltaGuardError | None:
    """Return an error where a delta removes or blocks more than the limits; None otherwise.

    `rows_before` are rows by table before the delta. Removals are counted gross:
    what a delta adds elsewhere does not excuse them, and a transfer removes the
    former owner's pair, with his service. `registered_in_ranges` tells how many
    IMEIs lie in registered ranges; it is asked only where nothing else can be counted.
    """
    trips: list[str] = []
    for effect in effects:
        before = rows_before.get(effect.table, 0)
        percent_max = limits.removed_percent_max_by_table.get(effect.table, limits.removed_percent_max)
        if before >= limits.guarded_rows_min and effect.removed * 100 > percent_max * before:
            trips.append(
                f"removes {effect.removed} of {before} rows of {effect.table} (at most {percent_max:g} %)"
            )
        base, known_as = _blocked_of(effect.table, rows_before, limits, registered_in_ranges)
        if base >= limits.guarded_rows_min and effect.added * 100 > limits.blocked_percent_max * base:
            trips.append(
                f"adds {effect.added} {effect.table} where {base} {known_as}"
                f" (at most {limits.blocked_percent_max:g} %)"
            )
    return DeltaGuardError("the delta " + "; ".join(trips), effects) if trips else None


def _blocked_of(
    table: str, rows: Mapping[str, int], limits: GuardLimits, registered_in_ranges: Callable[[], int]
) -> tuple[int, str]:
    """Return of how many a table of blocks blocks some, and what they are; 0 of other tables."""
    if table == "blocked_ranges":
        return rows.get("registered_ranges", 0), "ranges are registered"
    if table != "blocks":
        return 0, ""
    registered, paired = rows.get("registered", 0), rows.get("pairs", 0)
    if max(registered, paired) < limits.guarded_rows_min:
        return registered_in_ranges(), "IMEIs are registered by range"
    return max(registered, paired), "IMEIs are registered" if registered >= paired else "IMEIs are paired"
