"""Consumers of the feeds that the configuration says to follow."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from itertools import cycle
from pathlib import Path

from eir.config import Config
from eir.errors import ConfigError
from eir.feed.consumer import Consumer, Pace
from eir.feed.follower import Bounds
from eir.feed.servers import servers
from eir.feed.transport import Access, RedisStream, connect
from eir.metrics import FeedMetrics
from eir.server.intake import Intake
from eir.server.state import State
from eir.settings import Feed, Group

STREAM_PREFIX = "eir:feed:"


def consumers(state: State) -> dict[str, Consumer]:
    """Return a consumer for each feed that has servers. Raises ConfigError: a password cannot be read."""
    intake = Intake(state)
    return {
        name: _consumer(state, intake, name, feed)
        for name, feed in state.config.feeds.items()
        if feed.redis_urls.strip()
    }


def _consumer(state: State, intake: Intake, name: str, feed: Feed) -> Consumer:
    found = access(name, feed)
    found.password()  # now, so that a wrong configuration ends the start
    return Consumer(
        name,
        intake,
        in_turn(found),
        FeedMetrics(state.metrics, name),
        state.clock,
        bounds=bounds(state.config, feed),
        pace=Pace(
            read_messages_max=feed.redis_read_messages_max,
            backoff_seconds_max=feed.redis_backoff_seconds_max,
            silence_seconds_max=feed.redis_silence_seconds_max if len(found.servers) > 1 else 0,
        ),
    )


def bounds(config: Config, feed: Feed) -> Bounds:
    """Return what a transfer may hold."""
    limits = config.limits
    return Bounds(limits.chunk_bytes_max, limits.delta_bytes_max, feed.redis_transfers_max)


def access(name: str, feed: Feed) -> Access:
    """Return how the servers of a feed are reached."""
    return reached(feed, feed.redis_stream or STREAM_PREFIX + name)


def reached(says: Feed | Group, stream: str) -> Access:
    """Return how servers are reached, as a section of the configuration says it."""
    return Access(
        servers(says.redis_urls),
        stream,
        says.redis_username,
        lambda: password(says.redis_password_file, says.redis_password_variable),
        says.redis_ca_file,
        says.redis_certificate_file,
        says.redis_key_file,
        says.redis_connect_seconds_max,
        says.redis_answer_seconds_max,
    )


def password(file: str, variable: str, where: str = "redis_") -> str:
    """Read a password, anew for each connection: it may be changed. Raises ConfigError.

    `where` is what its settings' names begin with.
    """
    try:
        if file:
            return Path(file).read_text("utf-8").rstrip("\r\n")
        return os.environ[variable] if variable else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}password_file {file}: {error}") from None
    except KeyError:
        raise ConfigError(f"{where}password_variable: {variable} is not set") from None


def in_turn(found: Access) -> Callable[[], Awaitable[RedisStream]]:
    """Return what connects, to the next server each time."""
    turn = cycle(found.servers)
    return lambda: connect(found, next(turn))
