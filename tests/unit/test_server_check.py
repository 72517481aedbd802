"""What the check service does beside the checker; the checker is a fake."""

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from eir.check import Verdict
from eir.config import Config
from eir.errors import DrainingError, InvalidRequestError, NotReadyError
from eir.metrics import Metrics
from eir.notify.keeper import Sighting
from eir.notify.sightings import Sightings
from eir.proto import check_pb2
from eir.server.check import CheckService, bounded, plmn_valid
from eir.server.state import State
from eir.verdict import Reason, Status

Request = check_pb2.CheckEquipmentRequest


class Ended(Exception):
    """What abort raises."""


class Call:
    """A call as the service sees it."""

    def __init__(
        self, remaining: float | None = None, messages: Sequence[bytes] = (), *, closed: bool = True
    ) -> None:
        self.remaining, self.messages, self.closed = remaining, list(messages), closed
        self.written: list[bytes] = []
        self.reads = 0
        self.code: grpc.StatusCode | None = None
        self.writing = asyncio.Event()
        self.writing.set()

    def time_remaining(self) -> float | None:
        return self.remaining

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("user-agent", "test"), ("eir-client", "node"))

    async def read(self) -> Any:
        self.reads += 1
        if self.messages:
            return self.messages.pop(0)
        if not self.closed:
            await asyncio.Event().wait()
        return grpc.aio.EOF

    async def write(self, message: bytes) -> None:
        await self.writing.wait()
        self.written.append(message)

    async def abort(self, code: grpc.StatusCode, details: str = "", trailers: object = ()) -> None:
        self.code = code
        raise Ended


class FakeChecker:
    """Answers by the last digit of the IMEI; remembers what it was asked."""

    stale = False

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, bool]] = []
        self.policy = SimpleNamespace(status_map=self.status_map, hash="ab" * 32)

    def status_map(self, client: str) -> tuple[int, ...]:
        return (0, 1, 1, 3, 4) if client == "node" else (0, 1, 2, 3, 4)

    def check(self, imei: str, imsi: str, plmn: str, emergency: bool) -> Verdict:
        self.asked.append((imei, imsi, plmn, emergency))
        if imei.endswith("1"):
            return Verdict(Status.WHITELISTED, Reason.EXEMPT_IMEI, 1_700_000_000, 5, False, 30)
        return Verdict(Status.GREYLISTED, Reason.NOT_REGISTERED, 0, 5, False, 0)

    def check_batch(
        self, imeis: Sequence[str], imsis: Sequence[str], plmn: str, policy: object
    ) -> list[Verdict]:
        assert policy is self.policy
        return [self.check(imei, imsi, plmn, False) for imei, imsi in zip(imeis, imsis, strict=True)]


def run(use: Callable[[CheckService, FakeChecker, State], Any], **limits: Any) -> Any:
    """Run with a service whose checker is a fake."""

    async def inside() -> Any:
        config = Config()
        for name, value in limits.items():
            object.__setattr__(config.limits, name, value)
        state = State(config, Metrics(), lambda: 1_700_000_000, "portable")
        checker = FakeChecker()
        state.checker = checker  # type: ignore[assignment]
        state.store = SimpleNamespace(generation=SimpleNamespace(serial=9))  # type: ignore[assignment]
        return await use(CheckService(state), checker, state)

    return asyncio.run(inside())


def test_a_request_is_asked_as_it_came() -> None:
    async def use(service: CheckService, checker: FakeChecker, _: State) -> bytes:
        request = Request(imei="x", imsi="1", serving_plmn="43211", emergency=True, request_id="r")
        answer = await service.check(request.SerializeToString(), Call())  # type: ignore[arg-type]
        assert checker.asked == [("x", "1", "43211", True)]
        return answer

    answer = check_pb2.CheckEquipmentResponse.FromString(run(use))
    assert (answer.status, answer.request_id) == (Status.WHITELISTED, "r"), (
        "the status map of the client applies"
    )
    assert answer.cache_seconds == 0, "a mapped status is not kept longer"


@pytest.mark.parametrize("method", ["check", "batch"])
def test_a_check_whose_deadline_passed_is_not_judged(method: str) -> None:
    async def use(service: CheckService, checker: FakeChecker, _: State) -> None:
        late = Call(remaining=0.0)
        with pytest.raises(Ended):
            await getattr(service, method)(b"", late)
        assert late.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert checker.asked == []
        await getattr(service, method)(b"", Call(remaining=0.5))

    run(use)


def test_without_tables_nothing_is_answered() -> None:
    async def use(service: CheckService, _: FakeChecker, state: State) -> None:
        state.checker = None
        for method in (service.check, service.batch):
            with pytest.raises(NotReadyError):
                await method(b"", Call())  # type: ignore[operator]
        with pytest.raises(NotReadyError):
            await service.stream(None, Call(messages=[message("1")]))  # type: ignore[arg-type]

    run(use)


def test_without_tables_an_emergency_call_is_allowed() -> None:
    request = Request(imei="1", serving_plmn="none", emergency=True, request_id="r")

    async def use(service: CheckService, _: FakeChecker, state: State) -> list[bytes]:
        state.checker = None
        call = Call(messages=[check_pb2.StreamCheckEquipmentRequest(check=request).SerializeToString()])
        await service.stream(None, call)  # type: ignore[arg-type]
        return [await service.check(request.SerializeToString(), Call()), *call.written]  # type: ignore[arg-type]

    unary, streamed = run(use)
    answer = check_pb2.CheckEquipmentResponse(
        status=Status.WHITELISTED,  # type: ignore[arg-type]
        reason=Reason.EMERGENCY,  # type: ignore[arg-type]
        stale=True,
        request_id="r",
    )
    assert check_pb2.CheckEquipmentResponse.FromString(unary) == answer
    assert check_pb2.StreamCheckEquipmentResponse.FromString(streamed).verdict == answer


def test_a_service_that_refuses_takes_no_new_calls() -> None:
    async def use(service: CheckService, checker: FakeChecker, _: State) -> None:
        service.refuse()
        for method in (service.check, service.stream, service.batch):
            with pytest.raises(DrainingError):
                await method(b"", Call())  # type: ignore[operator]
        assert checker.asked == []

    run(use)


def message(imei: str) -> bytes:
    return check_pb2.StreamCheckEquipmentRequest(check=Request(imei=imei)).SerializeToString()


def test_a_stream_reads_a_bounded_number_ahead_of_a_client_that_does_not_read() -> None:
    async def use(service: CheckService, checker: FakeChecker, _: State) -> None:
        call = Call(messages=[message(str(index)) for index in range(100)])
        call.writing.clear()
        task = asyncio.create_task(service.stream(None, call))  # type: ignore[arg-type]
        await asyncio.sleep(0.05)
        # One is being answered, four wait, one more was read and waits for a place.
        assert call.reads == 6
        assert len(checker.asked) == 1
        call.writing.set()
        await task
        assert len(call.written) == 100
        assert [imei for imei, *_ in checker.asked] == [str(index) for index in range(100)]

    run(use, stream_in_flight_max=4)


def test_an_idle_stream_ends_when_calls_are_refused_and_its_reader_with_it() -> None:
    async def use(service: CheckService, checker: FakeChecker, _: State) -> None:
        call = Call(messages=[message("1")] * 3, closed=False)
        task = asyncio.create_task(service.stream(None, call))  # type: ignore[arg-type]
        await asyncio.sleep(0.05)
        assert not task.done()
        service.refuse()
        with pytest.raises(DrainingError):
            await task
        assert len(call.written) == 3
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1

    run(use)


@pytest.mark.parametrize("rows", [2, 63, 64, 200])
def test_a_batch_is_the_same_in_the_loop_and_in_a_thread(rows: int) -> None:
    async def use(service: CheckService, _: FakeChecker, __: State) -> bytes:
        request = check_pb2.BatchCheckEquipmentRequest(imei=[str(index) for index in range(rows)])
        return await service.batch(request.SerializeToString(), Call())  # type: ignore[arg-type]

    answer = check_pb2.BatchCheckEquipmentResponse.FromString(run(use))
    ones = [str(index).endswith("1") for index in range(rows)]
    assert list(answer.deadline) == [1_700_000_000 if one else 0 for one in ones]
    assert list(answer.cache_seconds) == [30 if one else 0 for one in ones]
    assert set(answer.status) == {Status.WHITELISTED}
    assert answer.serial == 5


def test_an_empty_batch_has_the_present_serial() -> None:
    async def use(service: CheckService, _: FakeChecker, __: State) -> bytes:
        return await service.batch(b"", Call())  # type: ignore[arg-type]

    assert check_pb2.BatchCheckEquipmentResponse.FromString(run(use)).serial == 9


def test_bytes_are_counted_not_characters() -> None:
    bounded("imei", "ش" * 128, 256)
    with pytest.raises(InvalidRequestError, match="has 258 bytes"):
        bounded("imei", "ش" * 129, 256)


@pytest.mark.parametrize("plmn", ["", "43211", "432110"])
def test_a_network_is_5_or_6_digits(plmn: str) -> None:
    plmn_valid(plmn)
    with pytest.raises(InvalidRequestError):
        plmn_valid(plmn + "x")


@pytest.mark.parametrize("rows", [0, 3, 100])
def test_what_was_told_is_offered_to_the_decision_log(rows: int) -> None:
    """0 rows: one by one; else a batch, in the loop or in a thread."""

    async def use(service: CheckService, _: FakeChecker, state: State) -> None:
        if not rows:
            request = Request(imei="2", imsi="7", serving_plmn="43211")
            await service.check(request.SerializeToString(), Call())  # type: ignore[arg-type]
            stream = check_pb2.StreamCheckEquipmentRequest(check=request)
            await service.stream(None, Call(messages=[stream.SerializeToString()]))  # type: ignore[arg-type]
        else:
            batch = check_pb2.BatchCheckEquipmentRequest(
                imei=["2"] * rows, imsi=["7"] * rows, serving_plmn="43211"
            )
            await service.batch(batch.SerializeToString(), Call())  # type: ignore[arg-type]
        # Grey by the policy, though the client's map makes it white.
        told = (1_700_000_000, "2", "7", "43211", "node", Status.WHITELISTED, Reason.NOT_REGISTERED, 5)
        assert list(state.decisions._queue) == [(*told, "ab" * 32)] * (rows or 2)

    run(use)


def test_what_is_simply_allowed_is_not_kept_but_for_a_sample() -> None:
    async def use(service: CheckService, _: FakeChecker, state: State) -> int:
        for number in range(100):
            await service.check(Request(imei=f"{number}1").SerializeToString(), Call())  # type: ignore[arg-type]
        return len(state.decisions._queue)

    assert run(use) == 0


def test_pairs_that_are_unpaired_are_sighted() -> None:
    """With the number that a single check named; what is no number is none."""

    async def use(service: CheckService, checker: FakeChecker, state: State) -> list[Sighting]:
        unpaired = (35_693_803_564_380, 1_432_110_000_000_001)
        verdict = Verdict(Status.GREYLISTED, Reason.NOT_REGISTERED, 0, 5, False, 0, unpaired)
        checker.check = lambda *_: verdict  # type: ignore[method-assign]
        one = Request(imei="x", msisdn="989121234567").SerializeToString()
        await service.check(one, Call())  # type: ignore[arg-type]
        assert state.sightings is None, "nothing is noted where no cases are kept"
        state.sightings = Sightings(10, 0, state.metrics.sightings)
        await service.check(one, Call())  # type: ignore[arg-type]
        await service.check(Request(imei="x", msisdn="0912").SerializeToString(), Call())  # type: ignore[arg-type]
        batch = check_pb2.BatchCheckEquipmentRequest(imei=["x"] * 2)
        await service.batch(batch.SerializeToString(), Call())  # type: ignore[arg-type]
        looking: Any = SimpleNamespace(
            invocation_metadata=lambda: (("eir-client", "eir-check"),), time_remaining=lambda: None
        )
        await service.check(one, looking)
        await service.batch(batch.SerializeToString(), looking)
        return state.sightings.take(10)

    seen = run(use)
    assert [one[:3] for one in seen] == [(35_693_803_564_380, 1_432_110_000_000_001, 1_700_000_000)] * 4
    assert [one.msisdn for one in seen] == ["989121234567", "", "", ""]
