"""`eir feed publish` of a list: compared with tables, published as the delta that it amounts to.

FILE ──as eir import──► change ──► begin, chunks, commit ──XADD──► stream
data directory of a daemon that follows the stream ──► tables (without one: none)
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

import click

from eir.cli.import_lists import as_values, list_options
from eir.cli.say import Failure, progress

if TYPE_CHECKING:
    from eir.feed.publish import Standing
    from eir.feed.transport import RedisStream
    from eir.lists.change import Change
    from eir.lists.run import Options, Outcome
    from eir.whitelist.delta import Applied, Header
    from eir.whitelist.subscribers import SubscriberRows
    from eir.whitelist.view import View

Function = TypeVar("Function", bound=Callable[..., Any])
_LOOK_BYTES: Final = 64


def options(function: Function) -> Function:
    """Add the options of lists; the command gets them as `given`."""

    @wraps(function)
    def command(
        *args: Any,
        list_name: str | None,
        authority: str,
        in_force: str,
        encoding: str,
        loose_columns: bool,
        lenient: bool,
        tables: Path | None,
        dry_run: bool,
        **words: Any,
    ) -> Any:
        given = {
            "list_name": list_name or "",
            "authority": authority,
            "in_force": in_force,
            "encoding": encoding,
            "loose": loose_columns,
            "lenient": lenient,
            "dry_run": dry_run,
        }
        return function(*args, given=given, tables=tables, **words)

    for option in (
        click.option("--dry-run", is_flag=True, help="Of a list: report, and publish nothing."),
        click.option(
            "--tables",
            metavar="DIR",
            type=click.Path(path_type=Path, file_okay=False, exists=True),
            help="Of a list: data directory of a daemon that follows the stream, to compare it with; none:"
            " tables without rows.",
        ),
        list_options,
    ):
        option(command)
    return command  # type: ignore[return-value]  # click's commands are called with words


def is_list(file: IO[bytes] | None) -> bool:
    """Tell a list from operations as JSON lines, by how it begins."""
    if file is None:
        return False
    start: bytes = file.peek(_LOOK_BYTES)  # type: ignore[attr-defined]  # click opens buffered files
    start = start[:_LOOK_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip()
    return bool(start) and not start.startswith((b"{", b"#"))


async def publish(
    stream: RedisStream, file: str, options: Options, stands: Standing, tables: Path | None, maxlen: int
) -> tuple[Outcome, Standing]:
    """Publish what a list amounts to; returns what came of it, and where the stream stands then."""
    from eir.clock import now_seconds
    from eir.lists import shelf
    from eir.lists.run import Where, take

    with ExitStack() as stack:
        folder = tables or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        target = StreamTarget(stream, asyncio.get_running_loop(), options.feed, stands, tables, maxlen)
        where = Where(target, stack.enter_context(shelf.held(folder)))
        show_done = stack.enter_context(progress(file[-40:]))
        outcome = await asyncio.to_thread(
            take, file, options, where, now_seconds(), lambda done, _: show_done(done)
        )
    return outcome, target.stands


class StreamTarget:
    """A stream, and the tables that lists are compared with."""

    counts_refusals = True

    def __init__(
        self,
        stream: RedisStream,
        loop: asyncio.AbstractEventLoop,
        feed: str,
        stands: Standing,
        tables: Path | None,
        maxlen: int,
    ) -> None:
        """Take an open stream, the loop it is of, and where it stands."""
        self.stands = stands
        self._stream, self._loop, self._feed = stream, loop, feed
        self._tables, self._maxlen = tables, maxlen

    def view(self) -> View:
        """Read the tables, which must stand where the stream does."""
        from eir.whitelist import view

        if self._tables is None:
            return _empty_view(self._feed, self.stands.sequence)
        read = view.read(self._tables)
        position = read.position(self._feed)
        if position != self.stands.sequence:
            raise Failure(
                f"{self._tables} stands at sequence {position:,} of feed {self._feed}, the stream at"
                f" {self.stands.sequence:,}: compared with other tables the list would be another delta;"
                " try again when its daemon has read the stream"
            )
        return read

    def subscribers(self) -> Iterator[SubscriberRows]:
        """Iterate over all subscribers, by IMSI code."""
        from eir.whitelist import view

        return view.subscribers(self._tables) if self._tables else iter(())

    def reference(self, feed: str, sequence: int) -> str:
        """Return the reference of a delta; empty where there is none."""
        from eir.whitelist import view

        return view.reference(self._tables, feed, sequence) if self._tables else ""

    def push(self, header: Header, change: Change) -> Applied:
        """Publish a delta. Raises StreamUnavailableError."""
        from eir.feed import publish as publishing
        from eir.feed.message import Commit, encode
        from eir.whitelist.delta import Applied

        if not header.dry_run:
            begin = publishing.next_begin(
                header.feed,
                header.row_count,
                self.stands,
                complete_until=header.complete_until,
                reference=header.reference,
                override_guards=header.override_guards,
            )
            for message in publishing.messages(begin, (payload for payload, _ in change.payloads())):
                added = self._stream.add(encode(message), self._maxlen)
                asyncio.run_coroutine_threadsafe(added, self._loop).result()
                if isinstance(message, Commit):
                    self.stands = self.stands._replace(
                        sequence=message.sequence, content_sha256=message.content_sha256
                    )
        return Applied(0, False, header.dry_run, (), 0, ())


def _empty_view(feed: str, sequence: int) -> View:
    """Tables without rows, where the feed stands at a sequence."""
    from eir.whitelist.schema import FeedRecord
    from eir.whitelist.tables import TABLES, Common, Generation
    from eir.whitelist.view import View

    record = FeedRecord(feed, sequence, 0, 0, 0)
    return View(Generation.of(0, (), [], Common.empty()), (record,), (), (), dict.fromkeys(TABLES, 0))


def values(outcome: Outcome, options: Options) -> dict[str, object]:
    """Return what came of a list as JSON values: published, not applied."""
    out = as_values(outcome, options)
    out["published"] = out.pop("applied")
    return {name: value for name, value in out.items() if name not in ("serial", "effects")}


def options_of(given: dict[str, Any], feed: str, *, complete_until: int, override: bool) -> Options:
    """Return how a list is read."""
    from eir.lists.run import Options

    return replace(Options(**given), feed=feed, complete_until=complete_until, override=override)
