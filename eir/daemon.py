"""The daemon: wires the parts, and takes them down in order.

    config ──► policy ──► listeners (not serving) ──► store ──► checker ──► serving
    signal ──► not ready ──► calls in flight finish ──► store closed ──► exit 0

The only module that knows the clock, signals and exit codes.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from http import HTTPStatus
from pathlib import Path

import structlog
import uvloop

from eir import __version__, logs, native
from eir.check import Checker
from eir.clock import monotonic, now_seconds
from eir.config import Config, address
from eir.configured import load_policy, store_limits
from eir.errors import ConfigError, EirError, EngineUnavailableError, FatalError, WriterBusyError
from eir.http import HttpServer, Page, metrics_page, probe_page
from eir.inquiry.inquirer import Bounds, Inquirer
from eir.metrics import Metrics
from eir.policy import Policy
from eir.server.enforcement import ALLOW_ALL
from eir.server.listeners import Listeners
from eir.server.priority import CheckThreads
from eir.server.state import State
from eir.systemd import ServiceManager
from eir.whitelist.store import Store, locked

REFRESH_SECONDS = 1.0
REBUILD_RETRY_SECONDS_MAX = 300.0
SWITCH_INTERVAL_SECONDS = 0.0005
"""How long a thread may keep the others waiting: a commit runs beside the checks."""
UMASK = 0o027
"""The data directory holds identities: others do not read it."""
LISTENERS = ("check_listen", "manage_listen", "http_listen")

LOOPBACK = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "::": "[::1]"}  # noqa: S104 - what to call instead
"""How a listener on all addresses is reached from this machine."""

log = structlog.get_logger()


def run(config: Config) -> int:
    """Serve until a signal; return the exit code."""
    logs.setup(config.log.format, config.log.level)
    os.umask(UMASK)
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    try:
        uvloop.run(_serve(config))
    except FatalError as error:
        return _failed(error, error.exit_code)
    except EirError as error:
        return _failed(error, FatalError.exit_code)
    return 0


def _failed(error: EirError, exit_code: int) -> int:
    """Tell people, not the log, why there is no daemon."""
    sys.stderr.write(f"eir: {error.message}\n")
    return exit_code


def choose_engine(wanted: str) -> str:
    """Return the engine that runs. Raises EngineUnavailableError."""
    if wanted == "portable":
        return wanted
    try:
        native.load()
    except EngineUnavailableError as error:
        if wanted == "native":
            raise
        log.info("engine: portable, and slower", why=error.message)
        return "portable"
    return "native"


def _free(data_dir: Path) -> None:
    """Find out that another daemon has the directory before its ports say so less clearly.

    Raises DataDirLockedError, StorageError.
    """
    if data_dir.is_dir():
        locked(data_dir).close()


async def _serve(config: Config) -> None:
    """Bring everything up, wait for a signal, take everything down."""
    stop, hangup = _signals()
    engine, policy, metrics = choose_engine(config.engine), load_policy(config.policy), Metrics()
    state, manager = State(config, metrics, now_seconds, engine), ServiceManager(os.environ, os.getpid())
    metrics.set_identity(engine, config.insecure_listeners(), LISTENERS)
    for name in config.insecure_listeners():
        log.warning(
            "INSECURE: plain text, no client is authenticated", listener=name, at=getattr(config, name)
        )
    await asyncio.to_thread(_free, Path(config.data_dir))
    heartbeat = Heartbeat(config.limits.loop_stall_seconds_max)
    if any(feed.redis_urls for feed in config.feeds.values()):
        from eir.server.follow import consumers  # redis is not imported where no feed is followed

        state.consumers = consumers(state)
    if config.notices.enabled:
        from eir.server.branch import Branch  # nothing of it is imported where there are no cases
        from eir.server.desk import Casework
        from eir.server.desk import check as check_notices

        check_notices(config)
        state.casework = Branch(state) if config.notices.owner else Casework(state)
    listeners = Listeners(state)
    http = _http(state, heartbeat)
    tasks = [asyncio.create_task(heartbeat.beat()), asyncio.create_task(stop.wait())]
    try:
        await listeners.start()
        loading = asyncio.create_task(_load(state, policy))
        await asyncio.wait({loading, tasks[1]}, return_when=asyncio.FIRST_COMPLETED)
        # A store that is being opened must be closed again: opening is waited for.
        await loading
        if not stop.is_set():
            await state.refresh()
            listeners.set_serving(serving=True)
            _say_ready(state, listeners, http)
            manager.ready(_status(state))
            tasks.append(asyncio.create_task(manager.stay_alive()))
            threads = CheckThreads()
            tasks += [asyncio.create_task(_keep(state, threads)), asyncio.create_task(_fold(state))]
            tasks += [asyncio.create_task(consumer.run()) for consumer in state.consumers.values()]
            tasks.append(asyncio.create_task(_reload(state, hangup, manager)))
            if state.core is not None:
                threads.prefer(monotonic())
                tasks.append(asyncio.create_task(state.core.run()))
            if state.casework is not None:
                state.casework.start()
            await stop.wait()
    finally:
        manager.stopping("draining")
        await _drain(state, listeners, serving=state.checker is not None)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if state.casework is not None:
            await state.casework.close()
        await state.close()
        http.close()
        log.info("stopped")


def _signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Return the event of the first SIGTERM or SIGINT (a second one ends the process), and that of SIGHUP."""
    stop, hangup, loop = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop()

    def received(number: int) -> None:
        if stop.is_set():
            # Nothing acknowledged is lost: the journal was written first.
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received, number)
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    return stop, hangup


def _http(state: State, heartbeat: Heartbeat) -> HttpServer:
    """Serve metrics and probes. Raises ConfigError when the address cannot be bound."""
    limits = state.config.limits
    pages = {
        "/metrics": lambda: metrics_page(state.metrics.render),
        "/livez": lambda: probe_page(heartbeat.live, []),
        "/readyz": lambda: probe_page(state.readiness.ready, state.readiness.reasons()),
        "/": lambda: Page(HTTPStatus.OK, "/metrics\n/livez\n/readyz\n"),
    }
    listen = state.config.http_listen
    try:
        return HttpServer(
            address(listen), pages, requests_max=limits.http_requests_max, seconds_max=limits.http_seconds_max
        )
    except OSError as error:
        raise ConfigError(f"http_listen: {listen} cannot be bound: {error.strerror}") from None


async def _load(state: State, policy: Policy) -> None:
    """Open the store in the writer thread, and make the checker."""
    started, config = monotonic(), state.config
    limits, casework = store_limits(config), state.casework
    cases = asyncio.create_task(casework.load()) if casework is not None else None
    try:
        store = await state.write(lambda: Store.open(config.data_dir, clock=state.clock, limits=limits))
    except OSError as error:
        raise FatalError(f"data directory {config.data_dir}: {error.strerror or error}") from error
    finally:
        if cases is not None:
            await cases
    state.store = store
    checker = state.core.checker(store, policy) if state.core else Checker(store, policy, state.clock)
    checker.override = (await asyncio.to_thread(store.enforcement)).mode == ALLOW_ALL
    if checker.override:
        log.warning("override on: every check is allowed")
    state.inquirer = await asyncio.to_thread(_inquirer, state, store, checker)
    # What is loaded stays: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    state.checker = checker
    state.decisions.start()
    await state.use_policy(policy, "start")
    if casework is not None:
        await casework.begin()
    state.readiness.hold("tables")
    state.metrics.load_seconds.set(monotonic() - started)
    state.metrics.started.set(state.clock())


def _inquirer(state: State, store: Store, checker: Checker) -> Inquirer:
    """Make what answers inquiries, beside the writer."""
    config = state.config
    wanted = config.inquiry
    return Inquirer(
        store,
        config.data_dir / "registry.db",
        lambda: state.checker or checker,
        state.clock,
        wanted.country_code,
        Bounds(wanted.slots_max, wanted.sims_max, wanted.history_rows_max, wanted.history_seconds_max),
    )


def _say_ready(state: State, listeners: Listeners, http: HttpServer) -> None:
    """Log the one line that says where and with what the daemon serves."""
    config = state.config
    check, manage, web = (address(getattr(config, name))[0] for name in LISTENERS)
    _announce(state, f"{LOOPBACK.get(manage, manage)}:{listeners.manage_port}")
    log.info(
        "ready",
        version=__version__,
        engine=state.engine,
        serial=state.loaded().generation.serial,
        check=f"{check}:{listeners.check_port}",
        manage=f"{manage}:{listeners.manage_port}",
        http=f"{web}:{http.port}",
        policy=state.working().policy.name,
        data_dir=str(config.data_dir),
    )


def _status(state: State) -> str:
    """Say in a line what `systemctl status` shows."""
    refused = "; a policy was refused, the old one stays" if state.policy_refused.at else ""
    return f"{state.engine} engine, policy {state.working().policy.name}{refused}"


def _announce(state: State, manage: str) -> None:
    """Tell commands on this machine where the daemon of the data directory is; they may be told, too."""
    try:
        state.loaded().announce(manage)
    except OSError as error:
        state.metrics.upkeep_failures.inc()
        log.warning("address not announced: imports need --address", error=str(error))


async def _keep(state: State, threads: CheckThreads) -> None:
    """Keep gauges and staleness up to date, the journal's log folded in, and checks before what can wait."""

    async def review() -> None:
        threads.review(monotonic())

    while True:
        await asyncio.sleep(REFRESH_SECONDS)
        for task in (review, state.refresh, state.checkpoint):
            try:
                await task()
            except Exception:
                # Upkeep must outlive whatever goes wrong in one round of it, and one task the other.
                state.metrics.upkeep_failures.inc()
                log.exception("upkeep failed", task=task.__name__)


async def _reload(state: State, hangup: asyncio.Event, manager: ServiceManager) -> None:
    """Read the policy again at every SIGHUP; one that came while the tables were loaded counts too."""
    while True:
        await hangup.wait()
        hangup.clear()
        manager.reloading(monotonic())
        try:
            await state.reload_policy(lambda: load_policy(state.config.policy))
        except Exception:
            # The next signal must find somebody who listens.
            state.metrics.upkeep_failures.inc()
            log.exception("reload failed")
        manager.ready(_status(state))


async def _fold(state: State) -> None:
    """Rebuild segments when they need it; what failed is tried again, ever more seldom."""
    wait_seconds = REFRESH_SECONDS
    while True:
        await asyncio.sleep(wait_seconds)
        if state.rebuilding or not state.loaded().rebuild_needed():
            continue
        failed = await _rebuild(state)
        wait_seconds = min(wait_seconds * 2, REBUILD_RETRY_SECONDS_MAX) if failed else REFRESH_SECONDS


async def _rebuild(state: State) -> bool:
    """Rebuild what needs it; tells whether that failed."""
    try:
        result = await state.rebuild(all_segments=False)
    except WriterBusyError:
        return False
    except Exception:
        state.metrics.upkeep_failures.inc()
        log.exception("rebuild failed")
        return True
    log.info(
        "segments rebuilt",
        serial=result.serial,
        segments=result.rebuilt_count,
        seconds=round(result.duration_seconds, 3),
    )
    return False


async def _drain(state: State, listeners: Listeners, *, serving: bool) -> None:
    """Say not ready, then let the calls in flight finish."""
    state.readiness.fail("serving", "draining")
    state.metrics.set_readiness(state.readiness)
    state.draining.set()
    limits = state.config.limits
    log.info("draining", seconds_max=limits.drain_seconds_max)
    await listeners.drain(limits.drain_notice_seconds if serving else 0)


class Heartbeat:
    """Whether the event loop still turns; read from other threads."""

    def __init__(self, stall_seconds_max: float) -> None:
        """Take how long the loop may be silent."""
        self._stall_seconds_max = stall_seconds_max
        self._last = monotonic()

    @property
    def live(self) -> bool:
        """Tell whether the loop turned lately."""
        return monotonic() - self._last <= self._stall_seconds_max

    async def beat(self) -> None:
        """Beat until cancelled."""
        while True:
            self._last = monotonic()
            await asyncio.sleep(1)
