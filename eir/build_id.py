"""What the native engine is built from: the version, and a hash of its sources.

Used by setup.py too, before anything is installed: it imports nothing of eir.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path


def of_sources(root: Path) -> str:
    """Return the id of the sources of a source tree: version and the start of a SHA-256, in hex."""
    core, package = root / "core", (root / "eir" / "__init__.py").read_text(encoding="utf-8")
    version = re.search(r'__version__ = "(.+)"', package)
    assert version
    digest = hashlib.sha256()
    for path in sorted((core / "Cargo.toml", core / "Cargo.lock", *(core / "src").rglob("*.rs"))):
        digest.update(b"%s\0%d\0" % (path.relative_to(core).as_posix().encode(), path.stat().st_size))
        digest.update(path.read_bytes())
    return f"{version[1]}+{digest.hexdigest()[:16]}"


def expected() -> str:
    """Return the id that the engine beside this package must have; empty where it was not to be built."""
    package = Path(__file__).parent
    if (package.parent / "core" / "Cargo.toml").is_file():
        return of_sources(package.parent)
    noted = package / "core_build_id.txt"
    return noted.read_text(encoding="ascii") if noted.is_file() else ""
