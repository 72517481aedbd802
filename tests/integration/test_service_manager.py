"""A daemon that a service manager started: told when it is ready, reloads, stops, and that it lives."""

import signal
import socket
import time
from pathlib import Path

import pytest

from eir.policy import default_policy_text
from tests.running import SECONDS_MAX, running

KEY = "35693803564380"


def until(end: socket.socket, wanted: str) -> list[str]:
    """The next message that says something, signs of life left out."""
    limit = time.monotonic() + SECONDS_MAX
    while time.monotonic() < limit:
        said = end.recv(4096).decode().split("\n")
        if said != ["WATCHDOG=1"]:
            assert wanted in said, said
            return said
    raise AssertionError(f"{wanted} was never said")


def test_each_step_of_its_life_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(default_policy_text())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", end.getsockname())
        monkeypatch.setenv("WATCHDOG_USEC", "300000")
        with running(tmp_path / "data", policy=policy) as daemon:
            assert until(end, "READY=1")[1] == "STATUS=portable engine, policy default"
            assert daemon.check(KEY).status
            policy.write_text("name = ")
            daemon.signal(signal.SIGHUP)
            until(end, "RELOADING=1")
            assert until(end, "READY=1")[1].endswith("a policy was refused, the old one stays")
            policy.write_text(default_policy_text())
            daemon.signal(signal.SIGHUP)
            until(end, "RELOADING=1")
            assert until(end, "READY=1")[1] == "STATUS=portable engine, policy default"
            assert end.recv(4096) == b"WATCHDOG=1"
            daemon.signal()
            until(end, "STOPPING=1")
            assert daemon.wait() == 0
