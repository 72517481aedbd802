"""Who inquired what: durable, masked, bounded, checked."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from eir.errors import JournalDamagedError, StateDamagedError, StorageError
from eir.inquiry import audit
from eir.inquiry.audit import FILE, InquiryAudit

IMEI, IMSI, DAY = "35693803564380", "432110000000001", 86_400


def opened(folder: Path, days_max: int = 10, rows_max: int = 100) -> InquiryAudit:
    return InquiryAudit.open(folder, days_max=days_max, rows_max=rows_max)


def note(kept: InquiryAudit, at: int = 1000, identity: str = IMEI, who: str = "desk 7") -> None:
    kept.add(at, who, "web", "equipment", "imei", identity, "found")


def test_an_inquiry_is_kept_without_its_identity_and_found_by_it(tmp_path: Path) -> None:
    kept = opened(tmp_path)
    note(kept)
    note(kept, 1001, IMSI, "desk 8")
    kept.close()
    kept = opened(tmp_path)  # the key of the digest stays
    assert [(row.at, row.who, row.identity) for row in kept.rows(10)] == [
        (1000, "desk 7", "356*********80"),
        (1001, "desk 8", "432**********01"),
    ]
    (row,) = kept.rows(10, IMSI)
    assert (row.who, row.client, row.form, row.kind, row.outcome) == (
        "desk 8",
        "web",
        "equipment",
        "imei",
        "found",
    )
    assert kept.rows(10, "35693803564381") == []
    assert [row.at for row in kept.rows(1)] == [1001]
    kept.close()
    for path in tmp_path.iterdir():
        assert IMEI.encode() not in path.read_bytes()
        assert IMSI.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("spelled", "found"),
    [
        ("35-693803-564380-9", [1]),
        ("۳۵۶۹۳۸۰۳۵۶۴۳۸۰۱۲", [1]),
        ("432 11 0000000001", [2]),
        ("+98 912 123 4567", [3]),
        ("12*#ab", [4]),
        ("35693803564398", []),
        ("x" * 99, []),
    ],
)
def test_who_asked_is_found_by_any_spelling(tmp_path: Path, spelled: str, found: list[int]) -> None:
    kept = opened(tmp_path)
    for at, identity in enumerate((IMEI, IMSI, "989121234567", "12*#AB"), 1):
        note(kept, at, identity)
    assert [row.at for row in kept.rows(10, spelled)] == found
    kept.close()


def test_digests_of_two_daemons_differ(tmp_path: Path) -> None:
    folders = tmp_path / "a", tmp_path / "b"
    digests = []
    for folder in folders:
        folder.mkdir()
        kept = opened(folder)
        digests.append(kept.digest(IMEI))
        kept.close()
    assert len(set(digests)) == 2


def test_old_inquiries_and_too_many_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_PRUNE_ROWS", 2)
    kept = opened(tmp_path, days_max=10, rows_max=5)
    for second in range(9):
        note(kept, DAY + second)
    assert len(kept.rows(100)) == 9  # an hour has not passed
    counts = []
    for second in range(3600, 3605):
        note(kept, DAY + second)
        counts.append(len(kept.rows(100)))
    assert counts == [8, 7, 6, 5, 5], "an answer waits for a few rows only"
    for second in range(4):
        note(kept, 12 * DAY + second)
    assert [row.at for row in kept.rows(100)] == [12 * DAY + second for second in range(4)]
    kept.close()


def test_a_damaged_row_is_named_and_never_shown(tmp_path: Path) -> None:
    kept = opened(tmp_path)
    note(kept)
    note(kept)
    kept.close()
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("UPDATE inquiries SET who = 'nobody' WHERE id = 2")
    kept = InquiryAudit.open(tmp_path, read_only=True)
    with pytest.raises(JournalDamagedError, match=r"inquiries\.db: inquiry 2"):
        kept.rows(10)
    kept.close()


def test_what_is_no_audit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        InquiryAudit.open(tmp_path, read_only=True)
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("PRAGMA user_version=9")
    with pytest.raises(StateDamagedError, match="schema version 9"):
        opened(tmp_path)
    (tmp_path / FILE).write_bytes(b"garbage " * 1000)
    with pytest.raises(JournalDamagedError, match=r"inquiries\.db is damaged"):
        opened(tmp_path)


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    kept = opened(tmp_path)
    pages = kept._db.execute("PRAGMA page_count").fetchone()[0]
    kept._db.execute(f"PRAGMA max_page_count={pages}")

    def fill() -> None:
        for _ in range(10_000):
            note(kept, who="x" * 128)

    with pytest.raises(StorageError, match="full"):
        fill()
    kept.close()
