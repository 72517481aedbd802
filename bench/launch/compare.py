"""The end of a launch: every case on disk, and some checks, held against the plain model."""

from __future__ import annotations

from eir.identity import imei_text, imsi_text
from eir.notify.case import State
from eir.notify.judged import CAUSE_NAMES
from eir.verdict import Status

from .facts import ABSENT, CUT, HELD, OPEN, WITHDRAWN
from .run import Launch

CHECKS = 2_000
"""Cases that checks are asked for."""
STATES = {
    State.OPEN: OPEN,
    State.ABSENT: ABSENT,
    State.HELD: HELD,
    State.WITHDRAWN: WITHDRAWN,
    State.CUT_OFF: CUT,
}


def compare(launch: Launch) -> None:
    """Say what differs."""
    model, cases = launch.model, launch.desk.keeper.cases
    found: set[int] = set()
    for number in range(cases.count):
        case = cases.get(number)
        if not cases.has(number) or case.state == State.RESOLVED:
            continue
        pair = launch.pair_by[case.key, case.imsi]
        found.add(pair)
        course = model.courses.get(pair)
        if course is None:
            model.say("a case that should not be", pair, launch.now)
            continue
        ours = (STATES[case.state], CAUSE_NAMES[case.cause], case.opened_at, case.warned_at)
        theirs = (course.state, course.cause, course.opened, course.warned)
        if ours != theirs:
            model.say(f"a case that differs: {ours[0]}, and not {theirs[0]}", pair, launch.now)
        elif case.state != State.CUT_OFF and case.deadline != course.end:
            model.say("a deadline that differs", pair, launch.now)
    _ask_checks(launch)
    for pair in model.courses.keys() - found:
        model.say("a case that is missing", pair, launch.now)
    model.lost(launch.now)


def _ask_checks(launch: Launch) -> None:
    """Ask checks for some of the cases: who is cut off is denied, and nobody else."""
    model, pairs = launch.model, sorted(launch.model.courses)
    for pair in launch.random.sample(pairs, min(len(pairs), CHECKS)):
        course = model.courses[pair]
        imei, imsi = imei_text(launch.keys[pair]), imsi_text(launch.sims[pair])
        told = launch.checker.check(imei, imsi, "", False)
        if (told.status == Status.BLACKLISTED) != (course.state == CUT):
            model.say("a check that is answered wrong", pair, launch.now)
        elif course.state == OPEN and told.deadline != model.deadline(course):
            model.say("a check that names another deadline", pair, launch.now)
