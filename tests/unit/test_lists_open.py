"""Files to lines: compression, encodings, bounds; garbage is refused with a sentence."""

import gzip
import io
import sys
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eir.lists.errors import ListError, ListTooLargeError
from eir.lists.formats import BYTES_MAX
from eir.lists.open import BLOCK_BYTES, LINE_BYTES_MAX, opened

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = "imei\r\n" + "".join(f"{35_693_803_000_000 + n}\r\n" for n in range(200_000))


def read(path, encoding="", bytes_max=BYTES_MAX):
    with opened(str(path), encoding, bytes_max) as file:
        blocks = list(file.blocks)
    lines = 2
    for block in blocks:
        assert block.first_line == lines
        assert block.data.endswith(b"\n")
        lines += block.data.count(b"\n")
    return file.header, b"".join(block.data for block in blocks)


def compress_zstd(data, **options):
    return zstd.compress(data, options={zstd.CompressionParameter[k]: v for k, v in options.items()} or None)


@pytest.mark.parametrize("packed", [bytes, gzip.compress, compress_zstd], ids=["plain", "gzip", "zstd"])
def test_lists_are_read_whatever_they_are_packed_with(tmp_path, packed) -> None:
    path = tmp_path / "list"
    path.write_bytes(packed(TEXT.encode()))
    header, rest = read(path)
    assert header == b"imei"
    assert rest == TEXT.encode().partition(b"\n")[2]


def test_members_and_frames_follow_each_other(tmp_path) -> None:
    path = tmp_path / "list"
    for pack in (gzip.compress, compress_zstd):
        path.write_bytes(pack(b"imei\n1\n") + pack(b"2\n3"))
        assert read(path) == (b"imei", b"1\n2\n3\n")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1256"])
def test_encodings(tmp_path, encoding) -> None:
    path = tmp_path / "list"
    text = "imei,make\n" + "35693803564380,گوشی\n" * 3
    text = text.replace("ی", "ي") if encoding == "cp1256" else text
    data = text.encode(encoding)
    path.write_bytes(b"\xff\xfe" + data if encoding == "utf-16-le" else data)
    given = encoding if encoding == "cp1256" else ""
    assert read(path, given)[1].decode() == text.partition("\n")[2]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"imei\n12\n\x00\x01", "line 3: has control characters: it is no text file"),
        (b"imei\n1\n\xff\xff", "line 3: byte 7 is not text in UTF-8; --encoding names another"),
        (b"imei\n\x00\xff", "not text in UTF-8, and there is binary data"),
        (b"imei\n" + b"1\n" * BLOCK_BYTES + b"\xff", f"line {BLOCK_BYTES + 2:,}: byte"),
        (b"imei\n" + b"1\n" * BLOCK_BYTES + b"\x07", f"line {BLOCK_BYTES + 2:,}: has control"),
        (gzip.compress(b"imei\n123\n" * 1000, mtime=0)[:-9], "damaged or cut off"),
        (gzip.compress(b"imei\n123\n", mtime=0)[:12] + b"\xff" * 20, "damaged or cut off"),
        (compress_zstd(b"imei\n123\n" * 1000)[:-3], "damaged or cut off"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 50, "damaged or cut off"),
        (b"PK\x03\x04" + bytes(20), "a spreadsheet or a zip archive: export it as CSV"),
        (b"BZh9" + bytes(20), "bzip2"),
        (b"\xfd7zXZ\x00" + bytes(20), "xz"),
        (b"imei\n" + b"1" * (LINE_BYTES_MAX + 2), "line 2: longer than"),
        (b"1" * (LINE_BYTES_MAX + 2), "line 1: longer than"),
    ],
)
def test_what_is_no_list_is_refused_with_a_sentence(tmp_path, data, says) -> None:
    path = tmp_path / "list"
    path.write_bytes(data)
    with pytest.raises(ListError, match=says):
        read(path)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\xff\xfe", b"imei\n"]),
)
def test_garbage_is_read_or_refused_never_an_error(tmp_path_factory, data, start) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage"
    path.write_bytes(start + data)
    with suppress(ListError):
        read(path)


def test_a_bomb_is_bounded(tmp_path) -> None:
    path = tmp_path / "list"
    bomb = b"imei\n" + b"35693803564380\n" * 4_000_000
    for pack in (gzip.compress, compress_zstd):
        path.write_bytes(pack(bomb))
        assert path.stat().st_size * 50 < len(bomb)
        tracemalloc.start()
        with (
            pytest.raises(ListTooLargeError, match="30,000,000 bytes"),
            opened(str(path), "", 30_000_000) as file,
        ):
            for _ in file.blocks:
                pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 16 * BLOCK_BYTES


def test_a_window_that_is_too_large_is_refused(tmp_path) -> None:
    path = tmp_path / "list"
    data = b"imei\n35693803564380\n"
    for window, taken in ((0x88, True), (0xA0, False)):  # 2**27 and 2**30 bytes (RFC 8878, 3.1.1.1.2)
        frame = b"\x28\xb5\x2f\xfd\x00" + bytes([window]) + (len(data) << 3 | 1).to_bytes(3, "little") + data
        path.write_bytes(frame)
        if taken:
            assert read(path) == (b"imei", b"35693803564380\n")
    with pytest.raises(ListError, match="damaged or cut off"):
        read(path)


def test_an_empty_file_has_an_empty_header(tmp_path) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"")
    assert read(path) == (b"", b"")
    path.write_bytes(b"imei")
    assert read(path) == (b"imei", b"")


def test_stdin_is_a_file(monkeypatch) -> None:
    class Stdin:
        buffer = io.BytesIO(b"imei\n35693803564380\n")

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert read("-") == (b"imei", b"35693803564380\n")
