"""Which deltas of the journal were about an IMEI or an IMSI, newest first.

    journal ──► chunks ──► rows ──touching──► changes

Without an index: every chunk in question is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np

from eir.whitelist.blob import rows_from_blob
from eir.whitelist.journal import DeltaRecord, Journal
from eir.whitelist.operation import Operation, operations
from eir.whitelist.rows import COLUMNS, RAW, Op, Rows


class Change(NamedTuple):
    """One row of a delta, and where it came from."""

    serial: int
    feed: str
    sequence: int
    reference: str
    """Of the row, or else of the delta."""
    committed_at: int
    operation: Operation


def touching(rows: Rows, imeis: Collection[int | str], imsi: int = 0) -> list[int]:
    """Return the indexes of the rows about IMEIs (keys or raw text), or about an IMSI in any phone.

    A range or a link is about every IMEI in it. Of an IMSI these are the rows that name no IMEI:
    its exemption, its number, its replacement.
    """
    op, imei, last = rows.op, rows.column("imei"), rows.column("imei_last")
    about = np.zeros(len(rows), bool)
    for one in imeis:
        if isinstance(one, str):
            places = [place for place, text in enumerate(rows.raw_texts) if text == one]
            about |= np.isin(imei, [RAW | place for place in places])
        else:
            about |= (imei == one) | (last >= one) & (imei <= one) & (imei < RAW)
            about |= rows.column("imei_other") == one
    about &= op != Op.TAC
    if imsi:
        alone = (imei == 0) & (op != Op.TAC)
        about |= alone & ((rows.column("imsi") == imsi) | (rows.column("former_imsi") == imsi))
    about &= op != 0
    return np.flatnonzero(about).tolist()


def changes(journal: Journal, imeis: Collection[int | str], imsi: int = 0, *, until: int) -> Iterator[Change]:
    """Iterate over what touched IMEIs or an IMSI up to a second since the Unix epoch, newest first.

    Raises JournalDamagedError naming the damaged delta.
    """
    for record in journal.deltas_back(journal.last_serial()):
        if record.committed_at > until:
            continue
        for blob in reversed(list(journal.chunks(record))):
            yield from reversed(_changes(record, rows_from_blob(blob), imeis, imsi))


def _changes(record: DeltaRecord, rows: Rows, imeis: Collection[int | str], imsi: int) -> list[Change]:
    at = touching(rows, imeis, imsi)
    if not at:
        return []
    columns: dict[str, Any] = {name: rows.column(name)[at] for name in COLUMNS}
    picked = Rows(**columns, names=rows.names, raw_texts=rows.raw_texts)
    references = [
        rows.references if isinstance(rows.references, str) else rows.references[place] for place in at
    ]
    return [
        Change(
            record.serial,
            record.feed,
            record.sequence,
            references[place] or record.reference,
            record.committed_at,
            operation,
        )
        for place, operation in operations(picked)
    ]
