"""Texts of notices."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import pytest

from eir.errors import ConfigError
from eir.notify.messages import ENDINGS, STAGES, Texts, Values, read_texts, shipped_texts
from eir.notify.segmentation import GSM7, UCS2, segment
from eir.policy.rules import CAUSES

TEHRAN = zoneinfo.ZoneInfo("Asia/Tehran")
DEADLINE = int(dt.datetime(2026, 3, 20, 23, 59, tzinfo=TEHRAN).timestamp())
VALUES = Values("356938035643809", DEADLINE, DEADLINE - 10 * 86_400 + 60, TEHRAN, "*7777#", "02127480000")
EVERY = [*((cause, stage) for cause in CAUSES for stage in STAGES), *(("", ending) for ending in ENDINGS)]


def read(text: str) -> Texts:
    """Read texts as the daemon does."""
    return read_texts(text, "texts.toml", default="fa", code="*7777#", helpline="02127480000")


@pytest.fixture(scope="module")
def shipped() -> Texts:
    return read(shipped_texts())


@pytest.mark.parametrize(("cause", "stage"), EVERY)
def test_shipped_texts_name_the_phone_and_the_help(shipped: Texts, cause: str, stage: str) -> None:
    for language, coding in (("fa", UCS2), ("en", GSM7)):
        text = shipped.fill(language, cause, stage, VALUES)
        assert "643809" in text
        assert "35693803" not in text
        assert "*7777#" in text or "02127480000" in text
        assert ("{" in text, segment(text, 0).data_coding) == (False, coding)
        assert len(segment(text, 0).bodies) <= 2
        assert "http" not in text


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("stage", ["first", "reminder", "last"])
def test_warnings_name_the_day(shipped: Texts, cause: str, stage: str) -> None:
    assert "۲۹ اسفند ۱۴۰۴" in shipped.fill("fa", cause, stage, VALUES)
    assert "20 March 2026" in shipped.fill("en", cause, stage, VALUES)


def test_codes_keep_their_direction_in_persian(shipped: Texts) -> None:
    text = shipped.fill("fa", "never_activated", "first", VALUES)
    assert "\u200e*7777#\u200e" in text
    assert "\u200e643809\u200e" in text


def test_no_direction_marks_in_latin(shipped: Texts) -> None:
    assert "\u200e" not in shipped.fill("en", "never_activated", "first", VALUES)


def test_the_restored_are_told_to_restart(shipped: Texts) -> None:
    assert "خاموش و روشن" in shipped.fill("fa", "", "restored", VALUES)
    assert "off and on" in shipped.fill("en", "", "restored", VALUES)


def test_an_unknown_language_gets_the_default(shipped: Texts) -> None:
    assert shipped.fill("ku", "", "resolved", VALUES) == shipped.fill("fa", "", "resolved", VALUES)


def test_the_date_is_that_of_the_zone(shipped: Texts) -> None:
    utc = Values("356938035643809", DEADLINE, DEADLINE, dt.timezone(dt.timedelta(hours=5)), "*1#", "1")
    assert "21 March 2026" in shipped.fill("en", "not_registered", "last", utc)


@pytest.mark.parametrize(("left", "days"), [(-1, "۰"), (1, "۱"), (86_400, "۱"), (86_401, "۲")])
def test_days_are_rounded_up_and_never_below_none(left: int, days: str) -> None:
    texts = read(shipped_texts().replace("گوشی منتهی به {imei} مجاز شد.", "{days} {imei}", 1))
    values = Values("356938035643809", DEADLINE, DEADLINE - left, TEHRAN, "*7777#", "02127480000")
    assert texts.fill("fa", "", "restored", values).startswith(f"{days} ")


def broken(old: str, new: str) -> str:
    text = shipped_texts()
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[fa", "not TOML"),
        ("fa = 1", "fa: must be a table"),
        ("", "no texts in the default language 'fa'"),
        (broken("[en.not_registered]", "[en.unregistered]"), "en.not_registered: is missing"),
        (broken('restored = "The', 'again = "The'), "en.again: is not known"),
        (broken('alphabet = "gsm7"', 'alphabet = "ascii"'), "en.alphabet: 'ascii'"),
        (broken("Last warning: this slot of", "{imsi}"), "en.unowned_slot.last: placeholder {imsi}"),
        (broken("Last warning: this slot of", "{imei!r}"), "en.unowned_slot.last: placeholder"),
        (broken("Last warning: this slot of", "{imei"), "en.unowned_slot.last: "),
        (broken("Last warning: this slot of", "Last warning – this"), "U+2013"),
        (broken("یادآوری", "😀"), "U+1F600"),
        (broken("Last warning: this slot of", "x" * 200), "en.unowned_slot.last: 3 parts"),
        (broken('resolved = "', 'resolved = " " # '), "fa.resolved: is missing"),
    ],
)
def test_texts_that_could_not_be_sent_are_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(text)
    assert says in refused.value.message


def test_a_long_helpline_is_found_at_the_start() -> None:
    with pytest.raises(ConfigError, match="3 parts"):
        read_texts(shipped_texts(), "t", default="fa", code="*7777#", helpline="0" * 60)


def test_a_code_outside_the_alphabet_is_found_at_the_start() -> None:
    with pytest.raises(ConfigError, match=r"U\+06F7"):
        read_texts(shipped_texts(), "t", default="fa", code="*۷#", helpline="1")


def test_a_code_and_a_number_side_by_side_are_refused() -> None:
    """Behind the mark of a code, Persian digits are drawn to its right: the two change places."""
    text = shipped_texts().replace("{imei} در {deadline}", "{imei} {deadline}")
    assert text != shipped_texts()
    with pytest.raises(ConfigError, match=r"\{imei\} and \{deadline\} stand side by side"):
        read_texts(text, "texts", default="fa", code="*7777#", helpline="02127480000")


def test_a_text_for_inquiries_has_no_deadline() -> None:
    text = shipped_texts().replace("stolen or lost.", "stolen or lost on {deadline}.")
    with pytest.raises(ConfigError, match=r"en\.inquiry\.stolen: placeholder \{deadline\}"):
        read_texts(text, "texts", default="fa", code="*7777#", helpline="02127480000")
