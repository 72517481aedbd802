"""Commands that read files: configuration, policy, journal, segments; and the arguments of serve."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from eir.cli import main
from eir.whitelist.blob import rows_to_blob
from eir.whitelist.delta import Header
from eir.whitelist.files import FileLayer
from eir.whitelist.imsi_blocks import ImsiBlocks
from eir.whitelist.journal import Journal, SegmentRecord
from eir.whitelist.jsonl import operation_from_json
from eir.whitelist.rebuild import Writer, empty_rows
from eir.whitelist.rows import Op, Rows

NOW = 1_767_225_600


def run(*words, **environment):
    return CliRunner().invoke(main, [str(word) for word in words], env=environment)


@pytest.fixture(autouse=True)
def unsettled(monkeypatch):
    """`serve` is run in the process of the tests: its memory stays as it is."""
    monkeypatch.setattr("eir.heap.settle", lambda: None)


def registering(*keys):
    return Rows(op=np.full(len(keys), Op.REGISTER, np.uint8), imei=np.array(keys, np.uint64))


@pytest.fixture
def data_dir(tmp_path):
    """A data directory with two deltas of two feeds, an audit row, and segments."""
    journal = Journal.open(tmp_path / "registry.db")
    for serial, feed in ((1, "hamta"), (2, "manual")):
        token = journal.new_token()
        journal.append_chunk(token, 0, rows_to_blob(registering(35_693_803_564_380 + serial)))
        header = Header(feed=feed, sequence=serial, base_sequence=0, row_count=1, override_guards=serial == 2)
        journal.commit_delta(
            header, token, serial, content_sha256=b"\1" * 32, committed_at=NOW, counts={"registered": (1, 0)}
        )
    journal.audit_add(NOW, "me", "enforcement set to allow all", "a test")
    (tmp_path / "segments").mkdir()
    writer = Writer(tmp_path / "segments", FileLayer(), 2, ImsiBlocks(np.empty(0, np.uint64)))
    writer.shards(empty_rows(), 0, 99_999_999)
    writer.common({})
    records = [
        SegmentRecord(f.name, f.kind, f.first_tac, f.last_tac, f.serial, f.crc32c, f.bytes)
        for f in writer.written
    ]
    journal.swap_manifest(records, [])
    yield tmp_path
    journal.close()


def shard_file(data_dir: Path) -> Path:
    return next((data_dir / "segments").glob("shard-*.seg"))


def test_journal_show_prints_the_deltas_oldest_first(data_dir):
    result = run("journal", "show", "--data-dir", data_dir)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert re.match(r" +1  hamta +1 .*registered \+1", lines[1])
    assert lines[2].endswith("registered +1 (guards overridden)")


def test_journal_show_by_feed_and_limit(data_dir):
    shown = json.loads(run("journal", "show", "--data-dir", data_dir, "--feed", "hamta", "--json").stdout)
    assert [row["serial"] for row in shown] == [1]
    shown = json.loads(run("journal", "show", "--data-dir", data_dir, "--limit", "1", "--json").stdout)
    assert [row["serial"] for row in shown] == [2]
    assert shown[0]["content_sha256"] == "01" * 32
    assert shown[0]["effects"] == {"registered": [1, 0]}


def test_journal_show_prints_the_rows_of_a_delta_as_they_are_pushed(data_dir):
    result = run("journal", "show", "1", "--data-dir", data_dir)
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"kind": "REGISTER", "imei": "35693803564381"}
    ]
    assert operation_from_json(result.stdout, 1).imei == "35693803564381"


def test_journal_show_of_a_serial_that_is_not_there(data_dir):
    assert run("journal", "show", "9", "--data-dir", data_dir).exit_code == 3


def test_journal_verify_finds_it_in_order(data_dir):
    result = run("journal", "verify", "--data-dir", data_dir)
    assert result.exit_code == 0
    assert "in order up to serial 2" in result.stderr


def test_journal_verify_names_what_is_damaged(data_dir):
    journal = Journal.open(data_dir / "registry.db")
    journal._db.execute("UPDATE chunks SET rows = zeroblob(8) WHERE token = 1")
    journal.close()
    result = run("journal", "verify", "--data-dir", data_dir)
    assert result.exit_code == 3
    assert "delta 1" in result.stderr


def test_journal_audit(data_dir):
    result = run("journal", "audit", "--data-dir", data_dir)
    assert "me   enforcement set to allow all  a test" in result.stdout
    assert json.loads(run("journal", "audit", "--data-dir", data_dir, "--json").stdout)[0]["at"] == NOW


def test_reading_a_journal_changes_nothing(data_dir):
    before = (data_dir / "registry.db").read_bytes()
    run("journal", "verify", "--data-dir", data_dir)
    assert (data_dir / "registry.db").read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        ("journal", "show"),
        ("journal", "verify"),
        ("journal", "audit"),
        ("segments", "show"),
        ("segments", "verify"),
    ],
)
def test_a_directory_without_a_registry_is_named_and_not_made(tmp_path, words):
    missing = tmp_path / "none"
    result = run(*words, EIR_DATA_DIR=str(missing))
    assert result.exit_code == 1
    assert str(missing) in result.stderr
    assert not missing.exists()


def test_segments_show(data_dir):
    shown = json.loads(run("segments", "show", "--data-dir", data_dir, "--json").stdout)
    assert [(row["state"], row["kind"], row["serial"]) for row in shown] == [
        ("current", "common", 2),
        ("current", "shard", 2),
    ]
    assert "00000000-99999999" in run("segments", "show", "--data-dir", data_dir).stdout


def test_segments_verify_finds_them_in_order(data_dir):
    result = run("segments", "verify", "--data-dir", data_dir)
    assert result.exit_code == 0
    assert "2 segment files in order" in result.stderr


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "other"])
def test_segments_verify_names_what_is_damaged(data_dir, damage):
    path = shard_file(data_dir)
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
        content[64] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:-1])
    elif damage == "remove":
        path.unlink()
    else:  # whole, but of another serial
        writer = Writer(data_dir / "segments", FileLayer(), 7, ImsiBlocks(np.empty(0, np.uint64)))
        writer.shards(empty_rows(), 0, 99_999_999)
        (data_dir / "segments" / writer.written[0].name).rename(path)
    result = run("segments", "verify", "--data-dir", data_dir)
    assert result.exit_code == 3
    assert path.name in result.stderr


def test_segments_verify_looks_at_the_index_beside_a_shard(data_dir):
    next((data_dir / "segments").glob("*.imsi")).write_bytes(b"x")
    result = run("segments", "verify", "--data-dir", data_dir)
    assert result.exit_code == 3
    assert ".imsi" in result.stderr


def test_policy_of_the_package_is_in_order_and_printed():
    assert "→ denied" in run("policy", "explain").stdout
    rows = json.loads(run("policy", "table", "--json").stdout)
    assert {"EMERGENCY", "UNDECIDED"} <= {row["reason"] for row in rows}
    assert "BLOCKED_STOLEN" in run("policy", "table").stdout


def test_policy_explain_with_facts_says_which_rule_fires():
    result = run("policy", "explain", "--fact", "own_block=stolen", "--fact", "imsi=432110000000001")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1].startswith("BLACKLISTED (BLOCKED_STOLEN)")
    shown = json.loads(run("policy", "explain", "--fact", "own_block=stolen", "--json").stdout)
    assert (shown["status"], shown["reason"], shown["steps"][-1]["fires"]) == (
        "BLACKLISTED",
        "BLOCKED_STOLEN",
        True,
    )


@pytest.mark.parametrize("fact", ["own_block", "height=3", "own_block=borrowed"])
def test_a_fact_that_is_none_is_a_usage_error(fact):
    assert run("policy", "explain", "--fact", fact).exit_code == 2


def test_the_rules_are_no_json():
    assert run("policy", "explain", "--json").exit_code == 2


def test_policy_check_names_what_is_wrong(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text('name = "x"\nhome_plmns = ["43211"]\nslot_rule = "some"\n')
    result = run("policy", "check", path)
    assert result.exit_code == 2
    assert f"{path}, line 3: slot_rule" in result.stderr
    path.write_bytes(b"\xff")
    assert run("policy", "check", path).exit_code == 2
    assert run("policy", "check", tmp_path / "none").exit_code == 2


def test_policy_check_of_a_good_file(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text('name = "x"\nhome_plmns = ["43211"]\n')
    result = run("policy", "check", path)
    assert result.exit_code == 0
    assert "policy x" in result.stderr
    assert run("policy", "explain", EIR_POLICY=str(path)).stdout.startswith("Policy x ")


def test_config_check_reads_the_file_the_environment_and_the_policy(tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text('name = "x"\nhome_plmns = ["43211"]\n')
    path = tmp_path / "eir.toml"
    path.write_text(f'policy = "{policy}"\n')
    result = run("config", "check", path)
    assert result.exit_code == 0
    assert "policy x" in result.stderr
    assert run("config", "check", path, EIR_NONSENSE="1").exit_code == 2
    policy.write_text("nonsense = 1\n")
    assert run("config", "check", path).exit_code == 2
    path.write_text("nonsense = 1\n")
    assert run("config", "check", path).exit_code == 2


def test_config_show_says_where_each_value_comes_from(tmp_path):
    path = tmp_path / "eir.toml"
    path.write_text('engine = "portable"\n')
    shown = json.loads(run("config", "show", path, "--json", EIR_DATA_DIR="/x").stdout)
    assert shown["engine"] == {"value": "portable", "from": f"file {path}"}
    assert shown["data_dir"] == {"value": "/x", "from": "environment EIR_DATA_DIR"}
    assert "check_listen" in run("config", "show").stdout


def test_serve_hands_its_options_to_the_daemon(monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr("eir.daemon.run", lambda config: given.append(config) or 0)
    result = run(
        "serve",
        "--data-dir",
        tmp_path,
        "--engine",
        "portable",
        "--check-listen",
        "0.0.0.0:1",
        "--insecure",
        EIR_MANAGE_LISTEN="127.0.0.1:2",
    )
    assert result.exit_code == 0, result.stderr
    (config,) = given
    assert (config.data_dir, config.engine, config.insecure) == (tmp_path, "portable", True)
    assert (config.check_listen, config.manage_listen) == ("0.0.0.0:1", "127.0.0.1:2")


@pytest.mark.parametrize("code", [0, 3, 5])
def test_serve_ends_with_the_code_of_the_daemon(monkeypatch, code):
    monkeypatch.setattr("eir.daemon.run", lambda config: code)
    assert run("serve").exit_code == code


def test_serve_refuses_what_it_cannot_use(monkeypatch):
    monkeypatch.setattr("eir.daemon.run", lambda config: pytest.fail("started"))
    assert run("serve", "--check-listen", "0.0.0.0:50051").exit_code == 2  # not loopback, not --insecure
    assert run("serve", "--engine", "steam").exit_code == 2
    assert run("serve", "--config", "/nonexistent/eir.toml").exit_code == 2
