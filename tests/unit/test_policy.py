"""The policy: what its file may say, what it compiles to, how it prints."""

import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from eir.errors import InvalidRequestError, PolicyError
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
from eir.policy.read import line_of
from eir.policy.rules import CAUSES, MODED, ORDER
from eir.verdict import ImsiKind, Reason, Status, judge, outcome

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


def _refused(text: str) -> str:
    """Message with which a policy is refused."""
    with pytest.raises(PolicyError) as error:
        compile_policy(text, "test.toml")
    return error.value.message


# What is refused, and how it is said.


@pytest.mark.parametrize(
    ("text", "line", "key", "wrong", "allowed"),
    [
        ('colour = "red"', 3, "colour", "unknown key", "slot_rule"),
        ("[mode]\ncolour = 1", 4, "mode.colour", "unknown key", "blocked_range"),
        ("[cause.sold]\n", 3, "cause.sold", "unknown key", "never_activated"),
        ('slot_rule = "some"', 3, "slot_rule", "'some'", '"each", "other", "any"'),
        ("slot_rule = true", 3, "slot_rule", "True", '"each"'),
        ("pairs_per_imei_max = 65", 3, "pairs_per_imei_max", "65", "1 to 64"),
        ("pairs_per_imei_max = 0", 3, "pairs_per_imei_max", "0", "1 to 64"),
        ("pairs_per_imei_max = true", 3, "pairs_per_imei_max", "True", "whole number"),
        ("cache_seconds_max = -1", 3, "cache_seconds_max", "-1", "0 to 86400"),
        ("cache_seconds_max = 1.5", 3, "cache_seconds_max", "1.5", "whole number"),
        ('no_imsi = "blacklisted"', 3, "no_imsi", "blacklisted", '"greylisted", "whitelisted"'),
        ('time_zone = "Asia/Atlantis"', 3, "time_zone", "Atlantis", "IANA"),
        ("time_zone = 3", 3, "time_zone", "3", "string"),
        ('placeholders = ["123"]', 3, "placeholders[1]", "'123'", "14 to 16 digits"),
        ("placeholders = [35365308000000]", 3, "placeholders[1]", "35365308000000", "in quotes"),
        ('[stale]\ncut_off = "blacklisted"', 4, "stale.cut_off", "blacklisted", '"greylisted", "keep"'),
        ("[exempt]\ndevice_types = [1]", 4, "exempt.device_types[1]", "1", "string"),
        ('[exempt]\ndevice_types = ["a", "a"]', 4, "exempt.device_types[2]", "repeats", "once"),
        ('[exempt]\ntac_sets = ["a"]', 4, "exempt.tac_sets", "no [tac_set.a]", "no [tac_set]"),
        ('[tac_set.a]\ntacs = ["123456789"]', 4, "tac_set.a.tacs[1]", "123456789", "1 to 8 digits"),
        ('[tac_set.a]\ntacs = ["35-3"]', 4, "tac_set.a.tacs[1]", "35-3", "equal length"),
        ('[tac_set.a]\ntacs = ["36-35"]', 4, "tac_set.a.tacs[1]", "36-35", "equal length"),
        ('[tac_set.a]\ntacs = ["35-"]', 4, "tac_set.a.tacs[1]", "35-", "1 to 8 digits"),
        ("[tac_set.a]\ntacs = []", 4, "tac_set.a.tacs", "cannot be used", "1 to 10000"),
        ("[tac_set.a]\n", 3, "tac_set.a", "tacs is missing", "tacs"),
        ('[tac_set."a b"]\ntacs = ["35"]', 3, "tac_set.a b", "is no name", "letters"),
        ("tac_set = 3", 3, "tac_set", "cannot be used", "tables"),
        ("stale = 3", 3, "stale", "is no table", "cut_off"),
        ('[operator.a]\nimsi = ["۴۳۲"]', 4, "operator.a.imsi[1]", "۴۳۲", "1 to 15 digits"),
        ('[grandfather]\nin_use_before = "2017-01-01"', 4, "grandfather.in_use_before", "is no date", "without quotes"),
        ("[grandfather]\nin_use_before = 08:00:00", 4, "grandfather.in_use_before", "is no date", "2026-03-21"),
        ("[grandfather]\nin_use_before = 1917-01-01", 4, "grandfather.in_use_before", "is no date", "2000 to"),
        ("[grandfather.tac_set]\na = 2017-01-01", 3, "grandfather.tac_set", "no [tac_set.a]", "none"),
        ('[mode]\nspecial = "enforce"', 4, "mode.special", "enforce", '"observe", "notify"'),
        ("[cause.not_registered]\ngrace_days = 3651", 4, "cause.not_registered.grace_days", "3651", "3650"),
        ('[cause.not_registered]\nstages_left_out = ["x"]', 4, "stages_left_out[1]", "'x'", '"cut_off"'),
        ('[status_map.mme]\nblacklisted = "whitelisted"', 4, "status_map.mme.blacklisted", "unknown key", "greylisted"),
        ('[status_map.mme]\ngreylisted = "blacklisted"', 4, "status_map.mme.greylisted", "blacklisted", "whitelisted"),
        ("phase = 3", 3, "phase", "cannot be used", "[[phase]]"),
        ('[[phase]]\nmode = "notify"', 3, "phase[1]", "rules is missing", "rules, mode"),
        ('[[phase]]\nrules = ["owner"]\nmode = "notify"', 4, "phase[1].rules[1]", "'owner'", "not_registered"),
        ('[[phase]]\nrules = ["cloned"]\nmode = "off"', 5, "phase[1].mode", "'off'", '"enforce"'),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(text: str, line: int, key: str, wrong: str, allowed: str) -> None:
    """File, line, key, what is wrong, what is allowed."""
    message = _refused(BASE + text)
    where, _, may = message.partition("; allowed: ")
    assert where.startswith(f"test.toml, line {line}: ")
    assert key in where
    assert wrong in where
    assert allowed in may


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('[tac_set.a]\ntacs = ["35"]\n[tac_set.b]\ntacs = ["353653"]', "a and b overlap"),
        ('[tac_set.a]\ntacs = ["35-37"]\n[tac_set.b]\ntacs = ["36-38"]', "a and b overlap"),
        ('[operator.a]\nimsi = ["43211"]\n[operator.b]\nimsi = ["4321100-4321105"]', "a and b overlap"),
        ('[imsi_range.a]\nimsi = ["43211"]\n[imsi_range.b]\nimsi = ["4321"]', "b and a overlap"),
        (
            '[cause.not_registered]\nclock_start = "date"',
            'clock_start is "date", clock_date is missing',
        ),
        ("[cause.not_registered]\nclock_date = 2026-01-01", "clock_date is set"),
        ('[cause.not_registered]\nstages_left_out = ["first", "last", "reminder"]', "no notice is left"),
        ('[cause.not_registered]\nmode = "enforce"\nstages_left_out = ["cut_off"]', "without its cut_off"),
        ('[cause.owned_by_other]\nmode = "enforce"', 'although moved_sim is "allow"'),
        ('[[phase]]\nrules = ["owned_by_other"]\nmode = "enforce"', 'although moved_sim is "allow"'),
        (
            '[cause.not_registered]\nmode = "off"\n[[phase]]\nrules = ["not_registered"]\nmode = "notify"',
            "cause.not_registered is off",
        ),
        (
            '[cause.not_registered]\nstages_left_out = ["cut_off"]\n'
            '[[phase]]\nrules = ["not_registered"]\nmode = "enforce"',
            "leaves its cut_off out",
        ),
        ('[[phase]]\nrules = ["cloned"]\nmode = "enforce"', '"enforce" for cloned, which never denies'),
        ('[[phase]]\nrules = ["cloned"]\nmode = "notify"\noperators = ["x"]', "no [operator.x]"),
        ('[[phase]]\nrules = ["cloned"]\nmode = "notify"\ntac_sets = ["x"]', "no [tac_set.x]"),
        ('[[phase]]\nrules = ["cloned"]\nmode = "notify"\nimsi_ranges = ["x"]', "no [imsi_range.x]"),
        (
            '[[phase]]\nrules = ["cloned"]\nmode = "notify"\nvalid_from = 2026-01-02\nvalid_until = 2026-01-02',
            "ends before it begins",
        ),
        ("[grandfather]\nimei = false\npair = false\nin_use_before = 2017-01-01", "no row counts"),
    ],
)
def test_keys_that_contradict_each_other_are_named(text: str, wrong: str) -> None:
    """Classes that overlap, names that are missing, cases that could not run."""
    message = _refused(BASE + text)
    assert wrong in message
    assert re.match(r"test\.toml, line \d+: ", message)
    assert "; allowed: " in message


def test_home_networks_must_not_overlap() -> None:
    """One network's PLMN is not the beginning of another's."""
    assert "43211 and 432110 overlap" in _refused('name = "x"\nhome_plmns = ["43211", "432110"]')


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "name is missing"),
        ('name = "x"', "home_plmns is missing"),
        ('name = "x"\nhome_plmns = []', "an array of 1 to"),
        ('name = ""\nhome_plmns = ["43211"]', "1 to 128 characters"),
        ('name = "x"\nhome_plmns = ["4321"]', "is no PLMN"),
        ("name = ", "not TOML"),
        ("a = 1\na = 2", "not TOML"),
        ("a = " + "[" * 5_000, "not TOML"),
        ("a = " + "9" * 5_000, "not TOML"),
        (BASE + "no_imsi = 0x" + "f" * 5_000, "no_imsi: a number cannot be used"),
    ],
)
def test_a_file_without_a_policy(text: str, wrong: str) -> None:
    """Missing keys and what is not TOML at all."""
    assert wrong in _refused(text)


def test_bounds_on_phases_and_cohorts() -> None:
    """Everything is bounded."""
    phase = '[[phase]]\nrules = ["cloned"]\nmode = "observe"\n'
    assert len(compile_policy(BASE + phase * 128).settings.phase) == 128
    assert "at most 128" in _refused(BASE + phase * 129)
    sets = "".join(f'[tac_set.s{n}]\ntacs = ["{n:03d}"]\n' for n in range(255))
    assert len(_at(sets + _ranges(3)).modes) == 1_024
    assert "cohorts; allowed: 1024" in _refused(BASE + sets + _ranges(4))
    assert "at most 255 tables" in _refused(BASE + sets + '[tac_set.more]\ntacs = ["999"]')


def _ranges(count: int) -> str:
    """IMSI ranges, each a class of its own."""
    return "".join(f'[imsi_range.r{n}]\nimsi = ["99{n}"]\n' for n in range(count))


def test_line_of_finds_keys_below_their_headers() -> None:
    """Dotted keys, quoted names, arrays of tables."""
    text = '[a."b.c"]\nd = 1\n[[p]]\nq = 1\n[[p]]\nq = [\n "x = 1",\n]\nr.s = 2\n'
    assert line_of(text, ("a", "b.c", "d")) == 2
    assert line_of(text, ("p", 1, "q", 0)) == 6
    assert line_of(text, ("p", 1, "r", "s")) == 9
    assert line_of(text, ("p", 0, "q")) == 4
    assert line_of(text, ("z",)) == 0


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
    from eir.verdict import Far, gate_index, standing_index

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
        "enforce: allowed and tracked, cut off past the deadline ← operator mci, tac_set brand_a" in printed
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
