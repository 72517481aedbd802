"""Builds the native engine, eir._core, where cargo is there; installs without it where it is not."""

import os
import runpy
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools_rust import Binding, RustExtension

ROOT = Path(__file__).parent
BUILD_ID = runpy.run_path(str(ROOT / "eir" / "build_id.py"))["of_sources"](ROOT)


class BuildPy(build_py):
    """Notes in the package what its engine must have been built from."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            Path(self.build_lib, "eir", "core_build_id.txt").write_text(BUILD_ID, encoding="ascii")


def extensions() -> list[RustExtension]:
    """Return the engine, always optimised; a build that fails leaves the portable engine."""
    if not shutil.which("cargo"):
        print("cargo is not installed: the native engine is not built, checks run on the portable one")
        return []
    os.environ["EIR_CORE_BUILD_ID"] = BUILD_ID
    return [
        RustExtension(
            "eir._core",
            path="core/Cargo.toml",
            binding=Binding.PyO3,
            features=["python"],
            py_limited_api=True,
            args=["--locked"],
            debug=False,
            optional=True,
        )
    ]


setup(
    rust_extensions=extensions(),
    cmdclass={"build_py": BuildPy},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if shutil.which("cargo") else {},
)
