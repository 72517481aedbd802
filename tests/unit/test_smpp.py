"""One SMPP session, without a socket."""

from __future__ import annotations

import pytest
import smpp34
from hypothesis import given
from hypothesis import strategies as st

from eir.notify.segmentation import segment
from eir.notify.smpp import (
    HEADER,
    PDU_BYTES_MAX,
    Address,
    Answered,
    Arrived,
    Bound,
    Closed,
    Command,
    Lost,
    Session,
    Status,
    Terms,
)

TERMS = Terms("transceiver", "eir", "secret", window_max=4, answer_seconds_max=10, idle_seconds_max=30)
FROM, TO = Address("EIR", 5), Address("989120000001", 1, 1)
HELLO = segment("hello", 1)


def pdu(command: int, sequence: int, status: int = 0, body: bytes = b"") -> bytes:
    return HEADER.pack(HEADER.size + len(body), command, status, sequence) + body


def sent(session: Session) -> list[tuple[int, int, int, bytes]]:
    """Commands, statuses, sequence numbers and bodies of what the session sends."""
    data, found = session.outgoing(), []
    while data:
        length, command, status, sequence = HEADER.unpack_from(data)
        found.append((command, status, sequence, data[HEADER.size : length]))
        data = data[length:]
    return found


@pytest.fixture
def session() -> Session:
    """A bound session at time 0."""
    session = Session(TERMS, 0)
    assert sent(session) == [(Command.BIND_TRANSCEIVER, 0, 1, b"eir\0secret\0\0\x34\0\0\0")]
    assert session.free == 0
    assert session.receive(pdu(Command.BIND_TRANSCEIVER | 0x80000000, 1, 0, b"smsc\0"), 0) == [Bound("smsc")]
    return session


def accepted(sequence: int, message_id: bytes = b"m1") -> bytes:
    return pdu(Command.SUBMIT_SM | 0x80000000, sequence, 0, message_id + b"\0")


def test_a_submission_and_its_answer(session: Session) -> None:
    (sequence,) = session.submit(FROM, TO, HELLO, 0)
    ((command, _, number, _),) = sent(session)
    assert (command, number) == (Command.SUBMIT_SM, sequence)
    assert session.free == 3
    assert session.receive(accepted(sequence), 1) == [Answered(sequence, 0, "m1")]
    assert session.free == 4


def test_what_a_submission_says(session: Session) -> None:
    session.submit(FROM, TO, segment("ی" * 71, 200), 0)
    data = session.outgoing()
    first = smpp34.decode(data[: HEADER.unpack_from(data)[0]])
    assert isinstance(first, smpp34.SubmitSm)
    assert (first.source_addr, first.source_addr_ton) == ("EIR", 5)
    assert (first.destination_addr, first.dest_addr_ton, first.dest_addr_npi) == ("989120000001", 1, 1)
    assert (first.esm_class, first.data_coding, first.registered_delivery) == (0x40, 8, 1)
    assert first.short_message[:6] == bytes((5, 0, 3, 200, 2, 1))


def test_the_window_bounds_what_is_in_flight(session: Session) -> None:
    for _ in range(4):
        session.submit(FROM, TO, HELLO, 0)
    with pytest.raises(ValueError, match="window"):
        session.submit(FROM, TO, HELLO, 0)


def test_a_message_goes_whole_or_not(session: Session) -> None:
    for _ in range(3):
        session.submit(FROM, TO, HELLO, 0)
    session.outgoing()
    with pytest.raises(ValueError, match="window"):
        session.submit(FROM, TO, segment("ی" * 71, 1), 0)
    assert session.outgoing() == b""


def test_an_address_that_cannot_be_sent_sends_nothing(session: Session) -> None:
    session.outgoing()
    for digits in ("", "9" * 21, "۹۸"):
        with pytest.raises(ValueError, match="no address"):
            session.submit(FROM, Address(digits), HELLO, 0)
    assert (session.outgoing(), session.free) == (b"", 4)


@pytest.mark.parametrize("status", [Status.RTHROTTLED, Status.RMSGQFUL, 0x0B])
def test_refusals_carry_their_status(session: Session, status: int) -> None:
    (sequence,) = session.submit(FROM, TO, HELLO, 0)
    answer = pdu(Command.SUBMIT_SM | 0x80000000, sequence, status)
    assert session.receive(answer, 1) == [Answered(sequence, status, "")]


def test_a_nack_answers_too(session: Session) -> None:
    (sequence,) = session.submit(FROM, TO, HELLO, 0)
    assert session.receive(pdu(Command.GENERIC_NACK, sequence, 3), 1) == [Answered(sequence, 3, "")]


def test_answers_to_nothing_are_let_go(session: Session) -> None:
    (sequence,) = session.submit(FROM, TO, HELLO, 0)
    assert session.receive(accepted(77), 1) == []
    assert session.receive(pdu(Command.UNBIND | 0x80000000, sequence), 1) == []
    assert session.receive(accepted(sequence) * 2, 1) == [Answered(sequence, 0, "m1")]


def test_what_is_not_answered_in_time_is_lost_once(session: Session) -> None:
    (sequence,) = session.submit(FROM, TO, HELLO, 0)
    assert session.tick(9.9) == []
    assert session.tick(10) == [Lost(sequence)]
    assert session.tick(11) == []
    assert session.receive(accepted(sequence), 12) == []
    assert session.free == 4


def test_an_idle_link_is_asked_and_a_dead_one_closed(session: Session) -> None:
    session.outgoing()
    session.tick(29)
    assert sent(session) == []
    session.tick(30)
    ((command, _, sequence, _),) = sent(session)
    assert command == Command.ENQUIRE_LINK
    session.tick(35)
    assert sent(session) == []
    (lost,) = session.submit(FROM, TO, HELLO, 39)
    assert session.tick(40) == [Lost(lost), Closed("no answer to enquire_link")]
    assert session.closed
    assert session.receive(pdu(Command.ENQUIRE_LINK | 0x80000000, sequence), 41) == []


def test_an_answered_link_lives(session: Session) -> None:
    session.tick(30)
    sequence = sent(session)[-1][2]
    session.receive(pdu(Command.ENQUIRE_LINK | 0x80000000, sequence), 31)
    session.tick(60)
    assert sent(session) == []
    session.tick(61)
    assert sent(session)[0][0] == Command.ENQUIRE_LINK


def test_enquiries_of_the_smsc_are_answered(session: Session) -> None:
    session.outgoing()
    session.receive(pdu(Command.ENQUIRE_LINK, 9), 1)
    assert sent(session) == [(Command.ENQUIRE_LINK | 0x80000000, 0, 9, b"")]


def deliver(sequence: int, text: bytes = b"hello") -> bytes:
    return smpp34.DeliverSm("98912", "7777", text, sequence_number=sequence).encode()


def test_short_messages_are_acknowledged(session: Session) -> None:
    session.outgoing()
    (event,) = session.receive(deliver(5), 1)
    assert isinstance(event, Arrived)
    assert event.message.short_message == b"hello"
    assert sent(session) == [(Command.DELIVER_SM | 0x80000000, 0, 5, b"\0")]


def test_garbage_in_a_short_message_is_refused_and_the_session_goes_on(session: Session) -> None:
    session.outgoing()
    assert session.receive(pdu(Command.DELIVER_SM, 5, 0, b"\xff" * 3), 1) == []
    assert sent(session) == [(Command.DELIVER_SM | 0x80000000, Status.RX_T_APPN, 5, b"\0")]
    assert session.malformed_count == 1
    assert not session.closed


def test_unknown_requests_are_refused(session: Session) -> None:
    session.outgoing()
    session.receive(pdu(0x103, 8), 1)
    assert sent(session) == [(Command.GENERIC_NACK, Status.RINVCMDID, 8, b"")]


def test_nothing_is_delivered_before_the_bind() -> None:
    session = Session(TERMS, 0)
    assert session.receive(deliver(5), 1) == []


@pytest.mark.parametrize("length", [0, 15, PDU_BYTES_MAX + 1, 0xFFFFFFFF])
def test_a_length_that_cannot_be_ends_the_session(session: Session, length: int) -> None:
    session.outgoing()
    events = session.receive(HEADER.pack(length, 5, 0, 3), 1)
    assert events == [Closed(f"a PDU of {length} bytes")]
    assert sent(session) == [(Command.GENERIC_NACK, Status.RINVCMDLEN, 3, b"")]


def test_a_refused_bind_says_its_status() -> None:
    session = Session(TERMS, 0)
    answer = pdu(Command.BIND_TRANSCEIVER | 0x80000000, 1, 0x0E)
    assert session.receive(answer, 1) == [Closed("bind refused with command_status 0x0000000E", 0x0E)]


def test_a_bind_without_answer_closes() -> None:
    assert Session(TERMS, 0).tick(10) == [Closed("no answer to bind_transceiver")]


def test_unbinding_lets_answers_come(session: Session) -> None:
    (sequence,) = session.submit(FROM, TO, HELLO, 0)
    session.unbind(1)
    number = sent(session)[-1][2]
    assert session.receive(accepted(sequence), 1) == [Answered(sequence, 0, "m1")]
    assert session.receive(pdu(Command.UNBIND | 0x80000000, number), 1) == [Closed("unbound")]


def test_the_smsc_may_unbind(session: Session) -> None:
    (sequence,) = session.submit(FROM, TO, HELLO, 0)
    session.outgoing()
    assert session.receive(pdu(Command.UNBIND, 4), 1) == [Lost(sequence), Closed("the SMSC unbound")]
    assert sent(session) == [(Command.UNBIND | 0x80000000, 0, 4, b"")]


@pytest.mark.parametrize(("kind", "command"), [("transmitter", 2), ("receiver", 1), ("transceiver", 9)])
def test_kinds_of_binds(kind: str, command: int) -> None:
    assert sent(Session(Terms(kind, "a", "b"), 0))[0][0] == command


@given(st.binary(max_size=300), st.integers(1, 20))
def test_garbage_never_raises(data: bytes, size: int) -> None:
    """It is refused, or waits for its end, or ends the session."""
    session = Session(TERMS, 0)
    session.receive(pdu(Command.BIND_TRANSCEIVER | 0x80000000, 1, 0, b"s\0"), 0)
    for at in range(0, len(data), size):
        session.receive(data[at : at + size], 1)
    session.tick(100)


@given(
    st.lists(st.sampled_from([accepted(2), deliver(3), pdu(Command.ENQUIRE_LINK, 4)]), max_size=6),
    st.integers(1, 40),
)
def test_cutting_the_bytes_changes_nothing(pdus: list[bytes], size: int) -> None:
    whole, cut = Session(TERMS, 0), Session(TERMS, 0)
    data = pdu(Command.BIND_TRANSCEIVER | 0x80000000, 1, 0, b"s\0") + b"".join(pdus)
    events = [
        str(event) for at in range(0, len(data), size) for event in cut.receive(data[at : at + size], 1)
    ]
    kinds = [event.split("(")[0] for event in events]
    assert kinds == [type(event).__name__ for event in whole.receive(data, 1)]
    assert cut.outgoing() == whole.outgoing()
