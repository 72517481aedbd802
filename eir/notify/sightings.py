"""Sightings on their way to the keeper: bounded, repeats left out.

    check (any thread) ──note──► queue ──take──► keeper

Neither end waits for the other. What finds no room is counted: the same pair is
told again at its next check.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final, Protocol

from eir.notify.keeper import Sighting

LATELY: Final = 1 << 16
"""Places in which sightings are remembered, to leave out repeats; a later one takes the place of another."""
RESULTS: Final = ("taken", "repeated", "dropped")
"""What becomes of a sighting: it waits for the keeper, was told lately, or found no room."""


class Counts(Protocol):
    """A counter."""

    def inc(self, amount: float = 1) -> None:
        """Add."""


class Sightings:
    """A queue of pairs that checks found unpaired; every method may be called from any thread."""

    def __init__(self, sightings_max: int, repeat_seconds: int, counts: Mapping[str, Counts]) -> None:
        """Take the bound of the queue, how long a pair is not told again (0: always), counters by RESULTS."""
        self.sightings_max, self.repeat_seconds = sightings_max, repeat_seconds
        self._taken, self._repeated, self._dropped = (counts[result].inc for result in RESULTS)
        self._queue: deque[Sighting] = deque()
        self._lately: list[Sighting | None] = [None] * LATELY

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._queue)

    def note(self, key: int, imsi: int, at: int, msisdn: str = "") -> None:
        """Put a sighting into the queue, unless the pair was told lately or there is no room."""
        place = hash((key, imsi)) % LATELY
        last = self._lately[place]
        if (
            last is not None
            and (last.key, last.imsi) == (key, imsi)
            and 0 <= at - last.at < self.repeat_seconds
        ):
            self._repeated()
        elif len(self._queue) >= self.sightings_max:
            self._dropped()
        else:
            sighting = Sighting(key, imsi, at, msisdn)
            self._queue.append(sighting)
            self._lately[place] = sighting
            self._taken()

    def take(self, limit: int) -> list[Sighting]:
        """Take those that waited longest, at most so many."""
        queue = self._queue
        return [queue.popleft() for _ in range(min(limit, len(queue)))]
