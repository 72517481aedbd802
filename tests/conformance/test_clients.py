"""grpcio, Go's and C++'s gRPC over one table of cases, against every engine, and a drain under each."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import native_engine
import pytest
from google.rpc import error_details_pb2

from tests.conformance.cases import OK, SERVICE, WORKERS, Expected, check, table, words
from tests.conformance.clients import CLIENTS, Case, Result, build, run
from tests.running import Daemon, running

TABLE = {expected.case.name: expected for expected in table()}
Results = dict[str, Result]


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    build()


@pytest.fixture(scope="session", params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def results(client: str, loaded: Daemon) -> Results:
    """What came of all cases with one client and one engine."""
    return run(client, [loaded.ready_line["check"]], [expected.case for expected in TABLE.values()])


def test_names_are_those_of_one_case_each() -> None:
    assert len(TABLE) == len(table())


@pytest.mark.parametrize("expected", TABLE.values(), ids=TABLE)
def test_every_client_gets_what_the_table_says(results: Results, expected: Expected) -> None:
    found = results[expected.case.name]
    if expected.case.kind == "many":
        assert set(found.codes) == {OK}
        assert found.codes[OK] >= WORKERS
    else:
        assert found.code == expected.code, found.message
    answers = [word for data in found.answers for word in words(expected.case.path, data)]
    if expected.some:
        assert answers == list(expected.answers[: len(answers)])
        assert answers
    else:
        assert answers == list(expected.answers)
    if expected.field:
        details = {detail.TypeName(): detail for detail in found.status.details}
        info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        assert details["google.rpc.ErrorInfo"].Unpack(info)
        assert details["google.rpc.BadRequest"].Unpack(request)
        assert (info.reason, info.domain, dict(info.metadata)) == (
            "INVALID_REQUEST",
            "eir",
            {"field": expected.field},
        )
        assert [violation.field for violation in request.field_violations] == [expected.field]
        assert (found.status.code, found.status.message) == (found.code, found.message)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_with_two_daemons_does_not_notice_that_one_stops(tmp_path: Path, client: str) -> None:
    """A drain of the native engine loses no request: each is answered, by the one daemon or the other."""
    native_engine.needed()
    native = {"engine": "native"}
    with running(tmp_path / "a", **native) as first, running(tmp_path / "b", **native) as second:
        addresses = [first.ready_line["check"], second.ready_line["check"]]
        message = check(request_id="").SerializeToString()
        case = Case("lasting", "many", f"{SERVICE}CheckEquipment", (message,), workers=WORKERS, lasts_ms=3000)
        with ThreadPoolExecutor(1) as pool:
            calls = pool.submit(run, client, addresses, [case])
            time.sleep(0.8)
            first.signal(signal.SIGTERM)
            assert first.wait() == 0
            found = calls.result()["lasting"]
        assert set(found.codes) == {OK}, (found.codes, found.message)
        assert found.codes[OK] > 100
        assert second.metric('eir_check_duration_seconds_count{method="unary"}') > 10
