from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EquipmentStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EQUIPMENT_STATUS_UNSPECIFIED: _ClassVar[EquipmentStatus]
    EQUIPMENT_STATUS_WHITELISTED: _ClassVar[EquipmentStatus]
    EQUIPMENT_STATUS_GREYLISTED: _ClassVar[EquipmentStatus]
    EQUIPMENT_STATUS_BLACKLISTED: _ClassVar[EquipmentStatus]
    EQUIPMENT_STATUS_UNKNOWN: _ClassVar[EquipmentStatus]

class VerdictReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_REASON_UNSPECIFIED: _ClassVar[VerdictReason]
    VERDICT_REASON_EMERGENCY: _ClassVar[VerdictReason]
    VERDICT_REASON_OVERRIDE: _ClassVar[VerdictReason]
    VERDICT_REASON_EXEMPT_PAIR: _ClassVar[VerdictReason]
    VERDICT_REASON_EXEMPT_PAIR_BLOCKED: _ClassVar[VerdictReason]
    VERDICT_REASON_BLOCKED_STOLEN: _ClassVar[VerdictReason]
    VERDICT_REASON_BLOCKED_LOST: _ClassVar[VerdictReason]
    VERDICT_REASON_BLOCKED_BARRED: _ClassVar[VerdictReason]
    VERDICT_REASON_BLOCKED_LINKED: _ClassVar[VerdictReason]
    VERDICT_REASON_INBOUND_ROAMER: _ClassVar[VerdictReason]
    VERDICT_REASON_SERVED_ABROAD: _ClassVar[VerdictReason]
    VERDICT_REASON_BLOCKED_RANGE: _ClassVar[VerdictReason]
    VERDICT_REASON_EXEMPT_IMEI: _ClassVar[VerdictReason]
    VERDICT_REASON_EXEMPT_IMSI: _ClassVar[VerdictReason]
    VERDICT_REASON_EXEMPT_IMSI_RANGE: _ClassVar[VerdictReason]
    VERDICT_REASON_EXEMPT_DEVICE_TYPE: _ClassVar[VerdictReason]
    VERDICT_REASON_OWNER: _ClassVar[VerdictReason]
    VERDICT_REASON_UTILIZER: _ClassVar[VerdictReason]
    VERDICT_REASON_OTHER_SLOT: _ClassVar[VerdictReason]
    VERDICT_REASON_GRANDFATHERED_IMEI: _ClassVar[VerdictReason]
    VERDICT_REASON_GRANDFATHERED_PAIR: _ClassVar[VerdictReason]
    VERDICT_REASON_NO_IMSI: _ClassVar[VerdictReason]
    VERDICT_REASON_IMSI_MALFORMED: _ClassVar[VerdictReason]
    VERDICT_REASON_IMSI_SHORT: _ClassVar[VerdictReason]
    VERDICT_REASON_MALFORMED_EMPTY: _ClassVar[VerdictReason]
    VERDICT_REASON_MALFORMED_SHORT: _ClassVar[VerdictReason]
    VERDICT_REASON_MALFORMED_LONG: _ClassVar[VerdictReason]
    VERDICT_REASON_MALFORMED_NON_DIGIT: _ClassVar[VerdictReason]
    VERDICT_REASON_SPECIAL_ZERO: _ClassVar[VerdictReason]
    VERDICT_REASON_SPECIAL_REPEATED: _ClassVar[VerdictReason]
    VERDICT_REASON_SPECIAL_TEST: _ClassVar[VerdictReason]
    VERDICT_REASON_SPECIAL_PLACEHOLDER: _ClassVar[VerdictReason]
    VERDICT_REASON_SHARED: _ClassVar[VerdictReason]
    VERDICT_REASON_CLONED: _ClassVar[VerdictReason]
    VERDICT_REASON_UNOWNED_SLOT: _ClassVar[VerdictReason]
    VERDICT_REASON_OWNED_BY_OTHER: _ClassVar[VerdictReason]
    VERDICT_REASON_NEVER_ACTIVATED: _ClassVar[VerdictReason]
    VERDICT_REASON_NOT_REGISTERED: _ClassVar[VerdictReason]
    VERDICT_REASON_UNDECIDED: _ClassVar[VerdictReason]
EQUIPMENT_STATUS_UNSPECIFIED: EquipmentStatus
EQUIPMENT_STATUS_WHITELISTED: EquipmentStatus
EQUIPMENT_STATUS_GREYLISTED: EquipmentStatus
EQUIPMENT_STATUS_BLACKLISTED: EquipmentStatus
EQUIPMENT_STATUS_UNKNOWN: EquipmentStatus
VERDICT_REASON_UNSPECIFIED: VerdictReason
VERDICT_REASON_EMERGENCY: VerdictReason
VERDICT_REASON_OVERRIDE: VerdictReason
VERDICT_REASON_EXEMPT_PAIR: VerdictReason
VERDICT_REASON_EXEMPT_PAIR_BLOCKED: VerdictReason
VERDICT_REASON_BLOCKED_STOLEN: VerdictReason
VERDICT_REASON_BLOCKED_LOST: VerdictReason
VERDICT_REASON_BLOCKED_BARRED: VerdictReason
VERDICT_REASON_BLOCKED_LINKED: VerdictReason
VERDICT_REASON_INBOUND_ROAMER: VerdictReason
VERDICT_REASON_SERVED_ABROAD: VerdictReason
VERDICT_REASON_BLOCKED_RANGE: VerdictReason
VERDICT_REASON_EXEMPT_IMEI: VerdictReason
VERDICT_REASON_EXEMPT_IMSI: VerdictReason
VERDICT_REASON_EXEMPT_IMSI_RANGE: VerdictReason
VERDICT_REASON_EXEMPT_DEVICE_TYPE: VerdictReason
VERDICT_REASON_OWNER: VerdictReason
VERDICT_REASON_UTILIZER: VerdictReason
VERDICT_REASON_OTHER_SLOT: VerdictReason
VERDICT_REASON_GRANDFATHERED_IMEI: VerdictReason
VERDICT_REASON_GRANDFATHERED_PAIR: VerdictReason
VERDICT_REASON_NO_IMSI: VerdictReason
VERDICT_REASON_IMSI_MALFORMED: VerdictReason
VERDICT_REASON_IMSI_SHORT: VerdictReason
VERDICT_REASON_MALFORMED_EMPTY: VerdictReason
VERDICT_REASON_MALFORMED_SHORT: VerdictReason
VERDICT_REASON_MALFORMED_LONG: VerdictReason
VERDICT_REASON_MALFORMED_NON_DIGIT: VerdictReason
VERDICT_REASON_SPECIAL_ZERO: VerdictReason
VERDICT_REASON_SPECIAL_REPEATED: VerdictReason
VERDICT_REASON_SPECIAL_TEST: VerdictReason
VERDICT_REASON_SPECIAL_PLACEHOLDER: VerdictReason
VERDICT_REASON_SHARED: VerdictReason
VERDICT_REASON_CLONED: VerdictReason
VERDICT_REASON_UNOWNED_SLOT: VerdictReason
VERDICT_REASON_OWNED_BY_OTHER: VerdictReason
VERDICT_REASON_NEVER_ACTIVATED: VerdictReason
VERDICT_REASON_NOT_REGISTERED: VerdictReason
VERDICT_REASON_UNDECIDED: VerdictReason

class CheckEquipmentRequest(_message.Message):
    __slots__ = ("imei", "imsi", "msisdn", "serving_plmn", "emergency", "request_id")
    IMEI_FIELD_NUMBER: _ClassVar[int]
    IMSI_FIELD_NUMBER: _ClassVar[int]
    MSISDN_FIELD_NUMBER: _ClassVar[int]
    SERVING_PLMN_FIELD_NUMBER: _ClassVar[int]
    EMERGENCY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    imei: str
    imsi: str
    msisdn: str
    serving_plmn: str
    emergency: bool
    request_id: str
    def __init__(self, imei: _Optional[str] = ..., imsi: _Optional[str] = ..., msisdn: _Optional[str] = ..., serving_plmn: _Optional[str] = ..., emergency: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class CheckEquipmentResponse(_message.Message):
    __slots__ = ("status", "reason", "deadline", "serial", "stale", "cache_seconds", "request_id")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    CACHE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    status: EquipmentStatus
    reason: VerdictReason
    deadline: int
    serial: int
    stale: bool
    cache_seconds: int
    request_id: str
    def __init__(self, status: _Optional[_Union[EquipmentStatus, str]] = ..., reason: _Optional[_Union[VerdictReason, str]] = ..., deadline: _Optional[int] = ..., serial: _Optional[int] = ..., stale: _Optional[bool] = ..., cache_seconds: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class StreamCheckEquipmentRequest(_message.Message):
    __slots__ = ("check",)
    CHECK_FIELD_NUMBER: _ClassVar[int]
    check: CheckEquipmentRequest
    def __init__(self, check: _Optional[_Union[CheckEquipmentRequest, _Mapping]] = ...) -> None: ...

class StreamCheckEquipmentResponse(_message.Message):
    __slots__ = ("verdict",)
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    verdict: CheckEquipmentResponse
    def __init__(self, verdict: _Optional[_Union[CheckEquipmentResponse, _Mapping]] = ...) -> None: ...

class BatchCheckEquipmentRequest(_message.Message):
    __slots__ = ("imei", "imsi", "serving_plmn", "request_id")
    IMEI_FIELD_NUMBER: _ClassVar[int]
    IMSI_FIELD_NUMBER: _ClassVar[int]
    SERVING_PLMN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    imei: _containers.RepeatedScalarFieldContainer[str]
    imsi: _containers.RepeatedScalarFieldContainer[str]
    serving_plmn: str
    request_id: str
    def __init__(self, imei: _Optional[_Iterable[str]] = ..., imsi: _Optional[_Iterable[str]] = ..., serving_plmn: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class BatchCheckEquipmentResponse(_message.Message):
    __slots__ = ("status", "reason", "deadline", "serial", "stale", "cache_seconds", "request_id")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    CACHE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    status: _containers.RepeatedScalarFieldContainer[EquipmentStatus]
    reason: _containers.RepeatedScalarFieldContainer[VerdictReason]
    deadline: _containers.RepeatedScalarFieldContainer[int]
    serial: int
    stale: bool
    cache_seconds: _containers.RepeatedScalarFieldContainer[int]
    request_id: str
    def __init__(self, status: _Optional[_Iterable[_Union[EquipmentStatus, str]]] = ..., reason: _Optional[_Iterable[_Union[VerdictReason, str]]] = ..., deadline: _Optional[_Iterable[int]] = ..., serial: _Optional[int] = ..., stale: _Optional[bool] = ..., cache_seconds: _Optional[_Iterable[int]] = ..., request_id: _Optional[str] = ...) -> None: ...
