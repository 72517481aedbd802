"""Logging: structured, on stderr, without identities.

Modules log by `structlog.get_logger()`; the daemon sets up where it goes, and so do
commands that open a store.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from eir.identity import mask

IDENTITY = re.compile(
    r"(?P<file>\b(?:common|shard-[0-9]{8}|overlay)-[0-9]{12}-[0-9]{6}\b)"
    r"|(?<![0-9A-Za-z])\+?[0-9]{10,}(?![0-9A-Za-z])"
)
"""What looks like an IMEI, IMSI or MSISDN: ten digits or more standing alone,
so not a hash. The names of segment files look so too, and are let through:
people need them. So do times in epoch seconds: log those as seconds ago."""


def mask_identities(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Mask what looks like an identity, in every value: the safety net."""
    return {key: _masked(value) for key, value in event.items()}


def _masked(value: Any) -> Any:
    """Mask the identities in a value."""
    if isinstance(value, str):
        return IDENTITY.sub(lambda found: found["file"] or mask(found[0]), value)
    if isinstance(value, bytes):
        return _masked(value.decode("utf-8", "backslashreplace"))
    if isinstance(value, dict):
        return {_masked(key): _masked(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_masked(inner) for inner in value]
    if value is None or isinstance(value, (bool, float)):
        return value
    text = str(value)
    return value if isinstance(value, int) and len(text) < 10 else _masked(text)


def setup(form: str, level: str, stream: TextIO | None = None) -> None:
    """Log to a stream, stderr by default, as `json`, `console`, or `auto`: console on a terminal."""
    out = sys.stderr if stream is None else stream
    console = form == "console" or (form == "auto" and out.isatty())
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=out.isatty()) if console else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            # Tracebacks become text before they are masked: a message may quote what was sent.
            structlog.processors.format_exc_info,
            mask_identities,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Lossy(out))),
        cache_logger_on_first_use=stream is None,
    )
    # What libraries log (grpc, asyncio) goes the same way.
    logging.basicConfig(level=logging.WARNING, handlers=[_Forward()], force=True)


def to_stderr() -> None:
    """Let a command log to stderr, unless something is set up: what it prints stays data."""
    if not structlog.is_configured():
        structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


class _Lossy:
    """A stream that loses what it cannot write, and says how much once it can: work goes on without its log.

    The line at which it fails may still come later: it may be in a buffer.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lost = 0

    def write(self, line: str) -> None:
        try:
            if self._lost:
                # Of what came before: until it succeeds nothing more is put into the buffer.
                self._out.flush()
                told = {"event": "log lines were lost or late", "lines": self._lost}
                self._lost = 0
                line = json.dumps(told) + "\n" + line
            self._out.write(line)
            self._out.flush()
        except (OSError, ValueError):
            self._lost += 1

    def flush(self) -> None:
        """Nothing: each line is flushed as it is written."""


class _Forward(logging.Handler):
    """Hands records of the standard library's logging to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info
        )
