"""docs/policy.md: every key, every rule, every fact, and examples that compile."""

import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from eir.policy import compile_policy
from eir.policy import settings as s
from eir.policy.printing import _WORDS, FACT_NAMES
from eir.policy.rules import CAUSES, ORDER

PAGE = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NAMED = {
    "operator": (s.Operator, "NAME"),
    "imsi_range": (s.ImsiRange, "NAME"),
    "tac_set": (s.TacSet, "NAME"),
    "cause": (s.Cause, "CAUSE"),
    "status_map": (s.StatusMap, "CLIENT"),
    "grandfather.tac_set": (None, "NAME"),
    "phase": (s.Phase, ""),
}


def _keys(made: type, prefix: str = "") -> set[str]:
    """Every key that a policy may have, as the page writes it."""
    found: set[str] = set()
    nested = {
        "stale": s.Stale,
        "exempt": s.Exempt,
        "grandfather": s.Grandfather,
        "mode": s.Modes,
        "notices": s.Notices,
    }
    for field in fields(made):
        key = prefix + field.name
        if key in NAMED:
            inner, name = NAMED[key]
            below = f"{key}.{name}".rstrip(".")
            found |= _keys(inner, f"{below}.") if is_dataclass(inner) else {below}
        elif key in nested:
            found |= _keys(nested[key], f"{key}.")
        else:
            found.add(key)
    return found


def test_every_key_is_listed_once_and_no_other() -> None:
    """The first column of the tables of keys is the file's keys."""
    listed = re.findall(r"^\| `([\w.]+)` \| .* \| .*\|$", PAGE.split("## Keys")[1], re.MULTILINE)
    assert sorted(listed) == sorted(_keys(s.Settings))
    assert len(listed) > 40


def test_every_rule_is_listed_in_order() -> None:
    """With its row, reason, condition and the settings that leave it out."""
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (.*?) \| (.*?) ?\|$", PAGE, re.MULTILINE)
    assert [(int(row), reason, says) for row, reason, says, _ in rows] == [
        (rule.row, rule.reason.name, rule.says) for rule in ORDER
    ]
    for rule, (*_, left_out) in zip(ORDER, rows, strict=True):
        assert set(re.findall(r"`([a-z_.]+)", left_out)) == set(rule.given)


def test_every_fact_and_its_words_are_listed() -> None:
    """As `eir policy explain --fact` takes them."""
    rows = re.findall(r"^\| (.*) \| (.*) \|$", PAGE.split("| fact | values |\n|---|---|\n")[1], re.MULTILINE)
    listed = {fact: words for facts, words in rows for fact in re.findall(r"`(\w+)`", facts)}
    assert listed.keys() == set(FACT_NAMES)
    for name, words in _WORDS.items():
        assert listed[name].split(", ") == [word.name.lower() for word in words]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n", maxsplit=1)[0])
def test_examples_on_the_page_compile(block: str) -> None:
    """Each by itself, with the classes that it names."""
    text = block if "home_plmns" in block else f'name = "x"\nhome_plmns = ["43211"]\n{block}'
    for name in ("brand_a", "lift_phones"):
        if name in block and f"[tac_set.{name}]" not in block:
            text += f'[tac_set.{name}]\ntacs = ["{35 + len(name)}"]\n'
    if '"mci"' in block:
        text += '[operator.mci]\nimsi = ["43211"]\n'
    compile_policy(text)


def test_every_section_has_an_example() -> None:
    """One a section of keys."""
    sections = PAGE.split("\n### ")[1:]
    assert len(sections) == len(BLOCKS) == 10
    assert all("```toml" in section for section in sections)
    assert all(f"`{name}`" in PAGE for name in CAUSES)


def test_defaults_on_the_page_are_those_of_the_code() -> None:
    """Numbers and words of the last column."""
    settings = compile_policy('name = "x"\nhome_plmns = ["43211"]').settings
    rows = re.findall(r"^\| `([\w.]+)` \| .* \| (`\"?\w+[/\w]*\"?`|\d+) \|$", PAGE, re.MULTILINE)
    checked = 0
    for key, shown in rows:
        made: object = settings
        if key.startswith("status_map.CLIENT."):
            made, key = s.StatusMap(), key.rsplit(".", 1)[1]
        elif key.startswith("cause.CAUSE."):
            made, key = s.Cause(), key.rsplit(".", 1)[1]
        elif key.startswith("imsi_range.NAME."):
            made, key = s.ImsiRange(()), key.rsplit(".", 1)[1]
        elif key == "grandfather.tac_set.NAME":
            continue
        for name in key.split("."):
            made = getattr(made, name)
        assert str(made).lower() == shown.strip('`"').lower(), key
        checked += 1
    assert checked >= 20
