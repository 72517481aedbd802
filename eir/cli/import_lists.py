"""`eir import`: lists of operators and registries into the tables."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource

from eir.cli import client
from eir.cli.import_target import target
from eir.cli.journal import data_dir_option
from eir.cli.say import NO, OK, count, note, parse_moment, progress, show_json, show_table
from eir.lists.formats import BYTES_MAX, FORMATS, ROWS_MAX, ROWS_OF_A_LIST_MAX
from eir.lists.report import Reason

if TYPE_CHECKING:
    from eir.config import Config
    from eir.errors import RejectedError
    from eir.lists.report import Report
    from eir.lists.run import Options, Outcome, Where
    from eir.lists.sample import Verdicts
    from eir.whitelist.delta import TableEffect

Function = TypeVar("Function", bound=Callable[..., Any])
UNKNOWN_FEED: Final = "unknown"
"""Where imports are counted whose file does not say which list it is."""
SHOWN_MAX: Final = 20
"""Faults that the text report shows; --json has up to 1,000."""


def _name(_: click.Context, option: click.Parameter, value: str) -> str:
    from eir.whitelist.delta import NAME

    if value and not NAME.fullmatch(value):
        raise click.BadParameter("1 to 64 of a-z, 0-9, '-', '_' and '.' are needed", param=option)
    return value


def _encoding(_: click.Context, option: click.Parameter, value: str) -> str:
    import codecs

    try:
        if value:
            codecs.getincrementaldecoder(value)
            "a".encode(value)
    except (LookupError, UnicodeError):
        raise click.BadParameter(f"{value!r} is no encoding of text", param=option) from None
    return value


def list_options(function: Function) -> Function:
    """Add the options that say how lists are read."""
    for option in (
        click.option(
            "--lenient",
            is_flag=True,
            help="Leave out what a delta adds or removes in vain.",
        ),
        click.option(
            "--loose-columns", is_flag=True, help="Admit unknown columns, and lacking ones that are no key."
        ),
        click.option(
            "--encoding", default="", callback=_encoding, help="Encoding of the text; UTF-8 unless given."
        ),
        click.option(
            "--in-force",
            default="",
            metavar="STATUS",
            help="The status of rows in force; whitelist or blacklist else.",
        ),
        click.option(
            "--authority",
            default="",
            callback=_name,
            help="Who blocks: stolen and barred lists. The feed unless given.",
        ),
        click.option(
            "--format",
            "list_name",
            type=click.Choice(list(FORMATS)),
            help="Which list it is; else its header says.",
        ),
    ):
        function = option(function)
    return function


@click.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@list_options
@click.option("--full/--delta", "full", default=None, help="What it must be; else its header says.")
@click.option("--feed", default="", callback=_name, help="Feed of the deltas; the list's name unless given.")
@click.option("--complete-until", metavar="TIME", help="Time up to which the feed is complete with it.")
@click.option("--dry-run", is_flag=True, help="Report what it would do, and change nothing.")
@click.option("--override", is_flag=True, help="Apply it although a guard would refuse it.")
@click.option(
    "--rows-max",
    type=click.IntRange(1, ROWS_OF_A_LIST_MAX),
    default=ROWS_MAX,
    show_default=True,
    help="Rows of one list.",
)
@click.option(
    "--bytes-max",
    type=click.IntRange(1),
    default=BYTES_MAX,
    show_default=True,
    help="Bytes of one list, decompressed.",
)
@click.option("--create", is_flag=True, help="Make the data directory where there is none.")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The daemon's configuration: its guards, feeds and policy.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@data_dir_option
@client.manage_address
def import_(
    files: tuple[str, ...],
    list_name: str | None,
    full: bool | None,
    authority: str,
    feed: str,
    in_force: str,
    encoding: str,
    loose_columns: bool,
    complete_until: str | None,
    dry_run: bool,
    override: bool,
    lenient: bool,
    rows_max: int,
    bytes_max: int,
    create: bool,
    config_file: Path | None,
    as_json: bool,
    data_dir: Path,
    address: str,
) -> None:
    """Take lists into the tables, each whole or not at all; docs/lists.md has their formats.

    FILE is a list as CSV, plain, gzip or zstd; - is stdin. A list without a column
    change_type is full: the tables will say what it says. Where a daemon uses the
    data directory, it applies them; else they are applied here. Ends with 3 at the
    first list that is refused.
    """
    from eir.configured import load_policy
    from eir.lists.run import Options

    config, data_dir, address = _settings(config_file, data_dir, address)
    options = Options(
        list_name=list_name or "",
        delta=None if full is None else not full,
        encoding=encoding,
        loose=loose_columns,
        in_force=in_force,
        feed=feed,
        authority=authority,
        complete_until=parse_moment(complete_until, "--complete-until") if complete_until else 0,
        dry_run=dry_run,
        override=override,
        lenient=lenient,
        lenient_feeds=frozenset(name for name, known in config.feeds.items() if known.lenient),
        rows_max=rows_max,
        bytes_max=bytes_max,
        policy=load_policy(config.policy) if dry_run else None,
    )
    outcomes: list[Outcome] = []
    gc.disable()  # of an import millions of objects stay, and none of them in a circle
    try:
        with target(config, data_dir, address, create=create) as where:
            for file in files:
                outcomes.append(_one(file, options, where, data_dir))
                if not as_json:
                    show_outcome(outcomes[-1], options)
                if outcomes[-1].refused:
                    break
    finally:
        gc.enable()
        if as_json:
            show_json([as_values(outcome, options) for outcome in outcomes])
    left = files[len(outcomes) :]
    if left:
        note(f"not looked at: {', '.join(left)}")
    sys.exit(NO if any(outcome.refused for outcome in outcomes) else OK)


def _settings(config_file: Path | None, data_dir: Path, address: str) -> tuple[Config, Path, str]:
    """Return the configuration, and what it says of where unless the command line says it.

    The address is empty where nobody says it: the data directory knows its daemon's.
    """
    from eir.config import load

    config = load(config_file, os.environ)
    source = click.get_current_context().get_parameter_source
    if source("data_dir") is ParameterSource.DEFAULT:
        data_dir = config.data_dir
    if source("address") is ParameterSource.DEFAULT:
        address = config.manage_listen if config_file else ""
    return config, data_dir, address


def _one(file: str, options: Options, where: Where, data_dir: Path) -> Outcome:
    """Take one list, and note what came of it."""
    from eir.clock import monotonic, now_seconds
    from eir.errors import StorageError
    from eir.lists import ledger
    from eir.lists.run import take

    started = monotonic()
    try:
        with progress(file[-40:]) as show_done:
            outcome = take(file, options, where, now_seconds(), lambda done, _: show_done(done))
    except StorageError:
        note(f"{file}: not applied, nothing changed")
        raise
    if outcome.change:
        outcome.change.batches.clear()  # of a large list they are large
    if not options.dry_run:
        feed = outcome.feed or options.feed or options.list_name or UNKNOWN_FEED
        counted = hasattr(outcome.refused, "store_reason") and where.target.counts_refusals
        cause = "" if counted else _reason(outcome.refused)
        result = ledger.Result(outcome.word, now_seconds(), outcome.row_count, monotonic() - started, cause)
        ledger.note(data_dir, feed, result)
    return outcome


# -- what is said ----------------------------------------------------------------------------------


def as_values(outcome: Outcome, options: Options) -> dict[str, object]:
    """Return what came of a list as JSON values."""
    change, applied, refused = outcome.change, outcome.applied, outcome.refused
    effects = applied.effects if applied else getattr(refused, "effects", ())
    values: dict[str, object] = {
        "file": outcome.file,
        "list": outcome.list_name,
        "delta": outcome.delta,
        "row_count": outcome.row_count,
        "refused": refused is not None,
        "reason": _reason(refused),
        "message": refused.message if refused else "",
        "dry_run": options.dry_run,
        "repeat": outcome.repeat,
        "applied": bool(applied) and not options.dry_run,
        "feed": outcome.feed,
        "sequence": outcome.sequence,
        "serial": outcome.serial,
        "effects": {e.table: {"added": e.added, "removed": e.removed, "rows": e.rows} for e in effects},
        "report": outcome.report.as_json(),
    }
    if change:
        names = ("before", "added", "removed", "changed", "after")
        values["rows"] = {name: getattr(change, name) for name in names}
    if outcome.verdicts:
        values["verdicts"] = {
            "checked": outcome.verdicts.checked,
            "changed": [
                {"before": turn.before, "after": turn.after, "count": number}
                for turn, number in outcome.verdicts.changed.most_common()
            ],
        }
    return values


def _reason(refused: RejectedError | None) -> str:
    return getattr(refused, "store_reason", refused.reason) if refused else ""


def show_outcome(outcome: Outcome, options: Options, *, published: bool = False) -> None:
    """Print what came of a list, imported or published; what is wrong goes to stderr."""
    _show_report(outcome.report)
    change, applied, refused = outcome.change, outcome.applied, outcome.refused
    if refused:
        effects = getattr(refused, "effects", ())
        if effects:
            _show_effects(effects)
        what = "nothing was published" if published else "nothing changed"
        note(f"refused, {what}: {refused.message} ({_reason(refused)})")
        if outcome.report.counts and set(outcome.report.counts) <= {Reason.ALREADY_THERE, Reason.NOT_THERE}:
            note("--lenient leaves these rows out, and applies the others")
        if _reason(refused) in ("LIST_GUARD", "DELTA_GUARD"):
            note("--override applies it nevertheless")
        return
    kind = "delta" if outcome.delta else "full list"
    what = f"{outcome.file}: {outcome.list_name}, {kind} of {count(outcome.row_count, 'row')}"
    if outcome.repeat:
        done = "published before: " if published else "imported before, nothing changed: "
        click.echo(f"{done}{what}; sequence {outcome.sequence:,} of {outcome.feed}")
        return
    assert change
    rows = f"{change.added:,} added, {change.removed:,} removed, {change.changed:,} changed"
    done = "published" if published else "imported"
    dry = "nothing was published" if published else "nothing changed"
    click.echo(f"{f'dry run, {dry}' if options.dry_run else done}: {what}")
    click.echo(f"rows of the list: {rows}; {change.before:,} before, {change.after:,} after")
    if applied is None:
        click.echo("the tables say the same already: no delta was needed")
        return
    if not options.dry_run:
        where = f"feed {outcome.feed}, sequence {outcome.sequence:,}"
        tables = "" if published else f"; the tables are at serial {applied.serial:,}"
        click.echo(f"{'published' if published else 'applied'} as one delta, {where}{tables}")
    if not published:
        _show_effects(applied.effects)
    if outcome.verdicts:
        _show_verdicts(outcome.verdicts)


def _show_report(report: Report) -> None:
    faults = sorted(report.faults, key=lambda fault: fault.line)
    for fault in faults[:SHOWN_MAX]:
        where = f"line {fault.line}" + (f", {fault.column}" if fault.column else "")
        shown = f"\n    {fault.value}" if fault.value else ""
        note(f"{where}: {fault.message} ({fault.reason.name}){shown}")
    if report.fault_count > SHOWN_MAX:
        note(f"... and {report.fault_count - min(len(faults), SHOWN_MAX):,} more; --json shows up to 1,000")
        for reason, number in report.counts.most_common():
            note(f"    {reason.name}: {number:,}")
    for what, remark in report.warnings.items():
        lines = f", line {', '.join(map(str, remark.lines))}" if remark.lines else ""
        note(f"warning: {remark.text or what.value}: {count(remark.rows, 'row')}{lines} ({what.name})")


def _show_effects(effects: tuple[TableEffect, ...]) -> None:
    rows = [(e.table, e.added, e.removed, e.rows) for e in effects]
    if rows:
        show_table(("table", "added", "removed", "rows"), rows)
    else:
        click.echo("no table changes")


def _show_verdicts(verdicts: Verdicts) -> None:
    changed = verdicts.changed.total()
    click.echo(f"verdicts in a sample of {verdicts.checked:,}: {changed:,} would change")
    show_table(
        ("before", "after", "count"),
        [(turn.before, turn.after, number) for turn, number in verdicts.changed.most_common()],
    )
