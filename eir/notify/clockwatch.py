"""Whether the wall clock can be believed: it jumped against the monotonic one, or went back over a restart.

    wall, monotonic ──each second──► jumped? ──► doubtful ──► it came back, a feed agrees, or somebody says so

Pure: both clocks are passed in, in seconds. A clock that is slewed is no jump.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ClockWatch:
    """Doubt in the wall clock; `agree_seconds_max` is how near a feed's time is to one that agrees."""

    jump_seconds_max: float
    agree_seconds_max: float
    last_known: float = 0
    """Wall clock of an earlier process, 0 for none."""
    why: str = ""
    """What is doubtful; empty while nothing is."""
    jumps: int = 0
    _ahead: float | None = None
    """Of the wall clock over the monotonic one, when it was last believed."""
    _complete_until: float = 0
    """What the feeds said when the doubt began."""

    def look(self, wall: float, monotonic: float, complete_until: float) -> bool:
        """Look at the clocks, and at the time up to which the feeds are complete; tells whether in doubt."""
        ahead = wall - monotonic
        if self._ahead is None:
            self._ahead = ahead
            if wall < self.last_known - self.jump_seconds_max:
                self._doubt(f"went back {self.last_known - wall:.0f} s over a restart", complete_until)
        jumped = ahead - self._ahead
        if self.why:
            back = abs(jumped) <= self.jump_seconds_max and self.jumps > 0
            told = complete_until > self._complete_until
            if back or (told and abs(wall - complete_until) <= self.agree_seconds_max):
                self.believe(wall, monotonic)
        elif abs(jumped) > self.jump_seconds_max:
            self.jumps += 1
            self._doubt(f"jumped by {jumped:+.0f} s", complete_until)
        else:
            self._ahead = ahead
        return bool(self.why)

    def believe(self, wall: float, monotonic: float) -> None:
        """Believe the clock as it is."""
        self.why, self._ahead, self.jumps = "", wall - monotonic, 0

    def _doubt(self, why: str, complete_until: float) -> None:
        self.why, self._complete_until = why, complete_until
