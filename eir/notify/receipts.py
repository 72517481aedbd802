"""Delivery receipts: what became of a submission, in the text and the TLV form.

    deliver_sm ──► Receipt(message_id, outcome, error)

The text form is a custom of SMSCs (SMPP 3.4 appendix B); TLVs win where both
are there (clauses 5.3.2.12, 5.3.2.35, 5.3.2.31). Message ids are strings that
only the SMSC understands; some give them in decimal in the receipt and in hex
in the answer: `spellings` has both.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple

import smpp34

RECEIPT: Final = 0x04
"""esm_class of a receipt: bits 2 to 5 (SMPP 3.4 clause 5.2.12)."""
_TYPE_BITS: Final = 0x3C
_ID_TAG: Final = 0x001E
_ERROR_TAG: Final = 0x0423
_STATE_TAG: Final = 0x0427
_FIELD: Final = re.compile(rb"(?i)\b(id|stat|err):([^\s]*)")
_ID_CHARACTERS_MAX: Final = 64


class Outcome(Enum):
    """What became of a submission."""

    DELIVERED = "delivered"
    EXPIRED = "expired"
    FAILED = "failed"
    PENDING = "pending"
    """Not the end of it: accepted, on its way, or unknown to the SMSC."""


_BY_STATE: Final = {
    1: Outcome.PENDING,
    2: Outcome.DELIVERED,
    3: Outcome.EXPIRED,
    4: Outcome.FAILED,
    5: Outcome.FAILED,
    6: Outcome.PENDING,
    7: Outcome.PENDING,
    8: Outcome.FAILED,
}
_BY_TEXT: Final = {
    b"ENROUTE": Outcome.PENDING,
    b"DELIVRD": Outcome.DELIVERED,
    b"EXPIRED": Outcome.EXPIRED,
    b"DELETED": Outcome.FAILED,
    b"UNDELIV": Outcome.FAILED,
    b"ACCEPTD": Outcome.PENDING,
    b"UNKNOWN": Outcome.PENDING,
    b"REJECTD": Outcome.FAILED,
}
"""message_state (SMPP 3.4 clause 5.2.28), as a number and as appendix B spells it."""


class Receipt(NamedTuple):
    """A receipt; `error` is the network's code as the SMSC gives it, or empty."""

    message_id: str
    outcome: Outcome
    error: str


def read_receipt(message: smpp34.DeliverSm) -> Receipt | None:
    """Read a receipt; None for a short message, and for a receipt that names no message."""
    tags = {tlv.tag: tlv.value for tlv in message.tlvs}
    if message.esm_class & _TYPE_BITS != RECEIPT and _ID_TAG not in tags:
        return None
    said = {name.lower(): value for name, value in _FIELD.findall(message.short_message)}
    name = tags[_ID_TAG].split(b"\0", 1)[0] if _ID_TAG in tags else said.get(b"id", b"")
    message_id = name.decode("latin-1")
    if not message_id or len(message_id) > _ID_CHARACTERS_MAX:
        return None
    state = tags.get(_STATE_TAG, b"")
    by_text = _BY_TEXT.get(said.get(b"stat", b"").upper(), Outcome.PENDING)
    outcome = _BY_STATE.get(state[0], Outcome.PENDING) if state else by_text
    error = tags[_ERROR_TAG].hex() if _ERROR_TAG in tags else said.get(b"err", b"").decode("latin-1")
    return Receipt(message_id, outcome, error[:_ID_CHARACTERS_MAX])


def spellings(message_id: str) -> tuple[str, ...]:
    """Return the ids that a receipt's id may stand for in an answer: itself, and decimal as hex."""
    found = [message_id]
    if message_id.isascii() and message_id.isdigit():
        number = int(message_id)
        found += [f"{number:X}", f"{number:x}", f"{number:08X}", f"{number:08x}"]
    return tuple(dict.fromkeys(found))
