"""What is sent over SMPP, as programs read it that share nothing with the daemon's library.

An SMSC on Net::SMPP (Perl), and the dissectors of tshark.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import smpp34

from eir.notify.link import Endpoint, Fate, Link
from eir.notify.receipts import Outcome, read_receipt, spellings
from eir.notify.segmentation import segment
from eir.notify.smpp import BINDS, HEADER, Address, Command, Session, Terms

SMSC = Path(__file__).parent.parent / "peers" / "smsc" / "smsc.pl"
SECONDS_MAX = 100
FROM, TO = Address("EIR", 5), Address("989120000001", 1, 1)
PERSIAN = (
    "گوشی منتهی به \u200e564380\u200e هنوز فعال نشده است. تا ۱۰ آذر ۱۴۰۵ آن را فعال کنید: \u200e*7777#\u200e"
)


class PerlSmsc:
    """The SMSC on Net::SMPP, in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process, self.port = process, port

    async def next(self, command: int) -> dict[str, Any]:
        """Return the next PDU of a command that it read; others before it are let go."""
        assert self.process.stdout
        while True:
            pdu: dict[str, Any] = json.loads(await self.process.stdout.readline())
            if pdu["cmd"] == command:
                return pdu


@contextlib.asynccontextmanager
async def linked(
    password: str = "secret", kind: str = "transceiver"
) -> AsyncIterator[tuple[PerlSmsc, Link, list[smpp34.DeliverSm]]]:
    """A link to the SMSC on Net::SMPP, running."""
    program = shutil.which("perl")
    assert program, "perl with Net::SMPP is needed: make peers installs it"
    process = await asyncio.create_subprocess_exec(
        program, str(SMSC), "secret", stdout=asyncio.subprocess.PIPE
    )
    tasks = []
    try:
        async with asyncio.timeout(SECONDS_MAX):
            assert process.stdout
            line = await process.stdout.readline()
            assert line, "Net::SMPP is needed: make peers installs it"
            smsc = PerlSmsc(process, int(line))
            arrived: list[smpp34.DeliverSm] = []
            terms = Terms(kind, "eir", password, "SMPP", window_max=8)
            link = Link(Endpoint("perl", "127.0.0.1", smsc.port, terms, 1_000, 0.2), arrived.append)
            tasks.append(asyncio.create_task(link.run()))
            yield smsc, link, arrived
    finally:
        for task in tasks:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def test_a_session_with_net_smpp() -> None:
    async def main() -> None:
        async with linked() as (smsc, link, arrived):
            bind = await smsc.next(Command.BIND_TRANSCEIVER)
            assert [bind[name] for name in ("system_id", "password", "system_type")] == [
                "eir",
                "secret",
                "SMPP",
            ]
            assert bind["interface_version"] == 0x34
            enquired = await smsc.next(Command.ENQUIRE_LINK | 0x80000000)
            assert (enquired["status"], enquired["data"]) == (0, "")
            throttled = await link.send(FROM, TO, segment("slower", 0))
            assert (throttled.fate, throttled.status) == (Fate.THROTTLED, 0x58)
            await smsc.next(Command.SUBMIT_SM)
            sent = await link.send(FROM, TO, segment(PERSIAN * 2, 77))
            assert (sent.fate, sent.message_ids) == (Fate.ACCEPTED, ("A0000002", "A0000003", "A0000004"))
            texts = []
            for at in range(3):
                pdu = await smsc.next(Command.SUBMIT_SM)
                assert [pdu[name] for name in ("source_addr", "source_addr_ton", "source_addr_npi")] == [
                    "EIR",
                    5,
                    0,
                ]
                assert [pdu[name] for name in ("destination_addr", "dest_addr_ton", "dest_addr_npi")] == [
                    *("989120000001", 1, 1)
                ]
                assert [pdu[name] for name in ("esm_class", "data_coding", "registered_delivery")] == [
                    0x40,
                    8,
                    1,
                ]
                body = bytes.fromhex(pdu["short_message"])
                assert body[:6] == bytes((5, 0, 3, 77, 3, at + 1))
                texts.append(body[6:].decode("utf-16-be"))
            assert "".join(texts) == PERSIAN * 2
            while len(arrived) < 3:
                await asyncio.sleep(0.01)
            receipts = [read_receipt(message) for message in arrived]
            assert [receipt and receipt.outcome for receipt in receipts] == [Outcome.DELIVERED] * 3
            # Decimal in the receipt, hex in the answer.
            ids = [set(spellings(receipt.message_id)) for receipt in receipts if receipt]
            assert all(sent.message_ids[n] in ids[n] for n in range(3))
            acknowledged = await smsc.next(Command.DELIVER_SM | 0x80000000)
            assert (acknowledged["status"], acknowledged["data"]) == (0, "00")

    asyncio.run(main())


def test_the_end_of_a_session_with_net_smpp() -> None:
    async def main() -> None:
        async with linked(kind="transmitter") as (smsc, link, _):
            await link.bound.wait()
            (task,) = [one for one in asyncio.all_tasks() if one.get_coro().__qualname__ == "Link.run"]  # type: ignore[union-attr]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await smsc.next(Command.BIND_TRANSMITTER)
            await smsc.next(Command.UNBIND)

    asyncio.run(main())


def test_net_smpp_refuses_a_wrong_password() -> None:
    async def main() -> None:
        async with linked(password="wrong") as (_, link, _arrived):
            while link.binds_refused_count < 2:
                await asyncio.sleep(0.01)
            assert not link.bound.is_set()

    asyncio.run(main())


def pdus_of(data: bytes) -> list[bytes]:
    """Cut what a session sends into PDUs."""
    found = []
    while data:
        length = HEADER.unpack_from(data)[0]
        found.append(data[:length])
        data = data[length:]
    return found


def bound(kind: str) -> Session:
    """A bound session."""
    session = Session(Terms(kind, "eir", "secret", "SMPP"), 0)
    session.receive(HEADER.pack(21, BINDS[kind] | 0x80000000, 0, 1) + b"smsc\0", 0)
    assert session.bound
    return session


def everything_sent() -> bytes:
    """One of each PDU that a session sends."""
    out = b"".join(
        Session(Terms(kind, "eir", "secret"), 0).outgoing() for kind in ("transmitter", "receiver")
    )
    session = bound("transceiver")
    session.submit(FROM, TO, segment("Hello €[1]", 0), 0)
    session.submit(FROM, TO, segment("a" * 152 + "€" * 9, 200), 0)
    session.submit(FROM, TO, segment(PERSIAN, 7), 0)
    session.submit(FROM, TO, segment("😀" * 40, 8), 0)
    session.receive(HEADER.pack(16, Command.ENQUIRE_LINK, 0, 1), 0)
    session.receive(
        smpp34.DeliverSm("98912", "EIR", b"id:1 stat:DELIVRD", esm_class=4, sequence_number=2).encode(), 0
    )
    session.receive(HEADER.pack(16, 0x21, 0, 3), 0)
    session.tick(30)
    session.unbind(30)
    out += session.outgoing()
    session = bound("transceiver")
    session.outgoing()
    session.receive(HEADER.pack(16, Command.UNBIND, 0, 1), 0)
    return out + session.outgoing()


FIELDS = ("command_id", "command_status", "destination_addr", "data_coding")
ALSO = ("gsm_sms_ud.short_msg", "gsm_sms_ud.fragment.count", "_ws.malformed", "_ws.expert.message")


def dissected(pdus: list[bytes], folder: Path) -> list[list[str]]:
    """Return what tshark reads in PDUs, one in a TCP segment each: FIELDS of SMPP, and ALSO."""
    tshark, text2pcap = shutil.which("tshark"), shutil.which("text2pcap")
    assert tshark, "tshark is needed: make peers installs it"
    assert text2pcap, "text2pcap, which comes with tshark, is needed: make peers installs it"
    dump = [f"{at:06x} {pdu[at : at + 16].hex(' ')}\n" for pdu in pdus for at in range(0, len(pdu), 16)]
    text, capture = folder / "pdus.txt", folder / "pdus.pcap"
    text.write_text("".join(dump))
    subprocess.run([text2pcap, "-q", "-T", "50000,2775", text, capture], check=True, capture_output=True)
    fields = [part for name in (*(f"smpp.{name}" for name in FIELDS), *ALSO) for part in ("-e", name)]
    command = [tshark, "-r", capture, "-d", "tcp.port==2775,smpp", "-T", "fields", *fields]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [line.split("\t") for line in said.splitlines()]


def test_tshark_reads_everything_that_is_sent(tmp_path: Path) -> None:
    read = dissected(pdus_of(everything_sent()), tmp_path)
    assert [line[6:] for line in read] == [["", ""]] * len(read)
    answer = 0x80000000
    assert [int(line[0], 16) for line in read] == [
        *(Command.BIND_TRANSMITTER, Command.BIND_RECEIVER, Command.BIND_TRANSCEIVER),
        *([Command.SUBMIT_SM] * 7),
        *(Command.ENQUIRE_LINK | answer, Command.DELIVER_SM | answer, Command.GENERIC_NACK),
        *(Command.ENQUIRE_LINK, Command.UNBIND, Command.UNBIND | answer),
    ]
    sms = [line for line in read if int(line[0], 16) == Command.SUBMIT_SM]
    assert {line[2] for line in sms} == {TO.digits}
    assert [int(line[3], 16) for line in sms] == [0, 0, 0, 8, 8, 8, 8]
    # It puts the parts together as a phone does.
    assert [line[5] for line in sms] == ["", *("", "2") * 3]
    whole = [bytes.fromhex(line[4]) for line in sms if line[5]]
    assert whole[0] == b"a" * 152 + b"\x1be" * 9
    assert [body.decode("utf-16-be") for body in whole[1:]] == [PERSIAN, "😀" * 40]


def test_tshark_says_what_is_malformed(tmp_path: Path) -> None:
    session = bound("transceiver")
    session.outgoing()
    session.submit(FROM, TO, segment("Hello", 0), 0)
    pdu = bytearray(session.outgoing())
    # A length of the text beyond the end.
    pdu[-6] = 60
    ((*_, malformed, expert),) = dissected([bytes(pdu)], tmp_path)
    assert malformed or expert
