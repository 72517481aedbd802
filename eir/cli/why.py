"""`eir why`: why a phone was treated as it was, from the files of a data directory."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from eir.cli.check import LEADS, SENTENCES
from eir.cli.journal import data_dir_option, open_journal
from eir.cli.say import NO, OK, count, moment, note, parse_moment, show_json, show_table
from eir.verdict import Reason, Status

if TYPE_CHECKING:
    from eir.decisions.evidence import Change, Evidence
    from eir.decisions.record import Decision

SHOWN_MAX: Final = 10
"""Decisions and changes printed; --json prints all that were found."""
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
DAY_SECONDS: Final = 86_400


def _until(at: str | None) -> int:
    """Return the last second asked about: a date alone is meant as a whole."""
    from eir.clock import now_seconds

    if at is None:
        return now_seconds()
    return parse_moment(at, "--at") + (DAY_SECONDS - 1 if _DATE.fullmatch(at) else 0)


def _typed(imei: str, imsi: str) -> tuple[str, str]:
    """Return an IMEI and an IMSI that were typed as the files have them; other text as phones send it."""
    from eir.identity import IMEI_DIGITS, imsi_text, normalise, typed, typed_imsi

    with contextlib.suppress(ValueError):
        if typed(imei)[:IMEI_DIGITS].isdigit() and len(typed(imei)) >= IMEI_DIGITS:
            imei = typed(imei)
    with contextlib.suppress(ValueError):
        imsi = imsi_text(typed_imsi(imsi))
    return normalise(imei), imsi.strip()


@click.command()
@click.option("--imei", required=True, help="The phone, in any spelling.")
@click.option("--imsi", default="", help="With this SIM; with any unless given.")
@click.option("--at", metavar="TIME", help="As it was then: a date (UTC), a time, seconds; now unless given.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@data_dir_option
def why(imei: str, imsi: str, at: str | None, as_json: bool, data_dir: Path) -> None:
    """Explain what a node was told about a phone: the rule, the delta that made it so, the policy of then.

    Read from the data directory, with or without a daemon running on it. Ends with 3 when nothing is known.
    """
    from eir.decisions.evidence import gather

    until = _until(at)
    key, imsi = _typed(imei, imsi)
    if not key:
        raise click.BadParameter("is empty", param_hint="--imei")
    with open_journal(data_dir) as journal:
        evidence = gather(data_dir, journal, key, imsi, until)
    for damaged in evidence.found.damaged:
        note(damaged)
    for serial in evidence.unreadable_serials:
        note(f"delta {serial} of the journal cannot be read; `eir journal verify` says why")
    if as_json:
        show_json(as_dict(evidence))
    else:
        who = f"IMEI {key}" + (f" with IMSI {imsi}" if imsi else "")
        click.echo("\n".join([f"{who}, up to {moment(until)}.", *sentences(evidence)]))
        _show_decisions(evidence)
    sys.exit(OK if evidence.decision or evidence.changes else NO)


def sentences(evidence: Evidence) -> list[str]:
    """Tell what is known, in sentences."""
    if evidence.decision is None:
        return [*_undecided(evidence), *_made(evidence, evidence.changes, "What the journal says of it:")]
    lines = [*_decided(evidence, evidence.decision), *_policy(evidence, evidence.decision)]
    causes = evidence.causes()
    if evidence.decision.reason == Reason.OVERRIDE:
        lines += _override(evidence)
    elif causes:
        lines += _made(evidence, causes, "What made it so, newest first:")
    else:
        lines += _no_cause(evidence)
    return [*lines, *_made(evidence, evidence.since(), "Since then, newest first:")]


def _undecided(evidence: Evidence) -> list[str]:
    since = evidence.found.since
    kept = f"decisions go back to {since}" if since else "there are no decisions here at all"
    lines = [f"No decision on it is kept ({kept}; of simply allowed checks only a sample is)."]
    if not evidence.changes:
        lines.append(f"No delta of the journal names it{_reach(evidence)}.")
    return lines


def _decided(evidence: Evidence, decision: Decision) -> list[str]:
    status, reason = Status(decision.status), Reason(decision.reason)
    node = f"the node {decision.client}" if decision.client else "a node"
    where = f", serving network {decision.serving_plmn}" if decision.serving_plmn else ""
    sim = f" with IMSI {decision.imsi}" if decision.imsi else " without IMSI"
    alike = [
        d for d in evidence.found.decisions if (d.status, d.reason, d.imsi) == (status, reason, decision.imsi)
    ]
    asked = f"On {moment(decision.time)} {node}{where} asked for it{sim} and was told {status.name}: "
    lines = [f"{asked}{LEADS[status].lower()}, because {SENTENCES[reason]}"]
    if len(alike) > 1:
        more = " at least" if evidence.found.more else ""
        lines.append(
            f"The same is kept{more} {len(alike):,} times, first on {moment(alike[-1].time)},"
            f" last on {moment(alike[0].time)}."
        )
    return lines


def _policy(evidence: Evidence, decision: Decision) -> list[str]:
    judged = f"It was judged at serial {decision.serial:,} by "
    if evidence.policy is None or evidence.rule is None:
        kept = "which is not kept" if not evidence.policy_hash[16:] else "which this version does not read"
        return [f"{judged}policy {evidence.policy_hash[:12]}, {kept}."]
    rule, status = evidence.rule, Status(decision.status)
    says = "decides so always" if rule.mode == "fixed" else f"has it in mode {rule.mode}"
    judged += f"policy {evidence.policy.name} ({evidence.policy.hash[:12]}): "
    lines = [f"{judged}row {rule.row}, {rule.reason}, {says} for this pair ({rule.cohort}): {rule.outcome}."]
    mapped = evidence.policy.status_map(decision.client)
    if decision.reason == Reason.UNDECIDED and mapped[Status.UNKNOWN] == status != Status.UNKNOWN:
        lines.append(f"The status map of that client turns UNKNOWN into {status.name}.")
    return lines


def _override(evidence: Evidence) -> list[str]:
    for row in evidence.audit:
        if row.what == "enforcement set to allow all":
            return [f"{row.who} stopped enforcement on {moment(row.at)}: {row.why}"]
    return ["Who stopped enforcement is not in the audit."]


def _no_cause(evidence: Evidence) -> list[str]:
    from eir.decisions.evidence import MAKES

    assert evidence.decision is not None
    if Reason(evidence.decision.reason) not in MAKES:
        return []
    if evidence.decision.reason == Reason.NOT_REGISTERED:
        return [f"No delta of the journal registers it{_reach(evidence)}."]
    return [f"What made it so is not in the journal{_reach(evidence)}."]


def _reach(evidence: Evidence) -> str:
    serial, second = evidence.journal_from
    return f"; the journal goes back to serial {serial:,} of {moment(second)}" if serial else "; it is empty"


def _made(evidence: Evidence, changes: list[Change], head: str) -> list[str]:
    if not changes:
        return []
    lines = [f"  {moment(change.committed_at)}: {tell(change)}" for change in changes[:SHOWN_MAX]]
    if len(changes) > SHOWN_MAX or evidence.more_changes:
        lines.append("  and more: --json prints them")
    return [head, *lines]


def tell(change: Change) -> str:
    """Tell a row of a delta: what it did, and where it came from."""
    from eir.decisions.words import told

    reference = f", reference {change.reference}" if change.reference else ""
    came = f"feed {change.feed}, sequence {change.sequence:,}{reference}; serial {change.serial:,}"
    return f"{told(change.operation)} ({came})"


def _show_decisions(evidence: Evidence) -> None:
    shown = evidence.found.decisions[:SHOWN_MAX]
    if len(shown) < 2:
        return
    total = count(len(evidence.found.decisions), "decision") + (" or more" if evidence.found.more else "")
    click.echo(f"\n{total} kept; the latest:")
    show_table(
        ("time", "imsi", "status", "reason", "serial", "node", "network"),
        [
            (
                moment(d.time),
                d.imsi or "-",
                Status(d.status).name,
                Reason(d.reason).name,
                d.serial,
                d.client or "-",
                d.serving_plmn or "-",
            )
            for d in shown
        ],
    )


def as_dict(evidence: Evidence) -> dict[str, object]:
    """Return all of it for programs."""
    rule = evidence.rule
    return {
        "explanation": sentences(evidence),
        "decision": _decision(evidence.decision) if evidence.decision else None,
        "policy": {
            "hash": evidence.policy_hash,
            "name": evidence.policy.name if evidence.policy else None,
            "rule": rule._asdict() if rule else None,
        },
        "causes": [_change(change) for change in evidence.causes()],
        "since": [_change(change) for change in evidence.since()],
        "changes": [_change(change) for change in evidence.changes],
        "decisions": [_decision(decision) for decision in evidence.found.decisions],
        "more_decisions": evidence.found.more,
        "more_changes": evidence.more_changes,
        "decisions_since": evidence.found.since,
        "journal_from_serial": evidence.journal_from[0],
        "unreadable_serials": evidence.unreadable_serials,
        "damaged": evidence.found.damaged,
    }


def _decision(decision: Decision) -> dict[str, object]:
    names = {"status": Status(decision.status).name, "reason": Reason(decision.reason).name}
    return decision._asdict() | names


def _change(change: Change) -> dict[str, object]:
    import json

    from eir.whitelist.jsonl import operation_to_json
    from eir.whitelist.operation import message

    operation = json.loads(operation_to_json(message(change.operation)))
    return change._asdict() | {"operation": operation}
