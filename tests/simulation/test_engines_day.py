"""A day of a daemon with each engine, seeded: same deltas, policies, overrides and questions, equal answers.

    seed ──deltas, policy, override, rebuild──► both daemons ──questions──► answers and errors, equal

Every hour the tables change, then traffic comes: single checks, streams and batches, of phones that the
tables know, of the malformed matrix, and of messages with damaged bytes. An answer that differs is asked for
again on both sides: the second may have changed. The seed is printed first; EIR_SIM_SEED replays it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

import delta_strategies as universe
import grpc
import native_engine
import pytest
import random_deltas
from grpc_status import rpc_status

from eir.identity import imsi_code
from eir.proto import check_pb2, enforcement_pb2, sync_pb2
from eir.whitelist.operation import message
from tests.running import ENGINES, Daemon, operation, running

SERVICE = "/eir.v1.EquipmentCheckService/"
EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples" / "policies"
MAPS = """
[status_map.strict]
greylisted = "whitelisted"
unknown = "blacklisted"
"""
PHONES = [f"3569380356{number:04}" for number in range(400)]
OWNERS = [f"43211{number:010}" for number in range(200)]
CLIENTS = ((), (("eir-client", "strict"),), (("eir-client", "other"),))
Outcome = tuple[Any, ...]
ODD = (
    *(b"\x78\x01", b"\x79ABCDEFGH", b"\x7a\x03abc", b"\x7dABCD", b"\x7b\x08\x01\x7c", b"\x7b", b"\x28\x02"),
    *(
        b"\xf8\xff\xff\xff\x0f\x01",
        b"\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x0d1234",
        b"\x2a\x01x",
    ),
    *(b"\x0a\x80\x00", b"\x0a\x82\x80\x00ab", b"\x0a\x03\xed\xa0\x80", b"\x0a\x02\xc3\xa9"),
)
"""Fields that nobody knows, of every kind; ours as another kind, with long lengths, in bad UTF-8."""


class Both:
    """Two daemons that are told the same."""

    def __init__(self, daemons: tuple[Daemon, Daemon], policies: list[Path]) -> None:
        self.daemons, self.policies = daemons, policies

    def each(self, work: Callable[[Daemon], Any]) -> list[Any]:
        return [work(daemon) for daemon in self.daemons]

    def push(self, rows: list[sync_pb2.Operation]) -> None:
        portable, native = self.each(lambda daemon: daemon.push(*rows, feed="day"))
        assert portable.serial == native.serial

    def change_policy(self, text: str) -> None:
        sample = 'eir_policy_reloads_total{result="applied"}'
        for daemon, file in zip(self.daemons, self.policies, strict=True):
            if text == file.read_text():
                continue
            before, until = daemon.metric(sample), time.monotonic() + 20
            file.write_text(text)
            daemon.signal(signal.SIGHUP)
            while daemon.metric(sample) == before:
                assert time.monotonic() < until, daemon.log[-5:]
                time.sleep(0.02)

    def agree(self, ask: Callable[[Daemon], Outcome], what: object) -> None:
        """Fails where the answers differ, and do so at the same second."""
        for _ in range(4):
            portable, native = self.each(ask)
            if portable == native:
                return
        assert native == portable, what


def outcome(call: Callable[[], Any]) -> Outcome:
    """All that a client is told: the answers, or code, message and details."""
    try:
        return "answered", call()
    except grpc.RpcError as error:
        status = rpc_status.from_call(error)
        details = [] if status is None else [(one.type_url, one.value) for one in status.details]
        return error.code(), error.details(), details


def single(data: bytes, metadata: Any, method: str = "CheckEquipment") -> Callable[[Daemon], Outcome]:
    kind: Any = getattr(check_pb2, f"{method}Response")

    def ask(daemon: Daemon) -> Outcome:
        call = daemon.check_channel.unary_unary(f"{SERVICE}{method}", response_deserializer=kind.FromString)
        return outcome(lambda: call(data, timeout=30, metadata=metadata))

    return ask


def stream(requests: list[bytes], metadata: Any) -> Callable[[Daemon], Outcome]:
    def ask(daemon: Daemon) -> Outcome:
        answers: list[bytes] = []
        call = daemon.check_channel.stream_stream(f"{SERVICE}StreamCheckEquipment")
        ended = outcome(lambda: answers.extend(call(iter(requests), timeout=60, metadata=metadata)))
        # Of a stream that ends badly some answers may not have come.
        return (
            ended
            if ended[0] != "answered"
            else (*ended, [check_pb2.StreamCheckEquipmentResponse.FromString(answer) for answer in answers])
        )

    return ask


def damaged(random: Random, data: bytes) -> bytes:
    """Bytes of a message, some of them others; fields that nobody knows, cut-off ends, other encodings."""
    bytes_ = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(bytes_) + 1)
        match random.randrange(7):
            case 0 if bytes_:
                bytes_[at % len(bytes_)] ^= 1 << random.randrange(8)
            case 1 if bytes_:
                bytes_[at % len(bytes_)] = random.choice((0, 1, 0x7F, 0x80, 0xC0, 0xFF))
            case 2:
                del bytes_[at:]
            case 3:
                bytes_[at:at] = random.randbytes(random.randint(1, 5))
            case 4:
                bytes_ += random.choice(ODD)
            case 5:
                bytes_ += data
            case _:
                bytes_[at:at] = data[random.randrange(len(data) + 1) :][: random.randint(0, 8)]
    return bytes(bytes_)


def questions(random: Random, count: int) -> Iterable[check_pb2.CheckEquipmentRequest]:
    keys = [*universe.KEYS, *map(int, PHONES)]
    codes = [*universe.IMSIS, *map(imsi_code, OWNERS)]
    for imei, imsi, plmn, emergency in native_engine.questions(random, keys, codes, count):
        if random.random() < 0.3:
            number = random.randrange(len(PHONES))  # with its owner, mostly
            imei, imsi = PHONES[number] + random.choice(("", "0", "17")), OWNERS[number % len(OWNERS)]
        long = random.random() < 0.04
        request_id = random.choice(("x" * 129, "é" * 65) if long else ("", "r", "x" * 128, "é" * 64))
        yield check_pb2.CheckEquipmentRequest(
            imei=imei if random.random() < 0.99 else imei * random.randint(2, 60),
            imsi=imsi,
            msisdn="9" * 300 if random.random() < 0.02 else random.choice(("", "989120000001")),
            serving_plmn=plmn,
            emergency=emergency,
            request_id=request_id,
        )


def usable(request: check_pb2.CheckEquipmentRequest) -> bool:
    """Whether a stream goes on after it."""
    long = max(map(len, map(str.encode, (request.imei, request.imsi, request.msisdn)))) > 256
    plmn = request.serving_plmn
    good = not plmn or (plmn.isascii() and plmn.isdigit() and len(plmn) in {5, 6})
    return len(request.request_id.encode()) <= 128 and (request.emergency or (good and not long))


def first_rows() -> list[sync_pb2.Operation]:
    """Phones that are registered, most of them paired, some blocked, exempt, linked or in use before."""
    rows = [operation("REGISTER", imei) for imei in PHONES[:300]]
    pairs = zip(PHONES[:250], OWNERS * 2, strict=False)
    rows += [operation("PAIR", imei, imsi=imsi, role="OWNER") for imei, imsi in pairs]
    rows += [operation("BLOCK", imei, block_cause="LOST", authority="police") for imei in PHONES[::29]]
    rows += [operation("GRANDFATHER", imei) for imei in PHONES[300:330]]
    return rows + [operation("TRACK", imei) for imei in PHONES[10:240:17]]


def hour(both: Both, random: Random, questions_count: int) -> None:
    """Change something, then let traffic come."""
    now = int(time.time())
    rows = [message(row) for row in random_deltas.delta(random, 24)]
    until = random.sample(PHONES, 6)
    rows += [
        operation("EXEMPT", imei, exempt_cause="REPAIR", until=now + random.randint(1, 4)) for imei in until
    ]
    both.push(rows)
    if random.random() < 0.3:
        mode = random.choice(("ENFORCEMENT_MODE_ALLOW_ALL", "ENFORCEMENT_MODE_POLICY"))
        request = enforcement_pb2.SetEnforcementRequest(mode=mode, who="day", why="sim")
        both.each(lambda daemon: daemon.enforcement.SetEnforcement(request))
    if random.random() < 0.4:
        both.change_policy(random.choice(sorted(EXAMPLES.glob("*.toml"))).read_text() + MAPS)
    if random.random() < 0.2:
        request = enforcement_pb2.RebuildSegmentsRequest()
        both.each(lambda daemon: daemon.enforcement.RebuildSegments(request, timeout=60))
    asked = list(questions(random, questions_count))
    good = [request for request in asked if usable(request)]
    metadata = random.choice(CLIENTS)
    wrapped = [check_pb2.StreamCheckEquipmentRequest(check=request).SerializeToString() for request in good]
    for start in range(0, len(wrapped), 200):
        part = wrapped[start : start + 200]
        both.agree(stream(part, metadata), good[start : start + 200])
    for request in [request for request in asked if not usable(request)]:
        data = request.SerializeToString()
        both.agree(single(data, metadata), request)
        bad = check_pb2.StreamCheckEquipmentRequest(check=request).SerializeToString()
        both.agree(stream([bad], metadata), request)
    plmn = random.choice(native_engine.PLMNS)
    batch = check_pb2.BatchCheckEquipmentRequest(
        imei=[request.imei for request in good],
        imsi=[request.imsi for request in good] if random.random() < 0.8 else [],
        serving_plmn=plmn,
        request_id="b",
    ).SerializeToString()
    both.agree(single(batch, metadata, "BatchCheckEquipment"), "batch")
    for request in random.sample(asked, questions_count // 4):
        data = damaged(random, request.SerializeToString())
        both.agree(single(data, metadata), data)
        data = damaged(random, b"\n" + bytes((len(data) % 128,)) + data)
        both.agree(stream([data], ()), data)
        small = check_pb2.BatchCheckEquipmentRequest(imei=[request.imei] * 3, imsi=[request.imsi] * 3)
        data = damaged(random, small.SerializeToString())
        both.agree(single(data, (), "BatchCheckEquipment"), data)


def day(folder: Path, hours: int, questions_count: int) -> None:
    native_engine.needed()
    seed = int(os.environ.get("EIR_SIM_SEED") or Random().randrange(2**32))
    print(f"EIR_SIM_SEED={seed}")
    random = Random(seed)
    (folder / "eir.toml").write_text("[feeds.day]\nlenient = true\n")
    policies = [folder / f"{engine}.toml" for engine in ENGINES]
    for file in policies:
        file.write_text('name = "day"\nhome_plmns = ["43211", "43235"]\n' + MAPS)
    how = [
        {"engine": engine, "policy": policy, "config": folder / "eir.toml"}
        for engine, policy in zip(ENGINES, policies, strict=True)
    ]
    with running(folder / "a", **how[0]) as portable, running(folder / "b", **how[1]) as native:
        both = Both((portable, native), policies)
        both.push(first_rows())
        for _ in range(hours):
            hour(both, random, questions_count)
        # What was told is counted alike too, but for what was asked again.
        errors = [daemon.metric('eir_rpc_errors_total{reason="INTERNAL"}') for daemon in both.daemons]
        assert errors == [0, 0]
        assert native.metric("eir_check_panics_total") == 0
        checks = [
            daemon.metric('eir_check_duration_seconds_count{method="stream"}') for daemon in both.daemons
        ]
        assert min(checks) > hours * questions_count / 2


def test_a_few_hours(tmp_path: Path) -> None:
    day(tmp_path, hours=3, questions_count=160)


@pytest.mark.sim
@pytest.mark.timeout(1800)
def test_a_day(tmp_path: Path) -> None:
    day(tmp_path, hours=24, questions_count=2000)
