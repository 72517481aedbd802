"""Blocks of lines to columns: what a list says. Pure.

    block ──places──► columns of regular rows ──┐
                 └──► odd rows, field by field ─┴──► Listed, or faults

Line numbers follow from places: row i stands on line i + 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from eir.lists import blocks, fields
from eir.lists.blocks import Mask, Places
from eir.lists.errors import ListTooLargeError
from eir.lists.fields import FieldError
from eir.lists.formats import ROWS_MAX, Grammar, Header
from eir.lists.report import EXAMPLES_MAX, FAULTS_MAX, Reason, Remark, Remarkable, Report
from eir.whitelist.check_rows import check_digits
from eir.whitelist.hashtable import I64
from eir.whitelist.rows import RAW, U8, U64

FIRST_LINE: Final = 2
_FIRST_DIGIT: Final = np.uint64(10**13)
_DTYPES: Final[dict[str, type[Any]]] = {"change": np.uint8, "in_force": np.bool_}


@dataclass
class Listed:
    """What a list says, as columns.

    imei u64 (key, or RAW | index into raw_texts), imsi, msisdn u64 (codes), tac, uid_high,
    uid_low, language, content u64, change u8 (as fields.CHANGES), in_force bool; those
    that the list has.
    """

    header: Header
    row_count: int
    columns: dict[str, npt.NDArray[Any]]
    raw_texts: list[str]


@dataclass
class Parser:
    """Takes blocks of one list; `report` says what is wrong with it."""

    header: Header
    rows_max: int = ROWS_MAX
    report: Report = field(default_factory=Report)
    _parts: dict[str, list[npt.NDArray[Any]]] = field(default_factory=dict)
    _raw: dict[str, int] = field(default_factory=dict)
    _rows: int = 0
    _line: int = FIRST_LINE
    """Of the block that is taken: its first."""
    _blank: list[int] = field(default_factory=list)
    _blank_count: int = 0
    _bare_count: int = 0
    """IMEIs of 14 digits that no TAC begins like."""
    _shortened: Remark = field(default_factory=Remark)
    """Those among them that are right with a zero before them: one of ten is by chance."""

    def take(self, data: bytes) -> None:
        """Take whole lines. Raises ListTooLargeError."""
        found = blocks.places(blocks.padded(data), len(self.header.names))
        count = self._take_blank(found)
        if self._rows + count > self.rows_max:
            raise ListTooLargeError(f"the list has more than {self.rows_max:,} rows (--rows-max)")
        if not count:
            self._line += len(found.start)
            return
        columns, good = self._regular(found, count)
        odd = np.ones(count, np.bool_)
        odd[found.regular[good]] = False
        for row in np.flatnonzero(odd).tolist():
            self._odd(found.line(row), row, columns)
        for name, column in columns.items():
            self._parts.setdefault(name, []).append(column)
        self._rows += count
        self._line += len(found.start)

    def finish(self) -> Listed:
        """Return what the list says; of use only where the report has no faults."""
        header = self.header
        if self._blank_count:
            self.report.warn(Remarkable.TRAILING_LINES, self._blank_count, self._blank)
        if self._shortened.rows * 2 > self._bare_count:
            self.report.warn(Remarkable.ZEROS_LOST, self._shortened.rows, self._shortened.lines)
        for what, names in (
            (Remarkable.UNKNOWN_COLUMN, header.unknown),
            (Remarkable.MISSING_COLUMN, header.missing),
        ):
            self.report.warn(what, len(names), text=f"{what.value}: {', '.join(names)}"[:400])
        columns = {}
        for name in list(self._columns()):
            parts = self._parts.pop(name, [])
            columns[name] = np.concatenate(parts) if parts else np.zeros(0, _DTYPES.get(name, np.uint64))
        return Listed(header, self._rows, columns, list(self._raw))

    def _take_blank(self, found: Places) -> int:
        """Note empty lines, which may stand at the end only; returns the number of rows before them."""
        blank = found.start == found.end
        rows = np.flatnonzero(~blank)
        count = int(rows[-1]) + 1 if len(rows) else 0
        if count:
            for line in self._blank:
                self.report.fault(line, "", "", Reason.BLANK_LINE)
            self.report.more(Reason.BLANK_LINE, self._blank_count - len(self._blank))
            self._blank, self._blank_count = [], 0
        trailing = np.arange(count, len(blank))
        self._blank += (trailing[: max(FAULTS_MAX - len(self._blank), 0)] + self._line).tolist()
        self._blank_count += len(trailing)
        return count

    def _columns(self) -> dict[str, type[Any]]:
        """Columns that the list has, and their types."""
        names: dict[str, type[Any]] = {}
        for name in self.header.names:
            match self.header.grammar(name):
                case Grammar.UID:
                    names |= {"uid_high": np.uint64, "uid_low": np.uint64}
                case Grammar.STATUS:
                    names["in_force"] = np.bool_
                case Grammar.CHANGE:
                    names["change"] = np.uint8
                case Grammar.IMEI:
                    names["imei"] = np.uint64
                case Grammar.TAC | Grammar.IMSI | Grammar.MSISDN | Grammar.LANGUAGE:
                    names[name] = np.uint64
        if self.header.content:
            names["content"] = np.uint64
        return names

    # -- regular rows, all at once ----------------------------------------------------------------

    def _regular(self, found: Places, count: int) -> tuple[dict[str, npt.NDArray[Any]], I64]:
        """Columns of `count` rows with the regular ones filled in; which of those are good."""
        out: dict[str, npt.NDArray[Any]] = {
            name: np.zeros(count, dtype) for name, dtype in self._columns().items()
        }
        at = found.regular
        good = np.ones(len(at), np.bool_)
        content = np.full(len(at), fields.HASH_SEED, np.uint64)
        in_content = set(self.header.content)
        checked: tuple[U64, U64] | None = None
        for place, name in enumerate(self.header.names):
            begin, stop = found.begin[place], found.stop[place]
            values, fine, check = self._column(found.data, begin, stop, name)
            good &= fine
            for column, value in values.items():
                out[column][at] = value
            if check is not None:
                checked = values["imei"], check
            if name in in_content:
                content = blocks.mix(found.data, begin, stop, content)
        if in_content:
            out["content"][at] = content
        chosen = np.flatnonzero(good)
        if checked is not None:
            keys, digits = checked
            self._suspect(keys[chosen], digits[chosen], at[chosen] + self._line)
        if "in_force" in out:
            pending = at[chosen[~out["in_force"][at[chosen]]]]
            self.report.warn(Remarkable.NOT_IN_FORCE, len(pending), self._lines(pending[:5]))
        return out, chosen

    def _column(
        self, data: U8, begin: I64, stop: I64, name: str
    ) -> tuple[dict[str, npt.NDArray[Any]], Mask, U64 | None]:
        """Values by column, which are good, and the check digits of IMEIs."""
        fine: Mask
        match self.header.grammar(name):
            case Grammar.IMEI:
                value, check, fine = blocks.imeis(data, begin, stop)
                return {"imei": value}, fine, check
            case Grammar.IMSI | Grammar.MSISDN:
                value, fine = blocks.numbers(data, begin, stop)
                return {name: value}, fine, None
            case Grammar.TAC:
                value, fine = blocks.tacs(data, begin, stop)
                return {name: value}, fine, None
            case Grammar.UID:
                high, low, fine = blocks.uids(data, begin, stop)
                return {"uid_high": high, "uid_low": low}, fine, None
            case Grammar.LANGUAGE:
                value, fine = blocks.languages(data, begin, stop)
                return {name: value}, fine, None
            case Grammar.CHANGE:
                change, fine = blocks.changes(data, begin, stop, updates=self.header.format.updates)
                return {"change": change}, fine, None
            case Grammar.STATUS:
                in_force = (stop == begin) | blocks.words(data, begin, stop, self.header.format.in_force)
                return {"in_force": in_force}, blocks.texts(begin, stop), None
            case Grammar.DATE:
                return {}, blocks.dates(data, begin, stop), None
            case Grammar.DEVICE:
                return {}, blocks.devices(data, begin, stop), None
        return {}, blocks.texts(begin, stop), None

    # -- odd rows, one by one -----------------------------------------------------------------------

    def _odd(self, line: bytes, row: int, columns: dict[str, npt.NDArray[Any]]) -> None:
        """Read one row exactly, into its place or into the report."""
        number = self._line + row
        if not line:
            self.report.fault(number, "", "", Reason.BLANK_LINE)
            return
        text = line.decode(errors="replace")
        cells = split(text)
        if cells is None:
            self.report.fault(number, "", text, Reason.QUOTES)
            return
        if len(cells) != len(self.header.names):
            message = f"{len(cells)} fields, the header has {len(self.header.names)}"
            self.report.fault(number, "", text, Reason.COLUMN_COUNT, message)
            return
        content = fields.HASH_SEED
        for name, cell in zip(self.header.names, cells, strict=True):
            try:
                self._cell(name, cell, row, number, columns)
            except FieldError as error:
                self.report.fault(number, name, cell, error.reason, str(error))
            if name in self.header.content:
                content = fields.content_hash(content, cell.encode())
        if "content" in columns:
            columns["content"][row] = content

    def _cell(
        self, name: str, cell: str, row: int, number: int, columns: dict[str, npt.NDArray[Any]]
    ) -> None:
        """Read one field into its column. Raises FieldError."""
        grammar = self.header.grammar(name)
        if grammar is Grammar.CHANGE:
            columns["change"][row] = fields.change(cell, updates=self.header.format.updates)
            return
        value = fields.PARSERS[grammar or Grammar.TEXT](cell)
        match grammar:
            case Grammar.IMEI:
                columns["imei"][row] = self._imei(str(value), cell, number)
            case Grammar.UID:
                assert isinstance(value, fields.Uid)
                columns["uid_high"][row], columns["uid_low"][row] = value
            case Grammar.STATUS:
                in_force = fields.is_in_force(cell, self.header.format.in_force)
                columns["in_force"][row] = in_force
                self.report.warn(Remarkable.NOT_IN_FORCE, int(not in_force), [number])
            case Grammar.TAC | Grammar.IMSI | Grammar.MSISDN | Grammar.LANGUAGE:
                columns[name][row] = value

    def _imei(self, normalised: str, cell: str, number: int) -> int:
        """Return the key of an IMEI, or the place of its raw text; note what is suspicious."""
        if fields.is_key(normalised):
            digit = blocks.NO_DIGIT if len(cell) == 14 else int(cell[14]) if len(cell) == 15 else 0
            self._suspect(
                np.array([int(normalised)], np.uint64), np.array([digit], np.uint64), np.array([number])
            )
            return int(normalised)
        self.report.warn(Remarkable.ZEROS_LOST, int(fields.looks_shortened(normalised)), [number])
        self.report.warn(Remarkable.EXPONENT, int(fields.looks_exponential(normalised)), [number])
        return RAW | self._raw.setdefault(normalised, len(self._raw))

    def _suspect(self, keys: U64, digits: U64, lines: I64) -> None:
        """Note wrong check digits (as blocks.imeis gives them), and IMEIs that may have lost a zero."""
        given = np.flatnonzero((digits != 0) & (digits != blocks.NO_DIGIT))
        wrong = given[check_digits(keys[given]) != digits[given]]
        self.report.warn(Remarkable.CHECK_DIGIT, len(wrong), lines[wrong[:EXAMPLES_MAX]].tolist())
        # No TAC begins with 1 (DECT's would), many with 01: those 14 digits may be the last of 15.
        bare = np.flatnonzero((digits == blocks.NO_DIGIT) & (keys // _FIRST_DIGIT == 1))
        right = bare[check_digits(keys[bare] // np.uint64(10)) == keys[bare] % np.uint64(10)]
        self._bare_count += len(bare)
        self._shortened.rows += len(right)
        room = EXAMPLES_MAX - len(self._shortened.lines)
        self._shortened.lines += lines[right[:room]].tolist()

    def _lines(self, rows: I64) -> list[int]:
        return [int(row) + self._line for row in rows]


def split(line: str) -> list[str] | None:
    """Split a line at commas outside of quotes, as RFC 4180; None where quotes are not closed."""
    if '"' not in line:
        return line.split(",")
    cells, place = [], 0
    while True:
        if line[place : place + 1] != '"':
            end = line.find(",", place)
            cell = line[place:] if end < 0 else line[place:end]
            if '"' in cell:
                return None
            cells.append(cell)
        else:
            closing, cell = place + 1, ""
            while True:
                end = line.find('"', closing)
                if end < 0:
                    return None
                cell += line[closing:end]
                if line[end + 1 : end + 2] != '"':
                    break
                cell, closing = cell + '"', end + 2
            cells.append(cell)
            end = end + 1 if line[end + 1 : end + 2] == "," else -1 if end + 1 == len(line) else -2
            if end == -2:
                return None
        if end < 0:
            return cells
        place = end + 1


def parsed(header: Header, data: Iterable[bytes], rows_max: int = ROWS_MAX) -> tuple[Listed, Report]:
    """Read a list from blocks of whole lines. Raises ListTooLargeError."""
    parser = Parser(header, rows_max)
    for block in data:
        parser.take(block)
    return parser.finish(), parser.report
