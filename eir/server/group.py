"""The group of a daemon, put together from its configuration.

[group] ──► board on Redis, member of the desk's keeper ──► Group
another daemon ──► NoticeGroupService ──► desk's thread
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

import grpc

from eir.clock import monotonic
from eir.errors import StreamUnavailableError
from eir.notify.affairs import Affairs
from eir.notify.board import RedisBoard
from eir.notify.group import Group, Terms
from eir.notify.member import Member
from eir.proto import group_pb2, group_pb2_grpc
from eir.server.follow import in_turn, reached

if TYPE_CHECKING:
    from eir.notify.desk import Desk
    from eir.notify.link import Link
    from eir.notify.shared_keeper import SharedKeeper
    from eir.server.state import State

HEAR_SECONDS_MAX: Final = 3.0
PART_SECONDS_MAX: Final = 60
"""Wait for the next part of everything."""
CHANNEL_OPTIONS: Final = (("grpc.enable_http_proxy", 0), ("grpc.keepalive_time_ms", 30_000))


async def group(state: State, desk: Desk, keeper: SharedKeeper, links: Sequence[Link]) -> Group:
    """Make a desk's daemon a member of its group. Raises ConfigError."""
    says = state.config.group
    terms = Terms(
        says.lease_seconds,
        min(1.0, says.lease_seconds / 10),
        says.address,
        min(HEAR_SECONDS_MAX, says.lease_seconds / 2),
    )
    member = await desk.in_thread(Member.of, keeper, state.clock, monotonic, says.lines_max)
    member.hearer.others = Affairs(desk, member.teller)
    found = reached(says, f"{says.redis_prefix}:lines")
    found.password()  # now, so that a wrong configuration ends the start
    connect = in_turn(found)

    async def board() -> RedisBoard:
        return RedisBoard(await connect(), says.redis_prefix, says.redis_lines_max)

    def sends() -> bool:
        return desk.sender is not None and any(link.bound.is_set() for link in links)

    return Group(
        member,
        desk.in_thread,
        desk.commit,
        board,
        everything,
        state.clock,
        monotonic,
        terms,
        sends,
        lambda: keeper.policy.notices.cut_offs_per_hour_max,
    )


async def everything(at: str) -> AsyncIterator[group_pb2.GroupLine]:
    """Ask a daemon for all that it knows. Raises StreamUnavailableError."""
    async with grpc.aio.insecure_channel(at, options=CHANNEL_OPTIONS) as channel:
        stub = group_pb2_grpc.NoticeGroupServiceStub(channel)  # type: ignore[no-untyped-call]
        call = stub.StreamFacts(group_pb2.StreamFactsRequest())
        try:
            while True:
                async with asyncio.timeout(PART_SECONDS_MAX):
                    answer = await call.read()
                if answer is grpc.aio.EOF:
                    return
                yield answer.line
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            said = error.details() if isinstance(error, grpc.aio.AioRpcError) else "no answer in time"
            raise StreamUnavailableError(f"{at}: {said}") from error
