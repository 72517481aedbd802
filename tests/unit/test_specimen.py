"""Every text with sample values, and the page that shows them."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

from click.testing import CliRunner

from eir.cli import main
from eir.notify.messages import read_texts, shipped_texts
from eir.notify.specimen import page, specimens

NOW = int(dt.datetime(2026, 11, 28, 8, tzinfo=dt.UTC).timestamp())
TEXTS = read_texts(shipped_texts(), "texts", default="fa", code="*7777#", helpline="02127480000")
FOUND = list(specimens(TEXTS, NOW, "Asia/Tehran", "*7777#", "02127480000"))


def test_every_text_is_there_with_what_it_costs() -> None:
    assert len(FOUND) == sum(len(language.texts) for language in TEXTS.languages.values())
    assert {one.parts for one in FOUND} <= {1, 2}
    for one in FOUND:
        most = {("GSM-7", 1): 160, ("GSM-7", 2): 306, ("UCS-2", 1): 70, ("UCS-2", 2): 134}
        assert one.units == len(one.text) <= most[one.alphabet, one.parts]
    (first,) = [one for one in FOUND if one[:3] == ("fa", "never_activated", "first")]
    assert "۲۴ آذر ۱۴۰۵" in first.text
    assert "\u200e*7777#\u200e" in first.text


def test_the_page_has_a_bubble_for_each_that_runs_its_way() -> None:
    made = page(FOUND)
    assert len(re.findall('<p lang="fa" dir="rtl">', made)) == len(
        re.findall('<p lang="en" dir="ltr">', made)
    )
    assert made.count("<figure>") == len(FOUND)
    assert page([FOUND[0]._replace(text="<b>")]).count("<b>") == 0


def test_the_command(tmp_path: Path) -> None:
    run = CliRunner().invoke
    shown = run(main, ["notices", "texts"])
    assert shown.exit_code == 0, shown.output
    assert len(shown.output.splitlines()) == len(FOUND) + 1
    written = run(main, ["notices", "texts", "--html", str(tmp_path / "page.html")])
    assert "42 texts" in written.output
    assert (tmp_path / "page.html").read_text("utf-8").startswith("<!doctype html>")
    bad = tmp_path / "texts.toml"
    bad.write_text(shipped_texts().replace("{imei}", "{imie}"), "utf-8")
    refused = run(main, ["notices", "texts", str(bad)])
    assert refused.exit_code
