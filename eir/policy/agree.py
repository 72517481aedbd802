"""What the keys of a policy say together: names that exist, classes that do not overlap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from eir.policy import settings as s
from eir.policy.read import IMSI_DIGITS, STAGES, Node
from eir.policy.rules import CAUSES, MODED, OFF

MINUTES: Final = 24 * 60
"""Of a day."""


def agree(settings: s.Settings, root: Node) -> None:
    """Raise PolicyError where keys contradict each other."""
    _disjoint(root, ("home_plmns",), [(plmn, _wide((int(f"1{plmn}"),) * 2)) for plmn in settings.home_plmns])
    _disjoint(root, ("operator",), _spans({name: o.imsi for name, o in settings.operator.items()}))
    _disjoint(root, ("imsi_range",), _spans({name: r.imsi for name, r in settings.imsi_range.items()}))
    tacs = [(name, span) for name, tac_set in settings.tac_set.items() for span in tac_set.tacs]
    _disjoint(root, ("tac_set",), tacs)
    _known(_at(root, "exempt", "tac_sets"), settings.exempt.tac_sets, settings.tac_set, "tac_set")
    _known(_at(root, "grandfather", "tac_set"), settings.grandfather.tac_set, settings.tac_set, "tac_set")
    _grandfather(settings, root)
    for name, cause in settings.cause.items():
        _cause(cause, _at(root, "cause", name))
    if settings.moved_sim == "allow" and settings.cause["owned_by_other"].mode == "enforce":
        _at(root, "cause", "owned_by_other", "mode").fail(
            '"enforce" although moved_sim is "allow"', 'moved_sim = "case", or another mode'
        )
    _notices(settings, root)
    for place, phase in enumerate(settings.phase):
        _phase(settings, phase, _at(root, "phase", place))


def _at(root: Node, *path: str | int) -> Node:
    """Node of a path, which may be absent from the file."""
    value = root.value
    for part in path:
        value = value[part] if isinstance(part, int) or part in value else {}
    return Node(value, path, root.source)


def _wide(span: s.Span) -> s.Span:
    """Widen a span of IMSIs' beginnings to whole IMSIs."""
    scale = 10 ** (IMSI_DIGITS + 1 - len(str(span[0])))
    return span[0] * scale, (span[1] + 1) * scale - 1


def _spans(named: Mapping[str, Iterable[s.Span]]) -> list[tuple[str, s.Span]]:
    """Spans of IMSIs with the names of their classes."""
    return [(name, _wide(span)) for name, spans in named.items() for span in spans]


def _disjoint(root: Node, path: tuple[str, ...], spans: list[tuple[str, s.Span]]) -> None:
    """Raise where two classes overlap; a class may overlap itself."""
    end, holder = -1, ""
    for name, (first, last) in sorted(spans, key=lambda item: (item[1][0], -item[1][1])):
        if first <= end and holder != name:
            node = _at(root, *path) if path == ("home_plmns",) else _at(root, *path, name)
            node.fail(f"{holder} and {name} overlap", "each identity in at most one of them")
        if last > end:
            end, holder = last, name


def _known(node: Node, names: Iterable[str], there: Mapping[str, object], kind: str) -> None:
    """Raise where a name has no table."""
    for name in names:
        if name not in there:
            node.fail(f"no [{kind}.{name}]", ", ".join(sorted(there)) or f"none: the policy has no [{kind}]")


def _grandfather(settings: s.Settings, root: Node) -> None:
    """Raise for dates that nothing uses."""
    grandfather = settings.grandfather
    if not (grandfather.imei or grandfather.pair) and (grandfather.in_use_before or grandfather.tac_set):
        _at(root, "grandfather").fail("dates, although no row counts", "imei = true or pair = true")


def _cause(cause: s.Cause, node: Node) -> None:
    """Raise where a case could not run as its settings say."""
    if (cause.clock_start == "date") != bool(cause.clock_date):
        node.fail(
            f'clock_start is "{cause.clock_start}", clock_date is {"set" if cause.clock_date else "missing"}',
            'clock_date together with clock_start = "date"',
        )
    if set(cause.stages_left_out) >= set(STAGES[:-1]):
        node.fail("no notice is left", "at least one of first, reminder, last: nobody is cut off unwarned")
    if cause.mode == "enforce" and "cut_off" in cause.stages_left_out:
        node.fail('mode = "enforce" without its cut_off', 'mode = "notify", or the stage cut_off')


def _notices(settings: s.Settings, root: Node) -> None:
    """Raise where a case could not be warned in time, or its deadline could never fall."""
    notices = settings.notices
    if list(notices.reminders_after_days) != sorted(notices.reminders_after_days):
        _at(root, "notices", "reminders_after_days").fail("are not in order", "days in increasing order")
    begin, end = notices.quiet_hours
    cut_begin, cut_end = notices.cut_off_hours
    if (end - begin) % MINUTES + (cut_end - cut_begin) % MINUTES > MINUTES:
        _at(root, "notices", "cut_off_hours").fail(
            "are longer than the hours that are not quiet",
            "hours when people are awake",
        )


def _phase(settings: s.Settings, phase: s.Phase, node: Node) -> None:
    """Raise where a phase names what is not there, or a mode that its rules do not admit."""
    _known(_at_key(node, "operators"), phase.operators, settings.operator, "operator")
    _known(_at_key(node, "tac_sets"), phase.tac_sets, settings.tac_set, "tac_set")
    _known(_at_key(node, "imsi_ranges"), phase.imsi_ranges, settings.imsi_range, "imsi_range")
    if phase.valid_until and phase.valid_until <= phase.valid_from:
        _at_key(node, "valid_until").fail("ends before it begins", "a date after valid_from")
    for name in phase.rules:
        admits = MODED[name][1]
        if phase.mode not in admits:
            _at_key(node, "mode").fail(f'"{phase.mode}" for {name}, which never denies', ", ".join(admits))
        if name not in CAUSES:
            continue
        cause = settings.cause[name]
        if cause.mode == OFF:
            _at_key(node, "rules").fail(f"cause.{name} is off", "rules that are not off")
        if phase.mode != "enforce":
            continue
        if name == "owned_by_other" and settings.moved_sim == "allow":
            _at_key(node, "mode").fail('"enforce" although moved_sim is "allow"', 'moved_sim = "case"')
        if "cut_off" in cause.stages_left_out:
            _at_key(node, "mode").fail(f"cause.{name} leaves its cut_off out", "observe, notify")


def _at_key(node: Node, key: str) -> Node:
    """Node of a key that may be absent."""
    return Node(node.value.get(key), (*node.path, key), node.source)
