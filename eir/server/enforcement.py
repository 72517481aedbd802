"""EnforcementService: the override, and the state of the daemon."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from eir import __version__
from eir.errors import InvalidRequestError, StorageError
from eir.interceptors import Context
from eir.proto import enforcement_pb2
from eir.server.check import bounded, parse
from eir.server.state import State, journal_delta_count

if TYPE_CHECKING:
    from eir.whitelist.store import EnforcementState

WHO_BYTES_MAX = 128
WHY_BYTES_MAX = 512
ALLOW_ALL = enforcement_pb2.ENFORCEMENT_MODE_ALLOW_ALL
MODES = (enforcement_pb2.ENFORCEMENT_MODE_POLICY, ALLOW_ALL)


def check_reasons(who: str, why: str) -> None:
    """Raise InvalidRequestError where it is not said who does something, or why."""
    for field, text, bytes_max in (("who", who, WHO_BYTES_MAX), ("why", why, WHY_BYTES_MAX)):
        if not text.strip():
            raise InvalidRequestError(field, f"is empty; allowed are 1 to {bytes_max} bytes")
        bounded(field, text, bytes_max)


class EnforcementService:
    """Shows and sets the override, tells the state, rebuilds segments."""

    def __init__(self, state: State) -> None:
        """Serve over `state`."""
        self._state = state
        self._turn = asyncio.Lock()
        self._log = structlog.get_logger()

    async def get(self, _: bytes, __: Context) -> bytes:
        """GetEnforcement."""
        enforcement = await asyncio.to_thread(self._state.loaded().enforcement)
        return enforcement_pb2.GetEnforcementResponse(enforcement=_message(enforcement)).SerializeToString()

    async def set(self, data: bytes, _: Context) -> bytes:
        """SetEnforcement: written to the audit, then in force."""
        state, store, checker = self._state, self._state.loaded(), self._state.working()
        request = parse(enforcement_pb2.SetEnforcementRequest, data)
        if request.mode not in MODES:
            raise InvalidRequestError("mode", "allowed are POLICY and ALLOW_ALL")
        check_reasons(request.who, request.why)
        async with self._turn:
            # In a thread of its own: the override waits neither for a large delta nor for batches of checks.
            try:
                enforcement = await state.durable(
                    state.override_writer,
                    store.set_enforcement,
                    request.mode,
                    request.who,
                    request.why,
                    state.clock(),
                )
            except StorageError as error:
                if request.mode != ALLOW_ALL:
                    raise
                # A full disk must not keep enforcement going.
                checker.override = True
                state.metrics.override_active.set(value=True)
                self._log.exception("override on, but not durable: every check is allowed", who=request.who)
                said = f"the override is in force until this process ends; it is not written: {error.message}"
                raise StorageError(said) from error
            checker.override = enforcement.mode == ALLOW_ALL
        state.metrics.override_active.set(checker.override)
        self._log.warning(
            "override on: every check is allowed" if checker.override else "override off: the policy decides",
            who=request.who,
            why=request.why,
        )
        return enforcement_pb2.SetEnforcementResponse(enforcement=_message(enforcement)).SerializeToString()

    async def status(self, _: bytes, __: Context) -> bytes:
        """GetStatus: answers while the tables are loading, too."""
        state = self._state
        answer = enforcement_pb2.GetStatusResponse(
            version=__version__,
            engine=state.engine,
            started_at=state.started_at,
            ready=state.readiness.ready,
            not_ready_reasons=state.readiness.reasons(),
            rebuild_running=state.rebuilding,
        )
        if state.store is not None and state.checker is not None:
            store, checker = state.store, state.checker
            enforcement, sizes, journal_deltas = await asyncio.to_thread(
                lambda: (store.enforcement(), store.table_sizes(), journal_delta_count(store))
            )
            answer.serial = store.generation.serial
            answer.stale = checker.stale
            answer.enforcement.CopyFrom(_message(enforcement))
            answer.policy_hash, answer.policy_name = checker.policy.hash, checker.policy.name
            answer.policy_since = state.policy_since
            answer.policy_refused_at, answer.policy_refused_why = state.policy_refused
            answer.tables.extend(
                enforcement_pb2.TableSize(table=size.table, rows=size.rows, bytes=size.bytes)
                for size in sizes
            )
            answer.segment_count = len(store.generation.shards)
            answer.overlay_row_count = store.generation.overlay_rows
            answer.journal_delta_count = journal_deltas
        return answer.SerializeToString()

    async def rebuild(self, data: bytes, _: Context) -> bytes:
        """RebuildSegments."""
        request = parse(enforcement_pb2.RebuildSegmentsRequest, data)
        self._state.not_draining()
        result = await self._state.rebuild(all_segments=request.all)
        return enforcement_pb2.RebuildSegmentsResponse(
            serial=result.serial,
            rebuilt_count=result.rebuilt_count,
            duration_seconds=result.duration_seconds,
        ).SerializeToString()


def _message(enforcement: EnforcementState) -> enforcement_pb2.Enforcement:
    """Return the state of the override as a message."""
    return enforcement_pb2.Enforcement(
        mode=enforcement.mode,  # type: ignore[arg-type]  # an int is what the wire has
        changed_at=enforcement.changed_at,
        changed_by=enforcement.changed_by,
        why=enforcement.why,
    )
