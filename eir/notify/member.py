"""A daemon of a group, as its keeper's thread sees it: what it tells, hears, and does alone.

commit ──► teller ──► (group, board) ──► hearer ──► shared keeper ──► commit
claims ◄── granted ── (group, board) ◄── asked for ── claims
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from eir.notify.claims import Claims
from eir.notify.group_notes import GroupNotes
from eir.notify.hearing import Hearer
from eir.notify.shared_keeper import SharedKeeper
from eir.notify.telling import Teller


@dataclass(frozen=True)
class Member:
    """The parts of a daemon's membership; all but `name` and `counts` are for the keeper's thread."""

    notes: GroupNotes
    teller: Teller
    hearer: Hearer
    claims: Claims

    @classmethod
    def of(
        cls,
        keeper: SharedKeeper,
        clock: Callable[[], int],
        monotonic: Callable[[], float],
        lines_max: int = 100_000,
    ) -> Member:
        """Make a keeper a member, and take up what an earlier process left."""
        notes = GroupNotes(keeper.cases)
        teller = Teller(notes, clock, lines_max)
        claims = Claims(keeper, notes, clock, monotonic)
        keeper.answered, keeper.receipted, keeper.claimed = teller.answered, teller.receipted, claims.may_fall
        teller.after.append(claims.told)
        return cls(notes, teller, Hearer(keeper, notes, teller), claims)

    @property
    def name(self) -> str:
        """What the daemon is called in its group: given once, by itself."""
        return self.notes.name

    @property
    def counts(self) -> Counter[str]:
        """What happened, by kind."""
        return self.notes.counts
