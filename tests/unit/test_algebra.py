"""What each operation means: examples, and the counter-examples that are refused."""

from __future__ import annotations

import pytest

from eir.identity import imsi_code
from eir.whitelist.algebra import PHASES, State, cut, perform, union
from eir.whitelist.delta import PAIRS_MAX, SLOTS_MAX, RowReason
from eir.whitelist.operation import Operation
from eir.whitelist.rows import Op, Role

A, B, C, D = (35123456000000 + serial for serial in range(4))
TAC = 35123456
X, Y, Z = (imsi_code(f"43211000000000{digit}") for digit in (1, 2, 3))


def _do(state: State, *rows: Operation) -> State:
    outcome = perform(state, rows)
    assert outcome.bad == {}
    return outcome.state


def _fault(state: State, *rows: Operation) -> RowReason:
    """Reason of the last row, the only bad one, which changes nothing."""
    outcome = perform(state, rows)
    assert outcome.bad.keys() == {len(rows) - 1}
    assert outcome.state == perform(state, rows[:-1]).state
    return outcome.bad[len(rows) - 1][0]


def _owner(imei: int, imsi: int, former: int = 0) -> Operation:
    return Operation(Op.PAIR, imei, imsi=imsi, former_imsi=former, cause=Role.OWNER)


def _utilizer(imei: int, imsi: int) -> Operation:
    return Operation(Op.PAIR, imei, imsi=imsi, cause=Role.UTILIZER)


def _unpair(imei: int, imsi: int, role: int = 0) -> Operation:
    return Operation(Op.UNPAIR, imei, imsi=imsi, cause=role)


OWNED = _do({}, _owner(A, X), _utilizer(A, Y))


def test_every_kind_has_its_phase() -> None:
    assert {phase.op for phase in PHASES} == set(Op)


def test_intervals_are_joined_and_cut() -> None:
    assert union([(5, 6), (1, 2), (3, 4), (8, 9)]) == ((1, 6), (8, 9))
    assert cut([(1, 6), (8, 9)], 3, 8) == ((1, 2), (9, 9))
    assert cut([(1, 6)], 1, 6) == ()


def test_one_imei_and_ranges_are_registered_apart() -> None:
    state = _do({}, Operation(Op.REGISTER, A, C))
    state = _do(state, Operation(Op.REGISTER, B))
    assert state == {("registered_ranges", TAC): ((A, C),), ("registered", B): True}
    assert _fault(state, Operation(Op.REGISTER, B)) == RowReason.ALREADY_THERE
    assert _fault(state, Operation(Op.REGISTER, C, D)) == RowReason.ALREADY_THERE
    assert _do(state, Operation(Op.REGISTER, D, D))[("registered_ranges", TAC)] == ((A, D),)


def test_deregistering_one_imei_cuts_its_range_and_ends_its_pairs() -> None:
    state = _do(
        {},
        Operation(Op.REGISTER, A, C),
        Operation(Op.REGISTER, B),
        _owner(B, X),
        _utilizer(B, Y),
        _owner(A, X),
    )
    assert _do(state, Operation(Op.DEREGISTER, B)) == {
        ("registered_ranges", TAC): ((A, A), (C, C)),
        ("pairs", A): X,
    }
    assert _fault(state, Operation(Op.DEREGISTER, D)) == RowReason.NOT_THERE


def test_deregistering_a_range_ends_pairs_of_what_is_not_registered_one_by_one() -> None:
    state = _do(
        {}, Operation(Op.REGISTER, A, C), Operation(Op.REGISTER, B), _owner(A, X), _owner(B, X), _owner(D, X)
    )
    assert _do(state, Operation(Op.DEREGISTER, A, B)) == {
        ("registered_ranges", TAC): ((C, C),),
        ("registered", B): True,
        ("pairs", B): X,
        ("pairs", D): X,
    }
    assert _fault(state, Operation(Op.DEREGISTER, A, D)) == RowReason.NOT_THERE


def test_a_block_is_by_cause_and_authority() -> None:
    state = _do({}, Operation(Op.BLOCK, A, cause=1, name="a"), Operation(Op.BLOCK, A, cause=1, name="b"))
    assert _fault(state, Operation(Op.UNBLOCK, A, cause=2, name="a")) == RowReason.NOT_THERE
    assert _fault(state, Operation(Op.BLOCK, A, cause=1, name="b")) == RowReason.ALREADY_THERE
    assert _do(state, Operation(Op.UNBLOCK, A, cause=1, name="a")) == {("blocks", A, 1, "b"): True}


def test_blocked_ranges_are_cut_as_registered_ones() -> None:
    state = _do({}, Operation(Op.BLOCK, A, D, cause=1, name="a"))
    assert _do(state, Operation(Op.UNBLOCK, B, cause=1, name="a")) == {
        ("blocked_ranges", TAC, 1, "a"): ((A, A), (C, D))
    }
    assert _do(state, Operation(Op.BLOCK, A, B, cause=1, name="b"))
    assert _fault(state, Operation(Op.BLOCK, A, B, cause=1, name="a")) == RowReason.ALREADY_THERE


def test_a_pair_needs_no_registration() -> None:
    assert _do({}, _owner(A, X)) == {("pairs", A): X}


def test_a_transfer_names_the_owner_it_expects() -> None:
    assert _fault(OWNED, _owner(A, Z)) == RowReason.OWNER_MISMATCH
    assert _fault(OWNED, _owner(A, Z, Y)) == RowReason.OWNER_MISMATCH
    assert _fault(OWNED, _owner(B, Z, Y)) == RowReason.OWNER_MISMATCH
    assert _fault(OWNED, _owner(A, X)) == RowReason.ALREADY_THERE
    assert _do(OWNED, _owner(A, Z, X)) == {("pairs", A): Z}


def test_an_owner_mismatch_shows_no_imsi() -> None:
    ((_, message),) = perform(OWNED, [_owner(A, Z, Y)]).bad.values()
    assert message == "PAIR: former_imsi is 432**********02, the owner 432**********01"


def test_a_transfer_ends_the_former_owners_grandfathered_pair() -> None:
    grandfathered = [Operation(Op.GRANDFATHER, A, imsi=imsi, time=5) for imsi in (0, X, Y)]
    state = _do(OWNED, *grandfathered)
    assert _do(state, _owner(A, Y, X)) == {
        ("pairs", A): Y,
        ("grandfathered", A, 0): 5,
        ("grandfathered", A, Y): 5,
    }


def test_a_utilizer_needs_an_owner() -> None:
    assert _fault({}, _utilizer(A, X)) == RowReason.NO_OWNER
    assert _do({}, _utilizer(A, Y), _owner(A, X)) == OWNED
    assert _fault(OWNED, _utilizer(A, X)) == RowReason.ALREADY_THERE
    assert _fault(OWNED, _utilizer(A, Y)) == RowReason.ALREADY_THERE


def test_the_former_owner_may_stay_as_utilizer() -> None:
    state = _do(OWNED, _owner(A, Z, X), _utilizer(A, X), _utilizer(A, Y))
    assert state == {("pairs", A): Z, ("utilizers", A): frozenset({X, Y})}


def test_sixty_four_sims_on_an_imei_and_no_more() -> None:
    utilizers = [_utilizer(A, 10**15 + number) for number in range(PAIRS_MAX)]
    state = _do(OWNED, *utilizers[: PAIRS_MAX - 2])
    assert _fault(state, utilizers[-1]) == RowReason.TOO_MANY_PAIRS
    outcome = perform(OWNED, utilizers)
    assert len(outcome.bad) == PAIRS_MAX
    assert outcome.state == OWNED


def test_the_owners_end_ends_the_utilizers() -> None:
    assert _do(OWNED, _unpair(A, X)) == {}
    assert _do(OWNED, _unpair(A, Y)) == {("pairs", A): X}
    assert _do(OWNED, _unpair(A, Y), _unpair(A, X)) == {}
    assert _do(OWNED, _unpair(A, X, Role.OWNER)) == {}
    assert _fault(OWNED, _unpair(A, Y, Role.OWNER)) == RowReason.NOT_THERE
    assert _fault(OWNED, _unpair(A, Z)) == RowReason.NOT_THERE


def test_an_owner_may_end_and_another_come_in_one_delta() -> None:
    assert _do(OWNED, _owner(A, Z), _unpair(A, X)) == {("pairs", A): Z}


def test_a_replaced_sim_moves_everywhere() -> None:
    state = _do(
        OWNED,
        _owner(B, Y),
        Operation(Op.EXEMPT, imsi=Y, time=5, cause=1),
        Operation(Op.EXEMPT, A, imsi=Y, cause=2),
        Operation(Op.EXEMPT, A, cause=2),
        Operation(Op.GRANDFATHER, A, imsi=Y, time=7),
    )
    assert _do(state, Operation(Op.REPLACE_SIM, imsi=Z, former_imsi=Y)) == {
        ("pairs", A): X,
        ("utilizers", A): frozenset({Z}),
        ("pairs", B): Z,
        ("exemptions", 0, Z): (5, 1),
        ("exemptions", A, Z): (0, 2),
        ("exemptions", A, 0): (0, 2),
        ("grandfathered", A, Z): 7,
    }


def test_a_replaced_sim_must_be_somewhere_and_not_meet_the_new_one() -> None:
    assert _fault(OWNED, Operation(Op.REPLACE_SIM, imsi=X, former_imsi=Z)) == RowReason.NOT_THERE
    assert _fault(OWNED, Operation(Op.REPLACE_SIM, imsi=X, former_imsi=Y)) == RowReason.SIM_CONFLICT
    assert _fault(OWNED, Operation(Op.REPLACE_SIM, imsi=Y, former_imsi=X)) == RowReason.SIM_CONFLICT
    exempt = _do({}, *(Operation(Op.EXEMPT, imsi=imsi, cause=1) for imsi in (X, Y)))
    assert _fault(exempt, Operation(Op.REPLACE_SIM, imsi=Y, former_imsi=X)) == RowReason.SIM_CONFLICT


def test_a_transfer_of_a_replaced_sim_names_the_new_one() -> None:
    replace = Operation(Op.REPLACE_SIM, imsi=Z, former_imsi=X)
    assert _do(OWNED, replace, _owner(A, 10, Z)) == {("pairs", A): 10}


def test_an_exemption_is_replaced_by_another_end() -> None:
    exempt = Operation(Op.EXEMPT, A, time=5, cause=1)
    state = _do({}, exempt)
    assert _fault(state, exempt) == RowReason.ALREADY_THERE
    assert _do(state, exempt._replace(time=6)) == {("exemptions", A, 0): (6, 1)}
    assert _fault(state, Operation(Op.UNEXEMPT, A, imsi=X)) == RowReason.NOT_THERE
    assert _do(state, Operation(Op.UNEXEMPT, A)) == {}


def test_grandfathering_is_not_replaced() -> None:
    state = _do({}, Operation(Op.GRANDFATHER, A, time=5))
    assert _fault(state, Operation(Op.GRANDFATHER, A, time=6)) == RowReason.ALREADY_THERE
    assert _fault(state, Operation(Op.UNGRANDFATHER, A, imsi=X)) == RowReason.NOT_THERE
    assert _do(state, Operation(Op.UNGRANDFATHER, A)) == {}


@pytest.mark.parametrize("imei", [A, "AB*"])
def test_tracking(imei: int | str) -> None:
    state = _do({}, Operation(Op.TRACK, imei))
    assert _fault(state, Operation(Op.TRACK, imei)) == RowReason.ALREADY_THERE
    assert _do(state, Operation(Op.UNTRACK, imei)) == {}
    assert _fault({}, Operation(Op.UNTRACK, imei)) == RowReason.NOT_THERE


def _link(op: Op, one: int, other: int) -> Operation:
    return Operation(op, one, imei_other=other)


def test_links_make_one_device_of_two() -> None:
    state = _do({}, _link(Op.LINK, A, B), _link(Op.LINK, C, D))
    assert state[("links", A)] == {A, B}
    state = _do(state, _link(Op.LINK, B, C))
    assert {fact: len(device) for fact, device in state.items()} == {
        ("links", slot): 4 for slot in (A, B, C, D)
    }
    assert _fault(state, _link(Op.LINK, D, A)) == RowReason.ALREADY_THERE


def test_unlink_separates_the_other() -> None:
    state = _do({}, _link(Op.LINK, A, B), _link(Op.LINK, B, C))
    separated = _do(state, _link(Op.UNLINK, A, B))
    assert separated == {("links", A): {A, C}, ("links", C): {A, C}}
    assert _do(state, _link(Op.UNLINK, A, B), _link(Op.UNLINK, A, C)) == {}
    assert _fault(separated, _link(Op.UNLINK, A, B)) == RowReason.NOT_THERE


def test_a_device_has_eight_slots_and_no_more() -> None:
    links = [_link(Op.LINK, A, A + serial) for serial in range(1, SLOTS_MAX + 1)]
    state = _do({}, *links[:-1])
    assert _fault(state, links[-1]) == RowReason.TOO_MANY_SLOTS
    outcome = perform({}, [*links, _link(Op.LINK, 5, 6)])
    assert outcome.bad.keys() == set(range(SLOTS_MAX))
    assert outcome.state.keys() == {("links", 5), ("links", 6)}


def test_subscribers_and_types_are_set_replaced_and_removed() -> None:
    subscriber = Operation(Op.SUBSCRIBER, imsi=X, time=1989120000001, name="fa")
    tac = Operation(Op.TAC, TAC, name="phone")
    state = _do({}, subscriber, tac)
    assert _fault(state, subscriber) == RowReason.ALREADY_THERE
    assert _fault(state, tac) == RowReason.ALREADY_THERE
    assert _do(state, subscriber._replace(name="en"), tac._replace(name="meter")) == {
        ("subscribers", X): (1989120000001, "en"),
        ("tacs", TAC): "meter",
    }
    assert _do(state, Operation(Op.SUBSCRIBER, imsi=X), Operation(Op.TAC, TAC)) == {}
    assert _fault({}, Operation(Op.SUBSCRIBER, imsi=X)) == RowReason.NOT_THERE
    assert _fault({}, Operation(Op.TAC, TAC)) == RowReason.NOT_THERE
