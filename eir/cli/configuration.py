"""`eir config`: what the daemon would run with."""

from __future__ import annotations

import os
from pathlib import Path

import click

from eir.cli.say import note, show_json, show_table


@click.group()
def config() -> None:
    """Check and print the configuration."""


@config.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def check(file: Path) -> None:
    """Check FILE with the environment, and the policy, texts and SMSCs it names, as `eir serve` would."""
    from eir.config import load
    from eir.configured import load_policy
    from eir.server.desk import check as check_notices

    settings = load(file, os.environ)
    policy = load_policy(settings.policy)
    check_notices(settings)
    note(f"{file}: in order; policy {policy.name} ({policy.hash[:12]})")


@config.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(file: Path | None, as_json: bool) -> None:
    """Print every setting, its value and where it comes from: default, FILE or environment."""
    from eir.config import load

    settings = load(file, os.environ).show()
    if as_json:
        show_json({s.name: {"value": _plain(s.value), "from": s.origin} for s in settings})
    else:
        show_table(("setting", "value", "from"), [(s.name, f"{_plain(s.value)}", s.origin) for s in settings])


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value
