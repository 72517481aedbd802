from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EnforcementMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENFORCEMENT_MODE_UNSPECIFIED: _ClassVar[EnforcementMode]
    ENFORCEMENT_MODE_POLICY: _ClassVar[EnforcementMode]
    ENFORCEMENT_MODE_ALLOW_ALL: _ClassVar[EnforcementMode]
ENFORCEMENT_MODE_UNSPECIFIED: EnforcementMode
ENFORCEMENT_MODE_POLICY: EnforcementMode
ENFORCEMENT_MODE_ALLOW_ALL: EnforcementMode

class Enforcement(_message.Message):
    __slots__ = ("mode", "changed_at", "changed_by", "why")
    MODE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_AT_FIELD_NUMBER: _ClassVar[int]
    CHANGED_BY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    mode: EnforcementMode
    changed_at: int
    changed_by: str
    why: str
    def __init__(self, mode: _Optional[_Union[EnforcementMode, str]] = ..., changed_at: _Optional[int] = ..., changed_by: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class GetEnforcementRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetEnforcementResponse(_message.Message):
    __slots__ = ("enforcement",)
    ENFORCEMENT_FIELD_NUMBER: _ClassVar[int]
    enforcement: Enforcement
    def __init__(self, enforcement: _Optional[_Union[Enforcement, _Mapping]] = ...) -> None: ...

class SetEnforcementRequest(_message.Message):
    __slots__ = ("mode", "who", "why")
    MODE_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    mode: EnforcementMode
    who: str
    why: str
    def __init__(self, mode: _Optional[_Union[EnforcementMode, str]] = ..., who: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class SetEnforcementResponse(_message.Message):
    __slots__ = ("enforcement",)
    ENFORCEMENT_FIELD_NUMBER: _ClassVar[int]
    enforcement: Enforcement
    def __init__(self, enforcement: _Optional[_Union[Enforcement, _Mapping]] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("version", "engine", "started_at", "serial", "stale", "ready", "not_ready_reasons", "enforcement", "policy_hash", "policy_name", "tables", "segment_count", "overlay_row_count", "rebuild_running", "journal_delta_count", "policy_since", "policy_refused_at", "policy_refused_why")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    NOT_READY_REASONS_FIELD_NUMBER: _ClassVar[int]
    ENFORCEMENT_FIELD_NUMBER: _ClassVar[int]
    POLICY_HASH_FIELD_NUMBER: _ClassVar[int]
    POLICY_NAME_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    OVERLAY_ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    REBUILD_RUNNING_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_DELTA_COUNT_FIELD_NUMBER: _ClassVar[int]
    POLICY_SINCE_FIELD_NUMBER: _ClassVar[int]
    POLICY_REFUSED_AT_FIELD_NUMBER: _ClassVar[int]
    POLICY_REFUSED_WHY_FIELD_NUMBER: _ClassVar[int]
    version: str
    engine: str
    started_at: int
    serial: int
    stale: bool
    ready: bool
    not_ready_reasons: _containers.RepeatedScalarFieldContainer[str]
    enforcement: Enforcement
    policy_hash: str
    policy_name: str
    tables: _containers.RepeatedCompositeFieldContainer[TableSize]
    segment_count: int
    overlay_row_count: int
    rebuild_running: bool
    journal_delta_count: int
    policy_since: int
    policy_refused_at: int
    policy_refused_why: str
    def __init__(self, version: _Optional[str] = ..., engine: _Optional[str] = ..., started_at: _Optional[int] = ..., serial: _Optional[int] = ..., stale: _Optional[bool] = ..., ready: _Optional[bool] = ..., not_ready_reasons: _Optional[_Iterable[str]] = ..., enforcement: _Optional[_Union[Enforcement, _Mapping]] = ..., policy_hash: _Optional[str] = ..., policy_name: _Optional[str] = ..., tables: _Optional[_Iterable[_Union[TableSize, _Mapping]]] = ..., segment_count: _Optional[int] = ..., overlay_row_count: _Optional[int] = ..., rebuild_running: _Optional[bool] = ..., journal_delta_count: _Optional[int] = ..., policy_since: _Optional[int] = ..., policy_refused_at: _Optional[int] = ..., policy_refused_why: _Optional[str] = ...) -> None: ...

class TableSize(_message.Message):
    __slots__ = ("table", "rows", "bytes")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    table: str
    rows: int
    bytes: int
    def __init__(self, table: _Optional[str] = ..., rows: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class RebuildSegmentsRequest(_message.Message):
    __slots__ = ("all",)
    ALL_FIELD_NUMBER: _ClassVar[int]
    all: bool
    def __init__(self, all: _Optional[bool] = ...) -> None: ...

class RebuildSegmentsResponse(_message.Message):
    __slots__ = ("serial", "rebuilt_count", "duration_seconds")
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    REBUILT_COUNT_FIELD_NUMBER: _ClassVar[int]
    DURATION_SECONDS_FIELD_NUMBER: _ClassVar[int]
    serial: int
    rebuilt_count: int
    duration_seconds: float
    def __init__(self, serial: _Optional[int] = ..., rebuilt_count: _Optional[int] = ..., duration_seconds: _Optional[float] = ...) -> None: ...
