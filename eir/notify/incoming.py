"""Short messages of subscribers: who asks for which IMEI. Pure: the time is passed in.

    deliver_sm ──► of a subscriber? ──► parts ──► text ──► IMEI ──► not too often ──► Question

Nothing is answered but a number of 14 to 16 digits, in any script, that a
subscriber sent by himself: no receipts, no short codes and names, none of our
own senders. So two machines that answer each other end at once.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import smpp34

from eir.identity import TypedImei, typed_imei
from eir.notify.segmentation import HEADER_INDICATED, gsm7_text

RESULTS: Final = ("asked", "parts", "not_a_subscriber", "unreadable", "no_imei", "too_often", "too_many")
"""What becomes of a message: asked is answered; parts waits for the others of its message."""
_TYPE_BITS: Final = 0x3C
"""esm_class of receipts, acknowledgements and the like (SMPP 3.4 clause 5.2.12)."""
_PAYLOAD_TAG: Final = 0x0424
_SAR_TAGS: Final = (0x020C, 0x020E, 0x020F)
"""Reference, number of parts, which part (SMPP 3.4 clauses 5.3.2.22 to 5.3.2.24)."""
_CONCATENATED: Final = {0x00: 1, 0x08: 2}
"""Octets of the reference in a header, by its identifier (TS 23.040 clause 9.2.3.24)."""
_GSM7: Final = frozenset((0x00, 0xF0, 0xF1, 0xF2, 0xF3))
"""data_coding of the SMSC's default alphabet, without and with a class (TS 23.038 clause 4)."""
_CODINGS: Final = {0x01: "ascii", 0x03: "latin-1", 0x08: "utf-16-be"}
_TON_NAME: Final = 5
_SUBSCRIBER_DIGITS: Final = range(7, 16)
"""Shorter numbers are services; E.164 ends at 15."""
PARTS_MAX: Final = 4
OCTETS_MAX: Final = 560
PARTS_SECONDS_MAX: Final = 300
HOUR: Final = 3_600


class Question(NamedTuple):
    """What a subscriber asks for; `sender` is his number as the SMSC gave it."""

    smsc: str
    sender: str
    ton: int
    npi: int
    imei: TypedImei


@dataclass(frozen=True)
class Bounds:
    """Answers at most so many; `per_sender_hour_max` 0: none at all."""

    per_sender_hour_max: int = 5
    per_second_max: int = 10
    senders_max: int = 100_000
    """Senders that are remembered; the longest silent is forgotten first."""
    messages_max: int = 1_000
    """Messages of which parts are missing."""


class _Piece(NamedTuple):
    key: tuple[str, str, int, int]
    parts: int
    number: int
    octets: bytes


@dataclass
class Incoming:
    """Reads what arrives. `own` are the addresses that notices come from."""

    bounds: Bounds
    own: Collection[str] = ()
    counts: Counter[str] = field(default_factory=Counter)
    _senders: OrderedDict[str, tuple[int, int]] = field(default_factory=OrderedDict)
    """Hour and questions in it, by sender."""
    _second: tuple[int, int] = (0, 0)
    _waiting: OrderedDict[tuple[str, str, int, int], tuple[int, dict[int, bytes]]] = field(
        default_factory=OrderedDict
    )

    def take(self, smsc: str, message: smpp34.DeliverSm, now: int) -> Question | None:
        """Return what a message asks for, if it is to be answered."""
        result, imei = self._take(smsc, message, now)
        self.counts[f"incoming_{result}"] += 1
        if result != "asked" or imei is None:
            return None
        return Question(smsc, message.source_addr, message.source_addr_ton, message.source_addr_npi, imei)

    def _take(self, smsc: str, message: smpp34.DeliverSm, now: int) -> tuple[str, TypedImei | None]:
        if not self.bounds.per_sender_hour_max or not self._subscriber(message):
            return "not_a_subscriber", None
        octets = _octets(message)
        if octets is None:
            return "unreadable", None
        if len(octets) > OCTETS_MAX:
            return "no_imei", None
        try:
            piece = _piece(smsc, message, octets)
        except ValueError:
            return "unreadable", None
        whole = piece.octets if piece.parts == 1 else self._joined(piece, now)
        if whole is None:
            return "parts", None
        text = _text(message.data_coding, whole)
        if text is None:
            return "unreadable", None
        try:
            imei = typed_imei(text)
        except ValueError:
            return "no_imei", None
        return self._limited(message.source_addr, now), imei

    def _subscriber(self, message: smpp34.DeliverSm) -> bool:
        """Tell whether a subscriber sent it, and not a machine."""
        number = message.source_addr.removeprefix("+")
        return (
            not message.esm_class & _TYPE_BITS
            and message.source_addr_ton != _TON_NAME
            and number.isascii()
            and number.isdigit()
            and len(number) in _SUBSCRIBER_DIGITS
            and message.source_addr not in self.own
            and number not in self.own
        )

    def _joined(self, piece: _Piece, now: int) -> bytes | None:
        """Keep a part; return the whole message with its last one."""
        while self._waiting:
            oldest = next(iter(self._waiting))
            full = len(self._waiting) >= self.bounds.messages_max and piece.key not in self._waiting
            if not full and now - self._waiting[oldest][0] < PARTS_SECONDS_MAX:
                break
            del self._waiting[oldest]
        _, parts = self._waiting.setdefault(piece.key, (now, {}))
        parts[piece.number] = piece.octets
        if len(parts) < piece.parts:
            return None
        del self._waiting[piece.key]
        return b"".join(parts[number] for number in sorted(parts))

    def _limited(self, sender: str, now: int) -> str:
        """Count a question of a sender, and say whether it is one too many."""
        hour, count = self._senders.pop(sender, (0, 0))
        count = count + 1 if hour == now // HOUR else 1
        self._senders[sender] = now // HOUR, count
        if len(self._senders) > self.bounds.senders_max:
            self._senders.popitem(last=False)
        if count > self.bounds.per_sender_hour_max:
            return "too_often"
        second, answered = self._second
        answered = answered + 1 if second == now else 1
        self._second = now, answered
        return "asked" if answered <= self.bounds.per_second_max else "too_many"


def _octets(message: smpp34.DeliverSm) -> bytes | None:
    """Return what a message carries; None where it is empty."""
    payload = next((tlv.value for tlv in message.tlvs if tlv.tag == _PAYLOAD_TAG), b"")
    return message.short_message or bytes(payload) or None


def _piece(smsc: str, message: smpp34.DeliverSm, octets: bytes) -> _Piece:
    """Read which part it is. Raises ValueError."""
    reference, count, number = 0, 1, 1
    tags = {tlv.tag: int.from_bytes(tlv.value, "big") for tlv in message.tlvs if tlv.tag in _SAR_TAGS}
    if message.esm_class & HEADER_INDICATED:
        length = octets[0] + 1
        header, octets = octets[1:length], octets[length:]
        if len(header) != length - 1:
            raise ValueError("a header that is cut off")
        while header:
            size = header[1] if len(header) > 1 else 0
            element, header = header[:2], header[2:]
            value, header = header[:size], header[size:]
            octets_of_reference = _CONCATENATED.get(element[0], 0)
            if octets_of_reference and len(value) == octets_of_reference + 2:
                reference = int.from_bytes(value[:-2], "big")
                count, number = value[-2], value[-1]
    elif len(tags) == len(_SAR_TAGS):
        reference, count, number = (tags[tag] for tag in _SAR_TAGS)
    if not (1 <= number <= count <= PARTS_MAX):
        raise ValueError("parts that are no message")
    return _Piece((smsc, message.source_addr, reference, count), count, number, octets)


def _text(coding: int, octets: bytes) -> str | None:
    """Read octets in their alphabet; None where it is none of text, or they are not in it."""
    if coding in _GSM7:
        return gsm7_text(octets)
    if coding not in _CODINGS:
        return None
    try:
        return octets.decode(_CODINGS[coding])
    except UnicodeDecodeError:
        return None
