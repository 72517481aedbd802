"""One daemon for the conformance tests, per engine: what is true of one is true of all."""

from collections.abc import Iterator

import pytest

from tests.conformance.cases import KEY, OTHER, OWNER, STOLEN, UNPAIRED
from tests.running import ENGINES, Daemon, operation, running

POLICY = """
name = "conformance"
home_plmns = ["43211", "43235"]
placeholders = ["12345678901234"]
cache_seconds_max = 60

[status_map.strict]
greylisted = "whitelisted"
unknown = "blacklisted"
"""


@pytest.fixture(scope="session", params=ENGINES)
def daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp(f"conformance-{request.param}")
    (folder / "policy.toml").write_text(POLICY)
    with running(folder / "data", engine=request.param, policy=folder / "policy.toml") as daemon:
        yield daemon


@pytest.fixture(scope="session")
def loaded(daemon: Daemon) -> Daemon:
    """The daemon with a few phones."""
    phones = [operation("REGISTER", imei) for imei in (KEY, OTHER, UNPAIRED, STOLEN)]
    daemon.push(
        *phones,
        operation("PAIR", KEY, imsi=OWNER, role="OWNER"),
        operation("PAIR", STOLEN, imsi=OWNER, role="OWNER"),
        operation("BLOCK", STOLEN, block_cause="STOLEN", authority="police"),
        operation("BLOCK", "BA0A", block_cause="STOLEN", authority="police"),
        feed="conformance",
    )
    return daemon
