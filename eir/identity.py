"""Text to identity: the one place where an IMEI or IMSI stops being text.

    text ──► normalise ──► key (14 digits as a number) | raw text ──► class

Pure. Sources: TS 23.003 clause 6 (IMEI, IMEISV), annex B (test TACs), clause
2.2 (IMSI).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Container
from enum import IntEnum
from typing import NamedTuple

IMEI_DIGITS = 14
"""Digits of an IMEI that name the equipment: TAC 8, serial 6."""
IMEI_CHARS_MAX = 16
IMSI_DIGITS_MAX = 15
IMSI_DIGITS_NETWORK = 6
"""Digits that name a network: MCC 3, MNC 2 or 3. Shorter is IMSI_SHORT."""
SERIALS = 1_000_000
"""Serials of one TAC."""
RAW_CHARS = frozenset("0123456789ABCDEF*#")
"""What raw list entries are made of (after upper-casing)."""
SPACES = " \t\n\v\f\r"
MSISDN_DIGITS_MAX = 15
TYPED_CHARS_MAX = 64
"""Of what a person types as an identity: more is no number."""
_UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")


class ImeiClass(IntEnum):
    """What an IMEI in a check is."""

    KEY = 0
    MALFORMED_EMPTY = 1
    MALFORMED_SHORT = 2
    MALFORMED_LONG = 3
    MALFORMED_NON_DIGIT = 4
    SPECIAL_ZERO = 5
    SPECIAL_REPEATED = 6
    SPECIAL_TEST = 7
    SPECIAL_PLACEHOLDER = 8


class ImsiClass(IntEnum):
    """What an IMSI in a check is, before its network is looked at."""

    NONE = 0
    MALFORMED = 1
    SHORT = 2
    WELL_FORMED = 3


class Imei(NamedTuple):
    """An IMEI as the tables know it: a key, or raw text (never both)."""

    imei_class: ImeiClass
    key: int
    raw: str


class Imsi(NamedTuple):
    """An IMSI as the tables know it; `code` is 0 where there is none."""

    imsi_class: ImsiClass
    code: int


def _digits(text: str) -> bool:
    """Tell whether text is ASCII digits only (str.isdigit takes any script's)."""
    return text.isascii() and text.isdigit()


def normalise(text: str) -> str:
    """Normalise an IMEI as lists do: trim; 14 digits if it begins so, else upper case.

    Spaces are ASCII white space, upper case is that of ASCII letters.
    """
    text = text.strip(SPACES)
    head = text[:IMEI_DIGITS]
    return head if len(head) == IMEI_DIGITS and _digits(head) else text.translate(_UPPER)


def special_class(key: int, placeholders: Container[int] = ()) -> ImeiClass:
    """Classify a key: one of the SPECIAL classes, or KEY.

    Test TACs: 0010xx with xx 01 to 17, or a TAC beginning 0044, 0086 or 0091.
    """
    if key == 0:
        return ImeiClass.SPECIAL_ZERO
    if key % 11_111_111_111_111 == 0:
        return ImeiClass.SPECIAL_REPEATED
    prefix = key // 10**8  # the first six digits
    if 1001 <= prefix <= 1017 or prefix // 100 in (44, 86, 91):
        return ImeiClass.SPECIAL_TEST
    if key in placeholders:
        return ImeiClass.SPECIAL_PLACEHOLDER
    return ImeiClass.KEY


def parse_imei(text: str, placeholders: Container[int] = ()) -> Imei:
    """Classify the IMEI of a check. Never raises.

    More than 16 characters is malformed and matches no list entry.
    """
    text = text.strip(SPACES)
    if not text:
        return Imei(ImeiClass.MALFORMED_EMPTY, 0, "")
    if len(text) > IMEI_CHARS_MAX:
        return Imei(ImeiClass.MALFORMED_LONG, 0, "")
    text = normalise(text)
    if len(text) == IMEI_DIGITS and _digits(text):
        key = int(text)
        return Imei(special_class(key, placeholders), key, "")
    if _digits(text):
        return Imei(ImeiClass.MALFORMED_SHORT, 0, text)
    return Imei(ImeiClass.MALFORMED_NON_DIGIT, 0, text)


def parse_imsi(text: str) -> Imsi:
    """Classify the IMSI of a check. Never raises."""
    text = text.strip(SPACES)
    if not text:
        return Imsi(ImsiClass.NONE, 0)
    if len(text) > IMSI_DIGITS_MAX or not _digits(text):
        return Imsi(ImsiClass.MALFORMED, 0)
    code = int("1" + text)
    return Imsi(ImsiClass.SHORT if len(text) < IMSI_DIGITS_NETWORK else ImsiClass.WELL_FORMED, code)


def imsi_code(text: str) -> int:
    """Code of an IMSI: the number written by 1 followed by its digits.

    Raises ValueError for anything but 1 to 15 digits.
    """
    imsi = parse_imsi(text)
    if not imsi.code:
        raise ValueError(f"an IMSI is 1 to {IMSI_DIGITS_MAX} digits")
    return imsi.code


def imsi_text(code: int) -> str:
    """Digits of an IMSI code."""
    return str(code)[1:]


def imei_text(key: int) -> str:
    """Write a key as its 14 digits."""
    return f"{key:014d}"


class TypedImei(NamedTuple):
    """An IMEI that a person typed; the check digit is wrong where it is neither the right one nor 0."""

    imei: Imei
    check_digit_wrong: bool


def typed(text: str) -> str:
    """Write what a person typed with ASCII digits of any script's, without what only separates them.

    White space, dashes, brackets, dots, slashes and invisible marks of direction
    are dropped. Raises ValueError where there is nothing, or too much.
    """
    if len(text) > TYPED_CHARS_MAX:
        raise ValueError(f"is longer than {TYPED_CHARS_MAX} characters")
    kept = []
    for char in text:
        digit = unicodedata.decimal(char, -1)
        if digit >= 0:
            kept.append(str(digit))
        elif not (char.isspace() or char in "./,()_\u2212" or unicodedata.category(char) in ("Pd", "Cf")):
            kept.append(char)
    if not kept:
        raise ValueError("is empty")
    return "".join(kept)


def typed_imei(text: str, *, raw: bool = False) -> TypedImei:
    """Read an IMEI that a person typed: 14, 15 or 16 digits; with `raw` an entry of a list, too.

    Raises ValueError that says what is allowed.
    """
    digits = typed(text)
    if raw and len(digits) <= IMEI_CHARS_MAX and set(digits.translate(_UPPER)) <= RAW_CHARS:
        imei = parse_imei(digits)
    elif not _digits(digits):
        raise ValueError("has other characters than digits")
    elif not IMEI_DIGITS <= len(digits) <= IMEI_CHARS_MAX:
        raise ValueError(f"has {len(digits)} digits; an IMEI has {IMEI_DIGITS} to {IMEI_CHARS_MAX}")
    else:
        imei = parse_imei(digits)
    checked = len(digits) == IMEI_DIGITS + 1 and _digits(digits)
    return TypedImei(imei, checked and digits[-1] not in ("0", str(luhn_digit(imei.key))))


def typed_imsi(text: str) -> int:
    """Read the code of an IMSI that a person typed. Raises ValueError that says what is allowed."""
    digits = typed(text)
    if not _digits(digits) or len(digits) > IMSI_DIGITS_MAX:
        raise ValueError(f"an IMSI is 1 to {IMSI_DIGITS_MAX} digits")
    return int("1" + digits)


def typed_msisdn(text: str, country_code: str = "") -> int:
    """Read a number that a person typed: its E.164 digits after a leading 1, as a number.

    A national number (one 0 before it) needs the country code. Raises ValueError.
    """
    digits = typed(text)
    if digits.startswith("+"):
        digits = digits[1:]
    elif digits.startswith("00"):
        digits = digits[2:]
    elif digits.startswith("0"):
        if not country_code:
            raise ValueError("is a national number: give it with its country code")
        digits = country_code + digits[1:]
    if not _digits(digits) or len(digits) > MSISDN_DIGITS_MAX:
        raise ValueError(f"an MSISDN is 1 to {MSISDN_DIGITS_MAX} digits")
    return int("1" + digits)


def e164(text: str) -> str:
    """Return an MSISDN as a node gave it, where it is E.164 without a plus sign; else empty."""
    return text if _digits(text) and len(text) <= MSISDN_DIGITS_MAX and text[0] != "0" else ""


def luhn_digit(key: int) -> int:
    """Check digit of an IMEI key (TS 23.003 annex B)."""
    total = 0
    for place, digit in enumerate(map(int, imei_text(key))):
        doubled = digit * (1 + place % 2)
        total += doubled // 10 + doubled % 10
    return -total % 10


def imei_15(key: int) -> str:
    """Write a key as people do: 14 digits and the check digit."""
    return f"{imei_text(key)}{luhn_digit(key)}"


def mask(text: str) -> str:
    """Hide an identity for logs: all but the first three and the last two characters."""
    return text if len(text) < 6 else f"{text[:3]}{'*' * (len(text) - 5)}{text[-2:]}"
