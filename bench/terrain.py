"""Where the slots of a population lie: TACs, how many slots each has, and which serials.

    slot number ──► (TAC, rank) ──► lot, place in the lot ──permuted──► serial ──► IMEI key

Every step is a formula both ways, so that any slot is found without making the
others.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.permutation import Permutation, add_modulo
from eir.identity import SERIALS

U64 = npt.NDArray[np.uint64]
U32 = npt.NDArray[np.uint32]
U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

REGION = 896_000
"""Serials of a TAC that lots are allotted from: a multiple of every lot."""
RANGE_REGION = 96_000
"""Serials of a TAC that ranges are allotted from; what is left shifts both a little."""
PARETO_SHAPE = 1.1
TAC_PREFIXES = {35: 0.50, 86: 0.45, 1: 0.05}
"""First two digits of the TACs (reporting bodies); none of them has test TACs."""
TACS_MIN = 40
SHARE_MAX = 1 / 20
"""The largest TAC has at most this share of the slots, so that small populations keep proportions."""


class Kind(IntEnum):
    """What the devices of a TAC are like."""

    PLAIN = 0
    """One slot; some are linked to a slot elsewhere."""
    NEIGHBOUR = 1
    """Two slots with neighbouring serials."""
    TWIN_FIRST = 2
    """Two slots: the other has the same serial in the next TAC."""
    TWIN_SECOND = 3


class Shape(NamedTuple):
    """What makes one population differ from another."""

    tac_count: int
    lot: int
    tac_slots_min: int
    """Mean slots of a TAC below which there are fewer TACs."""


SHAPES = {
    "P1": Shape(4_000, 4_000, 25_000),
    "P2": Shape(40_000, 200, 2_500),
    "P3": Shape(40_000, 1, 2_500),
}


class Slots(NamedTuple):
    """Slots in the order of their keys: number, key, and index of the TAC."""

    number: U32
    key: U64
    tac_index: npt.NDArray[np.intp]


class Terrain:
    """TACs of a population in increasing order, and the place of every slot.

    tacs, counts u32, kinds u8: one a TAC. starts: number of a TAC's first slot,
    and one more.
    """

    def __init__(self, shape: Shape, registered: int, shares: dict[Kind, float], rng: np.random.Generator):
        """Take the share of slots by kind (twins under TWIN_FIRST) and the exact number of slots."""
        tac_count = min(shape.tac_count, max(TACS_MIN, registered // shape.tac_slots_min))
        if not tac_count * 2 <= registered <= tac_count * REGION // 2:
            raise ValueError(f"a population has {tac_count * 2} to {tac_count * REGION // 2} slots")
        sizes = _sizes(tac_count, registered, rng)
        self.kinds, self.counts = _kinds(sizes, shares, registered)
        self.tacs, order = _tacs(self.kinds, rng)
        self.kinds, self.counts = self.kinds[order], self.counts[order]
        self.starts = np.concatenate(([0], np.cumsum(self.counts, dtype=np.int64)))
        self._lots = np.where(self.kinds == Kind.NEIGHBOUR, max(shape.lot, 2), shape.lot).astype(np.uint32)
        places = {int(lot): Permutation(REGION // int(lot), rng) for lot in np.unique(self._lots)}
        self._permutations = places
        # twins share what places their lots, for their serials are the same
        own = np.arange(tac_count) - (self.kinds == Kind.TWIN_SECOND)
        slot_count = REGION // self._lots
        self._before = (rng.integers(0, REGION, tac_count, np.uint32)[own] % slot_count).astype(np.uint32)
        self._after = (rng.integers(0, REGION, tac_count, np.uint32)[own] % slot_count).astype(np.uint32)
        spare = SERIALS - REGION - RANGE_REGION
        shift = rng.integers(0, spare, tac_count, np.uint32)[own]
        ranges_first = rng.integers(0, 2, tac_count, np.uint32)[own]
        self.region_start = shift + ranges_first * RANGE_REGION
        self.range_start = shift + (1 - ranges_first) * REGION

    def keys(self, number: U32) -> U64:
        """Key of each slot by its number."""
        index = np.searchsorted(self.starts, number, side="right") - 1
        rank = (number - self.starts[index]).astype(np.uint32)
        lot = self._lots[index]
        unit = rank // lot
        return self._lot_keys(index, unit) + (rank - unit * lot)

    def numbers(self, key: U64) -> I64:
        """Find the number of the slot with each key, -1 where it is not registered one by one."""
        tac = key // np.uint64(SERIALS)
        index = np.minimum(np.searchsorted(self.tacs, tac), len(self.tacs) - 1)
        place = (key - tac * np.uint64(SERIALS)).astype(np.int64) - self.region_start[index]
        inside = (self.tacs[index] == tac) & (place >= 0) & (place < REGION)
        place = np.where(inside, place, 0).astype(np.uint32)
        lot = self._lots[index]
        slot = place // lot
        unit = np.empty(len(key), np.uint32)
        for size_of_lot, permutation in self._permutations.items():
            these = np.flatnonzero(lot == size_of_lot)
            where = index[these]
            size = permutation.size
            before = add_modulo(slot[these], np.uint32(size) - self._after[where], size)
            back = np.uint32(size) - self._before[where]
            unit[these] = add_modulo(permutation.inverse(before), back, size)
        rank = unit.astype(np.int64) * lot + (place - slot * lot)
        return np.where(inside & (rank < self.counts[index]), self.starts[index] + rank, -1)

    def slots(self, first: int, end: int) -> Slots:
        """Every slot of the TACs with indexes from first to end - 1, in the order of the keys."""
        counts, lots = self.counts[first:end].astype(np.int64), self._lots[first:end]
        lot_counts = (counts + lots - 1) // lots
        index = np.repeat(np.arange(first, end), lot_counts)
        unit = places(lot_counts).astype(np.uint32)
        key = self._lot_keys(index, unit)
        order = np.argsort(key)
        index, unit, key = index[order], unit[order], key[order]
        start = unit * self._lots[index]
        lengths = np.minimum(self._lots[index], self.counts[index] - start)
        number = (self.starts[index] + start).astype(np.uint32)
        rows = np.repeat(np.arange(len(index)), lengths)
        place = places(lengths).astype(np.uint32)
        tac_index = np.repeat(np.arange(first, end), counts)
        return Slots(number[rows] + place, key[rows] + place, tac_index)

    def _lot_keys(self, index: npt.NDArray[np.intp], unit: U32) -> U64:
        """Key of the first serial of lots: the nth of the TAC with that index."""
        lot = self._lots[index]
        slot = np.empty(len(index), np.uint32)
        for size_of_lot, permutation in self._permutations.items():
            these = np.flatnonzero(lot == size_of_lot)
            where = index[these]
            before = permutation(add_modulo(unit[these], self._before[where], permutation.size))
            slot[these] = add_modulo(before, self._after[where], permutation.size)
        serial = self.region_start[index] + slot * lot
        keys: U64 = self.tacs[index].astype(np.uint64) * np.uint64(SERIALS) + serial
        return keys


def places(lengths: npt.NDArray[np.integer]) -> I64:
    """Count from 0 within each of the runs of these lengths."""
    ends = np.cumsum(lengths, dtype=np.int64)
    out: I64 = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    return out


def _sizes(tac_count: int, registered: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Slots of TACs, largest first: Pareto, cut at what a TAC can hold, their sum as wanted."""
    weight = np.sort(rng.pareto(PARETO_SHAPE, tac_count) + 1)[::-1]
    most = min(REGION, registered * SHARE_MAX)
    low, high = 0.0, registered / weight[-1]
    for _ in range(100):
        scale = (low + high) / 2
        if np.minimum(weight * scale, most).sum() < registered:
            low = scale
        else:
            high = scale
    sizes: npt.NDArray[np.float64] = np.minimum(weight * high, most)
    return sizes


def _kinds(sizes: npt.NDArray[np.float64], shares: dict[Kind, float], registered: int) -> tuple[U8, U32]:
    """Kinds and even counts of TACs, largest first, each given to the kind that lacks most.

    Twins stand together and have one count. Plain TACs take what rounding leaves.
    """
    even = np.maximum(np.floor(sizes / 2) * 2, 2).astype(np.int64)
    lack = {kind: share * registered for kind, share in shares.items()}
    kinds: list[int] = []
    counts: list[int] = []
    place = 0
    while place < len(even):
        last = place + 1 == len(even)
        kind = max((kind for kind in lack if not (last and kind == Kind.TWIN_FIRST)), key=lack.__getitem__)
        many = [kind, Kind.TWIN_SECOND] if kind == Kind.TWIN_FIRST else [kind]
        count = int(even[place + len(many) - 1])
        kinds += many
        counts += [count] * len(many)
        lack[kind] -= count * len(many)
        place += len(many)
    out, number = np.array(kinds, np.uint8), np.array(counts, np.int64)
    _settle(number, np.flatnonzero(out == Kind.PLAIN), registered)
    return out, number.astype(np.uint32)


def _settle(counts: I64, plain: npt.NDArray[np.intp], registered: int) -> None:
    """Make the counts' sum exact by changing those of plain TACs, all by the same share."""
    wanted = int(counts[plain].sum()) + registered - int(counts.sum())
    share = wanted / int(counts[plain].sum())
    counts[plain] = np.clip((counts[plain] * share).astype(np.int64), 1, REGION)
    left = wanted - int(counts[plain].sum())
    for place in plain:
        step = min(left, REGION - int(counts[place])) if left > 0 else max(left, 1 - int(counts[place]))
        counts[place] += step
        left -= step


def _tacs(kinds: U8, rng: np.random.Generator) -> tuple[U32, npt.NDArray[np.intp]]:
    """TACs in increasing order, and which entry each belongs to; twins get TACs t and t + 1."""
    heads = np.flatnonzero(kinds != Kind.TWIN_SECOND)
    prefixes = rng.choice(list(TAC_PREFIXES), size=len(heads), p=list(TAC_PREFIXES.values()))
    halves = SERIALS // 2
    couple = rng.choice(halves, size=len(heads), replace=False)  # distinct under every prefix
    tac = np.empty(len(kinds), np.uint32)
    tac[heads] = prefixes * SERIALS + couple * 2
    seconds = np.flatnonzero(kinds == Kind.TWIN_SECOND)
    tac[seconds] = tac[seconds - 1] + 1
    order = np.argsort(tac)
    return tac[order], order
