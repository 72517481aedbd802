"""A keeper on its own: what checks answer, an SMSC that takes everything, and the time as a test wants it."""

from __future__ import annotations

import datetime as dt
import itertools
import zoneinfo
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from case_samples import KEY, SHIPPED, SIM, opened

from eir.notify.case import Case
from eir.notify.case_table import Found
from eir.notify.judged import Judged
from eir.notify.keeper import Keeper, Sighting, World
from eir.notify.outbox import Notice, Outbox
from eir.notify.schedule import DAY, HOUR
from eir.policy.settings import Settings
from eir.verdict import Reason

TEHRAN = zoneinfo.ZoneInfo("Asia/Tehran")
START = int(dt.datetime(2026, 11, 1, 12, tzinfo=TEHRAN).timestamp())
OTHER = SIM + 1
FOREVER = World(complete_until=1 << 32)


def policy(cause: str = "never_activated", **changes: object) -> Settings:
    """The shipped policy with changes to one cause."""
    return replace(SHIPPED, cause={**SHIPPED.cause, cause: replace(SHIPPED.cause[cause], **changes)})  # type: ignore[arg-type]


class Desk:
    """A keeper, what a check answers, and an SMSC that takes everything."""

    def __init__(self, folder: Path, settings: Settings = SHIPPED) -> None:
        self.folder, self.settings = folder, settings
        self.answers: dict[tuple[int, int], Reason] = {}
        self.enforced = True
        self.said: list[tuple[int, str]] = []
        self.ids = itertools.count()
        self.start()

    def start(self) -> None:
        self.cases = opened(self.folder)
        self.keeper = Keeper(self.cases, Outbox(self.cases), self.judge, self.settings)

    def judge(self, pairs: Sequence[tuple[int, int]]) -> list[Judged]:
        return [Judged(self.answers.get(pair, Reason.NEVER_ACTIVATED), self.enforced) for pair in pairs]

    def seen(self, at: int, imsi: int = SIM, key: int = KEY) -> None:
        self.keeper.sighted([Sighting(key, imsi, at)])
        self.keeper.commit()

    def several(self, count: int) -> list[Notice]:
        """Open cases of one subscriber, and return their first notices, which are due."""
        for number in range(count):
            self.seen(START, key=KEY + number)
        self.keeper.tick(START, FOREVER, 10)
        self.keeper.commit()
        return self.keeper.outbox.waiting(START, 10)

    def warning(self) -> Notice:
        """Open a case, and return its first notice, which is with the SMSC."""
        self.several(1)
        (notice,) = self.claim(START)
        return notice

    def claim(self, now: int) -> list[Notice]:
        going = []
        for notice in self.keeper.outbox.waiting(now, 1000):
            case = self.keeper.case_of(notice)
            if case is None:
                self.keeper.cancelled(notice, now)
            else:
                going.append(self.keeper.submitted(notice, case, "main", now))
        self.keeper.commit()
        return going

    def send(self, now: int) -> None:
        for notice in self.claim(now):
            self.said.append(((now - START) // HOUR, notice.stage))
            self.keeper.accepted(notice, (f"m{next(self.ids)}",), now)
        self.keeper.commit()

    def run(self, start: int, days: float, world: World = FOREVER, *, visible: bool = True) -> None:
        """Let time pass, hour by hour; the phone is seen once a day."""
        for now in range(start, start + int(days * DAY), HOUR):
            if visible and (now - start) % DAY == 0 and self.cases.number(KEY, SIM) >= 0:
                self.seen(now)
            self.keeper.tick(now, world, 1000)
            self.keeper.commit()
            self.send(now)

    def case(self, imsi: int = SIM) -> Case:
        return self.cases.get(self.cases.number(KEY, imsi))

    def found(self) -> Found | None:
        return self.cases.table.find(KEY, SIM)
