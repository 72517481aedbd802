"""What tests of the native engine need: the engine, and questions that tell engines apart."""

from __future__ import annotations

import shutil
from random import Random

import pytest

from eir import native
from eir.errors import EngineUnavailableError
from eir.identity import imei_text, imsi_text

MALFORMED_IMEIS = (
    *(
        "",
        " ",
        "\t\n\v\f\r ",
        "\u00a0",
        "\u2003",
        "\x00",
        "\x1c",
        "a",
        "é",
        "٣",
        "٣٥٣٦٥٣٠٨٠٠٠٠٠١",
        "3536530800000٣",
    ),
    *("1" * length for length in range(1, 19)),
    *("0" * length for length in (1, 13, 14, 15, 16, 17)),
    *("35365308000001"[:length] for length in range(14)),
    *("3536530800000A", "3536530800000a", "353653080000011", "3536530800000112", "35365308000001123"),
    *(" 35365308000001 ", "\u00a035365308000001", "35365308000001é", "35365308000001éé", "35365308000001ééé"),
    *("35365308 000001", "35-365308-000001", "+35365308000001", "35365308000001\x00", "35365308000001  x"),
    *("12*#a", "12*#A", "12*#B", " 12*#A\n", "*#06#", "0F", "0f", "12*#AB", "12*#ab\x00", "12345678901234AB"),
    *(
        "ABCDEF0123456789",
        "ABCDEF01234567890",
        "ß",
        "ﬁ",
        "İ",
        "ABCDEFGHIJKLMNOé",
        "éééééééééééééééé",
        "é" * 17,
    ),
    *(
        "00101700000001",
        "00100000000001",
        "00101800000001",
        "00440000000001",
        "00860000000001",
        "00910000000001",
    ),
    *("00450000000001", "11111111111111", "99999999999999", "35000001000005", "1e13", "0x10", "𝟛𝟝𝟛𝟞𝟝𝟛𝟘𝟠"),
)
MALFORMED_IMSIS = (
    *("", " ", "0", "00", "1", "12345", "123456", "00101", "43211", "432110", "26201", "999999999999999"),
    *("4321100000000001", "43211000000000", "43211000000000x", "٤٣٢١١٠٠٠٠٠٠٠٠٠١", " 432110000000001\n"),
    *("432110000000001\u00a0", "-1", "\x00", "é", "432 110", "4" * 16, "0" * 15),
)
PLMNS = ("", "43211", "432110", "43235", "26201", "4321", "é")


def needed() -> None:
    """Fail where the native engine could be built and is not there; skip where it cannot be."""
    try:
        native.load()
    except EngineUnavailableError as error:
        if shutil.which("cargo"):
            pytest.fail(error.message)
        pytest.skip("cargo is not installed: the native engine is not built")


def questions(
    random: Random, keys: list[int], codes: list[int], count: int
) -> list[tuple[str, str, str, bool]]:
    """IMEI, IMSI, serving network, emergency: mostly what the tables know, the rest odd."""
    out = []
    for _ in range(count):
        imei = imei_text(random.choice(keys)) + random.choice(("", "", "7", "01"))
        imsi = imsi_text(random.choice(codes))
        if random.random() < 0.2:
            imei = random.choice(MALFORMED_IMEIS)
        if random.random() < 0.2:
            imsi = random.choice(MALFORMED_IMSIS)
        plmn = random.choice(PLMNS) if random.random() < 0.3 else ""
        out.append((imei, imsi, plmn, random.random() < 0.05))
    return out
