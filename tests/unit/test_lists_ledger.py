"""What came of imports, in a file that only helps."""

from pathlib import Path

import pytest

from eir.lists import ledger
from eir.lists.ledger import Noted, Result


def test_outcomes_add_up_and_the_last_list_taken_is_remembered(tmp_path: Path) -> None:
    ledger.note(tmp_path, "stolen", Result("applied", 100, 20, 1.23456))
    ledger.note(tmp_path, "stolen", Result("refused", 200, 7, 0.5, "LIST_GUARD"))
    ledger.note(tmp_path, "stolen", Result("refused", 300, 7, 0.5))
    ledger.note(tmp_path, "barred", Result("unchanged", 400, 3, 0.1))
    assert ledger.read(tmp_path) == {
        "stolen": Noted({"applied": 1, "refused": 2}, {"LIST_GUARD": 1}, 100, 20, 1.235),
        "barred": Noted({"unchanged": 1}, {}, 400, 3, 0.1),
    }


BAD = ["", "{", "[]", '{"stolen": 3}', '{"stolen": {"outcomes": {"a": "b"}}}', "\x00"]


@pytest.mark.parametrize("text", BAD)
def test_a_file_that_cannot_be_read_counts_as_none(tmp_path: Path, text: str) -> None:
    assert ledger.read(tmp_path) == {}
    ledger.path_of(tmp_path).parent.mkdir()
    ledger.path_of(tmp_path).write_text(text)
    assert ledger.read(tmp_path) == {}
    ledger.note(tmp_path, "stolen", Result("applied", 100))
    assert ledger.read(tmp_path)["stolen"].outcomes == {"applied": 1}


def test_feeds_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "FEEDS_MAX", 2)
    for feed in "abca":
        ledger.note(tmp_path, feed, Result("applied", 1))
    assert {feed: one.outcomes["applied"] for feed, one in ledger.read(tmp_path).items()} == {"a": 2, "b": 1}


def test_what_cannot_be_written_is_not_noted(tmp_path: Path) -> None:
    (tmp_path / "lists").write_text("no folder")
    ledger.note(tmp_path, "stolen", Result("applied", 100))
    assert ledger.read(tmp_path) == {}
