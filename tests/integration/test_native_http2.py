"""The native engine's HTTP/2 and gRPC on a real socket, frame by frame."""

import base64
import gzip
import signal
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from random import Random

import native_engine
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
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
    PRIORITISED,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    TABLE_SIZE,
    Client,
    frame,
    message,
    messages,
    window,
)

from eir.proto import check_pb2
from tests.running import Daemon, running

KEY, OWNER = "35693803564380", "432110000000001"
HEALTH = "/grpc.health.v1.Health/"
POLICY = """
name = "wire"
home_plmns = ["43211"]
[status_map.strict]
greylisted = "whitelisted"
"""
CHECK = check_pb2.CheckEquipmentRequest(imei="#", imsi=OWNER, request_id="r").SerializeToString()
ZIPPED = gzip.compress(CHECK, mtime=0)  # tests are named by it: the same in every process
INTERNAL, INVALID, UNIMPLEMENTED, LATE, EXHAUSTED = "13", "3", "12", "4", "8"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    native_engine.needed()
    folder = tmp_path_factory.mktemp("wire")
    (folder / "policy.toml").write_text(POLICY)
    with running(folder / "data", engine="native", policy=folder / "policy.toml") as daemon:
        yield daemon


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with Client(daemon.ready_line["check"]) as client:
        yield client


def status(content: bytes) -> str:
    """Status of the only answer."""
    (answer,) = messages(content)
    verdict = check_pb2.CheckEquipmentResponse.FromString(answer)
    assert verdict.request_id == "r"
    return check_pb2.EquipmentStatus.Name(verdict.status).removeprefix("EQUIPMENT_STATUS_")


def test_checks_and_health_come_on_one_connection(client: Client) -> None:
    client.send(
        client.call(1, CHECK),
        client.call(3, b"", f"{HEALTH}Check"),
        client.call(5, b"\x0a\x07nothing", f"{HEALTH}Check"),
        client.call(7, b"", f"{HEALTH}Watch"),
    )
    ended = client.ended(1, 3, 5)
    assert (status(ended[1][0]), ended[1][1]) == ("GREYLISTED", {"grpc-status": "0"})
    assert list(messages(ended[3][0])) == [health_pb2.HealthCheckResponse(status=1).SerializeToString()]
    assert ended[5][1]["grpc-status"] == "5"
    client.send(frame(RST_STREAM, 0, 7, b"\0\0\0\x08"), client.call(9, CHECK))
    assert client.ended(9)[9][1] == {"grpc-status": "0"}


@pytest.mark.parametrize(
    "path", ["/eir.v1.EquipmentCheckService/Nothing", "/eir.v1.SyncService/PushDelta", "/", "/x", "*"]
)
def test_an_unknown_method_or_service_is_told_in_trailers_alone(client: Client, path: str) -> None:
    client.send(client.call(1, CHECK, path))
    found = client.until(HEADERS, 1)
    assert found.flags & END_STREAM
    assert (found.fields[":status"], found.fields["grpc-status"]) == ("200", UNIMPLEMENTED)
    assert client.trailers(3, client.call(3, CHECK))["grpc-status"] == "0"


def test_a_failure_has_its_details_in_the_trailers(client: Client) -> None:
    bad = check_pb2.CheckEquipmentRequest(imei="3" * 257).SerializeToString()
    trailers = client.trailers(1, client.call(1, bad))
    assert trailers["grpc-status"] == INVALID
    encoded = trailers["grpc-status-details-bin"]
    told = status_pb2.Status.FromString(base64.b64decode(encoded + "=" * (-len(encoded) % 4)))
    assert (told.code, told.message) == (3, trailers["grpc-message"])
    info, violation = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert told.details[0].Unpack(info)
    assert told.details[1].Unpack(violation)
    assert (info.reason, info.domain, dict(info.metadata)) == ("INVALID_REQUEST", "eir", {"field": "imei"})
    assert violation.field_violations[0].field == "imei"


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", None), ("gzip", None)],
)
def test_compressed_messages_are_read(client: Client, encoding: str, pack: object) -> None:
    data = pack(CHECK) if callable(pack) else CHECK
    client.send(
        client.headers(
            1, "CheckEquipment", ("grpc-encoding", encoding), ("grpc-accept-encoding", "gzip,identity")
        ),
        client.data(1, message(data, compressed=pack is not None)),
    )
    assert status(client.ended(1)[1][0]) == "GREYLISTED"


@pytest.mark.parametrize(
    ("encoding", "body", "expected"),
    [
        ("snappy", message(CHECK), UNIMPLEMENTED),
        ("identity", message(CHECK, compressed=True), INTERNAL),
        ("gzip", message(CHECK, compressed=True), INTERNAL),
        ("gzip", message(ZIPPED[:-9], compressed=True), INTERNAL),
        ("gzip", message(ZIPPED + b"more", compressed=True), INTERNAL),
        ("gzip", message(ZIPPED + ZIPPED, compressed=True), INTERNAL),
        ("deflate", message(zlib.compress(CHECK) + b"\0", compressed=True), INTERNAL),
        ("gzip", message(gzip.compress(bytes((1 << 20) + 1), mtime=0), compressed=True), EXHAUSTED),
        ("deflate", message(zlib.compress(bytes(8 << 20)), compressed=True), EXHAUSTED),
        ("identity", b"\x02" + message(CHECK)[1:], INTERNAL),
    ],
)
def test_what_cannot_be_decompressed_is_declined(
    client: Client, encoding: str, body: bytes, expected: str
) -> None:
    client.send(client.headers(1, "CheckEquipment", ("grpc-encoding", encoding)), client.data(1, body))
    trailers = client.ended(1)[1][1]
    assert trailers["grpc-status"] == expected
    assert ("gzip" in trailers.get("grpc-accept-encoding", "")) == (expected == UNIMPLEMENTED)
    assert client.trailers(3, client.call(3, CHECK))["grpc-status"] == "0"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ((), "0"),
        ((("content-type", "application/grpc+proto"),), "0"),
        ((("content-type", "application/grpc;v=1"),), "0"),
        ((("content-type", "application/grpcweb"),), "415"),
        ((("content-type", "text/html"),), "415"),
        (((":method", "GET"),), "405"),
        (((":scheme", "https"),), "0"),
        ((("te", "gzip"),), "reset"),
        ((("connection", "close"),), "reset"),
        ((("Upper", "case"),), "reset"),
        (((":path", "/again"), (":status", "200")), "reset"),
        ((("grpc-timeout", "5"),), INTERNAL),
        ((("grpc-timeout", "0n"),), LATE),
        ((("grpc-timeout", "99999999H"),), "0"),
        ((("x", "y" * 8000),), EXHAUSTED),
        ((("x", ""), ("cookie", "a=b"), ("user-agent", "grpc-test/1"), ("x-bin", "AAEC")), "0"),
    ],
)
def test_headers_as_they_may_and_may_not_be(
    client: Client, fields: tuple[tuple[str, str], ...], expected: str
) -> None:
    client.send(client.call(1, CHECK, "CheckEquipment", *fields))
    trailers = client.ended(1)[1][1]
    assert expected in {trailers.get("grpc-status"), trailers.get(":status"), "reset" * ("reset" in trailers)}
    assert client.trailers(3, client.call(3, CHECK))["grpc-status"] == "0"


@pytest.mark.parametrize("left_out", ["te", ":authority"])
def test_fields_that_may_be_left_out(client: Client, left_out: str) -> None:
    client.send(client.headers(1, left_out=(left_out,)), client.data(1, message(CHECK)))
    assert client.ended(1)[1][1]["grpc-status"] == "0"


def test_a_deadline_ends_a_call_whose_message_does_not_come(client: Client) -> None:
    started = time.monotonic()
    client.send(
        client.headers(1, "CheckEquipment", ("grpc-timeout", "150m")),
        client.headers(3, "StreamCheckEquipment", ("grpc-timeout", "150000u")),
        client.call(5, b"", f"{HEALTH}Watch", ("grpc-timeout", "150m")),
    )
    ended = client.ended(1, 3, 5)
    assert [trailers["grpc-status"] for _, trailers in ended.values()] == [LATE] * 3
    assert 0.14 < time.monotonic() - started < 3


def test_a_message_in_many_frames_and_many_in_one(client: Client) -> None:
    stream = check_pb2.StreamCheckEquipmentRequest(
        check=check_pb2.CheckEquipmentRequest(imei="#", request_id="r")
    ).SerializeToString()
    body = message(stream) * 40
    priority = frame(PRIORITY, 0, 1, b"\0\0\0\x03\x07")
    unknown = frame(0xB0, 0xFF, 1, b"whatever")
    client.send(client.headers(1, "StreamCheckEquipment"))
    for at in range(0, len(body), 3):
        client.send(frame(DATA, PADDED, 1, b"\x04" + body[at : at + 3] + bytes(4)), priority, unknown)
    client.send(client.data(1, body), client.headers(3), client.data(3, message(CHECK), end=False))
    client.send(client.data(3, b""))  # an empty frame ends it
    ended = client.ended(1, 3)
    assert len(list(messages(ended[1][0]))) == 80
    assert status(ended[3][0]) == "GREYLISTED"


def test_headers_in_pieces_with_priority_and_padding_and_trailers(client: Client) -> None:
    block = client.headers(1)[9:]
    client.send(
        frame(HEADERS, PADDED | PRIORITISED, 1, b"\x02" + b"\0\0\0\0\x10" + block[:5] + b"\0\0"),
        frame(CONTINUATION, 0, 1, block[5:9]),
        frame(CONTINUATION, 0, 1),
        frame(CONTINUATION, END_HEADERS, 1, block[9:]),
        client.data(1, message(CHECK), end=False),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, client.encoder.encode([("x-end", "1")])),
    )
    assert status(client.ended(1)[1][0]) == "GREYLISTED"


def test_header_tables_and_huffman_of_another_implementation(daemon: Daemon) -> None:
    random = Random(7)
    letters = [chr(code) for code in range(32, 127)]
    with Client(daemon.ready_line["check"]) as client:
        for call in range(300):
            strict = random.random() < 0.5
            size = random.choice((None, None, None, 0, 64, 500, 4096))
            if size is not None:
                client.encoder.header_table_size = size
            names = [f"x-{random.randrange(40)}" for _ in range(random.randrange(6))]
            more = [(name, "".join(random.choices(letters, k=random.randrange(60)))) for name in names]
            more.insert(random.randrange(len(more) + 1), ("eir-client", "strict" if strict else "other"))
            pairs = [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", "/eir.v1.EquipmentCheckService/CheckEquipment"),
                ("content-type", "application/grpc"),
                *more,
            ]
            block = client.encoder.encode(pairs, huffman=random.random() < 0.8)
            client.send(frame(HEADERS, END_HEADERS, 2 * call + 1, block))
            client.send(client.data(2 * call + 1, message(CHECK)))
            content, _ = client.ended(2 * call + 1)[2 * call + 1]
            assert status(content) == ("WHITELISTED" if strict else "GREYLISTED"), call


@pytest.mark.parametrize("size", [0, 50, 104, 1000, 65536])
def test_a_client_with_another_header_table(daemon: Daemon, size: int) -> None:
    with Client(daemon.ready_line["check"], (TABLE_SIZE, size)) as client:
        client.decoder.max_allowed_table_size = size
        client.until(SETTINGS)
        for call in range(1, 9, 2):
            assert client.trailers(call, client.call(call, CHECK)) == {"grpc-status": "0"}


def test_answers_wait_for_windows_and_requests_are_larger_than_ours(daemon: Daemon) -> None:
    rows = 4096
    batch = check_pb2.BatchCheckEquipmentRequest(imei=["3" * 150] * rows, imsi=[OWNER] * rows)
    body = message(batch.SerializeToString())
    assert len(body) > 600_000
    with Client(daemon.ready_line["check"], (INITIAL_WINDOW, 1000)) as client:
        client.send(client.headers(1, "BatchCheckEquipment"))
        left = {0: 65_535, 1: 65_535}
        frames, content = client.frames(), b""
        while body:
            size = min(16_384, len(body), *left.values())
            if size <= 0:
                came = next(frames)
                if came.kind == 8:
                    left[came.stream] += int.from_bytes(came.payload, "big")
                elif came.kind == SETTINGS and not came.flags & ACK:
                    left[1] += 262_144 - 65_535
                continue
            client.send(client.data(1, body[:size], end=size == len(body)))
            body = body[size:]
            left = {place: amount - size for place, amount in left.items()}
        for came in frames:
            if came.kind == DATA:
                content += came.payload
                assert len(came.payload) <= 1000
                client.send(window(1, len(came.payload)), window(0, len(came.payload)))
            elif came.kind == HEADERS and came.flags & END_STREAM:
                break
        (answer,) = messages(content)
        assert len(check_pb2.BatchCheckEquipmentResponse.FromString(answer).status) == rows


def test_a_cancelled_call_leaves_the_others(client: Client) -> None:
    client.send(client.headers(1, "StreamCheckEquipment"), client.headers(3), client.headers(5))
    client.send(frame(RST_STREAM, 0, 1, b"\0\0\0\x08"), frame(RST_STREAM, 0, 3, b"\0\0\0\x08"))
    client.send(client.data(5, message(CHECK)), client.data(3, message(CHECK)))  # too late for 3: ignored
    assert status(client.ended(5)[5][0]) == "GREYLISTED"


def test_a_drain_loses_no_request(tmp_path: Path) -> None:
    native_engine.needed()
    settings = {"limits__drain_notice_seconds": 0, "limits__drain_seconds_max": 10}
    with running(tmp_path / "data", engine="native", **settings) as daemon:
        clients = [Client(daemon.ready_line["check"], answer=False) for _ in range(8)]
        sent = dict.fromkeys(clients, 0)
        for client in clients:
            client.send(client.call(1, CHECK))
            sent[client] = 1
        daemon.signal(signal.SIGTERM)
        # Calls go on, as those of a client that has not read that it is asked to go.
        for _ in range(30):
            for client in clients:
                sent[client] += 2
                client.send(client.call(sent[client], CHECK))
            time.sleep(0.01)
        for client in clients:
            answered, asked, last = set(), False, -1
            for came in client.frames():
                if came.kind == HEADERS and came.fields.get("grpc-status") == "0":
                    answered.add(came.stream)
                elif came.kind == PING and not came.flags & ACK:
                    client.send(frame(PING, ACK, 0, came.payload))
                elif came.kind == GOAWAY:
                    last = int.from_bytes(came.payload[:4], "big")
                    asked |= last == (1 << 31) - 1
                    assert came.code == 0
            assert asked
            assert answered == set(range(1, last + 1, 2)), "all that the last GOAWAY names, and no more"
            assert last == sent[client], "the PING between the two GOAWAYs lets what was on its way come in"
            client.socket.close()
        assert daemon.wait() == 0
