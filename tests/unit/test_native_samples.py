"""The segments that the native engine's fuzzer damages are those of the writer."""

import pytest
from native_samples import FOLDER, samples


@pytest.mark.parametrize("name", samples())
def test_the_samples_are_what_the_writer_writes(name: str) -> None:
    assert (FOLDER / name).read_bytes() == samples()[name], (
        "run `PYTHONPATH=tests:. python tests/native_samples.py`"
    )
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(samples())
