"""A real daemon that is killed at random moments; the plain model beside it.

    push ──► kill -9 ──► start ──► positions ──► in flight: whole or not at all
                                └─► checks, tables ──► as the model says

The seed is printed first; EIR_SIM_SEED replays what is sent and when the kills
come (the machine decides what they hit).
"""

from __future__ import annotations

import os
import secrets
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest
import random_deltas
import stores

from eir.identity import imei_text, imsi_code
from eir.proto import check_pb2, enforcement_pb2, sync_pb2
from eir.whitelist.algebra import State
from eir.whitelist.operation import Operation, message
from eir.whitelist.rows import Op, Role
from eir.whitelist.segments import EDITION_KEY
from tests.running import Daemon, command, delta

FEEDS = ("feed", "other")
BULK_TAC = 35555555
SETTINGS: dict[str, object] = {"limits__small_overlay_rows_max": 300, "limits__rebuild_overlay_rows": 2_500}
"""So small that deltas go to the large overlay, and rebuilds come by themselves."""


@dataclass
class Sent:
    """A delta that was sent: its messages, the state after it, and the IMEIs of its bulk."""

    feed: str
    sequence: int
    messages: list[sync_pb2.PushDeltaRequest]
    after: State
    bulk: list[tuple[int, int]]


@dataclass
class Peer:
    """What the feeds know."""

    random: Random
    state: State = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FEEDS, 0))
    last: dict[str, Sent] = field(default_factory=dict)
    in_flight: Sent | None = None
    paired: list[tuple[int, int]] = field(default_factory=list)
    """Pairs of the bulk that were acknowledged."""
    next_bulk: int = 0

    def make(self) -> Sent:
        """The next delta: some random rows of the small universe, and many pairs in a row."""
        feed = self.random.choice(FEEDS)
        rows = random_deltas.delta(self.random)
        after, _ = random_deltas.outcome(self.state, rows)
        count = self.random.choice((0, 1, 50, 700))
        bulk = [self._pair(self.next_bulk + place) for place in range(count)]
        self.next_bulk += count
        more = [Operation(Op.PAIR, key, imsi=code, cause=Role.OWNER) for key, code in bulk]
        messages = delta(
            [message(row) for row in (*rows, *more)],
            feed=feed,
            base=self.positions[feed],
            chunks=self.random.randint(1, 4),
            complete_until=1_700_000_000 + self.next_bulk,
        )
        return Sent(feed, self.positions[feed] + 1, messages, after, bulk)

    @staticmethod
    def _pair(number: int) -> tuple[int, int]:
        return BULK_TAC * 10**6 + number, imsi_code(f"43211{5 * 10**9 + number}")

    def acknowledged(self, sent: Sent) -> None:
        """The delta is there, and will be."""
        self.in_flight = None
        self.state = sent.after
        self.positions[sent.feed] = sent.sequence
        self.last[sent.feed] = sent
        self.paired += sent.bulk


def owner_reason(daemon: Daemon, pair: tuple[int, int]) -> bool:
    """Whether the daemon knows a pair."""
    key, code = pair
    reason = daemon.check(imei_text(key), str(code)[1:]).reason
    assert reason in (check_pb2.VERDICT_REASON_OWNER, check_pb2.VERDICT_REASON_NOT_REGISTERED)
    return bool(reason == check_pb2.VERDICT_REASON_OWNER)


def settle(daemon: Daemon, peer: Peer) -> None:
    """After a start: the delta in flight is whole or not at all, all others are there."""
    answer = daemon.sync.GetFeedPosition(sync_pb2.GetFeedPositionRequest(), timeout=10)
    told = dict.fromkeys(FEEDS, 0) | {feed.feed: feed.sequence for feed in answer.feeds}
    if sent := peer.in_flight:
        there = told[sent.feed] == sent.sequence
        assert {owner_reason(daemon, pair) for pair in sent.bulk[:: max(len(sent.bulk) // 3, 1)]} <= {there}
        if there:
            peer.acknowledged(sent)
        else:
            peer.next_bulk -= len(sent.bulk)
        peer.in_flight = None
    assert told == peer.positions
    assert answer.serial == sum(told.values())
    for pair in peer.random.sample(peer.paired, min(len(peer.paired), 20)):
        assert owner_reason(daemon, pair)
    assert not owner_reason(daemon, peer._pair(peer.next_bulk))
    for sent in peer.last.values():
        last = list(daemon.sync.PushDelta(iter(sent.messages), timeout=30))[-1].applied
        assert (last.repeat, last.serial) == (True, answer.serial)


def assert_tables(data_dir: Path, peer: Peer) -> int:
    """Open the tables that a kill left, and compare all of them; the delta in flight counts if it is there.

    Returns the number of rebuilds that began.
    """
    store = stores.opened(data_dir)
    try:
        assert store.segments.recovered == []
        told = dict.fromkeys(FEEDS, 0) | {feed.feed: feed.sequence for feed in store.feeds()}
        if (sent := peer.in_flight) and told[sent.feed] == sent.sequence:
            peer.acknowledged(sent)
        assert told == peer.positions
        assert stores.facts(store) == peer.state
        pairs = sum(fact[0] == "pairs" for fact in peer.state)
        assert store.counts["pairs"] == pairs + len(peer.paired)
        for key, code in peer.paired:
            assert store.generation.key_row(key)[0] == code
        return int(store.journal.meta_get(EDITION_KEY) or 0)
    finally:
        store.close()


class Round:
    """One life of the daemon: deltas, rebuilds and checks until it is killed."""

    def __init__(self, daemon: Daemon, peer: Peer, seconds: float) -> None:
        self.daemon, self.peer = daemon, peer
        self.killed = threading.Event()
        self.applied = self.rebuilt = self.checked = 0
        self.faults: list[BaseException] = []
        self._killer = threading.Timer(seconds, self._kill)

    def _kill(self) -> None:
        self.killed.set()
        self.daemon.process.kill()

    def run(self) -> None:
        others = [
            threading.Thread(target=self._until_killed, args=(work,)) for work in (self._check, self._rebuild)
        ]
        for thread in (self._killer, *others):
            thread.start()
        self._until_killed(self._push)
        for thread in (self._killer, *others):
            thread.join(30)
        self.daemon.stop()
        assert not self.faults, self.faults

    def _until_killed(self, work: Any) -> None:
        try:
            while not self.killed.is_set():
                work()
        except grpc.RpcError as error:
            self.killed.wait(5)  # the error may come before the kill is noted
            if not self.killed.is_set():
                self.faults.append(error)
                self._kill()
        except BaseException as error:  # noqa: BLE001 - told by the thread that waits
            self.faults.append(error)

    def _push(self) -> None:
        sent = self.peer.in_flight = self.peer.make()
        answers = list(self.daemon.sync.PushDelta(iter(sent.messages), timeout=30))
        assert answers[-1].applied.serial == sum(self.peer.positions.values()) + 1
        self.peer.acknowledged(sent)
        self.applied += 1
        time.sleep(0.03)

    def _check(self) -> None:
        for pair in self.peer.paired[-1:]:
            assert owner_reason(self.daemon, pair)
        self.checked += 1
        time.sleep(0.01)

    def _rebuild(self) -> None:
        time.sleep(0.1)
        try:
            answer = self.daemon.enforcement.RebuildSegments(
                enforcement_pb2.RebuildSegmentsRequest(all=self.rebuilt % 2 == 1), timeout=30
            )
            # Where nothing waits for one, none begins.
            self.rebuilt += answer.rebuilt_count > 0
        except grpc.RpcError as error:
            # One that the daemon began by itself may be running.
            if "rebuilt already" not in str(error.details()):
                raise


def kill_while_starting(data_dir: Path, config: Path, seconds: float) -> None:
    """Start a daemon and kill it, ready or not."""
    settings = {name.replace("__", "."): value for name, value in SETTINGS.items()}
    line, environ = command(data_dir, {**settings, "config": config})
    process = subprocess.Popen(line, env=environ, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    time.sleep(seconds)
    process.kill()
    process.wait()


def loop(tmp_path: Path, rounds: int) -> tuple[int, int]:
    """Rounds of starting, pushing and killing on one data directory; return rebuilds ended and begun."""
    seed = int(os.environ.get("EIR_SIM_SEED") or secrets.randbelow(10**9))
    print(f"EIR_SIM_SEED={seed}")
    peer = Peer(Random(seed))
    config, data_dir = tmp_path / "eir.toml", tmp_path / "data"
    config.write_text("".join(f"[feeds.{feed}]\nlenient = true\n" for feed in FEEDS))
    lives, begun = [], 0
    for number in range(rounds):
        if peer.random.random() < 0.3:
            kill_while_starting(data_dir, config, peer.random.uniform(0.3, 2.0))
        daemon = Daemon(data_dir, config=config, **SETTINGS)
        try:
            settle(daemon, peer)
            lives.append(Round(daemon, peer, peer.random.choice((0.5, 2, 4)) * peer.random.random()))
            lives[-1].run()
        finally:
            daemon.process.kill()
        if peer.random.random() < 0.4 or number == rounds - 1:
            begun = assert_tables(data_dir, peer)
    applied, checked, rebuilt = (
        sum(getattr(life, name) for life in lives) for name in ("applied", "checked", "rebuilt")
    )
    print(f"{applied} deltas, {checked} checks, {rebuilt} of {begun} rebuilds, {len(peer.paired)} pairs")
    assert min(applied, checked) > 2 * rounds, "the loop is not busy"
    assert begun, "no rebuild began"
    return rebuilt, begun


def test_a_killed_daemon_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    loop(tmp_path, 6)


@pytest.mark.sim
@pytest.mark.timeout(1800)
def test_a_daemon_killed_a_hundred_times_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    rebuilt, begun = loop(tmp_path, 100)
    assert 0 < rebuilt < begun, "no rebuild came to its end, or none was killed"
