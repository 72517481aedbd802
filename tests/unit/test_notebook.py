"""What is remembered beside cases."""

from __future__ import annotations

from pathlib import Path

from eir.notify.cases import Cases
from eir.notify.notebook import Notebook, Noted
from eir.notify.schedule import Shift
from eir.verdict import Reason
from eir.whitelist.files import FileLayer

SIM = 1_432_110_000_000_001


def test_what_was_committed_is_there_after_a_restart_and_nothing_else(tmp_path: Path) -> None:
    cases = Cases.open(tmp_path, FileLayer())
    book = Notebook(cases)
    book.put("serial", 7)
    book.put_number(SIM, 1_98912)
    shift = Noted(1, Shift(3600, Reason.NEVER_ACTIVATED, (1, 2), (3, 4)), "some", 5, "me", "a test")
    book.put_shift(shift)
    everything = Noted(2, Shift(-60, None, (0, 9), (0, 9)), "all", 6, "me", "a test", 7, "you", "undone")
    book.put_shift(everything)
    cases.commit()
    book.put("serial", 8)
    assert (book.get("serial"), book.get("none"), book.get("none", 3)) == (8, None, 3)
    cases.close()
    cases = Cases.open(tmp_path, FileLayer())
    book = Notebook(cases)
    assert book.get("serial") == 7
    assert book.numbers([SIM, SIM + 1]) == {SIM: 1_98912}
    assert book.shifts() == [shift, everything]
    book.put_number(SIM, 1_98913)
    cases.commit()
    assert book.numbers([SIM]) == {SIM: 1_98913}
    cases.close()
