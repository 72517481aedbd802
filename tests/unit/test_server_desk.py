"""Cases and notices in a daemon's parts: store, checker, desk, SMSC."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from casework import KEY, NOON, NOTICES, OTHER, SIM, Office, office, smsc_at
from test_link import Smsc

from eir.config import Config
from eir.errors import ConfigError
from eir.notify.case import State
from eir.notify.outbox import NoticeState
from eir.notify.schedule import DAY
from eir.policy import compile_policy
from eir.server.desk import check, endpoints
from eir.verdict import Reason
from eir.whitelist.operation import Operation
from eir.whitelist.rows import Op, Role

ENFORCED = """
name = "enforced"
home_plmns = ["43211", "43235"]
[cause.never_activated]
mode = "enforce"
grace_days = 10
clock_start = "first_sighting"
[notices]
warned_days_min = 3
"""
REGISTER = Operation(Op.REGISTER, KEY)
PAIR = Operation(Op.PAIR, KEY, imsi=SIM, cause=Role.OWNER)
NUMBER = Operation(Op.SUBSCRIBER, imsi=SIM, time=1_989_120_000_001, name="en")


def run(folder: Path, test: Callable[[Office, Smsc], Awaitable[None]], **settings: object) -> None:
    async def main() -> None:
        async with office(folder, **settings) as (made, smsc):  # type: ignore[arg-type]
            await test(made, smsc)

    asyncio.run(main())


def text_of(smsc: Smsc, first: int = 0) -> str:
    """What a phone shows of the parts from one on."""
    parts = sorted(event.short_message for event in smsc.taken[first:])
    return b"".join(part[6:] if part[:2] == b"\x05\x00" else part for part in parts).decode("latin-1")


def test_sighted_warned_paired_told(tmp_path: Path) -> None:
    async def test(made: Office, smsc: Smsc) -> None:
        await made.delta(REGISTER, NUMBER)
        made.seen()
        outbox = made.desk.keeper.outbox
        await made.until(lambda: outbox.counts()[NoticeState.ACCEPTED] == 1)
        assert "IMEI ending in 643809" in text_of(smsc)
        assert {event.destination_addr for event in smsc.taken} == {"989120000001"}
        parts = len(smsc.taken)
        await made.delta(PAIR)
        await made.until(lambda: made.desk.keeper.cases.states()[State.RESOLVED] == 1)
        made.now += DAY
        await made.until(lambda: outbox.counts()[NoticeState.ACCEPTED] == 2)
        assert "in order now" in text_of(smsc, parts)

    run(tmp_path, test)


async def settled(made: Office) -> None:
    """All deltas were looked at."""
    await made.until(lambda: made.desk.follower.serial == made.store.generation.serial)


async def opened(made: Office, *pairs: tuple[int, int]) -> None:
    """Pairs that were seen have cases."""
    for key, imsi in pairs:
        made.seen(key, imsi)
    numbers = made.desk.keeper.cases.number
    await made.until(lambda: all(numbers(*pair) >= 0 for pair in pairs))


def test_a_sim_that_is_replaced_takes_its_case_along(tmp_path: Path) -> None:
    async def test(made: Office, smsc: Smsc) -> None:
        # Something is kept of the former SIM: elsewhere it is paired.
        await made.delta(REGISTER, Operation(Op.REGISTER, KEY + 9), PAIR._replace(imei=KEY + 9))
        await opened(made, (KEY, SIM))
        before = await made.case()
        made.now += DAY
        await opened(made, (KEY, OTHER))
        await made.delta(Operation(Op.REPLACE_SIM, imsi=OTHER, former_imsi=SIM))
        await settled(made)
        after = await made.case(imsi=OTHER)
        assert before is not None
        assert after is not None
        assert (after.opened_at, after.deadline, after.seen_at) == (NOON, before.deadline, NOON + DAY)
        assert await made.case() is None
        assert made.desk.keeper.cases.states()[State.RESOLVED] == 1

    run(tmp_path, test, smsc=False, policy=ENFORCED)


def test_linked_slots_and_sims_alone_are_looked_at_too(tmp_path: Path) -> None:
    async def test(made: Office, smsc: Smsc) -> None:
        twin = KEY + 1
        await made.delta(REGISTER, Operation(Op.REGISTER, twin), Operation(Op.LINK, KEY, imei_other=twin))
        await opened(made, (KEY, SIM), (KEY, OTHER), (twin, OTHER))
        await made.delta(Operation(Op.PAIR, twin, imsi=SIM, cause=Role.OWNER))
        await settled(made)
        # Covered by the other slot; another cause now; another cause, too.
        assert made.desk.keeper.cases.states()[State.OPEN] == 0
        await opened(made, (KEY, OTHER))
        case = await made.case(imsi=OTHER)
        assert case is not None
        assert case.cause == Reason.UNOWNED_SLOT
        await made.delta(Operation(Op.EXEMPT, imsi=OTHER, cause=1))
        await settled(made)
        assert await made.case(imsi=OTHER) is None

    run(tmp_path, test, smsc=False)


def test_a_range_that_is_registered_changes_the_cause(tmp_path: Path) -> None:
    async def test(made: Office, smsc: Smsc) -> None:
        await made.delta(NUMBER)
        await opened(made, (KEY, SIM))
        outbox = made.desk.keeper.outbox
        await made.until(lambda: outbox.counts()[NoticeState.ACCEPTED] == 1)
        await made.delta(Operation(Op.REGISTER, KEY - 100, imei_last=KEY + 100))
        await settled(made)
        assert await made.case() is None
        # Nothing is in order yet: its subscriber is not told so.
        assert outbox.counts()[NoticeState.DUE] == 0

    run(tmp_path, test)


def test_the_end_of_an_exemption_is_a_deadline_warned_of_before(tmp_path: Path) -> None:
    async def test(made: Office, smsc: Smsc) -> None:
        until = NOON + 15 * DAY
        exempt = Operation(Op.EXEMPT, KEY, imsi=SIM, cause=1, time=until)
        await made.delta(REGISTER, NUMBER, exempt)
        made.seen()
        await made.until(lambda: not made.told)
        assert await made.case() is None
        await made.later(6 * DAY)  # the grace is ten days
        await opened(made, (KEY, SIM))
        case = await made.case()
        assert case is not None
        assert (case.cause, case.deadline) == (Reason.NEVER_ACTIVATED, until)
        assert made.reason() == Reason.EXEMPT_PAIR
        await made.until(lambda: made.desk.keeper.outbox.counts()[NoticeState.ACCEPTED] == 1)
        assert "16 November 2026" in text_of(smsc)
        # It is longer now, but not long: the deadline moves; then it is long, and there is no case.
        await made.delta(exempt._replace(op=Op.UNEXEMPT, time=0), feed="other")
        await made.delta(exempt._replace(time=until + DAY))
        await settled(made)
        case = await made.case()
        assert case is not None
        assert case.deadline == until + DAY
        await made.delta(exempt._replace(op=Op.UNEXEMPT, time=0))
        await made.delta(exempt._replace(time=until + 90 * DAY))
        await settled(made)
        assert await made.case() is None

    run(tmp_path, test, policy=ENFORCED)


OBSERVED = ENFORCED.replace("enforce", "observe")


def test_what_is_only_observed_opens_nothing_and_sends_nothing(tmp_path: Path) -> None:
    async def test(made: Office, smsc: Smsc) -> None:
        await made.delta(REGISTER, NUMBER)
        made.now += 12 * 3600  # at night nothing is sent
        await opened(made, (KEY, SIM))
        await made.state.use_policy(compile_policy(OBSERVED), "test")
        await made.later(12 * 3600)
        await made.until(lambda: bool(made.desk.keeper.counts["observed"]))
        made.seen(imsi=OTHER)
        await made.until(lambda: not made.told)
        assert await made.case(imsi=OTHER) is None
        assert made.desk.keeper.outbox.counts()[NoticeState.DUE] == 0

    run(tmp_path, test, policy=ENFORCED.replace("[notices]", "[notices]\nfirst_after_hours = 1"))


def test_while_the_override_is_on_nothing_is_judged(tmp_path: Path) -> None:
    async def test(made: Office, smsc: Smsc) -> None:
        await made.delta(REGISTER, NUMBER)
        await opened(made, (KEY, SIM))
        made.state.working().override = True
        await made.delta(PAIR)
        made.seen(imsi=OTHER)
        await asyncio.sleep(0.3)
        assert await made.case() is not None
        assert await made.case(imsi=OTHER) is None
        made.state.working().override = False
        await settled(made)
        assert await made.case() is None

    run(tmp_path, test, smsc=False)


def test_the_number_that_a_check_named_is_kept_and_the_registrys_comes_first(tmp_path: Path) -> None:
    async def first(made: Office, smsc: Smsc) -> None:
        await made.delta(REGISTER)
        made.seen(msisdn="989129999999")
        await made.until(lambda: len(made.desk.keeper.cases) == 1)

    async def second(made: Office, smsc: Smsc) -> None:
        await made.until(lambda: bool(smsc.taken))
        assert {event.destination_addr for event in smsc.taken} == {"989129999999"}
        await made.delta(NUMBER)
        known = await made.desk.in_thread(made.desk.subscribers, [SIM])
        assert known[SIM].msisdn == 1_989_120_000_001

    run(tmp_path, first, smsc=False)
    run(tmp_path, second)


def test_deltas_of_a_time_without_the_desk_are_caught_up(tmp_path: Path) -> None:
    async def first(made: Office, smsc: Smsc) -> None:
        await made.delta(REGISTER)
        await opened(made, (KEY, SIM))

    async def off(made: Office, smsc: Smsc) -> None:
        await made.delta(PAIR)

    async def second(made: Office, smsc: Smsc) -> None:
        await settled(made)
        assert await made.case() is None

    run(tmp_path, first, smsc=False)
    run(tmp_path, off, smsc=False, notices=replace(NOTICES, enabled=False))
    run(tmp_path, second, smsc=False)


def test_a_registry_that_is_another_has_all_cases_looked_at(tmp_path: Path) -> None:
    async def first(made: Office, smsc: Smsc) -> None:
        await made.delta(REGISTER)
        await made.delta(NUMBER)
        await opened(made, (KEY, SIM))
        await settled(made)

    async def second(made: Office, smsc: Smsc) -> None:
        # An older backup: its serial is behind what the cases know.
        await made.until(lambda: not made.desk.follower.behind)
        assert await made.case() is None
        assert made.desk.follower.serial == made.store.generation.serial

    run(tmp_path, first, smsc=False)
    for path in tmp_path.glob("registry.db*"):
        path.unlink()
    run(tmp_path, second, smsc=False)


def test_damaged_cases_are_said_and_checks_are_answered_without_them(tmp_path: Path) -> None:
    async def first(made: Office, smsc: Smsc) -> None:
        await made.delta(REGISTER)
        await opened(made, (KEY, SIM))

    async def main() -> None:
        async with office(tmp_path) as (made, _):
            assert made.state.casework is not None
            assert made.state.casework.desk is None
            assert made.reason() == Reason.NEVER_ACTIVATED
            assert [one for one in made.state.readiness.reasons() if "cases.db is damaged" in one]
            made.state.readiness.hold("tables")
            assert made.state.readiness.ready

    run(tmp_path, first, smsc=False)
    (tmp_path / "cases.db").write_bytes(b"no database" * 1000)
    (tmp_path / "cases.db-wal").unlink(missing_ok=True)
    asyncio.run(main())


def test_refused_configuration(tmp_path: Path) -> None:
    smsc = smsc_at(1)
    for change, says in (
        ({"notices": replace(NOTICES, code="")}, "notices.code"),
        ({"notices": replace(NOTICES, texts=str(tmp_path / "none"))}, "notices.texts"),
        ({"notices": replace(NOTICES, language="xx")}, "xx"),
        ({"smsc": {"main": replace(smsc, host="")}}, "smsc.main.host"),
        ({"smsc": {"main": replace(smsc, sender="")}}, "smsc.main.sender"),
        ({"smsc": {"main": replace(smsc, password_file="none")}}, "smsc.main.password_file"),
        ({"smsc": {"main": replace(smsc, tls=True, ca_file="none")}}, "smsc.main: certificates"),
    ):
        with pytest.raises(ConfigError, match=re.escape(says)):
            check(replace(Config(notices=NOTICES), **change))  # type: ignore[arg-type]
    check(Config(notices=replace(NOTICES, enabled=False, code="")))


def test_both_ways_to_bind(tmp_path: Path) -> None:
    (one,) = endpoints("main", smsc_at(1))
    assert one.terms.kind == "transceiver"
    both = endpoints("main", smsc_at(1, bind="transmitter+receiver"))
    assert [one.terms.kind for one in both] == ["transmitter", "receiver"]
