"""`eir segments`: the segment files of a data directory, and their rebuilding."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from eir.cli import client
from eir.cli.journal import data_dir_option, open_journal
from eir.cli.say import NO, count, note, progress, show_json, show_table

if TYPE_CHECKING:
    from eir.whitelist.journal import SegmentRecord

FOLDER: Final = "segments"
"""Folder of the segment files in a data directory."""


@click.group()
def segments() -> None:
    """Print and verify the segments of a data directory; rebuild those of a running daemon."""


@segments.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@data_dir_option
def show(as_json: bool, data_dir: Path) -> None:
    """Print the manifest: the files in use, and those kept from before the last rebuild."""
    from dataclasses import asdict

    with open_journal(data_dir) as journal:
        manifest = journal.manifest()
    rows = [(state, record) for state in ("current", "previous") for record in getattr(manifest, state)]
    if as_json:
        show_json([{"state": state, **asdict(record)} for state, record in rows])
    elif not rows:
        note("no segments: every row is in the journal")
    else:
        show_table(
            ("state", "file", "kind", "TACs", "serial", "bytes"),
            [
                (
                    state,
                    record.file,
                    record.kind,
                    f"{record.first_tac:08d}-{record.last_tac:08d}",
                    record.serial,
                    record.bytes,
                )
                for state, record in rows
            ],
        )


@segments.command()
@data_dir_option
def verify(data_dir: Path) -> None:
    """Read every segment file and check it against its checksums and the manifest.

    Ends with 3 when something is damaged. A daemon may be running.
    """
    with open_journal(data_dir) as journal:
        manifest = journal.manifest()
        records = (*manifest.current, *manifest.previous)
        faults = []
        with progress("segments", len(records)) as show_done:
            for done, record in enumerate(records, 1):
                fault = _fault(data_dir / FOLDER, record)
                # A rebuild may have removed the file since the manifest was read.
                if fault and record in (*journal.manifest().current, *journal.manifest().previous):
                    faults.append(fault)
                show_done(done)
        # Overlays that segments came from: recovering one needs them.
        faults += [
            fault for path in (data_dir / FOLDER).glob("overlay-*.seg") if (fault := _overlay_fault(path))
        ]
    for fault in faults:
        note(fault)
    if faults:
        note(f"{len(faults)} of {len(records)} files are damaged; docs/operating.md says what to do")
        sys.exit(NO)
    note(f"{data_dir}: {count(len(records), 'segment file')} in order")


def _fault(folder: Path, record: SegmentRecord) -> str:
    """Return what is wrong with a segment file; empty when it is in order."""
    from eir.errors import SegmentDamagedError
    from eir.whitelist import segment
    from eir.whitelist.imsi_index import ImsiIndex
    from eir.whitelist.rebuild import index_name

    try:
        loaded = segment.load(folder / record.file)
        if (loaded.crc32c, loaded.serial, loaded.total_bytes) != (record.crc32c, record.serial, record.bytes):
            return f"{record.file}: is whole, and not the file that the manifest names"
        if record.kind == "shard":
            ImsiIndex(folder / index_name(record.file)).verify()
    except SegmentDamagedError as error:
        return error.message
    return ""


def _overlay_fault(path: Path) -> str:
    """Return what is wrong with an overlay file; empty when it is in order, or gone meanwhile."""
    from eir.errors import SegmentDamagedError
    from eir.whitelist import segment

    try:
        segment.load(path)
    except SegmentDamagedError as error:
        return error.message if path.exists() else ""
    return ""


@segments.command()
@click.option(
    "--all", "all_segments", is_flag=True, help="Every segment, not only those that newer rows touch."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@client.manage_address
def rebuild(all_segments: bool, as_json: bool, address: str) -> None:
    """Have the running daemon fold what came since into its segments, now. Checks go on meanwhile."""
    from eir.proto import enforcement_pb2

    with client.connect(address) as channel, progress("rebuilding"):
        stub = client.enforcement(channel)
        answer = stub.RebuildSegments(enforcement_pb2.RebuildSegmentsRequest(all=all_segments))
    if as_json:
        show_json(
            {
                "serial": answer.serial,
                "rebuilt_count": answer.rebuilt_count,
                "duration_seconds": round(answer.duration_seconds, 3),
            }
        )
    else:
        click.echo(
            f"{count(answer.rebuilt_count, 'file')} written in {answer.duration_seconds:.1f} s;"
            f" serial {answer.serial:,} is in the segments"
        )
