"""Settings to tables: what the engines read."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from eir.errors import PolicyError
from eir.policy.read import COHORTS_MAX, IMSI_DIGITS
from eir.policy.rules import (
    CAUSES,
    FIXED,
    GATE_ROWS,
    MODED,
    OFF,
    OPENING,
    ORDER,
    STANDING_ROWS,
    Outcome,
    Rule,
)
from eir.policy.settings import Cause, Phase, Settings, Span
from eir.verdict import FAR_FIELDS, GATE_FIELDS, STANDING_FIELDS, Far, Reason, Status

U8 = npt.NDArray[np.uint8]
Fields = tuple[tuple[str, int], ...]
DAY = 86_400
HOME = 1
EXEMPT = 2
REASONS = max(Reason) + 1
"""Length of one cohort's modes, indexed by Reason; 0 has no meaning."""


@dataclass(frozen=True, slots=True)
class PolicyTables:
    """A policy between two dates; immutable.

    gate, standing              Reason by index (`verdict.gate_index`, `standing_index`);
                                0 in gate: ask standing
    gate_needs, standing_needs  Far groups that can still change the answer, by the index of
                                the near fields alone (the far digits 0)
    modes                       by cohort, then Reason: Outcome
    outcomes                    Status by outcome * 8 + tracked * 4 + stale * 2 + past_deadline
    opens                       by outcome: 1 where a home subscriber's pair has a case
    tac_starts, tac_classes     class of the TACs from each start to the next; 0: in no set
    imsi_starts, imsi_classes, imsi_flags  the same for IMSI codes; flags HOME, EXEMPT
    tac_exempt, tac_before      by TAC class: exempt by row 7; last second of use that is
                                before the scheme, 0 for no limit
    grandfather_imei, grandfather_pair  rows of this kind count; the others are no fact
    exempt_notice_seconds       before its end an exemption's pair has a case: so long at most
    cohort_names                by cohort: operator, IMSI range, TAC set ("" for none)
    """

    valid_from: int
    gate: bytes
    standing: bytes
    gate_needs: bytes
    standing_needs: bytes
    modes: tuple[bytes, ...]
    outcomes: bytes
    opens: bytes
    tac_starts: tuple[int, ...]
    tac_classes: tuple[int, ...]
    imsi_starts: tuple[int, ...]
    imsi_classes: tuple[int, ...]
    imsi_flags: tuple[int, ...]
    imsi_class_count: int
    tac_exempt: tuple[bool, ...]
    tac_before: tuple[int, ...]
    grandfather_imei: bool
    grandfather_pair: bool
    cohort_names: tuple[tuple[str, str, str], ...]
    home_plmns: frozenset[str]
    device_types: frozenset[str]
    pairs_per_imei_max: int
    cache_seconds_max: int
    exempt_notice_seconds: int
    causes: dict[Reason, Cause]

    def tac_class(self, tac: int) -> int:
        """Class of a TAC; a negative one (raw text has no TAC) is in no set."""
        return self.tac_classes[bisect_right(self.tac_starts, tac) - 1] if tac >= 0 else 0

    def imsi_place(self, imsi_code: int) -> int:
        """Index into imsi_classes and imsi_flags."""
        return bisect_right(self.imsi_starts, imsi_code) - 1

    def cohort(self, tac: int, imsi_code: int) -> int:
        """Cohort of a pair: TAC class times IMSI classes plus IMSI class."""
        return self.tac_class(tac) * self.imsi_class_count + self.imsi_classes[self.imsi_place(imsi_code)]

    def home(self, imsi_code: int) -> bool:
        """Tell whether an IMSI is a home network's."""
        return bool(self.imsi_flags[self.imsi_place(imsi_code)] & HOME)

    def imsi_range_exempt(self, imsi_code: int) -> bool:
        """Tell whether an IMSI lies in a range that the policy exempts."""
        return bool(self.imsi_flags[self.imsi_place(imsi_code)] & EXEMPT)

    def device_type_exempt(self, tac: int, device_type: str) -> bool:
        """Tell whether a TAC is exempt, by its type of device (any case) or its set."""
        return device_type.lower() in self.device_types or self.tac_exempt[self.tac_class(tac)]

    def home_plmn(self, serving_plmn: str) -> bool:
        """Tell whether a serving network is a home network; none given is home."""
        return not serving_plmn or serving_plmn in self.home_plmns

    def grandfather_before(self, tac: int) -> int:
        """Last second of use that counts as before the scheme; 0: no limit."""
        return self.tac_before[self.tac_class(tac)]


def active_rules(settings: Settings) -> tuple[int, ...]:
    """Places in ORDER of the rules that a policy's settings leave in."""
    return tuple(place for place, rule in enumerate(ORDER) if left_in(settings, rule))


def left_in(settings: Settings, rule: Rule) -> bool:
    """Tell whether the settings leave a rule in."""
    return all(settings.value(key) in allowed for key, allowed in rule.given.items())


def _answers(fields: Fields, rules: list[Rule]) -> U8:
    """Reason of every combination of facts, the last field as axis 0 (0 where no rule fires)."""
    answers = np.zeros([radix for _, radix in reversed(fields)], np.uint8)
    for rule in reversed(rules):  # earlier rules overwrite later ones: the first match wins
        for pattern in rule.when:
            axes = [pattern.get(name, range(radix)) for name, radix in reversed(fields)]
            answers[np.ix_(*map(list, axes))] = rule.reason
    return answers


def _needs(fields: Fields, answers: U8) -> bytes:
    """Far groups on which the answer depends, by the near fields."""
    names = [name for name, _ in reversed(fields)]
    far = [axis for axis, name in enumerate(names) if name in FAR_FIELDS]
    needs = np.zeros(answers.shape[len(far) :], np.uint8)
    for group in Far:
        own = tuple(axis for axis in far if FAR_FIELDS[names[axis]] is group)
        changes = answers.max(axis=own, keepdims=True) != answers.min(axis=own, keepdims=True)
        needs |= np.where(changes.any(axis=tuple(far)), np.uint8(group), np.uint8(0))
    return needs.tobytes()


@lru_cache(maxsize=256)
def _rule_tables(active: tuple[int, ...]) -> tuple[bytes, bytes, bytes, bytes]:
    """Compile gate, standing and their needs from the rules left in."""
    rules = [ORDER[place] for place in active]
    gate = _answers(GATE_FIELDS, [rule for rule in rules if rule.row in GATE_ROWS])
    standing = _answers(STANDING_FIELDS, [rule for rule in rules if rule.row in STANDING_ROWS])
    needs = _needs(GATE_FIELDS, gate), _needs(STANDING_FIELDS, standing)
    return gate.tobytes(), standing.tobytes(), *needs


def _status(settings: Settings, outcome: Outcome, tracked: int, stale: int, past_deadline: int) -> Status:
    """Status of an outcome; stale only ever moves towards allowing."""
    spare_cut_off = stale and settings.stale.cut_off == "greylisted"
    spare_undecided = stale and settings.stale.undecided == "greylisted"
    match outcome:
        case Outcome.PASS:
            return Status.WHITELISTED
        case Outcome.ALLOW:
            status = Status.WHITELISTED
        case Outcome.TRACK | Outcome.WARN:
            status = Status.GREYLISTED
        case Outcome.DENY:
            status = Status.BLACKLISTED
        case Outcome.CASE:
            cut_off = past_deadline and not spare_cut_off
            status = Status.BLACKLISTED if cut_off else Status.GREYLISTED
        case Outcome.NO_IMSI:
            status = Status[settings.no_imsi.upper()]
        case Outcome.UNDECIDED:
            status = Status[settings.default.upper()]
            if spare_undecided and status in (Status.UNKNOWN, Status.BLACKLISTED):
                status = Status.GREYLISTED
    return Status.GREYLISTED if tracked and status is Status.WHITELISTED else status


def _outcomes(settings: Settings) -> bytes:
    """Compile the table of statuses."""
    bits = [(tracked, stale, past) for tracked in (0, 1) for stale in (0, 1) for past in (0, 1)]
    return bytes(_status(settings, outcome, *bit) for outcome in Outcome for bit in bits)


Layer = tuple[list[int], list[int]]


def _layer(spans: list[tuple[int, int, int]]) -> Layer:
    """Make a layer of spans (first, end, label), those of different labels apart."""
    starts, labels = [0], [0]
    for begin, end, label in sorted(spans):
        first = max(begin, starts[-1])  # a span may overlap the former one of its own label
        if end <= first:
            continue
        if first == starts[-1]:
            labels[-1] = label
        else:
            starts.append(first)
            labels.append(label)
        starts.append(end)
        labels.append(0)
    return starts, labels


def _label(layer: Layer, value: int) -> int:
    """Label of a value."""
    return layer[1][bisect_right(layer[0], value) - 1]


def _imsi_layer(spans: list[tuple[Span, int]]) -> Layer:
    """Layer over IMSI codes: a span of beginnings holds IMSIs of its length and longer."""
    out = []
    for (first, last), label in spans:
        for more in range(IMSI_DIGITS + 2 - len(str(first))):
            scale = 10**more
            out.append((first * scale, (last + 1) * scale, label))
    return _layer(out)


def _imsi_classes(settings: Settings) -> tuple[Layer, list[int], list[tuple[str, str]]]:
    """Classes of IMSI codes, their flags, and the (operator, IMSI range) of each class."""
    operators, ranges = ["", *settings.operator], ["", *settings.imsi_range]
    exempt = [0, *(EXEMPT if r.exempt else 0 for r in settings.imsi_range.values())]
    home = _imsi_layer([((int(f"1{plmn}"),) * 2, HOME) for plmn in settings.home_plmns])
    operator = _imsi_layer(
        [(span, operators.index(name)) for name, o in settings.operator.items() for span in o.imsi]
    )
    named = _imsi_layer(
        [(span, ranges.index(name)) for name, r in settings.imsi_range.items() for span in r.imsi]
    )
    starts = sorted({*home[0], *operator[0], *named[0]})
    classes: dict[tuple[int, int], int] = {(0, 0): 0}
    labels, flags = [], []
    for start in starts:
        in_range = _label(named, start)
        labels.append(classes.setdefault((_label(operator, start), in_range), len(classes)))
        flags.append(_label(home, start) | exempt[in_range])
    return (starts, labels), flags, [(operators[o], ranges[r]) for o, r in classes]


def _outcome(settings: Settings, name: str, mode: str) -> Outcome:
    """Outcome of a rule under a mode; one that is off never fires."""
    made = MODED[name][1].get(mode, Outcome.TRACK)
    allowed = name == "owned_by_other" and settings.moved_sim == "allow"
    return Outcome.TRACK if allowed and made is Outcome.WARN else made


def _modes(
    settings: Settings, imsi_names: list[tuple[str, str]], tac_names: list[str], phases: list[Phase]
) -> tuple[bytes, ...]:
    """Compile the modes of every cohort; of the phases that match, the last in the file wins."""
    modes = np.zeros((len(tac_names), len(imsi_names), REASONS), np.uint8)
    for reason, outcome in FIXED.items():
        modes[:, :, reason] = outcome
    for name, (reasons, _) in MODED.items():
        mode = settings.cause[name].mode if name in CAUSES else getattr(settings.mode, name)
        modes[:, :, list(reasons)] = _outcome(settings, name, mode)
    for phase in phases:
        tacs = [i for i, name in enumerate(tac_names) if not phase.tac_sets or name in phase.tac_sets]
        imsis = [
            i
            for i, (operator, imsi_range) in enumerate(imsi_names)
            if (not phase.operators or operator in phase.operators)
            and (not phase.imsi_ranges or imsi_range in phase.imsi_ranges)
        ]
        for name in phase.rules:
            modes[np.ix_(tacs, imsis, list(MODED[name][0]))] = _outcome(settings, name, phase.mode)
    return tuple(row.tobytes() for row in modes.reshape(-1, REASONS))


def compile_tables(settings: Settings) -> tuple[PolicyTables, ...]:
    """Compile the tables of every stretch of time between two dates of the policy, in order.

    Raises PolicyError when there are too many cohorts.
    """
    gate, standing, gate_needs, standing_needs = _rule_tables(active_rules(settings))
    imsi, flags, imsi_names = _imsi_classes(settings)
    tac_names = ["", *settings.tac_set]
    if (cohorts := len(tac_names) * len(imsi_names)) > COHORTS_MAX:
        raise PolicyError(f"tac_set, operator, imsi_range: {cohorts} cohorts; allowed: {COHORTS_MAX}")
    tac = _layer(
        [
            (first, last + 1, tac_names.index(name))
            for name, tac_set in settings.tac_set.items()
            for first, last in tac_set.tacs
        ]
    )
    dates = {0, *(p.valid_from for p in settings.phase), *(p.valid_until for p in settings.phase)}
    grandfather = settings.grandfather
    before = [grandfather.tac_set.get(name, grandfather.in_use_before) for name in tac_names]
    return tuple(
        PolicyTables(
            valid_from=date,
            gate=gate,
            standing=standing,
            gate_needs=gate_needs,
            standing_needs=standing_needs,
            modes=_modes(settings, imsi_names, tac_names, phases_at(settings, date)),
            outcomes=_outcomes(settings),
            opens=bytes(outcome in OPENING for outcome in Outcome),
            tac_starts=tuple(tac[0]),
            tac_classes=tuple(tac[1]),
            imsi_starts=tuple(imsi[0]),
            imsi_classes=tuple(imsi[1]),
            imsi_flags=tuple(flags),
            imsi_class_count=len(imsi_names),
            tac_exempt=tuple(name in settings.exempt.tac_sets for name in tac_names),
            tac_before=tuple(max(date - 1, 0) for date in before),
            grandfather_imei=grandfather.imei,
            grandfather_pair=grandfather.pair,
            cohort_names=tuple((*names, tac_name) for tac_name in tac_names for names in imsi_names),
            home_plmns=frozenset(settings.home_plmns),
            device_types=frozenset(name.lower() for name in settings.exempt.device_types),
            pairs_per_imei_max=settings.pairs_per_imei_max,
            cache_seconds_max=settings.cache_seconds_max,
            exempt_notice_seconds=max(
                (cause.grace_days * DAY for cause in settings.cause.values() if cause.mode != OFF), default=0
            ),
            causes={reason: settings.cause[name] for name, reason in CAUSES.items()},
        )
        for date in sorted(dates)
    )


def phases_at(settings: Settings, now: int) -> list[Phase]:
    """Phases in force at a second, in the order of the file."""
    return [p for p in settings.phase if p.valid_from <= now and (not p.valid_until or now < p.valid_until)]
