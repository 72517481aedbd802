"""The order that sorts keys."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


def sorting_order(keys: U64) -> I64:
    """Order that sorts keys; equal ones stay in their order.

    Key and place are sorted as one number, which is several times faster than an
    argsort; where both do not fit, the lowest bits of the key are left for a
    second pass over what is nearly sorted.
    """
    place_bits = len(keys).bit_length()
    key_bits = int(keys.max()).bit_length() if len(keys) else 0
    dropped = np.uint64(max(key_bits + place_bits - 64, 0))
    shift = np.uint64(place_bits)
    packed = np.sort(keys >> dropped << shift | np.arange(len(keys), dtype=np.uint64))
    order: I64 = (packed & np.uint64((1 << place_bits) - 1)).astype(np.int64)
    if dropped:
        nearly = keys[order]
        if not (nearly[1:] >= nearly[:-1]).all():
            order = order[np.argsort(nearly, kind="stable")]
    return order
