"""A registry, its streams and three daemons, seeded: whatever happens on the way, all end as the plain model.

    registry ──deltas──► stream of each feed ──drops, repeats, flushes, trims──► three daemons, in any order
        └──plain model                                                              └── equal in the end

The feeds say things of different facts, as docs/redis-feed.md asks. Sent is
with every fault that a stream can have; at the end the registry sends again
what the streams do not hold. The seed is printed first; EIR_SIM_SEED replays it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

import delta_strategies as universe
import pytest
import random_deltas
import stores
from feed_stream import Follows, MemoryStream, delta_messages
from structlog.testing import capture_logs

from eir.check import Checker
from eir.feed import consumer as consumer_module
from eir.feed.follower import FeedState
from eir.feed.message import Heartbeat, Message
from eir.identity import imei_text, imsi_text
from eir.policy import compile_policy, default_policy_text
from eir.whitelist.algebra import State, perform
from eir.whitelist.operation import Operation, clashes
from eir.whitelist.rows import Op
from eir.whitelist.store import Limits

FEEDS = ("registry", "stolen", "numbers")
KINDS = {
    "registry": frozenset(Op) - {Op.BLOCK, Op.UNBLOCK, Op.SUBSCRIBER, Op.TAC, Op.REPLACE_SIM},
    "stolen": frozenset({Op.BLOCK, Op.UNBLOCK}),
    "numbers": frozenset({Op.SUBSCRIBER, Op.TAC}),
}
"""Facts of each feed: none says anything of what another does."""
POLICY = compile_policy(default_policy_text(), "default policy")
DAEMONS = 3


class Registry:
    """What is true, and what was sent."""

    def __init__(self, random: Random) -> None:
        self.random, self.state = random, State()
        self.sent: dict[str, list[list[Message]]] = {feed: [] for feed in FEEDS}
        self.streams = {feed: MemoryStream() for feed in FEEDS}
        self.attempts = itertools.count()

    def delta(self, feed: str) -> None:
        """Make the next delta of a feed, and send it, well or badly."""
        rows: list[Operation] = []
        for row in itertools.chain(*(random_deltas.delta(self.random) for _ in range(2))):
            if row.op not in KINDS[feed]:
                continue
            if not clashes([*rows, row]) and not perform(self.state, [*rows, row]).bad:
                rows.append(row)
        self.state = perform(self.state, rows).state
        sequence = len(self.sent[feed]) + 1
        messages = delta_messages(sequence, rows, parts=self.random.randint(1, 4), feed=feed)
        self.sent[feed].append(messages)
        self._badly(feed, self.attempt(messages))

    def attempt(self, messages: Iterable[Message]) -> list[Message]:
        """The same delta under another name of transfer."""
        name = f"a{next(self.attempts)}"
        return [dataclasses.replace(one, transfer=name) for one in messages]  # type: ignore[type-var, misc]

    def _badly(self, feed: str, messages: list[Message]) -> None:
        random, stream = self.random, self.streams[feed]
        match random.choice(("well", "well", "well", "drop", "cut", "twice", "swap", "again", "not", "late")):
            case "drop":
                del messages[random.randrange(len(messages))]
            case "cut":
                del messages[random.randrange(len(messages)) :]
            case "twice":
                messages.insert(random.randrange(len(messages)), random.choice(messages))
            case "swap":
                one, two = random.randrange(len(messages)), random.randrange(len(messages))
                messages[one], messages[two] = messages[two], messages[one]
            case "again":
                stream.send(*self.attempt(random.choice(self.sent[feed])))
            case "not":
                messages = []
            case "late":
                if len(self.sent[feed]) > 1:
                    messages = [*messages, *self.attempt(self.sent[feed][-2])]
        stream.send(*messages)
        if random.random() < 0.3:
            stream.send(Heartbeat(feed, len(self.sent[feed]), stores.NOW))

    def fault(self) -> None:
        """Something happens to a server."""
        feed = self.random.choice(FEEDS)
        stream, count = self.streams[feed], len(self.streams[feed].entries)
        match self.random.choice(("flush", "trim", "lose", "down", "up", "garbage")):
            case "flush":
                stream.flush()
            case "trim":
                stream.trim(self.random.randint(0, count))
            case "lose":
                stream.lose(self.random.randint(0, min(count, 9)))
            case "down":
                stream.up = False
            case "up":
                stream.up = True
            case "garbage":
                stream.add([self.random.randbytes(5) for _ in range(self.random.randrange(7))])

    def send_all_again(self) -> None:
        """Everything, in order: what a registry does when it does not know what arrived."""
        for feed, stream in self.streams.items():
            stream.up = True
            for messages in self.sent[feed]:
                stream.send(*self.attempt(messages))
            stream.send(Heartbeat(feed, len(self.sent[feed]), stores.NOW))


class Node:
    """One daemon: it may be closed and opened again at any time."""

    def __init__(self, registry: Registry) -> None:
        self.folder: Path = stores.new_folder()
        self.registry = registry
        self.restarts = 0
        self._open()

    def _open(self) -> None:
        self.store = stores.opened(self.folder, limits=Limits(rebuild_bytes_per_second_max=0))
        self.follows = Follows(self.store, self.registry.streams, stores.NOW)

    def restart(self) -> None:
        self.close()
        self.restarts += 1
        self._open()

    def close(self) -> None:
        self.follows.stop()
        self.store.close()

    def verdicts(self) -> list[tuple[object, ...]]:
        """Every verdict of the small universe."""
        checker = Checker(self.store, POLICY, lambda: stores.NOW)
        imeis = [*map(imei_text, universe.KEYS), *universe.RAW_TEXTS]
        imsis = ["", *(imsi_text(code) for code in universe.IMSIS)]
        return [
            (imei, imsi, checker.check(imei, imsi, "", emergency=False)._replace(serial=0))
            for imei, imsi in itertools.product(imeis, imsis)
        ]


async def simulate(seed: int, steps: int) -> tuple[Registry, list[Node]]:
    """Run one seed to its end."""
    print(f"seed {seed}")
    random = Random(seed)
    registry = Registry(random)
    nodes = [Node(registry) for _ in range(DAEMONS)]
    for _ in range(steps):
        match random.choice(("delta", "delta", "poll", "poll", "poll", "fault", "restart")):
            case "delta":
                registry.delta(random.choice(FEEDS))
            case "poll":
                node = random.choice(nodes)
                await node.follows.step(random.choice(FEEDS), random.randint(1, 4))
            case "fault":
                registry.fault()
            case "restart":
                random.choice(nodes).restart()
    registry.send_all_again()
    for node in nodes:  # each polls its feeds in an order of its own
        order = random.sample(FEEDS, len(FEEDS))
        for feed in order:
            await node.follows.settle(feed, 5_000)
    return registry, nodes


def judged(seed: int, steps: int) -> int:
    """Simulate, compare, clean up; return how many refusals there were on the way."""
    registry, nodes = asyncio.run(simulate(seed, steps))
    try:
        for node in nodes:
            stores.assert_equal(node.store, registry.state)
            for feed in FEEDS:
                assert node.store.position(feed) == len(registry.sent[feed])
                assert node.follows.consumers[feed].state is FeedState.FOLLOWING
                assert node.follows.consumers[feed].message == ""
        one, *others = (node.verdicts() for node in nodes)
        assert all(other == one for other in others)
        assert all(record.complete_until == stores.NOW for node in nodes for record in node.store.feeds())
        return sum(sum(node.follows.refusals(feed).values()) for node in nodes for feed in FEEDS)
    finally:
        for node in nodes:
            node.close()
            shutil.rmtree(node.folder)


@pytest.fixture(autouse=True)
def quiet_and_keeping_often(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(consumer_module, "KEEP_SECONDS", 0.0)
    monkeypatch.setattr(consumer_module, "RESCAN_SECONDS", 0.0)
    with capture_logs():
        yield


def seeds(count: int) -> list[int]:
    """Seeds of a run; EIR_SIM_SEED replays one."""
    return [int(os.environ["EIR_SIM_SEED"])] if "EIR_SIM_SEED" in os.environ else list(range(count))


def test_three_daemons_end_equal_to_the_plain_model() -> None:
    refused = sum(judged(seed, 60) for seed in seeds(4))
    assert refused, "the streams had no faults"


@pytest.mark.sim
def test_three_daemons_end_equal_to_the_plain_model_many_times() -> None:
    for seed in seeds(40):
        judged(seed, 150)


def test_a_verdict_does_not_depend_on_the_order_in_which_feeds_are_polled() -> None:
    """After every delta sent, daemons that poll in each possible order answer alike."""
    random = Random(5)
    registry = Registry(random)

    async def inside() -> None:
        nodes = [Node(registry) for _ in itertools.permutations(FEEDS)]
        try:
            for _ in range(4):
                for feed in FEEDS * 2:
                    registry.delta(feed)
                registry.send_all_again()
                for node, order in zip(nodes, itertools.permutations(FEEDS), strict=True):
                    for feed in order:
                        await node.follows.settle(feed, 2_000)
                one, *others = (node.verdicts() for node in nodes)
                assert all(other == one for other in others)
            assert len({verdict for *_, verdict in one}) > 4, "the verdicts are all the same"
        finally:
            for node in nodes:
                node.close()
                shutil.rmtree(node.folder)

    asyncio.run(inside())
