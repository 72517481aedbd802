"""Rows of segments as plain dicts and sets, and ways to make them columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import numpy as np

from eir.identity import SERIALS, imsi_code
from eir.whitelist import shard_encode, shard_rows
from eir.whitelist.hashtable import Columns, HashTable, Ragged
from eir.whitelist.imsi_blocks import ImsiBlocks
from eir.whitelist.items import CODE_MASK, REGISTERED, UNTIL_BITS, Item, name_of
from eir.whitelist.overlay import Overlay, Table
from eir.whitelist.segment import parse
from eir.whitelist.shard import KeyColumns, Shard
from eir.whitelist.shard_rows import LinkColumns, RangeColumns, ShardRows
from eir.whitelist.tables import Common, raw_key, raw_words

Range = tuple[int, int, int, int, int]
"""TAC, first serial, last serial, cause, authority."""
LAST_TAC = 99_999_999


@dataclass
class Model:
    """What a shard, or a level of a generation, holds."""

    rows: dict[int, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    ranges: set[Range] = field(default_factory=set)
    links: dict[int, set[int]] = field(default_factory=dict)

    def link(self, *keys: int) -> None:
        """Make these the slots of one device."""
        for key in keys:
            self.links[key] = set(keys) - {key}

    def shard_rows(self) -> ShardRows:
        """Columns of the model."""
        keys = sorted(self.rows)
        ranges = sorted(
            (tac, first, cause, authority, last) for tac, first, last, cause, authority in self.ranges
        )
        links = sorted((key, other) for key, others in self.links.items() for other in others)
        tac, first, cause, authority, last = np.array(ranges, np.uint64).reshape(-1, 5).T
        return ShardRows(
            KeyColumns(
                u64(keys),
                u64([self.rows[key][0] for key in keys]),
                ragged([self.rows[key][1] for key in keys]),
            ),
            RangeColumns(tac, first, last, cause, authority),
            LinkColumns(u64([key for key, _ in links]), u64([other for _, other in links])),
        )

    def pieces_at(self, key: int) -> set[tuple[int, int]]:
        """Cause and authority of the ranges that hold a key."""
        tac, serial = divmod(key, SERIALS)
        return {
            (cause, authority)
            for range_tac, first, last, cause, authority in self.ranges
            if range_tac == tac and first <= serial <= last
        }

    def image(self, blocks: ImsiBlocks | None = None, first_tac: int = 0, last_tac: int = LAST_TAC) -> bytes:
        """Bytes of the shard of the model."""
        packed = shard_encode.encode(
            self.shard_rows(),
            self.blocks() if blocks is None else blocks,
            first_tac=first_tac,
            last_tac=last_tac,
            serial=7,
        )
        return bytes(packed)

    def blocks(self) -> ImsiBlocks:
        """Return the dictionary that a first build makes."""
        owners = u64([head & CODE_MASK for head, _ in self.rows.values()])
        return ImsiBlocks(u64([])).grown(owners[owners != 0])

    def shard(self, blocks: ImsiBlocks | None = None) -> Shard:
        """Return the shard of the model, read back from its bytes."""
        blocks = self.blocks() if blocks is None else blocks
        return Shard(parse(memoryview(self.image(blocks)), "sample"), blocks)


def u64(values: list[int]) -> np.ndarray:
    return np.array(values, np.uint64)


def ragged(runs: list[tuple[int, ...]]) -> Ragged:
    """Runs of words from tuples."""
    return Ragged.of(
        np.array([len(run) for run in runs], np.int64), u64([word for run in runs for word in run])
    )


def columns(rows: dict[int, tuple[int, tuple[int, ...]]]) -> Columns:
    """Columns of a hash table from a dict of head and words."""
    keys = sorted(rows)
    return Columns(u64(keys), u64([rows[key][0] for key in keys]), ragged([rows[key][1] for key in keys]))


def key_of(tac: int, serial: int) -> int:
    return tac * SERIALS + serial


def utilizer(imsi: str) -> int:
    return name_of(Item.UTILIZER, imsi_code(imsi))


def block(cause: int, authority: int) -> int:
    return name_of(Item.BLOCK, cause << 16 | authority)


def exempt_pair(imsi: str, cause: int, until: int) -> tuple[int, int]:
    return name_of(Item.EXEMPT_PAIR, imsi_code(imsi)), cause << UNTIL_BITS | until


def exempt(kind: Item, cause: int, until: int) -> int:
    return name_of(kind, cause << UNTIL_BITS | until)


def raw_rows(rows: dict[str, tuple[int, tuple[int, ...]]]) -> dict[int, tuple[int, tuple[int, ...]]]:
    """Rows of the table RAW from texts; a row that says nothing has no text."""
    return {
        raw_key(text): (head, (*words, *raw_words(text)) if head or words else ())
        for text, (head, words) in rows.items()
    }


def overlay(
    model: Model, tables: dict[Table, dict[int, tuple[int, tuple[int, ...]]]], tacs: set[int]
) -> Overlay:
    """Overlay of a model; the ranges of `tacs` are told whole."""
    pieces: dict[int, list[int]] = {tac: [] for tac in tacs}
    flat_tac, words = shard_rows.flatten_ranges(model.shard_rows().ranges)
    for tac, word in zip(flat_tac.tolist(), words.tolist(), strict=True):
        pieces[tac].append(word)
    out = {table: columns(rows) for table, rows in tables.items()}
    out[Table.KEYS] = columns(model.rows)
    out[Table.LINKS] = columns({key: (0, tuple(sorted(others))) for key, others in model.links.items()})
    out[Table.RANGES] = columns({tac: (0, tuple(run)) for tac, run in pieces.items()})
    return Overlay.of(out)


def random_words(random: Random, imsis: list[str]) -> tuple[int, ...]:
    """Items of a row, in the order of a record."""
    words: list[int] = [
        utilizer(imsi) for imsi in sorted(random.sample(imsis, random.choice((0, 0, 1, 9))), key=imsi_code)
    ]
    words += sorted(
        {block(random.randint(1, 4), random.randint(1, 65_535)) for _ in range(random.choice((0, 0, 1, 3)))}
    )
    if random.random() < 0.3:
        words.append(name_of(Item.TRACK))
    if random.random() < 0.3:
        words.append(
            exempt(Item.EXEMPT_IMEI, random.randint(1, 6), random.choice((1, 1_800_000_000, (1 << 40) - 1)))
        )
    if random.random() < 0.3:
        words += exempt_pair(random.choice(imsis), 2, 1_900_000_000)
    if random.random() < 0.3:
        words.append(name_of(Item.GRANDFATHER_IMEI, random.choice((0, 1_500_000_000))))
    if random.random() < 0.3:
        words += (name_of(Item.GRANDFATHER_PAIR, imsi_code(random.choice(imsis))), 1_400_000_000)
    return tuple(words)


IMSIS = [
    "1",
    "0",
    "00",
    "00101",
    "000000000000000",
    "999999999999999",
    "26201",
    "234150999999999",
    "43211",
    "432110000000001",
    "432110000065536",
]
"""IMSIs of 1 to 15 digits, leading zeros, home and foreign."""


def random_model(random: Random, tacs: list[int], rows: int) -> Model:
    """Return a mix of dense lots and single serials, with everything that may hang on them."""
    imsis = IMSIS + [f"43211{random.randrange(10**5):010d}" for _ in range(max(rows // 2, 4))]
    model = Model()
    serials: list[int] = []
    for tac in tacs:
        for _ in range(random.randint(0, 3)):
            first = random.choice((0, 65_500, 983_040, 999_950, random.randrange(999_000)))
            share = random.choice((0.3, 1.0, 1.0))
            lot = [s for s in range(first, min(first + rows // 4 + 1, SERIALS)) if random.random() < share]
            serials += [key_of(tac, serial) for serial in lot]
        serials += [key_of(tac, random.randrange(SERIALS)) for _ in range(random.randint(0, 12))]
        for _ in range(random.randint(0, 6)):
            _add_range(model, random, tac)
    for key in serials:
        registered = REGISTERED if random.random() < (0.9 if key % 2048 < 1024 else 0.1) else 0
        owner = imsi_code(random.choice(imsis)) if random.random() < 0.7 else 0
        words = random_words(random, imsis) if random.random() < 0.1 else ()
        if registered | owner or words:
            model.rows[key] = registered | owner, words
    _add_links(model, random, tacs, serials)
    return model


def _add_range(model: Model, random: Random, tac: int) -> None:
    first = random.choice((0, 999_000, random.randrange(SERIALS)))
    last = min(first + random.choice((0, 10, 5_000, SERIALS)), SERIALS - 1)
    cause = random.choice((0, 0, 1, 4))
    authority = random.choice((1, 9)) if cause else 0
    for other in model.ranges:  # of one kind: disjoint and not adjacent
        if (
            (other[0], *other[3:]) == (tac, cause, authority)
            and first <= other[2] + 1
            and other[1] <= last + 1
        ):
            return
    model.ranges.add((tac, first, last, cause, authority))


def _add_links(model: Model, random: Random, tacs: list[int], keys: list[int]) -> None:
    eight = {random.choice(keys) for _ in range(8)} if keys else set()
    if len(eight) > 1:
        model.link(*eight)
    for tac in tacs:
        shape = random.choice(("neighbours", "twin", "shifted", "far", "none"))
        own = [key for key in keys if key // SERIALS == tac]
        twin = random.choice([t for t in tacs if t != tac] or [tac ^ 1])
        odd = random.randrange(2)
        # Some devices of the TAC are linked otherwise, some slots have no row.
        for one in random.sample(own, len(own) * 9 // 10) + [
            key_of(tac, random.randrange(SERIALS)) for _ in range(3)
        ]:
            two = one + 1 if (one + odd) % 2 == 0 else one - 1
            if shape in ("twin", "shifted"):
                two = key_of(twin, (one + (7 if shape == "shifted" else 0)) % SERIALS)
            elif shape == "far" or random.random() < 0.02:
                two = random.choice(keys or [one])
            if (
                shape != "none"
                and one != two
                and two >= 0
                and one not in model.links
                and two not in model.links
            ):
                model.link(one, two)


# -- the worked examples of docs/segment-format.md ----------------------------------------------------


def example_common() -> bytes:
    """Common segment of the page."""
    tables = {
        Table.RAW: columns(raw_rows({"12*#A": (0, (block(4, 2),))})),
        Table.IMSI: columns({imsi_code("00101"): (0, (exempt(Item.EXEMPT_IMSI, 4, (1 << 40) - 1),))}),
        Table.TACS: columns({35_000_001: (3, ())}),
    }
    return bytes(Common.image({t: HashTable.build(c) for t, c in tables.items()}, EXAMPLE_BLOCKS, 5))


EXAMPLE_BLOCKS = ImsiBlocks(u64([imsi_code("432110000000000") >> 16]))
"""The dictionary of the page: one block."""


def example_model() -> Model:
    """Rows of the shard of the page."""
    model = Model()
    sparse, dense = 35_000_001, 35_000_002
    home = "432110000000{:03d}".format
    model.rows[key_of(sparse, 5)] = REGISTERED, ()
    model.rows[key_of(sparse, 6)] = REGISTERED | imsi_code(home(1)), ()
    model.rows[key_of(sparse, 7)] = REGISTERED | imsi_code(home(2)), (utilizer("00101"), name_of(Item.TRACK))
    for serial in range(224, 290):
        model.rows[key_of(dense, serial)] = REGISTERED | (imsi_code(home(serial)) if serial % 2 else 0), ()
    model.rows[key_of(dense, 225)] = imsi_code(home(225)), ()
    model.ranges = {(sparse, 100, 199, 0, 0), (sparse, 150, 249, 1, 2)}
    model.link(key_of(sparse, 6), key_of(sparse, 7))
    model.links[key_of(sparse, 5)] = {key_of(86_000_002, 9)}  # its other end is in another shard
    return model


def example_shard() -> bytes:
    """Shard of the page."""
    return example_model().image(EXAMPLE_BLOCKS, 35_000_000, 35_999_999)


def hex_dump(data: bytes) -> str:
    """Sixteen bytes a line after their offset; lines of zeros are left out; the length at the end."""
    lines = [
        f"{at:04x}  {data[at : at + 8].hex(' ')}  {data[at + 8 : at + 16].hex(' ')}"
        for at in range(0, len(data), 16)
        if any(data[at : at + 16])
    ]
    return "\n".join([*lines, f"{len(data):04x}"])
