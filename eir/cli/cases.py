"""`eir cases`: who has a case, what became of it, and what people do about it."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any, Final

import click

from eir.cli import client
from eir.cli.inquire import as_dict
from eir.cli.say import moment, note, parse_moment, show_json, show_table

if TYPE_CHECKING:
    from eir.proto import notice_pb2

STATES: Final = ("open", "absent", "held", "withdrawn", "cut_off", "resolved")
CAUSES: Final = ("unowned_slot", "owned_by_other", "never_activated", "not_registered")
CASES_MAX: Final = 100
CALL_SECONDS_MAX: Final = 60.0
"""Wait for an answer that looks through cases."""

who_reading = click.option("--who", default="", help="Who asks, for the audit; the login name unless given.")
who = click.option("--who", required=True, help="Who does it: a person or a ticket.")
why = click.option("--why", required=True, help="Why; kept in the audit.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
number_argument = click.argument("number", type=click.IntRange(0, (1 << 32) - 1))
until = click.option("--until", required=True, help="End: a date, a date with a time, or seconds.")


def asker(who: str) -> str:
    """Return who asks."""
    return who or getpass.getuser()


@click.group()
def cases() -> None:
    """Show cases, and hold, withdraw or free one."""


@cases.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="State; all but resolved.")
@click.option("--cause", "causes", multiple=True, type=click.Choice(CAUSES), help="Cause; all unless given.")
@click.option("--imei", default="", help="Cases of this IMEI.")
@click.option("--imsi", default="", help="Cases of this IMSI.")
@click.option("--deadline-before", default="", help="Deadlines before a date, a time, or seconds.")
@click.option("--unwarned", is_flag=True, help="Those without a notice that an SMSC accepted.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    default=CASES_MAX,
    show_default=True,
    help="At most so many.",
)
@who_reading
@as_json
@client.manage_address
def list_(
    states: tuple[str, ...],
    causes: tuple[str, ...],
    imei: str,
    imsi: str,
    deadline_before: str,
    unwarned: bool,
    limit: int,
    who: str,
    as_json: bool,
    address: str,
) -> None:
    """List cases by their number."""
    from eir.proto import notice_pb2

    request = notice_pb2.ListCasesRequest(
        states=[f"CASE_STATE_{state.upper()}" for state in states],
        causes=[f"VERDICT_REASON_{cause.upper()}" for cause in causes],
        imei=imei,
        imsi=imsi,
        deadline_before=parse_moment(deadline_before, "--deadline-before") if deadline_before else 0,
        unwarned_only=unwarned,
        page_size=min(limit, 1000),
        who=asker(who),
    )
    found: list[notice_pb2.Case] = []
    with client.connect(address) as channel:
        stub = client.notices(channel)
        while True:
            answer = stub.ListCases(request, timeout=CALL_SECONDS_MAX)
            found += answer.cases
            request.page_token = answer.next_page_token
            if not answer.next_page_token or len(found) >= limit:
                break
    more = bool(request.page_token) or len(found) > limit
    found = found[:limit]
    if as_json:
        show_json([as_dict(case) for case in found])
        return
    show_table(
        ("case", "IMEI", "IMSI", "cause", "state", "opened", "deadline", "warned"),
        [
            (f"{case.number}", case.imei, case.imsi, *_words(case), *map(moment, _times(case)))
            for case in found
        ],
    )
    if more:
        note(f"there are more: shown are {len(found):,}, see --limit")


def _words(case: notice_pb2.Case) -> tuple[str, str]:
    told = as_dict(case)
    return told["cause"].lower(), told["state"].lower()


def _times(case: notice_pb2.Case) -> tuple[int, int, int]:
    return case.opened_at, case.deadline, case.warned_at


@cases.command()
@click.argument("case", nargs=-1, required=True)
@who_reading
@as_json
@client.manage_address
def show(case: tuple[str, ...], who: str, as_json: bool, address: str) -> None:
    """Show one case with its history and notices: CASE is its number, or IMEI and IMSI.

    Ends with 3 where there is none.
    """
    from eir.proto import notice_pb2

    if len(case) > 2:
        raise click.UsageError("one number, or an IMEI and an IMSI")
    if len(case) == 2:
        request = notice_pb2.GetCaseRequest(imei=case[0], imsi=case[1], who=asker(who))
    elif case[0].isascii() and case[0].isdigit() and int(case[0]) < 1 << 32:
        request = notice_pb2.GetCaseRequest(case_number=int(case[0]), who=asker(who))
    else:
        raise click.UsageError(f"{case[0]!r} is no number of a case; a pair is an IMEI and an IMSI")
    with client.connect(address) as channel:
        answer = client.notices(channel).GetCase(request, timeout=CALL_SECONDS_MAX)
    if as_json:
        show_json(as_dict(answer))
        return
    show_case(answer.found)
    number = f"{answer.msisdn} ({answer.language or 'no language known'})" if answer.msisdn else "none known"
    click.echo(f"number: {number}")
    if answer.history:
        click.echo()
        show_table(
            ("at", "event", "who", "why"),
            [(moment(line.at), line.event, line.who, line.why) for line in answer.history],
        )
    if answer.notices:
        click.echo()
        show_notices(answer.notices)


def show_case(case: notice_pb2.Case) -> None:
    """Print a case for people."""
    cause, state = _words(case)
    ends = f" until {moment(case.until)}" if case.until else ""
    click.echo(f"case {case.number}: {cause}, {state} since {moment(case.since)}{ends}")
    click.echo(f"IMEI {case.imei}, IMSI {case.imsi}")
    click.echo(f"opened {moment(case.opened_at)}, seen {moment(case.seen_at)}, grace {case.grace_days} days")
    click.echo(f"deadline {moment(case.deadline)}, warned {moment(case.warned_at)}")


def show_notices(found: Any) -> None:
    """Print notices for people."""
    show_table(
        ("notice", "case", "stage", "state", "due", "changed", "attempts", "SMSC", "error"),
        [
            (
                *(f"{one.id}", f"{one.case_number}", one.stage, as_dict(one)["state"].lower()),
                *(moment(one.due_at), moment(one.changed_at), one.attempts, one.smsc, one.error),
            )
            for one in found
        ],
    )


def _acted(answer: Any, verb: str, as_json: bool) -> None:
    note(verb)
    if as_json:
        show_json(as_dict(answer.changed))
    else:
        show_case(answer.changed)


@cases.command()
@number_argument
@until
@who
@why
@as_json
@client.manage_address
def hold(number: int, until: str, who: str, why: str, as_json: bool, address: str) -> None:
    """Stop case NUMBER until a time: a dispute, a court. Its grace waits."""
    from eir.proto import notice_pb2

    request = notice_pb2.HoldCaseRequest(
        case_number=number, until=parse_moment(until, "--until"), who=who, why=why
    )
    with client.connect(address) as channel:
        answer = client.notices(channel).HoldCase(request, timeout=client.CALL_SECONDS_MAX)
    _acted(answer, "held", as_json)


@cases.command()
@number_argument
@until
@who
@why
@as_json
@client.manage_address
def withdraw(number: int, until: str, who: str, why: str, as_json: bool, address: str) -> None:
    """Take case NUMBER back until a time; after it a new grace begins."""
    from eir.proto import notice_pb2

    request = notice_pb2.WithdrawCaseRequest(
        case_number=number, until=parse_moment(until, "--until"), who=who, why=why
    )
    with client.connect(address) as channel:
        answer = client.notices(channel).WithdrawCase(request, timeout=client.CALL_SECONDS_MAX)
    _acted(answer, "withdrawn", as_json)


@cases.command()
@number_argument
@who
@why
@as_json
@client.manage_address
def free(number: int, who: str, why: str, as_json: bool, address: str) -> None:
    """End the hold or the withdrawal of case NUMBER."""
    from eir.proto import notice_pb2

    request = notice_pb2.FreeCaseRequest(case_number=number, who=who, why=why)
    with client.connect(address) as channel:
        answer = client.notices(channel).FreeCase(request, timeout=client.CALL_SECONDS_MAX)
    _acted(answer, "freed", as_json)


def pages(call: Any, request: Any, limit: int) -> tuple[list[Any], bool]:
    """Ask for pages of notices until there are enough; tells whether there are more."""
    found: list[Any] = []
    while True:
        answer = call(request, timeout=CALL_SECONDS_MAX)
        found += answer.notices
        request.page_token = answer.next_page_token
        if not answer.next_page_token or len(found) >= limit:
            break
    return found[:limit], bool(request.page_token) or len(found) > limit
