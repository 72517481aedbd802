"""What a list amounts to: operations on the tables, in batches of one kind. Pure.

batches ──pieces──► DeltaRows, serialized ──► one delta
        ◄──row number── what the store says of a row
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from eir.identity import imei_text, imsi_text
from eir.proto import sync_pb2
from eir.whitelist.rows import U64, Op

COLUMN_ROWS: Final = 65_536
"""Rows of one piece of columns: three columns are 1.5 MiB."""
MESSAGE_ROWS: Final = 8_192
"""Rows of one piece of messages."""


@dataclass(frozen=True)
class Batch:
    """Operations of one kind: columns as in Rows, or `texts` in the place of IMEI keys."""

    op: Op
    imei: U64 | None = None
    imei_last: U64 | None = None
    imsi: U64 | None = None
    former_imsi: U64 | None = None
    msisdn: U64 | None = None
    texts: tuple[str, ...] = ()
    role: int = 0
    cause: int = 0
    authority: str = ""
    language: str = ""

    def __len__(self) -> int:
        """Return the number of operations."""
        column = self.imei if self.imei is not None else self.imsi
        return len(self.texts) if self.texts else 0 if column is None else len(column)


class Subject(NamedTuple):
    """What an operation is about, as the file would name it; texts, empty where there is none."""

    imei: str
    imsi: str


@dataclass
class Change:
    """All that a list changes; counts are of rows of the list."""

    batches: list[Batch] = field(default_factory=list)
    added: int = 0
    removed: int = 0
    changed: int = 0
    before: int = 0
    """Rows that the list had."""
    after: int = 0
    """Rows that it has then."""

    def add(self, batch: Batch) -> None:
        """Take operations, if there are any."""
        if len(batch):
            self.batches.append(batch)

    @property
    def row_count(self) -> int:
        """Number of operations."""
        return sum(map(len, self.batches))

    def subject(self, row: int) -> Subject:
        """Return what an operation of the delta is about."""
        for batch in self.batches:
            if row < len(batch):
                imei = batch.texts[row] if batch.texts else ""
                if batch.imei is not None and not imei:
                    imei = imei_text(int(batch.imei[row]))
                imsi = imsi_text(int(batch.imsi[row])) if batch.imsi is not None else ""
                return Subject(imei, imsi)
            row -= len(batch)
        raise IndexError(row)

    def payloads(self) -> Iterator[tuple[bytes, int]]:
        """Iterate over serialized DeltaRows, each with its number of rows."""
        for batch in self.batches:
            size = MESSAGE_ROWS if batch.texts else COLUMN_ROWS
            for start in range(0, len(batch), size):
                end = min(start + size, len(batch))
                rows = _messages(batch, start, end) if batch.texts else _columns(batch, start, end)
                yield rows.SerializeToString(), end - start


def _columns(batch: Batch, start: int, end: int) -> sync_pb2.DeltaRows:
    columns = sync_pb2.OperationColumns(
        kind=int(batch.op),  # type: ignore[arg-type]
        row_count=end - start,
        authority=batch.authority,
        language=batch.language,
    )
    if batch.op in (Op.BLOCK, Op.UNBLOCK):
        columns.block_cause = batch.cause  # type: ignore[assignment]
    elif batch.op in (Op.PAIR, Op.UNPAIR):
        columns.role = batch.role  # type: ignore[assignment]
    for name in ("imei", "imei_last", "imsi", "former_imsi", "msisdn"):
        column: U64 | None = getattr(batch, name)
        if column is not None and (part := column[start:end]).any():
            setattr(columns, name, np.ascontiguousarray(part, "<u8").tobytes())
    return sync_pb2.DeltaRows(columns=[columns])


def _messages(batch: Batch, start: int, end: int) -> sync_pb2.DeltaRows:
    rows = sync_pb2.DeltaRows()
    for place in range(start, end):
        out = rows.operations.add(kind=int(batch.op))
        out.imei = batch.texts[place]
        if batch.imsi is not None:
            out.imsi = imsi_text(int(batch.imsi[place]))
        if batch.former_imsi is not None and batch.former_imsi[place]:
            out.former_imsi = imsi_text(int(batch.former_imsi[place]))
        if batch.op in (Op.BLOCK, Op.UNBLOCK):
            out.block_cause, out.authority = batch.cause, batch.authority  # type: ignore[assignment]
        elif batch.op in (Op.PAIR, Op.UNPAIR):
            out.role = batch.role  # type: ignore[assignment]
    return rows


def shrink_fault(kind_name: str, removed_percent_max: int, before: int, after: int) -> str:
    """Say that a list has become too short for it to be believed; empty where it has not."""
    if before and after * 100 < before * (100 - removed_percent_max):
        return (
            f"the {kind_name} list had {before:,} rows and would have {after:,}:"
            f" less than {100 - removed_percent_max} %"
        )
    return ""
