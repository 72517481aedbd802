"""A daemon whose cases another one keeps: it sends its sightings there, and follows the cases.

    sightings ──batches──► ForwardSightings ──► owner
    table for checks ◄──── FollowCases ◄─────── owner

While the owner is away sightings wait, as many as have room, and checks know the
cases that were known last: nothing is taken back, and nothing is added.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
import structlog

from eir.clock import monotonic
from eir.errors import StateDamagedError, StorageError
from eir.notify.followed import FILE, Followed
from eir.notify.keeper import Sighting
from eir.proto import group_pb2, group_pb2_grpc
from eir.whitelist.files import FileLayer

if TYPE_CHECKING:
    from eir.notify.case_table import CaseTable
    from eir.notify.desk import Desk
    from eir.notify.group import Group
    from eir.notify.link import Link
    from eir.server.state import State

BATCH_SIGHTINGS: Final = 1_000
IDLE_SECONDS: Final = 0.1
ANSWER_SECONDS_MAX: Final = 10
BACKOFF_SECONDS_MIN: Final = 0.2
BACKOFF_SECONDS_MAX: Final = 10.0
SAVE_SECONDS: Final = 60.0
WRITTEN_BYTES_PER_SECOND_MAX: Final = 20_000_000
PARTS_BYTES_MAX: Final = 16 << 20
CHANNEL_OPTIONS: Final = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", PARTS_BYTES_MAX),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 10_000),
)

log = structlog.get_logger()


class Branch:
    """What a daemon has in the place of a desk of its own."""

    def __init__(self, state: State) -> None:
        """Look to the owner that the configuration names."""
        self._state, self.owner = state, state.config.notices.owner
        self.desk: Desk | None = None
        self.group: Group | None = None
        self.sending: list[Link] = []
        self.damaged = f"{self.owner} keeps the cases"
        self.followed: Followed | None = None
        self.heard_at = 0.0
        """When the owner was last heard, by the clock that only goes forward."""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="branch")
        self._jobs: list[asyncio.Task[None]] = []
        self._waiting: Sequence[Sighting] = ()
        self._said = ""

    async def load(self) -> None:
        """Read the cases that were known last. A damaged file is said, and everything is asked for anew."""
        folder, files = Path(self._state.config.data_dir), FileLayer(WRITTEN_BYTES_PER_SECOND_MAX)

        def work() -> Followed:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                return Followed(folder, files, self._show)
            except StateDamagedError as error:
                log.error("cases are asked for anew", why=error.message)  # noqa: TRY400 - one line
                files.remove(folder / FILE)
                return Followed(folder, files, self._show)

        self.followed = await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def begin(self) -> None:
        """Let checks find the cases."""
        if self.followed is not None:
            self._show(self.followed.table)

    def _show(self, table: CaseTable) -> None:
        if self._state.checker is not None:
            self._state.checker.cases = table

    def start(self) -> None:
        """Forward and follow."""
        self._away("not connected yet")
        self._jobs = [asyncio.create_task(self._run(work)) for work in (self._forward, self._follow)]
        self._jobs.append(asyncio.create_task(self._save()))

    async def _run(self, work: Callable[[group_pb2_grpc.NoticeGroupServiceStub], Awaitable[None]]) -> None:
        """Do something over a connection, and again when that is lost."""
        failures = 0
        while True:
            started = monotonic()
            try:
                async with grpc.aio.insecure_channel(self.owner, options=CHANNEL_OPTIONS) as channel:
                    await work(group_pb2_grpc.NoticeGroupServiceStub(channel))  # type: ignore[no-untyped-call]
            except grpc.aio.AioRpcError as error:
                self._away(error.details() or error.code().name)
            except Exception as error:
                self._state.metrics.upkeep_failures.inc()
                log.exception("following the owner of the cases failed")
                self._away(type(error).__name__)
            failures = 0 if monotonic() - started > BACKOFF_SECONDS_MAX else failures + 1
            await asyncio.sleep(min(BACKOFF_SECONDS_MIN * 2**failures, BACKOFF_SECONDS_MAX))

    def _away(self, why: str) -> None:
        """Say that the owner is away; checks go on."""
        self._state.readiness.fail(
            "cases", f"{self.owner}, which keeps the cases, is away: {why}", required=False
        )
        self._state.metrics.group.owner_connected.set(0)
        if why != self._said:
            self._said = why
            log.warning("the owner of the cases is away", owner=self.owner, why=why)

    def _here(self) -> None:
        self.heard_at = monotonic()
        if self._said:
            self._said = ""
            log.info("the owner of the cases is here", owner=self.owner)
            self._state.readiness.hold("cases")
            self._state.metrics.group.owner_connected.set(1)

    async def _forward(self, stub: group_pb2_grpc.NoticeGroupServiceStub) -> None:
        """Send sightings, in the order in which they came; each until it was taken."""
        queue, metrics = self._state.sightings, self._state.metrics
        while queue is not None:
            self._waiting = self._waiting or queue.take(BATCH_SIGHTINGS)
            if not self._waiting:
                await asyncio.sleep(IDLE_SECONDS)
                continue
            sightings = [group_pb2.ForwardedSighting(**one._asdict()) for one in self._waiting]
            request = group_pb2.ForwardSightingsRequest(sightings=sightings)
            try:
                await stub.ForwardSightings(request, timeout=ANSWER_SECONDS_MAX)
            except grpc.aio.AioRpcError as error:
                metrics.group.forwarded["failed"].inc()
                if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
                    raise
                log.error("the owner refuses sightings", why=error.details())  # noqa: TRY400 - one line
                self._waiting = ()
                continue
            metrics.group.forwarded["sent"].inc(len(sightings))
            self._waiting = ()

    async def _follow(self, stub: group_pb2_grpc.NoticeGroupServiceStub) -> None:
        """Take all cases, or what changed since they were last known, then every change."""
        followed, loop = self.followed, asyncio.get_running_loop()
        if followed is None:
            return
        request = group_pb2.FollowCasesRequest(history=followed.history, position=followed.position)
        call = stub.FollowCases(request)
        await call.initial_metadata()
        self._here()
        try:
            while (part := await call.read()) is not grpc.aio.EOF:
                await loop.run_in_executor(self._thread, followed.take, part)
                self._state.metrics.group.followed_cases.set(len(followed))
                self._here()
        finally:
            followed.lost()
        self._away("it ended the connection")

    async def _save(self) -> None:
        """Keep what is known for the next start, now and then."""
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            with contextlib.suppress(StorageError):
                await self._save_now()

    async def _save_now(self) -> None:
        followed = self.followed
        if followed is None or followed.position == followed.saved_position:
            return
        loop = asyncio.get_running_loop()
        content, position = await loop.run_in_executor(
            self._thread, lambda: (followed.content(), followed.position)
        )
        await asyncio.to_thread(followed.save, content)
        followed.saved_position = position

    async def refresh(self) -> None:
        """Metrics and readiness are brought up to the present as things happen."""

    async def use_policy(self) -> None:
        """Nothing here depends on the policy."""

    async def close(self) -> None:
        """End, and keep what is known."""
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        try:
            await self._save_now()
        except StorageError as error:
            log.warning("cases are not kept for the next start", why=error.message)
        self._thread.shutdown()
