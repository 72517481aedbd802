"""The one wall clock. Everything else is told the time."""

from __future__ import annotations

import time


def now_seconds() -> int:
    """Seconds since the Unix epoch."""
    return int(time.time())


def monotonic() -> float:
    """Seconds since some moment, for durations; never goes back."""
    return time.perf_counter()
