"""The order that sorts keys, and who sorts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeVar

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Number = TypeVar("Number", bound=np.integer[Any])
RUN_ROWS_MIN: Final = 256
"""Sorted runs of so many keys are merged faster than sorted."""


class Sorter:
    """Who sorts numbers: numpy, until the native engine is put in its place."""

    sort: ClassVar[Callable[[U64], None]] = staticmethod(np.ndarray.sort)

    @classmethod
    def use(cls, sort: Callable[[U64], None]) -> None:
        """Let another sort from now on; it sorts in place."""
        cls.sort = staticmethod(sort)


def distinct(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """Sorted values, each once; many times faster than np.unique, which hashes them."""
    ordered = np.sort(values, kind="stable")
    new = np.ones(len(ordered), np.bool_)
    new[1:] = ordered[1:] != ordered[:-1]
    return ordered[new]


def sorting_order(keys: U64) -> I64:
    """Order that sorts keys; equal ones stay in their order.

    Key and place are sorted as one number, which is several times faster than an
    argsort; where both do not fit, the lowest bits of the key are left for a
    second pass over what is nearly sorted. A few sorted runs are merged.
    """
    if np.count_nonzero(keys[1:] < keys[:-1]) * RUN_ROWS_MIN < len(keys):
        merged: I64 = np.argsort(keys, kind="stable")
        return merged
    place_bits = len(keys).bit_length()
    key_bits = int(keys.max()).bit_length() if len(keys) else 0
    dropped = np.uint64(max(key_bits + place_bits - 64, 0))
    packed = keys >> dropped
    packed <<= np.uint64(place_bits)
    packed |= np.arange(len(keys), dtype=np.uint64)
    Sorter.sort(packed)
    order = packed.view(np.int64)
    order &= (1 << place_bits) - 1
    if dropped:
        nearly = keys.take(order)
        if not (nearly[1:] >= nearly[:-1]).all():
            order = order[np.argsort(nearly, kind="stable")]
    return order
