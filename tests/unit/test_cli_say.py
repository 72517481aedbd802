"""How commands end: messages and exit codes, never a traceback."""

import click
import pytest
from click.testing import CliRunner

from eir.cli.say import Commands, moment, parse_moment, progress, show_json, show_table
from eir.errors import (
    ConfigError,
    DataDirLockedError,
    JournalDamagedError,
    PolicyError,
    StateDamagedError,
    StorageError,
)


def run(error: BaseException | None = None, *args: str):
    """Run a command that raises."""

    @click.group(cls=Commands)
    @click.option("--debug", is_flag=True)
    def main(debug: bool) -> None:
        pass

    @main.command()
    def work() -> None:
        if error is not None:
            raise error
        click.echo("done")

    return CliRunner().invoke(main, [*args, "work"])


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (PolicyError("line 3: no"), 2, "eir: line 3: no"),
        (ConfigError("file x: no"), 2, "eir: file x: no"),
        (DataDirLockedError("taken"), 3, "eir: taken"),
        (StorageError("disk full"), 1, "eir: disk full"),
        (JournalDamagedError("malformed"), 3, "eir: malformed"),
        (StateDamagedError("no database"), 3, "eir: no database"),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "no"), 2, "eir: an argument is not UTF-8"),
        (UnicodeEncodeError("ascii", "→", 0, 1, "no"), 1, "eir: the terminal cannot show '→'"),
        (
            FileNotFoundError(2, "No such file or directory", "rows"),
            1,
            "eir: rows: No such file or directory",
        ),
        (KeyError("x"), 1, "eir: internal error: KeyError: 'x'"),
    ],
)
def test_every_error_ends_as_one_message_and_a_code(error, code, message):
    result = run(error)
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.startswith(message)
    assert len(result.stderr.splitlines()) == 1


def test_no_error_no_message():
    result = run()
    assert (result.exit_code, result.stdout, result.stderr) == (0, "done\n", "")


def test_debug_lets_an_internal_error_through():
    assert isinstance(run(KeyError("x"), "--debug").exception, KeyError)


def test_an_interrupt_is_no_internal_error():
    result = run(KeyboardInterrupt())
    assert result.exit_code == 1
    assert "internal" not in result.stderr


def test_table_has_columns_and_numbers_to_the_right(capsys):
    show_table(("name", "rows"), [("pairs", 1_234_567), ("raw", 0)])
    assert capsys.readouterr().out == "name        rows\npairs  1,234,567\nraw            0\n"


def test_table_without_rows_is_its_header(capsys):
    show_table(("name", "rows"), [])
    assert capsys.readouterr().out == "name  rows\n"


def test_json_keeps_letters_of_other_scripts(capsys):
    show_json({"why": "همتا"})
    assert "همتا" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("1767225600", 1_767_225_600),
        ("2026-01-01", 1_767_225_600),
        ("2026-01-01T03:30:00+03:30", 1_767_225_600),
        ("2026-01-01T00:00:00Z", 1_767_225_600),
    ],
)
def test_moments_are_read_as_utc_unless_they_say(text, second):
    assert parse_moment(text) == second


@pytest.mark.parametrize("text", ["", "yesterday", "-5", "2026-13-01", "۱۲۳", "9" * 19])
def test_what_is_no_moment_is_a_usage_error(text):
    with pytest.raises(click.BadParameter):
        parse_moment(text)


def test_moment_is_printed_in_utc_and_none_as_a_dash():
    assert moment(1_767_225_600) == "2026-01-01 00:00:00 UTC"
    assert moment(0) == "-"


def test_progress_is_silent_without_a_terminal(capsys):
    with progress("rows", 10) as done:
        done(5)
    assert capsys.readouterr() == ("", "")
