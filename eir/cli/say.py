"""What commands say, and how they end: data to stdout, messages to stderr, an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any, Final

import click

from eir.errors import CorruptError, EirError, FatalError, PolicyError, StateDamagedError

OK: Final = 0
FAILED: Final = 1
"""Nothing was answered: no daemon, an error on the way, an internal error."""
USAGE: Final = 2
"""What was given cannot be used: arguments, configuration, policy."""
NO: Final = 3
"""The answer is no: denied, refused, damaged, not ready."""
UNKNOWN: Final = 4
"""The check's answer is UNKNOWN: no rule decides."""
SECONDS_END: Final = 1 << 63

EXIT_CODES: Final = """\b
Exit codes:
  0  done; the answer is yes (check: allowed)
  1  nothing was answered: no daemon, an error on the way
  2  arguments, configuration or policy cannot be used
  3  the answer is no: denied, refused, damaged, not ready
  4  check: no rule decides (UNKNOWN)
`eir serve` has codes of its own, see `eir serve --help`.
"""


class Failure(click.ClickException):
    """An end with a message and an exit code."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message as all messages are."""
        click.echo(f"eir: {self.message}", file=file or sys.stderr)


class Commands(click.Group):
    """A group whose errors end as messages, never as tracebacks."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except PolicyError as error:
            raise Failure(error.message, USAGE) from error
        except (CorruptError, StateDamagedError) as error:
            raise Failure(error.message, NO) from error
        except EirError as error:
            code = error.exit_code if isinstance(error, FatalError) else FAILED
            raise Failure(error.message, code) from error
        except BrokenPipeError:
            raise  # click ends quietly when the reader of a pipe is gone
        except OSError as error:
            name = f"{error.filename}: " if error.filename else ""
            raise Failure(f"{name}{error.strerror or error}") from error
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except UnicodeEncodeError as error:
            if error.encoding == "utf-8":  # bytes of the command line that are none
                raise Failure("an argument is not UTF-8", USAGE) from error
            raise Failure(f"the terminal cannot show {error.object[error.start]!r}", FAILED) from error
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            text = f"internal error: {type(error).__name__}: {error} (eir --debug ... shows where)"
            raise Failure(text) from error


def note(text: str) -> None:
    """Say something to the person at the terminal."""
    click.echo(text, err=True)


def show_json(value: object) -> None:
    """Print data as JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def show_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print data in columns, numbers to the right."""
    given = [list(row) for row in rows]
    cells = [list(header), *([_cell(value) for value in row] for row in given)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [
        bool(given) and all(isinstance(row[place], int) for row in given) for place in range(len(header))
    ]
    for line in cells:
        padded = (
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        )
        click.echo("  ".join(padded).rstrip())


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def count(number: int, what: str) -> str:
    """Return a number of things: 1 row, 2,000 rows."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def moment(second: int) -> str:
    """Return a second since the Unix epoch as people read it; 0 is none."""
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S} UTC" if second else "-"


def parse_moment(text: str, option: str | None = None) -> int:
    """Return the second of a date, a date with a time (UTC unless it says), or a number.

    Raises click.BadParameter.
    """
    try:
        if text.isascii() and text.isdigit() and int(text) < SECONDS_END:
            return int(text)
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time: 2026-03-21, 2026-03-21T08:00+03:30 or seconds", param_hint=option
        ) from None
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal; the function it gives is told what is done so far."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
