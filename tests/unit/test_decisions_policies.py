"""Policies kept by hash."""

import os
import stat
from pathlib import Path

from eir.decisions.policies import find_policy, keep_policy
from eir.policy import Policy, compile_policy, default_policy_text


def policy(name: str) -> Policy:
    return compile_policy(default_policy_text().replace('name = "default"', f'name = "{name}"'))


def test_a_policy_is_found_by_the_beginning_of_its_hash(tmp_path: Path) -> None:
    first, second = policy("first"), policy("second")
    for one in (first, second, first):
        keep_policy(tmp_path, one, 10)
    assert find_policy(tmp_path, first.hash[:16]) == (first.hash, first.text)
    assert find_policy(tmp_path, second.hash) == (second.hash, second.text)
    assert find_policy(tmp_path, "0" * 16) == ("", "")
    assert find_policy(tmp_path, "") == ("", "")
    assert find_policy(tmp_path / "none", first.hash) == ("", "")


def test_others_cannot_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keep_policy(tmp_path, policy("x"), 10)
    finally:
        os.umask(before)
    (path,) = (tmp_path / "policies").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_no_more_are_kept_than_may_be_and_the_latest_stays(tmp_path: Path) -> None:
    made = [policy(f"p{number}") for number in range(4)]
    for age, one in enumerate(made):
        keep_policy(tmp_path, one, 10)
        os.utime(tmp_path / "policies" / f"{one.hash}.toml", (age, age))
    keep_policy(tmp_path, made[0], 2)
    assert {path.stem for path in (tmp_path / "policies").iterdir()} == {made[0].hash, made[3].hash}
