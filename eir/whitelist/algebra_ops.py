"""From one state to another by operations, and the clash of two rows. Pure.

The plain model of `contradict`, and the way back from states to deltas.
"""

from __future__ import annotations

from collections.abc import Iterator

from eir.whitelist.algebra import Fact, Operation, State, _device, _less, perform
from eir.whitelist.delta import RowReason
from eir.whitelist.rows import Op, Role
