"""What a check answers to pairs now, for the keeper of their cases.

pairs ──► Checker, by the tables and the policy of now ──► Judged
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from eir.check import Checker, Verdict
from eir.identity import SERIALS, imei_text, imsi_text
from eir.notify.keeper import Judged
from eir.policy.rules import Outcome
from eir.verdict import Reason

if TYPE_CHECKING:
    from eir.policy import PolicyTables


class NotJudgedError(Exception):
    """The override answers every check: what a pair's standing is cannot be told."""


class Judge:
    """Judges pairs of IMEI key and IMSI code, by the engine that answers the checks."""

    def __init__(self, checker: Callable[[], Checker], clock: Callable[[], int]) -> None:
        """Take what gives the checker of now, and the clock."""
        self._checker, self._clock = checker, clock

    def __call__(self, pairs: Sequence[tuple[int, int]]) -> list[Judged]:
        """Judge pairs. Raises NotJudgedError while the override is on."""
        checker = self._checker()
        policy = checker.policy
        tables = policy.at(self._clock())
        imeis = [imei_text(key) for key, _ in pairs]
        imsis = [imsi_text(imsi) for _, imsi in pairs]
        verdicts = checker.judge(imeis, imsis)
        return [
            _judged(tables, key, imsi, verdict) for (key, imsi), verdict in zip(pairs, verdicts, strict=True)
        ]


def _judged(tables: PolicyTables, key: int, imsi: int, verdict: Verdict) -> Judged:
    if verdict.reason == Reason.OVERRIDE:
        raise NotJudgedError
    outcome = tables.modes[tables.cohort(key // SERIALS, imsi)][verdict.reason]
    return Judged(verdict.reason, outcome == Outcome.CASE, bool(tables.opens[outcome]))
