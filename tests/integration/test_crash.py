"""A daemon that is killed, or whose disk is full: the next one, and the checks, are not disturbed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import grpc
import numpy as np
import pytest

from eir.proto import check_pb2, enforcement_pb2, sync_pb2
from tests.running import Daemon, commit, detail, fill, operation, running

KEY, OWNER = "35693803564380", "432110000000001"
REBUILD = enforcement_pb2.RebuildSegmentsRequest()
SLOW = 1 << 20
"""Bytes per second of a rebuild: so that there is time to kill it."""


def pairs(count: int) -> list[sync_pb2.PushDeltaRequest]:
    """Chunks and commit of IMEIs scattered over a TAC, each paired with a SIM of its own."""
    number = np.arange(count, dtype="<u8")
    columns = sync_pb2.OperationColumns(
        kind="OPERATION_KIND_PAIR",
        row_count=count,
        imei=(np.uint64(35555555 * 10**6) + number * 7 % 10**6).tobytes(),
        imsi=(np.uint64(1_432_110_000_000_000) + number * 99_991 % 10**9).tobytes(),
        role="PAIR_ROLE_OWNER",
    )
    payload = sync_pb2.DeltaRows(columns=[columns]).SerializeToString()
    return [sync_pb2.PushDeltaRequest(chunk=sync_pb2.DeltaChunk(index=0, payload=payload)), commit(payload)]


def children(pid: int) -> list[int]:
    """Processes that a process started, by any of its threads."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def rebuilding(daemon: Daemon) -> int:
    """Begin a rebuild; return the process that does it, once it writes."""
    call = daemon.enforcement.RebuildSegments.future(REBUILD, timeout=60)
    while not call.done():
        writing = any(path.suffix == ".tmp" for path in (daemon.data_dir / "segments").iterdir())
        if writing and (found := children(daemon.process.pid)):
            return found[0]
        time.sleep(0.02)
    raise AssertionError(call.exception())


def large(base: int, count: int = 150_000) -> list[sync_pb2.PushDeltaRequest]:
    """A delta of rows enough for a rebuild of some seconds."""
    header = sync_pb2.DeltaHeader(feed="hamta", sequence=base + 1, base_sequence=base, row_count=count)
    return [sync_pb2.PushDeltaRequest(header=header), *pairs(count)]


def names(data_dir: Path) -> set[str]:
    """Files of the segments."""
    return {path.name for path in (data_dir / "segments").iterdir()}


def test_a_rebuild_ends_with_its_daemon_and_leaves_the_next_one_alone(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with running(data_dir, limits__rebuild_bytes_per_second_max=SLOW) as daemon:
        daemon.push(operation("PAIR", KEY, imsi=OWNER, role="OWNER"))
        list(daemon.sync.PushDelta(iter(large(base=1)), timeout=60))
        child = rebuilding(daemon)
        left = names(data_dir)
        assert alive(child)
        daemon.process.kill()
        daemon.process.wait()
        for _ in range(50):
            if not alive(child):
                break
            time.sleep(0.02)
        assert not alive(child), "the child outlived its daemon by a second"
    with running(data_dir) as daemon:
        assert not left & names(data_dir), "what the child left is removed"
        assert daemon.check(KEY, OWNER).reason == check_pb2.VERDICT_REASON_OWNER
        assert daemon.enforcement.RebuildSegments(REBUILD, timeout=60).rebuilt_count == 2
        assert daemon.check(KEY, OWNER).reason == check_pb2.VERDICT_REASON_OWNER


def refused(daemon: Daemon, messages: list[sync_pb2.PushDeltaRequest]) -> str:
    """Reason of a delta that is refused."""
    with pytest.raises(grpc.RpcError) as caught:
        list(daemon.sync.PushDelta(iter(messages), timeout=30))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    return str(detail(caught.value).reason)


def test_a_full_disk_stops_deltas_and_not_checks(small_disk: Path) -> None:
    with running(small_disk / "data") as daemon:
        daemon.push(operation("PAIR", KEY, imsi=OWNER, role="OWNER"))
        assert daemon.enforcement.RebuildSegments(REBUILD, timeout=30).rebuilt_count == 2

        def standing() -> tuple[object, ...]:
            position = daemon.sync.GetFeedPosition(sync_pb2.GetFeedPositionRequest(feed="hamta"))
            other = daemon.check("35555555000000", "432110000000000").reason
            return daemon.check(KEY, OWNER).reason, other, position.serial, position.feeds[0].sequence

        before = standing()
        assert before[:2] == (check_pb2.VERDICT_REASON_OWNER, check_pb2.VERDICT_REASON_NOT_REGISTERED)
        for leave in (1 << 20, 0):
            ballast = fill(small_disk, leave)
            assert refused(daemon, large(base=1)) == "STORAGE_UNAVAILABLE"
            assert standing() == before
            assert daemon.http("/readyz")[0] == 200, "checks go on from memory"
            assert "storage" in daemon.http("/readyz")[1]
            ballast.unlink()
        # Room again: the same delta is taken.
        assert list(daemon.sync.PushDelta(iter(large(base=1)), timeout=60))[-1].applied.serial == 2
        after = standing()
        assert after == (before[0], check_pb2.VERDICT_REASON_OWNER, 2, 2)
        # During a rebuild: the tables stay as they are, and what it wrote does not fill the disk.
        ballast = fill(small_disk, 2 << 20)
        with pytest.raises(grpc.RpcError) as caught:
            daemon.enforcement.RebuildSegments(REBUILD, timeout=60)
        assert detail(caught.value).reason == "STORAGE_UNAVAILABLE"
        assert standing() == after
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        assert free > 1 << 20, "what the failed rebuild wrote is removed"
        ballast.unlink()
        assert daemon.enforcement.RebuildSegments(REBUILD, timeout=60).rebuilt_count == 2
        assert standing() == after
        assert daemon.stop() == 0
    with running(small_disk / "data") as daemon:
        assert daemon.ready_line["serial"] == 2
        assert daemon.check("35555555000000", "432110000000000").reason == check_pb2.VERDICT_REASON_OWNER
