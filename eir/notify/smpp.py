"""One SMPP 3.4 session of ours with an SMSC, without its socket.

    bytes ──► receive ──► events          submit, tick ──► outgoing ──► bytes

Pure: the time is passed in (seconds of any clock that only goes forward), and
nothing is sent but by whoever takes `outgoing`. A submission is answered, or
it is lost: its answer did not come in time, or the session ended before. What
was lost may have been taken by the SMSC.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import smpp34

from eir.notify.segmentation import Parts

HEADER: Final = struct.Struct(">IIII")
PDU_BYTES_MAX: Final = 70_000
"""A `message_payload` of 65,535 octets and all that may stand beside it."""
ADDRESS_OCTETS_MAX: Final = 20
"""source_addr and destination_addr without their end (SMPP 3.4 clauses 5.2.8, 5.2.9)."""
VERSION: Final = 0x34
RECEIPT_ASKED: Final = 0x01
"""registered_delivery: a receipt for success and failure (SMPP 3.4 clause 5.2.17)."""
_SEQUENCE_MAX: Final = 0x7FFFFFFF
_ANSWER: Final = 0x80000000


class Command(IntEnum):
    """command_id of what this side sends or takes (SMPP 3.4 clause 5.1.2.1)."""

    GENERIC_NACK = 0x80000000
    BIND_RECEIVER = 0x00000001
    BIND_TRANSMITTER = 0x00000002
    SUBMIT_SM = 0x00000004
    DELIVER_SM = 0x00000005
    UNBIND = 0x00000006
    BIND_TRANSCEIVER = 0x00000009
    ENQUIRE_LINK = 0x00000015


BINDS: Final = {
    "transceiver": Command.BIND_TRANSCEIVER,
    "transmitter": Command.BIND_TRANSMITTER,
    "receiver": Command.BIND_RECEIVER,
}


class Status(IntEnum):
    """command_status (SMPP 3.4 clause 5.1.3), as far as this side sends it or acts on it."""

    ROK = 0x00
    RINVCMDLEN = 0x02
    RINVCMDID = 0x03
    RSYSERR = 0x08
    RMSGQFUL = 0x14
    RTHROTTLED = 0x58
    RX_T_APPN = 0x64


@dataclass(frozen=True)
class Bound:
    """The SMSC has taken the bind."""

    system_id: str


@dataclass(frozen=True)
class Answered:
    """The SMSC has answered a submission."""

    sequence: int
    status: int
    message_id: str


@dataclass(frozen=True)
class Lost:
    """A submission whose answer will not come."""

    sequence: int


@dataclass(frozen=True)
class Arrived:
    """A short message or a receipt; it is acknowledged already."""

    message: smpp34.DeliverSm


@dataclass(frozen=True)
class Closed:
    """The session is over, and why; `status` is that of a refused bind."""

    why: str
    status: int = 0


Event = Bound | Answered | Lost | Arrived | Closed


@dataclass(frozen=True)
class Address:
    """An address with its type of number and numbering plan (SMPP 3.4 clauses 5.2.5, 5.2.6)."""

    digits: str
    ton: int = 0
    npi: int = 0


@dataclass(frozen=True)
class Terms:
    """How this side binds, and how long it waits; `kind` is one of BINDS."""

    kind: str
    system_id: str
    password: str
    system_type: str = ""
    window_max: int = 32
    answer_seconds_max: float = 10
    idle_seconds_max: float = 30


@dataclass
class Session:
    """A session from its connection to its end."""

    terms: Terms
    now: float
    bound: bool = False
    closed: bool = False
    malformed_count: int = 0
    """PDUs that could not be read."""
    _in: bytearray = field(default_factory=bytearray)
    _out: bytearray = field(default_factory=bytearray)
    _waiting: dict[int, tuple[int, float]] = field(default_factory=dict)
    """Requests without an answer: command and when they were sent, oldest first."""
    _sequence: int = 0
    _heard_at: float = 0

    def __post_init__(self) -> None:
        """Bind."""
        self._heard_at = self.now
        terms = self.terms
        body = b"".join(_text(value) for value in (terms.system_id, terms.password, terms.system_type))
        self._ask(BINDS[terms.kind], body + bytes((VERSION, 0, 0, 0)), self.now)

    def outgoing(self) -> bytes:
        """Return what is to be sent, once."""
        out = bytes(self._out)
        self._out.clear()
        return out

    @property
    def free(self) -> int:
        """Submissions that may still be sent."""
        return self.terms.window_max - len(self._waiting) if self.bound and not self.closed else 0

    def submit(self, source: Address, destination: Address, parts: Parts, now: float) -> list[int]:
        """Send the parts of a message, and return the sequence number of each.

        There must be room for them (`free`). Raises ValueError where an address cannot be sent.
        """
        if len(parts.bodies) > self.free:
            raise ValueError("the window is full")
        encoded = [self._submit_sm(source, destination, parts, body) for body in parts.bodies]
        for sequence, pdu in encoded:
            self._out += pdu
            self._waiting[sequence] = (Command.SUBMIT_SM, now)
        return [sequence for sequence, _ in encoded]

    def _submit_sm(
        self, source: Address, destination: Address, parts: Parts, body: bytes
    ) -> tuple[int, bytes]:
        for address in (source, destination):
            if not (0 < len(address.digits) <= ADDRESS_OCTETS_MAX and address.digits.isascii()):
                raise ValueError(
                    f"no address: {len(address.digits)} characters, at most {ADDRESS_OCTETS_MAX}"
                )
        sequence = self._next()
        pdu = smpp34.SubmitSm(
            source.digits,
            destination.digits,
            body,
            source_addr_ton=source.ton,
            source_addr_npi=source.npi,
            dest_addr_ton=destination.ton,
            dest_addr_npi=destination.npi,
            esm_class=parts.esm_class,
            data_coding=parts.data_coding,
            registered_delivery=RECEIPT_ASKED,
            sequence_number=sequence,
        )
        return sequence, pdu.encode()

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take what the SMSC sent; nothing once the session is closed."""
        if self.closed:
            return []
        self._heard_at = now
        self._in += data
        events: list[Event] = []
        while not self.closed and len(self._in) >= HEADER.size:
            length, command, status, sequence = HEADER.unpack_from(self._in)
            if not HEADER.size <= length <= PDU_BYTES_MAX:
                self._say(Command.GENERIC_NACK, Status.RINVCMDLEN, sequence)
                events += self.close(f"a PDU of {length} bytes")
                break
            if len(self._in) < length:
                break
            pdu = bytes(self._in[:length])
            del self._in[:length]
            events += self._take(pdu, command, status, sequence)
        return events

    def _take(self, pdu: bytes, command: int, status: int, sequence: int) -> list[Event]:
        """Act on one PDU."""
        if command & _ANSWER:
            return self._answered(pdu, command, status, sequence)
        if command == Command.ENQUIRE_LINK:
            self._say(command | _ANSWER, Status.ROK, sequence)
        elif command == Command.UNBIND:
            self._say(command | _ANSWER, Status.ROK, sequence)
            return self.close("the SMSC unbound")
        elif command == Command.DELIVER_SM and self.bound:
            return self._arrived(pdu, sequence)
        else:
            self._say(Command.GENERIC_NACK, Status.RINVCMDID, sequence)
        return []

    def _answered(self, pdu: bytes, command: int, status: int, sequence: int) -> list[Event]:
        """Match an answer with its request; late answers and those to nothing are let go."""
        asked, _ = self._waiting.get(sequence, (None, 0))
        if asked is None or command not in (asked | _ANSWER, Command.GENERIC_NACK):
            return []
        del self._waiting[sequence]
        if asked == Command.SUBMIT_SM:
            return [Answered(sequence, status, _c_string(pdu[HEADER.size :]))]
        if asked in BINDS.values():
            if status != Status.ROK or command == Command.GENERIC_NACK:
                return self.close(f"bind refused with command_status 0x{status:08X}", status)
            self.bound = True
            return [Bound(_c_string(pdu[HEADER.size :]))]
        return self.close("unbound") if asked == Command.UNBIND else []

    def _arrived(self, pdu: bytes, sequence: int) -> list[Event]:
        """Acknowledge a deliver_sm; what cannot be read is refused for good."""
        answer = Command.DELIVER_SM | _ANSWER
        try:
            message = smpp34.decode(pdu)
        except smpp34.SmppError:
            message = None
        if not isinstance(message, smpp34.DeliverSm):
            self.malformed_count += 1
            self._say(answer, Status.RX_T_APPN, sequence, b"\0")
            return []
        self._say(answer, Status.ROK, sequence, b"\0")
        return [Arrived(message)]

    def tick(self, now: float) -> list[Event]:
        """Look at the clock: lost answers, an idle link, a dead one. Call it about once a second."""
        if self.closed:
            return []
        late = [
            (sequence, command)
            for sequence, (command, sent) in self._waiting.items()
            if now - sent >= self.terms.answer_seconds_max
        ]
        for sequence, command in late:
            if command != Command.SUBMIT_SM:
                return self.close(f"no answer to {Command(command).name.lower()}")
            del self._waiting[sequence]
        enquiring = any(command == Command.ENQUIRE_LINK for command, _ in self._waiting.values())
        if self.bound and not enquiring and now - self._heard_at >= self.terms.idle_seconds_max:
            self._ask(Command.ENQUIRE_LINK, b"", now)
        return [Lost(sequence) for sequence, _ in late]

    def unbind(self, now: float) -> None:
        """Ask for the end; it comes as Closed."""
        if not self.closed:
            self._ask(Command.UNBIND, b"", now)

    def close(self, why: str, status: int = 0) -> list[Event]:
        """End the session: what waits for an answer is lost."""
        if self.closed:
            return []
        self.closed = True
        lost = [
            Lost(sequence) for sequence, (asked, _) in self._waiting.items() if asked == Command.SUBMIT_SM
        ]
        self._waiting.clear()
        return [*lost, Closed(why, status)]

    def _next(self) -> int:
        self._sequence = self._sequence % _SEQUENCE_MAX + 1
        return self._sequence

    def _ask(self, command: int, body: bytes, now: float) -> None:
        sequence = self._next()
        self._waiting[sequence] = (command, now)
        self._say(command, Status.ROK, sequence, body)

    def _say(self, command: int, status: int, sequence: int, body: bytes = b"") -> None:
        self._out += HEADER.pack(HEADER.size + len(body), command, status, sequence) + body


def _text(value: str) -> bytes:
    """Return a C-octet string."""
    return value.encode("ascii") + b"\0"


def _c_string(body: bytes) -> str:
    """Read a C-octet string at the beginning of a body; an id may be absent."""
    return body.split(b"\0", 1)[0].decode("latin-1")
