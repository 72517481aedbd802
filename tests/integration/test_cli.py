"""The commands of a first day: a demo, a daemon on it, checks, a delta, the override, a look at the files."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from eir.demo import FILE
from tests.running import Daemon, running

ROOT = Path(__file__).parents[2]
REGISTERED = 20_000


class Ended(NamedTuple):
    """A command that has run."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def eir(*words: object, stdin: str = "", folder: Path = ROOT, **environment: str) -> Ended:
    """Run the `eir` command as a process."""
    done = subprocess.run(
        [sys.executable, "-m", "eir", *map(str, words)],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        check=False,
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "data"
    made = eir("demo", "--data-dir", folder, "--registered", REGISTERED, "--seed", 7)
    assert made.code == 0, made.err
    assert f"demo made: {REGISTERED:,} registered IMEIs, seed 7" in made.out
    return folder


@pytest.fixture(scope="module")
def daemon(data_dir: Path) -> Iterator[Daemon]:
    with running(data_dir) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def environment(daemon: Daemon, data_dir: Path) -> dict[str, str]:
    return {
        "EIR_CHECK_LISTEN": daemon.ready_line["check"],
        "EIR_MANAGE_LISTEN": daemon.ready_line["manage"],
        "EIR_DATA_DIR": str(data_dir),
    }


def test_the_day(data_dir: Path, environment: dict[str, str]) -> None:
    demo = json.loads((data_dir / FILE).read_text())
    owner, other, stolen, unregistered, idle = [(e["imei"], e["imsi"]) for e in demo["examples"]]

    def verdict(imei: str, imsi: str, *options: str) -> tuple[int, str]:
        ended = eir("check", imei, imsi, "--json", *options, **environment)
        return ended.code, ended.json["reason"]

    assert verdict(*owner) == (0, "OWNER")
    assert verdict(*other) == (0, "OWNED_BY_OTHER")
    assert verdict(*stolen) == (3, "BLOCKED_STOLEN")
    assert verdict(*unregistered) == (0, "NOT_REGISTERED")
    assert verdict(*idle) == (0, "NEVER_ACTIVATED")
    assert verdict(*stolen, "--emergency") == (0, "EMERGENCY")

    before = eir("status", "--json", **environment).json
    assert before["tables"]["registered"]["rows"] == REGISTERED
    trial = eir("delta", "push", "-", "--dry-run", "--json", stdin=demo["delta"], **environment)
    assert trial.code == 0, trial.err
    assert verdict(*idle) == (0, "NEVER_ACTIVATED")
    pushed = eir("delta", "push", "-", "--json", stdin=demo["delta"], **environment)
    assert pushed.json["effects"] == trial.json["effects"]
    assert pushed.json["serial"] == before["serial"] + 1
    assert verdict(*idle) == (0, "OWNER")

    again = eir("delta", "push", "-", stdin=demo["delta"], **environment)
    assert again.code == 3
    assert "line 1: " in again.err
    assert "ALREADY_THERE" in again.err
    repeat = eir("delta", "push", "-", "--sequence", 1, stdin=demo["delta"], **environment)
    assert repeat.code == 0
    assert "applied before, nothing changed" in repeat.out

    assert eir("enforcement", "set", "allow-all", "--who", "me", "--why", "test", **environment).code == 0
    assert verdict(*stolen) == (0, "OVERRIDE")
    assert eir("enforcement", "set", "policy", "--who", "me", "--why", "over", **environment).code == 0
    assert verdict(*stolen) == (3, "BLOCKED_STOLEN")
    assert "over" in eir("journal", "audit", **environment).out

    assert [row["feed"] for row in eir("journal", "show", "--json", **environment).json] == ["manual"]
    assert eir("journal", "verify", **environment).code == 0
    assert eir("segments", "rebuild", "--json", **environment).json["serial"] == pushed.json["serial"]
    assert eir("segments", "verify", **environment).code == 0
    states = {row["state"] for row in eir("segments", "show", "--json", **environment).json}
    assert states == {"current", "previous"}
    assert verdict(*idle) == (0, "OWNER")


def test_a_second_demo_reuses_the_first(data_dir: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (data_dir / FILE, *data_dir.rglob("*.seg"))}
    again = eir("demo", "--data-dir", data_dir, "--registered", REGISTERED, "--seed", 7)
    assert again.code == 0
    assert "demo reused" in again.out
    assert {path: path.stat().st_mtime_ns for path in (data_dir / FILE, *data_dir.rglob("*.seg"))} == before


def test_other_sizes_need_another_directory(data_dir: Path) -> None:
    again = eir("demo", "--data-dir", data_dir, "--registered", 50_000)
    assert again.code == 0
    assert "another directory" in again.err
    assert f"{REGISTERED:,}" in again.out


def test_a_large_file_of_rows_is_pushed_whole(environment: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = 30_000
    path.write_text(
        "".join(f'{{"kind":"REGISTER","imei":"{99_000_000_000_001 + row}"}}\n' for row in range(rows))
    )
    pushed = eir("delta", "push", path, "--feed", "import", "--json", **environment)
    assert pushed.code == 0, pushed.err
    assert pushed.json["effects"]["registered"]["added"] == rows


def test_a_registry_that_is_no_demo_is_left_alone(tmp_path: Path) -> None:
    with running(tmp_path / "data") as daemon:
        row = '{"kind": "REGISTER", "imei": "35693803564380"}'
        assert eir("delta", "push", "-", "--address", daemon.ready_line["manage"], stdin=row).code == 0
        before = eir("status", "--json", "--address", daemon.ready_line["manage"]).json
        ended = eir("demo", "--data-dir", daemon.data_dir)
        assert ended.code == 0
        assert "not a demo" in ended.err
        assert eir("status", "--json", "--address", daemon.ready_line["manage"]).json == before


def test_version_and_help() -> None:
    assert eir("--version").out.startswith("eir ")
    for words in ((), ("serve",), ("check",), ("delta", "push"), ("journal",)):
        ended = eir(*words, "--help")
        assert ended.code == 0
        assert ended.out.startswith("Usage: eir")


def test_a_command_that_is_none_is_a_usage_error() -> None:
    assert eir("fly").code == 2
