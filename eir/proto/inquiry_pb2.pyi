from eir.proto import check_pb2 as _check_pb2
from eir.proto import sync_pb2 as _sync_pb2
from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PublicStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PUBLIC_STATUS_UNSPECIFIED: _ClassVar[PublicStatus]
    PUBLIC_STATUS_STOLEN: _ClassVar[PublicStatus]
    PUBLIC_STATUS_REGISTERED: _ClassVar[PublicStatus]
    PUBLIC_STATUS_NOT_FOUND: _ClassVar[PublicStatus]
PUBLIC_STATUS_UNSPECIFIED: PublicStatus
PUBLIC_STATUS_STOLEN: PublicStatus
PUBLIC_STATUS_REGISTERED: PublicStatus
PUBLIC_STATUS_NOT_FOUND: PublicStatus
PRIVILEGED_FIELD_NUMBER: _ClassVar[int]
privileged: _descriptor.FieldDescriptor

class InquireEquipmentRequest(_message.Message):
    __slots__ = ("imei", "imsi", "who")
    IMEI_FIELD_NUMBER: _ClassVar[int]
    IMSI_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    imei: str
    imsi: str
    who: str
    def __init__(self, imei: _Optional[str] = ..., imsi: _Optional[str] = ..., who: _Optional[str] = ...) -> None: ...

class InquireEquipmentResponse(_message.Message):
    __slots__ = ("slot", "other_slots", "judgements", "check_digit_wrong", "serial", "stale", "imsi_exemptions")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    OTHER_SLOTS_FIELD_NUMBER: _ClassVar[int]
    JUDGEMENTS_FIELD_NUMBER: _ClassVar[int]
    CHECK_DIGIT_WRONG_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    IMSI_EXEMPTIONS_FIELD_NUMBER: _ClassVar[int]
    slot: Slot
    other_slots: _containers.RepeatedCompositeFieldContainer[Slot]
    judgements: _containers.RepeatedCompositeFieldContainer[Judgement]
    check_digit_wrong: bool
    serial: int
    stale: bool
    imsi_exemptions: _containers.RepeatedCompositeFieldContainer[Exemption]
    def __init__(self, slot: _Optional[_Union[Slot, _Mapping]] = ..., other_slots: _Optional[_Iterable[_Union[Slot, _Mapping]]] = ..., judgements: _Optional[_Iterable[_Union[Judgement, _Mapping]]] = ..., check_digit_wrong: _Optional[bool] = ..., serial: _Optional[int] = ..., stale: _Optional[bool] = ..., imsi_exemptions: _Optional[_Iterable[_Union[Exemption, _Mapping]]] = ...) -> None: ...

class Slot(_message.Message):
    __slots__ = ("imei", "registered", "registered_ranges", "blocks", "pairs", "exemptions", "grandfathered", "tracked", "device_type")
    IMEI_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_RANGES_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    EXEMPTIONS_FIELD_NUMBER: _ClassVar[int]
    GRANDFATHERED_FIELD_NUMBER: _ClassVar[int]
    TRACKED_FIELD_NUMBER: _ClassVar[int]
    DEVICE_TYPE_FIELD_NUMBER: _ClassVar[int]
    imei: str
    registered: bool
    registered_ranges: _containers.RepeatedCompositeFieldContainer[ImeiRange]
    blocks: _containers.RepeatedCompositeFieldContainer[Block]
    pairs: _containers.RepeatedCompositeFieldContainer[Pair]
    exemptions: _containers.RepeatedCompositeFieldContainer[Exemption]
    grandfathered: _containers.RepeatedCompositeFieldContainer[Grandfathering]
    tracked: bool
    device_type: str
    def __init__(self, imei: _Optional[str] = ..., registered: _Optional[bool] = ..., registered_ranges: _Optional[_Iterable[_Union[ImeiRange, _Mapping]]] = ..., blocks: _Optional[_Iterable[_Union[Block, _Mapping]]] = ..., pairs: _Optional[_Iterable[_Union[Pair, _Mapping]]] = ..., exemptions: _Optional[_Iterable[_Union[Exemption, _Mapping]]] = ..., grandfathered: _Optional[_Iterable[_Union[Grandfathering, _Mapping]]] = ..., tracked: _Optional[bool] = ..., device_type: _Optional[str] = ...) -> None: ...

class ImeiRange(_message.Message):
    __slots__ = ("first", "last")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    first: str
    last: str
    def __init__(self, first: _Optional[str] = ..., last: _Optional[str] = ...) -> None: ...

class Block(_message.Message):
    __slots__ = ("cause", "authority", "range")
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    cause: _sync_pb2.BlockCause
    authority: str
    range: ImeiRange
    def __init__(self, cause: _Optional[_Union[_sync_pb2.BlockCause, str]] = ..., authority: _Optional[str] = ..., range: _Optional[_Union[ImeiRange, _Mapping]] = ...) -> None: ...

class Pair(_message.Message):
    __slots__ = ("imsi", "role", "msisdn", "language")
    IMSI_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    MSISDN_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    imsi: str
    role: _sync_pb2.PairRole
    msisdn: str
    language: str
    def __init__(self, imsi: _Optional[str] = ..., role: _Optional[_Union[_sync_pb2.PairRole, str]] = ..., msisdn: _Optional[str] = ..., language: _Optional[str] = ...) -> None: ...

class Exemption(_message.Message):
    __slots__ = ("imei", "imsi", "cause", "until", "ended")
    IMEI_FIELD_NUMBER: _ClassVar[int]
    IMSI_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    imei: str
    imsi: str
    cause: _sync_pb2.ExemptCause
    until: int
    ended: bool
    def __init__(self, imei: _Optional[str] = ..., imsi: _Optional[str] = ..., cause: _Optional[_Union[_sync_pb2.ExemptCause, str]] = ..., until: _Optional[int] = ..., ended: _Optional[bool] = ...) -> None: ...

class Grandfathering(_message.Message):
    __slots__ = ("imsi", "in_use_since")
    IMSI_FIELD_NUMBER: _ClassVar[int]
    IN_USE_SINCE_FIELD_NUMBER: _ClassVar[int]
    imsi: str
    in_use_since: int
    def __init__(self, imsi: _Optional[str] = ..., in_use_since: _Optional[int] = ...) -> None: ...

class Judgement(_message.Message):
    __slots__ = ("imsi", "status", "reason", "deadline")
    IMSI_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    imsi: str
    status: _check_pb2.EquipmentStatus
    reason: _check_pb2.VerdictReason
    deadline: int
    def __init__(self, imsi: _Optional[str] = ..., status: _Optional[_Union[_check_pb2.EquipmentStatus, str]] = ..., reason: _Optional[_Union[_check_pb2.VerdictReason, str]] = ..., deadline: _Optional[int] = ...) -> None: ...

class InquireSubscriberRequest(_message.Message):
    __slots__ = ("imsi", "msisdn", "who")
    IMSI_FIELD_NUMBER: _ClassVar[int]
    MSISDN_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    imsi: str
    msisdn: str
    who: str
    def __init__(self, imsi: _Optional[str] = ..., msisdn: _Optional[str] = ..., who: _Optional[str] = ...) -> None: ...

class InquireSubscriberResponse(_message.Message):
    __slots__ = ("sims", "serial", "stale")
    SIMS_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    sims: _containers.RepeatedCompositeFieldContainer[Sim]
    serial: int
    stale: bool
    def __init__(self, sims: _Optional[_Iterable[_Union[Sim, _Mapping]]] = ..., serial: _Optional[int] = ..., stale: _Optional[bool] = ...) -> None: ...

class Sim(_message.Message):
    __slots__ = ("imsi", "msisdn", "language", "exemptions", "slots", "slot_count")
    IMSI_FIELD_NUMBER: _ClassVar[int]
    MSISDN_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    EXEMPTIONS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    SLOT_COUNT_FIELD_NUMBER: _ClassVar[int]
    imsi: str
    msisdn: str
    language: str
    exemptions: _containers.RepeatedCompositeFieldContainer[Exemption]
    slots: _containers.RepeatedCompositeFieldContainer[SimSlot]
    slot_count: int
    def __init__(self, imsi: _Optional[str] = ..., msisdn: _Optional[str] = ..., language: _Optional[str] = ..., exemptions: _Optional[_Iterable[_Union[Exemption, _Mapping]]] = ..., slots: _Optional[_Iterable[_Union[SimSlot, _Mapping]]] = ..., slot_count: _Optional[int] = ...) -> None: ...

class SimSlot(_message.Message):
    __slots__ = ("slot", "role", "judgement")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    JUDGEMENT_FIELD_NUMBER: _ClassVar[int]
    slot: Slot
    role: _sync_pb2.PairRole
    judgement: Judgement
    def __init__(self, slot: _Optional[_Union[Slot, _Mapping]] = ..., role: _Optional[_Union[_sync_pb2.PairRole, str]] = ..., judgement: _Optional[_Union[Judgement, _Mapping]] = ...) -> None: ...

class InquireHistoryRequest(_message.Message):
    __slots__ = ("imei", "imsi", "msisdn", "who", "page_token")
    IMEI_FIELD_NUMBER: _ClassVar[int]
    IMSI_FIELD_NUMBER: _ClassVar[int]
    MSISDN_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    imei: str
    imsi: str
    msisdn: str
    who: str
    page_token: bytes
    def __init__(self, imei: _Optional[str] = ..., imsi: _Optional[str] = ..., msisdn: _Optional[str] = ..., who: _Optional[str] = ..., page_token: _Optional[bytes] = ...) -> None: ...

class InquireHistoryResponse(_message.Message):
    __slots__ = ("entries", "next_page_token", "searched_to_serial", "searched_to_time", "journal_from_serial", "journal_from_time", "journal_to_serial", "unreadable_serials")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SEARCHED_TO_SERIAL_FIELD_NUMBER: _ClassVar[int]
    SEARCHED_TO_TIME_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_FROM_SERIAL_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_TO_SERIAL_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_SERIALS_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[HistoryEntry]
    next_page_token: bytes
    searched_to_serial: int
    searched_to_time: int
    journal_from_serial: int
    journal_from_time: int
    journal_to_serial: int
    unreadable_serials: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, entries: _Optional[_Iterable[_Union[HistoryEntry, _Mapping]]] = ..., next_page_token: _Optional[bytes] = ..., searched_to_serial: _Optional[int] = ..., searched_to_time: _Optional[int] = ..., journal_from_serial: _Optional[int] = ..., journal_from_time: _Optional[int] = ..., journal_to_serial: _Optional[int] = ..., unreadable_serials: _Optional[_Iterable[int]] = ...) -> None: ...

class HistoryEntry(_message.Message):
    __slots__ = ("serial", "feed", "sequence", "reference", "committed_at", "operation", "ignored_row_count")
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    FEED_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_AT_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    IGNORED_ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    serial: int
    feed: str
    sequence: int
    reference: str
    committed_at: int
    operation: _sync_pb2.Operation
    ignored_row_count: int
    def __init__(self, serial: _Optional[int] = ..., feed: _Optional[str] = ..., sequence: _Optional[int] = ..., reference: _Optional[str] = ..., committed_at: _Optional[int] = ..., operation: _Optional[_Union[_sync_pb2.Operation, _Mapping]] = ..., ignored_row_count: _Optional[int] = ...) -> None: ...

class InquireStatusRequest(_message.Message):
    __slots__ = ("imei",)
    IMEI_FIELD_NUMBER: _ClassVar[int]
    imei: str
    def __init__(self, imei: _Optional[str] = ...) -> None: ...

class InquireStatusResponse(_message.Message):
    __slots__ = ("imei", "status", "check_digit_wrong")
    IMEI_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CHECK_DIGIT_WRONG_FIELD_NUMBER: _ClassVar[int]
    imei: str
    status: PublicStatus
    check_digit_wrong: bool
    def __init__(self, imei: _Optional[str] = ..., status: _Optional[_Union[PublicStatus, str]] = ..., check_digit_wrong: _Optional[bool] = ...) -> None: ...
