"""Daemons that keep the same cases over a real Redis server, with a real SMSC end."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from integration.test_notices import CONFIG, DAY, POLICY
from redis_server import RedisServer, free_port, redis_running
from running import Daemon, operation, wait_for
from smsc_end import SmscEnd, smsc_end

from eir.proto import check_pb2, notice_pb2

KEYS = [35_693_803_564_000 + number for number in range(40)]
GROUP = """
[group]
redis_urls = "{redis}"
address = "127.0.0.1:{port}"
lease_seconds = 1.5
"""


class Node:
    """One daemon of a group, on ports that it keeps."""

    def __init__(self, folder: Path, number: int, smsc: SmscEnd, group: str) -> None:
        self.folder, self.number, self.smsc, self.group = folder / f"n{number}", number, smsc, group
        self.folder.mkdir()
        self.ahead = folder / "ahead"
        self.port = free_port()
        self.start()

    def start(self) -> None:
        more = self.group.format(port=self.port)
        (self.folder / "eir.toml").write_text(CONFIG.format(port=self.smsc.port, more=more))
        (self.folder / "policy.toml").write_text(POLICY)
        self.daemon = Daemon(
            self.folder / "data",
            config=self.folder / "eir.toml",
            policy=self.folder / "policy.toml",
            manage_listen=f"127.0.0.1:{self.port}",
            ahead=self.ahead,
        )

    def kill(self) -> None:
        self.daemon.process.kill()
        self.daemon.wait()

    def state(self) -> str:
        for state in ("together", "joining", "away"):
            if self.daemon.metric(f'eir_group_state{{state="{state}"}}'):
                return state
        return ""

    def events(self, event: str) -> int:
        return int(self.daemon.metric(f'eir_group_events_total{{event="{event}"}}'))

    def repeats(self) -> int:
        """How many notices may be sent again as it knows: taken over, or not answered by the SMSC."""
        lost = self.daemon.metric('eir_notice_submissions_total{outcome="lost"}')
        return self.events("taken_over") + int(lost)

    def register(self, now: int) -> None:
        self.daemon.push(
            *(operation("REGISTER", str(key)) for key in KEYS),
            *(operation("SUBSCRIBER", imsi=sim(key), msisdn=msisdn(key), language="en") for key in KEYS),
            complete_until=now,
        )

    def check(self, key: int) -> Any:
        return self.daemon.check(f"{key}0", sim(key))

    def deadline(self, key: int) -> int:
        return int(self.check(key).deadline)

    def status(self, key: int) -> str:
        return check_pb2.EquipmentStatus.Name(self.check(key).status).removeprefix("EQUIPMENT_STATUS_")

    def warned(self, *keys: int) -> bool:
        return all(self.deadline(key) and self.case(key).found.warned_at for key in keys)

    def knows(self, *keys: int) -> bool:
        """Whether it has cases of these, without a check that would open them."""
        try:
            return all(self.case(key).found.imsi for key in keys)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                raise
            return False

    def case(self, key: int) -> Any:
        request = notice_pb2.GetCaseRequest(imei=f"{key}0", imsi=sim(key), who="test")
        return self.daemon.notices.GetCase(request, timeout=10)


def go_on(scene: Scene, seconds: int) -> None:
    """Let time pass for all daemons."""
    written = scene.ahead.with_suffix(".new")
    written.write_text(str(int(scene.ahead.read_text()) + seconds))
    written.replace(scene.ahead)


def warned_in_time(scene: Scene, node: Node) -> bool:
    """Whether all are warned. What an SMSC did not answer is tried again some minutes later."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if node.warned(*KEYS):
            return True
        time.sleep(0.1)
    go_on(scene, 310)
    return False


def sim(key: int) -> str:
    return f"43211{key % 10**10:010}"


def msisdn(key: int) -> str:
    return f"98912{key % 10**7:07}"


class Line:
    """A TCP connection's way to a server, that can be cut."""

    def __init__(self, port: int) -> None:
        self.target, self.cut = port, False
        self.pairs: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                one, _ = self.listener.accept()
                if self.cut:
                    one.close()
                    continue
                other = socket.create_connection(("127.0.0.1", self.target))
                self.pairs += [one, other]
                for source, target in ((one, other), (other, one)):
                    threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def sever(self) -> None:
        self.cut = True
        for end in self.pairs:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.sever()
        for end in [self.listener, *self.pairs]:
            end.close()


class Scene:
    """An SMSC, a Redis server, and daemons whose clocks go together."""

    def __init__(self, folder: Path, smsc: SmscEnd, redis: RedisServer) -> None:
        self.folder, self.smsc, self.redis = folder, smsc, redis
        self.ahead = folder / "ahead"
        self.ahead.write_text("0")
        self.nodes: list[Node] = []

    def node(self, group: str = "") -> Node:
        says = group or GROUP.replace("{redis}", self.redis.url)
        self.nodes.append(Node(self.folder, len(self.nodes), self.smsc, says))
        self.nodes[-1].register(self.now)
        return self.nodes[-1]

    @property
    def now(self) -> int:
        return int(time.time()) + int(self.ahead.read_text())

    def together(self) -> None:
        for node in self.nodes:
            if node.daemon.process.poll() is None:
                wait_for(lambda node=node: node.state() == "together", node.state)

    def told(self, numbers: Collection[int] = ()) -> Counter[str]:
        """How many messages each subscriber got, by these submissions or all; a text has one part or two."""
        taken = list(enumerate(self.smsc.taken, 1))
        chosen = [event for number, event in taken if not numbers or number in numbers]
        bodies = [(event.destination_addr, event.short_message) for event in chosen]
        return Counter(to for to, body in bodies if body[:3] != b"\x05\x00\x03" or body[5] == 1)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("SMSC_PASSWORD", "secret")
    with smsc_end() as smsc, redis_running(tmp_path / "redis") as redis:
        made = Scene(tmp_path, smsc, redis)
        try:
            yield made
        finally:
            for node in made.nodes:
                with contextlib.suppress(ProcessLookupError):
                    node.daemon.signal(signal.SIGCONT)
                node.daemon.stop()


def everywhere(nodes: list[Node], holds: Callable[[Node], object], what: str) -> None:
    for node in nodes:
        wait_for(lambda node=node: holds(node), f"{what} at {node.number}")


def test_each_is_told_once_and_all_know(scene: Scene) -> None:
    nodes = [scene.node() for _ in range(3)]
    scene.together()
    for number, key in enumerate(KEYS):
        nodes[number % 3].check(key)
    everywhere(nodes, lambda node: all(node.deadline(key) for key in KEYS[:5]), "deadlines")
    wait_for(lambda: len(scene.told()) == len(KEYS), "all are told")
    everywhere(nodes, lambda node: node.warned(*KEYS), "warned")
    for key in KEYS[:6]:
        assert len({node.deadline(key) for node in nodes}) == 1
        assert len({node.case(key).found.opened_at for node in nodes}) == 1
    assert set(scene.told().values()) == {1}
    # An SMSC's rate is that of all together.
    status = notice_pb2.GetNoticeStatusRequest()
    for node in nodes:
        said = node.daemon.notices.GetNoticeStatus(status, timeout=10)
        assert (said.group_state, len(said.group_daemons)) == ("together", 3)
        assert said.smscs[0].parts_per_second == pytest.approx(10_000 / 3)
    # A hold at one is a hold at all, and so is its release.
    request = notice_pb2.HoldNoticesRequest(who="maryam", why="a bad delta")
    nodes[1].daemon.notices.HoldNotices(request, timeout=10)
    everywhere(nodes, lambda node: node.daemon.notices.GetNoticeStatus(status).held_by == "maryam", "held")
    nodes[2].daemon.notices.ReleaseNotices(notice_pb2.ReleaseNoticesRequest(who="m", why="seen"), timeout=10)
    everywhere(nodes, lambda node: not node.daemon.notices.GetNoticeStatus(status).held_why, "released")
    # Deadlines that one shifts are shifted everywhere.
    before = nodes[0].deadline(KEYS[0])
    shift = notice_pb2.Shift(seconds=5 * DAY)
    nodes[0].daemon.notices.ShiftDeadlines(
        notice_pb2.ShiftDeadlinesRequest(shift=shift, who="m", why="amnesty"), timeout=10
    )
    everywhere(nodes, lambda node: node.deadline(KEYS[0]) == before + 5 * DAY, "shifted")


def test_a_daemon_that_dies_amid_sending_is_made_up_for(scene: Scene) -> None:
    nodes = [scene.node() for _ in range(2)]
    scene.together()
    taken = scene.smsc.smsc
    taken.answer = lambda number: None  # taken, and never answered
    for key in KEYS:
        nodes[0].check(key)
    wait_for(lambda: len(scene.told()) >= len(KEYS) // 4, "some are on their way")
    wait_for(lambda: nodes[1].knows(*KEYS), "what was seen is known to both")
    counted = nodes[0].repeats()  # its counters die with it
    answered: list[int] = []

    def answer(number: int) -> str:
        answered.append(number)
        return f"again{number}"

    nodes[0].daemon.signal(signal.SIGKILL)
    taken.answer = answer
    nodes[0].kill()
    wait_for(lambda: len(scene.told()) == len(KEYS), "all are told by the other")
    wait_for(lambda: warned_in_time(scene, nodes[1]), "all are warned")
    told = scene.told()
    # Nothing that was answered is sent again; without an answer each may have sent it once, where one of them
    # stood still for longer than a lease.
    assert scene.told(answered) == dict.fromkeys(told, 1)
    assert max(told.values()) <= 3
    sent = sum(told.values())
    assert sent > len(KEYS)
    # What the dead one was about is taken over; what the other one had sent by then was not answered, either.
    wait_for(lambda: counted + nodes[1].repeats() >= sent - len(KEYS), "what may be a repeat is counted")
    nodes[0].start()
    scene.together()
    everywhere(nodes, lambda node: node.warned(*KEYS), "warned")
    time.sleep(1)
    assert sum(scene.told().values()) == sent


def test_redis_that_is_killed_paused_and_flushed(scene: Scene) -> None:
    nodes = [scene.node() for _ in range(2)]
    scene.together()
    scene.redis.signal(signal.SIGSTOP)
    nodes[0].check(KEYS[0])
    wait_for(lambda: nodes[0].deadline(KEYS[0]), "a case opens without Redis")
    scene.redis.signal(signal.SIGCONT)
    wait_for(lambda: scene.told(), "told once Redis is there")
    everywhere(nodes, lambda node: node.warned(KEYS[0]), "warned")
    scene.redis.kill()
    nodes[1].check(KEYS[1])
    wait_for(lambda: nodes[1].state() == "away", "away")
    assert "group: " in nodes[1].daemon.http("/readyz")[1]
    assert nodes[1].daemon.http("/readyz")[0] == 200
    time.sleep(1)
    assert msisdn(KEYS[1]) not in scene.told()
    scene.redis.start()
    scene.together()
    wait_for(lambda: msisdn(KEYS[1]) in scene.told(), "told when Redis is there again")
    everywhere(nodes, lambda node: node.warned(KEYS[1]), "warned")
    scene.redis.client().flushall()
    nodes[0].check(KEYS[2])
    nodes[1].check(KEYS[3])
    everywhere(nodes, lambda node: node.warned(*KEYS[2:4]), "warned")
    assert set(scene.told().values()) == {1}
    assert len(scene.told()) == 4


def test_a_daemon_that_comes_later_knows_all_and_tells_nobody_again(scene: Scene) -> None:
    first = scene.node()
    scene.together()
    for key in KEYS:
        first.check(key)
    wait_for(lambda: len(scene.told()) == len(KEYS), "all are told")
    wait_for(lambda: first.warned(*KEYS), "all are warned")
    scene.redis.client().delete("eir:notices:lines")
    second = scene.node()
    scene.together()
    wait_for(lambda: all(second.deadline(key) for key in KEYS), "deadlines")
    for key in KEYS:
        assert second.case(key).found.warned_at == first.case(key).found.warned_at
    assert second.events("caught_up") == 1
    time.sleep(1)
    assert set(scene.told().values()) == {1}


def test_a_daemon_that_stood_still_finds_out_what_others_did(scene: Scene) -> None:
    nodes = [scene.node() for _ in range(2)]
    scene.together()
    taken = scene.smsc.smsc
    taken.answer = lambda number: None
    for key in KEYS:
        nodes[1].check(key)
    wait_for(lambda: len(scene.told()) >= len(KEYS) // 4, "some are on their way")
    nodes[0].daemon.signal(signal.SIGSTOP)
    taken.answer = lambda number: f"again{number}"
    wait_for(lambda: len(scene.told()) == len(KEYS), "all are told by the other")
    wait_for(lambda: warned_in_time(scene, nodes[1]), "all are warned")
    nodes[0].daemon.signal(signal.SIGCONT)
    everywhere(nodes, lambda node: node.warned(*KEYS), "warned")
    scene.together()
    time.sleep(1)
    assert max(scene.told().values()) == 2
    for key in KEYS[:5]:
        assert nodes[0].case(key).found.warned_at == nodes[1].case(key).found.warned_at


def test_deadlines_fall_once_and_everywhere(scene: Scene) -> None:
    nodes = [scene.node() for _ in range(2)]
    scene.together()
    for key in KEYS[:10]:
        nodes[0].check(key)
    everywhere(nodes, lambda node: node.warned(*KEYS[:10]), "warned")
    go_on(scene, 11 * DAY)

    def doubt(node: Node) -> str:
        answer = node.daemon.notices.GetNoticeStatus(notice_pb2.GetNoticeStatusRequest(), timeout=10)
        return str(answer.clock_doubted_why)

    everywhere(nodes, doubt, "a clock that jumped is doubted")
    for node in nodes:
        node.daemon.push(operation("REGISTER", str(KEYS[-1] + 1)), complete_until=scene.now)
    everywhere(nodes, lambda node: not doubt(node), "the feed's clock agrees")

    def cut_off() -> bool:
        # What was held back is looked at again some minutes later; a clock that goes so far is believed.
        go_on(scene, 700)
        time.sleep(1.1)
        return all(node.status(key) == "BLACKLISTED" for node in nodes for key in KEYS[:10])

    wait_for(cut_off, "cut off everywhere")
    wait_for(lambda: scene.smsc.text().count("has been disconnected") >= 10, "all are told")
    time.sleep(1)
    assert scene.smsc.text().count("has been disconnected") == 10


def test_a_daemon_that_is_cut_off_from_redis_goes_on_checking(scene: Scene) -> None:
    line = Line(scene.redis.port)
    try:
        far = scene.node(GROUP.replace("{redis}", f"redis://127.0.0.1:{line.port}/0"))
        near = scene.node()
        scene.together()
        line.sever()
        wait_for(lambda: far.state() == "away", "away")
        for key in KEYS[:5]:
            far.check(key)
            near.check(key)
        far.check(KEYS[7])
        wait_for(lambda: near.warned(*KEYS[:5]), "warned")
        wait_for(lambda: all(far.deadline(key) for key in KEYS[:5]), "cases open here, too")
        assert not any(far.warned(key) for key in KEYS[:5])
        line.cut = False
        scene.together()
        everywhere([far, near], lambda node: node.warned(*KEYS[:5], KEYS[7]), "warned")
        time.sleep(1)
        assert set(scene.told().values()) == {1}
        for key in KEYS[:5]:
            assert far.case(key).found.opened_at == near.case(key).found.opened_at
    finally:
        line.close()


def test_a_receipt_that_one_gets_is_noted_by_all(scene: Scene) -> None:
    nodes = [scene.node() for _ in range(2)]
    scene.together()
    nodes[0].check(KEYS[0])
    everywhere(nodes, lambda node: node.warned(KEYS[0]), "warned")
    scene.smsc.deliver(b"id:id1 stat:DELIVRD err:000", sessions=1)
    delivered = notice_pb2.NOTICE_STATE_DELIVERED
    everywhere(
        nodes, lambda node: [one.state for one in node.case(KEYS[0]).notices] == [delivered], "delivered"
    )
    wait_for(lambda: sum(node.events("receipts_by_others") for node in nodes) == 1, "one was told of it")


def test_a_subscriber_of_several_cases_is_told_one_thing_at_a_time(scene: Scene) -> None:
    """Whichever daemons send: the policy's spacing is between two notices of all."""
    nodes = [scene.node() for _ in range(2)]
    scene.together()
    for number, key in enumerate(KEYS[:6]):
        nodes[number % 2].daemon.check(f"{key}0", sim(KEYS[0]))
    wait_for(scene.told, "told")
    time.sleep(4)  # two leases, in which each leaves to the other what is its own
    assert sum(scene.told().values()) == 1
    warned = [node.daemon.check(f"{key}0", sim(KEYS[0])) for node in nodes for key in KEYS[:6]]
    assert all(one.deadline for one in warned)
    go_on(scene, DAY + 60)
    for node in nodes:
        node.daemon.push(operation("REGISTER", str(KEYS[-1] + 1)), complete_until=scene.now)
    wait_for(lambda: sum(scene.told().values()) == 2, "told again")
    time.sleep(2)
    assert sum(scene.told().values()) == 2
