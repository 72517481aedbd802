"""Rows of a list against each other: sorted by what they speak of, each thing once. Pure.

Listed ──sort by key──► repeats ───► counted, left out
                   └──► conflicts ─► faults of all rows concerned
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from eir.identity import imei_text, imsi_text
from eir.lists import fields
from eir.lists.blocks import Mask
from eir.lists.fields import Uid
from eir.lists.formats import Grammar, ListFormat
from eir.lists.parse import FIRST_LINE, Listed
from eir.lists.report import FAULTS_MAX, Reason, Remarkable, Report
from eir.whitelist.hashtable import I64
from eir.whitelist.order import sorting_order
from eir.whitelist.rows import RAW, U64

U32 = npt.NDArray[np.uint32]
PAIRING: Final = frozenset({"pairing", "associations"})
_REPEATED_DIGIT: Final = np.uint64(11_111_111_111_111)
_EXAMPLES: Final = 5


@dataclass
class Settled:
    """A list without repeats and conflicts, sorted by key.

    `columns` as those of Listed but for `content`, `row` u32: the place of each in the file.
    """

    format: ListFormat
    delta: bool
    columns: dict[str, npt.NDArray[Any]]
    raw_texts: list[str]
    row: U32
    row_count: int
    """Rows of the file."""

    def __len__(self) -> int:
        """Return the number of things the list speaks of."""
        return len(self.row)

    def keys(self) -> list[U64]:
        """Columns that name what rows speak of, the most significant first."""
        return [self.columns[name] for name in key_columns(self.format)]

    def line(self, place: int) -> int:
        """Return the line of a row."""
        return int(self.row[place]) + FIRST_LINE

    def in_force(self) -> Mask:
        """Which rows have effect."""
        everything: Mask = self.columns.get("in_force", np.ones(len(self), np.bool_))
        return everything

    def shown(self, place: int) -> tuple[str, str]:
        """Name and value of what a row speaks of."""
        return shown(self.format, self.columns, self.raw_texts, place)


def key_columns(kind: ListFormat) -> list[str]:
    """Columns of Listed that name what a row speaks of."""
    names: list[str] = []
    for name in kind.keys:
        grammar = kind.column(name).grammar
        if grammar is Grammar.UID:
            names += ["uid_high", "uid_low"]
        else:
            names.append("imei" if grammar is Grammar.IMEI else name)
    return names


def shown(
    kind: ListFormat, columns: dict[str, npt.NDArray[Any]], raw_texts: list[str], place: int
) -> tuple[str, str]:
    """Names and values of the columns that name what a row speaks of."""
    values = []
    for name in kind.keys:
        match kind.column(name).grammar:
            case Grammar.IMEI:
                key = int(columns["imei"][place])
                values.append(raw_texts[key ^ RAW] if key >= RAW else imei_text(key))
            case Grammar.UID:
                values.append(
                    fields.uid_text(Uid(int(columns["uid_high"][place]), int(columns["uid_low"][place])))
                )
            case Grammar.TAC:
                values.append(f"{int(columns[name][place]):08d}")
            case _:
                values.append(imsi_text(int(columns[name][place])))
    return ",".join(kind.keys), ",".join(values)


def settle(listed: Listed, report: Report) -> Settled:
    """Sort a list and find repeats and conflicts; of use only where the report has no faults then.

    The columns of `listed` are taken over.
    """
    kind, columns = listed.header.format, listed.columns
    names = key_columns(kind)
    row = np.arange(listed.row_count, dtype=np.uint32)
    if "imei" in columns:
        row = _without_special(kind, columns["imei"], row, report)
    if len(row) < listed.row_count:
        columns = {name: column[row] for name, column in columns.items()}
    order = _order([columns[name] for name in names])
    if order is not None:
        row = row[order]
        for name in list(columns):
            columns[name] = columns[name][order]
    settled = Settled(kind, listed.header.delta, columns, listed.raw_texts, row, listed.row_count)
    again = _again(settled.keys())
    if again.any():
        _compare(settled, again, report)
        keep = ~again
        settled.columns = {name: column[keep] for name, column in columns.items()}
        settled.row = row[keep]
    listed.columns = {}
    settled.columns.pop("content", None)
    return settled


def _without_special(kind: ListFormat, keys: U64, row: U32, report: Report) -> U32:
    """Leave out IMEIs that are decided before the tables; where pairs are made, test TACs too."""
    special = keys == 0
    if kind.name in PAIRING or kind.name == "registration":
        special |= (keys % _REPEATED_DIGIT == 0) & (keys < RAW)
    if kind.name in PAIRING:
        prefix = keys // np.uint64(10**8)
        first = prefix // np.uint64(100)
        special |= (prefix >= 1001) & (prefix <= 1017) | (first == 44) | (first == 86) | (first == 91)
    found = np.flatnonzero(special)
    report.warn(Remarkable.SPECIAL, len(found), (found[:_EXAMPLES] + FIRST_LINE).tolist())
    return row[~special] if len(found) else row


def _order(keys: list[U64]) -> I64 | None:
    """Order that sorts by all keys, rows of the same in their order; None where they are sorted."""
    if _sorted(keys):
        return None
    order: I64 | None = None
    for key in reversed(keys):
        step = sorting_order(key if order is None else key[order])
        order = step if order is None else order[step]
    return order


def _sorted(keys: list[U64]) -> bool:
    undecided = np.ones(max(len(keys[0]) - 1, 0), np.bool_)
    for key in keys:
        if (undecided & (key[1:] < key[:-1])).any():
            return False
        undecided &= key[1:] == key[:-1]
    return True


def _again(keys: list[U64]) -> Mask:
    """Tell which of sorted rows have the same keys as the one before."""
    again = np.zeros(len(keys[0]), np.bool_)
    again[1:] = True
    for key in keys:
        again[1:] &= key[1:] == key[:-1]
    return again


def _compare(settled: Settled, again: Mask, report: Report) -> None:
    """Report rows that repeat the first one with their keys, and those that differ from it."""
    places = np.flatnonzero(again)
    first = np.maximum.accumulate(np.where(again, 0, np.arange(len(again))))[places]
    changed = _differs(settled.columns.get("change"), places, first)
    differs = _differs(settled.columns.get("content"), places, first) & ~changed
    for reason, mask in ((Reason.CHANGED_TWICE, changed), (Reason.CONFLICT, differs)):
        found = places[mask]
        pairs = zip(found[: FAULTS_MAX // 2].tolist(), first[mask][: FAULTS_MAX // 2].tolist(), strict=True)
        for place, other in pairs:
            name, value = settled.shown(place)
            for here, there in ((other, place), (place, other)):
                message = f"{reason.value}: line {settled.line(there)}"
                report.fault(settled.line(here), name, value, reason, message)
        report.more(reason, 2 * max(len(found) - FAULTS_MAX // 2, 0))
    same = places[~changed & ~differs]
    lines = [settled.line(place) for place in same[:_EXAMPLES].tolist()]
    report.warn(Remarkable.REPEATED, len(same), lines)


def _differs(column: npt.NDArray[Any] | None, here: I64, there: I64) -> Mask:
    if column is None:
        return np.zeros(len(here), np.bool_)
    differs: Mask = column[here] != column[there]
    return differs
