"""A bare HTTP/2 client for tests: frames as they are, header blocks by an HPACK not ours (RFC 9113, 7541)."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Self

from hpack import Decoder, Encoder

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
ACK = END_STREAM = 0x1
END_HEADERS, PADDED, PRIORITISED = 0x4, 0x8, 0x20
TABLE_SIZE, INITIAL_WINDOW = 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SECONDS_MAX = 60
SERVICE = "/eir.v1.EquipmentCheckService/"


class Frame(NamedTuple):
    """A frame that came; of HEADERS also its fields."""

    kind: int
    flags: int
    stream: int
    payload: bytes
    fields: dict[str, str]

    @property
    def code(self) -> int:
        """Error code of a reset or of a GOAWAY."""
        return int.from_bytes(self.payload[:4] if self.kind == RST_STREAM else self.payload[4:8], "big")


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Bytes of a frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    """Bytes of a SETTINGS frame."""
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", *pair) for pair in pairs))


def window(stream: int, more: int) -> bytes:
    """Bytes of a WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, stream=stream, payload=more.to_bytes(4, "big"))


def message(data: bytes, *, compressed: bool = False) -> bytes:
    """Return a message of gRPC with its prefix."""
    return bytes((compressed,)) + len(data).to_bytes(4, "big") + data


class Calls:
    """Bytes of calls, with the header compression of one connection."""

    def __init__(self) -> None:
        """Begin as a connection begins."""
        self.encoder = Encoder()

    def headers(
        self,
        stream: int,
        method: str = "CheckEquipment",
        *more: tuple[str, str],
        flags: int = END_HEADERS,
        left_out: tuple[str, ...] = (),
    ) -> bytes:
        """Bytes of the HEADERS of a call; fields named in `more` replace those that a call has."""
        path = method if method.startswith("/") else SERVICE + method
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "eir",
            "content-type": "application/grpc",
            "te": "trailers",
        }
        changed = [(name, value) for name, value in more if name in fields]
        fields |= dict(changed)
        pairs = [pair for pair in fields.items() if pair[0] not in left_out]
        pairs += [pair for pair in more if pair not in changed]
        return frame(HEADERS, flags, stream, self.encoder.encode(pairs))

    def data(self, stream: int, data: bytes, *, end: bool = True) -> bytes:
        """Bytes of a DATA frame."""
        return frame(DATA, END_STREAM if end else 0, stream, data)

    def call(self, stream: int, data: bytes, method: str = "CheckEquipment", *more: tuple[str, str]) -> bytes:
        """Bytes of a call with one message."""
        return self.headers(stream, method, *more) + self.data(stream, message(data))


class Client(Calls):
    """One connection. Reads answer SETTINGS and PING unless told otherwise, and open no windows."""

    def __init__(
        self, address: str, *given: tuple[int, int], greet: bool = True, answer: bool = True
    ) -> None:
        """Connect, and say what the settings are."""
        super().__init__()
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=SECONDS_MAX)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.decoder = Decoder()
        self._answer, self._buffer = answer, b""
        if greet:
            self.send(PREFACE + settings(*given))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(b"".join(parts))

    def frames(self, seconds: float = SECONDS_MAX) -> Iterator[Frame]:
        """Yield what comes, until the connection is closed or nothing came for so long."""
        deadline = time.monotonic() + seconds
        while True:
            while len(self._buffer) >= 9:
                size = int.from_bytes(self._buffer[:3], "big")
                if len(self._buffer) < 9 + size:
                    break
                yield self._frame(self._buffer[:9], self._take(9 + size)[9:])
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                received = self.socket.recv(1 << 16)
            except (TimeoutError, ConnectionResetError):
                return
            if not received:
                return
            self._buffer += received

    def _take(self, size: int) -> bytes:
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _frame(self, head: bytes, payload: bytes) -> Frame:
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:9], "big")
        if self._answer and kind in {SETTINGS, PING} and not flags & ACK:
            with contextlib.suppress(OSError):
                self.send(frame(kind, ACK, 0, payload if kind == PING else b""))
        fields = dict(self.decoder.decode(payload)) if kind == HEADERS else {}
        return Frame(kind, flags, stream, payload, {str(name): str(value) for name, value in fields.items()})

    def until(self, kind: int, stream: int | None = None, seconds: float = SECONDS_MAX) -> Frame:
        """Return the first frame of a kind; fails where none comes."""
        for found in self.frames(seconds):
            if found.kind == kind and stream in {None, found.stream}:
                return found
        raise AssertionError(f"no frame of kind {kind} came")

    def ended(self, *streams: int, seconds: float = SECONDS_MAX) -> dict[int, tuple[bytes, dict[str, str]]]:
        """Return bytes and trailers of calls, once all have ended."""
        open_, content = set(streams), dict.fromkeys(streams, b"")
        found: dict[int, tuple[bytes, dict[str, str]]] = {}
        for came in self.frames(seconds):
            if came.kind == DATA and came.stream in open_:
                content[came.stream] += came.payload
            if came.kind == RST_STREAM and came.stream in open_:
                found[came.stream] = content[came.stream], {"reset": str(came.code)}
            elif came.flags & END_STREAM and came.kind in {DATA, HEADERS} and came.stream in open_:
                found[came.stream] = content[came.stream], came.fields
            open_ -= found.keys()
            if not open_:
                return found
        raise AssertionError(f"no end of {open_}; ended were {found}")

    def trailers(self, stream: int, *parts: bytes, seconds: float = SECONDS_MAX) -> dict[str, str]:
        """Send, and return the trailers of a call."""
        self.send(*parts)
        return self.ended(stream, seconds=seconds)[stream][1]

    def closed(self, seconds: float = SECONDS_MAX) -> bool:
        """Tell whether the connection is closed by the other end within so long."""
        started = time.monotonic()
        for _ in self.frames(seconds):
            pass
        return time.monotonic() - started < seconds


def messages(content: bytes) -> Iterable[bytes]:
    """Yield the messages of a body."""
    while content:
        size = int.from_bytes(content[1:5], "big")
        yield content[5 : 5 + size]
        content = content[5 + size :]
