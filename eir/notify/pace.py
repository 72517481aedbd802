"""How fast one SMSC is spoken to: slower when it throttles, faster again when it takes what it gets.

Additive increase, multiplicative decrease, as TCP does it. Pure: the time is
passed in, in seconds of a clock that only goes forward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SLOWED: Final = 0.5
"""Factor of the rate when the SMSC throttles."""
REGAINED_SHARE: Final = 0.05
"""Share of the full rate that comes back in a second without throttling."""
RATE_MIN: Final = 1.0
ROUNDING: Final = 1e-6
"""Of a token: what floating point may leave short."""
BURST_SECONDS: Final = 0.1
"""Of the rate that may go out at once."""


@dataclass
class Pace:
    """Tokens of one SMSC: one for each part."""

    rate_max: float
    now: float
    rate: float = 0
    """Parts a second, now."""
    _tokens: float = 0
    _slowed_at: float = float("-inf")

    def __post_init__(self) -> None:
        """Begin at full speed."""
        self.rate = self.rate_max

    def take(self, parts: int, now: float) -> float:
        """Take tokens for so many parts; return 0, or the seconds to wait before asking again."""
        passed = max(now - self.now, 0)
        self.now = now
        self.rate = min(self.rate + passed * REGAINED_SHARE * self.rate_max, self.rate_max)
        self._tokens = min(self._tokens + passed * self.rate, max(self.rate * BURST_SECONDS, parts))
        if parts - self._tokens > ROUNDING:
            return (parts - self._tokens) / self.rate
        self._tokens -= parts
        return 0

    def throttled(self, now: float) -> None:
        """Slow down; what was in the window when the SMSC began to throttle counts once a second."""
        if now - self._slowed_at < 1:
            return
        self._slowed_at = now
        self.rate = max(self.rate * SLOWED, min(RATE_MIN, self.rate_max))
        self._tokens = 0
