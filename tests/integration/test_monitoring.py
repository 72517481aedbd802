"""A real Prometheus scrapes a daemon of the example configuration by our rules, and answers our dashboard."""

import json
import runpy
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from monitoring import DEPLOY, rules, selectors
from redis_server import free_port

from eir.proto import enforcement_pb2
from tests.running import SECONDS_MAX, Daemon, operation, running

KEY = "35693803564380"
WITH_THE_FIRST_EVENT = {
    "eir_deltas_refused_total",
    "eir_feed_refusals_total",
    "eir_import_timestamp_seconds",
    "eir_imports_total",
    "eir_inquiries_total",
    "eir_inquiry_duration_seconds_bucket",
    "eir_rpc_errors_total",
}
"""Metrics with labels that are not there before something happened."""


class Prometheus:
    """A Prometheus of a test's own, which scrapes each second."""

    def __init__(self, folder: Path, target: str) -> None:
        program = shutil.which("prometheus")
        assert program, "prometheus is needed: make peers installs it"
        text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
        for before, after in (
            ("rules/*.yml", str(DEPLOY / "prometheus" / "rules" / "*.yml")),
            ("127.0.0.1:9464", target),
            ("15s", "1s"),
        ):
            assert before in text
            text = text.replace(before, after)
        config = folder / "prometheus.yml"
        config.write_text(text)
        self._address = f"127.0.0.1:{free_port()}"
        words = [program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"]
        words += [f"--web.listen-address={self._address}", "--log.level=error"]
        self.process = subprocess.Popen(words, stderr=subprocess.DEVNULL)

    def get(self, path: str, **asked: str) -> Any:
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            said = json.load(answer)
        assert said["status"] == "success", said
        return said["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return found

    def wait_for(self, expression: str) -> None:
        """Wait until an expression has an answer."""
        limit = time.monotonic() + SECONDS_MAX
        while time.monotonic() < limit:
            try:
                if self.query(expression):
                    return
            except OSError:  # it is not there yet
                pass
            time.sleep(0.2)
        raise AssertionError(f"{expression} has no answer")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Prometheus]]:
    folder = tmp_path_factory.mktemp("watched")
    config = folder / "eir.toml"
    text = (DEPLOY / "config" / "single.toml").read_text().replace('policy = "/etc/eir/policy.toml"', "")
    config.write_text(text.replace("/etc/eir", str(folder)).replace(":6379/", f":{free_port()}/"))
    (folder / "smsc.password").write_text("secret")
    with running(folder / "data", config=config) as daemon:
        daemon.push(operation("REGISTER", KEY), feed="manual")
        daemon.check(KEY)
        prometheus = Prometheus(folder, daemon.ready_line["http"])
        try:
            prometheus.wait_for('up{job="eir"} == 1')
            yield daemon, prometheus
        finally:
            prometheus.process.terminate()
            prometheus.process.wait(20)


def test_the_override_raises_its_alert(watched: tuple[Daemon, Prometheus]) -> None:
    daemon, prometheus = watched
    firing = 'ALERTS{alertname="EirOverrideActive",alertstate="firing"}'
    assert not prometheus.query(firing)
    daemon.enforcement.SetEnforcement(
        enforcement_pb2.SetEnforcementRequest(mode="ENFORCEMENT_MODE_ALLOW_ALL", who="sre", why="drill")
    )
    prometheus.wait_for(firing)


def test_every_rule_can_be_evaluated(watched: tuple[Daemon, Prometheus]) -> None:
    _, prometheus = watched
    limit = time.monotonic() + SECONDS_MAX
    while True:
        groups = prometheus.get("rules")["groups"]
        found = [rule for group in groups for rule in group["rules"]]
        if {rule["health"] for rule in found} != {"unknown"} or time.monotonic() > limit:
            break
        time.sleep(0.2)
    assert len(found) == len(rules())
    assert [rule for rule in found if rule.get("lastError")] == []


def test_every_metric_of_a_rule_is_scraped(watched: tuple[Daemon, Prometheus]) -> None:
    _, prometheus = watched
    prometheus.wait_for("eir_smsc_bound")
    named = {one.metric for rule in rules() for one in selectors(rule["expr"])}
    missing = {metric for metric in named if not prometheus.query(metric)}
    assert missing == WITH_THE_FIRST_EVENT & named


def test_every_line_of_the_dashboard_is_answered(watched: tuple[Daemon, Prometheus]) -> None:
    _, prometheus = watched
    board = runpy.run_path(str(DEPLOY / "grafana" / "make_dashboard.py"))["dashboard"]()
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            asked = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".+")
            prometheus.query(asked)
