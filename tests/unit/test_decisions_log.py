"""The decision log: bounded, rotated, never in the way."""

import os
import stat
import threading
from pathlib import Path

import pytest

from eir.decisions import log as log_module
from eir.decisions.log import HEADER, RECORD_BYTES, DecisionLog, Files, day_of, parts_of
from eir.decisions.read import find
from eir.metrics import Metrics
from eir.settings import Decisions
from eir.verdict import Reason, Status

NOW = 1_700_000_000
DAY = 86_400
IMEI, IMSI = "35693803564380", "432110000000001"


def made(tmp_path: Path, **settings: int) -> tuple[DecisionLog, Metrics]:
    metrics = Metrics()
    return DecisionLog(Decisions(**settings), tmp_path, metrics, lambda: NOW), metrics


def deny(log: DecisionLog, number: int = 0, time: int = NOW, policy: str = "ab" * 32) -> None:
    imei = f"{int(IMEI) + number:014d}"
    log.record(time, imei, IMSI, "43211", "msc1", Status.BLACKLISTED, Reason.BLOCKED_STOLEN, 7, policy)


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found = metrics.registry.get_sample_value(f"eir_{name}", labels)
    assert found is not None
    return found


def test_what_is_recorded_can_be_read_once_the_log_is_closed(tmp_path: Path) -> None:
    log, metrics = made(tmp_path)
    log.start()
    deny(log)
    log.close()
    found = find(tmp_path, IMEI, "", 0, NOW, 10)
    assert [tuple(decision) for decision in found.decisions] == [
        (NOW, IMEI, IMSI, "43211", Status.BLACKLISTED, Reason.BLOCKED_STOLEN, 7, "ab" * 8, "msc1")
    ]
    assert value(metrics, "decisions_recorded_total") == 1
    assert value(metrics, "decision_log_bytes") == len(HEADER) + RECORD_BYTES


def test_a_decision_names_the_policy_that_was_in_force_when_it_was_made(tmp_path: Path) -> None:
    log, _ = made(tmp_path)
    for number, policy in enumerate(("11" * 32, "22" * 32)):
        deny(log, number, policy=policy)
    log.start()
    log.close()
    policies = [
        find(tmp_path, f"{int(IMEI) + number:014d}", "", 0, NOW, 1).decisions[0].policy for number in (0, 1)
    ]
    assert policies == ["11" * 8, "22" * 8]


def test_others_cannot_read_it(tmp_path: Path) -> None:
    log, _ = made(tmp_path)
    deny(log)
    before = os.umask(0)
    try:
        log.start()
        log.close()
    finally:
        os.umask(before)
    (part,) = parts_of(tmp_path / "decisions")
    assert stat.S_IMODE(part.stat().st_mode) == 0o640
    assert not stat.S_IMODE(part.parent.stat().st_mode) & stat.S_IRWXO


def test_a_full_queue_drops_and_counts(tmp_path: Path) -> None:
    log, metrics = made(tmp_path, queue_records_max=3)
    for number in range(5):
        deny(log, number)
    assert value(metrics, "decisions_dropped_total", cause="queue") == 2
    log.start()
    log.close()
    assert value(metrics, "decisions_recorded_total") == 3


def test_repeats_are_counted_and_not_written(tmp_path: Path) -> None:
    log, metrics = made(tmp_path, denial_repeat_seconds=600)
    start = NOW - NOW % 600
    for second in (0, 1, 599, 600):
        deny(log, time=start + second)
    log.start()
    log.close()
    assert value(metrics, "decisions_recorded_total") == 2
    assert value(metrics, "decisions_repeated_total") == 2


def test_a_disk_that_fails_drops_counts_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, metrics = made(tmp_path)
    folder = tmp_path / "decisions"
    folder.write_text("in the way")
    deny(log)
    log._write_all()
    assert value(metrics, "decisions_dropped_total", cause="disk") == 1
    folder.unlink()
    deny(log, 1)
    log._write_all()
    assert value(metrics, "decisions_recorded_total") == 1


def test_a_write_cut_short_leaves_whole_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files(tmp_path, 1 << 20, 9)
    files.append(b"a" * RECORD_BYTES, NOW)
    real = os.write
    monkeypatch.setattr(log_module.os, "write", lambda file, data: real(file, data[:50]))
    with pytest.raises(OSError, match="space"):
        files.append(b"b" * RECORD_BYTES, NOW)
    monkeypatch.undo()
    files.append(b"c" * RECORD_BYTES, NOW)
    files.close()
    (part,) = parts_of(tmp_path)
    assert part.read_bytes() == HEADER + b"a" * RECORD_BYTES + b"c" * RECORD_BYTES


def test_the_rest_of_a_crash_is_cut_off_and_the_file_goes_on(tmp_path: Path) -> None:
    for letter in (b"a", b"b"):
        files = Files(tmp_path, 1 << 20, 9)
        files.append(letter * RECORD_BYTES, NOW)
        files.close()
        (part,) = parts_of(tmp_path)
        with part.open("ab") as file:
            file.write(b"torn")
    assert part.read_bytes() == HEADER + b"a" * RECORD_BYTES + b"b" * RECORD_BYTES + b"torn"


def test_every_day_has_files_of_its_own_and_old_ones_go(tmp_path: Path) -> None:
    files = Files(tmp_path, 1 << 30, 3)
    for day in range(6):
        files.append(b"a" * RECORD_BYTES, NOW + day * DAY)
    assert [part.name[:10] for part in parts_of(tmp_path)] == [
        day_of(NOW + day * DAY) for day in (2, 3, 4, 5)
    ]
    files.tidy(NOW + 8 * DAY)
    assert [part.name[:10] for part in parts_of(tmp_path)] == [day_of(NOW + 5 * DAY)]
    files.tidy(NOW + 80 * DAY)
    assert len(parts_of(tmp_path)) == 1, "the file that is written stays"


def test_the_bytes_are_bounded_and_the_oldest_make_room(tmp_path: Path) -> None:
    bytes_max = 64 * RECORD_BYTES * 16
    files = Files(tmp_path, bytes_max, 9)
    for number in range(3000):
        files.append(number.to_bytes(4, "big") * (RECORD_BYTES // 4), NOW)
    parts = parts_of(tmp_path)
    kept = sum(part.stat().st_size for part in parts)
    assert bytes_max * 0.8 < kept <= bytes_max
    assert kept == files.bytes_kept
    files.close()
    last = parts[-1].read_bytes()[-4:]
    assert int.from_bytes(last, "big") == 2999
    first = int.from_bytes(parts[0].read_bytes()[len(HEADER) : len(HEADER) + 4], "big")
    assert first > 1900


def test_a_round_that_fails_does_not_end_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, metrics = made(tmp_path)
    failed = threading.Event()
    real = log_module.encode

    def failing(decision: object) -> bytes:
        if failed.is_set():
            return real(decision)
        failed.set()
        raise ZeroDivisionError

    monkeypatch.setattr(log_module, "encode", failing)
    monkeypatch.setattr(log_module, "WRITE_SECONDS", 0.01)
    deny(log)
    log.start()
    assert failed.wait(5)
    deny(log, 1)
    log.close()
    assert value(metrics, "upkeep_failures_total") == 1
    assert value(metrics, "decisions_recorded_total") == 1


def test_nothing_is_touched_before_the_log_is_started(tmp_path: Path) -> None:
    log, _ = made(tmp_path)
    deny(log)
    log.close()
    assert list(tmp_path.iterdir()) == []
