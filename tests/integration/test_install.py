"""Installing a clean copy where cargo is missing: it works, runs portable, and says so once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WHAT = ("eir", "core", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md")


def without_cargo() -> str:
    """The PATH without the folders that have cargo."""
    folders = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if not shutil.which("cargo", path=folder))


def run(environment: dict[str, str], cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )


def test_without_cargo_it_installs_and_runs_portable(tmp_path: Path) -> None:
    copy, site = tmp_path / "copy", tmp_path / "site"
    copy.mkdir()
    ignored = shutil.ignore_patterns("*.so", "target", "__pycache__")
    for name in WHAT:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=ignored)
        else:
            shutil.copy(source, copy / name)
    environment = {**os.environ, "PATH": without_cargo()}
    pip = (
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-build-isolation",
    )
    installed = run(environment, tmp_path, *pip, "--target", str(site), str(copy))
    assert installed.returncode == 0, installed.stderr
    assert not list(site.rglob("*.so"))

    # An editable installation in this Python would lend the copy its own engine.
    (site / "sitecustomize.py").write_text(
        "import sys\nsys.meta_path[:] = [f for f in sys.meta_path if 'Editable' not in repr(f)]\n"
    )
    environment |= {"PYTHONPATH": str(site)}
    said = run(environment, tmp_path, "-m", "eir.native")
    assert said.returncode == 0, said.stderr
    assert said.stdout.count("engine: portable; the native engine is not built") == 1
    chosen = "from eir import daemon; print(daemon.__file__); print(daemon.choose_engine('auto'))"
    engine = run(environment, tmp_path, "-c", chosen)
    assert engine.stdout.startswith(str(site)), engine.stderr
    assert engine.stdout.endswith("\nportable\n")
    assert engine.stdout.count("engine: portable") == 1
    refused = run(environment, tmp_path, "-m", "eir", "serve", "--engine", "native", "--data-dir", "data")
    assert refused.returncode == 4, refused.stderr
