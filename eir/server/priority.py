"""Checks before everything else, where threads of one daemon share a processor.

Threads that answer checks keep their weight and get short slices, so that they
run as soon as a call comes; all other threads, and those they start, are niced.
Where every thread has a processor of its own this changes nothing.
"""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path
from typing import Final

CHECK_THREADS: Final = ("check-", "accept")
"""Names that the native engine gives its threads, or how they begin."""
OTHERS_NICE: Final = 15
"""A 28th of the weight of a thread that is not niced: two that write and a rebuild leave it nine tenths."""
SLICE_NANOSECONDS: Final = 100_000
"""The shortest that Linux takes (6.12 and newer): who asks for shorter slices is let in sooner."""
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


def prefer_checks() -> None:
    """Do it for the threads of this process as they are now; what the system refuses stays as it is."""
    for task in Path("/proc/self/task").iterdir():
        thread = int(task.name)
        try:
            if (task / "comm").read_text().startswith(CHECK_THREADS):
                _shorten_slice(thread)
            else:
                nice = max(os.getpriority(os.PRIO_PROCESS, thread), OTHERS_NICE)
                os.setpriority(os.PRIO_PROCESS, thread, nice)
        except OSError:
            continue  # it has ended meanwhile


def _shorten_slice(thread: int) -> None:
    number = SCHED_SETATTR.get(platform.machine())
    if number is not None:
        nice = os.getpriority(os.PRIO_PROCESS, thread)
        wanted = _Attributes(size=ctypes.sizeof(_Attributes), nice=nice, runtime=SLICE_NANOSECONDS)
        # Kernels that know no such slices refuse it, or keep their own.
        ctypes.CDLL(None).syscall(number, thread, ctypes.byref(wanted), 0)
