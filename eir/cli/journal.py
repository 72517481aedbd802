"""`eir journal`: the deltas that a data directory keeps, read beside a running daemon."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eir.cli.say import NO, Failure, count, moment, note, progress, show_json, show_table

if TYPE_CHECKING:
    from eir.whitelist.journal import AuditRecord, DeltaRecord, Journal

data_dir_option = click.option(
    "--data-dir",
    metavar="DIR",
    envvar="EIR_DATA_DIR",
    default="data",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The daemon's data directory; EIR_DATA_DIR sets it too.",
)


@contextmanager
def open_journal(data_dir: Path) -> Iterator[Journal]:
    """Open the journal of a data directory for reading; a daemon may be running on it."""
    from eir.whitelist.journal import Journal

    path = data_dir / "registry.db"
    if not path.is_file():
        raise Failure(
            f"{data_dir}: no data directory of a daemon (it has no registry.db); --data-dir names it"
        )
    opened = Journal.open(path, read_only=True)
    try:
        yield opened
    finally:
        opened.close()


@click.group()
def journal() -> None:
    """Print and verify the journal of a data directory, also while a daemon runs on it."""


@journal.command()
@click.argument("serial", type=click.IntRange(1, (1 << 63) - 1), required=False)
@click.option("--feed", help="Deltas of this feed only.")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=20, show_default=True, help="The latest so many."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@data_dir_option
def show(serial: int | None, feed: str | None, limit: int, as_json: bool, data_dir: Path) -> None:
    """Print the latest deltas, oldest first; with SERIAL the rows of that one, as JSON lines."""
    if serial is not None:
        _show_rows(data_dir, serial)
        return
    with open_journal(data_dir) as opened:
        records = deque((record for record in opened.deltas() if feed in (None, record.feed)), maxlen=limit)
    if as_json:
        show_json([_as_dict(record) for record in records])
        return
    if not records:
        note("no deltas")
        return
    show_table(
        ("serial", "feed", "sequence", "base", "rows", "ignored", "committed", "complete until", "effects"),
        [
            (
                record.serial,
                record.feed,
                record.sequence,
                record.base_sequence,
                record.row_count,
                record.ignored_row_count,
                moment(record.committed_at),
                moment(record.complete_until),
                _effects(record) + (" (guards overridden)" if record.overridden else ""),
            )
            for record in records
        ],
    )


def _show_rows(data_dir: Path, serial: int) -> None:
    """Print the rows of a delta as `eir delta push` takes them."""
    from eir.whitelist.blob import rows_from_blob
    from eir.whitelist.jsonl import operation_to_json
    from eir.whitelist.operation import messages

    with open_journal(data_dir) as opened:
        record = next(opened.deltas(serial - 1), None)
        if record is None or record.serial != serial:
            raise Failure(f"{data_dir}: the journal has no delta of serial {serial}", NO)
        for blob in opened.chunks(record):
            for operation in messages(rows_from_blob(blob)):
                click.echo(operation_to_json(operation))


def _effects(record: DeltaRecord) -> str:
    """Return what a delta added and removed, by table."""
    counts = json.loads(record.counts)
    parts = []
    for table, (added, removed, *_) in counts.items():
        signed = [f"+{added:,}"] * bool(added) + [f"-{removed:,}"] * bool(removed)
        if signed:
            parts.append(f"{table} {' '.join(signed)}")
    return ", ".join(parts) or "-"


def _as_dict(record: DeltaRecord) -> dict[str, object]:
    return {
        "serial": record.serial,
        "feed": record.feed,
        "sequence": record.sequence,
        "base_sequence": record.base_sequence,
        "row_count": record.row_count,
        "chunk_count": record.chunk_count,
        "ignored_row_count": record.ignored_row_count,
        "content_sha256": record.content_sha256.hex(),
        "complete_until": record.complete_until,
        "committed_at": record.committed_at,
        "reference": record.reference,
        "overridden": record.overridden,
        "effects": json.loads(record.counts),
    }


@journal.command()
@data_dir_option
def verify(data_dir: Path) -> None:
    """Read the whole journal and check every checksum. Ends with 3 when something is damaged."""
    with open_journal(data_dir) as opened, progress("deltas") as show_done:
        damaged = opened.verify(lambda done, _: show_done(done))
        serial = opened.last_serial()
    for error in damaged:
        note(error.message)
    if damaged:
        note(f"{count(len(damaged), 'fault')}; docs/operating.md says what to do")
        sys.exit(NO)
    note(f"{data_dir}: the journal is in order up to serial {serial:,}")


@journal.command()
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=20, show_default=True, help="The latest so many."
)
@click.option("--inquiries", is_flag=True, help="Who inquired of phones and subscribers, instead.")
@click.option("--of", default="", help="Inquiries of this IMEI, IMSI or MSISDN only, in any spelling.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@data_dir_option
def audit(limit: int, inquiries: bool, of: str, as_json: bool, data_dir: Path) -> None:
    """Print what people did: overrides of enforcement, guards overridden; or inquired."""
    if inquiries or of:
        _show_inquiries(data_dir, limit, of, as_json)
        return
    with open_journal(data_dir) as opened:
        rows = deque(_audit(opened), maxlen=limit)
    if as_json:
        show_json(
            [
                {"at": row.at, "who": row.who, "what": row.what, "why": row.why, "detail": row.detail}
                for row in rows
            ]
        )
    else:
        show_table(
            ("at", "who", "what", "why", "detail"),
            [(moment(r.at), r.who, r.what, r.why, r.detail) for r in rows],
        )


def _show_inquiries(data_dir: Path, limit: int, of: str, as_json: bool) -> None:
    """Print the inquiries' audit."""
    from eir.inquiry.audit import FILE, InquiryAudit

    if not (data_dir / FILE).is_file():
        note("no inquiries")
        return
    opened = InquiryAudit.open(data_dir, read_only=True)
    try:
        rows = opened.rows(limit, of)
    finally:
        opened.close()
    shown = ("at", "who", "client", "form", "kind", "identity", "outcome")
    if as_json:
        show_json([{name: getattr(row, name) for name in shown} for row in rows])
    else:
        show_table(shown, [(moment(row.at), *(getattr(row, name) for name in shown[1:])) for row in rows])


def _audit(opened: Journal) -> Iterator[AuditRecord]:
    """Iterate over the audit, oldest first."""
    after = 0
    while rows := opened.audit_rows(after):
        yield from rows
        after = rows[-1].id
