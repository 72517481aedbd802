"""The policy: what it compiles to, and how it prints."""

import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from eir.errors import InvalidRequestError
from eir.identity import imsi_code, parse_imei
from eir.policy import (
    Policy,
    PolicyTables,
    compile_policy,
    default_policy_text,
    explain,
    explain_facts,
    table,
)
from eir.policy.printing import FACT_NAMES
from eir.policy.rules import CAUSES, MODED, ORDER
from eir.verdict import Far, ImsiKind, Reason, Status, gate_index, judge, outcome, standing_index

EXAMPLES = sorted((Path(__file__).parents[2] / "docs" / "examples" / "policies").glob("*.toml"))
BASE = 'name = "test"\nhome_plmns = ["43211", "43235"]\n'
MCI, IRANCELL, FOREIGN = (imsi_code(f"{plmn}0123456789") for plmn in ("43211", "43235", "26201"))
CHECK = re.compile(r"# check(?: at ([0-9-]+))?: (.*) => (\w+) (\w+)$", re.MULTILINE)


def _second(year: int, month: int, day: int) -> int:
    """Midnight in Tehran, where the clock stands at +03:30 since 2022."""
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) - 12_600


def _at(text: str, now: int = 0) -> PolicyTables:
    """Compile what comes behind BASE."""
    return compile_policy(BASE + text).at(now)


# What it compiles to.


def test_tac_classes_are_the_sets() -> None:
    """TACs, beginnings and ranges; neighbours are in no set."""
    tables = _at(
        '[tac_set.a]\ntacs = ["35365308", "36", "3536531-3536532", "366"]\n[tac_set.b]\ntacs = ["35365309"]\n'
    )
    inside = [35365308, 36000000, 36999999, 35365310, 35365329]
    assert {tables.tac_class(tac) for tac in inside} == {1}
    assert tables.tac_class(35365309) == 2
    assert {tables.tac_class(tac) for tac in (-1, 0, 35365307, 35365330, 35999999, 37000000)} == {0}


def test_imsi_classes_hold_every_length() -> None:
    """A beginning names the IMSIs of its own length and longer ones, leading zeros apart."""
    tables = _at('[operator.mci]\nimsi = ["43211"]\n[imsi_range.m2m]\nimsi = ["4321199-4321199"]\n')
    names = {
        text: tables.cohort_names[tables.cohort(-1, imsi_code(text))][:2]
        for text in ("43211", "432110", "432119912345678", "43212", "4321", "0432110", "432119")
    }
    assert names == {
        "43211": ("mci", ""),
        "432110": ("mci", ""),
        "432119912345678": ("mci", "m2m"),
        "43212": ("", ""),
        "4321": ("", ""),
        "0432110": ("", ""),
        "432119": ("mci", ""),
    }
    assert tables.cohort_names[tables.cohort(-1, 0)] == ("", "", "")


def test_home_networks() -> None:
    """Of IMSIs and of serving networks; none given is home."""
    tables = _at("")
    assert tables.home(MCI)
    assert tables.home(imsi_code("43235"))
    assert not tables.home(FOREIGN)
    assert not tables.home(imsi_code("4321"))
    assert not tables.home(0)
    assert tables.home_plmn("")
    assert tables.home_plmn("43235")
    assert not tables.home_plmn("26201")


def test_exempt_ranges_types_and_sets() -> None:
    """What row 7 is told by the policy."""
    tables = _at(
        '[exempt]\ndevice_types = ["Smart Meter"]\ntac_sets = ["lifts"]\n'
        '[tac_set.lifts]\ntacs = ["35"]\n[tac_set.phones]\ntacs = ["36"]\n'
        '[imsi_range.m2m]\nimsi = ["4321199"]\nexempt = true\n[imsi_range.x]\nimsi = ["4321198"]\n'
    )
    assert tables.imsi_range_exempt(imsi_code("432119900000000"))
    assert tables.home(imsi_code("432119900000000"))
    assert not tables.imsi_range_exempt(imsi_code("432119800000000"))
    assert not tables.imsi_range_exempt(MCI)
    assert tables.device_type_exempt(36000000, "smart meter")
    assert tables.device_type_exempt(35000000, "")
    assert not tables.device_type_exempt(36000000, "")


def test_grandfather_dates_are_strict_and_by_tac_set() -> None:
    """In use before the date: its first second is too late."""
    tables = _at(
        "[grandfather]\nin_use_before = 2023-01-01\n[grandfather.tac_set]\na = 2024-01-01\n"
        '[tac_set.a]\ntacs = ["35"]\n'
    )
    assert tables.grandfather_before(36000000) == _second(2023, 1, 1) - 1
    assert tables.grandfather_before(35000000) == _second(2024, 1, 1) - 1
    assert _at("").grandfather_before(35000000) == 0


@pytest.mark.parametrize(
    ("written", "second"),
    [
        ("2026-03-21", _second(2026, 3, 21)),
        ("2026-03-21T01:00:00", _second(2026, 3, 21) + 3_600),
        ("2026-03-21T00:00:00Z", _second(2026, 3, 21) + 12_600),
        ("2026-03-21T00:00:00+02:00", _second(2026, 3, 21) + 5_400),
    ],
)
def test_dates_are_in_the_policys_zone_unless_they_say(written: str, second: int) -> None:
    """TOML dates; RFC 3339 with an offset."""
    policy = compile_policy(
        f'{BASE}[[phase]]\nrules = ["cloned"]\nmode = "observe"\nvalid_from = {written}\n'
    )
    assert policy.next_change(0) == second


def test_phases_begin_and_end_on_the_second() -> None:
    """at and next_change walk the stretches of time."""
    begin, end = _second(2026, 3, 21), _second(2026, 6, 22)
    policy = compile_policy(
        f'{BASE}[[phase]]\nrules = ["not_registered"]\nmode = "observe"\n'
        "valid_from = 2026-03-21\nvalid_until = 2026-06-22\n"
    )
    seen = [outcome(policy.at(now), Reason.NOT_REGISTERED) for now in (-1, 0, begin - 1, begin, end - 1, end)]
    grey, white = Status.GREYLISTED, Status.WHITELISTED
    assert seen == [grey, grey, grey, white, white, grey]
    assert [policy.next_change(now) for now in (0, begin - 1, begin, end)] == [begin, begin, end, 0]


def test_of_the_phases_that_match_the_last_in_the_file_wins() -> None:
    """Not the most specific, nor the latest."""
    specific = (
        '[[phase]]\nrules = ["not_registered"]\nmode = "enforce"\noperators = ["mci"]\ntac_sets = ["a"]\n'
    )
    general = '[[phase]]\nrules = ["not_registered"]\nmode = "observe"\n'
    classes = '[operator.mci]\nimsi = ["43211"]\n[tac_set.a]\ntacs = ["35"]\n'

    def seen(text: str, tac: int, code: int) -> Status:
        tables = _at(text)
        return outcome(tables, Reason.NOT_REGISTERED, cohort=tables.cohort(tac, code), past_deadline=True)

    assert seen(classes + general + specific, 35000000, MCI) is Status.BLACKLISTED
    assert seen(classes + general + specific, 35000000, IRANCELL) is Status.WHITELISTED
    assert seen(classes + general + specific, 36000000, MCI) is Status.WHITELISTED
    assert seen(classes + specific + general, 35000000, MCI) is Status.WHITELISTED


def test_a_phase_of_several_rules_changes_no_other() -> None:
    """Modes of rules and causes."""
    tables = _at('[[phase]]\nrules = ["blocked_range", "malformed", "shared"]\nmode = "observe"\n')
    changed = {reason for name in ("blocked_range", "malformed", "shared") for reason in MODED[name][0]}
    base = _at("")
    for reason in Reason:
        assert (tables.modes[0][reason] != base.modes[0][reason]) == (reason in changed)


@pytest.mark.parametrize(
    ("mode", "status"),
    [("observe", Status.WHITELISTED), ("notify", Status.GREYLISTED), ("enforce", Status.BLACKLISTED)],
)
def test_modes_of_a_blocked_range(mode: str, status: Status) -> None:
    """Row 6 is the one block that a policy softens."""
    assert outcome(_at(f'[mode]\nblocked_range = "{mode}"\n'), Reason.BLOCKED_RANGE) is status


def test_status_maps() -> None:
    """By client, with one for all others; white and black are never mapped."""
    policy = compile_policy(
        f'{BASE}[status_map.mme]\ngreylisted = "whitelisted"\n[status_map."*"]\nunknown = "blacklisted"\n'
    )
    assert policy.status_map("mme") == (0, 1, 1, 3, 4)
    assert policy.status_map("other") == (0, 1, 2, 3, 3)
    assert compile_policy(BASE).status_map("mme") == (0, 1, 2, 3, 4)


def test_hash_is_of_what_the_policy_says() -> None:
    """Comments, order and spelled-out defaults do not count; values do."""
    written = 'home_plmns=["43211","43235"]\n# why\nname="test"\nslot_rule="other"\n'
    assert compile_policy(written).hash == compile_policy(BASE).hash
    assert compile_policy(BASE + 'slot_rule = "any"').hash != compile_policy(BASE).hash
    assert re.fullmatch("[0-9a-f]{64}", compile_policy(BASE).hash)


def test_causes_are_kept_for_cases() -> None:
    """Grace, clock and stages by reason."""
    tables = _at(
        '[cause.never_activated]\nmode = "enforce"\ngrace_days = 15\nclock_start = "date"\n'
        'clock_date = 2026-03-21\nstages_left_out = ["reminder"]\n'
    )
    cause = tables.causes[Reason.NEVER_ACTIVATED]
    assert (cause.grace_days, cause.clock_start, cause.clock_date) == (15, "date", _second(2026, 3, 21))
    assert (cause.mode, cause.stages_left_out) == ("enforce", ("reminder",))
    assert set(tables.causes) == set(CAUSES.values())


def test_needs_of_the_common_check() -> None:
    """The owner of a registered phone costs standing no further look-up."""
    tables = _at("")
    assert len(tables.gate_needs) * 8 == len(tables.gate)
    assert len(tables.standing_needs) * 8 == len(tables.standing)
    home = int(ImsiKind.HOME)
    assert tables.standing_needs[standing_index(relation=1, imsi_kind=home)] == 0
    assert tables.standing_needs[standing_index(imsi_kind=home)] == Far.LINKS | Far.RANGES
    assert tables.gate_needs[gate_index(emergency=1, imsi_kind=home)] == 0
    assert tables.gate_needs[gate_index(own_block=1)] == 0
    assert tables.gate_needs[gate_index(imsi_kind=int(ImsiKind.FOREIGN))] == Far.LINKS
    registered = gate_index(imsi_kind=home, individually_registered=1)
    assert tables.gate_needs[registered] == Far.LINKS | Far.IMSI_ROWS


# The policies that come with the daemon.


def test_the_default_policy_follows_the_seed() -> None:
    """Sold without transfer is allowed; the unowned slot is a case; placeholders are known."""
    policy = compile_policy(default_policy_text(), "default_policy.toml")
    assert policy.settings.time_zone == "Asia/Tehran"
    assert policy.settings.moved_sim == "allow"
    assert policy.settings.slot_rule == "other"
    for name in ("unowned_slot", "never_activated", "not_registered"):
        assert policy.settings.cause[name].mode == "enforce"
    seen = ["353653080000000", "00000000123456", "11223344556677", "123456789012345", "01010101010101"]
    assert policy.placeholders == {parse_imei(text).key for text in seen}
    tables = policy.at(0)
    sold = judge(tables, imsi_kind=ImsiKind.HOME, individually_registered=1, owned=1)
    assert sold is Reason.OWNED_BY_OTHER
    assert outcome(tables, sold, past_deadline=True) is Status.GREYLISTED
    assert outcome(tables, Reason.UNDECIDED) is Status.UNKNOWN


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_give_the_verdicts_they_claim(path: Path) -> None:
    """Each line `# check: facts => STATUS REASON` in an example is true."""
    text = path.read_text()
    policy = compile_policy(text, path.name)
    assert policy.name == path.stem
    claims = CHECK.findall(text)
    assert len(claims) == text.count("# check") >= 2
    for day, facts, status, reason in claims:
        at = date.fromisoformat(day) if day else date(2026, 1, 1)
        given = dict(fact.split("=") for fact in facts.split())
        given = {name: value for name, value in given.items() if value}
        told = explain_facts(policy, _second(at.year, at.month, at.day), given)
        assert (told.status.name, told.reason.name) == (status, reason), facts


def test_examples_show_what_only_a_date_or_a_tac_shows() -> None:
    """Claims of the examples that no fact of a check can carry."""
    read = {path.stem: compile_policy(path.read_text()) for path in EXAMPLES}
    tables = read["grandfathered"].at(0)
    overall, brand_a = tables.grandfather_before(99000000), tables.grandfather_before(35365308)
    assert 0 < overall < tables.grandfather_before(86012304) < brand_a
    assert read["exempt"].at(0).device_type_exempt(35209925, "")
    assert read["exempt"].at(0).device_type_exempt(1, "smart meter")
    assert read["pair-identity"].at(0).pairs_per_imei_max == 5
    assert read["unknown-equipment"].status_map("mme-old")[Status.GREYLISTED] == Status.WHITELISTED
    assert read["unknown-equipment"].status_map("msc")[Status.UNKNOWN] == Status.GREYLISTED


# How it prints.


def _default() -> Policy:
    """Compile the shipped policy."""
    return compile_policy(default_policy_text())


def test_explain_prints_every_rule_in_order() -> None:
    """With its row, and how the policy treats it."""
    printed = explain(_default(), 0)
    rows = re.findall(r"^ ?(\d+)  (\w+)", printed, re.MULTILINE)
    assert rows == [(str(rule.row), rule.reason.name) for rule in ORDER]
    assert "left out: slot_rule = other" in printed
    assert "Next change: none." in printed


def test_explain_and_table_name_cohorts() -> None:
    """Where a phase makes a difference, and where it does not."""
    text = Path(EXAMPLES[0]).with_name("phases.toml").read_text()
    policy, now = compile_policy(text), _second(2026, 7, 1)
    rows = [row for row in table(policy, now) if row.reason == "NOT_REGISTERED"]
    assert {(row.cohort, row.mode) for row in rows} == {
        ("no class; operator mci; operator irancell", "observe"),
        ("tac_set brand_a; operator irancell, tac_set brand_a", "notify"),
        ("operator mci, tac_set brand_a", "enforce"),
    }
    assert {row.cohort for row in table(policy, now) if row.reason != "NOT_REGISTERED"} == {"all"}
    assert {row.reason for row in table(policy, now)} == {reason.name for reason in Reason}
    printed = explain(policy, now)
    assert (
        "enforce: allowed and tracked, a case; cut off past its deadline ← operator mci, tac_set brand_a"
        in printed
    )
    assert "Next change: 2026-12-22 00:00:00+03:30." in printed


def test_table_tells_what_is_left_out() -> None:
    """A cause that is off, with the setting that says so."""
    policy = compile_policy(BASE + '[cause.not_registered]\nmode = "off"\n')
    (row,) = [row for row in table(policy, 0) if row.reason == "NOT_REGISTERED"]
    assert (row.mode, row.outcome) == ("off", "left out: cause.not_registered.mode = off")


def test_explain_facts_says_why_earlier_rules_did_not_fire() -> None:
    """One step a rule, up to the one that fires."""
    told = explain_facts(_default(), 0, {"imsi": "432110000000001", "owned": "yes", "range_registered": 1})
    assert (told.row, told.reason, told.status) == (13, Reason.OWNED_BY_OTHER, Status.GREYLISTED)
    why = {(step.row, step.reason): step.why for step in told.steps}
    assert why[5, "INBOUND_ROAMER"] == "imsi_kind is home, not foreign"
    assert why[12, "UNOWNED_SLOT"] == "owned is 1, not 0"
    assert [step.fires for step in told.steps] == [False] * (len(told.steps) - 1) + [True]
    assert told.text().endswith("GREYLISTED (OWNED_BY_OTHER), cohort: no class")


def test_explain_facts_takes_words_numbers_and_bits() -> None:
    """And an IMSI sets its kind unless that is given."""
    policy = _default()
    stolen = explain_facts(policy, 0, {"own_block": "STOLEN", "imsi_kind": "3", "stale": True})
    assert stolen.status is Status.BLACKLISTED
    assert explain_facts(policy, 0, {"own_block": 1}).reason is Reason.BLOCKED_STOLEN
    assert explain_facts(policy, 0, {"imsi": "4321"}).reason is Reason.IMSI_SHORT
    assert explain_facts(policy, 0, {"imsi": "262010000000001"}).reason is Reason.INBOUND_ROAMER
    abroad = explain_facts(policy, 0, {"imsi": "432110000000001", "imsi_kind": "abroad"})
    assert abroad.reason is Reason.SERVED_ABROAD
    assert explain_facts(policy, 0, {"relation": "owner", "tracked": "yes"}).status is Status.GREYLISTED


@pytest.mark.parametrize(
    ("facts", "wrong"),
    [
        ({"colour": "red"}, "no such fact"),
        ({"own_block": "sold"}, "none, stolen, lost, barred"),
        ({"own_block": 4}, "none, stolen, lost, barred"),
        ({"owned": "maybe"}, "true"),
        ({"owned": 2}, "true"),
        ({"imsi": "4321x"}, "up to 15 digits"),
        ({"tac": "123456789"}, "up to 8 digits"),
    ],
)
def test_explain_facts_refuses_what_is_no_fact(facts: dict[str, object], wrong: str) -> None:
    """With the field, and what it may be."""
    with pytest.raises(InvalidRequestError, match=next(iter(facts))) as error:
        explain_facts(_default(), 0, facts)
    assert wrong in error.value.message


def test_every_fact_can_be_given() -> None:
    """No name of FACT_NAMES is refused."""
    told = explain_facts(_default(), 0, dict.fromkeys(FACT_NAMES, "0"))
    assert told.reason is Reason.NO_IMSI
