"""Subscribers in registry.db, in blocks, beside a dictionary."""

import sqlite3
from itertools import chain
from random import Random

import numpy as np
import pytest

from eir.errors import JournalDamagedError
from eir.whitelist import subscribers
from eir.whitelist.schema import SUBSCRIBER_TABLES, Subscriber

FIRST = 1_432_110_000_000_000
ROWS = [Subscriber(FIRST + n, 1_989_120_000_000 + n % 3, ("fa", "en", "")[n % 3]) for n in range(9)]


@pytest.fixture
def db() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(SUBSCRIBER_TABLES)
    return connection


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of few rows, so that little data has many."""
    for name, value in (
        ("BLOCK_ROWS", 4),
        ("BLOCK_ROWS_MAX", 6),
        ("LOOKED_UP_ONE_BY_ONE", 3),
        ("BLOCKS_AT_ONCE", 2),
        ("BLOCKS_OF_A_NUMBER", 1_000),
    ):
        monkeypatch.setattr(subscribers, name, value)


def write(db: sqlite3.Connection, rows: list[Subscriber]) -> int:
    return subscribers.write(db, subscribers.of_values(rows))


def known(db: sqlite3.Connection, imsis: list[int]) -> list[Subscriber]:
    return subscribers.as_values(subscribers.known(db, np.array(imsis, np.uint64)))


def everyone(db: sqlite3.Connection) -> list[Subscriber]:
    out: list[Subscriber] = []
    while len(some := subscribers.after(db, out[-1].imsi if out else 0)):
        out += subscribers.as_values(some)
    return out


def blocks(db: sqlite3.Connection, table: subscribers.Table) -> list[tuple[int, bytes]]:
    return db.execute(f"SELECT first, rows FROM {table.name} ORDER BY first").fetchall()


def damage(db: sqlite3.Connection, table: subscribers.Table, first: int) -> None:
    """Turn one bit of a block."""
    (blob,) = db.execute(f"SELECT rows FROM {table.name} WHERE first = ?", (first,)).fetchone()
    turned = blob[:9] + bytes([blob[9] ^ 1]) + blob[10:]
    db.execute(f"UPDATE {table.name} SET rows = ? WHERE first = ?", (turned, first))


def test_values_are_rows_and_back() -> None:
    assert subscribers.as_values(subscribers.of_values(ROWS)) == ROWS
    assert subscribers.as_values(subscribers.of_values([])) == []
    assert [subscribers.language_code(text) for text in ("", "fa", "farsi", "é")] == [0, 0x6661, 0, 0]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(6))
def test_what_was_written_is_found_as_in_a_dictionary(db: sqlite3.Connection, seed: int) -> None:
    random, model = Random(seed), dict[int, Subscriber]()
    for _ in range(40):
        imsis = random.sample(range(FIRST, FIRST + 150), random.choice((1, 2, 5, 60)))
        numbers = range(1_989_120_000_000, 1_989_120_000_000 + random.choice((2, 60)))
        leave = random.choice((0, 0.3, 1))
        given = [
            Subscriber(imsi, 0, "")
            if random.random() < leave
            else Subscriber(imsi, random.choice(numbers), "fa")
            for imsi in imsis
        ]
        before = len(model)
        for one in given:
            model.pop(one.imsi, None)
            if one.msisdn:
                model[one.imsi] = one
        assert write(db, given) == len(model) - before
        assert everyone(db) == sorted(model.values())
        asked = random.sample(range(FIRST - 5, FIRST + 160), random.choice((1, 3, 50)))
        assert known(db, asked) == sorted(model[imsi] for imsi in asked if imsi in model)
        for number in numbers[:3]:
            mine = sorted(one for one in model.values() if one.msisdn == number)
            assert subscribers.of_msisdn(db, number, 9) == mine[:9]
        assert subscribers.verify(db) == []
        for table in subscribers.TABLES:
            firsts = [first for first, _ in blocks(db, table)]
            assert firsts[:1] == [0] or not firsts
            keys = [
                table.keys(np.frombuffer(blob, subscribers.ROW)).tolist() for _, blob in blocks(db, table)
            ]
            assert all(not part or first <= part[0] for first, part in zip(firsts, keys, strict=True))
            assert list(chain(*keys)) == sorted(chain(*keys))
            assert all(len(part) <= 6 or len(set(part)) == 1 for part in keys)


def test_many_rows_make_full_blocks(db: sqlite3.Connection) -> None:
    rows = [Subscriber(FIRST + n, 1_989_120_000_000 + n * 7 % 10_000, "fa") for n in range(10_000)]
    assert write(db, rows[::-1]) == 10_000
    for table in subscribers.TABLES:
        assert len(blocks(db, table)) == 10_000 // subscribers.BLOCK_ROWS
    assert everyone(db) == rows
    assert write(db, [row._replace(msisdn=0) for row in rows]) == -10_000
    assert [blocks(db, table) for table in subscribers.TABLES] == [[(0, b"")], [(0, b"")]]
    assert everyone(db) == []
    assert known(db, [FIRST]) == []


def test_one_row_rewrites_one_block_of_each_table(db: sqlite3.Connection) -> None:
    rows = [Subscriber(FIRST + n, 1_989_120_000_000 + n, "fa") for n in range(2_000)]
    write(db, rows)
    before = [set(blocks(db, table)) for table in subscribers.TABLES]
    write(db, [rows[777]._replace(language="en")])
    after = [set(blocks(db, table)) for table in subscribers.TABLES]
    assert [len(one - other) for one, other in zip(after, before, strict=True)] == [1, 1]


def test_nothing_is_found_where_nothing_is(db: sqlite3.Connection) -> None:
    assert (known(db, [FIRST]), known(db, []), everyone(db)) == ([], [], [])
    assert subscribers.of_msisdn(db, 1_989_120_000_000, 9) == []
    assert subscribers.of_msisdn(db, 10**20, 9) == []
    assert write(db, [ROWS[0]._replace(msisdn=0)]) == 0
    assert subscribers.verify(db) == []


def test_a_number_that_very_many_share_is_looked_up_in_few_blocks(db: sqlite3.Connection) -> None:
    shared = [Subscriber(FIRST + n, 1_989_120_000_000, "fa") for n in range(20_000)]
    write(db, shared)
    found = subscribers.of_msisdn(db, 1_989_120_000_000, 10**6)
    assert found == sorted(found)
    assert 1_000 < len(found) < 10_000
    assert set(found) < set(shared)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("table", subscribers.TABLES)
def test_a_damaged_block_is_made_again_from_the_other_table(
    db: sqlite3.Connection, table: subscribers.Table
) -> None:
    rows = [Subscriber(FIRST + n, 1_989_120_000_000 + n * 7 % 50, "fa") for n in range(50)]
    write(db, rows)
    whole = blocks(db, table)
    for first in (0, whole[3][0], whole[-1][0]):
        damage(db, table, first)
        (said,) = subscribers.verify(db)
        assert table.name in said.message
        assert "1100000" not in said.message.replace("subscribers", "")
        if table is subscribers.BY_IMSI:
            assert known(db, [row.imsi for row in rows]) == rows
        else:
            assert list(chain(*(subscribers.of_msisdn(db, row.msisdn, 9) for row in rows))) == rows
        assert blocks(db, table) == whole
        assert subscribers.verify(db) == []
    damage(db, table, whole[2][0])
    assert write(db, [rows[0]._replace(msisdn=0), *(row._replace(language="en") for row in rows[1:])]) == -1
    assert everyone(db) == [row._replace(language="en") for row in rows[1:]]
    assert subscribers.verify(db) == []


@pytest.mark.usefixtures("small")
def test_who_only_reads_has_it_made_again_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("one") / "file.db"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.executescript(SUBSCRIBER_TABLES)
    write(writer, ROWS)
    damage(writer, subscribers.BY_IMSI, 0)
    reader = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
    assert everyone(reader) == ROWS
    assert len(subscribers.verify(reader)) == 1
    reader.close()
    writer.close()


@pytest.mark.usefixtures("small")
def test_what_is_damaged_in_both_tables_is_named_masked(db: sqlite3.Connection) -> None:
    write(db, ROWS)
    last = blocks(db, subscribers.BY_IMSI)[-1][0]
    damage(db, subscribers.BY_IMSI, last)
    damage(db, subscribers.BY_MSISDN, 0)
    with pytest.raises(JournalDamagedError, match=r"subscribers_by_imsi from 432\*+\d\d on does not match"):
        known(db, [ROWS[-1].imsi])
    with pytest.raises(JournalDamagedError, match="subscribers_by_msisdn at the beginning"):
        subscribers.of_msisdn(db, 1, 9)
    with pytest.raises(JournalDamagedError):
        write(db, ROWS[-1:])
    assert known(db, [ROWS[0].imsi]) == ROWS[:1], "the other blocks are whole"
    assert len(subscribers.verify(db)) == 2


def test_tables_that_do_not_say_the_same_are_found(db: sqlite3.Connection) -> None:
    write(db, ROWS)
    for table in subscribers.TABLES:
        rows = np.frombuffer(blocks(db, table)[0][1], subscribers.ROW)
        fewer = rows[1:].tobytes()
        db.execute("SAVEPOINT before")
        db.execute(
            f"UPDATE {table.name} SET rows = ?, crc32c = ?", (fewer, subscribers.checksum(table, 0, fewer))
        )
        (said,) = subscribers.verify(db)
        assert "not by both" in said.message
        db.execute("ROLLBACK TO before")
    assert subscribers.verify(db) == []
