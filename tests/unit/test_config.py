"""Settings: who wins, what is refused, and that the page lists every one."""

import dataclasses
import re
from pathlib import Path

import pytest

from eir.config import Config, address, load, settings, variable
from eir.errors import ConfigError
from eir.settings import NAMED, Feed

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def written(folder: Path, text: str) -> Path:
    path = folder / "eir.toml"
    path.write_text(text)
    return path


def test_later_sources_win_and_show_says_which_it_was(tmp_path: Path) -> None:
    path = written(tmp_path, 'data_dir = "a"\nengine = "portable"\n[limits]\nbatch_rows_max = 10\n')
    config = load(path, {"EIR_DATA_DIR": "b", "EIR_LIMITS__BATCH_ROWS_MAX": "20"}, {"data_dir": "c"})
    assert (config.data_dir, config.engine, config.limits.batch_rows_max) == (Path("c"), "portable", 20)
    shown = {setting.name: setting for setting in config.show()}
    assert shown["data_dir"].origin == "command line"
    assert shown["limits.batch_rows_max"].origin == "environment EIR_LIMITS__BATCH_ROWS_MAX"
    assert shown["engine"].origin == f"file {path}"
    assert shown["check_listen"].origin == "default"
    assert shown["limits.batch_rows_max"].value == 20


def test_show_has_every_setting_and_those_of_each_feed(tmp_path: Path) -> None:
    config = load(
        written(tmp_path, '[feeds.hamta]\nlenient = true\n["feeds"."a.b"]\nstale_after_seconds = 5\n')
    )
    assert config.feeds == {"hamta": Feed(lenient=True), "a.b": Feed(stale_after_seconds=5)}
    names = {setting.name for setting in config.show()}
    assert names == set(settings()) | {
        f"feeds.{feed}.{spec.name}" for feed in ("hamta", "a.b") for spec in dataclasses.fields(Feed)
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data_dri = 'x'", "data_dri: no such setting"),
        ("[limits]\nrows = 1", "limits.rows: no such setting"),
        ("[limit]\nrows = 1", "limit: no such setting"),
        ("limits = 1", "limits: allowed is a section [limits]"),
        ("log = 'json'", "log: allowed is a section [log]"),
        ("feeds = 1", "feeds: allowed is a section [feeds]"),
        ("[feeds]\nhamta = 1", "feeds.hamta: allowed are sections [feeds.NAME]"),
        ("[feeds.Hamta]\nlenient = true", "feeds.Hamta: allowed are sections"),
        ("[feeds.hamta]\nlenint = true", "feeds.hamta.lenint: no such setting"),
        ("[feeds.hamta]\nlenient = 1", "feeds.hamta.lenient = 1: allowed is true or false"),
        ("origins = 1", "origins: no such setting"),
        ("engine = 'rust'", "engine = 'rust': allowed is auto or portable or native"),
        ("[limits]\nbatch_rows_max = 0", "limits.batch_rows_max = 0: allowed is 1 to 4096"),
        ("[limits]\nbatch_rows_max = 4097", "allowed is 1 to 4096"),
        ("[limits]\nbatch_rows_max = 1.5", "allowed is 1 to 4096"),
        ("[limits]\nbatch_rows_max = true", "allowed is 1 to 4096"),
        ("[limits]\nbatch_rows_max = '1_0 '", "allowed is 1 to 4096"),
        ("[limits]\nbatch_rows_max = [1]", "allowed is 1 to 4096"),
        ("[guards]\nremoved_percent_max = nan", "allowed is 0.0 to 100.0"),
        ("check_listen = '50051'", "check_listen = '50051': allowed is HOST:PORT"),
        ("check_listen = '::1:50051'", "allowed is HOST:PORT"),
        ("check_listen = 'a:70000'", "allowed is HOST:PORT"),
        ("data_dir = 1", "data_dir = 1: allowed is text"),
        ("data_dir = ", "Invalid value"),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert says in caught.value.message
    assert f"file {path}" in caught.value.message
    assert caught.value.exit_code == 2


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"binary\.toml"):
        load(tmp_path / "binary.toml")


def test_variables_are_checked_and_those_of_kubernetes_are_not_ours() -> None:
    with pytest.raises(ConfigError, match="environment EIR_DATADIR: datadir: no such setting"):
        load(environ={"EIR_DATADIR": "x"})
    with pytest.raises(ConfigError, match="insecure = 'yes': allowed is true or false"):
        load(environ={"EIR_INSECURE": "yes"})
    config = load(
        environ={"EIR_SERVICE_HOST": "10.0.0.1", "EIR_PORT_50051_TCP": "x", "EIR_PORT": "y", "PATH": "z"}
    )
    assert config == Config()


@pytest.mark.parametrize("name", ["check_listen", "manage_listen", "http_listen"])
@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "[::]", "eir.example"])
def test_listening_elsewhere_than_on_loopback_needs_insecure(name: str, host: str) -> None:
    with pytest.raises(ConfigError, match=f"command line: {name} = .*insecure"):
        load(overrides={name: f"{host}:1"})
    config = load(overrides={name: f"{host}:1", "insecure": True})
    assert config.insecure_listeners() == [name]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"])
def test_loopback_needs_nothing(host: str) -> None:
    assert load(overrides={"check_listen": f"{host}:0"}).insecure_listeners() == []


def test_an_address_is_host_and_port() -> None:
    assert address("[::1]:50051") == ("::1", 50051)
    assert address("localhost:0") == ("localhost", 0)


def test_every_bound_has_its_unit_in_its_name() -> None:
    counted = (
        "feeds|rows|cases|records|policies|checks|lines|bytes|seconds|days|calls|requests|percent"
        "|slots|sims|sightings|questions|threads|connections|in_flight|waiting|per_connection|per_second"
    )
    units = rf"({counted})(_max|_min)?"
    bounded = [name for name, spec in settings().items() if "low" in spec.metadata]
    assert bounded
    assert [name for name in bounded if not re.search(rf"[._]{units}$", name)] == []


def rows() -> list[str]:
    """The page's table as the code has it."""
    made = []
    named = {f"{name}.NAME.{spec.name}": spec for name in NAMED for spec in dataclasses.fields(NAMED[name])}
    specs = {**settings(), **named}
    for name, spec in specs.items():
        limits = spec.metadata
        allowed = "text"
        if "low" in limits:
            allowed = f"{limits['low']} to {limits['high']}"
        elif "choices" in limits:
            allowed = ", ".join(limits["choices"])
        elif "address" in limits:
            allowed = "HOST:PORT"
        elif "servers" in limits:
            allowed = "URLs"
        elif isinstance(spec.default, bool):
            allowed = "true, false"
        elif isinstance(spec.default, Path):
            allowed = "a path"
        default = str(spec.default).lower() if isinstance(spec.default, bool) else spec.default
        environment = "" if name in named else f"`{variable(name)}`"
        made.append(f"| `{name}` | {environment} | `{default}` | {allowed} | {limits['doc']} |")
    return made


def test_the_page_lists_every_setting_and_nothing_else() -> None:
    listed = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert listed == rows()
