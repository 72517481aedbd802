"""A demo registry: a seeded population as segments, and checks to try on it.

    name, size, seed ──► population ──► segments of a data directory
                              └──► examples ──► demo.json

The generator is that of the benchmarks (`bench/`), which is not installed: a demo
is made from a checkout of the repository.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from eir.clock import now_seconds
from eir.errors import FatalError
from eir.identity import imei_text, imsi_text, luhn_digit
from eir.whitelist.journal import Journal
from eir.whitelist.rows import BlockCause

if TYPE_CHECKING:
    from bench.population import Population, PopulationChunk

FILE: Final = "demo.json"
"""Beside registry.db: what the demo is made of, and what to try."""
POPULATION: Final = "P1"
_LOOK_ROWS: Final = 50_000
"""Registered IMEIs among which examples are looked for."""
_CODE_FIRST: Final = 1_432_000_000_000_000
_CODE_LAST: Final = 1_432_999_999_999_999
"""Codes of the fifteen-digit IMSIs of MCC 432."""


class DemoError(FatalError):
    """The demo cannot be made."""

    reason = "DEMO"


@dataclass(frozen=True)
class Example:
    """A check to try: what is asked, with which identities."""

    what: str
    imei: str
    imsi: str


@dataclass(frozen=True)
class DemoSummary:
    """A demo; `delta` is an operation as a JSON line that pairs the last example."""

    made: bool
    registered: int
    seed: int
    examples: tuple[Example, ...]
    delta: str


def make_demo(
    data_dir: Path, registered: int, seed: int, progress: Callable[[int], None] = lambda _: None
) -> DemoSummary | None:
    """Make the demo in an empty directory, or tell of the one that is there.

    None where the directory holds a registry that is no demo; it is left as it
    is. `progress` is told the rows written. Raises DemoError outside of a
    checkout, DataDirLockedError, StorageError.
    """
    about = data_dir / FILE
    if _holds_registry(data_dir):
        return _read(about) if about.exists() else None
    population, load = _population(registered, seed)
    summary = _summary(population, registered, seed)
    data_dir.mkdir(parents=True, exist_ok=True)
    # First the description, then the registry, which comes whole or not at all.
    about.write_text(json.dumps(asdict(summary), indent=2) + "\n", "utf-8")
    load(population, data_dir, now=now_seconds(), progress=progress)
    return summary


def _holds_registry(data_dir: Path) -> bool:
    path = data_dir / "registry.db"
    if not path.exists() or not path.stat().st_size:
        return False
    journal = Journal.open(path, read_only=True)
    try:
        return bool(journal.manifest().current or journal.last_serial())
    finally:
        journal.close()


def _read(about: Path) -> DemoSummary:
    try:
        values: dict[str, Any] = json.loads(about.read_text("utf-8"))
        examples = tuple(Example(**example) for example in values.pop("examples"))
        return DemoSummary(**values | {"made": False, "examples": examples})
    except (ValueError, TypeError, KeyError) as error:
        raise DemoError(
            f"{about} cannot be read ({error}); remove the directory to make the demo anew"
        ) from error


def _population(registered: int, seed: int) -> tuple[Population, Callable[..., None]]:
    root = str(Path(__file__).resolve().parents[1])
    if root not in sys.path:
        sys.path.append(root)
    try:
        from bench.load import load
        from bench.population import Population
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("bench"):
            raise
        raise DemoError(
            "the demo is made from a checkout of the repository: bench/ is not installed"
        ) from None
    return Population(POPULATION, registered, seed), load


def _summary(population: Population, registered: int, seed: int) -> DemoSummary:
    """Find examples of the common verdicts."""
    owned: list[tuple[int, int]] = []
    idle: list[int] = []
    stolen: list[int] = []
    for chunk in population.chunks(_LOOK_ROWS):
        owned += _owned(chunk)
        idle += chunk.key[np.flatnonzero(_alone(chunk) & (chunk.owner == 0))[:1]].tolist()
        stolen += _stolen(chunk)
        if len(owned) > 1 and idle and stolen:
            break
    else:
        raise DemoError(f"no examples among {registered} registered IMEIs; make a larger demo")
    (phone, owner), (_, stranger) = ((key, imsi_text(code)) for key, code in owned[:2])
    # A SIM of the home network that no population uses.
    fresh = f"43211{seed % 10**4:04d}000001"
    examples = (
        Example("the owner's SIM", _imei(phone), owner),
        Example("the same phone with another SIM", _imei(phone), stranger),
        Example("a stolen phone", _imei(stolen[0]), stranger),
        Example("a phone that is not registered", _imei(_unregistered(population)), stranger),
        Example("a phone that was never activated", _imei(idle[0]), fresh),
    )
    delta = {"kind": "PAIR", "imei": imei_text(idle[0]), "imsi": fresh}
    return DemoSummary(True, registered, seed, examples, json.dumps(delta))


def _alone(chunk: PopulationChunk) -> npt.NDArray[np.bool_]:
    """Tell which IMEIs have nothing but an owner or none, so that an example shows one thing."""
    more = (chunk.blocks.key, chunk.exempt.key, chunk.grandfathered.key, chunk.utilizers.key, chunk.links.key)
    return ~np.isin(chunk.key, np.concatenate(more))


def _owned(chunk: PopulationChunk) -> list[tuple[int, int]]:
    """Return two IMEIs with their owners, subscribers of the home network."""
    home = (chunk.owner >= np.uint64(_CODE_FIRST)) & (chunk.owner <= np.uint64(_CODE_LAST))
    rows = np.flatnonzero(_alone(chunk) & home)[:2]
    return list(zip(chunk.key[rows].tolist(), chunk.owner[rows].tolist(), strict=True))


def _stolen(chunk: PopulationChunk) -> list[int]:
    blocks = chunk.blocks
    stolen = (blocks.cause == BlockCause.STOLEN) & ~np.isin(blocks.key, chunk.exempt.key)
    found: list[int] = blocks.key[np.flatnonzero(stolen)[:1]].tolist()
    return found


def _imei(key: int) -> str:
    """Return the 15 digits that a phone shows."""
    return f"{imei_text(key)}{luhn_digit(key)}"


def _unregistered(population: Population) -> int:
    from bench.population import CheckClass

    sample = population.sample_checks(1_000, seed=1)
    return int(sample.imei[np.flatnonzero(sample.expected == CheckClass.UNREGISTERED)[0]])
