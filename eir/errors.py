"""Errors, grouped by what the caller can do about them.

Rejected: the caller's fault, do not retry. Unavailable: retry later. Corrupt:
drop what is damaged and resync. Fatal: the process ends with `exit_code`.
Each class has a stable `reason`, never reused; its docstring is its default
message. `eir/interceptors.py` is the one place that maps them to gRPC status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eir.whitelist.delta import BadRow, TableEffect


class EirError(Exception):
    """Something went wrong."""

    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str = "", **details: object) -> None:
        """Take a message for people, and details for machines."""
        self.message = message or (type(self).__doc__ or "").splitlines()[0]
        self.details = {name: str(value) for name, value in details.items()}
        super().__init__(self.message)


class RejectedError(EirError):
    """The request is refused; sending it again will not help."""

    reason = "REJECTED"


class UnavailableError(EirError):
    """Not possible now; try again later."""

    reason = "UNAVAILABLE"
    retry_after_seconds: float = 1.0


class CorruptError(EirError):
    """Stored data is damaged."""

    reason = "CORRUPT"


class FatalError(EirError):
    """The daemon cannot go on."""

    reason = "FATAL"
    exit_code: ClassVar[int] = 1


class InvalidRequestError(RejectedError):
    """The message cannot be used."""

    reason = "INVALID_REQUEST"

    def __init__(self, field: str, message: str) -> None:
        """Name the field that cannot be used, and why."""
        super().__init__(f"{field}: {message}", field=field)
        self.field = field
        self.description = message


class PolicyError(RejectedError):
    """The policy cannot be used."""

    reason = "POLICY_INVALID"


class ConfigError(FatalError):
    """The configuration cannot be used."""

    reason = "CONFIG_INVALID"
    exit_code = 2


class DataDirLockedError(FatalError):
    """Another daemon uses this data directory."""

    reason = "DATA_DIR_LOCKED"
    exit_code = 3


class EngineUnavailableError(FatalError):
    """The engine asked for is not installed."""

    reason = "ENGINE_UNAVAILABLE"
    exit_code = 4


class StateDamagedError(FatalError):
    """Stored state is damaged and cannot be rebuilt from what is there."""

    reason = "STATE_DAMAGED"
    exit_code = 5


class SegmentDamagedError(CorruptError):
    """A segment file is damaged."""

    reason = "SEGMENT_DAMAGED"


class JournalDamagedError(CorruptError):
    """A journal row is damaged."""

    reason = "JOURNAL_DAMAGED"


class TrialRunningError(RejectedError):
    """Another policy is on trial."""

    reason = "TRIAL_RUNNING"


class DeltaInvalidError(RejectedError):
    """The delta's header or framing cannot be used."""

    reason = "DELTA_INVALID"


class DeltaHashMismatchError(RejectedError):
    """The rows received are not the rows the sender hashed."""

    reason = "DELTA_HASH_MISMATCH"


class DeltaRowCountMismatchError(RejectedError):
    """The delta holds another number of rows than its header says."""

    reason = "DELTA_ROW_COUNT_MISMATCH"


class DeltaGapError(RejectedError):
    """The delta does not build on where its feed stands."""

    reason = "DELTA_GAP"


class DeltaConflictError(RejectedError):
    """Another delta was applied under this sequence."""

    reason = "DELTA_CONFLICT"


class DeltaRowsRefusedError(RejectedError):
    """The delta has rows that cannot be applied."""

    reason = "DELTA_ROWS_REFUSED"

    def __init__(self, bad_rows: Sequence[BadRow], bad_row_count: int) -> None:
        """Take the first bad rows, and the number of all."""
        first = f": row {bad_rows[0].row}: {bad_rows[0].message}" if bad_rows else ""
        super().__init__(f"{bad_row_count} rows cannot be applied{first}", bad_row_count=bad_row_count)
        self.bad_rows = tuple(bad_rows)
        self.bad_row_count = bad_row_count


class DeltaGuardError(RejectedError):
    """The delta would remove or block more than the guards admit."""

    reason = "DELTA_GUARD"

    def __init__(self, message: str, effects: Sequence[TableEffect]) -> None:
        """Say which guard, and what the delta would have done."""
        super().__init__(message)
        self.effects = tuple(effects)


class DeltaTooLargeError(RejectedError):
    """The delta is larger than the limits admit."""

    reason = "DELTA_TOO_LARGE"


class FeedMessageError(RejectedError):
    """A message of a feed's stream cannot be used."""

    reason = "FEED_MESSAGE"

    def __init__(self, cause: str = "", message: str = "") -> None:
        """Name the cause, by which refusals are counted."""
        super().__init__(message, cause=cause)
        self.cause = cause


class CaseNotFoundError(RejectedError):
    """There is no such case."""

    reason = "CASE_NOT_FOUND"


class FeedStateError(RejectedError):
    """The feed is not in a state in which that can be done."""

    reason = "FEED_STATE"


class NotReadyError(UnavailableError):
    """The tables are not loaded yet."""

    reason = "NOT_READY"


class DrainingError(UnavailableError):
    """The daemon is shutting down."""

    reason = "DRAINING"


class WriterBusyError(UnavailableError):
    """Too many deltas are waiting to be applied."""

    reason = "WRITER_BUSY"


class StreamUnavailableError(UnavailableError):
    """The stream of a feed cannot be read now."""

    reason = "STREAM_UNAVAILABLE"


class InquiriesBusyError(UnavailableError):
    """Too many inquiries are waiting to be answered."""

    reason = "INQUIRIES_BUSY"


class CasesUnavailableError(UnavailableError):
    """The daemon keeps no cases now."""

    reason = "CASES_UNAVAILABLE"


class StorageError(UnavailableError):
    """The data directory cannot be written."""

    reason = "STORAGE_UNAVAILABLE"
