"""Texts of notices: by cause, stage and language, checked before anybody gets one.

    TOML ──► Texts: every text there, every placeholder known, two parts at most
    (cause, stage, language, values) ──► text

Dates are shown in the calendar and the digits of the language. Codes and the
IMEI's digits are Latin in every language, between left-to-right marks: without
them a phone shows `*7777#` as `#7777*` in a Persian text.
"""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from string import Formatter
from typing import Any, Final

import jdatetime

from eir.errors import ConfigError
from eir.notify.schedule import DAY
from eir.notify.segmentation import in_gsm7, part_count
from eir.policy.read import STAGES
from eir.policy.rules import CAUSES

ENDINGS: Final = ("resolved", "restored")
"""Texts without a cause: a warned subscriber's case was resolved; one that was cut off is let in again."""
INQUIRY: Final = "inquiry"
STATUSES: Final = ("registered", "stolen", "not_found")
"""Texts under `inquiry`: what the public is told of an IMEI (PublicStatus in inquiry.proto)."""
PARTS_MAX: Final = 2
IMEI_DIGITS_SHOWN: Final = 6

_DAYS_KEPT_MAX: Final = 1_024
"""Days whose date in another calendar is remembered."""
_LRM: Final = "\u200e"
_PERSIAN: Final = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
_MONTHS: Final = {
    "gregorian": [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    "jalali": [
        "فروردین",
        "اردیبهشت",
        "خرداد",
        "تیر",
        "مرداد",
        "شهریور",
        "مهر",
        "آبان",
        "آذر",
        "دی",
        "بهمن",
        "اسفند",
    ],
}
_GROUPS: Final = {**dict.fromkeys(CAUSES, STAGES), INQUIRY: STATUSES}
"""Tables of a language, and the texts in each."""
_FORMS: Final = {
    "alphabet": ("gsm7", "ucs2"),
    "calendar": tuple(_MONTHS),
    "digits": ("latin", "persian"),
}
_PLACEHOLDERS: Final = ("imei", "deadline", "days", "code", "helpline")
_CODES: Final = ("imei", "code", "helpline")
"""Placeholders between marks of direction."""
_INQUIRY_PLACEHOLDERS: Final = ("imei", "code", "helpline")


@dataclass(frozen=True)
class Values:
    """What a text speaks of; times in seconds since the Unix epoch."""

    imei: str
    deadline: int
    now: int
    zone: dt.tzinfo
    code: str
    helpline: str


@dataclass(frozen=True)
class Language:
    """Texts of one language, by cause and stage; the endings stand under no cause."""

    alphabet: str
    calendar: str
    digits: str
    texts: Mapping[tuple[str, str], str]

    def fill(self, cause: str, stage: str, values: Values) -> str:
        """Return a text with its placeholders filled."""
        days = max(-(-(values.deadline - values.now) // DAY), 0)
        return self.texts[cause, stage].format(
            imei=self._code(values.imei[-IMEI_DIGITS_SHOWN:]),
            deadline=self._date(values.deadline, values.zone),
            days=self._number(days),
            code=self._code(values.code),
            helpline=self._code(values.helpline),
        )

    def _code(self, code: str) -> str:
        """Keep a code from being turned round."""
        return f"{_LRM}{code}{_LRM}" if self.alphabet == "ucs2" else code

    def _number(self, number: int) -> str:
        return str(number).translate(_PERSIAN) if self.digits == "persian" else str(number)

    def _date(self, when: int, zone: dt.tzinfo) -> str:
        day, month, year = _day_of(self.calendar, dt.datetime.fromtimestamp(when, zone).date())
        return f"{self._number(day)} {_MONTHS[self.calendar][month - 1]} {self._number(year)}"


@lru_cache(_DAYS_KEPT_MAX)
def _day_of(calendar: str, day: dt.date) -> tuple[int, int, int]:
    """Return day, month and year in a calendar; deadlines of many fall on the same day."""
    shown = jdatetime.date.fromgregorian(date=day) if calendar == "jalali" else day
    return shown.day, shown.month, shown.year


@dataclass(frozen=True)
class Texts:
    """Texts of all languages."""

    languages: Mapping[str, Language]
    default: str

    def fill(self, language: str, cause: str, stage: str, values: Values) -> str:
        """Return the text for a subscriber; in the default language where his has none.

        An ending has the empty cause.
        """
        return self.languages.get(language, self.languages[self.default]).fill(cause, stage, values)


def shipped_texts() -> str:
    """TOML of the texts that the package ships."""
    return resources.files("eir.notify").joinpath("texts.toml").read_text("utf-8")


def read_texts(text: str, source: str, *, default: str, code: str, helpline: str) -> Texts:
    """Read and check all texts with the code and the helpline they will carry.

    Raises ConfigError, which names the text, what is wrong and what is allowed.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not TOML: {error}") from None
    languages = {name: _language(f"{source}: {name}", table) for name, table in document.items()}
    if default not in languages:
        raise ConfigError(
            f"{source}: no texts in the default language {default!r}; there are {sorted(languages)}"
        )
    for name, language in languages.items():
        for cause, stage in language.texts:
            where = f"{source}: {'.'.join(filter(None, (name, cause, stage)))}"
            allowed = _INQUIRY_PLACEHOLDERS if cause == INQUIRY else _PLACEHOLDERS
            _check(where, language, language.texts[cause, stage], allowed)
            for values in _longest(code, helpline):
                filled = language.fill(cause, stage, values)
                _check_alphabet(where, language, filled)
                if part_count(filled) > PARTS_MAX:
                    raise ConfigError(
                        f"{where}: {part_count(filled)} parts with the longest date, code and helpline; "
                        f"at most {PARTS_MAX}: {filled!r}"
                    )
    return Texts(languages, default)


def _language(where: str, table: Any) -> Language:
    """Read the texts of a language: all of them, and nothing else."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: must be a table of texts")
    forms: dict[str, str] = {}
    for name, allowed in _FORMS.items():
        forms[name] = table.get(name, "")
        if forms[name] not in allowed:
            raise ConfigError(
                f"{where}.{name}: {forms[name]!r} cannot be used; allowed: {', '.join(allowed)}"
            )
    wanted: dict[tuple[str, str], Any] = {("", ending): table.get(ending) for ending in ENDINGS}
    for name, stages in _GROUPS.items():
        group = table.get(name)
        if not isinstance(group, dict):
            raise ConfigError(f"{where}.{name}: is missing; allowed: a table of {', '.join(stages)}")
        _refuse_others(f"{where}.{name}", group, stages)
        wanted |= {(name, stage): group.get(stage) for stage in stages}
    _refuse_others(where, table, (*_FORMS, *ENDINGS, *_GROUPS))
    for (cause, stage), text in wanted.items():
        if not isinstance(text, str) or not text.strip():
            raise ConfigError(
                f"{where}{'.' * bool(cause)}{cause}.{stage}: is missing; every stage needs a text"
            )
    return Language(**forms, texts=wanted)


def _refuse_others(where: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in table:
        if name not in known:
            raise ConfigError(f"{where}.{name}: is not known; allowed: {', '.join(known)}")


def _check(where: str, language: Language, text: str, allowed: tuple[str, ...]) -> None:
    """Refuse placeholders that nothing fills, and characters that cannot be sent."""
    try:
        fields = list(Formatter().parse(text))
    except ValueError as error:
        raise ConfigError(f"{where}: {error}; a brace that is meant is written twice") from None
    code = ""
    for literal, name, form, conversion in fields:
        _check_alphabet(where, language, literal)
        if code and name and language.alphabet == "ucs2" and not any(map(str.isalpha, literal)):
            # Digits right behind a mark are drawn to its right: the two would change places.
            raise ConfigError(
                f"{where}: {{{code}}} and {{{name}}} stand side by side; put a word between them"
            )
        code = name if name in _CODES else ""
        if name is not None and (name not in allowed or form or conversion):
            raise ConfigError(
                f"{where}: placeholder {{{name}}} is not known; allowed: "
                + ", ".join(f"{{{known}}}" for known in allowed)
            )


def _check_alphabet(where: str, language: Language, text: str) -> None:
    for character in text:
        sent = (
            in_gsm7(character)
            if language.alphabet == "gsm7"
            else character == "\n" or " " <= character <= "\uffff"
        )
        if not sent:
            raise ConfigError(
                f"{where}: U+{ord(character):04X} ({character!r}) is not in the alphabet {language.alphabet}"
            )


def _longest(code: str, helpline: str) -> Iterator[Values]:
    """Values of one text in every month, with days of two digits in both calendars."""
    for month in range(12):
        deadline = int(dt.datetime(2026, month + 1, 12, 12, tzinfo=dt.UTC).timestamp())
        yield Values("0" * 15, deadline, deadline - 999 * DAY, dt.UTC, code, helpline)
