"""The policy for people: its rules in order, its modes, and why a rule fires."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo

from eir.errors import InvalidRequestError
from eir.identity import IMEI_DIGITS, ImsiClass, normalise, parse_imsi
from eir.policy.rules import MODED, ORDER, Outcome, Rule
from eir.policy.tables import left_in
from eir.verdict import (
    FACTS,
    Grandfathered,
    ImsiKind,
    OwnBlock,
    Reason,
    Relation,
    Standing,
    Status,
    judge,
    outcome,
)

if TYPE_CHECKING:
    from eir.policy import Policy
    from eir.policy.tables import PolicyTables

_WORDS: Final[Mapping[str, type[IntEnum]]] = {
    "own_block": OwnBlock,
    "imsi_kind": ImsiKind,
    "relation": Relation,
    "grandfathered": Grandfathered,
    "standing": Standing,
}
TAC_DIGITS: Final = 8
_BITS: Final = ("tracked", "stale", "past_deadline")
_TRUTH: Final = {"1": 1, "true": 1, "yes": 1, "0": 0, "false": 0, "no": 0}
FACT_NAMES: Final = (*FACTS, *_BITS, "tac", "imsi")
"""What `explain_facts` takes: facts, what else makes the status, and what makes the cohort."""
_STATUSES: Final = {
    Outcome.PASS: "allowed, whatever else",
    Outcome.ALLOW: "allowed",
    Outcome.TRACK: "allowed and tracked",
    Outcome.DENY: "denied",
    Outcome.CASE: "allowed and tracked, a case; cut off past its deadline",
    Outcome.WARN: "allowed and tracked, a case",
}


class TableRow(NamedTuple):
    """A line of the table of modes: cohorts that a reason treats alike."""

    row: int
    reason: str
    cohort: str
    mode: str
    outcome: str


class Step(NamedTuple):
    """One rule of an explanation."""

    row: int
    reason: str
    says: str
    fires: bool
    why: str


class Explanation(NamedTuple):
    """Which rule fires, and why no earlier one did."""

    row: int
    reason: Reason
    status: Status
    cohort: str
    steps: tuple[Step, ...]

    def text(self) -> str:
        """Print it, one rule a line."""
        lines = [
            f"{'→' if step.fires else ' '} {step.row:>2}  {step.reason:<22} {step.says}: {step.why}"
            for step in self.steps
        ]
        return "\n".join([*lines, f"{self.status.name} ({self.reason.name}), cohort: {self.cohort}"])


def _cohort(names: tuple[str, str, str]) -> str:
    """Name of one cohort."""
    kinds = zip(("operator", "imsi_range", "tac_set"), names, strict=True)
    return ", ".join(f"{kind} {name}" for kind, name in kinds if name) or "no class"


def _mode(reason: Reason, done: Outcome) -> str:
    """Mode that gives a reason an outcome; "fixed" where no policy changes it."""
    for reasons, admits in MODED.values():
        if reason in reasons:
            # Tracked without a case: a SIM that may be moved.
            wanted = Outcome.WARN if done is Outcome.TRACK and Outcome.WARN in admits.values() else done
            return next(mode for mode, made in admits.items() if made is wanted)
    return "fixed"


def _outcome(policy: Policy, done: Outcome) -> str:
    """Outcome in words."""
    if done is Outcome.NO_IMSI:
        return policy.settings.no_imsi
    return policy.settings.default if done is Outcome.UNDECIDED else _STATUSES[done]


def _left_out(policy: Policy, rule: Rule) -> str:
    """Name the settings that leave a rule out; empty when it is in."""
    if left_in(policy.settings, rule):
        return ""
    values = {key: policy.settings.value(key) for key in rule.given}
    return "left out: " + ", ".join(f"{key} = {str(value).lower()}" for key, value in values.items())


def table(policy: Policy, now: int) -> list[TableRow]:
    """List reason by cohort with mode and outcome, at a second since the Unix epoch."""
    tables, rows = policy.at(now), []
    for reason in dict.fromkeys(rule.reason for rule in ORDER):
        rules = [rule for rule in ORDER if rule.reason is reason]
        if gone := [_left_out(policy, rule) for rule in rules if not left_in(policy.settings, rule)]:
            rows.append(TableRow(rules[0].row, reason.name, "all", "off", gone[0]))
        if len(gone) == len(rules):
            continue
        groups: dict[int, list[str]] = {}
        for names, modes in zip(tables.cohort_names, tables.modes, strict=True):
            groups.setdefault(modes[reason], []).append(_cohort(names))
        for done, cohorts in groups.items():
            named = "all" if len(groups) == 1 else "; ".join(cohorts)
            made = Outcome(done)
            rows.append(
                TableRow(rules[0].row, reason.name, named, _mode(reason, made), _outcome(policy, made))
            )
    return rows


def row_of(policy: Policy, now: int, reason: Reason, tac: int, imsi_code: int) -> TableRow:
    """Return what a reason leads to for one pair, at a second since the Unix epoch; TAC -1: none."""
    tables = policy.at(now)
    cohort = tables.cohort(tac, imsi_code)
    made, rule = Outcome(tables.modes[cohort][reason]), next(rule for rule in ORDER if rule.reason is reason)
    names = _cohort(tables.cohort_names[cohort])
    return TableRow(rule.row, reason.name, names, _mode(reason, made), _outcome(policy, made))


def cohort_of(policy: Policy, now: int, imei: str, imsi: str) -> str:
    """Name the cohort of a pair as a check has it, at a second since the Unix epoch."""
    tables, digits = policy.at(now), normalise(imei)
    tac = int(digits[:TAC_DIGITS]) if len(digits) == IMEI_DIGITS and digits.isdecimal() else -1
    return _cohort(tables.cohort_names[tables.cohort(tac, parse_imsi(imsi).code)])


def _moment(policy: Policy, second: int) -> str:
    """Print a second as a date in the policy's zone."""
    return datetime.fromtimestamp(second, ZoneInfo(policy.settings.time_zone)).isoformat(sep=" ")


def _line(policy: Policy, tables: PolicyTables, rule: Rule) -> list[str]:
    """Lines of one rule."""
    head = f"{rule.row:>2}  {rule.reason.name:<22} {rule.says}"
    if gone := _left_out(policy, rule):
        return [f"{head} ({gone})"]
    groups: dict[str, list[str]] = {}
    for names, modes in zip(tables.cohort_names, tables.modes, strict=True):
        made = Outcome(modes[rule.reason])
        mode = _mode(rule.reason, made)
        words = _outcome(policy, made)
        groups.setdefault(words if mode == "fixed" else f"{mode}: {words}", []).append(_cohort(names))
    if len(groups) == 1:
        return [f"{head} → {next(iter(groups))}"]
    return [head, *(f"      {words} ← {'; '.join(cohorts)}" for words, cohorts in groups.items())]


def explain(policy: Policy, now: int) -> str:
    """Print the rules in their order with the modes of the cohorts."""
    tables, until = policy.at(now), policy.next_change(now)
    lines = [
        f"Policy {policy.name} ({policy.hash[:12]}) at {_moment(policy, now)}; the first match wins.",
        f"Next change: {_moment(policy, until) if until else 'none'}.",
        "",
    ]
    for rule in ORDER:
        lines += _line(policy, tables, rule)
    return "\n".join(lines)


def _value(name: str, value: object) -> int:
    """Return the number of a fact's value: a number, a word of its list, or true and false."""
    words = {word.name.lower(): int(word) for word in _WORDS[name]} if name in _WORDS else _TRUTH
    shown = str(value).strip().lower()
    if shown in words:
        return words[shown]
    radix = FACTS.get(name, 2)
    if shown.isascii() and shown.isdigit() and len(shown) < 4 and int(shown) < radix:
        return int(shown)
    raise InvalidRequestError(name, f"{value!r} is not one of: {', '.join(words)}")


def _digits(name: str, value: object, digits_max: int) -> str:
    """Check the digits of a TAC or IMSI."""
    shown = str(value).strip()
    if not (shown.isascii() and shown.isdigit() and len(shown) <= digits_max):
        raise InvalidRequestError(name, f"{value!r} is not up to {digits_max} digits")
    return shown


def _named(name: str, value: int) -> str:
    """Value of a fact as a word."""
    return _WORDS[name](value).name.lower() if name in _WORDS else str(value)


def _why_not(rule: Rule, facts: Mapping[str, int]) -> str:
    """Say what each pattern of a rule misses; empty when the rule fires."""
    misses = []
    for pattern in rule.when:
        unmet = [name for name, admits in pattern.items() if facts[name] not in admits]
        if not unmet:
            return ""
        name = unmet[0]
        needs = " or ".join(_named(name, value) for value in pattern[name])
        misses.append(f"{name} is {_named(name, facts[name])}, not {needs}")
    return "; ".join(dict.fromkeys(misses))


def explain_facts(policy: Policy, now: int, facts: Mapping[str, object]) -> Explanation:
    """Explain the verdict on some facts; those left out are 0, none or false.

    Takes FACT_NAMES: numbers, words of the facts' lists, true and false. `tac` and
    `imsi` choose the cohort; `imsi` also sets imsi_kind and imsi_range_exempt unless
    they are given. Raises InvalidRequestError.
    """
    tables = policy.at(now)
    for name in facts:
        if name not in FACT_NAMES:
            raise InvalidRequestError(name, f"no such fact; there are: {', '.join(FACT_NAMES)}")
    values = dict.fromkeys((*FACTS, *_BITS), 0)
    tac, code = -1, 0
    if "tac" in facts:
        tac = int(_digits("tac", facts["tac"], 8).ljust(8, "0"))
    if "imsi" in facts:
        imsi = parse_imsi(_digits("imsi", facts["imsi"], 15))
        code = imsi.code
        home = ImsiKind.HOME if tables.home(code) else ImsiKind.FOREIGN
        values["imsi_kind"] = home if imsi.imsi_class is ImsiClass.WELL_FORMED else imsi.imsi_class
        values["imsi_range_exempt"] = int(tables.imsi_range_exempt(code))
    values |= {name: _value(name, value) for name, value in facts.items() if name in values}
    bits = {name: bool(values.pop(name)) for name in _BITS}
    cohort = tables.cohort(tac, code)
    reason = judge(tables, **values)
    steps: list[Step] = []
    for rule in ORDER:
        why = _left_out(policy, rule) or _why_not(rule, values)
        steps.append(Step(rule.row, rule.reason.name, rule.says, not why, why or "fires"))
        if not why:
            break
    return Explanation(
        steps[-1].row,
        reason,
        outcome(tables, reason, cohort=cohort, **bits),
        _cohort(tables.cohort_names[cohort]),
        tuple(steps),
    )
