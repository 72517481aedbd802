"""Subscribers in registry.db, many at once."""

import sqlite3

import pytest

from eir.errors import JournalDamagedError
from eir.whitelist import subscribers
from eir.whitelist.schema import Subscriber, row_checksum

ROWS = [
    Subscriber(1_432_110_000_000_000 + n, 1_989_120_000_000 + n % 3, ("fa", "en", "")[n % 3])
    for n in range(9)
]


@pytest.fixture
def db() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.executescript(
        "CREATE TABLE subscribers (imsi INTEGER PRIMARY KEY, msisdn INTEGER, language TEXT, crc32c INTEGER);"
        "CREATE TABLE msisdns (msisdn INTEGER, imsi INTEGER, PRIMARY KEY (msisdn, imsi)) WITHOUT ROWID"
    )
    return connection


@pytest.mark.parametrize("row", [*ROWS[:3], Subscriber(10, 19, "de")])
def test_the_checksum_is_that_of_every_row(row: Subscriber) -> None:
    assert subscribers.checksum(*row) == row_checksum("subscribers", *row)


def test_known_ones_are_found_some_at_a_time(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscribers, "KNOWN_AT_ONCE", 2)
    assert subscribers.write(db, ROWS[:6]) == 6
    asked = [row.imsi for row in ROWS]
    assert sorted(subscribers.known(db, asked)) == ROWS[:6]
    assert subscribers.known(db, []) == []
    assert subscribers.write(db, [ROWS[0]._replace(msisdn=0), ROWS[1]._replace(msisdn=19), ROWS[8]]) == 0
    assert subscribers.of_msisdn(db, 19, 5) == [ROWS[1]._replace(msisdn=19)]
    assert subscribers.of_imsi(db, ROWS[0].imsi) is None
    assert subscribers.verify(db) == []


@pytest.mark.parametrize("at_once", [1, 2, 3, 4, 100])
def test_however_many_are_written_at_once_all_are(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(subscribers, "WRITTEN_AT_ONCE", at_once)
    assert subscribers.write(db, ROWS[::-1]) == 9
    assert subscribers.after(db, 0, 99) == ROWS
    assert subscribers.of_msisdn(db, ROWS[1].msisdn, 99) == ROWS[1::3]
    assert subscribers.write(db, [row._replace(msisdn=0) for row in ROWS[:7]]) == -7
    assert subscribers.after(db, 0, 99) == ROWS[7:]
    assert db.execute("SELECT msisdn, imsi FROM msisdns ORDER BY imsi").fetchall() == [
        (row.msisdn, row.imsi) for row in ROWS[7:]
    ]
    assert subscribers.write(db, [ROWS[0]._replace(msisdn=0)]) == 0
    assert subscribers.verify(db) == []


def test_which_are_there_is_known_of_damaged_ones_too(db: sqlite3.Connection) -> None:
    assert subscribers.there(db, [ROWS[0].imsi]) == set()
    subscribers.write(db, ROWS[:2])
    db.execute("UPDATE subscribers SET language = 'xx'")
    assert subscribers.there(db, [row.imsi for row in ROWS]) == {ROWS[0].imsi, ROWS[1].imsi}


def test_a_damaged_row_is_named(db: sqlite3.Connection) -> None:
    subscribers.write(db, ROWS)
    db.execute("UPDATE subscribers SET language = 'xx' WHERE imsi = ?", (ROWS[4].imsi,))
    with pytest.raises(JournalDamagedError, match="subscribers"):
        subscribers.known(db, [ROWS[4].imsi])
    with pytest.raises(JournalDamagedError, match="subscribers"):
        subscribers.after(db, 0, 99)
