"""What a launch has in place of the parts of a daemon that need the time of day, or the network."""

from __future__ import annotations

from collections.abc import Callable

from eir import native
from eir.check import Checker
from eir.errors import EngineUnavailableError
from eir.notify.keeper import Sighting
from eir.policy import Policy
from eir.whitelist.store import Store


def checker(store: Store, policy: Policy, clock: Callable[[], int]) -> Checker:
    """Return the checker of a store: the native engine where it is there."""
    try:
        made = native.PublishingChecker(store, policy, clock, native.load().Engine())
    except EngineUnavailableError:
        return Checker(store, policy, clock)
    store.on_generation = made.native.publish
    return made


class Queue:
    """Sightings that wait for the keeper; those it took are the model's once they are on disk."""

    def __init__(self) -> None:
        """Begin empty."""
        self.waiting: list[tuple[int, Sighting]] = []
        self.taken: list[tuple[int, Sighting]] = []

    def take(self, limit: int) -> list[Sighting]:
        """Take those that waited longest."""
        part, self.waiting = self.waiting[:limit], self.waiting[limit:]
        self.taken += part
        return [sighting for _, sighting in part]
