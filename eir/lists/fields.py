"""One field of a list, exactly: text to number, or what is wrong with it. Pure.

The slow path of `blocks`, and its specification: both must agree on every field.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable
from typing import Final, NamedTuple

from eir.identity import IMEI_CHARS_MAX, IMEI_DIGITS, IMSI_DIGITS_MAX, RAW_CHARS, normalise
from eir.lists.formats import Grammar
from eir.lists.report import Reason

TEXT_BYTES_MAX: Final = 1_024
"""Of a field of free text."""
UID_CHARACTERS_MAX: Final = 20
UID_HALF: Final = 10
"""Characters of a user ID that one number holds."""
UID_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-/\\"
UID_BASE: Final = len(UID_ALPHABET) + 1
CHANGES: Final = {"add": 1, "remove": 2, "update": 3}
"""Changes of a delta by name."""
DEVICE_CHARACTERS: Final = frozenset(UID_ALPHABET) - frozenset("-/\\")
YEAR_MIN, YEAR_MAX = 2000, 2099
_SCIENTIFIC: Final = re.compile(r"[0-9]+([.,][0-9]+)?E\+?[0-9]+", re.IGNORECASE | re.ASCII)
_EXPONENT: Final = re.compile(r"[0-9]+E[0-9]+", re.IGNORECASE | re.ASCII)
_UID_DIGITS: Final = {letter: number for number, letter in enumerate(UID_ALPHABET, 1)}
_MASK64: Final = (1 << 64) - 1
HASH_SEED: Final = 0x9E3779B97F4A7C15
HASH_FACTOR: Final = 0xBF58476D1CE4E5B9


class FieldError(Exception):
    """A field that its column does not admit."""

    def __init__(self, reason: Reason, message: str = "") -> None:
        super().__init__(message or reason.value)
        self.reason = reason


class Uid(NamedTuple):
    """A user ID as two numbers, that compare as the texts do."""

    high: int
    low: int


def imei(text: str) -> str:
    """Return an IMEI as lists normalise it: 14 digits, or raw text. Raises FieldError."""
    if not text:
        raise FieldError(Reason.EMPTY)
    if _SCIENTIFIC.fullmatch(text) and not _EXPONENT.fullmatch(text):
        raise FieldError(Reason.SCIENTIFIC)
    _check_spaces(text)
    if len(text) > IMEI_CHARS_MAX:
        raise FieldError(Reason.TOO_LONG, f"an IMEI has at most {IMEI_CHARS_MAX} characters")
    if not text.isascii() or not RAW_CHARS.issuperset(text.upper()):
        raise FieldError(Reason.CHARACTERS, "an IMEI in a list is made of hex digits, '*' and '#'")
    return normalise(text)


def is_key(normalised: str) -> bool:
    """Tell whether a normalised IMEI is 14 digits."""
    return len(normalised) == IMEI_DIGITS and normalised.isdigit()


def looks_shortened(text: str) -> bool:
    """Tell whether an IMEI may have lost leading zeros: 12 or 13 digits, which no IMEI has."""
    return len(text) in (12, 13) and text.isdigit()


def looks_exponential(text: str) -> bool:
    """Tell whether an IMEI may be a number that a spreadsheet has written: 35E12 is hex, and suspicious."""
    return _EXPONENT.fullmatch(text) is not None


def number(text: str, what: str = "an IMSI") -> int:
    """Return the code of 1 to 15 digits: the number they make after a leading 1. Raises FieldError."""
    if not text:
        raise FieldError(Reason.EMPTY)
    if _SCIENTIFIC.fullmatch(text):
        raise FieldError(Reason.SCIENTIFIC)
    _check_spaces(text)
    if not (text.isascii() and text.isdigit()):
        plus = ", without a plus sign" if text.startswith("+") else ""
        raise FieldError(Reason.CHARACTERS, f"{what} is made of digits{plus}")
    if len(text) > IMSI_DIGITS_MAX:
        raise FieldError(Reason.TOO_LONG, f"{what} has at most {IMSI_DIGITS_MAX} digits")
    return int("1" + text)


def tac(text: str) -> int:
    """Return a TAC. Raises FieldError."""
    if not text:
        raise FieldError(Reason.EMPTY)
    _check_spaces(text)
    if not (text.isascii() and text.isdigit()):
        raise FieldError(Reason.CHARACTERS, "a TAC is made of digits")
    if len(text) > 8:
        raise FieldError(Reason.TOO_LONG, "a TAC has 8 digits")
    if len(text) < 8:
        raise FieldError(Reason.CHARACTERS, "a TAC has 8 digits; leading zeros may be lost")
    if not int(text):
        raise FieldError(Reason.CHARACTERS, "a TAC is not all zeros")
    return int(text)


def uid(text: str) -> Uid:
    """Return a user ID as two numbers. Raises FieldError."""
    if not text:
        raise FieldError(Reason.EMPTY)
    _check_spaces(text)
    if len(text) > UID_CHARACTERS_MAX:
        raise FieldError(Reason.TOO_LONG, f"a user ID has at most {UID_CHARACTERS_MAX} characters")
    if not _UID_DIGITS.keys() >= set(text):
        raise FieldError(Reason.CHARACTERS, "a user ID is made of letters, digits, '-', '/' and '\\'")
    return Uid(_uid_half(text[:UID_HALF]), _uid_half(text[UID_HALF:]))


def _uid_half(text: str) -> int:
    value = 0
    for place in range(UID_HALF):
        value = value * UID_BASE + (_UID_DIGITS[text[place]] if place < len(text) else 0)
    return value


def uid_text(given: Uid) -> str:
    """Return a user ID as it was written."""
    letters = []
    for half in given:
        rest, part = half, []
        for _ in range(UID_HALF):
            rest, digit = divmod(rest, UID_BASE)
            part.append(UID_ALPHABET[digit - 1] if digit else "")
        letters += part[::-1]
    return "".join(letters)


def date(text: str) -> int:
    """Return a day as the number YYYYMMDD, 0 for none. Raises FieldError."""
    if not text:
        return 0
    if len(text) == 8 and text.isascii() and text.isdigit():
        year, month, day = int(text[:4]), int(text[4:6]), int(text[6:])
        if YEAR_MIN <= year <= YEAR_MAX and 1 <= month <= 12 and 1 <= day <= monthrange(year, month)[1]:
            return int(text)
    raise FieldError(Reason.DATE)


def device(text: str) -> str:
    """Return a device ID. Raises FieldError."""
    if not text:
        raise FieldError(Reason.EMPTY)
    free_text(text)
    if not set(text) <= DEVICE_CHARACTERS:
        raise FieldError(Reason.CHARACTERS, "a device ID is made of letters and digits")
    return text


def language(text: str) -> int:
    """Return a language as the number of its two letters. Raises FieldError."""
    if not text:
        raise FieldError(Reason.EMPTY)
    if len(text) != 2 or not all("a" <= letter <= "z" for letter in text):
        raise FieldError(Reason.CHARACTERS, "a language is two small letters, as in ISO 639-1")
    return ord(text[0]) << 8 | ord(text[1])


def language_text(code: int) -> str:
    """Return the two letters of a language."""
    return chr(code >> 8) + chr(code & 0xFF)


def change(text: str, *, updates: bool) -> int:
    """Return what a row of a delta does, as in CHANGES. Raises FieldError."""
    if text == "update" and not updates:
        raise FieldError(Reason.CHANGE, "there is nothing to update in this list: add or remove is needed")
    if text not in CHANGES:
        raise FieldError(
            Reason.CHANGE, f"{'add, remove or update' if updates else 'add or remove'} is needed"
        )
    return CHANGES[text]


def free_text(text: str) -> str:
    """Return a free text. Raises FieldError."""
    if len(text.encode()) > TEXT_BYTES_MAX:
        raise FieldError(Reason.TOO_LONG, f"a text has at most {TEXT_BYTES_MAX} bytes")
    return text


def is_in_force(status: str, word: str) -> bool:
    """Tell whether a row with this status has effect."""
    return not status or status.lower() == word


def content_hash(so_far: int, text: bytes) -> int:
    """Mix one field into the hash of a row's contents; 64 bits, as `blocks` does it."""
    value = so_far ^ len(text)
    for start in range(0, max(len(text), 1), 8):
        word = int.from_bytes(text[start : start + 8], "little")
        value = (value ^ word) * HASH_FACTOR & _MASK64
        value ^= value >> 29
    return value


def _check_spaces(text: str) -> None:
    if text != text.strip():
        raise FieldError(Reason.SPACES)


PARSERS: Final[dict[Grammar, Callable[[str], object]]] = {
    Grammar.IMEI: imei,
    Grammar.TAC: tac,
    Grammar.IMSI: number,
    Grammar.MSISDN: lambda text: number(text, "a number"),
    Grammar.DATE: date,
    Grammar.STATUS: free_text,
    Grammar.TEXT: free_text,
    Grammar.DEVICE: device,
    Grammar.UID: uid,
    Grammar.LANGUAGE: language,
}
"""How a field of each grammar is read; `change` needs to know more."""
