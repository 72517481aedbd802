"""What is gathered of one phone's decisions."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eir.decisions.evidence import MAKES, Evidence, gather
from eir.decisions.log import Files
from eir.decisions.policies import keep_policy
from eir.decisions.record import Decision, encode
from eir.identity import imsi_code
from eir.policy import compile_policy, default_policy_text
from eir.verdict import Reason, Status
from eir.whitelist.blob import rows_to_blob
from eir.whitelist.delta import Header
from eir.whitelist.journal import Journal
from eir.whitelist.operation import Operation, rows_of
from eir.whitelist.rows import BlockCause, Op, Role

KEY = 35693803564380
IMEI, IMSI = str(KEY), "432110000000001"
SIM = imsi_code(IMSI)
POLICY = compile_policy(default_policy_text())
DAY = 86_400

Commit = Callable[..., None]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.open(tmp_path / "registry.db")
    yield journal
    journal.close()


@pytest.fixture
def commit(journal: Journal) -> Commit:
    def made(serial: int, *operations: Operation) -> None:
        token = journal.new_token()
        journal.append_chunk(token, 0, rows_to_blob(rows_of(operations)))
        header = Header("hamta", serial, serial - 1, len(operations))
        journal.commit_delta(header, token, serial, content_sha256=b"", committed_at=serial * DAY)

    return made


def decided(data_dir: Path, *decisions: tuple[int, Reason, Status], imsi: str = IMSI) -> None:
    """Write decisions, each a tenth of a day after the delta of its serial."""
    files = Files(data_dir / "decisions", 1 << 30, 3650)
    for serial, reason, status in decisions:
        time = serial * DAY + DAY // 10
        files.append(
            encode(Decision(time, IMEI, imsi, "", status, reason, serial, POLICY.hash[:16], "msc")), time
        )
    files.close()


def ops(found: list) -> list[tuple[int, Op]]:
    return [(change.serial, change.operation.op) for change in found]


def test_the_delta_before_a_denial_is_its_cause_and_the_one_after_is_not(
    tmp_path: Path, journal: Journal, commit: Commit
) -> None:
    commit(1, Operation(Op.REGISTER, KEY), Operation(Op.PAIR, KEY, imsi=SIM, cause=Role.OWNER))
    commit(2, Operation(Op.BLOCK, KEY, cause=BlockCause.LOST, name="police"))
    commit(3, Operation(Op.BLOCK, KEY, cause=BlockCause.STOLEN, name="police"))
    commit(4, Operation(Op.UNBLOCK, KEY, cause=BlockCause.STOLEN, name="police"))
    decided(tmp_path, (3, Reason.BLOCKED_STOLEN, Status.BLACKLISTED))
    keep_policy(tmp_path, POLICY, 9)
    evidence = gather(tmp_path, journal, IMEI, "", 9 * DAY)
    assert ops(evidence.causes()) == [(3, Op.BLOCK)]
    assert ops(evidence.since()) == [(4, Op.UNBLOCK)]
    assert len(evidence.changes) == 5
    assert evidence.journal_from == (1, DAY)
    assert evidence.policy is not None
    assert evidence.rule is not None
    assert (evidence.rule.row, evidence.rule.mode, evidence.rule.outcome) == (4, "fixed", "denied")
    before = gather(tmp_path, journal, IMEI, "", 2 * DAY)
    assert before.decision is None
    assert ops(before.changes) == [(2, Op.BLOCK), (1, Op.REGISTER), (1, Op.PAIR)]


def test_a_denial_of_the_last_day_goes_before_what_came_after_it(
    tmp_path: Path, journal: Journal, commit: Commit
) -> None:
    commit(1, Operation(Op.REGISTER, KEY))
    decided(
        tmp_path,
        (1, Reason.BLOCKED_STOLEN, Status.BLACKLISTED),
        (2, Reason.NEVER_ACTIVATED, Status.GREYLISTED),
    )
    of = lambda at: gather(tmp_path, journal, IMEI, "", at).decision  # noqa: E731
    assert of(2 * DAY).reason == Reason.BLOCKED_STOLEN
    assert of(2 * DAY + DAY // 8).reason == Reason.NEVER_ACTIVATED, "the denial is more than a day old"
    assert of(DAY) is None


def test_the_other_slots_of_the_device_are_looked_at(
    tmp_path: Path, journal: Journal, commit: Commit
) -> None:
    commit(1, Operation(Op.LINK, KEY, imei_other=KEY + 7), Operation(Op.LINK, KEY + 7, imei_other=KEY + 9))
    commit(2, Operation(Op.BLOCK, KEY + 9, cause=BlockCause.STOLEN, name="police"))
    commit(3, Operation(Op.BLOCK, KEY + 100, cause=BlockCause.STOLEN, name="police"))
    decided(tmp_path, (3, Reason.BLOCKED_LINKED, Status.BLACKLISTED))
    evidence = gather(tmp_path, journal, IMEI, "", 9 * DAY)
    assert ops(evidence.causes()) == [(2, Op.BLOCK), (1, Op.LINK), (1, Op.LINK)]


def test_only_blocks_of_ranges_make_a_blocked_range(tmp_path: Path, journal: Journal, commit: Commit) -> None:
    commit(1, Operation(Op.BLOCK, KEY - 1, imei_last=KEY + 1, cause=BlockCause.BARRED, name="a"))
    commit(2, Operation(Op.BLOCK, KEY, cause=BlockCause.CLONED, name="a"))
    decided(tmp_path, (2, Reason.BLOCKED_RANGE, Status.BLACKLISTED))
    assert ops(gather(tmp_path, journal, IMEI, "", 9 * DAY).causes()) == [(1, Op.BLOCK)]


def test_the_sim_of_the_decision_is_followed(tmp_path: Path, journal: Journal, commit: Commit) -> None:
    commit(1, Operation(Op.EXEMPT, imsi=SIM, cause=1), Operation(Op.EXEMPT, imsi=imsi_code("9"), cause=1))
    decided(tmp_path, (1, Reason.EXEMPT_IMSI, Status.WHITELISTED))
    (cause,) = gather(tmp_path, journal, IMEI, "", 9 * DAY).causes()
    assert cause.operation.imsi == SIM
    assert gather(tmp_path, journal, IMEI, "432110000000009", 9 * DAY).decision is None


def test_a_malformed_identity_and_an_empty_journal_are_no_trouble(tmp_path: Path, journal: Journal) -> None:
    decided(tmp_path, (1, Reason.IMSI_MALFORMED, Status.GREYLISTED), imsi="no digits at all")
    evidence = gather(tmp_path, journal, IMEI, "", 9 * DAY)
    assert evidence.decision is not None
    assert evidence.journal_from == (0, 0)
    assert gather(tmp_path, journal, "BE*F", "x" * 40, 9 * DAY).decision is None


def test_without_a_decision_the_policy_of_the_time_is_that_of_the_audit(
    tmp_path: Path, journal: Journal
) -> None:
    keep_policy(tmp_path, POLICY, 9)
    journal.audit_add(DAY, "daemon", "policy in force: default", "start", POLICY.hash)
    journal.audit_add(5 * DAY, "daemon", "policy in force: other", "reload", "ff" * 32)
    evidence = gather(tmp_path, journal, IMEI, "", 2 * DAY)
    assert (evidence.policy_hash, evidence.policy) == (POLICY.hash, POLICY)
    evidence = gather(tmp_path, journal, IMEI, "", 6 * DAY)
    assert (evidence.policy_hash, evidence.policy) == ("ff" * 32, None)


def test_a_policy_that_this_version_does_not_read_is_no_trouble(tmp_path: Path, journal: Journal) -> None:
    keep_policy(tmp_path, POLICY, 9)
    (path,) = (tmp_path / "policies").iterdir()
    path.write_text("name = 'x'\nof_another_version = 1\n")
    decided(tmp_path, (1, Reason.NOT_REGISTERED, Status.GREYLISTED))
    evidence = gather(tmp_path, journal, IMEI, "", 9 * DAY)
    assert (evidence.policy_hash, evidence.policy, evidence.rule) == (POLICY.hash, None, None)


def test_nothing_known_is_nothing() -> None:
    assert MAKES.keys() <= set(Reason)
    evidence = Evidence(found=None)  # type: ignore[arg-type]
    assert (evidence.causes(), evidence.since()) == ([], [])


def test_a_damaged_delta_is_named_and_the_others_are_told(
    tmp_path: Path, journal: Journal, commit: Commit
) -> None:
    commit(1, Operation(Op.REGISTER, KEY))
    commit(2, Operation(Op.TRACK, KEY))
    commit(3, Operation(Op.UNTRACK, KEY))
    with journal.transaction():
        journal._db.execute(
            "UPDATE chunks SET rows = x'00' WHERE token = (SELECT max(token) - 1 FROM deltas)"
        )
    evidence = gather(tmp_path, journal, IMEI, "", 9 * DAY)
    assert ops(evidence.changes) == [(3, Op.UNTRACK), (1, Op.REGISTER)]
    assert evidence.unreadable_serials == [2]
