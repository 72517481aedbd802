"""Links of a delta: the slots of a device are a clique."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import numpy as np

from eir.whitelist.apply import Bools
from eir.whitelist.delta import SLOTS_MAX, RowReason
from eir.whitelist.hashtable import I64, Columns, Ragged
from eir.whitelist.order import distinct
from eir.whitelist.overlay import Table
from eir.whitelist.rows import U64, Op

if TYPE_CHECKING:
    from eir.whitelist.filled import Filled
    from eir.whitelist.plan import Plan
    from eir.whitelist.tables import Generation


def plan_links(generation: Generation, filled: Filled, usable: Bools, plan: Plan) -> None:
    """Work out LINK and UNLINK; those of two slots that stand alone go as whole columns."""
    unlink = np.flatnonzero(usable & (filled.op == Op.UNLINK))
    link = np.flatnonzero(usable & (filled.op == Op.LINK))
    keys = distinct(
        np.concatenate([part[at] for part in (filled.imei, filled.other) for at in (unlink, link)])
    )
    present = generation.read_links(keys)
    alone = present.counts() == 0
    once = np.bincount(_places(keys, filled, link), minlength=len(keys)) == 1
    first, second = np.searchsorted(keys, filled.imei[link]), np.searchsorted(keys, filled.other[link])
    simple = alone[first] & alone[second] & once[first] & once[second]
    devices: dict[int, set[int]] = {}
    for place in np.flatnonzero(~alone).tolist():
        device = {int(keys[place]), *present.run(place).tolist()}
        devices.update((slot, device) for slot in device if slot not in devices)
    touched = _unlink(devices, filled, unlink, plan) | _link(devices, filled, link[~simple], plan)
    pairs = link[simple]
    one, two = filled.imei[pairs], filled.other[pairs]
    plan.added["links"] += len(pairs)
    plan.change["links"] += len(pairs)
    plan.columns[Table.LINKS] = _columns(
        np.concatenate((one, two)), np.concatenate((two, one)), devices, touched
    )


def _places(keys: U64, filled: Filled, link: I64) -> I64:
    return np.searchsorted(keys, np.concatenate((filled.imei[link], filled.other[link])))


def _unlink(devices: dict[int, set[int]], filled: Filled, index: I64, plan: Plan) -> set[int]:
    """Take slots off their devices; what is linked is told by the state before any row."""
    before = dict(devices)
    touched: set[int] = set()
    for row, key, other in zip(
        index.tolist(), filled.imei[index].tolist(), filled.other[index].tolist(), strict=True
    ):
        if other not in before.get(key, {key}):
            plan.bad.add(np.array([row]), RowReason.NOT_THERE, "the two are not slots of one device")
            continue
        slots = devices.get(other, {other})
        touched |= slots
        plan.change["links"] -= len(slots) - 1
        rest = slots - {other}
        for slot in rest:
            devices[slot] = rest
        devices[other] = {other}
    return touched


def _link(devices: dict[int, set[int]], filled: Filled, index: I64, plan: Plan) -> set[int]:
    """Join devices; one that would have too many slots stays as it was, with all rows that join it bad."""
    rows = list(zip(index.tolist(), filled.imei[index].tolist(), filled.other[index].tolist(), strict=True))
    there = [row for row, key, other in rows if other in devices.get(key, {key})]
    plan.bad.add(
        np.array(there, np.int64), RowReason.ALREADY_THERE, "the two are slots of one device already"
    )
    rows = [row for row in rows if row[0] not in set(there)]
    joined: dict[int, set[int]] = {}
    for _, key, other in rows:
        one, two = (joined.get(slot) or devices.get(slot) or {slot} for slot in (key, other))
        device = one | two
        for slot in device:
            joined[slot] = device
    big = [row for row, key, _ in rows if len(joined[key]) > SLOTS_MAX]
    plan.bad.add(
        np.array(big, np.int64), RowReason.TOO_MANY_SLOTS, f"a device of more than {SLOTS_MAX} slots"
    )
    plan.added["links"] += len(rows) - len(big)
    for slot, device in joined.items():
        if len(device) <= SLOTS_MAX and slot == min(device):
            groups = {frozenset(devices.get(part, {part})) for part in device}
            plan.change["links"] += _pairs(device) - sum(_pairs(group) for group in groups)
    touched = {slot for slot, device in joined.items() if len(device) <= SLOTS_MAX}
    devices.update((slot, joined[slot]) for slot in touched)
    return touched


def _pairs(device: Collection[int]) -> int:
    return len(device) * (len(device) - 1) // 2


def _columns(key: U64, other: U64, devices: dict[int, set[int]], touched: Iterable[int]) -> Columns:
    slots = sorted(touched)
    runs = [sorted(devices[slot] - {slot}) for slot in slots]
    keys = np.concatenate((key, np.array(slots, np.uint64)))
    counts = np.concatenate((np.ones(len(key), np.int64), np.array([len(run) for run in runs], np.int64)))
    words = np.concatenate((other, np.array([word for run in runs for word in run], np.uint64)))
    order = np.argsort(keys)
    return Columns(keys[order], np.zeros(len(keys), np.uint64), Ragged.of(counts, words).take(order))
