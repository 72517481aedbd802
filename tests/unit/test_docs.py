"""The documents say what there is: commands, options, RPCs, tables, facts, modules, links."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from eir import errors
from eir.cli import main
from eir.policy.printing import FACT_NAMES
from eir.proto import check_pb2, enforcement_pb2, inquiry_pb2, notice_pb2, policy_pb2, sync_pb2
from eir.verdict import (
    GATE_FIELDS,
    STANDING_FIELDS,
    Grandfathered,
    ImsiKind,
    OwnBlock,
    Relation,
    Standing,
    size,
)
from eir.whitelist.tables import TABLES

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
OPERATING = (ROOT / "docs" / "operating.md").read_text()
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()


def commands(group: click.Group = main, *words: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its words."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *words, name)
        else:
            yield " ".join(("eir", *words, name)), command


COMMANDS = dict(commands())


def row_of(command: str) -> str:
    """The line of the table of commands about a command."""
    lines = [line for line in OPERATING.splitlines() if re.match(rf"\| `{command}[ `]", line)]
    assert len(lines) == 1, f"{command} needs one line in the table of commands"
    return lines[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_line_with_all_its_options(command: str) -> None:
    options = {
        max(option.opts, key=len) for option in COMMANDS[command].params if isinstance(option, click.Option)
    }
    assert set(re.findall(r"--[a-z-]+", row_of(command))) == options


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_says_what_it_is_for(command: str) -> None:
    assert COMMANDS[command].help
    for option in COMMANDS[command].params:
        assert not isinstance(option, click.Option) or option.help, option.name


def test_the_table_names_no_command_that_is_none() -> None:
    named = re.findall(r"^\| `(eir [a-z ]+?)(?: [A-Z\[].*?)?` \|", OPERATING, re.MULTILINE)
    assert set(named) == set(COMMANDS)


def mentioned_commands(page: Path) -> set[str]:
    """First words of the `eir` commands that a page shows."""
    shown = re.findall(r"(?:^|`|\| |\$ |-m )eir ([a-z]+(?: [a-z]+)?)", page.read_text(), re.MULTILINE)
    return {f"eir {words}" for words in shown}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_show_commands_that_exist(page: Path) -> None:
    known = {*COMMANDS, *(" ".join(command.split()[:2]) for command in COMMANDS)}
    for command in mentioned_commands(page):
        assert command in known or " ".join(command.split()[:2]) in known, command


@pytest.mark.parametrize(
    "pb2",
    [check_pb2, enforcement_pb2, inquiry_pb2, notice_pb2, policy_pb2, sync_pb2],
    ids=lambda pb2: pb2.DESCRIPTOR.name,
)
def test_every_rpc_is_in_the_api_page(pb2) -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    for service in pb2.DESCRIPTOR.services_by_name.values():
        assert f"`{service.name}`" in page
        for method in service.methods:
            assert f"`{method.name}`" in page


def test_exit_codes_of_the_daemon_are_all_listed() -> None:
    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.FatalError)
    }
    section = OPERATING.split("## Exit codes")[1].split("Of all other commands")[0]
    assert {int(code) for code in re.findall(r"^\| (\d) \|", section, re.MULTILINE)} == codes | {0}


def test_the_glossary_has_every_table_and_no_other() -> None:
    section = GLOSSARY.split("## Tables")[1].split("\n## ")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == TABLES


def test_the_glossary_has_every_fact_with_its_values() -> None:
    section = GLOSSARY.split("## Facts")[1]
    rows = re.findall(r"^\| `(\w+)` \| .+? \| (.*?) ?\|$", section, re.MULTILINE)
    assert tuple(name for name, _ in rows) == tuple(dict.fromkeys(FACT_NAMES))
    words = {
        "own_block": OwnBlock,
        "imsi_kind": ImsiKind,
        "relation": Relation,
        "grandfathered": Grandfathered,
        "standing": Standing,
    }
    for name, values in rows:
        if name in words:
            assert values.split(", ") == [word.name.lower() for word in words[name]]


def test_sizes_of_the_rule_tables_are_as_the_decision_says() -> None:
    page = (ROOT / "docs" / "decisions" / "two-rule-tables.md").read_text()
    assert f"gate {size(GATE_FIELDS):,} entries of a byte, standing {size(STANDING_FIELDS):,}" in page


def modules() -> set[str]:
    """Every module that people write, by its path."""
    paths = (path.relative_to(ROOT) for path in (ROOT / "eir").rglob("*.py"))
    return {
        str(path)
        for path in paths
        if "proto" not in path.parts and (path.name != "__init__.py") and "__pycache__" not in path.parts
    }


def test_the_code_map_has_every_module_and_no_other() -> None:
    section = ARCHITECTURE.split("## Code map")[1].split("\n## ")[0]
    named = re.findall(r"^\| `(eir/[\w/]+\.py)` \|", section, re.MULTILINE)
    assert sorted(named) == sorted(modules())
    named = re.findall(r"^\| `(core/src/[\w/]+\.rs)` \|", section, re.MULTILINE)
    assert sorted(named) == sorted(str(path.relative_to(ROOT)) for path in (ROOT / "core/src").rglob("*.rs"))


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_resolve(page: Path) -> None:
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(linked), f"{page.name} links to {target}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        for target in re.findall(r"\]\(([^)\s#]+\.md)", page.read_text()):
            linked = (page.parent / target).resolve()
            if linked.exists():
                waiting.append(linked)
    assert set(PAGES) <= reached


def test_every_decision_is_in_the_list_and_has_its_parts() -> None:
    folder = ROOT / "docs" / "decisions"
    for page in folder.glob("*.md"):
        if page.name == "README.md":
            continue
        assert f"]({page.name})" in (folder / "README.md").read_text()
        assert re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE) == [
            "Context",
            "Decision",
            "Consequences",
        ]


def test_the_changelog_has_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert text.startswith("# Changelog\n")
    assert "## [Unreleased]" in text
    kinds = re.findall(r"^### (.+)$", text, re.MULTILINE)
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
