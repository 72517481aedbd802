"""`eir policy`: what a policy says, before a daemon runs with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from eir.cli.say import USAGE, Failure, note, parse_moment, show_json, show_table

if TYPE_CHECKING:
    from eir.policy import Policy

_file = click.argument(
    "file", required=False, envvar="EIR_POLICY", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
_at = click.option("--at", metavar="TIME", help="As it is at this time; now unless given.")


def _load(file: Path | None) -> Policy:
    """Compile a policy file, or the shipped default."""
    from eir.policy import compile_policy, default_policy_text

    if file is None:
        return compile_policy(default_policy_text(), "default policy")
    try:
        return compile_policy(file.read_text("utf-8"), str(file))
    except UnicodeDecodeError as error:
        raise Failure(f"{file}: not UTF-8: {error.reason}", USAGE) from None


def _when(at: str | None) -> int:
    from eir.clock import now_seconds

    return now_seconds() if at is None else parse_moment(at, "--at")


@click.group()
def policy() -> None:
    """Check a policy and print what it does.

    FILE is a policy in TOML; without it, that of EIR_POLICY, or the shipped default.
    """


@policy.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def check(file: Path) -> None:
    """Compile FILE; say what is wrong with it, and where."""
    compiled = _load(file)
    changes = len(compiled.stretches) - 1
    note(f"{file}: in order; policy {compiled.name} ({compiled.hash[:12]}), {changes} changes by date")


@policy.command()
@_file
@_at
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def table(file: Path | None, at: str | None, as_json: bool) -> None:
    """Print what each reason leads to, by cohort."""
    from eir.policy import table as rows_of

    rows = rows_of(_load(file), _when(at))
    if as_json:
        show_json([row._asdict() for row in rows])
    else:
        show_table(("row", "reason", "cohort", "mode", "outcome"), rows)


@policy.command()
@_file
@_at
@click.option("--fact", "facts", metavar="NAME=VALUE", multiple=True, help="A fact of a check; others are 0.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (with --fact).")
def explain(file: Path | None, at: str | None, facts: tuple[str, ...], as_json: bool) -> None:
    """Print the rules in their order; with facts, which one fires and why no earlier one does.

    Facts are named in docs/glossary.md: --fact own_block=stolen --fact imsi=432110000000001
    """
    from eir.errors import InvalidRequestError
    from eir.policy import explain as print_rules
    from eir.policy import explain_facts

    if as_json and not facts:
        raise click.UsageError("--json needs --fact")
    compiled, now = _load(file), _when(at)
    if not facts:
        click.echo(print_rules(compiled, now))
        return
    given = {}
    for fact in facts:
        name, equals, value = fact.partition("=")
        if not equals:
            raise click.BadParameter(f"{fact!r} is not NAME=VALUE", param_hint="--fact")
        given[name.strip()] = value.strip()
    try:
        found = explain_facts(compiled, now, given)
    except InvalidRequestError as error:
        raise click.BadParameter(error.message, param_hint="--fact") from None
    if as_json:
        steps = [step._asdict() for step in found.steps]
        show_json(
            found._asdict() | {"reason": found.reason.name, "status": found.status.name, "steps": steps}
        )
    else:
        click.echo(found.text())
