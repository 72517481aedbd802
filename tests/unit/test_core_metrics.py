"""Counters of the native engine under the names of the portable one."""

from __future__ import annotations

from eir.core_metrics import CoreMetrics
from eir.metrics import CHECK_SECONDS, Metrics
from eir.verdict import Reason, Status


class Server:
    """What the engine has counted."""

    def __init__(self) -> None:
        self.verdict_count = 0

    def verdicts(self) -> list[tuple[int, int, int]]:
        return [(Status.GREYLISTED, Reason.MALFORMED_SHORT, self.verdict_count)]

    def seconds(self) -> list[tuple[list[int], int]]:
        return [([1, 2] + [0] * (len(CHECK_SECONDS) - 1), 2_000_000_000), ([0] * 13, 0), ([0] * 13, 0)]

    def errors(self) -> list[tuple[str, int]]:
        return [("INVALID_REQUEST", 3), ("INTERNAL", 0)]

    def abuses(self) -> list[tuple[str, int]]:
        return [("flood", 2)]

    def bounds(self) -> list[tuple[str, int]]:
        return [("stalled", 3)]

    def sightings_left_out(self) -> tuple[int, int, int]:
        return 5, 4, 0

    def unpaired_left_out(self) -> tuple[int, int]:
        return 6, 3

    def panics(self) -> int:
        return 1

    def connections(self) -> int:
        return 7

    def held_bytes(self) -> int:
        return 900


def lines(metrics: Metrics) -> list[str]:
    return metrics.render().decode().splitlines()


def test_what_was_counted_since_the_last_time_is_added() -> None:
    metrics, server = Metrics(), Server()
    metrics.use_core(CoreMetrics(metrics, server))
    server.verdict_count = 4
    lines(metrics)
    server.verdict_count = 10
    found = lines(metrics)
    for line in (
        'eir_checks_total{reason="malformed_short",status="greylisted"} 10.0',
        'eir_malformed_total{class="malformed_short"} 10.0',
        'eir_rpc_errors_total{reason="INVALID_REQUEST"} 3.0',
        'eir_check_connections_closed_total{cause="flood"} 2.0',
        'eir_check_calls_refused_total{cause="stalled"} 3.0',
        "eir_decisions_repeated_total 5.0",
        'eir_decisions_dropped_total{cause="queue"} 4.0',
        'eir_sightings_total{result="repeated"} 6.0',
        'eir_sightings_total{result="dropped"} 3.0',
        "eir_check_panics_total 1.0",
        "eir_check_connections 7.0",
        "eir_check_held_bytes 900.0",
    ):
        assert line in found
    assert not [line for line in found if "INTERNAL" in line], (
        "as in Python, what never happened has no sample"
    )


def test_durations_are_read_as_they_are_with_the_buckets_of_the_portable_engine() -> None:
    portable, native = Metrics(), Metrics()
    native.use_core(CoreMetrics(native, Server()))

    def durations(metrics: Metrics) -> list[str]:
        return [line for line in lines(metrics) if "eir_check_duration_seconds" in line]

    assert [line.rpartition(" ")[0] for line in durations(native)] == [
        line.rpartition(" ")[0] for line in durations(portable)
    ]
    found = durations(native)
    assert 'eir_check_duration_seconds_bucket{le="2.5e-05",method="unary"} 1.0' in found
    assert 'eir_check_duration_seconds_bucket{le="5e-05",method="unary"} 3.0' in found
    assert 'eir_check_duration_seconds_bucket{le="+Inf",method="unary"} 3.0' in found
    assert 'eir_check_duration_seconds_sum{method="unary"} 2.0' in found
