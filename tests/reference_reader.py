"""A naive reader of segments, written from docs/segment-format.md alone.

It shares no code with eir and uses nothing but the standard library: that it
agrees with the real readers proves that the page is enough.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right

SHARD, COMMON, OVERLAY = 1, 2, 3
KEYS, LINKS, RANGES, RAW, IMSI, TACS = range(6)
REGISTERED = 1 << 59
MASK64 = (1 << 64) - 1
Row = tuple[int, list[int]]


class Refused(Exception):
    """The page says that a reader refuses this file."""


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


class File:
    """A segment: its header and the bytes of its sections."""

    def __init__(self, data: bytes) -> None:
        if len(data) < 64 or data[:8] != bytes.fromhex("4549525345470D0A"):
            raise Refused("magic")
        version, self.kind, count, self.first_tac, self.last_tac, self.serial, length, crc = (
            struct.unpack_from("<HHIIIQQI", data, 8)
        )
        if version != 1:
            raise Refused("version")
        end = 64 + 32 * count
        if length != len(data) or count > 64 or end > length:
            raise Refused("length")
        if crc32c(data[:40] + bytes(4) + data[44:end]) != crc:
            raise Refused("checksum of the header")
        if self.kind not in (SHARD, COMMON, OVERLAY):
            raise Refused("kind")
        self.sections: dict[int, bytes] = {}
        for place in range(count):
            number, crc, offset, size = struct.unpack_from("<IIQQ", data, 64 + 32 * place)
            section = data[offset : offset + size]
            if offset % 64 or offset + size > length or crc32c(section) != crc:
                raise Refused(f"section {number}")
            if self.sections and number <= max(self.sections):
                raise Refused("order of sections")
            self.sections[number] = section

    def numbers(self, section: int, letter: str) -> tuple[int, ...]:
        data = self.sections.get(section, b"")
        return struct.unpack(f"<{len(data) // struct.calcsize(letter)}{letter}", data)

    def records(self, section: int, form: str) -> list[tuple[int, ...]]:
        return list(struct.iter_unpack("<" + form, self.sections.get(section, b"")))


class Table:
    """A hash table."""

    def __init__(self, file: File, table: int) -> None:
        self.slots = file.records(100 + 2 * table, "QQ")
        self.words = file.numbers(101 + 2 * table, "Q")
        if self.slots and (len(self.slots) < 18 or self.slots[-1][1]):
            raise Refused("too few slots, or the last one is not empty")

    def find(self, key: int) -> Row | None:
        if not self.slots:
            return None
        bits = len(self.slots).bit_length() - 1
        place = (key * 0x9E3779B97F4A7C15 & MASK64) >> 64 - bits
        while self.slots[place][1]:
            there, value = self.slots[place]
            if there == key:
                if value >> 62 == 1:
                    return value & (1 << 62) - 1, []
                first, length = value & (1 << 36) - 1, value >> 36 & (1 << 24) - 1
                return self.words[first], list(self.words[first + 1 : first + length])
            place += 1
        return None


def items(words: list[int]) -> list[tuple[int, int, int]]:
    """Kind, low and second word (0: none) of each item."""
    out, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        kind = word >> 60
        assert 1 <= kind <= 8
        out.append((kind, word & (1 << 60) - 1, rest.pop(0) if kind in (5, 7) else 0))
    return out


def pieces_at(pieces: list[int], serial: int) -> list[int]:
    place = bisect_left(pieces, (serial + 1) << 44) - 1
    if place < 0 or pieces[place] >> 24 & 0xFFFFF < serial:
        return []
    begin = pieces[place] >> 44
    return [piece for piece in pieces[: place + 1] if piece >> 44 == begin]


def raw_hash(text: str) -> int:
    value = 0xCBF29CE484222325
    for byte in text.encode("ascii"):
        value = (value ^ byte) * 0x100000001B3 & MASK64
    return value


def ones(number: int) -> int:
    return (number).bit_count()


class Shard:
    """A shard with the dictionary of IMSI blocks."""

    def __init__(self, file: File, blocks: tuple[int, ...]) -> None:
        self.first_tac, self.last_tac, self.blocks = file.first_tac, file.last_tac, blocks
        self.meta = file.numbers(15, "Q")
        if len(self.meta) != 8:
            raise Refused("META")
        if not 1 <= self.meta[0] <= 36:
            raise Refused("width of owners")
        if len(blocks) < self.meta[6]:
            raise Refused("dictionary")
        self.tacs = file.records(1, "IHHIIIIII")
        self.dense = file.records(2, "5Q5HHIQ")
        self.lines = file.records(3, "II28s28s")
        self.sparse = file.records(4, "III")
        self.lists = [file.numbers(section, "H") for section in (5, 6, 7)]
        self.owners = int.from_bytes(file.sections.get(8, b""), "little")
        self.more_first = file.numbers(9, "I")
        self.words = file.numbers(10, "Q")
        self.ranges = file.numbers(11, "Q")
        self.runs = file.records(12, "IIIi")
        self.far = file.numbers(13, "Q")
        self.far_tacs = file.numbers(14, "I")

    def entry(self, tac: int) -> int | None:
        place = bisect_left([record[0] for record in self.tacs[:-1]], tac)
        return place if place < len(self.tacs) - 1 and self.tacs[place][0] == tac else None

    def slice(self, entry: int, field: int) -> slice:
        return slice(self.tacs[entry][field], self.tacs[entry + 1][field])

    def row(self, key: int) -> Row:
        entry = self.entry(key // 1_000_000)
        state, flag, rank = self.state(entry, key % 1_000_000) if entry is not None else (0, False, 0)
        if state == 0:
            return 0, []
        if state == 1:
            return REGISTERED, []
        if state == 2:
            width = self.meta[0]
            number = self.owners >> rank * width & (1 << width) - 1
            return self.blocks[number >> 16] << 16 | number & 0xFFFF | (REGISTERED if flag else 0), []
        record = self.words[self.more_first[rank] : self.more_first[rank + 1]]
        return record[0], list(record[1:])

    def state(self, entry: int, serial: int) -> tuple[int, bool, int]:
        block, low = divmod(serial, 65_536)
        _, dense_mask, sparse_mask, dense_first, sparse_first, *_ = self.tacs[entry]
        if dense_mask >> block & 1:
            return self.dense_state(dense_first + ones(dense_mask & (1 << block) - 1), low)
        if sparse_mask >> block & 1:
            return self.sparse_state(sparse_first + ones(sparse_mask & (1 << block) - 1), low)
        return 0, False, 0

    def dense_state(self, place: int, low: int) -> tuple[int, bool, int]:
        record = self.dense[place]
        presence, before, first = record[:5], record[5:10], record[11]
        line, position = divmod(low, 224)
        word, bit = divmod(line, 64)
        if not presence[word] >> bit & 1:
            return 0, False, 0
        paired, more, *planes = self.lines[first + before[word] + ones(presence[word] & (1 << bit) - 1)]
        low_plane, high_plane = (int.from_bytes(plane, "little") for plane in planes)
        state = (low_plane >> position & 1) + 2 * (high_plane >> position & 1)
        ahead = (1 << position) - 1
        if state == 2:
            return 2, bool(paired >> 31), (paired & 0x7FFFFFFF) + ones(high_plane & ~low_plane & ahead)
        if state == 3:
            return 3, False, more + ones(high_plane & low_plane & ahead)
        return state, False, 0

    def sparse_state(self, place: int, low: int) -> tuple[int, bool, int]:
        for column, state, base in ((0, 2, self.meta[1]), (1, 1, 0), (2, 3, self.meta[2])):
            first, end = (self.sparse[at][column] & 0x7FFFFFFF for at in (place, place + 1))
            for at in range(first, end):
                if self.lists[column][at] == low:
                    return state, bool(self.sparse[place][0] >> 31), base + at
        return 0, False, 0

    def links(self, key: int) -> list[int]:
        tac, serial = divmod(key, 1_000_000)
        entry = self.entry(tac)
        out: list[int] = []
        if entry is None:
            return out
        runs = self.runs[self.slice(entry, 6)]
        place = bisect_right([run[0] for run in runs], serial) - 1
        if place >= 0 and serial < runs[place][0] + runs[place][1] and self.state(entry, serial)[0]:
            first, _, other_tac, shift = runs[place]
            if shift == -(1 << 31):
                shift = -1 if (serial - first) % 2 else 1
            out.append(other_tac * 1_000_000 + serial + shift)
        own = [word for word in self.far[self.slice(entry, 7)] if word >> 44 == serial]
        return out + [self.far_tacs[word & 0xFFFFFF] * 1_000_000 + (word >> 24 & 0xFFFFF) for word in own]

    def pieces(self, key: int) -> list[int]:
        tac, serial = divmod(key, 1_000_000)
        entry = self.entry(tac)
        return [] if entry is None else pieces_at(list(self.ranges[self.slice(entry, 5)]), serial)


class Generation:
    """Overlays, newest first, above shards and a common segment."""

    def __init__(self, overlays: list[bytes], shards: list[bytes], common: bytes) -> None:
        self.levels = [self._tables(File(data), OVERLAY) for data in overlays]
        file = File(common)
        self.common = self._tables(file, COMMON)
        blocks = file.numbers(120, "Q")
        self.shards = [Shard(File(data), blocks) for data in shards]

    @staticmethod
    def _tables(file: File, kind: int) -> list[Table]:
        assert file.kind == kind
        return [Table(file, table) for table in range(6)]

    def above(self, table: int, key: int) -> Row | None:
        for level in self.levels:
            row = level[table].find(key)
            if row is not None:
                return row
        return None

    def shard(self, key: int) -> Shard:
        (shard,) = [s for s in self.shards if s.first_tac <= key // 1_000_000 <= s.last_tac]
        return shard

    def key_row(self, key: int) -> Row:
        hit = self.above(KEYS, key)
        return self.shard(key).row(key) if hit is None else hit

    def links(self, key: int) -> list[int]:
        hit = self.above(LINKS, key)
        return self.shard(key).links(key) if hit is None else hit[1]

    def pieces(self, key: int) -> list[int]:
        hit = self.above(RANGES, key // 1_000_000)
        return self.shard(key).pieces(key) if hit is None else pieces_at(hit[1], key % 1_000_000)

    def of_common(self, table: int, key: int) -> Row:
        return self.above(table, key) or self.common[table].find(key) or (0, [])

    def raw_row(self, text: str) -> Row:
        head, words = self.of_common(RAW, raw_hash(text))
        if not words or struct.pack("<QQ", *words[-2:]) != text.encode("ascii").ljust(16, b"\0"):
            return 0, []
        return head, words[:-2]

    def imsi_items(self, code: int) -> list[int]:
        return self.of_common(IMSI, code)[1]

    def device_type(self, tac: int) -> int:
        return self.of_common(TACS, tac)[0]


def index_keys(data: bytes, code: int) -> set[int]:
    """Keys on which an IMSI stands, by the index beside a shard."""
    count = int.from_bytes(data[8:16], "little")
    fence = 32 + 16 * count
    blocks = -(-count // 1024)
    if data[:8] != bytes.fromhex("454952494D53320A") or len(data) != fence + 16 * blocks:
        raise Refused("index")
    if crc32c(data[fence:]) != int.from_bytes(data[16:20], "little"):
        raise Refused("index checksum")
    found: set[int] = set()
    for place in range(blocks):
        first, checksum = struct.unpack_from("<2Q", data, fence + 16 * place)
        entries = min(1024, count - 1024 * place)
        block = data[32 + 16 * 1024 * place :][: 16 * entries]
        numbers = struct.unpack(f"<{2 * entries}Q", block)
        codes, keys = numbers[:entries], numbers[entries:]
        if crc32c(block) != checksum or codes[0] != first:
            raise Refused("index block")
        found |= set(keys[bisect_left(codes, code) : bisect_right(codes, code)])
    return found
