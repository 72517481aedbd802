"""Policies by hash: what was in force is kept, so that an old decision can be explained by it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from eir.decisions.log import FILE_MODE, FOLDER_MODE
from eir.policy import Policy

FOLDER: Final = "policies"
SUFFIX: Final = ".toml"


def keep_policy(data_dir: Path, policy: Policy, count_max: int) -> None:
    """Keep the text of a policy under its hash, and no more than so many. Raises OSError."""
    folder = data_dir / FOLDER
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    path = folder / f"{policy.hash}{SUFFIX}"
    if path.exists():
        os.utime(path)
    else:
        part = path.with_suffix(".part")
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
        with os.fdopen(file, "w", encoding="utf-8") as written:
            written.write(policy.text)
            written.flush()
            os.fsync(file)
        part.replace(path)
    kept = sorted(folder.glob(f"*{SUFFIX}"), key=lambda file: file.stat().st_mtime, reverse=True)
    for old in kept[count_max:]:
        if old != path:
            old.unlink(missing_ok=True)


def find_policy(data_dir: Path, beginning: str) -> tuple[str, str]:
    """Return hash and text of the policy whose hash begins so; empty where it is not kept. Raises OSError."""
    for path in sorted((data_dir / FOLDER).glob(f"{beginning}*{SUFFIX}")) if beginning else ():
        return path.stem, path.read_text("utf-8")
    return "", ""
