"""What happens outside of the daemon in a launch, drawn from a seed.

    seed ──► kinds of subscribers ──► pairs ──► sightings, remedies at the registry, numbers

Times are seconds since the Unix epoch; `pair` is a row of `keys` and `sims`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

HOUR = 3_600
DAY = 24 * HOUR
START = 1_793_478_600
"""Midnight of 1 November 2026 in Tehran."""
UTC_OFFSET = 12_600
FIRST_KEY = 35_700_000_000_000
PLACEHOLDER = 35_365_308_000_000
FIRST_OPERATOR, SECOND_OPERATOR = 1_432_110_000_000_000, 1_432_200_000_000_000
SECOND_EVERY = 4
"""Every fourth subscriber is the second operator's."""
GHOSTS = 5_000_000_000
"""SIMs from here on: former owners, SIMs put in later."""
ROLLED_OUT_DAYS = 20
"""Days over which phones are seen for the first time: the scheme comes to one part after another."""
BETWEEN_SIGHTINGS_DAYS = 3.5
SHOP_PHONES = 20
CLONES = 12
SILENCE = ((14.0, 16.5), (27.2, 28.5))
"""Days in which the registry's feed says nothing: what happens then comes after."""
VICTIMS_SHARE = 0.065
"""Of the owners at the start: un-paired by the bad delta; over 5 % of all pairs by then."""
BAD_DELTA_DAY = 30.4
BAD_SEEN_HOURS = 2

I64 = npt.NDArray[np.int64]


class Kind(IntEnum):
    """What is the matter with a subscriber's phone."""

    PAIRED = 0
    SECOND_SLOT = 1
    MOVED = 2
    NEW = 3
    UNREGISTERED = 4
    GRANDFATHERED = 5
    CLONE = 6
    PLACEHOLDER = 7
    SHOP = 8
    SWAPPED = 9
    TRAVELLER = 10


SHARES = {
    Kind.PAIRED: 0.74,
    Kind.SECOND_SLOT: 0.05,
    Kind.MOVED: 0.04,
    Kind.NEW: 0.06,
    Kind.UNREGISTERED: 0.04,
    Kind.GRANDFATHERED: 0.03,
    Kind.CLONE: 0.004,
    Kind.PLACEHOLDER: 0.006,
    Kind.SHOP: 0.001,
    Kind.SWAPPED: 0.01,
    Kind.TRAVELLER: 0.019,
}
GRACE_DAYS = {Kind.SECOND_SLOT: 20, Kind.MOVED: 15, Kind.NEW: 15}
GRACE_DAYS_ELSE = 20


class Remedy(IntEnum):
    """What the registry notes."""

    ACTIVATED = 1
    REGISTERED = 2
    """And activated."""
    TRANSFERRED = 3
    DECLARED = 4
    EXEMPTED = 5
    NUMBER = 6


@dataclass
class People:
    """A launch as it looks from outside."""

    seed: int
    subscribers: int
    days: int
    kinds: npt.NDArray[np.int64] = field(init=False)
    keys: I64 = field(init=False)
    sims: I64 = field(init=False)
    pair_kind: I64 = field(init=False)
    sighted_at: I64 = field(init=False)
    sighted: I64 = field(init=False)
    noted_at: I64 = field(init=False)
    noted: list[tuple[int, Remedy]] = field(init=False)
    """What the registry notes, in the order of `noted_at`: pair and what."""
    exempt_until: dict[int, int] = field(init=False)
    victims: I64 = field(init=False)
    """Pairs that the bad delta un-pairs."""
    first_seen: I64 = field(init=False)
    first_sims: I64 = field(init=False)
    second_sims: I64 = field(init=False)
    """Pairs of phones whose SIM is changed: the SIM before, and the one after."""
    numbers: I64 = field(init=False)
    """MSISDN of each subscriber's SIM; 0: not known at first."""
    refused: set[int] = field(init=False)
    """SIMs whose numbers the SMSC refuses for good."""

    def __post_init__(self) -> None:
        """Draw everything."""
        self._random = np.random.default_rng(self.seed)
        count = self.subscribers
        shares = np.array([*SHARES.values()])
        self.kinds = self._random.choice(len(shares), count, p=shares / shares.sum())
        self._pairs()
        self._sight()
        self._note()
        order = np.argsort(self.sighted_at, kind="stable")
        self.sighted_at, self.sighted = self.sighted_at[order], self.sighted[order]

    @property
    def end(self) -> int:
        """Last second."""
        return START + self.days * DAY

    def sim_of(self, subscriber: I64) -> I64:
        """Return the IMSI codes of subscribers; ghosts come after all others."""
        second = subscriber % SECOND_EVERY == 0
        codes: I64 = np.where(second, SECOND_OPERATOR, FIRST_OPERATOR) + subscriber
        return codes

    def of(self, kind: Kind) -> I64:
        """Return the subscribers of a kind."""
        return np.flatnonzero(self.kinds == kind)

    def _pairs(self) -> None:
        """Draw who has which SIM in which slot; slots of a device have neighbouring keys."""
        everybody = np.arange(self.subscribers)
        keys, sims = FIRST_KEY + 2 * everybody, self.sim_of(everybody)
        kind = self.kinds.copy()
        hosts, second = self.of(Kind.PAIRED), self.of(Kind.SECOND_SLOT)
        keys[second] = FIRST_KEY + 2 * self._random.choice(hosts, len(second), replace=False) + 1
        clones = self.of(Kind.CLONE)
        keys[clones] = FIRST_KEY + 2 * clones[np.arange(len(clones)) // CLONES * CLONES]
        keys[self.of(Kind.PLACEHOLDER)] = PLACEHOLDER
        shops, swapped = self.of(Kind.SHOP), self.of(Kind.SWAPPED)
        more = np.arange(len(shops) * (SHOP_PHONES - 1)) + self.subscribers
        self.keys = np.concatenate((keys, FIRST_KEY + 2 * more, keys[swapped]))
        self.sims = np.concatenate(
            (sims, np.repeat(sims[shops], SHOP_PHONES - 1), self.sim_of(GHOSTS + swapped))
        )
        self.pair_kind = np.concatenate(
            (kind, np.full(len(more), Kind.SHOP), np.full(len(swapped), Kind.SWAPPED))
        )
        self.second_sims = np.arange(len(self.keys) - len(swapped), len(self.keys))
        self.first_sims = swapped
        owned = len(hosts) + len(self.of(Kind.MOVED))
        self.victims = self._random.choice(hosts, int(VICTIMS_SHARE * owned), replace=False)

    def _sight(self) -> None:
        """Draw when phones are seen."""
        random, count = self._random, len(self.keys)
        first = START + (random.uniform(0, ROLLED_OUT_DAYS, count) * DAY).astype(np.int64)
        self.first_seen = first
        self.first_seen[self.second_sims] = first[self.first_sims] + (
            random.uniform(2, 12, len(self.second_sims)) * DAY
        ).astype(np.int64)
        once = np.isin(self.pair_kind, (Kind.PAIRED, Kind.PLACEHOLDER, Kind.GRANDFATHERED, Kind.SHOP))
        leaves = np.where(random.random(count) < 0.12, random.uniform(1, 25, count), 1_000.0)
        back = leaves + random.uniform(8, 20, count)
        at, pairs = first.copy(), np.arange(count)
        seen, who = [], []
        while len(pairs):
            day = (at - self.first_seen[pairs]) / DAY
            there = (day < leaves[pairs]) | (day > back[pairs])
            seen.append(at[there])
            who.append(pairs[there])
            gap = np.minimum(random.exponential(BETWEEN_SIGHTINGS_DAYS, len(pairs)) + 0.02, 30)
            at = at + (gap * DAY).astype(np.int64)
            ends = np.full(count, self.end)
            ends[self.first_sims] = self.first_seen[self.second_sims]
            goes_on = (at < ends[pairs]) & ~once[pairs]
            at, pairs = at[goes_on], pairs[goes_on]
        bad = START + int(BAD_DELTA_DAY * DAY)
        seen.append(bad + (random.uniform(0.1, BAD_SEEN_HOURS, len(self.victims)) * HOUR).astype(np.int64))
        who.append(self.victims)
        self.sighted_at, self.sighted = np.concatenate(seen), np.concatenate(who)

    def _note(self) -> None:
        """Draw what the registry notes, and the numbers that operators know."""
        random = self._random
        curable = (Kind.SECOND_SLOT, Kind.MOVED, Kind.NEW, Kind.UNREGISTERED, Kind.SWAPPED, Kind.TRAVELLER)
        pairs = np.flatnonzero(np.isin(self.pair_kind, curable))
        pairs = np.setdiff1d(pairs, self.first_sims)
        grace = np.array([GRACE_DAYS.get(Kind(kind), GRACE_DAYS_ELSE) for kind in range(len(Kind))])
        grace = grace[self.pair_kind[pairs]]
        wait = grace * random.uniform(0.1, 1.6, len(pairs))
        at_the_end = random.random(len(pairs)) < 0.05
        wait[at_the_end] = (grace + random.uniform(-0.3, 0.3, len(pairs)))[at_the_end]
        at = self.first_seen[pairs] + (wait * DAY).astype(np.int64)
        cured = (random.random(len(pairs)) < 0.6) & (at < self.end)
        remedy = {
            Kind.SECOND_SLOT: Remedy.DECLARED,
            Kind.MOVED: Remedy.TRANSFERRED,
            Kind.NEW: Remedy.ACTIVATED,
        }
        rows = [
            (when, pair, remedy.get(Kind(kind), Remedy.EXEMPTED if pair % 3 == 0 else Remedy.REGISTERED))
            for when, pair, kind in zip(
                at[cured].tolist(), pairs[cured].tolist(), self.pair_kind[pairs[cured]].tolist(), strict=True
            )
        ]
        travellers = self.of(Kind.TRAVELLER)
        until = START + (random.uniform(3, 22, len(travellers)) * DAY).astype(np.int64)
        self.exempt_until = dict(zip(travellers.tolist(), until.tolist(), strict=True))
        unknown = random.random(self.subscribers)
        self.numbers = np.where(unknown < 0.008, 0, 1_989_000_000_000 + np.arange(self.subscribers))
        later = np.flatnonzero(unknown < 0.004)
        at = self.first_seen[later] + (random.uniform(2, 15, len(later)) * DAY).astype(np.int64)
        rows += [(when, pair, Remedy.NUMBER) for when, pair in zip(at.tolist(), later.tolist(), strict=True)]
        refused = np.flatnonzero(random.random(self.subscribers) < 0.003)
        self.refused = set(self.sims[refused].tolist())
        rows.sort()
        self.noted_at = np.array([when for when, _, _ in rows], np.int64)
        self.noted = [(pair, what) for _, pair, what in rows]

    def complete_until(self, now: int) -> int:
        """Return until when the registry's feed is complete at a second."""
        until = now - HOUR // 4
        for begin, end in SILENCE:
            if START + begin * DAY <= now < START + end * DAY:
                until = min(until, START + int(begin * DAY))
        return until
