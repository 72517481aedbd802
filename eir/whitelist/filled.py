"""Rows of a delta with every column filled in, as planning reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from eir.whitelist.apply import Ops, rows_of
from eir.whitelist.hashtable import I64
from eir.whitelist.rows import U64, Op, Rows


@dataclass(frozen=True)
class Names:
    """Durable numbers of a delta's names, by their place in it: u64 each."""

    authorities: U64
    device_types: U64


_COLUMNS = ("op", "imei", "last", "other", "imsi", "former", "time", "cause", "name")


@dataclass(frozen=True)
class Filled:
    """Rows with every column filled in; a column of a single value takes no memory."""

    op: U64
    imei: U64
    last: U64
    other: U64
    imsi: U64
    former: U64
    time: U64
    cause: U64
    name: U64

    @classmethod
    def of(cls, rows: Rows, names: Names) -> Filled:
        """Fill in; names become their durable numbers."""
        columns = {name: rows.column(name) for name in ("imei", "imsi", "time")}
        columns |= {
            name: rows.column(long)
            for name, long in (("last", "imei_last"), ("other", "imei_other"), ("former", "former_imsi"))
        }
        columns |= {name: _wide(rows.column(name)) for name in ("op", "cause", "name")}
        if rows.name is not None:
            place, is_tac = columns["name"], columns["op"] == Op.TAC
            if not place.strides[0] and not is_tac.any():
                columns["name"] = np.broadcast_to(names.authorities[place[0]], len(rows))
            else:
                columns["name"] = np.where(is_tac, names.device_types[place], names.authorities[place])
        return cls(**columns)

    def take(self, index: I64) -> Filled:
        """Rows at these places."""
        return Filled(*(rows_of(getattr(self, name), index) for name in _COLUMNS))

    def kinds(self) -> set[int]:
        """Kinds of operations among the rows."""
        op = self.op if self.op.strides[0] else self.op[:1]
        return set(np.flatnonzero(np.bincount(op.astype(np.int64))).tolist())

    def ops(self, index: I64, at: I64) -> Ops:
        """Operations at these rows, whose keys are at these places."""
        return Ops(self, index, at)


def _wide(column: npt.NDArray[np.unsignedinteger[Any]]) -> U64:
    """Make u64 of a narrow column."""
    first = column[:1]
    if len(column) and column[-1] == first and (column == first).all():
        return np.broadcast_to(np.uint64(first[0]), len(column))
    return column.astype(np.uint64)
