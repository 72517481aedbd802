"""`eir demo`: a seeded registry to try things on."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from eir.cli.say import note, progress


@click.command()
@click.option(
    "--data-dir", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Directory of the demo."
)
@click.option(
    "--registered",
    type=click.IntRange(20_000, 300_000_000),
    default=1_000_000,
    show_default=True,
    help="Registered IMEIs.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of the population.")
def demo(data_dir: Path, registered: int, seed: int) -> None:
    """Make a demo registry in DIR, unless one is there, and print what to try.

    Run from a checkout of the repository: the population is the benchmarks'.
    """
    from eir.config import load
    from eir.demo import make_demo

    metrics = f"http://{load(environ=os.environ).http_listen}/metrics"
    with progress("registered", registered) as show_done:
        made = make_demo(data_dir, registered, seed, show_done)
    if made is None:
        note(f"{data_dir} holds a registry that is not a demo; it is left as it is")
        return
    if not made.made and (made.registered, made.seed) != (registered, seed):
        note(f"{data_dir} holds a demo already; another one needs another directory")
    eir = _command()
    done = "made" if made.made else "reused"
    click.echo(f"demo {done}: {made.registered:,} registered IMEIs, seed {made.seed}, in {data_dir}\n")
    click.echo("Try, in another terminal, while the daemon runs:\n")
    for example in made.examples:
        click.echo(f"  {eir} check {example.imei} {example.imsi}   # {example.what}")
    last = made.examples[-1]
    click.echo(f"  echo '{made.delta}' | {eir} delta push -")
    click.echo(f"  {eir} check {last.imei} {last.imsi}   # the same, now activated")
    click.echo(f"  {eir} status")
    click.echo(f"  curl -s {metrics} | grep eir_checks_total\n")


def _command() -> str:
    """Return how to call `eir` from here."""
    beside = Path(sys.executable).parent / "eir"
    if shutil.which("eir") or not beside.exists():
        return "eir"
    return os.path.relpath(beside) if beside.is_relative_to(Path.cwd()) else str(beside)
