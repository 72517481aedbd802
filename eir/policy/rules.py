"""The order of the rules: the one place where they are written.

A rule fires where one of its patterns matches; a pattern names facts (fields
of `verdict.GATE_FIELDS` or `STANDING_FIELDS`) and the values it admits. `given`
names settings of the policy without which the rule is left out. The first rule
that fires decides. The tables, the printing and the docs are made from ORDER.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final, NamedTuple

from eir.verdict import Grandfathered, ImsiKind, OwnBlock, Reason, Relation, Standing

Pattern = Mapping[str, tuple[int, ...]]

GATE_ROWS: Final = range(1, 8)
STANDING_ROWS: Final = range(8, 17)

MODES: Final = ("observe", "notify", "enforce")
"""Modes of a rule: count only; warn, never cut; deny, or cut off at the deadline."""
OFF: Final = "off"
"""Mode of a cause that the policy leaves out."""


class Rule(NamedTuple):
    """One rule: row of the order, what it answers, when, and under which settings."""

    row: int
    reason: Reason
    when: tuple[Pattern, ...]
    given: Mapping[str, tuple[object, ...]]
    says: str


class Outcome(IntEnum):
    """What a reason leads to under a mode; see `tables.outcomes`."""

    PASS = 0
    """WHITELISTED whatever else."""
    ALLOW = 1
    """WHITELISTED, GREYLISTED when tracked."""
    TRACK = 2
    """GREYLISTED."""
    DENY = 3
    """BLACKLISTED."""
    CASE = 4
    """GREYLISTED, and a case is opened; BLACKLISTED past its deadline."""
    NO_IMSI = 5
    """As the policy says: GREYLISTED or WHITELISTED."""
    UNDECIDED = 6
    """As the policy says: its default."""
    WARN = 7
    """GREYLISTED, and a case is opened that is never cut off."""


OPENING: Final = (Outcome.CASE, Outcome.WARN)
"""Outcomes with which a pair has a case."""


YES: Final = (1,)
NO: Final = (0,)
ANY_BLOCK: Final = (OwnBlock.STOLEN, OwnBlock.LOST, OwnBlock.BARRED)
ON: Final = (*MODES,)


def _rule(row: int, reason: Reason, says: str, *when: Pattern, **given: tuple[object, ...]) -> Rule:
    """Build a rule; `__` in the name of a setting stands for a dot."""
    return Rule(row, reason, when, {name.replace("__", "."): value for name, value in given.items()}, says)


ORDER: Final = (
    _rule(1, Reason.EMERGENCY, "emergency call", {"emergency": YES}),
    _rule(2, Reason.OVERRIDE, "the override is on", {"override": YES}),
    _rule(
        3,
        Reason.EXEMPT_PAIR_BLOCKED,
        "this very pair is exempt, although blocked",
        {"pair_exempt": YES, "own_block": ANY_BLOCK},
        {"pair_exempt": YES, "linked_block": YES},
        {"pair_exempt": YES, "range_block": YES, "individually_registered": NO},
    ),
    _rule(3, Reason.EXEMPT_PAIR, "this very pair is exempt", {"pair_exempt": YES}),
    _rule(4, Reason.BLOCKED_STOLEN, "the IMEI is reported stolen", {"own_block": (OwnBlock.STOLEN,)}),
    _rule(4, Reason.BLOCKED_LOST, "the IMEI is reported lost", {"own_block": (OwnBlock.LOST,)}),
    _rule(4, Reason.BLOCKED_BARRED, "the IMEI is barred", {"own_block": (OwnBlock.BARRED,)}),
    _rule(4, Reason.BLOCKED_LINKED, "another slot is stolen or lost", {"linked_block": YES}),
    _rule(
        5,
        Reason.INBOUND_ROAMER,
        "a foreign network's subscriber",
        {"imsi_kind": (ImsiKind.FOREIGN,)},
        roamers=("allow",),
    ),
    _rule(
        5,
        Reason.SERVED_ABROAD,
        "a home subscriber in a foreign network",
        {"imsi_kind": (ImsiKind.ABROAD,)},
        served_abroad=("allow",),
    ),
    _rule(
        6,
        Reason.BLOCKED_RANGE,
        "blocked by range, and not registered individually",
        {"range_block": YES, "individually_registered": NO},
    ),
    _rule(7, Reason.EXEMPT_IMEI, "the IMEI is exempt", {"imei_exempt": YES}),
    _rule(7, Reason.EXEMPT_IMSI, "the IMSI is exempt", {"imsi_exempt": YES}),
    _rule(7, Reason.EXEMPT_IMSI_RANGE, "the IMSI's range is exempt", {"imsi_range_exempt": YES}),
    _rule(7, Reason.EXEMPT_DEVICE_TYPE, "the type of device is exempt", {"device_type_exempt": YES}),
    _rule(8, Reason.OWNER, "the owner's SIM", {"relation": (Relation.OWNER,)}),
    _rule(8, Reason.UTILIZER, "a utilizer's SIM", {"relation": (Relation.UTILIZER,)}),
    _rule(
        8,
        Reason.OTHER_SLOT,
        "this SIM is paired to another slot",
        {"other_slot_paired": YES},
        slot_rule=("other", "any"),
    ),
    _rule(
        8,
        Reason.OTHER_SLOT,
        "the unowned slot of a device that another slot's owner covers",
        {"other_slot_owned": YES, "owned": NO, "standing": (Standing.KEY,)},
        slot_rule=("any",),
    ),
    _rule(
        9,
        Reason.GRANDFATHERED_IMEI,
        "in use before the scheme",
        {"grandfathered": (Grandfathered.IMEI,)},
        grandfather__imei=(True,),
    ),
    _rule(
        9,
        Reason.GRANDFATHERED_PAIR,
        "in use before the scheme with this SIM",
        {"grandfathered": (Grandfathered.PAIR,)},
        grandfather__pair=(True,),
    ),
    _rule(10, Reason.NO_IMSI, "no IMSI given", {"imsi_kind": (ImsiKind.NONE,)}),
    _rule(10, Reason.IMSI_MALFORMED, "the IMSI is malformed", {"imsi_kind": (ImsiKind.MALFORMED,)}),
    _rule(10, Reason.IMSI_SHORT, "the IMSI names no network", {"imsi_kind": (ImsiKind.SHORT,)}),
    *(
        _rule(11, Reason[kind.name], says, {"standing": (kind,)})
        for kind, says in (
            (Standing.MALFORMED_EMPTY, "the IMEI is empty"),
            (Standing.MALFORMED_SHORT, "the IMEI is too short"),
            (Standing.MALFORMED_LONG, "the IMEI is too long"),
            (Standing.MALFORMED_NON_DIGIT, "the IMEI is not digits"),
            (Standing.SPECIAL_ZERO, "the IMEI is all zeros"),
            (Standing.SPECIAL_REPEATED, "the IMEI repeats one digit"),
            (Standing.SPECIAL_TEST, "a test TAC"),
            (Standing.SPECIAL_PLACEHOLDER, "a shared placeholder"),
            (Standing.SHARED, "shared by too many"),
            (Standing.CLONED, "listed as cloned"),
        )
    ),
    _rule(
        12,
        Reason.UNOWNED_SLOT,
        "the unowned slot of an owned or grandfathered device",
        {"owned": NO, "other_slot_owned": YES},
        cause__unowned_slot__mode=ON,
    ),
    _rule(
        13,
        Reason.OWNED_BY_OTHER,
        "registered, owned by another SIM",
        {"owned": YES, "individually_registered": YES},
        {"owned": YES, "range_registered": YES},
        cause__owned_by_other__mode=ON,
    ),
    _rule(
        14,
        Reason.NEVER_ACTIVATED,
        "registered, never activated",
        {"owned": NO, "individually_registered": YES},
        {"owned": NO, "range_registered": YES},
        cause__never_activated__mode=ON,
    ),
    _rule(
        15,
        Reason.NOT_REGISTERED,
        "not registered",
        {"individually_registered": NO, "range_registered": NO},
        cause__not_registered__mode=ON,
    ),
    _rule(16, Reason.UNDECIDED, "anything else", {}),
)
"""The rules, in order."""

CAUSES: Final = {
    "unowned_slot": Reason.UNOWNED_SLOT,
    "owned_by_other": Reason.OWNED_BY_OTHER,
    "never_activated": Reason.NEVER_ACTIVATED,
    "not_registered": Reason.NOT_REGISTERED,
}
"""Causes of a case (rows 12 to 15), by the name the policy gives them."""

_MALFORMED = (
    Reason.MALFORMED_EMPTY,
    Reason.MALFORMED_SHORT,
    Reason.MALFORMED_LONG,
    Reason.MALFORMED_NON_DIGIT,
)
_SPECIAL = (
    Reason.SPECIAL_ZERO,
    Reason.SPECIAL_REPEATED,
    Reason.SPECIAL_TEST,
    Reason.SPECIAL_PLACEHOLDER,
)
_GREY = {"observe": Outcome.ALLOW, "notify": Outcome.TRACK}  # rows 10 and 11 never deny
_RANGE = {"observe": Outcome.ALLOW, "notify": Outcome.TRACK, "enforce": Outcome.DENY}
_CASE = {"observe": Outcome.ALLOW, "notify": Outcome.WARN, "enforce": Outcome.CASE}

MODED: Final[Mapping[str, tuple[tuple[Reason, ...], Mapping[str, Outcome]]]] = {
    "blocked_range": ((Reason.BLOCKED_RANGE,), _RANGE),
    "malformed": (_MALFORMED, _GREY),
    "special": (_SPECIAL, _GREY),
    "shared": ((Reason.SHARED,), _GREY),
    "cloned": ((Reason.CLONED,), _GREY),
    **{name: ((reason,), _CASE) for name, reason in CAUSES.items()},
}
"""Rules that have a mode: their reasons, and the outcome of each mode they admit."""

FIXED: Final = {
    **dict.fromkeys((Reason.EMERGENCY, Reason.OVERRIDE), Outcome.PASS),
    **{rule.reason: Outcome.DENY for rule in ORDER if rule.row == 4},
    **{rule.reason: Outcome.ALLOW for rule in ORDER if rule.row in (3, 5, 7, 8, 9)},
    Reason.NO_IMSI: Outcome.NO_IMSI,
    Reason.IMSI_MALFORMED: Outcome.TRACK,
    Reason.IMSI_SHORT: Outcome.TRACK,
    Reason.UNDECIDED: Outcome.UNDECIDED,
}
"""Outcome of the reasons that have no mode: no policy changes them."""
