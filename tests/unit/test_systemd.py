"""What the service manager is told: by datagrams to a socket as the manager has it."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from eir.systemd import ServiceManager

PID = 7


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The manager's end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.settimeout(5)
        yield end


def told(end: socket.socket) -> list[str]:
    return end.recv(4096).decode().split("\n")


def test_each_step_is_told_in_the_words_of_the_protocol(manager: socket.socket) -> None:
    one = ServiceManager({"NOTIFY_SOCKET": manager.getsockname()}, PID)
    one.ready("serving")
    assert told(manager) == ["READY=1", "STATUS=serving"]
    one.reloading(12.5)
    assert told(manager) == ["RELOADING=1", "MONOTONIC_USEC=12500000"]
    one.stopping("draining")
    assert told(manager) == ["STOPPING=1", "STATUS=draining"]


def test_a_name_in_the_abstract_namespace_is_one() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind("")  # the kernel chooses a free abstract name
        end.settimeout(5)
        name = end.getsockname()
        ServiceManager({"NOTIFY_SOCKET": f"@{name[1:].decode()}"}, PID).ready("serving")
        assert told(end)[0] == "READY=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_without_a_manager_who_listens_the_daemon_goes_on(environ: dict[str, str]) -> None:
    ServiceManager(environ, PID).ready("serving")


def test_a_manager_that_does_not_read_is_not_waited_for(manager: socket.socket) -> None:
    one = ServiceManager({"NOTIFY_SOCKET": manager.getsockname()}, PID)
    for _ in range(2_000):
        one.ready("x" * 1_000)
    assert told(manager)[0] == "READY=1"


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 60),
        ({"WATCHDOG_USEC": "60000000"}, 60),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, 0),
        ({"WATCHDOG_USEC": "soon"}, 0),
        ({}, 0),
    ],
)
def test_the_watchdog_is_of_the_process_it_names(environ: dict[str, str], seconds: float) -> None:
    assert ServiceManager({"NOTIFY_SOCKET": "/x", **environ}, PID).watchdog_seconds == seconds
    assert ServiceManager(environ, PID).watchdog_seconds == 0


def test_signs_of_life_come_several_times_within_the_limit(manager: socket.socket) -> None:
    wanted = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "90000"}

    async def live() -> None:
        one = asyncio.create_task(ServiceManager(wanted, PID).stay_alive())
        await asyncio.sleep(0.3)
        one.cancel()

    asyncio.run(live())
    for _ in range(4):
        assert told(manager) == ["WATCHDOG=1"]


def test_who_is_not_watched_gives_no_signs(manager: socket.socket) -> None:
    asyncio.run(ServiceManager({"NOTIFY_SOCKET": manager.getsockname()}, PID).stay_alive())
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(1)
