"""The native engine with clocks around its checks: built apart, it takes the place of the installed one.

It is built with the feature `measure` into .build/measure.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from types import ModuleType

from bench.results import ROOT
from eir import build_id

TARGET = ROOT / ".build" / "measure"


def load() -> ModuleType | None:
    """Build and import it, before anything imports `eir._core`; None without cargo."""
    if shutil.which("cargo") is None:
        return None
    environment = {
        **os.environ,
        "EIR_CORE_BUILD_ID": build_id.of_sources(ROOT),
        "PYO3_BUILD_EXTENSION_MODULE": "1",
        "PYO3_PYTHON": sys.executable,
    }
    command = ["cargo", "build", "--quiet", "--release", "--locked", "--lib", "--features", "measure"]
    command += ["--manifest-path", "core/Cargo.toml", "--target-dir", str(TARGET)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    spec = importlib.util.spec_from_file_location("eir._core", TARGET / "release" / "libeir_core.so")
    if spec is None or spec.loader is None:
        raise RuntimeError(f"nothing was built in {TARGET}")
    core = importlib.util.module_from_spec(spec)
    sys.modules["eir._core"] = core
    spec.loader.exec_module(core)
    return core
