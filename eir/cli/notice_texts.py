"""`eir notices texts`: every text with sample values, to be read before anybody gets one."""

from __future__ import annotations

from pathlib import Path

import click

from eir.cli.say import count, show_table
from eir.clock import now_seconds


@click.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--code", default="*7777#", show_default=True, help="What subscribers are told to dial.")
@click.option("--helpline", default="02127480000", show_default=True, help="Number they are told to call.")
@click.option("--language", default="fa", show_default=True, help="Language of those whose own has no texts.")
@click.option("--time-zone", default="Asia/Tehran", show_default=True, help="Whose midnights dates have.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page of message bubbles instead.")
def texts(
    file: Path | None, code: str, helpline: str, language: str, time_zone: str, html: Path | None
) -> None:
    """Show every text of FILE, or those shipped, with alphabet and parts; refuses what the daemon would."""
    from eir.notify.messages import read_texts, shipped_texts
    from eir.notify.specimen import page, specimens

    given = file.read_text("utf-8") if file else shipped_texts()
    read = read_texts(given, str(file or "shipped texts"), default=language, code=code, helpline=helpline)
    found = list(specimens(read, now_seconds(), time_zone, code, helpline))
    if html is not None:
        html.write_text(page(found), "utf-8")
        click.echo(f"{html}: {count(len(found), 'text')}")
        return
    show_table(
        ("language", "cause", "stage", "alphabet", "units", "parts", "text"),
        [
            (one.language, one.cause or "-", one.stage, one.alphabet, one.units, one.parts, one.text)
            for one in found
        ],
    )
