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
from typing import Final, NamedTuple

import numpy as np

from eir.lists import present
from eir.lists.blocks import Mask
from eir.lists.change import Change
from eir.lists.clash import Settled
from eir.lists.compare import ADD, REMOVE, kinds_of
from eir.lists.errors import ListTooLargeError
from eir.lists.fields import UID_BASE
from eir.lists.pairs import Found, sims
from eir.lists.report import Report
from eir.whitelist.hashtable import I64, contains, find_sorted, spread
from eir.whitelist.order import distinct, sorting_order
from eir.whitelist.rows import RAW, U64
from eir.whitelist.tables import Generation, raw_words

PAIRS_MAX: Final = 100_000_000
"""Pairs that follow from what one list changes."""
_HALF, _LOW = np.uint64(32), np.uint64((1 << 32) - 1)
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
    users, _ = _places([old.rows[:, :2], given.rows[:, :2]])
    subjects, _ = _places([old.rows[:, 2:], given.rows[:, 2:]])
    before, named = (user << _HALF | subject for user, subject in zip(users, subjects, strict=True))
    order = sorting_order(named)  # raw IMEIs stand in the order of the file
    listed = np.zeros(len(given), np.bool_)
    listed[order] = contains(before, named[order])
    change = Change(before=len(old))
    if settled.delta:
        kinds = kinds_of(settled, listed, report)
        stays = ~contains(named[order][(kinds == REMOVE)[order]], before)
        new = np.concatenate((old.rows[stays], given.rows[kinds == ADD]))
        order = sorting_order(np.concatenate((before[stays], named[kinds == ADD])))
        change.added, change.removed = int((kinds == ADD).sum()), int((kinds == REMOVE).sum())
    else:
        new = given.rows
        change.added = int((~listed).sum())
        change.removed = len(old) - (len(given) - change.added)
    change.after = len(new)
    return UidRows(new[order]), change


class Numbers(NamedTuple):
    """Two numbers each, distinct and sorted; others speak of them by their places."""

    high: U64
    low: U64


def _places(parts: list[U64]) -> tuple[list[U64], Numbers]:
    """Places of rows of two numbers among all that there are; the same part twice is looked at once."""
    known = {id(part): part for part in parts}
    both = np.concatenate(list(known.values()))
    high, low = both[:, 0], both[:, 1]
    order = _order(high, low)
    high, low = high[order], low[order]
    new = np.ones(len(both), np.bool_)
    new[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    place = np.empty(len(both), np.uint64)
    place[order] = np.cumsum(new).astype(np.uint64) - np.uint64(1)
    ends = np.cumsum([len(part) for part in known.values()])
    of = dict(zip(known, np.split(place, ends[:-1]), strict=True))
    return [of[id(part)] for part in parts], Numbers(high[new], low[new])


def _order(high: U64, low: U64) -> I64:
    """Order that sorts by two numbers. What is made of a few sorted runs is merged, as one number."""
    if not low.any():
        return sorting_order(high)
    if not high.any():
        return sorting_order(low)
    order = sorting_order(high)
    new = np.ones(len(high), np.bool_)
    new[1:] = high[order[1:]] != high[order[:-1]]
    rank = np.empty(len(high), np.uint64)
    rank[order] = np.cumsum(new).astype(np.uint64)
    unit = np.uint64(1)  # user IDs are written from the left: short ones end with zeros
    while not (low % (unit * np.uint64(UID_BASE))).any():
        unit *= np.uint64(UID_BASE)
    small = low // unit
    bits = int(small.max()).bit_length()
    if int(rank.max()).bit_length() + bits <= 64:
        return sorting_order(rank << np.uint64(bits) | small)
    order = sorting_order(low)
    return order[sorting_order(high[order])]


def change_pairs(
    generation: Generation,
    old: tuple[UidRows, UidRows],
    new: tuple[UidRows, UidRows],
    change: Change,
) -> None:
    """Add to a change the pairs that follow; old and new are subscribers and associations each.

    Raises ListTooLargeError.
    """
    lists = [old[0].rows, new[0].rows, old[1].rows, new[1].rows]
    halves = {id(rows): (rows[:, :2], rows[:, 2:]) for rows in lists}
    users, of_users = _places([halves[id(rows)][0] for rows in lists])
    of_sims, sims_there = _places([halves[id(rows)][1] for rows in lists[:2]])
    of_phones, phones_there = _places([halves[id(rows)][1] for rows in lists[2:]])
    old_sims, new_sims, old_phones, new_phones = (
        user << _HALF | subject for user, subject in zip(users, of_sims + of_phones, strict=True)
    )
    touched_users = np.zeros(len(of_users.low), np.bool_)
    for one, other in ((old_sims, new_sims), (old_phones, new_phones)):
        for rows, others in ((one, other), (other, one)):
            touched_users[rows[~contains(others, rows)] >> _HALF] = True
    before = _joined(_of(touched_users, old_sims), _of(touched_users, old_phones))
    # Another user may have the same phone: all that the new lists say of it counts.
    touched_phones = np.zeros(len(phones_there.low), np.bool_)
    for rows in (old_phones, new_phones):
        touched_phones[_of(touched_users, rows) & _LOW] = True
    shared = new_phones[touched_phones[new_phones & _LOW]]
    owners = np.zeros(len(of_users.low), np.bool_)
    owners[shared >> _HALF] = True
    after = _joined(_of(owners, new_sims), shared)
    found = Found(Change())
    ended, made = before[~contains(after, before)], after[~contains(before, after)]
    _turn(generation, _Turned(ended, made, phones_there, sims_there.high), found)
    change.batches = found.finish().batches


def _of(users: Mask, rows: U64) -> U64:
    """Rows of some users."""
    chosen: U64 = rows[users[rows >> _HALF]]
    return chosen


def _joined(sims: U64, phones: U64) -> U64:
    """Pairs that follow, each once, sorted: phone << 32 | SIM. Raises ListTooLargeError."""
    users = phones >> _HALF
    first = np.searchsorted(sims, users << _HALF)
    count = np.searchsorted(sims, (users << _HALF) | _LOW, side="right") - first
    if int(count.sum()) > PAIRS_MAX:
        raise ListTooLargeError(f"{int(count.sum()):,} pairs would follow; {PAIRS_MAX:,} are admitted")
    pairs = np.repeat(phones << _HALF, count) | (sims[spread(first, count)] & _LOW)
    pairs.sort()
    new = np.ones(len(pairs), np.bool_)
    new[1:] = pairs[1:] != pairs[:-1]
    distinct: U64 = pairs[new]
    return distinct


class _Turned(NamedTuple):
    """Pairs that end and pairs that are made, as phone << 32 | SIM by their places, sorted."""

    ended: U64
    made: U64
    phones: Numbers
    sims: U64
    """Codes of IMSIs by place."""


def _turn(generation: Generation, turned: _Turned, found: Found) -> None:
    """Turn the SIMs of each phone: without pairs that ended, with pairs that are made."""
    ended, made, phones, sims_there = turned.ended, turned.made, turned.phones, turned.sims
    touched = distinct(np.concatenate((ended, made)) >> _HALF)
    keyed = touched[phones.high[touched] == 0]
    have = present.paired(generation.read_keys(phones.low[keyed]))
    place = find_sorted(have.keys, phones.low[keyed])
    there = place >= 0
    owner = np.zeros(len(phones.low), np.uint64)
    owner[keyed[there]] = have.owner[place[there]]
    alone = np.zeros(len(phones.low), np.bool_)
    alone[keyed] = True
    alone[keyed[there]] = (have.utilizers.counts() == 0)[place[there]]
    _turn_alone(turned, owner, alone, found)
    others = touched[~alone[touched]]
    place_of = dict(zip(keyed.tolist(), place.tolist(), strict=True))
    removed, added = _by_phone(ended, others, sims_there), _by_phone(made, others, sims_there)
    for phone in others.tolist():
        high, low = int(phones.high[phone]), int(phones.low[phone])
        text = ""
        if high:
            text = b"".join(word.to_bytes(8, "little") for word in (high, low)).rstrip(b"\0").decode()
            before = sims(present.paired(present.raw_entry(generation, text)), 0)
        else:
            before = sims(have, place_of[phone])
        gone = set(removed.get(phone, ()))
        after = [sim for sim in before if sim not in gone]
        after += [sim for sim in added.get(phone, ()) if sim not in before]
        found.turn(0 if high else low, text, before, after)


def _by_phone(pairs: U64, phones: U64, sims_there: U64) -> dict[int, list[int]]:
    """SIMs of some phones, by phone."""
    out: dict[int, list[int]] = {}
    chosen = pairs[contains(phones, pairs >> _HALF)]
    for phone, sim in zip((chosen >> _HALF).tolist(), sims_there[chosen & _LOW].tolist(), strict=True):
        out.setdefault(phone, []).append(sim)
    return out


def _turn_alone(turned: _Turned, owner: U64, alone: Mask, found: Found) -> None:
    """Turn phones that have at most an owner, all at once; owner and alone by phone."""
    ended, made, keys = turned.ended, turned.made, turned.phones.low
    of = ended >> _HALF
    loses = of[alone[of] & (owner[of] == turned.sims[ended & _LOW])]  # the owner goes
    free = owner == 0
    free[loses] = True
    of = made >> _HALF
    chosen = alone[of] & (free[of] | (owner[of] != turned.sims[made & _LOW]))
    of, imsi = of[chosen], turned.sims[made[chosen] & _LOW]
    first = np.ones(len(of), np.bool_)
    first[1:] = of[1:] != of[:-1]
    first &= free[of]
    found.owners.parts.append((keys[of[first]], imsi[first], owner[of[first]]))
    found.utilizers.parts.append((keys[of[~first]], imsi[~first], np.zeros(int((~first).sum()), np.uint64)))
    stays = np.ones(len(owner), np.bool_)
    stays[of] = False
    bare = loses[stays[loses]]
    found.unpaired.parts.append((keys[bare], owner[bare], np.zeros(len(bare), np.uint64)))
