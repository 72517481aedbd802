"""Lists of user IDs: whose SIMs and whose phones, and the pairs that follow. Pure.

    subscribers:  user ID ──► SIMs ──┐
                                     ├─ same user ──► pairs ──► what changes of the tables
    associations: user ID ──► IMEIs ─┘

The tables know no users: both lists stay on the shelf. A pair is made where a user has
the SIM and the phone, and ends where no user has both any more; pairs that another list
or feed has made are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from eir.lists import present
from eir.lists.blocks import Mask
from eir.lists.change import Change
from eir.lists.clash import Settled
from eir.lists.compare import ADD, REMOVE, strict
from eir.lists.errors import ListTooLargeError
from eir.lists.pairs import Found, sims
from eir.lists.report import Report
from eir.whitelist.hashtable import I64, find_sorted, spread
from eir.whitelist.rows import RAW, U64
from eir.whitelist.tables import Generation, raw_words

PAIRS_MAX: Final = 100_000_000
"""Pairs that follow from what one list changes."""
WIDTH: Final = 4
"""Numbers of a row: user ID in two, then the code of an IMSI and 0, or an IMEI in two."""


@dataclass(frozen=True)
class UidRows:
    """Rows of a list of user IDs, sorted: u64[n, 4] as WIDTH says."""

    rows: U64

    @classmethod
    def empty(cls) -> UidRows:
        """Make a list without rows."""
        return cls(np.empty((0, WIDTH), np.uint64))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)


def rows_of(settled: Settled) -> UidRows:
    """Rows of a list that was read."""
    out = np.zeros((len(settled), WIDTH), np.uint64)
    out[:, 0], out[:, 1] = settled.columns["uid_high"], settled.columns["uid_low"]
    if "imsi" in settled.columns:
        out[:, 2] = settled.columns["imsi"]
        return UidRows(out)
    imei = settled.columns["imei"]
    raw = np.flatnonzero(imei >= np.uint64(RAW))
    out[:, 3] = imei
    for place in raw.tolist():
        out[place, 2:] = raw_words(settled.raw_texts[int(imei[place]) ^ RAW])
    return UidRows(out)


def moved(old: UidRows, settled: Settled, report: Report) -> tuple[UidRows, Change]:
    """Return the list as it will be, and how many rows change; faults of a delta are reported."""
    given = rows_of(settled)
    listed = _contains(old, given)
    change = Change(before=len(old))
    if settled.delta:
        strict(settled, listed, report)
        kinds = settled.columns["change"]
        kept = old.rows[~_contains(UidRows(given.rows[kinds == REMOVE]), old)]
        new = _sorted(np.concatenate((kept, given.rows[(kinds == ADD) & ~listed])))
        change.added, change.removed = int((kinds == ADD).sum()), int((kinds == REMOVE).sum())
    else:
        new = _sorted(given.rows)
        change.added = int((~listed).sum())
        change.removed = len(old) - (len(given) - change.added)
    change.after = len(new)
    return new, change


def _sorted(rows: U64) -> UidRows:
    return UidRows(rows[np.lexsort(rows.T[::-1])])


def _contains(haystack: UidRows, needles: UidRows) -> Mask:
    """Tell which needles are among the rows of a haystack."""
    both = np.concatenate((haystack.rows, needles.rows))
    is_needle = np.arange(len(both)) >= len(haystack)
    order = np.lexsort((is_needle, *both.T[::-1]))
    same = np.zeros(len(both), np.bool_)
    same[1:] = (both[order][1:] == both[order][:-1]).all(axis=1)
    # Rows are distinct within each side: the same as the one before is a needle that is in the haystack.
    found = np.zeros(len(both), np.bool_)
    found[order[same]] = True
    return found[len(haystack) :]


def change_pairs(
    generation: Generation,
    old: tuple[UidRows, UidRows],
    new: tuple[UidRows, UidRows],
    change: Change,
) -> None:
    """Add to a change the pairs that follow; old and new are subscribers and associations each.

    Raises ListTooLargeError.
    """
    users = _users(old, new)
    before = _joined(*(_of_users(rows, users) for rows in old))
    touched = np.unique(
        np.concatenate(
            (before[:, :2], _of_users(old[1], users).rows[:, 2:], _of_users(new[1], users).rows[:, 2:])
        ),
        axis=0,
    )
    # Another user may have the same phone: all that the new lists say of it counts.
    of_phones = UidRows(new[1].rows[_rows_in(new[1].rows[:, 2:], touched)])
    owners = np.unique(of_phones.rows[:, :2], axis=0)
    after = _joined(_of_users(new[0], owners), of_phones)
    ended = before[~_rows_in(before, after)]
    made = after[~_rows_in(after, before)]
    found = Found(Change())
    _turn(generation, ended, made, found)
    change.batches = found.finish().batches


def _users(old: tuple[UidRows, UidRows], new: tuple[UidRows, UidRows]) -> U64:
    """Users whose rows are not the same before and after: u64[n, 2]."""
    parts = [np.empty((0, 2), np.uint64)]
    for one, other in zip(old, new, strict=True):
        if one is not other:
            parts += [one.rows[~_contains(other, one)][:, :2], other.rows[~_contains(one, other)][:, :2]]
    return np.unique(np.concatenate(parts), axis=0)


def _of_users(rows: UidRows, users: U64) -> UidRows:
    return UidRows(rows.rows[_rows_in(rows.rows[:, :2], users)])


def _rows_in(rows: U64, some: U64) -> Mask:
    """Tell which rows of numbers are among some."""
    if not len(rows) or not len(some):
        return np.zeros(len(rows), np.bool_)
    inside: Mask = np.isin(rows[:, -1], some[:, -1])
    at = np.flatnonzero(inside)
    _, numbers = np.unique(np.concatenate((rows[at], some)), axis=0, return_inverse=True)
    numbers = numbers.reshape(-1)
    inside[at] = np.isin(numbers[: len(at)], numbers[len(at) :])
    return inside


def _joined(subscribers: UidRows, associations: UidRows) -> U64:
    """Pairs that follow, each once: IMEI in two numbers, IMSI code. Raises ListTooLargeError."""
    both = np.concatenate((subscribers.rows[:, :2], associations.rows[:, :2]))
    if not len(both):
        return np.empty((0, 3), np.uint64)
    _, numbers = np.unique(both, axis=0, return_inverse=True)
    numbers = numbers.reshape(-1)
    of_sims, of_phones = numbers[: len(subscribers)], numbers[len(subscribers) :]
    order: I64 = np.argsort(of_sims, kind="stable")
    first = np.searchsorted(of_sims[order], of_phones)
    count = np.searchsorted(of_sims[order], of_phones, side="right") - first
    if int(count.sum()) > PAIRS_MAX:
        raise ListTooLargeError(f"{int(count.sum()):,} pairs would follow; {PAIRS_MAX:,} are admitted")
    at = order[spread(first, count)]
    phones = np.repeat(associations.rows[:, 2:], count, axis=0)
    pairs = np.column_stack((phones, subscribers.rows[at, 2]))
    return np.unique(pairs, axis=0)


def _turn(generation: Generation, ended: U64, made: U64, found: Found) -> None:
    """Turn the SIMs of each phone: without pairs that ended, with pairs that are made."""
    keyed = made[made[:, 0] == 0]
    alone = _once(keyed[:, 1]) & ~np.isin(keyed[:, 1], ended[ended[:, 0] == 0][:, 1])
    have = present.paired(generation.read_keys(keyed[alone][:, 1]))
    free = find_sorted(have.keys, keyed[alone][:, 1]) < 0
    chosen = keyed[alone][free]
    found.owners.parts.append((chosen[:, 1], chosen[:, 2], np.zeros(len(chosen), np.uint64)))
    done = set(chosen[:, 1].tolist())
    removed: dict[tuple[int, int], set[int]] = {}
    added: dict[tuple[int, int], list[int]] = {}
    for high, low, sim in ended.tolist():
        removed.setdefault((high, low), set()).add(sim)
    for high, low, sim in made.tolist():
        if high or low not in done:
            added.setdefault((high, low), []).append(sim)
    for phone in sorted(removed.keys() | added.keys()):
        high, low = phone
        text = b"".join(word.to_bytes(8, "little") for word in phone).rstrip(b"\0").decode() if high else ""
        row = (
            present.raw_entry(generation, text) if high else generation.read_keys(np.array([low], np.uint64))
        )
        before = sims(present.paired(row), 0)
        after = [sim for sim in before if sim not in removed.get(phone, ())]
        after += [sim for sim in added.get(phone, ()) if sim not in before]
        found.turn(0 if high else low, text, before, after)


def _once(values: U64) -> Mask:
    """Tell which of sorted values occur once."""
    again = np.zeros(len(values) + 1, np.bool_)
    again[1:-1] = values[1:] == values[:-1]
    once: Mask = ~(again[1:] | again[:-1])
    return once
