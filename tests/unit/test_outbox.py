"""Notices on their way."""

from __future__ import annotations

from pathlib import Path

from eir.notify.cases import Cases
from eir.notify.outbox import NoticeState, Outbox
from eir.whitelist.files import FileLayer

NOW = 1_793_500_000


def test_the_nearest_deadline_goes_first_and_what_waits_until_later_does_not_go(tmp_path: Path) -> None:
    cases = Cases.open(tmp_path, FileLayer())
    outbox = Outbox(cases)
    ids = [
        outbox.add(number, NOW, "first", 1, NOW + later, NOW + ends).id
        for number, (later, ends) in enumerate(((0, 50), (0, 30), (10, 10), (0, 30), (0, 40)))
    ]
    assert outbox.waiting(NOW, 10) == [], "nothing is durable yet"
    cases.commit()
    assert [one.id for one in outbox.waiting(NOW, 3)] == [ids[1], ids[3], ids[4]]
    assert [one.id for one in outbox.waiting(NOW + 10, 1)] == [ids[2]]
    assert outbox.counts()[NoticeState.DUE] == len(ids)
    cases.close()


def test_of_many_that_wait_until_later_only_the_index_is_read(tmp_path: Path) -> None:
    """Tens of thousands may wait for the spacing; the outbox is looked at several times a second."""
    cases = Cases.open(tmp_path, FileLayer())
    Outbox(cases)
    cases.script(
        "DROP INDEX notices_due; CREATE INDEX notices_waiting ON notices (priority, id) WHERE state = 1;"
    )
    cases.close()
    cases = Cases.open(tmp_path, FileLayer())
    Outbox(cases)
    indexes = cases.read("SELECT name, sql FROM sqlite_master WHERE tbl_name = 'notices' AND type = 'index'")
    assert {name: "due_at" in sql for name, sql in indexes} == {
        "notices_due": True,
        "notices_unanswered": False,
        "notices_of": False,
    }, "an older file gets it, too"
    query = "SELECT * FROM notices WHERE state = 1 AND due_at <= ? ORDER BY priority, id LIMIT 9"
    plan = cases.read(f"EXPLAIN QUERY PLAN {query}", NOW)
    assert [row[3] for row in plan] == ["SCAN notices USING INDEX notices_due"], "without sorting"
    cases.close()
