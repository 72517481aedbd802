"""`eir cases` and `eir notices` against a real daemon with a real SMSC end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from running import Daemon, operation, wait_for
from smsc_end import SmscEnd, smsc_end
from test_notices import IMEI, KEY, SIM, Scene, register, verdict

from eir.cli import main


class Terminal:
    """Commands that ask one daemon."""

    def __init__(self, daemon: Daemon, smsc: SmscEnd, scene: Scene) -> None:
        self.daemon, self.smsc, self.scene = daemon, smsc, scene

    def eir(self, *words: str, code: int = 0) -> Result:
        ended = CliRunner().invoke(main, [*words, "--address", self.daemon.ready_line["manage"]])
        assert ended.exit_code == code, ended.output
        return ended

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self.eir(*words, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    folder: Path = tmp_path_factory.mktemp("notices")
    with pytest.MonkeyPatch.context() as patch, smsc_end() as smsc:
        patch.setenv("SMSC_PASSWORD", "secret")
        scene = Scene(folder, smsc, "portable")
        daemon = scene.start()
        try:
            register(daemon, scene.now)
            daemon.push(operation("REGISTER", "35693803564381"), complete_until=scene.now)
            wait_for(lambda: verdict(daemon)[1])
            wait_for(lambda: smsc.taken)
            yield Terminal(daemon, smsc, scene)
        finally:
            assert daemon.stop() == 0


SAID = ("--who", "ticket 7", "--why", "a test")


def test_cases_are_listed_and_shown(terminal: Terminal) -> None:
    (case,) = terminal.json("cases", "list", "--who", "me")
    assert (case["imei"][:14], case["imsi"], case["cause"], case["state"]) == (
        KEY,
        SIM,
        "NEVER_ACTIVATED",
        "OPEN",
    )
    table = terminal.eir("cases", "list", "--cause", "never_activated", "--state", "open").stdout.splitlines()
    assert table[0].split()[:3] == ["case", "IMEI", "IMSI"]
    assert SIM in table[1]
    assert terminal.json("cases", "list", "--state", "cut_off") == []
    assert terminal.json("cases", "list", "--imsi", SIM, "--deadline-before", "2026-01-01") == []
    shown = terminal.eir("cases", "show", IMEI, SIM).stdout
    assert "case 0: never_activated, open since" in shown
    assert "number: 989120000001 (en)" in shown
    assert "opened: NEVER_ACTIVATED" in shown
    assert terminal.json("cases", "show", "0")["notices"][0]["stage"] == "first"
    assert "CASE_NOT_FOUND" in terminal.eir("cases", "show", "99", code=3).stderr
    assert "no number of a case" in terminal.eir("cases", "show", "x", code=2).stderr
    terminal.eir("cases", "show", "1", "2", "3", code=2)


def test_cases_are_held_freed_and_withdrawn(terminal: Terminal) -> None:
    assert "held since" in terminal.eir("cases", "hold", "0", "--until", "2040-01-01", *SAID).stdout
    assert terminal.json("cases", "free", "0", *SAID)["state"] == "OPEN"
    ended = terminal.eir("cases", "free", "0", *SAID, code=2)
    assert "ENDED is not possible" in ended.stderr
    assert terminal.json("cases", "withdraw", "0", "--until", "2040-01-01", *SAID)["state"] == "WITHDRAWN"
    assert terminal.json("cases", "free", "0", *SAID)["state"] == "ABSENT"
    assert "no time" in terminal.eir("cases", "hold", "0", "--until", "soon", *SAID, code=2).stderr
    said = [line["who"] for line in terminal.json("cases", "show", "0")["history"]]
    assert said.count("ticket 7") == 4


def test_status_lists_and_previews(terminal: Terminal) -> None:
    shown = terminal.eir("notices", "status").stdout
    assert "main  yes" in shown
    assert "true up to serial" in shown
    (notice,) = terminal.json("notices", "list", "--stage", "first", "--smsc", "main")
    assert notice["state"] == "ACCEPTED"
    assert terminal.json("notices", "list", "--state", "failed") == []
    assert "accepted" in terminal.eir("notices", "list").stdout
    told = terminal.json("notices", "preview", "--hours", "1")
    assert set(told) == {"counts", "shown", "cases_looked_at", "cases_due"}
    terminal.eir("notices", "preview")


def test_sending_is_held_and_released(terminal: Terminal) -> None:
    terminal.eir("notices", "hold", *SAID)
    assert "HELD since" in terminal.eir("notices", "status", code=3).stdout
    assert terminal.json("notices", "status", code=3)["held_by"] == "ticket 7"
    wait_for(lambda: "notices: held: a test" in terminal.daemon.http("/readyz")[1])
    assert terminal.daemon.http("/readyz")[0] == 200
    assert terminal.daemon.metric("eir_notices_held") == 1
    assert "it was held: a test" in terminal.eir("notices", "release", *SAID, "--yes").stderr
    assert "nothing was held" in terminal.eir("notices", "release", *SAID).stderr


def test_deadlines_are_shifted_and_back(terminal: Terminal) -> None:
    ended = terminal.eir("notices", "shift", "30d", "--imsi-prefix", "43211", "--dry-run", *SAID)
    assert "would cover 1 case" in ended.stderr
    made = terminal.json("notices", "shift", "12h", "--earlier", "--cause", "not_registered", *SAID)
    assert (made["case_count"], made["shift"]["seconds"]) == (0, -12 * 3600)
    terminal.eir("notices", "shift", "1d", "--tacs", "35693803", "35693803", *SAID)
    assert "35693803-35693803" in terminal.eir("notices", "shifts").stdout
    assert terminal.json("notices", "unshift", "2", *SAID)["undone_by"] == "ticket 7"
    assert [bool(one["undone_at"]) for one in terminal.json("notices", "shifts")] == [False, True]
    terminal.eir("notices", "unshift", "1", *SAID)
    assert "no shift 1" in terminal.eir("notices", "unshift", "1", *SAID, code=2).stderr
    assert "no span of time" in terminal.eir("notices", "shift", "soon", *SAID, code=2).stderr


def test_every_act_is_in_the_audit(terminal: Terminal) -> None:
    data = str(terminal.scene.folder / "data")
    ended = CliRunner().invoke(main, ["journal", "audit", "--json", "--limit", "100", "--data-dir", data])
    acts = [row["what"] for row in json.loads(ended.stdout) if row["who"] == "ticket 7"]
    assert len(acts) == 11
    assert not [what for what in acts if SIM in what]


def test_without_cases_they_say_so(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data")
    try:
        words = ["notices", "status", "--address", daemon.ready_line["manage"]]
        ended = CliRunner().invoke(main, words)
        assert ended.exit_code == 1
        assert "notices.enabled is false (CASES_UNAVAILABLE)" in ended.stderr
    finally:
        daemon.stop()
