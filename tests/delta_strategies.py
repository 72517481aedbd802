"""Operations and deltas over a universe so small that rows meet."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from eir.proto import sync_pb2
from eir.whitelist.algebra import State, perform
from eir.whitelist.operation import Imei, Operation, clashes, message
from eir.whitelist.rows import BlockCause, ExemptCause, Op, Role

TAC = 35123456
KEYS = [TAC * 10**6 + serial for serial in (0, 1, 2, 5, 9)] + [35999999 * 10**6 + serial for serial in (0, 7)]
RAW_TEXTS = ["0F", "12*#AB"]
IMSIS = [int("1" + text) for text in ("432110000000001", "432350000000002", "001010000000003", "0", "26201")]

keys = st.sampled_from(KEYS)
imeis = st.sampled_from([*KEYS, *RAW_TEXTS])
imsis = st.sampled_from(IMSIS)
imsis_or_none = st.sampled_from([0, *IMSIS])
times = st.sampled_from([0, 1_700_000_000, (1 << 32) - 1])
ranges = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(
    lambda ends: (TAC * 10**6 + min(ends), TAC * 10**6 + max(ends))
)
registering = st.sampled_from([Op.REGISTER, Op.DEREGISTER])
blocking = st.sampled_from([Op.BLOCK, Op.UNBLOCK])
block_names = {
    "cause": st.sampled_from([BlockCause.STOLEN, BlockCause.CLONED]),
    "name": st.sampled_from(["a", "b.c"]),
}


def _row(op: Op, imei: Imei = 0, **fields: Any) -> Operation:
    return Operation(op, imei, **fields)


def _ranged(op: Op, ends: tuple[int, int], cause: int = 0, name: str = "") -> Operation:
    return Operation(op, ends[0], ends[1], cause=cause, name=name)


def _well_formed(row: Operation) -> bool:
    if row.op == Op.SUBSCRIBER:
        return bool(row.time or not row.name)
    return (not row.imei_other or row.imei != row.imei_other) and (
        not row.imsi or row.imsi != row.former_imsi
    )


operations = st.one_of(
    st.builds(_row, registering, imeis),
    st.builds(_ranged, registering, ranges),
    st.builds(_row, blocking, imeis, **block_names),
    st.builds(_ranged, blocking, ranges, **block_names),
    st.builds(_row, st.sampled_from([Op.TRACK, Op.UNTRACK]), imeis),
    st.builds(
        _row, st.just(Op.PAIR), imeis, imsi=imsis, former_imsi=imsis_or_none, cause=st.just(Role.OWNER)
    ),
    st.builds(_row, st.just(Op.PAIR), imeis, imsi=imsis, cause=st.sampled_from(list(Role))),
    st.builds(_row, st.just(Op.UNPAIR), imeis, imsi=imsis, cause=st.sampled_from([0, *Role])),
    st.builds(_row, st.just(Op.REPLACE_SIM), imsi=imsis, former_imsi=imsis),
    st.builds(
        _row,
        st.just(Op.EXEMPT),
        imeis,
        imsi=imsis_or_none,
        time=times,
        cause=st.sampled_from([ExemptCause.REPAIR, ExemptCause.OTHER]),
    ),
    st.builds(_row, st.just(Op.EXEMPT), imsi=imsis, time=times, cause=st.just(ExemptCause.M2M)),
    st.builds(_row, st.just(Op.UNEXEMPT), imeis, imsi=imsis_or_none),
    st.builds(_row, st.just(Op.UNEXEMPT), imsi=imsis),
    st.builds(_row, st.just(Op.GRANDFATHER), imeis, imsi=imsis_or_none, time=times),
    st.builds(_row, st.just(Op.UNGRANDFATHER), imeis, imsi=imsis_or_none),
    st.builds(_row, st.sampled_from([Op.LINK, Op.UNLINK]), keys, imei_other=keys),
    st.builds(
        _row,
        st.just(Op.SUBSCRIBER),
        imsi=imsis,
        time=st.sampled_from([0, 1989120000001]),
        name=st.sampled_from(["", "fa"]),
    ),
    st.builds(_row, st.just(Op.TAC), st.sampled_from([TAC, 1]), name=st.sampled_from(["", "phone", "meter"])),
).filter(_well_formed)
"""Operations that are well formed by themselves."""
mixed = st.lists(operations, max_size=12)
"""Operations that may clash."""


def settle(rows: list[Operation]) -> list[Operation]:
    """Leave out the rows that clash."""
    clashing = clashes(rows)
    return [row for index, row in enumerate(rows) if index not in clashing]


deltas = mixed.map(settle)
"""Operations that do not clash; some may not be possible."""


def after(*given: list[Operation], start: State | None = None) -> State:
    """State after some deltas, bad rows left out."""
    state = start or {}
    for delta in given:
        state = perform(state, delta).state
    return state


states = st.lists(deltas, max_size=3).map(lambda given: after(*given))
"""States that deltas lead to."""


def payload(rows: list[Operation]) -> bytes:
    """Serialized DeltaRows of operations."""
    return sync_pb2.DeltaRows(operations=map(message, rows)).SerializeToString()
