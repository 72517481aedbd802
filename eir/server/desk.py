"""The desk of cases in a daemon: put together from the configuration, run beside the checks.

[notices], [smsc.NAME] ──► texts, links ──► Desk ──► readiness, metrics
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import zoneinfo
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

import structlog

from eir.clock import monotonic
from eir.config import address
from eir.errors import ConfigError, StateDamagedError, StorageError
from eir.notify.backlog import Backlog, Waiting
from eir.notify.desk import Bounds, Desk, Tables, open_cases
from eir.notify.incoming import Bounds as QuestionBounds
from eir.notify.incoming import Incoming
from eir.notify.judge import Judge
from eir.notify.keeper import Keeper
from eir.notify.link import Endpoint, Link
from eir.notify.messages import Texts, read_texts, shipped_texts
from eir.notify.sender import Route, Sender, Wording
from eir.notify.shared_keeper import SharedKeeper
from eir.notify.smpp import Address, Terms
from eir.server.answering import Answering
from eir.server.follow import password
from eir.settings import Group as GroupSettings
from eir.settings import Notices, Smsc
from eir.whitelist.journal import Journal
from eir.whitelist.store import locked

if TYPE_CHECKING:
    from eir.config import Config
    from eir.notify.case_table import CaseTable
    from eir.notify.cases import Cases
    from eir.notify.group import Group
    from eir.server.state import State

log = structlog.get_logger()

WAITING_SECONDS: Final = 15.0
"""How often the notices that wait are counted."""
LOCK: Final = "cases.lock"
SESSIONS: Final = {"transceiver": ("transceiver",), "transmitter+receiver": ("transmitter", "receiver")}
"""Kinds of the sessions of each way to bind; the first sends."""


def texts(notices: Notices) -> Texts:
    """Read and check the texts. Raises ConfigError."""
    for name in ("code", "helpline"):
        if not getattr(notices, name):
            raise ConfigError(f"notices.{name}: is empty; subscribers are told it, where notices are enabled")
    source, text = "shipped texts", ""
    if notices.texts:
        source = notices.texts
        try:
            text = Path(notices.texts).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"notices.texts: {notices.texts}: {error}") from None
    return read_texts(
        text or shipped_texts(),
        source,
        default=notices.language,
        code=notices.code,
        helpline=notices.helpline,
    )


def endpoints(name: str, smsc: Smsc) -> list[Endpoint]:
    """Return the sessions with an SMSC, that which sends first. Raises ConfigError."""
    for setting in ("host", "system_id", "sender"):
        if not getattr(smsc, setting):
            raise ConfigError(f"smsc.{name}.{setting}: is empty; it is required")
    secret = password(smsc.password_file, smsc.password_variable, f"smsc.{name}.")
    for setting, value in (("system_id", smsc.system_id), ("password", secret)):
        if not value.isascii():
            raise ConfigError(f"smsc.{name}.{setting}: must be ASCII")
    tls = _tls(name, smsc) if smsc.tls else None
    return [
        Endpoint(
            name,
            smsc.host,
            smsc.port,
            Terms(
                kind,
                smsc.system_id,
                secret,
                smsc.system_type,
                smsc.window_max,
                smsc.answer_seconds_max,
                smsc.idle_seconds_max,
            ),
            smsc.parts_per_second_max,
            smsc.reconnect_seconds_max,
            tls,
        )
        for kind in SESSIONS[smsc.bind]
    ]


def _tls(name: str, smsc: Smsc) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=smsc.ca_file or None)
        if smsc.certificate_file:
            context.load_cert_chain(smsc.certificate_file, smsc.key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"smsc.{name}: certificates: {error}") from None
    return context


def check(config: Config) -> None:
    """Find out at the start what is wrong with texts and SMSCs. Raises ConfigError."""
    if config.notices.enabled and config.notices.owner:
        check_owner(config.notices.owner)
    elif config.notices.enabled:
        if config.group.redis_urls.strip():
            check_group(config.group)
        texts(config.notices)
        for name, smsc in config.smsc.items():
            endpoints(name, smsc)


def check_owner(owner: str) -> None:
    """Raise ConfigError where an owner of cases is no address."""
    try:
        address(owner)
    except ValueError as error:
        raise ConfigError(f"notices.owner: {owner!r}: allowed is {error}") from None


def check_group(says: GroupSettings) -> None:
    """Find out what is wrong with a group. Raises ConfigError."""
    try:
        address(says.address)
    except ValueError as error:
        raise ConfigError(f"group.address: {says.address!r}: in a group it is required: {error}") from None
    password(says.redis_password_file, says.redis_password_variable, "group.redis_")


class Casework:
    """The desk of a daemon; without one where notices are off, or cases.db is damaged."""

    def __init__(self, state: State) -> None:
        """Check texts and SMSCs. Raises ConfigError."""
        check(state.config)
        self._state = state
        self.config = state.config.notices
        self._texts = texts(self.config)
        self._endpoints = {name: endpoints(name, smsc) for name, smsc in state.config.smsc.items()}
        self.desk: Desk | None = None
        self.links: list[Link] = []
        self.sending: list[Link] = []
        """Of each SMSC the link that submits."""
        self.damaged = ""
        """Why cases cannot be read; empty while they can."""
        self.ended = False
        """Something that should run for ever has ended."""
        self._waiting_at = 0.0
        self._backlog: Backlog | None = None
        self.group: Group | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="keeper")
        self._cases: Cases | None = None
        self._lock: TextIO | None = None
        self._jobs: list[asyncio.Task[None]] = []

    async def load(self) -> None:
        """Open the cases, beside the store. A damaged file is said, and checks are answered without it."""
        folder = Path(self._state.config.data_dir)

        def work() -> Cases:
            folder.mkdir(parents=True, exist_ok=True)
            # The store takes the directory meanwhile: nobody else may open the cases before it has.
            self._lock = locked(folder, LOCK)
            return open_cases(folder)

        try:
            self._cases = await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (StateDamagedError, StorageError) as error:
            log.error("no cases: checks are answered without them", why=error.message)  # noqa: TRY400 - one line
            self.damaged = error.message
            self._state.readiness.fail("cases", error.message, required=False)

    async def begin(self) -> None:
        """Put the desk together, once the store is open."""
        if self._cases is None:
            return
        state, wanted = self._state, self.config
        limits = state.config.limits
        feeds = frozenset(wanted.feeds.split() or state.config.feeds)
        journal = Journal.open(state.config.data_dir / "registry.db", read_only=True)
        bounds = Bounds(
            wanted.look_rows_max,
            wanted.due_cases_max,
            wanted.clock_jump_seconds_max,
            limits.clock_skew_seconds_max,
            wanted.drain_seconds_max,
            wanted.kept_days,
        )
        make: Callable[[], Desk] = partial(
            Desk.open,
            self._cases,
            self._thread,
            Judge(state.working, state.clock),
            state.working().policy.settings,
            Tables(journal, lambda: state.working().generation, feeds),
            state.clock,
            bounds,
            SharedKeeper if state.config.group.redis_urls.strip() else Keeper,
        )
        self.desk = desk = await asyncio.get_running_loop().run_in_executor(self._thread, make)
        desk.failed = self._failed
        desk.committed = state.metrics.notices.commit_seconds.observe
        self._backlog = Backlog.open(Path(state.config.data_dir))
        desk.sightings = state.sightings
        self._cases.on_table = self._show
        self._show(self._cases.table)
        if isinstance(desk.keeper, SharedKeeper):
            from eir.server.group import group  # redis is not imported where there is no group

            self.group = await group(state, desk, desk.keeper, self.links)
        if self._endpoints:
            desk.sender = self._sender(desk)
        else:
            log.warning("no SMSC is configured: cases open, nobody is warned, no deadline falls")

    def _show(self, table: CaseTable) -> None:
        """Let checks find the cases."""
        self._state.working().cases = table

    def _sender(self, desk: Desk) -> Sender:
        wanted, routes = self.config, []
        for name, sessions in self._endpoints.items():
            smsc = self._state.config.smsc[name]
            links = [Link(endpoint, lambda _: None) for endpoint in sessions]
            self.links += links
            self.sending.append(links[0])
            source = Address(smsc.sender, smsc.sender_ton, smsc.sender_npi)
            routes.append(Route(links[0], source, tuple(smsc.imsi_prefixes.split())))
        sender = Sender(
            desk.keeper,
            routes,
            self.wording,
            desk.subscribers,
            desk.in_thread,
            self._state.clock,
            in_flight_max=wanted.in_flight_max,
        )
        own = {smsc.sender for smsc in self._state.config.smsc.values()}
        bounds = QuestionBounds(wanted.sender_hourly_questions_max, wanted.questions_per_second_max)
        sender.incoming = Answering(
            Incoming(bounds, own, desk.keeper.counts),
            self._state.inquiring,
            desk.tables.journal,
            lambda: self.wording,
            sender.reply,
            self._state.clock,
        )
        for link in self.links:
            link.taker = partial(sender.take, link)
        if self.group is not None:
            sender.claims = self.group
        return sender

    @property
    def wording(self) -> Wording:
        """What texts are filled with now."""
        zone = zoneinfo.ZoneInfo(self._state.working().policy.settings.time_zone)
        return Wording(self._texts, zone, self.config.code, self.config.helpline)

    def waiting(self) -> list[Waiting]:
        """Return the notices that wait, by stage; any thread may ask. Raises StorageError."""
        return self._backlog.waiting() if self._backlog is not None else []

    async def refresh(self) -> None:
        """Bring metrics and readiness up to the present; called each second."""
        desk, state = self.desk, self._state
        if desk is None:
            return
        metrics = state.metrics.notices
        metrics.update(desk, self.sending)
        if monotonic() >= self._waiting_at:
            self._waiting_at = monotonic() + WAITING_SECONDS
            metrics.show_waiting(await asyncio.to_thread(self.waiting))
        if desk.storage:
            state.readiness.fail("cases", desk.storage, required=False)
        elif not self.ended:
            state.readiness.hold("cases")
        if self.group is not None:
            state.metrics.group.show(self.group)
            for link in self.sending:  # an SMSC's rate is that of all daemons together
                link.pace.rate_max = link.endpoint.parts_per_second_max / self.group.share.count
            if self.group.message:
                state.readiness.fail("group", self.group.message, required=False)
            else:
                state.readiness.hold("group")
        if trouble := self._trouble(desk):
            state.readiness.fail("notices", trouble, required=False)
        else:
            state.readiness.hold("notices")

    def _trouble(self, desk: Desk) -> str:
        """Say why nothing is sent, or no deadline falls; empty where nothing is wrong."""
        if desk.keeper.held:
            return f"held: {desk.keeper.held}"
        if desk.watch.why:
            return f"the clock {desk.watch.why}: no deadline falls"
        if not self.sending:
            return "no SMSC is configured: nobody is warned, no deadline falls"
        away = [link.endpoint.name for link in self.sending if not link.bound.is_set()]
        return f"not bound: {', '.join(away)}" if away else ""

    def _failed(self, what: str, error: Exception) -> None:
        self._state.metrics.upkeep_failures.inc()
        if isinstance(error, StorageError):
            log.warning("cases wait for the disk", task=what, why=error.message)
        else:
            log.error("keeping cases failed", task=what, exc_info=error)

    def start(self) -> None:
        """Run the desk, its sender and its links."""
        if self.desk is None:
            return
        runs = [self.desk.run(), *(link.run() for link in self.links)]
        if self.desk.sender is not None:
            runs.append(self.desk.sender.run())
        if self.group is not None:
            runs.append(self.group.run())
        self._jobs = [asyncio.create_task(self._kept_up(run)) for run in runs]

    async def _kept_up(self, run: Coroutine[None, None, None]) -> None:
        """Say when something that should run for ever ends."""
        try:
            await run
        except Exception as error:  # noqa: BLE001 - it is said, and readiness tells it
            self._failed("run", error)
            self.ended = True
            self._state.readiness.fail("cases", f"ended by a bug: {error!r}", required=False)

    async def use_policy(self) -> None:
        """Take the policy in force."""
        if self.desk is not None:
            await self.desk.in_thread(self.desk.use_policy, self._state.working().policy.settings)
            if self.desk.sender is not None:
                self.desk.sender.wording = self.wording

    async def close(self) -> None:
        """End in order: nothing new goes out, answers are waited for, the last sightings are taken."""
        desk = self.desk
        if desk is not None and desk.sender is not None and self._jobs:
            with contextlib.suppress(StorageError):
                await desk.sender.drain(desk.bounds.drain_seconds_max)
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        if desk is not None:
            await desk.in_thread(desk.close)
        elif self._cases is not None:
            self._cases.close()
        if self._backlog is not None:
            self._backlog.close()
        if self._lock is not None:
            self._lock.close()
        self._thread.shutdown()
