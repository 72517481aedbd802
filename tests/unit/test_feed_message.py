"""Messages of a stream: what is one, what is refused and why; and the page about them."""

import contextlib
import hashlib
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eir.errors import FeedMessageError
from eir.feed.message import (
    FIELD_BYTES_MAX,
    FIELDS_MAX,
    PAYLOAD_BYTES_MAX,
    Begin,
    Cause,
    Chunk,
    Commit,
    Heartbeat,
    decode,
    encode,
)
from eir.proto import sync_pb2
from eir.whitelist.parse import FIELDS, rows_from_payload

PAGE = (Path(__file__).parents[2] / "docs" / "redis-feed.md").read_text()
HASH = hashlib.sha256(b"").digest()
MESSAGES = [
    Begin("hamta", 7, "t-1", 5, 3, 1_800_000_000, "ref", True, HASH),
    Begin("hamta", 1, "A.b_c", 0, 0),
    Chunk("hamta", 7, "t-1", 0, b"\x00\xff\r\n"),
    Commit("hamta", 7, "t-1", 1, HASH),
    Heartbeat("hamta", 0, 1),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_what_is_encoded_is_decoded(message: Begin) -> None:
    assert decode(encode(message), "hamta") == message


def test_order_and_unknown_fields_do_not_matter() -> None:
    fields = encode(MESSAGES[0])
    pairs = list(zip(fields[::2], fields[1::2], strict=True))
    again = [text for pair in reversed(pairs) for text in pair]
    assert decode([*again, b"later", b"\xff"], "hamta") == MESSAGES[0]


def changed(message: object, **fields: bytes | None) -> list[bytes]:
    """Fields of a message, some replaced, some taken away."""
    values = encode(message)  # type: ignore[arg-type]
    named = dict(zip(values[::2], values[1::2], strict=True))
    named |= {name.encode(): value for name, value in fields.items() if value is not None}
    left = {name: value for name, value in named.items() if fields.get(name.decode(), b"") is not None}
    return [text for pair in left.items() for text in pair]


BEGIN, _, CHUNK, COMMIT, HEARTBEAT = MESSAGES


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ([], Cause.MESSAGE_VERSION),
        ([b"v"], Cause.MESSAGE_FIELD),
        (changed(BEGIN, v=None), Cause.MESSAGE_VERSION),
        (changed(BEGIN, v=b"2"), Cause.MESSAGE_VERSION),
        (changed(BEGIN, v=b"01"), Cause.MESSAGE_VERSION),
        (changed(BEGIN, type=None), Cause.MESSAGE_TYPE),
        (changed(BEGIN, type=b"BEGIN"), Cause.MESSAGE_TYPE),
        (changed(BEGIN, feed=None), Cause.MESSAGE_FEED),
        (changed(BEGIN, feed=b"other"), Cause.MESSAGE_FEED),
        (changed(BEGIN, sequence=None), Cause.MESSAGE_FIELD),
        (changed(BEGIN, sequence=b"0"), Cause.MESSAGE_FIELD),
        (changed(BEGIN, sequence=b"-7"), Cause.MESSAGE_FIELD),
        (changed(BEGIN, sequence=b"+7"), Cause.MESSAGE_FIELD),
        (changed(BEGIN, sequence=b"07"), Cause.MESSAGE_FIELD),
        (changed(BEGIN, sequence=b"7 "), Cause.MESSAGE_FIELD),
        (changed(BEGIN, sequence=b"7\n"), Cause.MESSAGE_FIELD),
        (changed(BEGIN, sequence=b"7e1"), Cause.MESSAGE_FIELD),
        (changed(BEGIN, sequence="٧".encode()), Cause.MESSAGE_FIELD),
        (changed(BEGIN, sequence=b"9223372036854775808"), Cause.MESSAGE_FIELD),
        (changed(BEGIN, base_sequence=b"7"), Cause.MESSAGE_FIELD),
        (changed(BEGIN, transfer=b""), Cause.MESSAGE_FIELD),
        (changed(BEGIN, transfer=b"x" * 65), Cause.MESSAGE_FIELD),
        (changed(BEGIN, row_count=b"many"), Cause.MESSAGE_FIELD),
        (changed(BEGIN, complete_until=b"4294967296"), Cause.MESSAGE_FIELD),
        (changed(BEGIN, override_guards=b"true"), Cause.MESSAGE_FIELD),
        (changed(BEGIN, reference=b"\xff"), Cause.MESSAGE_FIELD),
        (changed(BEGIN, reference=b"x" * 129), Cause.MESSAGE_FIELD),
        (changed(BEGIN, reference=b"x" * (FIELD_BYTES_MAX + 1)), Cause.MESSAGE_SIZE),
        (changed(BEGIN, base_sha256=HASH.hex().upper().encode()), Cause.MESSAGE_FIELD),
        (changed(BEGIN, base_sha256=HASH), Cause.MESSAGE_FIELD),
        ([*encode(BEGIN), b"sequence", b"7"], Cause.MESSAGE_FIELD),
        ([*encode(BEGIN), *(b"%d" % n for n in range(2 * FIELDS_MAX))], Cause.MESSAGE_SIZE),
        ([*encode(BEGIN), b"n" * (FIELD_BYTES_MAX + 1), b""], Cause.MESSAGE_SIZE),
        (changed(CHUNK, payload=None), Cause.MESSAGE_FIELD),
        (changed(CHUNK, payload=bytes(PAYLOAD_BYTES_MAX + 1)), Cause.MESSAGE_SIZE),
        (changed(CHUNK, index=b"-1"), Cause.MESSAGE_FIELD),
        (changed(COMMIT, content_sha256=None), Cause.MESSAGE_FIELD),
        (changed(COMMIT, chunk_count=b"99999999999"), Cause.MESSAGE_FIELD),
        (changed(HEARTBEAT, complete_until=b"0"), Cause.MESSAGE_FIELD),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_cause(fields: list[bytes], cause: Cause) -> None:
    with pytest.raises(FeedMessageError) as error:
        decode(fields, "hamta")
    assert error.value.cause == cause


def test_a_refusal_quotes_no_identity() -> None:
    for value in (b"35693803564380", b"432110000000001"):
        with pytest.raises(FeedMessageError) as error:
            decode(changed(BEGIN, row_count=b"x", v=value), "hamta")
        assert value.decode() not in error.value.message


@given(st.lists(st.binary(max_size=40), max_size=80))
def test_garbage_is_refused_and_nothing_else(fields: list[bytes]) -> None:
    with pytest.raises(FeedMessageError):
        decode(fields, "hamta")


@given(st.sampled_from(MESSAGES), st.data())
def test_a_damaged_message_is_a_message_or_refused(message: Begin, data: st.DataObject) -> None:
    fields = encode(message)
    place = data.draw(st.integers(0, len(fields) - 1))
    fields[place] = data.draw(st.binary(max_size=70) | st.just(fields[place] * 2))
    with contextlib.suppress(FeedMessageError):
        decode(fields, "hamta")


# The page.


def examples() -> list[list[bytes]]:
    """Fields of the page's messages, in order."""
    section = PAGE.split("## Example")[1].split("\n## ")[0]
    blocks = [
        block
        for block in re.findall(r"^```\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        if block.startswith("v ")
    ]
    out = []
    for block in blocks:
        words = [line.split(maxsplit=1) for line in block.splitlines()]
        out.append(
            [
                text
                for name, value in words
                for text in (
                    name.encode(),
                    bytes.fromhex(value[4:]) if value.startswith("hex:") else value.encode(),
                )
            ]
        )
    return out


def test_the_example_is_two_deltas_and_a_heartbeat_as_this_code_makes_them() -> None:
    messages = [decode(fields, "hamta") for fields in examples()]
    assert [type(message).__name__ for message in messages] == [
        *("Begin", "Chunk", "Commit") * 2,
        "Heartbeat",
    ]
    for fields, message in zip(examples(), messages, strict=True):
        assert fields == encode(message)
    for begin, chunk, commit in (messages[:3], messages[3:6]):
        assert isinstance(begin, Begin)
        assert isinstance(chunk, Chunk)
        assert isinstance(commit, Commit)
        assert commit.content_sha256 == hashlib.sha256(chunk.payload).digest()
        rows, bad = rows_from_payload(chunk.payload, 0, "hamta")
        assert (len(rows), bad) == (begin.row_count, [])
    first, second = messages[2], messages[3]
    assert isinstance(first, Commit)
    assert isinstance(second, Begin)
    assert second.base_sha256 == first.content_sha256


def test_the_example_holds_what_the_page_says() -> None:
    payloads = [
        sync_pb2.DeltaRows.FromString(message.payload)
        for fields in examples()
        if isinstance(message := decode(fields, "hamta"), Chunk)
    ]
    assert [operation.kind for operation in payloads[0].operations] == [1, 7]
    columns = payloads[1].columns[0]
    assert (columns.kind, columns.authority, columns.block_cause) == (3, "police", 1)
    assert struct.unpack("<2Q", columns.imei) == (35693803564380, 35693803564381)


def test_the_bytes_of_the_command_are_those_of_the_second_message() -> None:
    blocks = re.findall(r"^```\n([0-9a-f\n]+)^```", PAGE, re.MULTILINE)
    (block,) = (block for block in blocks if block.startswith("2a"))
    words = [b"XADD", b"eir:feed:hamta", b"*", *examples()[1]]
    told = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
    assert bytes.fromhex(block.replace("\n", "")) == told


def table(heading: str) -> list[list[str]]:
    """Cells of the rows of the first table after a text."""
    section = PAGE.split(heading, 1)[1]
    found = re.search(r"^\|[^\n]+\n\|---[^\n]+\n((?:\|[^\n]+\n)+)", section, re.MULTILINE)
    assert found
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines()]


@pytest.mark.parametrize(
    ("message", "heading"),
    [
        (BEGIN, "### `begin`"),
        (CHUNK, "### `chunk`"),
        (COMMIT, "### `commit`"),
        (HEARTBEAT, "### `heartbeat`"),
    ],
)
def test_the_page_has_every_field(message: Begin, heading: str) -> None:
    listed = {cells[0].strip("`") for cells in table(heading)}
    common = {cells[0].strip("`") for cells in table("Every message has:")}
    assert {name.decode() for name in encode(message)[::2]} == listed | common


@pytest.mark.parametrize("name", ["DeltaRows", "Operation", "OperationColumns"])
def test_the_page_has_the_rows_as_the_proto_has_them(name: str) -> None:
    descriptor = getattr(sync_pb2, name).DESCRIPTOR
    listed = table(f"\n`{name}`")
    wanted = [(str(field.number), f"`{field.name}`") for field in descriptor.fields]
    assert [(cells[0], cells[1]) for cells in listed] == wanted
    for field, cells in zip(descriptor.fields, listed, strict=True):
        assert cells[2][0] == (
            "2" if field.type in (field.TYPE_STRING, field.TYPE_BYTES, field.TYPE_MESSAGE) else "0"
        )


def test_the_page_has_every_kind_with_its_fields() -> None:
    for number, kind, needs, takes in table("### Kinds"):
        op = next(op for op in FIELDS if op.name == kind.strip("`"))
        assert int(number) == op
        either = {"imei", "imsi"} if not FIELDS[op].needs else set()
        assert set(re.findall(r"`(\w+)`", needs)) == set(FIELDS[op].needs) | either
        assert set(re.findall(r"`(\w+)`", takes)) == set(FIELDS[op].takes) - either
    assert len(table("### Kinds")) == len(FIELDS)


def test_the_page_has_every_cause() -> None:
    listed = {cells[0].strip("`") for cells in table("## What a daemon refuses")}
    assert set(Cause) <= listed
