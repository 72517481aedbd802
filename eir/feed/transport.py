"""A stream on Redis: connect, read on, look at single entries.

    servers ──in turn──► connection ──XREAD──► entries, a bounded number of bytes at a time

What a server sends is bounded while it comes in, not after: an entry that is
larger than a message may be ends the connection, and is passed over by its id.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from redis._parsers import _AsyncHiredisParser
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import RedisError, ResponseError

from eir.errors import StreamUnavailableError
from eir.feed.follower import Entry
from eir.feed.message import MESSAGE_BYTES_MAX
from eir.feed.servers import Server

READ_OVERHEAD_BYTES: Final = 1 << 16
"""Of a reply beside the entries in it, and of entries beside their fields."""
READ_BYTES: Final = 1 << 16
"""Read from a socket at a time."""
HEAD_BYTES: Final = 4096
"""Of a reply that is too large: where the id of its first entry stands."""
ENTRY_ID: Final = re.compile(rb"\r\n\$[0-9]+\r\n([0-9]{1,20}-[0-9]{1,20})\r\n")


class OversizedError(Exception):
    """A reply is larger than it may be; `entry_id` is its first entry, where that can be told."""

    def __init__(self, entry_id: str) -> None:
        super().__init__(entry_id)
        self.entry_id = entry_id


class Extent(NamedTuple):
    """How far a stream goes; `added` counts its entries since it was made, 0 where that is not said."""

    length: int
    added: int
    last_id: str


class Transport(Protocol):
    """A connection to a stream. Raises StreamUnavailableError."""

    async def read(self, after: str, count: int, block_seconds: float) -> list[Entry]:
        """Entries after an id, at most `count`; waits for the first. Raises OversizedError."""

    async def entry(self, entry_id: str) -> Entry | None:
        """One entry by its id."""

    async def extent(self) -> Extent:
        """How far the stream goes."""

    async def close(self) -> None:
        """End the connection."""


@dataclass(frozen=True)
class Access:
    """How a server is reached; `password` is never printed."""

    servers: tuple[Server, ...]
    stream: str
    username: str = ""
    password: Callable[[], str] = lambda: ""
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    connect_seconds_max: float = 5.0
    answer_seconds_max: float = 10.0


class _Parser(_AsyncHiredisParser):
    """hiredis, and an end to replies that are too large."""

    bytes_max: int = 0

    async def read_response(self, disable_decoding: bool = False, push_request: bool = False) -> Any:
        self._taken, self._head = 0, b""
        return await super().read_response(disable_decoding, push_request)

    async def read_from_socket(self) -> bool:
        assert self._stream is not None
        data = await self._stream.read(self._read_size)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._taken += len(data)
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]
        if self.bytes_max and self._taken > self.bytes_max:
            found = ENTRY_ID.search(self._head)
            raise OversizedError(found[1].decode() if found else "")
        self._reader.feed(data)  # type: ignore[attr-defined]  # redis-py does not say what it is
        return True


class RedisStream:
    """A stream on one server, over one connection."""

    def __init__(
        self, connection: AbstractConnection, parser: _Parser, access: Access, server: Server
    ) -> None:
        """Use `connect`."""
        self._connection, self._parser, self._access, self.server = connection, parser, access, server
        self._turn = asyncio.Lock()
        self._unanswered = False

    async def ask(self, *words: str | int, seconds: float = 0, entries_max: int = 1) -> Any:
        """Send a command and return its answer; several that ask at a time take turns.

        Answers come in the order of commands, and do not say whose they are: where one did not come, or
        nobody waited for it, nothing more is asked. Raises StreamUnavailableError, OversizedError.
        """
        async with self._turn:
            if self._unanswered:
                raise StreamUnavailableError(f"{self.server}: an earlier command was not answered")
            self._unanswered = True
            self._parser.bytes_max = entries_max * MESSAGE_BYTES_MAX + READ_OVERHEAD_BYTES
            try:
                async with asyncio.timeout(self._access.answer_seconds_max + seconds):
                    await self._connection.send_command(*words)
                    answer = await self._connection.read_response(disconnect_on_error=False)
            except (RedisError, OSError, TimeoutError, EOFError) as error:
                self._unanswered = not isinstance(error, ResponseError)
                raise StreamUnavailableError(f"{self.server}: {_told(error)}") from error
            self._unanswered = False
            return answer

    async def read(self, after: str, count: int, block_seconds: float) -> list[Entry]:
        """Entries after an id."""
        words = ("XREAD", "COUNT", count, "BLOCK", max(int(block_seconds * 1000), 1))
        answer = await self.ask(
            *words, "STREAMS", self._access.stream, after, seconds=block_seconds, entries_max=count
        )
        return [_entry(raw) for raw in answer[0][1]] if answer else []

    async def entry(self, entry_id: str) -> Entry | None:
        """One entry by its id."""
        answer = await self.ask("XRANGE", self._access.stream, entry_id, entry_id)
        return _entry(answer[0]) if answer else None

    async def last(self) -> Entry | None:
        """Return the newest entry."""
        answer = await self.ask("XREVRANGE", self._access.stream, "+", "-", "COUNT", 1)
        return _entry(answer[0]) if answer else None

    async def before(self, entry_id: str, count: int) -> list[Entry]:
        """Return entries before an id (`+`: the newest), newest first."""
        end = entry_id if entry_id == "+" else f"({entry_id}"
        answer = await self.ask("XREVRANGE", self._access.stream, end, "-", "COUNT", count, entries_max=count)
        return [_entry(raw) for raw in answer]

    async def extent(self) -> Extent:
        """How far the stream goes."""
        try:
            answer = await self.ask("XINFO", "STREAM", self._access.stream, entries_max=2)
        except StreamUnavailableError as error:
            if "no such key" in error.message:
                return Extent(0, 0, "0-0")
            raise
        values = dict(zip(answer[::2], answer[1::2], strict=True))
        return Extent(
            values[b"length"], values.get(b"entries-added", 0), values[b"last-generated-id"].decode()
        )

    async def add(self, fields: Sequence[bytes], maxlen: int = 0) -> str:
        """Append an entry; return its id. Only publishers do."""
        trim = ("MAXLEN", "~", maxlen) if maxlen else ()
        answer = await self.ask("XADD", self._access.stream, *trim, "*", *fields)  # type: ignore[arg-type]
        return str(answer.decode())

    async def close(self) -> None:
        """End the connection."""
        await self._connection.disconnect(nowait=True)


def _entry(raw: Any) -> Entry:
    return Entry(raw[0].decode(), raw[1] or [])


def _told(error: BaseException) -> str:
    """Say what an error of the connection is; a time-out has no words of its own."""
    return str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)


def _connection(access: Access, server: Server, parser: _Parser, *, sentinel: bool) -> AbstractConnection:
    options: dict[str, Any] = {
        "parser_class": lambda socket_read_size: parser,  # noqa: ARG005 - called as a class would be
        "protocol": 2,
        "socket_connect_timeout": access.connect_seconds_max,
        "db": 0 if sentinel else server.db,
        "socket_timeout": None,
        "driver_info": None,
    }
    password = access.password()
    if not sentinel and (password or access.username):
        options |= {"username": access.username or None, "password": password}
    if server.path:
        return UnixDomainSocketConnection(path=server.path, **options)
    options |= {"host": server.host, "port": server.port, "socket_keepalive": True}
    if not server.tls:
        return Connection(**options)
    return SSLConnection(
        ssl_ca_certs=access.ca_file or None,
        ssl_certfile=access.certificate_file or None,
        ssl_keyfile=access.key_file or None,
        ssl_min_version=ssl.TLSVersion.TLSv1_2,
        **options,
    )


async def connect(access: Access, server: Server) -> RedisStream:
    """Connect to a server, or to the one that a Sentinel names. Raises StreamUnavailableError."""
    if server.name:
        server = await _named(access, server)
    return await _opened(access, server)


async def _opened(access: Access, server: Server, *, sentinel: bool = False) -> RedisStream:
    parser = _Parser(READ_BYTES)
    try:
        connection = _connection(access, server, parser, sentinel=sentinel)
        try:
            async with asyncio.timeout(access.connect_seconds_max):
                await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
    except (RedisError, OSError, TimeoutError, EOFError) as error:
        raise StreamUnavailableError(f"{server}: {_told(error)}") from error
    return RedisStream(connection, parser, access, server)


async def _named(access: Access, sentinel: Server) -> Server:
    """Ask a Sentinel where its master is."""
    asked = await _opened(access, sentinel, sentinel=True)
    try:
        answer = await asked.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinel.name)
    finally:
        await asked.close()
    if not answer:
        raise StreamUnavailableError(f"{sentinel}: does not know {sentinel.name}")
    return Server(answer[0].decode(), int(answer[1]), sentinel.db, tls=sentinel.tls)
