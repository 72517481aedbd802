"""The order of the rules: each row fires, and yields to the rows before it."""

import re
from pathlib import Path

import pytest

from eir import verdict
from eir.policy import Policy, compile_policy
from eir.policy.rules import GATE_ROWS, ORDER
from eir.verdict import (
    GATE_FIELDS,
    STANDING_FIELDS,
    Grandfathered,
    ImsiKind,
    OwnBlock,
    Reason,
    Relation,
    Standing,
    Status,
    gate_index,
    judge,
    outcome,
    size,
    standing_index,
    weights,
)

PROTO = Path(__file__).parents[2] / "eir" / "proto" / "check.proto"
BASE = 'name = "rows"\nhome_plmns = ["43211"]\n'
ENFORCE = BASE + "".join(
    f'[cause.{name}]\nmode = "enforce"\n' for name in ("unowned_slot", "never_activated", "not_registered")
)
HOME = ImsiKind.HOME
WHITE, GREY, BLACK = Status.WHITELISTED, Status.GREYLISTED, Status.BLACKLISTED


def _policy(text: str = ENFORCE) -> Policy:
    """Compile a policy."""
    return compile_policy(text)


def _check(text: str = ENFORCE, past_deadline: bool = False, **facts: int) -> tuple[Reason, Status]:
    """Judge facts, the SIM being a home subscriber's unless they say otherwise."""
    tables = _policy(text).at(0)
    reason = judge(tables, **{"imsi_kind": HOME, **facts})
    return reason, outcome(tables, reason, past_deadline=past_deadline)


def test_row_01_emergency() -> None:
    """An emergency call passes whatever is against it; without it the theft decides."""
    against = {"own_block": OwnBlock.STOLEN, "linked_block": 1, "range_block": 1}
    assert _check(emergency=1, **against) == (Reason.EMERGENCY, WHITE)
    assert _check(emergency=1, override=1) == (Reason.EMERGENCY, WHITE)
    assert _check(emergency=0, **against) == (Reason.BLOCKED_STOLEN, BLACK)


def test_row_02_override() -> None:
    """The kill switch lets all pass, also what is blocked."""
    assert _check(override=1, own_block=OwnBlock.BARRED) == (Reason.OVERRIDE, WHITE)
    assert _check(override=0, own_block=OwnBlock.BARRED) == (Reason.BLOCKED_BARRED, BLACK)


@pytest.mark.parametrize(
    "block",
    [
        {"own_block": OwnBlock.STOLEN},
        {"own_block": OwnBlock.LOST},
        {"own_block": OwnBlock.BARRED},
        {"linked_block": 1},
        {"range_block": 1},
    ],
)
def test_row_03_exempt_pair_overrides_a_block(block: dict[str, int]) -> None:
    """A pair's exemption is above all blocks, and says so; that of one half is not."""
    assert _check(pair_exempt=1, **block) == (Reason.EXEMPT_PAIR_BLOCKED, WHITE)
    assert _check(imsi_exempt=1, **block)[1] is BLACK


def test_row_03_exempt_pair() -> None:
    """Where nothing is overridden it is not counted as such."""
    assert _check(pair_exempt=1) == (Reason.EXEMPT_PAIR, WHITE)
    spared = {"range_block": 1, "individually_registered": 1}
    assert _check(pair_exempt=1, **spared) == (Reason.EXEMPT_PAIR, WHITE)
    assert _check(pair_exempt=0) == (Reason.NOT_REGISTERED, GREY)


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (OwnBlock.STOLEN, Reason.BLOCKED_STOLEN),
        (OwnBlock.LOST, Reason.BLOCKED_LOST),
        (OwnBlock.BARRED, Reason.BLOCKED_BARRED),
    ],
)
def test_row_04_blocked(block: OwnBlock, reason: Reason) -> None:
    """A block is above owner, exemption of the IMEI and roaming."""
    allowed = {"relation": Relation.OWNER, "owned": 1, "imei_exempt": 1}
    assert _check(own_block=block, **allowed) == (reason, BLACK)
    assert _check(own_block=block, imsi_kind=ImsiKind.FOREIGN) == (reason, BLACK)
    assert _check(own_block=block, imsi_kind=ImsiKind.NONE) == (reason, BLACK)
    assert _check(own_block=OwnBlock.NONE, relation=Relation.OWNER, owned=1) == (Reason.OWNER, WHITE)


def test_row_04_blocked_through_another_slot() -> None:
    """The device is stolen, not the slot."""
    assert _check(linked_block=1, relation=Relation.OWNER, owned=1) == (Reason.BLOCKED_LINKED, BLACK)
    assert _check(linked_block=0, relation=Relation.OWNER, owned=1) == (Reason.OWNER, WHITE)


def test_row_05_inbound_roamer() -> None:
    """A foreign SIM passes, before ranges; a policy may judge it like any other."""
    assert _check(imsi_kind=ImsiKind.FOREIGN, range_block=1) == (Reason.INBOUND_ROAMER, WHITE)
    assert _check(imsi_kind=HOME, range_block=1) == (Reason.BLOCKED_RANGE, BLACK)
    judged = BASE + 'roamers = "judge"\n'
    assert _check(judged, imsi_kind=ImsiKind.FOREIGN) == (Reason.NOT_REGISTERED, GREY)
    assert _check(judged, imsi_kind=ImsiKind.ABROAD) == (Reason.SERVED_ABROAD, WHITE)


def test_row_05_served_abroad() -> None:
    """A home subscriber in a foreign network passes; a policy may judge."""
    assert _check(imsi_kind=ImsiKind.ABROAD) == (Reason.SERVED_ABROAD, WHITE)
    judged = BASE + 'served_abroad = "judge"\n'
    assert _check(judged, imsi_kind=ImsiKind.ABROAD) == (Reason.NOT_REGISTERED, GREY)
    assert _check(judged, imsi_kind=ImsiKind.FOREIGN) == (Reason.INBOUND_ROAMER, WHITE)


def test_row_06_blocked_range() -> None:
    """A range yields to an IMEI that is registered individually, not to a registered range."""
    assert _check(range_block=1, relation=Relation.OWNER) == (Reason.BLOCKED_RANGE, BLACK)
    assert _check(range_block=1, range_registered=1) == (Reason.BLOCKED_RANGE, BLACK)
    one = {"range_block": 1, "individually_registered": 1}
    assert _check(**one, relation=Relation.OWNER, owned=1) == (Reason.OWNER, WHITE)


@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        ("imei_exempt", Reason.EXEMPT_IMEI),
        ("imsi_exempt", Reason.EXEMPT_IMSI),
        ("imsi_range_exempt", Reason.EXEMPT_IMSI_RANGE),
        ("device_type_exempt", Reason.EXEMPT_DEVICE_TYPE),
    ],
)
def test_row_07_exempt(fact: str, reason: Reason) -> None:
    """Each exemption passes before anything is asked of pairs, and after every block."""
    assert _check(**{fact: 1}, standing=Standing.CLONED) == (reason, WHITE)
    assert _check(**{fact: 1}, range_block=1) == (Reason.BLOCKED_RANGE, BLACK)
    assert _check(**{fact: 0}) == (Reason.NOT_REGISTERED, GREY)


def test_row_08_owner_and_utilizer() -> None:
    """A declared SIM passes, also on a cloned IMEI and when it is short; another does not."""
    assert _check(relation=Relation.OWNER, standing=Standing.CLONED) == (Reason.OWNER, WHITE)
    assert _check(relation=Relation.UTILIZER, standing=Standing.SHARED) == (Reason.UTILIZER, WHITE)
    assert _check(relation=Relation.OWNER, imsi_kind=ImsiKind.SHORT) == (Reason.OWNER, WHITE)
    assert _check(owned=1, individually_registered=1) == (Reason.OWNED_BY_OTHER, GREY)


@pytest.mark.parametrize(
    ("slot_rule", "paired", "covered"),
    [
        ("each", Reason.UNOWNED_SLOT, Reason.UNOWNED_SLOT),
        ("other", Reason.OTHER_SLOT, Reason.UNOWNED_SLOT),
        ("any", Reason.OTHER_SLOT, Reason.OTHER_SLOT),
    ],
)
def test_row_08_other_slot(slot_rule: str, paired: Reason, covered: Reason) -> None:
    """The owner's SIM in the second slot, and a stranger's there, under each slot rule."""
    text = f'{BASE}slot_rule = "{slot_rule}"\n'
    assert _check(text, other_slot_paired=1, other_slot_owned=1)[0] is paired
    assert _check(text, other_slot_owned=1)[0] is covered
    assert _check(text, other_slot_owned=1, owned=1, range_registered=1)[0] is Reason.OWNED_BY_OTHER
    assert _check(text, other_slot_owned=1, standing=Standing.CLONED)[0] is Reason.CLONED


def test_row_09_grandfathered() -> None:
    """In use before the scheme, by IMEI or exact pair; a policy may count one kind only."""
    assert _check(grandfathered=Grandfathered.IMEI) == (Reason.GRANDFATHERED_IMEI, WHITE)
    assert _check(grandfathered=Grandfathered.PAIR) == (Reason.GRANDFATHERED_PAIR, WHITE)
    assert _check(grandfathered=Grandfathered.NONE) == (Reason.NOT_REGISTERED, GREY)
    pair_only = BASE + "[grandfather]\nimei = false\n"
    assert _check(pair_only, grandfathered=Grandfathered.IMEI) == (Reason.NOT_REGISTERED, GREY)
    assert _check(pair_only, grandfathered=Grandfathered.PAIR) == (Reason.GRANDFATHERED_PAIR, WHITE)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (ImsiKind.NONE, Reason.NO_IMSI),
        (ImsiKind.MALFORMED, Reason.IMSI_MALFORMED),
        (ImsiKind.SHORT, Reason.IMSI_SHORT),
    ],
)
def test_row_10_no_imsi(kind: ImsiKind, reason: Reason) -> None:
    """Without a usable IMSI nothing later denies; with one the cause does."""
    assert _check(imsi_kind=kind, past_deadline=True) == (reason, GREY)
    assert _check(imsi_kind=kind, standing=Standing.SPECIAL_ZERO) == (reason, GREY)
    assert _check(imsi_kind=HOME, past_deadline=True) == (Reason.NOT_REGISTERED, BLACK)


def test_row_10_no_imsi_may_be_white() -> None:
    """As the policy says."""
    white = BASE + 'no_imsi = "whitelisted"\n'
    assert _check(white, imsi_kind=ImsiKind.NONE, individually_registered=1) == (Reason.NO_IMSI, WHITE)
    assert _check(white, imsi_kind=ImsiKind.MALFORMED) == (Reason.IMSI_MALFORMED, GREY)


@pytest.mark.parametrize("standing", [kind for kind in Standing if kind])
def test_row_11_malformed_special_shared_cloned(standing: Standing) -> None:
    """No identity to judge by: grey, also past a deadline; a key goes on."""
    assert _check(standing=standing, past_deadline=True) == (Reason[standing.name], GREY)
    assert _check(standing=standing, other_slot_owned=1) == (Reason[standing.name], GREY)
    assert _check(standing=Standing.KEY)[0] is Reason.NOT_REGISTERED


def test_row_12_unowned_slot() -> None:
    """The second slot of an owned device, registered or not; an owned one is row 13's."""
    assert _check(other_slot_owned=1) == (Reason.UNOWNED_SLOT, GREY)
    assert _check(other_slot_owned=1, individually_registered=1)[0] is Reason.UNOWNED_SLOT
    assert _check(other_slot_owned=1, past_deadline=True) == (Reason.UNOWNED_SLOT, BLACK)
    assert _check(other_slot_owned=1, owned=1, range_registered=1)[0] is Reason.OWNED_BY_OTHER
    assert _check(other_slot_owned=0, individually_registered=1)[0] is Reason.NEVER_ACTIVATED


def test_row_13_owned_by_other() -> None:
    """Sold without transfer: allowed and tracked for good, unless the policy makes it a case."""
    sold = {"owned": 1, "individually_registered": 1}
    assert _check(**sold, past_deadline=True) == (Reason.OWNED_BY_OTHER, GREY)
    case = BASE + 'moved_sim = "case"\n[cause.owned_by_other]\nmode = "enforce"\n'
    assert _check(case, **sold) == (Reason.OWNED_BY_OTHER, GREY)
    assert _check(case, **sold, past_deadline=True) == (Reason.OWNED_BY_OTHER, BLACK)
    assert _check(owned=1)[0] is Reason.NOT_REGISTERED
    assert _check(owned=0, individually_registered=1)[0] is Reason.NEVER_ACTIVATED


def test_row_14_never_activated() -> None:
    """Registered, by itself or by range, and nobody's."""
    assert _check(individually_registered=1) == (Reason.NEVER_ACTIVATED, GREY)
    assert _check(range_registered=1) == (Reason.NEVER_ACTIVATED, GREY)
    assert _check(range_registered=1, past_deadline=True) == (Reason.NEVER_ACTIVATED, BLACK)
    assert _check(range_registered=0)[0] is Reason.NOT_REGISTERED


def test_row_15_not_registered() -> None:
    """Nobody registered it; registering it changes the cause."""
    assert _check() == (Reason.NOT_REGISTERED, GREY)
    assert _check(past_deadline=True) == (Reason.NOT_REGISTERED, BLACK)
    assert _check(individually_registered=1)[0] is Reason.NEVER_ACTIVATED


@pytest.mark.parametrize("default", ["whitelisted", "greylisted", "blacklisted", "unknown"])
def test_row_16_undecided(default: str) -> None:
    """A cause that is off leaves its phones to the default; one that is on does not."""
    text = f'{BASE}default = "{default}"\n[cause.not_registered]\nmode = "off"\n'
    assert _check(text) == (Reason.UNDECIDED, Status[default.upper()])
    assert _check(text, individually_registered=1) == (Reason.NEVER_ACTIVATED, GREY)


def test_a_cause_that_is_off_leaves_its_phones_to_later_rows() -> None:
    """Row 12 off: the unowned slot is judged as any phone."""
    text = BASE + '[cause.unowned_slot]\nmode = "off"\n'
    assert _check(text, other_slot_owned=1, individually_registered=1)[0] is Reason.NEVER_ACTIVATED


def test_tracked_turns_white_into_grey() -> None:
    """Except for emergency calls and the override."""
    tables = _policy().at(0)
    assert outcome(tables, Reason.OWNER, tracked=True) is GREY
    assert outcome(tables, Reason.BLOCKED_LOST, tracked=True) is BLACK
    assert outcome(tables, Reason.EMERGENCY, tracked=True) is WHITE
    assert outcome(tables, Reason.OVERRIDE, tracked=True) is WHITE


def test_stale_tables_cut_nobody_off() -> None:
    """Blocks stay; what a late delta might change does not fall, unless the policy keeps it."""
    tables = _policy().at(0)
    assert outcome(tables, Reason.NOT_REGISTERED, stale=True, past_deadline=True) is GREY
    assert outcome(tables, Reason.UNDECIDED, stale=True) is GREY
    assert outcome(tables, Reason.BLOCKED_STOLEN, stale=True) is BLACK
    keep = _policy(ENFORCE + '[stale]\ncut_off = "keep"\nundecided = "keep"\n').at(0)
    assert outcome(keep, Reason.NOT_REGISTERED, stale=True, past_deadline=True) is BLACK
    assert outcome(keep, Reason.UNDECIDED, stale=True) is Status.UNKNOWN


def test_index_is_mixed_radix_with_the_first_field_least() -> None:
    """As engines compute it."""
    assert gate_index(emergency=1) == 1
    assert gate_index(own_block=OwnBlock.BARRED) == 3 * weights(GATE_FIELDS)["own_block"] == 24
    assert gate_index(**{name: radix - 1 for name, radix in GATE_FIELDS}) == size(GATE_FIELDS) - 1
    assert standing_index(**{name: radix - 1 for name, radix in STANDING_FIELDS}) == size(STANDING_FIELDS) - 1


@pytest.mark.parametrize(
    ("facts", "message"),
    [({"colour": 1}, "no fact 'colour'"), ({"emergency": 2}, "0 to 1"), ({"imsi_kind": -1}, "0 to 5")],
)
def test_facts_that_no_table_has_are_refused(facts: dict[str, int], message: str) -> None:
    """By the indexes, and by judge."""
    with pytest.raises(ValueError, match=message):
        gate_index(**facts)
    with pytest.raises(ValueError, match=next(iter(facts))):
        judge(_policy().at(0), **facts)
    with pytest.raises(ValueError, match="no fact"):
        standing_index(emergency=1)


@pytest.mark.parametrize(("enum", "prefix"), [(Reason, "VERDICT_REASON_"), (Status, "EQUIPMENT_STATUS_")])
def test_numbers_are_those_of_the_proto(enum: type[Reason] | type[Status], prefix: str) -> None:
    """So that an engine's byte is the wire's number."""
    there = dict(re.findall(rf"^  {prefix}(\w+) = (\d+);", PROTO.read_text(), re.MULTILINE))
    del there["UNSPECIFIED"]
    assert {name: int(number) for name, number in there.items()} == {e.name: e.value for e in enum}


def test_rows_in_the_proto_are_those_of_the_order() -> None:
    """The comment of each reason names its row."""
    rows = re.findall(r"// VERDICT_REASON_(\w+): row (\d+),", PROTO.read_text())
    assert {name: int(row) for name, row in rows} == {rule.reason.name: rule.row for rule in ORDER}


def test_every_reason_has_a_rule_and_rows_ascend() -> None:
    """The order is whole."""
    assert {rule.reason for rule in ORDER} == set(Reason)
    rows = [rule.row for rule in ORDER]
    assert rows == sorted(rows)
    assert set(rows) == set(range(1, 17))


def test_rules_ask_only_facts_of_their_table() -> None:
    """Gate rules must not read what only standing has."""
    gate, standing = dict(GATE_FIELDS), dict(STANDING_FIELDS)
    for rule in ORDER:
        fields = gate if rule.row in GATE_ROWS else standing
        for pattern in rule.when:
            assert all(0 <= value < fields[name] for name, values in pattern.items() for value in values)


def test_shared_facts_have_one_radix() -> None:
    """The same fact in both tables is the same digit."""
    both = set(dict(GATE_FIELDS)) & set(dict(STANDING_FIELDS))
    assert both == {"imsi_kind", "individually_registered"}
    assert all(dict(GATE_FIELDS)[name] == dict(STANDING_FIELDS)[name] for name in both)
    assert verdict.FACTS.keys() == dict(GATE_FIELDS).keys() | dict(STANDING_FIELDS).keys()
