from eir.proto import check_pb2 as _check_pb2
from eir.proto import inquiry_pb2 as _inquiry_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CaseState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CASE_STATE_UNSPECIFIED: _ClassVar[CaseState]
    CASE_STATE_OPEN: _ClassVar[CaseState]
    CASE_STATE_ABSENT: _ClassVar[CaseState]
    CASE_STATE_HELD: _ClassVar[CaseState]
    CASE_STATE_WITHDRAWN: _ClassVar[CaseState]
    CASE_STATE_CUT_OFF: _ClassVar[CaseState]
    CASE_STATE_RESOLVED: _ClassVar[CaseState]

class NoticeState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NOTICE_STATE_UNSPECIFIED: _ClassVar[NoticeState]
    NOTICE_STATE_DUE: _ClassVar[NoticeState]
    NOTICE_STATE_SUBMITTED: _ClassVar[NoticeState]
    NOTICE_STATE_ACCEPTED: _ClassVar[NoticeState]
    NOTICE_STATE_DELIVERED: _ClassVar[NoticeState]
    NOTICE_STATE_FAILED: _ClassVar[NoticeState]
    NOTICE_STATE_EXPIRED: _ClassVar[NoticeState]
    NOTICE_STATE_CANCELLED: _ClassVar[NoticeState]
CASE_STATE_UNSPECIFIED: CaseState
CASE_STATE_OPEN: CaseState
CASE_STATE_ABSENT: CaseState
CASE_STATE_HELD: CaseState
CASE_STATE_WITHDRAWN: CaseState
CASE_STATE_CUT_OFF: CaseState
CASE_STATE_RESOLVED: CaseState
NOTICE_STATE_UNSPECIFIED: NoticeState
NOTICE_STATE_DUE: NoticeState
NOTICE_STATE_SUBMITTED: NoticeState
NOTICE_STATE_ACCEPTED: NoticeState
NOTICE_STATE_DELIVERED: NoticeState
NOTICE_STATE_FAILED: NoticeState
NOTICE_STATE_EXPIRED: NoticeState
NOTICE_STATE_CANCELLED: NoticeState

class Case(_message.Message):
    __slots__ = ("number", "imei", "imsi", "cause", "state", "since", "until", "opened_at", "seen_at", "deadline", "warned_at", "noticed_at", "grace_days")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    IMEI_FIELD_NUMBER: _ClassVar[int]
    IMSI_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    OPENED_AT_FIELD_NUMBER: _ClassVar[int]
    SEEN_AT_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    WARNED_AT_FIELD_NUMBER: _ClassVar[int]
    NOTICED_AT_FIELD_NUMBER: _ClassVar[int]
    GRACE_DAYS_FIELD_NUMBER: _ClassVar[int]
    number: int
    imei: str
    imsi: str
    cause: _check_pb2.VerdictReason
    state: CaseState
    since: int
    until: int
    opened_at: int
    seen_at: int
    deadline: int
    warned_at: int
    noticed_at: int
    grace_days: int
    def __init__(self, number: _Optional[int] = ..., imei: _Optional[str] = ..., imsi: _Optional[str] = ..., cause: _Optional[_Union[_check_pb2.VerdictReason, str]] = ..., state: _Optional[_Union[CaseState, str]] = ..., since: _Optional[int] = ..., until: _Optional[int] = ..., opened_at: _Optional[int] = ..., seen_at: _Optional[int] = ..., deadline: _Optional[int] = ..., warned_at: _Optional[int] = ..., noticed_at: _Optional[int] = ..., grace_days: _Optional[int] = ...) -> None: ...

class Notice(_message.Message):
    __slots__ = ("id", "case_number", "stage", "state", "due_at", "changed_at", "attempts", "smsc", "message_ids", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    CASE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DUE_AT_FIELD_NUMBER: _ClassVar[int]
    CHANGED_AT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    SMSC_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_IDS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: int
    case_number: int
    stage: str
    state: NoticeState
    due_at: int
    changed_at: int
    attempts: int
    smsc: str
    message_ids: _containers.RepeatedScalarFieldContainer[str]
    error: str
    def __init__(self, id: _Optional[int] = ..., case_number: _Optional[int] = ..., stage: _Optional[str] = ..., state: _Optional[_Union[NoticeState, str]] = ..., due_at: _Optional[int] = ..., changed_at: _Optional[int] = ..., attempts: _Optional[int] = ..., smsc: _Optional[str] = ..., message_ids: _Optional[_Iterable[str]] = ..., error: _Optional[str] = ...) -> None: ...

class CaseEvent(_message.Message):
    __slots__ = ("at", "event", "who", "why")
    AT_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    at: int
    event: str
    who: str
    why: str
    def __init__(self, at: _Optional[int] = ..., event: _Optional[str] = ..., who: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class ListCasesRequest(_message.Message):
    __slots__ = ("states", "causes", "imei", "imsi", "deadline_before", "unwarned_only", "page_size", "page_token", "who")
    STATES_FIELD_NUMBER: _ClassVar[int]
    CAUSES_FIELD_NUMBER: _ClassVar[int]
    IMEI_FIELD_NUMBER: _ClassVar[int]
    IMSI_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_BEFORE_FIELD_NUMBER: _ClassVar[int]
    UNWARNED_ONLY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    states: _containers.RepeatedScalarFieldContainer[CaseState]
    causes: _containers.RepeatedScalarFieldContainer[_check_pb2.VerdictReason]
    imei: str
    imsi: str
    deadline_before: int
    unwarned_only: bool
    page_size: int
    page_token: bytes
    who: str
    def __init__(self, states: _Optional[_Iterable[_Union[CaseState, str]]] = ..., causes: _Optional[_Iterable[_Union[_check_pb2.VerdictReason, str]]] = ..., imei: _Optional[str] = ..., imsi: _Optional[str] = ..., deadline_before: _Optional[int] = ..., unwarned_only: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[bytes] = ..., who: _Optional[str] = ...) -> None: ...

class ListCasesResponse(_message.Message):
    __slots__ = ("cases", "next_page_token")
    CASES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    cases: _containers.RepeatedCompositeFieldContainer[Case]
    next_page_token: bytes
    def __init__(self, cases: _Optional[_Iterable[_Union[Case, _Mapping]]] = ..., next_page_token: _Optional[bytes] = ...) -> None: ...

class GetCaseRequest(_message.Message):
    __slots__ = ("case_number", "imei", "imsi", "who")
    CASE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    IMEI_FIELD_NUMBER: _ClassVar[int]
    IMSI_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    case_number: int
    imei: str
    imsi: str
    who: str
    def __init__(self, case_number: _Optional[int] = ..., imei: _Optional[str] = ..., imsi: _Optional[str] = ..., who: _Optional[str] = ...) -> None: ...

class GetCaseResponse(_message.Message):
    __slots__ = ("found", "history", "notices", "msisdn", "language")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    MSISDN_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    found: Case
    history: _containers.RepeatedCompositeFieldContainer[CaseEvent]
    notices: _containers.RepeatedCompositeFieldContainer[Notice]
    msisdn: str
    language: str
    def __init__(self, found: _Optional[_Union[Case, _Mapping]] = ..., history: _Optional[_Iterable[_Union[CaseEvent, _Mapping]]] = ..., notices: _Optional[_Iterable[_Union[Notice, _Mapping]]] = ..., msisdn: _Optional[str] = ..., language: _Optional[str] = ...) -> None: ...

class HoldCaseRequest(_message.Message):
    __slots__ = ("case_number", "until", "who", "why")
    CASE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    case_number: int
    until: int
    who: str
    why: str
    def __init__(self, case_number: _Optional[int] = ..., until: _Optional[int] = ..., who: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class HoldCaseResponse(_message.Message):
    __slots__ = ("changed",)
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    changed: Case
    def __init__(self, changed: _Optional[_Union[Case, _Mapping]] = ...) -> None: ...

class WithdrawCaseRequest(_message.Message):
    __slots__ = ("case_number", "until", "who", "why")
    CASE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    case_number: int
    until: int
    who: str
    why: str
    def __init__(self, case_number: _Optional[int] = ..., until: _Optional[int] = ..., who: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class WithdrawCaseResponse(_message.Message):
    __slots__ = ("changed",)
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    changed: Case
    def __init__(self, changed: _Optional[_Union[Case, _Mapping]] = ...) -> None: ...

class FreeCaseRequest(_message.Message):
    __slots__ = ("case_number", "who", "why")
    CASE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    case_number: int
    who: str
    why: str
    def __init__(self, case_number: _Optional[int] = ..., who: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class FreeCaseResponse(_message.Message):
    __slots__ = ("changed",)
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    changed: Case
    def __init__(self, changed: _Optional[_Union[Case, _Mapping]] = ...) -> None: ...

class Shift(_message.Message):
    __slots__ = ("id", "seconds", "cause", "first_tac", "last_tac", "imsi_prefix", "at", "who", "why", "undone_at", "undone_by", "undone_why")
    ID_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    FIRST_TAC_FIELD_NUMBER: _ClassVar[int]
    LAST_TAC_FIELD_NUMBER: _ClassVar[int]
    IMSI_PREFIX_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    UNDONE_AT_FIELD_NUMBER: _ClassVar[int]
    UNDONE_BY_FIELD_NUMBER: _ClassVar[int]
    UNDONE_WHY_FIELD_NUMBER: _ClassVar[int]
    id: int
    seconds: int
    cause: _check_pb2.VerdictReason
    first_tac: str
    last_tac: str
    imsi_prefix: str
    at: int
    who: str
    why: str
    undone_at: int
    undone_by: str
    undone_why: str
    def __init__(self, id: _Optional[int] = ..., seconds: _Optional[int] = ..., cause: _Optional[_Union[_check_pb2.VerdictReason, str]] = ..., first_tac: _Optional[str] = ..., last_tac: _Optional[str] = ..., imsi_prefix: _Optional[str] = ..., at: _Optional[int] = ..., who: _Optional[str] = ..., why: _Optional[str] = ..., undone_at: _Optional[int] = ..., undone_by: _Optional[str] = ..., undone_why: _Optional[str] = ...) -> None: ...

class ShiftDeadlinesRequest(_message.Message):
    __slots__ = ("shift", "dry_run", "who", "why")
    SHIFT_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    shift: Shift
    dry_run: bool
    who: str
    why: str
    def __init__(self, shift: _Optional[_Union[Shift, _Mapping]] = ..., dry_run: _Optional[bool] = ..., who: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class ShiftDeadlinesResponse(_message.Message):
    __slots__ = ("shift", "case_count")
    SHIFT_FIELD_NUMBER: _ClassVar[int]
    CASE_COUNT_FIELD_NUMBER: _ClassVar[int]
    shift: Shift
    case_count: int
    def __init__(self, shift: _Optional[_Union[Shift, _Mapping]] = ..., case_count: _Optional[int] = ...) -> None: ...

class UnshiftDeadlinesRequest(_message.Message):
    __slots__ = ("id", "who", "why")
    ID_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    id: int
    who: str
    why: str
    def __init__(self, id: _Optional[int] = ..., who: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class UnshiftDeadlinesResponse(_message.Message):
    __slots__ = ("shift",)
    SHIFT_FIELD_NUMBER: _ClassVar[int]
    shift: Shift
    def __init__(self, shift: _Optional[_Union[Shift, _Mapping]] = ...) -> None: ...

class ListShiftsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListShiftsResponse(_message.Message):
    __slots__ = ("shifts",)
    SHIFTS_FIELD_NUMBER: _ClassVar[int]
    shifts: _containers.RepeatedCompositeFieldContainer[Shift]
    def __init__(self, shifts: _Optional[_Iterable[_Union[Shift, _Mapping]]] = ...) -> None: ...

class ListNoticesRequest(_message.Message):
    __slots__ = ("states", "stages", "smsc", "page_size", "page_token", "who")
    STATES_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    SMSC_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    states: _containers.RepeatedScalarFieldContainer[NoticeState]
    stages: _containers.RepeatedScalarFieldContainer[str]
    smsc: str
    page_size: int
    page_token: bytes
    who: str
    def __init__(self, states: _Optional[_Iterable[_Union[NoticeState, str]]] = ..., stages: _Optional[_Iterable[str]] = ..., smsc: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[bytes] = ..., who: _Optional[str] = ...) -> None: ...

class ListNoticesResponse(_message.Message):
    __slots__ = ("notices", "next_page_token")
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    notices: _containers.RepeatedCompositeFieldContainer[Notice]
    next_page_token: bytes
    def __init__(self, notices: _Optional[_Iterable[_Union[Notice, _Mapping]]] = ..., next_page_token: _Optional[bytes] = ...) -> None: ...

class PreviewNoticesRequest(_message.Message):
    __slots__ = ("hours", "page_size", "who")
    HOURS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    hours: int
    page_size: int
    who: str
    def __init__(self, hours: _Optional[int] = ..., page_size: _Optional[int] = ..., who: _Optional[str] = ...) -> None: ...

class PreviewNoticesResponse(_message.Message):
    __slots__ = ("counts", "shown", "cases_looked_at", "cases_due")
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    SHOWN_FIELD_NUMBER: _ClassVar[int]
    CASES_LOOKED_AT_FIELD_NUMBER: _ClassVar[int]
    CASES_DUE_FIELD_NUMBER: _ClassVar[int]
    counts: _containers.RepeatedCompositeFieldContainer[PreviewCount]
    shown: _containers.RepeatedCompositeFieldContainer[PreviewedNotice]
    cases_looked_at: int
    cases_due: int
    def __init__(self, counts: _Optional[_Iterable[_Union[PreviewCount, _Mapping]]] = ..., shown: _Optional[_Iterable[_Union[PreviewedNotice, _Mapping]]] = ..., cases_looked_at: _Optional[int] = ..., cases_due: _Optional[int] = ...) -> None: ...

class PreviewCount(_message.Message):
    __slots__ = ("cause", "stage", "count")
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    cause: _check_pb2.VerdictReason
    stage: str
    count: int
    def __init__(self, cause: _Optional[_Union[_check_pb2.VerdictReason, str]] = ..., stage: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class PreviewedNotice(_message.Message):
    __slots__ = ("of", "stage", "at", "text", "msisdn")
    OF_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MSISDN_FIELD_NUMBER: _ClassVar[int]
    of: Case
    stage: str
    at: int
    text: str
    msisdn: str
    def __init__(self, of: _Optional[_Union[Case, _Mapping]] = ..., stage: _Optional[str] = ..., at: _Optional[int] = ..., text: _Optional[str] = ..., msisdn: _Optional[str] = ...) -> None: ...

class HoldNoticesRequest(_message.Message):
    __slots__ = ("who", "why")
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    who: str
    why: str
    def __init__(self, who: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class HoldNoticesResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReleaseNoticesRequest(_message.Message):
    __slots__ = ("who", "why")
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    who: str
    why: str
    def __init__(self, who: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class ReleaseNoticesResponse(_message.Message):
    __slots__ = ("was_held_why", "clock_was_doubted_why")
    WAS_HELD_WHY_FIELD_NUMBER: _ClassVar[int]
    CLOCK_WAS_DOUBTED_WHY_FIELD_NUMBER: _ClassVar[int]
    was_held_why: str
    clock_was_doubted_why: str
    def __init__(self, was_held_why: _Optional[str] = ..., clock_was_doubted_why: _Optional[str] = ...) -> None: ...

class GetNoticeStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetNoticeStatusResponse(_message.Message):
    __slots__ = ("cases", "waiting", "smscs", "held_why", "held_since", "held_by", "clock_doubted_why", "complete_until", "deltas_behind", "serial", "storage_failed_why", "memory_bytes", "group_state", "group_trouble", "group_daemons")
    CASES_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    SMSCS_FIELD_NUMBER: _ClassVar[int]
    HELD_WHY_FIELD_NUMBER: _ClassVar[int]
    HELD_SINCE_FIELD_NUMBER: _ClassVar[int]
    HELD_BY_FIELD_NUMBER: _ClassVar[int]
    CLOCK_DOUBTED_WHY_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    DELTAS_BEHIND_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    STORAGE_FAILED_WHY_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    GROUP_STATE_FIELD_NUMBER: _ClassVar[int]
    GROUP_TROUBLE_FIELD_NUMBER: _ClassVar[int]
    GROUP_DAEMONS_FIELD_NUMBER: _ClassVar[int]
    cases: _containers.RepeatedCompositeFieldContainer[CaseCount]
    waiting: _containers.RepeatedCompositeFieldContainer[WaitingCount]
    smscs: _containers.RepeatedCompositeFieldContainer[SmscStatus]
    held_why: str
    held_since: int
    held_by: str
    clock_doubted_why: str
    complete_until: int
    deltas_behind: int
    serial: int
    storage_failed_why: str
    memory_bytes: int
    group_state: str
    group_trouble: str
    group_daemons: _containers.RepeatedCompositeFieldContainer[GroupDaemon]
    def __init__(self, cases: _Optional[_Iterable[_Union[CaseCount, _Mapping]]] = ..., waiting: _Optional[_Iterable[_Union[WaitingCount, _Mapping]]] = ..., smscs: _Optional[_Iterable[_Union[SmscStatus, _Mapping]]] = ..., held_why: _Optional[str] = ..., held_since: _Optional[int] = ..., held_by: _Optional[str] = ..., clock_doubted_why: _Optional[str] = ..., complete_until: _Optional[int] = ..., deltas_behind: _Optional[int] = ..., serial: _Optional[int] = ..., storage_failed_why: _Optional[str] = ..., memory_bytes: _Optional[int] = ..., group_state: _Optional[str] = ..., group_trouble: _Optional[str] = ..., group_daemons: _Optional[_Iterable[_Union[GroupDaemon, _Mapping]]] = ...) -> None: ...

class GroupDaemon(_message.Message):
    __slots__ = ("name", "address", "sends", "share_percent")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SENDS_FIELD_NUMBER: _ClassVar[int]
    SHARE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    address: str
    sends: bool
    share_percent: float
    def __init__(self, name: _Optional[str] = ..., address: _Optional[str] = ..., sends: _Optional[bool] = ..., share_percent: _Optional[float] = ...) -> None: ...

class CaseCount(_message.Message):
    __slots__ = ("state", "count")
    STATE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    state: CaseState
    count: int
    def __init__(self, state: _Optional[_Union[CaseState, str]] = ..., count: _Optional[int] = ...) -> None: ...

class WaitingCount(_message.Message):
    __slots__ = ("stage", "count", "oldest_due_at", "without_msisdn")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    OLDEST_DUE_AT_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_MSISDN_FIELD_NUMBER: _ClassVar[int]
    stage: str
    count: int
    oldest_due_at: int
    without_msisdn: int
    def __init__(self, stage: _Optional[str] = ..., count: _Optional[int] = ..., oldest_due_at: _Optional[int] = ..., without_msisdn: _Optional[int] = ...) -> None: ...

class SmscStatus(_message.Message):
    __slots__ = ("name", "bound", "in_flight", "window_max", "parts_per_second")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BOUND_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_MAX_FIELD_NUMBER: _ClassVar[int]
    PARTS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    name: str
    bound: bool
    in_flight: int
    window_max: int
    parts_per_second: float
    def __init__(self, name: _Optional[str] = ..., bound: _Optional[bool] = ..., in_flight: _Optional[int] = ..., window_max: _Optional[int] = ..., parts_per_second: _Optional[float] = ...) -> None: ...
