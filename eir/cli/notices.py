"""`eir notices`: what is sent to whom, why it waits, and how to stop and go on."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from eir.cli import client
from eir.cli.cases import CALL_SECONDS_MAX, CAUSES, as_json, asker, pages, show_notices, who, who_reading, why
from eir.cli.enforcement import on_terminal
from eir.cli.inquire import as_dict
from eir.cli.say import NO, OK, count, moment, note, show_json, show_table

if TYPE_CHECKING:
    from eir.proto import notice_pb2

STATES: Final = ("due", "submitted", "accepted", "delivered", "failed", "expired", "cancelled")
STAGES: Final = ("first", "reminder", "last", "cut_off", "resolved", "restored")
_UNITS: Final = {"d": 86_400, "h": 3_600}
_SPAN: Final = re.compile(r"([0-9]{1,4})([dh])")


@click.group()
def notices() -> None:
    """Show notices, hold and release sending, shift deadlines."""


@notices.command()
@as_json
@client.manage_address
def status(as_json: bool, address: str) -> None:
    """Tell how cases and notices stand; code 3 while sending holds or nothing can be sent."""
    from eir.proto import notice_pb2

    with client.connect(address) as channel:
        answer: notice_pb2.GetNoticeStatusResponse = client.notices(channel).GetNoticeStatus(
            notice_pb2.GetNoticeStatusRequest(), timeout=CALL_SECONDS_MAX
        )
    if as_json:
        show_json(as_dict(answer))
    else:
        _show_status(answer)
    bound = any(smsc.bound for smsc in answer.smscs)
    held = answer.held_why or answer.storage_failed_why or answer.clock_doubted_why
    sys.exit(OK if bound and not held else NO)


def _show_status(answer: notice_pb2.GetNoticeStatusResponse) -> None:
    told = as_dict(answer)
    show_table(("cases", "count"), [(one["state"].lower(), one["count"]) for one in told["cases"]])
    click.echo(f"true up to serial {answer.serial:,}; {count(answer.deltas_behind, 'delta')} behind")
    click.echo(f"feeds are complete until {moment(answer.complete_until)}")
    if answer.waiting:
        click.echo()
        show_table(
            ("waiting", "notices", "oldest due", "no number known"),
            [(one.stage, one.count, moment(one.oldest_due_at), one.without_msisdn) for one in answer.waiting],
        )
    click.echo()
    if answer.smscs:
        show_table(
            ("SMSC", "bound", "in flight", "window", "parts/s"),
            [
                (
                    *(one.name, "yes" if one.bound else "no", one.in_flight, one.window_max),
                    f"{one.parts_per_second:g}",
                )
                for one in answer.smscs
            ],
        )
    else:
        click.echo("no SMSC is configured: nobody is warned, no deadline falls")
    if answer.held_why:
        by = answer.held_by or "a guard"
        click.echo(f"HELD since {moment(answer.held_since)} by {by}: {answer.held_why}")
    if answer.clock_doubted_why:
        click.echo(f"no deadline falls: the clock {answer.clock_doubted_why}")
    if answer.group_state:
        click.echo()
        trouble = f": {answer.group_trouble}" if answer.group_trouble else ""
        click.echo(f"group: {answer.group_state}{trouble}")
        show_table(
            ("daemon", "at", "sends"),
            [
                (one.name, one.address, f"{one.share_percent:.0f} %" if one.sends else "no")
                for one in answer.group_daemons
            ],
        )
    if answer.storage_failed_why:
        click.echo(f"cases cannot be written: {answer.storage_failed_why}")


@notices.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="State; all unless given.")
@click.option("--stage", "stages", multiple=True, type=click.Choice(STAGES), help="Stage; all unless given.")
@click.option("--smsc", default="", help="Those of one SMSC.")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="The latest so many."
)
@who_reading
@as_json
@client.manage_address
def list_(
    states: tuple[str, ...],
    stages: tuple[str, ...],
    smsc: str,
    limit: int,
    who: str,
    as_json: bool,
    address: str,
) -> None:
    """List notices, the newest first."""
    from eir.proto import notice_pb2

    request = notice_pb2.ListNoticesRequest(
        states=[f"NOTICE_STATE_{state.upper()}" for state in states],
        stages=stages,
        smsc=smsc,
        page_size=min(limit, 1000),
        who=asker(who),
    )
    with client.connect(address) as channel:
        found, more = pages(client.notices(channel).ListNotices, request, limit)
    if as_json:
        show_json([as_dict(one) for one in found])
        return
    show_notices(found)
    if more:
        note(f"there are more: shown are {len(found):,}, see --limit")


@notices.command()
@click.option(
    "--hours", type=click.IntRange(1, 168), default=24, show_default=True, help="How far to look ahead."
)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Texts shown.")
@who_reading
@as_json
@client.manage_address
def preview(hours: int, limit: int, who: str, as_json: bool, address: str) -> None:
    """Tell who would get what in the next hours, and send nothing."""
    from eir.proto import notice_pb2

    request = notice_pb2.PreviewNoticesRequest(hours=hours, page_size=limit, who=asker(who))
    with client.connect(address) as channel:
        answer = client.notices(channel).PreviewNotices(request, timeout=CALL_SECONDS_MAX)
    told = as_dict(answer)
    if as_json:
        show_json(told)
        return
    show_table(
        ("cause", "stage", "count"),
        [(one["cause"].lower(), one["stage"], one["count"]) for one in told["counts"]],
    )
    if answer.cases_looked_at < answer.cases_due:
        note(f"of {answer.cases_due:,} cases that come due {answer.cases_looked_at:,} were looked at")
    for one in answer.shown:
        click.echo(
            f"\n{moment(one.at)}  {one.stage}  case {one.of.number}  {one.msisdn or 'no number known'}"
        )
        click.echo(f"  {one.text}")


@notices.command()
@who
@why
@client.manage_address
def hold(who: str, why: str, address: str) -> None:
    """Hold all sending, and all deadlines, until it is released."""
    from eir.proto import notice_pb2

    request = notice_pb2.HoldNoticesRequest(who=who, why=why)
    with client.connect(address) as channel:
        client.notices(channel).HoldNotices(request, timeout=client.CALL_SECONDS_MAX)
    note("held")


@notices.command()
@who
@why
@click.option("--yes", is_flag=True, help="Do not ask.")
@client.manage_address
def release(who: str, why: str, yes: bool, address: str) -> None:
    """Go on after a hold, a guard, or a doubt in the clock. Look at `eir notices preview` before.

    Asks before it acts when run on a terminal.
    """
    from eir.proto import notice_pb2

    if not yes and on_terminal():
        click.confirm(f"Send what waits, and let deadlines fall, at {address}?", abort=True, err=True)
    request = notice_pb2.ReleaseNoticesRequest(who=who, why=why)
    with client.connect(address) as channel:
        answer = client.notices(channel).ReleaseNotices(request, timeout=client.CALL_SECONDS_MAX)
    if answer.was_held_why:
        note(f"released; it was held: {answer.was_held_why}")
    if answer.clock_was_doubted_why:
        note(f"the clock is believed again; it was doubted: {answer.clock_was_doubted_why}")
    if not (answer.was_held_why or answer.clock_was_doubted_why):
        note("nothing was held")


def _span(_: click.Context, __: click.Parameter, text: str) -> int:
    match = _SPAN.fullmatch(text)
    if match is None:
        raise click.BadParameter(f"{text!r} is no span of time: 30d, 12h")
    number, unit = match.groups()
    return int(number) * _UNITS[unit]


@notices.command()
@click.argument("span", callback=_span)
@click.option("--earlier", is_flag=True, help="To an earlier time.")
@click.option("--cause", type=click.Choice(CAUSES), help="Of this cause; of all unless given.")
@click.option("--tacs", nargs=2, default=("", ""), metavar="FIRST LAST", help="Of this range of TACs.")
@click.option("--imsi-prefix", default="", help="Of IMSIs that begin so: a network code, or longer.")
@click.option("--dry-run", is_flag=True, help="Only count the cases.")
@who
@why
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
@client.manage_address
def shift(
    span: int,
    earlier: bool,
    cause: str | None,
    tacs: tuple[str, str],
    imsi_prefix: str,
    dry_run: bool,
    who: str,
    why: str,
    yes: bool,
    as_json: bool,
    address: str,
) -> None:
    """Move the deadlines of a cohort by SPAN: 30d, or 12h; `eir notices unshift` undoes it.

    Says how many cases it covers, and asks before it acts when run on a terminal.
    """
    from eir.proto import notice_pb2

    seconds = -span if earlier else span
    request = notice_pb2.ShiftDeadlinesRequest(
        shift=notice_pb2.Shift(
            seconds=seconds,
            cause=f"VERDICT_REASON_{cause.upper()}" if cause else None,
            first_tac=tacs[0],
            last_tac=tacs[1],
            imsi_prefix=imsi_prefix,
        ),
        dry_run=True,
        who=who,
        why=why,
    )
    with client.connect(address) as channel:
        stub = client.notices(channel)
        answer = stub.ShiftDeadlines(request, timeout=CALL_SECONDS_MAX)
        if not dry_run:
            if not yes and on_terminal():
                cases = count(answer.case_count, "case")
                click.confirm(
                    f"Move the deadlines of {cases} by {seconds / 3600:+g} hours?", abort=True, err=True
                )
            request.dry_run = False
            answer = stub.ShiftDeadlines(request, timeout=CALL_SECONDS_MAX)
    note(f"{'would cover' if dry_run else 'covers'} {count(answer.case_count, 'case')}")
    if as_json:
        show_json(as_dict(answer))
    elif not dry_run:
        _show_shifts([answer.shift])


@notices.command()
@click.argument("shift_id", type=click.IntRange(1, (1 << 32) - 1), metavar="SHIFT")
@who
@why
@as_json
@client.manage_address
def unshift(shift_id: int, who: str, why: str, as_json: bool, address: str) -> None:
    """Undo the shift numbered SHIFT."""
    from eir.proto import notice_pb2

    request = notice_pb2.UnshiftDeadlinesRequest(id=shift_id, who=who, why=why)
    with client.connect(address) as channel:
        answer = client.notices(channel).UnshiftDeadlines(request, timeout=client.CALL_SECONDS_MAX)
    note("undone")
    if as_json:
        show_json(as_dict(answer.shift))
    else:
        _show_shifts([answer.shift])


@notices.command()
@as_json
@client.manage_address
def shifts(as_json: bool, address: str) -> None:
    """List all shifts that there ever were."""
    from eir.proto import notice_pb2

    with client.connect(address) as channel:
        answer = client.notices(channel).ListShifts(
            notice_pb2.ListShiftsRequest(), timeout=client.CALL_SECONDS_MAX
        )
    if as_json:
        show_json([as_dict(one) for one in answer.shifts])
    else:
        _show_shifts(answer.shifts)


def _show_shifts(found: Any) -> None:
    show_table(
        ("shift", "hours", "cause", "TACs", "IMSIs", "at", "who", "why", "undone"),
        [
            (
                *(f"{one.id}", f"{one.seconds / 3600:+g}"),
                as_dict(one)["cause"].lower() if one.cause else "all",
                f"{one.first_tac}-{one.last_tac}" if one.first_tac else "all",
                one.imsi_prefix or "all",
                *(moment(one.at), one.who, one.why),
                f"{moment(one.undone_at)} by {one.undone_by}: {one.undone_why}" if one.undone_at else "-",
            )
            for one in found
        ],
    )
