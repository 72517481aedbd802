"""Overlays: newer rows win, images and files say the same, damage is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_samples import columns

from eir.errors import SegmentDamagedError
from eir.whitelist import segment
from eir.whitelist.hashtable import HashTable
from eir.whitelist.overlay import COMMON, SLOTS_SECTION, Overlay, Table, table_sections, tables_of

Rows = dict[int, tuple[int, tuple[int, ...]]]
rows = st.dictionaries(
    st.integers(0, 30),
    st.tuples(st.integers(0, (1 << 60) - 1), st.lists(st.integers(0, 2**64 - 1), max_size=3).map(tuple)),
)
levels = st.dictionaries(st.sampled_from(Table), rows)


def read(overlay: Overlay) -> dict[Table, Rows]:
    """All rows, by looking each key up in the images."""
    out: dict[Table, Rows] = {}
    for table in Table:
        for key in range(31):
            hit = overlay.tables[table].find(key)
            if hit is not None:
                head, offset, count = hit
                words = tuple(overlay.tables[table].word_run(offset, count)) if count else ()
                out.setdefault(table, {})[key] = head, words
    return out


def made(level: dict[Table, Rows]) -> Overlay:
    return Overlay.of({table: columns(part) for table, part in level.items()})


def filled(level: dict[Table, Rows]) -> dict[Table, Rows]:
    return {table: part for table, part in level.items() if part}


@settings(max_examples=40)
@given(levels, levels)
def test_newer_rows_win(older: dict[Table, Rows], newer: dict[Table, Rows]) -> None:
    below = made(older)
    above = below.merged({table: columns(part) for table, part in newer.items()})
    wanted = {table: older.get(table, {}) | newer.get(table, {}) for table in Table}
    assert read(above) == filled(wanted)
    assert above.rows == sum(map(len, wanted.values()))
    assert read(below) == filled(older), "what was published does not change"


@settings(max_examples=40)
@given(levels)
def test_a_file_says_what_the_overlay_says(level: dict[Table, Rows]) -> None:
    overlay = made(level)
    image = segment.parse(memoryview(overlay.image(7)), "a")
    assert (image.kind, image.serial) == (segment.Kind.OVERLAY, 7)
    back = Overlay.from_segment(image)
    assert read(back) == filled(level)
    assert back.rows == overlay.rows
    assert back.image(7) == overlay.image(7)


def test_an_empty_overlay():
    empty = Overlay.empty()
    assert (empty.rows, empty.nbytes, read(empty)) == (0, 0, {})
    assert read(Overlay.from_segment(segment.parse(memoryview(empty.image(0)), "a"))) == {}


def test_tables_that_are_not_touched_are_kept():
    below = made({Table.KEYS: {1: (1, ())}, Table.RAW: {2: (2, ())}})
    above = below.merged({Table.KEYS: columns({3: (3, ())}), Table.RAW: columns({})})
    assert above.tables[Table.RAW] is below.tables[Table.RAW]
    assert above.tables[Table.KEYS] is not below.tables[Table.KEYS]
    assert above.nbytes > 0


def test_a_row_that_says_gone_is_found():
    overlay = made({Table.KEYS: {5: (0, ())}})
    assert overlay.tables[Table.KEYS].find(5) == (0, 0, 0)


@pytest.mark.parametrize("spoil", ["odd", "full"])
def test_slots_without_an_end_are_refused(spoil):
    slots = HashTable.build(columns({1: (1, ())})).slots.reshape(-1).copy()
    if spoil == "odd":
        slots = slots[:-1]
    else:
        slots[-1] = 1 << 62
    packed = segment.pack(segment.Kind.OVERLAY, {SLOTS_SECTION: slots}, serial=1)
    with pytest.raises(SegmentDamagedError, match="KEYS"):
        tables_of(segment.parse(memoryview(packed), "a"))


def test_sections_by_table():
    sections = table_sections({table: HashTable.build(columns({int(table): (0, (1,))})) for table in Table})
    assert sorted(sections) == list(range(100, 112))
    assert np.count_nonzero(sections[SLOTS_SECTION + 2 * Table.RANGES]) > 0
    assert COMMON == (Table.RAW, Table.IMSI, Table.TACS)
