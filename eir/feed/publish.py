"""The other end of a stream: what a registry does, and `eir feed publish`.

    payloads ──messages──► begin, chunks, commit ──XADD──► stream
    stream ──standing──► the sequence to build on

Where publishing breaks off, the same delta is published again from its begin,
under another name of transfer: what is not committed counts for nothing, what
is there twice is a repeat.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from eir.errors import FeedMessageError
from eir.feed.follower import Entry
from eir.feed.message import Begin, Chunk, Commit, Heartbeat, Message, decode
from eir.feed.transport import RedisStream

BACK_MESSAGES_MAX: Final = 4096
"""How far back from a stream's end its last sequence is looked for."""
BACK_AT_A_TIME: Final = 4


class Standing(NamedTuple):
    """Where a stream's feed stands: sequence 0 and no hash where nothing says so."""

    sequence: int = 0
    content_sha256: bytes = b""
    complete_until: int = 0


def new_transfer() -> str:
    """Return a name that no other transfer has."""
    return secrets.token_hex(8)


def messages(begin: Begin, payloads: Iterable[bytes]) -> Iterator[Message]:
    """Iterate over the messages of one delta."""
    yield begin
    digest, count = hashlib.sha256(), 0
    for payload in payloads:
        digest.update(payload)
        yield Chunk(begin.feed, begin.sequence, begin.transfer, count, payload)
        count += 1
    yield Commit(begin.feed, begin.sequence, begin.transfer, count, digest.digest())


async def standing(stream: RedisStream, feed: str) -> Standing:
    """Find what the stream's newest commit and heartbeat say. Raises StreamUnavailableError."""
    found, end = Standing(), "+"
    for _ in range(BACK_MESSAGES_MAX // BACK_AT_A_TIME):
        entries = await stream.before(end, BACK_AT_A_TIME)
        for entry in entries:
            message = _message(entry, feed)
            if isinstance(message, Heartbeat):
                found = replaced(found, message)
            elif isinstance(message, Commit):
                same = message.sequence >= found.sequence
                hash_of = message.content_sha256 if same else b""
                return Standing(max(message.sequence, found.sequence), hash_of, found.complete_until)
        if len(entries) < BACK_AT_A_TIME:
            break
        end = entries[-1].id
    return found


def replaced(found: Standing, heartbeat: Heartbeat) -> Standing:
    """Take in an earlier heartbeat: the newest one counts."""
    return Standing(
        max(found.sequence, heartbeat.sequence),
        found.content_sha256,
        found.complete_until or heartbeat.complete_until,
    )


def _message(entry: Entry, feed: str) -> Message | None:
    try:
        return decode(entry.fields, feed)
    except FeedMessageError:
        return None


def next_begin(feed: str, row_count: int, base: Standing, sequence: int = 0, **header: object) -> Begin:
    """Return the begin of the delta that builds on `base`."""
    begin = Begin(
        feed,
        sequence or base.sequence + 1,
        new_transfer(),
        base.sequence,
        row_count,
        base_sha256=base.content_sha256,
    )
    return replace(begin, **header)  # type: ignore[arg-type]  # fields of a begin
