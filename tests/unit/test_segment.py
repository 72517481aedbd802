"""Container of segments: what is packed is read back, what is damaged is refused by name."""

import struct

import numpy as np
import pytest
from crc32c import crc32c
from segment_samples import example_common, example_shard

from eir.errors import SegmentDamagedError
from eir.whitelist import segment
from eir.whitelist.segment import Kind

SECTIONS = {
    9: np.arange(7, dtype=np.uint32),
    1: np.arange(64, dtype=np.uint8),
    200: np.arange(6, dtype=np.uint64).reshape(3, 2),
    3: np.empty(0, np.uint64),
}


def packed() -> bytearray:
    return segment.pack(Kind.SHARD, SECTIONS, serial=12, first_tac=1, last_tac=99_999_999)


def signed(data: bytearray, at: int, form: str, *values: int) -> bytearray:
    """Change a field of the head, and make the checksum of the head true again."""
    struct.pack_into(form, data, at, *values)
    (count,) = struct.unpack_from("<I", data, 12)
    struct.pack_into("<I", data, 40, 0)
    struct.pack_into("<I", data, 40, crc32c(data[: min(64 + 32 * count, len(data))]))
    return data


def test_what_is_packed_is_read_back():
    read = segment.parse(memoryview(packed()), "a")
    assert (read.kind, read.first_tac, read.last_tac, read.serial) == (Kind.SHARD, 1, 99_999_999, 12)
    assert read.total_bytes == len(packed())
    assert sorted(read.sections) == [1, 9, 200], "a section without bytes is left out"
    assert read.array(9, "<u4").tolist() == list(range(7))
    assert read.array(200, "<u8").reshape(3, 2).tolist() == SECTIONS[200].tolist()
    assert read.array(3, "<u8").tolist() == []
    assert read.crc32c == segment.crc_of(packed())


def test_sections_are_aligned_and_in_order():
    data = packed()
    entries = [struct.unpack_from("<IIQQ", data, 64 + 32 * place) for place in range(3)]
    assert [number for number, *_ in entries] == [1, 9, 200]
    assert [offset for *_, offset, _ in entries] == [192, 256, 320]
    assert len(data) == 384


def test_a_segment_without_sections():
    data = segment.pack(Kind.OVERLAY, {}, serial=0)
    assert len(data) == 64
    assert segment.parse(memoryview(data), "a").sections == {}


def test_arrays_are_read_only():
    read = segment.parse(memoryview(bytes(packed())), "a")
    with pytest.raises(ValueError, match="read-only"):
        read.array(9, "<u4")[0] = 1


@pytest.mark.parametrize(
    "image", [example_common(), example_shard(), bytes(packed())], ids=["common", "shard", "raw"]
)
def test_every_byte_outside_of_padding_is_guarded(image):
    read = segment.parse(memoryview(image), "a")
    guarded = {*range(64 + 32 * len(read.sections))}
    for place in range(len(read.sections)):
        _, _, offset, length = struct.unpack_from("<IIQQ", image, 64 + 32 * place)
        guarded |= {*range(offset, offset + length)}
    damaged = bytearray(image)
    for at in range(len(image)):
        for bit in (1, 0x80):
            damaged[at] ^= bit
            if at in guarded:
                with pytest.raises(SegmentDamagedError, match="the-name") as error:
                    segment.parse(memoryview(damaged), "the-name")
                assert error.value.details["segment"] == "the-name"
            else:
                segment.parse(memoryview(damaged), "the-name")
            damaged[at] ^= bit


def test_a_file_cut_short_anywhere_is_refused():
    data = packed()
    for length in range(len(data)):
        with pytest.raises(SegmentDamagedError, match="the-name"):
            segment.parse(memoryview(data)[:length], "the-name")
    with pytest.raises(SegmentDamagedError):
        segment.parse(memoryview(data + b"\0"), "the-name")


@pytest.mark.parametrize(
    ("at", "form", "values", "message"),
    [
        (0, "<8s", (b"EIRSEG\n\n",), "magic"),
        (8, "<H", (2,), "format version 2"),
        (8, "<H", (0,), "format version 0"),
        (10, "<H", (4,), "unknown kind 4"),
        (12, "<I", (65,), "65 sections"),
        (12, "<I", (2**32 - 1,), "sections"),
        (64 + 8, "<Q", (193,), "section 1 lies outside"),
        (64 + 8, "<Q", (384,), "section 1 lies outside"),
        (64 + 8, "<Q", (2**64 - 64,), "section 1 lies outside"),
        (64 + 16, "<Q", (2**63,), "section 1 lies outside"),
        (64 + 32, "<I", (1,), "not in the order of their numbers, each once"),
    ],
)
def test_fields_that_cannot_be_are_refused_though_the_checksum_is_right(at, form, values, message):
    with pytest.raises(SegmentDamagedError, match=message):
        segment.parse(memoryview(signed(packed(), at, form, *values)), "a")


def test_more_sections_than_the_format_admits():
    numbers = {number: np.ones(1, np.uint64) for number in range(1, 66)}
    assert (
        len(
            segment.parse(
                memoryview(segment.pack(Kind.SHARD, dict(list(numbers.items())[:64]), serial=0)), "a"
            ).sections
        )
        == 64
    )
    with pytest.raises(SegmentDamagedError, match="65 sections"):
        segment.parse(memoryview(segment.pack(Kind.SHARD, numbers, serial=0)), "a")


def test_a_section_nobody_knows_is_no_damage():
    assert segment.parse(memoryview(signed(packed(), 64 + 64, "<I", 60_000)), "a").sections.keys() == {
        1,
        9,
        60_000,
    }


def test_a_section_of_broken_records_is_named():
    read = segment.parse(memoryview(packed()), "a")
    with pytest.raises(SegmentDamagedError, match="section 9 has 28 bytes"):
        read.array(9, "<u8")


def test_load_copies_and_verifies(tmp_path):
    path = tmp_path / "some.seg"
    path.write_bytes(packed())
    read = segment.load(path)
    path.write_bytes(bytes(len(packed())))  # what is in memory is no map of the file
    assert read.array(9, "<u4").tolist() == list(range(7))
    with pytest.raises(SegmentDamagedError, match=r"some\.seg: is not a segment"):
        segment.load(path)


def test_load_of_many_pages(tmp_path):
    path = tmp_path / "large.seg"
    numbers = np.arange(1_100_000, dtype=np.uint64)
    path.write_bytes(segment.pack(Kind.SHARD, {1: numbers}, serial=1))
    assert np.array_equal(segment.load(path).array(1, "<u8"), numbers)


@pytest.mark.parametrize("content", [None, b"", b"EIRSEG"])
def test_load_names_a_file_that_is_missing_or_empty(tmp_path, content):
    path = tmp_path / "gone.seg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SegmentDamagedError, match=r"gone\.seg"):
        segment.load(path)


def test_load_of_a_folder_is_damage(tmp_path):
    with pytest.raises(SegmentDamagedError):
        segment.load(tmp_path)
