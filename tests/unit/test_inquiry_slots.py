"""What is told of one IMEI, and what the public is told of it."""

from __future__ import annotations

import pytest
from plans import AUTHORITIES, DEVICE_TYPES, TAC, after, key

from eir.identity import imei_15, imei_text, imsi_code
from eir.inquiry.slots import (
    Names,
    imsi_exemptions,
    known,
    public_status,
    role_on,
    shown_imei,
    slot_of,
    standing_imsis,
)
from eir.proto import inquiry_pb2, sync_pb2
from eir.whitelist.operation import Operation
from eir.whitelist.rows import BlockCause, ExemptCause, Op, Role
from eir.whitelist.schema import Subscriber
from eir.whitelist.tables import Generation

NOW = 1_800_000_000
OWNER, OTHER, THIRD = "432110000000001", "432350000000002", "001010000000003"
A, B, C = map(imsi_code, (OWNER, OTHER, THIRD))
SUBSCRIBERS = {A: Subscriber(A, 1989121234567, "fa")}
NAMES = Names(AUTHORITIES.__getitem__, lambda number: DEVICE_TYPES[number] if number else "", SUBSCRIBERS.get)


def slot(generation: Generation, serial: int | str = 1, now: int = NOW) -> inquiry_pb2.Slot:
    return slot_of(generation, serial if isinstance(serial, str) else key(serial), NAMES, now)


def register(serial: int = 1) -> Operation:
    return Operation(Op.REGISTER, key(serial))


def block(
    serial: int = 1, cause: BlockCause = BlockCause.STOLEN, name: str = "a", last: int = 0
) -> Operation:
    return Operation(Op.BLOCK, key(serial), key(last) if last else 0, cause=cause, name=name)


def test_everything_that_stands_on_a_slot_is_told() -> None:
    generation = after(
        [
            register(),
            Operation(Op.REGISTER, key(0), key(9)),
            Operation(Op.PAIR, key(1), imsi=A, cause=Role.OWNER),
            block(),
            block(cause=BlockCause.BARRED, name="b.c", last=5),
            Operation(Op.TRACK, key(1)),
            Operation(Op.EXEMPT, key(1), time=NOW, cause=ExemptCause.REPAIR),
            Operation(Op.EXEMPT, key(1), imsi=C, cause=ExemptCause.COURT),
            Operation(Op.GRANDFATHER, key(1), time=5),
            Operation(Op.GRANDFATHER, key(1), imsi=B),
            Operation(Op.TAC, TAC, name="phone"),
        ],
        [Operation(Op.PAIR, key(1), imsi=B, cause=Role.UTILIZER)],
    )
    first, last = imei_text(key(1)), imei_text(key(5))
    told = slot(generation)
    told.blocks.sort(key=lambda one: one.cause)
    assert told == inquiry_pb2.Slot(
        imei=imei_15(key(1)),
        registered=True,
        registered_ranges=[inquiry_pb2.ImeiRange(first=imei_text(key(0)), last=imei_text(key(9)))],
        blocks=[
            inquiry_pb2.Block(cause="BLOCK_CAUSE_STOLEN", authority="a"),
            inquiry_pb2.Block(
                cause="BLOCK_CAUSE_BARRED",
                authority="b.c",
                range=inquiry_pb2.ImeiRange(first=first, last=last),
            ),
        ],
        pairs=[
            inquiry_pb2.Pair(imsi=OWNER, role="PAIR_ROLE_OWNER", msisdn="989121234567", language="fa"),
            inquiry_pb2.Pair(imsi=OTHER, role="PAIR_ROLE_UTILIZER"),
        ],
        exemptions=[
            inquiry_pb2.Exemption(imei=imei_15(key(1)), cause="EXEMPT_CAUSE_REPAIR", until=NOW, ended=True),
            inquiry_pb2.Exemption(imei=imei_15(key(1)), imsi=THIRD, cause="EXEMPT_CAUSE_COURT"),
        ],
        grandfathered=[
            inquiry_pb2.Grandfathering(in_use_since=5),
            inquiry_pb2.Grandfathering(imsi=OTHER),
        ],
        tracked=True,
        device_type="phone",
    )
    assert standing_imsis(told) == [OWNER, OTHER, THIRD]
    assert [role_on(told, imsi) for imsi in (OWNER, OTHER, THIRD)] == [
        sync_pb2.PAIR_ROLE_OWNER,
        sync_pb2.PAIR_ROLE_UTILIZER,
        0,
    ]
    assert known(told)
    assert not slot(generation, now=NOW - 1).exemptions[0].ended


def test_nothing_known_is_an_empty_slot_with_its_number() -> None:
    told = slot(after([Operation(Op.TAC, TAC, name="phone")]), 7)
    assert told == inquiry_pb2.Slot(imei=imei_15(key(7)), device_type="phone")
    assert not known(told)


def test_a_raw_entry_is_told_by_its_text() -> None:
    generation = after([Operation(Op.BLOCK, "12*#AB", cause=BlockCause.CLONED, name="a")])
    told = slot(generation, "12*#AB")
    assert (told.imei, len(told.blocks), told.device_type) == ("12*#AB", 1, "")
    assert shown_imei("12*#AB") == "12*#AB"
    assert not known(slot(generation, "13*#AB"))


def test_exemptions_of_an_imsi_alone() -> None:
    generation = after([Operation(Op.EXEMPT, imsi=A, time=NOW + 1, cause=ExemptCause.M2M)])
    assert imsi_exemptions(generation, A, NOW) == [
        inquiry_pb2.Exemption(imsi=OWNER, cause="EXEMPT_CAUSE_M2M", until=NOW + 1)
    ]
    assert imsi_exemptions(generation, B, NOW) == []


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([], "NOT_FOUND"),
        ([Operation(Op.EXEMPT, key(1), time=NOW + 9, cause=1)], "NOT_FOUND"),
        ([register()], "REGISTERED"),
        ([Operation(Op.REGISTER, key(0), key(9))], "REGISTERED"),
        ([Operation(Op.GRANDFATHER, key(1), imsi=A)], "NOT_FOUND"),
        ([register(), Operation(Op.GRANDFATHER, key(1))], "REGISTERED"),
        ([register(), Operation(Op.PAIR, key(1), imsi=A, cause=Role.OWNER)], "REGISTERED"),
        ([register(), block()], "STOLEN"),
        ([block(cause=BlockCause.LOST), block(cause=BlockCause.CLONED)], "STOLEN"),
        ([register(), block(cause=BlockCause.CLONED)], "NOT_FOUND"),
        ([register(), block(cause=BlockCause.BARRED)], "NOT_FOUND"),
        ([register(), block(cause=BlockCause.BARRED), block()], "STOLEN"),
        ([register(), block(0, BlockCause.BARRED, last=9)], "REGISTERED"),
        ([Operation(Op.REGISTER, key(0), key(9)), block(0, BlockCause.BARRED, last=9)], "NOT_FOUND"),
        ([Operation(Op.LINK, key(1), imei_other=key(2)), block(2)], "STOLEN"),
        ([Operation(Op.LINK, key(1), imei_other=key(2)), block(2, BlockCause.BARRED)], "NOT_FOUND"),
        ([Operation(Op.LINK, key(1), imei_other=key(2)), block(2, last=3)], "NOT_FOUND"),
    ],
)
def test_the_public_is_told_one_word(rows: list[Operation], status: str) -> None:
    generation = after(rows)
    others = [slot_of(generation, other, NAMES, NOW) for other in generation.links(key(1))]
    told = public_status(slot(generation), others, special=False)
    assert inquiry_pb2.PublicStatus.Name(told) == f"PUBLIC_STATUS_{status}"


def test_the_public_does_not_learn_whether_a_phone_is_used() -> None:
    """Whatever hangs on a registered phone but blocks, the answer is the same."""
    rows = [
        Operation(Op.PAIR, key(1), imsi=A, cause=Role.OWNER),
        Operation(Op.GRANDFATHER, key(1), imsi=B),
        Operation(Op.EXEMPT, key(1), imsi=B, time=NOW + 9, cause=ExemptCause.REPAIR),
        Operation(Op.TRACK, key(1)),
    ]
    for more in ([], *([row] for row in rows), rows):
        told = public_status(slot(after([register(), *more])), [], special=False)
        assert told == inquiry_pb2.PUBLIC_STATUS_REGISTERED, more


def test_numbers_that_identify_no_phone_are_not_found() -> None:
    registered, stolen = slot(after([register()])), slot(after([block()]))
    assert public_status(registered, [], special=True) == inquiry_pb2.PUBLIC_STATUS_NOT_FOUND
    assert public_status(stolen, [], special=True) == inquiry_pb2.PUBLIC_STATUS_STOLEN
