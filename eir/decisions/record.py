"""A decision as it lies in a file: fixed size, checksummed. Pure.

    header 32 | record 96 | record 96 | …

Little-endian. Header: magic, version u32, bytes of a record u32, zeros. Record:
CRC32C u32 of what follows, time u32, imei 16, imsi 16, serving PLMN 6, status u8,
reason u8, serial u64, the first 8 bytes of the policy's hash, client 32. Texts
are UTF-8, cut to their place, filled with zeros.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from crc32c import crc32c

from eir.errors import CorruptError
from eir.identity import SPACES

MAGIC: Final = b"EIRDECIS"
VERSION: Final = 1
_BODY: Final = struct.Struct("<I16s16s6sBBQ8s32s")
_CRC: Final = struct.Struct("<I")
RECORD_BYTES: Final = _CRC.size + _BODY.size
HEADER: Final = struct.pack("<8sII16x", MAGIC, VERSION, RECORD_BYTES)
POLICY_BYTES: Final = 8
TIME_MAX: Final = (1 << 32) - 1
COLUMNS: Final = np.dtype(
    {
        "names": ["time", "imei_head", "imei_tail", "imei", "imsi"],
        "formats": ["<u4", "<u8", "<u8", "S16", "S16"],
        "offsets": [4, 8, 16, 8, 24],
        "itemsize": RECORD_BYTES,
    }
)
"""What records are searched by; the IMEI as text and as two numbers."""


class Decision(NamedTuple):
    """What a node was told; `policy` is the beginning of the policy's hash, in hex."""

    time: int
    imei: str
    imsi: str
    serving_plmn: str
    status: int
    reason: int
    serial: int
    policy: str
    client: str


def encode(decision: Decision) -> bytes:
    """Encode a decision."""
    time, imei, imsi, plmn, status, reason, serial, policy, client = decision
    body = _BODY.pack(
        min(max(time, 0), TIME_MAX),
        imei.strip(SPACES).encode().upper(),
        imsi.strip(SPACES).encode(),
        plmn.encode(),
        status,
        reason,
        serial,
        bytes.fromhex(policy),
        client.encode(),
    )
    return _CRC.pack(crc32c(body)) + body


def decode(data: bytes) -> Decision:
    """Decode a record. Raises CorruptError where it does not match its checksum."""
    if len(data) != RECORD_BYTES or crc32c(data[_CRC.size :]) != _CRC.unpack_from(data)[0]:
        raise CorruptError("a decision does not match its checksum")
    time, imei, imsi, plmn, status, reason, serial, policy, client = _BODY.unpack_from(data, _CRC.size)
    return Decision(
        time, _text(imei), _text(imsi), _text(plmn), status, reason, serial, policy.hex(), _text(client)
    )


def _text(field: bytes) -> str:
    """Return text as it can be shown: what a phone sent may command a terminal."""
    text = field.rstrip(b"\0").decode(errors="replace")
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def matches(
    records: npt.NDArray[np.void], imei: str, imsi: str, since: int, until: int
) -> npt.NDArray[np.intp]:
    """Return the places of the records of an IMEI in a time, both ends inclusive.

    `imei` is normalised: 14 digits match whatever follows them, raw text itself
    only. An empty `imsi` matches every one.
    """
    key = imei.encode()
    if len(key) == 14 and key.isdigit():
        head, tail = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
        # By numbers: comparing texts takes ten times as long.
        found = (records["imei_head"] == head) & (records["imei_tail"] & np.uint64((1 << 48) - 1) == tail)
    else:
        found = records["imei"] == key
    at = np.flatnonzero(found)
    time = records["time"][at]
    kept = (time >= since) & (time <= until)
    if imsi:
        kept &= records["imsi"][at] == imsi.encode()
    return at[kept]
