"""Inquiries against the plain model, and against what checks answer."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import delta_strategies as universe
import store_model
from hypothesis import given, settings
from test_store_model import FAST, LENIENT, NOW, rebuild_in_this_process, steps

from eir.check import Checker
from eir.identity import SERIALS, ImeiClass, TypedImei, imei_15, imei_text, imsi_text
from eir.identity import Imei as Identity
from eir.inquiry.inquirer import Inquirer
from eir.policy import compile_policy, default_policy_text
from eir.proto import inquiry_pb2
from eir.whitelist.algebra import State, perform
from eir.whitelist.operation import Operation, clashes, message
from eir.whitelist.store import Store

POLICY = compile_policy(default_policy_text())
__all__ = ["rebuild_in_this_process"]


def typed(imei: int | str) -> TypedImei:
    raw = imei if isinstance(imei, str) else ""
    return TypedImei(Identity(ImeiClass.KEY, 0 if raw else int(imei), raw), False)


def imsi(code: int) -> str:
    return imsi_text(code) if code else ""


def slot_of(state: State, imei: int | str) -> inquiry_pb2.Slot:
    """What the model says of a slot."""
    number = imei if isinstance(imei, str) else imei_15(imei)
    slot = inquiry_pb2.Slot(imei=number, registered=("registered", imei) in state)
    if isinstance(imei, int):
        tac = imei // SERIALS
        slot.device_type = state.get(("tacs", tac), "")
        for fact, spans in state.items():
            if fact[0] in ("registered_ranges", "blocked_ranges") and fact[1] == tac:
                for first, last in spans:
                    if first <= imei <= last:
                        span = inquiry_pb2.ImeiRange(first=imei_text(first), last=imei_text(last))
                        if fact[0] == "blocked_ranges":
                            slot.blocks.add(cause=fact[2], authority=fact[3], range=span)
                        else:
                            slot.registered_ranges.append(span)
    owner = state.get(("pairs", imei))
    for code, role in [(owner, 1)] * bool(owner) + [(code, 2) for code in state.get(("utilizers", imei), ())]:
        msisdn, language = state.get(("subscribers", code), (0, ""))
        slot.pairs.add(imsi=imsi_text(code), role=role, msisdn=imsi(msisdn), language=language)
    for fact, value in state.items():
        if fact[1:2] != (imei,):
            continue
        if fact[0] == "blocks":
            slot.blocks.add(cause=fact[2], authority=fact[3])
        elif fact[0] == "tracked":
            slot.tracked = True
        elif fact[0] == "exemptions":
            until, cause = value
            ended = bool(until) and until <= NOW
            slot.exemptions.add(imei=number, imsi=imsi(fact[2]), cause=cause, until=until, ended=ended)
        elif fact[0] == "grandfathered":
            slot.grandfathered.add(imsi=imsi(fact[2]), in_use_since=value)
    return slot


def sorted_slot(slot: inquiry_pb2.Slot) -> inquiry_pb2.Slot:
    for group in (slot.blocks, slot.pairs, slot.exemptions, slot.grandfathered):
        group.sort(key=lambda one: one.SerializeToString(deterministic=True))
    return slot


def standing(state: State, code: int) -> set[str]:
    """IMEIs on which an IMSI stands, as the model has it."""
    found = set()
    for fact, value in state.items():
        paired = (fact[0] == "pairs" and value == code) or (fact[0] == "utilizers" and code in value)
        named = fact[0] in ("exemptions", "grandfathered") and fact[1] and fact[2] == code
        if paired or named:
            found.add(fact[1])
    return {imei if isinstance(imei, str) else imei_15(imei) for imei in found}


def compare(store: Store, inquirer: Inquirer, checker: Checker, state: State) -> None:
    for imei in (*universe.KEYS, *universe.RAW_TEXTS):
        told = inquirer.equipment(typed(imei), universe.IMSIS[0])
        assert told.serial == store.generation.serial
        assert sorted_slot(told.slot) == sorted_slot(slot_of(state, imei))
        others = state.get(("links", imei), frozenset()) - {imei}
        assert {slot.imei for slot in told.other_slots} == {imei_15(other) for other in others}
        assert [one.imsi for one in told.judgements][:2] == ["", imsi_text(universe.IMSIS[0])]
        assert {pair.imsi for pair in told.slot.pairs} <= {one.imsi for one in told.judgements}
        text = imei if isinstance(imei, str) else imei_text(imei)
        for judgement in told.judgements:
            verdict = checker.check(text, judgement.imsi, "", False)
            assert (judgement.status, judgement.reason) == (verdict.status, verdict.reason)
            assert judgement.deadline == verdict.deadline
    for code in universe.IMSIS:
        sims = {sim.imsi: sim for sim in inquirer.subscriber(imsi=code).sims}
        wanted = standing(state, code)
        sim = sims.get(imsi_text(code), inquiry_pb2.Sim())
        assert {place.slot.imei for place in sim.slots} == wanted
        assert sim.slot_count == len(wanted)
        assert (imsi(state.get(("subscribers", code), (0, ""))[0])) == sim.msisdn
        assert len(sim.exemptions) == (("exemptions", 0, code) in state)
        for place in sim.slots:
            roles = [pair.role for pair in place.slot.pairs if pair.imsi == sim.imsi]
            assert [place.role] == (roles or [0])
    msisdn = 1989120000001
    numbers = {fact[1]: value[0] for fact, value in state.items() if fact[0] == "subscribers"}
    holders = {imsi_text(code) for code, number in numbers.items() if number == msisdn}
    assert {sim.imsi for sim in inquirer.subscriber(msisdn=msisdn).sims} == holders


def compare_history(inquirer: Inquirer, pushed: list[list[Operation]]) -> None:
    """Every row that names an IMEI is found, and none that names only others."""
    for imei in (*universe.KEYS, *universe.RAW_TEXTS):
        told = [
            (entry.serial, entry.operation.SerializeToString(deterministic=True))
            for entry in inquirer.history(b"", typed(imei)).entries
        ]
        naming = {
            (serial, message(row).SerializeToString(deterministic=True))
            for serial, rows in enumerate(pushed, 1)
            for row in rows
            if imei in (row.imei, row.imei_other)
            or (row.imei_last and isinstance(imei, int) and int(row.imei) <= imei <= row.imei_last)
        }
        assert naming <= set(told)
        assert [serial for serial, _ in told] == sorted((serial for serial, _ in told), reverse=True)
        of_others = [
            row
            for serial, rows in enumerate(pushed, 1)
            for row in rows
            if row.imei and (serial, message(row).SerializeToString(deterministic=True)) in set(told) - naming
        ]
        assert all(row.op.name == "TAC" for row in of_others)


@given(steps)
@settings(max_examples=40)
def test_inquiries_say_what_the_model_and_the_checks_say(given_steps: list[list[Operation] | str]) -> None:
    folder = Path(tempfile.mkdtemp(dir=FAST))
    try:
        _walk(folder, given_steps)
    finally:
        shutil.rmtree(folder)


def _walk(folder: Path, given_steps: list[list[Operation] | str]) -> None:
    state: State = {}
    pushed: list[list[Operation]] = []
    store = Store.open(folder, clock=lambda: NOW, limits=LENIENT)
    checker = Checker(store, POLICY, lambda: NOW)
    inquirer = Inquirer(store, folder / "registry.db", lambda: checker, lambda: NOW)
    for step in given_steps:
        if step == "restart":
            continue
        if isinstance(step, str):
            store.rebuild(all_segments=step == "rebuild all")
        else:
            left_out = clashes(step)
            rows = [row for index, row in enumerate(step) if index not in left_out]
            store_model.push(store, step, parts=2)
            state = perform(state, rows).state
            pushed.append(step)
        compare(store, inquirer, checker, state)
    compare_history(inquirer, pushed)
    inquirer.close()
    store.close()
