"""What rows of a delta may have changed the standing of. Pure.

rows ──► IMEI keys · spans of keys · IMSI codes · SIMs replaced
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from eir.identity import SERIALS
from eir.whitelist.order import distinct
from eir.whitelist.rows import IGNORED, RAW, U64, Op, Rows

_NO_PAIR: Final = (IGNORED, Op.SUBSCRIBER)
"""Operations that change nobody's standing."""
_OTHERS: Final = (
    Op.DEREGISTER,
    Op.BLOCK,
    Op.UNBLOCK,
    Op.PAIR,
    Op.UNPAIR,
    Op.GRANDFATHER,
    Op.UNGRANDFATHER,
    Op.LINK,
    Op.UNLINK,
)
"""Operations on a slot that change the standing of the device's other slots."""


@dataclass(frozen=True)
class Touched:
    """What rows touch: sorted keys, those of them whose other slots are touched too, spans, IMSIs.

    Spans are pairs of keys, both inclusive; `replaced` are pairs of a SIM's former and new IMSI code.
    """

    keys: U64
    with_others: U64
    spans: list[tuple[int, int]]
    imsis: U64
    replaced: list[tuple[int, int]]


def touched_by(rows: Rows) -> Touched:
    """Return what rows touch; raw texts have no cases, nor have subscribers any part in it."""
    op, imei, last = rows.op, rows.column("imei"), rows.column("imei_last")
    at_all = ~np.isin(op, _NO_PAIR)
    tacs = op == Op.TAC
    keyed = at_all & ~tacs & (imei != 0) & (imei < np.uint64(RAW))
    single, ranges = keyed & (last == 0), keyed & (last != 0)
    linked = np.isin(op, (Op.LINK, Op.UNLINK))
    replaces = op == Op.REPLACE_SIM
    other = rows.column("imei_other")[linked]
    imsi, former = rows.column("imsi"), rows.column("former_imsi")
    alone = at_all & ~tacs & ~linked & (imei == 0) & (imsi != 0)
    spans = list(zip(imei[ranges].tolist(), last[ranges].tolist(), strict=True))
    spans += [(tac * SERIALS, tac * SERIALS + SERIALS - 1) for tac in imei[tacs].tolist()]
    return Touched(
        distinct(np.concatenate((imei[single], other))),
        distinct(np.concatenate((imei[single & np.isin(op, _OTHERS)], other))),
        spans,
        distinct(imsi[alone]),
        list(zip(former[replaces].tolist(), imsi[replaces].tolist(), strict=True)),
    )
