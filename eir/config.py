"""Settings: the one place where TOML, environment and command line are read.

    default ──► file ──► environment ──► command line ──► Config

Later wins. A setting is named by its section and key (`limits.batch_rows_max`);
its environment variable is that name in upper case after `EIR_`, dots as two
underscores (`EIR_LIMITS__BATCH_ROWS_MAX`). What is not known is refused.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from eir.errors import ConfigError
from eir.feed.servers import servers
from eir.settings import (
    NAMED,
    SECTIONS,
    Decisions,
    Feed,
    Group,
    Guards,
    Inquiry,
    Limits,
    Log,
    Notices,
    Smsc,
    Trials,
    choice,
    listening,
    plain,
)

KUBERNETES = re.compile(r"EIR_(SERVICE|PORT)(_|$)")
"""Variables that Kubernetes sets beside a service named eir: not ours."""
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
NAME = re.compile(r"[a-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class Config:
    """Every setting of a daemon, and where each came from."""

    data_dir: Path = field(default=Path("data"), metadata={"doc": "the directory of the daemon's state"})
    engine: str = choice(
        "auto", "auto", "portable", "native", doc="what answers checks; auto: native where it is built"
    )
    check_listen: str = listening("127.0.0.1:50051", "where core nodes check")
    manage_listen: str = listening("127.0.0.1:50052", "where registry and operators manage")
    http_listen: str = listening("127.0.0.1:9464", "where metrics and probes are read")
    insecure: bool = plain(False, "listen in plain text elsewhere than on loopback")
    policy: str = plain("", "policy file; empty: the shipped default")
    log: Log = field(default_factory=Log)
    limits: Limits = field(default_factory=Limits)
    guards: Guards = field(default_factory=Guards)
    decisions: Decisions = field(default_factory=Decisions)
    trials: Trials = field(default_factory=Trials)
    inquiry: Inquiry = field(default_factory=Inquiry)
    notices: Notices = field(default_factory=Notices)
    group: Group = field(default_factory=Group)
    feeds: Mapping[str, Feed] = field(default_factory=dict)
    smsc: Mapping[str, Smsc] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)

    def show(self) -> list[Setting]:
        """Every setting with its value and where it came from."""
        names = [(name, *_find(self, name)) for name in settings()]
        for section in NAMED:
            for name, values in getattr(self, section).items():
                names += [(f"{section}.{name}.{f.name}", values, f) for f in dataclasses.fields(values)]
        return [
            Setting(name, getattr(owner, spec.name), self.origins.get(name, "default"))
            for name, owner, spec in names
        ]

    def insecure_listeners(self) -> list[str]:
        """Names of the listeners that are open to other machines."""
        return [
            name
            for name in ("check_listen", "manage_listen", "http_listen")
            if not _loopback(address(getattr(self, name))[0])
        ]


class Setting(NamedTuple):
    """One setting as `eir config show` prints it."""

    name: str
    value: object
    origin: str


def settings() -> dict[str, dataclasses.Field[Any]]:
    """Every setting by name, without those of NAMED sections."""
    found: dict[str, dataclasses.Field[Any]] = {}
    for spec in dataclasses.fields(Config):
        if "doc" in spec.metadata:
            found[spec.name] = spec
        elif dataclasses.is_dataclass(section := spec.default_factory):
            found |= {f"{spec.name}.{inner.name}": inner for inner in dataclasses.fields(section)}
    return found


def variable(name: str) -> str:
    """Environment variable of a setting."""
    return "EIR_" + name.upper().replace(".", "__")


def address(text: str) -> tuple[str, int]:
    """Host and port of HOST:PORT; an IPv6 host stands in brackets.

    Raises ValueError.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not (host and colon and port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError("HOST:PORT, an IPv6 host in brackets")
    return host, int(port)


def load(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Config:
    """Read the settings: file, environment, then overrides by setting name.

    Raises ConfigError naming the source, the setting and what is allowed.
    """
    known = settings()
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    named: dict[str, dict[str, Any]] = {section: {} for section in NAMED}
    for name, raw in _from_file(path):
        origins[name] = f"file {path}"
        parts = name.split(".") if name in known else name.rsplit(".", 1)
        section, _, own = parts[0].partition(".")
        if own and section in NAMED:
            before = named[section].get(own, NAMED[section]())
            named[section][own] = _one_more(before, parts[0], parts[1], raw, origins[name])
        else:
            values[name] = _checked(name, known.get(name), raw, origins[name])
    for key, text in sorted((environ or {}).items()):
        if not key.startswith("EIR_") or KUBERNETES.match(key):
            continue
        name = key.removeprefix("EIR_").lower().replace("__", ".")
        origins[name] = f"environment {key}"
        values[name] = _checked(name, known.get(name), text, origins[name])
    for name, raw in (overrides or {}).items():
        origins[name] = "command line"
        values[name] = _checked(name, known.get(name), raw, origins[name])
    config = _build(values, named, origins)
    open_listeners = config.insecure_listeners()
    if open_listeners and not config.insecure:
        name = open_listeners[0]
        raise ConfigError(
            f"{origins[name]}: {name} = {getattr(config, name)!r} is not loopback: listening there in plain"
            " text needs insecure = true (--insecure)"
        )
    return config


def _from_file(path: Path | None) -> Iterator[tuple[str, object]]:
    """Yield the settings of a TOML file by their full names."""
    if path is None:
        return
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"file {path}: {error}") from None
    sections = {spec.name for spec in dataclasses.fields(Config) if "doc" not in spec.metadata} - {"origins"}
    for key, value in document.items():
        if key in NAMED and isinstance(value, dict):
            for own, inner in value.items():
                if not NAME.fullmatch(own) or not isinstance(inner, dict):
                    raise ConfigError(
                        f"file {path}: {key}.{own}: allowed are sections [{key}.NAME], NAME of a-z, 0-9,"
                        " '-', '_', '.' (quoted where it has a dot)"
                    )
                yield from ((f"{key}.{own}.{name}", raw) for name, raw in inner.items())
        elif key in sections:
            if not isinstance(value, dict):
                raise ConfigError(f"file {path}: {key}: allowed is a section [{key}]")
            yield from ((f"{key}.{name}", raw) for name, raw in value.items())
        else:
            yield key, value


def _one_more(before: Any, name: str, key: str, raw: object, origin: str) -> Any:
    """Return a section with one more setting."""
    spec = {spec.name: spec for spec in dataclasses.fields(before)}.get(key)
    change: dict[str, Any] = {key: _checked(f"{name}.{key}", spec, raw, origin)}
    return dataclasses.replace(before, **change)


def _checked(name: str, spec: dataclasses.Field[Any] | None, raw: object, origin: str) -> object:
    """Value of a setting, of its type and within its bounds."""
    if spec is None:
        raise ConfigError(f"{origin}: {name}: no such setting; `eir config show` lists all")
    try:
        return _parsed(spec, raw)
    except ValueError as error:
        shown = "" if "servers" in spec.metadata else f" = {raw!r}"  # there may be a password in it
        raise ConfigError(f"{origin}: {name}{shown}: allowed is {error}") from None


def _parsed(spec: dataclasses.Field[Any], raw: object) -> object:
    """Value of a setting. Raises ValueError that says what is allowed."""
    kind: type[Any] = type(spec.default)
    limits = spec.metadata
    if kind is bool:
        if isinstance(raw, bool):
            return raw
        if str(raw).lower() in {"true", "false"}:
            return str(raw).lower() == "true"
        raise ValueError("true or false")
    if kind in {int, float}:
        allowed = f"{limits['low']} to {limits['high']}"
        if isinstance(raw, str) and not NUMBER.fullmatch(raw):
            raise ValueError(allowed)
        try:
            number = kind(raw)
        except (TypeError, ValueError):
            raise ValueError(allowed) from None
        if (
            isinstance(raw, bool)
            or not limits["low"] <= number <= limits["high"]
            or number != float(str(raw))
        ):
            raise ValueError(allowed)
        return number
    if not isinstance(raw, (str, Path)):
        raise ValueError("text")  # noqa: TRY004 - the caller takes ValueError only
    text = str(raw)
    if "choices" in limits and text not in limits["choices"]:
        raise ValueError(" or ".join(limits["choices"]))
    if "address" in limits:
        address(text)
    if "servers" in limits:
        servers(text)
    return Path(text) if issubclass(kind, Path) else text


def _build(
    values: Mapping[str, object], named: Mapping[str, Mapping[str, Any]], origins: Mapping[str, str]
) -> Config:
    """Config of values by their full names."""
    top: dict[str, Any] = {name: value for name, value in values.items() if "." not in name} | dict(named)
    for section, kind in SECTIONS.items():
        inner: dict[str, Any] = {
            name.removeprefix(f"{section}."): value
            for name, value in values.items()
            if name.startswith(f"{section}.")
        }
        top[section] = kind(**inner)
    return Config(**top, origins=origins)


def _find(config: Config, name: str) -> tuple[Any, dataclasses.Field[Any]]:
    """Return the dataclass that holds a setting, and its field."""
    section = name.rpartition(".")[0]
    return (getattr(config, section) if section else config), settings()[name]


def _loopback(host: str) -> bool:
    """Tell whether only this machine reaches a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
