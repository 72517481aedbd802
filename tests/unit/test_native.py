"""Whether the native engine is here, and is the one of these sources."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from eir import build_id, native
from eir.errors import EngineUnavailableError

ROOT = Path(__file__).parents[2]


def built(monkeypatch: pytest.MonkeyPatch, identity: str | None) -> None:
    """Put an engine of this build id in place, or none."""
    core = None
    if identity is not None:
        core = ModuleType("eir._core")
        core.BUILD_ID = identity
    monkeypatch.setitem(sys.modules, "eir._core", core)


def test_the_engine_of_these_sources_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    built(monkeypatch, build_id.expected())
    assert build_id.of_sources(ROOT) == native.load().BUILD_ID


def test_an_engine_of_other_sources_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    built(monkeypatch, "0.0.1+old")
    with pytest.raises(EngineUnavailableError, match=r"other sources.*0\.0\.1\+old.*make native"):
        native.load()


def test_no_engine_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    built(monkeypatch, None)
    with pytest.raises(EngineUnavailableError, match=r"not built; build it with `make native`"):
        native.load()


@pytest.mark.parametrize(("cargo", "code"), [("/usr/bin/cargo", 1), (None, 0)])
def test_setup_fails_only_where_cargo_could_build(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cargo: str | None, code: int
) -> None:
    built(monkeypatch, None)
    monkeypatch.setattr("shutil.which", lambda _: cargo)
    assert native.main() == code
    assert capsys.readouterr().out.startswith("engine: portable; the native engine is not built")


def test_any_change_of_the_sources_is_another_build(tmp_path: Path) -> None:
    (tmp_path / "eir").mkdir()
    (tmp_path / "eir" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    (tmp_path / "core" / "src").mkdir(parents=True)
    for name in ("Cargo.toml", "Cargo.lock", "src/lib.rs"):
        (tmp_path / "core" / name).write_text("text")
    before = build_id.of_sources(tmp_path)
    assert before.startswith("1.2.3+")
    (tmp_path / "core" / "src" / "lib.rs").write_text("other")
    assert build_id.of_sources(tmp_path) != before
