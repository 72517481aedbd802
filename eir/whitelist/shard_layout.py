"""How a shard is laid out: sizes, sections, records. Format: docs/segment-format.md."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np

from eir.whitelist.hashtable import I64
from eir.whitelist.rows import U64

BLOCK_SERIALS: Final = 1 << 16
BLOCKS_PER_TAC: Final = 16
LINE_SERIALS: Final = 224
LINES_PER_BLOCK: Final = -(-BLOCK_SERIALS // LINE_SERIALS)
FLAG: Final = 1 << 31
"""In the running rank of paired keys: paired keys here are registered individually."""
RANK_MASK: Final = FLAG - 1

TAC_DTYPE: Final = np.dtype(
    [
        ("tac", "<u4"),
        ("dense_mask", "<u2"),
        ("sparse_mask", "<u2"),
        ("dense_first", "<u4"),
        ("sparse_first", "<u4"),
        ("ranges_first", "<u4"),
        ("runs_first", "<u4"),
        ("far_first", "<u4"),
        ("reserved", "<u4"),
    ]
)
DENSE_DTYPE: Final = np.dtype(
    [("presence", "<u8", 5), ("before", "<u2", 5), ("pad", "<u2"), ("first_line", "<u4"), ("reserved", "<u8")]
)
NEIGHBOURS: Final = -(1 << 31)
"""Shift of a run whose slots are linked two by two, from its first serial on."""
RUN_DTYPE: Final = np.dtype([("first", "<u4"), ("length", "<u4"), ("other_tac", "<u4"), ("shift", "<i4")])


class Section(IntEnum):
    """Sections of a shard."""

    TACS = 1
    DENSE = 2
    LINES = 3
    SPARSE = 4
    SPARSE_PAIRED = 5
    SPARSE_REGISTERED = 6
    SPARSE_MORE = 7
    OWNERS = 8
    MORE_FIRST = 9
    WORDS = 10
    RANGES = 11
    RUNS = 12
    FAR = 13
    FAR_TACS = 14
    META = 15


OWNER_BITS_MAX: Final = 36
"""Widest number of an owner: 20 bits of its IMSI block, 16 of the code."""


class Meta(IntEnum):
    """Places in the META section."""

    OWNER_BITS = 0
    DENSE_PAIRED = 1
    DENSE_MORE = 2
    PAIRED = 3
    MORE = 4
    KEYS = 5
    IMSI_BLOCKS = 6


META_LENGTH: Final = 8


class State(IntEnum):
    """The two bits of a key."""

    ABSENT = 0
    REGISTERED = 1
    PAIRED = 2
    MORE = 3


def unpack_bits(words: U64, index: I64, width: int) -> U64:
    """Read `width`-bit numbers at these places of a bit-packed array."""
    bit = index * width
    word = bit >> 6
    shift = (bit & 63).astype(np.uint64)
    low = words[word] >> shift
    high = words[word + 1] << (np.uint64(64) - shift)  # numpy: a shift by 64 is 0
    values: U64 = (low | high) & np.uint64((1 << width) - 1)
    return values
