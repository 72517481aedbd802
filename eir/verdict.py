"""Facts to verdict: table look-ups, no rule.

The policy compiles the rules into two tables of first matches. *gate* holds
rows 1 to 7 of the order, *standing* rows 8 to 16; standing is asked only where
gate answers 0. Each table is indexed by its facts as digits of a mixed-radix
number, the first field the least significant.

    facts ──► gate | standing ──► reason ──► modes[cohort] ──► outcome ──► status

`GATE_FIELDS` and `STANDING_FIELDS` are the whole contract between the policy,
the portable engine and the native one.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final, Protocol

LOOKING: Final = "eir-check"
"""How a client calls itself that only looks: a person's check is no sighting, and opens no case."""


class Reason(IntEnum):
    """Why a verdict is what it is; numbers as VerdictReason in check.proto."""

    EMERGENCY = 1
    OVERRIDE = 2
    EXEMPT_PAIR = 3
    EXEMPT_PAIR_BLOCKED = 4
    BLOCKED_STOLEN = 5
    BLOCKED_LOST = 6
    BLOCKED_BARRED = 7
    BLOCKED_LINKED = 8
    INBOUND_ROAMER = 9
    SERVED_ABROAD = 10
    BLOCKED_RANGE = 11
    EXEMPT_IMEI = 12
    EXEMPT_IMSI = 13
    EXEMPT_IMSI_RANGE = 14
    EXEMPT_DEVICE_TYPE = 15
    OWNER = 16
    UTILIZER = 17
    OTHER_SLOT = 18
    GRANDFATHERED_IMEI = 19
    GRANDFATHERED_PAIR = 20
    NO_IMSI = 21
    IMSI_MALFORMED = 22
    IMSI_SHORT = 23
    MALFORMED_EMPTY = 24
    MALFORMED_SHORT = 25
    MALFORMED_LONG = 26
    MALFORMED_NON_DIGIT = 27
    SPECIAL_ZERO = 28
    SPECIAL_REPEATED = 29
    SPECIAL_TEST = 30
    SPECIAL_PLACEHOLDER = 31
    SHARED = 32
    CLONED = 33
    UNOWNED_SLOT = 34
    OWNED_BY_OTHER = 35
    NEVER_ACTIVATED = 36
    NOT_REGISTERED = 37
    UNDECIDED = 38


class Status(IntEnum):
    """Equipment status; numbers as EquipmentStatus in check.proto."""

    WHITELISTED = 1
    GREYLISTED = 2
    BLACKLISTED = 3
    UNKNOWN = 4


class OwnBlock(IntEnum):
    """Worst block on the IMEI itself (cloned is a class of standing)."""

    NONE = 0
    STOLEN = 1
    LOST = 2
    BARRED = 3


class ImsiKind(IntEnum):
    """The SIM of a check. ABROAD: a home subscriber served elsewhere."""

    NONE = 0
    MALFORMED = 1
    SHORT = 2
    HOME = 3
    ABROAD = 4
    FOREIGN = 5


class Relation(IntEnum):
    """What the IMSI is to the slot."""

    NONE = 0
    OWNER = 1
    UTILIZER = 2


class Grandfathered(IntEnum):
    """In use before the scheme: the IMEI, or exactly this pair."""

    NONE = 0
    IMEI = 1
    PAIR = 2


class Standing(IntEnum):
    """What kind of IMEI: 0 to 8 as identity.ImeiClass, then two made of rows."""

    KEY = 0
    MALFORMED_EMPTY = 1
    MALFORMED_SHORT = 2
    MALFORMED_LONG = 3
    MALFORMED_NON_DIGIT = 4
    SPECIAL_ZERO = 5
    SPECIAL_REPEATED = 6
    SPECIAL_TEST = 7
    SPECIAL_PLACEHOLDER = 8
    SHARED = 9
    CLONED = 10


class Far(IntFlag):
    """Groups of facts that cost a further look-up."""

    LINKS = 1
    RANGES = 2
    IMSI_ROWS = 4


GATE_FIELDS: Final = (
    ("emergency", 2),
    ("override", 2),
    ("pair_exempt", 2),
    ("own_block", 4),
    ("imsi_kind", 6),
    ("individually_registered", 2),
    ("imei_exempt", 2),
    ("imsi_range_exempt", 2),
    ("device_type_exempt", 2),
    ("linked_block", 2),  # Far.LINKS: another slot is stolen or lost
    ("range_block", 2),  # Far.RANGES
    ("imsi_exempt", 2),  # Far.IMSI_ROWS
)
"""Fields of the gate table, with their radix; far fields last."""

STANDING_FIELDS: Final = (
    ("relation", 3),
    ("grandfathered", 3),
    ("imsi_kind", 6),
    ("standing", 11),
    ("owned", 2),
    ("individually_registered", 2),
    ("other_slot_paired", 2),  # Far.LINKS: this IMSI is owner or utilizer of another slot
    ("other_slot_owned", 2),  # Far.LINKS: another slot has an owner or is grandfathered
    ("range_registered", 2),  # Far.RANGES
)
"""Fields of the standing table, with their radix; far fields last."""

FAR_FIELDS: Final = {
    "linked_block": Far.LINKS,
    "range_block": Far.RANGES,
    "imsi_exempt": Far.IMSI_ROWS,
    "other_slot_paired": Far.LINKS,
    "other_slot_owned": Far.LINKS,
    "range_registered": Far.RANGES,
}


def weights(fields: tuple[tuple[str, int], ...]) -> dict[str, int]:
    """Place value of each field of a mixed-radix index."""
    place, out = 1, {}
    for name, radix in fields:
        out[name] = place
        place *= radix
    return out


def size(fields: tuple[tuple[str, int], ...]) -> int:
    """Return the number of entries of a table over these fields."""
    total = 1
    for _, radix in fields:
        total *= radix
    return total


class Tables(Protocol):
    """What a verdict is looked up in; made by the policy."""

    @property
    def gate(self) -> bytes:
        """Reason by `gate_index`; 0: ask standing."""

    @property
    def standing(self) -> bytes:
        """Reason by `standing_index`."""

    @property
    def modes(self) -> tuple[bytes, ...]:
        """Outcome by cohort and Reason."""

    @property
    def outcomes(self) -> bytes:
        """Status by outcome * 8 + tracked * 4 + stale * 2 + past_deadline."""


_GATE_WEIGHTS: Final = weights(GATE_FIELDS)
_STANDING_WEIGHTS: Final = weights(STANDING_FIELDS)
FACTS: Final = dict((*GATE_FIELDS, *STANDING_FIELDS))
"""Every fact of a check, with its radix."""


def _index(fields: tuple[tuple[str, int], ...], places: dict[str, int], facts: dict[str, int]) -> int:
    """Index of some facts, those left out being 0.

    Raises ValueError for a fact that the table does not have, or out of range.
    """
    radices = dict(fields)
    for name, value in facts.items():
        if name not in radices:
            raise ValueError(f"no fact {name!r}; there are: {', '.join(radices)}")
        if not 0 <= value < radices[name]:
            raise ValueError(f"{name} is 0 to {radices[name] - 1}, not {value}")
    return sum(places[name] * value for name, value in facts.items())


def gate_index(**facts: int) -> int:
    """Index into the gate table; facts left out are 0. Raises ValueError."""
    return _index(GATE_FIELDS, _GATE_WEIGHTS, facts)


def standing_index(**facts: int) -> int:
    """Index into the standing table; facts left out are 0. Raises ValueError."""
    return _index(STANDING_FIELDS, _STANDING_WEIGHTS, facts)


def judge(tables: Tables, **facts: int) -> Reason:
    """Reason of the first rule that fires; facts left out are 0. Raises ValueError."""
    gate_facts = {name: value for name, value in facts.items() if name in _GATE_WEIGHTS}
    reason = tables.gate[gate_index(**gate_facts)]
    if not reason:
        rest = {name: v for name, v in facts.items() if name in _STANDING_WEIGHTS or name not in gate_facts}
        reason = tables.standing[standing_index(**rest)]
    return Reason(reason)


def outcome(
    tables: Tables,
    reason: Reason,
    *,
    cohort: int = 0,
    tracked: bool = False,
    stale: bool = False,
    past_deadline: bool = False,
) -> Status:
    """Status of a reason for a cohort."""
    bits = tracked * 4 + stale * 2 + past_deadline
    return Status(tables.outcomes[tables.modes[cohort][reason] * 8 + bits])
