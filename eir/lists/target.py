"""A data directory that no daemon uses: lists go into its store, opened here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from eir.errors import DeltaGuardError, DeltaRowsRefusedError, RejectedError
from eir.lists.change import Change
from eir.lists.errors import PushRefusedError
from eir.whitelist.delta import Applied, Header
from eir.whitelist.journal import NameKind
from eir.whitelist.store import Store
from eir.whitelist.subscribers import SubscriberRows
from eir.whitelist.view import View


class StoreTarget:
    """A store that this process has to itself."""

    counts_refusals = False

    def __init__(self, store: Store, show_pushed: Callable[[int, int], None]) -> None:
        """Take an open store; `show_pushed` is told rows durable, and of how many."""
        self._store, self._show_pushed = store, show_pushed

    def view(self) -> View:
        """Return the tables as they are."""
        store = self._store
        feeds = tuple(store.feeds())
        return View(
            store.generation,
            feeds,
            tuple(store.authorities),
            tuple(store.journal.names(NameKind.DEVICE_TYPE)),
            dict(store.counts),
        )

    def subscribers(self) -> Iterator[SubscriberRows]:
        """Iterate over all subscribers, by IMSI code."""
        return self._store.journal.all_subscribers()

    def reference(self, feed: str, sequence: int) -> str:
        """Return the reference of a delta; empty where there is none."""
        record = self._store.journal.find_delta(feed, sequence)
        return record.reference if record else ""

    def push(self, header: Header, change: Change) -> Applied:
        """Apply a delta. Raises PushRefusedError, StorageError."""
        with _refusals():
            pending = self._store.push(header)
            try:
                digest, done = hashlib.sha256(), 0
                for index, (payload, row_count) in enumerate(change.payloads()):
                    digest.update(payload)
                    pending.chunk(index, payload)
                    done += row_count
                    self._show_pushed(done, header.row_count)
                return pending.commit(digest.digest())
            except BaseException:
                pending.abort()
                raise

    def fold(self) -> bool:
        """Fold what came into segments where there is much of it, so that the next start is short."""
        if not self._store.rebuild_needed():
            return False
        self._store.rebuild()
        return True


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what the store refuses into a PushRefusedError."""
    try:
        yield
    except DeltaRowsRefusedError as error:
        raise PushRefusedError(error.reason, error.message, error.bad_rows, error.bad_row_count) from error
    except DeltaGuardError as error:
        raise PushRefusedError(error.reason, error.message, effects=error.effects) from error
    except RejectedError as error:
        raise PushRefusedError(error.reason, error.message) from error
