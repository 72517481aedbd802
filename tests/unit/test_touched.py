"""What rows of a delta touch."""

from __future__ import annotations

from eir.identity import SERIALS
from eir.notify.touched import touched_by
from eir.whitelist.operation import Operation, rows_of
from eir.whitelist.rows import Op, Role

KEY, SIM, OTHER = 35_693_803_564_380, 1_432_110_000_000_001, 1_432_110_000_000_002


def test_keys_and_those_whose_other_slots_are_touched_too() -> None:
    touched = touched_by(
        rows_of(
            [
                Operation(Op.PAIR, KEY + 2, imsi=SIM, cause=Role.OWNER),
                Operation(Op.REGISTER, KEY + 1),
                Operation(Op.EXEMPT, KEY, imsi=SIM, cause=1),
                Operation(Op.PAIR, KEY + 2, imsi=OTHER, cause=Role.UTILIZER),
                Operation(Op.LINK, KEY + 5, imei_other=KEY + 7),
                Operation(Op.BLOCK, "RAW", cause=1, name="a"),
                Operation(Op.SUBSCRIBER, imsi=SIM, time=1_98, name="fa"),
            ]
        )
    )
    assert touched.keys.tolist() == [KEY, KEY + 1, KEY + 2, KEY + 5, KEY + 7]
    assert touched.with_others.tolist() == [KEY + 2, KEY + 5, KEY + 7]
    assert (touched.spans, touched.imsis.tolist(), touched.replaced) == ([], [], [])


def test_spans_sims_alone_and_sims_replaced() -> None:
    touched = touched_by(
        rows_of(
            [
                Operation(Op.REGISTER, KEY, imei_last=KEY + 9),
                Operation(Op.TAC, 35_693_803, name="tablet"),
                Operation(Op.EXEMPT, imsi=OTHER, cause=1),
                Operation(Op.REPLACE_SIM, imsi=OTHER, former_imsi=SIM),
            ]
        )
    )
    assert touched.keys.tolist() == []
    assert touched.spans == [(KEY, KEY + 9), (35_693_803 * SERIALS, 35_693_804 * SERIALS - 1)]
    assert touched.imsis.tolist() == [OTHER]
    assert touched.replaced == [(SIM, OTHER)]


def test_a_row_that_is_ignored_touches_nothing() -> None:
    rows = rows_of([Operation(Op.PAIR, KEY, imsi=SIM, cause=Role.OWNER)])
    rows.op[0] = 0
    assert not len(touched_by(rows).keys)
