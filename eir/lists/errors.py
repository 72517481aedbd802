"""What refuses or hinders the import of a list; reasons are stable, and in docs/lists.md. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from eir.errors import CorruptError, RejectedError, UnavailableError
from eir.whitelist.delta import BadRow, TableEffect


class ListError(RejectedError):
    """The file cannot be read as a list."""

    reason = "LIST_UNREADABLE"


class ListTooLargeError(RejectedError):
    """The list is larger than the limits admit."""

    reason = "LIST_TOO_LARGE"


class ListRefusedError(RejectedError):
    """The list has rows that cannot be."""

    reason = "LIST_REFUSED"


class ListGuardError(RejectedError):
    """The list has become too short for it to be believed."""

    reason = "LIST_GUARD"


class PushRefusedError(RejectedError):
    """The store refuses the delta; `store_reason` says why."""

    reason = "DELTA_REFUSED"

    def __init__(
        self,
        store_reason: str,
        message: str,
        bad_rows: Sequence[BadRow] = (),
        bad_row_count: int = 0,
        effects: Sequence[TableEffect] = (),
    ) -> None:
        """Take the store's reason and its report."""
        super().__init__(message)
        self.store_reason, self.bad_row_count = store_reason, bad_row_count
        self.bad_rows, self.effects = tuple(bad_rows), tuple(effects)


class ShelfDamagedError(CorruptError):
    """A file of the shelf is damaged."""

    reason = "SHELF_DAMAGED"


class ImportRunningError(UnavailableError):
    """Another import uses the data directory."""

    reason = "IMPORT_RUNNING"
