"""Peers of the native engine that cost more than they bring, on real sockets: bounded, counted, harmless."""

import contextlib
import gzip
import threading
import time
from collections.abc import Iterator

import native_engine
import pytest
from http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW,
    PADDED,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    Calls,
    Client,
    frame,
    message,
    settings,
    window,
)

from eir.proto import check_pb2
from tests.running import Daemon, running, wait_for

CHECK = check_pb2.CheckEquipmentRequest(imei="#", request_id="r").SerializeToString()
STREAM = check_pb2.StreamCheckEquipmentRequest(
    check=check_pb2.CheckEquipmentRequest(imei="#", request_id="r" * 100)
).SerializeToString()
CANCEL = b"\0\0\0\x08"
CALM, REFUSED = 11, "7"
LIMITS = {
    "limits__check_threads": 2,
    "limits__check_connections_max": 12,
    "limits__streams_per_connection_max": 16,
    "limits__check_calls_max": 40,
    "limits__metadata_bytes_max": 2048,
    "limits__check_message_bytes_max": 300_000,
    "limits__connection_bytes_max": 1 << 20,
    "limits__connection_stall_seconds_max": 1,
    "limits__keepalive_seconds": 1,
    "limits__keepalive_timeout_seconds": 3,
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    native_engine.needed()
    with running(tmp_path_factory.mktemp("bounds") / "data", engine="native", **LIMITS) as daemon:
        yield daemon


@pytest.fixture
def others(daemon: Daemon) -> Iterator[None]:
    """Someone who checks all the while, and must not notice."""
    ended = threading.Event()
    slow: list[float] = []

    def check() -> None:
        while not slow or not ended.wait(0.01):
            started = time.monotonic()
            daemon.check("#", request_id="other")
            slow.append(time.monotonic() - started)

    thread = threading.Thread(target=check)
    thread.start()
    yield
    ended.set()
    thread.join()
    assert slow
    assert max(slow) < 3, "on a machine with other work"


def client(daemon: Daemon, *given: tuple[int, int], **how: bool) -> Client:
    return Client(daemon.ready_line["check"], *given, **how)


def closed(daemon: Daemon, cause: str) -> float:
    return daemon.metric(f'eir_check_connections_closed_total{{cause="{cause}"}}')


def refused(daemon: Daemon, cause: str) -> float:
    return daemon.metric(f'eir_check_calls_refused_total{{cause="{cause}"}}')


def rapid_reset(one: Calls) -> bytes:
    block = [one.headers(2 * call + 1) + frame(RST_STREAM, 0, 2 * call + 1, CANCEL) for call in range(15_000)]
    return b"".join(block)


def opened(one: Calls, flood: bytes) -> bytes:
    return one.headers(1, "StreamCheckEquipment") + flood * 15_000


FLOODS = {
    "rapid reset": (rapid_reset, "flood"),
    "continuations": (lambda one: one.headers(1, flags=0) + frame(CONTINUATION, 0, 1) * 100, "flood"),
    "long continuations": (
        lambda one: one.headers(1, flags=0) + frame(CONTINUATION, 0, 1, bytes(16_000)) * 3,
        "flood",
    ),
    "references": (
        lambda one: frame(HEADERS, END_HEADERS, 1, b"\x40\x01a\x7f\xa1\x0f" + b"x" * 2080 + b"\xbe" * 8000),
        "flood",
    ),
    "settings": (lambda _: settings() * 15_000, "flood"),
    "settings that change every window": (
        lambda _: settings(*[(INITIAL_WINDOW, 9)] * 99) * 11_000,
        "flood",
    ),
    "settings acknowledged": (lambda _: frame(SETTINGS, ACK) * 15_000, "flood"),
    "pings": (lambda _: frame(PING, 0, 0, b"12345678") * 10, "pings"),
    "pings acknowledged": (lambda _: frame(PING, ACK, 0, b"12345678") * 15_000, "flood"),
    "empty data": (lambda one: opened(one, frame(DATA, 0, 1)), "flood"),
    "padding": (lambda one: opened(one, frame(DATA, PADDED, 1, b"\x01\0")), "flood"),
    "windows": (lambda one: opened(one, window(1, 1)), "flood"),
    "priorities": (lambda one: opened(one, frame(PRIORITY, 0, 1, b"\0\0\0\0\x01")), "flood"),
    "unknown frames": (lambda _: frame(0x99) * 15_000, "flood"),
    "trailers of calls that have ended": (
        lambda one: one.call(1, CHECK) + frame(HEADERS, END_HEADERS | END_STREAM, 1) * 15_000,
        "flood",
    ),
    "failures": (lambda one: b"".join(one.headers(2 * c + 1, "No") for c in range(15_000)), "flood"),
}


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_its_connection_and_is_counted(daemon: Daemon, name: str) -> None:
    made, cause = FLOODS[name]
    flood = made(Calls())  # it takes a while: who is silent so long is asked whether he is there
    before = closed(daemon, cause)
    with client(daemon) as one:
        with contextlib.suppress(OSError):  # it may be closed before all was sent
            one.send(flood)
        codes = [came.code for came in one.frames() if came.kind == GOAWAY]
        assert codes == [CALM]
    assert closed(daemon, cause) == before + 1


@pytest.mark.usefixtures("others")
def test_bombs_end_their_connection_and_are_counted(daemon: Daemon) -> None:
    """Of 1,000 bytes each, 300,000 when they are decompressed: taken for a while, and no longer."""
    before, bombs = closed(daemon, "flood"), refused(daemon, "message")
    bomb = message(gzip.compress(bytes(300_001)), compressed=True)
    with client(daemon) as one, contextlib.suppress(OSError):
        for call in range(1, 2001, 2):
            one.send(one.headers(call, "CheckEquipment", ("grpc-encoding", "gzip")), one.data(call, bomb))
        assert [came.code for came in one.frames() if came.kind == GOAWAY] == [CALM]
    assert closed(daemon, "flood") == before + 1
    assert 5 < refused(daemon, "message") - bombs < 20


@pytest.mark.usefixtures("others")
def test_garbage_ends_its_connection_and_is_counted(daemon: Daemon) -> None:
    before = closed(daemon, "protocol")
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # TLS
    for garbage in (b"GET / HTTP/1.1\r\nHost: eir\r\n\r\n", hello, bytes(99)):
        with client(daemon, greet=False) as one:
            one.send(garbage)
            assert one.until(GOAWAY).code == 1
            assert one.closed()
    assert closed(daemon, "protocol") == before + 3


@pytest.mark.usefixtures("others")
def test_who_greets_slowly_or_stops_inside_a_frame_is_closed(daemon: Daemon) -> None:
    before = closed(daemon, "stalled")
    with (
        client(daemon, greet=False, answer=False) as silent,
        client(daemon, greet=False, answer=False) as slow,
        client(daemon, greet=False, answer=False) as half,
        client(daemon, answer=False) as cut,
        client(daemon, answer=False) as headers,
    ):
        slow.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n")
        half.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        cut.send(cut.call(1, CHECK)[:-3])
        headers.send(headers.headers(1, flags=0))
        for one in (silent, slow, half, cut, headers):
            assert one.closed()
    assert closed(daemon, "stalled") == before + 5


@pytest.mark.usefixtures("others")
def test_calls_that_stand_still_are_ended_and_silent_streams_are_not(daemon: Daemon) -> None:
    before = refused(daemon, "stalled")
    with client(daemon, (INITIAL_WINDOW, 10)) as one:
        one.send(
            one.headers(1), one.headers(3, "StreamCheckEquipment"), one.headers(5, "BatchCheckEquipment")
        )
        one.send(one.data(5, message(b"x" * 100)[:50], end=False), one.call(7, CHECK))
        ended = one.ended(1, 5, 7)
        assert [trailers["grpc-status"] for _, trailers in ended.values()] == ["4", "4", "4"]
        assert len(ended[7][0]) == 10
        one.send(one.data(3, message(STREAM), end=False))
        assert one.until(DATA, 3).payload
    assert refused(daemon, "stalled") == before + 3


@pytest.mark.usefixtures("others")
def test_who_does_not_read_is_closed_and_costs_little_memory(daemon: Daemon) -> None:
    before, memory = closed(daemon, "stalled"), daemon.metric("process_resident_memory_bytes")
    with client(daemon) as one:
        one.send(window(0, 1 << 30), settings((INITIAL_WINDOW, 1 << 30)))
        one.send(one.headers(1, "StreamCheckEquipment"))
        one.socket.settimeout(0.3)
        sent, piece = 0, frame(DATA, 0, 1, message(STREAM) * 100)
        with contextlib.suppress(TimeoutError):
            while sent < 200 << 20:
                sent += one.socket.send(piece)
        assert sent < 200 << 20
        held = daemon.metric("eir_check_held_bytes")
        wait_for(lambda: closed(daemon, "stalled") == before + 1, "it is closed")
    assert held < 1 << 20, "what does not fit into 256 KiB waits at the peer"
    wait_for(lambda: daemon.metric("eir_check_held_bytes") == 0, "nothing is held")
    assert daemon.metric("process_resident_memory_bytes") - memory < 16 << 20


def test_calls_beyond_each_bound_are_refused_and_counted(daemon: Daemon) -> None:
    causes = ("streams", "calls", "metadata", "message", "held")
    before = {cause: refused(daemon, cause) for cause in causes}
    with client(daemon) as one:
        one.send(*(one.headers(call, "StreamCheckEquipment") for call in range(1, 35, 2)))
        assert one.ended(33)[33][1] == {"reset": REFUSED}
        one.send(frame(RST_STREAM, 0, 1, CANCEL), one.call(35, CHECK))
        assert one.ended(35)[35][1]["grpc-status"] == "0"
    with client(daemon) as one:
        one.send(one.call(1, CHECK, "CheckEquipment", ("x", "y" * 3000)))
        assert one.ended(1)[1][1]["grpc-status"] == "8"
        one.send(one.headers(3), one.data(3, (300_001).to_bytes(5, "big"), end=False))
        assert one.ended(3)[3][1]["grpc-status"] == "8"
        part = message(bytes(250_000))[:16_000]
        calls = range(5, 35, 2)
        one.send(*(one.headers(call) for call in calls))
        for _ in range(5):
            one.send(*(one.data(call, part, end=False) for call in calls))
        assert "8" in {came.fields["grpc-status"] for came in one.frames(0.5) if came.kind == HEADERS}
    after = {cause: refused(daemon, cause) - before[cause] for cause in causes}
    assert (after["streams"], after["metadata"], after["message"]) == (1, 1, 1)
    assert after["held"] >= 1
    # Of one thread half of all calls: two connections more than fill them.
    clients = [client(daemon) for _ in range(4)]
    for one in clients:
        one.send(*(one.headers(call, "StreamCheckEquipment") for call in range(1, 33, 2)))
    full = [came.fields["grpc-status"] for one in clients for came in one.frames(0.5) if came.kind == HEADERS]
    for one in clients:
        one.socket.close()
    assert full
    assert set(full) == {"8"}
    assert refused(daemon, "calls") - before["calls"] >= len(full)


def test_connections_beyond_their_bound_are_closed_and_the_others_stay(daemon: Daemon) -> None:
    before = closed(daemon, "too_many")
    clients = [client(daemon) for _ in range(11)]
    for one in clients:
        one.send(one.call(1, CHECK))
        assert one.ended(1)[1][1]["grpc-status"] == "0"
    with client(daemon) as one:
        assert not [came for came in one.frames(5) if came.kind != GOAWAY]
    assert closed(daemon, "too_many") >= before + 1
    for one in clients:
        assert one.trailers(3, one.call(3, CHECK))["grpc-status"] == "0"
        one.socket.close()


def test_who_is_silent_is_asked_and_stays_while_it_answers(daemon: Daemon) -> None:
    with client(daemon) as one, client(daemon, answer=False) as dead:
        asked = 0
        while asked < 4:
            asked += one.until(PING).payload == b"eiralive"
        assert one.trailers(1, one.call(1, CHECK))["grpc-status"] == "0"
        assert dead.until(PING).payload == b"eiralive"
        assert dead.closed()


def test_pings_beside_calls_are_welcome(daemon: Daemon) -> None:
    with client(daemon) as one:
        for call in range(1, 41, 2):
            one.send(frame(PING, 0, 0, b"measures"), one.call(call, CHECK))
            assert one.until(PING).payload == b"measures"
            assert one.ended(call)[call][1]["grpc-status"] == "0"
