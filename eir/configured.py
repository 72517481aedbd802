"""What the configuration names, made of it: the policy, the bounds of the store."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from eir.config import Config
from eir.errors import ConfigError, PolicyError
from eir.policy import Policy, compile_policy, default_policy_text
from eir.whitelist.feeds import REMOVED_PERCENT_MAX, FeedRules, GuardLimits
from eir.whitelist.store import Limits

STORE_LIMITS: Final = (
    "small_overlay_rows_max",
    "rebuild_overlay_rows",
    "overlay_rows_max",
    "rebuild_bytes_per_second_max",
    "journal_days_min",
    "clock_skew_seconds_max",
)
"""Bounds that the store has under the same name."""


def load_policy(path: str) -> Policy:
    """Return the compiled policy of a file, or the shipped default for an empty path.

    Raises ConfigError.
    """
    try:
        if path:
            return compile_policy(Path(path).read_text("utf-8"), path)
        return compile_policy(default_policy_text(), "default policy")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"policy: {error}") from None
    except PolicyError as error:
        raise ConfigError(error.message) from None


def store_limits(config: Config) -> Limits:
    """Return the bounds of the store as the configuration has them."""
    bounds = {name: getattr(config.limits, name) for name in STORE_LIMITS}
    guards = config.guards
    return Limits(
        **bounds,
        feeds={name: FeedRules(lenient=feed.lenient) for name, feed in config.feeds.items()},
        guards=GuardLimits(
            removed_percent_max=guards.removed_percent_max,
            removed_percent_max_by_table=dict.fromkeys(REMOVED_PERCENT_MAX, guards.unpaired_percent_max),
            blocked_percent_max=guards.blocked_percent_max,
            guarded_rows_min=guards.guarded_rows_min,
        ),
    )
