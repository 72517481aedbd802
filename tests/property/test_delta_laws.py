"""The laws of deltas, each with its name; on the plain model, and the columns against it."""

from __future__ import annotations

from random import Random

import pytest
from delta_strategies import after, deltas, mixed, operations, payload, states
from hypothesis import given
from hypothesis import strategies as st

from eir.identity import SERIALS
from eir.whitelist import algebra
from eir.whitelist.algebra import SLOTS_MAX, apply, diff, invert, merge, perform
from eir.whitelist.between import deltas_between
from eir.whitelist.blob import rows_from_blob, rows_to_blob
from eir.whitelist.contradict import contradictions
from eir.whitelist.delta import RowReason
from eir.whitelist.operation import Operation, clash, clashes, message, rows_of
from eir.whitelist.operation import operations as operations_of
from eir.whitelist.parse import rows_from_payload
from eir.whitelist.rows import COLUMNS, Rows, concat


@given(states, states)
def test_applying_the_diff_of_two_states_to_one_gives_the_other(s: algebra.State, t: algebra.State) -> None:
    assert apply(s, diff(s, t)) == t
    assert diff(s, s) == {}


@given(states, states)
def test_the_deltas_between_two_states_lead_from_one_to_the_other(s: algebra.State, t: algebra.State) -> None:
    state = s
    for delta in deltas_between(s, t):
        assert clashes(delta) == set()
        outcome = perform(state, delta)
        assert outcome.bad == {}
        state = outcome.state
    assert state == t


@given(states, states, states, states)
def test_merging_is_associative(
    s: algebra.State, t: algebra.State, u: algebra.State, v: algebra.State
) -> None:
    a, b, c = diff(s, t), diff(t, u), diff(u, v)
    assert merge(merge(a, b), c) == merge(a, merge(b, c)) == diff(s, v)


@given(states, st.lists(deltas, max_size=3))
def test_n_changes_merged_equal_n_deltas_performed(
    s: algebra.State, given_deltas: list[list[Operation]]
) -> None:
    merged: algebra.Change = {}
    state = s
    for delta in given_deltas:
        following = perform(state, delta).state
        merged, state = merge(merged, diff(state, following)), following
    assert apply(s, merged) == state


@given(states, deltas)
def test_a_delta_and_its_inverse_cancel(s: algebra.State, delta: list[Operation]) -> None:
    t = perform(s, delta).state
    change = diff(s, t)
    assert apply(t, invert(change)) == s
    assert merge(change, invert(change)) == {}
    assert invert(invert(change)) == change
    assert after(*deltas_between(t, s), start=t) == s


@given(states, states)
def test_a_change_applies_only_where_it_begins(s: algebra.State, t: algebra.State) -> None:
    if change := diff(s, t):
        with pytest.raises(ValueError, match="does not begin"):
            apply(t, change)
        with pytest.raises(ValueError, match="not consecutive"):
            merge(change, change)


@given(states, deltas, st.randoms())
def test_the_order_of_rows_has_no_meaning(s: algebra.State, delta: list[Operation], random: Random) -> None:
    shuffled = random.sample(delta, len(delta))
    one, other = perform(s, delta), perform(s, shuffled)
    assert one.state == other.state
    assert {delta[index]: fault for index, fault in one.bad.items()} == {
        shuffled[index]: fault for index, fault in other.bad.items()
    }


@given(states, deltas)
def test_a_bad_row_changes_nothing_for_the_others(s: algebra.State, delta: list[Operation]) -> None:
    outcome = perform(s, delta)
    rest = perform(s, [row for index, row in enumerate(delta) if index not in outcome.bad])
    assert rest.bad == {}
    assert rest.state == outcome.state


@given(states)
def test_every_state_is_canonical(s: algebra.State) -> None:
    for fact, value in s.items():
        match fact:
            case ("registered_ranges", tac) | ("blocked_ranges", tac, _, _):
                assert value == algebra.union(value)
                assert all(key // SERIALS == tac for interval in value for key in interval)
            case ("utilizers", imei):
                assert value
                assert s[("pairs", imei)] not in value
            case ("links", imei):
                assert imei in value
                assert 2 <= len(value) <= SLOTS_MAX
                assert all(s[("links", slot)] == value for slot in value)
            case _:
                assert value is not None


@given(operations, operations)
def test_a_clash_of_two_rows_is_mutual(one: Operation, other: Operation) -> None:
    assert clash(one, other) == clash(other, one)


@given(mixed)
def test_contradictions_by_columns_are_those_of_the_plain_model(rows: list[Operation]) -> None:
    index, told = contradictions(rows_of(rows), row_base=100)
    assert set(index.tolist()) == clashes(rows)
    for bad in told:
        other = int(bad.message.split(",")[0].split()[-1]) - 100
        reason = clash(rows[bad.row - 100], rows[other])
        assert reason is not None
        assert bad.reason in (reason, RowReason.REPEATS_ROW, RowReason.CONTRADICTS_ROW)
        assert bad.message.startswith(("repeats row", "contradicts row"))


def _same(one: Rows, other: Rows) -> bool:
    return (
        dict(operations_of(one)) == dict(operations_of(other))
        and len(one) == len(other)
        and all(
            (one.column(name) == other.column(name)).all() for name in COLUMNS if name not in ("name", "imei")
        )
    )


@given(mixed)
def test_rows_and_operations_are_one_thing(rows: list[Operation]) -> None:
    assert [row for _, row in operations_of(rows_of(rows))] == rows


@given(mixed)
def test_a_payload_parses_to_the_rows_it_was_made_of(rows: list[Operation]) -> None:
    parsed, bad = rows_from_payload(payload(rows), 0, "feed")
    assert bad == []
    assert [row for _, row in operations_of(parsed)] == rows


@given(mixed, st.lists(st.text(max_size=5), min_size=12, max_size=12))
def test_a_blob_decodes_to_the_rows_it_was_made_of(rows: list[Operation], references: list[str]) -> None:
    before = rows_of(rows)
    before.references = references[: len(rows)]
    decoded = rows_from_blob(rows_to_blob(before))
    assert _same(before, decoded)
    assert [message(row).SerializeToString() for _, row in operations_of(decoded)] == [
        message(row).SerializeToString() for row in rows
    ]
    assert list(decoded.references) == before.references or [decoded.references] == before.references


@given(st.lists(mixed, max_size=4))
def test_joined_rows_are_the_rows_of_all_parts(parts: list[list[Operation]]) -> None:
    joined = concat([rows_of(part) for part in parts])
    assert [row for _, row in operations_of(joined)] == [row for part in parts for row in part]
