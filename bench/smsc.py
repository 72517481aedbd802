"""An SMSC that takes everything, in a process of its own; its port is the first line that it prints."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator

import smpp34

from bench.daemon import free_ports


async def serve(port: int) -> None:
    """Take every submission."""
    server = smpp34.Server("127.0.0.1", port, system_id="smsc")
    await server.start()
    print(port, flush=True)
    number = 0
    while True:
        event = await server.next()
        if isinstance(event, smpp34.SubmitSmEvent):
            number += 1
            event.accept(f"{number:08X}")


@contextlib.contextmanager
def running() -> Iterator[int]:
    """Run it; gives its port."""
    process = subprocess.Popen([sys.executable, "-m", "bench.smsc"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    asyncio.run(serve(free_ports(1)[0]))
