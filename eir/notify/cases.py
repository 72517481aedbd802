"""The cases of a home network: in memory for the sender, in cases.db for the next start.

    case ──► rows (extents of a million) ──► records ──► log ──► extent files
              └──► case table, for checks      (a commit)       (folding)

A commit appends one checksummed blob of whole rows to the log, in one
transaction; the last row of a case wins. An extent file is a copy of the rows
of a million cases as of a place in the log, so that the start reads files and
what came after them. One writer; only `table` is read by others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from eir.errors import JournalDamagedError, StateDamagedError
from eir.notify.case import GRACE_WAITS, Case, Event, State, after
from eir.notify.case_file import FILE, CaseFile, Folding, Happened
from eir.notify.case_table import BUILDERS, U32, CaseTable, pack_value
from eir.notify.extents import PIECE_ROWS, ROW, Extent, Rows, give_memory_back
from eir.notify.schedule import DAY
from eir.notify.tally import Tally
from eir.verdict import Reason
from eir.whitelist.database import storage_errors
from eir.whitelist.files import FileLayer
from eir.whitelist.order import distinct
from eir.whitelist.rows import U64

MANY_CASES: Final = 1 << 20
"""From which on it is worth while to give back what loading them took."""
EXTENT_BITS: Final = 20
EXTENT_ROWS: Final = 1 << EXTENT_BITS
_UNRESOLVED: Final = [state for state in State if state != State.RESOLVED]
_ONE: Final = np.uint32(1)
_RESOLVED: Final = "resolved"
_NO_CASE: Final = (0,) * len(ROW.names or ())
_RECORD: Final = np.dtype([("number", "<u4"), ("due_at", "<u4"), ("row", ROW)])
_NO_NUMBER: Final = 0xFFFFFFFF
"""Of a record about a pair whose case went over to another SIM: for those who follow, not for the start."""


class Cases:
    """All cases by number; numbers of purged cases are given again."""

    def __init__(self, file: CaseFile) -> None:
        """Use `open`."""
        self.file = file
        self._extents: list[Extent] = []
        self._free: list[int] = []
        self._count = 0
        self._changed: dict[int, None] = {}
        self._history: list[tuple[int, Happened]] = []
        self._also: dict[tuple[object, ...], tuple[str, tuple[object, ...]]] = {}
        self._new: dict[str, list[tuple[object, ...]]] = {}
        self._before: dict[int, bytes] = {}
        self._left: list[tuple[int, int]] = []
        """Pairs whose case went over to another SIM since the last commit."""
        self.before_commit: Callable[[Rows, Rows, Sequence[tuple[int, Happened]]], None] | None = None
        """Told the rows of changed cases as they were and as they are, and what people did, before a
        commit; what it adds with `also` is part of that commit. Rows of resolved cases are left out."""
        self.tally = Tally()
        self.table = CaseTable()
        """What checks read; replaced by one assignment."""
        self.on_table: Callable[[CaseTable], None] | None = None
        """Called when checks must read other slots: a larger table's, or those of this one made longer."""

    @classmethod
    def open(cls, folder: Path, files: FileLayer) -> Self:
        """Open or make cases.db in a folder. Raises StorageError, StateDamagedError."""
        cases = cls(CaseFile.open(folder, files))
        try:
            cases._load()
        except JournalDamagedError as error:
            raise StateDamagedError(error.message) from error
        return cases

    def close(self) -> None:
        """Close the file; what was not committed is gone."""
        self.file.close()

    # -- reading ----------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Return the number of cases, the resolved included."""
        return len(self.tally)

    def number(self, key: int, imsi: int) -> int:
        """Return the number of a pair's case that is not resolved; -1 where there is none."""
        return self.table.number(key, imsi)

    def numbers_of(self, keys: U64) -> list[int]:
        """Return the numbers of the unresolved cases of sorted IMEI keys."""
        if len(keys) == 1:
            return self.numbers_of_one(int(keys[0]))
        near = distinct(self.table.numbers_near_many(keys))
        if not len(near):
            return []
        held = self._gather(near, "key")
        place = np.minimum(np.searchsorted(keys, held), len(keys) - 1)
        numbers: list[int] = near[keys[place] == held].tolist()
        return numbers

    def numbers_of_one(self, key: int) -> list[int]:
        """Return the numbers of the unresolved cases of an IMEI key, the lowest first."""
        return sorted(
            number
            for number in self.table.numbers_near(key)
            if self._extents[number >> EXTENT_BITS].key(number & (EXTENT_ROWS - 1)) == key
        )

    def numbers_within(self, spans: Sequence[tuple[int, int]], imsis: U64) -> list[int]:
        """Return the unresolved cases of spans of IMEI keys, both ends inclusive, and of sorted IMSI codes.

        Reads all cases: 10 million take some tenths of a second.
        """
        found = [np.empty(0, np.int64)]
        for at, extent in enumerate(self._extents):
            rows = extent.rows
            within = np.isin(rows["imsi"], imsis) if len(imsis) else np.zeros(len(rows), bool)
            for first, last in spans:
                within |= (rows["key"] >= np.uint64(first)) & (rows["key"] <= np.uint64(last))
            within &= (rows["state"] != 0) & (rows["state"] != State.RESOLVED)
            found.append(np.flatnonzero(within) + (at << EXTENT_BITS))
        numbers: list[int] = np.concatenate(found).tolist()
        return numbers

    def redate(self, first: int, deadlines: U32) -> int:
        """Give the rows from a number on other deadlines, as shifts have them; return how many changed.

        What comes due sooner is looked at sooner. It is in memory: at the next start it is done again.
        """
        extent, at = self._extents[first >> EXTENT_BITS], first & (EXTENT_ROWS - 1)
        rows, due_at = extent.rows[at : at + len(deadlines)], extent.due_at[at : at + len(deadlines)]
        live = np.isin(rows["state"], _UNRESOLVED)
        changed = np.flatnonzero(live & (rows["deadline"] != deadlines))
        if not len(changed):
            return 0
        sooner = rows["deadline"].astype(np.int64)[changed] - deadlines[changed]
        due = due_at[changed].astype(np.int64)
        due = np.where((due != 0) & (sooner > 0), np.maximum(due - sooner, 1), due)
        rows["deadline"][changed] = deadlines[changed]
        extent.put_many(changed + at, rows[changed], due.astype(np.uint32))
        told = (rows[name][changed].astype(np.uint64) for name in ("state", "cause", "deadline"))
        values: Any = pack_value(*told)  # type: ignore[arg-type]  # arrays, packed as numbers are
        keys, imsis = (rows[name][changed].astype(np.uint64) for name in ("key", "imsi"))
        self.table.set_values(keys, imsis, values)
        return len(changed)

    def rows_from(self, first: int) -> Rows:
        """Return the rows of cases from a number on, some at a time; empty after the last. Not a copy."""
        if first >= self._count:
            return np.empty(0, ROW)
        extent, at = divmod(first, EXTENT_ROWS)
        last = min(self._count - (extent << EXTENT_BITS), at + PIECE_ROWS, EXTENT_ROWS)
        return self._extents[extent].rows[at:last]

    def due_count(self, until: int) -> int:
        """Count the cases with something due by a second."""
        return sum(int(np.count_nonzero(extent.due_at - _ONE < np.uint32(until))) for extent in self._extents)

    def unresolved(self, numbers: npt.NDArray[np.int64]) -> list[int]:
        """Return those of some numbers that are of unresolved cases."""
        states = self._gather(numbers, "state")
        found: list[int] = numbers[(states != 0) & (states != State.RESOLVED)].tolist()
        return found

    @property
    def count(self) -> int:
        """Numbers that were ever given: every case has one below."""
        return self._count

    @property
    def changed(self) -> list[int]:
        """Numbers of the cases that the next commit makes durable."""
        return list(self._changed)

    def has(self, number: int) -> bool:
        """Tell whether there is a case of this number."""
        return self.state_of(number) != 0

    def due_at(self, number: int) -> int:
        """Return when a case is to be looked at again; 0: not by itself."""
        return int(self._extents[number >> EXTENT_BITS].due_at[number & (EXTENT_ROWS - 1)])

    def state_of(self, number: int) -> int:
        """Return the state of a case; 0 where there is none of this number."""
        known = 0 <= number < self._count
        return self._extents[number >> EXTENT_BITS].kind(number & (EXTENT_ROWS - 1))[1] if known else 0

    def get(self, number: int) -> Case:
        """Return a case."""
        return self.case_of_row(self._row(number))

    @staticmethod
    def case_of_row(row: Any) -> Case:
        """Return the case of a row."""
        # One read of the whole row: a field at a time takes ten times as long.
        key, imsi, opened_at, since, until, seen_at, clock_at, paused_seconds, *rest = row.item()
        warned_at, noticed_at, _, grace_days, cause, state, steps_sent, waits = rest
        return Case(
            *(key, imsi, Reason(cause), opened_at, grace_days * DAY, State(state), since, until, seen_at),
            *(clock_at, paused_seconds, warned_at, noticed_at, steps_sent, bool(waits)),
        )

    def rows_of(self, numbers: Sequence[int]) -> Rows:
        """Return a copy of the rows of cases."""
        places = np.array(numbers, np.int64)
        rows = np.empty(len(places), ROW)
        for extent, at in self._by_extent(places):
            rows[at] = self._extents[extent].rows[places[at] & (EXTENT_ROWS - 1)]
        return rows

    def due(self, now: int, limit: int) -> list[int]:
        """Return the numbers of cases with something due, the longest overdue first.

        Where more than `limit` are due, they are of the blocks of cases in which something waits longest.
        """
        soonest = np.concatenate([np.empty(0, np.uint32), *(extent.soonest for extent in self._extents)])
        blocks = np.flatnonzero(soonest < np.uint32(now))
        numbers, times = [np.empty(0, np.int64)], [np.empty(0, np.uint32)]
        count = 0
        for block in blocks[np.argsort(soonest[blocks], kind="stable")].tolist():
            extent, at = divmod(block, len(self._extents[0].soonest))
            places, since = self._extents[extent].overdue(at, now)
            numbers.append(places + (extent << EXTENT_BITS))
            times.append(since)
            count += len(places)
            if count >= limit:
                break
        found = np.concatenate(numbers)
        due: list[int] = found[np.lexsort((found, np.concatenate(times)))][:limit].tolist()
        return due

    def resolved_at(self, pairs: Collection[tuple[int, int]]) -> dict[tuple[int, int], int]:
        """Return when cases of pairs were last resolved, of those that were. Reads all cases."""
        keys = np.array(sorted({key for key, _ in pairs}), np.uint64)
        found: dict[tuple[int, int], int] = {}
        for extent in self._extents:
            at = np.flatnonzero(extent.rows["state"] == State.RESOLVED)
            rows = extent.rows[at[np.isin(extent.rows["key"][at], keys)]]
            for pair in zip(rows["key"].tolist(), rows["imsi"].tolist(), rows["since"].tolist(), strict=True):
                if pair[:2] in pairs:
                    found[pair[:2]] = max(pair[2], found.get(pair[:2], 0))
        return found

    def noticed_since(self, since: int) -> tuple[U64, U32]:
        """Return the IMSI codes of cases that had a notice after a second, and when."""
        rows = [one.rows[one.rows["noticed_at"] > np.uint32(max(since, 0))] for one in self._extents]
        found = np.concatenate([np.empty(0, ROW), *rows])
        return found["imsi"].astype(np.uint64), found["noticed_at"].astype(np.uint32)

    def states(self) -> dict[State, int]:
        """Count the cases by state."""
        return self.tally.states()

    def history(self, number: int) -> list[Happened]:
        """Return what happened to a case, as far as it is committed, oldest first.

        That it was resolved is said by its row: a delta resolves a million cases.
        """
        lines = self.file.history(number)
        if self.state_of(number) == State.RESOLVED and not (lines and lines[-1].event == _RESOLVED):
            lines.append(Happened(int(self._row(number)["since"]), _RESOLVED))
        return lines

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return sum(extent.nbytes for extent in self._extents) + self.table.nbytes

    # -- for who follows ----------------------------------------------------------------------------

    @property
    def log_id(self) -> int:
        """Number of the last commit that changed cases."""
        return self.file.log_id

    def changed_after(self, log_id: int, limit: int) -> tuple[Rows, int] | None:
        """Return rows that commits after one changed, and the last of these; None: they are not all there.

        Of several commits about a case all are there; rows that are no case any more have state 0. A pair
        whose case went over to another SIM is resolved. Of several rows of a pair the last holds.
        """
        if log_id == self.log_id:
            return np.empty(0, ROW), log_id
        found = self.file.log_after(log_id, limit)
        if not found:
            return None
        return np.concatenate([_resolved_first(blob) for _, blob in found]), found[-1][0]

    # -- writing ----------------------------------------------------------------------------------

    def add(self, case: Case, due_at: int, deadline: int, happened: Happened) -> int:
        """Take in a new case, and return its number; nothing is durable before `commit`."""
        number = self._free.pop() if self._free else self._count
        if number == self._count:
            if number >> EXTENT_BITS == len(self._extents):
                self._extents.append(Extent(EXTENT_ROWS))
            self._count += 1
        self.put(number, case, due_at, deadline, happened)
        return number

    def put(
        self, number: int, case: Case, due_at: int, deadline: int, happened: Happened | None = None
    ) -> None:
        """Replace a case. A resolved one is taken from what checks see."""
        row = (
            *(case.key, case.imsi, case.opened_at, case.since, case.until, case.seen_at, case.clock_at),
            *(case.paused_seconds, case.warned_at, case.noticed_at, deadline),
            *(case.grace_seconds // DAY, case.cause, case.state, case.steps_sent, case.waits),
        )
        self._note_before(number)
        self._note(number, case.cause, case.state)
        self._extents[number >> EXTENT_BITS].put(number & (EXTENT_ROWS - 1), row, due_at)
        self._changed[number] = None
        if happened is not None:
            self._history.append((number, happened))
        if case.state == State.RESOLVED:
            if self.table.number(case.key, case.imsi) == number:
                self.table.remove(case.key, case.imsi)  # the pair may have a newer case
            return
        before = self.table.slots
        if self.table.full:
            self.table = self._build()
        self.table.set(case.key, case.imsi, pack_value(case.state, case.cause, deadline), number)
        if self.table.slots is not before and self.on_table is not None:
            self.on_table(self.table)

    def move(self, number: int, imsi: int) -> None:
        """Give a case another IMSI, whose pair has no case; `put` is to follow."""
        self._note_before(number)
        row = self._row(number)
        pair = int(row["key"]), int(row["imsi"])
        self.table.remove(*pair)
        self._left.append(pair)
        row["imsi"] = imsi

    def add_history(self, number: int, happened: Happened) -> None:
        """Add a line to a case's history; durable with the next commit."""
        self._history.append((number, happened))
        self._changed[number] = None

    def resolve(self, numbers: Sequence[int], now: int) -> Rows:
        """Resolve cases, as `case.step` does one; return their rows as they were."""
        before = self.rows_of(numbers)
        for state in np.flatnonzero(np.bincount(before["state"])).tolist():
            after(State(state), Event.REMEDIED)
        rows = before.copy()
        waited = np.isin(before["state"], [*GRACE_WAITS]) & (before["clock_at"] != 0)
        began = np.maximum(before["since"], before["clock_at"]).astype(np.int64)
        rows["paused_seconds"] += np.where(waited, np.maximum(now - began, 0), 0).astype(np.uint32)
        moved = before["state"] != State.RESOLVED
        rows["state"], rows["since"][moved], rows["until"][moved] = State.RESOLVED, now, 0
        self.tally.resolved(before)
        places = np.array(numbers, np.int64)
        for extent, at in self._by_extent(places):
            due_at = np.zeros(np.count_nonzero(at), np.uint32)
            self._extents[extent].put_many(places[at] & (EXTENT_ROWS - 1), rows[at], due_at)
        self.table.remove_many(before["key"].astype(np.uint64), before["imsi"].astype(np.uint64))
        self._changed.update(dict.fromkeys(numbers))
        return before

    def _note(self, number: int, cause: int, state: int) -> None:
        """Count a case that changes."""
        before = self._extents[number >> EXTENT_BITS].kind(number & (EXTENT_ROWS - 1))
        self.tally.note(*before, cause, state)

    def purge(self, number: int) -> None:
        """Forget a resolved case and its history; its number is free after the next commit."""
        self._note(number, 0, 0)
        self._extents[number >> EXTENT_BITS].put(number & (EXTENT_ROWS - 1), _NO_CASE, 0)
        self._changed[number] = None

    def also(self, row: tuple[object, ...], statement: str, values: tuple[object, ...]) -> None:
        """Let a statement be part of the next commit; of several about the same row, the last."""
        self._also[row] = statement, values

    def also_new(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Let a statement be part of the next commit for many new rows; they come before others."""
        self._new.setdefault(statement, []).extend(rows)

    def pending(self, row: tuple[object, ...]) -> tuple[object, ...] | None:
        """Return the values that the next commit has for a row; None where it has none."""
        found = self._also.get(row)
        return found[1] if found is not None else None

    def read(self, query: str, *values: object) -> list[Any]:
        """Return the rows of a query over what is committed. Raises StorageError, JournalDamagedError."""
        return self.file.read(query, *values)

    def script(self, statements: str) -> None:
        """Run statements that make tables. Raises StorageError, JournalDamagedError."""
        self.file.script(statements)

    def commit(self) -> None:
        """Make everything since the last commit durable. Raises StorageError; then nothing of it is lost."""
        if self.before_commit is not None and (self._before or self._also):
            self._tell(self.before_commit)
        if not self._changed and not self._also and not self._new:
            return
        numbers = np.fromiter(self._changed, np.int64, len(self._changed))
        records = np.empty(len(numbers), _RECORD)
        records["number"] = numbers
        for extent, at in self._by_extent(numbers):
            places = numbers[at] & (EXTENT_ROWS - 1)
            records["row"][at] = self._extents[extent].rows[places]
            records["due_at"][at] = self._extents[extent].due_at[places]
        blob = self._records_of_left().tobytes() + records.tobytes()
        gone = numbers[records["row"]["state"] == 0].tolist()
        self.file.commit(blob, self._statements(), gone, self._history)
        self._free += gone
        self._changed.clear()
        self._also.clear()
        self._new.clear()
        self._history.clear()
        self._left.clear()

    def _records_of_left(self) -> Rows:
        """Return records that say of pairs whose case went over to another SIM that they have none."""
        records = np.zeros(len(self._left), _RECORD)
        records["number"] = _NO_NUMBER
        records["row"]["state"] = State.RESOLVED
        for field, values in zip(("key", "imsi"), zip(*self._left, strict=True), strict=False):
            records["row"][field] = values
        return records

    def _note_before(self, number: int) -> None:
        """Keep a row as it was at the last commit, for whoever is told what changed."""
        if self.before_commit is not None and number not in self._before:
            self._before[number] = self._row(number).tobytes()

    def _tell(self, told: Callable[[Rows, Rows, Sequence[tuple[int, Happened]]], None]) -> None:
        """Say once what changed; where the commit fails, what was added for it is part of the next one."""
        before = np.array([], ROW)
        if self._before:
            before = np.frombuffer(b"".join(self._before.values()), ROW)
        now = self.rows_of(list(self._before))
        live = (now["state"] != 0) & (now["state"] != State.RESOLVED)
        acts = [(number, happened) for number, happened in self._history if happened.who]
        self._before.clear()
        told(before[live], now[live], acts)

    # -- folding the log --------------------------------------------------------------------------

    def log_bytes(self) -> int:
        """Return the bytes of the log."""
        return self.file.log_bytes()

    def fold(self) -> None:
        """Write the extent whose file is the oldest, and drop the log that no extent needs any more.

        Everything must be committed. Raises StorageError.
        """
        if folding := self.begin_fold():
            folding.write()
            self.end_fold(folding)

    def begin_fold(self) -> Folding | None:
        """Copy the extent whose file is the oldest; None while something is not committed."""
        if not self._extents or self._changed:
            return None
        extent = self.file.oldest(len(self._extents))
        return self.file.folding(extent, self._extents[extent].content())

    def end_fold(self, folding: Folding) -> None:
        """Let the next start read a written copy, and drop the log. Raises StorageError."""
        self.file.folded(folding, len(self._extents))

    # -- loading ----------------------------------------------------------------------------------

    def _load(self) -> None:
        """Read the extent files, then the log above them."""
        file = self.file
        starts = {one.extent: one.log_id for one in file.manifest()}
        self._extents = [Extent(EXTENT_ROWS) for _ in range(max(starts, default=-1) + 1)]
        with ThreadPoolExecutor(BUILDERS) as pool:
            read = {
                one.extent: pool.submit(Extent.read, file.folder / one.file, EXTENT_ROWS, one.crc32c)
                for one in file.manifest()
            }
            for extent, reading in read.items():
                self._extents[extent] = reading.result()
        file.log_id = max(starts.values(), default=0)
        with storage_errors("reading the log of cases", FILE):
            for log_id, blob in file.log():
                if len(blob) % _RECORD.itemsize:
                    raise StateDamagedError(f"cases.db: entry {log_id} of the log is damaged")
                self._replay(log_id, np.frombuffer(blob, _RECORD), starts)
                file.log_id = max(file.log_id, log_id)
        file.sweep()
        for at, rows in enumerate(one.rows for one in self._extents):
            used = np.flatnonzero(rows["state"])
            if len(used):
                self._count = (at << EXTENT_BITS) + int(used[-1]) + 1
        for at, rows in enumerate(one.rows for one in self._extents):
            free = np.flatnonzero(rows["state"][: max(self._count - (at << EXTENT_BITS), 0)] == 0)
            self._free += (free + (at << EXTENT_BITS)).tolist()
        self._free.reverse()
        for one in self._extents:
            self.tally.load(one.rows)
        self.table = self._build()
        if self._count >= MANY_CASES:
            give_memory_back()

    def _replay(self, log_id: int, records: Rows, starts: Mapping[int, int]) -> None:
        """Put the rows of a log entry where the extent's file is older."""
        records = records[records["number"] != _NO_NUMBER]
        numbers = records["number"].astype(np.int64)
        for extent, at in self._by_extent(numbers):
            while extent >= len(self._extents):
                self._extents.append(Extent(EXTENT_ROWS))
            if log_id > starts.get(extent, 0):
                places = numbers[at] & (EXTENT_ROWS - 1)
                self._extents[extent].put_many(places, records["row"][at], records["due_at"][at])

    def _build(self) -> CaseTable:
        """Make the table of all unresolved cases anew."""
        count = sum(count for state, count in self.states().items() if state != State.RESOLVED)
        sources = [extent.entries(at << EXTENT_BITS) for at, extent in enumerate(self._extents)]
        return CaseTable.build(sources, count)

    # -- helpers ----------------------------------------------------------------------------------

    def _statements(self) -> dict[str, list[tuple[object, ...]]]:
        """Return the rows of each statement of the next commit: no two of them are about the same row."""
        found = {statement: [*rows] for statement, rows in self._new.items()}
        for statement, values in self._also.values():
            found.setdefault(statement, []).append(values)
        return found

    def _row(self, number: int) -> Any:
        return self._extents[number >> EXTENT_BITS].rows[number & (EXTENT_ROWS - 1)]

    def _gather(self, numbers: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
        """Return a field of cases by their numbers."""
        out = np.empty(len(numbers), ROW[name])
        for extent, at in self._by_extent(numbers.astype(np.int64)):
            out[at] = self._extents[extent].rows[name][numbers[at] & (EXTENT_ROWS - 1)]
        return out

    @staticmethod
    def _by_extent(numbers: npt.NDArray[np.int64]) -> Iterable[tuple[int, npt.NDArray[np.bool_]]]:
        """Say of each extent which of the numbers are in it."""
        extents = numbers >> EXTENT_BITS
        return [(extent, extents == extent) for extent in np.flatnonzero(np.bincount(extents)).tolist()]


def _resolved_first(blob: bytes) -> Rows:
    """Return the rows of a commit so that of several of a pair the last holds: at most one is unresolved."""
    rows: Rows = np.frombuffer(blob, _RECORD)["row"]
    resolved = rows["state"] == State.RESOLVED
    return np.concatenate((rows[resolved], rows[~resolved]))
