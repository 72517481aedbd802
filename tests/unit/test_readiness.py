"""Readiness by named conditions, staleness as one rule."""

from typing import NamedTuple

from eir.readiness import Readiness, stale_feeds


class At(NamedTuple):
    feed: str
    complete_until: int
    applied_at: int


def test_a_daemon_starts_not_ready_and_says_why() -> None:
    readiness = Readiness()
    assert not readiness.ready
    assert readiness.reasons() == ["tables: tables loading"]


def test_it_is_ready_when_every_required_condition_holds() -> None:
    readiness = Readiness()
    readiness.hold("tables")
    assert readiness.ready
    assert readiness.reasons() == []
    readiness.fail("serving", "draining")
    assert not readiness.ready
    assert readiness.reasons() == ["serving: draining"]


def test_stale_tables_are_reported_and_keep_nobody_away() -> None:
    readiness = Readiness()
    readiness.hold("tables")
    readiness.fail("fresh", "stale feeds: hamta", required=False)
    assert readiness.ready
    assert readiness.reasons() == ["fresh: stale feeds: hamta"]
    readiness.hold("fresh")
    assert readiness.reasons() == []


def test_a_feed_is_as_old_as_what_it_is_complete_until() -> None:
    at = [At("hamta", complete_until=1000, applied_at=5000)]
    assert stale_feeds(at, {"hamta": 60}, 1060) == []
    assert stale_feeds(at, {"hamta": 60}, 1061) == ["hamta"]


def test_a_feed_that_never_says_so_is_as_old_as_its_last_delta() -> None:
    at = [At("hamta", complete_until=0, applied_at=5000)]
    assert stale_feeds(at, {"hamta": 60}, 5060) == []
    assert stale_feeds(at, {"hamta": 60}, 5061) == ["hamta"]


def test_a_feed_that_sent_nothing_is_stale_where_it_has_a_limit() -> None:
    assert stale_feeds([], {"hamta": 60}, 2_000_000_000) == ["hamta"]


def test_a_feed_without_a_limit_is_never_stale() -> None:
    at = [At("hamta", 1, 1), At("stolen", 1, 1)]
    assert stale_feeds(at, {"hamta": 0}, 2_000_000_000) == []
