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
from typing import Any, Final, NamedTuple

from eir.errors import ConfigError
from eir.feed.servers import servers

KUBERNETES = re.compile(r"EIR_(SERVICE|PORT)(_|$)")
"""Variables that Kubernetes sets beside a service named eir: not ours."""
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
FEED_NAME = re.compile(r"[a-z0-9_.-]{1,64}")


def _bounded(default: float, low: float, high: float, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc, "low": low, "high": high})


def _choice(default: str, *choices: str, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc, "choices": choices})


def _address(default: str, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc, "address": True})


def _servers(default: str, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc, "servers": True})


def _other(default: object, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True)
class Limits:
    """Bounds of what the daemon takes and holds."""

    batch_rows_max: int = _bounded(4096, 1, 4096, "identities in one batch check")
    stream_in_flight_max: int = _bounded(64, 1, 4096, "requests read ahead on one check stream")
    check_message_bytes_max: int = _bounded(1 << 20, 1 << 10, 1 << 24, "a message on the check listener")
    check_calls_max: int = _bounded(10_000, 1, 1_000_000, "calls in flight on the check listener")
    check_threads: int = _bounded(
        0, 0, 256, "threads of the native engine that answer checks; 0: one per core less one"
    )
    check_connections_max: int = _bounded(
        10_000, 1, 1_000_000, "connections on the check listener, native engine"
    )
    connection_bytes_max: int = _bounded(
        16 << 20, 1 << 20, 1 << 30, "what one connection may leave not whole, or not read; native engine"
    )
    connection_stall_seconds_max: int = _bounded(
        30, 1, 3600, "a peer neither ends a message nor reads answers for so long; native engine"
    )
    manage_calls_max: int = _bounded(256, 1, 100_000, "calls in flight on the management listener")
    streams_per_connection_max: int = _bounded(1024, 1, 100_000, "calls in flight on one connection")
    metadata_bytes_max: int = _bounded(8192, 1024, 1 << 20, "metadata of one call")
    chunk_bytes_max: int = _bounded(4 << 20, 1 << 10, 4 << 20, "payload of one chunk of a delta")
    feeds_max: int = _bounded(64, 1, 1000, "feeds that may ever push")
    delta_rows_max: int = _bounded(64 << 20, 1, 64 << 20, "rows of one delta")
    delta_bytes_max: int = _bounded(4 << 30, 1 << 20, 64 << 30, "payloads of one delta together")
    pushes_waiting_max: int = _bounded(8, 0, 1000, "deltas waiting while another is applied")
    push_idle_seconds_max: int = _bounded(30, 1, 3600, "wait for the next message of a delta")
    policy_bytes_max: int = _bounded(1 << 20, 1 << 10, 4 << 20, "text of a policy that is sent to be tried")
    push_seconds_max: int = _bounded(
        1800, 1, 86_400, "from the header of a delta to its commit, without waiting for a turn"
    )
    small_delta_rows_max: int = _bounded(
        10_000, 0, 1_000_000, "deltas of so many rows go in between the chunks of larger ones"
    )
    clock_skew_seconds_max: int = _bounded(
        300, 0, 86_400, "what a feed may be ahead of our clock; complete_until counts up to there"
    )
    drain_seconds_max: int = _bounded(30, 0, 3600, "wait for calls in flight when stopping")
    drain_notice_seconds: int = _bounded(
        1, 0, 3600, "answers go on for so long after health and readiness said no"
    )
    keepalive_seconds: int = _bounded(60, 1, 7200, "idle time after which a peer is pinged")
    keepalive_timeout_seconds: int = _bounded(20, 1, 600, "wait for the answer to a ping")
    connection_age_seconds_max: int = _bounded(
        0, 0, 604_800, "age at which clients are asked to connect anew; 0: never"
    )
    small_overlay_rows_max: int = _bounded(
        1 << 16, 1, 1 << 24, "rows of the overlay that each publication makes anew"
    )
    rebuild_overlay_rows: int = _bounded(
        1_000_000, 1, 100_000_000, "rows above the segments from which on they are folded in"
    )
    overlay_rows_max: int = _bounded(
        40_000_000, 1, 1_000_000_000, "rows above the segments at which deltas wait for a rebuild"
    )
    rebuild_bytes_per_second_max: int = _bounded(
        100_000_000, 1 << 20, 100_000_000_000, "pace of a rebuild's files"
    )
    journal_days_min: int = _bounded(30, 0, 36_500, "days that deltas stay in the journal")
    http_requests_max: int = _bounded(8, 1, 1000, "HTTP requests in flight")
    http_seconds_max: int = _bounded(10, 1, 600, "reading one HTTP request, writing its answer")
    loop_stall_seconds_max: int = _bounded(30, 1, 3600, "event loop silent for longer: not live")


@dataclass(frozen=True)
class Guards:
    """What one delta may do without an explicit override."""

    removed_percent_max: float = _bounded(25.0, 0.0, 100.0, "rows of a table that one delta may remove")
    unpaired_percent_max: float = _bounded(
        5.0, 0.0, 100.0, "the same for pairs, utilizers, subscribers and grandfathered"
    )
    blocked_percent_max: float = _bounded(
        5.0, 0.0, 100.0, "blocks one delta may add, of the registered, in ranges too"
    )
    guarded_rows_min: int = _bounded(1000, 0, 1_000_000_000, "tables of fewer rows are not guarded")


@dataclass(frozen=True)
class Decisions:
    """What is kept of the decisions, to explain them later."""

    retention_days: int = _bounded(90, 1, 3650, "days that decisions are kept")
    bytes_max: int = _bounded(4 << 30, 1 << 20, 1 << 40, "files of decisions; the oldest make room")
    allowed_sample_percent: float = _bounded(
        0.1, 0.0, 100.0, "allowed pairs whose first check of a day is kept"
    )
    denial_repeat_seconds: int = _bounded(
        600, 0, 86_400, "the same denial of the same pair is kept once in so long; 0: always"
    )
    queue_records_max: int = _bounded(
        100_000, 1, 10_000_000, "decisions waiting to be written; more are dropped"
    )
    policies_max: int = _bounded(1000, 1, 100_000, "texts of policies kept")


@dataclass(frozen=True)
class Trials:
    """Bounds of a policy on trial."""

    cpu_percent_max: float = _bounded(10.0, 0.1, 100.0, "of one processor, for judging by a second policy")
    seconds_max: int = _bounded(86_400, 1, 31_536_000, "length of a trial")
    queue_checks_max: int = _bounded(10_000, 1, 1_000_000, "checks waiting to be judged; more are left out")
    lines_max: int = _bounded(1000, 1, 100_000, "lines of a report; other changes are counted together")


@dataclass(frozen=True)
class Feed:
    """How one feed is treated."""

    lenient: bool = _other(False, "ignore and count rows that cannot be applied, instead of refusing")
    stale_after_seconds: int = _bounded(
        0, 0, 31_536_000, "age of the feed beyond which the tables are stale; 0: never"
    )
    redis_urls: str = _servers(
        "",
        "Redis servers that have the feed's stream, tried in turn, with spaces between; empty: not followed",
    )
    redis_stream: str = _other("", "key of the stream; empty: eir:feed:NAME")
    redis_username: str = _other("", "user of the servers; empty: their default user")
    redis_password_file: str = _other("", "file that has the password, and nothing else")
    redis_password_variable: str = _other("", "environment variable that has the password, if no file has")
    redis_ca_file: str = _other("", "certificates to trust, in PEM; empty: the system's")
    redis_certificate_file: str = _other("", "certificate to show to the servers, in PEM")
    redis_key_file: str = _other("", "its key, in PEM")
    redis_connect_seconds_max: int = _bounded(5, 1, 300, "wait for a connection to a server")
    redis_answer_seconds_max: int = _bounded(10, 1, 300, "wait for an answer of a server")
    redis_read_messages_max: int = _bounded(8, 1, 256, "messages read at a time, each of 4 MiB at most")
    redis_transfers_max: int = _bounded(4, 1, 64, "deltas on their way at a time")
    redis_backoff_seconds_max: int = _bounded(30, 1, 3600, "wait before a server is tried again")
    redis_silence_seconds_max: int = _bounded(
        120, 0, 86_400, "no message for so long: the next of several servers is tried; 0: never"
    )


@dataclass(frozen=True)
class Inquiry:
    """Bounds of inquiries, and how long it is kept who made them."""

    waiting_max: int = _bounded(32, 1, 1000, "inquiries waiting for an answer")
    slots_max: int = _bounded(100, 1, 1000, "slots told of one SIM")
    sims_max: int = _bounded(16, 1, 1000, "SIMs told of one MSISDN")
    history_rows_max: int = _bounded(500, 1, 10_000, "rows on one page of history")
    history_seconds_max: float = _bounded(1.0, 0.0, 60.0, "search for one page of history")
    audit_days_max: int = _bounded(365, 1, 36_500, "days that an inquiry stays in the audit")
    audit_rows_max: int = _bounded(10_000_000, 1, 1_000_000_000, "inquiries kept in the audit")
    country_code: str = _other("", "country code of national numbers; empty: they are refused")


@dataclass(frozen=True)
class Log:
    """What is logged, and how."""

    format: str = _choice("auto", "auto", "json", "console", doc="auto: console on a terminal, else JSON")
    level: str = _choice("info", "debug", "info", "warning", "error", doc="the least that is logged")


SECTIONS: Final = {
    "log": Log,
    "limits": Limits,
    "guards": Guards,
    "decisions": Decisions,
    "trials": Trials,
    "inquiry": Inquiry,
}


@dataclass(frozen=True)
class Config:
    """Every setting of a daemon, and where each came from."""

    data_dir: Path = field(default=Path("data"), metadata={"doc": "the directory of the daemon's state"})
    engine: str = _choice(
        "auto", "auto", "portable", "native", doc="what answers checks; auto: native where it is built"
    )
    check_listen: str = _address("127.0.0.1:50051", "where core nodes check")
    manage_listen: str = _address("127.0.0.1:50052", "where registry and operators manage")
    http_listen: str = _address("127.0.0.1:9464", "where metrics and probes are read")
    insecure: bool = _other(False, "listen in plain text elsewhere than on loopback")
    policy: str = _other("", "policy file; empty: the shipped default")
    log: Log = field(default_factory=Log)
    limits: Limits = field(default_factory=Limits)
    guards: Guards = field(default_factory=Guards)
    decisions: Decisions = field(default_factory=Decisions)
    trials: Trials = field(default_factory=Trials)
    inquiry: Inquiry = field(default_factory=Inquiry)
    feeds: Mapping[str, Feed] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)

    def show(self) -> list[Setting]:
        """Every setting with its value and where it came from."""
        names = [(name, *_find(self, name)) for name in settings()]
        for feed, values in self.feeds.items():
            names += [(f"feeds.{feed}.{f.name}", values, f) for f in dataclasses.fields(values)]
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
    """Every setting by name, without those of feeds."""
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
    feeds: dict[str, Feed] = {}
    for name, raw in _from_file(path):
        origins[name] = f"file {path}"
        parts = name.split(".") if name in known else name.rsplit(".", 1)
        if parts[0].startswith("feeds."):
            feed = parts[0].removeprefix("feeds.")
            feeds[feed] = _feed(feeds.get(feed, Feed()), feed, parts[1], raw, origins[name])
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
    config = _build(values, feeds, origins)
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
        if key == "feeds" and isinstance(value, dict):
            for feed, inner in value.items():
                if not FEED_NAME.fullmatch(feed) or not isinstance(inner, dict):
                    raise ConfigError(
                        f"file {path}: feeds.{feed}: allowed are sections [feeds.NAME], NAME of a-z, 0-9,"
                        " '-', '_', '.' (quoted where it has a dot)"
                    )
                yield from ((f"feeds.{feed}.{name}", raw) for name, raw in inner.items())
        elif key in sections:
            if not isinstance(value, dict):
                raise ConfigError(f"file {path}: {key}: allowed is a section [{key}]")
            yield from ((f"{key}.{name}", raw) for name, raw in value.items())
        else:
            yield key, value


def _feed(feed: Feed, name: str, key: str, raw: object, origin: str) -> Feed:
    """Return a feed with one more setting."""
    spec = {spec.name: spec for spec in dataclasses.fields(Feed)}.get(key)
    change: dict[str, Any] = {key: _checked(f"feeds.{name}.{key}", spec, raw, origin)}
    return dataclasses.replace(feed, **change)


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


def _build(values: Mapping[str, object], feeds: Mapping[str, Feed], origins: Mapping[str, str]) -> Config:
    """Config of values by their full names."""
    top: dict[str, Any] = {name: value for name, value in values.items() if "." not in name}
    for section, kind in SECTIONS.items():
        inner: dict[str, Any] = {
            name.removeprefix(f"{section}."): value
            for name, value in values.items()
            if name.startswith(f"{section}.")
        }
        top[section] = kind(**inner)
    return Config(**top, feeds=feeds, origins=origins)


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
