"""What daemons of a group have in common on Redis: a stream of lines, claims with leases, who is there.

    lines ──XADD──► PREFIX:lines ──XREAD──► lines, in one order for all
    claim ──script──► PREFIX:claim:…  (who, until when by the server's clock) ──► granted, or not
    announce ──script──► PREFIX:members ──► who is there

Each step is one command, so that nobody sees half of it. A claim outlives its
lease for a while: whoever takes it over knows that somebody died over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple, Protocol

from eir.feed.transport import RedisStream

LINE: Final = b"line"
"""Name of the one field of an entry."""
REMEMBERED_SECONDS: Final = 86_400
"""How long a claim is remembered that ran out and was not taken over."""
HOUR_SECONDS: Final = 7_200
"""How long a count of an hour is kept."""

CLAIM: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local me, lease, remembered, most, hour = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5]
local last, count, answer = KEYS[1], KEYS[2], {}
for i = 3, #KEYS do
  local held = redis.call('GET', KEYS[i])
  local who, till = nil, 0
  if held then who, till = held:match('^(%S+) (%d+)$') end
  local got = 1
  if who and who ~= me then
    if tonumber(till) > now then got = 0 else got = 2 end
  end
  if got > 0 and most > 0 and who ~= me then
    if tonumber(redis.call('GET', count) or 0) >= most then
      got = 0
    else
      redis.call('INCR', count)
      redis.call('EXPIRE', count, hour)
    end
  end
  local claimed = me .. ' ' .. string.format('%.0f', now + lease)
  if got > 0 then redis.call('SET', KEYS[i], claimed, 'EX', remembered) end
  answer[i - 2] = got
end
local newest = redis.call('XREVRANGE', last, '+', '-', 'COUNT', 1)
return {answer, newest[1] and newest[1][1] or '0-0'}
"""
RELEASE: Final = """
local gone = 0
for i = 1, #KEYS do
  local held = redis.call('GET', KEYS[i])
  if held and held:match('^(%S+)') == ARGV[1] then gone = gone + redis.call('DEL', KEYS[i]) end
end
return gone
"""
ANNOUNCE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local before = redis.call('HGET', KEYS[1], ARGV[1])
local known = before and tonumber(before:match('^(%d+)') or 0) > now and 1 or 0
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now + ARGV[2]) .. ' ' .. ARGV[3])
local all, answer = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  local till, text = all[i + 1]:match('^(%d+) (.*)$')
  if till and tonumber(till) > now then
    answer[#answer + 1] = all[i]
    answer[#answer + 1] = text
  else
    redis.call('HDEL', KEYS[1], all[i])
  end
end
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
return {known, answer, newest[1] and newest[1][1] or '0-0'}
"""
LEAVE: Final = "return redis.call('HDEL', KEYS[1], ARGV[1])"


class Got(IntEnum):
    """What became of a claim."""

    DENIED = 0
    GRANTED = 1
    TAKEN_OVER = 2
    """Somebody had it, and let it run out."""


class Claimed(NamedTuple):
    """What became of claims, and the last entry of the stream at that moment: who let go told before it."""

    got: list[Got]
    last_id: str


class Present(NamedTuple):
    """Who is there, with what each says of itself; whether we were, up to now; the stream's last entry."""

    known: bool
    members: dict[str, str]
    last_id: str


class PerHour(NamedTuple):
    """So many in an hour, by all together; `hour` counts from the Unix epoch."""

    most: int
    hour: int


class Board(Protocol):
    """A connection to what a group has in common; several tasks may use it. Raises StreamUnavailableError."""

    async def read(self, after: str, count: int, block_seconds: float) -> list[tuple[str, bytes]]:
        """Return lines after an id, at most `count`; waits for the first."""

    async def add(self, line: bytes) -> None:
        """Append a line."""

    async def claim(
        self, claims: Sequence[str], me: str, lease_seconds: float, per_hour: PerHour | None = None
    ) -> Claimed:
        """Claim things for a while, or for a while longer."""

    async def release(self, claims: Sequence[str], me: str) -> None:
        """Let go of claims."""

    async def announce(self, me: str, text: str, lease_seconds: float) -> Present:
        """Say that we are there for a while."""

    async def leave(self, me: str) -> None:
        """Say that we are not there any more."""

    async def close(self) -> None:
        """End the connection."""


class RedisBoard:
    """A group's keys on one server, over one connection."""

    def __init__(self, stream: RedisStream, prefix: str, entries_max: int) -> None:
        """Take a connection whose stream is `PREFIX:lines`."""
        self._stream, self._prefix, self._entries_max = stream, prefix, entries_max

    @property
    def server(self) -> str:
        """The server that this is."""
        return str(self._stream.server)

    async def read(self, after: str, count: int, block_seconds: float) -> list[tuple[str, bytes]]:
        """Return lines after an id; an entry that is no line is an empty one."""
        entries = await self._stream.read(after, count, block_seconds)
        return [(entry.id, _line(entry.fields)) for entry in entries]

    async def add(self, line: bytes) -> None:
        """Append a line; the stream is trimmed to about its greatest length."""
        await self._stream.add([LINE, line], self._entries_max)

    async def claim(
        self, claims: Sequence[str], me: str, lease_seconds: float, per_hour: PerHour | None = None
    ) -> Claimed:
        """Claim things for a while, by the server's clock."""
        most, hour = per_hour or PerHour(0, 0)
        keys = [self._lines, f"{self._prefix}:hour:{hour}", *map(self._claim, claims)]
        words = (me, int(lease_seconds * 1000), REMEMBERED_SECONDS, most, HOUR_SECONDS)
        got, last_id = await self._run(CLAIM, keys, words)
        return Claimed([Got(one) for one in got], last_id.decode())

    async def release(self, claims: Sequence[str], me: str) -> None:
        """Let go of claims that are ours."""
        if claims:
            await self._run(RELEASE, [self._claim(one) for one in claims], (me,))

    async def announce(self, me: str, text: str, lease_seconds: float) -> Present:
        """Say that we are there for a while, by the server's clock."""
        keys = [f"{self._prefix}:members", self._lines]
        known, found, last_id = await self._run(ANNOUNCE, keys, (me, int(lease_seconds * 1000), text))
        words = [word.decode() for word in found]
        return Present(bool(known), dict(zip(words[::2], words[1::2], strict=True)), last_id.decode())

    async def leave(self, me: str) -> None:
        """Say that we are not there any more."""
        await self._run(LEAVE, [f"{self._prefix}:members"], (me,))

    async def close(self) -> None:
        """End the connection."""
        await self._stream.close()

    @property
    def _lines(self) -> str:
        return f"{self._prefix}:lines"

    def _claim(self, claim: str) -> str:
        return f"{self._prefix}:claim:{claim}"

    async def _run(self, script: str, keys: Sequence[str], words: Sequence[str | int]) -> Any:
        return await self._stream.ask("EVAL", script, len(keys), *keys, *words)


def _line(fields: Sequence[bytes]) -> bytes:
    return fields[1] if len(fields) == 2 and fields[0] == LINE else b""
