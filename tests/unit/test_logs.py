"""Nothing that looks like an identity reaches the log."""

import errno
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from eir import logs

IMEI = "35693803564380"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    out = io.StringIO()
    logs.setup("json", "info", out)
    yield out
    structlog.reset_defaults()
    logging.basicConfig(handlers=[], force=True)


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(
    "value",
    [
        IMEI,
        int(IMEI),
        f"imei {IMEI}7, imsi 432110000000001",
        IMEI.encode(),
        {"imei": IMEI, IMEI: 1},
        [IMEI, (IMEI, {IMEI})],
        f"+{IMEI}",
        ValueError(f"bad {IMEI}"),
    ],
)
def test_identities_are_masked_in_every_value(stream: io.StringIO, value: object) -> None:
    structlog.get_logger().info("event", value=value)
    assert "*" in stream.getvalue()
    assert "938035643" not in stream.getvalue()


def test_identities_are_masked_in_messages_and_tracebacks(stream: io.StringIO) -> None:
    try:
        int(f"imei {IMEI} is odd")
    except ValueError:
        structlog.get_logger().exception(f"failed for {IMEI}")
    assert IMEI not in stream.getvalue()
    assert "ValueError" in lines(stream)[0]["exception"]


@pytest.mark.parametrize(
    "name",
    [
        "shard-35693803-000000000006-000002.seg",
        "shard-00000000-000000000006-000002.imsi",
        "common-000000000006-000001.seg",
        "overlay-000000000006-000001.seg",
    ],
)
def test_names_of_segment_files_stay_readable(stream: io.StringIO, name: str) -> None:
    structlog.get_logger().error("segment damaged", error=f"{name}: has {IMEI}")
    (line,) = lines(stream)
    assert line["error"] == f"{name}: has 356*********80"


def test_what_libraries_log_goes_the_same_way(stream: io.StringIO) -> None:
    logging.getLogger("grpc").warning("peer sent %s", IMEI)
    (line,) = lines(stream)
    assert (line["level"], line["logger"]) == ("warning", "grpc")
    assert IMEI not in line["event"]


def test_other_values_stay_what_they_are(stream: io.StringIO) -> None:
    digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    structlog.get_logger().info(
        "e", serial=7, ready=True, none=None, seconds=0.25, hash=digest, short="123456789"
    )
    (line,) = lines(stream)
    assert line["serial"] == 7
    assert line["ready"] is True
    assert line["none"] is None
    assert line["seconds"] == 0.25
    assert line["hash"] == digest
    assert line["short"] == "123456789"


def test_the_level_is_the_least_that_is_logged(stream: io.StringIO) -> None:
    structlog.get_logger().debug("quiet")
    structlog.get_logger().info("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_console_is_for_people() -> None:
    out = io.StringIO()
    logs.setup("console", "info", out)
    structlog.get_logger().warning("hello", imei=IMEI)
    structlog.reset_defaults()
    assert "hello" in out.getvalue()
    assert not out.getvalue().startswith("{")
    assert IMEI not in out.getvalue()


def test_what_a_command_logs_is_not_among_its_data(capsys: pytest.CaptureFixture[str]) -> None:
    structlog.reset_defaults()
    logs.to_stderr()
    structlog.get_logger().warning("damaged")
    out, err = capsys.readouterr()
    assert (out, "damaged" in err) == ("", True)
    structlog.reset_defaults()


class Full(io.RawIOBase):
    """A file on a disk that may be full."""

    def __init__(self) -> None:
        self.full, self.content = False, b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.content += bytes(data)
        return len(data)


@pytest.mark.parametrize("lost", [1, 2, 5])
def test_work_goes_on_where_the_log_cannot_be_written(stream: io.StringIO, lost: int) -> None:
    disk = Full()
    # As Python opens stderr.
    out = io.TextIOWrapper(io.BufferedWriter(disk), line_buffering=True)
    logs.setup("json", "info", out)
    log = structlog.get_logger()
    log.info("before")
    disk.full = True
    for number in range(lost):
        log.info("in vain", number=number)
    disk.full = False
    log.info("after")
    log.info("end")
    # The first of those that failed was in a buffer.
    told = [json.loads(line) for line in disk.content.splitlines()]
    events = ["before", "in vain", "log lines were lost or late", "after", "end"]
    assert [line["event"] for line in told] == events
    assert (told[1]["number"], told[2]["lines"]) == (0, lost)


def test_a_log_that_was_closed_stops_nothing(stream: io.StringIO) -> None:
    out = io.StringIO()
    logs.setup("json", "info", out)
    out.close()
    structlog.get_logger().info("in vain")


def test_what_is_set_up_stays_so(stream: io.StringIO) -> None:
    logs.to_stderr()
    structlog.get_logger().warning("damaged")
    assert lines(stream)[0]["event"] == "damaged"
