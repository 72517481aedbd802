"""deploy/backup.sh: a copy made while the daemon works is whole, and a daemon starts on it."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.running import Daemon, operation, running, wait_for

SCRIPT = Path(__file__).parents[2] / "deploy" / "backup.sh"
CONFIG = '[notices]\nenabled = true\ncode = "*7777#"\nhelpline = "1"\n'
OWNER = "432110000000001"


def imei(number: int) -> str:
    return f"35693803{number:06d}"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment that has `eir` and `sqlite3`."""
    assert shutil.which("sqlite3"), "sqlite3 is needed: make peers installs it"
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "eir"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m eir "$@"\n')
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def backup(data: Path, copy: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    words = [str(SCRIPT), str(data), str(copy)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)


def push_on(daemon: Daemon, stop: threading.Event, pushed: list[int]) -> None:
    """Register one phone after another."""
    while not stop.is_set():
        daemon.push(operation("REGISTER", imei(1000 + len(pushed))))
        pushed.append(1)


def test_a_copy_of_a_working_daemon_is_whole_and_serves(tmp_path: Path, environment: dict[str, str]) -> None:
    data, copy, config = tmp_path / "data", tmp_path / "copy", tmp_path / "eir.toml"
    config.write_text(CONFIG)
    with running(data, config=config) as daemon:
        daemon.push(*(operation("REGISTER", imei(number)) for number in range(100)))
        daemon.push(operation("PAIR", imei(1), imsi=OWNER, role="OWNER"))
        daemon.check(imei(2), OWNER)
        wait_for(lambda: daemon.metric('eir_cases{cause="never_activated",state="open"}'), "the case opens")
        stop, pushed = threading.Event(), list[int]()
        pushing = threading.Thread(target=push_on, args=(daemon, stop, pushed))
        pushing.start()
        wait_for(lambda: pushed, "a push beside which the copy is made")
        ended = backup(data, copy, environment)
        stop.set()
        pushing.join()
        assert ended.returncode == 0, ended.stderr
        # Without its folder's modes a copy would be readable by others.
        assert not copy.stat().st_mode & 0o007
        before = daemon.check(imei(1), OWNER)
        serial = int(daemon.metric("eir_serial"))
    with running(copy, config=config) as daemon:
        assert 2 < daemon.ready_line["serial"] <= serial
        restored = daemon.check(imei(1), OWNER)
        assert (restored.status, restored.reason) == (before.status, before.reason)
        assert daemon.metric('eir_cases{cause="never_activated",state="open"}') == 1
        assert daemon.push(operation("REGISTER", "35693803900000")).serial > 2


def test_a_copy_that_lacks_a_file_is_not_taken_for_one(tmp_path: Path, environment: dict[str, str]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    subprocess.run(["sqlite3", data / "registry.db", "CREATE TABLE meta (name)"], check=True)
    ended = backup(data, tmp_path / "copy", environment)
    assert ended.returncode == 1
    assert ended.stderr.count("is not whole") == 3
    assert not (tmp_path / "copy").exists()
