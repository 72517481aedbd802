"""What a check answers to pairs now, for the keeper of their cases.

pairs ──► Checker, by the tables and the policy of now ──► Judged
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from eir.check import Checker, Verdict
from eir.identity import SERIALS, imei_text, imsi_text
from eir.notify.keeper import CAUSE_NAMES, Judged, NotJudgedError
from eir.notify.schedule import DAY
from eir.policy.rules import Outcome
from eir.verdict import Reason

if TYPE_CHECKING:
    from eir.policy import PolicyTables


class Judge:
    """Judges pairs of IMEI key and IMSI code, by the engine that answers the checks."""

    def __init__(self, checker: Callable[[], Checker], clock: Callable[[], int]) -> None:
        """Take what gives the checker of now, and the clock."""
        self._checker, self._clock = checker, clock

    def __call__(self, pairs: Sequence[tuple[int, int]]) -> list[Judged]:
        """Judge pairs. Raises NotJudgedError while the override is on."""
        checker = self._checker()
        now = self._clock()
        tables = checker.policy.at(now)
        imeis = [imei_text(key) for key, _ in pairs]
        imsis = [imsi_text(imsi) for _, imsi in pairs]
        verdicts = checker.judge(imeis, imsis)
        return [
            _ending(checker, pair, verdict, now) or _judged(tables, pair, verdict)
            for pair, verdict in zip(pairs, verdicts, strict=True)
        ]


def _judged(tables: PolicyTables, pair: tuple[int, int], verdict: Verdict) -> Judged:
    if verdict.reason == Reason.OVERRIDE:
        raise NotJudgedError
    key, imsi = pair
    outcome = tables.modes[tables.cohort(key // SERIALS, imsi)][verdict.reason]
    return Judged(verdict.reason, outcome == Outcome.CASE, bool(tables.opens[outcome]))


def _ending(checker: Checker, pair: tuple[int, int], verdict: Verdict, now: int) -> Judged | None:
    """Judge a pair by what comes after its exemption, from a grace before that ends; None for others."""
    ends = verdict.deadline
    if not ends or verdict.reason in CAUSE_NAMES:
        return None
    key, imsi = pair
    tables = checker.policy.at(ends)
    then = _judged(tables, pair, checker.judge_at(imei_text(key), imsi_text(imsi), ends))
    if not then.opens or ends - now > tables.causes[Reason(then.reason)].grace_days * DAY:
        return None
    return then._replace(enforced=False, ends=ends)
