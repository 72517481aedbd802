"""Policies drawn as TOML text, over few enough names that their parts meet."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import strategies as st

from eir.policy.rules import CAUSES, MODED, MODES

OPERATORS = {"mci": '"43211"', "irancell": '"43235", "43236"', "visitors": '"262"'}
RANGES = {"m2m": '"4321199"', "tourist": '"43235070-43235079", "26207"', "odd": '"0", "9"'}
TAC_SETS = {"a": '"35365308", "353654-353659"', "b": '"86"', "c": '"0", "36"'}
CLIENTS = ("*", "mme-old", "any other")
NO_CASE = [("owned_by_other", "enforce", moved_sim) for moved_sim in (None, '"allow"')]
DAYS = ("2025-03-21", "2026-01-01", "2026-06-22T08:00:00Z", "2027-03-21")
CHOSEN = [
    st.lists(st.sampled_from(list(known)), unique=True).map(tuple) for known in (OPERATORS, RANGES, TAC_SETS)
]


def _write(keys: dict[str, Any]) -> str:
    """Write keys as TOML, those without a value left out."""
    return "".join(f"{key} = {value}\n" for key, value in keys.items() if value is not None)


@cache
def _maybe(*words: str) -> st.SearchStrategy[str | None]:
    """Draw a quoted word, or leave the key out."""
    return st.sampled_from([None, *(f'"{word}"' for word in words)])


@cache
def _some(names: tuple[str, ...], least: int = 0) -> st.SearchStrategy[str | None]:
    """Draw an array of names, or leave the key out."""
    if not names:
        return st.none()
    chosen = st.lists(st.sampled_from(names), unique=True, min_size=least, max_size=3)
    written = chosen.map(lambda picked: str(picked).replace("'", '"'))
    return written if least else st.none() | written


@st.composite
def _causes(draw: st.DrawFn, moved_sim: str | None) -> tuple[str, dict[str, str | None]]:
    """Draw the causes of cases; also returns their modes."""
    text, modes = "", {}
    for name in CAUSES:
        no_case = name == "owned_by_other" and moved_sim != '"case"'
        dated = draw(st.booleans())
        modes[name] = draw(_maybe(*(MODES[:2] if no_case else MODES), "off"))
        text += f"[cause.{name}]\n" + _write(
            {
                "mode": modes[name],
                "grace_days": draw(st.none() | st.integers(0, 3_650)),
                "clock_start": '"date"' if dated else draw(_maybe("first_sighting", "first_notice")),
                "clock_date": draw(st.sampled_from(DAYS)) if dated else None,
                "stages_left_out": draw(_some(("reminder", "first"))),
            }
        )
    return text, modes


@st.composite
def policies(draw: st.DrawFn) -> str:
    """Draw a policy's text, whose keys do not contradict each other."""
    moved_sim = draw(_maybe("allow", "case"))
    text = 'name = "drawn"\nhome_plmns = ["43211", "43235"]\n' + _write(
        {
            "slot_rule": draw(_maybe("each", "other", "any")),
            "moved_sim": moved_sim,
            "roamers": draw(_maybe("allow", "judge")),
            "served_abroad": draw(_maybe("allow", "judge")),
            "no_imsi": draw(_maybe("greylisted", "whitelisted")),
            "default": draw(_maybe("whitelisted", "greylisted", "blacklisted", "unknown")),
            "pairs_per_imei_max": draw(st.none() | st.integers(1, 64)),
            "cache_seconds_max": draw(st.none() | st.integers(0, 86_400)),
            "placeholders": draw(_some(("11223344556677", "353653080000010"))),
            "time_zone": draw(_maybe("UTC", "Asia/Tehran")),
        }
    )
    keep = _maybe("greylisted", "keep")
    text += "[stale]\n" + _write({"cut_off": draw(keep), "undecided": draw(keep)})
    operators, ranges, tac_sets = (draw(CHOSEN[place]) for place in range(3))
    text += "".join(f"[operator.{name}]\nimsi = [{OPERATORS[name]}]\n" for name in operators)
    for name in ranges:
        text += f"[imsi_range.{name}]\nimsi = [{RANGES[name]}]\n"
        text += _write({"exempt": draw(st.sampled_from([None, "true", "false"]))})
    text += "".join(f"[tac_set.{name}]\ntacs = [{TAC_SETS[name]}]\n" for name in tac_sets)
    text += "[exempt]\n" + _write(
        {"device_types": draw(_some(("phone", "Smart Meter"))), "tac_sets": draw(_some(tac_sets))}
    )
    imei, pair = (draw(st.sampled_from([None, "true", "false"])) for _ in range(2))
    day = st.none() if imei == pair == "false" else st.sampled_from([None, *DAYS])
    text += "[grandfather]\n" + _write({"imei": imei, "pair": pair, "in_use_before": draw(day)})
    text += "[grandfather.tac_set]\n" + _write({name: draw(day) for name in tac_sets})
    for client in draw(st.lists(st.sampled_from(CLIENTS[:2]), unique=True)):
        text += f'[status_map."{client}"]\n' + _write(
            {
                "greylisted": draw(_maybe("greylisted", "whitelisted")),
                "unknown": draw(_maybe("unknown", "whitelisted", "greylisted", "blacklisted")),
            }
        )
    modes = {name: draw(_maybe(*MODED[name][1])) for name in MODED if name not in CAUSES}
    cases, causes = draw(_causes(moved_sim))
    text += "[mode]\n" + _write(modes) + cases
    for _ in range(draw(st.integers(0, 3))):
        mode = draw(st.sampled_from(MODES))
        rules = tuple(
            name
            for name, (_, admits) in MODED.items()
            if mode in admits and causes.get(name) != '"off"' and ((name, mode, moved_sim) not in NO_CASE)
        )
        text += "[[phase]]\n" + _write(
            {
                "rules": draw(_some(rules, 1)),
                "mode": f'"{mode}"',
                "operators": draw(_some(operators)),
                "tac_sets": draw(_some(tac_sets)),
                "imsi_ranges": draw(_some(ranges)),
                "valid_from": draw(st.sampled_from([None, *DAYS[:2]])),
                "valid_until": draw(st.sampled_from([None, *DAYS[2:]])),
            }
        )
    return text
