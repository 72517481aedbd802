"""The daemon as a process: start, refusals, drain, restart."""

import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from eir.proto import check_pb2, enforcement_pb2, sync_pb2
from tests.running import (
    ENGINES,
    Daemon,
    Pipe,
    commit,
    delta,
    detail,
    operation,
    run_to_end,
    running,
    wait_for,
)

KEY, OWNER = "35693803564380", "432110000000001"


def check_message(request_id: str = "") -> check_pb2.StreamCheckEquipmentRequest:
    return check_pb2.StreamCheckEquipmentRequest(
        check=check_pb2.CheckEquipmentRequest(imei=KEY, imsi=OWNER, request_id=request_id)
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_a_daemon_says_when_it_is_ready_and_stops_with_0(tmp_path: Path, engine: str) -> None:
    with running(tmp_path / "data", engine=engine) as daemon:
        line = daemon.ready_line
        assert (line["engine"], line["serial"], line["policy"]) == (engine, 0, "default")
        assert daemon.http("/livez") == (200, "ok\n")
        assert daemon.http("/readyz") == (200, "ok\n")
        assert daemon.metric("eir_ready") == 1
        assert daemon.stop() == 0
        assert any('"stopped"' in line for line in daemon.log)


def test_interrupt_stops_it_too(tmp_path: Path) -> None:
    with running(tmp_path / "data") as daemon:
        daemon.signal(signal.SIGINT)
        assert daemon.wait() == 0


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon in the way of others."""
    with running(tmp_path_factory.mktemp("standing") / "data") as daemon:
        yield daemon


def test_a_second_daemon_on_the_same_data_is_refused(standing: Daemon) -> None:
    code, text = run_to_end(standing.data_dir, {})
    assert code == 3
    assert str(standing.data_dir) in text
    assert "another daemon" in text
    assert "Traceback" not in text
    assert standing.http("/readyz") == (200, "ok\n")


@pytest.mark.parametrize("listener", ["check", "manage", "http"])
def test_an_address_in_use_is_refused_by_name(standing: Daemon, tmp_path: Path, listener: str) -> None:
    address = standing.ready_line[listener]
    code, text = run_to_end(tmp_path / "other", {f"{listener}_listen": address})
    assert code == 2
    assert f"{listener}_listen: {address}" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("settings", "code", "says"),
    [
        (
            {"limits.batch_rows_max": 0},
            2,
            "EIR_LIMITS__BATCH_ROWS_MAX: limits.batch_rows_max = '0': allowed is",
        ),
        ({"check_listen": "0.0.0.0:0"}, 2, "insecure"),
        ({"policy": "/nowhere.toml"}, 2, "/nowhere.toml"),
    ],
)
def test_what_cannot_be_used_ends_it_with_a_code_and_a_line(
    tmp_path: Path, settings: dict[str, object], code: int, says: str
) -> None:
    ended, text = run_to_end(tmp_path / "data", settings)
    assert (ended, "Traceback" in text) == (code, False)
    assert says in text


def test_a_data_directory_that_cannot_be_made_ends_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, text = run_to_end(tmp_path / "file", {})
    assert code == 1
    assert f"eir: data directory {tmp_path / 'file'}: File exists" in text
    assert "Traceback" not in text


def test_a_policy_that_cannot_be_used_ends_it(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('name = "x"\nhome_plmns = ["43211"]\nslot_rule = "some"\n')
    code, text = run_to_end(tmp_path / "data", {"policy": policy})
    assert code == 2
    assert "slot_rule" in text
    assert not (tmp_path / "data").exists()


def test_listening_elsewhere_is_said_loudly(tmp_path: Path) -> None:
    with running(tmp_path / "data", manage_listen="0.0.0.0:0", insecure="true") as daemon:
        (line,) = [line for line in daemon.log if "INSECURE" in line]
        assert '"warning"' in line
        assert "manage_listen" in line
        assert daemon.metric('eir_insecure_listener{listener="manage_listen"}') == 1
        assert daemon.metric('eir_insecure_listener{listener="check_listen"}') == 0


def test_state_and_override_are_the_same_after_a_restart(tmp_path: Path) -> None:
    override = enforcement_pb2.SetEnforcementRequest(
        mode="ENFORCEMENT_MODE_ALLOW_ALL", who="sre", why="drill"
    )
    with running(tmp_path / "data") as daemon:
        daemon.push(operation("REGISTER", KEY), operation("PAIR", KEY, imsi=OWNER, role="OWNER"))
        before = daemon.check(KEY, OWNER)
        daemon.enforcement.SetEnforcement(override)
        assert daemon.stop() == 0
    with running(tmp_path / "data") as daemon:
        assert daemon.ready_line["serial"] == 1
        assert daemon.check("35693803564399", OWNER).reason == check_pb2.VERDICT_REASON_OVERRIDE
        assert daemon.metric("eir_override_active") == 1
        assert any("override on" in line for line in daemon.log)
        daemon.enforcement.SetEnforcement(
            enforcement_pb2.SetEnforcementRequest(mode="ENFORCEMENT_MODE_POLICY", who="sre", why="over")
        )
        after = daemon.check(KEY, OWNER)
        assert after == before


def test_identities_are_not_in_the_log(tmp_path: Path) -> None:
    with running(tmp_path / "data", log__level="debug") as daemon:
        daemon.push(operation("REGISTER", KEY), operation("PAIR", KEY, imsi=OWNER, role="OWNER"))
        daemon.check(KEY, OWNER)
        with pytest.raises(grpc.RpcError):
            daemon.push(operation("REGISTER", KEY))
        daemon.enforcement.SetEnforcement(
            enforcement_pb2.SetEnforcementRequest(
                mode="ENFORCEMENT_MODE_POLICY", who="sre", why=f"{KEY} {OWNER}"
            )
        )
        assert daemon.stop() == 0
        text = "".join(daemon.log)
        assert "432" in text
        assert KEY not in text
        assert OWNER not in text


@pytest.mark.parametrize("engine", ENGINES)
def test_the_metrics_of_a_running_daemon_pass_promtool(tmp_path: Path, engine: str) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is needed: make peers installs it"
    with running(tmp_path / "data", engine=engine) as daemon:
        daemon.push(operation("REGISTER", KEY))
        daemon.check(KEY, OWNER)
        wait_for(lambda: daemon.metric('eir_table_rows{table="registered"}') == 1, "the gauges are of now")
        text = daemon.http("/metrics")[1]
    ended = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=30
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    for sample in (
        'eir_feed_sequence{feed="hamta"} 1.0',
        'eir_table_rows{table="registered"} 1.0',
        "eir_serial 1.0",
    ):
        assert sample in text


@pytest.mark.parametrize("engine", ENGINES)
def test_stale_tables_are_said_and_keep_nobody_away(tmp_path: Path, engine: str) -> None:
    config = tmp_path / "eir.toml"
    config.write_text("[feeds.hamta]\nstale_after_seconds = 3600\n")
    with running(tmp_path / "data", engine=engine, config=config) as daemon:
        assert daemon.http("/readyz") == (200, "ok\nfresh: stale feeds: hamta\n")
        assert daemon.check(KEY, OWNER).stale
        daemon.push(complete_until=int(time.time()))
        wait_for(lambda: not daemon.check(KEY, OWNER).stale, "checks say that the tables are fresh")
        wait_for(lambda: daemon.http("/readyz") == (200, "ok\n"), "so does readiness")


def drained(daemon: Daemon) -> None:
    """Wait until the daemon says that it is draining."""
    wait_for(lambda: daemon.http("/readyz") == (503, "not ok\nserving: draining\n"), "it drains")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_delta_in_flight_is_applied_before_the_daemon_stops(tmp_path: Path, engine: str) -> None:
    with running(tmp_path / "data", engine=engine) as daemon:
        header, chunk, last = delta([operation("REGISTER", KEY)])
        pipe = Pipe()
        answers = daemon.sync.PushDelta(iter(pipe), timeout=30)
        pipe.send(header, chunk)
        assert next(answers).HasField("accepted")
        assert next(answers).HasField("chunk_durable")
        watch = health_pb2_grpc.HealthStub(daemon.check_channel).Watch(  # type: ignore[no-untyped-call]
            health_pb2.HealthCheckRequest(), timeout=30
        )
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        daemon.signal()
        drained(daemon)
        # Those who watch are told, and let go.
        assert [answer.status for answer in watch] == [health_pb2.HealthCheckResponse.NOT_SERVING]
        pipe.send(last)
        pipe.close()
        assert [answer.applied.serial for answer in answers] == [1]
        assert daemon.wait() == 0
    with running(tmp_path / "data", engine=engine) as daemon:
        assert daemon.ready_line["serial"] == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_every_request_of_a_stream_in_flight_is_answered(tmp_path: Path, engine: str) -> None:
    with running(tmp_path / "data", engine=engine) as daemon:
        pipe = Pipe()
        answers = daemon.checks.StreamCheckEquipment(iter(pipe), timeout=30)
        pipe.send(*(check_message(str(index)) for index in range(200)))
        first = next(answers).verdict.request_id
        daemon.signal()
        got = [first]
        with pytest.raises(grpc.RpcError) as caught:
            got += (answer.verdict.request_id for answer in answers)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert detail(caught.value).reason == "DRAINING"
        assert got == [str(index) for index in range(200)]
        pipe.close()
        assert daemon.wait() == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stream_that_never_pauses_is_ended_too(tmp_path: Path, engine: str) -> None:
    with running(tmp_path / "data", engine=engine) as daemon:
        pipe, stop = Pipe(), threading.Event()
        answers = daemon.checks.StreamCheckEquipment(iter(pipe), timeout=60)

        def ask() -> None:
            index = 0
            while not stop.wait(0.002):
                pipe.send(check_message(str(index)))
                index += 1

        asking = threading.Thread(target=ask)
        asking.start()
        got = [next(answers).verdict.request_id]
        daemon.signal()
        started = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            got += (answer.verdict.request_id for answer in answers)
        assert daemon.wait() == 0
        assert time.monotonic() - started < 10, "not as long as drain_seconds_max"
        stop.set()
        asking.join()
        pipe.close()
        assert detail(caught.value).reason == "DRAINING"
        assert got == [str(index) for index in range(len(got))]


def turned_away(error: grpc.RpcError) -> str:
    """Why a call was not answered, and surely not judged."""
    assert error.code() is grpc.StatusCode.UNAVAILABLE, error
    return "closed" if "Connection refused" in error.details() else detail(error).reason


@pytest.mark.parametrize("engine", ENGINES)
def test_calls_in_flight_are_answered_while_others_are_turned_away(tmp_path: Path, engine: str) -> None:
    with running(tmp_path / "data", engine=engine) as daemon:
        outcomes: list[object] = []

        def ask() -> None:
            while True:
                try:
                    outcomes.append(daemon.check(KEY, OWNER).reason)
                except grpc.RpcError as error:
                    outcomes.append(turned_away(error))
                    return

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        daemon.signal()
        drained(daemon)
        answered = len(outcomes)
        assert daemon.wait() == 0
        assert len(outcomes) > answered, "answers go on during the notice"
        for thread in threads:
            thread.join(15)
        refused = [outcome for outcome in outcomes if outcome != check_pb2.VERDICT_REASON_NOT_REGISTERED]
        # The native engine asks clients to go before it refuses any: they find the port closed.
        assert refused == ["DRAINING" if engine == "portable" else "closed"] * 4


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    with running(tmp_path / "data") as daemon:
        pipe = Pipe()
        answers = daemon.sync.PushDelta(iter(pipe), timeout=30)
        pipe.send(delta([])[0])
        assert next(answers).HasField("accepted")
        daemon.signal()
        drained(daemon)
        daemon.signal()
        assert daemon.wait(10) == 128 + signal.SIGTERM
        pipe.close()


def test_new_deltas_are_refused_while_draining(tmp_path: Path) -> None:
    """A delta that waits for its turn when the daemon drains still has it; a stream opened after has not."""
    with running(tmp_path / "data") as daemon:
        pipe = Pipe()
        answers = daemon.sync.PushDelta(iter(pipe), timeout=30)
        pipe.send(delta([])[0])
        assert next(answers).HasField("accepted")
        daemon.signal()
        drained(daemon)
        with pytest.raises(grpc.RpcError) as caught:
            list(daemon.sync.PushDelta(iter(delta([], feed="other")), timeout=5))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        pipe.send(commit())
        pipe.close()
        assert [answer.applied.serial for answer in answers] == [1]
        assert daemon.wait() == 0


def test_the_position_of_every_feed_is_told(tmp_path: Path) -> None:
    with running(tmp_path / "data") as daemon:
        daemon.push(operation("REGISTER", KEY), feed="b")
        daemon.push(feed="a", complete_until=1_700_000_000)
        answer = daemon.sync.GetFeedPosition(sync_pb2.GetFeedPositionRequest())
        assert [(feed.feed, feed.sequence, feed.serial) for feed in answer.feeds] == [
            ("a", 1, 2),
            ("b", 1, 1),
        ]
        assert answer.feeds[0].complete_until == 1_700_000_000
        assert abs(answer.feeds[0].applied_at - time.time()) < 60
        assert answer.serial == 2
