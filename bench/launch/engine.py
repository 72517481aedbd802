"""What answers the checks of a launch: the native engine where it is there."""

from __future__ import annotations

from collections.abc import Callable

from eir import native
from eir.check import Checker
from eir.errors import EngineUnavailableError
from eir.policy import Policy
from eir.whitelist.store import Store


def checker(store: Store, policy: Policy, clock: Callable[[], int]) -> Checker:
    """Return the checker of a store."""
    try:
        made = native.PublishingChecker(store, policy, clock, native.load().Engine())
    except EngineUnavailableError:
        return Checker(store, policy, clock)
    store.on_generation = made.native.publish
    return made
