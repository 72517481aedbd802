"""What a check answers to pairs, for the keeper; of both engines."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import native_engine
import pytest
import store_model
from case_samples import KEY, NOON, SIM

from eir.check import Checker
from eir.native import PublishingChecker, load
from eir.notify.judge import Judge
from eir.notify.judged import Judged, NotJudgedError
from eir.notify.schedule import DAY
from eir.policy import compile_policy
from eir.verdict import Reason
from eir.whitelist.operation import Operation
from eir.whitelist.rows import Op, Role
from eir.whitelist.store import Limits, Store

POLICY = """
name = "p"
home_plmns = ["43211"]
[tac_set.old]
tacs = ["35693804"]
[cause.never_activated]
mode = "enforce"
grace_days = 10
[cause.not_registered]
mode = "notify"
grace_days = 30
[[phase]]
rules = ["not_registered"]
mode = "observe"
tac_sets = ["old"]
"""
OLD = 35_693_804_000_000


@pytest.fixture(params=["portable", "native"])
def judge(tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> Iterator[Judge]:
    store = Store.open(tmp_path, clock=lambda: NOON, limits=Limits())
    store_model.push(
        store,
        [
            Operation(Op.REGISTER, KEY),
            Operation(Op.REGISTER, KEY + 1),
            Operation(Op.PAIR, KEY + 1, imsi=SIM, cause=Role.OWNER),
            Operation(Op.EXEMPT, KEY, imsi=SIM + 1, cause=1, time=NOON + 10 * DAY),
            Operation(Op.EXEMPT, KEY, imsi=SIM + 2, cause=1, time=NOON + 10 * DAY + 1),
            Operation(Op.EXEMPT, KEY, imsi=SIM + 3, cause=1),
            Operation(Op.EXEMPT, KEY + 2, cause=1, time=NOON + 20 * DAY),
            Operation(Op.EXEMPT, OLD, cause=1, time=NOON + DAY),
            Operation(Op.EXEMPT, imsi=SIM + 5, cause=1, time=NOON + 2 * DAY),
        ],
    )
    policy = compile_policy(POLICY)
    if request.param == "native":
        native_engine.needed()
        checker: Checker = PublishingChecker(store, policy, lambda: NOON, load().Engine())
    else:
        checker = Checker(store, policy, lambda: NOON)
    made = Judge(lambda: checker, lambda: NOON)
    made.checker = checker  # type: ignore[attr-defined]
    yield made
    store.close()


def test_reason_mode_and_whether_it_opens(judge: Judge) -> None:
    assert judge([(KEY, SIM), (KEY + 1, SIM), (KEY + 9, SIM), (OLD + 9, SIM)]) == [
        Judged(Reason.NEVER_ACTIVATED, True, True),
        Judged(Reason.OWNER, False, False),
        Judged(Reason.NOT_REGISTERED, False, True),
        Judged(Reason.NOT_REGISTERED, False, False),
    ]


def test_an_exemption_whose_end_is_near_is_judged_by_what_comes_after(judge: Judge) -> None:
    assert judge([(KEY, SIM + n) for n in (1, 2, 3)] + [(KEY + 2, SIM), (OLD, SIM), (KEY, SIM + 5)]) == [
        Judged(Reason.NEVER_ACTIVATED, False, True, NOON + 10 * DAY),
        Judged(Reason.EXEMPT_PAIR, False, False),
        Judged(Reason.EXEMPT_PAIR, False, False),
        Judged(Reason.NOT_REGISTERED, False, True, NOON + 20 * DAY),
        Judged(Reason.EXEMPT_IMEI, False, False),
        Judged(Reason.NEVER_ACTIVATED, False, True, NOON + 2 * DAY),
    ]


def test_while_the_override_is_on_nothing_is_told(judge: Judge) -> None:
    judge.checker.override = True  # type: ignore[attr-defined]
    with pytest.raises(NotJudgedError):
        judge([(KEY, SIM)])
    assert judge([]) == []
