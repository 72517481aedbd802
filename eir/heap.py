"""How this process takes its memory, so that checks do not wait for it.

Said before numpy is imported and threads begin; docs/decisions/small-pages-for-the-writer.md
tells why. Segments and the case table lie in memory of their own, in pages of 2 MiB, and
the native engine has an allocator of its own. Images of overlays lie in small pages.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import Final

NUMPY_HUGE_PAGES: Final = "NUMPY_MADVISE_HUGEPAGE"
"""Where numpy reads whether large arrays are to lie in pages of 2 MiB; it does by default."""
_HEAP: Final = {
    "MALLOC_ARENA_MAX": (-8, 1),
    "MALLOC_TRIM_THRESHOLD_": (-1, 256 << 20),
    "MALLOC_TOP_PAD_": (-2, 32 << 20),
    "MALLOC_MMAP_THRESHOLD_": (-3, 32 << 20),
}
"""mallopt(3), by the names under which an operator may have set others: one heap for all threads, which keeps
so many bytes that were freed, grows by so many, and has all but the largest arrays in it."""
_PR_SET_THP_DISABLE: Final = 41
_EXCEPT_ADVISED: Final = 2
"""prctl(2), Linux 6.18 and newer: large pages only for what asks for them, whatever the system's default."""


def settle() -> None:
    """Small pages for arrays, and one heap that keeps what was freed, unless the environment says otherwise.

    Processes that are started later take over the former alone. The latter needs glibc.
    """
    small = os.environ.setdefault(NUMPY_HUGE_PAGES, "0") == "0"
    with contextlib.suppress(OSError, AttributeError):
        system = ctypes.CDLL(None)
        if small:
            system.prctl(_PR_SET_THP_DISABLE, 1, _EXCEPT_ADVISED, 0, 0)
        for name, (parameter, value) in _HEAP.items():
            if name not in os.environ:
                system.mallopt(parameter, value)
