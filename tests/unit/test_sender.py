"""Notices from the outbox to a real SMSC end."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import zoneinfo
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import smpp34
from test_link import SECONDS_MAX, Smsc

from eir.errors import StorageError
from eir.notify.cases import Cases
from eir.notify.judged import Judged, NotJudgedError
from eir.notify.keeper import Keeper, Sighting, World
from eir.notify.link import Endpoint, Fate, Link, Sent
from eir.notify.messages import read_texts, shipped_texts
from eir.notify.outbox import NoticeState, Outbox
from eir.notify.sender import NO_MSISDN, Route, Sender, Wording
from eir.notify.smpp import Address, Terms
from eir.policy import compile_policy, default_policy_text
from eir.verdict import Reason
from eir.whitelist.files import FileLayer
from eir.whitelist.journal import Subscriber

TEHRAN = zoneinfo.ZoneInfo("Asia/Tehran")
NOON = int(dt.datetime(2026, 11, 1, 12, tzinfo=TEHRAN).timestamp())
KEY, SIM = 35_693_803_564_380, 1_432_110_000_000_001
SETTINGS = compile_policy(default_policy_text()).settings
TEXTS = read_texts(shipped_texts(), "texts", default="fa", code="*7777#", helpline="02127480000")


class Office:
    """A keeper and a sender with SMSCs, in one event loop."""

    def __init__(self, folder: Path, *smscs: Smsc, prefixes: tuple[tuple[str, ...], ...] = ((),)) -> None:
        self.thread = ThreadPoolExecutor(max_workers=1)
        self.cases = Cases.open(folder, FileLayer())
        self.keeper = Keeper(self.cases, Outbox(self.cases), self.judge, SETTINGS)
        self.now = NOON
        self.known: dict[int, Subscriber] = {}
        self.language = "en"
        self.all_known = True
        links = [
            Link(
                Endpoint(f"smsc{n}", "127.0.0.1", smsc.port, Terms("transceiver", "eir", "x"), 10_000, 0.2),
                lambda message: None,
            )
            for n, smsc in enumerate(smscs)
        ]
        wording = Wording(TEXTS, TEHRAN, "*7777#", "02127480000")
        routes = [Route(link, Address("EIR", 5), own) for link, own in zip(links, prefixes, strict=True)]
        self.sender = Sender(self.keeper, routes, wording, self.subscribers, self.in_thread, lambda: self.now)
        for link in links:
            link.taker = lambda message, link=link: self.sender.take(link, message)  # type: ignore[misc]
        self.links, self.smscs = links, smscs

    def judge(self, pairs: Iterable[tuple[int, int]]) -> list[Judged]:
        return [Judged(Reason.NEVER_ACTIVATED, True) for _ in pairs]

    def subscribers(self, imsis: Iterable[int]) -> Mapping[int, Subscriber]:
        if not self.all_known:
            return self.known
        return {imsi: Subscriber(imsi, 1_989_120_000_000 + imsi % 1_000_000, self.language) for imsi in imsis}

    async def in_thread(self, work: Callable[..., object], *args: object) -> object:
        return await asyncio.get_running_loop().run_in_executor(self.thread, work, *args)

    async def open_cases(self, count: int, imsi: int = SIM) -> None:
        """Open cases whose first notice is due now."""

        def work() -> None:
            self.keeper.sighted([Sighting(KEY + n, imsi + n, self.now) for n in range(count)])
            self.keeper.tick(self.now, World(1 << 32), count)
            self.keeper.commit()

        await self.in_thread(work)

    async def until(self, state: NoticeState, count: int) -> None:
        """Wait until so many notices are in a state."""
        async with asyncio.timeout(SECONDS_MAX):
            while (await self.in_thread(self.keeper.outbox.counts))[state] < count:  # type: ignore[index]
                await asyncio.sleep(0.02)

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Everything runs."""
        jobs = [smsc.run() for smsc in self.smscs] + [link.run() for link in self.links] + [self.sender.run()]
        tasks = [asyncio.create_task(job) for job in jobs]
        try:
            yield
        finally:
            for task in reversed(tasks):
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            for smsc in self.smscs:
                await smsc.server.stop()
            self.thread.shutdown()
            self.cases.close()


def run(
    folder: Path,
    test: Callable[[Office], Awaitable[None]],
    count: int = 1,
    **settings: tuple[tuple[str, ...], ...],
) -> None:
    """Run a test with so many SMSCs."""

    async def main() -> None:
        smscs = [Smsc() for _ in range(count)]
        for smsc in smscs:
            await smsc.server.start()
        office = Office(folder, *smscs, **settings)
        async with office.working():
            await test(office)

    asyncio.run(main())


def test_what_a_subscriber_gets(tmp_path: Path) -> None:
    async def test(office: Office) -> None:
        await office.open_cases(1)
        await office.until(NoticeState.ACCEPTED, 1)
        taken = office.smscs[0].taken
        text = b"".join(sorted(event.short_message for event in taken)).decode("latin-1")
        assert "IMEI ending in 643809" in text
        assert "1 December 2026" in text
        assert {event.destination_addr for event in taken} == {"989120000001"}
        assert office.cases.get(0).warned_at == NOON

    run(tmp_path, test)


def test_in_persian_where_nothing_else_is_known(tmp_path: Path) -> None:
    async def test(office: Office) -> None:
        office.language = ""
        await office.open_cases(1)
        await office.until(NoticeState.ACCEPTED, 1)
        parts = sorted((event.short_message for event in office.smscs[0].taken), key=lambda part: part[5])
        assert "۱۰ آذر ۱۴۰۵" in "".join(part[6:].decode("utf-16-be") for part in parts)

    run(tmp_path, test)


def test_many(tmp_path: Path) -> None:
    async def test(office: Office) -> None:
        await office.open_cases(600)
        await office.until(NoticeState.ACCEPTED, 600)
        assert office.keeper.counts["accepted"] == 600

    run(tmp_path, test)


def test_receipts_come_home(tmp_path: Path) -> None:
    async def test(office: Office) -> None:
        await office.open_cases(1)
        await office.until(NoticeState.ACCEPTED, 1)
        (session,) = office.smscs[0].sessions.values()
        (notice,) = await office.in_thread(office.keeper.outbox.of_case, 0, NOON)  # type: ignore[misc]
        for message_id in notice.message_ids:
            receipt = f"id:{message_id} stat:DELIVRD err:000".encode()
            await session.deliver_sm("EIR", receipt, source_addr="98912", esm_class=4)
        await office.until(NoticeState.DELIVERED, 1)

    run(tmp_path, test)


def test_without_an_msisdn_it_waits_and_says_why(tmp_path: Path) -> None:
    async def test(office: Office) -> None:
        office.all_known = False
        await office.open_cases(1)
        async with asyncio.timeout(SECONDS_MAX):
            while not office.keeper.counts["postponed"]:
                await asyncio.sleep(0.02)
        (notice,) = await office.in_thread(office.keeper.outbox.of_case, 0, NOON)  # type: ignore[misc]
        assert (notice.state, notice.error) == (NoticeState.DUE, NO_MSISDN)
        office.all_known, office.now = True, NOON + 3600
        await office.until(NoticeState.ACCEPTED, 1)

    run(tmp_path, test)


def test_at_night_nobody_is_texted(tmp_path: Path) -> None:
    async def test(office: Office) -> None:
        await office.in_thread(office.keeper.hold, "for a test")
        await office.open_cases(1)
        office.now = NOON + 10 * 3600
        await office.in_thread(office.keeper.release)
        async with asyncio.timeout(SECONDS_MAX):
            while not (await office.in_thread(office.keeper.outbox.of_case, 0, NOON))[0].due_at > office.now:  # type: ignore[index]
                await asyncio.sleep(0.02)
        assert office.smscs[0].taken == []
        office.now = NOON + 21 * 3600
        await office.until(NoticeState.ACCEPTED, 1)

    run(tmp_path, test)


def test_a_hold_stops_the_sending(tmp_path: Path) -> None:
    async def test(office: Office) -> None:
        await office.links[0].bound.wait()
        await office.in_thread(office.keeper.hold, "for a test")
        await office.open_cases(1)
        await asyncio.sleep(0.5)
        assert office.smscs[0].taken == []
        await office.in_thread(office.keeper.release)
        await office.until(NoticeState.ACCEPTED, 1)

    run(tmp_path, test)


def test_each_network_by_its_own_smsc_and_by_the_other_when_it_is_away(tmp_path: Path) -> None:
    async def test(office: Office) -> None:
        first, second = office.smscs
        await asyncio.gather(*(link.bound.wait() for link in office.links))
        await office.open_cases(1, 1_432_110_000_000_001)
        await office.until(NoticeState.ACCEPTED, 1)
        assert (bool(first.taken), bool(second.taken)) == (True, False)
        office.links[0].bound.clear()
        await office.in_thread(office.keeper.sighted, [Sighting(KEY + 50, 1_432_110_000_000_777, NOON)])
        await office.in_thread(office.keeper.tick, NOON, World(1 << 32), 9)
        await office.in_thread(office.keeper.commit)
        await office.until(NoticeState.ACCEPTED, 2)
        assert second.taken

    run(tmp_path, test, 2, prefixes=(("43211",), ("43235",)))


@pytest.mark.parametrize(("status", "state"), [(0x0B, NoticeState.FAILED), (0x08, NoticeState.DUE)])
def test_refusals_reach_the_keeper(tmp_path: Path, status: int, state: NoticeState) -> None:
    async def test(office: Office) -> None:
        office.smscs[0].answer = lambda _: status
        await office.open_cases(1)
        async with asyncio.timeout(SECONDS_MAX):
            while not (await office.in_thread(office.keeper.outbox.of_case, 0, NOON))[0].error:  # type: ignore[index]
                await asyncio.sleep(0.02)
        (notice,) = await office.in_thread(office.keeper.outbox.of_case, 0, NOON)  # type: ignore[misc]
        assert (notice.state, notice.attempts) == (state, 1)
        assert notice.error.endswith(f"0x{status:02X}")

    run(tmp_path, test)


def test_what_was_submitted_without_an_answer_counts_as_told(tmp_path: Path) -> None:
    async def test(office: Office) -> None:
        await office.in_thread(office.keeper.hold, "for a test")
        await office.open_cases(1)

        def work() -> list[int]:
            (ready,) = office.sender._claim(10)
            found = []
            for fate in (Fate.TEMPORARY, Fate.LOST):
                office.sender._note([(ready.notice, Sent(fate))], ())
                found.append(office.keeper._told.last_at(SIM))
            return found

        await office.links[0].bound.wait()
        assert await office.in_thread(work) == [0, NOON]

    run(tmp_path, test)


def test_what_could_not_be_noted_is_not_sent_and_goes_out_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(office: Office) -> None:
        await office.in_thread(office.keeper.hold, "for a test")
        await office.open_cases(1)
        commit, failed = office.cases.commit, asyncio.Event()

        def fail_once() -> None:
            monkeypatch.undo()
            loop.call_soon_threadsafe(failed.set)
            raise StorageError("disk full")

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(office.cases, "commit", fail_once)
        await office.in_thread(office.keeper.release)
        async with asyncio.timeout(SECONDS_MAX):
            await failed.wait()
        await office.in_thread(commit)  # of somebody else, before the sender tries again
        await office.until(NoticeState.ACCEPTED, 1)
        (notice,) = await office.in_thread(office.keeper.outbox.of_case, 0, NOON)  # type: ignore[misc]
        assert notice.attempts == 1

    run(tmp_path, test)


def test_receipts_before_their_answer_and_twice_at_once(tmp_path: Path) -> None:
    async def test(office: Office) -> None:
        await office.open_cases(1)
        notice = await office.in_thread(office.keeper.outbox.waiting, NOON, 1)
        sent = await office.in_thread(office.keeper.submitted, notice[0], office.cases.get(0), "smsc0", NOON)  # type: ignore[index]
        receipt = smpp34.DeliverSm("98912", "EIR", b"id:early stat:DELIVRD", esm_class=4)
        sender, counts = office.sender, office.keeper.counts
        await office.in_thread(sender._note, [], [("smsc0", receipt), ("smsc0", receipt)])
        assert not counts["receipts_unknown"]
        await office.in_thread(sender._note, [(sent, Sent(Fate.ACCEPTED, ("early",)))], [])
        assert (counts["receipts_delivered"], counts["receipts_unknown"]) == (1, 0)
        await office.in_thread(
            sender._note, [], [("smsc0", smpp34.DeliverSm("9", "EIR", b"id:none stat:DELIVRD", esm_class=4))]
        )
        office.now += 5
        await office.in_thread(sender._note, [], [])
        assert counts["receipts_unknown"] == 1

    run(tmp_path, test, count=0, prefixes=())


def test_warnings_of_what_is_in_order_or_only_observed_do_not_go_out(tmp_path: Path) -> None:
    async def test(office: Office) -> None:
        await office.open_cases(3)
        answers = {
            SIM: Judged(Reason.OWNER, False, False),
            SIM + 1: Judged(Reason.NEVER_ACTIVATED, False, False),
        }
        usual = Judged(Reason.NEVER_ACTIVATED, True)
        office.keeper.judge = lambda pairs: [answers.get(imsi, usual) for _, imsi in pairs]
        async with office.working():
            await office.until(NoticeState.ACCEPTED, 1)
            counts = await office.in_thread(office.keeper.outbox.counts)
            assert counts[NoticeState.CANCELLED] == 1  # type: ignore[index]
            assert counts[NoticeState.DUE] == 1  # type: ignore[index]

    run(tmp_path, test)


def test_under_the_override_and_by_a_doubtful_clock_nothing_goes_out(tmp_path: Path) -> None:
    async def test(office: Office) -> None:
        await office.open_cases(1)
        judge = office.keeper.judge

        def not_judged(_: object) -> list[Judged]:
            raise NotJudgedError

        office.keeper.judge = not_judged
        async with office.working():
            await asyncio.sleep(0.5)
            assert (await office.in_thread(office.keeper.outbox.counts))[NoticeState.DUE] == 1  # type: ignore[index]
            office.keeper.clock_doubtful, office.keeper.judge = True, judge
            await asyncio.sleep(0.5)
            assert (await office.in_thread(office.keeper.outbox.counts))[NoticeState.DUE] == 1  # type: ignore[index]
            office.keeper.clock_doubtful = False
            await office.until(NoticeState.ACCEPTED, 1)

    run(tmp_path, test)


def test_sending_outlives_a_round_that_goes_wrong(tmp_path: Path) -> None:
    async def test(office: Office) -> None:
        await office.open_cases(1)
        known, wrong = office.sender.subscribers, [ValueError("a bug")]

        def subscribers(imsis: Iterable[int]) -> Mapping[int, Subscriber]:
            if wrong:
                raise wrong.pop()
            return known(imsis)

        office.sender.subscribers = subscribers  # type: ignore[assignment]
        async with office.working():
            await office.until(NoticeState.ACCEPTED, 1)
        assert office.keeper.counts["sender_failures"] == 1

    run(tmp_path, test)
