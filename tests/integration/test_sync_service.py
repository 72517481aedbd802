"""RegistrySyncService over the wire: whole deltas or nothing."""

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from eir.proto import check_pb2, sync_pb2
from tests.running import Daemon, Pipe, commit, delta, detail, operation, running

Push = sync_pb2.PushDeltaRequest
Code = grpc.StatusCode
KEY, OWNER = "35693803564380", "432110000000001"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    config = tmp_path_factory.mktemp("sync") / "eir.toml"
    config.write_text(
        """
        [limits]
        chunk_bytes_max = 4096
        delta_rows_max = 2000
        delta_bytes_max = 1048576
        pushes_waiting_max = 1
        push_idle_seconds_max = 1
        push_seconds_max = 4
        small_delta_rows_max = 50
        feeds_max = 30
        [guards]
        guarded_rows_min = 10
        [feeds.lenient]
        lenient = true
        """
    )
    with running(config.parent / "data", config=config) as daemon:
        yield daemon


@pytest.fixture
def feed(request: pytest.FixtureRequest) -> str:
    """A feed of the test's own."""
    return re.sub(r"[^a-z0-9]", "-", request.node.name)[-60:]


def imei(number: int) -> str:
    return f"35000000{number:06d}"


def refused(daemon: Daemon, messages: list[Push]) -> tuple[grpc.RpcError, list[sync_pb2.PushDeltaResponse]]:
    """How a push is refused, and what was answered before."""
    answers: list[Any] = []
    with pytest.raises(grpc.RpcError) as caught:
        answers.extend(daemon.sync.PushDelta(iter(messages), timeout=20))
    return caught.value, answers


def serial(daemon: Daemon) -> int:
    answer: sync_pb2.GetFeedPositionResponse = daemon.sync.GetFeedPosition(sync_pb2.GetFeedPositionRequest())
    return answer.serial


def test_every_message_is_acknowledged_in_order(daemon: Daemon, feed: str) -> None:
    rows = [operation("REGISTER", imei(index)) for index in range(20)]
    before = serial(daemon)
    answers = list(daemon.sync.PushDelta(iter(delta(rows, feed=feed, chunks=3)), timeout=20))
    assert [answer.WhichOneof("message") for answer in answers] == [
        "accepted",
        *["chunk_durable"] * 3,
        "applied",
    ]
    assert [answer.chunk_durable.index for answer in answers[1:4]] == [0, 1, 2]
    applied = answers[-1].applied
    assert (applied.serial, applied.repeat, applied.dry_run) == (before + 1, False, False)
    assert [(effect.table, effect.added, effect.removed) for effect in applied.effects] == [
        ("registered", 20, 0)
    ]
    assert serial(daemon) == before + 1


def test_a_repeat_is_acknowledged_and_changes_nothing(daemon: Daemon, feed: str) -> None:
    messages = delta([operation("REGISTER", imei(1000))], feed=feed)
    first = list(daemon.sync.PushDelta(iter(messages)))[-1].applied
    again = list(daemon.sync.PushDelta(iter(messages)))
    assert again[0].accepted.repeat
    assert (again[-1].applied.repeat, again[-1].applied.serial) == (True, first.serial)
    assert serial(daemon) == first.serial


def test_a_dry_run_reports_and_changes_nothing(daemon: Daemon, feed: str) -> None:
    before = serial(daemon)
    applied = daemon.push(operation("REGISTER", imei(1100)), feed=feed, dry_run=True)
    assert (applied.dry_run, applied.serial) == (True, before)
    assert applied.effects[0].added == 1
    assert serial(daemon) == before


def test_a_heartbeat_has_no_rows(daemon: Daemon, feed: str) -> None:
    now = int(time.time())
    answers = list(daemon.sync.PushDelta(iter([delta([], feed=feed, complete_until=now)[0], commit()])))
    assert [answer.WhichOneof("message") for answer in answers] == ["accepted", "applied"]
    position = daemon.sync.GetFeedPosition(sync_pb2.GetFeedPositionRequest(feed=feed)).feeds[0]
    assert (position.sequence, position.complete_until) == (1, now)


def test_a_feed_that_was_never_used_stands_at_0(daemon: Daemon) -> None:
    (position,) = daemon.sync.GetFeedPosition(sync_pb2.GetFeedPositionRequest(feed="never")).feeds
    assert position == sync_pb2.FeedPosition(feed="never")


def test_a_gap_says_what_is_expected(daemon: Daemon, feed: str) -> None:
    daemon.push(operation("REGISTER", imei(1200)), feed=feed)
    error, answers = refused(daemon, delta([], feed=feed, base=5))
    assert (error.code(), answers) == (Code.FAILED_PRECONDITION, [])
    info = detail(error)
    assert (info.reason, info.metadata["expected_base_sequence"]) == ("DELTA_GAP", "1")


def test_another_delta_under_a_sequence_is_a_conflict(daemon: Daemon, feed: str) -> None:
    daemon.push(operation("REGISTER", imei(1300)), feed=feed)
    error, _ = refused(daemon, delta([operation("REGISTER", imei(1301))], feed=feed))
    assert (error.code(), detail(error).reason) == (Code.ALREADY_EXISTS, "DELTA_CONFLICT")


def test_bad_rows_are_reported_before_the_error(daemon: Daemon, feed: str) -> None:
    before = serial(daemon)
    rows = [
        operation("REGISTER", imei(1400)),
        operation("UNPAIR", imei(1401), imsi=OWNER),
        operation("PAIR", "x?"),
    ]
    error, answers = refused(daemon, delta(rows, feed=feed))
    assert (error.code(), detail(error).reason) == (Code.FAILED_PRECONDITION, "DELTA_ROWS_REFUSED")
    report = answers[-1].refused
    assert (report.reason, report.bad_row_count) == ("DELTA_ROWS_REFUSED", 2)
    assert [row.row for row in report.bad_rows] == [1, 2]
    assert report.bad_rows[0].reason == "NOT_THERE"
    assert detail(error).metadata["bad_row_count"] == "2"
    assert serial(daemon) == before


def test_a_report_names_a_thousand_rows_and_counts_all(daemon: Daemon, feed: str) -> None:
    rows = [operation("TRACK", imei(2000 + index // 2)) for index in range(120)]
    rows += [operation("UNTRACK", imei(5000 + index)) for index in range(1200)]
    payloads = [rows[start : start + 100] for start in range(0, len(rows), 100)]
    raw = [sync_pb2.DeltaRows(operations=part).SerializeToString() for part in payloads]
    messages = [
        delta(rows, feed=feed)[0],
        *(Push(chunk=sync_pb2.DeltaChunk(index=index, payload=part)) for index, part in enumerate(raw)),
        commit(*raw),
    ]
    _, answers = refused(daemon, messages)
    report = answers[-1].refused
    assert report.bad_row_count > 1200
    assert len(report.bad_rows) == 1000


def test_a_lenient_feed_ignores_and_counts(daemon: Daemon) -> None:
    before = daemon.metric("eir_delta_rows_ignored_total")
    applied = daemon.push(operation("REGISTER", imei(1500)), operation("UNTRACK", imei(1501)), feed="lenient")
    assert (applied.ignored_row_count, [row.row for row in applied.bad_rows]) == (1, [1])
    assert daemon.metric("eir_delta_rows_ignored_total") - before == 1


def test_a_guard_refuses_with_the_effects_and_can_be_overridden(daemon: Daemon, feed: str) -> None:
    daemon.push(*(operation("TRACK", imei(8000 + index)) for index in range(20)), feed=feed)
    rows = [operation("UNTRACK", imei(8000 + index)) for index in range(15)]
    trips = daemon.metric("eir_guard_trips_total")
    error, answers = refused(daemon, delta(rows, feed=feed, base=1))
    assert (error.code(), detail(error).reason) == (Code.FAILED_PRECONDITION, "DELTA_GUARD")
    report = answers[-1].refused
    assert [(effect.table, effect.removed) for effect in report.effects] == [("tracked", 15)]
    assert daemon.metric("eir_guard_trips_total") - trips == 1
    assert daemon.metric('eir_deltas_refused_total{reason="DELTA_GUARD"}') >= 1
    assert any('"delta refused"' in line and "DELTA_GUARD" in line and feed in line for line in daemon.log)
    applied = daemon.push(*rows, feed=feed, override_guards=True)
    assert applied.effects[0].removed == 15


HEADER, CHUNK = delta([operation("REGISTER", imei(1600))], feed="order")[:2]


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "the stream ended where header was expected"),
        ([CHUNK], "chunk came where header was expected"),
        ([commit()], "commit came where header was expected"),
        ([Push()], "an empty message came where header was expected"),
        ([HEADER, HEADER], "header came where chunk or commit was expected"),
        ([HEADER, Push()], "an empty message came where chunk or commit was expected"),
        ([HEADER, CHUNK], "the stream ended where chunk or commit was expected"),
        ([HEADER, Push(chunk=sync_pb2.DeltaChunk(index=1))], "chunk index 1: expected 0"),
        ([HEADER, CHUNK, CHUNK], "chunk index 0: expected 1"),
        ([HEADER, Push(chunk=sync_pb2.DeltaChunk(index=0, payload=b"\xff"))], "payload"),
        ([Push(header=sync_pb2.DeltaHeader(feed="No Feed", sequence=1))], "feed"),
        ([Push(header=sync_pb2.DeltaHeader(feed="order", sequence=0))], "sequence"),
    ],
)
def test_messages_out_of_order_change_nothing(daemon: Daemon, messages: list[Push], says: str) -> None:
    before = serial(daemon)
    error, _ = refused(daemon, messages)
    assert (error.code(), detail(error).reason) == (Code.INVALID_ARGUMENT, "DELTA_INVALID")
    assert says in error.details()
    assert serial(daemon) == before


def test_bytes_that_are_no_message_are_refused(daemon: Daemon) -> None:
    call = daemon.manage_channel.stream_stream("/eir.v1.RegistrySyncService/PushDelta")
    with pytest.raises(grpc.RpcError) as caught:
        list(call(iter([b"\xff"])))
    assert (caught.value.code(), detail(caught.value).reason) == (Code.INVALID_ARGUMENT, "INVALID_REQUEST")


def test_other_content_than_hashed_is_refused(daemon: Daemon, feed: str) -> None:
    header, chunk, _ = delta([operation("REGISTER", imei(1700))], feed=feed)
    for last in (commit(b"other"), commit()):
        error, _ = refused(daemon, [header, chunk, last])
        assert (error.code(), detail(error).reason) == (Code.INVALID_ARGUMENT, "DELTA_HASH_MISMATCH")


def test_another_number_of_rows_than_the_header_says_is_refused(daemon: Daemon, feed: str) -> None:
    for count in (0, 2):
        error, _ = refused(daemon, delta([operation("REGISTER", imei(1800))], feed=feed, row_count=count))
        assert detail(error).reason == "DELTA_ROW_COUNT_MISMATCH"


def test_a_delta_that_is_too_large_is_refused_at_once(daemon: Daemon, feed: str) -> None:
    error, answers = refused(daemon, [delta([], feed=feed, row_count=2001)[0]])
    assert (error.code(), detail(error).reason, answers) == (Code.RESOURCE_EXHAUSTED, "DELTA_TOO_LARGE", [])
    assert detail(error).metadata["delta_rows_max"] == "2000"
    chunk = Push(chunk=sync_pb2.DeltaChunk(index=0, payload=b"x" * 4097))
    error, _ = refused(daemon, [delta([], feed=feed)[0], chunk])
    assert (error.code(), detail(error).metadata["chunk_bytes_max"]) == (Code.RESOURCE_EXHAUSTED, "4096")


def test_a_stream_that_breaks_leaves_nothing_behind(daemon: Daemon, feed: str) -> None:
    header, chunk, last = delta([operation("REGISTER", imei(1900))], feed=feed)
    before = serial(daemon)
    pipe = Pipe()
    answers = daemon.sync.PushDelta(iter(pipe), timeout=20)
    pipe.send(header, chunk)
    assert next(answers).HasField("accepted")
    assert next(answers).HasField("chunk_durable")
    answers.cancel()
    pipe.close()
    assert daemon.check(imei(1900), OWNER).reason == check_pb2.VERDICT_REASON_NOT_REGISTERED
    applied = list(daemon.sync.PushDelta(iter([header, chunk, last]), timeout=20))[-1].applied
    assert (applied.repeat, applied.serial) == (False, before + 1)
    assert daemon.check(imei(1900), OWNER).reason == check_pb2.VERDICT_REASON_NEVER_ACTIVATED


def test_a_sender_that_falls_silent_loses_its_turn(daemon: Daemon, feed: str) -> None:
    pipe = Pipe()
    answers = daemon.sync.PushDelta(iter(pipe), timeout=20)
    pipe.send(delta([], feed=feed)[0])
    assert next(answers).HasField("accepted")
    with pytest.raises(grpc.RpcError) as caught:
        next(answers)
    pipe.close()
    assert detail(caught.value).reason == "DELTA_INVALID"
    assert "for 1 seconds" in caught.value.details()


def test_deltas_take_turns_and_few_wait(daemon: Daemon, feed: str) -> None:
    pipe = Pipe()
    first = daemon.sync.PushDelta(iter(pipe), timeout=20)
    pipe.send(delta([], feed=feed)[0])
    assert next(first).HasField("accepted")
    waiting: list[Any] = []
    second = threading.Thread(
        target=lambda: waiting.extend(daemon.sync.PushDelta(iter(delta([], feed=feed, base=1)), timeout=20))
    )
    second.start()
    for _ in range(100):
        if daemon.metric("eir_pushes_waiting") == 1:
            break
        time.sleep(0.01)
    error, _ = refused(daemon, delta([], feed=feed, base=2))
    assert (error.code(), detail(error).reason) == (Code.UNAVAILABLE, "WRITER_BUSY")
    pipe.send(commit())
    pipe.close()
    applied = [answer.applied.serial for answer in first]
    second.join(20)
    assert waiting[-1].applied.serial == applied[0] + 1
    assert daemon.metric("eir_pushes_waiting") == 0


def test_small_deltas_of_other_feeds_go_in_between_the_chunks_of_a_large_one(
    daemon: Daemon, feed: str
) -> None:
    pipe = Pipe()
    first = daemon.sync.PushDelta(iter(pipe), timeout=20)
    header, chunk, last = delta([operation("REGISTER", imei(190_000 + row)) for row in range(60)], feed=feed)
    pipe.send(header, chunk)
    assert [next(first).WhichOneof("message") for _ in range(2)] == ["accepted", "chunk_durable"]
    small = daemon.push(operation("REGISTER", imei(190_100)), feed=f"{feed}-2").serial
    # Two large ones would take twice the memory: the second waits.
    pipe_2 = Pipe()
    second = daemon.sync.PushDelta(iter(pipe_2), timeout=20)
    pipe_2.send(*delta([operation("REGISTER", imei(190_200 + row)) for row in range(60)], feed=f"{feed}-3"))
    for _ in range(100):
        if daemon.metric("eir_pushes_waiting") == 1:
            break
        time.sleep(0.01)
    pipe.send(last)
    pipe.close()
    assert [answer.applied.serial for answer in first] == [small + 1]
    assert list(second)[-1].applied.serial == small + 2
    pipe_2.close()


def test_a_sender_that_is_never_silent_for_long_must_come_to_an_end(daemon: Daemon, feed: str) -> None:
    pipe = Pipe()
    answers = daemon.sync.PushDelta(iter(pipe), timeout=20)
    rows = [operation("REGISTER", imei(191_000 + row)) for row in range(40)]
    header, *chunks, _ = delta(rows, feed=feed, chunks=40)
    began = time.monotonic()
    pipe.send(header)

    def trickle() -> None:
        for chunk in chunks:
            next(answers)
            time.sleep(0.25)
            pipe.send(chunk)

    with pytest.raises(grpc.RpcError) as caught:
        trickle()
    pipe.close()
    assert 3 < time.monotonic() - began < 10, "not as long as it takes to send all"
    assert detail(caught.value).reason == "DELTA_INVALID"
    assert "no commit came for 4 seconds" in caught.value.details()
    assert daemon.push(operation("REGISTER", imei(191_100)), feed=feed).serial, "the feed is free again"


def test_a_feed_that_is_ahead_of_our_clock_is_believed_up_to_there_only(daemon: Daemon, feed: str) -> None:
    before = daemon.metric("eir_feed_ahead_total")
    daemon.push(operation("REGISTER", imei(192_000)), feed=feed, complete_until=4_000_000_000)
    position = daemon.sync.GetFeedPosition(sync_pb2.GetFeedPositionRequest(feed=feed)).feeds[0]
    assert time.time() + 200 < position.complete_until <= time.time() + 300
    assert daemon.metric("eir_feed_ahead_total") == before + 1
    soon = int(time.time()) + 100
    daemon.push(operation("REGISTER", imei(192_001)), feed=feed, complete_until=soon)
    position = daemon.sync.GetFeedPosition(sync_pb2.GetFeedPositionRequest(feed=feed)).feeds[0]
    assert position.complete_until == soon
    assert daemon.metric("eir_feed_ahead_total") == before + 1


def test_checks_see_a_delta_when_it_is_acknowledged(daemon: Daemon, feed: str) -> None:
    for number in range(20):
        phone = imei(100_000 + number)
        applied = daemon.push(
            operation("REGISTER", phone), operation("PAIR", phone, imsi=OWNER, role="OWNER"), feed=feed
        )
        answer = daemon.check(phone, OWNER)
        assert (answer.reason, answer.serial) == (check_pb2.VERDICT_REASON_OWNER, applied.serial)


def test_the_number_of_feeds_is_bounded(daemon: Daemon) -> None:
    known = len(daemon.sync.GetFeedPosition(sync_pb2.GetFeedPositionRequest()).feeds)
    for number in range(known, 30):
        daemon.push(feed=f"more-{number}")
    error, _ = refused(daemon, delta([], feed="one-too-many"))
    assert (detail(error).reason, detail(error).metadata["feeds_max"]) == ("DELTA_INVALID", "30")
    assert daemon.push(feed="more-29").serial


def test_who_sends_no_header_keeps_nobody_waiting(tmp_path: Path) -> None:
    with running(tmp_path / "data") as daemon:  # 30 seconds idle are allowed
        pipes = [Pipe() for _ in range(12)]  # more than may wait for the writer
        silent = [daemon.sync.PushDelta(iter(pipe)) for pipe in pipes]
        began = time.monotonic()
        assert daemon.push(operation("REGISTER", imei(1))).serial == 1
        assert time.monotonic() - began < 10
        for call, pipe in zip(silent, pipes, strict=True):
            call.cancel()
            pipe.close()
