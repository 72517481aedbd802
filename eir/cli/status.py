"""`eir status`: what a running daemon is and holds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from eir.cli import client
from eir.cli.enforcement import describe, lines
from eir.cli.say import NO, OK, count, moment, show_json, show_table

if TYPE_CHECKING:
    from eir.proto import enforcement_pb2, sync_pb2


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@client.manage_address
def status(as_json: bool, address: str) -> None:
    """Print what the daemon runs with: engine, policy, tables, feeds. Ends with 3 when not ready."""
    from eir.proto import enforcement_pb2, sync_pb2

    with client.connect(address) as channel:
        answer: enforcement_pb2.GetStatusResponse = client.enforcement(channel).GetStatus(
            enforcement_pb2.GetStatusRequest(), timeout=client.CALL_SECONDS_MAX
        )
        feeds: list[sync_pb2.FeedPosition] = []
        if answer.tables:  # until the tables are loaded nobody knows where feeds stand
            sync = client.sync(channel)
            positions = sync.GetFeedPosition(
                sync_pb2.GetFeedPositionRequest(), timeout=client.CALL_SECONDS_MAX
            )
            feeds = list(positions.feeds)
    if as_json:
        show_json(_as_dict(answer, feeds))
    else:
        _show(answer, feeds)
    sys.exit(OK if answer.ready else NO)


def _as_dict(
    answer: enforcement_pb2.GetStatusResponse, feeds: list[sync_pb2.FeedPosition]
) -> dict[str, object]:
    """Return every field by its name, with numbers as numbers."""
    out: dict[str, object] = {}
    for field in answer.DESCRIPTOR.fields:
        if field.name not in ("enforcement", "tables", "not_ready_reasons"):
            out[field.name] = getattr(answer, field.name)
    out["not_ready_reasons"] = list(answer.not_ready_reasons)
    out["enforcement"] = describe(answer.enforcement)
    out["tables"] = {size.table: {"rows": size.rows, "bytes": size.bytes} for size in answer.tables}
    out["feeds"] = {
        feed.feed: {
            "sequence": feed.sequence,
            "serial": feed.serial,
            "complete_until": feed.complete_until,
            "applied_at": feed.applied_at,
            "state": feed.state,
            "state_message": feed.state_message,
            "snapshot_needed": feed.snapshot_needed,
            "refused_sequence": feed.refused_sequence,
        }
        for feed in feeds
    }
    return out


def _show(answer: enforcement_pb2.GetStatusResponse, feeds: list[sync_pb2.FeedPosition]) -> None:
    """Print the state for people."""
    ready = "ready" if answer.ready else "not ready"
    reasons = f": {'; '.join(answer.not_ready_reasons)}" if answer.not_ready_reasons else ""
    click.echo(f"eir {answer.version}, {answer.engine} engine, up since {moment(answer.started_at)}")
    click.echo(f"{ready}{reasons}")
    if not answer.tables:
        return
    click.echo(f"enforcement: {', '.join(lines(answer.enforcement))}")
    since = moment(answer.policy_since)
    click.echo(f"policy: {answer.policy_name} ({answer.policy_hash[:12]}), in force since {since}")
    if answer.policy_refused_at:
        at, why = moment(answer.policy_refused_at), answer.policy_refused_why
        click.echo(f"policy refused at {at}, the one above stays: {why}")
    stale = " (stale)" if answer.stale else ""
    rebuilding = ", being rebuilt" if answer.rebuild_running else ""
    click.echo(f"serial {answer.serial:,}{stale}; {count(answer.segment_count, 'segment')}{rebuilding}")
    above, deltas = count(answer.overlay_row_count, "row"), count(answer.journal_delta_count, "delta")
    click.echo(f"{above} above the segments; {deltas} in the journal\n")
    show_table(("table", "rows", "bytes"), [(size.table, size.rows, size.bytes) for size in answer.tables])
    if feeds:
        click.echo()
        show_table(
            ("feed", "sequence", "serial", "applied", "complete until", "stream"),
            [
                (
                    feed.feed,
                    feed.sequence,
                    feed.serial,
                    moment(feed.applied_at),
                    moment(feed.complete_until),
                    feed.state or "-",
                )
                for feed in feeds
            ],
        )
        for feed in feeds:
            if feed.snapshot_needed:
                click.echo(f"feed {feed.feed} needs a snapshot: docs/operating.md says how")
