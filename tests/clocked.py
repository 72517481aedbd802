"""`eir` with a wall clock that is ahead by the seconds a file says: days pass in a daemon's process.

python tests/clocked.py FILE COMMAND...
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from eir import clock

AHEAD = Path(sys.argv.pop(1))


def now_seconds() -> int:
    """Seconds since the Unix epoch, and what the file says."""
    return int(time.time()) + int(AHEAD.read_text() or 0)


clock.now_seconds = now_seconds

if __name__ == "__main__":
    from eir.cli import main

    main()
