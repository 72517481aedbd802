"""Daemons that follow a stream on a real redis-server: killed, emptied, paused, trimmed, abused."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from feed_stream import delta_messages
from redis_server import RedisServer, free_port, redis_running

from eir.feed.message import Heartbeat, Message, encode
from eir.proto import check_pb2, sync_pb2
from eir.whitelist.operation import Operation
from eir.whitelist.rows import Op
from tests.running import Daemon, running, wait_for

ROOT = Path(__file__).parents[2]
KEY = 35693803564380
STREAM = "eir:feed:hamta"
ALLOWED, DENIED = check_pb2.EQUIPMENT_STATUS_WHITELISTED, check_pb2.EQUIPMENT_STATUS_BLACKLISTED
GREY = check_pb2.EQUIPMENT_STATUS_GREYLISTED
"""Of what is registered and checked without an IMSI."""


def configured(folder: Path, *urls: str, **settings: object) -> dict[str, Any]:
    """Settings of a daemon that follows the feed."""
    lines = [f'redis_urls = "{" ".join(urls)}"', "redis_backoff_seconds_max = 1"]
    values = {"redis_answer_seconds_max": 1, "redis_connect_seconds_max": 1} | settings
    lines += [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    file = folder / "eir.toml"
    file.write_text("[feeds.hamta]\n" + "\n".join(lines) + "\n")
    return {"config": file}


def feed_of(daemon: Daemon) -> sync_pb2.FeedPosition:
    """Where the feed stands."""
    return daemon.sync.GetFeedPosition(sync_pb2.GetFeedPositionRequest(feed="hamta"), timeout=10).feeds[0]


def reaches(daemon: Daemon, sequence: int, state: str = "following") -> None:
    """Wait until a daemon's feed stands somewhere, in a state."""

    def there() -> bool:
        feed = feed_of(daemon)
        return (feed.sequence, feed.state) == (sequence, state)

    wait_for(there, f"sequence {sequence}, {state}")


def add(server: RedisServer, *messages: Message) -> None:
    """Add messages to the stream."""
    client = server.client()
    for message in messages:
        fields = encode(message)
        words = [*zip(fields[::2], fields[1::2], strict=True)]
        client.xadd(STREAM, dict(words))  # type: ignore[arg-type]


def register(sequence: int, count: int = 1, **more: Any) -> list[Message]:
    """A delta that registers IMEIs of its own."""
    rows = [Operation(Op.REGISTER, KEY + 100 * sequence + place) for place in range(count)]
    return delta_messages(sequence, rows, feed="hamta", **more)


def eir(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    return subprocess.run(
        [sys.executable, "-m", "eir", *words], capture_output=True, text=True, timeout=60, cwd=ROOT
    )


def says(daemon: Daemon, reason: str) -> None:
    """Wait until readiness gives a reason."""
    wait_for(lambda: reason in daemon.http("/readyz")[1], "the reason")


def resolve(daemon: Daemon, decision: str) -> None:
    """Accept or skip sequence 3."""
    resolution: Any = f"FEED_RESOLUTION_{decision.upper()}"
    daemon.sync.ResolveFeed(
        sync_pb2.ResolveFeedRequest(feed="hamta", resolution=resolution, sequence=3, who="me", why="a test")
    )


def refusals(daemon: Daemon, cause: str) -> float:
    return daemon.metric(f'eir_feed_refusals_total{{cause="{cause}",feed="hamta"}}')


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_running(tmp_path / "redis") as running_server:
        yield running_server


def test_lists_are_published_as_the_deltas_they_amount_to(server: RedisServer, tmp_path: Path) -> None:
    where = ("--feed", "hamta", "--url", server.url, "--json")
    stolen, delta = tmp_path / "stolen.csv", tmp_path / "delta.csv"
    head = "imei,reporting_date,status"
    stolen.write_text(
        f"{head}\n" + "".join(f"{KEY + n},20260101,\n" for n in range(20)) + f"{KEY + 20},,open\n"
    )
    delta.write_text(f"{head},change_type\n{KEY},,,remove\n{KEY + 20},,blacklist,update\n")

    def publish(file: Path, *words: str, code: int = 0) -> dict[str, Any]:
        ended = eir("feed", "publish", str(file), *where, *words)
        assert ended.returncode == code, ended.stdout + ended.stderr
        said: dict[str, Any] = json.loads(ended.stdout)
        return said

    with contextlib.ExitStack() as stack:
        one, two = (
            stack.enter_context(running(tmp_path / name, **configured(tmp_path, server.url)))
            for name in ("one", "two")
        )
        tables = ("--tables", str(one.data_dir))
        refused = publish(delta, code=3)
        assert (refused["published"], refused["reason"]) == (False, "LIST_REFUSED"), "compared with nothing"
        beside = eir("import", str(stolen), "--data-dir", str(one.data_dir), "--dry-run")
        assert beside.returncode == 0, f"a stream without deltas is no other daemon: {beside.stderr}"
        dry = publish(stolen, *tables, "--dry-run")
        assert (dry["rows"]["added"], dry["published"]) == (21, False)
        assert publish(stolen, *tables, "--heartbeat")["sequence"] == 1
        for daemon in (one, two):
            reaches(daemon, 1)
            assert daemon.check(str(KEY), "432110000000001").status == DENIED
            assert daemon.check(str(KEY + 20), "432110000000001").status != DENIED
        assert publish(stolen, *tables)["published"] is False, "the tables say it already"
        said = publish(delta, *tables)
        assert (said["sequence"], said["rows"]) == (
            2,
            {"before": 21, "added": 0, "removed": 1, "changed": 1, "after": 20},
        )
        for daemon in (one, two):
            reaches(daemon, 2)
            assert daemon.check(str(KEY), "432110000000001").status != DENIED
            assert daemon.check(str(KEY + 20), "432110000000001").status == DENIED
        assert publish(delta, *tables)["repeat"] is True
        stolen.write_text(f"{head}\n{KEY + 1},,\n")
        assert publish(stolen, *tables, code=3)["reason"] == "LIST_GUARD"
        two.stop()
        behind = ("--tables", str(two.data_dir))
        assert publish(stolen, *tables, "--override")["sequence"] == 3
        reaches(one, 3)
        ended = eir("feed", "publish", str(stolen), *where, *behind)
        assert (ended.returncode, "stands at sequence 2" in ended.stderr) == (1, True)
    wrong = eir("feed", "publish", str(stolen), *where, "--sequence", "9")
    assert (wrong.returncode, "are for operations" in wrong.stderr) == (2, True)


def test_many_daemons_follow_what_the_command_line_publishes(server: RedisServer, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        f'{{"kind": "REGISTER", "imei": "{KEY}"}}\n'
        f'{{"kind": "PAIR", "imei": "{KEY}", "imsi": "432110000000001"}}\n'
    )
    where = ("--feed", "hamta", "--url", server.url)
    with contextlib.ExitStack() as stack:
        daemons = [
            stack.enter_context(running(tmp_path / name, **configured(tmp_path, server.url)))
            for name in ("one", "two")
        ]
        published = eir("feed", "publish", str(rows), *where, "--heartbeat", "--json")
        assert json.loads(published.stdout) == {
            "feed": "hamta",
            "sequence": 1,
            "row_count": 2,
            "heartbeat": True,
        }
        rows.write_text(f'{{"kind": "BLOCK", "imei": "{KEY}", "block_cause": "STOLEN"}}\n')
        assert eir("feed", "publish", str(rows), *where).stdout == (
            "published: 1 row of feed hamta, sequence 2\n"
        )
        for daemon in daemons:
            reaches(daemon, 2)
            assert daemon.check(str(KEY), "432110000000001").status == DENIED
            assert feed_of(daemon).complete_until > time.time() - 60
            assert daemon.http("/readyz") == (200, "ok\n")
        shown = json.loads(eir("feed", "show", *where, "--json").stdout)
        assert (shown["sequence"], shown["messages"]) == (2, 7)
        # Again, as after an error: a repeat.
        again = eir("feed", "publish", str(rows), *where, "--sequence", "2")
        assert again.returncode == 0
        wait_for(lambda: daemons[0].metric('eir_feed_repeats_total{feed="hamta"}') >= 1, "a repeat")
        status = eir("status", "--json", "--address", daemons[0].ready_line["manage"])
        assert json.loads(status.stdout)["feeds"]["hamta"]["state"] == "following"
        # Blocking it again cannot be applied: refused by all, until an operator decides.
        assert eir("feed", "publish", str(rows), *where).returncode == 0
        for daemon, decision, reached in zip(daemons, ("accept", "skip"), (3, 3), strict=True):
            reaches(daemon, 2, "refused")
            says(daemon, "feeds: hamta: sequence 3 was refused")
            resolve(daemon, decision)
            reaches(daemon, reached)
        audit = eir("journal", "audit", "--data-dir", str(daemons[0].data_dir)).stdout
        assert "a test" in audit
        wrong = eir(
            "feed",
            "accept",
            "hamta",
            "9",
            "--who",
            "me",
            "--why",
            "x",
            "--address",
            daemons[0].ready_line["manage"],
        )
        assert wrong.returncode == 3
        assert "does not stand before a refused delta of sequence 9" in wrong.stderr


def test_a_server_that_is_killed_and_comes_back_empty(server: RedisServer, tmp_path: Path) -> None:
    with running(tmp_path / "data", **configured(tmp_path, server.url, stale_after_seconds=3)) as daemon:
        add(server, *register(1), Heartbeat("hamta", 1, int(time.time())))
        reaches(daemon, 1)
        server.kill()
        wait_for(lambda: feed_of(daemon).state == "connecting", "the loss")
        assert daemon.check(str(KEY + 100)).status == GREY
        says(daemon, "feeds: hamta: redis://127.0.0.1")
        assert daemon.http("/readyz")[0] == 200
        assert daemon.metric('eir_feed_connected{feed="hamta"}') == 0
        wait_for(lambda: daemon.metric("eir_tables_stale") == 1, "staleness")
        assert daemon.check(str(KEY + 100)).status == GREY
        server.start()
        add(server, *register(2), Heartbeat("hamta", 2, int(time.time())))
        reaches(daemon, 2)
        wait_for(lambda: daemon.metric("eir_tables_stale") == 0, "freshness")
        add(server, *register(4))
        wait_for(lambda: feed_of(daemon).snapshot_needed, "the gap")
        assert daemon.metric('eir_feed_gaps_total{feed="hamta"}') == 1
        assert daemon.metric('eir_feed_snapshot_needed{feed="hamta"}') == 1
        add(server, *register(3))
        reaches(daemon, 4)


@pytest.mark.parametrize("how", ["stopped", "CLIENT PAUSE"])
def test_a_server_that_is_paused(server: RedisServer, tmp_path: Path, how: str) -> None:
    with running(tmp_path / "data", **configured(tmp_path, server.url)) as daemon:
        add(server, *register(1))
        reaches(daemon, 1)
        add(server, *register(2, 4, parts=4)[:3])
        if how == "stopped":
            server.signal(signal.SIGSTOP)
        else:
            server.client().execute_command("CLIENT", "PAUSE", 6_000, "ALL")
        wait_for(lambda: feed_of(daemon).state == "connecting", "the time-out")
        assert daemon.check(str(KEY + 100)).status == GREY
        if how == "stopped":
            server.signal(signal.SIGCONT)
        else:
            time.sleep(2)
        add(server, *register(2, 4, parts=4)[3:])
        reaches(daemon, 2)


def test_a_stream_trimmed_past_our_position(server: RedisServer, tmp_path: Path) -> None:
    settings = configured(tmp_path, server.url)
    with running(tmp_path / "data", **settings) as daemon:
        add(server, *register(1))
        reaches(daemon, 1)
    add(server, *register(2), *register(3), *register(4))
    server.client().xtrim(STREAM, maxlen=4, approximate=False)
    with running(tmp_path / "data", **settings) as daemon:
        reaches(daemon, 1, "snapshot")
        assert "the stream does not hold what comes next" in feed_of(daemon).state_message
        shown = eir("status", "--address", daemon.ready_line["manage"]).stdout
        assert "feed hamta needs a snapshot" in shown
        add(server, *register(2), *register(3))
        reaches(daemon, 4)


def test_hostile_messages_are_counted_and_what_can_go_on_goes_on(server: RedisServer, tmp_path: Path) -> None:
    with running(tmp_path / "data", **configured(tmp_path, server.url)) as daemon:
        client = server.client()
        client.xadd(STREAM, {"hello": "world"})
        client.xadd(STREAM, {"v": "1", "type": "begin", "feed": "hamta", "sequence": "-1"})
        client.xadd(STREAM, {"v": "1", "type": "drop", "feed": "hamta", "sequence": "1"})
        client.xadd(STREAM, {f"field{number}": "x" for number in range(100_000)})
        before = daemon.metric("process_resident_memory_bytes")
        client.xadd(STREAM, {"v": "1", "payload": bytes(200 << 20)})
        add(server, *register(1)[1:])
        add(server, *register(1, 50, parts=20, transfer="whole"))
        client.xadd(STREAM, {b"\xff" * 300: b"\x00" * 1000})
        add(server, *register(2))
        reaches(daemon, 2)
        for cause, count in {
            "MESSAGE_VERSION": 1,
            "MESSAGE_FIELD": 1,
            "MESSAGE_TYPE": 1,
            "MESSAGE_SIZE": 3,
            "TRANSFER_UNKNOWN": 2,
        }.items():
            assert refusals(daemon, cause) == count, cause
        assert daemon.metric("process_resident_memory_bytes") - before < 100 << 20
        assert daemon.http("/livez") == (200, "ok\n")


def test_what_is_no_stream_is_said_and_followed_once_it_is_one(server: RedisServer, tmp_path: Path) -> None:
    client = server.client()
    client.set(STREAM, "a text")
    with running(tmp_path / "data", **configured(tmp_path, server.url)) as daemon:
        wait_for(lambda: "WRONGTYPE" in feed_of(daemon).state_message, "the reason")
        client.delete(STREAM)
        add(server, *register(1))
        reaches(daemon, 1)


def test_a_user_with_a_password_and_no_more_than_the_page_grants(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "redis-feed.md").read_text()
    lines = [line.strip().replace("SECRET", "s3cret") for line in page.splitlines() if "ACL SETUSER" in line]
    assert len(lines) == 2
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    with redis_running(tmp_path / "redis") as server:
        admin = server.client()
        for line in lines:
            admin.execute_command(line)
        admin.execute_command("ACL SETUSER default off")
        settings = configured(tmp_path, server.url, redis_username="eir", redis_password_file=str(secret))
        rows = tmp_path / "rows.jsonl"
        rows.write_text(f'{{"kind": "REGISTER", "imei": "{KEY}"}}\n')
        with running(tmp_path / "data", **settings) as daemon:
            where = ("--feed", "hamta", "--url", server.url, "--username", "registry")
            published = eir(
                "feed", "publish", str(rows), *where, "--password-file", str(secret), "--maxlen", "99"
            )
            assert published.returncode == 0, published.stderr
            reaches(daemon, 1)
            secret.write_text("wrong")
            with contextlib.suppress(Exception):
                server.client(username="eir", password="s3cret").ping()
            denied = eir("feed", "show", *where, "--password-file", str(secret))
            assert denied.returncode == 1
            assert "s3cret" not in denied.stderr
            assert not any("s3cret" in line for line in daemon.log)


def test_the_next_address_is_tried_and_a_lagging_one_does_no_harm(tmp_path: Path) -> None:
    with redis_running(tmp_path / "one") as one, redis_running(tmp_path / "two") as two:
        add(one, *register(1), *register(2))
        add(two, *register(1))
        settings = configured(tmp_path, one.url, two.url, redis_silence_seconds_max=2)
        with running(tmp_path / "data", **settings) as daemon:
            reaches(daemon, 2)
            one.kill()
            add(two, *register(2, transfer="again"), *register(3))
            reaches(daemon, 3)
            # The first comes back, behind and alone: silence sends us to and fro, and nothing is undone.
            one.start()
            add(one, *register(1))
            add(two, *register(4))
            reaches(daemon, 4)


def test_a_sentinel_names_the_server_and_a_fail_over_is_followed(tmp_path: Path) -> None:
    with (
        redis_running(tmp_path / "one") as one,
        redis_running(tmp_path / "two", "--replicaof", f"127.0.0.1 {one.port}") as two,
    ):
        (tmp_path / "s").mkdir()
        (tmp_path / "s" / "sentinel.conf").write_text(
            f"sentinel monitor main 127.0.0.1 {one.port} 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
        )
        with redis_running(tmp_path / "s", mode="sentinel") as sentinel:
            url = f"sentinel://127.0.0.1:{sentinel.port}/main/0"
            with running(tmp_path / "data", **configured(tmp_path, url)) as daemon:
                add(one, *register(1))
                reaches(daemon, 1)
                replicas = lambda: sentinel.client().execute_command("SENTINEL REPLICAS main")  # noqa: E731
                wait_for(lambda: bool(replicas()), "the replica to be known")
                one.kill()
                wait_for(lambda: two.client().role()[0] == b"master", "the fail-over")
                add(two, *register(2))
                reaches(daemon, 2)


def test_a_server_with_tls(tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme", reason="certificates of the test are made by trustme")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    port = free_port()
    options = ("--tls-port", str(port), "--tls-auth-clients", "no")
    files = ("--tls-cert-file", str(tmp_path / "cert.pem"), "--tls-key-file", str(tmp_path / "key.pem"))
    with redis_running(tmp_path / "redis", *options, *files) as server:
        add(server, *register(1))
        url = f"rediss://127.0.0.1:{port}"
        with running(
            tmp_path / "data", **configured(tmp_path, url, redis_ca_file=str(tmp_path / "ca.pem"))
        ) as daemon:
            reaches(daemon, 1)
        (tmp_path / "other").mkdir()
        with running(tmp_path / "other" / "data", **configured(tmp_path / "other", url)) as daemon:
            wait_for(lambda: "certificate" in feed_of(daemon).state_message.lower(), "the refusal")


def test_an_unreadable_password_ends_the_start(tmp_path: Path) -> None:
    from tests.running import run_to_end

    settings = configured(tmp_path, "redis://127.0.0.1:1", redis_password_file=str(tmp_path / "none"))
    code, text = run_to_end(tmp_path / "data", settings)
    assert code == 2
    assert "redis_password_file" in text


@pytest.fixture(scope="module")
def go_producer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The producer in Go, built."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("the producer in Go needs go; apt installs it as golang-go")
    built = tmp_path_factory.mktemp("go") / "producer"
    source = ROOT / "tests" / "peers" / "redis_producer" / "main.go"
    environ = os.environ | {"GOFLAGS": "-mod=mod", "GO111MODULE": "off", "CGO_ENABLED": "0"}
    environ.setdefault("GOCACHE", str(built.parent / "cache"))
    subprocess.run([go, "build", "-o", str(built), str(source)], check=True, env=environ, timeout=240)
    return built


def test_a_producer_in_another_language_from_the_page_alone(
    server: RedisServer, tmp_path: Path, go_producer: Path
) -> None:
    def produce(lines: list[str], *words: object) -> str:
        given = [str(go_producer), "-server", f"127.0.0.1:{server.port}", "-feed", "hamta", *map(str, words)]
        text = "".join(f"{line}\n" for line in lines)
        return subprocess.run(given, input=text, capture_output=True, text=True, check=True).stdout.strip()

    now = int(time.time())
    keys = [KEY + number for number in range(2_500)]
    with running(tmp_path / "data", **configured(tmp_path, server.url)) as daemon:
        rows = [f"REGISTER {key}" for key in keys] + [f"PAIR {KEY} 432110000000001"]
        first = produce(rows, "-sequence", 1, "-complete-until", now)
        reaches(daemon, 1)
        assert daemon.check(str(KEY), "432110000000001").status == ALLOWED
        wait_for(lambda: feed_of(daemon).complete_until == now, "the heartbeat")
        produce([f"BLOCK {KEY} 1 police"], "-sequence", 2, "-base", 1, "-base-sha256", first)
        reaches(daemon, 2)
        assert daemon.check(str(KEY), "432110000000001").status == DENIED
        assert produce(rows, "-sequence", 1) == first
        produce([], "-sequence", 3, "-base", 2, "-base-sha256", hashlib.sha256(b"other").hexdigest())
        reaches(daemon, 2, "refused")
        assert feed_of(daemon).snapshot_needed
        registered = 'eir_table_rows{table="registered"}'
        wait_for(lambda: daemon.metric(registered) == 2_500, "every row")
