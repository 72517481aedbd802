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


def test_a_damaged_row_is_named(db: sqlite3.Connection) -> None:
    subscribers.write(db, ROWS)
    db.execute("UPDATE subscribers SET language = 'xx' WHERE imsi = ?", (ROWS[4].imsi,))
    with pytest.raises(JournalDamagedError, match="subscribers"):
        subscribers.known(db, [ROWS[4].imsi])
    with pytest.raises(JournalDamagedError, match="subscribers"):
        subscribers.after(db, 0, 99)
