"""An SMSC in simulation, behind the same face as a link: what it takes, refuses, loses, and says later.

ready notice ──► wire ──► text ──► stage, IMEI ──► taken
└──► Sent              receipts, late, twice, of nothing ──► deliver_sm
"""

from __future__ import annotations

import asyncio
import heapq
import re
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace

import smpp34

from eir.notify.link import Fate, Sent
from eir.notify.messages import Texts
from eir.notify.segmentation import UCS2, Parts

from .people import DAY, HOUR

NAME = "smsc"
_MONTHS = re.compile(
    "January|February|March|April|May|June|July|August|September|October|November|December|فروردین|"
    "اردیبهشت|خرداد|تیر|مرداد|شهریور|مهر|آبان|آذر|دی|بهمن|اسفند"
)
_DIGITS = re.compile("[0-9\u06f0-\u06f9]+")
_IMEI = re.compile("[0-9]{6}")


def skeleton(text: str) -> str:
    """Text without what differs from one subscriber to another."""
    return _DIGITS.sub("", _MONTHS.sub("", text))


def text_of(parts: Parts) -> str:
    """Read what a phone would show; GSM-7 as far as the shipped texts use it."""
    bodies = [body[6:] if len(parts.bodies) > 1 else body for body in parts.bodies]
    octets = b"".join(bodies)
    return octets.decode("utf-16-be" if parts.data_coding == UCS2 else "latin-1")


def stages_of(texts: Texts, code: str, helpline: str) -> dict[str, str]:
    """Stage by the skeleton of its text."""
    found: dict[str, str] = {}
    for language in texts.languages.values():
        mark = "\u200e" if language.alphabet == "ucs2" else ""
        date = "1  1"
        for (_, stage), text in language.texts.items():
            says = text.format(
                imei=mark * 2,
                deadline=date,
                days="",
                code=mark + code + mark,
                helpline=mark + helpline + mark,
            )
            known = found.setdefault(skeleton(says), stage)
            if known != stage:
                raise ValueError(f"one text for {known} and {stage}")
    return found


@dataclass
class Smsc:
    """What it took is the truth; what it says of it may be lost."""

    random: Random
    texts: Texts
    code: str
    helpline: str
    refused: set[str]
    """Destinations that it never takes."""
    per_step_max: int
    lost_share: float = 0.004
    """Of the submissions that get no answer: of every fourth because it never arrived."""
    receipts_share: float = 1.0
    """Of the parts that receipts come of; the rest is as if they were lost."""
    bound: asyncio.Event = field(default_factory=asyncio.Event)
    endpoint: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(name=NAME))
    room: int = 0
    number: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    _receipts: list[tuple[int, int, bytes]] = field(default_factory=list)
    _stages: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        """Learn the texts."""
        self._stages = stages_of(self.texts, self.code, self.helpline)

    def read(self, parts: Parts) -> tuple[str, str]:
        """Stage and last six digits of the IMEI of a message."""
        text = text_of(parts)
        imei = _IMEI.search(text)
        assert imei, text
        return self._stages[skeleton(text)], imei[0]

    def submit(self, destination: str, parts: Parts, now: int) -> tuple[bool, Sent]:
        """Tell whether a message was taken, and what is answered."""
        count = len(parts.bodies)
        if destination in self.refused:
            return False, Sent(Fate.PERMANENT, (), 0x0B)
        if self.room < count:
            self.counts["throttled"] += 1
            return False, Sent(Fate.THROTTLED, (), 0x58)
        self.room -= count
        luck = self.random.random()
        if luck < 0.005:
            self.counts["temporary"] += 1
            return False, Sent(Fate.TEMPORARY, (), 0x08)
        lost = luck - 0.005 < self.lost_share
        if lost and luck - 0.005 < self.lost_share / 4:
            self.counts["lost on the way"] += 1
            return False, Sent(Fate.LOST)
        ids = tuple(f"{self.number + place:08X}" for place in range(count))
        self.number += count
        self.counts["parts"] += count
        for message_id in ids:
            self._receipt(message_id, now)
        if lost:
            self.counts["answers lost"] += 1
            return True, Sent(Fate.LOST)
        return True, Sent(Fate.ACCEPTED, ids)

    def _receipt(self, message_id: str, now: int) -> None:
        """Say something of a message later, or not."""
        luck = self.random.random()
        if luck < 0.05 or self.random.random() >= self.receipts_share:
            self.counts["receipts never sent"] += 1
            return
        wait = self.random.randrange(5, HOUR) if luck < 0.9 else self.random.randrange(HOUR, 5 * DAY)
        said = b"UNDELIV" if luck > 0.98 else b"DELIVRD"
        if 0.9 < luck < 0.905:
            message_id = f"F{message_id[1:]}"
            self.counts["receipts of nothing"] += 1
        name = str(int(message_id, 16)) if self.random.random() < 0.3 else message_id
        receipt = b"id:%s stat:%s err:000" % (name.encode(), said)
        heapq.heappush(self._receipts, (now + wait, self.number, receipt))
        if luck > 0.96:
            heapq.heappush(self._receipts, (now + 2 * wait, self.number, receipt))
            self.counts["receipts twice"] += 1

    def receipts(self, now: int, limit: int) -> list[tuple[str, smpp34.DeliverSm]]:
        """Return receipts that are due."""
        found: list[tuple[str, smpp34.DeliverSm]] = []
        while self._receipts and self._receipts[0][0] <= now and len(found) < limit:
            said = heapq.heappop(self._receipts)[2]
            found.append((NAME, smpp34.DeliverSm("98912", "5", said, esm_class=4)))
        self.counts["receipts"] += len(found)
        return found
