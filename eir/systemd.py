"""What the service manager is told: sd_notify(3) and sd_watchdog_enabled(3), without their library.

    ready, reloading, stopping, signs of life ──datagram──► $NOTIFY_SOCKET

Where the variable is not set nothing is told. Nothing here ever waits: a manager
that does not read misses a message, and the daemon goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from typing import Final

SIGNS_PER_LIMIT: Final = 3
"""Signs of life in the time after which a silent daemon is ended."""


class ServiceManager:
    """The service manager that started this process, where one did."""

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        """Find out whether it wants to be told, and how often."""
        name = environ.get("NOTIFY_SOCKET", "")
        # A name that begins with @ is in the abstract namespace.
        self._address = f"\0{name[1:]}" if name.startswith("@") else name
        self.watchdog_seconds = _watchdog_seconds(environ, pid) if name else 0.0
        """A daemon that is silent for longer is ended; 0: it may be silent."""

    def ready(self, status: str) -> None:
        """Tell that the daemon takes checks, or that a reload has ended."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self, monotonic_seconds: float) -> None:
        """Tell that a reload has begun; `ready` ends it."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={int(monotonic_seconds * 1e6)}")

    def stopping(self, status: str) -> None:
        """Tell that the daemon is on its way out."""
        self._tell("STOPPING=1", f"STATUS={status}")

    async def stay_alive(self) -> None:
        """Give signs of life for as long as the event loop turns, where they are wanted."""
        while self.watchdog_seconds:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_seconds / SIGNS_PER_LIMIT)

    def _tell(self, *assignments: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.sendto("\n".join(assignments).encode(), self._address)


def _watchdog_seconds(environ: Mapping[str, str], pid: int) -> float:
    """Return WATCHDOG_USEC in seconds, where it is meant for this process."""
    limit = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid) or not (limit.isascii() and limit.isdigit()):
        return 0.0
    return int(limit) / 1e6
