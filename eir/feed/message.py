"""Messages of a feed's stream: fields of a stream entry to values and back. Pure.

    fields ──decode──► Begin | Chunk | Commit | Heartbeat ──encode──► fields

docs/redis-feed.md specifies them. Whatever the fields hold, `decode` gives a
message or raises FeedMessageError, which says why by its `cause`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from eir.errors import FeedMessageError
from eir.whitelist import delta

VERSION: Final = b"1"
FIELDS_MAX: Final = 32
"""Fields of one message, those that this version does not know among them."""
FIELD_BYTES_MAX: Final = 256
"""Name or value of any field but a payload."""
PAYLOAD_BYTES_MAX: Final = delta.PAYLOAD_BYTES_MAX
MESSAGE_BYTES_MAX: Final = PAYLOAD_BYTES_MAX + 2 * FIELDS_MAX * FIELD_BYTES_MAX
"""Names and values of one message together."""
SEQUENCE_MAX: Final = (1 << 63) - 1
CHUNKS_MAX: Final = delta.DELTA_ROWS_MAX
NUMBER: Final = re.compile(rb"0|[1-9][0-9]{0,18}")
TRANSFER: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
SHA256: Final = re.compile(rb"[0-9a-f]{64}")


class Cause(StrEnum):
    """Why a message or a transfer is refused: stable words, beside the reasons of refused deltas."""

    MESSAGE_VERSION = "MESSAGE_VERSION"
    """The message has no version, or one that this daemon does not read."""
    MESSAGE_TYPE = "MESSAGE_TYPE"
    """The message has no type, or an unknown one."""
    MESSAGE_FIELD = "MESSAGE_FIELD"
    """A field is missing, given twice, or not what its grammar asks for."""
    MESSAGE_FEED = "MESSAGE_FEED"
    """The message is of another feed."""
    MESSAGE_SIZE = "MESSAGE_SIZE"
    """The message is larger, or has more fields, than the limits admit."""
    TRANSFER_UNKNOWN = "TRANSFER_UNKNOWN"
    """A chunk or a commit whose begin was not read."""
    TRANSFER_INCOMPLETE = "TRANSFER_INCOMPLETE"
    """A chunk is missing, or in the wrong place."""
    TRANSFER_ABANDONED = "TRANSFER_ABANDONED"
    """Another transfer took its place before it was committed."""
    HEARTBEAT_TIME = "HEARTBEAT_TIME"
    """A heartbeat says that the feed is complete until a time to come."""


@dataclass(frozen=True)
class Begin:
    """Opens the transfer of a delta; as DeltaHeader. `base_sha256` is empty where it is not given."""

    feed: str
    sequence: int
    transfer: str
    base_sequence: int
    row_count: int
    complete_until: int = 0
    reference: str = ""
    override_guards: bool = False
    base_sha256: bytes = b""

    def header(self, *, override_guards: bool = False) -> delta.Header:
        """Header of the delta."""
        return delta.Header(
            self.feed,
            self.sequence,
            self.base_sequence,
            self.row_count,
            self.complete_until,
            self.reference,
            override_guards=self.override_guards or override_guards,
        )


@dataclass(frozen=True)
class Chunk:
    """Carries rows; `payload` is a serialized DeltaRows."""

    feed: str
    sequence: int
    transfer: str
    index: int
    payload: bytes


@dataclass(frozen=True)
class Commit:
    """Closes the transfer; SHA-256 over the payloads in order."""

    feed: str
    sequence: int
    transfer: str
    chunk_count: int
    content_sha256: bytes


@dataclass(frozen=True)
class Heartbeat:
    """Says that the feed stands at `sequence` and is complete until a time, in seconds since the epoch."""

    feed: str
    sequence: int
    complete_until: int


Message: TypeAlias = Begin | Chunk | Commit | Heartbeat


def decode(fields: Sequence[bytes], feed: str) -> Message:
    """Read a message of `feed` from alternating names and values. Raises FeedMessageError."""
    values = _by_name(fields)
    if values.get(b"v") != VERSION:
        raise FeedMessageError(Cause.MESSAGE_VERSION, f"v: {_shown(values.get(b'v'))} where 1 is needed")
    kind = values.get(b"type", b"")
    if kind not in _READERS:
        raise FeedMessageError(Cause.MESSAGE_TYPE, f"type: {_shown(values.get(b'type'))} is none")
    if values.get(b"feed") != feed.encode():
        raise FeedMessageError(
            Cause.MESSAGE_FEED, f"feed: {_shown(values.get(b'feed'))} where {feed} is needed"
        )
    return _READERS[kind](_Fields(values), feed)


def _by_name(fields: Sequence[bytes]) -> dict[bytes, bytes]:
    """Fields by name, within their bounds."""
    if len(fields) > 2 * FIELDS_MAX:
        raise FeedMessageError(Cause.MESSAGE_SIZE, f"{len(fields) // 2} fields; {FIELDS_MAX} are admitted")
    names, values = fields[::2], fields[1::2]
    for name, value in zip(names, values, strict=False):
        bytes_max = PAYLOAD_BYTES_MAX if name == b"payload" else FIELD_BYTES_MAX
        if len(name) > FIELD_BYTES_MAX or len(value) > bytes_max:
            raise FeedMessageError(
                Cause.MESSAGE_SIZE, f"{_shown(name)}: {len(value)} bytes; {bytes_max} are admitted"
            )
    if len(names) != len(values) or len(set(names)) < len(names):
        raise FeedMessageError(Cause.MESSAGE_FIELD, "a field is given twice")
    return dict(zip(names, values, strict=True))


def _shown(value: bytes | None) -> str:
    """Return a few characters of what was sent; nothing that could be an identity."""
    if value is None:
        return "nothing"
    return ascii(value[:16].decode("latin-1")) if not value.isdigit() or len(value) < 10 else "a number"


class _Fields:
    """Reads the values of a message."""

    def __init__(self, values: dict[bytes, bytes]) -> None:
        self._values = values

    def _matching(self, name: str, grammar: re.Pattern[bytes], says: str, *, needed: bool = True) -> bytes:
        value = self._values.get(name.encode())
        if value is None and not needed:
            return b""
        if value is None or not grammar.fullmatch(value):
            raise FeedMessageError(Cause.MESSAGE_FIELD, f"{name}: {_shown(value)} where {says} is needed")
        return value

    def number(self, name: str, high: int, *, low: int = 0, needed: bool = True) -> int:
        """Read a number in decimal digits; 0 where it may be left out and is."""
        says = f"a number from {low} to {high}"
        text = self._matching(name, NUMBER, says, needed=needed)
        value = int(text or b"0")
        if text and not low <= value <= high:
            raise FeedMessageError(Cause.MESSAGE_FIELD, f"{name}: {_shown(text)} where {says} is needed")
        return value

    def transfer(self) -> str:
        """Read the name of the transfer."""
        return self._matching("transfer", TRANSFER, "1 to 64 of A-Z, a-z, 0-9, '-', '_', '.'").decode()

    def sha256(self, name: str, *, needed: bool = True) -> bytes:
        """Read a hash, in hex."""
        text = self._matching(name, SHA256, "64 of 0-9, a-f", needed=needed)
        return bytes.fromhex(text.decode())

    def text(self, name: str, bytes_max: int) -> str:
        """Read a text in UTF-8; empty where it is left out."""
        value = self._values.get(name.encode(), b"")
        try:
            text = value.decode()
        except UnicodeDecodeError:
            raise FeedMessageError(Cause.MESSAGE_FIELD, f"{name}: not UTF-8") from None
        if len(value) > bytes_max:
            raise FeedMessageError(Cause.MESSAGE_FIELD, f"{name}: longer than {bytes_max} bytes")
        return text

    def payload(self) -> bytes:
        """Read rows, as they are."""
        value = self._values.get(b"payload")
        if value is None:
            raise FeedMessageError(Cause.MESSAGE_FIELD, "payload: is missing")
        return value


def _begin(fields: _Fields, feed: str) -> Begin:
    begin = Begin(
        feed,
        fields.number("sequence", SEQUENCE_MAX, low=1),
        fields.transfer(),
        fields.number("base_sequence", SEQUENCE_MAX),
        fields.number("row_count", SEQUENCE_MAX),
        fields.number("complete_until", delta.SECONDS_MAX, needed=False),
        fields.text("reference", delta.REFERENCE_BYTES_MAX),
        bool(fields.number("override_guards", 1, needed=False)),
        fields.sha256("base_sha256", needed=False),
    )
    if begin.base_sequence >= begin.sequence:
        raise FeedMessageError(
            Cause.MESSAGE_FIELD, f"base_sequence: {begin.base_sequence} is not smaller than {begin.sequence}"
        )
    return begin


def _chunk(fields: _Fields, feed: str) -> Chunk:
    return Chunk(
        feed,
        fields.number("sequence", SEQUENCE_MAX, low=1),
        fields.transfer(),
        fields.number("index", CHUNKS_MAX),
        fields.payload(),
    )


def _commit(fields: _Fields, feed: str) -> Commit:
    return Commit(
        feed,
        fields.number("sequence", SEQUENCE_MAX, low=1),
        fields.transfer(),
        fields.number("chunk_count", CHUNKS_MAX),
        fields.sha256("content_sha256"),
    )


def _heartbeat(fields: _Fields, feed: str) -> Heartbeat:
    return Heartbeat(
        feed,
        fields.number("sequence", SEQUENCE_MAX),
        fields.number("complete_until", delta.SECONDS_MAX, low=1),
    )


_READERS: Final[dict[bytes, Callable[[_Fields, str], Message]]] = {
    b"begin": _begin,
    b"chunk": _chunk,
    b"commit": _commit,
    b"heartbeat": _heartbeat,
}
_TYPES: Final = {Begin: b"begin", Chunk: b"chunk", Commit: b"commit", Heartbeat: b"heartbeat"}


def encode(message: Message) -> list[bytes]:
    """Fields of a message, alternating names and values; what is empty is left out."""
    fields = [b"v", VERSION, b"type", _TYPES[type(message)]]
    for name, value in vars(message).items():
        if name in _OPTIONAL and not value:
            continue
        fields += [name.encode(), _value(value, hexadecimal=name.endswith("sha256"))]
    return fields


_OPTIONAL: Final = frozenset({"reference", "override_guards", "base_sha256"})


def _value(value: object, *, hexadecimal: bool) -> bytes:
    if isinstance(value, bytes):
        return value.hex().encode() if hexadecimal else value
    return str(int(value) if isinstance(value, bool) else value).encode()
