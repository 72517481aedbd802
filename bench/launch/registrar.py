"""The registry and the operators of a launch: what they hold at the start, and what they send.

people ──► rows ──► deltas ──► store; the model's registry is told the same
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.deltas import CONTENT, slices
from eir.proto import sync_pb2
from eir.whitelist.delta import Header
from eir.whitelist.operation import Operation, message
from eir.whitelist.rows import ExemptCause, Op, Role, Rows
from eir.whitelist.store import Store

from .facts import Registry
from .people import PLACEHOLDER, Kind, People, Remedy


def batched(rows: Iterable[Any], most: int) -> Iterator[Sequence[Any]]:
    """Cut rows into parts of at most so many."""
    given = list(rows)
    for at in range(0, len(given), most):
        yield given[at : at + most]


@dataclass
class Registrar:
    """Sends deltas to the store that is open."""

    people: People
    registry: Registry
    """The model's."""
    keys: list[int]
    sims: list[int]
    numbers: dict[int, int]
    """MSISDNs by SIM; 0: not known."""
    now: Callable[[], int]
    store: Store = field(init=False)

    def load(self) -> None:
        """Load the registry of the first day."""
        people, registry = self.people, self.registry
        of = people.of
        paired, moved, second = of(Kind.PAIRED), of(Kind.MOVED), of(Kind.SECOND_SLOT)
        sims = people.sims
        registered = [people.keys[paired], people.keys[moved], people.keys[second], people.keys[of(Kind.NEW)]]
        registered.append(people.keys[people.pair_kind == Kind.SHOP])
        everywhere = np.unique(np.concatenate(registered))
        owned = np.concatenate((people.keys[paired], people.keys[moved]))
        owners = np.concatenate((sims[paired], people.sim_of(moved + 10**10)))
        self._rows("registry", Op.REGISTER, imei=everywhere)
        self._rows("registry", Op.PAIR, cause=Role.OWNER, imei=owned, imsi=owners)
        self._rows("registry", Op.LINK, imei=people.keys[second] - 1, imei_other=people.keys[second])
        self._rows("registry", Op.GRANDFATHER, imei=people.keys[of(Kind.GRANDFATHERED)])
        exempt = np.array(list(people.exempt_until), np.int64)
        until = np.array(list(people.exempt_until.values()), np.int64)
        self._rows("registry", Op.EXEMPT, cause=ExemptCause.TRAVELLER, imei=people.keys[exempt], time=until)
        known = np.array(sorted((sim, number) for sim, number in self.numbers.items() if number), np.int64)
        languages = known[:, 0] % 5 // 4 + 1
        self._rows("numbers", Op.SUBSCRIBER, imsi=known[:, 0], time=known[:, 1], name=languages)
        registry.registered = set(everywhere.tolist())
        registry.owner = dict(zip(owned.tolist(), owners.tolist(), strict=True))
        for key in people.keys[second].tolist():
            registry.twin[key], registry.twin[key - 1] = key - 1, key
        registry.in_use_before = set(people.keys[of(Kind.GRANDFATHERED)].tolist())
        registry.exempt_until = dict(zip(people.keys[exempt].tolist(), until.tolist(), strict=True))
        registry.placeholders = {PLACEHOLDER}
        self.store.rebuild()

    def _rows(self, feed: str, op: Op, *, cause: int = 0, **columns: Any) -> None:
        """Apply rows of one kind, as columns."""
        store = self.store
        count = len(next(iter(columns.values())))
        if not count:
            return
        position = store.position(feed)
        header = Header(feed, position + 1, position, count, complete_until=self.now(), override_guards=True)
        pending = store.push(header)
        for part in slices(count):
            length = part.stop - part.start
            given: dict[str, Any] = {
                name: column[part].astype(np.uint16 if name == "name" else np.uint64)
                for name, column in columns.items()
            }
            if cause:
                given["cause"] = np.full(length, cause, np.uint8)
            if "name" in columns:
                given["names"] = ["", "fa", "en"]
            pending.take(Rows(np.full(length, op, np.uint8), **given), [])
        pending.apply(CONTENT)

    def push(self, feed: str, rows: Sequence[Operation], **header: Any) -> None:
        """Send operations as a feed does."""
        store = self.store
        position = store.position(feed)
        pending = store.push(Header(feed, position + 1, position, len(rows), **header))
        digest = hashlib.sha256()

        for index, part in enumerate(batched(rows, 10_000) if rows else [()]):
            payload = sync_pb2.DeltaRows(operations=map(message, part)).SerializeToString()
            digest.update(payload)
            pending.chunk(index, payload)
        pending.commit(digest.digest())

    def number(self, pair: int) -> list[Operation]:
        """Return the rows of a number that becomes known."""
        sim = self.sims[pair]
        self.numbers[sim] = 1_989_000_000_000 + pair
        return [Operation(Op.SUBSCRIBER, imsi=sim, time=self.numbers[sim], name="fa")]

    def remedy(self, pair: int, what: Remedy) -> list[Operation]:
        """Rows of a remedy; the model's registry is told the same."""
        key, sim, registry = self.keys[pair], self.sims[pair], self.registry
        match what:
            case Remedy.DECLARED:
                # The owner of the other slot becomes this one's, and declares the SIM.
                host = registry.owner.get(registry.twin[key])
                if host is None:  # un-paired by the bad delta
                    return []
                registry.utilizers[key].add(sim)
                registry.owner[key] = host
                return [
                    Operation(Op.PAIR, key, imsi=host, cause=Role.OWNER),
                    Operation(Op.PAIR, key, imsi=sim, cause=Role.UTILIZER),
                ]
            case Remedy.EXEMPTED:
                registry.exempt_until[key] = self.people.end * 2
                row = Operation(Op.EXEMPT, key, time=self.people.end * 2, cause=ExemptCause.TRAVELLER)
                return [row]
            case Remedy.TRANSFERRED:
                former = registry.owner[key]
                registry.owner[key] = sim
                return [Operation(Op.PAIR, key, imsi=sim, former_imsi=former, cause=Role.OWNER)]
        registry.owner[key] = sim
        pair_row = Operation(Op.PAIR, key, imsi=sim, cause=Role.OWNER)
        if key in registry.registered:
            return [pair_row]
        registry.registered.add(key)
        return [Operation(Op.REGISTER, key), pair_row]
