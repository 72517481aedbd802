from eir.proto import check_pb2 as _check_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StartTrialRequest(_message.Message):
    __slots__ = ("policy", "sample_percent", "duration_seconds")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    DURATION_SECONDS_FIELD_NUMBER: _ClassVar[int]
    policy: str
    sample_percent: float
    duration_seconds: int
    def __init__(self, policy: _Optional[str] = ..., sample_percent: _Optional[float] = ..., duration_seconds: _Optional[int] = ...) -> None: ...

class StartTrialResponse(_message.Message):
    __slots__ = ("trial",)
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    trial: Trial
    def __init__(self, trial: _Optional[_Union[Trial, _Mapping]] = ...) -> None: ...

class GetTrialRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetTrialResponse(_message.Message):
    __slots__ = ("trial",)
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    trial: Trial
    def __init__(self, trial: _Optional[_Union[Trial, _Mapping]] = ...) -> None: ...

class StopTrialRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StopTrialResponse(_message.Message):
    __slots__ = ("trial",)
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    trial: Trial
    def __init__(self, trial: _Optional[_Union[Trial, _Mapping]] = ...) -> None: ...

class Trial(_message.Message):
    __slots__ = ("policy_name", "policy_hash", "base_hash", "started_at", "until", "ended_at", "ended_why", "sample_percent", "judged_count", "subscriber_estimate", "changed_count", "left_out_count", "changes", "more_count")
    POLICY_NAME_FIELD_NUMBER: _ClassVar[int]
    POLICY_HASH_FIELD_NUMBER: _ClassVar[int]
    BASE_HASH_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_WHY_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    JUDGED_COUNT_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBER_ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_COUNT_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_COUNT_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    MORE_COUNT_FIELD_NUMBER: _ClassVar[int]
    policy_name: str
    policy_hash: str
    base_hash: str
    started_at: int
    until: int
    ended_at: int
    ended_why: str
    sample_percent: float
    judged_count: int
    subscriber_estimate: int
    changed_count: int
    left_out_count: int
    changes: _containers.RepeatedCompositeFieldContainer[TrialChange]
    more_count: int
    def __init__(self, policy_name: _Optional[str] = ..., policy_hash: _Optional[str] = ..., base_hash: _Optional[str] = ..., started_at: _Optional[int] = ..., until: _Optional[int] = ..., ended_at: _Optional[int] = ..., ended_why: _Optional[str] = ..., sample_percent: _Optional[float] = ..., judged_count: _Optional[int] = ..., subscriber_estimate: _Optional[int] = ..., changed_count: _Optional[int] = ..., left_out_count: _Optional[int] = ..., changes: _Optional[_Iterable[_Union[TrialChange, _Mapping]]] = ..., more_count: _Optional[int] = ...) -> None: ...

class TrialChange(_message.Message):
    __slots__ = ("cohort", "status_before", "reason_before", "status_after", "reason_after", "check_count", "subscriber_estimate")
    COHORT_FIELD_NUMBER: _ClassVar[int]
    STATUS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    REASON_BEFORE_FIELD_NUMBER: _ClassVar[int]
    STATUS_AFTER_FIELD_NUMBER: _ClassVar[int]
    REASON_AFTER_FIELD_NUMBER: _ClassVar[int]
    CHECK_COUNT_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBER_ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    cohort: str
    status_before: _check_pb2.EquipmentStatus
    reason_before: _check_pb2.VerdictReason
    status_after: _check_pb2.EquipmentStatus
    reason_after: _check_pb2.VerdictReason
    check_count: int
    subscriber_estimate: int
    def __init__(self, cohort: _Optional[str] = ..., status_before: _Optional[_Union[_check_pb2.EquipmentStatus, str]] = ..., reason_before: _Optional[_Union[_check_pb2.VerdictReason, str]] = ..., status_after: _Optional[_Union[_check_pb2.EquipmentStatus, str]] = ..., reason_after: _Optional[_Union[_check_pb2.VerdictReason, str]] = ..., check_count: _Optional[int] = ..., subscriber_estimate: _Optional[int] = ...) -> None: ...
