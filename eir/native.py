"""The native engine, eir._core: whether it is here, and is the one of these sources."""

from __future__ import annotations

import importlib
import shutil
import sys
from types import ModuleType
from typing import Final

from eir import build_id
from eir.errors import EngineUnavailableError

REBUILD: Final = "build it with `make native`, or install the package again with cargo on the PATH"


def load() -> ModuleType:
    """Return the module of the engine. Raises EngineUnavailableError, which says how to get it."""
    try:
        core = importlib.import_module("eir._core")
    except ModuleNotFoundError:
        raise EngineUnavailableError(f"the native engine is not built; {REBUILD}") from None
    except ImportError as error:
        raise EngineUnavailableError(f"the native engine cannot be loaded ({error}); {REBUILD}") from None
    wanted = build_id.expected()
    if wanted != core.BUILD_ID:
        raise EngineUnavailableError(
            f"the native engine was built from other sources ({core.BUILD_ID}, these are {wanted}); {REBUILD}"
        )
    return core


def main() -> int:
    """Say which engine there is; fail where cargo could build the native one and it is not usable."""
    try:
        print(f"engine: native, {load().BUILD_ID}")  # noqa: T201 - what this command is for
    except EngineUnavailableError as error:
        print(f"engine: portable; {error.message}")  # noqa: T201
        return 1 if shutil.which("cargo") else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
