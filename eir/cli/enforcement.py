"""`eir enforcement`: the override, that stops enforcement when something upstream goes wrong."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from eir.cli import client
from eir.cli.say import moment, note, show_json

if TYPE_CHECKING:
    from eir.proto import enforcement_pb2

MODES: Final = {1: "policy", 2: "allow-all"}
"""EnforcementMode by the word of the command line."""
_MEANS: Final = {
    "policy": "the policy decides",
    "allow-all": "the override is on: every check is allowed, stolen phones too",
}


def describe(state: enforcement_pb2.Enforcement) -> dict[str, object]:
    """Return the state of the override for JSON."""
    return {
        "mode": MODES.get(state.mode, ""),
        "changed_at": state.changed_at,
        "changed_by": state.changed_by,
        "why": state.why,
    }


def lines(state: enforcement_pb2.Enforcement) -> list[str]:
    """Say the state of the override, and who changed it when and why, where anybody did."""
    mode = MODES.get(state.mode, "")
    said = [f"{mode}: {_MEANS.get(mode, 'unknown mode')}"]
    if state.changed_at:
        said.append(f"since {moment(state.changed_at)}, by {state.changed_by}: {state.why}")
    return said


def _show(state: enforcement_pb2.Enforcement, as_json: bool) -> None:
    if as_json:
        show_json(describe(state))
        return
    for line in lines(state):
        click.echo(line)


def on_terminal() -> bool:
    """Tell whether a person can be asked."""
    return sys.stdin.isatty()


@click.group()
def enforcement() -> None:
    """Show and set the override."""


@enforcement.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@client.manage_address
def show(as_json: bool, address: str) -> None:
    """Tell whether enforcement is on."""
    from eir.proto import enforcement_pb2

    with client.connect(address) as channel:
        stub = client.enforcement(channel)
        answer = stub.GetEnforcement(enforcement_pb2.GetEnforcementRequest(), timeout=client.CALL_SECONDS_MAX)
    _show(answer.enforcement, as_json)


@enforcement.command("set")
@click.argument("mode", type=click.Choice(list(MODES.values())))
@click.option("--who", required=True, help="Who sets it: a person or a ticket.")
@click.option("--why", required=True, help="Why; kept in the audit.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@client.manage_address
def set_(mode: str, who: str, why: str, yes: bool, as_json: bool, address: str) -> None:
    """Turn the override on (allow-all) or off (policy). Audited; survives a restart.

    Asks before it acts when run on a terminal.
    """
    from eir.proto import enforcement_pb2

    if not yes and on_terminal():
        click.confirm(f"{mode}: {_MEANS[mode]}. Set it at {address}?", abort=True, err=True)
    number = next(number for number, name in MODES.items() if name == mode)
    request = enforcement_pb2.SetEnforcementRequest(
        mode=enforcement_pb2.EnforcementMode.Name(number), who=who, why=why
    )
    with client.connect(address) as channel:
        stub = client.enforcement(channel)
        answer = stub.SetEnforcement(request, timeout=client.CALL_SECONDS_MAX)
    note("set")
    _show(answer.enforcement, as_json)
