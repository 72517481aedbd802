"""IMSIs of a population: three home operators, dense blocks, a little that is odd."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]

HOME_NETWORKS = ("43211", "43235", "43220")
OPERATOR_OF_BLOCK = (0, 1, 2, 0, 1, 0, 1, 0, 1, 0, 0, 1, 2, 0, 1, 0, 1, 0, 1, 2)
"""Operators take blocks in turn: shares of 45, 40 and 15 %."""
BLOCK = 1 << 16
BLOCK_USED = BLOCK * 4 // 5
"""Numbers of a block in use: 80 %."""
MSIN_FIRST = 1_000_000_000
ODD_EVERY = 1_000
ODD_REMAINDER = 7
FOREIGN_NETWORKS = ("26201", "20801", "42402", "41820", "310260", "00101", "40445", "46000")
FIVE_DIGIT_CODES = 100_000


def imsi_codes(index: npt.NDArray[np.unsignedinteger]) -> U64:
    """IMSI code of each subscriber by its number: distinct numbers, distinct codes."""
    index = index.astype(np.uint64)
    block = index // np.uint64(BLOCK_USED)
    place = index - block * np.uint64(BLOCK_USED)
    bases = _block_bases(int(block.max(initial=0)) + 1)
    # an odd factor permutes the 16-bit numbers, so that the unused fifth is scattered
    low = (place * np.uint64(40_503) + block * np.uint64(12_289)) & np.uint64(BLOCK - 1)
    codes = bases[block.astype(np.intp)] + low
    odd = np.flatnonzero(index % np.uint64(ODD_EVERY) == ODD_REMAINDER)
    codes[odd] = _odd_codes(index[odd] // np.uint64(ODD_EVERY))
    return codes


def _block_bases(count: int) -> U64:
    """First code of each block, in the order of allotment."""
    share = np.bincount(OPERATOR_OF_BLOCK)
    cycle = len(OPERATOR_OF_BLOCK)
    first = np.array([-(-(int("1" + net) * 10**10 + MSIN_FIRST) // BLOCK) for net in HOME_NETWORKS])
    operator = np.array(OPERATOR_OF_BLOCK)
    nth = np.array([OPERATOR_OF_BLOCK[:place].count(who) for place, who in enumerate(OPERATOR_OF_BLOCK)])
    number = np.arange(count)
    turn, place = number // cycle, number % cycle
    blocks = first[operator[place]] + turn * share[operator[place]] + nth[place]
    out: U64 = blocks.astype(np.uint64) * np.uint64(BLOCK)
    return out


def _odd_codes(number: U64) -> U64:
    """Codes of foreign IMSIs (half), of nine digits and of five, where they last."""
    networks = np.array([int("1" + net) * 10 ** (15 - len(net)) for net in FOREIGN_NETWORKS], np.uint64)
    foreign = networks[(number // np.uint64(2) % np.uint64(len(networks))).astype(np.intp)]
    foreign = foreign + number * np.uint64(7_919) % np.uint64(10**9)
    quarter = number // np.uint64(4)
    five = (number % np.uint64(4) == 3) & (quarter < FIVE_DIGIT_CODES)
    codes = np.where(number % np.uint64(2) == 0, foreign, np.uint64(10**9) + number)
    out: U64 = np.where(five, np.uint64(FIVE_DIGIT_CODES) + quarter, codes)
    return out
