"""Which deltas were about an IMEI or an IMSI."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eir.errors import JournalDamagedError
from eir.identity import imsi_code
from eir.whitelist.blob import rows_to_blob
from eir.whitelist.delta import Header
from eir.whitelist.history import changes, touching
from eir.whitelist.journal import Journal
from eir.whitelist.operation import Operation, rows_of
from eir.whitelist.rows import IGNORED, Op, Role

KEY = 35693803564380
SIM, NEW, OTHER = imsi_code("1"), imsi_code("2"), imsi_code("3")
ROWS = [
    Operation(Op.REGISTER, KEY),
    Operation(Op.REGISTER, KEY - 5, imei_last=KEY + 5),
    Operation(Op.REGISTER, KEY + 1, imei_last=KEY + 5),
    Operation(Op.REGISTER, KEY - 5, imei_last=KEY),
    Operation(Op.PAIR, KEY, imsi=SIM, cause=Role.OWNER),
    Operation(Op.PAIR, KEY + 1, imsi=SIM, cause=Role.OWNER),
    Operation(Op.LINK, KEY + 1, imei_other=KEY),
    Operation(Op.TAC, 35693803, name="phone"),
    Operation(Op.BLOCK, "BE*F", cause=1),
    Operation(Op.REPLACE_SIM, imsi=NEW, former_imsi=SIM),
    Operation(Op.EXEMPT, imsi=SIM),
    Operation(Op.SUBSCRIBER, imsi=OTHER, time=7),
]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.open(tmp_path / "registry.db")
    yield journal
    journal.close()


def commit(journal: Journal, serial: int, *chunks: list[Operation], references: object = "") -> None:
    token = journal.new_token()
    for index, operations in enumerate(chunks):
        rows = rows_of(operations)
        rows.references = references  # type: ignore[assignment]
        journal.append_chunk(token, index, rows_to_blob(rows))
    header = Header("hamta", serial, serial - 1, sum(map(len, chunks)), reference="delta")
    journal.commit_delta(header, token, serial, content_sha256=b"", committed_at=serial * 10)


@pytest.mark.parametrize(
    ("imeis", "imsi", "at"),
    [
        ([KEY], 0, [0, 1, 3, 4, 6]),
        ([KEY + 1], 0, [1, 2, 5, 6]),
        ([KEY, KEY + 1], 0, [0, 1, 2, 3, 4, 5, 6]),
        (["BE*F"], 0, [8]),
        (["F"], 0, []),
        ([], SIM, [9, 10]),
        ([], NEW, [9]),
        ([KEY], OTHER, [0, 1, 3, 4, 6, 11]),
        ([35693803], 0, []),  # the number of a TAC is no IMEI
        ([], 0, []),
    ],
)
def test_rows_are_found_by_imei_and_by_imsi(imeis: list[int | str], imsi: int, at: list[int]) -> None:
    assert touching(rows_of(ROWS), imeis, imsi) == at


def test_rows_that_were_ignored_are_about_nothing() -> None:
    rows = rows_of(ROWS)
    rows.op[:] = IGNORED
    assert touching(rows, [KEY], SIM) == []


def test_changes_come_newest_first_with_where_they_came_from(journal: Journal) -> None:
    commit(journal, 1, [Operation(Op.REGISTER, KEY), Operation(Op.TRACK, KEY)], references=["", "row"])
    commit(journal, 2, [Operation(Op.REGISTER, KEY + 1)])
    commit(journal, 3, [Operation(Op.BLOCK, KEY, cause=1)], [Operation(Op.BLOCK, KEY, cause=2)])
    found = list(changes(journal, [KEY], until=30))
    assert [(c.serial, c.operation.op, c.operation.cause) for c in found] == [
        (3, Op.BLOCK, 2),
        (3, Op.BLOCK, 1),
        (1, Op.TRACK, 0),
        (1, Op.REGISTER, 0),
    ]
    assert [(c.feed, c.sequence, c.reference, c.committed_at) for c in found[2:]] == [
        ("hamta", 1, "row", 10),
        ("hamta", 1, "delta", 10),
    ]
    assert [c.serial for c in changes(journal, [KEY], until=29)] == [1, 1]
    assert list(changes(journal, [KEY + 9], until=30)) == []


def test_a_long_journal_is_read_to_its_beginning(journal: Journal) -> None:
    for serial in range(1, 301):
        commit(journal, serial, [Operation(Op.TRACK if serial % 2 else Op.UNTRACK, KEY)])
    assert [c.serial for c in changes(journal, [KEY], until=9999)] == list(range(300, 0, -1))


def test_damage_is_named(journal: Journal) -> None:
    commit(journal, 1, [Operation(Op.REGISTER, KEY)])
    with journal.transaction():
        journal._db.execute("UPDATE chunks SET rows = x'00'")
    with pytest.raises(JournalDamagedError, match="delta 1"):
        list(changes(journal, [KEY], until=10))
