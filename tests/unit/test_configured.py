"""What the configuration names, made of it."""

from pathlib import Path

import pytest

from eir import configured
from eir.config import load
from eir.errors import ConfigError
from eir.policy import default_policy_text
from eir.whitelist.feeds import FeedRules, GuardLimits
from eir.whitelist.store import Limits


def test_the_policy_is_the_shipped_one_or_that_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(default_policy_text().replace('name = "default"', 'name = "ours"'))
    assert configured.load_policy("").name == "default"
    assert configured.load_policy(str(path)).name == "ours"


@pytest.mark.parametrize("content", [None, b"\xff", b"name = ", b"name = 'x'\nnothing = 1\n"])
def test_a_policy_that_cannot_be_used_is_a_configuration_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "policy.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        configured.load_policy(str(path))
    assert caught.value.exit_code == 2


def test_the_store_gets_the_bounds_of_the_configuration(tmp_path: Path) -> None:
    assert configured.store_limits(load()) == Limits()
    path = tmp_path / "eir.toml"
    path.write_text(
        "[limits]\noverlay_rows_max = 9\n[guards]\nunpaired_percent_max = 1\n[feeds.hamta]\nlenient = true\n"
    )
    limits = configured.store_limits(load(path))
    assert limits.overlay_rows_max == 9
    assert limits.feeds == {"hamta": FeedRules(lenient=True)}
    assert limits.guards.removed_percent_max_by_table["pairs"] == 1
    assert limits.guards.removed_percent_max == GuardLimits().removed_percent_max
