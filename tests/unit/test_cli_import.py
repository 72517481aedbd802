"""`eir import`: what it says, how it ends, guards, dry runs, repeats."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from listing import NOBODY, Importer

from eir.cli import main
from eir.errors import StorageError
from eir.lists.formats import FORMATS
from eir.whitelist.items import Item
from eir.whitelist.schema import Subscriber
from eir.whitelist.subscribers import as_values

IMEI = 35_693_803_564_380


@pytest.fixture
def importer(tmp_path: Path) -> Importer:
    return Importer(tmp_path)


def barred(count: int, first: int = IMEI) -> str:
    return "imei\n" + "".join(f"{first + place}\n" for place in range(count))


def text(importer: Importer, *words: object) -> tuple[int, str, str]:
    line = ["import", *map(str, words), "--data-dir", str(importer.data_dir), "--address", NOBODY]
    result = CliRunner().invoke(main, line, env={})
    return result.exit_code, result.stdout, result.stderr


def test_a_list_is_applied_and_told(importer: Importer) -> None:
    said = importer.take(barred(3))
    assert (said["applied"], said["feed"], said["sequence"], said["serial"]) == (True, "barred", 1, 1)
    assert said["rows"] == {"before": 0, "added": 3, "removed": 0, "changed": 0, "after": 3}
    assert said["effects"] == {"blocks": {"added": 3, "removed": 0, "rows": 3}}
    code, out, _ = text(importer, importer.file(barred(4)))
    assert code == 0
    assert "1 added, 0 removed, 0 changed; 3 before, 4 after" in out
    assert "sequence 2" in out


def test_rows_in_vain_are_told_with_what_leaves_them_out(importer: Importer) -> None:
    importer.take(barred(3))
    delta = importer.file(f"imei,change_type\n{IMEI},add\n{IMEI + 9},add\n")
    code, _, said = text(importer, delta)
    assert (code, "--lenient leaves these rows out" in said) == (3, True)
    assert text(importer, delta, "--lenient")[0] == 0


def test_a_separator_that_is_no_comma_is_what_is_said(importer: Importer) -> None:
    for letter, called in ((";", "semicolons"), ("\t", "tabs")):
        said = importer.take(f"imei{letter}imsi\n35693803564380{letter}432110000000001\n", code=3)
        assert said["message"].endswith(f"separated by {called}; commas are needed")
        assert "lists are" not in said["message"]


def test_a_disk_that_fails_is_told_with_what_became_of_the_list(
    importer: Importer, monkeypatch: pytest.MonkeyPatch
) -> None:
    importer.take(barred(3))
    monkeypatch.setattr("eir.lists.target.StoreTarget.push", _storage_error)
    file = importer.file(barred(9))
    code, _, said = text(importer, file)
    assert code == 1
    assert f"{file}: not applied, nothing changed" in said


def _storage_error(*_: object) -> None:
    raise StorageError("writing the journal: disk I/O error; the disk may be full")


def test_the_same_full_list_again_needs_no_delta(importer: Importer) -> None:
    importer.take(barred(3))
    said = importer.take(barred(3))
    assert (said["applied"], said["serial"], said["refused"]) == (False, 1, False)
    said = importer.take(barred(3), "--complete-until", "2026-03-21")
    assert said["applied"], "it says until when the feed is complete"


def test_the_same_delta_again_is_known(importer: Importer) -> None:
    importer.take(barred(3))
    delta = f"imei,change_type\n{IMEI + 9},add\n"
    assert importer.take(delta)["applied"]
    again = importer.take(delta)
    assert (again["repeat"], again["applied"], again["serial"]) == (True, False, 2)
    other = importer.take(delta, "--feed", "elsewhere", "--authority", "barred", code=3)
    assert other["report"]["faults_by_reason"] == {"ALREADY_THERE": 1}


def test_a_delta_without_effect_is_known_again_too(importer: Importer) -> None:
    delta = f"imei,reporting_date,status,change_type\n{IMEI},,pending,add\n"
    assert importer.take(delta)["applied"]
    assert importer.take(delta)["repeat"]
    added = importer.take(f"imei,reporting_date,status,change_type\n{IMEI},,blacklist,update\n")
    assert added["effects"]["blocks"]["added"] == 1


def test_a_list_that_shrinks_is_held(importer: Importer) -> None:
    importer.take(barred(100))
    said = importer.take(barred(74), code=3)
    assert (said["refused"], said["reason"]) == (True, "LIST_GUARD")
    assert importer.tables.serial == 1
    code, _, err = text(importer, importer.file(barred(74)))
    assert (code, "--override applies it nevertheless" in err) == (3, True)
    assert importer.take(barred(75))["rows"]["after"] == 75
    assert importer.take(barred(10), "--override")["rows"]["after"] == 10


def test_guards_of_the_store_hold_too(importer: Importer, tmp_path: Path) -> None:
    config = tmp_path / "eir.toml"
    config.write_text("[guards]\nguarded_rows_min = 10\nremoved_percent_max = 10.0\n")
    importer.take(barred(100), "--config", config)
    said = importer.take(barred(85), "--config", config, code=3)
    assert (said["reason"], said["effects"]["blocks"]["removed"]) == ("DELTA_GUARD", 15)
    assert importer.take(barred(85), "--config", config, "--override")["applied"]


def test_a_dry_run_tells_and_changes_nothing(importer: Importer) -> None:
    importer.take(f"imei,imsi\n{IMEI},432110000000001\n")
    said = importer.take(f"imei,reporting_date,status\n{IMEI},,\n{IMEI + 1},,\n", "--dry-run")
    assert (said["applied"], said["dry_run"], said["rows"]["added"]) == (False, True, 2)
    assert said["effects"] == {"blocks": {"added": 2, "removed": 0, "rows": 2}}
    turns = {(turn["before"], turn["after"]): turn["count"] for turn in said["verdicts"]["changed"]}
    assert turns[("WHITELISTED OWNER", "BLACKLISTED BLOCKED_STOLEN")] == 1
    assert {after for _, after in turns} == {"BLACKLISTED BLOCKED_STOLEN"}
    assert said["verdicts"]["checked"] == 2
    assert importer.tables.serial == 1
    code, out, _ = text(importer, importer.file(f"imei,reporting_date,status\n{IMEI},,\n"), "--dry-run")
    assert (code, "1 would change" in out) == (0, True)


def test_a_bad_file_changes_nothing_and_the_rest_is_not_looked_at(importer: Importer) -> None:
    good, bad = importer.file(barred(2)), importer.file("imei\n3569380356438G\n\n12\n")
    said = importer.run(good, bad, good, code=3)
    assert [one["refused"] for one in said] == [False, True]
    assert importer.tables.serial == 1
    assert said[1]["report"]["faults"] == [
        {
            "line": 2,
            "column": "imei",
            "value": "3569380356438G",
            "reason": "CHARACTERS",
            "message": "an IMEI in a list is made of hex digits, '*' and '#'",
        },
        {
            "line": 3,
            "column": "",
            "value": "",
            "reason": "BLANK_LINE",
            "message": "an empty line stands between rows",
        },
    ]
    code, _, err = text(importer, bad, good)
    assert code == 3
    assert "line 2, imei: an IMEI in a list" in err
    assert f"not looked at: {good}" in err


def test_what_the_store_refuses_is_told_by_line(importer: Importer) -> None:
    rows = "".join(f"{IMEI},43211{place:010d}\n" for place in range(66))
    said = importer.take("imei,imsi\n" + rows, code=3)
    assert said["reason"] == "DELTA_ROWS_REFUSED"
    faults = said["report"]["faults"]
    assert {fault["reason"] for fault in faults} == {"REFUSED"}
    assert {fault["line"] for fault in faults} <= set(range(2, 70))
    assert "TOO_MANY_PAIRS" in faults[0]["message"]
    assert importer.tables.serial == 0


def test_a_directory_is_made_only_when_told(importer: Importer) -> None:
    code, _, err = text(importer, importer.file(barred(1)))
    assert code == 2
    assert "--create makes one" in err
    assert not importer.data_dir.exists()


def test_a_file_that_is_not_there(importer: Importer) -> None:
    importer.take(barred(1))
    code, _, err = text(importer, importer.folder / "none.csv")
    assert code == 1
    assert "none.csv" in err


@pytest.mark.parametrize(
    "words", [["--encoding", "nonsense"], ["--feed", "A B"], ["--format", "other"], ["--rows-max", "0"]]
)
def test_options_that_cannot_be_used(importer: Importer, words: list[str]) -> None:
    assert text(importer, importer.file(barred(1)), "--create", *words)[0] == 2


def test_full_and_delta_are_held_against_the_header(importer: Importer) -> None:
    assert importer.take(barred(1), "--delta", code=3)["reason"] == "LIST_UNREADABLE"
    assert importer.take(f"imei,change_type\n{IMEI},add\n", "--full", code=3)["reason"] == "LIST_UNREADABLE"


def test_another_word_for_what_is_in_force(importer: Importer) -> None:
    rows = f"imei,reporting_date,status\n{IMEI},,Confirmed\n{IMEI + 1},,blacklist\n"
    importer.take(rows, "--in-force", "confirmed")
    assert [bool(importer.row(IMEI + place)[2]) for place in (0, 1)] == [True, False]


def test_authority_and_feed(importer: Importer) -> None:
    importer.take(barred(1), "--authority", "police")
    importer.take(barred(1), "--authority", "court")
    importer.take("imei\n", "--authority", "court", "--override")
    assert [feed.feed for feed in importer.tables.feeds] == ["barred.court", "barred.police"]
    items = importer.row(IMEI)[2]
    assert {kind for kind, _ in items} == {Item.BLOCK}
    assert len(items) == 1


def test_numbers_come_and_go(importer: Importer) -> None:
    from eir.whitelist import view

    importer.take("imsi,msisdn,language\n432110000000001,98912,fa\n432110000000002,98913,en\n")
    importer.take("imsi,msisdn,language\n432110000000001,98914,fa\n", "--override")
    rows = [row for part in view.subscribers(importer.data_dir) for row in as_values(part)]
    assert rows == [Subscriber(1_432_110_000_000_001, 198_914, "fa")]


def test_the_view_of_a_directory_is_what_its_store_has(importer: Importer) -> None:
    from eir.whitelist.store import Store

    importer.take(barred(5))
    store = Store.open(importer.data_dir, clock=lambda: 0)
    store.rebuild()
    store.close()
    importer.take(barred(7))
    view = importer.tables
    store = Store.open(importer.data_dir, clock=lambda: 0)
    try:
        assert view.counts == store.counts
        assert view.serial == store.generation.serial
        for key in range(IMEI - 1, IMEI + 8):
            head, words = view.generation.key_row(key)
            other_head, other_words = store.generation.key_row(key)
            assert (head, list(words or ())) == (other_head, list(other_words or ()))
    finally:
        store.close()


def test_json_is_printed_also_when_the_import_ends_by_an_error(importer: Importer) -> None:
    importer.take(barred(1))
    line = ["import", str(importer.file(barred(2))), str(importer.folder / "none.csv"), "--json"]
    result = CliRunner().invoke(main, [*line, "--data-dir", str(importer.data_dir)], env={})
    assert result.exit_code == 1
    assert [one["applied"] for one in json.loads(result.stdout)] == [True]


REGISTRATION = ",".join(column.name for column in FORMATS["registration"].columns)
IN_VAIN = {
    "registration": (f"{REGISTRATION}\nA,,,,,,,,D\n", "{imei},,,,,,,,D,{change}"),
    "pairing": ("imei,imsi\nA,432110000000001\n", "{imei},432110000000001,{change}"),
    "stolen": ("imei,reporting_date,status\nA,,\n", "{imei},,,{change}"),
    "barred": ("imei\nA\n", "{imei},{change}"),
    "barred-tac": ("tac\nA\n", "{imei},{change}"),
    "associations": ("uid,imei\nu,A\n", "u,{imei},{change}"),
    "subscribers": ("uid,imsi\nu,A\n", "u,{imei},{change}"),
    "numbers": ("imsi,msisdn,language\nA,989120000001,fa\n", "{imei},989120000001,fa,{change}"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_lenient_import_leaves_out_what_a_delta_does_in_vain(importer: Importer, name: str) -> None:
    there, missing, new = (
        ("35693803", "35693804", "35693805") if name == "barred-tac" else (str(IMEI + n) for n in (0, 10, 20))
    )
    full, row = IN_VAIN[name]
    importer.take(full.replace("A", there))
    header = full.splitlines()[0] + ",change_type"
    vain = [row.format(imei=there, change="add"), row.format(imei=missing, change="remove")]
    vain += [row.format(imei=str(IMEI + 30), change="update")] * FORMATS[name].updates
    delta = "\n".join([header, *vain, row.format(imei=new, change="add")]) + "\n"
    strict = importer.take(delta, code=3)
    assert strict["report"]["fault_count"] == len(vain)
    assert set(strict["report"]["faults_by_reason"]) == {"ALREADY_THERE", "NOT_THERE"}
    said = importer.take(delta, "--lenient")
    assert said["report"]["warnings"]["IGNORED"]["rows"] == len(vain)
    assert (said["applied"], said["rows"]["added"], said["rows"]["after"]) == (True, 1, 2)
    removed = importer.take(
        "\n".join([header, row.format(imei=new, change="remove"), vain[1]]) + "\n", "--lenient", "--override"
    )
    assert (removed["rows"]["removed"], removed["rows"]["after"]) == (1, 1)


def test_a_feed_that_is_lenient_by_the_configuration_is_so_here(importer: Importer, tmp_path: Path) -> None:
    importer.take(barred(2))
    delta = f"imei,change_type\n{IMEI},add\n{IMEI + 5},add\n"
    config = tmp_path / "eir.toml"
    config.write_text("[feeds.barred]\nlenient = true\n")
    importer.take(delta, code=3)
    said = importer.take(delta, "--config", config)
    assert (said["rows"]["added"], said["report"]["warnings"]["IGNORED"]["lines"]) == (1, [2])


def test_an_empty_file_is_no_list_even_where_its_kind_is_told(importer: Importer) -> None:
    importer.take(barred(3))
    said = importer.take("", "--format", "barred", "--override", code=3)
    assert (said["reason"], importer.tables.counts["blocks"]) == ("LIST_UNREADABLE", 3)


def test_associations_that_shrink_are_held_as_pairs_are(importer: Importer) -> None:
    def associations(count: int) -> str:
        return "uid,imei\n" + "".join(f"u{n},{IMEI + n}\n" for n in range(count))

    importer.take(associations(100))
    assert importer.take(associations(94), code=3)["reason"] == "LIST_GUARD"
    assert importer.take(associations(95))["applied"] is False, "no pairs follow, and the shelf has the list"
