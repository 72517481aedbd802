"""`eir delta push`: what goes over the wire, and what is read from the answers."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from click.testing import CliRunner

from eir.cli import delta as command
from eir.cli import main
from eir.errors import DeltaGapError, DeltaGuardError, DeltaRowsRefusedError
from eir.interceptors import DETAILS_KEY, code_of, status_of
from eir.proto import sync_pb2, sync_pb2_grpc
from eir.whitelist.jsonl import operation_from_json

PAIR = '{"kind": "PAIR", "imei": "35693803564380", "imsi": "432110000000001"}'
BLOCK = '{"kind": "BLOCK", "imei": "35693803564380", "block_cause": "STOLEN"}'


class Daemon(sync_pb2_grpc.RegistrySyncServiceServicer):
    """Takes one delta; answers as a test sets."""

    def __init__(self):
        self.position = 4
        self.header = None
        self.payloads = []
        self.commit = None
        self.refused = None
        self.error = None
        self.applied = sync_pb2.DeltaApplied(serial=12)

    def GetFeedPosition(self, request, context):
        position = sync_pb2.FeedPosition(feed=request.feed, sequence=self.position)
        return sync_pb2.GetFeedPositionResponse(feeds=[position])

    def PushDelta(self, requests, context):
        self.header, self.payloads = next(requests).header, []
        if self.error is not None and self.refused is None:
            self._abort(context)
        yield sync_pb2.PushDeltaResponse(accepted=sync_pb2.DeltaAccepted())
        for request in requests:
            if request.HasField("commit"):
                self.commit = request.commit
                break
            self.payloads.append(request.chunk.payload)
            assert request.chunk.index == len(self.payloads) - 1
            yield sync_pb2.PushDeltaResponse(chunk_durable=sync_pb2.ChunkDurable(index=request.chunk.index))
        else:
            return
        if self.refused is not None:
            yield sync_pb2.PushDeltaResponse(refused=self.refused)
            self._abort(context)
        yield sync_pb2.PushDeltaResponse(applied=self.applied)

    def _abort(self, context):
        status = status_of(self.error)
        context.set_trailing_metadata(((DETAILS_KEY, status.SerializeToString()),))
        context.abort(code_of(self.error), status.message)

    @property
    def operations(self):
        return [op for payload in self.payloads for op in sync_pb2.DeltaRows.FromString(payload).operations]


@pytest.fixture
def daemon():
    server = grpc.server(ThreadPoolExecutor(2))
    daemon = Daemon()
    sync_pb2_grpc.add_RegistrySyncServiceServicer_to_server(daemon, server)
    daemon.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield daemon
    server.stop(0).wait()


def push(daemon, text, *options):
    words = ["delta", "push", "-", "--address", daemon.address, *options]
    return CliRunner().invoke(main, words, input=text)


def test_rows_arrive_in_order_with_their_hash(daemon):
    result = push(daemon, f"{PAIR}\n{BLOCK}\n")
    assert result.exit_code == 0
    assert daemon.operations == [operation_from_json(PAIR, 1), operation_from_json(BLOCK, 2)]
    assert daemon.commit.content_sha256 == hashlib.sha256(b"".join(daemon.payloads)).digest()
    assert daemon.header == sync_pb2.DeltaHeader(feed="manual", sequence=5, base_sequence=4, row_count=2)


def test_options_go_into_the_header(daemon):
    options = (
        "--feed",
        "hamta",
        "--dry-run",
        "--override",
        "--reference",
        "R1",
        "--complete-until",
        "2026-01-01",
    )
    push(daemon, PAIR, *options)
    assert daemon.header == sync_pb2.DeltaHeader(
        feed="hamta",
        sequence=5,
        base_sequence=4,
        row_count=1,
        complete_until=1_767_225_600,
        reference="R1",
        dry_run=True,
        override_guards=True,
    )


@pytest.mark.parametrize(
    ("options", "sequence", "base"),
    [
        ((), 5, 4),
        (("--sequence", "9"), 9, 4),
        (("--sequence", "9", "--base", "7"), 9, 7),
        (("--base", "7"), 8, 7),
        (("--sequence", "3"), 3, 2),  # from before: sent as a repeat
    ],
)
def test_sequence_and_base(daemon, options, sequence, base):
    push(daemon, PAIR, *options)
    assert (daemon.header.sequence, daemon.header.base_sequence) == (sequence, base)


def test_nothing_but_a_header_is_a_heartbeat(daemon):
    assert push(daemon, "", "--complete-until", "2026-01-01").exit_code == 0
    assert daemon.header.row_count == 0
    assert daemon.payloads == []
    assert daemon.commit.content_sha256 == hashlib.sha256().digest()


def test_empty_lines_and_comments_are_no_rows(daemon):
    push(daemon, f"# by hand\n\n{PAIR}\n   \n{BLOCK}")
    assert daemon.header.row_count == 2
    assert len(daemon.operations) == 2


def test_many_rows_come_in_several_chunks(daemon, monkeypatch):
    monkeypatch.setattr(command, "PAYLOAD_BYTES", 1_000)
    rows = [f'{{"kind": "REGISTER", "imei": "{35000000000000 + row}"}}' for row in range(500)]
    assert push(daemon, "\n".join(rows)).exit_code == 0
    assert len(daemon.payloads) > command.IN_FLIGHT_MAX
    assert max(map(len, daemon.payloads)) <= 1_000
    assert [op.imei for op in daemon.operations] == [f"{35000000000000 + row}" for row in range(500)]


def test_a_row_larger_than_the_aim_has_a_chunk_of_its_own(daemon, monkeypatch):
    monkeypatch.setattr(command, "PAYLOAD_BYTES", 10)
    push(daemon, f"{PAIR}\n{BLOCK}")
    assert len(daemon.payloads) == 2


def test_lines_that_are_no_operation_are_all_named_and_nothing_is_committed(daemon):
    result = push(daemon, f'{PAIR}\nnot json\n{BLOCK}\n{{"kind": "FLY"}}\n')
    assert result.exit_code == 3
    assert daemon.commit is None
    assert result.stderr.startswith("line 2: ")
    assert "\nline 4: " in result.stderr
    assert "2 lines are no operations; nothing was applied" in result.stderr


def test_bytes_that_are_no_text_are_named(daemon):
    result = push(daemon, b'{"kind": "\xff"}')
    assert result.exit_code == 3
    assert "line 1: not UTF-8" in result.stderr


def test_a_line_without_end_is_refused_before_it_is_read(daemon):
    result = push(daemon, "x" * (command.LINE_BYTES_MAX + 1))
    assert result.exit_code == 3
    assert "line 1: longer than" in result.stderr
    assert daemon.header is None


def bad_row(row):
    return sync_pb2.BadRow(row=row, reason="NOT_THERE", message="there is no such pair")


def test_bad_rows_are_reported_by_the_lines_of_the_file(daemon):
    daemon.error = DeltaRowsRefusedError((), 1)
    daemon.refused = sync_pb2.DeltaRefused(
        reason="DELTA_ROWS_REFUSED", message="1 row cannot be applied", bad_row_count=3, bad_rows=[bad_row(1)]
    )
    result = push(daemon, f"# a comment\n{PAIR}\n\n{BLOCK}\n")
    assert result.exit_code == 3
    assert result.stderr.startswith(
        f"line 4: there is no such pair (NOT_THERE)\n    {BLOCK}\n... and 2 more\n"
    )
    assert "refused, nothing changed: 1 row cannot be applied (DELTA_ROWS_REFUSED)" in result.stderr
    assert result.stdout == ""


def test_bad_rows_as_json(daemon):
    daemon.error = DeltaRowsRefusedError((), 1)
    daemon.refused = sync_pb2.DeltaRefused(
        reason="DELTA_ROWS_REFUSED", message="no", bad_row_count=1, bad_rows=[bad_row(0)]
    )
    result = push(daemon, PAIR, "--json")
    assert result.exit_code == 3
    shown = json.loads(result.stdout)
    assert shown["applied"] is False
    assert shown["bad_rows"] == [
        {"row": 0, "line": 1, "reason": "NOT_THERE", "message": "there is no such pair"}
    ]


def test_a_guard_shows_the_effects_and_names_the_override(daemon):
    daemon.error = DeltaGuardError("removes too much", ())
    effect = sync_pb2.TableEffect(table="pairs", added=0, removed=900, rows=100)
    daemon.refused = sync_pb2.DeltaRefused(reason="DELTA_GUARD", message="removes too much", effects=[effect])
    result = push(daemon, PAIR)
    assert result.exit_code == 3
    assert "pairs      0      900   100" in result.stdout
    assert "--override" in result.stderr


def test_a_delta_refused_at_its_header_says_why(daemon):
    daemon.error = DeltaGapError("feed manual stands at sequence 4")
    result = push(daemon, PAIR)
    assert result.exit_code == 3
    assert result.stderr == "eir: feed manual stands at sequence 4 (DELTA_GAP)\n"


def test_a_daemon_that_ends_the_stream_early_is_an_error(daemon):
    daemon.applied = None
    assert push(daemon, PAIR).exit_code == 1


def test_effects_are_printed(daemon):
    daemon.applied.effects.add(table="pairs", added=1, removed=0, rows=66_667)
    result = push(daemon, PAIR)
    assert "serial 12" in result.stdout
    assert "pairs      1        0  66,667" in result.stdout
    assert json.loads(push(daemon, PAIR, "--json").stdout)["effects"] == {
        "pairs": {"added": 1, "removed": 0, "rows": 66_667}
    }


def test_a_dry_run_and_a_repeat_say_that_nothing_changed(daemon):
    daemon.applied = sync_pb2.DeltaApplied(serial=12, dry_run=True)
    assert "dry run, nothing changed" in push(daemon, PAIR, "--dry-run").stdout
    daemon.applied = sync_pb2.DeltaApplied(serial=12, repeat=True)
    assert "applied before, nothing changed" in push(daemon, PAIR).stdout


def test_rows_that_a_lenient_feed_ignored_are_told(daemon):
    daemon.applied = sync_pb2.DeltaApplied(serial=12, ignored_row_count=1, bad_rows=[bad_row(0)])
    result = push(daemon, PAIR)
    assert result.exit_code == 0
    assert "line 1: there is no such pair" in result.stderr
    assert "1 row was ignored" in result.stderr


def test_rows_that_a_message_names_are_told_as_lines(daemon):
    text = f"# first\n{PAIR}\n\n{BLOCK}\n"
    contradiction = sync_pb2.BadRow(row=0, reason="CONTRADICTS_ROW", message="contradicts row 1, a BLOCK")
    daemon.error = DeltaRowsRefusedError((), 1)
    daemon.refused = sync_pb2.DeltaRefused(
        reason="DELTA_ROWS_REFUSED", message="row 0: no; row 7", bad_row_count=1, bad_rows=[contradiction]
    )
    result = push(daemon, text)
    assert "line 2: contradicts line 4, a BLOCK (CONTRADICTS_ROW)" in result.stderr
    assert "refused, nothing changed: line 2: no; row 7 (" in result.stderr
    (row,) = json.loads(push(daemon, text, "--json").stdout)["bad_rows"]
    assert (row["row"], row["line"], row["message"]) == (0, 2, "contradicts row 1, a BLOCK")


def test_a_byte_order_mark_is_left_out(daemon):
    assert push(daemon, "\ufeff" + PAIR).exit_code == 0
    assert len(daemon.operations) == 1
    assert push(daemon, f"{PAIR}\n\ufeff{BLOCK}").exit_code == 3


@pytest.mark.parametrize(
    "options",
    [
        ("--sequence", str(1 << 63)),
        ("--base", str(1 << 63)),
        ("--complete-until", str(1 << 63)),
        ("--complete-until", "soon"),
    ],
)
def test_options_that_no_delta_can_have_are_usage_errors(daemon, options):
    result = push(daemon, PAIR, *options)
    assert result.exit_code == 2
    assert options[0] in result.stderr


def test_a_file_is_read_where_it_lies(daemon, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(PAIR)
    result = CliRunner().invoke(main, ["delta", "push", str(path), "--address", daemon.address])
    assert result.exit_code == 0
    assert len(daemon.operations) == 1


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path):
    assert CliRunner().invoke(main, ["delta", "push", str(tmp_path / "none")]).exit_code == 2
