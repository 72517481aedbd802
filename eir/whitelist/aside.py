"""Whole columns worked out in threads beside the caller's: numpy holds no lock while it computes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS: Final = min(os.cpu_count() or 1, 2)
"""More would take the cores that checks need."""
_AHEAD: Final = 4
"""Results that wait for the caller at most."""


def in_order(
    work: Callable[[Item], Result], items: Sequence[Item], threads: int | None = None
) -> Iterator[Result]:
    """Work on each item, a few ahead of the caller who takes the results in order."""
    threads = threads or THREADS
    if len(items) < 2 or threads < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads, "columns") as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
