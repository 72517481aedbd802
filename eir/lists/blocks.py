"""Lines of a block, all at once: places of fields, then columns of numbers. Pure.

    bytes ──commas, quotes, line ends──► places ──by column──► numbers
                                 └─ odd rows: not read here, `fields` reads them one by one

What is read here is what `fields` would read; a row that is in any way unusual is
left to it. A block ends with a line end, and is laid between `PAD` zero bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from eir.lists import fields
from eir.whitelist.hashtable import I64
from eir.whitelist.rows import U8, U64

PAD: Final = 32
"""Zero bytes before and after a block, so that windows never leave it."""
Mask = npt.NDArray[np.bool_]
NO_DIGIT: Final = 10
"""In the place of the check digit of an IMEI that has none."""
_COMMA, _QUOTE, _LF, _CR = b",", b'"', b"\n", b"\r"
_ZERO: Final = np.uint8(48)
_POWERS: Final = np.array([10**digits for digits in range(17)], np.uint64)
_MONTH_DAYS: Final = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] + [0] * 87, np.int64)


@dataclass(frozen=True)
class Places:
    """Where lines and fields are: places in the padded bytes.

    start, end i64[lines] (without line ends); of regular lines begin, stop
    i64[regular] by column (without quotes around them); `regular` i64 are their places
    among the lines.
    """

    data: U8
    start: I64
    end: I64
    regular: I64
    begin: tuple[I64, ...]
    stop: tuple[I64, ...]

    def line(self, index: int) -> bytes:
        """Return a line."""
        return self.data[self.start[index] : self.end[index]].tobytes()


def padded(block: bytes) -> U8:
    """Lay a block between zero bytes."""
    data = np.zeros(len(block) + 2 * PAD, np.uint8)
    data[PAD:-PAD] = np.frombuffer(block, np.uint8)
    return data


def places(data: U8, column_count: int) -> Places:
    """Find the lines of a padded block and the fields of those that are regular."""
    ends = np.flatnonzero(data == _LF[0])
    start = np.empty_like(ends)
    start[:1] = PAD
    start[1:] = ends[:-1] + 1
    end = ends - ((data[ends - 1] == _CR[0]) & (ends > start))
    commas = np.flatnonzero(data == _COMMA[0])
    before = np.searchsorted(commas, ends)
    count = np.diff(before, prepend=0)
    regular_mask = (count == column_count - 1) & (end > start)
    quotes = np.flatnonzero(data == _QUOTE[0])
    regular = np.flatnonzero(regular_mask)
    first_comma = (before - count)[regular]
    begin, stop = [], []
    for column in range(column_count):
        begin.append(commas[first_comma + (column - 1)] + 1 if column else start[regular])
        stop.append(commas[first_comma + column] if column < column_count - 1 else end[regular])
    if len(quotes):
        quoted_count = np.diff(np.searchsorted(quotes, ends), prepend=0)[regular]
        for column in range(column_count):
            low, high = begin[column], stop[column]
            quoted = (data[low] == _QUOTE[0]) & (data[high - 1] == _QUOTE[0]) & (high - low >= 2)
            begin[column], stop[column] = low + quoted, high - quoted
            quoted_count = quoted_count - 2 * quoted
        whole = quoted_count == 0
        if not whole.all():
            regular = regular[whole]
            begin, stop = [one[whole] for one in begin], [one[whole] for one in stop]
    return Places(data, start, end, regular, tuple(begin), tuple(stop))


def _windows(data: U8, begin: I64, width: int) -> U8:
    """Bytes from each place on: u8[places, width]."""
    view = np.lib.stride_tricks.sliding_window_view(data, width)
    windows: U8 = view[begin]
    return windows


def _value(digits: U8) -> U64:
    """Read rows of digits (already less 48) as numbers."""
    value = digits[:, 0].astype(np.uint64)
    for place in range(1, digits.shape[1]):
        value = value * np.uint64(10) + digits[:, place]
    return value


def imeis(data: U8, begin: I64, stop: I64) -> tuple[U64, U64, Mask]:
    """Keys of IMEIs of 14 to 16 digits; the 15th digit where there are 15; which are such.

    The digit is NO_DIGIT where there are 14, and 0, which says nothing either, where there are 16.
    """
    length = stop - begin
    digits = _windows(data, begin, 16) - _ZERO
    is_digit = digits < 10
    good = (length >= 14) & (length <= 16) & is_digit[:, :14].all(axis=1)
    good &= is_digit[:, 14] | (length < 15)
    good &= is_digit[:, 15] | (length < 16)
    key = _value(digits[:, :14])
    check = np.where(good & (length == 15), digits[:, 14], np.uint8(0)).astype(np.uint64)
    check[length == 14] = NO_DIGIT
    return key, check, good & (key != 0)


def numbers(data: U8, begin: I64, stop: I64) -> tuple[U64, Mask]:
    """Codes of 1 to 15 digits, and which are such."""
    length = stop - begin
    digits = _windows(data, stop - 15, 15) - _ZERO
    outside = np.arange(15) < (15 - np.minimum(length, 15))[:, None]
    digits[outside] = 0
    good = (length >= 1) & (length <= 15) & (digits < 10).all(axis=1)
    return _value(digits) + _POWERS[np.clip(length, 0, 15)], good


def tacs(data: U8, begin: I64, stop: I64) -> tuple[U64, Mask]:
    """TACs, and which are such."""
    digits = _windows(data, begin, 8) - _ZERO
    value = _value(digits)
    return value, (stop - begin == 8) & (digits < 10).all(axis=1) & (value != 0)


def dates(data: U8, begin: I64, stop: I64) -> Mask:
    """Which fields are empty or days."""
    length = stop - begin
    if not length.any():
        return np.ones(len(begin), np.bool_)
    digits = _windows(data, begin, 8) - _ZERO
    value = _value(digits).astype(np.int64)
    year, month, day = value // 10_000, value // 100 % 100, value % 100
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    days = np.where((month == 2) & ~leap, 28, _MONTH_DAYS[month])
    good = (length == 8) & (digits < 10).all(axis=1) & (year >= fields.YEAR_MIN) & (year <= fields.YEAR_MAX)
    right: Mask = (length == 0) | (good & (day >= 1) & (day <= days))
    return right


def words(data: U8, begin: I64, stop: I64, word: str) -> Mask:
    """Which fields are this word, in letters of any case."""
    wanted = np.frombuffer(word.encode(), np.uint8)
    length = stop - begin
    if not (length == len(word)).any():
        return np.zeros(len(begin), np.bool_)
    found = (_windows(data, begin, len(word)) | np.uint8(0x20)) == wanted
    same: Mask = (length == len(word)) & found.all(axis=1)
    return same


def changes(data: U8, begin: I64, stop: I64, *, updates: bool) -> tuple[U8, Mask]:
    """Return changes by number, and which are such; letters are small."""
    out = np.zeros(len(begin), np.uint8)
    length = stop - begin
    window = _windows(data, begin, 6)
    for text, number in fields.CHANGES.items():
        if text != "update" or updates:
            wanted = np.frombuffer(text.encode(), np.uint8)
            out[(length == len(text)) & (window[:, : len(text)] == wanted).all(axis=1)] = number
    return out, out != 0


_UID_DIGITS: Final = np.zeros(256, np.uint8)
_UID_DIGITS[np.frombuffer(fields.UID_ALPHABET.encode(), np.uint8)] = np.arange(1, fields.UID_BASE)
_IS_DEVICE: Final = np.zeros(256, np.bool_)
_IS_DEVICE[[ord(letter) for letter in fields.DEVICE_CHARACTERS]] = True


def uids(data: U8, begin: I64, stop: I64) -> tuple[U64, U64, Mask]:
    """User IDs as two numbers, and which are such."""
    length = stop - begin
    window = _windows(data, begin, fields.UID_CHARACTERS_MAX)
    inside = np.arange(fields.UID_CHARACTERS_MAX) < length[:, None]
    digits = np.where(inside, _UID_DIGITS[window], np.uint8(0))
    good = (length >= 1) & (length <= fields.UID_CHARACTERS_MAX) & ((digits != 0) == inside).all(axis=1)
    halves = []
    for half in (digits[:, : fields.UID_HALF], digits[:, fields.UID_HALF :]):
        value = half[:, 0].astype(np.uint64)
        for place in range(1, fields.UID_HALF):
            value = value * np.uint64(fields.UID_BASE) + half[:, place]
        halves.append(value)
    return halves[0], halves[1], good


def devices(data: U8, begin: I64, stop: I64) -> Mask:
    """Which fields are device IDs."""
    length = stop - begin
    width = int(min(length.max(initial=1), 24))
    if width < 24 or not (length > 24).any():
        inside = np.arange(width) < length[:, None]
        short: Mask = (length >= 1) & (_IS_DEVICE[_windows(data, begin, width)] | ~inside).all(axis=1)
        return short
    other = np.cumsum(~_IS_DEVICE[data])
    clean: Mask = other[np.maximum(stop, 1) - 1] == other[np.maximum(begin, 1) - 1]
    return clean & (length >= 1) & (length <= fields.TEXT_BYTES_MAX)


def languages(data: U8, begin: I64, stop: I64) -> tuple[U64, Mask]:
    """Languages as numbers of two letters, and which are such."""
    window = _windows(data, begin, 2)
    good = (stop - begin == 2) & ((window >= ord("a")) & (window <= ord("z"))).all(axis=1)
    return window[:, 0].astype(np.uint64) << np.uint64(8) | window[:, 1], good


def texts(begin: I64, stop: I64) -> Mask:
    """Which fields are short enough for a free text."""
    good: Mask = stop - begin <= fields.TEXT_BYTES_MAX
    return good


_WORD_MASKS: Final = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)


def mix(data: U8, begin: I64, stop: I64, so_far: U64) -> U64:
    """Mix a column into the hashes of the rows' contents; as `fields.content_hash`."""
    length = stop - begin
    words = np.ndarray((len(data) - 7,), "<u8", data.data, strides=(1,))  # a word at every place
    value: U64 = so_far ^ length.astype(np.uint64)
    factor, shift = np.uint64(fields.HASH_FACTOR), np.uint64(29)
    for start in range(0, max(int(length.max(initial=0)), 1), 8):
        here = np.flatnonzero(length > start) if start else slice(None)
        word = words[begin[here] + start] & _WORD_MASKS[np.minimum(length[here] - start, 8)]
        mixed = (value[here] ^ word) * factor
        value[here] = mixed ^ (mixed >> shift)
    return value
