from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ForwardedSighting(_message.Message):
    __slots__ = ("key", "imsi", "at", "msisdn")
    KEY_FIELD_NUMBER: _ClassVar[int]
    IMSI_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    MSISDN_FIELD_NUMBER: _ClassVar[int]
    key: int
    imsi: int
    at: int
    msisdn: str
    def __init__(self, key: _Optional[int] = ..., imsi: _Optional[int] = ..., at: _Optional[int] = ..., msisdn: _Optional[str] = ...) -> None: ...

class ForwardSightingsRequest(_message.Message):
    __slots__ = ("daemon", "sightings")
    DAEMON_FIELD_NUMBER: _ClassVar[int]
    SIGHTINGS_FIELD_NUMBER: _ClassVar[int]
    daemon: str
    sightings: _containers.RepeatedCompositeFieldContainer[ForwardedSighting]
    def __init__(self, daemon: _Optional[str] = ..., sightings: _Optional[_Iterable[_Union[ForwardedSighting, _Mapping]]] = ...) -> None: ...

class ForwardSightingsResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FollowCasesRequest(_message.Message):
    __slots__ = ("history", "position")
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    history: str
    position: int
    def __init__(self, history: _Optional[str] = ..., position: _Optional[int] = ...) -> None: ...

class FollowCasesResponse(_message.Message):
    __slots__ = ("history", "position", "from_beginning", "keys", "imsis", "states", "causes", "deadlines")
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    FROM_BEGINNING_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    IMSIS_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    CAUSES_FIELD_NUMBER: _ClassVar[int]
    DEADLINES_FIELD_NUMBER: _ClassVar[int]
    history: str
    position: int
    from_beginning: bool
    keys: _containers.RepeatedScalarFieldContainer[int]
    imsis: _containers.RepeatedScalarFieldContainer[int]
    states: bytes
    causes: bytes
    deadlines: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, history: _Optional[str] = ..., position: _Optional[int] = ..., from_beginning: _Optional[bool] = ..., keys: _Optional[_Iterable[int]] = ..., imsis: _Optional[_Iterable[int]] = ..., states: _Optional[bytes] = ..., causes: _Optional[bytes] = ..., deadlines: _Optional[_Iterable[int]] = ...) -> None: ...

class StreamFactsRequest(_message.Message):
    __slots__ = ("daemon",)
    DAEMON_FIELD_NUMBER: _ClassVar[int]
    daemon: str
    def __init__(self, daemon: _Optional[str] = ...) -> None: ...

class StreamFactsResponse(_message.Message):
    __slots__ = ("line",)
    LINE_FIELD_NUMBER: _ClassVar[int]
    line: GroupLine
    def __init__(self, line: _Optional[_Union[GroupLine, _Mapping]] = ...) -> None: ...

class GroupLine(_message.Message):
    __slots__ = ("daemon", "number", "previous", "cases", "notices", "acts", "numbers", "holds", "shifts", "receipts")
    DAEMON_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    CASES_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    ACTS_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    HOLDS_FIELD_NUMBER: _ClassVar[int]
    SHIFTS_FIELD_NUMBER: _ClassVar[int]
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    daemon: str
    number: int
    previous: int
    cases: _containers.RepeatedCompositeFieldContainer[CaseFacts]
    notices: _containers.RepeatedCompositeFieldContainer[ToldNotice]
    acts: _containers.RepeatedCompositeFieldContainer[ToldAct]
    numbers: _containers.RepeatedCompositeFieldContainer[ToldNumber]
    holds: _containers.RepeatedCompositeFieldContainer[ToldHold]
    shifts: _containers.RepeatedCompositeFieldContainer[ToldShift]
    receipts: _containers.RepeatedCompositeFieldContainer[ToldReceipt]
    def __init__(self, daemon: _Optional[str] = ..., number: _Optional[int] = ..., previous: _Optional[int] = ..., cases: _Optional[_Iterable[_Union[CaseFacts, _Mapping]]] = ..., notices: _Optional[_Iterable[_Union[ToldNotice, _Mapping]]] = ..., acts: _Optional[_Iterable[_Union[ToldAct, _Mapping]]] = ..., numbers: _Optional[_Iterable[_Union[ToldNumber, _Mapping]]] = ..., holds: _Optional[_Iterable[_Union[ToldHold, _Mapping]]] = ..., shifts: _Optional[_Iterable[_Union[ToldShift, _Mapping]]] = ..., receipts: _Optional[_Iterable[_Union[ToldReceipt, _Mapping]]] = ...) -> None: ...

class CaseFacts(_message.Message):
    __slots__ = ("key", "imsi", "cause", "opened_at", "grace_seconds", "state", "since", "until", "paused_seconds", "seen_at", "clock_at", "warned_at", "noticed_at", "steps_sent", "round_at")
    KEY_FIELD_NUMBER: _ClassVar[int]
    IMSI_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    OPENED_AT_FIELD_NUMBER: _ClassVar[int]
    GRACE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    PAUSED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SEEN_AT_FIELD_NUMBER: _ClassVar[int]
    CLOCK_AT_FIELD_NUMBER: _ClassVar[int]
    WARNED_AT_FIELD_NUMBER: _ClassVar[int]
    NOTICED_AT_FIELD_NUMBER: _ClassVar[int]
    STEPS_SENT_FIELD_NUMBER: _ClassVar[int]
    ROUND_AT_FIELD_NUMBER: _ClassVar[int]
    key: int
    imsi: int
    cause: int
    opened_at: int
    grace_seconds: int
    state: int
    since: int
    until: int
    paused_seconds: int
    seen_at: int
    clock_at: int
    warned_at: int
    noticed_at: int
    steps_sent: int
    round_at: int
    def __init__(self, key: _Optional[int] = ..., imsi: _Optional[int] = ..., cause: _Optional[int] = ..., opened_at: _Optional[int] = ..., grace_seconds: _Optional[int] = ..., state: _Optional[int] = ..., since: _Optional[int] = ..., until: _Optional[int] = ..., paused_seconds: _Optional[int] = ..., seen_at: _Optional[int] = ..., clock_at: _Optional[int] = ..., warned_at: _Optional[int] = ..., noticed_at: _Optional[int] = ..., steps_sent: _Optional[int] = ..., round_at: _Optional[int] = ...) -> None: ...

class ToldNotice(_message.Message):
    __slots__ = ("key", "imsi", "stage", "steps", "state", "at", "due_at", "smsc", "message_ids", "error")
    KEY_FIELD_NUMBER: _ClassVar[int]
    IMSI_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    DUE_AT_FIELD_NUMBER: _ClassVar[int]
    SMSC_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_IDS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    key: int
    imsi: int
    stage: str
    steps: int
    state: int
    at: int
    due_at: int
    smsc: str
    message_ids: _containers.RepeatedScalarFieldContainer[str]
    error: str
    def __init__(self, key: _Optional[int] = ..., imsi: _Optional[int] = ..., stage: _Optional[str] = ..., steps: _Optional[int] = ..., state: _Optional[int] = ..., at: _Optional[int] = ..., due_at: _Optional[int] = ..., smsc: _Optional[str] = ..., message_ids: _Optional[_Iterable[str]] = ..., error: _Optional[str] = ...) -> None: ...

class ToldReceipt(_message.Message):
    __slots__ = ("smsc", "message_ids", "stage", "state", "at", "error")
    SMSC_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_IDS_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    smsc: str
    message_ids: _containers.RepeatedScalarFieldContainer[str]
    stage: str
    state: int
    at: int
    error: str
    def __init__(self, smsc: _Optional[str] = ..., message_ids: _Optional[_Iterable[str]] = ..., stage: _Optional[str] = ..., state: _Optional[int] = ..., at: _Optional[int] = ..., error: _Optional[str] = ...) -> None: ...

class ToldAct(_message.Message):
    __slots__ = ("key", "imsi", "at", "event", "who", "why")
    KEY_FIELD_NUMBER: _ClassVar[int]
    IMSI_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    key: int
    imsi: int
    at: int
    event: str
    who: str
    why: str
    def __init__(self, key: _Optional[int] = ..., imsi: _Optional[int] = ..., at: _Optional[int] = ..., event: _Optional[str] = ..., who: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class ToldNumber(_message.Message):
    __slots__ = ("imsi", "msisdn")
    IMSI_FIELD_NUMBER: _ClassVar[int]
    MSISDN_FIELD_NUMBER: _ClassVar[int]
    imsi: int
    msisdn: int
    def __init__(self, imsi: _Optional[int] = ..., msisdn: _Optional[int] = ...) -> None: ...

class ToldHold(_message.Message):
    __slots__ = ("at", "why", "who")
    AT_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    at: int
    why: str
    who: str
    def __init__(self, at: _Optional[int] = ..., why: _Optional[str] = ..., who: _Optional[str] = ...) -> None: ...

class ToldShift(_message.Message):
    __slots__ = ("id", "seconds", "cause", "first_tac", "last_tac", "first_imsi", "last_imsi", "name", "at", "who", "why", "undone_at", "undone_by", "undone_why")
    ID_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    FIRST_TAC_FIELD_NUMBER: _ClassVar[int]
    LAST_TAC_FIELD_NUMBER: _ClassVar[int]
    FIRST_IMSI_FIELD_NUMBER: _ClassVar[int]
    LAST_IMSI_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    UNDONE_AT_FIELD_NUMBER: _ClassVar[int]
    UNDONE_BY_FIELD_NUMBER: _ClassVar[int]
    UNDONE_WHY_FIELD_NUMBER: _ClassVar[int]
    id: int
    seconds: int
    cause: int
    first_tac: int
    last_tac: int
    first_imsi: int
    last_imsi: int
    name: str
    at: int
    who: str
    why: str
    undone_at: int
    undone_by: str
    undone_why: str
    def __init__(self, id: _Optional[int] = ..., seconds: _Optional[int] = ..., cause: _Optional[int] = ..., first_tac: _Optional[int] = ..., last_tac: _Optional[int] = ..., first_imsi: _Optional[int] = ..., last_imsi: _Optional[int] = ..., name: _Optional[str] = ..., at: _Optional[int] = ..., who: _Optional[str] = ..., why: _Optional[str] = ..., undone_at: _Optional[int] = ..., undone_by: _Optional[str] = ..., undone_why: _Optional[str] = ...) -> None: ...
