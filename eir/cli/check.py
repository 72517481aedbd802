"""`eir check`: one check of a running daemon, and what its verdict means."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from eir.cli import client
from eir.cli.say import NO, OK, UNKNOWN, moment, note, show_json
from eir.verdict import LOOKING, Reason, Status

if TYPE_CHECKING:
    from eir.proto import check_pb2

SENTENCES: Final = {
    Reason.EMERGENCY: "an emergency call is always allowed.",
    Reason.OVERRIDE: "enforcement is stopped by the override.",
    Reason.EXEMPT_PAIR: "this IMEI is exempt with this SIM.",
    Reason.EXEMPT_PAIR_BLOCKED: "this IMEI is blocked, and exempt with this SIM.",
    Reason.BLOCKED_STOLEN: "this IMEI is reported stolen.",
    Reason.BLOCKED_LOST: "this IMEI is reported lost.",
    Reason.BLOCKED_BARRED: "an authority barred this IMEI.",
    Reason.BLOCKED_LINKED: "another slot of this device is reported stolen or lost.",
    Reason.INBOUND_ROAMER: "the SIM is that of a foreign network's subscriber, roaming here.",
    Reason.SERVED_ABROAD: "a foreign network serves this home subscriber.",
    Reason.BLOCKED_RANGE: "this IMEI lies in a blocked range and is not registered individually.",
    Reason.EXEMPT_IMEI: "this IMEI is exempt with any SIM.",
    Reason.EXEMPT_IMSI: "this SIM is exempt in any phone.",
    Reason.EXEMPT_IMSI_RANGE: "the policy exempts the range of IMSIs that this SIM is in.",
    Reason.EXEMPT_DEVICE_TYPE: "the policy exempts this type of device.",
    Reason.OWNER: "this SIM is the owner's of this IMEI.",
    Reason.UTILIZER: "the owner declared this SIM as a utilizer of this IMEI.",
    Reason.OTHER_SLOT: "the pairing of another slot of this device covers this SIM.",
    Reason.GRANDFATHERED_IMEI: "this IMEI was in use before the scheme.",
    Reason.GRANDFATHERED_PAIR: "this IMEI was in use with this SIM before the scheme.",
    Reason.NO_IMSI: "no IMSI was given, so that nothing can be said against the pair.",
    Reason.IMSI_MALFORMED: "the IMSI is not 1 to 15 digits.",
    Reason.IMSI_SHORT: "the IMSI is too short to name a network.",
    Reason.MALFORMED_EMPTY: "the IMEI is empty.",
    Reason.MALFORMED_SHORT: "the IMEI has fewer than 14 digits.",
    Reason.MALFORMED_LONG: "the IMEI has more than 16 characters.",
    Reason.MALFORMED_NON_DIGIT: "the IMEI has other characters than digits.",
    Reason.SPECIAL_ZERO: "the IMEI is all zeros, which identifies no phone.",
    Reason.SPECIAL_REPEATED: "the IMEI repeats one digit, which identifies no phone.",
    Reason.SPECIAL_TEST: "the IMEI has a test TAC.",
    Reason.SPECIAL_PLACEHOLDER: "the IMEI is a placeholder that many phones share.",
    Reason.SHARED: "more SIMs than the policy admits are paired to this IMEI, and this is none of them.",
    Reason.CLONED: "the registry lists this IMEI as cloned, and this SIM is not its owner's.",
    Reason.UNOWNED_SLOT: "another slot of this device has an owner, and this slot has none.",
    Reason.OWNED_BY_OTHER: "this IMEI is owned by another SIM: no transfer was carried out.",
    Reason.NEVER_ACTIVATED: "this IMEI is registered and was never activated.",
    Reason.NOT_REGISTERED: "this IMEI is not registered.",
    Reason.UNDECIDED: "no rule applies to this pair.",
}
"""What each reason means, as the end of a sentence."""
LEADS: Final = {
    Status.WHITELISTED: "Allowed",
    Status.GREYLISTED: "Allowed and tracked",
    Status.BLACKLISTED: "Denied",
    Status.UNKNOWN: "Left to the node's own switch",
}
"""What each status means, as the beginning of a sentence."""
REMEDIES: Final = {
    Reason.UNOWNED_SLOT: "the owner declares this SIM as a utilizer of the slot, or transfers the phone.",
    Reason.OWNED_BY_OTHER: "the owner transfers the phone to this SIM.",
    Reason.NEVER_ACTIVATED: "the phone is activated with this SIM.",
    Reason.NOT_REGISTERED: "the phone is registered, and activated with this SIM.",
}
"""What ends a case, by its cause."""
EXITS: Final = {Status.BLACKLISTED: NO, Status.UNKNOWN: UNKNOWN}


def explain(status: Status, reason: Reason) -> str:
    """Say a verdict in a sentence."""
    return f"{LEADS[status]}: {SENTENCES[reason]}"


def explain_case(status: Status, reason: Reason, deadline: int, now: int) -> list[str]:
    """Say where the case of a pair stands, and what helps; nothing where the reason opens none."""
    if reason not in REMEDIES or status == Status.WHITELISTED:
        return []
    if status == Status.BLACKLISTED:
        says = f"Its case was cut off; the deadline was {moment(deadline)}."
    elif not deadline:
        says = "No deadline yet: there is no case of it, or its case waits for the first notice."
    elif deadline > now:
        says = f"Its case has the deadline {moment(deadline)}."
    else:
        says = f"The deadline of its case was {moment(deadline)}; the cut-off waits, or is not enforced."
    return [says, f"What helps: {REMEDIES[reason]}"]


@click.command()
@click.argument("imei")
@click.argument("imsi", default="")
@click.option(
    "--serving-plmn",
    metavar="PLMN",
    default="",
    help="Network that serves the SIM: MCC and MNC, 5 or 6 digits.",
)
@click.option("--emergency", is_flag=True, help="Ask as for an emergency call.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@client.check_address
def check(imei: str, imsi: str, serving_plmn: str, emergency: bool, as_json: bool, address: str) -> None:
    """Ask whether IMEI may be used, with IMSI where it is given, and say why. It opens no case.

    Ends with 0 when allowed, 3 when denied, 4 when no rule decides.
    """
    from eir.proto import check_pb2

    request = check_pb2.CheckEquipmentRequest(
        imei=imei, imsi=imsi, serving_plmn=serving_plmn, emergency=emergency
    )
    with client.connect(address) as channel:
        answer: check_pb2.CheckEquipmentResponse = client.checks(channel).CheckEquipment(
            request, timeout=client.CALL_SECONDS_MAX, metadata=(("eir-client", LOOKING),)
        )
    status, reason = Status(answer.status), Reason(answer.reason)
    _warn(imei)
    if as_json:
        show_json(
            {
                "imei": imei,
                "imsi": imsi,
                "status": status.name,
                "reason": reason.name,
                "explanation": explain(status, reason),
                "remedy": REMEDIES.get(reason, "") if status != Status.WHITELISTED else "",
                "deadline": answer.deadline,
                "serial": answer.serial,
                "stale": answer.stale,
                "cache_seconds": answer.cache_seconds,
            }
        )
    else:
        _show(status, reason, answer)
    sys.exit(EXITS.get(status, OK))


def _show(status: Status, reason: Reason, answer: check_pb2.CheckEquipmentResponse) -> None:
    """Print a verdict for people."""
    from eir.clock import now_seconds

    click.echo(explain(status, reason))
    if case := explain_case(status, reason, answer.deadline, now_seconds()):
        click.echo("\n".join(case))
    elif answer.deadline:
        click.echo(f"Until {moment(answer.deadline)}.")
    if not answer.serial:
        click.echo("The daemon has no tables yet.")
    elif answer.stale:
        click.echo("The tables are stale: a feed is older than its limit.")
    kept = f"may be kept for {answer.cache_seconds:,} s" if answer.cache_seconds else "not to be kept"
    click.echo(f"{status.name} ({reason.name}), judged at serial {answer.serial:,}, {kept}")


def _warn(imei: str) -> None:
    """Warn of a check digit that is wrong: the check does not look at it."""
    from eir.identity import IMEI_DIGITS, luhn_digit, parse_imei

    text = imei.strip()
    parsed = parse_imei(text)
    if len(text) == IMEI_DIGITS + 1 and parsed.key and text[-1] not in ("0", str(luhn_digit(parsed.key))):
        right = luhn_digit(parsed.key)
        note(f"the check digit of {text} should be {right}; checks look at the first 14 digits only")
