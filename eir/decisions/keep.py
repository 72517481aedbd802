"""Which decisions are kept: a rule made of data, so that every engine applies the same. Pure.

judged, told, reason ──► table ──► NEVER | EVERY | FIRST | FIRST_IMEI | SAMPLE
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from crc32c import crc32c

from eir.identity import IMEI_DIGITS, IMSI_DIGITS_MAX
from eir.verdict import Reason, Status

REASONS: Final = 64
STATUSES: Final = 8
DAY_SECONDS: Final = 86_400


class Keep(IntEnum):
    """How often a kind of decision is kept."""

    NEVER = 0
    EVERY = 1
    """Every one, but for the repeats within some seconds: denials."""
    FIRST = 2
    """The first of a day of this IMEI with this IMSI."""
    FIRST_IMEI = 3
    """The first of a day of this IMEI: a placeholder has millions of subscribers."""
    SAMPLE = 4
    """The first of a day, of a sample of pairs: what is simply allowed."""


_NO_PHONE: Final = frozenset(range(Reason.MALFORMED_EMPTY, Reason.SPECIAL_PLACEHOLDER + 1))
"""Reasons of what names no single phone."""
_OVERRIDES: Final = frozenset((Reason.OVERRIDE, Reason.EXEMPT_PAIR_BLOCKED))
"""Reasons that allow what would be denied."""


def place(judged: int, told: int, reason: int) -> int:
    """Index into the table: status by the policy, status that the node was told, reason."""
    return (judged * STATUSES + told) * REASONS + reason


def _keep(judged: int, told: int, reason: int) -> Keep:
    if told == Status.BLACKLISTED:
        return Keep.EVERY
    if reason in _NO_PHONE:
        return Keep.FIRST_IMEI
    allowed = judged == told == Status.WHITELISTED
    return Keep.SAMPLE if allowed and reason not in _OVERRIDES else Keep.FIRST


class Wanted(NamedTuple):
    """The rule: `table` by `place`; of SAMPLE the pairs whose hash is below the threshold."""

    table: bytes
    sample_threshold: int
    """Of the 2**32 values of `sample_hash`."""

    def keep(self, judged: int, told: int, reason: int, imei: str, imsi: str) -> bool:
        """Tell whether a decision goes to the log; repeats are sorted out there."""
        keep = self.table[place(judged, told, reason)]
        if keep != Keep.SAMPLE:
            return keep != Keep.NEVER
        return self.sample_threshold > 0 and sample_hash(imei, imsi) < self.sample_threshold


def wanted(sample_percent: float) -> Wanted:
    """Make the rule for a share of the allowed pairs."""
    table = bytearray(STATUSES * STATUSES * REASONS)
    for judged in Status:
        for told in Status:
            for reason in Reason:
                table[place(judged, told, reason)] = _keep(judged, told, reason)
    return Wanted(bytes(table), round(sample_percent / 100 * (1 << 32)))


def sample_hash(imei: str, imsi: str) -> int:
    """CRC32C, 32 bits, of the first 14 characters of the IMEI and 15 of the IMSI, in UTF-8."""
    return crc32c(f"{imei[:IMEI_DIGITS]}{imsi[:IMSI_DIGITS_MAX]}".encode())


def repeat_key(
    time: int, imei: str, imsi: str, status: int, reason: int, denial_repeat_seconds: int
) -> tuple[object, ...] | None:
    """Return what a decision has in common with its repeats, which are not kept; None: it has none."""
    if status == Status.BLACKLISTED:
        if not denial_repeat_seconds:
            return None
        return imei[:IMEI_DIGITS], imsi, status, reason, time // denial_repeat_seconds
    day = time // DAY_SECONDS
    return imei[:IMEI_DIGITS], "" if reason in _NO_PHONE else imsi, status, reason, day
