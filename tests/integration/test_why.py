"""Why a phone was cut off: a daemon decides, `eir why` explains, with it running and without it."""

import stat
from pathlib import Path

import pytest

from tests.integration.test_cli import eir
from tests.running import ENGINES, operation, running, wait_for

IMEI, OTHER, IMSI = "35693803564380", "35693803564398", "432110000000001"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_phone_is_cut_off_and_every_engine_of_the_explanation_says_why(tmp_path: Path, engine: str) -> None:
    data = tmp_path / "data"
    with running(data, engine=engine) as daemon:
        daemon.push(operation("REGISTER", IMEI), operation("PAIR", IMEI, imsi=IMSI, role="OWNER"))
        assert daemon.check(IMEI, IMSI).status == 1
        daemon.push(
            operation("BLOCK", IMEI, block_cause="STOLEN", authority="police", reference="case-7"),
            reference="daily",
        )
        for _ in range(3):
            assert daemon.check(f"{IMEI}9", IMSI, serving_plmn="43211").status == 3
        assert daemon.check(OTHER, IMSI).status == 2
        wait_for(lambda: daemon.metric("eir_decisions_recorded_total") == 2, "they are in the log")
        beside = eir("why", "--imei", IMEI, "--data-dir", data)
        assert daemon.metric("eir_decisions_recorded_total") == 2
        assert daemon.metric("eir_decisions_repeated_total") == 2
        daemon.push(operation("UNBLOCK", IMEI, block_cause="STOLEN", authority="police"))
        daemon.check("490154203237518", IMSI)  # in the queue when it stops
    assert beside.code == 0, beside.err
    assert f"asked for it with IMSI {IMSI} and was told BLACKLISTED" in beside.out
    assert "blocked as stolen by police (feed hamta, sequence 2, reference case-7; serial 2)" in beside.out
    assert "row 4, BLOCKED_STOLEN, decides so always" in beside.out
    after = eir("why", "--imei", IMEI, "--json", "--data-dir", data).json
    assert after["decision"]["reason"] == "BLOCKED_STOLEN"
    assert [change["operation"]["kind"] for change in after["since"]] == ["UNBLOCK"]
    grey = eir("why", "--imei", OTHER, "--data-dir", data)
    assert "No delta of the journal registers it" in grey.out
    assert eir("why", "--imei", "490154203237518", "--data-dir", data).code == 0
    assert eir("why", "--imei", "490154203237526", "--data-dir", data).code == 3
    for path in (*(data / "decisions").iterdir(), *(data / "policies").iterdir()):
        assert not stat.S_IMODE(path.stat().st_mode) & stat.S_IRWXO


def test_an_old_decision_is_explained_by_the_policy_of_then(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "policy.toml"
    text = 'name = "{}"\nhome_plmns = ["43211"]\n[mode]\nblocked_range = "{}"\n'
    for name, mode in (("strict", "enforce"), ("mild", "observe")):
        file.write_text(text.format(name, mode))
        with running(data, policy=file) as daemon:
            if name == "strict":
                daemon.push(
                    operation(
                        "BLOCK",
                        IMEI,
                        imei_last=OTHER,
                        block_cause="BARRED",
                        authority="police",
                        reference="r",
                    )
                )
            assert daemon.check(IMEI, IMSI).status == (3 if name == "strict" else 1)
    explained = eir("why", "--imei", IMEI, "--data-dir", data)
    assert "by policy strict (" in explained.out
    assert "BLOCKED_RANGE, has it in mode enforce for this pair (no class): denied." in explained.out
    audit = eir("journal", "audit", "--data-dir", data).out
    assert "policy in force: strict" in audit
    assert "policy in force: mild" in audit
    assert len(list((data / "policies").iterdir())) == 2


def test_a_disk_that_takes_no_decisions_does_not_keep_checks_from_their_answers(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "decisions").write_text("in the way")
    with running(data) as daemon:
        assert daemon.check(IMEI, IMSI).status == 2
        wait_for(lambda: daemon.metric('eir_decisions_dropped_total{cause="disk"}') == 1, "it is dropped")
        assert daemon.http("/readyz")[0] == 200
        assert [line for line in daemon.log if "decisions are dropped" in line]
        assert not [line for line in daemon.log if IMEI in line or IMSI in line]
