"""A seeded national population at any size: the ground of every figure.

    seed ──► terrain (where slots lie) ──► slot number ──permutations──► owner, extras, link
                                              │
                                  chunk by chunk, or any slot by itself

P1: 4,000 TACs, serials in lots of 4,000. P2: 40,000 TACs, lots of 200. P3:
40,000 TACs, serials at random. All heavy-tailed (Pareto 1.1). Small populations
have fewer TACs. Nothing is kept by slot: whatever a slot is follows from its
number, so that 300 million are made in little memory.

    python -m bench.population --name P1 --registered 1000000 --out FILE.jsonl
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.chunk import (
    AUTHORITIES,
    Blocks,
    Exemptions,
    Grandfathered,
    Links,
    PopulationChunk,
    Ranges,
    Utilizers,
    to_operations,
    to_payloads,
)
from bench.permutation import Permutation
from bench.subscribers import imsi_codes
from bench.terrain import RANGE_REGION, REGION, SHAPES, U8, U32, U64, Kind, Slots, Terrain, places
from eir.identity import SERIALS
from eir.whitelist.rows import BlockCause, ExemptCause

__all__ = ["CheckClass", "CheckSample", "Population", "PopulationChunk", "to_operations", "to_payloads"]

TAC_LAST = 99_999_999
TWO_SLOT_DEVICES = 0.60
SLOTS_LINKED = 2 * TWO_SLOT_DEVICES / (1 + TWO_SLOT_DEVICES)
LINKS_NEIGHBOUR, LINKS_TWIN, LINKS_ELSEWHERE = 0.60, 0.35, 0.05
UTILIZED_EVERY = 50
"""One owner pair in this many (2 %) has utilizers,"""
UTILIZER_COUNTS = (1,) * 16 + (2,) * 3 + (9,)
"""and so many, in turn: up to ten IMSIs on an IMEI."""
BLOCKED = (0.0, 0.001)
EXEMPT = (0.00095, 0.01095)
GRANDFATHERED = (0.0105, 0.0405)
"""Extras as shares of the slots, in the order of a permutation; overlaps have both."""
SLOTS_OF_RANGE = 30
RANGE_BLOCKED_EVERY = 20
RANGE_SERIALS_MAX = 200
DAY = 86_400
EPOCH = 1_767_225_600
"""2026-01-01: exemptions end in the ten years after it."""
GRANDFATHER_EPOCH = 1_325_376_000
"""2012-01-01: what is grandfathered was in use since one of the eight years after it, or unknown."""
BLOCK_CAUSES = (
    (BlockCause.STOLEN,) * 9 + (BlockCause.LOST,) * 4 + (BlockCause.CLONED,) + (BlockCause.BARRED,) * 2
)
EXEMPT_CAUSES = (
    (ExemptCause.TRAVELLER,) * 9 + (ExemptCause.REPAIR,) * 2 + tuple(ExemptCause)[2:] + (ExemptCause.OTHER,)
)
DEVICE_TYPES = ("smartphone",) * 12 + ("feature-phone",) * 2 + ("tablet", "modem")


class CheckClass(IntEnum):
    """What the tables hold for a sampled check; the verdict is the policy's."""

    MATCH = 0
    """The owner's SIM; the slot has no extras."""
    WRONG_IMSI = 1
    """Another subscriber's SIM in an owned slot without extras."""
    REGISTERED_ONLY = 2
    """No owner, no extras."""
    WITH_MORE = 3
    """A slot with utilizers (asked with one of them) or extras (asked with its owner, if any)."""
    UNREGISTERED = 4
    """Not registered one by one, and in no range."""


CHECK_SHARES = {
    CheckClass.WRONG_IMSI: 0.13,
    CheckClass.REGISTERED_ONLY: 0.05,
    CheckClass.WITH_MORE: 0.05,
    CheckClass.UNREGISTERED: 0.04,
}
"""The rest match."""


class CheckSample(NamedTuple):
    """Columns of sampled checks: IMEI keys, IMSI codes, CheckClass."""

    imei: U64
    imsi: U64
    expected: U8


@dataclass
class Population:
    """A population by name (P1, P2, P3), number of IMEIs registered one by one, and seed.

    Equal values make equal populations. Raises ValueError for a size that its
    TACs cannot hold.
    """

    name: str
    registered: int
    seed: int = 1

    def __post_init__(self) -> None:
        """Draw what the formulas need."""
        rng = np.random.Generator(np.random.PCG64([self.seed, int(self.name[1:]), self.registered]))
        shares = {
            Kind.PLAIN: 1 - SLOTS_LINKED * (1 - LINKS_ELSEWHERE),
            Kind.NEIGHBOUR: SLOTS_LINKED * LINKS_NEIGHBOUR,
            Kind.TWIN_FIRST: SLOTS_LINKED * LINKS_TWIN,
        }
        self._terrain = terrain = Terrain(SHAPES[self.name], self.registered, shares, rng)
        self.tacs, self.counts = terrain.tacs, terrain.counts
        self.pairs = self.registered * 2 // 3
        utilized = self.pairs // UTILIZED_EVERY
        self.utilizers = int(_utilizers_before(np.array([utilized]))[0])
        self.ranges = self.registered // SLOTS_OF_RANGE
        self._owners = Permutation(self.registered, rng)
        self._extras = Permutation(self.registered, rng)
        plain = np.where(terrain.kinds == Kind.PLAIN, self.counts, 0)
        self._plain_starts = np.concatenate(([0], np.cumsum(plain, dtype=np.int64)))
        self._elsewhere = Permutation(int(plain.sum()), rng)
        self._elsewhere_count = min(self._part(SLOTS_LINKED * LINKS_ELSEWHERE), int(plain.sum())) & ~1
        self._salt = rng.integers(0, 1 << 63, dtype=np.uint64)
        self._types = rng.integers(0, len(DEVICE_TYPES), len(self.tacs))

    def device_types(self) -> tuple[U32, list[str]]:
        """TACs and the device type of each."""
        return self.tacs, [DEVICE_TYPES[number] for number in self._types]

    def chunks(self, rows_target: int = 4_000_000) -> Iterator[PopulationChunk]:
        """All rows, whole TACs at a time, in increasing order; the chunks cover all TACs.

        A chunk has about rows_target registered IMEIs, or one TAC.
        """
        starts, first, first_tac = self._terrain.starts, 0, 0
        while first < len(self.tacs):
            end = int(np.searchsorted(starts, starts[first] + rows_target, side="right")) - 1
            end = min(max(end, first + 1), len(self.tacs))
            last_tac = TAC_LAST if end == len(self.tacs) else int(self.tacs[end]) - 1
            yield self._chunk(first, end, first_tac, last_tac)
            first, first_tac = end, last_tac + 1

    def owners(self, key: U64) -> U64:
        """Owner's IMSI code of each key, 0 where there is none: a model to test tables against."""
        number = self._terrain.numbers(key)
        owner = np.zeros(len(key), np.uint64)
        found = np.flatnonzero(number >= 0)
        owner[found] = self._owner_codes(self._owners(number[found].astype(np.uint32)))
        return owner

    def is_registered(self, key: U64) -> npt.NDArray[np.bool_]:
        """Tell which keys are registered one by one."""
        return self._terrain.numbers(key) >= 0

    def sample_checks(self, count: int, seed: int) -> CheckSample:
        """Draw checks in random order, at any size, without making the population.

        Slots are drawn uniformly; shares as in CHECK_SHARES.
        """
        rng = np.random.Generator(np.random.PCG64([seed, self.seed]))
        counts = {cls: round(count * share) for cls, share in CHECK_SHARES.items()}
        counts[CheckClass.MATCH] = count - sum(counts.values())
        parts = []
        for cls, many in sorted(counts.items()):
            if cls == CheckClass.UNREGISTERED:
                key, imsi = self._draw_unregistered(rng, many)
            elif cls == CheckClass.WITH_MORE:
                key, imsi = self._draw_with_more(rng, many)
            else:
                key, imsi = self._draw_bare(rng, many, cls)
            parts.append((key, imsi, np.full(many, cls, np.uint8)))
        key, imsi, expected = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = rng.permutation(count)
        return CheckSample(key[order], imsi[order], expected[order])

    def sample_unowned(self, count: int, seed: int) -> U64:
        """Distinct IMEIs that are registered and have no owner, sorted; at most as many as there are."""
        return self._distinct(self.pairs, self.registered, count, seed)

    def sample_owned(self, count: int, seed: int) -> U64:
        """Distinct IMEIs that have an owner, sorted; at most as many as there are."""
        return self._distinct(0, self.pairs, count, seed)

    def new_imsis(self, count: int, first: int = 0) -> U64:
        """IMSI codes of subscribers that the population does not have, from the nth of them on; distinct."""
        start = self.pairs + self.utilizers + first
        return imsi_codes(np.arange(start, start + count, dtype=np.uint64))

    def _distinct(self, low: int, high: int, count: int, seed: int) -> U64:
        """Keys of so many of the slots whose owners' places lie in a range."""
        order = Permutation(high - low, np.random.Generator(np.random.PCG64([seed, self.seed])))
        places = order(np.arange(min(count, high - low), dtype=np.uint32)) + np.uint32(low)
        keys: U64 = np.sort(self._terrain.keys(self._owners.inverse(places)))
        return keys

    def _chunk(self, first: int, end: int, first_tac: int, last_tac: int) -> PopulationChunk:
        slots = self._terrain.slots(first, end)
        place = self._owners(slots.number)
        owner = self._owner_codes(place)
        blocks, exempt, grandfathered = self._extra_rows(slots, owner)
        return PopulationChunk(
            first_tac=first_tac,
            last_tac=last_tac,
            key=slots.key,
            owner=owner,
            utilizers=self._utilizer_rows(slots.key, place),
            blocks=blocks,
            exempt=exempt,
            grandfathered=grandfathered,
            ranges=self._range_rows(first, end),
            links=self._link_rows(slots),
        )

    def _owner_codes(self, place: U32) -> U64:
        """Owners: those of the first `pairs` places have one, a subscriber each."""
        owner = np.zeros(len(place), np.uint64)
        owned = np.flatnonzero(place < self.pairs)
        owner[owned] = imsi_codes(place[owned])
        return owner

    def _utilizer_rows(self, key: U64, place: U32) -> Utilizers:
        rows = np.flatnonzero(_utilized(place) & (place < self.pairs // UTILIZED_EVERY * UTILIZED_EVERY))
        nth = (place[rows] // UTILIZED_EVERY).astype(np.int64)
        before = _utilizers_before(nth)
        many = _utilizers_before(nth + 1) - before
        rows, before = np.repeat(rows, many), np.repeat(before, many)
        which = places(many)
        return Utilizers(key[rows], imsi_codes((self.pairs + before + which).astype(np.uint64)))

    def _extra_rows(self, slots: Slots, owner: U64) -> tuple[Blocks, Exemptions, Grandfathered]:
        extra = self._extras(slots.number)

        def rows_of(share: tuple[float, float]) -> npt.NDArray[np.intp]:
            return np.flatnonzero((extra >= self._part(share[0])) & (extra < self._part(share[1])))

        rows = rows_of(BLOCKED)
        dice = self._dice(slots.number[rows])
        blocks = Blocks(slots.key[rows], _pick(dice, BLOCK_CAUSES), _authority(dice))
        rows = rows_of(EXEMPT)
        dice = self._dice(slots.number[rows])
        until = np.uint64(EPOCH) + dice % np.uint64(3_650 * DAY)
        imsi = self._own_or_other(owner[rows], dice)
        exempt = Exemptions(slots.key[rows], imsi, until, _pick(dice, EXEMPT_CAUSES))
        rows = rows_of(GRANDFATHERED)
        dice = self._dice(slots.number[rows])
        since = np.uint64(GRANDFATHER_EPOCH) + dice % np.uint64(2_922) * np.uint64(DAY)
        since[dice & np.uint64(7) == 0] = 0
        imsi = self._own_or_other(owner[rows], dice)
        return blocks, exempt, Grandfathered(slots.key[rows], imsi, since)

    def _own_or_other(self, owner: U64, dice: U64) -> U64:
        """Half without an IMSI, a quarter with the owner's where there is one, others with any other."""
        other = imsi_codes(dice % np.uint64(max(self.pairs, 1)))
        own = (owner != 0) & (dice & np.uint64(1 << 32) == 0)
        return np.where(dice & np.uint64(1 << 33) == 0, np.uint64(0), np.where(own, owner, other))

    def _range_rows(self, first: int, end: int) -> Ranges:
        """Ranges lie one in a cell, each with at least one serial free after it."""
        index = np.arange(first, end)
        many = self.ranges // len(self.tacs) + (index < self.ranges % len(self.tacs))
        cell = RANGE_REGION // np.maximum(many, 1)
        rows = np.repeat(np.arange(len(index)), many)
        nth = places(many)
        base = self.tacs[index].astype(np.uint64) * np.uint64(SERIALS) + self._terrain.range_start[index]
        start = base[rows] + (nth * cell[rows]).astype(np.uint64)
        dice = self._dice(start)
        room = (cell[rows] - 1).astype(np.uint64)  # the cell without the serial that stays free
        length = np.uint64(2) + dice % (np.minimum(room, np.uint64(RANGE_SERIALS_MAX)) - np.uint64(1))
        head = start + (dice >> np.uint64(20)) % (room - length + np.uint64(1))
        blocked = (dice >> np.uint64(40)) % np.uint64(RANGE_BLOCKED_EVERY) == 0
        cause = np.where(blocked, _pick(dice >> np.uint64(4), BLOCK_CAUSES), 0).astype(np.uint8)
        authority = np.where(blocked, _authority(dice), 0).astype(np.uint8)
        return Ranges(head, head + length - np.uint64(1), cause, authority)

    def _link_rows(self, slots: Slots) -> Links:
        starts, kinds = self._terrain.starts, self._terrain.kinds[slots.tac_index]
        key = slots.key
        other = np.zeros(len(key), np.uint64)
        rank_odd = (slots.number - starts[slots.tac_index]) & 1 != 0
        neighbour = kinds == Kind.NEIGHBOUR
        np.copyto(other, np.where(rank_odd, key - np.uint64(1), key + np.uint64(1)), where=neighbour)
        np.copyto(other, key + np.uint64(SERIALS), where=kinds == Kind.TWIN_FIRST)
        np.copyto(other, key - np.uint64(SERIALS), where=kinds == Kind.TWIN_SECOND)
        plain = np.flatnonzero(kinds == Kind.PLAIN)
        offset = self._plain_starts[slots.tac_index[plain]] - starts[slots.tac_index[plain]]
        place = self._elsewhere((slots.number[plain] + offset).astype(np.uint32))
        linked = np.flatnonzero(place < self._elsewhere_count)
        partner = self._elsewhere.inverse(place[linked] ^ np.uint32(1))
        index = np.searchsorted(self._plain_starts, partner, side="right") - 1
        other[plain[linked]] = self._terrain.keys(
            (partner - self._plain_starts[index] + starts[index]).astype(np.uint32)
        )
        rows = np.flatnonzero(other)
        return Links(key[rows], other[rows])

    def _part(self, share: float) -> int:
        return round(self.registered * share)

    def _dice(self, number: npt.NDArray[np.unsignedinteger]) -> U64:
        """64 random bits by number (the finaliser of SplitMix64)."""
        mixed = number.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + self._salt
        mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        return mixed ^ mixed >> np.uint64(31)

    def _draw_bare(self, rng: np.random.Generator, count: int, cls: CheckClass) -> tuple[U64, U64]:
        """Slots without extras, owned unless REGISTERED_ONLY."""
        owned = cls != CheckClass.REGISTERED_ONLY
        low, high = (0, self.pairs) if owned else (self.pairs, self.registered)
        places = np.empty(0, np.uint32)
        while len(places) < count:
            draw = rng.integers(low, high, count - len(places) + count // 8 + 16, np.uint32)
            bare = self._extras(self._owners.inverse(draw)) >= self._part(GRANDFATHERED[1])
            places = np.concatenate((places, draw[bare & ~(_utilized(draw) & owned)]))[:count]
        key = self._terrain.keys(self._owners.inverse(places))
        if cls == CheckClass.MATCH:
            return key, imsi_codes(places)
        step = rng.integers(1, self.pairs, count, np.uint32)
        return key, imsi_codes((places.astype(np.uint64) + step) % np.uint64(self.pairs))

    def _draw_with_more(self, rng: np.random.Generator, count: int) -> tuple[U64, U64]:
        """Half utilizers, half other extras."""
        half = count // 2
        nth = rng.integers(0, self.pairs // UTILIZED_EVERY, half)
        before, after = _utilizers_before(nth), _utilizers_before(nth + 1)
        utilizer = imsi_codes((self.pairs + rng.integers(before, after)).astype(np.uint64))
        utilized = self._owners.inverse((nth * UTILIZED_EVERY).astype(np.uint32))
        extra = self._extras.inverse(rng.integers(0, self._part(GRANDFATHERED[1]), count - half, np.uint32))
        number = np.concatenate((utilized, extra))
        owner = self._owner_codes(self._owners(extra))
        # where nobody owns the slot, some subscriber asks
        owner = np.where(owner, owner, imsi_codes(rng.integers(0, self.pairs, len(owner), np.uint32)))
        return self._terrain.keys(number), np.concatenate((utilizer, owner))

    def _draw_unregistered(self, rng: np.random.Generator, count: int) -> tuple[U64, U64]:
        """Half in unused TACs, half unused serials of used ones (where lots are allotted)."""
        key = np.empty(0, np.uint64)
        while len(key) < count:
            many = count - len(key) + 16
            index = rng.integers(0, len(self.tacs), many)
            place = rng.integers(0, REGION, many, np.uint32)
            tac = self.tacs[index].astype(np.uint64)
            near = tac * np.uint64(SERIALS) + self._terrain.region_start[index] + place
            # the hundred TACs of the prefix that end like this one: most are unused
            far = near + np.uint64(SERIALS) * rng.integers(1, 100, many, np.uint64)
            draw = np.where(rng.random(many) < 0.5, near, far)
            unused = ~np.isin((draw // np.uint64(SERIALS)).astype(np.uint32), self.tacs)
            draw = draw[unused | ((draw == near) & ~self.is_registered(draw))]
            key = np.concatenate((key, draw))[:count]
        return key, imsi_codes(rng.integers(0, self.pairs, count, np.uint32))


def _utilized(place: U32) -> npt.NDArray[np.bool_]:
    """Tell which owned places have utilizers."""
    utilized: npt.NDArray[np.bool_] = place // np.uint32(UTILIZED_EVERY) * np.uint32(UTILIZED_EVERY) == place
    return utilized


def _utilizers_before(nth: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Count the utilizers of the first n places that have them."""
    before = np.concatenate(([0], np.cumsum(UTILIZER_COUNTS)))
    turn, rest = np.divmod(nth, len(UTILIZER_COUNTS))
    out: npt.NDArray[np.int64] = turn * before[-1] + before[rest]
    return out


def _pick(dice: U64, choices: tuple[IntEnum, ...]) -> U8:
    """One of 16 choices by the lowest bits but four."""
    return np.array(choices, np.uint8)[(dice >> np.uint64(4) & np.uint64(15)).astype(np.intp)]


def _authority(dice: U64) -> U8:
    """One of the authorities by the bits after those."""
    return (dice >> np.uint64(8) & np.uint64(len(AUTHORITIES) - 1)).astype(np.uint8)


def main(argv: list[str] | None = None) -> int:
    """Write a population as JSON lines, one operation each."""
    parser = argparse.ArgumentParser(prog="python -m bench.population", description=main.__doc__)
    parser.add_argument("--name", choices=sorted(SHAPES), default="P1")
    parser.add_argument("--registered", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=argparse.FileType("w"), default=sys.stdout)
    args = parser.parse_args(argv)
    for chunk in Population(args.name, args.registered, args.seed).chunks():
        args.out.writelines(json.dumps(operation) + "\n" for operation in to_operations(chunk))
    args.out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
