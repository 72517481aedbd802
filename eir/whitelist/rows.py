"""Rows of a delta as columns: what parsers make and the store applies.

Every column is an array of one entry a row, or None where it is 0 in all rows.
IMEIs are keys (14 digits as a number), IMSIs are codes (`identity.imsi_code`),
times are seconds since the Unix epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from eir.errors import DeltaTooLargeError
from eir.whitelist.order import sorting_order

U64 = npt.NDArray[np.uint64]
U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]

RAW: Final = 1 << 63
"""In the imei column: the low bits are an index into `raw_texts`."""
IGNORED: Final = 0
"""In the op column: a bad row. It keeps its place, so that an index stays a row
number; its other columns mean nothing."""
NAMES_MAX: Final = 1 << 16
"""Entries of `names`, which a u16 indexes."""


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

    op            u8   Op, or IGNORED
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
    wrong_check_digits: int = 0
    """IMEIs whose 15th digit was neither 0 nor the check digit: a warning."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.op)

    def column(self, name: str) -> U64:
        """Return a column as it is, or as zeros where it is None (read only)."""
        column: U64 | None = getattr(self, name)
        return np.broadcast_to(np.uint64(0), len(self)) if column is None else column

    @cached_property
    def imei_order(self) -> npt.NDArray[np.int64] | None:
        """Order that sorts the rows by the imei column, which must not change then; None: it is sorted."""
        imei = self.column("imei")
        return None if (imei[1:] >= imei[:-1]).all() else sorting_order(imei)

    def by_imei(self, wanted: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64] | None:
        """Places of the rows wanted, in the order of the imei column; None: all, as they stand."""
        if self.imei_order is None:
            return None if wanted.all() else np.flatnonzero(wanted)
        return self.imei_order if wanted.all() else self.imei_order[wanted[self.imei_order]]


COLUMNS: Final = ("op", "imei", "imei_last", "imei_other", "imsi", "former_imsi", "time", "cause", "name")
"""The columns of `Rows`, in order."""
DTYPES: Final[dict[str, np.dtype[np.unsignedinteger]]] = {
    name: np.dtype({"op": "u1", "cause": "u1", "name": "<u2"}.get(name, "<u8")) for name in COLUMNS
}


def concat(parts: list[Rows]) -> Rows:
    """Join parts into one; row numbers go on. Names and raw texts are told once.

    Raises DeltaTooLargeError where the parts hold too many names together.
    """
    if len(parts) == 1:
        return parts[0]
    names = {"": 0}
    raw_texts: dict[str, int] = {}
    columns: dict[str, list[npt.NDArray[np.unsignedinteger]]] = {name: [] for name in COLUMNS}
    for part in parts:
        for name in COLUMNS:
            column = part.column(name)
            if name == "name" and column.strides[0]:
                new_index = [names.setdefault(text, len(names)) for text in part.names]
                column = np.array(new_index, np.uint64)[column]
            elif name == "imei" and part.raw_texts:
                new_index = [raw_texts.setdefault(text, len(raw_texts)) | RAW for text in part.raw_texts]
                column, is_raw = column.copy(), column >= RAW
                column[is_raw] = np.array(new_index, np.uint64)[column[is_raw] ^ np.uint64(RAW)]
            columns[name].append(column)
    if len(names) > NAMES_MAX:
        raise DeltaTooLargeError(
            f"the delta names {len(names)} authorities, languages and device types; "
            f"at most {NAMES_MAX} are admitted"
        )
    joined = {
        name: np.concatenate(pieces).astype(DTYPES[name], copy=False)
        for name, pieces in columns.items()
        if pieces and any(getattr(part, name) is not None for part in parts)
    }
    joined.setdefault("op", np.zeros(0, np.uint8))
    return Rows(
        **joined,
        names=list(names),
        raw_texts=list(raw_texts),
        references=_concat_references(parts),
        wrong_check_digits=sum(part.wrong_check_digits for part in parts),
    )


def _concat_references(parts: list[Rows]) -> list[str] | str:
    """Join references: one string where all rows have the same."""
    common = {part.references if isinstance(part.references, str) else None for part in parts if len(part)}
    if len(common) <= 1 and None not in common:
        return next(iter(common), "") or ""
    joined: list[str] = []
    for part in parts:
        same = isinstance(part.references, str)
        joined += [str(part.references)] * len(part) if same else part.references
    return joined
