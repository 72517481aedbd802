"""`eir why`: what it says of what is known."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from eir.cli import main
from eir.decisions.policies import keep_policy
from eir.identity import imsi_code
from eir.policy import compile_policy, default_policy_text
from eir.verdict import Reason, Status
from eir.whitelist.operation import Operation
from eir.whitelist.rows import BlockCause, Op
from tests.unit.test_decisions_evidence import (  # noqa: F401 - fixtures
    DAY,
    IMEI,
    IMSI,
    KEY,
    POLICY,
    Commit,
    commit,
    decided,
    journal,
)


def why(data_dir: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["why", "--data-dir", str(data_dir), *words])


@pytest.mark.parametrize("imei", ["35-693803-564380-9", "۳۵۶۹۳۸۰۳ ۵۶۴۳۸۰", "3569380356438012"])
def test_both_are_typed_as_people_say_them(tmp_path: Path, commit: Commit, imei: str) -> None:  # noqa: F811
    commit(2, Operation(Op.BLOCK, KEY, cause=BlockCause.STOLEN, name="police"))
    decided(tmp_path, (2, Reason.BLOCKED_STOLEN, Status.BLACKLISTED))
    result = why(tmp_path, "--imei", imei, "--imsi", f"{IMSI[:5]}-{IMSI[5:]}", "--at", str(9 * DAY))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"IMEI {IMEI} with IMSI {IMSI}, up to")
    assert "was told BLACKLISTED" in result.stdout


def test_a_denial_is_explained_by_its_delta_and_its_policy(tmp_path: Path, commit: Commit) -> None:  # noqa: F811
    commit(1, Operation(Op.REGISTER, KEY))
    commit(2, Operation(Op.BLOCK, KEY, cause=BlockCause.STOLEN, name="police"))
    commit(4, Operation(Op.UNBLOCK, KEY, cause=BlockCause.STOLEN, name="police"))
    decided(
        tmp_path,
        (2, Reason.BLOCKED_STOLEN, Status.BLACKLISTED),
        (3, Reason.BLOCKED_STOLEN, Status.BLACKLISTED),
    )
    keep_policy(tmp_path, POLICY, 9)
    result = why(tmp_path, "--imei", f"{IMEI}0", "--at", str(9 * DAY))
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[:8] == [
        f"IMEI {IMEI}, up to 1970-01-10 00:00:00 UTC.",
        (
            f"On 1970-01-04 02:24:00 UTC the node msc asked for it with IMSI {IMSI} and was told BLACKLISTED:"
            " denied, because this IMEI is reported stolen."
        ),
        "The same is kept 2 times, first on 1970-01-03 02:24:00 UTC, last on 1970-01-04 02:24:00 UTC.",
        (
            f"It was judged at serial 3 by policy default ({POLICY.hash[:12]}): row 4, BLOCKED_STOLEN,"
            " decides so always for this pair (no class): denied."
        ),
        "What made it so, newest first:",
        (
            f"  1970-01-03 00:00:00 UTC: IMEI {IMEI} was blocked as stolen by police"
            " (feed hamta, sequence 2; serial 2)"
        ),
        "Since then, newest first:",
        (
            f"  1970-01-05 00:00:00 UTC: IMEI {IMEI} was no longer blocked as stolen by police"
            " (feed hamta, sequence 4; serial 4)"
        ),
    ]
    assert "2 decisions kept; the latest:" in result.stdout


def test_a_date_is_meant_as_a_whole(tmp_path: Path, journal) -> None:  # noqa: F811
    decided(tmp_path, (2, Reason.NOT_REGISTERED, Status.GREYLISTED))
    assert "was told GREYLISTED" in why(tmp_path, "--imei", IMEI, "--at", "1970-01-03").stdout
    assert why(tmp_path, "--imei", IMEI, "--at", "1970-01-03T00:00").exit_code == 3
    assert why(tmp_path, "--imei", IMEI, "--at", "1970-01-02").exit_code == 3


def test_what_is_not_known_is_said(tmp_path: Path, commit: Commit) -> None:  # noqa: F811
    nothing = why(tmp_path, "--imei", IMEI)
    assert nothing.exit_code == 3
    assert "No decision on it is kept (there are no decisions here at all" in nothing.stdout
    assert "No delta of the journal names it; it is empty." in nothing.stdout
    commit(1, Operation(Op.REGISTER, KEY))
    known = why(tmp_path, "--imei", IMEI)
    assert known.exit_code == 0
    assert f"IMEI {IMEI} was registered (feed hamta, sequence 1; serial 1)" in known.stdout


@pytest.mark.parametrize(
    ("reason", "status", "said"),
    [
        (Reason.NOT_REGISTERED, Status.GREYLISTED, "No delta of the journal registers it; the journal goes"),
        (Reason.OWNER, Status.WHITELISTED, "What made it so is not in the journal; the journal goes back to"),
        (Reason.OVERRIDE, Status.WHITELISTED, "me stopped enforcement on 1970-01-02 00:00:00 UTC: a test"),
        (
            Reason.UNDECIDED,
            Status.BLACKLISTED,
            "The status map of that client turns UNKNOWN into BLACKLISTED.",
        ),
        (Reason.NO_IMSI, Status.GREYLISTED, "row 10, NO_IMSI, decides so always"),
    ],
)
def test_reasons_without_a_delta_are_explained_too(
    tmp_path: Path,
    journal,  # noqa: F811
    commit: Commit,  # noqa: F811
    reason: Reason,
    status: Status,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy = compile_policy(default_policy_text() + '\n[status_map.msc]\nunknown = "blacklisted"\n')
    monkeypatch.setattr("tests.unit.test_decisions_evidence.POLICY", policy)
    keep_policy(tmp_path, policy, 9)
    commit(1, Operation(Op.TRACK, KEY))
    journal.audit_add(DAY, "me", "enforcement set to allow all", "a test")
    decided(tmp_path, (2, reason, status))
    assert said in why(tmp_path, "--imei", IMEI, "--imsi", IMSI).stdout


def test_a_policy_that_is_not_kept_is_named_by_its_hash(tmp_path: Path, journal) -> None:  # noqa: F811
    decided(tmp_path, (2, Reason.NOT_REGISTERED, Status.GREYLISTED))
    assert f"by policy {POLICY.hash[:12]}, which is not kept." in why(tmp_path, "--imei", IMEI).stdout
    keep_policy(tmp_path, POLICY, 9)
    next((tmp_path / "policies").iterdir()).write_text("x = 1")
    assert "which this version does not read." in why(tmp_path, "--imei", IMEI).stdout


def test_programs_get_all_of_it(tmp_path: Path, commit: Commit) -> None:  # noqa: F811
    for serial in range(1, 15):
        commit(serial, Operation(Op.TRACK if serial % 2 else Op.UNTRACK, KEY))
    decided(tmp_path, *[(serial, Reason.NOT_REGISTERED, Status.GREYLISTED) for serial in range(1, 13)])
    keep_policy(tmp_path, POLICY, 9)
    shown = json.loads(why(tmp_path, "--imei", IMEI, "--json").stdout)
    assert len(shown["changes"]) == 14
    assert [change["serial"] for change in shown["since"]] == [14, 13]
    assert shown["changes"][0]["operation"] == {"kind": "UNTRACK", "imei": IMEI}
    assert len(shown["decisions"]) == 12
    assert shown["decision"]["reason"] == "NOT_REGISTERED"
    assert shown["policy"]["hash"] == POLICY.hash
    assert shown["policy"]["rule"]["row"] == 15
    text = why(tmp_path, "--imei", IMEI).stdout
    assert "12 decisions kept; the latest:" in text
    assert len(text.splitlines()) < 30


def test_an_imei_is_asked_for_and_a_data_directory_needed(tmp_path: Path) -> None:
    assert why(tmp_path, "--imei", IMEI).exit_code == 1
    assert why(tmp_path, "--imei", "  ").exit_code == 2
    assert why(tmp_path).exit_code == 2
    assert imsi_code(IMSI)
