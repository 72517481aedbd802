"""Changes counted by rule and cohort."""

from eir.trial.tally import Change, Tally

DENIED = Change("no class", 1, 16, 3, 37)
OTHER = Change("operator a", 1, 16, 3, 37)
REASON = Change("no class", 2, 37, 2, 36)


def test_checks_and_subscribers_are_counted_by_change() -> None:
    tally = Tally(10)
    for number in range(20):
        tally.same(str(number % 4))
        tally.changed(REASON, str(number % 5))
    for number in range(6):
        tally.changed(DENIED, str(number % 3))
    tally.changed(OTHER, "9")
    assert tally.lines() == [(DENIED, 6, 3), (OTHER, 1, 1), (REASON, 20, 5)], "status first, then by number"
    assert tally.judged_count == 47
    assert tally.changed_count == 7, "another reason with the same status changes nothing for the phone"
    assert tally.subscriber_count == 6
    assert tally.more_count == 0


def test_lines_are_bounded_and_the_rest_is_counted_together() -> None:
    tally = Tally(2)
    for number in range(5):
        tally.changed(DENIED._replace(cohort=str(number)), "1")
    tally.changed(DENIED._replace(cohort="0"), "2")
    assert [(line.change.cohort, line.check_count) for line in tally.lines()] == [("0", 2), ("1", 1)]
    assert (tally.more_count, tally.changed_count) == (3, 6)
