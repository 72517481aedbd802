"""What hangs on an IMEI beside its owner, as words.

An item is a kind, a subject and a value. The kind and the subject name it (there
is one EXEMPT_IMEI on an IMEI, one EXEMPT_PAIR for each IMSI); the value is what
it says. In columns an item is (name, value); in a record it is one word, or two
where it has both a subject and a value. Format: docs/segment-format.md.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from eir.whitelist.hashtable import I64, Ragged
from eir.whitelist.rows import U64

KIND_SHIFT: Final = 60
SUBJECT_MASK: Final = (1 << KIND_SHIFT) - 1
REGISTERED: Final = 1 << 59
"""Flag of a head: the IMEI is registered individually."""
CODE_MASK: Final = (1 << 52) - 1
"""The IMSI code of a head or an item."""
UNTIL_BITS: Final = 40
UNTIL_MASK: Final = (1 << UNTIL_BITS) - 1
AUTHORITY_BITS: Final = 16
RANGE_SERIAL_MASK: Final = (1 << 20) - 1


class Item(IntEnum):
    """Kinds of items. Subject and value in brackets; two words where both are there."""

    UTILIZER = 1  # [IMSI code]
    BLOCK = 2  # [cause << 16 | authority]
    TRACK = 3  # []
    EXEMPT_IMEI = 4  # value: cause << 40 | until
    EXEMPT_PAIR = 5  # [IMSI code], value: cause << 40 | until
    GRANDFATHER_IMEI = 6  # value: in use since
    GRANDFATHER_PAIR = 7  # [IMSI code], value: in use since
    EXEMPT_IMSI = 8  # value: cause << 40 | until (rows of the IMSI table)


TWO_WORDS: Final = (Item.EXEMPT_PAIR, Item.GRANDFATHER_PAIR)
VALUE_IN_PLACE: Final = (Item.EXEMPT_IMEI, Item.GRANDFATHER_IMEI, Item.EXEMPT_IMSI)


def name_of(kind: int, subject: int = 0) -> int:
    """Name of an item: kind and subject."""
    return kind << KIND_SHIFT | subject


_IS_TWO: Final = np.isin(np.arange(16), TWO_WORDS)
_IS_VALUE: Final = np.isin(np.arange(16), VALUE_IN_PLACE)


def to_words(row: I64, name: U64, value: U64, rows: int) -> Ragged:
    """Pack items, sorted by row, into the words of `rows` rows."""
    kind = (name >> np.uint64(KIND_SHIFT)).astype(np.int64)
    two = _IS_TWO[kind]
    length = 1 + two
    first = np.cumsum(length) - length
    words = np.empty(int(length.sum()), np.uint64)
    words[first] = np.where(_IS_VALUE[kind], name | value, name)
    words[first[two] + 1] = value[two]
    return Ragged.of(np.bincount(row, weights=length, minlength=rows).astype(np.int64), words)


def from_words(extra: Ragged) -> tuple[I64, U64, U64]:
    """Unpack words into items: row, name, value; in the order of the words."""
    words = extra.words
    if not len(words):
        return np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0, np.uint64)
    # The second word of an item has kind 0 (a value is below 2**48), no first word has.
    kind = (words >> np.uint64(KIND_SHIFT)).astype(np.int64)
    at = np.flatnonzero(kind)
    row = np.repeat(np.arange(len(extra)), extra.counts())[at]
    kind = kind[at]
    in_place = _IS_VALUE[kind]
    two = _IS_TWO[kind]
    value = np.where(in_place, words[at] & np.uint64(SUBJECT_MASK), np.uint64(0))
    value[two] = words[at[two] + 1]
    name = np.where(in_place, kind.astype(np.uint64) << np.uint64(KIND_SHIFT), words[at])
    return row, name, value


def unpack(words: memoryview) -> list[tuple[int, int, int]]:
    """Items of one record, as (kind, subject, value)."""
    out, place = [], 0
    while place < len(words):
        word = words[place]
        kind = word >> KIND_SHIFT
        if kind in TWO_WORDS:
            out.append((kind, word & SUBJECT_MASK, words[place + 1]))
            place += 2
        elif kind in VALUE_IN_PLACE:
            out.append((kind, 0, word & SUBJECT_MASK))
            place += 1
        else:
            out.append((kind, word & SUBJECT_MASK, 0))
            place += 1
    return out


def piece_words(first: U64, last: U64, cause: npt.NDArray[np.uint64], authority: U64) -> U64:
    """Pack range pieces: first serial 20 bits, last serial 20, cause 8 (0: registered), authority 16."""
    words: U64 = (first << np.uint64(44)) | (last << np.uint64(24)) | (cause << np.uint64(16)) | authority
    return words


def piece_parts(words: U64) -> tuple[U64, U64, U64, U64]:
    """First serial, last serial, cause, authority of range pieces."""
    serial = np.uint64(RANGE_SERIAL_MASK)
    return (
        (words >> np.uint64(44)) & serial,
        (words >> np.uint64(24)) & serial,
        (words >> np.uint64(16)) & np.uint64(0xFF),
        words & np.uint64(0xFFFF),
    )
