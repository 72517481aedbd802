"""A population as the segments of a data directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bench.chunk import AUTHORITIES, PopulationChunk
from bench.population import Population
from eir.identity import SERIALS
from eir.whitelist import items
from eir.whitelist.build import Part, build
from eir.whitelist.hashtable import Columns, Ragged
from eir.whitelist.items import REGISTERED, UNTIL_BITS, Item, name_of
from eir.whitelist.overlay import Table
from eir.whitelist.shard import KeyColumns
from eir.whitelist.shard_rows import LinkColumns, RangeColumns, ShardRows


def to_rows(chunk: PopulationChunk) -> ShardRows:
    """Rows of a shard from those of a population."""
    names, values, keys = [], [], []

    def add(key: np.ndarray, name: np.ndarray, value: np.ndarray) -> None:
        keys.append(key)
        names.append(name.astype(np.uint64))
        values.append(value.astype(np.uint64))

    none = np.uint64(0)
    add(
        chunk.utilizers.key,
        np.uint64(name_of(Item.UTILIZER)) | chunk.utilizers.imsi,
        chunk.utilizers.imsi * none,
    )
    blocks = chunk.blocks
    subject = blocks.cause.astype(np.uint64) << np.uint64(16) | (
        blocks.authority.astype(np.uint64) + np.uint64(1)
    )
    add(blocks.key, np.uint64(name_of(Item.BLOCK)) | subject, subject * none)
    for table, alone, pair, value in (
        (
            chunk.exempt,
            Item.EXEMPT_IMEI,
            Item.EXEMPT_PAIR,
            chunk.exempt.cause.astype(np.uint64) << np.uint64(UNTIL_BITS) | chunk.exempt.until,
        ),
        (chunk.grandfathered, Item.GRANDFATHER_IMEI, Item.GRANDFATHER_PAIR, chunk.grandfathered.since),
    ):
        name = np.where(table.imsi == 0, np.uint64(name_of(alone)), np.uint64(name_of(pair)) | table.imsi)
        add(table.key, name, value)
    row = np.searchsorted(chunk.key, np.concatenate(keys))
    name = np.concatenate(names)
    order = np.lexsort((name, row))
    extra = items.to_words(row[order], name[order], np.concatenate(values)[order], len(chunk.key))
    ranges = chunk.ranges
    tac = ranges.first // np.uint64(SERIALS)
    base = tac * np.uint64(SERIALS)
    authority = np.where(ranges.cause != 0, ranges.authority.astype(np.uint64) + np.uint64(1), none)
    return ShardRows(
        KeyColumns(chunk.key, chunk.owner | np.uint64(REGISTERED), extra),
        RangeColumns(
            tac, ranges.first - base, ranges.last - base, ranges.cause.astype(np.uint64), authority
        ).sorted(),
        LinkColumns(chunk.links.key, chunk.links.other),
    )


def load(
    population: Population, data_dir: Path, *, now: int, progress: Callable[[int], None] = lambda _: None
) -> None:
    """Build the segments of a population in an empty data directory."""

    def parts() -> Iterator[Part]:
        for chunk in population.chunks():
            yield Part(chunk.last_tac, to_rows(chunk))

    tacs, types = population.device_types()
    type_names = sorted(set(types))
    heads = np.searchsorted(type_names, types) + 1
    common = {Table.TACS: Columns(tacs.astype(np.uint64), heads.astype(np.uint64), Ragged.empty(len(tacs)))}
    build(
        data_dir,
        parts(),
        common,
        authorities=AUTHORITIES,
        device_types=type_names,
        now=now,
        progress=progress,
    )
