"""What would be sent in the next hours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from case_samples import KEY, SIM, opened
from test_keeper import START

from eir.notify.judged import Judged
from eir.notify.keeper import Keeper, Sighting, World
from eir.notify.outbox import Outbox
from eir.notify.preview import Preview
from eir.notify.schedule import DAY, HOUR
from eir.policy import compile_policy, default_policy_text
from eir.verdict import Reason

SETTINGS = compile_policy(default_policy_text()).settings
NEVER = Reason.NEVER_ACTIVATED


def looked(keeper: Keeper, now: int, hours: int, shown_max: int = 10) -> Preview:
    preview = Preview(keeper, now, hours, shown_max)
    preview.begin()
    while preview.step():
        pass
    return preview


def test_what_waits_and_what_comes_due_is_told_and_nothing_is_changed(tmp_path: Path) -> None:
    cases = opened(tmp_path)
    answers = {KEY + 2: Judged(Reason.OWNER, True), KEY + 3: Judged(NEVER, False, opens=False)}
    keeper = Keeper(
        cases,
        Outbox(cases),
        lambda pairs: [answers.get(key, Judged(NEVER, True)) for key, _ in pairs],
        SETTINGS,
    )
    keeper.judge, judge = (lambda pairs: [Judged(NEVER, True)] * len(pairs)), keeper.judge
    keeper.sighted([Sighting(KEY + n, SIM + n, START) for n in range(4)])
    keeper.judge = judge
    preview = looked(keeper, START, 1)
    # In order by now, and only observed: nothing is sent to them.
    assert preview.counts == {(NEVER, "first"): 2}
    assert [one.number for one in preview.shown] == [0, 1]
    assert (preview.looked_at, preview.due) == (4, 4)
    assert cases.due(START, 10) == [0, 1, 2, 3]
    keeper.tick(START, World(1 << 32), 10)
    keeper.commit()
    assert looked(keeper, START, 1, shown_max=1).counts == {(NEVER, "first"): 2}
    for notice in keeper.outbox.waiting(START, 10):
        keeper.accepted(
            keeper.submitted(notice, keeper.cases.get(notice.number), "main", START), ("a",), START
        )
    keeper.commit()
    assert looked(keeper, START, 24).counts == {}
    assert looked(keeper, START + 9 * DAY, 48).counts == {(NEVER, "reminder"): 2}
    for number in (0, 1):  # everything was sent: what comes is the fall
        keeper._put(number, replace(cases.get(number), steps_sent=4, seen_at=START + 28 * DAY), START, "")
    assert looked(keeper, START + 29 * DAY + 20 * HOUR, 30).counts == {(NEVER, "cut_off"): 2}
    cases.close()
