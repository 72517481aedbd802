"""What is remembered beside cases and notices, in the same database and the same commits.

notes (one value a name) · numbers (MSISDNs that checks named) · shifts of deadlines
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from eir.notify.cases import Cases
from eir.notify.schedule import Shift
from eir.verdict import Reason

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS numbers (imsi INTEGER PRIMARY KEY, msisdn INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS shifts (
    id INTEGER PRIMARY KEY, seconds INTEGER NOT NULL, cause INTEGER NOT NULL,
    first_tac INTEGER NOT NULL, last_tac INTEGER NOT NULL,
    first_imsi INTEGER NOT NULL, last_imsi INTEGER NOT NULL,
    name TEXT NOT NULL, at INTEGER NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL,
    undone_at INTEGER NOT NULL, undone_by TEXT NOT NULL, undone_why TEXT NOT NULL
) STRICT;
"""
_PUT_SHIFT: Final = "REPLACE INTO shifts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
SERIAL: Final = "serial"
"""Serial of the last delta whose cases were all looked at."""
HELD: Final = "held"
"""Since when sending holds, why and by whom."""
HISTORY: Final = "history"
"""Name of these cases, for those who follow them."""
CLOCK: Final = "clock"
"""The time of the last commit that noted it."""


class Noted(NamedTuple):
    """A shift of deadlines as it is kept; `undone_at` is 0 while it is in force.

    `name` says in words which cohort it is.
    """

    id: int
    shift: Shift
    name: str
    at: int
    who: str
    why: str
    undone_at: int = 0
    undone_by: str = ""
    undone_why: str = ""


class Held(NamedTuple):
    """Why sending holds, since when, and who held it; the guards have no name.

    Without a reason: it does not hold, since then.
    """

    why: str = ""
    at: int = 0
    who: str = ""


class Listener(Protocol):
    """Who is told what was noted."""

    def named(self, imsi: int, msisdn: int) -> None:
        """Take a subscriber's number that a check named."""

    def held(self, held: Held) -> None:
        """Take that all sending holds, or goes on."""

    def shifted(self, noted: Noted) -> None:
        """Take that deadlines were shifted, or a shift was undone."""


class Notebook:
    """The notes of `cases`."""

    def __init__(self, cases: Cases) -> None:
        """Make the tables where they are missing."""
        self._cases = cases
        cases.script(SCHEMA)
        self.listener: Listener | None = None
        """Told what was noted here that other daemons are to know."""
        self._notes: dict[str, Any] = {
            name: json.loads(value) for name, value in cases.read("SELECT name, value FROM notes")
        }

    def get(self, name: str, default: Any = None) -> Any:
        """Return a note."""
        return self._notes.get(name, default)

    def put(self, name: str, value: Any) -> None:
        """Change a note; durable with the next commit."""
        if self._notes.get(name) != value:
            self._notes[name] = value
            row = (name, json.dumps(value))
            self._cases.also(("note", name), "REPLACE INTO notes VALUES (?, ?)", row)

    def numbers(self, imsis: Iterable[int]) -> Mapping[int, int]:
        """Return the MSISDNs that checks named of IMSI codes: digits after a leading 1."""
        query = "SELECT imsi, msisdn FROM numbers WHERE imsi IN (SELECT value FROM json_each(?))"
        return dict(self._cases.read(query, json.dumps(list(imsis))))

    def put_number(self, imsi: int, msisdn: int, *, heard: bool = False) -> None:
        """Keep the MSISDN that a check named, here or (`heard`) elsewhere; durable with the next commit."""
        if self.listener is not None and not heard:
            self.listener.named(imsi, msisdn)
        row = (imsi, msisdn)
        self._cases.also(("number", imsi), "REPLACE INTO numbers VALUES (?, ?)", row)

    def shifts(self) -> list[Noted]:
        """Return all shifts that there ever were, the oldest first."""
        rows = self._cases.read("SELECT * FROM shifts ORDER BY id")
        return [_noted(row) for row in rows]

    def put_held(self, held: Held, *, heard: bool = False) -> None:
        """Keep why sending holds; durable with the next commit."""
        self.put(HELD, held)
        if self.listener is not None and not heard:
            self.listener.held(held)

    def put_shift(self, noted: Noted, *, heard: bool = False) -> None:
        """Keep a shift, or that it was undone; durable with the next commit."""
        if self.listener is not None and not heard:
            self.listener.shifted(noted)
        shift = noted.shift
        row = (*(noted.id, shift.seconds, shift.cause or 0, *shift.tacs, *shift.imsis, *noted[2:]),)
        self._cases.also(("shift", noted.id), _PUT_SHIFT, row)


def _noted(row: tuple[Any, ...]) -> Noted:
    number, seconds, cause, first_tac, last_tac, first_imsi, last_imsi, *rest = row
    reason = Reason(cause) if cause else None
    return Noted(number, Shift(seconds, reason, (first_tac, last_tac), (first_imsi, last_imsi)), *rest)
