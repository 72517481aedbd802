"""How many different texts there were, estimated in one kilobyte (HyperLogLog). Pure.

Flajolet, Fusy, Gandouet, Meunier: HyperLogLog (2007); linear counting below
2.5 times the registers. The standard error is 3.3 %.
"""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import Final

INDEX_BITS: Final = 10
REGISTERS: Final = 1 << INDEX_BITS
HASH_BITS: Final = 64
RANKS: Final = range(HASH_BITS - INDEX_BITS + 2)
_ALPHA: Final = 0.7213 / (1 + 1.079 / REGISTERS)


class Distinct:
    """A set that only knows its size."""

    __slots__ = ("_registers",)

    def __init__(self) -> None:
        """Start empty."""
        self._registers = bytearray(REGISTERS)

    def add(self, text: str) -> None:
        """Add a text; adding it again changes nothing."""
        mark = int.from_bytes(blake2b(text.encode(), digest_size=HASH_BITS // 8).digest(), "big")
        place, rest = mark & REGISTERS - 1, mark >> INDEX_BITS
        rank = HASH_BITS - INDEX_BITS - rest.bit_length() + 1
        if rank > self._registers[place]:
            self._registers[place] = rank

    def estimate(self) -> int:
        """Return about how many texts were added."""
        raw = _ALPHA * REGISTERS**2 / sum(self._registers.count(rank) * 2.0**-rank for rank in RANKS)
        empty = self._registers.count(0)
        if raw <= 2.5 * REGISTERS and empty:
            return round(REGISTERS * math.log(REGISTERS / empty))
        return round(raw)
