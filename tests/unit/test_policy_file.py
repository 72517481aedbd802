"""The policy's file: what it may not say, and how that is said."""

import re

import pytest

from eir.errors import PolicyError
from eir.policy import compile_policy
from eir.policy.read import line_of

BASE = 'name = "test"\nhome_plmns = ["43211", "43235"]\n'


def _refused(text: str) -> str:
    """Message with which a policy is refused."""
    with pytest.raises(PolicyError) as error:
        compile_policy(text, "test.toml")
    return error.value.message


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
        (
            '[grandfather]\nin_use_before = "2017-01-01"',
            4,
            "grandfather.in_use_before",
            "is no date",
            "without quotes",
        ),
        (
            "[grandfather]\nin_use_before = 08:00:00",
            4,
            "grandfather.in_use_before",
            "is no date",
            "2026-03-21",
        ),
        (
            "[grandfather]\nin_use_before = 1917-01-01",
            4,
            "grandfather.in_use_before",
            "is no date",
            "2000 to",
        ),
        ("[grandfather.tac_set]\na = 2017-01-01", 3, "grandfather.tac_set", "no [tac_set.a]", "none"),
        ('[mode]\nspecial = "enforce"', 4, "mode.special", "enforce", '"observe", "notify"'),
        ("[cause.not_registered]\ngrace_days = 3651", 4, "cause.not_registered.grace_days", "3651", "3650"),
        ('[cause.not_registered]\nstages_left_out = ["x"]', 4, "stages_left_out[1]", "'x'", '"cut_off"'),
        (
            '[status_map.mme]\nblacklisted = "whitelisted"',
            4,
            "status_map.mme.blacklisted",
            "unknown key",
            "greylisted",
        ),
        (
            '[status_map.mme]\ngreylisted = "blacklisted"',
            4,
            "status_map.mme.greylisted",
            "blacklisted",
            "whitelisted",
        ),
        ("phase = 3", 3, "phase", "cannot be used", "[[phase]]"),
        ('[[phase]]\nmode = "notify"', 3, "phase[1]", "rules is missing", "rules, mode"),
        (
            '[[phase]]\nrules = ["owner"]\nmode = "notify"',
            4,
            "phase[1].rules[1]",
            "'owner'",
            "not_registered",
        ),
        ('[[phase]]\nrules = ["cloned"]\nmode = "off"', 5, "phase[1].mode", "'off'", '"enforce"'),
    ],
)
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
        ('[tac_set.a]\ntacs = ["35365308"]\n[tac_set.b]\ntacs = ["35365308"]', "a and b overlap"),
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
            (
                'phase = [{ rules = ["not_registered"], mode = "enforce" }]\n[cause.not_registered]\n'
                'stages_left_out = ["cut_off"]'
            ),
            "leaves its cut_off out",
        ),
        ('[[phase]]\nrules = ["cloned"]\nmode = "enforce"', '"enforce" for cloned, which never denies'),
        ('[[phase]]\nrules = ["cloned"]\nmode = "notify"\noperators = ["x"]', "no [operator.x]"),
        ('[[phase]]\nrules = ["cloned"]\nmode = "notify"\ntac_sets = ["x"]', "no [tac_set.x]"),
        ('[[phase]]\nrules = ["cloned"]\nmode = "notify"\nimsi_ranges = ["x"]', "no [imsi_range.x]"),
        (
            (
                '[[phase]]\nrules = ["cloned"]\nmode = "notify"\n'
                "valid_from = 2026-01-02\nvalid_until = 2026-01-02"
            ),
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
    assert len(compile_policy(BASE + sets + _ranges(3)).at(0).modes) == 1_024
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
