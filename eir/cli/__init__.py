"""The command line: parses, asks a daemon or reads its files, prints.

    words ──► command ──RPC──► daemon         ──► text or JSON on stdout
                   └──read only──► data directory ──┘   messages on stderr

Nothing is decided here. A sub-command is one function; what is slow to import
is imported inside it. The exit codes stand in docs/operating.md.
"""

from __future__ import annotations

import click

from eir import __version__
from eir.cli import (
    cases,
    check,
    configuration,
    delta,
    demo,
    enforcement,
    feed,
    import_lists,
    inquire,
    journal,
    notice_texts,
    notices,
    policy,
    segments,
    serve,
    status,
    why,
)
from eir.cli.say import EXIT_CODES, Commands

__all__ = ["main"]


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES,
)
@click.version_option(__version__, message="eir %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an internal error.")
def main(debug: bool) -> None:
    """Network EIR: answers whether a phone may be used with a SIM."""


for command in (
    serve.serve,
    check.check,
    inquire.inquire,
    delta.delta,
    feed.feed,
    import_lists.import_,
    status.status,
    why.why,
    policy.policy,
    journal.journal,
    segments.segments,
    enforcement.enforcement,
    cases.cases,
    notices.notices,
    configuration.config,
    demo.demo,
):
    main.add_command(command)
notices.notices.add_command(notice_texts.texts)
