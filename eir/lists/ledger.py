"""What came of imports, in a file beside the shelf: a daemon's metrics tell of them.

    import ──note──► imports.json ──read──► daemon, whether it ran then or not

Counts only grow. It is a help, no record: what was applied is in the journal.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

FILE: Final = "imports.json"
FEEDS_MAX: Final = 256
"""Feeds that are told apart; of others nothing is noted."""
OUTCOMES: Final = ("applied", "unchanged", "repeat", "refused")


@dataclass
class Noted:
    """Imports of one feed: how many had each outcome, refusals by cause, and the last one taken."""

    outcomes: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    taken_at: int = 0
    rows: int = 0
    seconds: float = 0.0


class Result(NamedTuple):
    """What came of one import: one of OUTCOMES, when, rows of the file, how long it took.

    `cause` is the reason of a refusal, empty where it is counted elsewhere.
    """

    outcome: str
    at: int
    rows: int = 0
    seconds: float = 0.0
    cause: str = ""


def path_of(data_dir: Path) -> Path:
    """Return the file of a data directory."""
    return data_dir / "lists" / FILE


def read(data_dir: Path) -> dict[str, Noted]:
    """Return what was noted, by feed; a file that cannot be read counts as none."""
    try:
        given = json.loads(path_of(data_dir).read_text("utf-8"))
        return {
            str(feed): Noted(
                {str(name): int(count) for name, count in one["outcomes"].items()},
                {str(name): int(count) for name, count in one["refusals"].items()},
                int(one["taken_at"]),
                int(one["rows"]),
                float(one["seconds"]),
            )
            for feed, one in given.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def note(data_dir: Path, feed: str, result: Result) -> None:
    """Note what came of an import. The caller holds the shelf. What cannot be written is not noted."""
    noted = read(data_dir)
    if feed not in noted and len(noted) >= FEEDS_MAX:
        return
    one = noted.setdefault(feed, Noted())
    one.outcomes[result.outcome] = one.outcomes.get(result.outcome, 0) + 1
    if result.cause:
        one.refusals[result.cause] = one.refusals.get(result.cause, 0) + 1
    if result.outcome != "refused":
        one.taken_at, one.rows, one.seconds = result.at, result.rows, round(result.seconds, 3)
    path = path_of(data_dir)
    following = path.with_suffix(".next")
    with suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        following.write_text(json.dumps({name: asdict(known) for name, known in noted.items()}))
        following.replace(path)
