"""Checks before everything else, where threads of one daemon share a processor.

Threads that answer checks run as soon as a call comes: in the lowest real-time
class where the system lets them, with more weight where it lets them only that,
with short slices everywhere. All other threads, and those they start, are niced. A
check thread that leaves its processor little time for others is put back to what it
was started with until it does. Where every thread has a processor of its own this
changes nothing. The reasons: docs/decisions/checks-first.md.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CHECK_THREADS: Final = ("check-", "accept")
"""Names that the native engine gives its threads, or how they begin."""
OTHERS_NICE: Final = 15
"""A 28th of the weight of a thread that is not niced: two that write and a rebuild leave it nine tenths."""
CHECK_REALTIME: Final = 1
"""Priority of check threads under SCHED_RR (sched(7)), where RLIMIT_RTPRIO or CAP_SYS_NICE allows it: the
lowest of the class, so that all other real-time threads of a machine come before them."""
CHECK_NICE_LESS: Final = 10
"""By how much they are niced less than the daemon otherwise, where RLIMIT_NICE allows it."""
BUSY_SHARE_MAX: Final = 0.75
"""A check thread that runs for more of the time is not preferred: others are to get on as well."""
CALM_SHARE_MAX: Final = 0.5
"""Under this it is preferred again."""
SLICE_NANOSECONDS: Final = 100_000
"""The shortest that Linux takes (6.12 and newer): who asks for shorter slices is let in sooner."""
_TASKS: Final = Path("/proc/self/task")
_KERNEL: Final = Path("/proc/sys/kernel")
SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
"""Number of the system call, by machine."""


class _Attributes(ctypes.Structure):
    """`struct sched_attr` of sched_setattr(2), policy SCHED_OTHER."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


@dataclass
class _CheckThread:
    thread: int
    nice: int
    """What it was given by whoever started the daemon."""
    ran_seconds: float
    """How long it had had a processor when that was looked at last."""


class CheckThreads:
    """The threads that answer checks, and how far they come before the others of their daemon."""

    def __init__(self) -> None:
        """Know none."""
        self._threads: list[_CheckThread] = []
        self._looked_seconds = 0.0
        self._preferred = self._realtime = False

    def prefer(self, now_seconds: float) -> None:
        """Put checks first, for the threads of this process as they are now.

        What the system refuses stays as it is, and so do check threads that cannot be watched.
        """
        for task in _TASKS.iterdir():
            thread = int(task.name)
            try:
                nice = os.getpriority(os.PRIO_PROCESS, thread)
                if (task / "comm").read_text().startswith(CHECK_THREADS):
                    _shorten_slice(thread)
                    self._threads.append(_CheckThread(thread, nice, _ran_seconds(thread)))
                else:
                    os.setpriority(os.PRIO_PROCESS, thread, max(nice, OTHERS_NICE))
            except OSError:
                continue  # it has ended meanwhile
        self._looked_seconds = now_seconds
        self._stand(preferred=True)

    def review(self, now_seconds: float) -> None:
        """Look how busy they were since the last time: they come first while they leave time to others."""
        took, self._looked_seconds = now_seconds - self._looked_seconds, now_seconds
        if took <= 0:
            return
        shares = []
        for one in self._threads.copy():
            try:
                before, one.ran_seconds = one.ran_seconds, _ran_seconds(one.thread)
            except (FileNotFoundError, ProcessLookupError):
                self._threads.remove(one)  # it has ended
            except OSError:
                shares.append(math.inf)  # nobody knows
            else:
                shares.append((one.ran_seconds - before) / took)
        if shares:
            processors = len(os.sched_getaffinity(0))
            self._stand(preferred=is_calm(shares, processors, preferred=self._preferred))

    def _stand(self, *, preferred: bool) -> None:
        """Give all threads a standing where it is another than before; the ordinary one again and again."""
        before = self._preferred, self._realtime
        self._preferred, self._realtime = preferred, preferred and keeps_time_for_others()
        if not preferred or before != (self._preferred, self._realtime):
            for one in self._threads:
                if not (self._realtime and _in_class(one.thread, os.SCHED_RR, CHECK_REALTIME)):
                    _weigh(one, preferred=preferred)


def keeps_time_for_others(kernel: Path = _KERNEL) -> bool:
    """Whether real-time threads that never sleep leave others a part of the time (sched(7))."""
    try:
        runtime = int((kernel / "sched_rt_runtime_us").read_text())
        period = int((kernel / "sched_rt_period_us").read_text())
    except (OSError, ValueError):
        return False
    return 0 < runtime < period


def is_calm(shares: Sequence[float], processors: int, *, preferred: bool) -> bool:
    """Whether threads that ran for such shares of the time may come first: each, and all together."""
    busiest = max(*shares, sum(shares) / processors)
    return busiest <= (BUSY_SHARE_MAX if preferred else CALM_SHARE_MAX)


def _ran_seconds(thread: int) -> float:
    """Time that a thread has had a processor (Linux, sched-stats)."""
    return int((_TASKS / str(thread) / "schedstat").read_text().split()[0]) / 1e9


def _in_class(thread: int, policy: int, priority: int) -> bool:
    """Put a thread in a class; whether the system allows it."""
    try:
        os.sched_setscheduler(thread, policy, os.sched_param(priority))
    except OSError:
        return False
    return True


def _weigh(one: _CheckThread, *, preferred: bool) -> None:
    """Give a thread its weight in the class that all have; its class first, which is always allowed."""
    with suppress(OSError):  # it has ended
        if os.sched_getscheduler(one.thread) == os.SCHED_RR and _in_class(one.thread, os.SCHED_OTHER, 0):
            _shorten_slice(one.thread)
    with suppress(OSError):  # or may not be niced
        os.setpriority(os.PRIO_PROCESS, one.thread, one.nice - CHECK_NICE_LESS * preferred)


def _shorten_slice(thread: int) -> None:
    number = SCHED_SETATTR.get(platform.machine())
    if number is not None:
        nice = os.getpriority(os.PRIO_PROCESS, thread)
        wanted = _Attributes(size=ctypes.sizeof(_Attributes), nice=nice, runtime=SLICE_NANOSECONDS)
        # Kernels that know no such slices refuse it, or keep their own.
        ctypes.CDLL(None).syscall(number, thread, ctypes.byref(wanted), 0)
