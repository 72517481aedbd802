"""Whole paths through store and checker, where parts that are right by themselves once disagreed."""

import hashlib
from pathlib import Path

import pytest
import store_model

from eir.check import Checker
from eir.errors import DeltaConflictError, DeltaGapError, DeltaGuardError, DeltaInvalidError
from eir.identity import imsi_code
from eir.policy import compile_policy, default_policy_text
from eir.proto import sync_pb2
from eir.verdict import Reason
from eir.whitelist.delta import Header
from eir.whitelist.operation import Operation, message
from eir.whitelist.pending import PendingDelta
from eir.whitelist.rows import Op, Role
from eir.whitelist.store import Store

NOW = 1_800_000_000
KEY, SLOT = 35123456000001, 35123456000002
OWNER, OTHER = "432110000000001", "432110000000002"
RANGE = (35123456000000, 35123456000009)


@pytest.fixture
def store(tmp_path: Path):
    store = Store.open(tmp_path, clock=lambda: NOW)
    yield store
    store.close()


def payload(*rows: Operation) -> bytes:
    return sync_pb2.DeltaRows(operations=map(message, rows)).SerializeToString()


def reason(store: Store, key: int, imsi: str, **settings: str) -> Reason:
    """Reason of a check under the shipped policy with other settings; `grandfather` is its whole section."""
    text = default_policy_text()
    if "grandfather" in settings:
        text = text.replace("imei = true\npair = true", settings["grandfather"])
    if "slot_rule" in settings:
        text = text.replace('slot_rule = "other"', f'slot_rule = "{settings["slot_rule"]}"')
    return Reason(
        Checker(store, compile_policy(text), lambda: NOW).check(f"{key:014d}", imsi, "", False).reason
    )


# Grandfathered devices.


def test_the_other_slot_of_a_device_grandfathered_with_a_sim_is_an_unowned_slot(store):
    link = Operation(Op.LINK, KEY, imei_other=SLOT)
    store_model.push(store, [link, Operation(Op.GRANDFATHER, KEY, imsi=imsi_code(OWNER))])
    assert reason(store, SLOT, OTHER) == Reason.UNOWNED_SLOT
    assert reason(store, SLOT, OTHER, grandfather="imei = true\npair = false") == Reason.NOT_REGISTERED


@pytest.mark.parametrize("slot_rule", ["each", "other", "any"])
def test_a_slot_in_use_too_late_covers_no_other_slot(store, slot_rule):
    link = Operation(Op.LINK, KEY, imei_other=SLOT)
    store_model.push(store, [link, Operation(Op.GRANDFATHER, KEY, time=NOW - 1)])
    late = "imei = true\npair = true\nin_use_before = 2020-01-01"
    assert reason(store, KEY, OTHER, grandfather=late, slot_rule=slot_rule) == Reason.NOT_REGISTERED
    assert reason(store, SLOT, OTHER, grandfather=late, slot_rule=slot_rule) == Reason.NOT_REGISTERED


@pytest.mark.parametrize(
    ("grandfather", "expected"),
    [
        ("imei = true\npair = true", Reason.GRANDFATHERED_PAIR),
        ("imei = true\npair = false", Reason.GRANDFATHERED_IMEI),
        ("imei = false\npair = true", Reason.GRANDFATHERED_PAIR),
        ("imei = false\npair = false", Reason.NOT_REGISTERED),
    ],
)
def test_a_kind_of_grandfathering_that_does_not_count_hides_no_other(store, grandfather, expected):
    rows = [Operation(Op.GRANDFATHER, KEY), Operation(Op.GRANDFATHER, KEY, imsi=imsi_code(OWNER))]
    store_model.push(store, rows)
    assert reason(store, KEY, OWNER, grandfather=grandfather) == expected


# Ranges.


def test_a_pair_may_end_in_the_delta_that_deregisters_its_range(store):
    pair = Operation(Op.PAIR, KEY, imsi=imsi_code(OWNER), cause=Role.OWNER)
    store_model.push(store, [Operation(Op.REGISTER, *RANGE), pair])
    applied = store_model.push(
        store, [Operation(Op.DEREGISTER, *RANGE), Operation(Op.UNPAIR, KEY, imsi=imsi_code(OWNER))]
    )
    assert {effect.table: effect.removed for effect in applied.effects} == {
        "registered_ranges": 1,
        "pairs": 1,
    }
    assert reason(store, KEY, OWNER) == Reason.NOT_REGISTERED


def lots(first: int, last: int, op: Op = Op.REGISTER) -> list[Operation]:
    return [Operation(op, lot + first, lot + last) for lot in range(35123456000000, 35123456110000, 100)]


def test_a_guard_sees_ranges_that_lose_all_but_their_ends(store):
    store_model.push(store, lots(0, 49))
    with pytest.raises(DeltaGuardError) as caught:
        store_model.push(store, lots(1, 48, Op.DEREGISTER))
    assert [(effect.table, effect.removed) for effect in caught.value.effects] == [
        ("registered_ranges", 1056)
    ]


def test_a_hole_is_a_part_of_a_range_removed(store):
    store_model.push(store, lots(0, 49))
    holes = [Operation(Op.DEREGISTER, row.imei + 25) for row in lots(0, 49)]
    [effect] = store_model.push(store, holes).effects
    assert (effect.table, effect.added, effect.removed, effect.rows) == ("registered_ranges", 0, 22, 2200)


def test_a_range_that_joins_another_removes_none(store):
    store_model.push(store, lots(0, 49))
    [effect] = store_model.push(store, lots(50, 59)).effects
    assert (effect.added, effect.removed, effect.rows) == (1100, 0, 1100)


# Deltas that overlap in time, and chunks.


def begun(store: Store, sequence: int, row: Operation) -> tuple[PendingDelta, bytes]:
    pending = store.push(Header("feed", sequence, 0, 1))
    pending.chunk(0, payload(row))
    return pending, hashlib.sha256(payload(row)).digest()


@pytest.mark.parametrize(("sequence", "error"), [(1, DeltaConflictError), (2, DeltaGapError)])
def test_of_two_deltas_of_a_feed_that_begin_together_one_is_applied(store, sequence, error):
    first, first_hash = begun(store, 1, Operation(Op.REGISTER, KEY))
    second, second_hash = begun(store, sequence, Operation(Op.REGISTER, SLOT))
    first.commit(first_hash)
    with pytest.raises(error):
        second.commit(second_hash)
    assert [(feed.sequence, feed.serial) for feed in store.feeds()] == [(1, 1)]
    assert store.generation.key_row(SLOT) == (0, None)


def test_chunks_without_rows_are_refused_so_that_rows_bound_their_number(store):
    pending = store.push(Header("feed", 1, 0, 1))
    with pytest.raises(DeltaInvalidError):
        pending.chunk(0, b"")
    pending.abort()
    heartbeat = store.push(Header("feed", 1, 0, 0))
    heartbeat.chunk(0, b"")
    with pytest.raises(DeltaInvalidError):
        heartbeat.chunk(1, b"")
