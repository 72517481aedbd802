"""docs/lists.md says what there is, and every row of its tables is true."""

import re
from pathlib import Path

import pytest
from listing import Importer

from eir.lists import errors
from eir.lists.formats import FORMATS, Grammar
from eir.lists.report import Reason, Remarkable

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "lists.md").read_text()
EXAMPLES = ROOT / "docs" / "examples" / "lists"


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def test_every_list_is_described_with_its_columns() -> None:
    rows = [cells(line) for line in section("The lists").splitlines() if line.startswith("| `")]
    found = {row[0].strip("`"): row[1:] for row in rows[: len(FORMATS)]}
    assert list(found) == list(FORMATS)
    for name, (columns, _, statuses, percent) in found.items():
        kind = FORMATS[name]
        assert tuple(re.findall(r"`(\w+)`", columns)) == tuple(column.name for column in kind.columns)
        assert re.findall(r"`(\w+)`", statuses) == [kind.in_force] * bool(kind.in_force)
        assert percent == f"{kind.removed_percent_max} %"
        assert ("may be left out" in columns) == bool(kind.optional)


def test_every_column_has_its_grammar() -> None:
    named = set(
        re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", section("Fields"), re.MULTILINE)))
    )
    assert named == {column.name for kind in FORMATS.values() for column in kind.columns} | {"change_type"}
    assert len(Grammar) == 11, "a new grammar needs its row"


@pytest.mark.parametrize("words", [Reason, Remarkable], ids=["reasons", "warnings"])
def test_every_reason_and_warning_is_explained(words) -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|$", section("The report"), re.MULTILINE))
    assert {word.name: word.value for word in words}.items() <= rows.items()


def test_every_error_is_in_the_table() -> None:
    reasons = {
        kind.reason
        for kind in vars(errors).values()
        if isinstance(kind, type) and kind.__module__ == errors.__name__
    }
    named = re.findall(r"^\| `([A-Z_]+)` \| .*? \| .*? \|$", section("The report"), re.MULTILINE)
    assert set(named) == reasons


CASES = [
    row
    for line in section("What is accepted, and what is refused").splitlines()
    if line.startswith("| ") and (row := cells(line))[2] in ("accepted", "refused")
]


@pytest.fixture
def importer(tmp_path: Path) -> Importer:
    """The registry that the page speaks of."""
    made = Importer(tmp_path)
    imei = "35693803564380"
    head = ",".join(column.name for column in FORMATS["registration"].columns)
    made.take(f"{head}\n{imei},,,,,,,,D1\n")
    made.take(f"imei,reporting_date,status\n{imei},,\n")
    made.take(f"imei\n{imei}\n")
    made.take(f"imei,imsi\n{imei},432110000000001\n")
    return made


@pytest.mark.parametrize(("name", "content", "answer", "why"), CASES, ids=[case[0] for case in CASES])
def test_every_row_of_the_table_is_true(
    importer: Importer, name: str, content: str, answer: str, why: str
) -> None:
    text = content.strip("`").replace("⏎", "\n").replace("␍", "\r")
    data = text.encode().replace(b"\\xe9", b"\xe9")
    if data.startswith(b"imei\n"):  # a barred list whose rows there are must not shrink for another reason
        assert b"35693803564380" in data or answer == "refused"
    before = importer.tables.serial
    said = importer.take(data, code=0 if answer == "accepted" else 3)
    assert said["refused"] == (answer == "refused"), said["message"]
    named = re.findall(r"`([A-Z_]+)`", why)
    if answer == "refused":
        faults = set(said["report"]["faults_by_reason"])
        assert (faults or {said["reason"]}) == {named[0]}
        assert importer.tables.serial == before
    elif named:
        assert named[0] in said["report"]["warnings"]


def test_there_are_cases() -> None:
    assert len(CASES) > 40
    assert {case[2] for case in CASES} == {"accepted", "refused"}


@pytest.mark.parametrize("name", FORMATS)
def test_the_examples_are_taken(tmp_path: Path, name: str) -> None:
    importer = Importer(tmp_path)
    full = importer.run(EXAMPLES / f"{name}.csv")[0]
    assert (full["list"], full["delta"], full["refused"]) == (name, False, False)
    delta = importer.run(EXAMPLES / f"{name}-delta.csv", "--override")[0]
    assert (delta["list"], delta["delta"], delta["refused"]) == (name, True, False)
    assert sum(delta["rows"][what] for what in ("added", "removed", "changed")) == delta["row_count"]


def test_there_is_no_other_example() -> None:
    names = {path.name for path in EXAMPLES.iterdir()}
    assert names == {f"{name}{kind}.csv" for name in FORMATS for kind in ("", "-delta")}
