"""Numbers of IMSI blocks: packing is exact, the dictionary only grows."""

from __future__ import annotations

import numpy as np

from eir.identity import imsi_code
from eir.whitelist import imsi_blocks
from eir.whitelist.imsi_blocks import ImsiBlocks


def u64(*values: int) -> np.ndarray:
    return np.array(values, np.uint64)


EMPTY = ImsiBlocks(u64())
CODES = u64(
    *(
        imsi_code(text)
        for text in ("432110000000001", "432110000065537", "001010000000003", "262010000000000")
    )
)


def test_owners_come_back_from_their_numbers() -> None:
    blocks = EMPTY.grown(CODES)
    packed = blocks.pack(CODES)
    assert packed.min() >= 0
    assert packed.max() < len(blocks) << 16
    assert (blocks.codes(packed.astype(np.uint64)) == CODES).all()
    assert [blocks.owner(int(code)) for code in CODES] == packed.tolist()


def test_a_block_without_a_number_is_said() -> None:
    blocks = EMPTY.grown(CODES[:1])
    assert blocks.pack(CODES).tolist()[1:] == [-1, -1, -1]
    assert blocks.owner(int(CODES[2])) == -1
    assert EMPTY.pack(CODES).tolist() == [-1] * 4
    assert EMPTY.owner(int(CODES[0])) == -1


def test_numbers_stay_when_it_grows() -> None:
    first = EMPTY.grown(CODES[:2])
    second = first.grown(CODES)
    assert second.blocks[: len(first)].tolist() == first.blocks.tolist()
    assert len(second) > len(first)
    assert second.grown(CODES) is second


def test_short_imsis_get_no_number() -> None:
    """Block 0 holds IMSIs of up to four digits: they stay odd."""
    assert EMPTY.grown(u64(imsi_code("0"), imsi_code("26"))) is EMPTY


def test_a_block_that_few_of_many_owners_use_stays_odd() -> None:
    many = np.full(500_000, CODES[0], np.uint64)
    assert len(EMPTY.grown(np.concatenate((many, CODES[2:3])))) == 1
    assert len(EMPTY.grown(np.concatenate((many, np.repeat(CODES[2:3], 5))))) == 2


def test_the_dictionary_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(imsi_blocks, "BLOCKS_MAX", 2)
    full = EMPTY.grown(CODES)
    assert len(full) == 2
    assert full.grown(CODES) is full
