"""Decisions read back from the files of a data directory, also beside a daemon that writes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from eir.decisions.keep import DAY_SECONDS
from eir.decisions.log import FOLDER, day_of, parts_of
from eir.decisions.record import COLUMNS, HEADER, RECORD_BYTES, Decision, decode, matches
from eir.errors import CorruptError

BLOCK_RECORDS: Final = 1 << 20
"""Records looked at together: 96 MiB of a file."""


@dataclass
class Found:
    """What was found, newest first; `more` where there was more than asked for."""

    decisions: list[Decision] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    """What could not be read, and where."""
    more: bool = False
    since: str = ""
    """The oldest day of which there are decisions; empty: there are none at all."""


def find(data_dir: Path, imei: str, imsi: str, since: int, until: int, count_max: int) -> Found:
    """Find the latest decisions on an IMEI (normalised), with one IMSI or any; times inclusive."""
    parts = parts_of(data_dir / FOLDER)
    found = Found(since=parts[0].name[:10] if parts else "")
    # A file is of the day of its last record: one from before midnight may lie in it.
    last_day, first_day = day_of(until + DAY_SECONDS), day_of(since)
    for part in reversed(parts):
        if first_day <= part.name[:10] <= last_day:
            _search(part, imei, imsi, since, until, count_max, found)
        if found.more:
            break
    return found


def _search(part: Path, imei: str, imsi: str, since: int, until: int, count_max: int, found: Found) -> None:
    try:
        file = part.open("rb")
    except FileNotFoundError:  # its time was over
        return
    with file:
        if file.read(len(HEADER)) != HEADER:
            found.damaged.append(f"{part.name}: is no file of decisions that this version reads")
            return
        count = (part.stat().st_size - len(HEADER)) // RECORD_BYTES
        for start in reversed(range(0, count, BLOCK_RECORDS)):
            file.seek(len(HEADER) + start * RECORD_BYTES)
            data = file.read(min(BLOCK_RECORDS, count - start) * RECORD_BYTES)
            block = np.frombuffer(data[: len(data) - len(data) % RECORD_BYTES], COLUMNS)
            for at in reversed(matches(block, imei, imsi, since, until).tolist()):
                if len(found.decisions) == count_max:
                    found.more = True
                    return
                try:
                    found.decisions.append(decode(data[at * RECORD_BYTES : (at + 1) * RECORD_BYTES]))
                except CorruptError as error:
                    found.damaged.append(f"{part.name}, record {start + at}: {error.message}")
