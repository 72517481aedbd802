"""A daemon whose cases another keeps: sightings go there, deadlines come from there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import native_engine
import pytest
from integration.test_notice_group import KEYS, Node, Scene, sim
from running import ENGINES, Daemon, operation, wait_for
from smsc_end import smsc_end

from eir.proto import check_pb2

OWNED = """
[notices]
enabled = true
owner = "127.0.0.1:{port}"
sighting_repeat_seconds = 0
"""


class Branch:
    """A daemon without cases of its own."""

    def __init__(self, folder: Path, owner: Node, engine: str) -> None:
        self.folder, self.owner, self.engine, self.number = folder / "branch", owner, engine, "branch"
        self.folder.mkdir()
        self.start()

    def start(self) -> None:
        (self.folder / "eir.toml").write_text(OWNED.format(port=self.owner.port))
        self.daemon = Daemon(
            self.folder / "data",
            engine=self.engine,
            config=self.folder / "eir.toml",
            policy=self.owner.folder / "policy.toml",
            ahead=self.owner.ahead,
        )

    def deadline(self, key: int) -> int:
        return int(self.daemon.check(f"{key}0", sim(key)).deadline)

    def status(self, key: int) -> str:
        status = self.daemon.check(f"{key}0", sim(key)).status
        return check_pb2.EquipmentStatus.Name(status).removeprefix("EQUIPMENT_STATUS_")


@pytest.fixture(params=ENGINES)
def both(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Branch]:
    if request.param == "native":
        native_engine.needed()
    monkeypatch.setenv("SMSC_PASSWORD", "secret")
    with smsc_end() as smsc:
        (tmp_path / "ahead").write_text("0")
        owner = Node(tmp_path, 0, smsc, " ")
        branch = None
        try:
            scene = Scene(tmp_path, smsc, None)  # type: ignore[arg-type]
            owner.register(scene.now)
            branch = Branch(tmp_path, owner, request.param)
            branch.daemon.push(*(operation("REGISTER", str(key)) for key in KEYS), complete_until=scene.now)
            yield branch
        finally:
            if branch is not None:
                branch.daemon.stop()
            owner.daemon.stop()


def test_sightings_go_to_the_owner_and_deadlines_come_back(both: Branch) -> None:
    owner, smsc = both.owner, both.owner.smsc
    wait_for(lambda: both.daemon.metric("eir_owner_connected"), "connected")
    both.daemon.check(f"{KEYS[0]}0", sim(KEYS[0]))
    wait_for(lambda: both.deadline(KEYS[0]), "a deadline")
    assert both.deadline(KEYS[0]) == owner.deadline(KEYS[0])
    wait_for(lambda: "IMEI ending in" in smsc.text(), "the owner warns")
    owner.check(KEYS[1])
    wait_for(lambda: both.deadline(KEYS[1]), "a case that was sighted elsewhere")
    owner.daemon.push(operation("PAIR", str(KEYS[0]), imsi=sim(KEYS[0]), role="OWNER"))
    wait_for(lambda: not both.deadline(KEYS[0]), "the case is gone with its pairing")
    assert owner.daemon.metric('eir_forwarded_sightings_total{result="taken"}') >= 1


def test_a_case_goes_over_to_a_replaced_sim_and_leaves_the_former_one(both: Branch) -> None:
    owner, new = both.owner, "432119999999999"
    wait_for(lambda: both.daemon.metric("eir_owner_connected"), "connected")
    for key in KEYS[:2]:
        owner.check(key)
    wait_for(lambda: both.daemon.metric("eir_followed_cases") == 2, "both cases")
    opened = owner.deadline(KEYS[0])
    for daemon in (owner.daemon, both.daemon):
        # The registry knows the SIM by another phone.
        daemon.push(operation("PAIR", str(KEYS[9]), imsi=sim(KEYS[0]), role="OWNER"))
        daemon.push(operation("REPLACE_SIM", imsi=new, former_imsi=sim(KEYS[0])))
    wait_for(lambda: owner.daemon.metric("eir_cases_moved_total"), "moved")
    # By `check` they are sighted: each is asked once.
    wait_for(lambda: both.daemon.check(f"{KEYS[0]}0", new).deadline == opened, "the case of the new SIM")
    assert both.daemon.metric("eir_followed_cases") == 2
    assert both.deadline(KEYS[0]) == 0, "the former SIM has none"
    assert both.deadline(KEYS[1])


def test_a_lost_owner_changes_nothing(both: Branch) -> None:
    owner = both.owner
    wait_for(lambda: both.daemon.metric("eir_owner_connected"), "connected")
    both.daemon.check(f"{KEYS[0]}0", sim(KEYS[0]))
    wait_for(lambda: both.deadline(KEYS[0]), "a deadline")
    before = both.deadline(KEYS[0])
    owner.kill()
    wait_for(lambda: not both.daemon.metric("eir_owner_connected"), "away")
    assert both.deadline(KEYS[0]) == before
    code, said = both.daemon.http("/readyz")
    assert code == 200
    assert "keeps the cases, is away" in said
    both.daemon.check(f"{KEYS[2]}0", sim(KEYS[2]))
    # Known over a restart, without the owner.
    assert both.daemon.stop() == 0
    both.start()
    assert both.deadline(KEYS[0]) == before
    both.daemon.check(f"{KEYS[3]}0", sim(KEYS[3]))
    owner.start()
    wait_for(lambda: both.deadline(KEYS[3]), "what was sighted meanwhile has a case")
