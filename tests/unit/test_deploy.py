"""What lies in deploy/: unit, configurations, container, each read by the tool that will read it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from monitoring import DEPLOY

from eir.cli import main
from eir.config import load
from eir.errors import EngineUnavailableError, StateDamagedError
from eir.policy import default_policy_text
from eir.server.priority import CHECK_NICE_LESS, CHECK_REALTIME
from eir.settings import Limits, Notices

UNIT = DEPLOY / "systemd" / "eir.service"
EXPOSURE_MAX = 15
"""Tenths, of systemd-analyze security; below 20 it says OK."""
CONFIGS = sorted((DEPLOY / "config").glob("*.toml"))
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "container" / "compose.yaml").read_text())


def directives() -> dict[str, list[str]]:
    """Settings of the unit, in all sections."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is needed: make peers installs systemd"
    return subprocess.run([program, *map(str, words)], capture_output=True, text=True, timeout=60)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a command that is there: what it names lies where an installation puts it."""
    path = tmp_path / "eir.service"
    path.write_text(UNIT.read_text().replace("/opt/eir/current/bin/eir", sys.executable))
    return path


def test_systemd_reads_the_unit_and_has_nothing_to_say(unit: Path) -> None:
    ended = analyze("verify", "--man=no", unit)
    assert (ended.returncode, [line for line in ended.stderr.splitlines() if "eir" in line]) == (0, [])


def test_the_unit_is_hardened(unit: Path) -> None:
    ended = analyze("security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_MAX}", unit)
    assert ended.returncode == 0, ended.stdout


def test_systemd_waits_for_longer_than_the_daemon_drains() -> None:
    (seconds,) = directives()["TimeoutStopSec"]
    limits = Limits()
    drains = limits.drain_notice_seconds + limits.drain_seconds_max + Notices().drain_seconds_max
    assert int(seconds) >= 2 * drains
    grace = COMPOSE["services"]["eir"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) >= 2 * drains


def test_the_watchdog_has_more_patience_than_livez_and_files_are_enough() -> None:
    limits = Limits()
    assert int(directives()["WatchdogSec"][0]) >= 2 * limits.loop_stall_seconds_max
    files = int(directives()["LimitNOFILE"][0])
    assert files >= 4 * limits.check_connections_max
    assert COMPOSE["services"]["eir"]["ulimits"]["nofile"] == files


def test_threads_of_checks_may_come_first() -> None:
    found = directives()
    assert found["LimitRTPRIO"] == [f"{CHECK_REALTIME}"]
    assert "RestrictRealtime" not in found
    assert COMPOSE["services"]["eir"]["ulimits"]["rtprio"] == CHECK_REALTIME
    assert found["LimitNICE"] == [f"{-CHECK_NICE_LESS}"]
    assert COMPOSE["services"]["eir"]["ulimits"]["nice"] == 20 + CHECK_NICE_LESS


def test_what_does_not_mend_itself_is_not_tried_again() -> None:
    codes = {int(code) for code in directives()["RestartPreventExitStatus"][0].split()}
    assert codes == {EngineUnavailableError.exit_code, StateDamagedError.exit_code}


def test_identities_stay_out_of_core_files_and_off_swap_and_a_rebuild_may_die_alone() -> None:
    found = directives()
    assert found["LimitCORE"] == ["0"]
    assert found["MemorySwapMax"] == ["0"]
    assert found["OOMPolicy"] == ["continue"]
    assert COMPOSE["services"]["eir"]["ulimits"]["core"] == 0


def test_the_user_of_the_unit_is_the_one_that_is_made(tmp_path: Path) -> None:
    (name,) = re.findall(r"^u (\w+) ", (DEPLOY / "systemd" / "eir.sysusers").read_text(), re.MULTILINE)
    assert directives()["User"] == directives()["Group"] == [name]
    program = shutil.which("systemd-sysusers")
    assert program, "systemd-sysusers is needed: make peers installs systemd"
    words = [program, "--dry-run", f"--root={tmp_path}", str(DEPLOY / "systemd" / "eir.sysusers")]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 0, ended.stderr


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """What an installation has in /etc/eir."""
    for name in ("redis.password", "smsc.password"):
        (tmp_path / name).write_text("secret\n")
    (tmp_path / "policy.toml").write_text(default_policy_text())
    return tmp_path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configurations_are_in_order(etc: Path, path: Path) -> None:
    placed = etc / "eir.toml"
    placed.write_text(path.read_text().replace("/etc/eir/", f"{etc}/"))
    ended = CliRunner().invoke(main, ["config", "check", str(placed)])
    assert ended.exit_code == 0, ended.output
    settings = load(placed)
    assert settings.notices.enabled
    assert settings.feeds["hamta"].stale_after_seconds


def test_a_branch_names_the_management_listener_of_the_owner() -> None:
    owner, branch = (load(DEPLOY / "config" / f"{name}.toml") for name in ("owner", "branch"))
    assert branch.notices.owner == owner.manage_listen
    group = load(DEPLOY / "config" / "group.toml")
    assert group.group.address == group.manage_listen


def test_the_configuration_of_the_container_is_in_order_and_listens_where_the_image_says() -> None:
    settings = load(DEPLOY / "container" / "eir.toml")
    dockerfile = (DEPLOY / "container" / "Dockerfile").read_text()
    (exposed,) = re.findall(r"^EXPOSE (.+)$", dockerfile, re.MULTILINE)
    listens = [getattr(settings, f"{name}_listen") for name in ("check", "manage", "http")]
    assert listens == [f"0.0.0.0:{port}" for port in exposed.split()]
    published = COMPOSE["services"]["eir"]["ports"]
    assert published == [f"127.0.0.1:{port}:{port}" for port in exposed.split()]


def test_all_that_compose_mounts_is_there_and_it_publishes_on_loopback_alone() -> None:
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (DEPLOY / "container" / source).exists(), source
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")
    build = COMPOSE["services"]["eir"]["build"]
    root = (DEPLOY / "container" / build["context"]).resolve()
    assert (root / build["dockerfile"]).is_file()
    assert f" AS {build['target']}\n" in (root / build["dockerfile"]).read_text()


def test_the_image_is_built_of_all_that_the_package_needs() -> None:
    """What the build reads is in the context, as setup.py and MANIFEST.in name it."""
    root = DEPLOY.parent
    lines = (root / ".dockerignore").read_text().splitlines()
    taken = {line.removeprefix("!") for line in lines if line.startswith("!")}
    needed = {"setup.py", "pyproject.toml", "README.md", "MANIFEST.in", "eir", "core", ".cargo"}
    assert taken == needed
    assert all((root / name).exists() for name in taken)


def test_two_prometheus_configurations_differ_in_their_target_alone() -> None:
    one, other = (DEPLOY / "prometheus" / "prometheus.yml", DEPLOY / "container" / "prometheus.yml")
    documents = [yaml.safe_load(path.read_text()) for path in (one, other)]
    for document in documents:
        del document["scrape_configs"][0]["static_configs"]
        assert document["scrape_configs"] == [{"job_name": "eir"}]
    assert documents[0] == documents[1]


def test_shell_scripts_are_shell(tmp_path: Path) -> None:
    script = DEPLOY / "backup.sh"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["sh", "-n", script]).returncode == 0
    ended = subprocess.run([script, tmp_path, tmp_path / "copy"], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (2, f"backup: {tmp_path} has no registry.db\n")
