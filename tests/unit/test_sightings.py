"""Sightings on their way to the keeper."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from eir.metrics import SIGHTING_RESULTS
from eir.notify.keeper import Sighting
from eir.notify.sightings import LATELY, RESULTS, Sightings

NOW = 1_800_000_000
PAIR = (35_693_803_564_380, 1_432_110_000_000_001)


class Count:
    """A counter like any other."""

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        self.value += amount


def queue(sightings_max: int = 100, repeat_seconds: int = 60) -> tuple[Sightings, dict[str, Count]]:
    counts = {result: Count() for result in RESULTS}
    return Sightings(sightings_max, repeat_seconds, counts), counts


def values(counts: dict[str, Count]) -> list[float]:
    """Taken, repeated, dropped."""
    return [counts[result].value for result in RESULTS]


def test_what_is_noted_is_taken_in_order_and_once() -> None:
    sightings, _ = queue()
    for serial in range(5):
        sightings.note(serial, 1, NOW, "98912")
    assert len(sightings) == 5
    assert sightings.take(3) == [Sighting(serial, 1, NOW, "98912") for serial in range(3)]
    assert [seen.key for seen in sightings.take(100)] == [3, 4]
    assert sightings.take(100) == []


def test_a_pair_is_told_again_when_its_time_is_over() -> None:
    sightings, counts = queue()
    for at in (NOW, NOW + 1, NOW + 59, NOW + 60, NOW + 61):
        sightings.note(*PAIR, at)
    assert [seen.at for seen in sightings.take(9)] == [NOW, NOW + 60]
    assert values(counts) == [2, 3, 0]
    sightings.note(*PAIR, NOW - 100)
    assert len(sightings) == 1, "a clock that was set back hides nothing"


def test_0_seconds_tell_every_sighting() -> None:
    sightings, counts = queue(repeat_seconds=0)
    for _ in range(3):
        sightings.note(*PAIR, NOW)
    assert values(counts) == [3, 0, 0]


def test_what_finds_no_room_is_counted_and_no_repeat_later() -> None:
    sightings, counts = queue(sightings_max=1)
    sightings.note(*PAIR, NOW)
    sightings.note(1, 2, NOW)
    assert values(counts) == [1, 0, 1]
    assert sightings.take(9) == [Sighting(*PAIR, NOW)]
    sightings.note(1, 2, NOW)
    assert values(counts) == [2, 0, 1]


def test_no_pair_is_taken_for_another() -> None:
    """However many there are: a place is taken over, a repeat is of the very pair."""
    sightings, counts = queue(sightings_max=3 * LATELY)
    for serial in range(2 * LATELY):
        sightings.note(serial, 7, NOW)
    assert values(counts) == [2 * LATELY, 0, 0]


def test_threads_note_while_another_takes() -> None:
    sightings, _ = queue(sightings_max=100_000, repeat_seconds=0)

    def note(thread: int) -> None:
        for serial in range(5_000):
            sightings.note(serial, thread, NOW)

    taken: list[Sighting] = []
    with ThreadPoolExecutor(4) as pool:
        noting = [pool.submit(note, thread) for thread in range(4)]
        while not all(one.done() for one in noting):
            taken += sightings.take(100)
    for one in noting:
        one.result()
    taken += sightings.take(100_000)
    assert Counter((seen.key, seen.imsi) for seen in taken) == {
        (serial, thread): 1 for serial in range(5_000) for thread in range(4)
    }


def test_results_are_the_labels_of_the_metric() -> None:
    assert RESULTS == SIGHTING_RESULTS
