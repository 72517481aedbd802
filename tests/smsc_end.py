"""An SMSC in a thread of the tests, on the library's server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import smpp34
from running import SECONDS_MAX
from unit.test_link import Smsc


class SmscEnd:
    """Takes what a daemon submits; `answer` says what becomes of a submission, as `Smsc.answer`."""

    def __init__(self) -> None:
        self.smsc = Smsc()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._started, self._ended = threading.Event(), asyncio.Event()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        await self.smsc.server.start()
        self._started.set()
        taking = asyncio.create_task(self.smsc.run())
        await self._ended.wait()
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        await self.smsc.server.stop()

    def start(self) -> None:
        self._thread.start()
        assert self._started.wait(SECONDS_MAX)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(SECONDS_MAX)
        self._loop.close()

    @property
    def port(self) -> int:
        return self.smsc.port

    @property
    def taken(self) -> list[smpp34.SubmitSmEvent]:
        return self.smsc.taken

    def deliver(self, text: bytes, esm_class: int = 4, sessions: int | None = None) -> None:
        """Send a receipt, or a short message, to every session, or to some."""

        async def send() -> None:
            for esme in list(self.smsc.sessions.values())[:sessions]:
                await esme.deliver_sm("EIR", text, source_addr="989120000001", esm_class=esm_class)

        asyncio.run_coroutine_threadsafe(send(), self._loop).result(SECONDS_MAX)

    def text(self, first: int = 0) -> str:
        """What phones show of the parts from one on, in the order of their numbers."""
        parts = sorted(event.short_message for event in self.taken[first:])
        return b"".join(part[6:] if part[:2] == b"\x05\x00" else part for part in parts).decode("latin-1")


@contextmanager
def smsc_end() -> Iterator[SmscEnd]:
    """An SMSC that is stopped at the end."""
    end = SmscEnd()
    end.start()
    try:
        yield end
    finally:
        end.stop()
