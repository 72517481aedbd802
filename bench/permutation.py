"""A random permutation of large ranges, computed instead of stored."""

from __future__ import annotations

from math import isqrt

import numpy as np
import numpy.typing as npt

U32 = npt.NDArray[np.uint32]
ROUNDS = 4
SLICE = 1 << 16
"""Indexes handled at a time, so that what is between stays in the cache."""


def add_modulo(left: U32, right: U32, modulus: int) -> U32:
    """Add numbers below a modulus; what wraps below 0 is huge, so the minimum is the remainder."""
    total = left + right
    remainder: U32 = np.minimum(total, total - np.uint32(modulus))
    return remainder


class Permutation:
    """A permutation of 0 to size - 1: a Feistel network with tables for round functions.

    An index is (high, low) in mixed radix near the square root of the size;
    each round adds to one half a random number looked up by the other. The few
    results past the size are permuted again until they fall below it.
    """

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        """Take the size, at most 2**32 - 2**17, and where to draw the tables from."""
        self.size = size
        self._low = isqrt(max(size - 1, 0)) + 1
        self._high = max(-(-size // self._low), 1)
        halves = (self._low, self._high)
        self._tables = [
            rng.integers(0, halves[1 - turn % 2], size=halves[turn % 2], dtype=np.uint32)
            for turn in range(ROUNDS)
        ]
        self._inverse_tables = [
            (np.uint32(halves[1 - turn % 2]) - table) % np.uint32(halves[1 - turn % 2])
            for turn, table in enumerate(self._tables)
        ]

    def __call__(self, index: U32) -> U32:
        """Place of each index."""
        return self._walk(index, self._tables, range(ROUNDS))

    def inverse(self, place: U32) -> U32:
        """Index at each place."""
        return self._walk(place, self._inverse_tables, range(ROUNDS - 1, -1, -1))

    def _walk(self, index: U32, tables: list[U32], turns: range) -> U32:
        out = np.empty(len(index), np.uint32)
        for start in range(0, len(index), SLICE):
            part = self._network(index[start : start + SLICE], tables, turns)
            while len(past := np.flatnonzero(part >= self.size)):
                part[past] = self._network(part[past], tables, turns)
            out[start : start + SLICE] = part
        return out

    def _network(self, index: U32, tables: list[U32], turns: range) -> U32:
        high = index // np.uint32(self._low)
        low = index - high * np.uint32(self._low)
        for turn in turns:
            if turn % 2:
                low = add_modulo(low, tables[turn][high], self._low)
            else:
                high = add_modulo(high, tables[turn][low], self._high)
        return high * np.uint32(self._low) + low
