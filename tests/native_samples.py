"""The segments that the native engine's fuzzer damages; run as a program, it writes them again."""

from __future__ import annotations

from pathlib import Path
from random import Random

from segment_samples import IMSIS, columns, exempt, overlay, random_model, random_words, raw_rows

from eir.identity import imsi_code
from eir.whitelist.hashtable import HashTable
from eir.whitelist.items import REGISTERED, Item
from eir.whitelist.overlay import Table
from eir.whitelist.tables import Common

FOLDER = Path(__file__).parents[1] / "core" / "fuzz" / "samples"
TACS = [0, 35_000_001, 35_000_002, 86_123_456, 99_999_999]
TEXTS = ["12*#A", "0F", "*#06#", "12345678901234AB", "ABCDEF"]


def samples() -> dict[str, bytes]:
    """A shard, a common segment and an overlay of seeded random rows, by name."""
    random = Random(45)  # dense and sparse blocks, runs and single links
    model = random_model(random, TACS, 400)
    for key in sorted(model.rows)[::9]:
        model.rows[key] = model.rows[key][0], random_words(random, IMSIS)
    above = random_model(random, TACS[1:3], 60)
    blocks = model.blocks()
    tables = {
        Table.RAW: raw_rows({text: (REGISTERED, random_words(random, IMSIS)) for text in TEXTS}),
        Table.IMSI: {imsi_code(imsi): (0, (exempt(Item.EXEMPT_IMSI, 4, (1 << 40) - 1),)) for imsi in IMSIS},
        Table.TACS: {tac: (1 + place, ()) for place, tac in enumerate(TACS)},
    }
    common = Common.image(
        {table: HashTable.build(columns(rows)) for table, rows in tables.items()}, blocks, 5
    )
    return {
        "shard.seg": bytes(model.image(blocks)),
        "common.seg": bytes(common),
        "overlay.seg": bytes(overlay(above, tables, {tac for tac, *_ in above.ranges}).image(6)),
    }


if __name__ == "__main__":
    for name, image in samples().items():
        (FOLDER / name).write_bytes(image)
