"""`eir demo`: made once, the same for the same seed, and never over something else."""

import sys

import pytest
from click.testing import CliRunner

from eir import demo
from eir.cli import main
from eir.demo import FILE, DemoError, make_demo
from eir.whitelist.journal import Journal

REGISTERED = 20_000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "data"
    return folder, make_demo(folder, REGISTERED, 3)


def test_the_same_seed_makes_the_same_demo(made, tmp_path):
    _, first = made
    assert first.made
    assert make_demo(tmp_path, REGISTERED, 3) == first
    assert make_demo(tmp_path / "other", REGISTERED, 4).examples != first.examples


@pytest.mark.parametrize(("registered", "seed"), [(20_000, 1), (50_000, 2), (1_000_000, 1), (1_000_000, 5)])
def test_examples_are_found_at_every_size(registered, seed):
    population, _ = demo._population(registered, seed)
    assert len(demo._summary(population, registered, seed).examples) == 5


def test_examples_are_each_of_their_own_kind(made):
    owner, other, stolen, unregistered, idle = made[1].examples
    assert owner.imei == other.imei
    assert owner.imsi != other.imsi
    assert len({owner.imei, stolen.imei, unregistered.imei, idle.imei}) == 4
    assert idle.imei[:14] in made[1].delta


def test_what_is_there_is_told_and_not_made_again(made):
    folder, first = made
    told = make_demo(folder, 99, 99)
    assert not told.made
    assert (told.registered, told.seed, told.examples) == (REGISTERED, 3, first.examples)


def test_an_interrupted_demo_is_made_again(tmp_path):
    (tmp_path / FILE).write_text("half")
    (tmp_path / "segments").mkdir()
    (tmp_path / "segments" / "shard-00000000-000000000001.seg").write_bytes(b"half")
    Journal.open(tmp_path / "registry.db").close()
    assert make_demo(tmp_path, REGISTERED, 3).made


def test_a_description_that_cannot_be_read_is_named(made, tmp_path):
    folder, _ = made
    kept = (folder / FILE).read_text()
    (folder / FILE).write_text("{}")
    try:
        with pytest.raises(DemoError, match=FILE):
            make_demo(folder, REGISTERED, 3)
    finally:
        (folder / FILE).write_text(kept)


def test_without_the_repository_the_message_says_so(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "bench", None)
    monkeypatch.delitem(sys.modules, "bench.load", raising=False)
    monkeypatch.delitem(sys.modules, "bench.population", raising=False)
    result = CliRunner().invoke(main, ["demo", "--data-dir", str(tmp_path / "data")])
    assert result.exit_code == 1
    assert "checkout of the repository" in result.stderr
    assert not (tmp_path / "data").exists()


def test_the_command_prints_what_to_try(made):
    folder, first = made
    words = ["demo", "--data-dir", str(folder), "--registered", str(REGISTERED), "--seed", "3"]
    result = CliRunner(env={"EIR_HTTP_LISTEN": "127.0.0.1:9999"}).invoke(main, words)
    assert result.exit_code == 0
    for example in first.examples:
        assert f"check {example.imei} {example.imsi}" in result.stdout
    assert first.delta in result.stdout
    assert "http://127.0.0.1:9999/metrics" in result.stdout
    assert result.stderr == ""
