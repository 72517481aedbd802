"""The bytes of a shard back to its rows.

    Shard ──by section──► keys · ranges · links

Everything works on whole columns. Format: docs/segment-format.md.
"""

from __future__ import annotations

import numpy as np

from eir.identity import SERIALS
from eir.whitelist.hashtable import I64, Ragged, gather, spread
from eir.whitelist.items import REGISTERED
from eir.whitelist.rows import U64
from eir.whitelist.shard import KeyColumns, Shard
from eir.whitelist.shard_layout import (
    BLOCK_SERIALS,
    BLOCKS_PER_TAC,
    FLAG,
    LINE_SERIALS,
    NEIGHBOURS,
    Meta,
    State,
    unpack_bits,
)
from eir.whitelist.shard_rows import LinkColumns, RangeColumns, ShardRows, unflatten_ranges


def decode(shard: Shard) -> ShardRows:
    """All rows of a shard, as they were encoded."""
    keys = _decode_keys(shard)
    return ShardRows(keys, _decode_ranges(shard), _decode_links(shard, keys.key))


def _decode_keys(shard: Shard) -> KeyColumns:
    tacs = shard.tacs[:-1]
    bits = np.arange(BLOCKS_PER_TAC, dtype=np.uint16)
    parts_key, parts_state, parts_flag, parts_rank = [], [], [], []
    if len(shard.dense):
        entry, block = np.nonzero((tacs["dense_mask"][:, None] >> bits) & 1)
        base = tacs["tac"][entry].astype(np.int64) * SERIALS + block * BLOCK_SERIALS
        block_of, line_in = np.nonzero(
            np.unpackbits(shard.dense["presence"].view(np.uint8), axis=1, bitorder="little")
        )
        first = base[block_of] + line_in * LINE_SERIALS
        planes = [
            np.unpackbits(
                np.ascontiguousarray(shard.lines[:, c : c + 7]).view(np.uint8), axis=1, bitorder="little"
            )
            for c in (2, 9)
        ]
        state = (planes[0] | planes[1] << 1).reshape(-1)
        at = np.flatnonzero(state)
        state = state[at]
        line, position = np.divmod(at, LINE_SERIALS)
        parts_key.append(first[line] + position)
        parts_state.append(state)
        parts_flag.append((shard.lines[:, 0] & np.uint32(FLAG) != 0)[line])
        rank = np.zeros(len(at), np.int64)
        for code in (State.PAIRED, State.MORE):
            is_code = state == code
            rank[is_code] = np.arange(int(is_code.sum()))
        parts_rank.append(rank)
    if len(shard.sparse):
        entry, block = np.nonzero((tacs["sparse_mask"][:, None] >> bits) & 1)
        base = tacs["tac"][entry].astype(np.int64) * SERIALS + block * BLOCK_SERIALS
        flag = (shard.sparse[:-1, 0] & np.uint32(FLAG)) != 0
        lists = (
            (State.PAIRED, 0, Meta.DENSE_PAIRED),
            (State.REGISTERED, 1, None),
            (State.MORE, 2, Meta.DENSE_MORE),
        )
        for code, column, start in lists:
            first = shard.sparse[:, column].astype(np.int64) & (FLAG - 1)
            place = np.repeat(np.arange(len(base)), np.diff(first))
            serials = shard.lists[code - 1]
            parts_key.append(base[place] + serials)
            parts_state.append(np.full(len(serials), code, np.uint8))
            parts_flag.append(flag[place])
            parts_rank.append(np.arange(len(serials)) + (shard.meta[start] if start is not None else 0))
    if not parts_key:
        return KeyColumns(np.empty(0, np.uint64), np.empty(0, np.uint64), Ragged.empty())
    key = np.concatenate(parts_key)
    order = np.argsort(key, kind="stable") if len(parts_key) > 1 else slice(None)
    key = key[order].astype(np.uint64)
    state, flag, rank = (np.concatenate(p)[order] for p in (parts_state, parts_flag, parts_rank))
    head = np.zeros(len(key), np.uint64)
    registered = (state == State.REGISTERED) | ((state == State.PAIRED) & flag)
    head[registered] = REGISTERED
    paired = np.flatnonzero(state == State.PAIRED)
    head[paired] |= shard.blocks.codes(unpack_bits(shard.owners, rank[paired], shard.width))
    more = np.flatnonzero(state == State.MORE)
    begins = shard.more_first[rank[more]].astype(np.int64)
    counts, start_of_words = np.zeros(len(key), np.int64), np.zeros(len(key), np.int64)
    counts[more] = shard.more_first[rank[more] + 1].astype(np.int64) - begins - 1
    start_of_words[more] = begins + 1
    head[more] = shard.words[begins]
    return KeyColumns(key, head, gather(shard.words, start_of_words, counts))


def _per_tac(shard: Shard, column: str) -> I64:
    """How many entries each TAC has of what a column of the TAC entries counts."""
    ends: I64 = shard.tacs[column].astype(np.int64)
    return ends[1:] - ends[:-1]


def _decode_ranges(shard: Shard) -> RangeColumns:
    if not len(shard.tacs):
        return RangeColumns.empty()
    return unflatten_ranges(
        np.repeat(shard.tac_numbers, _per_tac(shard, "ranges_first")).astype(np.uint64), shard.ranges
    )


def _decode_links(shard: Shard, rows: U64) -> LinkColumns:
    if not len(shard.tacs):
        return LinkColumns.empty()
    runs = shard.runs
    tac = np.repeat(shard.tac_numbers, _per_tac(shard, "runs_first")).astype(np.int64)
    begin = tac * SERIALS + runs["first"]
    low = np.searchsorted(rows, begin.astype(np.uint64))
    high = np.searchsorted(rows, (begin + runs["length"]).astype(np.uint64))
    source = np.repeat(np.arange(len(runs)), high - low)
    key = rows[spread(low, high - low)].astype(np.int64)
    shift = runs["shift"][source].astype(np.int64)
    shift = np.where(shift == NEIGHBOURS, 1 - 2 * ((key - begin[source]) & 1), shift)
    other = key + shift + (runs["other_tac"][source].astype(np.int64) - tac[source]) * SERIALS
    far_tac = np.repeat(shard.tac_numbers, _per_tac(shard, "far_first")).astype(np.uint64)
    far = shard.far
    far_key = far_tac * np.uint64(SERIALS) + (far >> np.uint64(44))
    far_other = shard.far_tacs[(far & np.uint64(0xFFFFFF)).astype(np.int64)].astype(np.uint64) * np.uint64(
        SERIALS
    ) + ((far >> np.uint64(24)) & np.uint64(0xFFFFF))
    keys = np.concatenate((key.astype(np.uint64), far_key))
    others = np.concatenate((other.astype(np.uint64), far_other))
    order = np.lexsort((others, keys))
    return LinkColumns(keys[order], others[order])
