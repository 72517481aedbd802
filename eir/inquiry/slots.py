"""Rows of the tables as messages: what is known of one IMEI, and what the public is told of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import numpy as np

from eir.identity import SERIALS, imei_15, imei_text, imsi_text
from eir.proto import inquiry_pb2, sync_pb2
from eir.whitelist.algebra import Interval, union
from eir.whitelist.items import (
    AUTHORITY_BITS,
    CODE_MASK,
    RANGE_SERIAL_MASK,
    REGISTERED,
    UNTIL_BITS,
    UNTIL_MASK,
    Item,
    unpack,
)
from eir.whitelist.operation import Imei
from eir.whitelist.rows import Role
from eir.whitelist.schema import Subscriber
from eir.whitelist.tables import Generation

_AUTHORITY_MASK: Final = (1 << AUTHORITY_BITS) - 1
_SAME_RANGE: Final = (1 << 24) - 1
"""Bits of a range piece that say of which range it is: cause and authority."""
_OF_DEVICE: Final = frozenset((sync_pb2.BLOCK_CAUSE_STOLEN, sync_pb2.BLOCK_CAUSE_LOST))
"""Causes that hold for every slot of a device."""


class Names(NamedTuple):
    """What numbers in rows mean."""

    authority: Callable[[int], str]
    device_type: Callable[[int], str]
    subscriber: Callable[[int], Subscriber | None]


def shown_imei(imei: Imei) -> str:
    """Write an IMEI for people: with its check digit, or raw text as it is."""
    return imei if isinstance(imei, str) else imei_15(imei)


def slot_of(generation: Generation, imei: Imei, names: Names, now: int) -> inquiry_pb2.Slot:
    """Tell what is known of one IMEI; `now` in seconds since the Unix epoch."""
    slot = inquiry_pb2.Slot(imei=shown_imei(imei))
    if isinstance(imei, str):
        head, words = generation.raw_row(imei)
    else:
        head, words = generation.key_row(imei)
        _add_ranges(slot, generation, imei, names)
        slot.device_type = names.device_type(generation.device_type(imei // SERIALS))
    slot.registered = bool(head & REGISTERED)
    if owner := head & CODE_MASK:
        slot.pairs.append(_pair(owner, Role.OWNER, names))
    for kind, subject, value in unpack(words) if words is not None else ():
        if kind == Item.UTILIZER:
            slot.pairs.append(_pair(subject, Role.UTILIZER, names))
        elif kind == Item.BLOCK:
            slot.blocks.add(
                cause=subject >> AUTHORITY_BITS,
                authority=names.authority(subject & _AUTHORITY_MASK),
            )
        elif kind == Item.TRACK:
            slot.tracked = True
        elif kind in (Item.EXEMPT_IMEI, Item.EXEMPT_PAIR):
            slot.exemptions.append(_exemption(value, now, imei=slot.imei, imsi=_imsi(subject)))
        elif kind in (Item.GRANDFATHER_IMEI, Item.GRANDFATHER_PAIR):
            slot.grandfathered.add(imsi=_imsi(subject), in_use_since=value)
    return slot


def _imsi(code: int) -> str:
    """Digits of an IMSI code; empty for none."""
    return imsi_text(code) if code else ""


def _add_ranges(slot: inquiry_pb2.Slot, generation: Generation, key: int, names: Names) -> None:
    """Add the ranges that a key lies in, as far as they lie in its TAC."""
    here = {piece & _SAME_RANGE for piece in generation.range_pieces(key)}
    if not here:
        return
    tac, serial = divmod(key, SERIALS)
    # The tables cut ranges where others begin and end: pieces that touch are told as one.
    spans: dict[int, list[Interval]] = {}
    for piece in generation.read_ranges(np.array([tac], np.uint64)).run(0).tolist():
        ends = piece >> 44 & RANGE_SERIAL_MASK, piece >> 24 & RANGE_SERIAL_MASK
        spans.setdefault(piece & _SAME_RANGE, []).append(ends)
    for kind in sorted(here):
        first, last = next(ends for ends in union(spans[kind]) if ends[0] <= serial <= ends[1])
        span = inquiry_pb2.ImeiRange(
            first=imei_text(tac * SERIALS + first), last=imei_text(tac * SERIALS + last)
        )
        if kind >> AUTHORITY_BITS:
            authority = names.authority(kind & _AUTHORITY_MASK)
            slot.blocks.add(cause=kind >> AUTHORITY_BITS, authority=authority, range=span)
        else:
            slot.registered_ranges.append(span)


def _pair(code: int, role: Role, names: Names) -> inquiry_pb2.Pair:
    subscriber = names.subscriber(code)
    return inquiry_pb2.Pair(
        imsi=imsi_text(code),
        role=int(role),  # type: ignore[arg-type]
        msisdn=imsi_text(subscriber.msisdn) if subscriber else "",
        language=subscriber.language if subscriber else "",
    )


def _exemption(value: int, now: int, *, imei: str = "", imsi: str = "") -> inquiry_pb2.Exemption:
    until = value & UNTIL_MASK
    return inquiry_pb2.Exemption(
        imei=imei,
        imsi=imsi,
        cause=value >> UNTIL_BITS,  # type: ignore[arg-type]
        until=0 if until == UNTIL_MASK else until,
        ended=until <= now,
    )


def imsi_exemptions(generation: Generation, code: int, now: int) -> list[inquiry_pb2.Exemption]:
    """Tell the exemptions of an IMSI in any phone."""
    words = generation.imsi_words(code)
    items = unpack(words) if words is not None else []
    return [
        _exemption(value, now, imsi=imsi_text(code)) for kind, _, value in items if kind == Item.EXEMPT_IMSI
    ]


def role_on(slot: inquiry_pb2.Slot, imsi: str) -> int:
    """Return the Role of an IMSI on a slot; 0 where it is not paired there."""
    return next((pair.role for pair in slot.pairs if pair.imsi == imsi), 0)


def standing_imsis(slot: inquiry_pb2.Slot) -> list[str]:
    """IMSIs that stand on a slot: paired, exempt with it, or grandfathered with it; each once."""
    found = [one.imsi for group in (slot.pairs, slot.exemptions, slot.grandfathered) for one in group]
    return [imsi for imsi in dict.fromkeys(found) if imsi]


def known(slot: inquiry_pb2.Slot) -> bool:
    """Tell whether anything but its type is known of a slot."""
    return bool(
        slot.registered
        or slot.registered_ranges
        or slot.blocks
        or slot.pairs
        or slot.exemptions
        or slot.grandfathered
        or slot.tracked
    )


def public_status(
    slot: inquiry_pb2.Slot, others: Iterable[inquiry_pb2.Slot], *, special: bool
) -> inquiry_pb2.PublicStatus:
    """Return what the public is told; `special` is true of numbers that identify no phone.

    As checks do: stolen and lost hold for the whole device, and a blocked range
    yields to an IMEI that is registered individually or owned.
    """
    owned = any(pair.role == sync_pb2.PAIR_ROLE_OWNER for pair in slot.pairs)
    individually = slot.registered or owned
    causes = {block.cause for block in slot.blocks if not (block.HasField("range") and individually)}
    for other in others:
        causes |= {block.cause for block in other.blocks if not block.HasField("range")} & _OF_DEVICE
    if causes & _OF_DEVICE:
        return inquiry_pb2.PUBLIC_STATUS_STOLEN
    if (individually or slot.registered_ranges) and not causes and not special:
        return inquiry_pb2.PUBLIC_STATUS_REGISTERED
    return inquiry_pb2.PUBLIC_STATUS_NOT_FOUND
