"""Which cases deltas touched, from the journal; small deltas go before the rest of large ones.

    journal ──► delta ──► touched ──► numbers of cases ──► keeper.look_again, a piece at a time
                                                              └──► serial up to which cases are true

A piece takes a bounded time, whatever checks cost: what else the keeper's
thread has to do comes between. Where the journal does not have what came since,
all cases are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
import structlog

from eir.clock import monotonic
from eir.errors import JournalDamagedError, StorageError
from eir.notify.keeper import Keeper
from eir.notify.notebook import SERIAL, Notebook
from eir.notify.touched import Touched, touched_by
from eir.whitelist.blob import rows_from_blob
from eir.whitelist.hashtable import I64
from eir.whitelist.journal import DeltaRecord, Journal
from eir.whitelist.order import distinct
from eir.whitelist.tables import Generation

log = structlog.get_logger()

PIECE_SECONDS: Final = 0.05
"""What one piece should take."""
PIECE_CASES_MIN: Final = 64
LINKS_AT_ONCE: Final = 10_000
"""Slots whose other slots are looked up in one go: each takes some tenths of a microsecond."""
SMALL_ROWS: Final = 10_000
"""A delta of so many rows goes before what is left of larger ones."""
WAITING_MAX: Final = 64
"""Deltas that are read at a time."""


@dataclass
class Work:
    """Cases that are to be looked at, part by part; `serial` is that of their delta."""

    serial: int
    rows: int
    begin: Callable[[], Iterator[list[int]]]
    parts: Iterator[list[int]]
    numbers: list[int] = field(default_factory=list)
    """Of the part that is being looked at."""
    anew: bool = False
    """What is due when may have changed, too: the policy is another."""
    in_turn: bool = False
    """Replaces SIMs: what came before must be through."""


@dataclass
class Follower:
    """Looks at cases again. Runs in the keeper's thread."""

    keeper: Keeper
    notebook: Notebook
    journal: Journal
    """Read only, with a connection of its own: the writer does not wait for it."""
    generation: Callable[[], Generation]
    clock: Callable[[], int]
    look_rows_max: int
    _waiting: list[Work] = field(default_factory=list)
    _read: int = 0
    """Serial of the last delta that was taken from the journal."""
    _piece_cases: int = PIECE_CASES_MIN

    def __post_init__(self) -> None:
        """Begin where the last commit ended, or look at everything."""
        now, known = self.generation().serial, self.notebook.get(SERIAL)
        self._read = now if known is None else int(known)
        oldest, last = self.journal.oldest_serial(), self.journal.last_serial()
        if known is None or self._read > now or (self._read < now and not (oldest <= self._read + 1 <= last)):
            if self.keeper.cases.count:
                log.info("all cases are looked at again", serial=now, known=known)
            self._read = now
            self.look_at_all()

    @property
    def behind(self) -> int:
        """Deltas whose cases were not all looked at."""
        return self.generation().serial - self._read + len(self._waiting)

    @property
    def serial(self) -> int:
        """Serial up to which all cases were looked at."""
        return int(self.notebook.get(SERIAL, 0))

    def look_at_all(self) -> None:
        """Look at every case again: the policy changed, or it is not known what did."""
        count = self.keeper.cases.count
        work = _work(self._read, count, lambda: self._all(count), in_turn=True)
        work.anew = True
        self._waiting.append(work)

    def step(self, now: int) -> bool:
        """Look at a piece; tells whether there is more. To be committed after it.

        Raises NotJudgedError, StorageError; then the piece is looked at again.
        """
        self._take()
        work = self._next()
        if work is None:
            return False
        if not work.numbers:
            part = self._part(work)
            if part is None:
                self._waiting.remove(work)
                done = min((one.serial for one in self._waiting), default=self._read + 1) - 1
                self.notebook.put(SERIAL, done)
                return bool(self._waiting)
            work.numbers = part
            return True
        size, started = self._piece_cases, monotonic()
        self.keeper.look_again(work.numbers[:size], now, anew=work.anew)
        del work.numbers[:size]
        share = PIECE_SECONDS / max(monotonic() - started, PIECE_SECONDS / 4)
        self._piece_cases = min(max(int(size * share), PIECE_CASES_MIN), self.look_rows_max)
        return True

    def _part(self, work: Work) -> list[int] | None:
        """Return the next part; None where there is none. Raises StorageError: then it begins anew."""
        try:
            return next(work.parts, None)
        except JournalDamagedError as error:
            log.exception("a delta cannot be read: all cases are looked at again", serial=work.serial)
            self._waiting.remove(work)
            self.look_at_all()
            raise StorageError(error.message) from error
        except BaseException:
            work.parts = work.begin()
            raise

    def _take(self) -> None:
        """Take in what was applied since; a generation comes after its delta in the journal."""
        serial = self.generation().serial
        if self._read >= serial or len(self._waiting) >= WAITING_MAX:
            return
        for record in self.journal.deltas(self._read):
            if record.serial > serial or len(self._waiting) >= WAITING_MAX:
                return
            if record.serial != self._read + 1:
                log.warning("deltas are missing: all cases are looked at again", serial=record.serial)
                self._read = serial
                self.look_at_all()
                return
            self._read = record.serial
            try:
                self._waiting.append(self._work(record))
            except JournalDamagedError:
                log.exception("a delta cannot be read: all cases are looked at again", serial=record.serial)
                self.look_at_all()

    def _next(self) -> Work | None:
        """Return the work that goes on: the oldest, but small ones before what is left of it."""
        first = next(iter(self._waiting), None)
        for work in self._waiting[1:]:
            if work.in_turn:
                break
            if work.rows <= SMALL_ROWS:
                return work
        return first

    def _work(self, record: DeltaRecord) -> Work:
        first = self._touched(record, 0) if record.chunk_count == 1 else None
        in_turn = first is None or bool(first.replaced)
        begin = partial(self._delta, record, first)
        return _work(record.serial, record.row_count, begin, in_turn=in_turn)

    # -- parts ------------------------------------------------------------------------------------

    def _delta(self, record: DeltaRecord, first: Touched | None) -> Iterator[list[int]]:
        """Cases that a delta touched: its own slots, then the other slots of their devices."""
        cases = self.keeper.cases
        has_others = False
        for chunk in range(record.chunk_count):
            touched = first or self._touched(record, chunk)
            for at in range(0, len(touched.keys), self.look_rows_max):
                yield cases.numbers_of(touched.keys[at : at + self.look_rows_max])
            imsis = touched.imsis
            if touched.replaced:
                yield self.keeper.replace_sims(touched.replaced, self.clock())
                imsis = np.union1d(imsis, np.array([new for _, new in touched.replaced], np.uint64))
            if touched.spans or len(imsis):
                yield cases.numbers_within(touched.spans, imsis)
            has_others |= bool(len(touched.with_others))
        for chunk in range(record.chunk_count if has_others else 0):
            touched = first or self._touched(record, chunk)
            for at in range(0, len(touched.with_others), LINKS_AT_ONCE):
                others = self.generation().read_links(touched.with_others[at : at + LINKS_AT_ONCE]).words
                yield cases.numbers_of(distinct(others)) if len(others) else []

    def _touched(self, record: DeltaRecord, chunk: int) -> Touched:
        return touched_by(rows_from_blob(self.journal.chunk(record, chunk)))

    def _all(self, count: int) -> Iterator[list[int]]:
        for first in range(0, count, self.look_rows_max):
            numbers: I64 = np.arange(first, min(first + self.look_rows_max, count))
            yield self.keeper.cases.unresolved(numbers)


def _work(serial: int, rows: int, begin: Callable[[], Iterator[list[int]]], *, in_turn: bool) -> Work:
    return Work(serial, rows, begin, begin(), in_turn=in_turn)
