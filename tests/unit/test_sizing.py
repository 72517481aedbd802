"""The table of sizing is made of saved results, and the page has it as it is made."""

from pathlib import Path

import pytest
from unit.test_bench_results import RESULT

from bench.results import Figure, load
from bench.sizing import BEGINS, ENDS, made, table

PAGE = (Path(__file__).parents[2] / "docs" / "installing.md").read_text()


def test_what_is_needed_stands_beside_each_size() -> None:
    def memory(registered: int, mebibytes: float) -> object:
        figures = {"daemon, serving: RSS": Figure(mebibytes, "MiB")}
        fields = vars(RESULT) | {"bench": "memory", "population": "P1", "registered": registered}
        return type(RESULT)(**(fields | {"figures": figures}))

    lines = table([memory(300_000_000, 1_320), memory(100_000_000, 480)]).splitlines()  # type: ignore[list-item]
    assert lines[0] == "| registered one by one | 100 M | 300 M |"
    assert lines[2] == "| memory of the daemon | 480 MiB | 1,320 MiB |"
    assert lines[4] == "| segments and their indexes on disk, once | – | – |"


def test_the_page_has_the_table_of_the_saved_results() -> None:
    assert made(PAGE, load()) == PAGE


def test_a_page_without_marks_is_refused() -> None:
    assert made(f"a\n{BEGINS}old\n{ENDS}b\n", []).startswith(f"a\n{BEGINS}|")
    with pytest.raises(ValueError, match="no marks"):
        made("a\n", [])
