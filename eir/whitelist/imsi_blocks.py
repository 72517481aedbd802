"""The numbers of IMSI blocks in use: how an owner fits into a few bytes.

A block is 65,536 neighbouring IMSI codes. The national dictionary gives each
block in use a number, so that an owner is number << 16 | low 16 bits. It only
grows: numbers of older shards stay valid.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from eir.whitelist.hashtable import I64
from eir.whitelist.rows import U64

BLOCK_BITS: Final = 16
BLOCKS_MAX: Final = 1 << 20


class ImsiBlocks:
    """Immutable dictionary of IMSI blocks: number -> block and back."""

    __slots__ = ("_number", "_order", "_sorted", "blocks")

    def __init__(self, blocks: U64) -> None:
        """Take the blocks (code >> 16) by number."""
        self.blocks = blocks
        self._order = np.argsort(blocks, kind="stable")
        self._sorted = blocks[self._order]
        self._number = {int(block): number for number, block in enumerate(blocks)}

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self.blocks)

    def owner(self, code: int) -> int:
        """Packed owner of an IMSI code, -1 where its block has no number."""
        number = self._number.get(code >> BLOCK_BITS)
        return -1 if number is None else number << BLOCK_BITS | (code & 0xFFFF)

    def pack(self, codes: U64) -> I64:
        """Packed owners of IMSI codes, -1 where a block has no number."""
        if not len(self.blocks):
            return np.full(len(codes), -1, np.int64)
        block = codes >> np.uint64(BLOCK_BITS)
        place = np.minimum(np.searchsorted(self._sorted, block), len(self._sorted) - 1)
        packed = (self._order[place] << BLOCK_BITS) | (codes & np.uint64(0xFFFF)).astype(np.int64)
        return np.where(self._sorted[place] == block, packed, -1)

    def codes(self, packed: U64) -> U64:
        """IMSI codes of packed owners."""
        return (self.blocks[(packed >> np.uint64(BLOCK_BITS)).astype(np.int64)] << np.uint64(BLOCK_BITS)) | (
            packed & np.uint64(0xFFFF)
        )

    def grown(self, codes: U64) -> ImsiBlocks:
        """Add blocks that enough of these owners use; others stay odd.

        A number costs memory in the dictionary, and every owner a bit when their
        count doubles: the more owners there are and the more numbers are in use,
        the more owners a new one needs.
        """
        block, count = np.unique(codes >> np.uint64(BLOCK_BITS), return_counts=True)
        new = (count >= max(1, len(codes) // 100_000, len(self) // 1024)) & (block > 0)
        new &= ~np.isin(block, self.blocks)
        fresh = block[new][: max(BLOCKS_MAX - len(self), 0)]
        return ImsiBlocks(np.concatenate((self.blocks, fresh))) if len(fresh) else self
