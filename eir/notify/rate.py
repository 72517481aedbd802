"""How many of a thing there may be in an hour: of cases opened, notices due, deadlines that fall.

Pure. Times are seconds since the Unix epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

from eir.notify.schedule import HOUR


@dataclass
class Rate:
    """Events of the current hour, by the clock."""

    per_hour_max: int = 0
    hour: int = 0
    count: int = 0

    def over(self, now: int) -> bool:
        """Tell whether this hour has had all it may have."""
        if now // HOUR != self.hour:
            self.hour, self.count = now // HOUR, 0
        return self.count >= self.per_hour_max

    def note(self, now: int) -> bool:
        """Count one; tell whether it is more than there may be."""
        over = self.over(now)
        self.count += 1
        return over

    def in_line(self, now: int) -> tuple[int, int]:
        """Count one that finds no room; return its place in the line, and when to look again.

        That is when half of those before it had room: some of them will not need theirs.
        """
        self.over(now)
        place = self.count - self.per_hour_max
        self.count += 1
        return place, (now // HOUR + 1) * HOUR + place * HOUR // max(2 * self.per_hour_max, 1)
