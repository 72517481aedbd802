"""Rows of a delta as columns: what parsers make and the store applies.

Every column is an array of one entry a row, or None where it is 0 in all rows.
IMEIs are keys (14 digits as a number), IMSIs are codes (`identity.imsi_code`),
times are seconds since the Unix epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]

RAW: Final = 1 << 63
"""In the imei column: the low bits are an index into `raw_texts`."""


class Op(IntEnum):
    """What a row does; numbers as OperationKind in sync.proto."""

    REGISTER = 1
    DEREGISTER = 2
    BLOCK = 3
    UNBLOCK = 4
    TRACK = 5
    UNTRACK = 6
    PAIR = 7
    UNPAIR = 8
    REPLACE_SIM = 9
    EXEMPT = 10
    UNEXEMPT = 11
    GRANDFATHER = 12
    UNGRANDFATHER = 13
    LINK = 14
    UNLINK = 15
    SUBSCRIBER = 16
    TAC = 17


class Role(IntEnum):
    """Role of a pair."""

    OWNER = 1
    UTILIZER = 2


class BlockCause(IntEnum):
    """Cause of a block."""

    STOLEN = 1
    LOST = 2
    CLONED = 3
    BARRED = 4


class ExemptCause(IntEnum):
    """Cause of an exemption."""

    TRAVELLER = 1
    REPAIR = 2
    DIPLOMAT = 3
    M2M = 4
    COURT = 5
    OTHER = 6


@dataclass
class Rows:
    """Rows of a delta, as columns.

    op            u8   Op
    imei          u64  key; RAW | index into raw_texts; the TAC of Op.TAC; 0: none
    imei_last     u64  end of a range, inclusive; 0: the row is one IMEI
    imei_other    u64  other slot of a link
    imsi          u64  IMSI code; 0: none
    former_imsi   u64  IMSI code: owner expected by a transfer, SIM replaced; 0: none
    time          u64  EXEMPT: until (0: no end); GRANDFATHER: in use since (0: unknown);
                       SUBSCRIBER: MSISDN as its digits after a leading 1; 0: removed
    cause         u8   PAIR, UNPAIR: Role (0 in UNPAIR: whatever it is); BLOCK: BlockCause;
                       EXEMPT: ExemptCause
    name          u16  index into `names`: authority of a block, device type of a TAC,
                       language of a subscriber; index 0 is always the empty string
    """

    op: U8
    imei: U64 | None = None
    imei_last: U64 | None = None
    imei_other: U64 | None = None
    imsi: U64 | None = None
    former_imsi: U64 | None = None
    time: U64 | None = None
    cause: U8 | None = None
    name: U16 | None = None
    names: list[str] = field(default_factory=lambda: [""])
    raw_texts: list[str] = field(default_factory=list)
    references: list[str] | str = ""
    """One for all rows, or one a row."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.op)
