from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OperationKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OPERATION_KIND_UNSPECIFIED: _ClassVar[OperationKind]
    OPERATION_KIND_REGISTER: _ClassVar[OperationKind]
    OPERATION_KIND_DEREGISTER: _ClassVar[OperationKind]
    OPERATION_KIND_BLOCK: _ClassVar[OperationKind]
    OPERATION_KIND_UNBLOCK: _ClassVar[OperationKind]
    OPERATION_KIND_TRACK: _ClassVar[OperationKind]
    OPERATION_KIND_UNTRACK: _ClassVar[OperationKind]
    OPERATION_KIND_PAIR: _ClassVar[OperationKind]
    OPERATION_KIND_UNPAIR: _ClassVar[OperationKind]
    OPERATION_KIND_REPLACE_SIM: _ClassVar[OperationKind]
    OPERATION_KIND_EXEMPT: _ClassVar[OperationKind]
    OPERATION_KIND_UNEXEMPT: _ClassVar[OperationKind]
    OPERATION_KIND_GRANDFATHER: _ClassVar[OperationKind]
    OPERATION_KIND_UNGRANDFATHER: _ClassVar[OperationKind]
    OPERATION_KIND_LINK: _ClassVar[OperationKind]
    OPERATION_KIND_UNLINK: _ClassVar[OperationKind]
    OPERATION_KIND_SUBSCRIBER: _ClassVar[OperationKind]
    OPERATION_KIND_TAC: _ClassVar[OperationKind]

class PairRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PAIR_ROLE_UNSPECIFIED: _ClassVar[PairRole]
    PAIR_ROLE_OWNER: _ClassVar[PairRole]
    PAIR_ROLE_UTILIZER: _ClassVar[PairRole]

class BlockCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BLOCK_CAUSE_UNSPECIFIED: _ClassVar[BlockCause]
    BLOCK_CAUSE_STOLEN: _ClassVar[BlockCause]
    BLOCK_CAUSE_LOST: _ClassVar[BlockCause]
    BLOCK_CAUSE_CLONED: _ClassVar[BlockCause]
    BLOCK_CAUSE_BARRED: _ClassVar[BlockCause]

class ExemptCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXEMPT_CAUSE_UNSPECIFIED: _ClassVar[ExemptCause]
    EXEMPT_CAUSE_TRAVELLER: _ClassVar[ExemptCause]
    EXEMPT_CAUSE_REPAIR: _ClassVar[ExemptCause]
    EXEMPT_CAUSE_DIPLOMAT: _ClassVar[ExemptCause]
    EXEMPT_CAUSE_M2M: _ClassVar[ExemptCause]
    EXEMPT_CAUSE_COURT: _ClassVar[ExemptCause]
    EXEMPT_CAUSE_OTHER: _ClassVar[ExemptCause]

class FeedResolution(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FEED_RESOLUTION_UNSPECIFIED: _ClassVar[FeedResolution]
    FEED_RESOLUTION_ACCEPT: _ClassVar[FeedResolution]
    FEED_RESOLUTION_SKIP: _ClassVar[FeedResolution]
OPERATION_KIND_UNSPECIFIED: OperationKind
OPERATION_KIND_REGISTER: OperationKind
OPERATION_KIND_DEREGISTER: OperationKind
OPERATION_KIND_BLOCK: OperationKind
OPERATION_KIND_UNBLOCK: OperationKind
OPERATION_KIND_TRACK: OperationKind
OPERATION_KIND_UNTRACK: OperationKind
OPERATION_KIND_PAIR: OperationKind
OPERATION_KIND_UNPAIR: OperationKind
OPERATION_KIND_REPLACE_SIM: OperationKind
OPERATION_KIND_EXEMPT: OperationKind
OPERATION_KIND_UNEXEMPT: OperationKind
OPERATION_KIND_GRANDFATHER: OperationKind
OPERATION_KIND_UNGRANDFATHER: OperationKind
OPERATION_KIND_LINK: OperationKind
OPERATION_KIND_UNLINK: OperationKind
OPERATION_KIND_SUBSCRIBER: OperationKind
OPERATION_KIND_TAC: OperationKind
PAIR_ROLE_UNSPECIFIED: PairRole
PAIR_ROLE_OWNER: PairRole
PAIR_ROLE_UTILIZER: PairRole
BLOCK_CAUSE_UNSPECIFIED: BlockCause
BLOCK_CAUSE_STOLEN: BlockCause
BLOCK_CAUSE_LOST: BlockCause
BLOCK_CAUSE_CLONED: BlockCause
BLOCK_CAUSE_BARRED: BlockCause
EXEMPT_CAUSE_UNSPECIFIED: ExemptCause
EXEMPT_CAUSE_TRAVELLER: ExemptCause
EXEMPT_CAUSE_REPAIR: ExemptCause
EXEMPT_CAUSE_DIPLOMAT: ExemptCause
EXEMPT_CAUSE_M2M: ExemptCause
EXEMPT_CAUSE_COURT: ExemptCause
EXEMPT_CAUSE_OTHER: ExemptCause
FEED_RESOLUTION_UNSPECIFIED: FeedResolution
FEED_RESOLUTION_ACCEPT: FeedResolution
FEED_RESOLUTION_SKIP: FeedResolution

class PushDeltaRequest(_message.Message):
    __slots__ = ("header", "chunk", "commit")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    header: DeltaHeader
    chunk: DeltaChunk
    commit: DeltaCommit
    def __init__(self, header: _Optional[_Union[DeltaHeader, _Mapping]] = ..., chunk: _Optional[_Union[DeltaChunk, _Mapping]] = ..., commit: _Optional[_Union[DeltaCommit, _Mapping]] = ...) -> None: ...

class DeltaHeader(_message.Message):
    __slots__ = ("feed", "sequence", "base_sequence", "row_count", "complete_until", "reference", "dry_run", "override_guards")
    FEED_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    BASE_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_GUARDS_FIELD_NUMBER: _ClassVar[int]
    feed: str
    sequence: int
    base_sequence: int
    row_count: int
    complete_until: int
    reference: str
    dry_run: bool
    override_guards: bool
    def __init__(self, feed: _Optional[str] = ..., sequence: _Optional[int] = ..., base_sequence: _Optional[int] = ..., row_count: _Optional[int] = ..., complete_until: _Optional[int] = ..., reference: _Optional[str] = ..., dry_run: _Optional[bool] = ..., override_guards: _Optional[bool] = ...) -> None: ...

class DeltaChunk(_message.Message):
    __slots__ = ("index", "payload")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    index: int
    payload: bytes
    def __init__(self, index: _Optional[int] = ..., payload: _Optional[bytes] = ...) -> None: ...

class DeltaCommit(_message.Message):
    __slots__ = ("content_sha256",)
    CONTENT_SHA256_FIELD_NUMBER: _ClassVar[int]
    content_sha256: bytes
    def __init__(self, content_sha256: _Optional[bytes] = ...) -> None: ...

class DeltaRows(_message.Message):
    __slots__ = ("operations", "columns")
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    operations: _containers.RepeatedCompositeFieldContainer[Operation]
    columns: _containers.RepeatedCompositeFieldContainer[OperationColumns]
    def __init__(self, operations: _Optional[_Iterable[_Union[Operation, _Mapping]]] = ..., columns: _Optional[_Iterable[_Union[OperationColumns, _Mapping]]] = ...) -> None: ...

class Operation(_message.Message):
    __slots__ = ("kind", "imei", "imei_last", "imei_other", "imsi", "former_imsi", "role", "block_cause", "authority", "exempt_cause", "until", "in_use_since", "msisdn", "language", "tac", "device_type", "reference")
    KIND_FIELD_NUMBER: _ClassVar[int]
    IMEI_FIELD_NUMBER: _ClassVar[int]
    IMEI_LAST_FIELD_NUMBER: _ClassVar[int]
    IMEI_OTHER_FIELD_NUMBER: _ClassVar[int]
    IMSI_FIELD_NUMBER: _ClassVar[int]
    FORMER_IMSI_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_CAUSE_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    EXEMPT_CAUSE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    IN_USE_SINCE_FIELD_NUMBER: _ClassVar[int]
    MSISDN_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    TAC_FIELD_NUMBER: _ClassVar[int]
    DEVICE_TYPE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    kind: OperationKind
    imei: str
    imei_last: str
    imei_other: str
    imsi: str
    former_imsi: str
    role: PairRole
    block_cause: BlockCause
    authority: str
    exempt_cause: ExemptCause
    until: int
    in_use_since: int
    msisdn: str
    language: str
    tac: str
    device_type: str
    reference: str
    def __init__(self, kind: _Optional[_Union[OperationKind, str]] = ..., imei: _Optional[str] = ..., imei_last: _Optional[str] = ..., imei_other: _Optional[str] = ..., imsi: _Optional[str] = ..., former_imsi: _Optional[str] = ..., role: _Optional[_Union[PairRole, str]] = ..., block_cause: _Optional[_Union[BlockCause, str]] = ..., authority: _Optional[str] = ..., exempt_cause: _Optional[_Union[ExemptCause, str]] = ..., until: _Optional[int] = ..., in_use_since: _Optional[int] = ..., msisdn: _Optional[str] = ..., language: _Optional[str] = ..., tac: _Optional[str] = ..., device_type: _Optional[str] = ..., reference: _Optional[str] = ...) -> None: ...

class OperationColumns(_message.Message):
    __slots__ = ("kind", "row_count", "imei", "imei_last", "imei_other", "imsi", "former_imsi", "time", "role", "block_cause", "authority", "exempt_cause", "reference", "msisdn", "language")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    IMEI_FIELD_NUMBER: _ClassVar[int]
    IMEI_LAST_FIELD_NUMBER: _ClassVar[int]
    IMEI_OTHER_FIELD_NUMBER: _ClassVar[int]
    IMSI_FIELD_NUMBER: _ClassVar[int]
    FORMER_IMSI_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_CAUSE_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    EXEMPT_CAUSE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    MSISDN_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    kind: OperationKind
    row_count: int
    imei: bytes
    imei_last: bytes
    imei_other: bytes
    imsi: bytes
    former_imsi: bytes
    time: bytes
    role: PairRole
    block_cause: BlockCause
    authority: str
    exempt_cause: ExemptCause
    reference: str
    msisdn: bytes
    language: str
    def __init__(self, kind: _Optional[_Union[OperationKind, str]] = ..., row_count: _Optional[int] = ..., imei: _Optional[bytes] = ..., imei_last: _Optional[bytes] = ..., imei_other: _Optional[bytes] = ..., imsi: _Optional[bytes] = ..., former_imsi: _Optional[bytes] = ..., time: _Optional[bytes] = ..., role: _Optional[_Union[PairRole, str]] = ..., block_cause: _Optional[_Union[BlockCause, str]] = ..., authority: _Optional[str] = ..., exempt_cause: _Optional[_Union[ExemptCause, str]] = ..., reference: _Optional[str] = ..., msisdn: _Optional[bytes] = ..., language: _Optional[str] = ...) -> None: ...

class PushDeltaResponse(_message.Message):
    __slots__ = ("accepted", "chunk_durable", "applied", "refused")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    CHUNK_DURABLE_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    accepted: DeltaAccepted
    chunk_durable: ChunkDurable
    applied: DeltaApplied
    refused: DeltaRefused
    def __init__(self, accepted: _Optional[_Union[DeltaAccepted, _Mapping]] = ..., chunk_durable: _Optional[_Union[ChunkDurable, _Mapping]] = ..., applied: _Optional[_Union[DeltaApplied, _Mapping]] = ..., refused: _Optional[_Union[DeltaRefused, _Mapping]] = ...) -> None: ...

class DeltaAccepted(_message.Message):
    __slots__ = ("repeat",)
    REPEAT_FIELD_NUMBER: _ClassVar[int]
    repeat: bool
    def __init__(self, repeat: _Optional[bool] = ...) -> None: ...

class ChunkDurable(_message.Message):
    __slots__ = ("index",)
    INDEX_FIELD_NUMBER: _ClassVar[int]
    index: int
    def __init__(self, index: _Optional[int] = ...) -> None: ...

class DeltaApplied(_message.Message):
    __slots__ = ("serial", "repeat", "dry_run", "effects", "ignored_row_count", "bad_rows")
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    REPEAT_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    IGNORED_ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    BAD_ROWS_FIELD_NUMBER: _ClassVar[int]
    serial: int
    repeat: bool
    dry_run: bool
    effects: _containers.RepeatedCompositeFieldContainer[TableEffect]
    ignored_row_count: int
    bad_rows: _containers.RepeatedCompositeFieldContainer[BadRow]
    def __init__(self, serial: _Optional[int] = ..., repeat: _Optional[bool] = ..., dry_run: _Optional[bool] = ..., effects: _Optional[_Iterable[_Union[TableEffect, _Mapping]]] = ..., ignored_row_count: _Optional[int] = ..., bad_rows: _Optional[_Iterable[_Union[BadRow, _Mapping]]] = ...) -> None: ...

class TableEffect(_message.Message):
    __slots__ = ("table", "added", "removed", "rows")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    ADDED_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    table: str
    added: int
    removed: int
    rows: int
    def __init__(self, table: _Optional[str] = ..., added: _Optional[int] = ..., removed: _Optional[int] = ..., rows: _Optional[int] = ...) -> None: ...

class DeltaRefused(_message.Message):
    __slots__ = ("reason", "message", "bad_row_count", "bad_rows", "effects")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    BAD_ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    BAD_ROWS_FIELD_NUMBER: _ClassVar[int]
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    bad_row_count: int
    bad_rows: _containers.RepeatedCompositeFieldContainer[BadRow]
    effects: _containers.RepeatedCompositeFieldContainer[TableEffect]
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ..., bad_row_count: _Optional[int] = ..., bad_rows: _Optional[_Iterable[_Union[BadRow, _Mapping]]] = ..., effects: _Optional[_Iterable[_Union[TableEffect, _Mapping]]] = ...) -> None: ...

class BadRow(_message.Message):
    __slots__ = ("row", "reason", "message")
    ROW_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    row: int
    reason: str
    message: str
    def __init__(self, row: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class GetFeedPositionRequest(_message.Message):
    __slots__ = ("feed",)
    FEED_FIELD_NUMBER: _ClassVar[int]
    feed: str
    def __init__(self, feed: _Optional[str] = ...) -> None: ...

class GetFeedPositionResponse(_message.Message):
    __slots__ = ("feeds", "serial")
    FEEDS_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    feeds: _containers.RepeatedCompositeFieldContainer[FeedPosition]
    serial: int
    def __init__(self, feeds: _Optional[_Iterable[_Union[FeedPosition, _Mapping]]] = ..., serial: _Optional[int] = ...) -> None: ...

class FeedPosition(_message.Message):
    __slots__ = ("feed", "sequence", "serial", "complete_until", "applied_at", "state", "state_message", "snapshot_needed", "refused_sequence")
    FEED_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    APPLIED_AT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_NEEDED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    feed: str
    sequence: int
    serial: int
    complete_until: int
    applied_at: int
    state: str
    state_message: str
    snapshot_needed: bool
    refused_sequence: int
    def __init__(self, feed: _Optional[str] = ..., sequence: _Optional[int] = ..., serial: _Optional[int] = ..., complete_until: _Optional[int] = ..., applied_at: _Optional[int] = ..., state: _Optional[str] = ..., state_message: _Optional[str] = ..., snapshot_needed: _Optional[bool] = ..., refused_sequence: _Optional[int] = ...) -> None: ...

class ResolveFeedRequest(_message.Message):
    __slots__ = ("feed", "resolution", "sequence", "who", "why")
    FEED_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    feed: str
    resolution: FeedResolution
    sequence: int
    who: str
    why: str
    def __init__(self, feed: _Optional[str] = ..., resolution: _Optional[_Union[FeedResolution, str]] = ..., sequence: _Optional[int] = ..., who: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class ResolveFeedResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
