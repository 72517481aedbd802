"""The drawing of a case's states."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eir.notify.case import TRANSITIONS, Event, State
from eir.notify.drawing import BEGINS, ENDS, drawing, drawn, main

PAGE = Path(__file__).parents[2] / "docs" / "notices.md"


def test_every_transition_is_drawn_and_no_other() -> None:
    lines = re.findall(r"^    (\w+) --> (\w+): (.*)$", drawing(), re.MULTILINE)
    found = {
        (State[before], Event[event.upper()]): State[after]
        for before, after, events in lines
        for event in events.split(", ")
    }
    assert found == TRANSITIONS
    assert "[*] --> OPEN: sighted" in drawing()


def test_the_page_is_current() -> None:
    page = PAGE.read_text("utf-8")
    assert drawn(page) == page, "run `make docs`"


def test_it_is_written_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGINS}old\n{ENDS}after\n")
    assert main([str(page)]) == 0
    assert page.read_text() == f"before\n{BEGINS}{drawing()}{ENDS}after\n"
    with pytest.raises(ValueError, match="marks"):
        drawn("a page")
