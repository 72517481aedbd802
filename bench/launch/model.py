"""The plain model of a launch: who is to be warned, when, how often, and who may be cut off.

    sightings, registry, answers of the SMSC ──► courses of cases ──► what is due
    messages taken, cut-offs                 ──► held against it  ──► wrong

Written from the rules alone, with dictionaries and lists; nothing of eir is
imported. Times are seconds since the Unix epoch; a pair is a number, which its
key and SIM are looked up by.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from .facts import ABSENT, CUT, DONE, HELD, OPEN, WITHDRAWN, Course, Registry, Rules

HOUR = 3_600
DAY = 86_400
SEEN_GRAIN = 6 * HOUR
"""A sighting that is newer by less says nothing new."""
LATE = 3 * HOUR
"""What is due and possible happens within so much time in which it was possible."""
CUT_LATE = 7 * HOUR
"""So for deadlines: who waits in line is looked at again when those before him should be through."""
ENDINGS = ("cut_off", "resolved", "restored")


class Plain:
    """The courses of all cases, and what was found wrong with what happened."""

    def __init__(self, rules: Rules, keys: Sequence[int], sims: Sequence[int], registry: Registry) -> None:
        """Take the rules, the pairs, and what is registered at the start."""
        self.rules, self.keys, self.sims, self.registry = rules, keys, sims, registry
        self.courses: dict[int, Course] = {}
        self.past: list[Course] = []
        self.by_key: dict[int, list[int]] = defaultdict(list)
        self.heap: list[tuple[int, int]] = []
        self.endings: dict[tuple[int, str], int] = {}
        """Endings that are still to be told: pair, stage; since when it was possible."""
        self.falling: dict[int, int] = {}
        """Pairs whose deadline may fall, and since when it was possible."""
        self.blocked: dict[int, None] = {}
        """Pairs whose deadline is over, and is held back by the feed or the mode."""
        self.last_told: dict[int, int] = {}
        """When a SIM last got a notice of the timetable."""
        self.told_possible: dict[int, int] = {}
        """Seconds in which one could be sent, so far, when it got it."""
        self.repeats_allowed: set[tuple[int, str]] = set()
        """Pairs and stages that were in flight without an answer."""
        self.shifts: dict[int, tuple[int, str, int, int]] = {}
        """Seconds, cause (or the empty string), first and last SIM."""
        self.held = False
        self.complete_until = 0
        self.enforced_from: tuple[int, int, int] = (0, 0, 0)
        """SIMs from the first to the last are enforced from a second on; all others always."""
        self.hours: dict[str, list[int]] = {name: [0, 0] for name in ("opened", "due", "cut")}
        self.full_hour = 0
        """Hour that had all the cut-offs it may have: nobody is late in it."""
        self.possible = {"send": 0, "cut": 0}
        """Seconds so far in which a message could be sent, a deadline could fall."""
        self.unreachable: set[int] = set()
        """SIMs without a number, or whose number the SMSC refuses."""
        self.reachable_since: dict[int, int] = {}
        self.counts: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.examples: dict[str, str] = {}

    # -- hours ------------------------------------------------------------------------------------

    def clock_hour(self, at: int) -> float:
        """Hour of the day there."""
        return (at + self.rules.utc_offset) % DAY / HOUR

    def is_awake(self, at: int) -> bool:
        """Tell whether notices may go out."""
        return self.rules.awake[0] <= self.clock_hour(at) < self.rules.awake[1]

    def may_cut(self, at: int) -> bool:
        """Tell whether it is an hour for cut-offs."""
        return self.rules.cut_off[0] <= self.clock_hour(at) < self.rules.cut_off[1]

    def _into(self, at: int, hours: tuple[int, int]) -> int:
        """First second from `at` on that is in these hours."""
        midnight = at - (at + self.rules.utc_offset) % DAY
        if self.clock_hour(at) < hours[0]:
            return midnight + hours[0] * HOUR
        return at if self.clock_hour(at) < hours[1] else midnight + DAY + hours[0] * HOUR

    def _one_more(self, what: str, at: int, most: int) -> bool:
        """Count one in its hour; tell whether it is one too many."""
        counted = self.hours[what]
        if at // HOUR != counted[0]:
            counted[:] = [at // HOUR, 0]
        counted[1] += 1
        return counted[1] > most

    def say(self, what: str, pair: int, at: int) -> None:
        """Note something wrong, with the first example of it."""
        self.wrong[what] += 1
        self.examples.setdefault(what, f"pair {pair} at {at}: {self.courses.get(pair)}")

    # -- what happens -----------------------------------------------------------------------------

    def sighted(self, pair: int, at: int, now: int) -> None:
        """Note that a phone was seen."""
        why, ends = self._why(pair, now)
        course = self.courses.get(pair)
        if course is not None:
            if why == course.cause:
                self._seen(course, at, now)
                self._not_before(course, ends, now)
                return
            self._close(course, why, at)
        if why:
            self._open(pair, why, at, now, ends)

    def _why(self, pair: int, now: int) -> tuple[str, int]:
        return self.registry.reason(self.keys[pair], self.sims[pair], now, self.rules.grace)

    def _not_before(self, course: Course, ends: int, now: int) -> None:
        """Let a deadline not fall before the exemption ends that a pair has by now."""
        if ends and course.clock and ends > course.end and course.state != CUT:
            course.clock += ends - course.end
            self._again(course, now)

    def _seen(self, course: Course, at: int, now: int) -> None:
        if course.state == ABSENT:
            if at <= course.since:
                return
            if course.clock:
                course.paused += max(at - max(course.since, course.clock), 0)
            course.state, course.since = OPEN, at
        elif at - course.seen < SEEN_GRAIN:
            return
        course.seen = max(course.seen, at)
        if course.state == OPEN and not course.clock:
            course.clock = self._clock(course.cause, course.pair, at)
        if course.state == OPEN:
            self._again(course, now)

    def _open(self, pair: int, cause: str, at: int, now: int, ends: int) -> None:
        key = self.keys[pair]
        if len(self.by_key[key]) >= self.rules.cases_per_imei_max:
            self.counts["crowded"] += 1
            return
        clock = ends - self.rules.grace[cause] if ends else self._clock(cause, pair, at)
        course = Course(pair, cause, at, self.rules.grace[cause], at, clock, since=at)
        self.courses[pair] = course
        self.by_key[key].append(pair)
        self.counts["opened"] += 1
        if self._one_more("opened", now, self.rules.cases_per_hour_max):
            self._hold()
        self._again(course, now)

    def _clock(self, cause: str, pair: int, at: int) -> int:
        if cause == "not_registered":
            mates = (self.courses[mate] for mate in self.by_key[self.keys[pair]] if mate != pair)
            begun = [mate.clock for mate in mates if mate.cause == cause and mate.clock]
            if begun:
                return min(begun)
        return at if self.rules.clock[cause] == "first_sighting" else 0

    def _hold(self) -> None:
        if not self.held:
            self.held = True
            self.counts["holds"] += 1

    def release(self) -> None:
        """Somebody let the sending go on."""
        self.held = False
        self.hours["opened"][1] = self.hours["due"][1] = 0

    def touched(self, keys: Iterable[int], now: int) -> None:
        """Look at what a delta touched: what is in order is resolved."""
        for key in keys:
            for near in (key, self.registry.twin.get(key)):
                for pair in list(self.by_key.get(near, ())) if near is not None else ():
                    course = self.courses[pair]
                    why, ends = self._why(pair, now)
                    if why != course.cause:
                        self._close(course, why, now)
                    else:
                        self._not_before(course, ends, now)

    def _close(self, course: Course, why: str, now: int) -> None:
        """End a case; who was warned or cut off is told."""
        pair = course.pair
        if course.state == CUT:
            self.endings[pair, "restored"] = self.possible["send"]
        elif course.warned and not why:
            self.endings[pair, "resolved"] = self.possible["send"]
        self.endings.pop((pair, "cut_off"), None)
        course.state, course.since, course.pending = DONE, now, ""
        del self.courses[pair]
        self.by_key[self.keys[pair]].remove(pair)
        self.falling.pop(pair, None)
        self.blocked.pop(pair, None)
        self.past.append(course)
        self.counts["resolved"] += 1

    def act(self, pair: int, state: str, until: int, now: int) -> None:
        """Somebody held a case, or withdrew it."""
        course = self.courses[pair]
        if course.state == ABSENT and course.clock:
            course.paused += max(now - max(course.since, course.clock), 0)
        self.endings.pop((pair, "cut_off"), None)
        self._pause(course, state, now, until)
        if state == WITHDRAWN:
            course.clock = course.paused = course.warned = course.done = 0
            course.told = []
        self._again(course, now)

    def _pause(self, course: Course, state: str, now: int, until: int = 0) -> None:
        course.state, course.since, course.until = state, now, until
        self.falling.pop(course.pair, None)
        self.blocked.pop(course.pair, None)
        if course.pending:
            # It was not sent: it is still to be done.
            course.pending, course.done = "", course.step

    # -- time -------------------------------------------------------------------------------------

    def shift_of(self, course: Course) -> int:
        """Seconds by which shifts move a deadline."""
        sim = self.sims[course.pair]
        return sum(
            seconds
            for seconds, cause, first, last in self.shifts.values()
            if cause in ("", course.cause) and first <= sim <= last
        )

    def deadline(self, course: Course) -> int:
        """Deadline with shifts; 0 for none yet."""
        return max(course.end + self.shift_of(course), course.opened) if course.end else 0

    def falls(self, course: Course) -> int:
        """First second at which it may fall; 0: not as things are."""
        end = self.deadline(course)
        if course.state != OPEN or not end or not course.warned:
            return 0
        return self._into(max(end, course.warned + self.rules.warned_min), self.rules.cut_off)

    def _next_notice(self, course: Course, now: int) -> tuple[int, str, int] | None:
        says, end = self.rules, self.deadline(course)
        steps = [("first", course.opened + says.first_after)]
        steps += [("reminder", course.opened + after) for after in says.reminders]
        if end:
            steps.append(("last", max(end - says.last_before, course.opened)))
        left = [(at, number) for number, (_, at) in enumerate(steps) if number >= course.done]
        if not left:
            return None
        if course.warned:
            over = [one for one in left if one[0] <= now]
            at, number = over[-1] if over else min(left)
        else:
            at, number = left[0]
        if course.noticed:
            at = max(at, course.noticed + says.spacing)
        return self._into(at, says.awake), steps[number][0], number

    def _due(self, course: Course, now: int) -> tuple[int, str, str, int] | None:
        """Next thing of a case: when, what, stage, step."""
        found: list[tuple[int, int, str, str, int]] = []
        if course.state == OPEN:
            found.append((course.seen + self.rules.absent, 0, "absent", "", 0))
            if not course.pending and (notice := self._next_notice(course, now)):
                found.append((notice[0], 2, "notice", notice[1], notice[2]))
            waits = course.pair in self.falling or course.pair in self.blocked
            if not waits and (falls := self.falls(course)):
                found.append((falls, 3, "fall", "", 0))
        if course.until:
            found.append((course.until, 1, "end", "", 0))
        if not found:
            return None
        at, _, *what = min(found)
        return (at, *what)  # type: ignore[return-value]

    def _again(self, course: Course, now: int) -> None:
        """Look at a case again when something of it is due."""
        self.falling.pop(course.pair, None)
        self.blocked.pop(course.pair, None)
        if due := self._due(course, now):
            heapq.heappush(self.heap, (due[0], course.pair))

    def look_again(self, now: int) -> None:
        """Look at all cases: shifts were changed."""
        for course in self.courses.values():
            if course.state == OPEN:
                self._again(course, now)

    def passes(self, now: int) -> None:
        """Time comes to `now`: what is due is noted as due."""
        while self.heap and self.heap[0][0] <= now:
            self.passed(heapq.heappop(self.heap)[1], now)

    def passed(self, pair: int, now: int) -> None:
        """Time comes to `now` for one pair."""
        course = self.courses.get(pair)
        while course is not None and (due := self._due(course, now)) is not None:
            if due[0] > now:
                heapq.heappush(self.heap, (due[0], pair))
                break
            self._do(course, due, now)

    def _do(self, course: Course, due: tuple[int, str, str, int], now: int) -> None:
        at, what, stage, number = due
        at = max(at, course.since)  # an absence and the end of a hold are of when they were due
        if what == "absent":
            self._pause(course, ABSENT, at)
        elif what == "end":
            state = OPEN if course.state == HELD else ABSENT
            if course.state == HELD and course.clock:
                course.paused += max(at - max(course.since, course.clock), 0)
            course.state, course.since, course.until = state, at, 0
        elif what == "notice":
            course.pending, course.step, course.done = stage, number, number + 1
            course.possible_since = self.possible["send"]
            self.counts[f"due {stage}"] += 1
            if self._one_more("due", now, self.rules.notices_per_hour_max):
                self._hold()
        else:
            self.blocked[course.pair] = None

    def open_blocked(self, now: int) -> None:
        """See which of the deadlines that are over are free to fall."""
        for pair in list(self.blocked):
            if self._free(pair, now):
                del self.blocked[pair]
                self.falling[pair] = self.possible["cut"]

    def _free(self, pair: int, now: int) -> bool:
        """Tell whether neither the feed nor the mode holds a deadline back."""
        if self.falls(self.courses[pair]) > min(self.complete_until, now):
            return False
        first, last, since = self.enforced_from
        return now >= since or not first <= self.sims[pair] <= last

    # -- what the SMSC and the daemon did ---------------------------------------------------------

    def taken(self, pair: int, stage: str, at: int) -> None:
        """Note that the SMSC took a message."""
        if not self.is_awake(at):
            self.say("a notice in the quiet hours", pair, at)
        if self.held:
            self.say("a notice while the sending was held", pair, at)
        self.counts[f"taken {stage}"] += 1
        if stage in ENDINGS:
            self._ending_taken(pair, stage, at)
            return
        course = self.courses.get(pair)
        if course is None or course.state != OPEN or course.pending != stage:
            self.say(f"a notice that is not due: {stage}", pair, at)
            return
        if (pair, stage) in self.repeats_allowed:
            self.repeats_allowed.discard((pair, stage))
            self.counts["repeats"] += 1
        else:
            last = self.last_told.get(self.sims[pair], 0)
            if last and at - last < self.rules.spacing:
                self.say("two notices of a subscriber within the spacing", pair, at)
        course.told.append((stage, at))
        self.last_told[self.sims[pair]], self.told_possible[self.sims[pair]] = at, self.possible["send"]

    def _ending_taken(self, pair: int, stage: str, at: int) -> None:
        if (pair, stage) in self.repeats_allowed:
            self.repeats_allowed.discard((pair, stage))
            self.counts["repeats"] += 1
        elif (pair, stage) not in self.endings:
            self.say(f"an ending that nobody was to be told: {stage}", pair, at)

    def in_flight(self, pair: int, stage: str) -> None:
        """Note what the SMSC took and the daemon does not know of: it may come once more."""
        self.repeats_allowed.add((pair, stage))

    def answered(self, pair: int, stage: str, at: int) -> None:
        """Note that the daemon knows what the SMSC took."""
        self.repeats_allowed.discard((pair, stage))
        course = self.courses.get(pair)
        if stage in ENDINGS:
            self.endings.pop((pair, stage), None)
            return
        if course is None:
            return
        course.pending, course.noticed = "", at
        course.warned = course.warned or at
        if not course.clock and self.rules.clock[course.cause] == "first_notice":
            course.clock = at
        self._again(course, at)

    def refused_for_good(self, pair: int, stage: str, at: int) -> None:
        """Note what the SMSC will never take."""
        if stage in ENDINGS:
            self.endings.pop((pair, stage), None)
            return
        course = self.courses.get(pair)
        if course is not None and course.pending:
            course.pending, course.noticed = "", at
            course.done = course.done if course.warned else 0
            self._again(course, at)

    def cut_off(self, pair: int, at: int) -> None:
        """Hold against the rules that the daemon cut a pair off."""
        course = self.courses.get(pair)
        if course is None or course.state != OPEN:
            self.say("cut off without an open case", pair, at)
            return
        accepted = [when for _, when in course.told]
        if not accepted or at - accepted[0] < self.rules.warned_min:
            self.say("cut off unwarned", pair, at)
        elif pair not in self.falling and not (pair in self.blocked and self._free(pair, at)):
            self.say("cut off before its time", pair, at)
        if not self.may_cut(at):
            self.say("cut off outside the hours", pair, at)
        if self.held:
            self.say("cut off while the sending was held", pair, at)
        if self._one_more("cut", at, self.rules.cut_offs_per_hour_max):
            self.say("cut off faster than the rate", pair, at)
        if self.hours["cut"][1] == self.rules.cut_offs_per_hour_max:
            self.full_hour = at // HOUR
        self.counts["cut off"] += 1
        self._pause(course, CUT, at)
        self.endings[pair, "cut_off"] = self.possible["send"]

    def went_by(self, now: int, seconds: int, *, running: bool, sending: bool) -> None:
        """So many seconds went by; `running`: the daemon was there, `sending`: an SMSC, too."""
        self.possible["send"] += seconds * (running and sending and not self.held and self.is_awake(now))
        full = self.full_hour in (now // HOUR, now // HOUR - 1)
        self.possible["cut"] += seconds * (running and self.may_cut(now) and not self.held and not full)

    def look_for_late(self, now: int) -> None:
        """Say which deadlines could fall for long, and did not."""
        self.open_blocked(now)
        for pair, since in self.falling.items():
            if self.possible["cut"] - since > CUT_LATE:
                self.say("a deadline that did not fall", pair, now)
                self.falling[pair] = 1 << 40

    def lost(self, now: int) -> int:
        """Say which notices were due and possible for long and were not sent; return how many."""
        found, says = 0, self.rules
        spaced = (says.awake[1] - says.awake[0]) * HOUR * says.spacing // DAY
        for pair, course in self.courses.items():
            sim = self.sims[pair]
            # Another notice of this SIM may have been in its way for as long as the spacing is.
            free_since = self.told_possible.get(sim, -spaced) + spaced
            since = max(course.possible_since, self.reachable_since.get(sim, 0), free_since)
            if course.pending and sim not in self.unreachable and self.possible["send"] - since > LATE:
                self.say(f"a notice that was not sent: {course.pending}", pair, now)
                course.possible_since = 1 << 40
                found += 1
        for (pair, stage), due_since in self.endings.items():
            sim = self.sims[pair]
            since = max(due_since, self.reachable_since.get(sim, 0))
            if sim not in self.unreachable and self.possible["send"] - since > LATE:
                self.say(f"an ending that was not told: {stage}", pair, now)
                self.endings[pair, stage] = 1 << 40
                found += 1
        return found
