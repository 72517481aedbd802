"""Decisions read back."""

from pathlib import Path

from eir.decisions.log import Files, parts_of
from eir.decisions.read import find
from eir.decisions.record import HEADER, RECORD_BYTES, Decision, encode

IMEI = "35693803564380"
DAY = 86_400
NOW = 1_700_000_000


def decision(time: int, imei: str = IMEI, serial: int = 0) -> Decision:
    return Decision(time, imei, "1", "", 3, 5, serial, "00" * 8, "")


def written(data_dir: Path, *decisions: Decision) -> Path:
    files = Files(data_dir / "decisions", 1 << 30, 3650)
    for one in decisions:
        files.append(encode(one), one.time)
    files.close()
    return data_dir


def test_the_latest_come_first_and_no_more_than_asked_for(tmp_path: Path) -> None:
    days = [decision(NOW + day * DAY, serial=day) for day in range(5)]
    written(tmp_path, *days, decision(NOW + 4 * DAY, "35693803564381"))
    found = find(tmp_path, IMEI, "", 0, NOW + 9 * DAY, 3)
    assert [one.serial for one in found.decisions] == [4, 3, 2]
    assert found.more
    found = find(tmp_path, IMEI, "", 0, NOW + 3 * DAY, 9)
    assert [one.serial for one in found.decisions] == [3, 2, 1, 0]
    assert not found.more
    assert found.since == "2023-11-14"
    assert [one.serial for one in find(tmp_path, IMEI, "", NOW + 3 * DAY, NOW + 9 * DAY, 9).decisions] == [
        4,
        3,
    ]


def test_where_there_is_nothing_nothing_is_found(tmp_path: Path) -> None:
    found = find(tmp_path, IMEI, "", 0, NOW, 9)
    assert (found.decisions, found.damaged, found.since) == ([], [], "")


def test_a_record_of_before_midnight_lies_in_the_next_days_file(tmp_path: Path) -> None:
    midnight = NOW - NOW % DAY + DAY
    files = Files(tmp_path / "decisions", 1 << 30, 9)
    files.append(encode(decision(midnight - 1)) + encode(decision(midnight)), midnight)
    files.close()
    assert len(find(tmp_path, IMEI, "", midnight - 1, midnight - 1, 9).decisions) == 1


def test_damage_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    written(tmp_path, *(decision(NOW, serial=serial) for serial in range(3)))
    (part,) = parts_of(tmp_path / "decisions")
    data = bytearray(part.read_bytes())
    data[len(HEADER) + RECORD_BYTES + 60] ^= 1
    part.write_bytes(data + b"half a record")
    (part.parent / "2001-01-01.000001.log").write_bytes(b"something else")
    found = find(tmp_path, IMEI, "", 0, NOW, 9)
    assert [one.serial for one in found.decisions] == [2, 0]
    assert found.damaged == [
        f"{part.name}, record 1: a decision does not match its checksum",
        "2001-01-01.000001.log: is no file of decisions that this version reads",
    ]


def test_blocks_of_a_large_file_are_searched_from_the_last(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("eir.decisions.read.BLOCK_RECORDS", 2)
    written(tmp_path, *(decision(NOW, serial=serial) for serial in range(5)))
    assert [one.serial for one in find(tmp_path, IMEI, "", 0, NOW, 9).decisions] == [4, 3, 2, 1, 0]
