"""Plans of deltas on a generation that other deltas made, without a store."""

from __future__ import annotations

import numpy as np

from eir.whitelist import plan
from eir.whitelist.filled import Names
from eir.whitelist.operation import Operation, rows_of
from eir.whitelist.overlay import Overlay
from eir.whitelist.plan import Plan
from eir.whitelist.rows import Rows
from eir.whitelist.tables import Common, Generation

NOTHING = Generation.of(0, (), (), Common.empty())
AUTHORITIES = ["", "a", "b.c"]
DEVICE_TYPES = ["", "phone", "meter"]
TAC = 35123456


def key(serial: int, tac: int = TAC) -> int:
    """Key of a serial."""
    return tac * 10**6 + serial


def names_of(rows: Rows) -> Names:
    """Numbers of the names of a delta, as a journal would give them."""
    return Names(
        *(
            np.array([known.index(name) if name in known else 0 for name in rows.names], np.uint64)
            for known in (AUTHORITIES, DEVICE_TYPES)
        )
    )


def planned(generation: Generation, *rows: Operation) -> Plan:
    """The plan of a delta."""
    given = rows_of(rows)
    return plan.make(generation, given, names_of(given), np.zeros(len(rows), bool))


def after(*deltas: list[Operation], base: Generation = NOTHING) -> Generation:
    """The generation after deltas, of which no row is bad."""
    overlay = Overlay.empty()
    for rows in deltas:
        done = planned(base.with_levels(0, (overlay, *base.levels)), *rows)
        assert not done.bad.report()
        overlay = overlay.merged(done.columns)
    return base.with_levels(0, (overlay, *base.levels))


def reasons(done: Plan) -> dict[int, str]:
    """Reasons of bad rows, by row."""
    return {row.row: str(row.reason) for row in done.bad.report()}


def changes(done: Plan) -> dict[str, tuple[int, int]]:
    """Rows added and change by table, where there is any."""
    tables = {table for table in (*done.added, *done.change) if done.added[table] or done.change[table]}
    return {table: (done.added[table], done.change[table]) for table in sorted(tables)}
