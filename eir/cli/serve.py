"""`eir serve`: the daemon."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

EPILOG = """\b
Exit codes:
  0  stopped by SIGTERM or SIGINT, calls in flight finished
  1  an error at start
  2  the configuration or the policy cannot be used
  3  another daemon uses the data directory
  4  the engine asked for is not installed
  5  stored state is damaged and cannot be rebuilt from what is there
"""


@click.command(epilog=EPILOG)
@click.option(
    "--config", "config_file", metavar="FILE", type=click.Path(path_type=Path), help="Configuration, in TOML."
)
@click.option("--data-dir", metavar="DIR", help="The directory of the daemon's state.")
@click.option("--engine", type=click.Choice(["auto", "portable", "native"]), help="What answers checks.")
@click.option("--check-listen", metavar="HOST:PORT", help="Where core nodes check.")
@click.option("--manage-listen", metavar="HOST:PORT", help="Where registry and operators manage.")
@click.option("--http-listen", metavar="HOST:PORT", help="Where metrics and probes are read.")
@click.option(
    "--insecure", is_flag=True, default=None, help="Listen in plain text elsewhere than on loopback."
)
def serve(config_file: Path | None, **settings: object) -> None:
    """Run the daemon until SIGTERM or SIGINT.

    Settings come from the defaults, the file, the environment (EIR_...) and
    these options; later wins. `eir config show` prints them.
    """
    from eir import config, heap
    from eir.whitelist import warm

    heap.settle()  # before anything imports numpy, and before the first thread
    given = {name: value for name, value in settings.items() if value is not None}
    loaded = config.load(config_file, os.environ, given)
    warm.start(Path(loaded.data_dir) / "segments")
    from eir import daemon  # importing it takes as long as reading the segments

    sys.exit(daemon.run(loaded))
