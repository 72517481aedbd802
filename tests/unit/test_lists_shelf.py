"""The shelf: replaced with its delta or not at all, whenever the import ends."""

from contextlib import suppress

import numpy as np
import pytest

from eir.errors import StorageError
from eir.lists.errors import ImportRunningError, ShelfDamagedError
from eir.lists.shelf import FOLDER, held
from eir.whitelist.files import FileLayer

ROWS = {"rows": np.arange(6, dtype=np.uint64)}
MORE = {"rows": np.arange(9, dtype=np.uint64)}


def put(shelf, arrays):
    with shelf.replacing("stolen.police", arrays, "stolen", 1, "sha"):
        pass


@pytest.fixture
def shelf(tmp_path):
    with held(tmp_path) as taken:
        yield taken


def test_what_is_put_is_read(shelf, tmp_path) -> None:
    assert shelf.read("stolen.police") == {}
    put(shelf, ROWS)
    assert shelf.read("stolen.police")["rows"].tolist() == list(range(6))
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["stolen.police.npz"]


def test_nothing_on_an_empty_shelf_makes_no_file(shelf, tmp_path) -> None:
    put(shelf, {"rows": np.empty(0, np.uint64)})
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.parametrize("reference", ["sha", "another", ""])
def test_an_import_that_was_killed_is_finished_or_taken_back(shelf, tmp_path, reference) -> None:
    put(shelf, ROWS)
    with pytest.raises(KeyboardInterrupt), shelf.replacing("stolen.police", MORE, "stolen", 2, "sha"):
        raise KeyboardInterrupt
    asked = []

    def applied(feed, sequence):
        asked.append((feed, sequence))
        return reference

    shelf.settle(applied)
    assert asked == [("stolen", 2)]
    assert len(shelf.read("stolen.police")["rows"]) == (9 if reference == "sha" else 6)
    shelf.settle(lambda feed, sequence: pytest.fail("it is settled"))


def test_a_refused_delta_leaves_the_shelf_as_it_was(shelf, tmp_path) -> None:
    put(shelf, ROWS)
    with pytest.raises(LookupError), shelf.replacing("stolen.police", MORE, "stolen", 2, "sha"):
        raise LookupError
    shelf.forget()
    assert len(shelf.read("stolen.police")["rows"]) == 6
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["stolen.police.npz"]


def test_damage_is_found_and_said(shelf, tmp_path) -> None:
    put(shelf, ROWS)
    path = tmp_path / FOLDER / "stolen.police.npz"
    data = bytearray(path.read_bytes())
    for place in (10, len(data) // 2, len(data) - 30):
        broken = data.copy()
        broken[place] ^= 0xFF
        path.write_bytes(broken)
        with suppress(ShelfDamagedError):
            assert shelf.read("stolen.police")["rows"].tolist() == list(range(6)), "no other content"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ShelfDamagedError, match="import the full list again"):
        shelf.read("stolen.police")


def test_a_note_that_is_none_is_said(shelf, tmp_path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "note.json").write_text("{")
    with pytest.raises(ShelfDamagedError):
        shelf.settle(lambda feed, sequence: "")


def test_an_import_that_was_killed_while_it_wrote_is_not_in_the_way(shelf, tmp_path, monkeypatch) -> None:
    put(shelf, ROWS)
    for step in ("write", "rename", "sync_folder"):
        monkeypatch.setattr(FileLayer, step, lambda *_: pytest.fail("killed here"))
        with pytest.raises(BaseException, match="killed here"):
            put(shelf, MORE)
        monkeypatch.undo()
        shelf.settle(lambda feed, sequence: "")
        assert len(shelf.read("stolen.police")["rows"]) == 6
    put(shelf, MORE)
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["stolen.police.npz"]


def test_one_import_at_a_time(shelf, tmp_path) -> None:
    with pytest.raises(ImportRunningError, match="one at a time"), held(tmp_path):
        pass


def test_a_shelf_that_cannot_be_written_is_said(shelf, tmp_path) -> None:
    (tmp_path / FOLDER).write_text("in the way")
    with pytest.raises(StorageError), shelf.replacing("stolen", ROWS, "stolen", 1, "sha"):
        pytest.fail("the delta must not be applied")
