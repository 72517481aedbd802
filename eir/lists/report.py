"""What is wrong with a list, row by row, and what is only remarkable. Pure.

Faults refuse the file; the first `FAULTS_MAX` are described, all are counted.
Remarkables do not; each has a number of rows and a few examples.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

FAULTS_MAX: Final = 1_000
"""Faults that a report describes."""
EXAMPLES_MAX: Final = 5
"""Lines that a warning names."""
VALUE_CHARACTERS_MAX: Final = 64
"""Of a value that a report shows."""


class Reason(Enum):
    """Why a row refuses its list. Names are stable, never reused; values say what they mean."""

    COLUMN_COUNT = "the row has more or fewer fields than the header"
    QUOTES = "quotes do not open and close a field within its line"
    BLANK_LINE = "an empty line stands between rows"
    EMPTY = "the field must not be empty"
    TOO_LONG = "the field is longer than its column admits"
    CHARACTERS = "the field has characters that its column does not admit"
    SPACES = "spaces stand around the value"
    SCIENTIFIC = (
        "a spreadsheet has written the number in scientific notation; its digits are lost: the column must be"
        " exported as text"
    )
    DATE = "the day is not one of the calendar, written YYYYMMDD"
    CHANGE = "the change is not one that the list has"
    CONFLICT = "another row says something else of the same thing"
    CHANGED_TWICE = "another row changes the same thing in another way"
    ALREADY_THERE = "what the row adds is there"
    NOT_THERE = "what the row removes or updates is not there"
    REFUSED = "the store refuses the row's operation; the message has its reason"


class Remarkable(Enum):
    """What is said of a list, and does not refuse it. Names are stable; values say what they mean."""

    REPEATED = "rows that repeat another one, after normalisation; they count once"
    ZEROS_LOST = (
        "IMEIs of 12 or 13 digits, or of 14 that are right with a zero before them: leading zeros may be"
        " lost, as in a spreadsheet; its column must be exported as text"
    )
    EXPONENT = "IMEIs that look like numbers in scientific notation"
    CHECK_DIGIT = "15th digits that are neither 0 nor the check digit"
    SPECIAL = "IMEIs that are decided before the tables (zeros, one digit repeated, test TACs); left out"
    NOT_IN_FORCE = (
        "rows with a status other than the one in force (--in-force names it): kept on the shelf, without"
        " effect"
    )
    UNKNOWN_COLUMN = "columns that are not the list's; not read"
    MISSING_COLUMN = "columns of the list that the file lacks; taken as empty"
    TRAILING_LINES = "empty lines after the last row"
    NOT_TAKEN = "columns that are checked, and for which the tables have no place"
    IGNORED = "rows that add what is there, or remove or update what is not: left out"


class Fault(NamedTuple):
    """One fault of one line; line numbers count from 1, the header is 1."""

    line: int
    column: str
    value: str
    reason: Reason
    message: str


@dataclass
class Remark:
    """A warning: rows it is about, and a few of their lines."""

    rows: int = 0
    lines: list[int] = field(default_factory=list)
    text: str = ""


@dataclass
class Report:
    """Everything that is said of one file.

    `lenient`: what a delta adds or removes in vain is a warning, and no fault.
    """

    lenient: bool = False
    faults: list[Fault] = field(default_factory=list)
    counts: Counter[Reason] = field(default_factory=Counter)
    warnings: dict[Remarkable, Remark] = field(default_factory=dict)

    @property
    def fault_count(self) -> int:
        """Number of all faults."""
        return self.counts.total()

    def fault(self, line: int, column: str, value: str, reason: Reason, message: str = "") -> None:
        """Note a fault."""
        self.counts[reason] += 1
        if len(self.faults) < FAULTS_MAX:
            shown = value[:VALUE_CHARACTERS_MAX]
            self.faults.append(Fault(line, column, shown, reason, message or reason.value))

    def more(self, reason: Reason, count: int) -> None:
        """Count faults that are not described."""
        if count:
            self.counts[reason] += count

    def warn(self, what: Remarkable, rows: int, lines: list[int] | None = None, text: str = "") -> None:
        """Note something remarkable about some rows."""
        if rows:
            remark = self.warnings.setdefault(what, Remark())
            remark.rows += rows
            remark.lines.extend((lines or [])[: EXAMPLES_MAX - len(remark.lines)])
            remark.text = remark.text or text

    def as_json(self) -> dict[str, object]:
        """Return the report as JSON values."""
        faults = sorted(self.faults, key=lambda fault: fault.line)
        return {
            "fault_count": self.fault_count,
            "faults_by_reason": {
                reason.name: count for reason, count in sorted(self.counts.items(), key=_by_name)
            },
            "faults": [
                {
                    "line": fault.line,
                    "column": fault.column,
                    "value": fault.value,
                    "reason": fault.reason.name,
                    "message": fault.message,
                }
                for fault in faults
            ],
            "warnings": {
                what.name: {"rows": remark.rows, "lines": remark.lines, "text": remark.text or what.value}
                for what, remark in sorted(self.warnings.items(), key=_by_name)
            },
        }


def _by_name(item: tuple[Enum, object]) -> str:
    return item[0].name
