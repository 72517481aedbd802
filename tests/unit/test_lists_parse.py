"""Reading lists: the fast path and the exact one say the same, whatever the bytes."""

import random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eir.identity import luhn_digit
from eir.lists import blocks, fields, parse
from eir.lists.errors import ListTooLargeError
from eir.lists.fields import FieldError
from eir.lists.formats import FORMATS, Grammar, HeaderError, read_header
from eir.lists.report import FAULTS_MAX, Reason, Remark, Remarkable, Report
from eir.whitelist.rows import RAW

IMEI = "35693803564380"
TOKENS = [
    *(
        "0",
        "00000000000000",
        "35693803564380",
        "356938035643809",
        "3569380356438000",
        "deabfcde2abfec",
        "*#06#",
    ),
    *("35693803564380G", "3.5E+13", "35E12", " 35693803564380", "5693803564380", "432110000000001", "1" * 16),
    *("20240229", "20230229", "20261301", "19991231", "", "blacklist", "BLACKLIST", "pending", "whitelist"),
    *(
        "add",
        "remove",
        "update",
        "ADD",
        "01234567",
        "00000000",
        "uid-1",
        "a/b\\c",
        "x" * 20,
        "x" * 21,
        "fa",
        "FA",
    ),
    *("é", "a b", "D1", "D-1", "X" * 30, "۱۲۳۴۵۶۷۸", "a" * 1025),
]
cell = st.sampled_from(TOKENS) | st.text("0123456789abcdefABCDEF*#-/ .E+é", max_size=20)


def line_of(cells: list[str], quoted: list[bool]) -> str:
    return ",".join(f'"{text}"' if quote else text for text, quote in zip(cells, quoted, strict=True))


@st.composite
def lists(draw):
    """A header of some list, and rows of cells that may be anything."""
    kind = FORMATS[draw(st.sampled_from(list(FORMATS)))]
    names = [column.name for column in kind.columns] + ["change_type"] * draw(st.booleans())
    rows = draw(st.lists(st.lists(cell, min_size=len(names), max_size=len(names)), max_size=6))
    quotes = draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names)))
    return names, rows, quotes


def read(names, rows, quotes, fast=True, end="\n"):
    parser = parse.Parser(read_header(names))
    if not fast:
        parser._regular = lambda found, count: (
            {name: np.zeros(count, dtype) for name, dtype in parser._columns().items()},
            np.empty(0, np.int64),
        )
    data = "".join(line_of(row, quotes) + end for row in rows).encode()
    if data:
        parser.take(data)
    listed = parser.finish()
    return listed, parser.report


@settings(max_examples=120, deadline=None)
@given(lists(), st.sampled_from(["\n", "\r\n"]))
@example((["imei"], [["35693803564380"], ["deabfcde2abfec"]], [True]), "\r\n")
def test_the_fast_path_reads_what_the_exact_one_reads(given_list, end) -> None:
    names, rows, quotes = given_list
    fast, fast_report = read(names, rows, quotes, end=end)
    slow, slow_report = read(names, rows, quotes, fast=False, end=end)
    key = lambda fault: (fault.line, fault.column)  # noqa: E731
    assert sorted(fast_report.faults, key=key) == sorted(slow_report.faults, key=key)
    assert fast_report.counts == slow_report.counts
    assert {w: r.rows for w, r in fast_report.warnings.items()} == {
        w: r.rows for w, r in slow_report.warnings.items()
    }
    if not fast_report.fault_count:
        assert fast.raw_texts == slow.raw_texts
        for name, column in slow.columns.items():
            assert (fast.columns[name] == column).all(), name


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(list(FORMATS)))
def test_garbage_is_read_or_faulty_never_an_error(data, name) -> None:
    kind = FORMATS[name]
    parser = parse.Parser(read_header([column.name for column in kind.columns]))
    parser.take(data.replace(b"\0", b"") + b"\n")
    listed = parser.finish()
    lines = (data.replace(b"\0", b"") + b"\n").count(b"\n")
    assert listed.row_count <= lines
    assert len(parser.report.faults) <= FAULTS_MAX


def one(grammar, text):
    """What the fast path makes of one field: None where it leaves it to the exact one."""
    data = blocks.padded(text.encode() + b"\n")
    begin = np.array([blocks.PAD])
    stop = begin + len(text.encode())
    match grammar:
        case Grammar.IMEI:
            value, _, good = blocks.imeis(data, begin, stop)
        case Grammar.IMSI:
            value, good = blocks.numbers(data, begin, stop)
        case Grammar.TAC:
            value, good = blocks.tacs(data, begin, stop)
        case Grammar.LANGUAGE:
            value, good = blocks.languages(data, begin, stop)
        case Grammar.DATE:
            good = blocks.dates(data, begin, stop)
            value = good
        case Grammar.DEVICE:
            good = blocks.devices(data, begin, stop)
            value = good
        case _:
            high, low, good = blocks.uids(data, begin, stop)
            return (int(high[0]), int(low[0])) if good[0] else None
    return int(value[0]) if good[0] else None


@settings(max_examples=250, deadline=None)
@given(
    cell,
    st.sampled_from([g for g in fields.PARSERS if g not in (Grammar.TEXT, Grammar.STATUS, Grammar.MSISDN)]),
)
def test_each_field_is_read_alike(text, grammar) -> None:
    try:
        exact = fields.PARSERS[grammar](text)
    except FieldError:
        assert one(grammar, text) is None
        return
    fast = one(grammar, text)
    if fast is None:
        assert grammar is Grammar.IMEI, "only IMEIs that are raw text or special are left to the exact path"
        assert not fields.is_key(exact) or int(exact) == 0
    elif grammar is Grammar.IMEI:
        assert fast == int(exact)
    elif grammar not in (Grammar.DATE, Grammar.DEVICE):
        assert fast == (tuple(exact) if grammar is Grammar.UID else exact)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5))
def test_contents_are_hashed_alike(texts) -> None:
    joined = b"".join(texts)
    data = blocks.padded(joined + b"\n")
    ends = np.cumsum([len(text) for text in texts]) + blocks.PAD
    begins = ends - [len(text) for text in texts]
    seeds = np.full(len(texts), fields.HASH_SEED, np.uint64)
    mixed = blocks.mix(data, begins, ends, seeds)
    assert mixed.tolist() == [fields.content_hash(fields.HASH_SEED, text) for text in texts]


@given(st.text(fields.UID_ALPHABET, min_size=1, max_size=20))
def test_user_ids_come_back(text) -> None:
    assert fields.uid_text(fields.uid(text)) == text


def test_rows_keep_their_lines_over_blocks() -> None:
    parser = parse.Parser(read_header(["imei"]))
    for part in (b"35693803564380\n" * 3, b"35693803564380\n", b"x\n35693803564380\ny\n"):
        parser.take(part)
    assert [fault.line for fault in parser.report.faults] == [6, 8]
    assert parser.finish().row_count == 7


def test_empty_lines_are_faults_only_where_rows_follow() -> None:
    parser = parse.Parser(read_header(["imei"]))
    parser.take(b"35693803564380\n\n")
    parser.take(b"\n\n")
    assert not parser.report.fault_count
    parser.take(b"35693803564398\n\n")
    parser.finish()
    assert [(fault.line, fault.reason) for fault in parser.report.faults] == [
        (line, Reason.BLANK_LINE) for line in (3, 4, 5)
    ]
    assert parser.report.warnings[Remarkable.TRAILING_LINES].rows == 1


def test_faults_are_bounded_and_all_counted() -> None:
    parser = parse.Parser(read_header(["imei"]))
    parser.take(b"x\n" * (FAULTS_MAX + 500))
    assert len(parser.report.faults) == FAULTS_MAX
    assert parser.report.fault_count == FAULTS_MAX + 500
    assert parser.report.as_json()["faults_by_reason"] == {"CHARACTERS": FAULTS_MAX + 500}


def test_a_list_that_is_too_long_is_not_read_on() -> None:
    parser = parse.Parser(read_header(["imei"]), rows_max=3)
    parser.take(b"35693803564380\n" * 3)
    with pytest.raises(ListTooLargeError):
        parser.take(b"35693803564380\n")


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("a,b", ["a", "b"]),
        ('"a,b",c', ["a,b", "c"]),
        ('"a ""b""",""', ['a "b"', ""]),
        ('a"b', None),
        ('"a"b,c', None),
        ('"a', None),
        (",", ["", ""]),
        ('"a",', ["a", ""]),
    ],
)
def test_quotes_are_read_as_rfc_4180_has_them(text, cells) -> None:
    assert parse.split(text) == cells


def test_what_is_suspicious_is_said_with_its_lines() -> None:
    rows = ["35693803564380", "5693803564380", "35E12", "356938035643801", "DEABFCDE2ABFEC"]
    listed, report = read(["imei"], [[row] for row in rows], [False])
    said = {what.name: (remark.rows, remark.lines) for what, remark in report.warnings.items()}
    assert said == {"ZEROS_LOST": (1, [3]), "EXPONENT": (1, [4]), "CHECK_DIGIT": (1, [5])}
    assert listed.raw_texts == ["5693803564380", "35E12", "DEABFCDE2ABFEC"]
    assert listed.columns["imei"].tolist() == [int(IMEI), RAW, RAW | 1, int(IMEI), RAW | 2]


@pytest.mark.parametrize("quoted", [False, True])
def test_fifteen_digits_that_lost_their_zero_are_told_from_fourteen(quoted: bool) -> None:
    lost = [f"{1_234_567_890_123 + 7 * n}" for n in range(40)]
    lost = [text + str(luhn_digit(int(text))) for text in lost]
    right = [f"{10_000_000_000_000 + 7 * n}" for n in range(40)]
    for rows, said in ((lost, 40), (lost + right[:20], 40), (right, 0), (["01234567890123"] * 3, 0)):
        other = [["35693803564380"], ["*#06#"]]
        _, report = read(["imei"], [*other, *([row] for row in rows)], [quoted])
        assert report.warnings.get(Remarkable.ZEROS_LOST, Remark()).rows >= said
        if not said:
            assert Remarkable.ZEROS_LOST not in report.warnings
        elif rows is lost:
            assert report.warnings[Remarkable.ZEROS_LOST].lines == [4, 5, 6, 7, 8]


# Headers.


@pytest.mark.parametrize("name", FORMATS)
def test_a_header_is_known_in_any_order_and_case(name) -> None:
    names = [column.name.upper() for column in FORMATS[name].columns]
    for delta in (False, True):
        shuffled = names + ["Change_Type"] * delta
        random.Random(1).shuffle(shuffled)
        header = read_header(shuffled)
        assert (header.format.name, header.delta) == (name, delta)
        assert list(header.names) == [one.lower() for one in shuffled]


def test_a_header_that_is_none_says_what_it_lacks() -> None:
    with pytest.raises(HeaderError, match="stolen list lacks 'status'"):
        read_header(["imei", "reporting_date"])
    with pytest.raises(HeaderError, match="unknown 'colour'"):
        read_header(["imei", "colour"])
    with pytest.raises(HeaderError, match="'imei' twice"):
        read_header(["imei", "IMEI"])
    with pytest.raises(HeaderError, match="of no list"):
        read_header(["3569"])
    with pytest.raises(HeaderError, match="lacks 'approved_imei'"):
        read_header(["make", "model"], loose=True)


def test_loose_columns_say_what_is_left_out() -> None:
    header = read_header(["imei", "status", "colour"], "stolen", loose=True)
    assert (header.unknown, header.missing) == (("colour",), ("reporting_date",))
    parser = parse.Parser(header)
    parser.take(b"35693803564380,,blue\n")
    parser.finish()
    assert parser.report.warnings.keys() == {Remarkable.UNKNOWN_COLUMN, Remarkable.MISSING_COLUMN}


def test_a_report_shows_faults_by_line() -> None:
    report = Report()
    report.fault(5, "imei", "x" * 100, Reason.EMPTY)
    report.fault(2, "imei", "y", Reason.CONFLICT, "line 9")
    values = report.as_json()
    assert [fault["line"] for fault in values["faults"]] == [2, 5]
    assert len(values["faults"][1]["value"]) == 64
