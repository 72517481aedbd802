"""A text to the parts that carry it: one `submit_sm` each.

    text ──► alphabet ──► units ──► cut where nothing is torn ──► octets, headed where there are several

GSM-7 where every character is in its alphabet (TS 23.038 clause 6.2.1), UCS-2
otherwise. Several parts carry a concatenation header (TS 23.040 clause
9.2.3.24.1). GSM-7 goes one character an octet: the SMSC packs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

GSM7: Final = 0
UCS2: Final = 8
"""data_coding (SMPP 3.4 clause 5.2.19)."""
HEADER_INDICATED: Final = 0x40
"""esm_class of a part with a header (SMPP 3.4 clause 5.2.12)."""
PARTS_LIMIT: Final = 255
"""Parts that a header with an 8-bit reference can count."""

_BASIC: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_ESCAPE: Final = 0x1B
_CODES: Final = {
    **{character: bytes((code,)) for code, character in enumerate(_BASIC) if code != _ESCAPE},
    **{
        character: bytes((_ESCAPE, code))
        for character, code in zip("\f^{}\\[~]|€", b"\x0a\x14\x28\x29\x2f\x3c\x3d\x3e\x40\x65", strict=True)
    },
}
"""Octets of a character in GSM-7: two for those behind the escape."""
_HIGH_SURROGATES: Final = range(0xD8, 0xDC)
"""First octets of the first half of a pair in UTF-16."""
_OCTETS_MAX: Final = {GSM7: (160, 153), UCS2: (140, 134)}
"""Octets of a text that is alone, and of a part of several (UCS-2: 70 and 67 units of two)."""


@dataclass(frozen=True)
class Parts:
    """What `submit_sm` carries: its data_coding, and the short_message of each part."""

    data_coding: int
    bodies: tuple[bytes, ...]

    @property
    def esm_class(self) -> int:
        """Return the esm_class of every part."""
        return HEADER_INDICATED if len(self.bodies) > 1 else 0


_CHARACTERS: Final = {code: character for character, code in _CODES.items()}


def gsm7_text(octets: bytes) -> str | None:
    """Read GSM-7, one character an octet; None where there is none of such a code.

    An escape with a code that is not in its table shows the code's own character (TS 23.038 clause 6.2.1.1).
    """
    found, at = [], 0
    while at < len(octets):
        escaped = octets[at] == _ESCAPE and at + 1 < len(octets)
        code = octets[at : at + 2] if escaped else octets[at : at + 1]
        at += len(code)
        character = _CHARACTERS.get(code) or _CHARACTERS.get(code[-1:])
        if character is None:
            return None
        found.append(character)
    return "".join(found)


def in_gsm7(text: str) -> bool:
    """Tell whether every character is in the GSM-7 alphabet."""
    return _CODES.keys() >= set(text)


def part_count(text: str) -> int:
    """Parts that a text needs. Raises ValueError as `segment` does."""
    return len(segment(text, 0).bodies)


def segment(text: str, reference: int) -> Parts:
    """Cut a text into parts; `reference` (0 to 255) tells the parts of one message from another's.

    Raises ValueError for an empty text, a lone surrogate, or more than 255 parts.
    """
    if not text:
        raise ValueError("an SMS without text")
    coding = GSM7 if in_gsm7(text) else UCS2
    try:
        octets = b"".join(map(_CODES.__getitem__, text)) if coding == GSM7 else text.encode("utf-16-be")
    except UnicodeEncodeError as error:
        raise ValueError(f"a lone surrogate at character {error.start}") from None
    alone_max, part_max = _OCTETS_MAX[coding]
    if len(octets) <= alone_max:
        return Parts(coding, (octets,))
    bodies = _cut(coding, octets, part_max)
    if len(bodies) > PARTS_LIMIT:
        raise ValueError(f"{len(bodies)} parts; at most {PARTS_LIMIT}")
    head = bytes((5, 0, 3, reference, len(bodies)))
    return Parts(coding, tuple(head + bytes((at,)) + body for at, body in enumerate(bodies, 1)))


def _cut(coding: int, octets: bytes, part_max: int) -> list[bytes]:
    """Fill parts: an escape and its character, or a surrogate pair, stay together."""
    bodies, at = [], 0
    while at < len(octets):
        end = min(at + part_max, len(octets))
        if end < len(octets):
            torn = octets[end - 1] == _ESCAPE if coding == GSM7 else octets[end - 2] in _HIGH_SURROGATES
            end -= (1 if coding == GSM7 else 2) if torn else 0
        bodies.append(octets[at:end])
        at = end
    return bodies
