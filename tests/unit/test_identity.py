"""Text to identity."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn

from eir.identity import (
    ImeiClass,
    ImsiClass,
    e164,
    imei_15,
    imei_text,
    imsi_code,
    imsi_text,
    luhn_digit,
    mask,
    normalise,
    parse_imei,
    parse_imsi,
    special_class,
    typed_imei,
    typed_imsi,
    typed_msisdn,
)

EMPTY = ImeiClass.MALFORMED_EMPTY
SHORT = ImeiClass.MALFORMED_SHORT
LONG = ImeiClass.MALFORMED_LONG
NON_DIGIT = ImeiClass.MALFORMED_NON_DIGIT
PLACEHOLDERS = frozenset({35365308000000, 123456, 11223344556677, 12345678901234, 1010101010101})

SEEN_ON_NETWORKS = [
    ("", EMPTY),
    (" " * 14, EMPTY),
    ("DEABFCDE2ABFEC", NON_DIGIT),
    ("BA0A0000000000", NON_DIGIT),
    ("FFFFFFFFFFFFFF", NON_DIGIT),
    ("00D0D0D0D0D0D00", NON_DIGIT),
    ("355E87F00000000", NON_DIGIT),
    ("35295907A9CD4E0", NON_DIGIT),
    ("352502084170D00", NON_DIGIT),
    ("PWIUYTRWQLKJHM", NON_DIGIT),
    ("#", NON_DIGIT),
    ("35424208#*21340", NON_DIGIT),
    ("00", SHORT),
    ("F", NON_DIGIT),
    ("BA0A", NON_DIGIT),
    ("8", SHORT),
    ("35365308", SHORT),
    ("567123098764107642", LONG),
    ("000000004037A50", NON_DIGIT),
    ("0" * 14, ImeiClass.SPECIAL_ZERO),
    *((digit * 14, ImeiClass.SPECIAL_REPEATED) for digit in "123456789"),
    ("353653080000000", ImeiClass.SPECIAL_PLACEHOLDER),
    ("00000000123456", ImeiClass.SPECIAL_PLACEHOLDER),
    ("11223344556677", ImeiClass.SPECIAL_PLACEHOLDER),
    ("123456789012345", ImeiClass.SPECIAL_PLACEHOLDER),
    ("01010101010101", ImeiClass.SPECIAL_PLACEHOLDER),
]


@pytest.mark.parametrize(("text", "expected"), SEEN_ON_NETWORKS)
def test_malformed_and_special_values_seen_on_networks(text: str, expected: ImeiClass) -> None:
    """Qualcomm, EIR & Core Network Requirements 1.0.0, clause 9."""
    assert parse_imei(text, PLACEHOLDERS).imei_class is expected


def test_four_spellings_are_one_identity() -> None:
    """14 digits, with Luhn digit, with spare 0, and as IMEISV."""
    spellings = ["26053179311383", "260531793113837", "260531793113830", "2605317931138301"]
    parsed = {parse_imei(text) for text in [*spellings, " 260531793113837\n"]}
    assert parsed == {(ImeiClass.KEY, 26053179311383, "")}


def test_a_wrong_check_digit_is_the_same_identity() -> None:
    """The check path never rejects on Luhn."""
    assert parse_imei("260531793113831") == parse_imei("260531793113837")


@pytest.mark.parametrize("tac", ["00100101", "00101799", "00440000", "00869999", "00910000"])
def test_test_tacs_are_special(tac: str) -> None:
    """TS 23.003 annex B."""
    assert parse_imei(f"{tac}123456").imei_class is ImeiClass.SPECIAL_TEST


@pytest.mark.parametrize("tac", ["00100001", "00101800", "00450000", "10440000", "35365308"])
def test_neighbours_of_test_tacs_are_not_special(tac: str) -> None:
    """One below and one above each range."""
    assert parse_imei(f"{tac}123456").imei_class is ImeiClass.KEY


def test_placeholders_are_special_only_when_configured() -> None:
    """The list belongs to the policy."""
    assert special_class(35365308000000) is ImeiClass.KEY
    assert special_class(35365308000000, {35365308000000}) is ImeiClass.SPECIAL_PLACEHOLDER
    assert special_class(0, {0}) is ImeiClass.SPECIAL_ZERO


@given(st.integers(0, 10**14 - 1))
def test_luhn_digit_agrees_with_stdnum(key: int) -> None:
    """An independent implementation as oracle."""
    assert luhn_digit(key) == int(luhn.calc_check_digit(imei_text(key)))


def test_luhn_digit_of_the_worked_example() -> None:
    """TS 23.003 annex B."""
    assert luhn_digit(26053179311383) == 7


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("35365308123456", "35365308123456"),
        (" 353653081234567 ", "35365308123456"),
        ("3536530812345699", "35365308123456"),
        ("35365308*#", "35365308*#"),
        ("ba0a", "BA0A"),
        ("0000123", "0000123"),
        ("3536530812345ax", "3536530812345AX"),
    ],
)
def test_lists_and_checks_normalise_alike(text: str, expected: str) -> None:
    """A raw list entry is found under what a check makes of it."""
    assert normalise(text) == expected
    assert parse_imei(text).raw in ("", expected)


def test_only_ascii_digits_are_digits() -> None:
    """Persian digits are a person's input, not a phone's."""
    assert parse_imei("۳۵۳۶۵۳۰۸۱۲۳۴۵۶").imei_class is NON_DIGIT
    assert parse_imsi("۴۳۲۱۱۰۰۰۰۰۰۰۰۰۱").imsi_class is ImsiClass.MALFORMED


@given(st.text())
def test_parse_imei_never_raises(text: str) -> None:
    """And an identity is a key or raw text, never both."""
    imei = parse_imei(text)
    assert imei.key == 0 or imei.raw == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ImsiClass.NONE),
        ("  ", ImsiClass.NONE),
        ("4", ImsiClass.SHORT),
        ("43211", ImsiClass.SHORT),
        ("432110", ImsiClass.WELL_FORMED),
        ("432110123456789", ImsiClass.WELL_FORMED),
        ("4321101234567890", ImsiClass.MALFORMED),
        ("43211O123456789", ImsiClass.MALFORMED),
        ("+43211012345678", ImsiClass.MALFORMED),
    ],
)
def test_imsi_classes(text: str, expected: ImsiClass) -> None:
    """TS 23.003 clause 2.2."""
    assert parse_imsi(text).imsi_class is expected


@given(st.text("0123456789", min_size=1, max_size=15))
def test_imsi_code_keeps_leading_zeros(text: str) -> None:
    """IMSIs of every length have codes of their own."""
    assert imsi_text(imsi_code(text)) == text
    assert imsi_code(f"0{text}"[:15]) != imsi_code(text) or text.startswith("0" * len(text))


def test_imsi_code_refuses_what_is_no_imsi() -> None:
    """Lists are stricter than checks."""
    with pytest.raises(ValueError, match="1 to 15 digits"):
        imsi_code("4321101234567890")


def test_mask_hides_the_middle() -> None:
    """Logs never hold a whole identity."""
    assert mask("35365308123456") == "353*********56"
    assert mask("12345") == "12345"


SPELLINGS = [
    "26053179311383",
    "260531793113837",
    "2605317931138301",
    "26-053179-311383-7",
    "26 053179 311383 7",
    " 260531793113837\n",
    "۲۶۰۵۳۱۷۹۳۱۱۳۸۳۷",
    "٢٦٠٥٣١٧٩٣١١٣٨٣٧",
    "\u200e260531793113837\u200f",
    "26\u00a0053179\u200c311383\u20117",
    "(26) 053179.311383/7",
]


@pytest.mark.parametrize("text", SPELLINGS)
@pytest.mark.parametrize("raw", [False, True])
def test_every_spelling_that_people_use_is_one_imei(text: str, raw: bool) -> None:
    assert typed_imei(text, raw=raw) == ((ImeiClass.KEY, 26053179311383, ""), False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        (" - \u200e", "is empty"),
        ("2605317931138", "has 13 digits"),
        ("26053179311383012", "has 17 digits"),
        ("2605317931138x", "other characters"),
        ("BA0A0000000000", "other characters"),
        ("1" * 65, "longer than 64"),
    ],
)
def test_what_is_no_imei_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        typed_imei(text)


def test_a_wrong_check_digit_is_told_and_0_is_none() -> None:
    assert typed_imei("260531793113837").check_digit_wrong is False
    assert typed_imei("260531793113830").check_digit_wrong is False
    assert typed_imei("260531793113831").check_digit_wrong is True
    assert typed_imei("2605317931138319").check_digit_wrong is False


@pytest.mark.parametrize("text", ["ba0a", "35424208#*21340", "8", "F"])
def test_raw_entries_of_lists_are_for_staff(text: str) -> None:
    assert typed_imei(text, raw=True).imei.raw == text.upper()
    assert parse_imei(text).raw == text.upper()
    with pytest.raises(ValueError, match="digits"):
        typed_imei(text)


@pytest.mark.parametrize("text", ["PWIUYTRWQLKJHM", "F" * 17])
def test_what_no_list_can_hold_is_refused_for_staff_too(text: str) -> None:
    with pytest.raises(ValueError, match="other characters"):
        typed_imei(text, raw=True)


@given(st.text(max_size=70))
def test_whatever_is_typed_is_an_imei_or_a_reason(text: str) -> None:
    for raw in (False, True):
        try:
            imei = typed_imei(text, raw=raw).imei
        except ValueError:
            continue
        assert imei == parse_imei(imei.raw or imei_text(imei.key))
        assert raw or not imei.raw


def test_an_imsi_keeps_its_leading_zeros() -> None:
    assert typed_imsi("۰۰۱-01 0000000001") == imsi_code("001010000000001")
    for text in ("", "x", "1" * 16):
        with pytest.raises(ValueError, match=r"1 to 15 digits|empty"):
            typed_imsi(text)


@pytest.mark.parametrize(
    "text", ["+98 912 123 4567", "00989121234567", "989121234567", "0912-123-4567", "۰۹۱۲۱۲۳۴۵۶۷"]
)
def test_every_spelling_of_a_number_is_one_msisdn(text: str) -> None:
    assert typed_msisdn(text, "98") == 1989121234567


def test_a_national_number_needs_the_country_code() -> None:
    with pytest.raises(ValueError, match="country code"):
        typed_msisdn("09121234567")
    for text in ("+", "00", "1" * 16, "09a", ""):
        with pytest.raises(ValueError, match=r"1 to 15 digits|empty"):
            typed_msisdn(text, "98")


@pytest.mark.parametrize("text", ["", "09121234567", "+989121234567", "98 912", "9" * 16, "۹۸۹۱۲", "98x"])
def test_only_e164_digits_are_a_number_to_send_to(text: str) -> None:
    assert e164(text) == ""


def test_a_number_of_a_check_is_taken_as_it_is() -> None:
    assert e164("989121234567") == "989121234567"
    assert e164("9" * 15) == "9" * 15


def test_people_write_the_check_digit() -> None:
    assert imei_15(26053179311383) == "260531793113837"
    assert imei_15(1) == "000000000000018"
