"""The lists there are: their columns, how each is checked, and which one a header names. Pure.

header ──names──► format, columns by place | what is missing, unknown or twice
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

ROWS_MAX: Final = 100_000_000
"""Rows of one list, unless told otherwise."""
ROWS_OF_A_LIST_MAX: Final = (1 << 32) - 1
"""Rows of one list, whatever is told: their places are numbers of 32 bits."""
BYTES_MAX: Final = 256 << 30
"""Decompressed bytes of one list, unless told otherwise."""
CHANGE_COLUMN: Final = "change_type"
"""A header with this column is that of a delta."""


class Grammar(Enum):
    """What the fields of a column may be."""

    IMEI = "1 to 16 hex digits, '*' and '#'"
    TAC = "8 digits, not all zeros"
    IMSI = "1 to 15 digits"
    MSISDN = "1 to 15 digits, without a plus sign"
    DATE = "empty, or a day as YYYYMMDD, from 2000 to 2099"
    STATUS = "any text; empty is in force"
    TEXT = "any text"
    DEVICE = "letters and digits, at least one"
    UID = "1 to 20 letters, digits, '-', '/' and '\\'"
    LANGUAGE = "two small letters, as in ISO 639-1"
    CHANGE = "add, remove or, where the list has statuses, update"


class Column(NamedTuple):
    """A column of a list."""

    name: str
    grammar: Grammar


@dataclass(frozen=True)
class ListFormat:
    """A kind of list.

    Rows with equal `keys` speak of one thing. A row whose status is neither empty nor
    `in_force` stands in the list and has no effect. `removed_percent_max`: how much
    shorter a list may become without an override.
    """

    name: str
    columns: tuple[Column, ...]
    keys: tuple[str, ...]
    removed_percent_max: int
    in_force: str = ""
    optional: frozenset[str] = frozenset()

    @property
    def updates(self) -> bool:
        """Tell whether rows of a delta may be updates: where they say more than that something is there."""
        return bool(self.in_force) or self.name == "numbers"

    def column(self, name: str) -> Column:
        """Return a column by its name."""
        return next(column for column in self.columns if column.name == name)


def _format(
    name: str,
    columns: str,
    keys: str,
    removed_percent_max: int = 25,
    in_force: str = "",
    optional: frozenset[str] = frozenset(),
) -> ListFormat:
    made = tuple(Column(word, _GRAMMARS[word]) for word in columns.split())
    return ListFormat(name, made, tuple(keys.split()), removed_percent_max, in_force, optional)


_GRAMMARS: Final = {
    "approved_imei": Grammar.IMEI,
    "imei": Grammar.IMEI,
    "imsi": Grammar.IMSI,
    "msisdn": Grammar.MSISDN,
    "language": Grammar.LANGUAGE,
    "tac": Grammar.TAC,
    "uid": Grammar.UID,
    "reporting_date": Grammar.DATE,
    "status": Grammar.STATUS,
    "device_id": Grammar.DEVICE,
    "make": Grammar.TEXT,
    "model": Grammar.TEXT,
    "model_number": Grammar.TEXT,
    "brand_name": Grammar.TEXT,
    "device_type": Grammar.TEXT,
    "radio_interface": Grammar.TEXT,
    CHANGE_COLUMN: Grammar.CHANGE,
}

FORMATS: Final = {
    made.name: made
    for made in (
        _format(
            "registration",
            "approved_imei make model status model_number brand_name device_type radio_interface device_id",
            "approved_imei",
            in_force="whitelist",
        ),
        _format("pairing", "imei imsi msisdn", "imei imsi", 5, optional=frozenset({"msisdn"})),
        _format("stolen", "imei reporting_date status", "imei", in_force="blacklist"),
        _format("barred", "imei", "imei"),
        _format("barred-tac", "tac", "tac"),
        _format("subscribers", "uid imsi", "uid imsi", 5),
        _format("associations", "uid imei", "uid imei", 5),
        _format("numbers", "imsi msisdn language", "imsi", 5),
    )
}
"""Lists by name, in the order of docs/lists.md."""
CONTENT: Final = frozenset({Grammar.DATE, Grammar.STATUS, Grammar.TEXT, Grammar.DEVICE, Grammar.LANGUAGE})
"""Columns that must not differ between two rows that speak of one thing (and numbers of a SIM)."""


class HeaderError(Exception):
    """A header that is of no list; the message says what is missing, unknown or twice."""


@dataclass(frozen=True)
class Header:
    """A header that was understood: columns in the order of the file."""

    format: ListFormat
    delta: bool
    names: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def content(self) -> tuple[str, ...]:
        """Columns whose contents must not differ between rows that speak of one thing."""
        known = [column for column in self.format.columns if column.name in self.names]
        of_sim = self.format.name == "numbers"
        return tuple(
            column.name
            for column in known
            if column.grammar in CONTENT or (of_sim and column.grammar is Grammar.MSISDN)
        )

    def grammar(self, name: str) -> Grammar | None:
        """Return the grammar of a column; None of one that is not known."""
        if name == CHANGE_COLUMN:
            return Grammar.CHANGE
        return next((column.grammar for column in self.format.columns if column.name == name), None)


def read_header(names: Sequence[str], wanted: str = "", *, loose: bool = False) -> Header:
    """Tell which list a header is of; `wanted` names it, `loose` admits other columns and lacking ones.

    Raises HeaderError.
    """
    given = tuple(name.strip().lower() for name in names)
    twice = sorted({name for name in given if given.count(name) > 1})
    if twice:
        raise HeaderError(f"the header has {_quoted(twice)} twice")
    delta = CHANGE_COLUMN in given
    candidates = [FORMATS[wanted]] if wanted else list(FORMATS.values())
    best = max(candidates, key=lambda candidate: _likeness(candidate, given))
    columns = {column.name for column in best.columns}
    unknown = tuple(name for name in given if name not in columns and name != CHANGE_COLUMN)
    missing = tuple(
        column.name
        for column in best.columns
        if column.name not in given and column.name not in best.optional
    )
    if not columns & set(given):
        lists = "; ".join(f"{name}: {', '.join(c.name for c in f.columns)}" for name, f in FORMATS.items())
        raise HeaderError(f"the first line is the header of no list. The lists are {lists}")
    lacking_keys = [name for name in best.keys if name in missing]
    if lacking_keys or ((unknown or missing) and not loose):
        says = [f"lacks {_quoted(missing)}"] * bool(missing) + [f"has unknown {_quoted(unknown)}"] * bool(
            unknown
        )
        advice = "" if lacking_keys else " (--loose-columns: what lacks is empty, what is unknown left out)"
        raise HeaderError(f"the header of a {best.name} list {' and '.join(says)}{advice}")
    return Header(best, delta, given, unknown, missing)


def _likeness(candidate: ListFormat, given: Sequence[str]) -> tuple[int, int, int]:
    """How well a header fits: complete, then more columns in common, then fewer left over."""
    columns = {column.name for column in candidate.columns}
    common = len(columns.intersection(given))
    complete = columns - candidate.optional <= set(given) and set(given) <= columns | {CHANGE_COLUMN}
    return int(complete), common, -len(columns)


def _quoted(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name[:32]}'" for name in names[:8])
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")
