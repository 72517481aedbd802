"""The journal searched backwards."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from eir.errors import InvalidRequestError
from eir.identity import imsi_code
from eir.inquiry.history import IMSIS_MAX, NEWEST, Bounds, Page, Trace, from_token, search, token
from eir.whitelist.blob import rows_to_blob
from eir.whitelist.delta import Header
from eir.whitelist.journal import Journal
from eir.whitelist.operation import Operation, rows_of
from eir.whitelist.rows import BlockCause, Op, Role

KEY, NEXT, TAC = 35693803_564380, 35693803_564381, 35693803
A, B, C, D = (imsi_code(f"43211000000000{number}") for number in range(1, 5))
NUMBER = 1989121234567
ALL = Bounds(1000, 1e9, lambda: 0.0)


def pair(imei: int | str, imsi: int, former: int = 0, role: Role = Role.OWNER) -> Operation:
    return Operation(Op.PAIR, imei, imsi=imsi, former_imsi=former, cause=role)


class Kept:
    """A journal, filled delta by delta; each has chunks of its own."""

    def __init__(self, path: Path) -> None:
        self.journal = Journal.open(path)

    def add(self, *chunks: list[Operation], references: list[str] | str = "", reference: str = "") -> int:
        serial, token = self.journal.last_serial() + 1, self.journal.new_token()
        for index, rows in enumerate(chunks):
            made = rows_of(rows)
            made.references = references
            self.journal.append_chunk(token, index, rows_to_blob(made))
        header = Header("hamta", serial, serial - 1, sum(map(len, chunks)), reference=reference)
        digest = hashlib.sha256(b"").digest()
        self.journal.commit_delta(header, token, serial, content_sha256=digest, committed_at=serial * 10)
        return serial

    def find(self, trace: Trace) -> list[tuple[int, Operation]]:
        return [(found.delta.serial, found.row) for found in search(self.journal, trace, NEWEST, ALL).rows]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path / "registry.db")
    yield kept
    kept.journal.close()


def test_rows_about_an_imei_are_found_newest_first(kept: Kept) -> None:
    rows = [
        Operation(Op.REGISTER, KEY - 5, KEY + 5),
        Operation(Op.TAC, TAC, name="phone"),
        pair(KEY, A),
        Operation(Op.LINK, NEXT, imei_other=KEY),
        Operation(Op.BLOCK, KEY, cause=BlockCause.LOST, name="police"),
        Operation(Op.EXEMPT, KEY, imsi=C, time=9, cause=1),
    ]
    noise = [
        Operation(Op.REGISTER, NEXT, KEY + 50),
        Operation(Op.TAC, TAC + 1, name="phone"),
        pair(NEXT, A),
        Operation(Op.LINK, NEXT, imei_other=NEXT + 1),
    ]
    for row in rows:
        kept.add([*noise, row])
    assert kept.find(Trace(imei=KEY)) == [(6 - index, row) for index, row in enumerate(reversed(rows))]


def test_the_sims_of_a_phone_are_followed_through_replacements(kept: Kept) -> None:
    first = [pair(KEY, A), Operation(Op.SUBSCRIBER, imsi=A, time=NUMBER, name="fa"), pair(NEXT, A)]
    kept.add(first)
    kept.add([Operation(Op.REPLACE_SIM, imsi=B, former_imsi=A)])
    kept.add([pair(KEY, C, former=B)])
    kept.add([Operation(Op.REPLACE_SIM, imsi=D, former_imsi=C), Operation(Op.EXEMPT, imsi=D, cause=1)])
    kept.add([Operation(Op.REPLACE_SIM, imsi=A + 100, former_imsi=A + 101)])
    found = kept.find(Trace(imei=KEY, imsis={D}))
    assert [serial for serial, _ in found] == [4, 4, 3, 2, 1, 1]
    assert [row for serial, row in found if serial == 1] == first[:2]


def test_a_replacement_is_found_in_an_earlier_chunk_of_the_same_delta(kept: Kept) -> None:
    replaced, transfer = Operation(Op.REPLACE_SIM, imsi=B, former_imsi=A), pair(KEY, C, former=B)
    kept.add([pair(KEY, A)])
    kept.add([replaced], [transfer])
    assert kept.find(Trace(imei=KEY, imsis={C})) == [(2, replaced), (2, transfer), (1, pair(KEY, A))]


def test_a_subscriber_is_followed_to_earlier_sims(kept: Kept) -> None:
    kept.add([pair(KEY, A), pair(NEXT, B), Operation(Op.SUBSCRIBER, imsi=A, time=NUMBER)])
    kept.add([Operation(Op.REPLACE_SIM, imsi=C, former_imsi=A)])
    kept.add([Operation(Op.SUBSCRIBER, imsi=C, time=NUMBER)])
    kept.add([pair(KEY, B, former=C)])
    assert [serial for serial, _ in kept.find(Trace(imsis={C}))] == [4, 3, 2, 1, 1]
    assert [serial for serial, _ in kept.find(Trace(imsis={C}, msisdns={NUMBER}))] == [4, 3, 2, 1, 1]
    assert [serial for serial, _ in kept.find(Trace(msisdns={NUMBER}))] == [3, 2, 1, 1]
    assert [serial for serial, _ in kept.find(Trace(imsis={B}))] == [4, 1]


def test_raw_texts_are_found_by_their_text(kept: Kept) -> None:
    track, other = Operation(Op.TRACK, "0F"), Operation(Op.TRACK, "1F")
    kept.add([other, track])
    kept.add([other, Operation(Op.TRACK, KEY)])
    assert kept.find(Trace(imei="0F")) == [(1, track)]
    assert kept.find(Trace(imei="2F")) == []


def test_references_of_rows_and_deltas_are_told(kept: Kept) -> None:
    kept.add([pair(NEXT, B), pair(KEY, A)], references=["x", "R-7"], reference="D-1")
    kept.add([Operation(Op.TRACK, KEY)], references="all")
    found = search(kept.journal, Trace(imei=KEY), NEWEST, ALL).rows
    assert [(one.reference, one.delta.reference) for one in found] == [("all", ""), ("R-7", "D-1")]


@pytest.mark.parametrize(("rows_max", "seconds_max"), [(1, 1e9), (3, 1e9), (1000, 0.0), (2, 0.0)])
def test_pages_together_are_the_whole(kept: Kept, rows_max: int, seconds_max: float) -> None:
    for start in range(0, 40, 10):
        kept.add(
            [pair(KEY + number, A) for number in range(start, start + 5)],
            [pair(KEY + number, A) for number in range(start + 5, start + 10)],
            [pair(NEXT, B)],
        )
    whole = kept.find(Trace(imsis={A}))
    assert len(whole) == 40
    together, data, pages = [], b"", 0
    while True:
        place, imsis = from_token(data)
        trace = Trace(imsis={A} | imsis)
        page: Page = search(kept.journal, trace, place, Bounds(rows_max, seconds_max, lambda: 1.0))
        assert len(page.rows) <= rows_max
        together += [(one.delta.serial, one.row) for one in page.rows]
        pages += 1
        if page.next_place is None:
            break
        data = token(page.next_place, trace.imsis)
    assert together == whole
    assert pages > 3


def test_what_is_damaged_is_named_and_what_is_older_is_told(kept: Kept, tmp_path: Path) -> None:
    for _ in range(3):
        kept.add([pair(KEY, A)])
    with sqlite3.connect(tmp_path / "registry.db") as database:
        database.execute("UPDATE chunks SET rows = zeroblob(9) WHERE token = 2")
    page = search(kept.journal, Trace(imei=KEY), NEWEST, ALL)
    assert [one.delta.serial for one in page.rows] == [3, 1]
    assert page.unreadable_serials == [2]


def test_heartbeats_and_an_empty_journal_have_nothing(kept: Kept) -> None:
    assert kept.find(Trace(imei=KEY)) == []
    kept.add()
    assert kept.find(Trace(imei=KEY)) == []
    assert search(kept.journal, Trace(imei=KEY), NEWEST, ALL).chunk_count == 0


@pytest.mark.parametrize("data", [b"x", bytes(15), bytes(17), b"\xff" * 16, bytes(16 + 8 * (IMSIS_MAX + 1))])
def test_a_token_of_others_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="page_token"):
        from_token(data)


def test_a_trace_follows_a_bounded_number_of_sims() -> None:
    trace = Trace(imei=KEY)
    for number in range(IMSIS_MAX + 10):
        trace.widen(pair(KEY, A + number))
    assert len(trace.imsis) == IMSIS_MAX
    assert not trace.widen(pair(KEY, A - 1))
