"""What a check answers to pairs, as the keeper of their cases takes it. Pure.

Judge ──► Judged, or columns of many ──► remedied, or not
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from eir.notify.case import State
from eir.policy.rules import CAUSES, ORDER
from eir.whitelist.hashtable import I64
from eir.whitelist.rows import U64

CAUSE_NAMES: Final = {reason: name for name, reason in CAUSES.items()}
IN_ORDER: Final = sorted({rule.reason for rule in ORDER if rule.row in (3, 7, 8, 9)})
"""Answers to a pair that is in order: paired, exempt, in use before the scheme."""


class NotJudgedError(Exception):
    """The override answers every check: what a pair's standing is cannot be told."""


class Judged(NamedTuple):
    """What a check answers to a pair now, whether its rule is enforced there, and whether it opens cases."""

    reason: int
    enforced: bool
    opens: bool = True
    ends: int = 0
    """End of an exemption that is near: the reason is then that of after it; 0 for none."""


Judge = Callable[[Sequence[tuple[int, int]]], Sequence[Judged]]
"""Judges pairs of IMEI key and IMSI code by the tables and the policy of now; raises NotJudgedError.

One that judges many at once has `columns`, from keys and codes to JudgedColumns.
"""


class JudgedColumns(NamedTuple):
    """What a check answers to many pairs: the fields of Judged, a column each."""

    reasons: I64
    enforced: npt.NDArray[np.bool_]
    opens: npt.NDArray[np.bool_]
    ends: I64


def judged_columns(judge: Judge, keys: U64, imsis: U64) -> JudgedColumns:
    """Judge many pairs. Raises NotJudgedError."""
    if (columns := getattr(judge, "columns", None)) is not None:
        found: JudgedColumns = columns(keys, imsis)
        return found
    judged = judge(list(zip(keys.tolist(), imsis.tolist(), strict=True)))
    reasons, enforced, opens, ends = zip(*judged, strict=True)
    return JudgedColumns(np.array(reasons), np.array(enforced), np.array(opens), np.array(ends))


def remedied(cause: int, state: int, judged: Judged) -> bool:
    """Tell whether a case is over: its cause is gone, or who was cut off is exempt, if only for a while."""
    return judged.reason != cause or (judged.ends != 0 and state == State.CUT_OFF)
