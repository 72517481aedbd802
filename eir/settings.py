"""What can be set: sections of the configuration, with defaults, bounds and what each is for.

`config` reads them. The text of a setting is what `docs/configuration.md` says of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final


def bounded(default: float, low: float, high: float, doc: str) -> Any:
    """Return a number within bounds."""
    return field(default=default, metadata={"doc": doc, "low": low, "high": high})


def choice(default: str, *choices: str, doc: str) -> Any:
    """Return one of some words."""
    return field(default=default, metadata={"doc": doc, "choices": choices})


def listening(default: str, doc: str) -> Any:
    """Return an address to listen at."""
    return field(default=default, metadata={"doc": doc, "address": True})


def server_list(default: str, doc: str) -> Any:
    """Return addresses of servers."""
    return field(default=default, metadata={"doc": doc, "servers": True})


def plain(default: object, doc: str) -> Any:
    """Return any text, or a truth."""
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True)
class Limits:
    """Bounds of what the daemon takes and holds."""

    batch_rows_max: int = bounded(4096, 1, 4096, "identities in one batch check")
    stream_in_flight_max: int = bounded(64, 1, 4096, "requests read ahead on one check stream")
    check_message_bytes_max: int = bounded(1 << 20, 1 << 10, 1 << 24, "a message on the check listener")
    check_calls_max: int = bounded(10_000, 1, 1_000_000, "calls in flight on the check listener")
    check_threads: int = bounded(
        0, 0, 256, "threads of the native engine that answer checks; 0: one per core less one"
    )
    check_connections_max: int = bounded(
        10_000, 1, 1_000_000, "connections on the check listener, native engine"
    )
    connection_bytes_max: int = bounded(
        16 << 20, 1 << 20, 1 << 30, "what one connection may leave not whole, or not read; native engine"
    )
    check_held_bytes_max: int = bounded(
        256 << 20, 1 << 20, 1 << 36, "the same of all connections of the check listener; native engine"
    )
    connection_stall_seconds_max: int = bounded(
        30, 1, 3600, "a peer neither ends a message nor reads answers for so long; native engine"
    )
    manage_calls_max: int = bounded(256, 1, 100_000, "calls in flight on the management listener")
    streams_per_connection_max: int = bounded(1024, 1, 100_000, "calls in flight on one connection")
    metadata_bytes_max: int = bounded(8192, 1024, 1 << 20, "metadata of one call")
    chunk_bytes_max: int = bounded(4 << 20, 1 << 10, 4 << 20, "payload of one chunk of a delta")
    feeds_max: int = bounded(64, 1, 1000, "feeds that may ever push")
    delta_rows_max: int = bounded(64 << 20, 1, 64 << 20, "rows of one delta")
    delta_bytes_max: int = bounded(4 << 30, 1 << 20, 64 << 30, "payloads of one delta together")
    pushes_waiting_max: int = bounded(8, 0, 1000, "deltas waiting while another is applied")
    push_idle_seconds_max: int = bounded(30, 1, 3600, "wait for the next message of a delta")
    policy_bytes_max: int = bounded(1 << 20, 1 << 10, 4 << 20, "text of a policy that is sent to be tried")
    push_seconds_max: int = bounded(
        1800, 1, 86_400, "from the header of a delta to its commit, without waiting for a turn"
    )
    small_delta_rows_max: int = bounded(
        10_000, 0, 1_000_000, "deltas of so many rows go in between the chunks of larger ones"
    )
    clock_skew_seconds_max: int = bounded(
        300, 0, 86_400, "what a feed may be ahead of our clock; complete_until counts up to there"
    )
    drain_seconds_max: int = bounded(30, 0, 3600, "wait for calls in flight when stopping")
    drain_notice_seconds: int = bounded(
        1, 0, 3600, "answers go on for so long after health and readiness said no"
    )
    keepalive_seconds: int = bounded(60, 1, 7200, "idle time after which a peer is pinged")
    keepalive_timeout_seconds: int = bounded(20, 1, 600, "wait for the answer to a ping")
    connection_age_seconds_max: int = bounded(
        0, 0, 604_800, "age at which clients are asked to connect anew; 0: never"
    )
    small_overlay_rows_max: int = bounded(
        1 << 16, 1, 1 << 24, "rows of the overlay that each publication makes anew"
    )
    rebuild_overlay_rows: int = bounded(
        1_000_000, 1, 100_000_000, "rows above the segments from which on they are folded in"
    )
    overlay_rows_max: int = bounded(
        40_000_000, 1, 1_000_000_000, "rows above the segments at which deltas wait for a rebuild"
    )
    rebuild_bytes_per_second_max: int = bounded(
        100_000_000, 1 << 20, 100_000_000_000, "pace of a rebuild's files"
    )
    journal_days_min: int = bounded(30, 0, 36_500, "days that deltas stay in the journal")
    http_requests_max: int = bounded(8, 1, 1000, "HTTP requests in flight")
    http_seconds_max: int = bounded(10, 1, 600, "reading one HTTP request, writing its answer")
    loop_stall_seconds_max: int = bounded(30, 1, 3600, "event loop silent for longer: not live")


@dataclass(frozen=True)
class Guards:
    """What one delta may do without an explicit override."""

    removed_percent_max: float = bounded(25.0, 0.0, 100.0, "rows of a table that one delta may remove")
    unpaired_percent_max: float = bounded(
        5.0, 0.0, 100.0, "the same for pairs, utilizers, subscribers and grandfathered"
    )
    blocked_percent_max: float = bounded(
        5.0, 0.0, 100.0, "blocks one delta may add, of the IMEIs known one by one: registered or paired"
    )
    guarded_rows_min: int = bounded(1000, 0, 1_000_000_000, "tables of fewer rows are not guarded")


@dataclass(frozen=True)
class Decisions:
    """What is kept of the decisions, to explain them later."""

    retention_days: int = bounded(90, 1, 3650, "days that decisions are kept")
    bytes_max: int = bounded(4 << 30, 1 << 20, 1 << 40, "files of decisions; the oldest make room")
    allowed_sample_percent: float = bounded(
        0.1, 0.0, 100.0, "allowed pairs whose first check of a day is kept"
    )
    denial_repeat_seconds: int = bounded(
        600, 0, 86_400, "the same denial of the same pair is kept once in so long; 0: always"
    )
    queue_records_max: int = bounded(
        100_000, 1, 10_000_000, "decisions waiting to be written; more are dropped"
    )
    policies_max: int = bounded(1000, 1, 100_000, "texts of policies kept")


@dataclass(frozen=True)
class Trials:
    """Bounds of a policy on trial."""

    cpu_percent_max: float = bounded(10.0, 0.1, 100.0, "of one processor, for judging by a second policy")
    seconds_max: int = bounded(86_400, 1, 31_536_000, "length of a trial")
    queue_checks_max: int = bounded(10_000, 1, 1_000_000, "checks waiting to be judged; more are left out")
    lines_max: int = bounded(1000, 1, 100_000, "lines of a report; other changes are counted together")


@dataclass(frozen=True)
class Feed:
    """How one feed is treated."""

    lenient: bool = plain(False, "ignore and count rows that cannot be applied, instead of refusing")
    stale_after_seconds: int = bounded(
        0, 0, 31_536_000, "age of the feed beyond which the tables are stale; 0: never"
    )
    redis_urls: str = server_list(
        "",
        "Redis servers that have the feed's stream, tried in turn, with spaces between; empty: not followed",
    )
    redis_stream: str = plain("", "key of the stream; empty: eir:feed:NAME")
    redis_username: str = plain("", "user of the servers; empty: their default user")
    redis_password_file: str = plain("", "file that has the password, and nothing else")
    redis_password_variable: str = plain("", "environment variable that has the password, if no file has")
    redis_ca_file: str = plain("", "certificates to trust, in PEM; empty: the system's")
    redis_certificate_file: str = plain("", "certificate to show to the servers, in PEM")
    redis_key_file: str = plain("", "its key, in PEM")
    redis_connect_seconds_max: int = bounded(5, 1, 300, "wait for a connection to a server")
    redis_answer_seconds_max: int = bounded(10, 1, 300, "wait for an answer of a server")
    redis_read_messages_max: int = bounded(8, 1, 256, "messages read at a time, each of 4 MiB at most")
    redis_transfers_max: int = bounded(4, 1, 64, "deltas on their way at a time")
    redis_backoff_seconds_max: int = bounded(30, 1, 3600, "wait before a server is tried again")
    redis_silence_seconds_max: int = bounded(
        120, 0, 86_400, "no message for so long: the next of several servers is tried; 0: never"
    )


@dataclass(frozen=True)
class Inquiry:
    """Bounds of inquiries, and how long it is kept who made them."""

    waiting_max: int = bounded(32, 1, 1000, "inquiries waiting for an answer")
    slots_max: int = bounded(100, 1, 1000, "slots told of one SIM")
    sims_max: int = bounded(16, 1, 1000, "SIMs told of one MSISDN")
    history_rows_max: int = bounded(500, 1, 10_000, "rows on one page of history")
    history_seconds_max: float = bounded(1.0, 0.0, 60.0, "search for one page of history")
    audit_days_max: int = bounded(365, 1, 36_500, "days that an inquiry stays in the audit")
    audit_rows_max: int = bounded(10_000_000, 1, 1_000_000_000, "inquiries kept in the audit")
    country_code: str = plain("", "country code of national numbers; empty: they are refused")


@dataclass(frozen=True)
class Notices:
    """Whether cases are opened, and what their notices say; when they go out is the policy's."""

    enabled: bool = plain(False, "open cases, and warn their subscribers")
    owner: str = plain(
        "",
        "HOST:PORT of the management listener of the daemon that keeps the cases; empty: they are kept here",
    )
    texts: str = plain("", "file of the texts; empty: those that are shipped")
    language: str = plain("fa", "language of subscribers whose own has no texts")
    code: str = plain("", "what subscribers are told to dial or to send")
    helpline: str = plain("", "number that subscribers are told to call")
    feeds: str = plain(
        "",
        "feeds whose complete_until holds deadlines back, with spaces between; empty: those of [feeds],"
        " all that pushed where there are none",
    )
    sightings_max: int = bounded(
        100_000, 1, 10_000_000, "unpaired pairs that checks met and wait to be looked at; more are dropped"
    )
    sighting_repeat_seconds: int = bounded(
        300, 0, 86_400, "a pair that was met is told again after so long; 0: at every check"
    )
    in_flight_max: int = bounded(256, 1, 10_000, "notices on their way to SMSCs at a time")
    look_rows_max: int = bounded(20_000, 100, 1_000_000, "cases or rows of a delta looked at in one go")
    due_cases_max: int = bounded(1000, 1, 100_000, "cases that come due looked at in one go")
    clock_jump_seconds_max: int = bounded(
        30, 1, 3600, "the clock jumped by more against the monotonic one: no deadline falls"
    )
    drain_seconds_max: int = bounded(5, 0, 60, "wait for answers of SMSCs when stopping")
    kept_days: int = bounded(400, 1, 3650, "days that resolved cases and their notices are kept")
    sender_hourly_questions_max: int = bounded(
        5, 0, 1000, "IMEIs that a subscriber may ask for by SMS in an hour; 0: nobody is answered"
    )
    questions_per_second_max: int = bounded(10, 1, 10_000, "IMEIs asked for by SMS that are answered, in all")


@dataclass(frozen=True)
class Group:
    """Daemons that keep the cases of one network together; alone where no servers are named."""

    redis_urls: str = server_list(
        "", "Redis servers that the group has in common, tried in turn, with spaces between; empty: alone"
    )
    redis_prefix: str = plain("eir:notices", "what the group's keys begin with")
    redis_username: str = plain("", "user of the servers; empty: their default user")
    redis_password_file: str = plain("", "file that has the password, and nothing else")
    redis_password_variable: str = plain("", "environment variable that has the password, if no file has")
    redis_ca_file: str = plain("", "certificates to trust, in PEM; empty: the system's")
    redis_certificate_file: str = plain("", "certificate to show to the servers, in PEM")
    redis_key_file: str = plain("", "its key, in PEM")
    redis_connect_seconds_max: int = bounded(5, 1, 300, "wait for a connection to a server")
    redis_answer_seconds_max: int = bounded(5, 1, 300, "wait for an answer of a server")
    redis_lines_max: int = bounded(
        50_000, 100, 10_000_000, "lines that the stream has, about; who missed some asks the other daemons"
    )
    address: str = plain(
        "", "HOST:PORT where the other daemons reach the management listener; required in a group"
    )
    lease_seconds: float = bounded(
        10.0, 0.5, 600.0, "what a daemon claimed is its own for so long after it was last heard of"
    )
    lines_max: int = bounded(
        100_000, 100, 10_000_000, "lines kept here while Redis is away; who missed some asks for everything"
    )


@dataclass(frozen=True)
class Smsc:
    """An SMSC that notices go to."""

    host: str = plain("", "its name or address; required")
    port: int = bounded(2775, 1, 65_535, "its TCP port")
    tls: bool = plain(False, "speak TLS")
    ca_file: str = plain("", "certificates to trust, in PEM; empty: the system's")
    certificate_file: str = plain("", "certificate to show, in PEM")
    key_file: str = plain("", "its key, in PEM")
    system_id: str = plain("", "name to bind with")
    password_file: str = plain("", "file that has the password, and nothing else")
    password_variable: str = plain("", "environment variable that has the password, if no file has")
    system_type: str = plain("", "system_type of the bind")
    bind: str = choice(
        "transceiver",
        "transceiver",
        "transmitter+receiver",
        doc="one session both ways, or one for each",
    )
    sender: str = plain("", "whom subscribers see: a name or a number; required")
    sender_ton: int = bounded(5, 0, 7, "type of number of the sender; 5: a name")
    sender_npi: int = bounded(0, 0, 18, "numbering plan of the sender")
    imsi_prefixes: str = plain(
        "", "beginnings of the IMSIs that it serves, with spaces between; empty: all that no other serves"
    )
    window_max: int = bounded(32, 2, 1000, "submissions without an answer at a time")
    parts_per_second_max: float = bounded(100.0, 0.1, 100_000.0, "submissions a second")
    answer_seconds_max: int = bounded(10, 1, 300, "wait for an answer")
    idle_seconds_max: int = bounded(30, 1, 3600, "silence after which the link is asked for")
    reconnect_seconds_max: int = bounded(60, 1, 3600, "longest wait before it is connected again")


@dataclass(frozen=True)
class Log:
    """What is logged, and how."""

    format: str = choice("auto", "auto", "json", "console", doc="auto: console on a terminal, else JSON")
    level: str = choice("info", "debug", "info", "warning", "error", doc="the least that is logged")


SECTIONS: Final = {
    "log": Log,
    "limits": Limits,
    "guards": Guards,
    "decisions": Decisions,
    "trials": Trials,
    "inquiry": Inquiry,
    "notices": Notices,
    "group": Group,
}
"""Sections by name."""
NAMED: Final = {"feeds": Feed, "smsc": Smsc}
"""Sections of which there may be several, each with a name of its own."""
