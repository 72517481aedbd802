"""How a daemon takes its memory: asked of processes that have just started."""

import os
import subprocess
import sys
from typing import Final

import pytest

RELEASE: Final = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
SETTLED = "from eir import heap; heap.settle()\n"

HUGE_PAGES = "import numpy as np; print(np._core.multiarray._set_madvise_hugepage(False))\n"
"""Prints what was set before."""

HEAPS = """
import ctypes, threading
libc, ready = ctypes.CDLL(None), threading.Barrier(4)
libc.malloc.restype = ctypes.c_void_p
def allocate():
    ready.wait()
    assert libc.malloc(ctypes.c_size_t(5000))
    ready.wait()
threads = [threading.Thread(target=allocate) for _ in range(4)]
[one.start() for one in threads]
[one.join() for one in threads]
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
"""
"""Four threads that allocate at a time, and then what glibc says of its heaps."""

SERVE = """
import sys
from eir import heap
heap.settle = lambda: print("numpy imported before:", "numpy" in sys.modules)
from eir.cli import main
main(["serve", "--config", "there-is-none.toml"])
"""

LARGE_PAGES = "import ctypes; print(ctypes.CDLL(None).prctl(42, 0, 0, 0, 0))\n"
"""`PR_GET_THP_DISABLE`: 1 that it is restricted, and 2 except where it is asked for."""

ALL_LARGE = "import ctypes; ctypes.CDLL(None).prctl(41, 0, 0, 0, 0)\n"
"""What a process before may have said of large pages is inherited."""


def told(code: str, **environment: str) -> str:
    """What a new process prints."""
    return subprocess.run(
        [sys.executable, "-c", ALL_LARGE + code], capture_output=True, text=True, check=True, env=environment
    ).stdout


def test_arrays_lie_in_small_pages_and_the_environment_may_say_otherwise() -> None:
    assert told(HUGE_PAGES) == "True\n"
    assert told(SETTLED + HUGE_PAGES) == "False\n"
    assert told(SETTLED + HUGE_PAGES, NUMPY_MADVISE_HUGEPAGE="1") == "True\n"


def test_all_threads_share_one_heap() -> None:
    assert told(HEAPS).count("<heap nr=") > 1
    assert told(SETTLED + HEAPS).count("<heap nr=") == 1
    assert told(SETTLED + HEAPS, MALLOC_ARENA_MAX="3").count("<heap nr=") > 1


def test_the_daemon_settles_it_before_numpy_is_imported() -> None:
    served = subprocess.run([sys.executable, "-c", SERVE], capture_output=True, text=True, check=False)
    assert served.stdout == "numpy imported before: False\n"
    assert served.returncode == 2, served.stderr


@pytest.mark.skipif(RELEASE < (6, 18), reason="the system knows it from Linux 6.18 on")
def test_large_pages_are_for_what_asks_for_them() -> None:
    assert told(LARGE_PAGES) == "0\n"
    assert told(SETTLED + LARGE_PAGES) == "3\n"
    assert told(SETTLED + LARGE_PAGES, NUMPY_MADVISE_HUGEPAGE="1") == "0\n"
