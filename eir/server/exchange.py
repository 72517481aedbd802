"""NoticeGroupService: what daemons ask each other.

daemons of a group ──► StreamFacts ──► desk's thread
daemons whose cases we keep ──► ForwardSightings, FollowCases ──► desk's thread
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import structlog

from eir.errors import CasesUnavailableError, InvalidRequestError
from eir.interceptors import Context
from eir.notify.followed import parts_of
from eir.notify.judged import NotJudgedError
from eir.notify.keeper import Sighting
from eir.notify.lines import IMSIS_MAX, IMSIS_MIN, KEYS_MAX
from eir.proto import group_pb2
from eir.server.check import parse

if TYPE_CHECKING:
    from eir.notify.desk import Desk
    from eir.server.state import State

log = structlog.get_logger()

SIGHTINGS_MAX: Final = 4096
FOLLOW_SECONDS: Final = 0.25
"""How often it is looked whether there is something for those who follow."""
COMMITS_AT_ONCE: Final = 64
MSISDN_DIGITS: Final = 15


class NoticeGroupService:
    """Answers other daemons."""

    def __init__(self, state: State) -> None:
        """Serve over `state`."""
        self._state = state

    def _desk(self) -> Desk:
        """Return the desk. Raises NotReadyError, CasesUnavailableError."""
        casework = self._state.casework
        if casework is None:
            raise CasesUnavailableError("this daemon keeps no cases: notices.enabled is false")
        if casework.desk is None:
            self._state.loaded()
            raise CasesUnavailableError(f"this daemon keeps no cases: {casework.damaged}")
        return casework.desk

    async def forward(self, data: bytes, _: Context) -> bytes:
        """ForwardSightings."""
        request = parse(group_pb2.ForwardSightingsRequest, data)
        if len(request.sightings) > SIGHTINGS_MAX:
            raise InvalidRequestError("sightings", f"at most {SIGHTINGS_MAX}")
        now = self._state.clock()
        seen = [_sighting(one, now) for one in request.sightings]
        desk = self._desk()
        try:
            await desk.in_thread(desk.sighted, seen)
        except NotJudgedError:
            raise CasesUnavailableError("the override is on: no cases are opened") from None
        self._state.metrics.group.forwarded["taken"].inc(len(seen))
        return group_pb2.ForwardSightingsResponse().SerializeToString()

    async def follow(self, data: bytes, context: Context) -> None:
        """FollowCases: all of them, then what changes, until the caller or the daemon goes."""
        request = parse(group_pb2.FollowCasesRequest, data)
        desk, draining = self._desk(), self._state.draining
        history, position = request.history, request.position
        await context.send_initial_metadata(())
        log.info("cases are followed", by=context.peer(), position=position)
        while not draining.is_set():
            changed = await desk.in_thread(_changed, desk, history, position)
            if changed is None:
                history, position = await self._all(desk, context)
                continue
            if changed.position != position:
                position = changed.position
                await context.write(changed.SerializeToString())
                continue
            try:
                async with asyncio.timeout(FOLLOW_SECONDS):
                    await draining.wait()
            except TimeoutError:
                continue

    async def _all(self, desk: Desk, context: Context) -> tuple[str, int]:
        """Send all cases, as of a position: what changes meanwhile comes after it."""
        history, position = await desk.in_thread(_now, desk)
        first = group_pb2.FollowCasesResponse(history=history, from_beginning=True)
        await context.write(first.SerializeToString())
        number = 0
        while (part := await desk.in_thread(_part, desk, history, number)) is not None:
            number, answer = part
            await context.write(answer.SerializeToString())
        last = group_pb2.FollowCasesResponse(history=history, position=position)
        await context.write(last.SerializeToString())
        return history, position

    async def facts(self, data: bytes, context: Context) -> None:
        """StreamFacts."""
        parse(group_pb2.StreamFactsRequest, data)
        desk, casework = self._desk(), self._state.casework
        if casework is None or casework.group is None:
            raise CasesUnavailableError("this daemon is in no group: group.redis_urls is empty")
        log.info("another daemon of the group asks for everything", by=context.peer())
        parts = casework.group.member.teller.everything()
        while (line := await desk.in_thread(_next_line, parts)) is not None:
            await context.write(group_pb2.StreamFactsResponse(line=line).SerializeToString())


def _sighting(told: group_pb2.ForwardedSighting, now: int) -> Sighting:
    """Read a sighting; one that is ahead of our clock was now. Raises InvalidRequestError."""
    if not (0 < told.key < KEYS_MAX and IMSIS_MIN <= told.imsi < IMSIS_MAX and told.at):
        raise InvalidRequestError("sightings", "a key, an IMSI or a time that there cannot be")
    if told.msisdn and not (
        told.msisdn.isascii() and told.msisdn.isdigit() and len(told.msisdn) <= MSISDN_DIGITS
    ):
        raise InvalidRequestError("sightings", "an MSISDN that is none")
    return Sighting(told.key, told.imsi, min(told.at, now), told.msisdn)


def _next_line(parts: Iterator[group_pb2.GroupLine]) -> group_pb2.GroupLine | None:
    return next(parts, None)


def _now(desk: Desk) -> tuple[str, int]:
    """Return where those stand who know everything; positions begin with 1."""
    return desk.history, desk.keeper.cases.log_id + 1


def _changed(desk: Desk, history: str, position: int) -> group_pb2.FollowCasesResponse | None:
    """Return what changed since a position; None where everything is to be sent. In the desk's thread."""
    if history != desk.history or not position:
        return None
    found = desk.keeper.cases.changed_after(position - 1, COMMITS_AT_ONCE)
    return parts_of(found[0], history, found[1] + 1) if found is not None else None


def _part(desk: Desk, history: str, number: int) -> tuple[int, group_pb2.FollowCasesResponse] | None:
    """Return some of all cases, and the number from which on the next are. In the desk's thread."""
    rows = desk.keeper.cases.rows_from(number)
    return (number + len(rows), parts_of(rows, history, 0)) if len(rows) else None
