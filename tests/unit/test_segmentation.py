"""A text and its parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eir.notify.segmentation import (
    _CODES,
    GSM7,
    HEADER_INDICATED,
    UCS2,
    gsm7_text,
    in_gsm7,
    part_count,
    segment,
)

LATIN = {octets: character for character, octets in _CODES.items()}


def joined(text: str) -> str:
    """What a phone puts together again, part by part."""
    parts = segment(text, 7)
    out = ""
    for at, body in enumerate(parts.bodies, 1):
        payload = body
        if len(parts.bodies) > 1:
            assert body[:6] == bytes((5, 0, 3, 7, len(parts.bodies), at))
            payload = body[6:]
        assert len(body) <= (140 if parts.data_coding == UCS2 else 160 if len(parts.bodies) == 1 else 159)
        out += payload.decode("utf-16-be") if parts.data_coding == UCS2 else gsm7(payload)
    return out


def gsm7(octets: bytes) -> str:
    """Read unpacked GSM-7, strictly: a torn escape fails."""
    out, at = "", 0
    while at < len(octets):
        length = 2 if octets[at] == 0x1B else 1
        out += LATIN[octets[at : at + length]]
        at += length
    return out


@given(st.text(st.sampled_from(sorted(_CODES)), min_size=1, max_size=900))
def test_latin_texts_come_back(text: str) -> None:
    assert segment(text, 0).data_coding == GSM7
    assert joined(text) == text


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=400).map(lambda t: t + "ی😀"))
def test_other_texts_come_back_without_a_torn_pair(text: str) -> None:
    assert segment(text, 0).data_coding == UCS2
    assert joined(text) == text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a" * 160, 1), ("a" * 161, 2), ("a" * 306, 2), ("a" * 307, 3),
        ("€" * 80, 1), ("€" * 81, 2), ("a" * 152 + "€" * 9, 2),
        ("ی" * 70, 1), ("ی" * 71, 2), ("ی" * 134, 2), ("ی" * 135, 3),
        ("😀" * 35, 1), ("😀" * 36, 2), ("😀" * 66, 2), ("😀" * 67, 3),
    ],
)  # fmt: skip
def test_lengths(text: str, parts: int) -> None:
    assert part_count(text) == parts


def test_alone_there_is_no_header() -> None:
    assert segment("hello", 9).bodies == (b"hello",)
    assert segment("hello", 9).esm_class == 0
    assert segment("a" * 161, 9).esm_class == HEADER_INDICATED


@pytest.mark.parametrize(
    ("character", "octets"),
    [("@", b"\x00"), ("€", b"\x1b\x65"), ("à", b"\x7f"), ("Δ", b"\x10"), ("Ç", b"\x09"), ("[", b"\x1b\x3c")]
)  # fmt: skip
def test_codes_of_the_alphabet(character: str, octets: bytes) -> None:
    assert segment(character, 0).bodies == (octets,)


def test_the_escape_is_no_character() -> None:
    assert not in_gsm7("\x1b")


@pytest.mark.parametrize("text", ["", "a\ud83d", "ی" * 67 * 256])
def test_what_cannot_be_sent_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"without text|lone surrogate|parts"):
        segment(text, 0)


def test_gsm7_is_read_as_it_is_written() -> None:
    text = "Ünits [€] {~} @Δ\n"
    assert gsm7_text(segment(text, 0).bodies[0]) == text
    assert gsm7_text(b"\x80") is None
    assert gsm7_text(b"\x1b\x41") == "A", "an escape that is in no table"
    assert gsm7_text(b"a\x1b") is None
