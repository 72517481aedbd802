"""The native engine, eir._core: whether it is here, and what it reads.

    generation, policy, override, stale, cases ──publish──► eir._core: one pointer swap ──► any thread

The engine reads the memory of segments, overlays and the case table in place.
What was published is freed when no reader holds it; until then it is never
written to again, but for the words of the case table (docs/case-table.md).
"""

from __future__ import annotations

import importlib
import shutil
import sys
import threading
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from eir import build_id
from eir.check import U8, Checker, Published, Verdict
from eir.errors import EngineUnavailableError
from eir.notify.case_table import CaseTable
from eir.policy import Policy
from eir.whitelist.hashtable import HashTable, Ragged
from eir.whitelist.order import Sorter
from eir.whitelist.overlay import Overlay
from eir.whitelist.rows import U64
from eir.whitelist.shard import Shard
from eir.whitelist.shard_find import Finders
from eir.whitelist.tables import Common, Generation

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


def _bytes(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Bytes of an array, in place."""
    return array.reshape(-1).view(np.uint8)


def _tables(tables: Sequence[HashTable]) -> list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]:
    return [(_bytes(table.slots), _bytes(table.words)) for table in tables]


class NativeFinder:
    """Finds many keys in a shard, as `shard_find.Finder` does; other threads run meanwhile."""

    def __init__(self, core: ModuleType, shard: Shard) -> None:
        """Take the engine and a shard, whose memory is read in place."""
        self._shard = core.Shard(shard.segment.image)
        self._blocks = _bytes(shard.blocks.blocks)

    def find(self, keys: U64) -> tuple[U64, Ragged]:
        """Heads (0: absent) and words of many keys, in any order."""
        columns = self._shard.find_many(_bytes(np.ascontiguousarray(keys)), self._blocks)
        heads, ends, words = (np.frombuffer(column, np.uint64) for column in columns)
        first = np.zeros(len(keys) + 1, np.int64)
        first[1:] = ends
        return heads, Ragged(first, words)


def help_writer() -> None:
    """Let the writer and batches find their keys, and sort, by the engine. Raises EngineUnavailableError."""
    core = load()
    Finders.use(lambda shard: NativeFinder(core, shard))
    # Numpy's own takes four times as long on processors where it compresses vectors into memory (Zen 4).
    Sorter.use(lambda numbers: core.sort(_bytes(numbers)))


class NativeChecker:
    """Answers checks as `Checker` does, and publishes to the engine what its threads answer from.

    `publish` is called at each new generation; setting the policy, the override
    or staleness publishes too. Any thread may do either.
    """

    def __init__(
        self, store: Published, policy: Policy, clock: Callable[[], int], engine: Any = None
    ) -> None:
        """Take where the tables are, the policy, the clock, and an engine where one serves already.

        Raises EngineUnavailableError.
        """
        self._core = load()
        self.engine = engine or self._core.Engine()
        self._store, self._clock = store, clock
        self._policy, self._override, self._stale = policy, False, False
        self.policy_hashes: list[str] = []
        """Of all policies since the start, by the number that the engine knows them by."""
        self._native_policy = self._compiled(policy)
        self._held: dict[int, tuple[object, object]] = {}
        self._cases: object = None
        self._lock = threading.Lock()
        self.generation = store.generation
        """What the engine has: a moment later than the store."""
        self.publish()

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        compiled = self._compiled(policy)
        with self._lock:
            self._policy, self._native_policy = policy, compiled
            self._publish()

    @property
    def override(self) -> bool:
        """Whether every check is allowed."""
        return self._override

    @override.setter
    def override(self, override: bool) -> None:
        with self._lock:
            self._override = override
            self._publish()

    @property
    def stale(self) -> bool:
        """Whether the tables are stale."""
        return self._stale

    @stale.setter
    def stale(self, stale: bool) -> None:
        with self._lock:
            changed, self._stale = stale != self._stale, stale
            if changed:
                self._publish()

    def publish(self) -> None:
        """Let checks read the generation that the store has now."""
        with self._lock:
            self._publish()

    def publish_cases(self, cases: CaseTable | None) -> None:
        """Let checks find cases in a table: at each change of its slots to others, not at each case."""
        native = None if cases is None else self._core.CaseTable(_bytes(cases.slots), cases.bits)
        with self._lock:
            self._cases = native
            self._publish()

    def free_retired(self) -> int:
        """Free what no reader holds any more; returns how many publications are still held."""
        return int(self.engine.free_retired())

    def check(self, imei: str, imsi: str, serving_plmn: str, emergency: bool) -> Verdict:
        """Judge one identity. Never raises for what a phone sent."""
        return Verdict(*self.engine.check(imei, imsi, serving_plmn, emergency, self._clock()))

    def check_batch(self, imeis: Sequence[str], imsis: Sequence[str], serving_plmn: str) -> list[Verdict]:
        """Judge many identities by one table state; `imsis` is empty or as long as `imeis`."""
        given = list(imsis) or [""] * len(imeis)
        verdicts = self.engine.check_batch(list(imeis), given, serving_plmn, self._clock())
        return [Verdict(*verdict) for verdict in verdicts]

    def judge_pairs(self, keys: U64, imsis: U64, now: int) -> tuple[U8, U8, U64]:
        """Judge pairs at home as `Checker` does; other threads run meanwhile."""
        given = (_bytes(np.ascontiguousarray(column, np.uint64)) for column in (keys, imsis))
        reasons, outcomes, ends = self.engine.judge_pairs(*given, now)
        return (
            np.frombuffer(reasons, np.uint8),
            np.frombuffer(outcomes, np.uint8),
            np.frombuffer(ends, np.uint64),
        )

    def _compiled(self, policy: Policy) -> object:
        maps = [(client, bytes(statuses)) for client, statuses in policy.status_maps.items()]
        number = len(self.policy_hashes)
        self.policy_hashes.append(policy.hash)
        compiled: object = self._core.Policy(number, sorted(policy.placeholders), policy.stretches, maps)
        return compiled

    def _publish(self) -> None:
        generation = self._store.generation
        held: dict[int, tuple[object, object]] = {}

        def native(part: Overlay | Shard | Common, make: Callable[[], object]) -> object:
            """Return what the engine has of a part; each is handed over once."""
            known = self._held.get(id(part))
            held[id(part)] = known or (part, make())  # the part is held, so that its id stays its own
            return held[id(part)][1]

        core, common = self._core, generation.common
        exempt = self._policy.stretches[0].device_types
        self.engine.publish(
            serial=generation.serial,
            levels=[native(x, lambda x=x: core.Overlay(_tables(x.tables))) for x in generation.levels],  # type: ignore[misc]
            shards=[native(x, lambda x=x: core.Shard(x.segment.image)) for x in generation.shards],  # type: ignore[misc]
            common=native(common, lambda: core.Common(_tables(common.tables), _bytes(common.blocks.blocks))),
            policy=self._native_policy,
            exempt_types=[name.lower() in exempt for name in self._store.device_types] if exempt else [],
            allow_all=self._override,
            stale=self._stale,
            cases=self._cases,
        )
        self._held, self.generation = held, generation


class PublishingChecker(Checker):
    """The checker in Python of a daemon whose checks the engine answers.

    Inquiries and trials ask it; the policy, the override, staleness and the cases
    that it is told are the engine's at once.
    """

    def __init__(self, store: Published, policy: Policy, clock: Callable[[], int], engine: Any) -> None:
        """Publish to an engine. Raises EngineUnavailableError."""
        self.native = NativeChecker(store, policy, clock, engine)
        self._cases: CaseTable | None = None
        super().__init__(store, policy, clock)

    @property
    def generation(self) -> Generation:
        """What the engine's checks are answered from now."""
        return self.native.generation

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.native.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self.native.policy = policy

    @property
    def override(self) -> bool:
        """Whether every check is allowed."""
        return self.native.override

    @override.setter
    def override(self, override: bool) -> None:
        self.native.override = override

    @property
    def stale(self) -> bool:
        """Whether the tables are stale."""
        return self.native.stale

    @stale.setter
    def stale(self, stale: bool) -> None:
        self.native.stale = stale

    @property
    def cases(self) -> CaseTable | None:
        """Where cases are found; None where none are kept."""
        return self._cases

    @cases.setter
    def cases(self, cases: CaseTable | None) -> None:
        self._cases = cases
        self.native.publish_cases(cases)

    def judge_pairs(self, keys: U64, imsis: U64, now: int) -> tuple[U8, U8, U64]:
        """Judge pairs at home, by the engine that answers the checks."""
        return self.native.judge_pairs(keys, imsis, now)

    def judge_at(self, imei: str, imsi: str, when: int) -> Verdict:
        """Judge one identity at home as it will be at a second, if the tables do not change."""
        return Verdict(*self.native.engine.check(imei, imsi, "", False, when))


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
