"""Short messages of subscribers: who asks for which IMEI."""

from __future__ import annotations

import pytest
import smpp34
from hypothesis import given
from hypothesis import strategies as st

from eir.notify.incoming import Bounds, Incoming, Question

NOW = 1_790_000_000
IMEI = "356938035643809"
KEY = 35_693_803_564_380
SENDER = "989120000001"
FROM = {"source_addr_ton": 1, "source_addr_npi": 1}


def message(body: bytes | str, source: str = SENDER, **fields: object) -> smpp34.DeliverSm:
    octets = body.encode("latin-1") if isinstance(body, str) else body
    return smpp34.DeliverSm(source, "5000", octets, **(FROM | fields))  # type: ignore[arg-type]


def ucs2(text: str, **fields: object) -> smpp34.DeliverSm:
    return message(text.encode("utf-16-be"), data_coding=8, **fields)


def asked(given: smpp34.DeliverSm, incoming: Incoming | None = None, now: int = NOW) -> Question | None:
    return (incoming or Incoming(Bounds(), {"EIR", "989999"})).take("main", given, now)


def outcome(given: smpp34.DeliverSm) -> str:
    incoming = Incoming(Bounds(), {"EIR", "9899990000"})
    incoming.take("main", given, NOW)
    (name,) = incoming.counts
    return name.removeprefix("incoming_")


@pytest.mark.parametrize(
    "given_message",
    [
        message(IMEI),
        message(IMEI[:14]),
        message(IMEI + "0"),
        message("35-693803-564380-9\r\n"),
        message(" 356938 035643809 ", data_coding=1),
        message(IMEI, data_coding=3),
        message(IMEI, data_coding=0xF1),
        ucs2("۳۵۶۹۳۸۰۳۵۶۴۳۸۰۹"),
        ucs2("٣٥٦٩٣٨ ٠٣٥٦٤٣٨-٠٩"),
        ucs2("\u200e۳۵۶۹۳۸۰۳564380٩\u200f"),
        message(b"", tlvs=[smpp34.Tlv(0x0424, IMEI.encode())]),
        message(IMEI, source="+" + SENDER),
    ],
)
def test_an_imei_in_any_script_and_spelling(given_message: smpp34.DeliverSm) -> None:
    question = asked(given_message)
    assert question is not None
    assert (question.smsc, question.imei.imei.key) == ("main", KEY)
    assert (question.sender.removeprefix("+"), question.ton, question.npi) == (SENDER, 1, 1)


@pytest.mark.parametrize(
    ("given_message", "result"),
    [
        (message("id:1 stat:DELIVRD", esm_class=4), "not_a_subscriber"),
        (message(IMEI, esm_class=0x20), "not_a_subscriber"),
        (message(IMEI, source="5000"), "not_a_subscriber"),
        (message(IMEI, source="BANK", source_addr_ton=5), "not_a_subscriber"),
        (message(IMEI, source="12345678", source_addr_ton=5), "not_a_subscriber"),
        (message(IMEI, source="9899990000"), "not_a_subscriber"),
        (message(IMEI, source="1" * 16), "not_a_subscriber"),
        (message("hello"), "no_imei"),
        (message(IMEI[:13]), "no_imei"),
        (message(IMEI + "00"), "no_imei"),
        (message(f"{IMEI} {IMEI}"), "no_imei"),
        (message("1" * 200, tlvs=[]), "no_imei"),
        (message(IMEI, data_coding=4), "unreadable"),
        (message(b"\x80", data_coding=0), "unreadable"),
        (message(b"\xff", data_coding=1), "unreadable"),
        (message(b"\xd8\x00", data_coding=8), "unreadable"),
        (message(b""), "unreadable"),
        (message(b"\x05\x00", esm_class=0x40), "unreadable"),
        (message(b"\x05\x00\x03\x01\x00\x01" + IMEI.encode(), esm_class=0x40), "unreadable"),
        (message(b"\x05\x00\x03\x01\x09\x01" + IMEI.encode(), esm_class=0x40), "unreadable"),
        (message(b"\x05\x00\x03\x01\x02\x01" + IMEI.encode(), esm_class=0x40), "parts"),
    ],
)
def test_what_is_not_answered(given_message: smpp34.DeliverSm, result: str) -> None:
    assert outcome(given_message) == result


def test_ours_and_nobody_at_all() -> None:
    assert asked(message(IMEI, source="989999")) is None
    assert asked(message(IMEI), Incoming(Bounds(per_sender_hour_max=0))) is None


def part(reference: int, count: int, number: int, body: str, form: str) -> smpp34.DeliverSm:
    if form == "sar":
        values = (
            (0x020C, reference.to_bytes(2, "big")),
            (0x020E, bytes((count,))),
            (0x020F, bytes((number,))),
        )
        return message(body, tlvs=[smpp34.Tlv(tag, value) for tag, value in values])
    header = {
        "short": bytes((5, 0, 3, reference, count, number)),
        "long": bytes((6, 8, 4, 0, reference, count, number)),
        # An element that says nothing of parts comes before.
        "others": bytes((9, 0x24, 2, 1, 2, 0, 3, reference, count, number)),
    }[form]
    return message(header + body.encode(), esm_class=0x40)


@pytest.mark.parametrize("form", ["sar", "short", "long", "others"])
def test_a_message_in_parts_in_any_order(form: str) -> None:
    incoming = Incoming(Bounds())
    assert asked(part(7, 2, 2, IMEI[8:], form), incoming) is None
    assert asked(part(8, 2, 1, "unrelated", form), incoming) is None
    question = asked(part(7, 2, 1, IMEI[:8], form), incoming)
    assert question is not None
    assert question.imei.imei.key == KEY


def test_parts_are_forgotten_after_a_while_and_when_there_are_many() -> None:
    incoming = Incoming(Bounds(messages_max=2))
    assert asked(part(1, 2, 1, IMEI[:8], "short"), incoming) is None
    assert asked(part(1, 2, 2, IMEI[8:], "short"), incoming, NOW + 400) is None
    for reference in (2, 3, 4):
        asked(part(reference, 2, 1, IMEI[:8], "short"), incoming, NOW + 401)
    assert len(incoming._waiting) == 2
    assert asked(part(4, 2, 2, IMEI[8:], "short"), incoming, NOW + 402) is not None


def test_a_sender_asks_so_often_in_an_hour() -> None:
    incoming = Incoming(Bounds(per_sender_hour_max=2, per_second_max=100))
    answers = [asked(message(IMEI), incoming, NOW + at) is not None for at in range(4)]
    assert answers == [True, True, False, False]
    assert asked(message(IMEI, source="989120000002"), incoming, NOW) is not None
    assert asked(message(IMEI), incoming, NOW + 3600) is not None
    assert incoming.counts["incoming_too_often"] == 2


def test_all_together_are_answered_so_fast_and_few_are_remembered() -> None:
    incoming = Incoming(Bounds(per_second_max=3, senders_max=4))
    answers = [asked(message(IMEI, source=f"98912000{n:04d}"), incoming) is not None for n in range(6)]
    assert answers == [True, True, True, False, False, False]
    assert len(incoming._senders) == 4
    assert asked(message(IMEI, source="989120009999"), incoming, NOW + 1) is not None


@given(st.binary(max_size=300), st.integers(0, 255), st.integers(0, 255))
def test_garbage_is_no_question_or_one(body: bytes, coding: int, esm_class: int) -> None:
    incoming = Incoming(Bounds())
    incoming.take("main", message(body[:254], data_coding=coding, esm_class=esm_class), NOW)
    assert sum(incoming.counts.values()) == 1
