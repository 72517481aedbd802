"""The rules of a launch: for the model as numbers, for the daemon as a policy; both say the same."""

from __future__ import annotations

import datetime as dt

import numpy as np

from .facts import Rules
from .people import DAY, HOUR, START, UTC_OFFSET, People

ENFORCED_DAY = 25
"""Until then the second operator's subscribers are warned only."""
POLICY = """
name = "launch"
home_plmns = ["43211", "43220"]
moved_sim = "case"
placeholders = ["353653080000000"]
[cause.unowned_slot]
mode = "enforce"
grace_days = 20
[cause.owned_by_other]
mode = "enforce"
grace_days = 15
[cause.never_activated]
mode = "enforce"
grace_days = 15
[cause.not_registered]
mode = "enforce"
grace_days = 20
clock_start = "first_sighting"
[notices]
reminders_after_days = [5, 10]
last_before_days = 3
warned_days_min = 7
absent_days = 10
cases_per_imei_max = 5
cases_per_hour_max = {cases}
notices_per_hour_max = {notices}
cut_offs_per_hour_max = {cut_offs}
[operator.second]
imsi = ["43220"]
[[phase]]
rules = ["unowned_slot", "owned_by_other", "never_activated", "not_registered"]
mode = "notify"
operators = ["second"]
valid_until = {enforced}
"""


def rules_for(people: People) -> Rules:
    """Return the rules of a launch; its ceilings are above what comes without a bad delta."""
    normal = people.sighted_at[~np.isin(people.sighted, people.victims)]
    _, first = np.unique(people.sighted[~np.isin(people.sighted, people.victims)], return_index=True)
    most = int(np.bincount((normal[first] - START) // HOUR).max())
    count = people.subscribers
    return Rules(
        utc_offset=UTC_OFFSET,
        grace={
            "unowned_slot": 20 * DAY,
            "owned_by_other": 15 * DAY,
            "never_activated": 15 * DAY,
            "not_registered": 20 * DAY,
        },
        clock={
            "unowned_slot": "first_notice",
            "owned_by_other": "first_notice",
            "never_activated": "first_notice",
            "not_registered": "first_sighting",
        },
        reminders=(5 * DAY, 10 * DAY),
        last_before=3 * DAY,
        first_after=0,
        awake=(9, 21),
        cut_off=(9, 16),
        spacing=DAY,
        warned_min=7 * DAY,
        absent=10 * DAY,
        cases_per_imei_max=5,
        cases_per_hour_max=most * 5 // 4 + 10,
        notices_per_hour_max=count * 6 // 100 + 200,
        cut_offs_per_hour_max=count * 8 // 10_000 + 1,
    )


def policy_for(rules: Rules) -> str:
    """Policy that says what the rules say."""
    enforced = dt.date(2026, 11, 1) + dt.timedelta(ENFORCED_DAY)
    return POLICY.format(
        cases=rules.cases_per_hour_max,
        notices=rules.notices_per_hour_max,
        cut_offs=rules.cut_offs_per_hour_max,
        enforced=enforced,
    )
