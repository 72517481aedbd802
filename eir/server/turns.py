"""Whose turn it is: of each feed one delta at a time, of large deltas one of all.

Small deltas of other feeds go in between the chunks of a large one; only while
it is committed does everybody wait. What large deltas hold in memory is bounded
so, and a sender that is slow keeps no small delta waiting but its own feed's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from prometheus_client import Gauge

from eir.errors import WriterBusyError
from eir.settings import Limits


class Turns:
    """Turns of deltas that are pushed."""

    def __init__(self, limits: Limits, waiting: Gauge) -> None:
        """Take the bounds, and show how many wait in `waiting`."""
        self._limits, self._gauge = limits, waiting
        self._large = asyncio.Lock()
        self._feeds: dict[str, asyncio.Lock] = {}
        self._users: dict[str, int] = {}
        self._waiting = 0

    @asynccontextmanager
    async def take(self, feed: str, row_count: int) -> AsyncIterator[None]:
        """Wait for a turn, and have it. Raises WriterBusyError when too many wait."""
        locks = [self._feeds.setdefault(feed, asyncio.Lock())]
        if row_count > self._limits.small_delta_rows_max:
            locks.append(self._large)
        if any(lock.locked() for lock in locks) and self._waiting >= self._limits.pushes_waiting_max:
            raise WriterBusyError(pushes_waiting_max=self._limits.pushes_waiting_max)
        self._users[feed] = self._users.get(feed, 0) + 1
        try:
            async with AsyncExitStack() as held:
                self._wait(1)
                try:
                    for lock in locks:
                        await held.enter_async_context(lock)
                finally:
                    self._wait(-1)
                yield
        finally:
            self._users[feed] -= 1
            if not self._users[feed]:
                del self._users[feed], self._feeds[feed]

    def _wait(self, change: int) -> None:
        self._waiting += change
        self._gauge.set(self._waiting)
