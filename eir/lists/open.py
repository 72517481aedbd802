"""A file to blocks of whole lines: decompressed, in UTF-8, bounded.

    FILE ──gzip, zstd──► bytes ──encoding──► UTF-8 ──cut at line ends──► header, blocks

What is no text, is damaged or grows beyond its bounds raises ListError or ListTooLargeError; nothing is
ever read whole.
"""

from __future__ import annotations

import codecs
import gzip
import io
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from eir.lists.errors import ListError, ListTooLargeError
from eir.lists.formats import BYTES_MAX

BLOCK_BYTES: Final = 1 << 20
LINE_BYTES_MAX: Final = 64 << 10
WINDOW_LOG_MAX: Final = 27
"""Of a zstd frame: a decompressor holds at most 128 MiB of what it has read."""
_CONTROLS: Final = bytes(byte for byte in range(32) if byte not in b"\t\r\n") + b"\x7f"
_MAGIC: Final = (
    (b"PK\x03\x04", "a spreadsheet or a zip archive: export it as CSV, or unpack it first"),
    (b"BZh", "compressed with bzip2; gzip and zstd are read"),
    (b"\xfd7zXZ", "compressed with xz; gzip and zstd are read"),
    (b"%PDF", "a PDF document"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet; export it as CSV"),
)
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True)
class Block:
    """Whole lines, and the number of the first; `done_bytes` is how far in the file they end."""

    data: bytes
    first_line: int
    done_bytes: int


@dataclass
class Opened:
    """A file that is being read: its header line, and its size in bytes (0: not known)."""

    name: str
    header: bytes
    size_bytes: int
    blocks: Iterator[Block]


@contextmanager
def opened(path: str, encoding: str = "", bytes_max: int = BYTES_MAX) -> Iterator[Opened]:
    """Open a list, `-` being stdin. Raises ListError, OSError."""
    with _raw(path) as raw:
        counted = _Counted(raw)
        source = _decompressed(counted, path)
        texts = _bounded(_utf8(source, path, encoding), path, bytes_max)
        lines = _lines(texts, path, lambda: counted.done)
        header = next(lines, Block(b"", 1, 0)).data
        size = os.fstat(raw.fileno()).st_size if path != "-" else 0
        yield Opened(path, header, size, lines)


@contextmanager
def _raw(path: str) -> Iterator[IO[bytes]]:
    if path == "-":
        yield sys.stdin.buffer
    else:
        with Path(path).open("rb") as file:
            yield file


class _Counted(io.RawIOBase):
    """A file that knows how far it was read, and can be looked into."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._ahead, self.done = file, b"", 0

    def peek(self, size: int) -> bytes:
        """Return the first bytes, which stay to be read."""
        while len(self._ahead) < size and (more := self._file.read(size - len(self._ahead))):
            self._ahead += more
        return self._ahead

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data, self._ahead = self._ahead[: len(buffer)], self._ahead[len(buffer) :]
        data = data or self._file.read(len(buffer))
        buffer[: len(data)] = data
        self.done += len(data)
        return len(data)


def _decompressed(file: _Counted, name: str) -> Callable[[int], bytes]:
    """Return what reads so many bytes, decompressed."""
    start = file.peek(8)
    for magic, what in _MAGIC:
        if start.startswith(magic):
            raise ListError(f"{name}: {what}")
    if start.startswith(_GZIP):
        unpacked: Any = gzip.GzipFile(fileobj=io.BufferedReader(file, BLOCK_BYTES))
        damaged: tuple[type[Exception], ...] = (gzip.BadGzipFile, EOFError, zlib.error)
    elif start.startswith(_ZSTD):
        zstd = _zstd()
        options = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG_MAX}
        unpacked = zstd.ZstdFile(io.BufferedReader(file, BLOCK_BYTES), options=options)
        damaged = (zstd.ZstdError, EOFError)
    else:
        plain = io.BufferedReader(file, BLOCK_BYTES)
        return plain.read

    def read(size: int) -> bytes:
        try:
            data: bytes = unpacked.read(size)
        except damaged as error:
            raise ListError(f"{name}: the compressed data is damaged or cut off: {error}") from error
        return data

    return read


def _zstd() -> Any:
    """Return the zstd module: of the standard library from Python 3.14 on."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def _utf8(read: Callable[[int], bytes], name: str, encoding: str) -> Iterator[bytes]:
    """Iterate over the bytes, in UTF-8 without byte order mark."""
    first = read(BLOCK_BYTES)
    for bom, found in _BOMS:
        if first.startswith(bom):
            first, encoding = first[len(bom) :], encoding if encoding and found == "utf-8" else found
            break
    decoder = codecs.getincrementaldecoder(encoding or "utf-8")()
    as_it_is = codecs.lookup(encoding or "utf-8").name in {"utf-8", "ascii"}
    done, line = 0, 1
    while True:
        final = not first
        try:
            text = decoder.decode(first, final)
        except UnicodeDecodeError as error:
            at, line = done + error.start, line + first.count(b"\n", 0, error.start)
            advice = "" if encoding else "; --encoding names another encoding, such as cp1256"
            if as_it_is and _first_control(first) >= 0:
                advice = ", and there is binary data: it is no text file, or damaged"
            said = f"line {line:,}: byte {at:,} is not text in {encoding or 'UTF-8'}{advice}"
            raise ListError(f"{name}: {said}") from error
        data = first if as_it_is else text.encode()
        if (at := _first_control(data)) >= 0:
            line += data.count(b"\n", 0, at)
            raise ListError(f"{name}: line {line:,}: has control characters: it is no text file, or damaged")
        line += data.count(b"\n")
        if data:
            yield data
        if final:
            return
        done += len(first)
        first = read(BLOCK_BYTES)


def _first_control(data: bytes) -> int:
    """Return where the first control character stands, -1 where there is none."""
    if data.translate(None, _CONTROLS) == data:
        return -1
    return min(place for byte in _CONTROLS if (place := data.find(byte)) >= 0)


def _bounded(blocks: Iterator[bytes], name: str, bytes_max: int) -> Iterator[bytes]:
    done = 0
    for block in blocks:
        done += len(block)
        if done > bytes_max:
            raise ListTooLargeError(
                f"{name}: is larger than {bytes_max:,} bytes when decompressed (--bytes-max)"
            )
        yield block


def _lines(blocks: Iterator[bytes], name: str, done: Callable[[], int]) -> Iterator[Block]:
    """Cut at line ends: first the header alone, then blocks of whole lines."""
    rest, line = b"", 1
    for data in blocks:
        joined = rest + data
        if line == 1:
            header, end, joined = joined.partition(b"\n")
            if not end:
                rest = _not_too_long(header, name, line)
                continue
            yield Block(header.removesuffix(b"\r"), 1, done())
            line = 2
        cut = joined.rfind(b"\n") + 1
        first, line = line, line + joined.count(b"\n", 0, cut)
        rest = _not_too_long(joined[cut:], name, line)
        if cut:
            yield Block(joined[:cut], first, done())
    if rest:
        yield Block(rest if line == 1 else rest + b"\n", line, done())


def _not_too_long(rest: bytes, name: str, line: int) -> bytes:
    if len(rest) > LINE_BYTES_MAX:
        raise ListError(f"{name}: line {line}: longer than {LINE_BYTES_MAX:,} bytes: it is no list")
    return rest
