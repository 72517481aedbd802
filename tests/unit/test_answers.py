"""What an SMSC does with notices, and what becomes of their cases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from case_samples import KEY, NOON, SIM, opened

from eir.notify.answers import RETRY_SECONDS
from eir.notify.judged import Judged
from eir.notify.keeper import Keeper, Sighting, World
from eir.notify.outbox import Notice, NoticeState, Outbox
from eir.notify.receipts import Outcome, Receipt
from eir.notify.schedule import HOUR
from eir.policy import compile_policy, default_policy_text
from eir.verdict import Reason

SETTINGS = compile_policy(default_policy_text()).settings
SPACING = SETTINGS.notices.spacing_hours_min * HOUR


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    cases = opened(tmp_path)
    yield Keeper(
        cases,
        Outbox(cases),
        lambda pairs: [Judged(Reason.NEVER_ACTIVATED, True)] * len(pairs),
        SETTINGS,
    )
    cases.close()


def going(keeper: Keeper, *keys: int) -> list[Notice]:
    """The first notices of a subscriber's phones; the first of them is with an SMSC."""
    keeper.sighted([Sighting(key, SIM, NOON) for key in keys])
    keeper.tick(NOON, World(1 << 32), 10)
    keeper.commit()
    first, *others = keeper.outbox.waiting(NOON, 10)
    sent = keeper.submitted(first, keeper.cases.get(first.number), "main", NOON)
    keeper.commit()
    return [sent, *others]


def test_while_one_is_on_its_way_another_waits_and_then_keeps_its_distance(keeper: Keeper) -> None:
    first, second = going(keeper, KEY, KEY + 1)
    case = keeper.cases.get(second.number)
    assert keeper.spaced_at(second, case, NOON) == NOON + RETRY_SECONDS[0]
    assert keeper.spaced_at(second._replace(stage="resolved"), case, NOON) == NOON
    keeper.accepted(first, ("1",), NOON + 5)
    assert keeper.spaced_at(second, case, NOON + 6) == NOON + 5 + SPACING


def test_what_was_refused_for_a_while_waits_ever_longer_and_what_was_throttled_does_not(
    keeper: Keeper,
) -> None:
    (first,) = going(keeper, KEY)
    waits = []
    for _ in range(len(RETRY_SECONDS) + 1):
        keeper.refused(first, "temporary 0x08", NOON, permanent=False)
        keeper.commit()
        (again,) = keeper.outbox.of_case(0, 0)
        waits.append(again.due_at - NOON)
        first = keeper.submitted(again, keeper.cases.get(0), "main", NOON)
    assert waits == [*RETRY_SECONDS, RETRY_SECONDS[-1]]
    keeper.refused(first, "throttled 0x58", NOON, permanent=False, tried=False)
    keeper.commit()
    assert keeper.outbox.of_case(0, 0)[0].due_at == NOON + RETRY_SECONDS[0]


def test_who_was_refused_for_good_is_still_unwarned_and_warned_again(keeper: Keeper) -> None:
    (first,) = going(keeper, KEY)
    keeper.refused(first, "permanent 0x0B", NOON, permanent=True)
    keeper.commit()
    case = keeper.cases.get(0)
    assert (case.warned_at, case.steps_sent, case.waits) == (0, 0, False)
    assert keeper.cases.due_at(0) >= NOON + SPACING
    assert keeper.counts["failed"] == 1


def test_a_receipt_is_noted_once(keeper: Keeper) -> None:
    told: list[Notice] = []
    keeper.receipted = told.append
    (first,) = going(keeper, KEY)
    keeper.accepted(first, ("0A",), NOON)
    keeper.commit()
    for outcome in (Outcome.DELIVERED, Outcome.FAILED):
        keeper.receipt("main", Receipt("0A", outcome, ""), NOON + 9)
        keeper.commit()
    keeper.receipt("other", Receipt("0A", Outcome.DELIVERED, ""), NOON + 9)
    assert [one.state for one in told] == [NoticeState.DELIVERED]
    assert keeper.outbox.of_case(0, 0)[0].state == NoticeState.DELIVERED
    assert keeper.counts["receipts_unknown"] == 1
