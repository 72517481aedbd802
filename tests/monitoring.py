"""What expressions of Prometheus name, and whether the daemon has it."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from unit.test_metrics import filled

from eir.config import Config
from eir.lists.ledger import OUTCOMES, Noted
from eir.metrics import Metrics
from eir.server.inquiry import FORMS
from eir.verdict import Status

DEPLOY = Path(__file__).parents[1] / "deploy"
RULE_FILES = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
TARGET = {"job", "instance"}
"""Labels that Prometheus gives to everything it scrapes."""
SELECTOR = re.compile(r"(?<![\w:\"])((?:eir|process)_\w+|up)\b(?![\w:(])(?:\{([^}]*)\})?")
MATCHER = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*\"([^\"]*)\"")
RECORDED = re.compile(r"\b[a-z]+:\w+:\w+")
OPEN = {"feed", "smsc", "hash", "name", "instance", "job", "listener"}
"""Labels whose values come from an installation."""


class Selector(NamedTuple):
    """A metric that an expression names, and what it wants of its labels: operator and value."""

    metric: str
    matchers: dict[str, tuple[str, str]]


def rules() -> list[dict[str, Any]]:
    """Every rule of every file."""
    documents = [yaml.safe_load(path.read_text()) for path in RULE_FILES]
    return [rule for document in documents for group in document["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """Alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def selectors(expression: str) -> Iterator[Selector]:
    """Metrics that an expression names."""
    for metric, inside in SELECTOR.findall(expression):
        yield Selector(metric, {label: (how, value) for label, how, value in MATCHER.findall(inside)})


def shown() -> Metrics:
    """Metrics of a daemon to which everything happened that a rule may name."""
    metrics = filled()
    for status in Status:
        metrics.count(status, 1)
    for field in dataclasses.fields(Config):
        if field.name == "engine":
            for engine in set(field.metadata["choices"]) - {"auto"}:
                metrics.set_identity(engine, [], [])
    metrics.errors.labels("INTERNAL").inc()
    for form in FORMS.values():
        metrics.inquiries.labels(form, "found").inc()
        metrics.inquiry_seconds.labels(form).observe(0.01)
    metrics.set_imports({"barred": Noted(dict.fromkeys(OUTCOMES, 1), {}, 1, 1, 1.0)})
    return metrics


def known() -> dict[str, dict[str, set[str]]]:
    """Values of labels by metric, as the daemon prints them."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set), {"up": {}})
    for family in shown().registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        found[name] = found[name]
        for one in family.samples:
            for label, value in one.labels.items():
                found[one.name][label].add(value)
    return found


def unknown(expression: str, metrics: dict[str, dict[str, set[str]]]) -> list[str]:
    """What an expression names and the daemon does not have."""
    missing = []
    for metric, matchers in selectors(expression):
        if metric not in metrics:
            missing.append(metric)
            continue
        labels = metrics[metric]
        for label, (how, value) in matchers.items():
            if label in TARGET:
                continue
            if label not in labels:
                missing.append(f"{metric}: {label}")
            elif label not in OPEN:
                values = value.split("|") if how in ("=~", "!~") else [value]
                missing += [f"{metric}: {label}={one}" for one in values if one not in labels[label]]
    return missing


def promtool(*words: str | Path) -> str:
    """What promtool prints; fails where it finds something wrong."""
    program = shutil.which("promtool")
    assert program, "promtool is needed: make peers installs it"
    ended = subprocess.run([program, *map(str, words)], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def parses(folder: Path, expressions: list[str]) -> None:
    """Have promtool read expressions."""
    rule = [{"record": f"test:expression:{number}", "expr": text} for number, text in enumerate(expressions)]
    path = folder / "expressions.yml"
    path.write_text(json.dumps({"groups": [{"name": "expressions", "rules": rule}]}))
    promtool("check", "rules", path)
