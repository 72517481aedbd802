"""The check: which facts reach the policy's tables, deadlines, caching, one table state for a batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plans import NOTHING, after, key

from eir.check import Checker, Verdict
from eir.identity import imei_text, imsi_code
from eir.notify.case import State
from eir.notify.case_table import CaseTable, pack_value
from eir.policy import compile_policy, default_policy_text
from eir.verdict import Reason, Status
from eir.whitelist.operation import Operation
from eir.whitelist.rows import BlockCause, ExemptCause, Op, Role
from eir.whitelist.tables import Generation

NOW = 1_800_000_000
HOME, OTHER, FOREIGN = "432110000000001", "432350000000002", "262010000000003"
A, B = imsi_code(HOME), imsi_code(OTHER)
POLICY = compile_policy(default_policy_text())
METERS = compile_policy(default_policy_text().replace("device_types = []", 'device_types = ["meter"]'))


class Published:
    """A store that stands still."""

    device_types = ("", "phone", "meter")

    def __init__(self, generation: Generation) -> None:
        self.generation = generation


def checker(*rows: Operation, policy=POLICY, now: int = NOW) -> Checker:
    return Checker(Published(after(list(rows))), policy, lambda: now)


def ask(
    on: Checker, serial: int | str = 1, imsi: str = HOME, plmn: str = "", *, emergency: bool = False
) -> Verdict:
    imei = serial if isinstance(serial, str) else imei_text(key(serial))
    return on.check(imei, imsi, plmn, emergency)


def register(serial: int = 1) -> Operation:
    return Operation(Op.REGISTER, key(serial))


def pair(serial: int = 1, imsi: int = A, role: Role = Role.OWNER) -> Operation:
    return Operation(Op.PAIR, key(serial), imsi=imsi, cause=role)


def block(cause: BlockCause, serial: int = 1, last: int = 0) -> Operation:
    return Operation(Op.BLOCK, key(serial), key(last) if last else 0, cause=cause, name="a")


def exempt(serial: int = 0, imsi: int = 0, until: int = NOW + 100) -> Operation:
    return Operation(Op.EXEMPT, key(serial) if serial else 0, imsi=imsi, time=until, cause=ExemptCause.REPAIR)


LINK = Operation(Op.LINK, key(1), imei_other=key(2))
CASES = {
    "nothing": ([], Reason.NOT_REGISTERED),
    "registered": ([register()], Reason.NEVER_ACTIVATED),
    "registered by range": ([Operation(Op.REGISTER, key(0), key(9))], Reason.NEVER_ACTIVATED),
    "owner": ([pair()], Reason.OWNER),
    "utilizer": ([pair(imsi=B), pair(role=Role.UTILIZER)], Reason.UTILIZER),
    "owned by another": ([register(), pair(imsi=B)], Reason.OWNED_BY_OTHER),
    "stolen": ([block(BlockCause.STOLEN), pair()], Reason.BLOCKED_STOLEN),
    "lost": ([block(BlockCause.LOST)], Reason.BLOCKED_LOST),
    "stolen and lost": ([block(BlockCause.LOST), block(BlockCause.STOLEN)], Reason.BLOCKED_STOLEN),
    "barred": ([block(BlockCause.BARRED)], Reason.BLOCKED_BARRED),
    "cloned, owner": ([block(BlockCause.CLONED), pair()], Reason.OWNER),
    "cloned, another": ([block(BlockCause.CLONED), pair(imsi=B)], Reason.CLONED),
    "other slot stolen": ([LINK, block(BlockCause.STOLEN, 2), pair()], Reason.BLOCKED_LINKED),
    "other slot barred": ([LINK, block(BlockCause.BARRED, 2), pair()], Reason.OWNER),
    "other slot paired": ([LINK, register(), pair(2)], Reason.OTHER_SLOT),
    "other slot owned": ([LINK, register(), pair(2, B)], Reason.UNOWNED_SLOT),
    "range blocked": ([block(BlockCause.STOLEN, 1, 5)], Reason.BLOCKED_RANGE),
    "range blocked, registered": ([block(BlockCause.STOLEN, 1, 5), register()], Reason.NEVER_ACTIVATED),
    "exempt phone": ([exempt(1)], Reason.EXEMPT_IMEI),
    "exempt pair": ([exempt(1, A)], Reason.EXEMPT_PAIR),
    "exempt pair, another": ([exempt(1, B)], Reason.NOT_REGISTERED),
    "exempt pair, stolen": ([exempt(1, A), block(BlockCause.STOLEN)], Reason.EXEMPT_PAIR_BLOCKED),
    "exempt phone, stolen": ([exempt(1), block(BlockCause.STOLEN)], Reason.BLOCKED_STOLEN),
    "exempt SIM": ([exempt(imsi=A)], Reason.EXEMPT_IMSI),
    "exemption over": (
        [exempt(1, until=NOW), exempt(1, A, NOW), exempt(imsi=A, until=NOW)],
        Reason.NOT_REGISTERED,
    ),
    "in use before": ([Operation(Op.GRANDFATHER, key(1), time=5)], Reason.GRANDFATHERED_IMEI),
    "in use before with it": ([Operation(Op.GRANDFATHER, key(1), imsi=A, time=5)], Reason.GRANDFATHERED_PAIR),
    "in use before, another": ([Operation(Op.GRANDFATHER, key(1), imsi=B, time=5)], Reason.NOT_REGISTERED),
}


@pytest.mark.parametrize("case", CASES)
def test_facts_lead_to_their_reason(case: str) -> None:
    rows, reason = CASES[case]
    assert Reason(ask(checker(*rows)).reason) == reason


def test_many_pairs_on_a_phone_are_a_clone_class() -> None:
    rows = [pair(imsi=B), *(pair(imsi=B + step, role=Role.UTILIZER) for step in range(1, 11))]
    assert ask(checker(*rows)).reason == Reason.SHARED
    assert ask(checker(*rows[:-1])).reason == Reason.OWNED_BY_OTHER


def test_the_sim_says_what_else_matters() -> None:
    on = checker(register())
    assert ask(on, imsi="").reason == Reason.NO_IMSI
    assert ask(on, imsi="4321").reason == Reason.IMSI_SHORT
    assert ask(on, imsi="432x").reason == Reason.IMSI_MALFORMED
    assert ask(on, imsi=FOREIGN).reason == Reason.INBOUND_ROAMER
    assert ask(on, plmn="26201").reason == Reason.SERVED_ABROAD


def test_a_device_type_can_be_exempt() -> None:
    meter = Operation(Op.TAC, key(0) // 10**6, name="meter")
    assert ask(checker(meter, policy=METERS)).reason == Reason.EXEMPT_DEVICE_TYPE
    assert ask(checker(meter)).reason == Reason.NOT_REGISTERED
    assert ask(checker(meter._replace(name="phone"), policy=METERS)).reason == Reason.NOT_REGISTERED


def test_raw_entries_are_found_in_every_spelling_and_others_are_malformed() -> None:
    on = checker(Operation(Op.BLOCK, "12*#AB", cause=BlockCause.STOLEN, name="a"))
    for text in ("12*#AB", "12*#ab", " 12*#aB "):
        assert ask(on, text).reason == Reason.BLOCKED_STOLEN
    assert ask(on, "12*#AC").reason == Reason.MALFORMED_NON_DIGIT
    assert ask(on, "").reason == Reason.MALFORMED_EMPTY


def test_emergency_and_override_pass_whatever_the_facts() -> None:
    on = checker(block(BlockCause.STOLEN), Operation(Op.TRACK, key(1)))
    verdict = ask(on, emergency=True)
    assert (verdict.status, verdict.reason, verdict.cache_seconds) == (
        Status.WHITELISTED,
        Reason.EMERGENCY,
        0,
    )
    assert ask(on).status == Status.BLACKLISTED
    on.override = True
    verdict = ask(on)
    assert (verdict.status, verdict.reason, verdict.cache_seconds) == (Status.WHITELISTED, Reason.OVERRIDE, 0)


def test_a_tracked_phone_is_greylisted_and_not_cached() -> None:
    verdict = ask(checker(pair(), Operation(Op.TRACK, key(1))))
    assert (verdict.status, verdict.reason, verdict.cache_seconds) == (Status.GREYLISTED, Reason.OWNER, 0)


@pytest.mark.parametrize(
    ("row", "deadline", "cache"),
    [
        (exempt(1), NOW + 100, 99),
        (exempt(1, A, NOW + 7), NOW + 7, 6),
        (exempt(1, A, NOW + 1), NOW + 1, 0),
        (exempt(imsi=A), NOW + 100, 99),
        (exempt(imsi=A, until=0), 0, 300),
        (exempt(1, until=NOW + 9_999), NOW + 9_999, 300),
        (pair(), 0, 300),
    ],
)
def test_an_answer_is_kept_no_longer_than_its_exemption(row: Operation, deadline: int, cache: int) -> None:
    verdict = ask(checker(row))
    assert (verdict.status, verdict.deadline, verdict.cache_seconds) == (Status.WHITELISTED, deadline, cache)


def test_staleness_is_told_and_never_takes_an_allow_away() -> None:
    on = checker(pair())
    on.stale = True
    verdict = ask(on)
    assert (verdict.status, verdict.stale) == (Status.WHITELISTED, True)


MODES = compile_policy(
    default_policy_text()
    .replace('[cause.not_registered]\nmode = "enforce"', '[cause.not_registered]\nmode = "notify"')
    .replace('[cause.unowned_slot]\nmode = "enforce"', '[cause.unowned_slot]\nmode = "observe"')
)
END = NOW + 86_400


def with_case(*rows: Operation, state: State = State.OPEN, cause: Reason = Reason.NEVER_ACTIVATED) -> Checker:
    on = checker(*rows, policy=MODES)
    on.cases = CaseTable()
    on.cases.set(key(1), A, pack_value(state, cause, END), 0)
    return on


@pytest.mark.parametrize("state", [state for state in State if state != State.CUT_OFF])
def test_a_case_gives_its_deadline_and_cuts_nobody_off_by_the_clock(state: State) -> None:
    verdict = ask(with_case(register(), state=state))
    assert verdict == (Status.GREYLISTED, Reason.NEVER_ACTIVATED, END, verdict.serial, False, 0, (key(1), A))


def test_a_case_that_is_cut_off_is_denied() -> None:
    on = with_case(register(), state=State.CUT_OFF)
    assert ask(on)[:3] == (Status.BLACKLISTED, Reason.NEVER_ACTIVATED, END)
    assert ask(on, emergency=True)[:2] == (Status.WHITELISTED, Reason.EMERGENCY)
    on.stale = True
    assert ask(on).status == Status.GREYLISTED, "not while the tables are stale"


def test_where_it_is_not_enforced_a_case_that_was_cut_off_is_not_denied() -> None:
    on = with_case(state=State.CUT_OFF, cause=Reason.NOT_REGISTERED)
    assert ask(on)[:3] == (Status.GREYLISTED, Reason.NOT_REGISTERED, END)


def test_a_case_of_another_cause_is_none() -> None:
    on = with_case(register(), state=State.CUT_OFF, cause=Reason.NOT_REGISTERED)
    assert ask(on)[:3] == (Status.GREYLISTED, Reason.NEVER_ACTIVATED, 0)


def test_a_pair_in_order_has_no_case_whatever_the_table_says() -> None:
    verdict = ask(with_case(pair(), state=State.CUT_OFF))
    assert (verdict.status, verdict.deadline, verdict.unpaired) == (Status.WHITELISTED, 0, None)


JUDGED_ABROAD = compile_policy(
    default_policy_text()
    .replace('roamers = "allow"', 'roamers = "judge"')
    .replace('served_abroad = "allow"', 'served_abroad = "judge"')
)


def test_what_has_a_case_is_a_home_subscriber_unpaired() -> None:
    """The rows of another SIM, of what is observed, and of a SIM that may be moved have none."""
    for rows, imsi, policy, unpaired in (
        ([register()], HOME, MODES, (key(1), A)),
        ([], OTHER, POLICY, (key(1), B)),
        ([], FOREIGN, JUDGED_ABROAD, None),
        ([], "", POLICY, None),
        ([LINK, register(), pair(2, B)], HOME, MODES, None),
        ([LINK, register(), pair(2, B)], HOME, POLICY, (key(1), A)),
        ([register(), pair(imsi=B)], HOME, POLICY, None),
    ):
        assert ask(checker(*rows, policy=policy), imsi=imsi).unpaired == unpaired
    assert ask(checker(policy=JUDGED_ABROAD), plmn="26201").unpaired == (key(1), A)


def test_a_batch_is_of_one_table_state() -> None:
    on = checker(pair())
    first, second = after([pair()]), NOTHING.with_levels(9, ())

    class Changing(Published):
        """A store that publishes between any two reads."""

        @property
        def generation(self) -> Generation:
            self.reads = getattr(self, "reads", 0) + 1
            return replace(first, serial=4) if self.reads == 1 else second

        @generation.setter
        def generation(self, value: Generation) -> None:
            pass

    on._store = Changing(first)
    imeis = [imei_text(key(1))] * 3
    verdicts = on.check_batch(imeis, [HOME, OTHER, ""], "")
    assert {verdict.serial for verdict in verdicts} == {4}
    assert [verdict.reason for verdict in verdicts] == [Reason.OWNER, verdicts[1].reason, Reason.NO_IMSI]
    assert ask(on).serial == 9
    assert len(on.check_batch(imeis, [], "")) == 3
    with pytest.raises(ValueError, match="zip"):
        on.check_batch(imeis, [HOME], "")
