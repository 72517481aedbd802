"""A real redis-server of a test's own, on a port of its own."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

STARTED_SECONDS_MAX = 10


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """redis-server in a process: started, killed, paused; nothing is kept on disk."""

    def __init__(self, folder: Path, *options: str, port: int = 0, mode: str = "") -> None:
        self.program = shutil.which("redis-server")
        assert self.program, "redis-server is needed: make peers installs it"
        self.folder, self.options, self.mode = folder, options, mode
        self.port = port or free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        words = [str(self.program)]
        if self.mode:
            words.append(str(self.folder / f"{self.mode}.conf"))
        words += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        words += ["--appendonly", "no", "--loglevel", "warning", *self.options]
        words += [f"--{self.mode}"] if self.mode else []
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + STARTED_SECONDS_MAX
        while True:
            with contextlib.suppress(redis.BusyLoadingError, redis.ConnectionError):
                with contextlib.suppress(redis.AuthenticationError):
                    self.client().ping()
                return
            assert self.process.poll() is None, "redis-server ended"
            assert time.monotonic() < end, "redis-server does not answer"
            time.sleep(0.02)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options: Any) -> redis.Redis:
        """A client; replies are bytes."""
        return redis.Redis("127.0.0.1", self.port, socket_timeout=10, protocol=2, **options)

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once; everything in it is gone."""
        assert self.process
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait(10)


@contextlib.contextmanager
def redis_running(folder: Path, *options: str, **more: Any) -> Iterator[RedisServer]:
    """A server that is ended at the end."""
    server = RedisServer(folder, *options, **more)
    try:
        yield server
    finally:
        server.kill()
