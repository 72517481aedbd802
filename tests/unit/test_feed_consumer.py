"""One feed on its stream: what comes, what does not come, and what should not have come."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import random
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from feed_stream import Follows, MemoryStream, delta_messages
from structlog.testing import capture_logs

from eir.errors import FeedStateError, StorageError
from eir.feed import consumer as module
from eir.feed.follower import START, Bounds, FeedState
from eir.feed.message import MESSAGE_BYTES_MAX, Begin, Chunk, Commit, Heartbeat, encode
from eir.settings import Limits as ConfigLimits
from eir.whitelist.operation import Operation
from eir.whitelist.rows import Op
from eir.whitelist.store import Store

NOW = 1_800_000_000
KEY = 35693803564380


@pytest.fixture(autouse=True)
def keep_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_SECONDS", 0.0)


@pytest.fixture
def stream() -> MemoryStream:
    return MemoryStream()


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def register(sequence: int, count: int = 1, **more: object) -> list[object]:
    """A delta that registers IMEIs of its own."""
    rows = [Operation(Op.REGISTER, KEY + 100 * sequence + place) for place in range(count)]
    return list(delta_messages(sequence, rows, **more))  # type: ignore[arg-type]


def follow(
    folder: Path, stream: MemoryStream, work: Callable[[Follows], Awaitable[None]], **options: object
) -> None:
    """Follow with a daemon on a folder, and close it."""

    async def inside() -> None:
        store = Store.open(folder, clock=lambda: NOW)
        daemon = Follows(store, {"feed": stream}, NOW, **options)  # type: ignore[arg-type]
        try:
            await work(daemon)
        finally:
            daemon.stop()
            store.close()

    asyncio.run(inside())


@asynccontextmanager
async def running(consumer: module.Consumer) -> AsyncIterator[None]:
    """Let a consumer follow by itself."""
    task = asyncio.create_task(consumer.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def position(daemon: Follows) -> int:
    return daemon.store.position("feed")


def state(daemon: Follows) -> FeedState:
    return daemon.consumers["feed"].state


def test_deltas_are_applied_as_they_come(folder: Path, stream: MemoryStream) -> None:
    async def work(daemon: Follows) -> None:
        stream.send(*register(1, 5, parts=3))
        await daemon.settle()
        stream.send(*register(2), Heartbeat("feed", 2, NOW - 5))
        await daemon.settle()
        assert daemon.store.counts["registered"] == 6
        assert daemon.store.feeds()[0].complete_until == NOW - 5
        assert (position(daemon), state(daemon), daemon.refusals()) == (2, FeedState.FOLLOWING, {})
        assert (daemon.metric("messages_total"), daemon.metric("lag_messages")) == (9, 0)
        assert daemon.metric("stream_sequence") == 2

    follow(folder, stream, work)


def test_a_restart_reads_on_and_nothing_twice(folder: Path, stream: MemoryStream) -> None:
    async def first(daemon: Follows) -> None:
        stream.send(*register(1), *register(2), *register(3, 4, parts=4)[:3])
        await daemon.settle()
        assert position(daemon) == 2

    async def second(daemon: Follows) -> None:
        stream.send(*register(3, 4, parts=4)[3:])
        await daemon.settle()
        assert position(daemon) == 3
        assert daemon.metric("messages_total") == 6
        assert daemon.refusals() == {}

    follow(folder, stream, first)
    follow(folder, stream, second)


@pytest.mark.parametrize("fault", ["flush", "trim", "lose", "down", "replaced"])
def test_a_stream_that_changed_meanwhile_is_read_from_where_it_helps(
    folder: Path, stream: MemoryStream, fault: str
) -> None:
    async def work(daemon: Follows) -> None:
        for sequence in range(1, 5):
            stream.send(*register(sequence))
        await daemon.settle()
        stream.up = False
        await daemon.step("feed", 2)
        assert state(daemon) is FeedState.CONNECTING
        if fault == "flush":
            stream.flush()
            stream.send(*register(5))
        elif fault == "trim":
            stream.trim(0)
        elif fault == "lose":
            stream.lose(5)
            stream.send(*register(3), *register(4, transfer="again"))
        elif fault == "replaced":  # as many entries under the same ids, others
            stream.flush()
            for sequence in (3, 4, 5):
                stream.send(*register(sequence), Heartbeat("feed", sequence, 1))
        if fault not in ("flush", "replaced"):
            stream.send(*register(5))
        stream.up = True
        await daemon.settle()
        assert (position(daemon), state(daemon), daemon.refusals()) == (5, FeedState.FOLLOWING, {})
        assert daemon.metric("connects_total") == 2

    follow(folder, stream, work)


def test_a_stream_replaced_without_a_lost_connection_is_noticed_when_nothing_comes(
    folder: Path, stream: MemoryStream
) -> None:
    async def work(daemon: Follows) -> None:
        stream.send(*register(1), *register(2))
        await daemon.settle()
        stream.flush()
        stream.send(*register(3))
        await daemon.settle()
        assert position(daemon) == 3

    follow(folder, stream, work)


def test_a_stream_emptied_unnoticed_whose_ids_have_passed_ours_is_read_again_from_its_first_entry(
    folder: Path, stream: MemoryStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(daemon: Follows) -> None:
        stream.send(*register(1))
        await daemon.settle()
        stream.flush()
        stream.send(*register(2), *register(3), *register(4))
        await daemon.settle()
        assert (position(daemon), state(daemon)) == (1, FeedState.SNAPSHOT)
        monkeypatch.setattr(module, "RESCAN_SECONDS", 0.0)
        await daemon.settle()
        assert (position(daemon), state(daemon)) == (4, FeedState.FOLLOWING)

    follow(folder, stream, work)


def test_a_gap_is_said_and_ends_when_what_is_missing_comes(folder: Path, stream: MemoryStream) -> None:
    async def work(daemon: Follows) -> None:
        stream.send(*register(1))
        await daemon.settle()
        consumer = daemon.consumers["feed"]
        for sequence in (4, 5, 6):
            stream.send(*register(sequence))
        stream.send(Heartbeat("feed", 6, NOW))
        await daemon.settle()
        assert (position(daemon), state(daemon), consumer.snapshot_needed) == (1, FeedState.SNAPSHOT, True)
        assert "stands at sequence 1" in consumer.message
        assert daemon.metric("gaps_total") == 1
        assert daemon.metric("snapshot_needed") == 1
        assert daemon.metric("state", state="snapshot") == 1
        assert daemon.store.feeds()[0].complete_until == 0
        stream.send(*register(3))
        await daemon.settle()
        assert position(daemon) == 1
        stream.send(*register(2))
        await daemon.settle()
        # 3 came before 2, and 4 to 6 before both: all are found again by their places.
        assert (position(daemon), state(daemon), consumer.snapshot_needed) == (6, FeedState.FOLLOWING, False)
        assert daemon.metric("gaps_total") == 1
        assert daemon.store.feeds()[0].complete_until == NOW

    follow(folder, stream, work)


def test_a_gap_survives_a_restart_and_so_does_what_came_after_it(folder: Path, stream: MemoryStream) -> None:
    async def first(daemon: Follows) -> None:
        stream.send(*register(1), *register(3))
        await daemon.settle()
        assert state(daemon) is FeedState.SNAPSHOT

    async def second(daemon: Follows) -> None:
        await daemon.settle()
        assert state(daemon) is FeedState.SNAPSHOT
        stream.send(*register(2))
        await daemon.settle()
        assert position(daemon) == 3

    follow(folder, stream, first)
    follow(folder, stream, second)


def test_a_gap_ends_when_the_feed_is_brought_on_by_other_means(folder: Path, stream: MemoryStream) -> None:
    async def work(daemon: Follows) -> None:
        stream.send(*register(1), *register(8, base=7), *register(9))
        await daemon.settle()
        with pytest.raises(FeedStateError, match="stands at sequence 1 already"):
            await daemon.intake.skip("feed", 1, "me", "test")
        await daemon.intake.skip("feed", 7, "me", "a snapshot was loaded")
        await daemon.settle()
        assert (position(daemon), state(daemon)) == (9, FeedState.FOLLOWING)
        assert "skipped from sequence 1 to 7" in daemon.store.journal.audit_rows()[0].what

    follow(folder, stream, work)


def test_a_registry_that_stands_where_we_do_ends_a_false_alarm(folder: Path, stream: MemoryStream) -> None:
    async def work(daemon: Follows) -> None:
        stream.send(*register(1), *register(900))
        await daemon.settle()
        assert state(daemon) is FeedState.SNAPSHOT
        stream.send(Heartbeat("feed", 1, NOW))
        await daemon.settle()
        assert state(daemon) is FeedState.FOLLOWING
        stream.send(*register(2))
        await daemon.settle()
        assert (position(daemon), state(daemon)) == (2, FeedState.FOLLOWING)

    follow(folder, stream, work)


def test_a_refused_delta_stops_the_feed_until_a_correct_one_comes(folder: Path, stream: MemoryStream) -> None:
    async def work(daemon: Follows) -> None:
        bad = delta_messages(2, [Operation(Op.REGISTER, KEY + 100), Operation(Op.REGISTER, KEY)])
        stream.send(*register(1), *bad, *register(3), Heartbeat("feed", 3, NOW))
        await daemon.settle()
        consumer = daemon.consumers["feed"]
        assert (position(daemon), state(daemon), consumer.snapshot_needed) == (1, FeedState.REFUSED, False)
        assert "sequence 2 was refused: 1 rows cannot be applied: row 0 ALREADY_THERE" in consumer.message
        assert daemon.refusals()["DELTA_ROWS_REFUSED"] == 1
        assert daemon.store.counts["registered"] == 1
        stream.send(*register(2, transfer="corrected"))
        await daemon.settle()
        assert (position(daemon), state(daemon)) == (3, FeedState.FOLLOWING)

    follow(folder, stream, work)


def test_a_refusal_survives_a_restart(folder: Path, stream: MemoryStream) -> None:
    async def first(daemon: Follows) -> None:
        stream.send(*register(1), *delta_messages(2, [Operation(Op.DEREGISTER, 1)]), *register(3))
        await daemon.settle()

    async def second(daemon: Follows) -> None:
        await daemon.settle()
        assert (position(daemon), state(daemon)) == (1, FeedState.REFUSED)

    follow(folder, stream, first)
    follow(folder, stream, second)


def test_an_operator_accepts_a_refused_delta_without_its_bad_rows(folder: Path, stream: MemoryStream) -> None:
    async def work(daemon: Follows) -> None:
        rows = [Operation(Op.REGISTER, KEY + 100), Operation(Op.REGISTER, KEY)]
        stream.send(*register(1), *delta_messages(2, rows), *register(3))
        await daemon.settle()
        consumer = daemon.consumers["feed"]
        with pytest.raises(FeedStateError, match="does not stand before a refused delta of sequence 3"):
            consumer.accept(3)
        consumer.accept(2)
        await daemon.settle()
        assert (position(daemon), state(daemon)) == (3, FeedState.FOLLOWING)
        assert daemon.store.counts["registered"] == 3
        assert daemon.store.journal.find_delta("feed", 2).overridden == 1  # type: ignore[union-attr]

    follow(folder, stream, work)


def test_an_operator_skips_a_refused_delta(folder: Path, stream: MemoryStream) -> None:
    async def work(daemon: Follows) -> None:
        stream.send(*register(1), *delta_messages(2, [Operation(Op.DEREGISTER, 1)]), *register(3))
        await daemon.settle()
        await daemon.intake.skip("feed", 2, "me", "test")
        await daemon.settle()
        assert (position(daemon), state(daemon)) == (3, FeedState.FOLLOWING)

    follow(folder, stream, work)


def sent(*messages: object) -> list[list[bytes]]:
    return [encode(message) for message in messages]  # type: ignore[arg-type]


HASH = hashlib.sha256(b"").digest()
ONE, TWO = register(1, 6, parts=3), register(2)
begin, chunks, commit = ONE[0], ONE[1:-1], ONE[-1]
assert isinstance(begin, Begin)
assert isinstance(commit, Commit)


@pytest.mark.parametrize(
    ("entries", "refusals", "reached"),
    [
        (sent(*ONE, *ONE, *TWO), {}, 2),
        (
            sent(begin, begin, chunks[0], chunks[0], chunks[1], chunks[0], chunks[2], commit, commit, *TWO),
            {},
            2,
        ),
        (sent(*register(1, 6, parts=3, transfer="x")[:3], *ONE, *TWO), {"TRANSFER_ABANDONED": 1}, 2),
        (sent(begin, chunks[1], chunks[0], chunks[2], commit), {"TRANSFER_INCOMPLETE": 1}, 0),
        (sent(begin, chunks[0], chunks[2], commit, *ONE, *TWO), {"TRANSFER_INCOMPLETE": 1}, 2),
        (sent(begin, chunks[0], chunks[1], commit), {"TRANSFER_INCOMPLETE": 1}, 0),
        (sent(*chunks, commit), {"TRANSFER_UNKNOWN": 4}, 0),
        (
            sent(begin, *chunks, dataclasses.replace(commit, content_sha256=HASH)),
            {"DELTA_HASH_MISMATCH": 1},
            0,
        ),
        (
            sent(dataclasses.replace(begin, row_count=7), *ONE[1:]),
            {"DELTA_ROW_COUNT_MISMATCH": 1},
            0,
        ),
        (sent(dataclasses.replace(begin, row_count=1), *ONE[1:]), {"DELTA_ROW_COUNT_MISMATCH": 1}, 0),
        (sent(dataclasses.replace(begin, row_count=1 << 40), *ONE[1:]), {"DELTA_TOO_LARGE": 1}, 0),
        (sent(begin, Chunk("feed", 1, "t1", 0, b"\xff\xff"), *ONE[2:], *ONE, *TWO), {"DELTA_INVALID": 1}, 2),
        (sent(begin, Chunk("feed", 1, "t1", 0, b""), *ONE[2:]), {"DELTA_INVALID": 1}, 0),
        (sent(*register(1, feed="other"), *ONE), {"MESSAGE_FEED": 3}, 1),
        ([[b"v", b"9", b"type", b"begin"], *sent(*ONE)], {"MESSAGE_VERSION": 1}, 1),
        ([[b"a", b"b"], [b"v", b"1"], *sent(*ONE)], {"MESSAGE_VERSION": 1, "MESSAGE_TYPE": 1}, 1),
        (sent(*ONE, *delta_messages(1, [])), {"DELTA_CONFLICT": 1}, 1),
        (sent(*ONE, Heartbeat("feed", 1, NOW + 301), *TWO), {"HEARTBEAT_TIME": 1}, 2),
        (sent(begin, TWO[0], chunks[0], TWO[1], *chunks[1:], commit, TWO[2], *TWO), {"DELTA_GAP": 1}, 2),
        (sent(*delta_messages(3, [], base=0), *ONE, *TWO), {"DELTA_CONFLICT": 1}, 3),
        (sent(*ONE, *delta_messages(4, [], base=0), *TWO), {"DELTA_GAP": 1}, 2),
    ],
)
def test_what_a_stream_may_hold(
    folder: Path, stream: MemoryStream, entries: list[list[bytes]], refusals: dict[str, int], reached: int
) -> None:
    """Each fault is counted by its cause; no delta is applied in part, and what can go on goes on."""

    async def work(daemon: Follows) -> None:
        for fields in entries:
            stream.add(fields)
        await daemon.settle()
        assert position(daemon) == reached
        assert daemon.store.counts["registered"] == {0: 0, 1: 6, 2: 7, 3: 0}[reached]
        if reached != 3:
            assert daemon.refusals() == refusals
        assert daemon.store.journal._one("SELECT count(DISTINCT token) FROM chunks") == min(
            reached, 2
        ) % 3 * (reached < 3)

    follow(folder, stream, work)


def test_interleaved_transfers_are_told_apart_and_the_first_commit_wins(
    folder: Path, stream: MemoryStream
) -> None:
    async def work(daemon: Follows) -> None:
        other = register(1, 6, parts=3, transfer="other")
        for pair in zip(ONE, other, strict=True):
            stream.send(*pair)  # type: ignore[arg-type]
        stream.send(*TWO)  # type: ignore[arg-type]
        await daemon.settle()
        assert (position(daemon), state(daemon)) == (2, FeedState.FOLLOWING)
        assert daemon.refusals() == {"TRANSFER_ABANDONED": 1}

    follow(folder, stream, work)


def test_transfers_on_their_way_are_bounded(folder: Path, stream: MemoryStream) -> None:
    async def work(daemon: Follows) -> None:
        for number in range(9):
            stream.send(*register(1, 3, parts=3, transfer=f"x{number}")[:2])
        stream.send(*ONE)  # type: ignore[arg-type]
        await daemon.settle()
        assert position(daemon) == 1
        assert daemon.refusals() == {"TRANSFER_ABANDONED": 9}
        await daemon.intake.position("feed")
        assert daemon.store.journal._one("SELECT count(*) FROM chunks") == 3

    follow(folder, stream, work, bounds=Bounds(transfers_max=2))


def test_a_delta_on_another_history_is_refused_as_a_conflict(folder: Path, stream: MemoryStream) -> None:
    async def work(daemon: Follows) -> None:
        stream.send(*register(1))
        stream.send(*register(2, base_sha256=HASH))
        await daemon.settle()
        consumer = daemon.consumers["feed"]
        assert (position(daemon), state(daemon), consumer.snapshot_needed) == (1, FeedState.REFUSED, True)
        right = register(1)[-1]
        assert isinstance(right, Commit)
        stream.send(*register(2, base_sha256=right.content_sha256, transfer="right"))
        await daemon.settle()
        assert (position(daemon), state(daemon)) == (2, FeedState.FOLLOWING)

    follow(folder, stream, work)


def test_an_entry_too_large_to_be_read_is_passed_over(folder: Path, stream: MemoryStream) -> None:
    async def work(daemon: Follows) -> None:
        huge = [b"v", b"1", b"payload", bytes(4 * MESSAGE_BYTES_MAX)]
        stream.send(*ONE[:2])  # type: ignore[arg-type]
        stream.add(huge)
        stream.send(*ONE[2:])  # type: ignore[arg-type]
        stream.add(huge)
        stream.send(*TWO)  # type: ignore[arg-type]
        await daemon.settle()
        assert position(daemon) == 2
        assert daemon.refusals() == {"MESSAGE_SIZE": 2}

    follow(folder, stream, work)


def test_deltas_that_are_too_large_together_are_given_up(folder: Path, stream: MemoryStream) -> None:
    async def work(daemon: Follows) -> None:
        stream.send(*ONE)  # type: ignore[arg-type]
        await daemon.settle()
        assert position(daemon) == 0
        assert daemon.refusals() == {"MESSAGE_SIZE": 1}

    follow(folder, stream, work, bounds=Bounds(delta_bytes_max=60))


def test_more_feeds_than_may_be_are_refused(folder: Path, stream: MemoryStream) -> None:
    async def work(daemon: Follows) -> None:
        await daemon.intake.skip("other", 1, "me", "test")
        stream.send(*ONE)  # type: ignore[arg-type]
        await daemon.settle()
        assert daemon.refusals() == {"DELTA_INVALID": 1}

    follow(folder, stream, work, limits=ConfigLimits(feeds_max=1))


def test_a_writer_that_cannot_write_is_waited_for(
    folder: Path, stream: MemoryStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(daemon: Follows) -> None:
        stream.send(*ONE, *TWO)  # type: ignore[arg-type]
        whole, times = daemon.store.journal.commit_delta, []

        def full(*given: object, **more: object) -> object:
            times.append(1)
            if len(times) < 3:
                raise StorageError("the disk is full")
            return whole(*given, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(daemon.store.journal, "commit_delta", full)
        monkeypatch.setattr(module, "BACKOFF_SECONDS_MIN", 0.01)
        consumer = daemon.consumers["feed"]
        seen = set()
        async with running(consumer):
            for _ in range(500):
                seen.add(consumer.state)
                if position(daemon) == 2:
                    break
                await asyncio.sleep(0.01)
        assert position(daemon) == 2
        assert FeedState.WAITING in seen
        assert daemon.refusals() == {}

    follow(folder, stream, work)


def test_the_task_outlives_what_goes_wrong_inside(
    folder: Path, stream: MemoryStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(daemon: Follows) -> None:
        monkeypatch.setattr(module, "BACKOFF_SECONDS_MIN", 0.01)
        consumer = daemon.consumers["feed"]
        step, times = consumer.step, []

        async def failing() -> None:
            times.append(1)
            if len(times) in (1, 3):
                raise ZeroDivisionError
            await step()

        monkeypatch.setattr(consumer, "step", failing)
        stream.send(*ONE)  # type: ignore[arg-type]
        async with running(consumer):
            for _ in range(500):
                if position(daemon) == 1 and len(times) > 4:
                    break
                await asyncio.sleep(0.01)
        assert position(daemon) == 1
        assert daemon.refusals()["INTERNAL"] == 2
        assert daemon.metric("connected") == 0

    follow(folder, stream, work)


def test_a_server_that_is_down_from_the_start_is_logged_once(
    folder: Path, stream: MemoryStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(daemon: Follows) -> None:
        monkeypatch.setattr(module, "BACKOFF_SECONDS_MIN", 0.001)
        stream.up = False
        consumer, attempts = daemon.consumers["feed"], 0
        step = consumer.step

        async def counted() -> None:
            nonlocal attempts
            attempts += 1
            stream.up = attempts > 3
            await step()

        monkeypatch.setattr(consumer, "step", counted)
        with capture_logs() as logs:
            async with running(consumer):
                async with asyncio.timeout(10):
                    while len(logs) < 2:
                        await asyncio.sleep(0.001)
        told = [(line["log_level"], line["event"], line["why"]) for line in logs]
        assert told == [
            ("warning", "feed connecting", "the server is down"),
            ("info", "feed following", ""),
        ]

    follow(folder, stream, work)


def test_a_delta_that_the_store_fails_on_stops_the_feed_and_not_the_task(
    folder: Path, stream: MemoryStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(daemon: Follows) -> None:
        stream.send(*ONE)  # type: ignore[arg-type]
        monkeypatch.setattr(daemon.store, "effects", lambda *_: 1 / 0)
        await daemon.settle()
        assert (position(daemon), state(daemon)) == (0, FeedState.REFUSED)
        assert daemon.refusals() == {"INTERNAL": 1}

    follow(folder, stream, work)


def test_another_way_in_beside_the_stream(folder: Path, stream: MemoryStream) -> None:
    """Somebody pushes sequence 2 over gRPC while its transfer is on the stream."""

    async def work(daemon: Follows) -> None:
        second = register(2, 4, parts=2)
        stream.send(*ONE, *second[:2])  # type: ignore[arg-type]
        await daemon.settle()
        await daemon.intake.skip("feed", 2, "me", "pushed")
        stream.send(*second[2:], *register(3))  # type: ignore[arg-type]
        await daemon.settle()
        assert (position(daemon), state(daemon)) == (3, FeedState.FOLLOWING)

    follow(folder, stream, work)


def test_how_far_behind_is_measured(
    folder: Path, stream: MemoryStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXTENT_SECONDS", 0.0)

    async def work(daemon: Follows) -> None:
        stream.send(*ONE)  # type: ignore[arg-type]
        await daemon.settle()
        assert daemon.metric("lag_messages") == 0
        stream.next = 5_001
        for sequence in range(2, 6):
            stream.send(*register(sequence))
        await daemon.step("feed")
        assert daemon.metric("lag_messages") == 8
        assert daemon.metric("lag_seconds") == pytest.approx(0.008)
        await daemon.settle()
        assert (daemon.metric("lag_messages"), daemon.metric("lag_seconds")) == (0, 0)
        assert daemon.metric("read_timestamp_seconds") == NOW

    follow(folder, stream, work)


def test_a_heartbeat_is_not_earlier_than_the_one_before(folder: Path, stream: MemoryStream) -> None:
    async def work(daemon: Follows) -> None:
        stream.send(Heartbeat("feed", 0, NOW - 9), *ONE)  # type: ignore[arg-type]
        stream.send(Heartbeat("feed", 1, NOW), Heartbeat("feed", 1, NOW - 5), Heartbeat("feed", 0, NOW - 9))
        await daemon.settle()
        record = daemon.store.feeds()[0]
        assert (record.complete_until, record.sequence) == (NOW, 1)
        assert state(daemon) is FeedState.FOLLOWING

    follow(folder, stream, work)


def test_back_off_grows_has_jitter_and_an_end(folder: Path, stream: MemoryStream) -> None:
    async def work(daemon: Follows) -> None:
        consumer = daemon.consumers["feed"]
        waits = [consumer._backoff_seconds(attempt) for attempt in range(1, 40)]
        assert 0.2 <= waits[0] <= 0.4
        assert all(15 <= wait <= 30 for wait in waits[10:])
        assert len(set(waits)) == len(waits)

    follow(folder, stream, work)


def test_only_what_is_finished_is_left_behind(folder: Path, stream: MemoryStream) -> None:
    async def work(daemon: Follows) -> None:
        follower = daemon.consumers["feed"].follower
        stream.send(*ONE[:2])  # type: ignore[arg-type]
        await daemon.settle()
        assert follower.resume == START
        stream.send(*ONE[2:])  # type: ignore[arg-type]
        await daemon.settle()
        assert follower.resume == follower.cursor == stream.entries[-1].place

    follow(folder, stream, work)


@pytest.mark.parametrize("seed", range(20))
def test_random_damage_never_makes_half_a_delta(folder: Path, stream: MemoryStream, seed: int) -> None:
    """Entries lost, swapped, repeated and cut at random; afterwards the registry sends all of it again."""
    rng = random.Random(seed)
    deltas = [register(sequence, 6, parts=3) for sequence in range(1, 8)]

    async def work(daemon: Follows) -> None:
        entries = [encode(message) for delta in deltas for message in delta]  # type: ignore[arg-type]
        for _ in range(12):
            place = rng.randrange(len(entries))
            match rng.choice(("lose", "swap", "repeat", "cut", "bend")):
                case "lose":
                    del entries[place]
                case "swap":
                    other = rng.randrange(len(entries))
                    entries[place], entries[other] = entries[other], entries[place]
                case "repeat":
                    entries.insert(rng.randrange(len(entries)), entries[place])
                case "cut":
                    entries[place] = entries[place][: rng.randrange(len(entries[place]))]
                case "bend":
                    field = rng.randrange(len(entries[place]) or 1)
                    bent = bytearray(entries[place][field] if entries[place] else b"")
                    if bent:
                        bent[rng.randrange(len(bent))] ^= 1 << rng.randrange(8)
                        entries[place] = [*entries[place][:field], bytes(bent), *entries[place][field + 1 :]]
        for fields in entries:
            stream.add(fields)
        await daemon.settle()
        assert daemon.store.counts["registered"] == 6 * position(daemon)
        for number, delta in enumerate(deltas):
            stream.send(*(dataclasses.replace(one, transfer=f"again{number}") for one in delta))  # type: ignore[type-var]
        await daemon.settle()
        assert (position(daemon), daemon.store.counts["registered"]) == (7, 42)
        assert state(daemon) is FeedState.FOLLOWING

    follow(folder, stream, work)
