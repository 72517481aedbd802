"""`eir delta`: a delta of JSON lines into a running daemon, by hand.

    FILE ──count──► header ──► operations ──► chunks ──► commit ──► report
                                   └── lines that are no operation: nothing is applied

The file is read line by line, twice; what is in flight is bounded by the
acknowledgements of the chunks.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import queue
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final, NamedTuple

import click

from eir.cli import client
from eir.cli.say import FAILED, NO, Failure, count, note, parse_moment, progress, show_json, show_table

if TYPE_CHECKING:
    import grpc

    from eir.proto import sync_pb2

PAYLOAD_BYTES: Final = 1 << 20
"""Aim for chunks: large enough to write, small enough to keep few bytes in flight."""
IN_FLIGHT_MAX: Final = 4
"""Chunks sent and not yet acknowledged."""
LINE_BYTES_MAX: Final = 64 << 10
FAULTS_MAX: Final = 1_000
SEQUENCE_MAX: Final = (1 << 63) - 1
OTHER_ROW: Final = re.compile(r"\brow ([0-9]+)")
"""How a report names a row; people have the line."""
_FIELD_BYTES: Final = 8
"""Room for the tag and length of an operation in its chunk."""

EXAMPLE: Final = """\b
Lines look like this:
  {"kind": "PAIR", "imei": "35693803564380", "imsi": "432110000000001"}
  {"kind": "BLOCK", "imei": "35693803564380", "block_cause": "STOLEN"}
"""


class Line(NamedTuple):
    """A line that has a row: its number, from 1, and its text."""

    number: int
    text: bytes


class Refused(Exception):  # noqa: N818 - it carries the daemon's report, the error follows it
    """The daemon refuses the delta, and says why."""

    def __init__(self, report: sync_pb2.DeltaRefused) -> None:
        super().__init__(report.message)
        self.report = report


@click.group()
def delta() -> None:
    """Send deltas to a running daemon."""


@delta.command(epilog=EXAMPLE)
@click.argument("file", type=click.File("rb"), metavar="FILE|-")
@click.option("--feed", default="manual", show_default=True, help="Feed that the delta belongs to.")
@click.option(
    "--sequence",
    type=click.IntRange(1, SEQUENCE_MAX),
    help="Sequence in the feed; the next one unless given.",
)
@click.option(
    "--base",
    type=click.IntRange(0, SEQUENCE_MAX),
    help="Sequence it builds on; where the feed stands unless given.",
)
@click.option("--complete-until", metavar="TIME", help="Time up to which the feed is complete with it.")
@click.option("--reference", default="", help="The registry's reference for the whole delta.")
@click.option("--dry-run", is_flag=True, help="Report what it would do, and change nothing.")
@click.option("--override", is_flag=True, help="Apply it although a guard would refuse it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@client.manage_address
def push(
    file: IO[bytes],
    feed: str,
    sequence: int | None,
    base: int | None,
    complete_until: str | None,
    reference: str,
    dry_run: bool,
    override: bool,
    as_json: bool,
    address: str,
) -> None:
    """Apply FILE, an operation in JSON on each line, as one delta: whole or not at all.

    Fields and kinds are those of Operation in docs/api.md, enum values without
    their prefix. Empty lines and lines beginning with # are left out. Ends with
    3 when the delta is refused.
    """
    from eir.proto import sync_pb2

    header = sync_pb2.DeltaHeader(
        feed=feed,
        complete_until=parse_moment(complete_until, "--complete-until") if complete_until else 0,
        reference=reference,
        dry_run=dry_run,
        override_guards=override,
    )
    with rewindable(file) as rows, client.connect(address) as channel:
        header.row_count = sum(1 for _ in lines(rows))
        header.sequence, header.base_sequence = _place(channel, feed, sequence, base)
        try:
            applied = push_payloads(channel, header, payloads(rows))
        except Refused as refused:
            _show_refused(refused.report, rows, as_json)
            sys.exit(NO)
        _show_applied(header, applied, rows, as_json)


@contextmanager
def rewindable(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Give a file that can be read twice; what comes through a pipe is kept on disk meanwhile."""
    try:
        file.seek(0)
        yield file
    except (io.UnsupportedOperation, OSError):
        with tempfile.TemporaryFile() as kept:
            shutil.copyfileobj(file, kept)
            yield kept


def lines(file: IO[bytes]) -> Iterator[Line]:
    """Iterate over the lines that have a row, from the beginning."""
    file.seek(0)
    number = 0
    while text := file.readline(LINE_BYTES_MAX + 1):
        number += 1
        if number == 1:
            text = text.removeprefix(codecs.BOM_UTF8)
        if len(text) > LINE_BYTES_MAX:
            raise Failure(f"line {number}: longer than {LINE_BYTES_MAX:,} bytes", NO)
        text = text.strip()
        if text and not text.startswith(b"#"):
            yield Line(number, text)


def _place(channel: grpc.Channel, feed: str, sequence: int | None, base: int | None) -> tuple[int, int]:
    """Return sequence and base: where the feed stands, unless they are given."""
    from eir.proto import sync_pb2

    if base is None:
        answer = client.sync(channel).GetFeedPosition(
            sync_pb2.GetFeedPositionRequest(feed=feed), timeout=client.CALL_SECONDS_MAX
        )
        position = answer.feeds[0].sequence if answer.feeds else 0
        # A sequence from before is sent again as it was: a daemon knows it as a repeat.
        base = position if sequence is None or sequence > position else sequence - 1
    return (base + 1 if sequence is None else sequence), base


def push_payloads(
    channel: grpc.Channel, header: sync_pb2.DeltaHeader, chunks: Iterator[tuple[bytes, int]]
) -> sync_pb2.DeltaApplied:
    """Send one delta of serialized DeltaRows, each with its rows. Raises Refused, Failure, grpc.RpcError."""
    from eir.proto import sync_pb2

    requests: queue.SimpleQueue[sync_pb2.PushDeltaRequest | None] = queue.SimpleQueue()
    call = client.sync(channel).PushDelta(iter(requests.get, None))
    try:
        with progress("rows", header.row_count) as show_done:
            requests.put(sync_pb2.PushDeltaRequest(header=header))
            _answer(call, "accepted")
            digest = _send_chunks(call, requests, chunks, show_done)
            requests.put(sync_pb2.PushDeltaRequest(commit=sync_pb2.DeltaCommit(content_sha256=digest)))
            return _answer(call, "applied").applied
    finally:
        requests.put(None)
        call.cancel()


def _answer(call: Iterator[sync_pb2.PushDeltaResponse], expected: str) -> sync_pb2.PushDeltaResponse:
    """Return the next answer, which must be the one expected."""
    answer = next(call, None)
    got = answer.WhichOneof("message") if answer is not None else None
    if answer is not None and got == "refused":
        raise Refused(answer.refused)
    if answer is None or got != expected:
        raise Failure(f"the daemon answered {got or 'nothing'} where {expected} was expected", FAILED)
    return answer


def _send_chunks(
    call: Iterator[sync_pb2.PushDeltaResponse],
    requests: queue.SimpleQueue[sync_pb2.PushDeltaRequest | None],
    chunks: Iterator[tuple[bytes, int]],
    show_done: Callable[[int], None],
) -> bytes:
    """Send the rows, a few chunks ahead of their acknowledgements; return their SHA-256."""
    from eir.proto import sync_pb2

    digest = hashlib.sha256()
    in_flight: list[int] = []
    done = 0
    for index, (payload, row_count) in enumerate(chunks):
        digest.update(payload)
        requests.put(sync_pb2.PushDeltaRequest(chunk=sync_pb2.DeltaChunk(index=index, payload=payload)))
        in_flight.append(row_count)
        if len(in_flight) == IN_FLIGHT_MAX:
            _answer(call, "chunk_durable")
            done += in_flight.pop(0)
            show_done(done)
    for row_count in in_flight:
        _answer(call, "chunk_durable")
        done += row_count
        show_done(done)
    return digest.digest()


def payloads(rows: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Iterate over serialized DeltaRows, each with its number of rows.

    Raises Failure naming every line that is no operation.
    """
    from eir.errors import DeltaInvalidError
    from eir.proto import sync_pb2
    from eir.whitelist.jsonl import operation_from_json

    message, size = sync_pb2.DeltaRows(), 0
    faults: list[str] = []
    for line in lines(rows):
        try:
            operation = operation_from_json(line.text.decode(), line.number)
        except UnicodeDecodeError as error:
            faults.append(f"line {line.number}: not UTF-8: {error.reason}")
        except DeltaInvalidError as error:
            faults.append(error.message)
        if len(faults) == FAULTS_MAX:
            break
        if faults:
            continue
        operation_bytes = operation.ByteSize() + _FIELD_BYTES
        if message.operations and size + operation_bytes > PAYLOAD_BYTES:
            yield message.SerializeToString(), len(message.operations)
            message, size = sync_pb2.DeltaRows(), 0
        message.operations.append(operation)
        size += operation_bytes
    if faults:
        for fault in faults:
            note(fault)
        are = "line is no operation" if len(faults) == 1 else "lines are no operations"
        raise Failure(f"{len(faults)} {are}; nothing was applied", NO)
    if message.operations:
        yield message.SerializeToString(), len(message.operations)


def _found_lines(bad_rows: list[sync_pb2.BadRow], rows: IO[bytes]) -> dict[int, Line]:
    """Return the lines of the bad rows, and of the rows that their messages name."""
    wanted = {bad.row for bad in bad_rows}
    wanted.update(int(row) for bad in bad_rows for row in OTHER_ROW.findall(bad.message))
    return {row: line for row, line in enumerate(lines(rows)) if row in wanted} if wanted else {}


def _by_line(message: str, lines: dict[int, Line]) -> str:
    """Return a message that names lines of the file, where the daemon named rows of the delta."""

    def line_of(found: re.Match[str]) -> str:
        line = lines.get(int(found[1]))
        return f"line {line.number}" if line else found[0]

    return OTHER_ROW.sub(line_of, message)


def _bad_rows_json(bad_rows: list[sync_pb2.BadRow], lines: dict[int, Line]) -> list[dict[str, object]]:
    return [
        {
            "row": bad.row,
            "line": lines[bad.row].number if bad.row in lines else 0,
            "reason": bad.reason,
            "message": bad.message,
        }
        for bad in bad_rows
    ]


def _note_bad_rows(bad_rows: list[sync_pb2.BadRow], lines: dict[int, Line], row_count: int) -> None:
    for bad in bad_rows:
        line = lines.get(bad.row, Line(0, b""))
        text = line.text.decode(errors="replace")
        note(f"line {line.number}: {_by_line(bad.message, lines)} ({bad.reason})\n    {text}")
    if row_count > len(bad_rows):
        note(f"... and {row_count - len(bad_rows):,} more")


def _effects_json(effects: list[sync_pb2.TableEffect]) -> dict[str, dict[str, int]]:
    return {e.table: {"added": e.added, "removed": e.removed, "rows": e.rows} for e in effects}


def _show_effects(effects: list[sync_pb2.TableEffect]) -> None:
    if effects:
        show_table(
            ("table", "added", "removed", "rows"), [(e.table, e.added, e.removed, e.rows) for e in effects]
        )
    else:
        click.echo("no table changes")


def _show_applied(
    header: sync_pb2.DeltaHeader, applied: sync_pb2.DeltaApplied, rows: IO[bytes], as_json: bool
) -> None:
    """Print what a delta did."""
    bad_rows = list(applied.bad_rows)
    lines = _found_lines(bad_rows, rows)
    if as_json:
        show_json(
            {
                "applied": not applied.dry_run,
                "feed": header.feed,
                "sequence": header.sequence,
                "base_sequence": header.base_sequence,
                "row_count": header.row_count,
                "serial": applied.serial,
                "repeat": applied.repeat,
                "dry_run": applied.dry_run,
                "effects": _effects_json(list(applied.effects)),
                "ignored_row_count": applied.ignored_row_count,
                "bad_rows": _bad_rows_json(bad_rows, lines),
            }
        )
        return
    _note_bad_rows(bad_rows, lines, applied.ignored_row_count)
    if applied.ignored_row_count:
        were = "was" if applied.ignored_row_count == 1 else "were"
        note(f"{count(applied.ignored_row_count, 'row')} {were} ignored: the feed is lenient")
    what = f"{count(header.row_count, 'row')} of feed {header.feed}, sequence {header.sequence}"
    if applied.repeat:
        click.echo(f"applied before, nothing changed: {what}")
    elif applied.dry_run:
        click.echo(f"dry run, nothing changed: {what}")
        _show_effects(list(applied.effects))
    else:
        click.echo(f"applied: {what}; the tables are at serial {applied.serial:,}")
        _show_effects(list(applied.effects))


def _show_refused(report: sync_pb2.DeltaRefused, rows: IO[bytes], as_json: bool) -> None:
    """Print why a delta was refused."""
    bad_rows = list(report.bad_rows)
    lines = _found_lines(bad_rows, rows)
    if as_json:
        show_json(
            {
                "applied": False,
                "reason": report.reason,
                "message": report.message,
                "bad_row_count": report.bad_row_count,
                "bad_rows": _bad_rows_json(bad_rows, lines),
                "effects": _effects_json(list(report.effects)),
            }
        )
    else:
        _note_bad_rows(bad_rows, lines, report.bad_row_count)
        if report.effects:
            _show_effects(list(report.effects))
    note(f"refused, nothing changed: {_by_line(report.message, lines)} ({report.reason})")
    if report.reason == "DELTA_GUARD":
        note("--override applies it nevertheless")
