"""The native engine's check port and cases: what it sights, and what it finds while the table changes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import grpc
import native_engine

from eir import native
from eir.decisions.keep import wanted
from eir.identity import imei_text, imsi_text
from eir.native import NativeChecker
from eir.notify.case import Case, State
from eir.notify.case_file import Happened
from eir.notify.case_table import BITS_MIN
from eir.notify.cases import Cases
from eir.policy import compile_policy, default_policy_text
from eir.proto import check_pb2, check_pb2_grpc
from eir.server.core import _bounds
from eir.settings import Limits
from eir.verdict import Reason, Status
from eir.whitelist.files import FileLayer
from eir.whitelist.tables import Common, Generation

NOW = 1_800_000_000
KEY, SIM = 35_693_803_564_380, 1_432_110_000_000_001
STABLE, PAIRS = 300, 12_000
WRITES, BATCH = 40_000, 2_048
POLICY = compile_policy(default_policy_text())


class Nothing:
    """A store in which nothing is registered."""

    device_types = ("",)
    generation = Generation.of(7, (), (), Common.empty())


@contextlib.contextmanager
def serving(
    repeat_seconds: int = 0, unpaired_max: int = 1000, kept: bytes = b""
) -> Iterator[tuple[Any, NativeChecker, Any]]:
    """A check port: its server, what publishes to it, a stub."""
    native_engine.needed()
    core = native.load()
    engine = core.Engine()
    server = core.CheckServer(
        engine,
        host="127.0.0.1",
        port=0,
        threads=1,
        limits=_bounds(Limits(), 1),
        wanted=(list(kept), 0, 0, 1000),
        unpaired=(unpaired_max, repeat_seconds),
    )
    checker = NativeChecker(Nothing(), POLICY, lambda: NOW, engine)
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield server, checker, check_pb2_grpc.EquipmentCheckServiceStub(channel)  # type: ignore[no-untyped-call]
    finally:
        server.drain()


def one(
    imei: str = imei_text(KEY), imsi: str = imsi_text(SIM), **more: Any
) -> check_pb2.CheckEquipmentRequest:
    return check_pb2.CheckEquipmentRequest(imei=imei, imsi=imsi, **more)


def test_every_method_tells_of_unpaired_pairs_in_every_spelling() -> None:
    with serving() as (server, _, checks):
        checks.CheckEquipment(one(msisdn="989121234567"))
        checks.CheckEquipment(one(imei_text(KEY) + "09", msisdn="0912"))
        asked = [check_pb2.StreamCheckEquipmentRequest(check=one(imei_text(KEY) + "7", msisdn="98912"))]
        list(checks.StreamCheckEquipment(iter(asked)))
        batch = check_pb2.BatchCheckEquipmentRequest(imei=[imei_text(KEY)] * 300, imsi=[imsi_text(SIM)] * 300)
        checks.BatchCheckEquipment(batch)
        seen = server.take_unpaired()
        assert {(key, imsi) for key, imsi, *_ in seen} == {(KEY, SIM)}
        assert [msisdn for *_, msisdn in seen] == [989121234567, 0, 98912, *[0] * 300]
        assert server.take_unpaired() == []


def test_what_the_log_is_told_names_the_policy_that_judged() -> None:
    """Whenever it is taken: two policies, and a check by each."""
    second = compile_policy(default_policy_text() + "\n")
    with serving(kept=wanted(0).table) as (server, checker, checks):
        checks.CheckEquipment(one())
        checker.policy = second
        checks.CheckEquipment(one(imsi=imsi_text(SIM + 1)))
        checks.BatchCheckEquipment(check_pb2.BatchCheckEquipmentRequest(imei=["8"], imsi=["1"]))
        numbers = [number for *_, number in server.take_sightings()]
        assert [checker.policy_hashes[number] for number in numbers] == [
            POLICY.hash,
            second.hash,
            second.hash,
        ]


def test_what_has_no_case_is_not_told() -> None:
    with serving() as (server, _, checks):
        for request in (one(imsi=""), one(imsi="262010000000003"), one("8"), one(emergency=True)):
            checks.CheckEquipment(request)
        checks.CheckEquipment(one(), metadata=(("eir-client", "eir-check"),))
        assert server.take_unpaired() == []
        assert server.unpaired_left_out() == (0, 0)


def test_repeats_and_what_finds_no_room_are_counted() -> None:
    with serving(repeat_seconds=600, unpaired_max=2) as (server, _, checks):
        for imsi in (SIM, SIM, SIM + 1, SIM + 2, SIM + 2):
            checks.CheckEquipment(one(imsi=imsi_text(imsi)))
        assert [imsi for _, imsi, *_ in server.take_unpaired()] == [SIM, SIM + 1]
        assert server.unpaired_left_out() == (1, 2)
        checks.CheckEquipment(one(imsi=imsi_text(SIM + 2)))
        assert len(server.take_unpaired()) == 1


def test_where_no_cases_are_kept_nothing_is_told() -> None:
    with serving(unpaired_max=0) as (server, _, checks):
        checks.CheckEquipment(one())
        assert (server.take_unpaired(), server.unpaired_left_out()) == ([], (0, 0))


def pair_of(number: int) -> tuple[int, int]:
    """Three SIMs on each phone."""
    return KEY + number // 3, SIM + number


def case(number: int, state: State) -> Case:
    return Case(*pair_of(number), Reason.NOT_REGISTERED, NOW, 30 * 86_400, state, since=NOW, seen_at=NOW)


class Writer:
    """Opens, changes and resolves cases; a deadline names its pair, and is odd where the case is cut off."""

    def __init__(self, cases: Cases) -> None:
        self.cases, self.numbers, self.random = cases, {}, Random(4)

    def open(self, pair: int, version: int = 0) -> None:
        state, deadline = self.looks(pair, version)
        self.numbers[pair] = self.cases.add(case(pair, state), 0, deadline, Happened(NOW, "opened"))

    def looks(self, pair: int, version: int) -> tuple[State, int]:
        return (State.CUT_OFF if version % 2 else State.OPEN), 1_000_000 + pair * 16 + version

    def write(self) -> None:
        for _ in range(WRITES):
            pair = STABLE + int(self.random.random() ** 2 * (PAIRS - STABLE))
            if pair not in self.numbers:
                self.open(pair, self.random.randrange(16))
            elif self.random.random() < 0.3:
                self.cases.resolve([self.numbers.pop(pair)], NOW)
            else:
                state, deadline = self.looks(pair, self.random.randrange(16))
                self.cases.put(self.numbers[pair], case(pair, state), 0, deadline)


def test_whatever_is_written_meanwhile_a_check_finds_the_case_of_its_pair_whole(tmp_path: Path) -> None:
    """The table is changed in place, and outgrown, while a thread that knows no lock of Python's reads it."""
    cases = Cases.open(tmp_path, FileLayer())
    writer, found_cut_off, tables = Writer(cases), 0, [cases.table]
    with serving() as (_, checker, checks):

        def publish(table: Any) -> None:
            checker.publish_cases(table)
            tables.append(table)

        checker.publish_cases(cases.table)
        cases.on_table = publish
        for pair in range(STABLE):
            writer.open(pair)
        thread = threading.Thread(target=writer.write)
        thread.start()
        random, rounds = Random(5), 0
        while thread.is_alive() or rounds < 3:
            rounds += 1
            asked = [random.randrange(STABLE if random.random() < 0.3 else PAIRS) for _ in range(BATCH)]
            imeis = [imei_text(pair_of(pair)[0]) for pair in asked]
            imsis = [imsi_text(pair_of(pair)[1]) for pair in asked]
            answer = checks.BatchCheckEquipment(check_pb2.BatchCheckEquipmentRequest(imei=imeis, imsi=imsis))
            deadlines = answer.deadline or [0] * BATCH
            for pair, status, deadline in zip(asked, answer.status, deadlines, strict=True):
                cut_off = status == Status.BLACKLISTED
                if not deadline:
                    assert pair >= STABLE, "a case that nobody touched was not found"
                    assert not cut_off
                    continue
                of, version = divmod(deadline - 1_000_000, 16)
                assert of == pair, "another pair's case"
                assert cut_off == version % 2, "a value that was never written"
                found_cut_off += cut_off
        thread.join()
        assert cases.table.bits >= BITS_MIN + 3
        assert len(tables) >= 4
        assert found_cut_off > 100
        assert checker.free_retired() == 0
    cases.close()
