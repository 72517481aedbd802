"""`eir policy`: what a policy says, and what it would change, before a daemon runs with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from eir.cli import client
from eir.cli.say import NO, USAGE, Failure, count, moment, note, parse_moment, show_json, show_table

if TYPE_CHECKING:
    from eir.policy import Policy
    from eir.proto import policy_pb2

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


@policy.command("try")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--sample",
    type=click.FloatRange(0, 100, min_open=True),
    default=100.0,
    show_default=True,
    help="Percent of the subscribers.",
)
@click.option(
    "--minutes",
    type=click.IntRange(1, 525_600),
    default=60,
    show_default=True,
    help="It ends by itself after so long.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@client.manage_address
def try_(file: Path, sample: float, minutes: int, as_json: bool, address: str) -> None:
    """Have a running daemon judge live checks by FILE too, without effect.

    `eir policy trial` shows what would change.
    """
    from eir.proto import policy_pb2

    compiled = _load(file)
    request = policy_pb2.StartTrialRequest(
        policy=compiled.text, sample_percent=sample, duration_seconds=minutes * 60
    )
    with client.connect(address) as channel:
        answer = client.policy(channel).StartTrial(request, timeout=client.CALL_SECONDS_MAX)
    note("on trial; `eir policy trial` shows what it would change")
    _show_trial(answer.trial, as_json)


@policy.command()
@click.option("--stop", is_flag=True, help="End it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@client.manage_address
def trial(stop: bool, as_json: bool, address: str) -> None:
    """Print what the policy on trial would change, by rule and cohort. Ends with 3 when there is none."""
    from eir.proto import policy_pb2

    with client.connect(address) as channel:
        stub = client.policy(channel)
        if stop:
            answer = stub.StopTrial(policy_pb2.StopTrialRequest(), timeout=client.CALL_SECONDS_MAX)
        else:
            answer = stub.GetTrial(policy_pb2.GetTrialRequest(), timeout=client.CALL_SECONDS_MAX)
    if not answer.HasField("trial"):
        raise Failure("no policy was on trial since the daemon started", NO)
    _show_trial(answer.trial, as_json)


def _show_trial(found: policy_pb2.Trial, as_json: bool) -> None:
    """Print a trial."""
    from eir.verdict import Reason, Status

    changes = [
        {
            "cohort": change.cohort,
            "status_before": Status(change.status_before).name,
            "reason_before": Reason(change.reason_before).name,
            "status_after": Status(change.status_after).name,
            "reason_after": Reason(change.reason_after).name,
            "check_count": change.check_count,
            "subscriber_estimate": change.subscriber_estimate,
        }
        for change in found.changes
    ]
    if as_json:
        numbers = {field.name: getattr(found, field.name) for field in found.DESCRIPTOR.fields}
        show_json(numbers | {"changes": changes})
        return
    ended = f"ended at {moment(found.ended_at)}: {found.ended_why}" if found.ended_at else ""
    time = f"since {moment(found.started_at)}, {ended or f'until {moment(found.until)}'}"
    click.echo(f"policy {found.policy_name} ({found.policy_hash[:12]}) beside {found.base_hash[:12]}, {time}")
    judged, left_out = count(found.judged_count, "check"), f"{found.left_out_count:,} left out"
    whose = f"of about {found.subscriber_estimate:,} subscribers ({found.sample_percent:g} % of all)"
    click.echo(f"{judged} judged, {whose}; {left_out}")
    click.echo(f"{count(found.changed_count, 'check')} would get another status")
    if changes:
        click.echo()
        show_table(
            ("cohort", "before", "", "after", "", "checks", "subscribers"),
            [tuple(change.values()) for change in changes],
        )
    if found.more_count:
        click.echo(f"and {count(found.more_count, 'check')} changed in other ways")
