"""Laws of every policy, over the whole of its tables.

Policies are drawn as TOML text; the laws are proved for every combination of
facts, every cohort and every bit that makes a status. Beside the compiled
tables stands a naive model: the order of the rules as a chain of ifs.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_strategies import CLIENTS, policies

from eir.errors import PolicyError
from eir.identity import imsi_code
from eir.policy import (
    Policy,
    PolicyTables,
    compile_policy,
    default_policy_text,
    explain,
    explain_facts,
    table,
)
from eir.policy.rules import CAUSES, MODED, Outcome
from eir.verdict import (
    FAR_FIELDS,
    GATE_FIELDS,
    STANDING_FIELDS,
    Far,
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

Facts = dict[str, npt.NDArray[np.int64]]
FEW = settings(max_examples=40)
"""Each example is a whole table."""
WITHOUT_IMSI = (ImsiKind.NONE, ImsiKind.MALFORMED, ImsiKind.SHORT)


def _facts(fields: tuple[tuple[str, int], ...]) -> Facts:
    """Every combination of facts, by index."""
    index = np.arange(size(fields))
    return {name: index // place % dict(fields)[name] for name, place in weights(fields).items()}


GATE, STANDING = _facts(GATE_FIELDS), _facts(STANDING_FIELDS)


compiled = policies().map(compile_policy)


def _statuses(tables: PolicyTables, reasons: bytes | npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Status of each reason, with axes: cohort, tracked, stale, past deadline, index.

    Where the reason is 0 (gate does not decide) the status has no meaning.
    """
    index = np.frombuffer(reasons, np.uint8) if isinstance(reasons, bytes) else reasons
    modes = np.array([list(row) for row in dict.fromkeys(tables.modes)], np.uint8)
    outcomes = np.frombuffer(tables.outcomes, np.uint8).reshape(-1, 2, 2, 2)
    return np.moveaxis(outcomes[modes[:, index]], 1, -1)


def _isin(reasons: bytes, *admitted: Reason) -> npt.NDArray[np.bool_]:
    """Tell where a table answers with one of these."""
    return np.isin(np.frombuffer(reasons, np.uint8), admitted)


@given(compiled)
@FEW
def test_an_emergency_call_is_never_denied(policy: Policy) -> None:
    for tables in policy.stretches:
        emergency = GATE["emergency"] == 1
        assert _isin(tables.gate, Reason.EMERGENCY)[emergency].all()
        assert not _isin(tables.gate, Reason.EMERGENCY)[~emergency].any()
        assert (_statuses(tables, bytes([Reason.EMERGENCY])) == Status.WHITELISTED).all()
        for client in CLIENTS:
            assert policy.status_map(client)[Status.WHITELISTED] == Status.WHITELISTED


@given(compiled)
@FEW
def test_a_status_map_denies_nothing_but_the_unknown_and_allows_nobody_denied(policy: Policy) -> None:
    for client in CLIENTS:
        mapped = policy.status_map(client)
        assert mapped[Status.WHITELISTED] == Status.WHITELISTED
        assert mapped[Status.BLACKLISTED] == Status.BLACKLISTED
        assert mapped[Status.GREYLISTED] in (Status.WHITELISTED, Status.GREYLISTED)


@given(compiled)
@FEW
def test_a_stolen_phone_is_allowed_only_by_rows_1_to_3(policy: Policy) -> None:
    for tables in policy.stretches:
        stolen = np.isin(GATE["own_block"], (OwnBlock.STOLEN, OwnBlock.LOST)) | (GATE["linked_block"] == 1)
        spared = (GATE["emergency"] | GATE["override"] | GATE["pair_exempt"]) == 1
        statuses = _statuses(tables, tables.gate)
        assert (statuses[..., stolen & ~spared] == Status.BLACKLISTED).all()
        early = _isin(
            tables.gate,
            Reason.EMERGENCY,
            Reason.OVERRIDE,
            Reason.EXEMPT_PAIR,
            Reason.EXEMPT_PAIR_BLOCKED,
        )
        assert early[stolen & spared].all()


@given(compiled)
@FEW
def test_the_owner_of_a_cloned_imei_keeps_service(policy: Policy) -> None:
    for tables in policy.stretches:
        owner = (STANDING["relation"] != Relation.NONE) & (STANDING["standing"] == Standing.CLONED)
        assert _isin(tables.standing, Reason.OWNER, Reason.UTILIZER)[owner].all()
        allowed = _statuses(tables, bytes([Reason.OWNER, Reason.UTILIZER]))
        assert np.isin(allowed, (Status.WHITELISTED, Status.GREYLISTED)).all()
        unblocked = (GATE["own_block"] + GATE["linked_block"] + GATE["range_block"]) == 0
        passes = np.frombuffer(tables.gate, np.uint8) == 0
        gate = _statuses(tables, tables.gate)
        assert (gate[..., unblocked & ~passes] != Status.BLACKLISTED).all()


@given(compiled)
@FEW
def test_no_rule_after_row_10_denies_a_check_without_imsi(policy: Policy) -> None:
    for tables in policy.stretches:
        without = np.isin(STANDING["imsi_kind"], WITHOUT_IMSI)
        statuses = _statuses(tables, tables.standing)[..., without]
        assert np.isin(statuses, (Status.WHITELISTED, Status.GREYLISTED)).all()


@given(compiled)
@FEW
def test_staleness_never_turns_an_allow_into_a_denial(policy: Policy) -> None:
    for tables in policy.stretches:
        for reasons in (tables.gate, tables.standing):
            reached = np.frombuffer(reasons, np.uint8)
            statuses = _statuses(tables, reached[reached > 0])
            fresh, stale = statuses[:, :, 0], statuses[:, :, 1]
            assert (fresh[stale == Status.BLACKLISTED] == Status.BLACKLISTED).all()
            assert (fresh[stale == Status.UNKNOWN] == Status.UNKNOWN).all()


@given(compiled)
@FEW
def test_observe_and_notify_never_deny(policy: Policy) -> None:
    for now, tables in zip(policy.starts, policy.stretches, strict=True):
        assert tables is policy.at(now)
        modes = {row.reason for row in table(policy, now) if row.mode == "enforce"}
        for name, (reasons, _) in MODED.items():
            for reason in reasons:
                statuses = _statuses(tables, bytes([reason]))
                if reason.name not in modes:
                    assert (statuses != Status.BLACKLISTED).all(), name


@given(compiled)
@FEW
def test_rules_that_open_a_case_never_cut_off_before_its_deadline(policy: Policy) -> None:
    for tables in policy.stretches:
        statuses = _statuses(tables, bytes(CAUSES.values()))
        assert np.isin(statuses[:, :, :, 0], (Status.WHITELISTED, Status.GREYLISTED)).all()


@given(compiled)
@FEW
def test_tracked_only_turns_white_into_grey(policy: Policy) -> None:
    for tables in policy.stretches:
        statuses = _statuses(tables, bytes(Reason))
        plain, tracked = statuses[:, 0], statuses[:, 1]
        white = plain == Status.WHITELISTED
        white[..., [Reason.EMERGENCY - 1, Reason.OVERRIDE - 1]] = False
        assert (tracked == np.where(white, Status.GREYLISTED, plain)).all()


@given(compiled)
@FEW
def test_every_combination_of_facts_has_a_verdict(policy: Policy) -> None:
    tables = policy.stretches[-1]
    standing = np.frombuffer(tables.standing, np.uint8)
    assert np.isin(standing, [reason.value for reason in Reason if reason >= Reason.OWNER]).all()
    assert max(tables.gate) < Reason.OWNER
    assert np.isin(_statuses(tables, tables.standing), list(Status)).all()


@given(compiled)
@FEW
def test_lazy_evaluation_equals_full_evaluation(policy: Policy) -> None:
    """A group that needs does not name may be left unread, whatever the others hold."""
    tables = policy.stretches[0]
    for fields, facts, answers, needs in (
        (GATE_FIELDS, GATE, tables.gate, tables.gate_needs),
        (STANDING_FIELDS, STANDING, tables.standing, tables.standing_needs),
    ):
        full = np.frombuffer(answers, np.uint8)
        near = size(tuple(field for field in fields if field[0] not in FAR_FIELDS))
        assert len(needs) == near
        index = np.arange(len(full))
        asked = np.frombuffer(needs, np.uint8)[index % near]
        read = index.copy()
        for name, place in weights(fields).items():
            if name in FAR_FIELDS:
                read -= np.where(asked & FAR_FIELDS[name], 0, facts[name] * place)
        assert (full[read] == full).all()
        for group in Far:  # and none is asked for that changes nothing
            keys = [facts[name] for name, _ in fields if FAR_FIELDS.get(name) is not group]
            key = np.ravel_multi_index(keys, [int(values.max()) + 1 for values in keys])
            varies = np.zeros(int(key.max()) + 1, np.bool_)
            first = np.zeros(len(varies), np.uint8)
            first[key] = full
            varies[key[first[key] != full]] = True
            where = np.zeros(near, np.bool_)
            where[index[varies[key]] % near] = True
            assert (where == (np.frombuffer(needs, np.uint8) & group > 0)).all()


@given(compiled)
@FEW
def test_no_far_fact_lets_a_check_pass_the_gate(policy: Policy) -> None:
    """Where near facts alone stop at the gate, the native engine looks up nothing for the standing."""
    tables = policy.stretches[0]
    gate = np.frombuffer(tables.gate, np.uint8).reshape(-1, len(tables.gate_needs))  # far facts by near ones
    assert (gate[:, gate[0] != 0] != 0).all()


# The naive model.


def _naive_gate(policy: Policy, f: dict[str, int]) -> Reason | None:
    """Rows 1 to 7, as the design's table says them."""
    blocked = f["own_block"] or f["linked_block"] or (f["range_block"] and not f["individually_registered"])
    if f["emergency"]:
        return Reason.EMERGENCY
    if f["override"]:
        return Reason.OVERRIDE
    if f["pair_exempt"]:
        return Reason.EXEMPT_PAIR_BLOCKED if blocked else Reason.EXEMPT_PAIR
    if f["own_block"]:
        return Reason[f"BLOCKED_{OwnBlock(f['own_block']).name}"]
    if f["linked_block"]:
        return Reason.BLOCKED_LINKED
    if f["imsi_kind"] == ImsiKind.FOREIGN and policy.settings.roamers == "allow":
        return Reason.INBOUND_ROAMER
    if f["imsi_kind"] == ImsiKind.ABROAD and policy.settings.served_abroad == "allow":
        return Reason.SERVED_ABROAD
    if blocked:
        return Reason.BLOCKED_RANGE
    for exempt in ("imei", "imsi", "imsi_range", "device_type"):
        if f[f"{exempt}_exempt"]:
            return Reason[f"EXEMPT_{exempt.upper()}"]
    return None


def _naive_standing(policy: Policy, f: dict[str, int]) -> Reason:
    """Rows 8 to 16, as the design's table says them."""
    says = policy.settings
    on = {name: cause.mode != "off" for name, cause in says.cause.items()}
    registered = f["individually_registered"] or f["range_registered"]
    covered = f["other_slot_owned"] and not f["owned"] and f["standing"] == Standing.KEY
    chain = [
        (f["relation"] == Relation.OWNER, Reason.OWNER),
        (f["relation"] == Relation.UTILIZER, Reason.UTILIZER),
        (says.slot_rule != "each" and f["other_slot_paired"], Reason.OTHER_SLOT),
        (says.slot_rule == "any" and covered, Reason.OTHER_SLOT),
        (says.grandfather.imei and f["grandfathered"] == Grandfathered.IMEI, Reason.GRANDFATHERED_IMEI),
        (says.grandfather.pair and f["grandfathered"] == Grandfathered.PAIR, Reason.GRANDFATHERED_PAIR),
        (f["imsi_kind"] == ImsiKind.NONE, Reason.NO_IMSI),
        (f["imsi_kind"] == ImsiKind.MALFORMED, Reason.IMSI_MALFORMED),
        (f["imsi_kind"] == ImsiKind.SHORT, Reason.IMSI_SHORT),
        (f["standing"], Reason.__members__.get(Standing(f["standing"]).name)),
        (on["unowned_slot"] and not f["owned"] and f["other_slot_owned"], Reason.UNOWNED_SLOT),
        (on["owned_by_other"] and f["owned"] and registered, Reason.OWNED_BY_OTHER),
        (on["never_activated"] and not f["owned"] and registered, Reason.NEVER_ACTIVATED),
        (on["not_registered"] and not registered, Reason.NOT_REGISTERED),
        (True, Reason.UNDECIDED),
    ]
    reason = next(reason for fires, reason in chain if fires)
    assert reason is not None
    return reason


def _agrees(policy: Policy, tables: PolicyTables, gate: int, standing: int) -> None:
    """Compare the tables with the naive model at two indexes."""
    facts = {name: int(values[gate]) for name, values in GATE.items()}
    assert gate_index(**facts) == gate
    assert tables.gate[gate] == (_naive_gate(policy, facts) or 0)
    facts = {name: int(values[standing]) for name, values in STANDING.items()}
    assert standing_index(**facts) == standing
    assert tables.standing[standing] == _naive_standing(policy, facts)


@given(compiled, st.data())
@FEW
def test_tables_agree_with_the_naive_model(policy: Policy, data: st.DataObject) -> None:
    tables = policy.stretches[0]
    first = data.draw(st.integers(0, 100))
    for index in range(first, len(tables.gate), 101):
        _agrees(policy, tables, index, index % len(tables.standing))


@pytest.mark.parametrize("slot_rule", ["each", "other", "any"])
def test_whole_tables_agree_with_the_naive_model(slot_rule: str) -> None:
    text = default_policy_text().replace('slot_rule = "other"', f'slot_rule = "{slot_rule}"')
    policy = compile_policy(text)
    tables = policy.at(0)
    for gate in range(len(tables.gate)):
        _agrees(policy, tables, gate, min(gate, len(tables.standing) - 1))


@given(compiled, st.data())
@FEW
def test_explanations_agree_with_the_tables(policy: Policy, data: st.DataObject) -> None:
    """The rule that the explanation stops at is the reason that the tables give."""
    facts = {name: data.draw(st.integers(0, radix - 1)) for name, radix in (*GATE_FIELDS, *STANDING_FIELDS)}
    now = data.draw(st.sampled_from(policy.starts))
    told = explain_facts(policy, now, facts)
    tables = policy.at(now)
    assert told.reason is judge(tables, **facts)
    assert told.steps[-1].reason == told.reason.name
    assert told.status is outcome(tables, told.reason)
    assert explain(policy, now).count("\n") >= len(told.steps)


def _naive_name(classes: dict[str, Any], spans: str, wanted: str, width: int) -> str:
    """Name of the class whose beginnings or ranges hold some digits."""
    for name, made in classes.items():
        for first, last in getattr(made, spans):
            low, high = (str(first)[1:], str(last)[1:]) if width else (f"{first:08d}", f"{last:08d}")
            head = wanted[: len(low)]
            if len(head) == len(low) and low <= head <= high:
                return name
    return ""


@given(
    compiled,
    st.sampled_from(["", "0", "9", "26", "262", "26207", "4321", "43211", "4321199", "43235070"]),
    st.text("0123456789", min_size=1, max_size=7),
    st.sampled_from(["35365308", "35365400", "35365999", "86", "36", "0", "99"]),
)
def test_cohorts_agree_with_the_naive_model(policy: Policy, head: str, tail: str, tac_head: str) -> None:
    """Classes are found as one would by the digits themselves."""
    imsi, tac = head + tail, (tac_head + tail.ljust(8, "5"))[:8]
    tables, says = policy.stretches[0], policy.settings
    code = imsi_code(imsi)
    in_range = _naive_name(says.imsi_range, "imsi", imsi, 1)
    assert tables.cohort_names[tables.cohort(int(tac), code)] == (
        _naive_name(says.operator, "imsi", imsi, 1),
        in_range,
        _naive_name(says.tac_set, "tacs", tac, 0),
    )
    assert tables.home(code) == imsi.startswith(says.home_plmns)
    assert tables.imsi_range_exempt(code) == bool(in_range and says.imsi_range[in_range].exempt)


@given(compiled, st.integers(0, 2_000_000_000))
@FEW
def test_modes_agree_with_the_naive_model(policy: Policy, now: int) -> None:
    """Base mode, then every phase that matches, in the order of the file."""
    tables, says = policy.at(now), policy.settings
    for names, modes in zip(tables.cohort_names, tables.modes, strict=True):
        for rule, (reasons, admits) in MODED.items():
            mode = says.cause[rule].mode if rule in CAUSES else getattr(says.mode, rule)
            for phase in says.phase:
                chosen = (phase.operators, phase.imsi_ranges, phase.tac_sets)
                matches = all(
                    not picked or name in picked for picked, name in zip(chosen, names, strict=True)
                )
                ended = phase.valid_until and phase.valid_until <= now
                if rule in phase.rules and matches and phase.valid_from <= now and not ended:
                    mode = phase.mode
            wanted = admits.get(mode)
            if (rule, mode, says.moved_sim) == ("owned_by_other", "notify", "allow"):
                wanted = Outcome.TRACK  # no case of what is allowed for good
            if mode != "off":
                assert {modes[reason] for reason in reasons} == {wanted}
            for reason in reasons:
                opens = rule in CAUSES and mode in ("notify", "enforce") and wanted != Outcome.TRACK
                assert mode == "off" or tables.opens[modes[reason]] == opens


@given(st.text() | policies().flatmap(lambda text: st.integers(0, len(text)).map(lambda cut: text[:cut])))
def test_garbage_compiles_or_is_refused(text: str) -> None:
    """Nothing else is raised."""
    with suppress(PolicyError):
        compile_policy(text)
