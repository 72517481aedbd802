"""NoticeGroupService over a desk at work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from casework import KEY, NOON, OTHER, SIM, Office, office
from exchange import asking, serving
from test_server_desk import PAIR, REGISTER

from eir.notify.case import State
from eir.proto import group_pb2
from eir.server.exchange import SIGHTINGS_MAX
from eir.settings import Notices

Test = Callable[[Office, Any], Awaitable[None]]


def run(folder: Path, test: Test, **settings: Any) -> None:
    async def main() -> None:
        async with (
            office(folder, smsc=False, **settings) as (made, _),
            serving(made.state) as port,
            asking(port) as stub,
        ):
            await test(made, stub)

    asyncio.run(main())


def sighting(imsi: int = SIM, **changes: Any) -> group_pb2.ForwardedSighting:
    return group_pb2.ForwardedSighting(**{"key": KEY, "imsi": imsi, "at": NOON, **changes})


def forwarded(*sightings: group_pb2.ForwardedSighting) -> group_pb2.ForwardSightingsRequest:
    return group_pb2.ForwardSightingsRequest(daemon="branch", sightings=sightings)


async def part(call: Any) -> group_pb2.FollowCasesResponse:
    async with asyncio.timeout(10):
        answer = await call.read()
    assert answer is not grpc.aio.EOF
    return answer  # type: ignore[no-any-return]


async def begun(call: Any) -> group_pb2.FollowCasesResponse:
    """All cases, as one answer."""
    out = await part(call)
    assert out.from_beginning
    while not out.position:
        out.MergeFrom(await part(call))
    return out


def test_forwarded_sightings_are_cases_once_they_are_answered(tmp_path: Path) -> None:
    async def test(made: Office, stub: Any) -> None:
        await made.delta(REGISTER)
        request = forwarded(sighting(msisdn="989120000001"), sighting(OTHER, at=NOON + 50))
        for _ in range(2):
            await stub.ForwardSightings(request)
        case, ahead = await made.case(), await made.case(imsi=OTHER)
        assert case is not None
        assert ahead is not None
        assert ahead.opened_at == NOON, "a clock ahead of ours says now"
        assert len(made.desk.keeper.cases) == 2
        assert made.desk.subscribers([SIM])[SIM].msisdn == 1_989_120_000_001

    run(tmp_path, test)


@pytest.mark.parametrize(
    "wrong",
    [
        sighting(key=10**14),
        sighting(key=0),
        sighting(imsi=9),
        sighting(imsi=2 * 10**15),
        sighting(at=0),
        sighting(msisdn="+98912"),
        sighting(msisdn="9" * 16),
    ],
)
def test_what_cannot_be_is_refused_whole(tmp_path: Path, wrong: group_pb2.ForwardedSighting) -> None:
    async def test(made: Office, stub: Any) -> None:
        await made.delta(REGISTER)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ForwardSightings(forwarded(sighting(), wrong))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert await made.case() is None

    run(tmp_path, test)


def test_too_many_are_refused_and_the_override_has_them_wait(tmp_path: Path) -> None:
    async def test(made: Office, stub: Any) -> None:
        await made.delta(REGISTER)
        with pytest.raises(grpc.aio.AioRpcError, match="at most 4096"):
            await stub.ForwardSightings(forwarded(*[sighting()] * (SIGHTINGS_MAX + 1)))
        made.state.working().override = True
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ForwardSightings(forwarded(sighting()))
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        made.state.working().override = False
        await stub.ForwardSightings(forwarded(sighting()))
        assert await made.case() is not None

    run(tmp_path, test)


def test_all_cases_then_every_change(tmp_path: Path) -> None:
    async def test(made: Office, stub: Any) -> None:
        await made.delta(REGISTER)
        await stub.ForwardSightings(forwarded(sighting(), sighting(OTHER)))
        call = stub.FollowCases(group_pb2.FollowCasesRequest())
        everything = await begun(call)
        assert set(zip(everything.keys, everything.imsis, strict=True)) == {(KEY, SIM), (KEY, OTHER)}
        await made.delta(PAIR)
        changed = await part(call)
        told = dict(zip(changed.imsis, changed.states, strict=True))
        assert told[SIM] == State.RESOLVED
        assert changed.position > everything.position
        call.cancel()
        # Who comes again goes on where it was.
        request = group_pb2.FollowCasesRequest(history=changed.history, position=everything.position)
        call = stub.FollowCases(request)
        again = await part(call)
        assert not again.from_beginning
        assert again.position == changed.position
        call.cancel()
        # Of other cases than those it knew, it gets all.
        request.history = "another"
        call = stub.FollowCases(request)
        assert list((await begun(call)).imsis) == [SIM, OTHER]
        call.cancel()

    run(tmp_path, test)


def test_who_follows_is_let_go_when_the_daemon_drains(tmp_path: Path) -> None:
    async def test(made: Office, stub: Any) -> None:
        call = stub.FollowCases(group_pb2.FollowCasesRequest())
        await begun(call)
        made.state.draining.set()
        async with asyncio.timeout(10):
            assert await call.read() is grpc.aio.EOF

    run(tmp_path, test)


def test_who_is_in_no_group_or_keeps_no_cases_says_so(tmp_path: Path) -> None:
    async def alone(made: Office, stub: Any) -> None:
        with pytest.raises(grpc.aio.AioRpcError, match="in no group"):
            await stub.StreamFacts(group_pb2.StreamFactsRequest()).read()

    async def without(made: Office, stub: Any) -> None:
        with pytest.raises(grpc.aio.AioRpcError, match=r"notices\.enabled is false"):
            await stub.ForwardSightings(forwarded(sighting()))

    run(tmp_path, alone)
    run(tmp_path, without, notices=Notices(enabled=False))
