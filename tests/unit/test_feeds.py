"""Where a delta may come, and what guards refuse."""

from __future__ import annotations

import pytest

from eir.errors import DeltaConflictError, DeltaGapError, DeltaHashMismatchError
from eir.whitelist.delta import Header, TableEffect
from eir.whitelist.feeds import AppliedBefore, GuardLimits, Placement, check_content, check_guards, place

BEFORE = AppliedBefore(base_sequence=3, row_count=10, content_sha256=b"a" * 32)


def _header(sequence: int, base: int, rows: int = 10) -> Header:
    return Header("registry", sequence, base, rows)


def test_a_delta_builds_on_where_its_feed_stands() -> None:
    assert place(0, _header(1, 0), None) is Placement.ACCEPT
    assert place(4, _header(9, 4), None) is Placement.ACCEPT


def test_a_repeat_is_known_wherever_the_feed_stands() -> None:
    assert place(4, _header(4, 3), BEFORE) is Placement.REPEAT
    assert place(90, _header(4, 3), BEFORE) is Placement.REPEAT


@pytest.mark.parametrize(("position", "base"), [(4, 5), (4, 3), (0, 1), (4, 0)])
def test_a_gap_names_the_position_expected(position: int, base: int) -> None:
    with pytest.raises(DeltaGapError, match=f"stands at sequence {position}; .* builds on {base}") as gap:
        place(position, _header(6, base), None)
    assert gap.value.details == {"expected_base_sequence": str(position)}


@pytest.mark.parametrize(("base", "rows"), [(2, 10), (3, 11)])
def test_another_delta_under_an_applied_sequence_conflicts(base: int, rows: int) -> None:
    with pytest.raises(DeltaConflictError):
        place(4, _header(4, base, rows), BEFORE)


def test_the_content_is_what_was_sent_and_what_was_applied() -> None:
    header = _header(4, 3)
    check_content(header, b"a" * 32, b"a" * 32, None)
    check_content(header, b"a" * 32, b"a" * 32, BEFORE)
    with pytest.raises(DeltaHashMismatchError, match="6262"):
        check_content(header, b"a" * 32, b"b" * 32, None)
    with pytest.raises(DeltaHashMismatchError, match="none"):
        check_content(header, b"", b"b" * 32, None)
    with pytest.raises(DeltaConflictError, match="other rows"):
        check_content(header, b"b" * 32, b"b" * 32, BEFORE)


@pytest.mark.parametrize(
    ("table", "added", "removed", "trips"),
    [
        ("registered", 0, 2_500, False),
        ("registered", 9_000, 2_501, True),
        ("registered", 90_000, 0, False),
        ("pairs", 0, 500, False),
        ("pairs", 0, 501, True),
        ("utilizers", 0, 501, True),
        ("blocks", 500, 0, False),
        ("blocks", 501, 0, True),
        ("blocked_ranges", 51, 0, True),
        ("blocks", 0, 2_501, True),
        ("tacs", 0, 999, False),
        ("unheard-of", 9, 9, False),
    ],
)
def test_guards(table: str, added: int, removed: int, trips: bool) -> None:
    before = dict.fromkeys(("registered", "pairs", "utilizers", "blocks", "blocked_ranges"), 10_000)
    before |= {"tacs": 999, "registered_ranges": 1_000}
    effects = (TableEffect(table, added, removed, before.get(table, 0) + added - removed),)
    error = check_guards(effects, before, GuardLimits())
    assert (error is not None) == trips
    if error is not None:
        assert table in error.message
        assert error.effects == effects


@pytest.mark.parametrize(
    ("registered", "paired", "in_ranges", "blocked", "trips", "asked"),
    [
        (0, 0, 100_000, 5_000, False, True),
        (0, 0, 100_000, 5_001, True, True),  # a registry that registers by ranges only
        (999, 999, 100_000, 5_001, True, True),  # too few by themselves
        (10_000, 0, 10**9, 500, False, False),
        (10_000, 0, 10**9, 501, True, False),  # whatever was imported and never sold
        (0, 10_000, 10**9, 501, True, False),  # registered by ranges, and activated
        (20_000, 10_000, 0, 1_000, False, False),
        (20_000, 10_000, 0, 1_001, True, False),
        (0, 0, 999, 900, False, True),  # too few to be guarded
    ],
)
def test_blocks_are_guarded_by_the_phones_that_are_known(
    registered: int, paired: int, in_ranges: int, blocked: int, trips: bool, asked: bool
) -> None:
    calls: list[int] = []

    def counted() -> int:
        calls.append(1)
        return in_ranges

    effects = (TableEffect("blocks", blocked, 0, blocked),)
    error = check_guards(effects, {"registered": registered, "pairs": paired}, GuardLimits(), counted)
    assert (error is not None, bool(calls)) == (trips, asked)


def test_a_transfer_is_a_removal_to_the_guard() -> None:
    """It adds as many pairs as it removes, and each former owner loses service."""
    effects = (TableEffect("pairs", 501, 501, 10_000),)
    assert check_guards(effects, {"pairs": 10_000}, GuardLimits()) is not None


def test_limits_of_guards_are_settings() -> None:
    effects = (TableEffect("pairs", 0, 400, 600), TableEffect("blocks", 400, 0, 400))
    before = {"pairs": 1000, "registered": 1000}
    error = check_guards(effects, before, GuardLimits())
    assert error is not None
    assert "pairs" in error.message
    assert "blocks" in error.message
    wide = GuardLimits(removed_percent_max_by_table={"pairs": 40.0}, blocked_percent_max=40.0)
    assert check_guards(effects, before, wide) is None
    assert check_guards(effects, before, GuardLimits(guarded_rows_min=1001)) is None
