"""Every text with sample values, as subscribers see it, to be read before anybody gets one. Pure.

texts ──► specimens: text, alphabet, units, parts ──► page of message bubbles
"""

from __future__ import annotations

import datetime as dt
import html
import zoneinfo
from collections.abc import Iterator
from typing import Final, NamedTuple

from eir.notify.messages import Texts, Values
from eir.notify.schedule import DAY
from eir.notify.segmentation import GSM7, segment

SAMPLE_IMEI: Final = "356938035643809"
SAMPLE_DAYS: Final = 17
RIGHT_TO_LEFT: Final = frozenset(("ar", "ckb", "fa", "he", "ps", "ur"))
_PAGE: Final = """\
<!doctype html>
<html><head><meta charset="utf-8"><title>Texts of notices</title><style>
body {{ background: #d8dde3; font: 15px/1.6 Vazirmatn, "Noto Sans Arabic UI", "Noto Sans Arabic", Roboto,
  "Noto Sans", sans-serif; margin: 24px; }}
section {{ display: grid; grid-template-columns: repeat(auto-fill, 344px); gap: 18px; align-items: start; }}
h2 {{ font-size: 17px; margin: 24px 0 10px; direction: ltr; }}
figure {{ margin: 0; background: #f4f6f8; border-radius: 16px; padding: 12px; width: 320px; }}
figcaption {{ color: #5a6572; font-size: 12px; direction: ltr; text-align: left; margin-bottom: 6px; }}
p {{ background: #fff; border-radius: 14px 14px 14px 4px; padding: 8px 12px; margin: 0; white-space: pre-line;
  unicode-bidi: plaintext; overflow-wrap: anywhere; }}
</style></head><body>
{body}</body></html>
"""


class Specimen(NamedTuple):
    """One text as it goes out; the endings have no cause."""

    language: str
    cause: str
    stage: str
    text: str
    alphabet: str
    units: int
    parts: int


def specimens(texts: Texts, now: int, zone: str, code: str, helpline: str) -> Iterator[Specimen]:
    """Fill every text of every language with a sample: a deadline some days from now."""
    where = zoneinfo.ZoneInfo(zone)
    noon = dt.datetime.fromtimestamp(now, where).replace(hour=12, minute=0, second=0)
    values = Values(SAMPLE_IMEI, int(noon.timestamp()) + SAMPLE_DAYS * DAY, now, where, code, helpline)
    for name, language in texts.languages.items():
        for cause, stage in language.texts:
            text = language.fill(cause, stage, values)
            parts = segment(text, 0)
            gsm7 = parts.data_coding == GSM7
            octets = sum(map(len, parts.bodies)) - 6 * len(parts.bodies) * (len(parts.bodies) > 1)
            units = octets if gsm7 else octets // 2
            alphabet = "GSM-7" if gsm7 else "UCS-2"
            yield Specimen(name, cause, stage, text, alphabet, units, len(parts.bodies))


def page(given: list[Specimen]) -> str:
    """Return an HTML page that shows texts as a phone does, each in a bubble."""
    out = []
    for language, cause in dict.fromkeys((one.language, one.cause) for one in given):
        out.append(f"<h2>{html.escape(language)} {html.escape(cause or 'endings')}</h2>\n<section>")
        for one in given:
            if (one.language, one.cause) != (language, cause):
                continue
            way = "rtl" if language in RIGHT_TO_LEFT else "ltr"
            parts = "1 part" if one.parts == 1 else f"{one.parts} parts"
            head = f"{html.escape(one.stage)} · {one.alphabet}, {one.units} units, {parts}"
            bubble = f'<p lang="{html.escape(language)}" dir="{way}">{html.escape(one.text)}</p>'
            out.append(f"<figure><figcaption>{head}</figcaption>{bubble}</figure>")
        out.append("</section>")
    return _PAGE.format(body="\n".join(out) + "\n")
