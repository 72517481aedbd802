"""Where `eir import` applies lists: a running daemon, or the store of a directory that none uses.

data directory ──locked by a daemon?──► DaemonTarget: read the directory, push over gRPC
                              └─ free ► StoreTarget: open the store
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eir.cli import client
from eir.cli.say import USAGE, Failure, note, progress

if TYPE_CHECKING:
    import grpc

    from eir.config import Config
    from eir.lists.change import Change
    from eir.lists.run import Target, Where
    from eir.proto import sync_pb2
    from eir.whitelist.delta import Applied, Header, TableEffect
    from eir.whitelist.subscribers import SubscriberRows
    from eir.whitelist.view import View

_REJECTED: Final = "DELTA_"
"""How the reasons of refused deltas begin."""


@contextmanager
def target(config: Config, data_dir: Path, address: str, *, create: bool) -> Iterator[Where]:
    """Open what lists are applied to; without an address, that of the daemon that uses the directory."""
    from eir.errors import DataDirLockedError
    from eir.lists import shelf
    from eir.lists.run import Where
    from eir.whitelist.store import announced

    if not (data_dir / "registry.db").is_file() and not create:
        raise Failure(
            f"{data_dir}: no data directory of a daemon (it has no registry.db); --data-dir names it,"
            " --create makes one",
            USAGE,
        )
    with shelf.held(data_dir) as held, ExitStack() as stack:
        try:
            where: Target = stack.enter_context(_store_target(config, data_dir))
        except DataDirLockedError:
            address = address or announced(data_dir) or client.MANAGE_ADDRESS
            channel = stack.enter_context(client.connect(address))
            where = DaemonTarget(channel, data_dir, address)
        yield Where(where, held)


@contextmanager
def _store_target(config: Config, data_dir: Path) -> Iterator[Target]:
    """Open the store of a directory that no daemon uses. Raises DataDirLockedError."""
    from dataclasses import replace

    from eir import logs, native
    from eir.clock import now_seconds
    from eir.configured import store_limits
    from eir.errors import EngineUnavailableError
    from eir.lists.target import StoreTarget
    from eir.whitelist.store import Store

    logs.to_stderr()
    if config.engine != "portable":
        with suppress(EngineUnavailableError):  # it is only slower without
            native.help_writer()

    limits = replace(store_limits(config), serving=False, rebuild_bytes_per_second_max=0)
    store = Store.open(data_dir, clock=now_seconds, limits=limits)
    try:
        with progress("rows") as show_done:
            made = StoreTarget(store, lambda done, _: show_done(done))
            yield made
        with progress("folding into segments"):
            if made.fold():
                note("the rows are folded into the segments")
    finally:
        store.close()


class DaemonTarget:
    """A running daemon, and the data directory it uses on this machine."""

    counts_refusals = True

    def __init__(self, channel: grpc.Channel, data_dir: Path, address: str) -> None:
        """Take the management listener's channel."""
        self._channel, self._data_dir, self._address = channel, data_dir, address

    def view(self) -> View:
        """Read the directory, and check that the daemon is the one that uses it."""
        from eir.proto import sync_pb2
        from eir.whitelist import view

        read = view.read(self._data_dir)
        answer = client.sync(self._channel).GetFeedPosition(
            sync_pb2.GetFeedPositionRequest(), timeout=client.CALL_SECONDS_MAX
        )
        # A stream that is followed is told of before its first delta.
        now = {feed.feed: feed for feed in answer.feeds if feed.sequence}
        same = answer.serial >= read.serial and all(
            record.feed in now and now[record.feed].sequence >= record.sequence for record in read.feeds
        )
        if answer.serial == read.serial:
            same = same and len(now) == len(read.feeds)
            same = same and all(now[record.feed].applied_at == record.applied_at for record in read.feeds)
        if not same:
            raise Failure(
                f"the daemon at {self._address} does not use {self._data_dir}, another one does:"
                " --address and --data-dir must name the same one",
                USAGE,
            )
        return read

    def subscribers(self) -> Iterator[SubscriberRows]:
        """Iterate over all subscribers, by IMSI code."""
        from eir.whitelist import view

        return view.subscribers(self._data_dir)

    def reference(self, feed: str, sequence: int) -> str:
        """Return the reference of a delta; empty where there is none.

        What a killed import had sent may still be applied: it is waited for.
        """
        from eir.whitelist import view

        self._have_a_turn(feed)
        return view.reference(self._data_dir, feed, sequence)

    def _have_a_turn(self, feed: str) -> None:
        """Return when nothing of a feed is on its way: an empty dry run has its turn after it."""
        import grpc

        from eir.cli.delta import Refused, push_payloads
        from eir.proto import sync_pb2

        asked = sync_pb2.GetFeedPositionRequest(feed=feed)
        answer = client.sync(self._channel).GetFeedPosition(asked, timeout=client.CALL_SECONDS_MAX)
        position = max((found.sequence for found in answer.feeds), default=0)
        header = sync_pb2.DeltaHeader(feed=feed, sequence=position + 1, base_sequence=position, dry_run=True)
        try:
            push_payloads(self._channel, header, iter(()))
        except Refused:
            pass  # the feed moved on: what was on its way has come
        except grpc.RpcError as error:
            if not client.reason_of(error).startswith(_REJECTED):
                raise

    def push(self, header: Header, change: Change) -> Applied:
        """Apply a delta. Raises PushRefusedError, Failure."""
        import grpc

        from eir.cli.delta import Refused, push_payloads
        from eir.lists.errors import PushRefusedError
        from eir.proto import sync_pb2
        from eir.whitelist.delta import Applied, BadRow

        message = sync_pb2.DeltaHeader(
            feed=header.feed,
            sequence=header.sequence,
            base_sequence=header.base_sequence,
            row_count=header.row_count,
            complete_until=header.complete_until,
            reference=header.reference,
            dry_run=header.dry_run,
            override_guards=header.override_guards,
        )
        try:
            applied = push_payloads(self._channel, message, change.payloads())
        except Refused as refused:
            report = refused.report
            bad_rows = tuple(BadRow(bad.row, bad.reason, bad.message) for bad in report.bad_rows)
            raise PushRefusedError(
                report.reason, report.message, bad_rows, report.bad_row_count, _effects(report.effects)
            ) from refused
        except grpc.RpcError as error:
            reason = client.reason_of(error)
            if reason.startswith(_REJECTED):
                raise PushRefusedError(reason, error.details() or "") from error
            raise
        bad = tuple(BadRow(row.row, row.reason, row.message) for row in applied.bad_rows)
        return Applied(
            applied.serial,
            applied.repeat,
            applied.dry_run,
            _effects(applied.effects),
            applied.ignored_row_count,
            bad,
        )


def _effects(effects: object) -> tuple[TableEffect, ...]:
    from eir.whitelist.delta import TableEffect

    given: list[sync_pb2.TableEffect] = list(effects)  # type: ignore[call-overload]
    return tuple(TableEffect(e.table, e.added, e.removed, e.rows) for e in given)
