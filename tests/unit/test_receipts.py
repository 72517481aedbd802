"""Receipts in all their forms."""

from __future__ import annotations

import pytest
import smpp34
from hypothesis import given
from hypothesis import strategies as st

from eir.notify.receipts import Outcome, Receipt, read_receipt, spellings

TEXT = b"id:%s sub:001 dlvrd:001 submit date:2611221200 done date:2611221201 stat:%s err:%s text:hello"


def deliver(text: bytes = b"", esm_class: int = 4, **tags: bytes) -> smpp34.DeliverSm:
    numbers = {"id": 0x1E, "state": 0x427, "error": 0x423}
    tlvs = [smpp34.Tlv(numbers[name], value) for name, value in tags.items()]
    return smpp34.DeliverSm("98912", "EIR", text, esm_class=esm_class, tlvs=tlvs)


@pytest.mark.parametrize(
    ("stat", "outcome"),
    [
        (b"DELIVRD", Outcome.DELIVERED), (b"delivrd", Outcome.DELIVERED), (b"EXPIRED", Outcome.EXPIRED),
        (b"UNDELIV", Outcome.FAILED), (b"REJECTD", Outcome.FAILED), (b"DELETED", Outcome.FAILED),
        (b"ENROUTE", Outcome.PENDING), (b"ACCEPTD", Outcome.PENDING), (b"UNKNOWN", Outcome.PENDING),
        (b"WHATEVER", Outcome.PENDING),
    ],
)  # fmt: skip
def test_the_text_form(stat: bytes, outcome: Outcome) -> None:
    assert read_receipt(deliver(TEXT % (b"4F2A", stat, b"011"))) == Receipt("4F2A", outcome, "011")


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (1, Outcome.PENDING),
        (2, Outcome.DELIVERED),
        (3, Outcome.EXPIRED),
        (5, Outcome.FAILED),
        (8, Outcome.FAILED),
        (99, Outcome.PENDING),
    ],
)
def test_the_tlv_form(state: int, outcome: Outcome) -> None:
    found = read_receipt(deliver(id=b"abc\0", state=bytes((state,)), error=b"\x03\x00\x0b"))
    assert found == Receipt("abc", outcome, "03000b")


def test_tlvs_win_over_the_text() -> None:
    found = read_receipt(deliver(TEXT % (b"text", b"UNDELIV", b"1"), id=b"tlv\0", state=b"\x02"))
    assert found == Receipt("tlv", Outcome.DELIVERED, "1")


def test_an_id_alone_makes_a_receipt_of_it() -> None:
    assert read_receipt(deliver(esm_class=0, id=b"x\0", state=b"\x02")) == Receipt("x", Outcome.DELIVERED, "")


@pytest.mark.parametrize("text", [b"", b"hello", b"id: stat:DELIVRD", b"id:" + b"9" * 65 + b" stat:DELIVRD"])
def test_what_names_no_message_is_no_receipt(text: bytes) -> None:
    assert read_receipt(deliver(text)) is None


def test_a_short_message_is_no_receipt() -> None:
    assert read_receipt(deliver(TEXT % (b"1", b"DELIVRD", b"0"), esm_class=0)) is None


def test_ids_in_decimal_may_stand_for_hex() -> None:
    assert spellings("255") == ("255", "FF", "ff", "000000FF", "000000ff")
    assert spellings("4f2a") == ("4f2a",)
    assert spellings("²") == ("²",)


@given(st.binary(max_size=200), st.binary(max_size=70), st.binary(max_size=2), st.integers(0, 255))
def test_garbage_never_raises(text: bytes, name: bytes, state: bytes, esm_class: int) -> None:
    read_receipt(deliver(text, esm_class, id=name, state=state))
