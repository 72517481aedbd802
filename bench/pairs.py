"""Pairs of a population as a file that other programs load: 16 bytes a row, little-endian.

The IMEI's key, and the owner's code: the number written by 1 followed by the
IMSI's digits; 0 where nobody owns it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.population import Population


def write_pairs(population: Population, path: Path) -> None:
    """Write all rows, by chunks."""
    with path.open("wb") as file:
        for chunk in population.chunks():
            np.column_stack((chunk.key, chunk.owner)).astype("<u8").tofile(file)
