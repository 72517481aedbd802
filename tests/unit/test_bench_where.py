"""Samples of the profiler are told apart by the part of the engine."""

from __future__ import annotations

import pytest

from bench.where import KERNEL, LIBRARIES, OTHER, shares

REPORT = """
    40.00%  [kernel.kallsyms]  [k] tcp_sendmsg_locked
    20.00%  _core.abi3.so      [.] eir_core::check::Tables::judge
    10.00%  _core.abi3.so      [.] <eir_core::server::connection::Connection>::frames
     5.00%  _core.abi3.so      [.] eir_core::server::service::Service<S>::tell
     5.00%  libc.so.6          [.] __memmove_avx512_unaligned_erms
"""


def test_shares_are_of_all_that_was_told() -> None:
    told = shares(REPORT)
    assert told[KERNEL] == pytest.approx(50)
    assert told["identity, look-up, verdict"] == pytest.approx(25)
    assert told["HTTP/2"] == pytest.approx(12.5)
    assert told["messages"] == pytest.approx(6.25)
    assert told[LIBRARIES] == pytest.approx(6.25)
    assert OTHER not in told
    assert shares("") == {}
