"""Rows to the bytes of a shard.

    KeyColumns + ranges + links ──encode──► sections ──► segment file

Everything works on whole columns. Format: docs/segment-format.md.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from eir.identity import SERIALS
from eir.whitelist.hashtable import I64, Ragged, spread
from eir.whitelist.imsi_blocks import ImsiBlocks
from eir.whitelist.items import CODE_MASK, REGISTERED
from eir.whitelist.order import distinct
from eir.whitelist.rows import U64
from eir.whitelist.segment import Kind, pack
from eir.whitelist.shard import KeyColumns
from eir.whitelist.shard_layout import (
    BLOCK_SERIALS,
    BLOCKS_PER_TAC,
    DENSE_DTYPE,
    FLAG,
    LINE_SERIALS,
    META_LENGTH,
    NEIGHBOURS,
    RUN_DTYPE,
    TAC_DTYPE,
    Meta,
    Section,
    State,
)
from eir.whitelist.shard_rows import LinkColumns, ShardRows, flatten_ranges


def pack_bits(values: U64, width: int) -> U64:
    """Pack numbers of `width` bits, the first in the lowest bits; one spare word."""
    n = len(values)
    out = np.zeros((n * width + 63) // 64 + 1, np.uint64)
    if not n:
        return out
    bit = np.arange(n, dtype=np.int64) * width
    word = bit >> 6
    shift = (bit & 63).astype(np.uint64)
    starts = np.flatnonzero(np.diff(word, prepend=-1))
    out[word[starts]] = np.add.reduceat(values << shift, starts)
    over = np.flatnonzero((bit & 63) + width > 64)
    out[word[over] + 1] |= values[over] >> (np.uint64(64) - shift[over])
    return out


def encode(rows: ShardRows, blocks: ImsiBlocks, *, first_tac: int, last_tac: int, serial: int) -> bytearray:
    """Bytes of the segment file of these rows."""
    key_sections, meta, tac_blocks = _encode_keys(rows.keys, blocks)
    range_tac, pieces = flatten_ranges(rows.ranges)
    runs_tac, runs, far_tac, far, far_tacs = _encode_links(rows.links, rows.keys.key)
    tacs = distinct(np.concatenate([tac_blocks["tac"], range_tac, runs_tac, far_tac]).astype(np.uint32))
    entries = np.zeros(len(tacs) + 1 if len(tacs) else 0, TAC_DTYPE)
    if len(tacs):
        entries["tac"][:-1] = tacs
        entries["tac"][-1] = 0xFFFFFFFF
        for name, tac in (("ranges_first", range_tac), ("runs_first", runs_tac), ("far_first", far_tac)):
            entries[name][:-1] = np.searchsorted(tac, tacs)
            entries[name][-1] = len(tac)
        place = np.searchsorted(tacs, tac_blocks["tac"])
        for name, column in (("dense_mask", "dense"), ("sparse_mask", "sparse")):
            mask = np.bincount(
                place,
                weights=(tac_blocks[column] * (1 << tac_blocks["block"])).astype(float),
                minlength=len(tacs),
            ).astype(np.uint16)
            entries[name][:-1] = mask
            total = np.concatenate(([0], np.cumsum(np.bitwise_count(mask))))
            entries["dense_first" if column == "dense" else "sparse_first"] = total
    meta[Meta.IMSI_BLOCKS] = len(blocks)
    sections: dict[int, npt.NDArray[np.generic]] = {
        Section.TACS: entries.view("<u4"),
        Section.RANGES: pieces,
        Section.RUNS: runs.view("<u4"),
        Section.FAR: far,
        Section.FAR_TACS: far_tacs,
        Section.META: meta,
        **key_sections,
    }
    return pack(Kind.SHARD, sections, serial=serial, first_tac=first_tac, last_tac=last_tac)


def _encode_keys(
    keys: KeyColumns, blocks: ImsiBlocks
) -> tuple[dict[int, npt.NDArray[np.generic]], U64, dict[str, I64]]:
    meta = np.zeros(META_LENGTH, np.uint64)
    owner = keys.head & np.uint64(CODE_MASK)
    registered = (keys.head & np.uint64(REGISTERED)) != 0
    packed = blocks.pack(owner)
    owned = owner != 0
    plain = keys.extra.counts() == 0
    state = np.full(len(keys), State.MORE, np.uint8)
    state[plain & ~owned & registered] = State.REGISTERED
    state[plain & owned & (packed >= 0)] = State.PAIRED

    tac = (keys.key // np.uint64(SERIALS)).astype(np.int64)
    serial = (keys.key - tac.astype(np.uint64) * np.uint64(SERIALS)).astype(np.int64)
    low = serial & (BLOCK_SERIALS - 1)
    block_id = tac * BLOCKS_PER_TAC + (serial >> 16)
    line_id = block_id * 512 + low // LINE_SERIALS
    block_first = np.flatnonzero(np.diff(block_id, prepend=-1))
    block_keys = np.diff(block_first, append=len(keys))
    new_line = np.diff(line_id, prepend=-1) != 0
    block_lines = np.add.reduceat(new_line.astype(np.int64), block_first) if len(keys) else block_keys
    # Whichever is smaller: lines of 64 bytes and their presence, or two bytes a key.
    dense_block = (block_lines + 1) * 64 < 2 * block_keys + 12
    dense = np.repeat(dense_block, block_keys)

    # Paired keys that are not registered as most of their line (or sparse block) go to the records.
    group = np.cumsum(np.where(dense, new_line, np.diff(block_id, prepend=-1) != 0)) - 1
    paired = state == State.PAIRED
    groups = int(group[-1]) + 1 if len(keys) else 0
    with_flag = np.bincount(group[paired & registered], minlength=groups)
    without = np.bincount(group[paired & ~registered], minlength=groups)
    flag = with_flag >= without
    if groups:
        state[paired & (registered != flag[group])] = State.MORE

    sections: dict[int, npt.NDArray[np.generic]] = {}
    at_dense, at_sparse = np.flatnonzero(dense), np.flatnonzero(~dense)
    _encode_dense(
        sections,
        meta,
        block_id[at_dense],
        line_id[at_dense],
        low[at_dense],
        state[at_dense],
        flag[group[at_dense]],
    )
    _encode_sparse(sections, block_id[at_sparse], low[at_sparse], state[at_sparse], flag[group[at_sparse]])
    by_place = np.concatenate((at_dense, at_sparse))
    paired_at = by_place[state[by_place] == State.PAIRED]
    more_at = by_place[state[by_place] == State.MORE]
    meta[Meta.PAIRED], meta[Meta.MORE], meta[Meta.KEYS] = len(paired_at), len(more_at), len(keys)
    _encode_owners(sections, meta, packed[paired_at])
    _encode_records(sections, keys, more_at)
    block_of = block_id[block_first]
    return (
        sections,
        meta,
        {
            "tac": block_of // BLOCKS_PER_TAC,
            "block": block_of % BLOCKS_PER_TAC,
            "dense": dense_block.astype(np.int64),
            "sparse": (~dense_block).astype(np.int64),
        },
    )


def _encode_owners(sections: dict[int, npt.NDArray[np.generic]], meta: U64, packed: I64) -> None:
    """Numbers of the owners by rank, as wide as the highest needs."""
    highest = int(packed.max()) if len(packed) else 0
    meta[Meta.OWNER_BITS] = width = max(highest.bit_length(), 1)
    sections[Section.OWNERS] = pack_bits(packed.astype(np.uint64), width)


def _encode_records(sections: dict[int, npt.NDArray[np.generic]], keys: KeyColumns, more_at: I64) -> None:
    """Head and items of the keys that have more, by rank."""
    counts = keys.extra.counts()[more_at] + 1
    records = Ragged.of(counts, np.empty(int(counts.sum()), np.uint64))
    records.words[records.first[:-1]] = keys.head[more_at]
    records.words[spread(records.first[:-1] + 1, counts - 1)] = keys.extra.take(more_at).words
    sections[Section.MORE_FIRST] = records.first.astype(np.uint32)
    sections[Section.WORDS] = records.words


def _encode_dense(
    sections: dict[int, npt.NDArray[np.generic]],
    meta: U64,
    block_id: I64,
    line_id: I64,
    low: I64,
    state: npt.NDArray[np.uint8],
    flag: npt.NDArray[np.bool_],
) -> None:
    if not len(block_id):
        return
    line_at = np.flatnonzero(np.diff(line_id, prepend=-1))
    line_of = np.cumsum(np.diff(line_id, prepend=-1) != 0) - 1
    n = len(line_at)
    lines = np.zeros((n, 16), np.uint32)
    for bit, column in ((1, 2), (2, 9)):
        plane = np.zeros(n * LINE_SERIALS, np.uint8)
        plane[line_of * LINE_SERIALS + low % LINE_SERIALS] = (state & bit) != 0
        lines[:, column : column + 7] = np.packbits(plane, bitorder="little").view("<u4").reshape(n, 7)
    paired = np.add.reduceat((state == State.PAIRED).astype(np.int64), line_at)
    more = np.add.reduceat((state == State.MORE).astype(np.int64), line_at)
    lines[:, 0] = (np.cumsum(paired) - paired) | np.where(flag[line_at], FLAG, 0)
    lines[:, 1] = np.cumsum(more) - more
    meta[Meta.DENSE_PAIRED], meta[Meta.DENSE_MORE] = int(paired.sum()), int(more.sum())

    line_block = block_id[line_at]
    block_at = np.flatnonzero(np.diff(line_block, prepend=-1))
    block_of = np.cumsum(np.diff(line_block, prepend=-1) != 0) - 1
    in_block = line_id[line_at] - line_block * 512
    dense = np.zeros(len(block_at), DENSE_DTYPE)
    presence = np.zeros((len(block_at), 320), np.uint8)
    presence[block_of, in_block] = 1
    dense["presence"] = np.packbits(presence, axis=1, bitorder="little").view("<u8")
    ahead = np.cumsum(np.bitwise_count(dense["presence"]), axis=1)
    dense["before"][:, 1:] = ahead[:, :-1]
    dense["first_line"] = block_at
    sections[Section.DENSE] = dense.view("<u8")
    sections[Section.LINES] = lines.reshape(-1)


def _encode_sparse(
    sections: dict[int, npt.NDArray[np.generic]],
    block_id: I64,
    low: I64,
    state: npt.NDArray[np.uint8],
    flag: npt.NDArray[np.bool_],
) -> None:
    if not len(block_id):
        return
    block_at = np.flatnonzero(np.diff(block_id, prepend=-1))
    entries = np.zeros((len(block_at) + 1, 3), np.uint32)
    lists = (
        (State.PAIRED, Section.SPARSE_PAIRED),
        (State.REGISTERED, Section.SPARSE_REGISTERED),
        (State.MORE, Section.SPARSE_MORE),
    )
    for column, (code, section) in enumerate(lists):
        is_code = state == code
        entries[1:, column] = np.cumsum(np.add.reduceat(is_code.astype(np.int64), block_at))
        sections[section] = low[is_code].astype(np.uint16)
    entries[:-1, 0] |= np.where(flag[block_at], np.uint32(FLAG), np.uint32(0))
    sections[Section.SPARSE] = entries.reshape(-1)


def _encode_links(
    links: LinkColumns, rows: U64
) -> tuple[U64, npt.NDArray[np.void], U64, U64, npt.NDArray[np.uint32]]:
    """Encode links: runs where all rows of an interval are linked alike, single links for the rest.

    A run speaks only of serials that have a row, so that one run can hold the
    scattered serials of a TAC whose devices are all of one kind.
    """
    key, other = links.key.astype(np.int64), links.other.astype(np.int64)
    tac, other_tac = key // SERIALS, other // SERIALS
    alone = np.ones(len(key), bool)
    alone[1:] &= key[1:] != key[:-1]
    alone[:-1] &= key[:-1] != key[1:]
    shift = other - key - (other_tac - tac) * SERIALS
    neighbour = (tac == other_tac) & (np.abs(shift) == 1)
    opener = key + np.minimum(shift, 0)
    kind = np.where(neighbour, NEIGHBOURS + (opener & 1), shift)

    # Which links are those of consecutive rows: a row without a link ends a run.
    place = np.searchsorted(rows, links.key)
    has_row = place < len(rows)
    has_row[has_row] = rows[place[has_row]] == links.key[has_row]
    fits = alone & has_row
    joins = np.zeros(len(key), bool)
    joins[1:] = (
        fits[1:]
        & fits[:-1]
        & (place[1:] == place[:-1] + 1)
        & (tac[1:] == tac[:-1])
        & (other_tac[1:] == other_tac[:-1])
        & (kind[1:] == kind[:-1])
    )
    starts = np.flatnonzero(~joins)
    count = np.diff(starts, append=len(key))
    is_run = fits[starts] & (count > 1)  # a run costs 16 bytes, a single link 8
    first, last = starts[is_run], (starts + count - 1)[is_run]
    begin = np.where(neighbour[first], opener[first], key[first])
    runs = np.zeros(len(first), RUN_DTYPE)
    runs["first"] = begin - tac[first] * SERIALS
    runs["length"] = key[last] - begin + 1
    runs["other_tac"] = other_tac[first]
    runs["shift"] = np.where(neighbour[first], NEIGHBOURS, shift[first])
    far_at = np.flatnonzero(~np.repeat(is_run, count))
    far_tacs, far_number = np.unique(other_tac[far_at], return_inverse=True)
    serial, other_serial = (key - tac * SERIALS)[far_at], (other - other_tac * SERIALS)[far_at]
    far = ((serial << 44) | (other_serial << 24) | far_number).astype(np.uint64)
    order = np.lexsort((far, tac[far_at]))
    return (
        tac[first].astype(np.uint64),
        runs,
        tac[far_at][order].astype(np.uint64),
        far[order],
        far_tacs.astype(np.uint32),
    )


# -- back ------------------------------------------------------------------------------------------
