"""Several daemons that keep the same cases over one Redis: opening, hearing, sending, and after a kill.

    sightings ──ForwardSightings──► daemons in turn ──lines──► every daemon has every case
    released ──► notices claimed and sent by all ──► one is killed ──► the others do its part

A real redis-server (Debian: redis-server), real daemons and an SMSC end, all on this machine: the more
daemons, the less of a core has each.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc

from bench import smsc
from bench.command import parser, publish, say
from bench.daemon import Daemon, channel, free_ports, serving
from bench.datadir import FOLDER
from bench.notices import FIRST_IMSI, FIRST_KEY
from bench.redis_feed import redis_server
from bench.results import Figure, median
from bench.rpc import group_of, notices_of
from eir.proto import group_pb2, notice_pb2

POLICY = """
name = "bench"
home_plmns = ["43211"]
[cause.not_registered]
mode = "enforce"
grace_days = 30
clock_start = "first_sighting"
[notices]
quiet_hours = "00:00-00:00"
cases_per_hour_max = 10000000
notices_per_hour_max = 10000000
"""
CONFIG = """
policy = "{policy}"
[notices]
enabled = true
code = "*7777#"
helpline = "02127480000"
language = "en"
[smsc.main]
host = "127.0.0.1"
port = {smsc}
system_id = "eir"
sender = "EIR"
password_variable = "BENCH_SMSC_PASSWORD"
parts_per_second_max = 100000.0
[group]
redis_urls = "{redis}"
address = "{address}"
lease_seconds = {lease}
"""
LEASE_SECONDS = 5.0
BATCH_SIGHTINGS = 1_000
WAIT_SECONDS_MAX = 600.0
SENDING_SECONDS = 1.0
"""How long the others have sent when one is killed."""
SAID = {"who": "bench", "why": "measured"}


class Node:
    """A daemon of the group, and what it is asked."""

    def __init__(self, daemon: Daemon, manage: grpc.Channel) -> None:
        """Ask a daemon over a connection."""
        self.daemon = daemon
        self.group, self.notices = group_of(manage), notices_of(manage)

    def forward(self, first: int, count: int) -> None:
        """Forward sightings of pairs by their numbers; they are durable on return."""
        now = int(time.time())
        sightings = [
            group_pb2.ForwardedSighting(
                key=FIRST_KEY + 8 * n, imsi=FIRST_IMSI + n, at=now, msisdn=f"98912{n:07d}"
            )
            for n in range(first, first + count)
        ]
        self.group.ForwardSightings(group_pb2.ForwardSightingsRequest(daemon="bench", sightings=sightings))

    def metric(self, name: str, labels: str = "") -> float:
        """Return the sum of a metric's samples, of those whose labels have something."""
        with urllib.request.urlopen(f"http://{self.daemon.web_address}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = re.findall(rf"^{name}(?:\{{([^}}]*)\}})? (\S+)$", text, re.MULTILINE)
        return sum(float(value) for having, value in found if labels in having)

    def cases(self) -> int:
        """Return how many cases it has."""
        status = self.notices.GetNoticeStatus(notice_pb2.GetNoticeStatusRequest())
        return sum(one.count for one in status.cases)

    def together(self) -> bool:
        """Tell whether it works with the others."""
        status = self.notices.GetNoticeStatus(notice_pb2.GetNoticeStatusRequest())
        return bool(status.group_state == "together")

    def sent(self) -> float:
        """Return how many notices an SMSC took of it; a second old."""
        return self.metric("eir_notices_accepted_total")

    def known_sent(self) -> float:
        """Return how many it knows to be sent, by whomever."""
        return self.sent() + self.metric("eir_group_events_total", 'event="sent_by_others"')


def wait(holds: Callable[[], bool], what: str, pause_seconds: float = 0.02) -> float:
    """Wait until something holds; return the seconds it took. Raises RuntimeError."""
    started = time.perf_counter()
    while not holds():
        if time.perf_counter() - started > WAIT_SECONDS_MAX:
            raise RuntimeError(f"waited in vain: {what}")
        time.sleep(pause_seconds)
    return time.perf_counter() - started


@contextmanager
def group(count: int) -> Iterator[list[Node]]:
    """Run daemons of a group, with their Redis and an SMSC."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=FOLDER, prefix="group-")))
        (folder / "policy.toml").write_text(POLICY)
        url, port = stack.enter_context(redis_server()), stack.enter_context(smsc.running())
        nodes = []
        for number, manage in enumerate(free_ports(count)):
            data_dir, address = folder / f"d{number}", f"127.0.0.1:{manage}"
            data_dir.mkdir()
            config = CONFIG.format(
                policy=folder / "policy.toml", smsc=port, redis=url, address=address, lease=LEASE_SECONDS
            )
            daemon = stack.enter_context(
                serving(
                    data_dir,
                    config=config,
                    settings={"BENCH_SMSC_PASSWORD": "bench"},
                    manage_address=address,
                )
            )
            nodes.append(Node(daemon, stack.enter_context(channel(daemon.manage_address))))
        wait(lambda: all(node.together() for node in nodes), "together")
        yield nodes


def open_cases(nodes: Sequence[Node], first: int, count: int) -> tuple[float, float]:
    """Open cases at all daemons in turn; return the seconds until durable, and until all know them."""
    started = time.perf_counter()
    for at in range(0, count, BATCH_SIGHTINGS):
        node = nodes[at // BATCH_SIGHTINGS % len(nodes)]
        node.forward(first + at, min(BATCH_SIGHTINGS, count - at))
    durable = time.perf_counter() - started
    wait(lambda: all(node.cases() >= first + count for node in nodes), "everybody has all cases")
    return durable, time.perf_counter() - started


def held(nodes: Sequence[Node]) -> None:
    """Hold all sending, everywhere."""
    status = notice_pb2.GetNoticeStatusRequest()
    nodes[0].notices.HoldNotices(notice_pb2.HoldNoticesRequest(**SAID))
    wait(lambda: all(node.notices.GetNoticeStatus(status).held_why for node in nodes), "all hold")


def release(nodes: Sequence[Node]) -> float:
    """Send again; return when."""
    nodes[0].notices.ReleaseNotices(notice_pb2.ReleaseNoticesRequest(**SAID))
    return time.perf_counter()


def cpu_seconds(nodes: Sequence[Node]) -> float:
    """Return the CPU time that the daemons have used."""
    return sum(node.daemon.cpu_seconds() for node in nodes)


def measure(count: int, daemons: int) -> dict[str, tuple[float, str]]:
    """One round."""
    with group(daemons) as nodes:
        held(nodes)
        cpu = cpu_seconds(nodes)
        durable, heard = open_cases(nodes, 0, count)
        out = {
            "cases opened": (count / durable, "/s"),
            "cases known to all": (count / heard, "/s"),
            "CPU time of all daemons, a case": ((cpu_seconds(nodes) - cpu) / count * 1e6, "µs"),
        }
        cpu = cpu_seconds(nodes)
        started = release(nodes)
        wait(lambda: sum(node.sent() for node in nodes) >= count, "all are sent", 0.2)
        out["notices claimed and sent"] = (count / (time.perf_counter() - started), "/s")
        out["CPU time of all daemons, a notice"] = ((cpu_seconds(nodes) - cpu) / count * 1e6, "µs")
        wait(lambda: all(node.known_sent() >= count for node in nodes), "all know it", 0.2)
        # One dies while it sends; what it had claimed is the others' when its leases have run out.
        more = max(count // 2, 1)
        held(nodes)
        open_cases(nodes, count, more)
        release(nodes)
        time.sleep(SENDING_SECONDS)
        os.kill(nodes[-1].daemon.pid, signal.SIGKILL)
        left = nodes[:-1]
        seconds = wait(
            lambda: all(node.known_sent() >= count + more for node in left), "the others send the rest", 0.2
        )
        out["after a kill, until all is sent"] = (seconds, "s")
        taken_over = sum(node.metric("eir_group_events_total", 'event="taken_over"') for node in left)
        out["after a kill, sent that may be repeats"] = (taken_over, "notices")
    return out


def main(argv: list[str] | None = None) -> int:
    """Measure a group of daemons."""
    options = parser("group", main.__doc__)
    options.add_argument("--daemons", type=int, default=2)
    options.add_argument("--cases", type=int, default=20_000)
    args = options.parse_args(argv)
    if shutil.which("redis-server") is None:
        raise SystemExit("it takes a redis-server (Debian: redis-server)")
    FOLDER.mkdir(parents=True, exist_ok=True)
    rounds = []
    for _ in range(args.rounds):
        rounds.append(measure(args.cases, args.daemons))
        say(", ".join(f"{name} {value:,.1f} {unit}" for name, (value, unit) in rounds[-1].items()))
    figures: dict[str, Figure] = {}
    for name, (_, unit) in rounds[0].items():
        named = f"{args.daemons} daemons, {args.cases:,} cases: {name}"
        figures[named] = median([one[name][0] for one in rounds], unit)
    return publish("group", args, figures)


if __name__ == "__main__":
    sys.exit(main())
