"""Links of many keys of a shard at once.

    keys ──run that holds each──► one other slot ──┐
         └─links of their own──► others ───────────┴─► keys of the other slots

Whole columns, as shard_find.py. Format: docs/segment-format.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eir.identity import SERIALS
from eir.whitelist.hashtable import I64, Ragged, spread
from eir.whitelist.rows import U64
from eir.whitelist.shard_layout import NEIGHBOURS

if TYPE_CHECKING:
    from eir.whitelist.shard import Shard

_SERIALS = np.uint64(SERIALS)


def links_of(shard: Shard, keys: U64) -> Ragged:
    """Keys of the other slots of sorted keys, as `Shard.links` tells them of one."""
    at, others = _of_runs(shard, keys)
    own = _line(shard, "far_first") + (shard.far >> np.uint64(44))
    first = np.searchsorted(own, keys)
    counts = np.searchsorted(own, keys, side="right") - first
    words = shard.far[spread(first, counts)]
    far = shard.far_tacs[(words & np.uint64(0xFFFFFF)).astype(np.int64)].astype(np.uint64) * _SERIALS
    counts[at] += 1
    out = Ragged.of(counts, np.empty(int(counts.sum()), np.uint64))
    of_run = np.zeros(len(out.words), bool)
    of_run[out.first[at]] = True
    out.words[of_run] = others
    out.words[~of_run] = far + (words >> np.uint64(24) & np.uint64(0xFFFFF))
    return out


def _of_runs(shard: Shard, keys: U64) -> tuple[I64, U64]:
    """Places of the keys that are linked by a run, and the other slot of each."""
    begin = _line(shard, "runs_first") + shard.runs["first"]
    run = np.searchsorted(begin, keys, side="right") - 1
    at = np.flatnonzero(run >= 0)
    at = at[keys[at] < begin[run[at]] + shard.runs["length"][run[at]]]
    if len(at):  # a run says nothing of the serials in it that are absent
        head, extra = shard.find_many(keys[at])
        at = at[(head != 0) | (extra.counts() > 0)]
    of = shard.runs[run[at]]
    serial = (keys[at] % _SERIALS).astype(np.int64)
    neighbour = 1 - (serial - of["first"]) % 2 * 2
    shift = np.where(of["shift"] == NEIGHBOURS, neighbour, of["shift"])
    return at, (of["other_tac"].astype(np.int64) * SERIALS + serial + shift).astype(np.uint64)


def _line(shard: Shard, column: str) -> U64:
    """First key of the TAC of each run, or link, of a shard."""
    first = shard.tacs[column].astype(np.int64)
    return np.repeat(shard.tac_numbers.astype(np.uint64) * _SERIALS, first[1:] - first[:-1])
