"""Rows by themselves: what makes one bad whatever the tables hold. Pure, by whole columns."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from eir.identity import SERIALS
from eir.whitelist.delta import SECONDS_MAX, BadRows, RowReason
from eir.whitelist.rows import RAW, U64, Op, Role, Rows

Mask = npt.NDArray[np.bool_]
_KEY_END: Final = np.uint64(10**14)
_REPEATED: Final = np.uint64(11_111_111_111_111)
_TAC: Final = np.uint64(SERIALS)
_IMSI_CODES: Final = np.array([10**digits for digits in range(1, 16)], np.uint64)
"""Least code of an IMSI of 1 to 15 digits; the greatest is one less than twice that."""


def check_rows(rows: Rows, bad: BadRows) -> None:
    """Mark rows that are bad by themselves; those marked before stay so."""
    present = {Op(op) for op in np.flatnonzero(np.bincount(rows.op)).tolist() if op}
    _check_imeis(rows, bad, present)
    _check_ranges(rows, bad)
    for name in ("imsi", "former_imsi"):
        column = getattr(rows, name)
        if column is not None:
            bad.add(
                ~_imsi_valid(column),
                RowReason.IMSI_INVALID,
                f"{name}: not 1 and the 1 to 15 digits of an IMSI",
            )
    if rows.former_imsi is not None:
        same = (rows.former_imsi == rows.column("imsi")) & (rows.former_imsi != 0)
        bad.add(same, RowReason.FIELD_INVALID, "former_imsi: is imsi itself")
        utilizer = (rows.former_imsi != 0) & (rows.op == Op.PAIR) & (rows.column("cause") == Role.UTILIZER)
        bad.add(utilizer, RowReason.FIELD_NOT_TAKEN, "former_imsi: PAIR of a utilizer does not take it")
    if rows.time is not None and present & {Op.EXEMPT, Op.GRANDFATHER}:
        late = (rows.time > SECONDS_MAX) & (rows.op != Op.SUBSCRIBER)
        bad.add(late, RowReason.TIME_INVALID, f"time: 0 to {SECONDS_MAX} seconds since the Unix epoch")
    if Op.SUBSCRIBER in present and rows.time is not None:
        wrong = (rows.op == Op.SUBSCRIBER) & ~_imsi_valid(rows.time)
        bad.add(wrong, RowReason.FIELD_INVALID, "msisdn: not 1 and the 1 to 15 digits of a number")
    if Op.SUBSCRIBER in present and rows.name is not None:
        lone = (rows.op == Op.SUBSCRIBER) & (rows.name != 0) & (rows.column("time") == 0)
        bad.add(lone, RowReason.FIELD_NOT_TAKEN, "language: a row without msisdn does not take it")


def _check_imeis(rows: Rows, bad: BadRows, present: set[Op]) -> None:
    """Check keys, and refuse those that are decided before the tables."""
    if present & {Op.EXEMPT, Op.UNEXEMPT}:
        neither = (rows.op == Op.EXEMPT) | (rows.op == Op.UNEXEMPT)
        neither &= (rows.column("imei") == 0) & (rows.column("imsi") == 0)
        bad.add(neither, RowReason.FIELD_MISSING, "imei: an exemption needs an IMEI or an IMSI")
    if rows.imei is None:
        return
    if not rows.raw_texts:
        bad.add(rows.imei >= _KEY_END, RowReason.IMEI_INVALID, "imei: more than 14 digits")
    if present & {Op.PAIR, Op.GRANDFATHER, Op.REGISTER}:
        repeated, test = _special(rows.imei)
        if repeated.any() or test.any():
            pairing = (rows.op == Op.PAIR) | (rows.op == Op.GRANDFATHER)
            single = (rows.op == Op.REGISTER) & (rows.column("imei_last") == 0)
            bad.add(repeated & (pairing | single), RowReason.IMEI_SPECIAL, "imei: one digit repeated")
            bad.add(test & pairing, RowReason.IMEI_SPECIAL, "imei: its TAC is one for tests")
    if rows.imei_other is not None:
        linked = rows.imei_other != 0
        raw = ((rows.imei >= RAW) | (rows.imei_other >= _KEY_END)) & linked
        bad.add(raw, RowReason.IMEI_INVALID, "imei_other: slots of a device are named by 14 digits")
        bad.add(
            linked & (rows.imei_other == rows.imei), RowReason.FIELD_INVALID, "imei_other: is imei itself"
        )


def _check_ranges(rows: Rows, bad: BadRows) -> None:
    """Check ranges: within one TAC, not reversed, of keys."""
    if rows.imei is None or rows.imei_last is None:
        return
    ranged = rows.imei_last != 0
    raw = (rows.imei >= RAW) | (rows.imei_last >= _KEY_END)
    bad.add(ranged & raw, RowReason.RANGE_INVALID, "imei_last: a range is named by 14 digits at both ends")
    bad.add(ranged & (rows.imei > rows.imei_last), RowReason.RANGE_INVALID, "imei_last: comes before imei")
    apart = rows.imei // _TAC != rows.imei_last // _TAC
    bad.add(ranged & apart, RowReason.RANGE_INVALID, "imei_last: lies in another TAC than imei")


def _special(keys: U64) -> tuple[Mask, Mask]:
    """Tell the keys that repeat one digit, and those of test TACs; as identity.special_class."""
    prefix = keys // np.uint64(10**8)
    first = prefix // np.uint64(100)
    test = (prefix >= 1001) & (prefix <= 1017) | (first == 44) | (first == 86) | (first == 91)
    return (keys == prefix // np.uint64(111_111) * _REPEATED) & (keys < _KEY_END), test


def _imsi_valid(codes: U64) -> Mask:
    """Tell which are IMSI codes, or 0 for none."""
    if ((codes >= _IMSI_CODES[-1]) & (codes < 2 * _IMSI_CODES[-1])).all():
        return np.ones(len(codes), np.bool_)
    least = _IMSI_CODES[np.maximum(np.searchsorted(_IMSI_CODES, codes, "right"), 1) - 1]
    valid: Mask = (codes == 0) | (codes >= least) & (codes < 2 * least)
    return valid


def wrong_check_digits(keys: U64, digits: U64) -> int:
    """Count 15th digits that are neither 0 (the spare digit) nor the check digit of TS 23.003 annex B."""
    return int(np.count_nonzero((digits != 0) & (digits != check_digits(keys)))) if len(keys) else 0


def check_digits(keys: U64) -> U64:
    """Return the check digits of IMEIs (TS 23.003 annex B)."""
    total = np.zeros(len(keys), np.uint64)
    rest = keys.copy()
    for place in range(14):
        doubled = rest % np.uint64(10) * np.uint64(2 - place % 2)  # the last of the 14 is doubled
        total += doubled // np.uint64(10) + doubled % np.uint64(10)
        rest //= np.uint64(10)
    digits: U64 = (np.uint64(10) - total % np.uint64(10)) % np.uint64(10)
    return digits
