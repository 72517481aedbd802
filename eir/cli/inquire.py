"""`eir inquire`: what a running daemon knows of a phone or a subscriber, and since when."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from eir.cli import client
from eir.cli.check import explain, explain_case
from eir.cli.say import NO, OK, count, moment, note, progress, show_json, show_table
from eir.verdict import Reason, Status

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from eir.proto import inquiry_pb2

PAGE_SECONDS_MAX = 90.0
"""Wait for a page of history: `inquiry.history_seconds_max`, and those who wait before."""
PUBLIC = {
    "STOLEN": "reported stolen or lost, it or another slot of its device.",
    "REGISTERED": "registered, and nothing is said against it.",
    "NOT_FOUND": "there is no such phone that may be sold.",
}


@click.command()
@click.option("--imei", default="", help="IMEI in any spelling; with --imsi judged with that IMSI.")
@click.option("--imsi", default="", help="IMSI: where the SIM stands.")
@click.option("--msisdn", default="", help="Number: where the subscriber's SIMs stand.")
@click.option("--public", is_flag=True, help="What the public is told of the IMEI: its status only.")
@click.option("--who", default="", help="Who asks, for the audit; the login name unless given.")
@click.option("--no-history", is_flag=True, help="Do not search the journal for the deltas.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@client.manage_address
def inquire(
    imei: str, imsi: str, msisdn: str, public: bool, who: str, no_history: bool, as_json: bool, address: str
) -> None:
    """Tell what is known of a phone or a subscriber, what a check would answer, and why.

    Ends with 3 when nothing is known. Inquiries but --public are kept in the audit.
    """
    if bool(imei) == bool(msisdn) and not (imsi and not msisdn):
        raise click.UsageError("one of --imei, --imsi and --msisdn is needed, or --imei with --imsi")
    if msisdn and imsi:
        raise click.UsageError("--msisdn stands alone")
    if public and (not imei or imsi):
        raise click.UsageError("--public takes --imei alone")
    if public:
        sys.exit(_public(imei, as_json, address))
    who = who or getpass.getuser()
    with client.connect(address) as channel:
        stub = client.inquiry(channel)
        answer = _ask(stub, imei, imsi, msisdn, who)
        pages = [] if no_history else _history(stub, imei, imsi, msisdn, who)
    known = bool(answer.sims) if hasattr(answer, "sims") else _known(answer.slot)
    if as_json:
        show_json(as_dict(answer) | ({} if no_history else {"history": _history_dict(pages)}))
    else:
        _show_equipment(answer) if imei else _show_subscriber(answer)
        if pages:
            _show_history(pages)
    sys.exit(OK if known else NO)


def _known(slot: inquiry_pb2.Slot) -> bool:
    from eir.inquiry.slots import known

    return known(slot)


def _ask(stub: Any, imei: str, imsi: str, msisdn: str, who: str) -> Any:
    from eir.proto import inquiry_pb2

    seconds = client.CALL_SECONDS_MAX
    if imei:
        equipment = inquiry_pb2.InquireEquipmentRequest(imei=imei, imsi=imsi, who=who)
        return stub.InquireEquipment(equipment, timeout=seconds)
    identity = {"imsi": imsi} if imsi else {"msisdn": msisdn}
    return stub.InquireSubscriber(inquiry_pb2.InquireSubscriberRequest(who=who, **identity), timeout=seconds)


def _history(stub: Any, imei: str, imsi: str, msisdn: str, who: str) -> list[Any]:
    """Ask for all pages of history, with a bar on a terminal."""
    from eir.proto import inquiry_pb2

    identity: dict[str, Any] = {"imei": imei} if imei else {"imsi": imsi} if imsi else {"msisdn": msisdn}
    request = inquiry_pb2.InquireHistoryRequest(who=who, **identity)
    pages = [stub.InquireHistory(request, timeout=PAGE_SECONDS_MAX)]
    total = max(pages[0].journal_to_serial - pages[0].journal_from_serial, 1)
    with progress("deltas", total) as show_done:
        while pages[-1].next_page_token:
            show_done(pages[0].journal_to_serial - pages[-1].searched_to_serial)
            request.page_token = pages[-1].next_page_token
            pages.append(stub.InquireHistory(request, timeout=PAGE_SECONDS_MAX))
    return pages


def _public(imei: str, as_json: bool, address: str) -> int:
    from eir.proto import inquiry_pb2

    with client.connect(address) as channel:
        answer: inquiry_pb2.InquireStatusResponse = client.inquiry(channel).InquireStatus(
            inquiry_pb2.InquireStatusRequest(imei=imei), timeout=client.CALL_SECONDS_MAX
        )
    told = as_dict(answer)
    if as_json:
        show_json(told)
    else:
        _warn(answer)
        click.echo(f"{told['imei']}: {told['status']}: {PUBLIC[told['status']]}")
    return NO if answer.status == inquiry_pb2.PUBLIC_STATUS_NOT_FOUND else OK


def as_dict(told: Message) -> dict[str, Any]:
    """Every field of a message by its name: enumerations without their prefix, numbers as numbers."""
    out: dict[str, Any] = {}
    for field in told.DESCRIPTOR.fields:
        value = getattr(told, field.name)
        if field.message_type is not None and not field.is_repeated and not told.HasField(field.name):
            out[field.name] = None
        elif field.is_repeated:
            out[field.name] = [_plain(field, one) for one in value]
        else:
            out[field.name] = _plain(field, value)
    return out


def _plain(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return as_dict(value)
    return enum_word(field.enum_type, value) if field.enum_type is not None else value


def enum_word(kind: Any, number: int) -> str:
    """Name of a value without what all names of its enumeration begin with."""
    prefix = kind.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return str(kind.values_by_number[number].name.removeprefix(prefix))


# For people.


def _warn(answer: Any) -> None:
    if answer.check_digit_wrong:
        note("the check digit is wrong: was a digit mistyped?")


def _show_equipment(answer: inquiry_pb2.InquireEquipmentResponse) -> None:
    _warn(answer)
    _show_slot("", answer.slot)
    for other in answer.other_slots:
        _show_slot("other slot ", other)
    for exemption in answer.imsi_exemptions:
        click.echo(f"the SIM {exemption.imsi} is exempt in any phone: {_exemption(exemption)}")
    click.echo("a check would answer now")
    for judgement in answer.judgements:
        click.echo(
            f"  {f'with {judgement.imsi}' if judgement.imsi else 'without IMSI'}: {_judgement(judgement)}"
        )
    _show_state(answer)


def _show_subscriber(answer: inquiry_pb2.InquireSubscriberResponse) -> None:
    if not answer.sims:
        click.echo("nothing is known of this subscriber")
    for sim in answer.sims:
        number = f", number {sim.msisdn} ({sim.language})" if sim.msisdn else ""
        click.echo(f"SIM {sim.imsi}{number}: stands on {count(sim.slot_count, 'slot')}")
        for exemption in sim.exemptions:
            click.echo(f"  exempt in any phone: {_exemption(exemption)}")
        for place in sim.slots:
            _show_slot("  ", place.slot)
            click.echo(f"    a check would answer now: {_judgement(place.judgement)}")
        if sim.slot_count > len(sim.slots):
            note(f"shown are {len(sim.slots)} of {sim.slot_count:,} slots: inquiry.slots_max bounds them")
    _show_state(answer)


def _show_state(answer: Any) -> None:
    stale = "; the tables are stale: a feed is older than its limit" if answer.stale else ""
    click.echo(f"told at serial {answer.serial:,}{stale}")


def _show_slot(lead: str, slot: inquiry_pb2.Slot) -> None:
    indent = " " * (len(lead) - len(lead.lstrip()))
    kind = f" ({slot.device_type})" if slot.device_type else ""
    click.echo(f"{lead}{slot.imei}{kind}")
    for line in _slot_lines(slot):
        click.echo(f"{indent}  {line}")


def _slot_lines(slot: inquiry_pb2.Slot) -> Iterator[str]:
    """Say what is known of a slot, a line each."""
    if slot.registered:
        yield "registered individually"
    for span in slot.registered_ranges:
        yield f"registered by range {span.first} to {span.last}"
    if not slot.registered and not slot.registered_ranges:
        yield "not registered"
    for block in slot.blocks:
        cause = as_dict(block)["cause"].lower()
        where = f", by range {block.range.first} to {block.range.last}" if block.HasField("range") else ""
        yield f"blocked: {cause}, by {block.authority}{where}"
    for pair in slot.pairs:
        number = f", number {pair.msisdn} ({pair.language})" if pair.msisdn else ""
        yield f"{as_dict(pair)['role'].lower()}: {pair.imsi}{number}"
    for exemption in slot.exemptions:
        who = f"with {exemption.imsi}" if exemption.imsi else "with any SIM"
        yield f"exempt {who}: {_exemption(exemption)}"
    for one in slot.grandfathered:
        who = f"with {one.imsi}" if one.imsi else "with any SIM"
        since = f", since {moment(one.in_use_since)}" if one.in_use_since else ""
        yield f"in use before the scheme {who}{since}"
    if slot.tracked:
        yield "tracked"


def _exemption(exemption: inquiry_pb2.Exemption) -> str:
    cause = as_dict(exemption)["cause"].lower()
    if not exemption.until:
        return f"{cause}, without end"
    return f"{cause}, {'ended' if exemption.ended else 'until'} {moment(exemption.until)}"


def _judgement(judgement: inquiry_pb2.Judgement) -> str:
    from eir.clock import now_seconds

    status, reason = Status(judgement.status), Reason(judgement.reason)
    more = explain_case(status, reason, judgement.deadline, now_seconds())
    if not more and judgement.deadline:
        more = [f"Until {moment(judgement.deadline)}."]
    return " ".join((explain(status, reason), *more))


def _history_dict(pages: list[Any]) -> dict[str, Any]:
    first = pages[0]
    return {
        "entries": [as_dict(entry) for page in pages for entry in page.entries],
        "journal_from_serial": first.journal_from_serial,
        "journal_from_time": first.journal_from_time,
        "journal_to_serial": first.journal_to_serial,
        "unreadable_serials": [serial for page in pages for serial in page.unreadable_serials],
    }


def _show_history(pages: list[Any]) -> None:
    from eir.whitelist.jsonl import operation_to_json

    first = pages[0]
    if not first.journal_from_serial:
        click.echo("\nthe journal has no deltas")
        return
    since = f"serial {first.journal_from_serial:,}, {moment(first.journal_from_time)}"
    click.echo(f"\ndeltas about it, newest first; the journal reaches back to {since}")
    entries = [entry for page in pages for entry in page.entries]
    if entries:
        show_table(
            ("committed", "serial", "feed", "sequence", "reference", "operation"),
            [
                (
                    moment(entry.committed_at),
                    entry.serial,
                    entry.feed,
                    entry.sequence,
                    entry.reference or "-",
                    operation_to_json(entry.operation)
                    + (" (may be one of the rows ignored)" if entry.ignored_row_count else ""),
                )
                for entry in entries
            ],
        )
    for serial in (serial for page in pages for serial in page.unreadable_serials):
        note(f"delta {serial} is damaged in the journal; eir journal verify says more")
