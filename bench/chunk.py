"""A part of a population: whole TACs, and its rows as a delta carries them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from eir.identity import imei_text, imsi_text
from eir.proto import sync_pb2
from eir.whitelist.rows import BlockCause, ExemptCause, Op, Role

U64 = npt.NDArray[np.uint64]
U8 = npt.NDArray[np.uint8]

AUTHORITIES = ("police", "court", "customs", "regulator")
ROWS_MAX = 262_144
PAYLOAD_BYTES_MAX = 4 << 20
MESSAGE_BYTES = 256
"""Room for what a message of columns holds beside the columns."""


class Utilizers(NamedTuple):
    """Utilizer pairs, sorted by key."""

    key: U64
    imsi: U64


class Blocks(NamedTuple):
    """Blocks, sorted by key; causes are BlockCause, authorities indexes into AUTHORITIES."""

    key: U64
    cause: U8
    authority: U8


class Exemptions(NamedTuple):
    """Exemptions, sorted by key; imsi 0: with any SIM; until in epoch seconds."""

    key: U64
    imsi: U64
    until: U64
    cause: U8


class Grandfathered(NamedTuple):
    """Slots in use before the scheme, sorted by key; imsi 0: with any SIM; since 0: not known."""

    key: U64
    imsi: U64
    since: U64


class Ranges(NamedTuple):
    """Ranges, both ends inclusive, sorted; cause 0 is a registration, else a BlockCause."""

    first: U64
    last: U64
    cause: U8
    authority: U8


class Links(NamedTuple):
    """Links of the slots of a chunk, sorted by key; the other slot may be in another chunk."""

    key: U64
    other: U64


@dataclass(frozen=True)
class PopulationChunk:
    """All rows of the TACs from first_tac to last_tac.

    key is sorted and holds the IMEIs registered one by one, owner the IMSI code
    of each one's owner, or 0.
    """

    first_tac: int
    last_tac: int
    key: U64
    owner: U64
    utilizers: Utilizers
    blocks: Blocks
    exempt: Exemptions
    grandfathered: Grandfathered
    ranges: Ranges
    links: Links


class _Group(NamedTuple):
    """Rows of one kind that share everything but their columns."""

    op: Op
    fields: dict[str, int | str]
    columns: dict[str, U64]


def _groups(chunk: PopulationChunk) -> Iterator[_Group]:
    """Rows of a chunk by kind, cause and authority."""
    yield _Group(Op.REGISTER, {}, {"imei": chunk.key})
    owned = np.flatnonzero(chunk.owner)
    yield _Group(Op.PAIR, {"role": Role.OWNER}, {"imei": chunk.key[owned], "imsi": chunk.owner[owned]})
    yield _Group(
        Op.PAIR, {"role": Role.UTILIZER}, {"imei": chunk.utilizers.key, "imsi": chunk.utilizers.imsi}
    )
    blocks = chunk.blocks
    for cause, authority, rows in _by_cause(blocks.cause, blocks.authority):
        yield _Group(Op.BLOCK, _block_fields(cause, authority), {"imei": blocks.key[rows]})
    exempt = chunk.exempt
    for kind in ExemptCause:
        rows = np.flatnonzero(exempt.cause == kind)
        columns = {"imei": exempt.key[rows], "imsi": exempt.imsi[rows], "time": exempt.until[rows]}
        yield _Group(Op.EXEMPT, {"exempt_cause": kind}, columns)
    old = chunk.grandfathered
    yield _Group(Op.GRANDFATHER, {}, {"imei": old.key, "imsi": old.imsi, "time": old.since})
    # each link once, with the slot that comes later, when the other one is registered already
    once = np.flatnonzero(chunk.links.key > chunk.links.other)
    yield _Group(Op.LINK, {}, {"imei": chunk.links.key[once], "imei_other": chunk.links.other[once]})
    ranges = chunk.ranges
    for cause, authority, rows in _by_cause(ranges.cause, ranges.authority):
        columns = {"imei": ranges.first[rows], "imei_last": ranges.last[rows]}
        if cause:
            yield _Group(Op.BLOCK, _block_fields(cause, authority), columns)
        else:
            yield _Group(Op.REGISTER, {}, columns)


def _block_fields(cause: int, authority: int) -> dict[str, int | str]:
    return {"block_cause": cause, "authority": AUTHORITIES[authority]}


def _by_cause(cause: U8, authority: U8) -> Iterator[tuple[int, int, npt.NDArray[np.intp]]]:
    """Row numbers by cause and authority."""
    both = cause.astype(np.uint16) * len(AUTHORITIES) + authority
    for value in np.unique(both).tolist():
        yield *divmod(value, len(AUTHORITIES)), np.flatnonzero(both == value)


def to_payloads(chunk: PopulationChunk) -> Iterator[bytes]:
    """Serialize a chunk as DeltaRows: at most 262,144 rows and 4 MiB each.

    Every link comes once. Rows of different chunks may come in one delta or in
    several, in the order of the chunks.
    """
    message, rows_left, bytes_left = sync_pb2.DeltaRows(), ROWS_MAX, PAYLOAD_BYTES_MAX
    for group in _groups(chunk):
        row_bytes = 8 * len(group.columns)
        start, end = 0, len(group.columns["imei"])
        while start < end:
            count = min(end - start, rows_left, (bytes_left - MESSAGE_BYTES) // row_bytes)
            if count <= 0:
                yield message.SerializeToString()
                message, rows_left, bytes_left = sync_pb2.DeltaRows(), ROWS_MAX, PAYLOAD_BYTES_MAX
                continue
            columns = message.columns.add(kind=group.op.value, row_count=count)
            for name, value in group.fields.items():
                setattr(columns, name, value)
            for name, column in group.columns.items():
                part = column[start : start + count]
                if part.any():
                    setattr(columns, name, part.astype("<u8").tobytes())
            rows_left -= count
            bytes_left -= count * row_bytes + MESSAGE_BYTES
            start += count
    if message.columns:
        yield message.SerializeToString()


def to_operations(chunk: PopulationChunk) -> Iterator[dict[str, str | int]]:
    """Rows of a chunk as operations with the field names of sync.proto, for JSON lines."""
    names: dict[str, type[Role | BlockCause | ExemptCause]] = {
        "role": Role,
        "block_cause": BlockCause,
        "exempt_cause": ExemptCause,
    }
    times = {Op.EXEMPT: "until", Op.GRANDFATHER: "in_use_since"}
    for group in _groups(chunk):
        fixed: dict[str, str | int] = {"kind": group.op.name}
        for name, value in group.fields.items():
            fixed[name] = value if isinstance(value, str) else names[name](value).name
        columns = [column.tolist() for column in group.columns.values()]
        for row in zip(*columns, strict=True):
            operation = dict(fixed)
            for name, number in zip(group.columns, row, strict=True):
                if not number:
                    continue
                if name == "time":
                    operation[times[group.op]] = number
                else:
                    operation[name] = imsi_text(number) if name == "imsi" else imei_text(number)
            yield operation
