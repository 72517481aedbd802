"""What the tables hold of a list's kind: by shards, so that memory stays that of one. Pure.

generation ──shard by shard, overlays over it──► rows of keys ──scope──► keys, pairs
           ──raw entries──► by their text
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from eir.identity import SERIALS
from eir.whitelist import shard_decode
from eir.whitelist.hashtable import Columns, Ragged
from eir.whitelist.items import CODE_MASK, KIND_SHIFT, REGISTERED, SUBJECT_MASK, Item, name_of, piece_parts
from eir.whitelist.order import distinct
from eir.whitelist.overlay import Table
from eir.whitelist.rows import U64
from eir.whitelist.shard import KeyColumns
from eir.whitelist.tables import Generation, raw_key, raw_words

KEY_END: Final = 10**14


class Span(NamedTuple):
    """Rows of the keys from `first` on, up to `end`."""

    first: int
    end: int
    rows: KeyColumns


class Pairs(NamedTuple):
    """Owners and utilizers of keys: keys sorted, owner u64 (0: none), utilizers as IMSI codes."""

    keys: U64
    owner: U64
    utilizers: Ragged


def spans(generation: Generation) -> Iterator[Span]:
    """Iterate over all rows of keys, by shard."""
    above = _above(generation, Table.KEYS)
    edges = [tac * SERIALS for tac in generation.shard_tacs] or [0]
    edges[0] = 0
    for place, (first, end) in enumerate(zip(edges, [*edges[1:], KEY_END], strict=True)):
        rows = Columns.empty()
        if generation.shards:
            found = shard_decode.decode(generation.shards[place]).keys
            rows = Columns(found.key, found.head, found.extra)
        low, high = np.searchsorted(above.keys, np.array([first, end], np.uint64))
        merged = rows.merged(above.take(np.arange(low, high)))
        yield Span(first, end, KeyColumns(merged.keys, merged.heads, merged.extra))


def _above(generation: Generation, table: Table) -> Columns:
    """Rows of a table in all overlays."""
    above = Columns.empty()
    for level in reversed(generation.levels):
        above = above.merged(level.columns.get(table, Columns.empty()))
    return above


# -- scopes ----------------------------------------------------------------------------------------


def registered(rows: KeyColumns) -> U64:
    """Keys registered one by one."""
    keys: U64 = rows.key[(rows.head & np.uint64(REGISTERED)) != 0]
    return keys


def blocked(rows: KeyColumns, cause: int, authority: int) -> U64:
    """Keys blocked for a cause by the authority of this number."""
    at = np.flatnonzero(rows.extra.words == np.uint64(name_of(Item.BLOCK, cause << 16 | authority)))
    keys: U64 = rows.key[np.searchsorted(rows.extra.first, at, side="right") - 1]
    return keys


def paired(rows: KeyColumns) -> Pairs:
    """Keys that have an owner or utilizers."""
    owner = rows.head & np.uint64(CODE_MASK)
    words = rows.extra.words
    at = np.flatnonzero(words >> np.uint64(KIND_SHIFT) == np.uint64(Item.UTILIZER))
    of = np.searchsorted(rows.extra.first, at, side="right") - 1
    counts = np.bincount(of, minlength=len(owner)).astype(np.int64)
    chosen = np.flatnonzero((owner != 0) | (counts > 0))
    utilizers = Ragged.of(counts[chosen], words[at] & np.uint64(SUBJECT_MASK))
    return Pairs(rows.key[chosen], owner[chosen], utilizers)


def whole_tacs(generation: Generation, cause: int, authority: int) -> U64:
    """TACs that are blocked from their first serial to their last, for a cause by an authority."""
    above = _above(generation, Table.RANGES)
    tacs = [shard.tac_numbers.astype(np.uint64) for shard in generation.shards]
    unique = distinct(np.concatenate((*tacs, above.keys)))
    found = [np.empty(0, np.uint64)]
    for start in range(0, len(unique), 1 << 16):
        part = unique[start : start + (1 << 16)]
        pieces = generation.read_ranges(part)
        first, last, of_cause, by = piece_parts(pieces.words)
        tac = np.repeat(np.arange(len(part)), pieces.counts())
        mine = (of_cause == cause) & (by == authority)
        length = np.bincount(tac[mine], weights=(last - first + np.uint64(1))[mine], minlength=len(part))
        found.append(part[length == SERIALS])
    return np.concatenate(found)


def in_blocked_ranges(generation: Generation, keys: U64, cause: int, authority: int) -> U64:
    """Those of sorted keys that lie in a range blocked for a cause by an authority."""
    tacs = distinct(keys // np.uint64(SERIALS))
    pieces = generation.read_ranges(tacs)
    first, last, of_cause, by = piece_parts(pieces.words)
    base = np.repeat(tacs, pieces.counts()) * np.uint64(SERIALS)
    mine = (of_cause == cause) & (by == authority)
    first, last = (base + first)[mine], (base + last)[mine]
    order = np.argsort(first)
    place = np.searchsorted(first[order], keys, side="right") - 1
    inside = place >= 0
    inside[inside] = keys[inside] <= last[order][place[inside]]
    found: U64 = keys[inside]
    return found


# -- raw entries -----------------------------------------------------------------------------------


def raw_entries(generation: Generation) -> dict[str, KeyColumns]:
    """Rows of all raw entries, by their text; each a KeyColumns of one row."""
    base = generation.common.tables[Table.RAW].columns()
    merged = base.merged(_above(generation, Table.RAW))
    out: dict[str, KeyColumns] = {}
    for place in np.flatnonzero(merged.extra.counts() >= 2).tolist():
        words = merged.extra.run(place)
        text = words[-2:].astype("<u8").tobytes().rstrip(b"\0").decode()
        head = merged.heads[place : place + 1]
        extra = Ragged(np.array([0, len(words) - 2]), words[:-2])
        out[text] = KeyColumns(np.zeros(1, np.uint64), head, extra)
    return out


def raw_entry(generation: Generation, text: str) -> KeyColumns:
    """Row of one raw entry; without anything where it is not there."""
    found = generation.read_common(Table.RAW, np.array([raw_key(text)], np.uint64))
    words = found.extra.words
    if len(words) < 2 or (int(words[-2]), int(words[-1])) != raw_words(text):
        return KeyColumns(np.zeros(1, np.uint64), np.zeros(1, np.uint64), Ragged.empty(1))
    return KeyColumns(np.zeros(1, np.uint64), found.heads, Ragged(np.array([0, len(words) - 2]), words[:-2]))
