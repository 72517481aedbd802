"""`eir import` beside a real daemon, and killed at any moment: whole, or not at all."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import grpc
import pytest
from running import Daemon, delta, fill, operation, running, wait_for

from eir.cli.import_target import DaemonTarget
from eir.lists import present
from eir.proto import check_pb2
from eir.whitelist import view

IMEI = 35_693_803_000_000


def words(data_dir: Path, *given: object, address: str = "127.0.0.1:1") -> list[str]:
    line = [sys.executable, "-m", "eir", "import", *map(str, given), "--data-dir", str(data_dir)]
    return [*line, "--address", address, "--json"]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("EIR_")}


def run(data_dir: Path, *given: object, daemon: Daemon | None = None, code: int = 0) -> list[dict]:
    """Import in a process of its own; what it says."""
    address = daemon.ready_line["manage"] if daemon else "127.0.0.1:1"
    ended = subprocess.run(
        words(data_dir, *given, address=address),
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    return json.loads(ended.stdout or "[]")


def listed(folder: Path, name: str, header: str, rows: list[str]) -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_a_daemon_takes_lists_and_answers_by_them(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    pairs = listed(tmp_path, "pairs.csv", "imei,imsi", [f"{IMEI + n},43211{n:010d}" for n in range(2000)])
    stolen = listed(
        tmp_path, "stolen.csv", "imei,reporting_date,status", [f"{IMEI + n},," for n in range(10)]
    )
    with running(data_dir) as daemon:
        said = run(data_dir, pairs, stolen, daemon=daemon)
        assert [(one["applied"], one["serial"]) for one in said] == [(True, 1), (True, 2)]
        assert daemon.check(str(IMEI + 20), "432110000000020").reason == check_pb2.VERDICT_REASON_OWNER
        assert (
            daemon.check(str(IMEI + 1), "432110000000001").reason == check_pb2.VERDICT_REASON_BLOCKED_STOLEN
        )
        # What others push is seen by the next list, before and after the segments are made anew.
        daemon.push(operation("PAIR", str(IMEI + 5000), imsi="432110000009999"))
        for _ in range(2):
            again = run(data_dir, pairs, "--dry-run", daemon=daemon)[0]
            assert again["rows"] == {"before": 2001, "added": 0, "removed": 1, "changed": 0, "after": 2000}
            daemon.enforcement.RebuildSegments(enforcement_request(), timeout=60)
        half = listed(tmp_path, "half.csv", "imei,imsi", pairs.read_text().splitlines()[1:1001])
        refused = run(data_dir, half, daemon=daemon, code=3)[0]
        assert refused["reason"] == "LIST_GUARD"
        shrunk = run(data_dir, half, "--override", daemon=daemon)[0]
        assert shrunk["effects"]["pairs"] == {"added": 0, "removed": 1001, "rows": 1000}
        assert daemon.check(str(IMEI + 1500), "432110000001500").reason != check_pb2.VERDICT_REASON_OWNER
        assert "43211000000" not in "".join(daemon.log), "no identity in the log"
    assert run(data_dir, half)[0]["applied"] is False, "without the daemon: the tables say it already"


def test_a_daemon_is_found_by_its_directory_and_tells_what_came_of_imports(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    barred = listed(tmp_path, "barred.csv", "imei", [str(IMEI + n) for n in range(10)])
    bad = listed(tmp_path, "bad.csv", "imei", ["no phone"])
    run(data_dir, barred, "--create")
    run(data_dir, bad, code=3)
    with running(data_dir) as daemon:
        line = words(data_dir, listed(tmp_path, "more.csv", "imei", [str(IMEI + n) for n in range(11)]))
        del line[line.index("--address") : line.index("--address") + 2]
        ended = subprocess.run(line, capture_output=True, text=True, env=environment(), timeout=60)
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout)[0]["serial"] == 2
        few = listed(tmp_path, "few.csv", "imei", [str(IMEI)])
        assert run(data_dir, few, daemon=daemon, code=3)[0]["reason"] == "LIST_GUARD"
        with pytest.raises(grpc.RpcError):
            daemon.push(operation("BLOCK", str(IMEI)), feed="barred", sequence=9, base_sequence=8)
        shown = {
            'eir_imports_total{feed="barred",outcome="applied"}': 2,
            'eir_imports_total{feed="barred",outcome="refused"}': 2,
            'eir_feed_refusals_total{cause="LIST_REFUSED",feed="barred"}': 1,
            'eir_feed_refusals_total{cause="LIST_GUARD",feed="barred"}': 1,
            'eir_feed_refusals_total{cause="DELTA_GAP",feed="barred"}': 1,
            'eir_feed_gaps_total{feed="barred"}': 1,
            'eir_import_rows{feed="barred"}': 11,
        }

        def found() -> dict[str, float]:
            return {name: daemon.metric(name) for name in shown}

        wait_for(lambda: found() == shown, found)
    assert (data_dir / "lock").read_text() == "", "who is gone is not called"


def enforcement_request():
    from eir.proto import enforcement_pb2

    return enforcement_pb2.RebuildSegmentsRequest()


def test_another_daemon_is_told_from_the_one_of_the_directory(tmp_path: Path) -> None:
    barred = listed(tmp_path, "barred.csv", "imei", [str(IMEI)])
    with running(tmp_path / "one") as one, running(tmp_path / "two") as two:
        one.push(operation("REGISTER", str(IMEI)))
        two.push(operation("REGISTER", str(IMEI)), feed="other")
        ended = subprocess.run(
            words(tmp_path / "one", barred, address=two.ready_line["manage"]),
            capture_output=True,
            text=True,
            env=environment(),
        )
        assert (ended.returncode, "does not use" in ended.stderr) == (2, True)


def test_what_a_killed_import_had_sent_is_waited_for(tmp_path: Path) -> None:
    """The shelf is settled by what becomes of a delta that is still on its way."""
    with running(tmp_path / "data") as daemon:
        begin, chunk, commit = delta([operation("REGISTER", str(IMEI))], feed="stolen", reference="sha")
        requests: queue.SimpleQueue = queue.SimpleQueue()
        answers = daemon.sync.PushDelta(iter(requests.get, None), timeout=30)
        for request in (begin, chunk):
            requests.put(request)
            next(answers)
        target = DaemonTarget(daemon.manage_channel, tmp_path / "data", daemon.ready_line["manage"])
        with ThreadPoolExecutor(1) as pool:
            fate = pool.submit(target.reference, "stolen", 1)
            time.sleep(0.3)
            assert not fate.done()
            requests.put(commit)
            assert next(answers).applied.serial == 1
            requests.put(None)
            assert fate.result(timeout=100) == "sha"
        assert target.reference("stolen", 2) == ""
        assert target.reference("other", 1) == ""


def test_deltas_that_land_meanwhile_are_not_lost(tmp_path: Path) -> None:
    """Another feed registers and deregisters what a full list names, again and again."""
    data_dir, random = tmp_path / "data", Random(5)
    head = "approved_imei,make,model,status,model_number,brand_name,device_type,radio_interface,device_id"
    keys = [IMEI + n for n in range(2000)]
    with running(data_dir) as daemon:
        there: set[int] = set()
        for _ in range(3):
            wanted = random.sample(keys, 1000)
            path = listed(tmp_path, "registration.csv", head, [f"{key},,,,,,,,D1" for key in wanted])
            line = words(data_dir, path, "--override", address=daemon.ready_line["manage"])
            import_ = subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment())
            landed: list[tuple[int, str, int]] = []
            while import_.poll() is None:
                key = random.choice(keys)
                for kind in ("REGISTER", "DEREGISTER"):  # one of them is refused: it is there, or it is not
                    with contextlib.suppress(grpc.RpcError):
                        serial = daemon.push(operation(kind, str(key)), feed="other").serial
                        landed.append((serial, kind, key))
                        break
                time.sleep(0.1)
            assert import_.stdout is not None
            said = json.loads(import_.stdout.read())[0]
            assert not said["refused"], said["message"]
            applied = said["serial"] if said["applied"] else 0
            model, whole = set(there), applied == 0
            for serial, kind, key in landed:
                if not whole and serial > applied:
                    model, whole = set(wanted), True
                (model.add if kind == "REGISTER" else model.discard)(key)
            model = model if whole else set(wanted)
            there = registered(data_dir)
            # What landed between the reading of the tables and the delta stays, as if it came after the list.
            late = {key for serial, _, key in landed if serial < applied}
            assert there - late == model - late
            assert landed


def registered(data_dir: Path) -> set[int]:
    rows = view.read(data_dir).generation
    return {int(key) for span in present.spans(rows) for key in present.registered(span.rows)}


def large(folder: Path, count: int = 200_000) -> Path:
    """A list that takes a while: rows in force, and rows for the shelf."""
    rows = [f"{IMEI + n},20260101,{'' if n % 4 else 'pending'}" for n in range(count)]
    return listed(folder, "large.csv", "imei,reporting_date,status", rows)


def state(data_dir: Path) -> tuple[int, int, bool]:
    """Serial, blocks, and whether there is something on the shelf."""
    shelf = data_dir / "lists" / "stolen.stolen.npz"
    if not (data_dir / "registry.db").exists():
        return 0, 0, shelf.exists()
    read = view.read(data_dir)
    return read.serial, read.counts["blocks"], shelf.exists()


NOTHING, WHOLE = (0, 0, False), (1, 150_000, True)


def test_an_import_killed_at_any_moment_is_whole_or_not_at_all(tmp_path: Path) -> None:
    path, random = large(tmp_path), Random(3)
    started = time.monotonic()
    run(tmp_path / "whole", path, "--create")
    assert state(tmp_path / "whole") == WHOLE
    seconds = time.monotonic() - started
    seen = set()
    for turn in range(2):
        data_dir = tmp_path / f"data-{turn}"
        process = subprocess.Popen(
            words(data_dir, path, "--create"), stdout=subprocess.DEVNULL, env=environment()
        )
        time.sleep(seconds * (0.3 + 0.7 * random.random()))
        process.kill()
        process.wait()
        serial, blocks, _ = state(data_dir)
        assert (serial, blocks) in (NOTHING[:2], WHOLE[:2])
        seen.add(serial)
        run(data_dir, path, "--create")
        assert state(data_dir) == WHOLE, "the next import finishes or takes back what was left"


def test_the_daemon_killed_during_an_import(tmp_path: Path) -> None:
    path, random, data_dir = large(tmp_path), Random(4), tmp_path / "data"
    for _ in range(2):
        daemon = Daemon(data_dir)
        process = subprocess.Popen(
            words(data_dir, path, address=daemon.ready_line["manage"]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        time.sleep(0.5 + 1.5 * random.random())
        daemon.process.kill()
        daemon.wait()
        says = process.communicate(timeout=60)[1]
        assert process.returncode in (0, 1), says
        assert state(data_dir)[:2] in (NOTHING[:2], WHOLE[:2])
    with running(data_dir) as daemon:
        run(data_dir, path, daemon=daemon)
    assert state(data_dir) == WHOLE


@pytest.mark.parametrize("beside_a_daemon", [False, True])
def test_a_full_disk_changes_nothing(small_disk: Path, tmp_path: Path, beside_a_daemon: bool) -> None:
    path, data_dir = large(tmp_path), small_disk / "data"
    few = listed(tmp_path, "few.csv", "imei", [str(IMEI)])
    run(data_dir, few, "--create")
    before = state(data_dir)
    daemon = Daemon(data_dir) if beside_a_daemon else None
    try:
        for leave in (1 << 20, 0):
            ballast = fill(small_disk, leave)
            run(data_dir, path, daemon=daemon, code=1)
            assert state(data_dir)[:2] == before[:2]
            ballast.unlink()
        said = run(data_dir, path, daemon=daemon)[0]
        assert (said["applied"], said["effects"]["blocks"]["added"]) == (True, 150_000)
    finally:
        if daemon:
            daemon.stop()
