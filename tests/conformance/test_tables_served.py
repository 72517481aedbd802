"""What tables hold, seen through checks of every engine: above segments, in them, after a restart."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import pytest

from eir.proto import check_pb2, enforcement_pb2, sync_pb2
from tests.running import ENGINES, Daemon, operation, running

POLICY = 'name = "tables"\nhome_plmns = ["43211"]\nroamers = "judge"\n'
TAC = "35694402"
OWNER, STRANGER = "432110000000001", "432119999999999"


class Expected(NamedTuple):
    """A check and its reason."""

    imei: str
    imsi: str
    reason: str


def imei(serial: int, tac: str = TAC) -> str:
    return f"{tac}{serial:06d}"


def imsis_of_every_length() -> tuple[list[sync_pb2.Operation], list[Expected]]:
    """Each owns a phone; one more or one less leading zero is another subscriber."""
    rows, checks = [], []
    texts = [text for n in range(1, 16) for text in ("0" * n, "0" * (n - 1) + "7", "9" * n, "43211"[:n])]
    for serial, text in enumerate(dict.fromkeys(texts)):
        phone = imei(serial)
        rows.append(operation("PAIR", phone, imsi=text, role="OWNER"))
        checks.append(Expected(phone, text, "OWNER"))
        others = {f"0{text}"[:15], text.removeprefix("0")} - {text, ""}
        checks += [Expected(phone, other, "IMSI_SHORT|OWNED_BY_OTHER") for other in others]
    return rows, checks


def pairs_on_one_phone() -> tuple[list[sync_pb2.Operation], list[Expected]]:
    """Ten are many, eleven a clone class; the declared SIMs keep service in both."""
    rows, checks = [], []
    for serial, pairs, stranger in ((1_000, 10, "OWNED_BY_OTHER"), (1_001, 11, "SHARED")):
        phone, sims = imei(serial), [f"43211{serial:04d}{number:06d}" for number in range(pairs)]
        for number, sim in enumerate(sims):
            rows.append(operation("PAIR", phone, imsi=sim, role="UTILIZER" if number else "OWNER"))
            checks.append(Expected(phone, sim, "UTILIZER" if number else "OWNER"))
        checks.append(Expected(phone, STRANGER, stranger))
    return rows, checks


def slots_of_devices() -> tuple[list[sync_pb2.Operation], list[Expected]]:
    """The second slot is the neighbour, the same serial under a twin TAC, or elsewhere."""
    rows, checks = [], []
    for serial, second in (
        (2_000, imei(2_001)),
        (2_010, imei(2_010, "86111122")),
        (2_020, imei(7, "01010101")),
    ):
        first = imei(serial)
        rows += [operation("REGISTER", slot) for slot in (first, second)]
        rows += [operation("PAIR", first, imsi=OWNER, role="OWNER")]
        rows += [operation("LINK", first, imei_other=second)]
        checks += [Expected(first, OWNER, "OWNER"), Expected(second, OWNER, "OTHER_SLOT")]
        checks += [Expected(second, STRANGER, "UNOWNED_SLOT"), Expected(first, STRANGER, "OWNED_BY_OTHER")]
    return rows, checks


def exemptions_with_an_end() -> tuple[list[sync_pb2.Operation], list[Expected]]:
    """One that is over exempts nobody; of a pair, an IMEI, an IMSI."""
    over, later = 1_700_000_000, int(time.time()) + 3_600
    rows, checks = [], []
    for serial, until in ((3_000, over), (3_010, later), (3_020, 0)):
        sim = f"43211000000{serial}"
        for step, fields in enumerate(({"imsi": sim}, {}, {"imsi": f"43211100000{serial}"})):
            phone = "" if step == 2 else imei(serial + step)
            rows.append(operation("EXEMPT", phone, until=until, exempt_cause="REPAIR", **fields))
        names = ("NOT_REGISTERED",) * 3 if until == over else ("EXEMPT_PAIR", "EXEMPT_IMEI", "EXEMPT_IMSI")
        checks += [Expected(imei(serial), sim, names[0]), Expected(imei(serial), STRANGER, "NOT_REGISTERED")]
        checks += [Expected(imei(serial + 1), STRANGER, names[1])]
        checks += [Expected(imei(9_999), f"43211100000{serial}", names[2])]
    return rows, checks


def raw_texts_and_ranges() -> tuple[list[sync_pb2.Operation], list[Expected]]:
    """Listed texts as lists normalise them; the edges of ranges."""
    texts = ("F", "12*#AB", "35365308", "DEABFCDE2ABFEC", "35295907A9CD4E0")
    rows = [operation("BLOCK", text, block_cause="BARRED", authority="a") for text in texts]
    checks = [Expected(spelt, OWNER, "BLOCKED_BARRED") for text in texts for spelt in (text, text.lower())]
    rows.append(operation("REGISTER", imei(500_000), imei_last=imei(509_999)))
    blocked = {"block_cause": "STOLEN", "authority": "a"}
    rows.append(operation("BLOCK", imei(505_000), imei_last=imei(505_999), **blocked))
    for serial, reason in (
        *((499_999, "NOT_REGISTERED"), (500_000, "NEVER_ACTIVATED"), (504_999, "NEVER_ACTIVATED")),
        *((505_000, "BLOCKED_RANGE"), (505_999, "BLOCKED_RANGE"), (506_000, "NEVER_ACTIVATED")),
        *((509_999, "NEVER_ACTIVATED"), (510_000, "NOT_REGISTERED")),
    ):
        checks.append(Expected(imei(serial), OWNER, reason))
    return rows, checks


PARTS = (
    imsis_of_every_length,
    pairs_on_one_phone,
    slots_of_devices,
    exemptions_with_an_end,
    raw_texts_and_ranges,
)


def wrong(daemon: Daemon, checks: list[Expected]) -> list[str]:
    """Answers that are not those expected."""
    out = []
    for check in checks:
        answer = daemon.check(check.imei, check.imsi)
        name = check_pb2.VerdictReason.Name(answer.reason).removeprefix("VERDICT_REASON_")
        if name not in check.reason.split("|"):
            out.append(f"{check} got {name}")
    return out


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_pushed_is_found_above_the_segments_in_them_and_after_a_restart(
    tmp_path: Path, engine: str
) -> None:
    (tmp_path / "policy.toml").write_text(POLICY)
    parts = [part() for part in PARTS]
    rows, checks = [row for part in parts for row in part[0]], [check for part in parts for check in part[1]]
    with running(tmp_path / "data", engine=engine, policy=tmp_path / "policy.toml") as daemon:
        daemon.push(*rows, feed="tables")
        assert wrong(daemon, checks) == []
        daemon.enforcement.RebuildSegments(enforcement_pb2.RebuildSegmentsRequest(), timeout=60)
        status = daemon.enforcement.GetStatus(enforcement_pb2.GetStatusRequest())
        assert (status.overlay_row_count, status.segment_count > 0) == (0, True)
        assert wrong(daemon, checks) == []
    with running(tmp_path / "data", engine=engine, policy=tmp_path / "policy.toml") as daemon:
        assert wrong(daemon, checks) == []
