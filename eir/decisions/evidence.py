"""What a data directory knows of one phone's decisions: records, deltas, policies, overrides.

    decisions ──► the one asked about ──serial──► journal: what made the state
                                      ──hash────► policies: what was said of it
                                      ──time────► audit: overrides

Reads only, also beside a daemon.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from eir.decisions.keep import DAY_SECONDS
from eir.decisions.policies import find_policy
from eir.decisions.read import Found, find
from eir.decisions.record import TIME_MAX, Decision
from eir.errors import PolicyError
from eir.identity import IMEI_DIGITS, SERIALS, imsi_code
from eir.inquiry.history import Bounds, Trace, search
from eir.policy import Policy, compile_policy, row_of
from eir.policy.printing import TableRow
from eir.verdict import Reason, Status
from eir.whitelist.delta import SLOTS_MAX
from eir.whitelist.journal import AuditRecord, Journal
from eir.whitelist.operation import Operation
from eir.whitelist.rows import BlockCause, Op

DECISIONS_MAX: Final = 1000
CHANGES_MAX: Final = 1000
_BLOCK_OF: Final = {
    Reason.BLOCKED_STOLEN: BlockCause.STOLEN,
    Reason.BLOCKED_LOST: BlockCause.LOST,
    Reason.BLOCKED_BARRED: BlockCause.BARRED,
    Reason.CLONED: BlockCause.CLONED,
}
_BLOCKS: Final = frozenset((Op.BLOCK, Op.UNBLOCK))
_PAIRS: Final = frozenset((Op.PAIR, Op.UNPAIR, Op.REPLACE_SIM, Op.DEREGISTER))
_EXEMPT: Final = frozenset((Op.EXEMPT, Op.UNEXEMPT, Op.REPLACE_SIM))
_LINKS: Final = frozenset((Op.LINK, Op.UNLINK))
_REGISTERED: Final = frozenset((Op.REGISTER, Op.DEREGISTER, Op.UNPAIR))
_BEFORE: Final = frozenset((Op.GRANDFATHER, Op.UNGRANDFATHER, Op.REPLACE_SIM))
MAKES: Final = {
    Reason.EXEMPT_PAIR: _EXEMPT,
    Reason.EXEMPT_PAIR_BLOCKED: _EXEMPT | _BLOCKS,
    **dict.fromkeys(_BLOCK_OF, _BLOCKS),
    Reason.BLOCKED_LINKED: _BLOCKS | _LINKS,
    Reason.BLOCKED_RANGE: _BLOCKS,
    Reason.EXEMPT_IMEI: _EXEMPT,
    Reason.EXEMPT_IMSI: _EXEMPT,
    Reason.OWNER: _PAIRS,
    Reason.UTILIZER: _PAIRS,
    Reason.OTHER_SLOT: _PAIRS | _LINKS,
    Reason.GRANDFATHERED_IMEI: _BEFORE,
    Reason.GRANDFATHERED_PAIR: _BEFORE,
    Reason.SHARED: _PAIRS,
    Reason.UNOWNED_SLOT: _PAIRS | _LINKS | _BEFORE,
    Reason.OWNED_BY_OTHER: _PAIRS,
    Reason.NEVER_ACTIVATED: _REGISTERED,
    Reason.NOT_REGISTERED: _REGISTERED,
}
"""Operations that can make a reason true; of those left out no delta is the cause."""


class Change(NamedTuple):
    """One row of a delta, and where it came from."""

    serial: int
    feed: str
    sequence: int
    reference: str
    """Of the row, or else of the delta."""
    committed_at: int
    operation: Operation


@dataclass
class Evidence:
    """What is known; `decision` is the one asked about, `changes` are newest first."""

    found: Found
    decision: Decision | None = None
    changes: list[Change] = field(default_factory=list)
    more_changes: bool = False
    unreadable_serials: list[int] = field(default_factory=list)
    """Deltas of the journal that are damaged."""
    journal_from: tuple[int, int] = (0, 0)
    """Oldest serial of the journal, and its time; 0: it is empty."""
    policy_hash: str = ""
    policy: Policy | None = None
    """None where it is not kept, or this version does not read it."""
    rule: TableRow | None = None
    """What that policy says of the decision's reason for this pair."""
    audit: list[AuditRecord] = field(default_factory=list)
    """What people did about the override, and policies that came into force; up to the time, newest first."""

    def causes(self) -> list[Change]:
        """Return the changes that can have made the decision's reason true, newest first."""
        if self.decision is None:
            return []
        reason, serial = Reason(self.decision.reason), self.decision.serial
        return [c for c in self.changes if c.serial <= serial and _makes(reason, c)]

    def since(self) -> list[Change]:
        """Return the changes that came after the decision, newest first."""
        return [c for c in self.changes if self.decision is not None and c.serial > self.decision.serial]


def _makes(reason: Reason, change: Change) -> bool:
    operation = change.operation
    if operation.op not in MAKES.get(reason, ()):
        return False
    if operation.op in _BLOCKS and reason in _BLOCK_OF:
        return operation.cause == _BLOCK_OF[reason] and not operation.imei_last
    return not (operation.op in _BLOCKS and reason is Reason.BLOCKED_RANGE and not operation.imei_last)


def gather(data_dir: Path, journal: Journal, imei: str, imsi: str, at: int) -> Evidence:
    """Gather what is known of an IMEI (normalised), with an IMSI or any, up to a time.

    Raises JournalDamagedError, OSError.
    """
    found = find(data_dir, imei, imsi, 0, min(at, TIME_MAX), DECISIONS_MAX)
    evidence = Evidence(found, decision=_asked_about(found.decisions, at))
    subject: int | str = int(imei) if len(imei) == IMEI_DIGITS and imei.isdigit() else imei
    with_imsi = imsi or (evidence.decision.imsi if evidence.decision else "")
    code = imsi_code(with_imsi) if with_imsi.isdigit() and len(with_imsi) <= 15 else 0
    _journal(evidence, journal, subject, code, at)
    evidence.audit = [row for row in _audit_back(journal) if row.at <= at]
    _policy(evidence, data_dir, subject, code)
    return evidence


def _asked_about(decisions: list[Decision], at: int) -> Decision | None:
    """Choose the latest denial of the last day, or else the latest decision."""
    denied = (d for d in decisions if d.status == Status.BLACKLISTED and d.time > at - DAY_SECONDS)
    return next(denied, decisions[0] if decisions else None)


def _journal(evidence: Evidence, journal: Journal, subject: int | str, code: int, at: int) -> None:
    """Find what was about the IMEI, the SIM alone, and the other slots of the device."""
    oldest = next(journal.deltas(), None)
    if oldest is None:
        return
    evidence.journal_from = oldest.serial, oldest.committed_at
    newest = journal.last_serial_at(at), 0, 0
    bounds = Bounds(CHANGES_MAX, 1.0, lambda: 0.0)  # rows bound it, no time
    found: dict[Change, None] = {}
    waiting, searched = {subject}, set[int | str]()
    while waiting and len(searched) < SLOTS_MAX:
        imei = waiting.pop()
        searched.add(imei)
        page = search(journal, Trace(imei, {code} - {0}), newest, bounds)
        evidence.more_changes |= page.next_place is not None
        evidence.unreadable_serials += page.unreadable_serials
        for one in page.rows:
            reference = one.reference or one.delta.reference
            delta = one.delta
            found[
                Change(delta.serial, delta.feed, delta.sequence, reference, delta.committed_at, one.row)
            ] = None
            if one.row.op in _LINKS:
                waiting |= {one.row.imei, one.row.imei_other} - searched
    evidence.changes = sorted(found, key=lambda change: -change.serial)
    evidence.unreadable_serials = sorted(set(evidence.unreadable_serials))


def _audit_back(journal: Journal) -> Iterator[AuditRecord]:
    rows: list[AuditRecord] = []
    while more := journal.audit_rows(rows[-1].id if rows else 0):
        rows += more
    return reversed(rows)


def _policy(evidence: Evidence, data_dir: Path, subject: int | str, code: int) -> None:
    """Find the policy of the decision, or else of the time, and what it says."""
    decision = evidence.decision
    in_force = next((row.detail for row in evidence.audit if row.what.startswith("policy in force")), "")
    beginning = decision.policy if decision else in_force
    evidence.policy_hash, text = find_policy(data_dir, beginning)
    if not text:
        evidence.policy_hash = beginning
        return
    try:
        evidence.policy = compile_policy(text, f"policy {evidence.policy_hash[:12]}")
    except PolicyError:
        return
    if decision is not None:
        tac = subject // SERIALS if isinstance(subject, int) else -1
        evidence.rule = row_of(evidence.policy, decision.time, Reason(decision.reason), tac, code)
