"""`eir feed`: streams of feeds on Redis, and feeds that stand still.

FILE ──count──► begin ──► chunks ──► commit ──XADD──► stream ──► daemons
accept, skip ──RPC──► daemon
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from eir.cli import client, delta, feed_lists
from eir.cli.import_lists import show_outcome
from eir.cli.say import NO, USAGE, Failure, count, moment, note, parse_moment, show_json

if TYPE_CHECKING:
    from eir.feed.publish import Standing
    from eir.feed.transport import Extent, RedisStream
    from eir.lists.run import Options, Outcome

Function = TypeVar("Function", bound=Callable[..., Any])
Result = TypeVar("Result")


@click.group()
def feed() -> None:
    """Publish to the streams that daemons follow, and bring a feed on that stands still."""


def server_options(function: Function) -> Function:
    """Add the options that say where a stream is."""
    for option in (
        click.option("--feed", "name", required=True, help="Feed that the stream has."),
        click.option("--url", default="redis://127.0.0.1:6379/0", show_default=True, help="Redis server."),
        click.option("--stream", default="", help="Key of the stream; eir:feed:NAME unless given."),
        click.option("--username", default="", help="User of the server."),
        click.option("--password-file", default="", help="File that has the password."),
        click.option("--ca-file", default="", help="Certificates to trust with rediss://, in PEM."),
    ):
        function = option(function)
    return function


def _on_stream(
    work: Callable[[RedisStream], Coroutine[Any, Any, Result]], name: str, url: str, **given: str
) -> Result:
    """Do something with a stream, over one connection."""
    from eir.feed.servers import servers
    from eir.feed.transport import Access, connect
    from eir.server.follow import STREAM_PREFIX, password
    from eir.whitelist.delta import NAME

    if not NAME.fullmatch(name):
        raise Failure("--feed: 1 to 64 of a-z, 0-9, '-', '_', '.' are needed", USAGE)
    try:
        (server,) = servers(url)
    except ValueError as error:
        raise Failure(f"--url: {error}", USAGE) from None
    access = Access(
        (server,),
        given["stream"] or STREAM_PREFIX + name,
        given["username"],
        lambda: password(given["password_file"], ""),
        given["ca_file"],
    )

    async def inside() -> Result:
        stream = await connect(access, server)
        try:
            return await work(stream)
        finally:
            await stream.close()

    return asyncio.run(inside())


@feed.command(epilog=delta.EXAMPLE)
@click.argument("file", type=click.File("rb"), metavar="[FILE|-]", required=False)
@server_options
@click.option(
    "--sequence",
    type=click.IntRange(1, delta.SEQUENCE_MAX),
    help="Sequence in the feed; the next one of the stream unless given.",
)
@click.option(
    "--base",
    type=click.IntRange(0, delta.SEQUENCE_MAX),
    help="Sequence it builds on; the stream's last one, or the one before --sequence.",
)
@click.option("--complete-until", metavar="TIME", help="Time up to which the feed is complete with it.")
@click.option("--reference", default="", help="The registry's reference for the whole delta.")
@click.option("--override", is_flag=True, help="Let daemons apply it although a guard would refuse it.")
@click.option("--heartbeat", is_flag=True, help="Publish a heartbeat, after the delta if FILE is given.")
@click.option("--maxlen", type=click.IntRange(1), help="Trim the stream to about so many messages.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@feed_lists.options
def publish(
    file: IO[bytes] | None,
    name: str,
    sequence: int | None,
    base: int | None,
    complete_until: str | None,
    reference: str,
    override: bool,
    heartbeat: bool,
    maxlen: int | None,
    as_json: bool,
    given: dict[str, Any],
    tables: Path | None,
    **server: str,
) -> None:
    """Publish FILE as one delta to the stream of a feed.

    FILE has an operation in JSON on each line, or is a list (docs/lists.md), which
    is compared with the tables of --tables. Daemons that follow the stream apply it,
    whole or not at all. To publish operations again that broke off give the same
    --sequence: what was applied is a repeat.
    """
    if file is None and not heartbeat:
        raise Failure("FILE or --heartbeat is needed", USAGE)
    until = parse_moment(complete_until, "--complete-until") if complete_until else 0
    if file is not None and feed_lists.is_list(file):
        if sequence or base is not None or reference:
            raise Failure("--sequence, --base and --reference are for operations; FILE is a list", USAGE)
        options = feed_lists.options_of(given, name, complete_until=until, override=override)
        _publish_list(file, options, tables, heartbeat, maxlen or 0, as_json, name, server)
        return
    if tables or any(given.values()):
        raise Failure("FILE is no list, and an option of lists is given", USAGE)

    async def work(stream: RedisStream) -> tuple[int, int]:
        from eir.feed import publish as publishing
        from eir.feed.message import Heartbeat, encode

        stands, row_count = await publishing.standing(stream, name), 0
        if file is not None:
            builds_on = _base(stands, sequence, base)
            with delta.rewindable(file) as rows:
                row_count = sum(1 for _ in delta.lines(rows))
                begin = publishing.next_begin(
                    name,
                    row_count,
                    builds_on,
                    sequence or 0,
                    complete_until=until,
                    reference=reference,
                    override_guards=override,
                )
                payloads = (payload for payload, _ in delta.payloads(rows))
                for message in publishing.messages(begin, payloads):
                    await stream.add(encode(message), maxlen or 0)
            stands = stands._replace(sequence=begin.sequence)
        elif sequence is not None:
            stands = stands._replace(sequence=sequence)
        if heartbeat:
            await stream.add(encode(Heartbeat(name, stands.sequence, until or int(time.time()))), maxlen or 0)
        return stands.sequence, row_count

    published, row_count = _on_stream(work, name, **server)
    if as_json:
        show_json({"feed": name, "sequence": published, "row_count": row_count, "heartbeat": heartbeat})
        return
    if file is not None:
        click.echo(f"published: {count(row_count, 'row')} of feed {name}, sequence {published}")
    if heartbeat:
        click.echo(f"published: a heartbeat of feed {name} at sequence {published}")


def _publish_list(
    file: IO[bytes],
    options: Options,
    tables: Path | None,
    heartbeat: bool,
    maxlen: int,
    as_json: bool,
    name: str,
    server: dict[str, str],
) -> None:
    """Publish a list, and a heartbeat where it is wanted; ends with 3 when the list is refused."""

    async def work(stream: RedisStream) -> tuple[Outcome, Standing]:
        from eir.feed import publish as publishing
        from eir.feed.message import Heartbeat, encode

        stands = await publishing.standing(stream, name)
        path = "-" if file.name == "<stdin>" else file.name
        outcome, stands = await feed_lists.publish(stream, path, options, stands, tables, maxlen)
        if heartbeat and not outcome.refused and not options.dry_run:
            until = options.complete_until or int(time.time())
            await stream.add(encode(Heartbeat(name, stands.sequence, until)), maxlen)
        return outcome, stands

    outcome, stands = _on_stream(work, name, **server)
    if as_json:
        show_json(feed_lists.values(outcome, options))
    else:
        show_outcome(outcome, options, published=True)
    if outcome.refused:
        if tables is None and outcome.delta:
            note("compared with no tables, since --tables names none")
        sys.exit(NO)
    if heartbeat and not options.dry_run and not as_json:
        click.echo(f"published: a heartbeat of feed {name} at sequence {stands.sequence:,}")


def _base(stands: Standing, sequence: int | None, base: int | None) -> Standing:
    """Return what a delta builds on; its hash is known where that is the stream's last one."""
    if base is None:
        base = stands.sequence if sequence is None or sequence > stands.sequence else sequence - 1
    return stands if base == stands.sequence else stands._replace(sequence=base, content_sha256=b"")


@feed.command()
@server_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool, **server: str) -> None:
    """Print how far a stream goes: messages, last sequence, until when it is complete."""

    async def work(stream: RedisStream) -> tuple[Extent, Standing]:
        from eir.feed.publish import standing

        return await stream.extent(), await standing(stream, name)

    extent, stands = _on_stream(work, name, **server)
    if as_json:
        show_json(
            {
                "feed": name,
                "messages": extent.length,
                "added": extent.added,
                "last_id": extent.last_id,
                "sequence": stands.sequence,
                "complete_until": stands.complete_until,
            }
        )
        return
    click.echo(f"feed {name}: {count(extent.length, 'message')}, the last one {extent.last_id}")
    click.echo(f"sequence {stands.sequence:,}, complete until {moment(stands.complete_until)}")


def resolving_options(function: Function) -> Function:
    """Add what accepting and skipping take."""
    for option in (
        click.argument("sequence", type=click.IntRange(1, delta.SEQUENCE_MAX)),
        click.argument("name", metavar="FEED"),
        click.option("--who", required=True, help="Who decides: a person or a ticket."),
        click.option("--why", required=True, help="Why."),
        client.manage_address,
    ):
        function = option(function)
    return function


@feed.command()
@resolving_options
def accept(name: str, sequence: int, who: str, why: str, address: str) -> None:
    """Apply the refused delta before which FEED stands, in spite of guards, without its bad rows."""
    _resolve("ACCEPT", name, sequence, who, why, address)
    note("accepted; it is applied when the stream is read again: eir status")


@feed.command()
@resolving_options
def skip(name: str, sequence: int, who: str, why: str, address: str) -> None:
    """Let FEED stand at SEQUENCE without the rows that led there; the tables stay as they are."""
    _resolve("SKIP", name, sequence, who, why, address)
    note(f"feed {name} stands at sequence {sequence:,}")


def _resolve(resolution: str, name: str, sequence: int, who: str, why: str, address: str) -> None:
    from eir.proto import sync_pb2

    with client.connect(address) as channel:
        client.sync(channel).ResolveFeed(
            sync_pb2.ResolveFeedRequest(
                feed=name,
                resolution=f"FEED_RESOLUTION_{resolution}",
                sequence=sequence,
                who=who,
                why=why,
            ),
            timeout=client.CALL_SECONDS_MAX,
        )
