"""What a check answers to pairs now, for the keeper of their cases.

pairs ──► Checker, by the tables and the policy of now ──► columns, or Judged
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from eir.check import Checker
from eir.identity import SERIALS, imei_text, imsi_text
from eir.notify.judged import Judged, JudgedColumns, NotJudgedError
from eir.notify.schedule import DAY
from eir.policy.rules import Outcome
from eir.verdict import Reason
from eir.whitelist.rows import U64

if TYPE_CHECKING:
    from eir.policy import PolicyTables


class Judge:
    """Judges pairs of IMEI key and IMSI code, by the engine that answers the checks."""

    def __init__(self, checker: Callable[[], Checker], clock: Callable[[], int]) -> None:
        """Take what gives the checker of now, and the clock."""
        self._checker, self._clock = checker, clock

    def __call__(self, pairs: Sequence[tuple[int, int]]) -> list[Judged]:
        """Judge pairs. Raises NotJudgedError while the override is on."""
        if not pairs:
            return []
        keys, imsis = np.array(pairs, np.uint64).T.copy()
        return [*map(Judged._make, zip(*(one.tolist() for one in self.columns(keys, imsis)), strict=True))]

    def columns(self, keys: U64, imsis: U64) -> JudgedColumns:
        """Judge many pairs at once. Raises NotJudgedError while the override is on."""
        checker, now = self._checker(), self._clock()
        tables = checker.policy.at(now)
        reasons, outcomes, until = checker.judge_pairs(keys, imsis, now)
        if (reasons == Reason.OVERRIDE).any():
            raise NotJudgedError
        judged = JudgedColumns(
            reasons.astype(np.int64),
            outcomes == Outcome.CASE,
            np.frombuffer(tables.opens, np.uint8)[outcomes] != 0,
            np.zeros(len(keys), np.int64),
        )
        for at in np.flatnonzero(until).tolist():
            ends = int(until[at])
            then = _ending(checker, tables, (int(keys[at]), int(imsis[at])), ends, now)
            if then is not None:
                judged.reasons[at], judged.enforced[at], judged.opens[at] = then, False, True
                judged.ends[at] = ends
        return judged


def _ending(checker: Checker, tables: PolicyTables, pair: tuple[int, int], ends: int, now: int) -> int | None:
    """Return the reason that comes after an exemption, from a grace before that ends; None for others."""
    if ends - now > tables.exempt_notice_seconds:
        return None
    key, imsi = pair
    then = checker.policy.at(ends)
    reason = checker.judge_at(imei_text(key), imsi_text(imsi), ends).reason
    if reason == Reason.OVERRIDE:
        raise NotJudgedError
    outcome = then.modes[then.cohort(key // SERIALS, imsi)][reason]
    if not then.opens[outcome] or ends - now > then.causes[Reason(reason)].grace_days * DAY:
        return None
    return reason
